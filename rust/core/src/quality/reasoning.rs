//! Signs that a computed answer went wrong, though each of its equations may hold: a final answer
//! that nothing leads to, numbers from nowhere, givens that were not used, a count that is no whole
//! number.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::arithmetic::{Arithmetic, Mention, Rational, numbers};
use super::check::Check;
use super::final_answer::FinalAnswer;
use super::words::{Word, WordSet, snippet};

/// The measures that the calibrated combination reads; all are 0 where nothing was computed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Equations found.
    pub equations: f64,
    /// The final number is not the last result, though it stands somewhere in the answer.
    pub not_last_result: f64,
    /// The share of the question's numbers that the answer does not mention.
    pub unused_givens: f64,
    /// Results that nothing uses, beside the last.
    pub unused_results: f64,
    /// Something countable comes out as a fraction or below zero.
    pub impossible_count: f64,
}

/// The name of the check of the final answer.
pub const FINAL: &str = "final_answer";
/// The name of the check of how the numbers are used.
pub const NUMBERS: &str = "numbers";

/// A number word's value: small counts, halves, doubles, dozens.
fn word_value(word: &str) -> Option<(i128, i128)> {
    Some(match word {
        "one" | "once" | "single" => (1, 1),
        "two" | "twice" | "double" | "couple" | "pair" | "both" => (2, 1),
        "three" | "triple" | "thrice" => (3, 1),
        "four" => (4, 1),
        "five" => (5, 1),
        "six" => (6, 1),
        "seven" => (7, 1),
        "eight" => (8, 1),
        "nine" => (9, 1),
        "ten" => (10, 1),
        "eleven" => (11, 1),
        "twelve" | "dozen" | "dozens" => (12, 1),
        "thirteen" => (13, 1),
        "fourteen" => (14, 1),
        "fifteen" => (15, 1),
        "sixteen" => (16, 1),
        "seventeen" => (17, 1),
        "eighteen" => (18, 1),
        "nineteen" => (19, 1),
        "twenty" => (20, 1),
        "thirty" => (30, 1),
        "forty" => (40, 1),
        "fifty" => (50, 1),
        "sixty" => (60, 1),
        "seventy" => (70, 1),
        "eighty" => (80, 1),
        "ninety" => (90, 1),
        "hundred" => (100, 1),
        "thousand" => (1000, 1),
        "half" | "halves" => (1, 2),
        "third" | "thirds" => (1, 3),
        "quarter" | "quarters" | "fourth" | "fourths" => (1, 4),
        "fifth" | "fifths" => (1, 5),
        _ => return None,
    })
}

/// Numbers anyone may use: small ones, hours, days, months, percentages.
fn is_common(value: Rational) -> bool {
    value.to_integer().is_some_and(|whole| {
        matches!(
            whole.abs(),
            0..=4 | 7 | 10 | 12 | 24 | 30 | 31 | 52 | 60 | 90 | 100 | 180 | 360 | 365 | 1000
        )
    })
}

/// What a question gives.
#[derive(Debug, Default)]
pub(crate) struct Givens {
    /// Its numbers in digits, each once, in order.
    pub(crate) digits: Vec<Rational>,
    /// The same and its number words.
    pub(crate) all: HashSet<Rational>,
    /// Whether it asks for a count of things that come whole.
    pub(crate) counts: bool,
    /// Whether a result below zero makes sense.
    pub(crate) signed: bool,
}

/// Things measured, not counted, in the singular: a fraction of one makes sense.
static MEASURED: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "hour minute second day week month year mile meter metre kilometer kilometre km feet foot \
         inche inch yard gallon liter litre cup ounce pound gram kilogram kg ton degree dollar cent \
         euro percent time square cubic calorie point acre teaspoon tablespoon pint quart \
         milliliter ml bushel unit watt volt newton joule mole bit byte more fewer total serving mg \
         gb mb",
    )
});

fn is_measured(word: &str) -> bool {
    MEASURED.has_word(word.strip_suffix('s').unwrap_or(word))
}

