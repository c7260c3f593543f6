//! Answers that doubt themselves, by how much of them is doubt.

use std::sync::LazyLock;

use super::check::Check;
use super::phrases::Phrases;
use super::words::{Word, snippet};

const NAME: &str = "hedging";

/// The answer does not stand behind what it says.
const STRONG: u8 = 0;
/// A word of caution.
const WEAK: u8 = 1;

static HEDGES: LazyLock<Phrases> =
    LazyLock::new(|| Phrases::from_list(include_str!("phrases/hedging.txt"), &["strong", "weak"]));

/// Scores an answer's doubt: each strong phrase weighs as four weak ones; their weight is held
/// against the answer's length, so that a careful word in a long answer costs nothing. Also counts the
/// phrases.
#[must_use]
pub fn check(prose: &str, words: &[Word]) -> (Check, usize) {
    if words.is_empty() {
        return (Check::not_applicable(NAME), 0);
    }
    let (mut strong, mut weak) = (0_usize, 0_usize);
    let mut first = None;
    for found in HEDGES.find(prose) {
        if found.tag == STRONG {
            strong += 1;
        } else {
            weak += 1;
        }
        if first
            .as_ref()
            .is_none_or(|&(tag, _)| tag == WEAK && found.tag == STRONG)
        {
            first = Some((found.tag, found.start..found.end));
        }
    }
    let count = strong + weak;
    let Some((_, range)) = first else {
        return (Check::passed(NAME), 0);
    };
    // A couple of careful words is how people write.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let (weight, length) = (
        4.0 * strong as f64 + weak.saturating_sub(2) as f64,
        words.len() as f64,
    );
    let density = weight / (length + 12.0);
    let score = (1.0 - 5.0 * density).clamp(0.05, 1.0);
    if score >= 1.0 {
        return (Check::passed(NAME), count);
    }
    let reason = format!(
        "{count} uncertain phrases in {} words, such as “{}”",
        words.len(),
        snippet(&prose[range], 40)
    );
    (Check::found(NAME, score, reason), count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;
    use crate::quality::words::words;

    fn judge(text: &str) -> Check {
        check(text, &words(text)).0
    }

    #[test]
    fn fails_answers_full_of_doubt() {
        for text in [
            "I'm not sure, maybe Paris?",
            "It could be Lyon, I guess, or perhaps Paris, but I might be wrong.",
            "Ich bin mir nicht sicher, vielleicht Berlin.",
            "Je ne suis pas sûr, peut-être Paris.",
            "No estoy seguro, quizás Madrid.",
            "Я не уверен, возможно, Москва.",
            "我不确定，也许是北京。",
        ] {
            assert_eq!(
                judge(text).verdict,
                Verdict::Failed,
                "{text}: {:?}",
                judge(text)
            );
        }
    }

    #[test]
    fn passes_sober_caution() {
        for text in [
            "The capital of France is Paris.",
            "You should probably restart the server first. If that does not help, check the logs: \
             the disk might be full. Then raise the limit in the configuration and try again.",
            "Die Hauptstadt ist Berlin.",
            "As far as I know, the library was first released in 2014 by its author; since then \
             it has been maintained by a group of volunteers, who publish a release every spring, \
             with bug fixes in between. Its documentation is hosted by the project itself.",
        ] {
            assert_eq!(
                judge(text).verdict,
                Verdict::Passed,
                "{text}: {:?}",
                judge(text)
            );
        }
        assert!(HEDGES.is_built());
    }
}
