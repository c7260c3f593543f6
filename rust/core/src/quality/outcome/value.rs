//! What the words of a final answer mean, and in what form two of them can be compared.

use std::sync::LazyLock;

use crate::quality::words::{WordClasses, words};

use super::literal::{self, Shape};
use super::quantity::{Quantity, quantity};

/// What a final answer is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number.
    Number(Quantity),
    /// A letter of a multiple choice.
    Choice(char),
    /// Yes or no, true or false.
    Truth(bool),
    /// A time of day, in minutes.
    Clock(u32),
    /// A string in quotes, and its content.
    Quoted(String),
    /// A list, tuple, set, dictionary or `None`, in its one form.
    Literal(String),
    /// An expression with variables, in one form and as it stands.
    Formula(String, String),
    /// Other words, in lower case and without marks; and as they stand.
    Words(String, String),
}

impl Value {
    /// The form in which equal answers are written alike.
    pub(super) fn normal(&self) -> String {
        match self {
            Self::Number(quantity) => {
                let percent = if quantity.percent { "%" } else { "" };
                let unit = quantity
                    .unit
                    .map_or(String::new(), |unit| format!(" {}", unit.name));
                format!("{}{percent}{unit}", quantity.value.to_exact())
            }
            Self::Choice(letter) => letter.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Clock(minutes) => format!("{:02}:{:02}", minutes / 60, minutes % 60),
            Self::Quoted(text)
            | Self::Literal(text)
            | Self::Formula(text, _)
            | Self::Words(text, _) => text.clone(),
        }
    }
}

static TRUTHS: LazyLock<WordClasses<bool>> = LazyLock::new(|| {
    WordClasses::new(&[
        (
            true,
            "yes true correct ja oui sí si sì sim tak да 是 はい 예 네 evet",
        ),
        (
            false,
            "no false incorrect nein non não nee nie нет 否 いいえ 아니요 hayır",
        ),
    ])
});

/// Reads a final answer; `lenient` allows a sentence around a number.
pub(super) fn read(text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Words(String::new(), String::new()));
    }
    let text = unwrap(text);
    if text.is_empty() {
        return None;
    }
    if let Some(literal) = literal::read(text) {
        match literal.shape {
            Shape::Quoted(content) => return Some(Value::Quoted(content)),
            Shape::Container | Shape::Nothing => return Some(Value::Literal(literal.canonical)),
            Shape::Truth(truth) => return Some(Value::Truth(truth)),
            Shape::Number => {}
        }
    }
    let plain = text.trim_end_matches(['.', '。', '!', ' ']);
    if let Some(truth) = truth(plain) {
        return Some(Value::Truth(truth));
    }
    if let Some(letter) = choice(plain) {
        return Some(Value::Choice(letter));
    }
    if let Some(minutes) = clock(plain) {
        return Some(Value::Clock(minutes));
    }
    if let Some(quantity) = quantity(plain) {
        return Some(Value::Number(quantity));
    }
    let signs = plain.contains(['\\', '^', '='])
        || plain.contains(['+', '*']) && plain.contains(|c: char| c.is_ascii_digit());
    if signs && words(plain).len() <= 30 {
        return Some(Value::Formula(formula(plain), text.to_owned()));
    }
    let normal = normal_words(plain);
    Some(match normal.as_str() {
        "" => Value::Words(text.to_owned(), text.to_owned()),
        "empty string" => Value::Quoted(String::new()),
        "empty list" | "empty array" => Value::Literal("[]".to_owned()),
        "empty dictionary" | "empty dict" | "empty object" => Value::Literal("{}".to_owned()),
        "empty tuple" => Value::Literal("()".to_owned()),
        _ => Value::Words(normal, text.to_owned()),
    })
}

/// Takes off Markdown, dollar signs of formulas, `\boxed{}`, `\text{}` and quotation marks.
fn unwrap(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let mut inner = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '`'));
        for (open, close) in [
            ("\\(", "\\)"),
            ("\\[", "\\]"),
            ("\\boxed{", "}"),
            ("\\text{", "}"),
            ("“", "”"),
            ("«", "»"),
            ("「", "」"),
        ] {
            if let Some(rest) = inner.strip_prefix(open)
                && let Some(rest) = rest.strip_suffix(close)
                && !rest.contains(open)
            {
                inner = rest.trim();
            }
        }
        if let Some(rest) = inner
            .strip_prefix('$')
            .and_then(|rest| rest.strip_suffix('$'))
        {
            inner = rest;
        }
        if inner.len() == text.len() {
            return text;
        }
        text = inner;
    }
}

