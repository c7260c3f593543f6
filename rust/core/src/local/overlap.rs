//! What an answer has of its question: words, numbers, names, script and form.
//!
//! The measures say whether an answer may be one to *this* question; whether it is right is not
//! looked at.

use super::terms::{is_spaceless, numbers, terms};
use crate::quality::words::{WordSet, words};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes of either text that are compared.
const MOST: usize = 64 * 1024;

/// The names of [`measures`].
pub const NAMES: [&str; 14] = [
    "question's words in the answer",
    "answer's words in the question",
    "rare words shared",
    "word pairs shared",
    "question's numbers in the answer",
    "question's names in the answer",
    "has numbers to share",
    "has names to share",
    "question's length",
    "answer's length",
    "number asked and given",
    "number asked and lacking",
    "code on one side only",
    "other script",
];

static ASKS_FOR_NUMBER: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "many much calculate compute percent percentage sum total average age old tall cost costs price",
    )
});

/// Counts what [`NAMES`] names; each 0 to 1. Time is linear in the texts, of which the first and the
/// last 32 KiB are read.
#[must_use]
pub fn measures(question: &str, answer: &str) -> [f32; NAMES.len()] {
    let (question, answer) = (read(question), read(answer));
    let (question, answer) = (question.as_ref(), answer.as_ref());
    let (asked, said) = (terms(question), terms(answer));
    let distinct =
        |found: &[super::terms::Term]| -> HashSet<u64> { found.iter().map(|t| t.stem).collect() };
    let (asked_stems, said_stems) = (distinct(&asked), distinct(&said));
    let shared = asked_stems.intersection(&said_stems).count();
    let pairs = |found: &[super::terms::Term]| -> HashSet<(u64, u64)> {
        found
            .windows(2)
            .map(|pair| (pair[0].stem, pair[1].stem))
            .collect()
    };
    let shared_pairs = pairs(&asked).intersection(&pairs(&said)).count();
    let values =
        |text: &str| -> HashSet<String> { numbers(text).into_iter().map(|(_, _, v)| v).collect() };
    let (givens, results) = (values(question), values(answer));
    let names: HashSet<u64> = named(question, &asked).collect();
    let long = asked
        .iter()
        .filter(|term| term.end - term.start >= 7)
        .map(|term| term.stem)
        .collect::<HashSet<u64>>();
    let number_asked = question.contains('?')
        && words(question)
            .iter()
            .any(|word| ASKS_FOR_NUMBER.has(word.hash));
    [
        ratio(shared, asked_stems.len()),
        ratio(shared, said_stems.len()),
        ratio(long.intersection(&said_stems).count(), long.len()),
        // Saturates: two pairs are hardly chance.
        ratio(shared_pairs, shared_pairs + 2),
        ratio(givens.intersection(&results).count(), givens.len()),
        ratio(names.intersection(&said_stems).count(), names.len()),
        f32::from(!givens.is_empty()),
        f32::from(!names.is_empty()),
        ratio(asked.len(), asked.len() + 20),
        ratio(said.len(), said.len() + 40),
        f32::from(number_asked && !results.is_empty()),
        f32::from(number_asked && results.is_empty()),
        f32::from(looks_like_code(question) != looks_like_code(answer)),
        other_script(question, answer),
    ]
}

/// The beginning and the end of a text that is long.
fn read(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MOST {
        return text.into();
    }
    let head = &text[..text.floor_char_boundary(MOST / 2)];
    let tail = &text[text.ceil_char_boundary(text.len() - MOST / 2)..];
    format!("{head}\n{tail}").into()
}

fn named<'a>(text: &'a str, said: &'a [super::terms::Term]) -> impl Iterator<Item = u64> + 'a {
    let starts: HashSet<usize> = crate::quality::words::sentences(text)
        .into_iter()
        .filter_map(|Range { start, end }| {
            words(&text[start..end])
                .first()
                .map(|word| start + word.start)
        })
        .collect();
    said.iter()
        .filter(move |term| !starts.contains(&term.start))
        .filter(|term| {
            text[term.start..term.end]
                .chars()
                .next()
                .is_some_and(char::is_uppercase)
        })
        .map(|term| term.stem)
}

