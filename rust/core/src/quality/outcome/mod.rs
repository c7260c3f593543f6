//! What an answer finally says, in a form that can be compared: two models that agree are seldom both
//! wrong, so agreement is the strongest sign there is that a draft is right.
//!
//! A number, a letter of a multiple choice, yes or no, a time, a literal of code, a formula or a few
//! words. An explanation without a conclusion has none. Comparing says `None` wherever reasonable
//! people could differ.

mod compare;
mod literal;
mod locate;
mod quantity;
mod value;

use super::answer::Answer;
use super::units::Unit;
use super::words::words;
use value::Value;

/// What an answer finally says.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its words.
    pub text: String,
    value: Value,
}

impl Outcome {
    /// A form in which it can be grouped with others: equal forms are the same answer. The reverse
    /// does not hold: [`same`] knows that `5 hours` are `300 minutes`, and may be just `5`.
    #[must_use]
    pub fn normal(&self) -> String {
        self.value.normal()
    }
}

/// What an answer finally says, if it says so clearly.
#[must_use]
pub fn of(text: &str) -> Option<Outcome> {
    of_answer(&Answer::new(text))
}

/// A number that an answer comes to, with what it counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counted {
    /// Its words.
    pub(crate) text: String,
    /// Its unit, when it is one that converts.
    pub(crate) unit: Option<Unit>,
    /// Whether the unit is a sign before the number, such as `$`.
    pub(crate) signed: bool,
    /// The word behind the number, when nothing else is there.
    pub(crate) noun: Option<String>,
}

/// The number that an answer comes to, if it does.
pub(crate) fn counted(answer: &Answer<'_>) -> Option<Counted> {
    let outcome = of_answer(answer)?;
    let Value::Number(quantity) = outcome.value else {
        return None;
    };
    let found = words(&outcome.text);
    let text = outcome.text;
    let noun = match found.as_slice() {
        [first, .., last] if found.len() <= 3 => text[first.start..]
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| text[last.start..last.end].to_owned()),
        _ => None,
    };
    Some(Counted {
        signed: text.trim_start().starts_with(['$', '€']),
        unit: quantity.unit,
        noun: noun.filter(|noun| noun.chars().all(char::is_alphabetic)),
        text,
    })
}

fn of_answer(answer: &Answer<'_>) -> Option<Outcome> {
    let (text, manner) = locate::locate(answer)?;
    let value = value::read(&text)?;
    // Behind an argument only a number counts, and at the head only what the head can be.
    let clear = match manner {
        locate::Manner::Marked => !is_long(&value),
        locate::Manner::Whole => !text.is_empty(),
        locate::Manner::Head => matches!(value, Value::Truth(_) | Value::Choice(_)),
        locate::Manner::Conclusion => matches!(value, Value::Number(_)),
    };
    clear.then_some(Outcome { text, value })
}

/// Words that are rather an explanation.
fn is_long(value: &Value) -> bool {
    matches!(value, Value::Words(normal, _) if normal.split(' ').count() > 25)
}

/// Whether two answers finally say the same: `None` when one of them says nothing clearly, or when
/// they might both be meant alike.
#[must_use]
pub fn same(one: &str, other: &str) -> Option<bool> {
    compare::values(&of(one)?.value, &of(other)?.value)
}

#[cfg(test)]
mod tests;
