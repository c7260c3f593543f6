//! Comparing what two answers finally say.

use crate::quality::arithmetic::{Rational, numbers};

use super::literal;
use super::quantity::Quantity;
use super::value::Value;

/// Whether two values are the same answer; `None` when it cannot be said.
pub(super) fn values(one: &Value, other: &Value) -> Option<bool> {
    use Value::{Choice, Clock, Formula, Literal, Number, Quoted, Truth, Words};
    match (one, other) {
        // Two that left the answer empty agree on nothing.
        (Words(a, _), Words(b, _)) if a.is_empty() && b.is_empty() => return None,
        _ if one == other => return Some(true),
        _ => {}
    }
    match (one, other) {
        (Number(a), Number(b)) => quantities(*a, *b),
        (Choice(_), Choice(_))
        | (Truth(_), Truth(_) | Number(_) | Literal(_) | Clock(_))
        | (Number(_) | Literal(_) | Clock(_), Truth(_))
        | (Quoted(_), Quoted(_))
        | (Literal(_), Literal(_) | Number(_) | Clock(_))
        | (Number(_) | Clock(_), Literal(_))
        | (Clock(_), Clock(_)) => Some(false),
        (Clock(minutes), Number(quantity)) | (Number(quantity), Clock(minutes)) => {
            // “2:00” and “2” may be the same time.
            let hour = Rational::integer(i128::from(minutes / 60 % 12));
            (quantity.value != hour).then_some(false)
        }
        (Quoted(content), value) | (value, Quoted(content)) => quoted(content, value),
        (Words(a, raw_a), Words(b, raw_b)) => words(a, raw_a, b, raw_b),
        (Formula(a, _), Formula(b, _)) if a == b => Some(true),
        (Choice(_), _) | (_, Choice(_)) => None,
        (a, b) => loose(&a.normal(), &b.normal()),
    }
}

/// A string in quotes beside a value without: the quotes may have been left out.
fn quoted(content: &str, value: &Value) -> Option<bool> {
    let plain = match value {
        Value::Words(_, raw) | Value::Formula(_, raw) => raw.clone(),
        Value::Truth(truth) => return Some(super::value::truth(content) == Some(*truth)),
        other => other.normal(),
    };
    if content == plain {
        return Some(true);
    }
    // White space at the ends is lost without quotes.
    if content.trim().to_lowercase() == plain.trim().to_lowercase() {
        return None;
    }
    let inner = literal::read(content).map_or_else(|| content.to_owned(), |inner| inner.canonical);
    Some(inner == plain)
}

fn quantities(a: Quantity, b: Quantity) -> Option<bool> {
    if close(a.value, a.decimals, b.value, b.decimals) {
        // The same number of different things is another answer, such as 5 hours and 5 minutes.
        return match (a.unit, b.unit) {
            (Some(one), Some(two)) if one.name != two.name && a.value != Rational::ZERO => {
                Some(false)
            }
            _ => Some(true),
        };
    }
    let hundred = Rational::integer(100);
    let percent_of = |percent: Quantity, share: Quantity| {
        percent.percent
            && !share.percent
            && share.value.times(hundred).is_some_and(|whole| {
                close(
                    percent.value,
                    percent.decimals,
                    whole,
                    share.decimals.map(|d| d.saturating_sub(2)),
                )
            })
    };
    if percent_of(a, b) || percent_of(b, a) {
        return Some(true);
    }
    if let (Some(one), Some(two)) = (a.unit, b.unit)
        && one.dimension == two.dimension
        && let (Some(left), Some(right)) = (a.value.times(one.factor), b.value.times(two.factor))
        && left == right
    {
        return Some(true);
    }
    // 1.234 may be a thousand times as much where a point groups digits.
    let thousand = Rational::integer(1000);
    let grouped =
        |x: Quantity, y: Quantity| x.ambiguous && x.value.times(thousand) == Some(y.value);
    if grouped(a, b) || grouped(b, a) {
        return None;
    }
    Some(false)
}

