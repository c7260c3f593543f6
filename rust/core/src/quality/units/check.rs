//! Units that contradict: a wrong conversion, or a final answer in a unit that was not asked for.

use std::sync::LazyLock;

use super::table::{Dimension, System, Unit, by_hash, unit_at};
use crate::quality::answer::Answer;
use crate::quality::arithmetic::{Arithmetic, Mention, Rational};
use crate::quality::check::Check;
use crate::quality::outcome::{self, Counted};
use crate::quality::words::{Word, WordSet, snippet};

const NAME: &str = "units";

/// No more pairs of numbers than this are looked at.
const MAX_PAIRS: usize = 20_000;

/// Words of questions in which one length or price stands for another.
static SCALED: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "scale map model represents represent drawing blueprint exchange rate worth equivalent \
         converts trade swap maßstab karte échelle carte escala mapa scala mappa",
    )
});

/// Checks an answer's conversions, then the unit of what it comes to.
#[must_use]
pub fn check(
    answer: &Answer<'_>,
    arithmetic: &Arithmetic,
    question: &str,
    question_words: &[Word],
) -> Check {
    let mut judged = false;
    let scaled = question_words.iter().any(|word| SCALED.has(word.hash));
    if !scaled {
        let pairs = arithmetic.numbers.windows(2).take(MAX_PAIRS);
        for pair in pairs {
            let [first, second] = pair else { continue };
            match conversion(&answer.prose, *first, *second, question) {
                Some(Ok(())) => judged = true,
                Some(Err(reason)) => return Check::found(NAME, 0.2, reason),
                None => {}
            }
        }
    }
    if let Some(asked) = asked(question, question_words)
        && let Some(counted) = outcome::counted(answer)
    {
        match contradicts(&asked, &counted, question, question_words) {
            Some(reason) => return Check::found(NAME, 0.3, reason),
            None => judged |= counted.unit.is_some(),
        }
    }
    if judged {
        Check::passed(NAME)
    } else {
        Check::not_applicable(NAME)
    }
}

/// Whether two numbers are the sides of a conversion, such as “2 hours = 120 minutes”, and whether it
/// holds.
fn conversion(
    prose: &str,
    first: Mention,
    second: Mention,
    question: &str,
) -> Option<Result<(), String>> {
    let between = prose
        .get(first.end..second.start)
        .filter(|text| text.len() <= 40)?;
    let one = between.trim_start_matches([' ', '\u{a0}', '-']);
    let from = unit_at(one)?;
    let name = one.find(|c: char| !c.is_alphabetic()).unwrap_or(one.len());
    let sign = one[name..].trim();
    let approximate = sign.starts_with('≈')
        || sign.contains("about")
        || sign.contains("approx")
        || sign.contains("roughly");
    let bare = sign
        .trim_end_matches("about")
        .trim_end_matches("approximately")
        .trim_end_matches("roughly")
        .trim();
    if !matches!(
        bare,
        "=" | "≈"
            | "is"
            | "are"
            | "equals"
            | "equal"
            | "is equal to"
            | "are equal to"
            | "sind"
            | "ist"
            | "sont"
            | "son"
            | "sono"
            | "são"
    ) {
        return None;
    }
    let behind = prose[second.end..].trim_start_matches([' ', '\u{a0}', '-']);
    let into = unit_at(behind)?;
    let length = behind
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(behind.len());
    let rest = behind[length..].trim_start();
    // A part of a calculation, a rate, or an amount of more than one unit proves nothing.
    let goes_on = rest.starts_with(['+', '-', '*', '×', '/', '÷', '=', '(', '^'])
        || [
            "and ", "per ", "each ", "of ", "more", "less", "longer", "shorter", "older", "later",
            "a ",
        ]
        .iter()
        .any(|word| rest.starts_with(word));
    let before = prose[..first.start].trim_end();
    let last = before
        .rsplit(|c: char| c.is_whitespace())
        .next()
        .unwrap_or_default();
    let part = before.ends_with(['+', '-', '*', '×', '/', '÷', '=', '^', '·', '>'])
        || matches!(
            last.to_ascii_lowercase().as_str(),
            "x" | "and"
                | "of"
                | "per"
                | "every"
                | "each"
                | "in"
                | "for"
                | "over"
                | "times"
                | "by"
                | "across"
                | "during"
                | "after"
                | "within"
                | "a"
                | "next"
                | "last"
                | "first"
                | "on"
        );
    if goes_on || part || from.dimension != into.dimension || from.name == into.name {
        return None;
    }
    // What the question sets is so.
    let text = &prose[first.start
        ..(second.end + behind.len() - rest.len())
            .min(prose.len())
            .max(second.end)];
    let stated = |mention: Mention| question.contains(&prose[mention.start..mention.end]);
    if stated(first) && stated(second) {
        return None;
    }
    let expected = first.value.times(from.factor)?.divided_by(into.factor)?;
    if holds(expected, second.value, from, into, approximate) {
        return Some(Ok(()));
    }
    let shown = snippet(text.split('\n').next().unwrap_or(text), 50);
    Some(Err(format!(
        "“{shown}” is wrong: it is {} {}s",
        expected.to_text(),
        into.name
    )))
}

