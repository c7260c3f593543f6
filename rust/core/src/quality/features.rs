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
pub const COUNT: usize = 20;

/// Their names, in order.
pub const NAMES: [&str; COUNT] = [
    "wrong_arithmetic",
    "final_unsupported",
    "not_last_result",
    "foreign_operands",
    "unused_results",
    "unused_givens",
    "impossible_count",
    "unclear_final",
    "final_length",
    "effort",
    "loose_numbers",
    "decimals",
    "question_load",
    "self_correction",
    "hedging",
    "repetition",
    "truncated",
    "off_topic",
    "format",
    "refusal",
];

/// What the features are taken from.
pub(crate) struct Sources<'s> {
    pub(crate) prose_words: &'s [Word],
    pub(crate) question_words: &'s [Word],
    pub(crate) arithmetic: &'s Arithmetic,
    pub(crate) last: Option<&'s FinalAnswer>,
    pub(crate) measures: &'s Measures,
    pub(crate) corrections: usize,
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

/// The logarithm of a length against a usual one, within bounds: 0 at the usual length.
fn relative(length: usize, usual: f64) -> f64 {
    ((float(length) + 1.0) / usual).ln().clamp(-1.5, 2.0)
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
    let final_length = explicit.map_or(0.0, |last| {
        (float(last.text.chars().count().min(400)) / 4.0 + 1.0).ln()
    });
    [
        flag(arithmetic.wrong > 0),
        badness(super::reasoning::FINAL),
        measures.not_last_result,
        measures.foreign_operands,
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
        when_worked(relative(sources.question_words.len(), 50.0)),
        float(sources.corrections.min(3)) / 3.0,
        badness("hedging"),
        badness("repetition"),
        badness("truncated"),
        badness("topic"),
        badness("format"),
        badness("refusal"),
    ]
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