/// Whether two numbers are the same but for rounding: one has fewer decimals, but at least one, and
/// the other comes to it.
fn close(a: Rational, a_decimals: Option<u32>, b: Rational, b_decimals: Option<u32>) -> bool {
    if a == b {
        return true;
    }
    let decimals = match (a_decimals, b_decimals) {
        (Some(a), Some(b)) if a != b => a.min(b),
        (Some(decimals), None) | (None, Some(decimals)) => decimals,
        _ => return false,
    };
    if decimals == 0 {
        return false;
    }
    let step = 10_f64.powi(-i32::try_from(decimals).unwrap_or(30));
    let difference = (a.to_f64() - b.to_f64()).abs();
    // Rounded, or with two decimals also cut off.
    difference <= 0.5 * step * 1.000_001 || (decimals >= 2 && difference < step)
}

/// The numbers of a text, sorted.
fn sorted_numbers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = numbers(text)
        .iter()
        .map(|mention| mention.value.to_exact())
        .collect();
    found.sort_unstable();
    found
}

/// Values of different kinds: they differ for sure when one has a number that the other has not.
fn loose(a: &str, b: &str) -> Option<bool> {
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    if squeezed(a) == squeezed(b) {
        return Some(true);
    }
    let (one, other) = (sorted_numbers(a), sorted_numbers(b));
    let missing =
        |one: &[String], other: &[String]| one.iter().any(|number| !other.contains(number));
    let differ = missing(&one, &other) && (missing(&other, &one) || other.is_empty())
        || missing(&other, &one) && one.is_empty();
    differ.then_some(false)
}

fn words(a: &str, raw_a: &str, b: &str, raw_b: &str) -> Option<bool> {
    let single = |text: &str| !text.contains(char::is_whitespace);
    if a == b {
        return spelled_alike(raw_a, raw_b);
    }
    if sorted_numbers(a) != sorted_numbers(b) {
        return Some(false);
    }
    if single(a) && single(b) {
        return Some(false);
    }
    // One that says more, or says it in other words, may mean the same.
    let (one, other): (Vec<&str>, Vec<&str>) = (a.split(' ').collect(), b.split(' ').collect());
    let shared = one.iter().filter(|word| other.contains(word)).count();
    let short = one.len() <= 12 && other.len() <= 12;
    // The same numbers in more words, such as “4 red and 6 blue” and “Tim has 4 red and 6 blue”.
    let within = shared == one.len() || shared == other.len();
    if within && short && sorted_numbers(a).len() >= 2 {
        return Some(true);
    }
    (short && !within && shared * 2 <= one.len().min(other.len())).then_some(false)
}

/// Whether two texts of the same words are the same answer: spelling and marks matter in code, not in
/// prose.
fn spelled_alike(a: &str, b: &str) -> Option<bool> {
    let bare = |text: &str| {
        let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '“' | '”'));
        text.trim_end_matches(['.', '!', '。']).to_owned()
    };
    let (a, b) = (bare(a), bare(b));
    if a == b {
        return Some(true);
    }
    let prose = |text: &str| {
        text.chars().all(|c| {
            c.is_alphanumeric() || matches!(c, ' ' | '.' | ',' | '-' | '\'' | '’' | ':' | '*' | '"')
        })
    };
    if !prose(&a) || !prose(&b) {
        let squeezed = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
        return (squeezed(&a) != squeezed(&b)).then_some(false);
    }
    if a.contains(' ') && b.contains(' ') && !a.contains("  ") && !b.contains("  ") {
        return Some(true);
    }
    // One word: a capital at its head is spelling, capitals inside may be the point.
    let head = |text: &str| {
        let mut rest = text.chars();
        let first: String = rest
            .next()
            .into_iter()
            .flat_map(char::to_lowercase)
            .collect();
        first + rest.as_str()
    };
    let article = |text: &str| text.contains(' ');
    (head(&a) == head(&b) || article(&a) != article(&b)).then_some(true)
}
