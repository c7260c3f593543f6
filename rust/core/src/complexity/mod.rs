//! How hard a request is: from its length, structure, demands, code and terms.
//!
//! A score in 0..1 and one of five levels. The features are what a reader sees at a glance, counted
//! in linear time; the weights are set by hand on examples written for this project (the tests),
//! never fitted on evaluation data. `docs/domains.md` says how well it ranks, and by which command.

mod features;
mod vocabulary;

pub use features::Features;

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

/// Judges a request.
///
/// `earlier_words` is the number of words of the conversation before it: a long context makes even a
/// short question harder.
///
/// Linear in the text's length; memory for a fixed number of counters and, per line, nothing.
#[must_use]
pub fn assess(text: &str, earlier_words: usize) -> Assessment {
    let features = Features::of(text);
    let mut parts: Vec<Part> = weigh(&features, earlier_words)
        .into_iter()
        .filter(|part| part.weight.abs() > 1e-9)
        .collect();
    parts.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let sum: f64 = parts.iter().map(|part| part.weight).sum();
    let score = 1.0 - (-sum.max(0.0)).exp();
    Assessment {
        level: Level::of(score),
        score,
        parts,
        features,
    }
}

/// Counts to a bounded weight: `most` is approached, half of it reached at `half`.
fn saturating(count: usize, half: f64, most: f64) -> f64 {
    let count = to_f64(count);
    most * count / (count + half)
}

/// Counts stay far below 2^52: they are bounded by the text's length.
#[expect(clippy::cast_precision_loss)]
fn to_f64(count: usize) -> f64 {
    count as f64
}

fn weigh(seen: &Features, earlier_words: usize) -> [Part; 14] {
    let part = |what, weight| Part { what, weight };
    // The first few words of anything are free: "hi" and "thanks" ask nothing.
    let words = seen.words.saturating_sub(4);
    let plain = seen.plain_asks.min(2);
    let demanding = seen.reasoning_asks + seen.building_asks;
    [
        part("length", saturating(words, 120.0, 0.7)),
        part(
            "sentences",
            saturating(seen.sentences.saturating_sub(1), 8.0, 0.25),
        ),
        part(
            "several questions",
            saturating(seen.questions.saturating_sub(1), 3.0, 0.25),
        ),
        part("demands", saturating(seen.constraints, 4.0, 0.55)),
        part("listed items", saturating(seen.list_items, 8.0, 0.3)),
        part("several steps", saturating(seen.step_marks, 3.0, 0.35)),
        part(
            "asks for reasoning",
            saturating(seen.reasoning_asks, 1.5, 0.6),
        ),
        part(
            "asks to build or repair",
            saturating(seen.building_asks, 1.5, 0.6),
        ),
        part(
            "numbers to work with",
            saturating(seen.numbers.saturating_sub(1), 4.0, 0.4),
        ),
        part(
            "code",
            saturating(seen.code_lines, 15.0, 0.6)
                + saturating(seen.code_constructs, 12.0, 0.3)
                + saturating(seen.code_nesting.saturating_sub(1), 4.0, 0.3),
        ),
        part("mathematics", saturating(seen.math_signs, 4.0, 0.7)),
        part(
            "specialist terms",
            saturating(seen.specialist_terms, 2.5, 1.1),
        ),
        part("long context", saturating(earlier_words, 1500.0, 0.4)),
        // "What is …?" asked of a short text is one step, unless it asks for more as well.
        part(
            "plain question",
            if demanding == 0 && seen.words < 25 {
                -0.06 * to_f64(plain)
            } else {
                0.0
            },
        ),
    ]
}

#[cfg(test)]
mod tests;