fn holds(expected: Rational, given: Rational, from: Unit, into: Unit, approximate: bool) -> bool {
    let (expected, given) = (expected.to_f64(), given.to_f64());
    let share = match from.dimension {
        // 1000 or 1024 to the next.
        Dimension::Data => 0.11,
        // British pints and gallons are a fifth larger; cups are what they are.
        Dimension::Volume
            if from.system == System::Customary || into.system == System::Customary =>
        {
            0.26
        }
        _ if from.system != into.system => 0.04,
        _ if approximate => 0.05,
        _ => 0.006,
    };
    let rounded = (expected - given).abs() <= 0.5 && given.fract() == 0.0 && expected >= 10.0;
    rounded || (expected - given).abs() <= share * expected.abs() + 0.011
}

/// What a question asks to be counted.
struct Asked {
    /// The unit, when it is one.
    unit: Option<Unit>,
    /// The thing, as it is written.
    noun: String,
}

/// “How many minutes …?”, “How much money …?”, when it asks for one thing only.
fn asked(question: &str, words: &[Word]) -> Option<Asked> {
    let text = |word: &Word| question[word.start..word.end].to_ascii_lowercase();
    let mut found = None;
    for (at, word) in words.iter().enumerate().take(4000) {
        if text(word) != "how" {
            continue;
        }
        let Some(next) = words.get(at + 1) else {
            continue;
        };
        match text(next).as_str() {
            "many" | "much" if found.is_none() => found = words.get(at + 2),
            "many" | "much" | "long" | "far" | "old" | "tall" | "heavy" | "fast" => return None,
            _ => {}
        }
    }
    let noun = found?;
    let written = text(noun);
    let unit = match written.as_str() {
        "money" => unit_at("$"),
        _ => by_hash(noun.hash),
    };
    // “How many more …”, “how much does it cost” name no thing.
    let thing = unit.is_some()
        || written.ends_with('s')
            && written.len() > 3
            && !matches!(
                written.as_str(),
                "less" | "does" | "was" | "times" | "points" | "units"
            );
    thing.then_some(Asked {
        unit,
        noun: written,
    })
}

/// Units whose name means several things.
fn is_ambiguous(unit: Unit) -> bool {
    matches!(unit.name, "pound" | "ounce" | "second" | "cent")
}

