//! Whether an answer has the form it was asked to have.

mod amounts;
mod shape;
mod wanted;

pub use shape::{Counts, list_items, looks_like_code};
pub use wanted::{Amount, Bound, Wanted, detect};

use super::answer::Answer;
use super::arithmetic::numbers;
use super::check::Check;
use super::json;
use super::schema::{Fit, JsonSchema};
use super::words::{WordSet, sentences, snippet, words};
use std::sync::LazyLock;

const NAME: &str = "format";

/// The form the protocol itself was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub enum ResponseFormat<'a> {
    /// Any text.
    #[default]
    Text,
    /// A JSON value.
    Json,
    /// A JSON value that fits this schema.
    Schema(&'a JsonSchema),
}

/// Checks the form that the protocol was asked for, or else the forms that the request's words ask for:
/// `asked` is what [`detect`] found in the question.
#[must_use]
pub fn check(
    answer: &Answer<'_>,
    asked: &[Wanted],
    instructions: &str,
    format: ResponseFormat<'_>,
) -> Check {
    if !matches!(format, ResponseFormat::Text) {
        return structured(answer, format);
    }
    let mut wanted = asked.to_vec();
    // A system prompt's standing rules: only what is said of every answer.
    wanted.extend(detect(instructions).into_iter().filter(|one| {
        matches!(
            one,
            Wanted::Json | Wanted::Words(_) | Wanted::Sentences(_) | Wanted::YesNo | Wanted::Letter
        )
    }));
    let mut worst: Option<Check> = None;
    let mut judged = false;
    for one in &wanted {
        let Some(check) = held_to(answer, one) else {
            continue;
        };
        judged = true;
        if check.score < worst.as_ref().map_or(1.0, |worst| worst.score) {
            worst = Some(check);
        }
    }
    match worst {
        Some(check) => check,
        None if judged => Check::passed(NAME),
        None => Check::not_applicable(NAME),
    }
}

fn structured(answer: &Answer<'_>, format: ResponseFormat<'_>) -> Check {
    let text = answer.shown.trim();
    let value = match json::parse(text) {
        Ok(value) => value,
        Err(error) => {
            let reason = format!("JSON was asked for, and this is none: {error}");
            return Check::hard(NAME, reason);
        }
    };
    let ResponseFormat::Schema(schema) = format else {
        return Check::passed(NAME);
    };
    match schema.fits(&value, text) {
        Fit::Fits => Check::passed(NAME),
        Fit::Fails(why) => Check::hard(NAME, format!("the JSON does not fit its schema: {why}")),
        Fit::Unknown(_) => Check::not_applicable(NAME),
    }
}

/// What the answer's text is when it must be counted: its final member, or all that is shown.
fn counted<'t>(answer: &'t Answer<'_>) -> &'t str {
    match &answer.final_field {
        Some(field) => field,
        None => answer.shown,
    }
}

fn held_to(answer: &Answer<'_>, wanted: &Wanted) -> Option<Check> {
    let text = counted(answer);
    match wanted {
        Wanted::Json => Some(json_in(answer)),
        Wanted::Words(amount) => Some(amounts(words(text).len(), *amount, "words")),
        Wanted::Sentences(amount) => {
            // Lists and code are no sentences.
            (answer.fences.is_empty() && list_items(text).is_none())
                .then(|| amounts(sentences(text).len(), *amount, "sentences"))
        }
        Wanted::Paragraphs(amount) => {
            let count = text
                .split("\n\n")
                .filter(|part| words(part).len() > 3)
                .count();
            answer
                .fences
                .is_empty()
                .then(|| amounts(count, *amount, "paragraphs"))
        }
        Wanted::Items(amount) => items(text, *amount),
        Wanted::YesNo => Some(yes_or_no(text)),
        Wanted::Letter => Some(letter(text)),
        Wanted::Code => {
            if answer
                .fences
                .iter()
                .any(|fence| !fence.body.trim().is_empty())
                || looks_like_code(text)
            {
                Some(Check::passed(NAME))
            } else {
                Some(Check::found(
                    NAME,
                    0.2,
                    "code was asked for, and there is none".to_owned(),
                ))
            }
        }
        Wanted::Number => {
            let none = numbers(text).is_empty()
                && numbers(&answer.prose).is_empty()
                && !text
                    .chars()
                    .chain(answer.prose.chars())
                    .any(char::is_numeric)
                && !has_number_word(text);
            Some(if none {
                let reason = format!(
                    "a number was asked for, and there is none: “{}”",
                    snippet(text, 40)
                );
                Check::found(NAME, 0.3, reason)
            } else {
                Check::passed(NAME)
            })
        }
    }
}

