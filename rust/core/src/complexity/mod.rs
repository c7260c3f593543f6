//! How hard a request is: from its length, structure, demands, code, words and domain.
//!
//! A score in 0..1 and one of five levels. What is counted is what a reader sees at a glance, in linear
//! time; the weights are fitted on requests that were graded for this project
//! (`benches/fit_complexity.py`), never on evaluation data. `docs/domains.md` says how well it ranks,
//! and by which command.

pub mod code;
mod features;
mod vocabulary;
mod weights;

pub use features::Features;
use vocabulary::Ask;
use weights::{DOMAINS, WEIGHTS};

/// How hard a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A greeting, a fact, a single sum: any model does it.
    Trivial,
    /// One plain step.
    Simple,
    /// Several steps or demands.
    Moderate,
    /// Long reasoning, real code, many demands.
    Hard,
    /// Specialist reasoning under many demands.
    Expert,
}

impl Level {
    /// The level's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trivial => "trivial",
            Self::Simple => "simple",
            Self::Moderate => "moderate",
            Self::Hard => "hard",
            Self::Expert => "expert",
        }
    }

    fn of(score: f64) -> Self {
        match score {
            s if s < 0.15 => Self::Trivial,
            s if s < 0.35 => Self::Simple,
            s if s < 0.60 => Self::Moderate,
            s if s < 0.82 => Self::Hard,
            _ => Self::Expert,
        }
    }
}

/// One feature's part in the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What was seen, in words.
    pub what: &'static str,
    /// What it adds to the sum that becomes the score.
    pub weight: f64,
}

/// A request's difficulty.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// The level.
    pub level: Level,
    /// 0 (trivial) to 1 (expert).
    pub score: f64,
    /// What made it so, the heaviest first; parts that add nothing are left out.
    pub parts: Vec<Part>,
    /// What was counted.
    pub features: Features,
}

/// The most that the conversation before a request adds: by hand, no graded request has one.
const LONG_CONTEXT: f64 = 0.4;

/// Judges a request.
///
/// `earlier_words` is the number of words of the conversation before it: a long context makes even a
/// short question harder. `domain` is the one that was detected, if any; one that is not built in
/// counts as none.
///
/// Linear in the text's length; memory for the names and brackets of its code.
#[must_use]
pub fn assess(text: &str, earlier_words: usize, domain: Option<&str>) -> Assessment {
    let features = Features::of(text);
    let (level, score, parts) = judge(&features, earlier_words, domain);
    Assessment {
        level,
        score,
        parts,
        features,
    }
}

/// Judges a request by what was counted before: what it is about may be known only later.
///
/// Gives the level, the score and its parts, as [`assess`] does, in time that does not grow with the
/// text.
#[must_use]
pub fn judge(
    features: &Features,
    earlier_words: usize,
    domain: Option<&str>,
) -> (Level, f64, Vec<Part>) {
    let inputs = inputs(features);
    let mut parts: Vec<Part> = Vec::with_capacity(INPUTS.len());
    for ((what, input), weight) in INPUTS.iter().zip(inputs).zip(WEIGHTS) {
        add(&mut parts, what, input * weight);
    }
    add(
        &mut parts,
        "long context",
        LONG_CONTEXT * saturating(earlier_words, 1500.0),
    );
    let offset = domain
        .and_then(|domain| DOMAINS.iter().find(|(name, _)| *name == domain))
        .map_or(0.0, |(_, offset)| *offset);
    // A domain says something of a request that says something.
    add(
        &mut parts,
        "domain",
        offset * saturating(features.words, 6.0),
    );
    parts.retain(|part| part.weight.abs() > 1e-9);
    parts.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let sum: f64 = parts.iter().map(|part| part.weight).sum();
    let score = 1.0 - (-sum.max(0.0)).exp();
    (Level::of(score), score, parts)
}

/// Adds to the part of this name: the counts of code are one part.
fn add(parts: &mut Vec<Part>, what: &'static str, weight: f64) {
    match parts.iter_mut().find(|part| part.what == what) {
        Some(part) => part.weight += weight,
        None => parts.push(Part { what, weight }),
    }
}

/// Counts to 0..1: half of it is reached at `half`.
fn saturating(count: usize, half: f64) -> f64 {
    let count = to_f64(count);
    count / (count + half)
}

/// Counts stay far below 2^52: they are bounded by the text's length.
#[expect(clippy::cast_precision_loss)]
fn to_f64(count: usize) -> f64 {
    count as f64
}

/// The number of [`inputs`].
pub const COUNT: usize = 23;

/// What each of [`inputs`] says, in words.
pub const INPUTS: [&str; COUNT] = [
    "a request",
    "length",
    "several questions",
    "demands",
    "listed items",
    "several steps",
    "asks for reasoning",
    "asks to build or repair",
    "asks for a proof or the best",
    "asks for much",
    "mathematics",
    "specialist terms",
    "specialist vocabulary",
    "long words",
    "multiple choice",
    "code",
    "code",
    "code",
    "code",
    "everyday vocabulary",
    "plain question",
    "a text is given",
    "a short answer will do",
];

/// What the score is a weighted sum of, each in 0..1.
#[must_use]
pub fn inputs(seen: &Features) -> [f64; COUNT] {
    let known = to_f64(seen.known_words + 6);
    let words = to_f64(seen.words);
    let demanding = seen.count(Ask::Reasoning) + seen.count(Ask::Proof) + seen.count(Ask::Building);
    // "What is …?" asked of a short text is one step, unless it asks for more as well.
    let plain = demanding == 0 && seen.words < 25;
    // What is pasted to be put in other words makes a request long, not hard.
    let given = seen.count(Ask::Transform) > 0;
    let (lines, cyclomatic, nesting, constructs) = seen.code.as_ref().map_or((0, 0, 0, 0), |c| {
        (
            c.lines,
            c.cyclomatic - 1,
            c.nesting,
            c.construct_names().count(),
        )
    });
    [
        saturating(seen.words, 3.0),
        // The first few words of anything are free: "hi" and "thanks" ask nothing.
        saturating(seen.words.saturating_sub(4), 120.0),
        saturating(seen.questions.saturating_sub(1), 3.0),
        saturating(seen.count(Ask::Constraint), 4.0),
        saturating(seen.list_items, 8.0),
        saturating(seen.count(Ask::Step), 3.0),
        saturating(seen.count(Ask::Reasoning), 1.5),
        saturating(seen.count(Ask::Building), 1.5),
        saturating(seen.count(Ask::Proof), 1.0),
        saturating(seen.count(Ask::Extent), 1.5),
        saturating(seen.math_signs, 4.0),
        saturating(seen.count(Ask::Specialist), 2.5),
        (to_f64(seen.learned) / 10.0 / known).min(1.0),
        to_f64(seen.long_words) / (words + 8.0),
        if seen.count(Ask::Choice) > 0 {
            1.0
        } else {
            0.0
        },
        saturating(lines, 15.0),
        saturating(cyclomatic, 8.0),
        saturating(nesting.saturating_sub(1), 3.0),
        saturating(constructs, 2.0),
        (to_f64(seen.everyday) / 10.0 / known).min(1.0),
        if plain {
            saturating(seen.count(Ask::Plain), 1.0)
        } else {
            0.0
        },
        if given {
            saturating(seen.words.saturating_sub(10), 100.0)
        } else {
            0.0
        },
        saturating(seen.count(Ask::Brief), 1.0),
    ]
}

#[cfg(test)]
mod tests;
