//! Whether an answer has what was demanded.

use crate::quality::answer::Answer;
use crate::quality::arithmetic::numbers;
use crate::quality::words::{is_spaceless, sentences, snippet, words};

use super::amounts::{Limit, Unit};
use super::request::{Demand, Form, Mark};

/// What is wrong with the answer, if anything.
pub(super) fn fault(answer: &Answer<'_>, demand: &Demand) -> Option<String> {
    let shown = said(answer);
    match demand {
        Demand::Without(term) => contains(shown, term)
            .then(|| format!("“{}” was forbidden, and it is there", snippet(term, 40))),
        Demand::WithoutLetter(letter) => shown
            .chars()
            .any(|c| c.to_lowercase().next() == Some(*letter))
            .then(|| format!("the letter “{letter}” was forbidden, and it is there")),
        Demand::With(term) => (!mentions(shown, term))
            .then(|| format!("“{}” was demanded, and it is not there", snippet(term, 40))),
        Demand::Start(phrase) => (!bare(shown).starts_with(&bare(phrase))).then(|| {
            format!(
                "it was to start with “{}”, and it starts with “{}”",
                snippet(phrase, 40),
                snippet(shown, 20)
            )
        }),
        Demand::End(phrase) => (!bare(shown).ends_with(&bare(phrase))).then(|| {
            format!(
                "it was to end with “{}”, and it does not",
                snippet(phrase, 40)
            )
        }),
        Demand::Lower => share(&answer.prose, char::is_uppercase)
            .filter(|share| *share > 0.02)
            .map(|_| "lower case was demanded, and there are capitals".to_owned()),
        Demand::Upper => share(&answer.prose, char::is_lowercase)
            .filter(|share| *share > 0.1)
            .map(|_| "capitals were demanded, and there are small letters".to_owned()),
        Demand::NoMark(mark) => marked(answer, *mark),
        Demand::Form(form) => (!has_form(answer, *form)).then(|| {
            let name = match form {
                Form::Yaml => "YAML",
                Form::Csv => "CSV",
                Form::Table => "a table",
                Form::Xml => "XML",
            };
            format!("{name} was demanded, and there is none")
        }),
        Demand::NumberOnly => (!is_number(shown)).then(|| {
            format!(
                "a number and nothing else was demanded: “{}”",
                snippet(shown, 40)
            )
        }),
        Demand::Limit(limit) => limited(answer, *limit),
    }
}

/// What is counted and searched: the final member of a JSON wrapping, or all that is shown.
fn said<'t>(answer: &'t Answer<'_>) -> &'t str {
    answer.final_field.as_deref().unwrap_or(answer.shown).trim()
}

fn spaceless(text: &str) -> bool {
    text.chars().any(is_spaceless)
}

/// Whether a text has a phrase, as whole words, whatever the case.
fn contains(text: &str, term: &str) -> bool {
    let (text, term) = (text.to_lowercase(), term.to_lowercase());
    if spaceless(&term) {
        return text.contains(&term);
    }
    text.match_indices(&term).any(|(at, _)| {
        let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !letter(text[..at].chars().next_back()) && !letter(text[at + term.len()..].chars().next())
    })
}

/// Whether a text has a phrase or a form of it: “cats” for “cat”, “lovely” for “love”.
fn mentions(text: &str, term: &str) -> bool {
    if contains(text, term) {
        return true;
    }
    let term = term.to_lowercase();
    let stem: &str = term.strip_suffix(['e', 'y', 's']).unwrap_or(&term);
    let long = stem.chars().count() >= 3 && !term.contains(' ');
    let text = text.to_lowercase();
    long && words(&text)
        .iter()
        .any(|word| text[word.start..word.end].starts_with(stem))
        || text.contains(&term.replace('-', " "))
}

/// Letters and digits in lower case, single spaces between words.
fn bare(text: &str) -> String {
    let mut out = String::new();
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
        if !word.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out
}

/// Which share of the letters is of a kind; `None` where there are too few to say.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share(text: &str, kind: fn(char) -> bool) -> Option<f64> {
    let letters = text
        .chars()
        .filter(|c| c.is_lowercase() || c.is_uppercase())
        .count();
    let of_kind = text.chars().filter(|c| kind(*c)).count();
    (letters >= 3).then(|| of_kind as f64 / letters as f64)
}