impl Givens {
    pub(crate) fn new(question: &str, found: &[Word]) -> Self {
        let mut givens = Self::default();
        for mention in numbers(question) {
            if givens.all.insert(mention.value) {
                givens.digits.push(mention.value);
            }
        }
        let mut before = ["", ""];
        for word in found {
            let mut buffer = [0_u8; 16];
            let text = lower(&question[word.start..word.end], &mut buffer);
            if let Some((numerator, denominator)) = word_value(text)
                && let Some(value) = Rational::new(numerator, denominator)
            {
                givens.all.insert(value);
            }
            if before == ["how", "many"] && !is_measured(text) {
                givens.counts = true;
            }
            givens.signed |= matches!(
                text,
                "negative"
                    | "below"
                    | "temperature"
                    | "loss"
                    | "lose"
                    | "profit"
                    | "difference"
                    | "integer"
                    | "solve"
                    | "minus"
                    | "debt"
                    | "degrees"
                    | "value"
                    | "equation"
            );
            before = [
                before[1],
                match text {
                    "how" => "how",
                    "many" => "many",
                    _ => "",
                },
            ];
        }
        givens
    }
}

fn lower<'b>(word: &str, buffer: &'b mut [u8; 16]) -> &'b str {
    if word.len() > buffer.len() || !word.is_ascii() {
        return "";
    }
    for (slot, byte) in buffer.iter_mut().zip(word.bytes()) {
        *slot = byte.to_ascii_lowercase();
    }
    std::str::from_utf8(&buffer[..word.len()]).unwrap_or_default()
}

/// A number and what else it may be written as: a percentage as a fraction, one and a percentage, a
/// share of as many.
fn forms(value: Rational) -> [Option<Rational>; 7] {
    let hundred = Rational::integer(100);
    let part = value.divided_by(hundred);
    [
        Some(value),
        part,
        value.times(hundred),
        part.and_then(|part| Rational::ONE.plus(part)),
        part.and_then(|part| Rational::ONE.minus(part)),
        value.negate(),
        Rational::ONE.divided_by(value),
    ]
}

/// The numbers that have this one among their [`forms`].
fn origins(form: Rational) -> [Option<Rational>; 7] {
    let hundred = Rational::integer(100);
    let percent = |part: Option<Rational>| part.and_then(|part| part.times(hundred));
    [
        Some(form),
        form.times(hundred),
        form.divided_by(hundred),
        percent(form.minus(Rational::ONE)),
        percent(Rational::ONE.minus(form)),
        form.negate(),
        Rational::ONE.divided_by(form),
    ]
}

/// What the reasoning of an answer shows.
pub(crate) struct Findings {
    pub(crate) final_answer: Check,
    pub(crate) numbers: Check,
    pub(crate) measures: Measures,
}

/// Looks at an answer's reasoning; `arithmetic` is that of its prose.
pub(crate) fn check(
    givens: &Givens,
    arithmetic: &Arithmetic,
    last: Option<&FinalAnswer>,
    prose: &str,
) -> Findings {
    let mut findings = Findings {
        final_answer: Check::not_applicable(FINAL),
        numbers: Check::not_applicable(NUMBERS),
        measures: Measures::default(),
    };
    let boundary = last.map_or(prose.len(), |found| found.start);
    let before: Vec<&Mention> = arithmetic
        .numbers
        .iter()
        .filter(|mention| mention.start < boundary)
        .collect();
    if arithmetic.found > 0 {
        findings.measures = measure(givens, arithmetic, &before);
    }
    let Some(found) = last else {
        return findings;
    };
    if let Some(number) = found.number {
        final_number(givens, arithmetic, &before, found, number, &mut findings);
    }
    findings
}