static NUMBERS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "zero no none one two three four five six seven eight nine ten eleven twelve dozen twenty \
         thirty forty fifty sixty seventy eighty ninety hundred thousand million billion many \
         several few couple pair infinite infinitely eins zwei drei deux dos",
    )
});

fn has_number_word(text: &str) -> bool {
    words(text).iter().any(|word| NUMBERS.has(word.hash))
}

/// JSON asked for in words may stand in a fence or between words, but it must be there and whole.
fn json_in(answer: &Answer<'_>) -> Check {
    let shown = answer.shown.trim();
    let whole = json::parse(shown);
    let fenced = || {
        answer
            .fences
            .iter()
            .any(|fence| json::parse(fence.body.trim()).is_ok())
    };
    let inner = || {
        let start = shown.find(['{', '['])?;
        let end = shown.rfind(['}', ']'])?;
        shown.get(start..=end).map(|text| json::parse(text).is_ok())
    };
    match whole {
        Ok(_) => Check::passed(NAME),
        Err(_) if fenced() || inner() == Some(true) => Check::passed(NAME),
        Err(error) => {
            let reason = if shown.contains(['{', '[']) {
                let start = shown.find(['{', '[']).unwrap_or(0);
                let error = json::parse(&shown[start..]).err().unwrap_or(error);
                format!("JSON was asked for, and it is broken: {error}")
            } else {
                "JSON was asked for, and there is none".to_owned()
            };
            Check::hard(NAME, reason)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn amounts(count: usize, amount: Amount, unit: &str) -> Check {
    let (have, want) = (count as f64, amount.count as f64);
    // Counting words is not an exact science: hyphens, numbers, headings.
    let slack = if unit == "sentences" && amount.count >= 5 {
        1.0
    } else if unit == "words" {
        (want * 0.1).max(if amount.count <= 3 { 0.0 } else { 1.0 })
    } else {
        0.0
    };
    let off = match amount.bound {
        Bound::Exactly => (have - want).abs() - slack,
        Bound::AtMost => have - want - slack,
        Bound::AtLeast => want - have - slack,
        Bound::About => (have - want).abs() - (want * 0.4).max(1.0),
        Bound::From(low) => (low as f64 - have).max(have - want) - slack,
    };
    if off <= 0.0 {
        return Check::passed(NAME);
    }
    let score = (0.45 - 0.4 * off / want).clamp(0.05, 0.45);
    let bound = match amount.bound {
        Bound::Exactly => String::new(),
        Bound::AtMost => "at most ".to_owned(),
        Bound::AtLeast => "at least ".to_owned(),
        Bound::About => "about ".to_owned(),
        Bound::From(low) => format!("{low} to "),
    };
    let reason = format!(
        "{bound}{} {unit} were asked for, and there are {count}",
        amount.count
    );
    Check::found(NAME, score, reason)
}

/// A list may be numbered, bulleted, or its items may be headings with bullets below: any count that
/// fits will do. Without a list there is nothing to count; and too many bullets may be details of the
/// few items asked for, so only numbered ones can be too many.
fn items(text: &str, amount: Amount) -> Option<Check> {
    let counts = list_items(text)?;
    let ways = counts.ways();
    let best = ways
        .iter()
        .map(|count| amounts(*count, amount, "items"))
        .max_by(|a, b| a.score.total_cmp(&b.score))?;
    let too_few = ways.iter().all(|count| *count < amount.count);
    let too_many = counts.highest > amount.count && amount.count >= 3;
    (best.score >= 0.5 || too_few || too_many).then_some(best)
}

static EITHER: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "yes no ja nein oui non sí si sì sim não nee tak nie да нет 是 否 不 はい \
         いいえ 예 아니요 네 evet hayır true false nej không",
    )
});

fn yes_or_no(text: &str) -> Check {
    let found = words(text);
    let says = |word: &super::words::Word| EITHER.has(word.hash);
    let spaceless = ["はい", "いいえ"].iter().any(|word| text.contains(word));
    if spaceless || found.iter().take(12).any(says) || found.iter().rev().take(12).any(says) {
        Check::passed(NAME)
    } else {
        let reason = format!("yes or no was asked for: “{}”", snippet(text, 40));
        Check::found(NAME, 0.25, reason)
    }
}

fn letter(text: &str) -> Check {
    let found = words(text);
    let single = |word: &super::words::Word| {
        let word = &text[word.start..word.end];
        word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    if found.iter().any(single) && found.len() <= 25 {
        Check::passed(NAME)
    } else {
        let reason = format!("one letter was asked for: “{}”", snippet(text, 40));
        Check::found(NAME, 0.3, reason)
    }
}

#[cfg(test)]
mod tests;
