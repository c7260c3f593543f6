//! What is counted (buckets of a usage record) and what has a price (units).

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

/// Declares an enum whose variants have names and can be listed.
macro_rules! named {
    ($(#[$meta:meta])* $kind:ident { $($(#[$doc:meta])* $variant:ident = $name:literal, $side:ident;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($(#[$doc])* $variant,)+ }

        impl $kind {
            /// Every one, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name, as Python knows it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Which side of a call it belongs to.
            #[must_use]
            pub const fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)+ }
            }

            /// Finds one by its name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// A disjoint bucket of a usage record: no token is in two of them.
    Bucket {
        /// Text input that was neither read from nor written to a cache.
        Input = "input", Input;
        /// Input read from a cache.
        CacheRead = "cache_read", Input;
        /// Input written to a cache for five minutes, or for a time that was not named.
        CacheWrite5m = "cache_write", Input;
        /// Input written to a cache for an hour.
        CacheWrite1h = "cache_write_1h", Input;
        /// Audio input not read from a cache.
        InputAudio = "input_audio", Input;
        /// Audio input read from a cache.
        CacheReadAudio = "cache_read_audio", Input;
        /// Visible output.
        Output = "output", Output;
        /// Output spent on reasoning.
        Reasoning = "reasoning", Output;
        /// Audio output.
        OutputAudio = "output_audio", Output;
    }
}

named! {
    /// What a rate is for.
    ///
    /// The units after `OutputAudio` are not told apart by a usage record; they are here because a
    /// bound on a call's cost must hold whatever its tokens turn out to be.
    Unit {
        /// Input without a rate of its own.
        Input = "input", Input;
        /// Input read from a cache.
        CacheRead = "cache_read", Input;
        /// Input written to a cache.
        CacheWrite = "cache_write", Input;
        /// Input written to a cache for an hour.
        CacheWrite1h = "cache_write_1h", Input;
        /// Audio input.
        InputAudio = "input_audio", Input;
        /// Audio input read from a cache.
        CacheReadAudio = "cache_read_audio", Input;
        /// Output without a rate of its own.
        Output = "output", Output;
        /// Reasoning.
        Reasoning = "reasoning", Output;
        /// Audio output.
        OutputAudio = "output_audio", Output;
        /// Image input.
        InputImage = "input_image", Input;
        /// Image input read from a cache.
        CacheReadImage = "cache_read_image", Input;
        /// Image output.
        OutputImage = "output_image", Output;
        /// Video input.
        InputVideo = "input_video", Input;
        /// Video output.
        OutputVideo = "output_video", Output;
        /// Output that quotes sources.
        Citation = "citation", Output;
    }
}