fn final_number(
    givens: &Givens,
    arithmetic: &Arithmetic,
    before: &[&Mention],
    found: &FinalAnswer,
    number: Rational,
    findings: &mut Findings,
) {
    let reasoned = arithmetic.found > 0 || before.len() >= 4;
    if reasoned && found.explicit {
        let origins = origins(number);
        let led_to = before
            .iter()
            .any(|mention| origins.contains(&Some(mention.value)))
            || givens.all.contains(&number)
            || before
                .iter()
                .any(|mention| rounds_to(mention.value, number))
            || arithmetic
                .equations
                .iter()
                .any(|equation| equation.right == number && equation.range.end > found.start)
            || follows(arithmetic, before, number);
        findings.final_answer = if led_to {
            Check::passed(FINAL)
        } else {
            let text = snippet(&found.text, 40);
            let reason = format!("nothing in the reasoning leads to the final answer “{text}”");
            Check::found(FINAL, 0.1, reason)
        };
    }
    if reasoned {
        let mut results = arithmetic
            .equations
            .iter()
            .filter(|equation| equation.range.start < found.start);
        if let Some(result) = results.next_back() {
            let same = forms(result.right).contains(&Some(number))
                || rounds_to(result.right, number)
                || forms(result.left).contains(&Some(number));
            findings.measures.not_last_result = f64::from(u8::from(!same));
        }
    }
    let fraction = givens.counts && !number.is_integer();
    let below = givens.counts && number.is_negative() && !givens.signed;
    if fraction || below {
        findings.measures.impossible_count = 1.0;
        let text = snippet(&found.text, 40);
        let what = if fraction {
            "a count cannot be a fraction"
        } else {
            "the result is below zero"
        };
        findings.numbers = Check::found(NUMBERS, 0.2, format!("{what}: “{text}”"));
    } else if givens.counts || arithmetic.found > 0 {
        findings.numbers = Check::passed(NUMBERS);
    }
}

/// Whether one more step leads from what stands behind the last equation to the number: “200 pounds at
/// $1.50 each”, “61 - 9 + 18”.
fn follows(arithmetic: &Arithmetic, before: &[&Mention], number: Rational) -> bool {
    let end = arithmetic
        .equations
        .iter()
        .map(|equation| equation.range.end)
        .rfind(|end| before.last().is_some_and(|mention| mention.start >= *end))
        .unwrap_or(0);
    let mut loose: Vec<Rational> = before
        .iter()
        .rev()
        .take_while(|mention| mention.start >= end)
        .take(6)
        .map(|mention| mention.value)
        .collect();
    loose.extend(
        arithmetic
            .equations
            .iter()
            .rev()
            .take(2)
            .map(|equation| equation.right),
    );
    let sum = loose
        .iter()
        .try_fold(Rational::ZERO, |sum, value| sum.plus(*value));
    let mut pairs = loose
        .iter()
        .enumerate()
        .flat_map(|(index, a)| loose[index + 1..].iter().map(move |b| (*a, *b)));
    sum == Some(number)
        || pairs.any(|(a, b)| {
            [
                a.plus(b),
                a.minus(b),
                b.minus(a),
                a.times(b),
                a.divided_by(b),
                b.divided_by(a),
            ]
            .into_iter()
            .flatten()
            .any(|value| value == number || rounds_to(value, number))
        })
}

/// Whether a value, rounded as people round, is that number.
fn rounds_to(value: Rational, number: Rational) -> bool {
    let (value, number) = (value.to_f64(), number.to_f64());
    let difference = (value - number).abs();
    !(value.fract() == 0.0)
        && (difference < 1.0 && number.fract() == 0.0
            || difference <= 0.01
            || difference <= 1e-4 * value.abs())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn measure(givens: &Givens, arithmetic: &Arithmetic, before: &[&Mention]) -> Measures {
    let mentioned: HashSet<Rational> = before.iter().map(|mention| mention.value).collect();
    let needed: Vec<_> = givens
        .digits
        .iter()
        .filter(|value| !is_common(**value))
        .collect();
    let unused = needed
        .iter()
        .filter(|value| {
            let forms = forms(***value);
            !forms.iter().flatten().any(|form| mentioned.contains(form))
        })
        .count();
    // A result that nothing mentions again.
    let mut count: HashMap<Rational, usize> = HashMap::new();
    for mention in &arithmetic.numbers {
        *count.entry(mention.value).or_default() += 1;
    }
    let unused_results = arithmetic.equations.split_last().map_or(0, |(_, rest)| {
        rest.iter()
            .filter(|equation| count.get(&equation.right).is_none_or(|times| *times <= 1))
            .count()
    });
    Measures {
        equations: arithmetic.found as f64,
        unused_givens: share(unused, needed.len()),
        unused_results: unused_results as f64,
        ..Measures::default()
    }
}
