//! What is counted apart, and has a price of its own.

use std::fmt;

/// Which side of a call tokens belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What was sent.
    Input,
    /// What came back.
    Output,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
        })
    }
}

/// What a unit without a rate of its own is charged as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChargedAs {
    /// Nothing else: the side's most general unit.
    Itself,
    /// The more general unit that it is a part of.
    PartOf(Unit),
    /// The one of two units, a part of both of which it is, that has a rate.
    PartOfBoth(Unit, Unit),
}

macro_rules! units {
    ($($(#[$doc:meta])* $unit:ident = $name:literal, $side:ident, $charged_as:expr;)+) => {
        /// A kind of token: a disjoint bucket of a usage record (no token is in two of them), and
        /// what a rate is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Unit { $($(#[$doc])* $unit,)+ }

        impl Unit {
            /// Every one: those of the input, then those of the output.
            pub const ALL: &'static [Self] = &[$(Self::$unit,)+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name, as Python knows it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$unit => $name,)+ }
            }

            /// Which side of a call it belongs to.
            #[must_use]
            pub const fn side(self) -> Side {
                match self { $(Self::$unit => Side::$side,)+ }
            }

            pub(super) const fn charged_as(self) -> ChargedAs {
                use ChargedAs::{Itself, PartOf, PartOfBoth};
                match self { $(Self::$unit => $charged_as,)+ }
            }

            /// Finds one by its name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

units! {
    /// Input that was neither read from nor written to a cache, of no kind below.
    Input = "input", Input, Itself;
    /// Input read from a cache.
    CacheRead = "cache_read", Input, PartOf(Self::Input);
    /// Input written to a cache for five minutes, or for a time that was not named.
    CacheWrite = "cache_write", Input, PartOf(Self::Input);
    /// Input written to a cache for an hour.
    CacheWrite1h = "cache_write_1h", Input, PartOf(Self::CacheWrite);
    /// Audio input not read from a cache.
    InputAudio = "input_audio", Input, PartOf(Self::Input);
    /// Audio input read from a cache.
    CacheReadAudio = "cache_read_audio", Input, PartOfBoth(Self::InputAudio, Self::CacheRead);
    /// Image input not read from a cache.
    InputImage = "input_image", Input, PartOf(Self::Input);
    /// Image input read from a cache.
    CacheReadImage = "cache_read_image", Input, PartOfBoth(Self::InputImage, Self::CacheRead);
    /// Video input not read from a cache.
    InputVideo = "input_video", Input, PartOf(Self::Input);
    /// Video input read from a cache.
    CacheReadVideo = "cache_read_video", Input, PartOfBoth(Self::InputVideo, Self::CacheRead);
    /// Visible output of no kind below.
    Output = "output", Output, Itself;
    /// Output spent on reasoning.
    Reasoning = "reasoning", Output, PartOf(Self::Output);
    /// Audio output.
    OutputAudio = "output_audio", Output, PartOf(Self::Output);
    /// Image output.
    OutputImage = "output_image", Output, PartOf(Self::Output);
    /// Video output.
    OutputVideo = "output_video", Output, PartOf(Self::Output);
    /// Output that quotes sources.
    Citation = "citation", Output, PartOf(Self::Output);
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
