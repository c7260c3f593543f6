//! Reading the number of a final answer, with its unit.

use std::sync::LazyLock;

use crate::quality::arithmetic::{Mention, Rational, numbers, read_number};
use crate::quality::units::{Unit, unit_at};
use crate::quality::words::{Word, WordClasses, WordSet, words};

/// A number with what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantity {
    /// The number, of a percentage the one written.
    pub(super) value: Rational,
    /// Decimals it was written with; `None` for a fraction, which is exact.
    pub(super) decimals: Option<u32>,
    /// Whether a percent sign stands behind it.
    pub(super) percent: bool,
    /// Its unit, when it is one that converts.
    pub(super) unit: Option<Unit>,
    /// Whether its point or comma may mean either thousands or decimals.
    pub(super) ambiguous: bool,
}

/// Words that lead up to a number or follow it, without being part of a name.
static LEADING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "so therefore thus hence total the answer result finally approximately about around exactly \
         only usd us eur gbp rs cad aud roughly nearly x y n is equals final it he she they there",
    )
});

static MONTHS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "january february march april may june july august september october november december jan \
         feb mar apr jun jul aug sep sept oct nov dec januar februar märz mai juni juli oktober \
         dezember janvier février avril juin juillet août septembre octobre décembre enero marzo \
         abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    )
});

static SCALES: LazyLock<WordClasses<u8>> = LazyLock::new(|| {
    WordClasses::new(&[
        (2, "hundred"),
        (3, "thousand k mil mille tausend"),
        (6, "million millions millionen millones mn"),
        (9, "billion billions bn milliarde milliarden"),
        (12, "trillion trillions"),
        (1, "dozen"),
    ])
});

const SMALL: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

/// A number, alone or with a unit, or the only number of a short sentence.
pub(super) fn quantity(text: &str) -> Option<Quantity> {
    // Behind the last equals sign: “x = 5”, “20 * 40 + 80 * 30 = 3200”.
    let part = text.rsplit(['=', '≈']).next().unwrap_or(text).trim();
    let part = part.trim_start_matches("\\approx").trim();
    let part = part.trim_start_matches(['~', '*', '`', ' ']);
    if let Some(value) = fraction(part) {
        return Some(exact(value));
    }
    let all = words(part);
    if all.len() > 15 {
        return None;
    }
    if let [only] = all.as_slice()
        && let Some(small) = SMALL
            .iter()
            .position(|word| part[only.start..only.end].eq_ignore_ascii_case(word))
    {
        return Some(exact(Rational::integer(i128::try_from(small).ok()?)));
    }
    let (mention, digits) = only_number(part, &all)?;
    let written = read_number(digits, false)?;
    let before = part[..mention.start].trim_end_matches(['$', '€', '£', ' ', '\\', '(']);
    let negative = before.ends_with(['-', '−']);
    let value = if negative {
        written.value.negate()?
    } else {
        written.value
    };
    let behind = part[mention.start + digits.len()..].trim_start();
    let (power, length) = scale(behind)?;
    let value = value.times(power)?;
    let scaled = u32::try_from(power.to_exact().len() - 1).unwrap_or(0);
    let decimals = Some(written.decimals.saturating_sub(scaled));
    let behind = behind[length..].trim_start_matches(['\\', '}', ')', ' ', '*', '-']);
    let percent = behind.starts_with(['%', '％'])
        || behind.starts_with("percent")
        || behind.starts_with("per cent");
    let currency = part[..mention.start].trim_end().chars().next_back();
    let unit = match currency {
        Some('$') => unit_at("$"),
        Some('€') => unit_at("€"),
        _ => unit_at(behind).filter(|_| !is_rate(behind)),
    };
    Some(Quantity {
        value,
        decimals,
        percent,
        unit,
        ambiguous: is_ambiguous(digits),
    })
}

