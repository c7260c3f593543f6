//! Where an answer says what its answer is.

use super::answer::Answer;
use super::arithmetic::{Rational, numbers};
use super::phrases::Phrases;
use std::sync::LazyLock;

/// The final answer of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct FinalAnswer {
    /// Its text.
    pub text: String,
    /// Where it begins in the prose; the prose's end when it stands apart in a JSON member.
    pub start: usize,
    /// The one number it consists of, if it does.
    pub number: Option<Rational>,
    /// Whether it is marked as the answer, and not only the last sentence.
    pub explicit: bool,
}

pub(super) static CUES: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::from_list(include_str!("phrases/final_answer.txt"), &["cue"]));

/// Finds it: a member of a JSON wrapping, `\boxed{…}`, a line of `####`, a phrase such as “the answer
/// is”, or else the last sentence.
#[must_use]
pub fn find(answer: &Answer<'_>) -> Option<FinalAnswer> {
    let prose: &str = &answer.prose;
    if let Some(field) = &answer.final_field {
        return Some(FinalAnswer {
            text: field.clone(),
            start: prose.len(),
            number: single_number(field),
            explicit: true,
        });
    }
    let marked = boxed(prose)
        .or_else(|| hashes(prose))
        .or_else(|| cued(prose));
    if let Some((start, text)) = marked.filter(|(_, text)| !text.is_empty()) {
        return Some(FinalAnswer {
            text: text.to_owned(),
            start,
            number: single_number(text),
            explicit: true,
        });
    }
    let trimmed = prose.trim_end();
    let line_start = trimmed.rfind('\n').map_or(0, |at| at + 1);
    let line = &trimmed[line_start..];
    let sentence = super::words::sentences(line).pop()?;
    let text = &line[sentence.clone()];
    Some(FinalAnswer {
        text: text.to_owned(),
        start: line_start + sentence.start,
        number: single_number(text),
        explicit: false,
    })
}

/// The number a text consists of: the only one in it, or the one behind its last equals sign.
#[must_use]
pub fn single_number(text: &str) -> Option<Rational> {
    let part = text.rsplit(['=', '≈']).next().unwrap_or(text);
    let found = numbers(part);
    let (first, rest) = found.split_first()?;
    if !rest.is_empty() {
        return None;
    }
    let negative = part[..first.start]
        .trim_end_matches(['$', '€', '£', ' '])
        .ends_with(['-', '−']);
    if negative {
        first.value.negate()
    } else {
        Some(first.value)
    }
}

pub(super) fn boxed(prose: &str) -> Option<(usize, &str)> {
    let start = prose.rfind("\\boxed{")? + "\\boxed{".len();
    let mut depth = 1_usize;
    for (offset, byte) in prose[start..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((start, prose[start..start + offset].trim()));
        }
    }
    None
}

pub(super) fn hashes(prose: &str) -> Option<(usize, &str)> {
    let start = prose.rfind("\n#### ").map(|at| at + 6)?;
    let line = prose[start..].split('\n').next()?;
    Some((start, line.trim()))
}

fn cued(prose: &str) -> Option<(usize, &str)> {
    let found = CUES.find(prose).last()?;
    let rest = &prose[found.end..];
    let line = rest.split('\n').find(|line| !line.trim().is_empty())?;
    let start = found.end + (line.as_ptr() as usize - rest.as_ptr() as usize);
    // To the end of the sentence, which a decimal point is not.
    let end = line
        .match_indices(['.', '。', ';'])
        .find(|(at, mark)| !line[at + mark.len()..].starts_with(|c: char| c.is_alphanumeric()))
        .map_or(line.len(), |(at, _)| at);
    Some((
        start,
        line[..end].trim_matches([' ', '*', '`', ':', '_', '"']),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn final_of(text: &str) -> FinalAnswer {
        find(&Answer::new(text)).unwrap()
    }

    #[test]
    fn finds_the_marked_answer() {
        for (text, expected) in [
            ("2 + 2 = 4\n#### 4", "4"),
            ("So \\boxed{\\frac{1}{2}} it is.", "\\frac{1}{2}"),
            ("Thus the answer is 3.5. Goodbye.", "3.5"),
            ("**Answer:** Paris", "Paris"),
            ("Die Antwort lautet 42.", "42"),
            ("因此答案是 18。", "18"),
            ("```json\n{\"reasoning\": \"x\", \"answer\": 12}\n```", "12"),
        ] {
            let found = final_of(text);
            assert_eq!(found.text, expected, "{text}");
            assert!(found.explicit);
        }
    }

    #[test]
    fn else_takes_the_last_sentence() {
        let found = final_of("She had 5. She ate 2. She has 3 left.");
        assert_eq!(found.text, "She has 3 left.");
        assert!(!found.explicit);
        assert_eq!(found.number, Some(Rational::integer(3)));
    }

    #[test]
    fn reads_one_number_or_none() {
        assert_eq!(single_number("$1,200"), Some(Rational::integer(1200)));
        assert_eq!(single_number("-5 degrees"), Some(Rational::integer(-5)));
        assert_eq!(single_number("3 + 4 = 7"), Some(Rational::integer(7)));
        assert_eq!(single_number("3 apples and 4 pears"), None);
        assert_eq!(single_number("Paris"), None);
    }
}