fn marked(answer: &Answer<'_>, mark: Mark) -> Option<String> {
    let prose: &str = &answer.prose;
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let (found, what) = match mark {
        Mark::Comma => {
            // A comma in a number is none of the sentence.
            let found = prose.match_indices([',', '，', '、']).any(|(at, sign)| {
                !(is_digit(prose[..at].chars().next_back())
                    && is_digit(prose[at + sign.len()..].chars().next()))
            });
            (found, "commas")
        }
        Mark::Exclamation => (prose.contains(['!', '！']), "exclamation marks"),
        Mark::Emoji => (prose.chars().any(is_emoji), "emoji"),
        Mark::Bullet => (bullets(prose) >= 2, "bullets"),
        Mark::Markdown => {
            let heading = prose
                .lines()
                .any(|line| line.starts_with('#') && line.trim_start_matches('#').starts_with(' '));
            let bold = prose.matches("**").count() >= 2;
            (heading || bold || !answer.fences.is_empty(), "Markdown")
        }
    };
    found.then(|| format!("{what} were forbidden, and there are some"))
}

fn is_emoji(c: char) -> bool {
    matches!(u32::from(c), 0x1F300..=0x1FAFF | 0x2600..=0x26FF | 0x1F000..=0x1F2FF | 0xFE0F)
}

fn bullets(text: &str) -> usize {
    text.lines()
        .map(str::trim_start)
        .filter(|line| {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            let numbered = (1..=3).contains(&digits)
                && line[digits..].starts_with([')', '.'])
                && line[digits + 1..].starts_with(' ');
            numbered
                || ["- ", "* ", "• ", "+ ", "– "]
                    .iter()
                    .any(|mark| line.starts_with(mark))
        })
        .count()
}

fn has_form(answer: &Answer<'_>, form: Form) -> bool {
    let mut parts = answer
        .fences
        .iter()
        .map(|fence| fence.body)
        .chain([answer.shown]);
    match form {
        Form::Table => parts.any(|part| {
            part.lines().any(|line| {
                let line = line.trim();
                line.contains("--")
                    && line.contains('|')
                    && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
            }) || part.contains("<table")
                || part.contains('┌')
                || part.contains("+--")
        }),
        Form::Yaml => parts.any(|part| {
            let lines = || part.lines().filter(|line| !line.trim().is_empty());
            let fits = lines()
                .filter(|line| {
                    let line = line.trim();
                    line.starts_with("- ")
                        || line.starts_with('#')
                        || line == "---"
                        || line.ends_with(':')
                        || line.contains(": ")
                })
                .count();
            fits > 0 && fits * 2 >= lines().count()
        }),
        Form::Csv => parts.any(|part| {
            [',', ';', '\t'].iter().any(|mark| {
                let rows = part
                    .lines()
                    .filter(|line| !line.trim().is_empty() && line.contains(*mark))
                    .count();
                rows >= 2 || rows == 1 && part.trim().lines().count() == 1
            })
        }),
        Form::Xml => parts.any(|part| {
            let trimmed = part.trim();
            trimmed.starts_with('<') && (trimmed.contains("</") || trimmed.contains("/>"))
        }),
    }
}

/// A number, with a sign, a currency or a unit, and no sentence around it.
fn is_number(text: &str) -> bool {
    let text = text.trim_matches(['*', '`', ' ', '.', '$']);
    let small = words(text).len() == 1 && text.chars().all(char::is_alphabetic) && text.len() <= 9;
    // “Seven” is a number, “none” is an answer too.
    small
        || (words(text).len() <= 4 && !numbers(text).is_empty()
            || text.chars().all(char::is_numeric))
            && !text.is_empty()
}

fn limited(answer: &Answer<'_>, limit: Limit) -> Option<String> {
    let text = said(answer);
    if !answer.fences.is_empty() {
        return None;
    }
    let (count, unit) = match limit.unit {
        Unit::Words => (words(text).len(), "words"),
        Unit::Sentences => (sentences(text).len(), "sentences"),
        Unit::Lines => (
            text.lines()
                .map(str::trim)
                // Titles and labels are no lines of the text.
                .filter(|line| {
                    let title = line.starts_with('#') || line.ends_with([':', '：']);
                    let bold = line.starts_with("**") && line.ends_with("**");
                    !line.is_empty() && !title && !bold
                })
                .count(),
            "lines",
        ),
        Unit::Paragraphs => (
            text.split("\n\n")
                .filter(|part| words(part).len() > 3)
                .count(),
            "paragraphs",
        ),
        Unit::Bullets => (bullets(text), "bullet points"),
        Unit::Characters => (text.chars().count(), "characters"),
    };
    if (limit.least..=limit.most).contains(&count) {
        return None;
    }
    let wanted = match (limit.least, limit.most) {
        (0, most) => format!("at most {most}"),
        (least, usize::MAX) => format!("at least {least}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    Some(format!(
        "{wanted} {unit} were asked for, and there are {count}"
    ))
}
