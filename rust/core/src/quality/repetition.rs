//! Answers that run in circles.
//!
//! Three views, each linear: a loop (the same short run of words over and over, one behind the
//! other), a line or sentence that comes again and again, and how few of the word groups are new.

use super::check::Check;
use super::words::{Word, mix, sentences, snippet};

const NAME: &str = "repetition";

/// Loops of up to this many words are looked for.
const MAX_PERIOD: usize = 24;
/// Words that a loop covers at least.
const MIN_LOOP: usize = 16;
/// Word groups of this length are counted.
const GROUP: usize = 6;

/// Scores how much an answer repeats itself. `asked` says that the request asks for repetition.
#[must_use]
pub fn check(prose: &str, words: &[Word], asked: bool) -> Check {
    if words.is_empty() {
        return Check::not_applicable(NAME);
    }
    if asked {
        return Check::not_applicable(NAME);
    }
    if let Some((character, count)) = long_run(prose) {
        let reason = format!("“{character}” {count} times in a row");
        return Check::found(NAME, 0.1, reason);
    }
    let numeric = |word: &Word| prose[word.start..word.end].chars().all(char::is_numeric);
    // Rows of numbers are data.
    if let Some((period, start, covered)) = longest_loop(words)
        && !words[start..start + period].iter().all(numeric)
    {
        let end = (start + period).min(words.len()) - 1;
        let text = snippet(&prose[words[start].start..words[end].end], 60);
        let times = covered / period;
        let reason = format!("the same words {times} times in a row: “{text}”");
        let score = match (covered * 3 > words.len(), times) {
            (true, _) => 0.05,
            (false, 6..) => 0.3,
            (false, _) => 0.6,
        };
        return Check::found(NAME, score, reason);
    }
    if let Some((text, count, covered)) = repeated_sentence(prose, words) {
        let reason = format!("the same sentence {count} times: “{text}”");
        let score = match (covered > 0.3, count) {
            (true, _) => 0.1,
            (false, 9..) => 0.4,
            (false, _) => 0.6,
        };
        return Check::found(NAME, score, reason);
    }
    let novelty = novelty(words);
    if novelty < 0.45 {
        let reason = format!("only {:.0} % of its word groups are new", novelty * 100.0);
        return Check::found(NAME, (novelty + 0.05).min(0.49), reason);
    }
    Check::passed(NAME)
}

/// The share of word groups that come for the first time; 1 for short texts.
#[must_use]
pub fn novelty(words: &[Word]) -> f64 {
    if words.len() < 10 * GROUP {
        return 1.0;
    }
    let mut groups: Vec<u64> = words.windows(GROUP).map(group_hash).collect();
    let count = groups.len();
    groups.sort_unstable();
    groups.dedup();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let share = groups.len() as f64 / count as f64;
    share
}

fn group_hash(group: &[Word]) -> u64 {
    group
        .iter()
        .fold(0, |hash: u64, word| mix(hash.rotate_left(5) ^ word.hash))
}

/// A letter written far too often in a row; rules and rows of signs are layout.
fn long_run(text: &str) -> Option<(char, usize)> {
    let (mut last, mut count) = ('\0', 0_usize);
    for character in text.chars() {
        if character == last {
            count += 1;
            if count >= 40 && character.is_alphanumeric() {
                return Some((character, count));
            }
        } else {
            (last, count) = (character, 1);
        }
    }
    None
}

/// The longest stretch in which each word is the one a period before; its period and its first word.
fn longest_loop(words: &[Word]) -> Option<(usize, usize, usize)> {
    let mut best: Option<(usize, usize, usize)> = None;
    let mut most = MIN_LOOP - 1;
    for period in 1..=MAX_PERIOD.min(words.len() / 3) {
        // Four times at least; single words and pairs, as in “ha ha ha ha”, eight times.
        let least = period * if period > 2 { 4 } else { 8 };
        let mut run = 0_usize;
        for (index, (word, before)) in words[period..].iter().zip(words).enumerate() {
            if word.hash != before.hash {
                run = 0;
                continue;
            }
            run += 1;
            let covered = run + period;
            if covered > most && covered >= least {
                most = covered;
                best = Some((period, index + period + 1 - covered, covered));
            }
        }
    }
    best
}

/// A sentence of six words or more that comes at least four times; how often, and the share of the
/// text that its repetitions take.
fn repeated_sentence(text: &str, words: &[Word]) -> Option<(String, usize, f64)> {
    let ranges = sentences(text);
    if ranges.len() < 4 {
        return None;
    }
    let mut keyed: Vec<(u64, usize)> = Vec::with_capacity(ranges.len());
    let mut at = 0;
    for (index, range) in ranges.iter().enumerate() {
        let begin = at;
        while at < words.len() && words[at].start < range.end {
            at += 1;
        }
        if at - begin >= 6 {
            keyed.push((group_hash(&words[begin..at]), index));
        }
    }
    keyed.sort_unstable();
    let best = keyed
        .chunk_by(|a, b| a.0 == b.0)
        .max_by_key(|chunk| chunk.len())
        .filter(|chunk| chunk.len() >= 4)?;
    let first = ranges[best[0].1].clone();
    #[expect(clippy::cast_precision_loss, reason = "lengths far below 2^52")]
    let covered = (first.len() * best.len()) as f64 / text.len() as f64;
    Some((snippet(&text[first], 60), best.len(), covered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;
    use crate::quality::words::words;

    fn sum_line(i: usize) -> String {
        format!("{i} + {i} = {}\n", 2 * i)
    }

    fn step_line(i: usize) -> String {
        format!("Step {i}: add item number {i} to the list of things.\n")
    }

    fn judge(text: &str) -> Check {
        check(text, &words(text), false)
    }

    #[test]
    fn fails_loops() {
        for text in [
            "the cat sat on the mat ".repeat(10),
            "no ".repeat(40),
            format!("Paris is {}", "a".repeat(100)),
            "Start here. ".to_owned() + &"We must consider all of the facts again. ".repeat(6),
            "我们需要考虑".repeat(20),
            "Первый шаг: сложить числа и проверить. ".repeat(8),
        ] {
            assert_eq!(
                judge(&text).verdict,
                Verdict::Failed,
                "{text:?}: {:?}",
                judge(&text)
            );
        }
    }

    #[test]
    fn passes_prose_lists_and_layout() {
        for text in [
            "The quick brown fox jumps over the lazy dog.".to_owned(),
            "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 2 |".to_owned(),
            format!("{}\nTitle\n{}", "=".repeat(80), "-".repeat(80)),
            (1..30).map(sum_line).collect(),
            "row row row your boat gently down the stream".to_owned(),
            (0..40).map(step_line).collect(),
        ] {
            assert_eq!(
                judge(&text).verdict,
                Verdict::Passed,
                "{text:?}: {:?}",
                judge(&text)
            );
        }
    }

    #[test]
    fn finds_what_a_slow_search_finds() {
        // Every start and period, word by word.
        let text = "x y one two three one two three one two three one two three one two three one two three z";
        let words = words(text);
        let slow = (1..=MAX_PERIOD.min(words.len() / 3))
            .flat_map(|period| (0..words.len()).map(move |s| (period, s)));
        let slow = slow
            .map(|(period, start)| {
                let mut end = start + period;
                while end < words.len() && words[end].hash == words[end - period].hash {
                    end += 1;
                }
                end.min(words.len()).saturating_sub(start)
            })
            .max();
        assert_eq!(longest_loop(&words).map(|(_, _, covered)| covered), slow);
    }
}
