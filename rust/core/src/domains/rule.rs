//! One rule: what it looks for, where, and for which domains it speaks.

use thiserror::Error;

/// Where in the text a phrase must stand to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Only when it begins within so many words of the start; 1 is the very start.
    pub first: Option<u32>,
    /// Only when it begins within so many words of the end.
    pub last: Option<u32>,
    /// Only at the start of a line.
    pub line: bool,
}

/// A stretch of a structural feature over which a rule's value rises from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Which feature, by its place in [`super::structure::NAMES`].
    pub feature: usize,
    /// The value is 0 up to here.
    pub from: f64,
    /// The value is 1 from here on; below `from` for a rule on a small feature.
    pub to: f64,
}

impl Ramp {
    /// How far up the ramp a feature is, 0 to 1.
    #[must_use]
    pub fn of(&self, feature: f64) -> f64 {
        if (self.to - self.from).abs() < f64::EPSILON {
            return f64::from(u8::from(feature >= self.to));
        }
        ((feature - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// A rule. It has phrases, or a ramp, or only conditions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Its name, which no other rule has.
    pub name: String,
    /// What it adds to domains' log-odds when its value is 1: a domain's index and a weight.
    pub weights: Vec<(usize, f64)>,
    /// What it looks for: words and phrases, whole; a `*` at the end stands for any ending.
    pub patterns: Vec<String>,
    /// Where.
    pub place: Place,
    /// How many different ones at least.
    pub least: u32,
    /// A structural feature instead of phrases.
    pub ramp: Option<Ramp>,
    /// Whether it shares its say with others of its kind: the more of them find something, the less
    /// each counts (see [`super::FULL`]).
    pub diluted: bool,
    /// Counts only when all of these rules, by index, found something.
    pub requires: Vec<usize>,
    /// Counts only when none of these rules, by index, found anything.
    pub unless: Vec<usize>,
}

/// Why rules cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// Two rules have one name.
    #[error("two rules are named {0:?}: a name stands for one rule")]
    Twice(String),
    /// A rule looks for nothing.
    #[error("rule {0:?} looks for nothing: give it patterns, a feature, or rules that it requires")]
    Nothing(String),
    /// A rule has phrases and a ramp.
    #[error("rule {0:?} has patterns and a feature: make two rules, one requiring the other")]
    Both(String),
    /// A pattern holds no letter, digit or sign.
    #[error(
        "rule {rule:?}: the pattern {pattern:?} is empty once case and accents are folded: \
         write a word or a phrase"
    )]
    Empty {
        /// The rule.
        rule: String,
        /// The pattern.
        pattern: String,
    },
    /// A pattern is too long to be a phrase.
    #[error("rule {rule:?}: a pattern of {bytes} bytes is no phrase: at most {most}")]
    Long {
        /// The rule.
        rule: String,
        /// Its length, folded.
        bytes: usize,
        /// The longest allowed.
        most: usize,
    },
    /// A number is not one.
    #[error("rule {rule:?}: {what} is {value}: write a finite number")]
    NotFinite {
        /// The rule.
        rule: String,
        /// Which number.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// A domain, feature or rule of this index does not exist.
    #[error("rule {rule:?} names a {what} that does not exist")]
    Unknown {
        /// The rule.
        rule: String,
        /// What does not exist.
        what: &'static str,
    },
    /// A condition on a rule that has conditions.
    #[error(
        "rule {rule:?} depends on {other:?}, which depends on rules itself: depend on those instead"
    )]
    Chained {
        /// The rule.
        rule: String,
        /// What it depends on.
        other: String,
    },
    /// The numbers beside the rules do not fit the domains.
    #[error("{0}")]
    Shape(String),
    /// The automaton cannot hold so many patterns.
    #[error("the patterns make no automaton: {0}")]
    TooMany(String),
}
