//! The measures that are combined into one probability.
//!
//! Each is 0 where nothing speaks against the answer, or where it does not apply; the combination is
//! then the same for a chat answer as for a worked solution, and knows nothing of where a question
//! came from.

use super::arithmetic::Arithmetic;
use super::check::{Check, Verdict};
use super::final_answer::FinalAnswer;
use super::reasoning::Measures;
use super::words::Word;

/// How many features there are.
pub const COUNT: usize = 26;

/// Their names, in order.
pub const NAMES: [&str; COUNT] = [
    "wrong_arithmetic",
    "final_unsupported",
    "not_last_result",
    "unused_results",
    "unused_givens",
    "impossible_count",
    "unclear_final",
    "final_length",
    "effort",
    "loose_numbers",
    "decimals",
    "magnitude",
    "question_load",
    "unverified",
    "caution",
    "self_correction",
    "hedging",
    "repetition",
    "truncated",
    "off_topic",
    "format",
    "refusal",
    "constraints",
    "wrong_language",
    "wrong_units",
    "broken_code",
];

/// What the features are taken from.
pub(crate) struct Sources<'s> {
    pub(crate) prose_words: &'s [Word],
    pub(crate) question_words: &'s [Word],
    pub(crate) arithmetic: &'s Arithmetic,
    pub(crate) last: Option<&'s FinalAnswer>,
    pub(crate) measures: &'s Measures,
    pub(crate) corrections: usize,
    pub(crate) hedges: usize,
    pub(crate) asks_number: bool,
    pub(crate) checks: &'s [Check],
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// The logarithm of a length against a usual one: 0 at the usual length. Bounded by what the fitted
/// answers had, so that a long document is not taken for a hard sum.
fn relative(length: usize, usual: f64) -> f64 {
    ((float(length) + 1.0) / usual).ln().clamp(-0.7, 1.2)
}

/// Takes the features.
pub(crate) fn take(sources: &Sources<'_>) -> [f64; COUNT] {
    let badness = |name: &str| {
        sources
            .checks
            .iter()
            .find(|check| check.name == name && check.verdict != Verdict::NotApplicable)
            .map_or(0.0, Check::badness)
    };
    let measures = sources.measures;
    let arithmetic = sources.arithmetic;
    let explicit = sources.last.filter(|last| last.explicit);
    // A worked answer: it computes, or names its final answer behind some reasoning.
    let worked = arithmetic.found > 0 || (explicit.is_some() && sources.prose_words.len() >= 20);
    let when_worked = |value: f64| if worked { value } else { 0.0 };
    let numbers = arithmetic.numbers.len();
    let in_equations = numbers_in_equations(arithmetic);
    let share = |part: usize| {
        if numbers < 3 {
            0.0
        } else {
            float(part) / float(numbers)
        }
    };
    let decimals = arithmetic
        .numbers
        .iter()
        .filter(|mention| !mention.value.is_integer())
        .count();
    let unclear = explicit.is_some_and(|last| last.number.is_none());
    // A paragraph is no value whose length tells how hard it was to get right.
    let is_value = |text: &str| text.split_whitespace().count() <= 15;
    let final_length = explicit
        .filter(|last| is_value(&last.text))
        .map_or(0.0, |last| {
            (float(last.text.chars().count().min(100)) / 4.0 + 1.0).ln()
        });
    [
        flag(arithmetic.wrong > 0),
        badness(super::reasoning::FINAL),
        measures.not_last_result,
        (measures.unused_results / 4.0).min(1.0),
        measures.unused_givens,
        measures.impossible_count,
        flag(unclear && (sources.asks_number || arithmetic.found > 0)),
        when_worked(final_length),
        when_worked(relative(sources.prose_words.len(), 80.0)),
        if arithmetic.found > 0 {
            share(numbers - in_equations.min(numbers))
        } else {
            0.0
        },
        when_worked(share(decimals)),
        when_worked(magnitude(arithmetic)),
        when_worked(relative(sources.question_words.len(), 50.0)),
        when_worked(flag(arithmetic.found == 0)),
        when_worked(float(sources.hedges.min(3)) / 3.0),
        float(sources.corrections.min(3)) / 3.0,
        badness("hedging"),
        badness("repetition"),
        badness("truncated"),
        badness("topic"),
        badness("format"),
        badness("refusal"),
        badness("constraints"),
        badness("language"),
        badness("units"),
        badness("code"),
    ]
}

/// The decimal digits of the largest number, against four, up to twice as many.
fn magnitude(arithmetic: &Arithmetic) -> f64 {
    let largest = arithmetic
        .numbers
        .iter()
        .map(|mention| mention.value.to_f64().abs())
        .fold(1.0, f64::max);
    (largest.log10() / 4.0).min(2.0)
}

fn numbers_in_equations(arithmetic: &Arithmetic) -> usize {
    let mut at = 0;
    let mut inside = 0;
    for equation in &arithmetic.equations {
        while let Some(mention) = arithmetic.numbers.get(at)
            && mention.start < equation.range.end
        {
            inside += usize::from(mention.start >= equation.range.start);
            at += 1;
        }
    }
    inside
}