/// The only number of a text, and its digits, if it counts something and is no part of a name.
fn only_number<'t>(part: &'t str, all: &[Word]) -> Option<(Mention, &'t str)> {
    let found = numbers(part);
    let [mention] = found.as_slice() else {
        return None;
    };
    // A code such as “nU00 9 w00” is no number.
    let digit = |word: &Word| {
        let outside = word.end <= mention.start || word.start >= mention.end;
        outside && part[word.start..word.end].contains(|c: char| c.is_ascii_digit())
    };
    let raw = &part[mention.start..mention.end];
    let digits = raw.trim_end_matches(|c: char| c.is_alphabetic());
    // Not a clock time, a date or a version.
    let plain = |c: char| c.is_ascii_digit() || ".,{} \u{a0}\u{202f}½¼¾⅓⅔⅛".contains(c);
    // “48g” and “3rd”, but not “1co”.
    let suffix = &raw[digits.len()..];
    let known = suffix.is_empty()
        || unit_at(suffix).is_some()
        || matches!(
            suffix,
            "k" | "K" | "M" | "bn" | "st" | "nd" | "rd" | "th" | "m" | "h" | "x"
        );
    let glued = part[mention.end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let counted = is_counted(part, mention.start, all);
    (known && !glued && counted && !all.iter().any(digit) && digits.chars().all(plain))
        .then_some((*mention, digits))
}

/// The power of ten that a word behind a number stands for, and its length; `None` when the word is a
/// month, and the number a date.
fn scale(behind: &str) -> Option<(Rational, usize)> {
    let next = words(behind).first().copied();
    let Some(word) = next.filter(|word| word.start == 0) else {
        return Some((Rational::ONE, 0));
    };
    if MONTHS.has(word.hash) {
        return None;
    }
    Some(match SCALES.get(word.hash) {
        Some(1) => (Rational::integer(12), word.end),
        Some(power) => (
            Rational::integer(10_i128.checked_pow(u32::from(power))?),
            word.end,
        ),
        None => (Rational::ONE, 0),
    })
}

fn exact(value: Rational) -> Quantity {
    Quantity {
        value,
        decimals: None,
        percent: false,
        unit: None,
        ambiguous: false,
    }
}

fn is_ambiguous(digits: &str) -> bool {
    let marks = digits
        .bytes()
        .filter(|byte| matches!(byte, b'.' | b','))
        .count();
    marks == 1
        && digits
            .rfind('.')
            .is_some_and(|at| digits.len() - at == 4 && (1..=3).contains(&at))
}

/// “miles per hour”, “km/h”: no unit of the table.
fn is_rate(behind: &str) -> bool {
    let word = behind
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(behind.len());
    let rest = behind[word..].trim_start();
    rest.starts_with('/')
        || ["per ", "each ", "a ", "pro ", "par ", "por ", "an "]
            .iter()
            .any(|per| rest.starts_with(per))
}

/// Whether the number counts something, and is not part of a name or date: “May 5”, “Apollo 11”.
fn is_counted(part: &str, at: usize, all: &[Word]) -> bool {
    let Some(before) = all.iter().rfind(|word| word.end <= at) else {
        return true;
    };
    let between = part[before.end..at].trim();
    if between.ends_with(['$', '€', '£', ':', '=', '(']) {
        return true;
    }
    if before.end == at || between.contains(['+', '*', '/', '^', '\\']) {
        return false; // a letter is glued to it, or calculated with
    }
    let capital = part[before.start..].starts_with(char::is_uppercase);
    !(MONTHS.has(before.hash) || capital && !LEADING.has(before.hash))
}

/// “3/4”, “1 1/2”, “\frac{3}{4}”, “-\dfrac{1}{2}”.
fn fraction(text: &str) -> Option<Rational> {
    let (negative, text) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let whole = |part: &str| -> Option<i128> {
        let part = part.trim();
        (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse().ok())?
    };
    let latex = ["\\frac{", "\\dfrac{", "\\tfrac{"].iter().find_map(|open| {
        let at = text.find(open)?;
        let (top, rest) = text[at + open.len()..].split_once("}{")?;
        Some((&text[..at], top, rest.strip_suffix('}')?))
    });
    let (lead, top, bottom) = if let Some(parts) = latex {
        parts
    } else {
        let (left, bottom) = text.split_once('/')?;
        let left = left.trim();
        let (lead, top) = left.rsplit_once(' ').unwrap_or(("", left));
        (lead, top, bottom)
    };
    let mut value = Rational::new(whole(top)?, whole(bottom)?)?;
    if !lead.trim().is_empty() {
        value = value.plus(Rational::integer(whole(lead)?))?;
    }
    if negative {
        value.negate()
    } else {
        Some(value)
    }
}