pub(super) fn truth(text: &str) -> Option<bool> {
    let found = words(text);
    let first = found.first()?;
    let truth = TRUTHS.get(first.hash)?;
    let rest = text[first.end..].trim_start_matches(['*', '_', '.', '!']);
    let alone = text[..first.start].trim().is_empty() && found.len() == 1;
    // “Yes, it is prime”, and not “no more than 5”.
    (alone || first.start == 0 && rest.starts_with([',', ';', ':', '—', '–'])).then_some(truth)
}

/// “B”, “(B)”, “B) Paris”, “option B”, “B. Paris”.
fn choice(text: &str) -> Option<char> {
    let mut rest = text.trim_start_matches(['*', '_', ' ']);
    for lead in [
        "option ", "Option ", "choice ", "Choice ", "answer ", "letter ",
    ] {
        rest = rest.strip_prefix(lead).unwrap_or(rest);
    }
    let rest = rest.trim_start_matches(['*', '_']);
    let open = rest.strip_prefix(['(', '[']);
    let rest = open.unwrap_or(rest);
    let letter = rest.chars().next().filter(|c| matches!(c, 'A'..='J'))?;
    let behind = rest[1..].trim_start_matches(['*', '_']);
    let closed = behind.starts_with([')', ']']);
    // “B. Paris”, and not “J. K. Rowling”.
    let word = behind
        .strip_prefix(". ")
        .or_else(|| behind.strip_prefix(": "));
    let initial = |word: &str| {
        word.chars()
            .nth(1)
            .is_none_or(|second| !second.is_alphanumeric())
    };
    let marked = closed || open.is_none() && word.is_some_and(|word| !initial(word));
    (behind.is_empty() || marked).then_some(letter)
}

/// “2:00 pm”, “2 p.m.”, “14:30”.
fn clock(text: &str) -> Option<u32> {
    let lower = text
        .to_ascii_lowercase()
        .replace("p.m", "pm")
        .replace("a.m", "am");
    let bare = lower
        .trim_end_matches('.')
        .trim_end_matches("o'clock")
        .trim();
    let bare = bare.strip_prefix("at ").unwrap_or(bare);
    let (digits, half) = match bare.strip_suffix("pm") {
        Some(rest) => (rest, Some(12)),
        None => bare
            .strip_suffix("am")
            .map_or((bare, None), |rest| (rest, Some(0))),
    };
    let digits = digits.trim();
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, ""));
    let two = |part: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !two(hours, 1..=2) || !(minutes.is_empty() || two(minutes, 2..=2)) {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().unwrap_or(0));
    match half {
        Some(half) if (1..=12).contains(&hours) && minutes < 60 => {
            Some((hours % 12 + half) * 60 + minutes)
        }
        None if digits.contains(':') && hours < 24 && minutes < 60 => Some(hours * 60 + minutes),
        _ => None,
    }
}

/// A formula without spaces and the parts of LaTeX that only set it.
fn formula(text: &str) -> String {
    let mut out = text.to_owned();
    for (what, with) in [
        ("\\left", ""),
        ("\\right", ""),
        ("\\,", ""),
        ("\\!", ""),
        ("\\;", ""),
        ("\\ ", ""),
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\cdot", "*"),
        ("\\times", "*"),
        ("×", "*"),
        ("−", "-"),
        ("$", ""),
    ] {
        out = out.replace(what, with);
    }
    out.retain(|c| !c.is_whitespace());
    out
}

/// Words in lower case, without articles, marks and emphasis.
fn normal_words(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut kept: Vec<&str> = lower
        .split(|c: char| c.is_whitespace())
        .map(|word| {
            word.trim_matches(|c: char| {
                !c.is_alphanumeric() && !matches!(c, '+' | '-' | '#' | '%' | '$')
            })
        })
        .filter(|word| !word.is_empty())
        .collect();
    if kept.len() > 1
        && matches!(
            kept[0],
            "the" | "a" | "an" | "der" | "die" | "das" | "le" | "la" | "el" | "il"
        )
    {
        kept.remove(0);
    }
    kept.join(" ")
}