fn contradicts(asked: &Asked, counted: &Counted, question: &str, words: &[Word]) -> Option<String> {
    let shown = snippet(&counted.text, 40);
    match (asked.unit, counted.unit) {
        (Some(wanted), Some(given)) => {
            let family = |unit: Unit| match unit.dimension {
                Dimension::Calendar => Dimension::Time,
                Dimension::Euro => Dimension::Dollar,
                other => other,
            };
            let differ =
                family(wanted) != family(given) && !is_ambiguous(wanted) && !is_ambiguous(given);
            differ.then(|| format!("{} were asked for, and the answer is “{shown}”", asked.noun))
        }
        (Some(wanted), None) => {
            // “How many dollars …?” – “12 apples”, where the question speaks of apples.
            let noun = counted.noun.as_deref()?.to_lowercase();
            let plural = noun.ends_with('s') && noun.len() > 3 && noun != asked.noun;
            let known = words
                .iter()
                .any(|word| question[word.start..word.end].eq_ignore_ascii_case(&noun));
            let measured = asked.noun != "money"
                && !is_ambiguous(wanted)
                && wanted.dimension != Dimension::Volume;
            (plural && known && measured)
                .then(|| format!("{} were asked for, and the answer is “{shown}”", asked.noun))
        }
        (None, Some(given)) => {
            let money = matches!(given.dimension, Dimension::Dollar | Dimension::Euro)
                && given.name != "cent";
            (money && counted.signed).then(|| {
                format!(
                    "{} were to be counted, and the answer is “{shown}”",
                    asked.noun
                )
            })
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::arithmetic;
    use crate::quality::check::Verdict;
    use crate::quality::words::words;

    fn judge(question: &str, text: &str) -> Check {
        let answer = Answer::new(text);
        let found = arithmetic::check(&answer.prose);
        check(&answer, &found, question, &words(question))
    }

    #[test]
    fn fails_wrong_conversions_and_wrong_units() {
        for (question, text) in [
            ("", "The film lasts 2 hours = 100 minutes."),
            ("", "Since 3 feet = 30 inches, it fits."),
            ("", "5 kilometers are 500 meters."),
            ("", "There are 2 days = 24 hours left."),
            ("", "10 kg ≈ 50 pounds"),
            ("", "2 Stunden = 90 Minuten"),
            ("", "$5 is the price. 3 dollars = 30 cents"),
            (
                "How many dollars does Ann earn with 12 apples?",
                "2 * 6 = 12\n#### 12 apples",
            ),
            (
                "How many minutes does the trip take?",
                "The answer is 12 miles.",
            ),
            ("How many tickets does she sell?", "The answer is $12."),
        ] {
            assert_eq!(
                judge(question, text).verdict,
                Verdict::Failed,
                "{question} / {text}"
            );
        }
    }

    #[test]
    fn passes_what_is_equal_or_no_conversion() {
        for (question, text) in [
            ("", "2 hours = 120 minutes"),
            ("", "1 mile = 1.6 km and 10 miles = 16 kilometers"),
            ("", "1 gallon = 3.8 liters, 1 cup = 250 ml"),
            ("", "100 minutes = 1.67 hours"),
            ("", "1 GB = 1024 MB"),
            ("", "1 inch = 2.5 cm"),
            (
                "",
                "4 hours x 6 weeks = 24 hours, so in 4 weeks is 34 hours",
            ),
            (
                "How much money does he save in pesos?",
                "The answer is 250 pesos.",
            ),
            ("", "2 hours = 2 * 60 = 120 minutes"),
            ("", "60 miles / 2 hours = 30 miles"),
            ("", "3 minutes + 2 hours = 123 minutes"),
            ("", "1 hour = 45 minutes of work and a break"),
            (
                "On the map 1 inch represents 20 miles.",
                "1 inch = 20 miles",
            ),
            (
                "If 2 hours of work is 30 minutes of play?",
                "2 hours = 30 minutes",
            ),
            ("How many minutes does it take?", "The answer is 3 hours."),
            ("How many years is it?", "The answer is 12 months."),
            ("How many apples does she have?", "The answer is 12."),
            ("How many pounds did he lose?", "The answer is $12."),
            ("How much money does she make?", "The answer is $12."),
            (
                "How many dollars does she make?",
                "The answer is 12 dollars.",
            ),
        ] {
            assert_ne!(
                judge(question, text).verdict,
                Verdict::Failed,
                "{question} / {text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_judged(question in ".{0,100}", text in "([0-9]{1,3}|hours|minutes| = | is |[$.]|how many |.){0,40}") {
            let _ = judge(&question, &text);
        }
    }
}