/// Whether a text holds code; a block of data or prose is none.
fn looks_like_code(text: &str) -> bool {
    const NO_CODE: [&str; 8] = ["", "json", "text", "txt", "markdown", "md", "csv", "yaml"];
    let fenced = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("```"));
    let mut opening = true;
    for language in fenced {
        if opening && !NO_CODE.contains(&language.trim().to_ascii_lowercase().as_str()) {
            return true;
        }
        opening = !opening;
    }
    text.lines()
        .filter(|line| {
            let line = line.trim();
            line.ends_with(['{', ';'])
                || line.starts_with("def ")
                || line.starts_with("import ")
                || line.starts_with("return ")
        })
        .take(2)
        .count()
        == 2
}

/// How much of the answer is in a script that the question does not use, 0 to 1.
fn other_script(question: &str, answer: &str) -> f32 {
    let asked: HashSet<u8> = question.chars().filter_map(script).collect();
    if asked.is_empty() {
        return 0.0;
    }
    let (mut other, mut all) = (0, 0);
    for script in answer.chars().filter_map(script) {
        all += 1;
        other += usize::from(!asked.contains(&script));
    }
    ratio(other, all)
}

/// A rough class of scripts; `None` for what is no letter.
fn script(character: char) -> Option<u8> {
    if !character.is_alphabetic() {
        return None;
    }
    Some(match u32::from(character) {
        0..=0x24F | 0x1E00..=0x1EFF => 0,
        0x370..=0x3FF => 1,
        0x400..=0x52F => 2,
        0x590..=0x5FF => 3,
        0x600..=0x77F => 4,
        0x900..=0xDFF => 5,
        0xAC00..=0xD7AF | 0x1100..=0x11FF => 6,
        _ if is_spaceless(character) => 7,
        _ => 8,
    })
}

fn ratio(part: usize, whole: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "words of 64 KiB")]
    let (part, whole) = (part as f32, whole as f32);
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(question: &str, answer: &str, name: &str) -> f32 {
        let at = NAMES.iter().position(|known| *known == name);
        measures(question, answer)[at.unwrap_or(usize::MAX)]
    }

    fn close(left: f32, right: f32) {
        assert!((left - right).abs() < 1e-5, "{left} {right}");
    }

    #[test]
    fn what_comes_back_is_counted() {
        let question = "How many apples does Nora sell on Monday if she sold 12 pears?";
        let answer = "Nora sells 30 apples.";
        close(
            measure(question, answer, "question's words in the answer"),
            3.0 / 7.0,
        );
        close(
            measure(question, answer, "question's names in the answer"),
            1.0 / 2.0,
        );
        close(
            measure(question, answer, "question's numbers in the answer"),
            0.0,
        );
        close(measure(question, answer, "number asked and given"), 1.0);
        close(
            measure(question, "Nora sells apples.", "number asked and lacking"),
            1.0,
        );
    }

    #[test]
    fn code_and_scripts_are_seen() {
        close(
            measure("Say hello", "```py\nprint()\n```", "code on one side only"),
            1.0,
        );
        close(
            measure("Say hello", "```json\n{}\n```", "code on one side only"),
            0.0,
        );
        close(measure("Say hello", "Привет", "other script"), 1.0);
        close(measure("Скажи hello", "Привет", "other script"), 0.0);
    }

    proptest::proptest! {
        #[test]
        fn measures_are_shares_whatever_the_texts(question in ".{0,100}", answer in ".{0,100}") {
            proptest::prop_assert!(measures(&question, &answer).iter().all(|m| (0.0..=1.0).contains(m)));
        }

        #[test]
        fn the_question_itself_has_all_of_it(text in "[A-Z][a-z]{3,8}( [a-z]{3,8}){3,9}\\?") {
            let found = measures(&text, &text);
            proptest::prop_assert!((found[0] - found[1]).abs() < 1e-6 && (found[0] > 0.99 || found[8] < 0.01));
        }
    }
}
