//! Answers to another question: nothing of what was asked comes back in them.
//!
//! Only words are compared, so this says something only where both texts are long enough and written
//! in the same script; a short answer (“Paris”) need not repeat a word of its question.

use super::arithmetic::{Mention, Rational};
use super::check::Check;
use super::words::{Word, WordSet, hash_word, is_spaceless};
use std::sync::LazyLock;

const NAME: &str = "topic";

/// Letters of a word that are compared: enough to tell words apart, few enough to join their forms.
const STEM: usize = 5;
/// Fewer content words than this in the answer say nothing.
const MIN_ANSWER: usize = 8;
/// Fewer than this in the question neither.
const MIN_QUESTION: usize = 3;
/// No more words of either text than this are compared.
const MAX_WORDS: usize = 20_000;

/// Words that any question or answer may have.
static STOP_WORDS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut stems: Vec<u64> = "about above after again against also although always among another answer anything around \
     because been before being below between both cannot could does doing done down during each \
     either else even ever every example explain find first following from further give given \
     going have having here herself himself however into itself just know last least less like \
     list make makes many more most much must myself need needs never next nothing number often \
     once only other others over please question rather really same second several shall should \
     show since some something still such take tell than that their them themselves then there \
     therefore these they thing things think this those three through thus total toward under \
     until upon used using very want well were what when where which while will with within \
     without would write your yours calculate determine solve step steps following result \
     oder aber auch dass eine einen einer eines nicht sind wird werden haben kann wenn dann \
     welche welcher warum diese dieser dieses über pour dans avec sont mais plus cette comment \
     quelle quel pourquoi para como pero cuál donde esta este porque qué sobre perché come \
     quale questo questa sono della delle nella"
        .split_whitespace()
        .map(stem_of)
        .collect();
    stems.sort_unstable();
    stems
});

fn stem_of(word: &str) -> u64 {
    let end = word
        .char_indices()
        .nth(STEM)
        .map_or(word.len(), |(index, _)| index);
    hash_word(&word[..end])
}

/// The content words of a text, as hashes of their stems, sorted, each once.
fn content(text: &str, words: &[Word]) -> Vec<u64> {
    let mut stems: Vec<u64> = words
        .iter()
        .take(MAX_WORDS)
        .filter_map(|word| {
            let word = &text[word.start..word.end];
            let first = word.chars().next()?;
            let long_enough = word.chars().nth(3).is_some() && !first.is_numeric();
            (long_enough && !is_spaceless(first)).then(|| stem_of(word))
        })
        .filter(|stem| STOP_WORDS.binary_search(stem).is_err())
        .collect();
    stems.sort_unstable();
    stems.dedup();
    stems
}

/// Requests whose answers are in other words than they are.
static OTHER_WORDS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "translate translation french spanish german italian japanese chinese poem haiku song \
         lyrics joke riddle story rhyme übersetze traduis traduce decode",
    )
});

/// Scores how much of the question comes back in the answer.
#[must_use]
pub fn check(
    answer: &str,
    answer_words: &[Word],
    answer_numbers: &[Mention],
    question: &str,
    question_words: &[Word],
    givens: &[Rational],
) -> Check {
    let other_words = question_words.iter().any(|word| OTHER_WORDS.has(word.hash));
    if other_words {
        return Check::not_applicable(NAME);
    }
    let asked = content(question, question_words);
    let said = content(answer, answer_words);
    // A computed answer works with the question's things and numbers, or it computes something else.
    let computed = givens.len() >= 2 && answer_numbers.len() >= 3;
    let enough = if computed { 3 } else { MIN_ANSWER };
    if asked.len() < MIN_QUESTION || said.len() < enough {
        return Check::not_applicable(NAME);
    }
    let shared = asked
        .iter()
        .filter(|stem| said.binary_search(stem).is_ok())
        .count();
    let numbers = givens
        .iter()
        .take(MAX_WORDS)
        .filter(|given| {
            answer_numbers
                .iter()
                .take(200)
                .any(|mention| mention.value == **given)
        })
        .count();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let overlap = (shared + numbers) as f64 / (asked.len().min(15) + givens.len().min(10)) as f64;
    // Measured: of unrelated pairs one in twenty shares more than a quarter, of related pairs one in
    // a hundred shares less than a third. A short answer has fewer words to share.
    let unrelated = (1.0 - overlap / 0.33).clamp(0.0, 1.0);
    // Few words of either may well all be others: “Name three elements of dystopian literature.”
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let certainty = (said.len() as f64 / 20.0).min(1.0)
        * ((asked.len() as f64 - 2.0) / 8.0).min(1.0)
        * if question.contains(['?', '？', '؟']) {
            1.0
        } else {
            0.5
        };
    let certainty = if computed {
        certainty.max(0.85)
    } else {
        certainty
    };
    let badness = 0.9 * unrelated * certainty;
    if badness <= 0.0 {
        return Check::passed(NAME);
    }
    let reason = format!(
        "{shared} of the question's {} content words come back in the answer",
        asked.len()
    );
    Check::found(NAME, 1.0 - badness, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::arithmetic::numbers;
    use crate::quality::check::Verdict;
    use crate::quality::words::words;

    fn judge(question: &str, answer: &str) -> Check {
        let givens: Vec<Rational> = numbers(question).iter().map(|m| m.value).collect();
        check(
            answer,
            &words(answer),
            &numbers(answer),
            question,
            &words(question),
            &givens,
        )
    }

    #[test]
    fn fails_an_answer_to_another_question() {
        let question = "A gardener grows tomato plants in a greenhouse. How do the plants turn sunlight \
                        into chemical energy during photosynthesis, and which gas do they release?";
        let answer = "The French Revolution began in 1789 when deep social inequality, royal debt and \
                      rising bread prices drove crowds in Paris to storm the Bastille prison.";
        assert_eq!(judge(question, answer).verdict, Verdict::Failed);
        let right = "Plants absorb sunlight with chlorophyll; its energy splits water, and the \
                     chemical products fix carbon dioxide into sugar inside the chloroplast.";
        assert_eq!(judge(question, right).verdict, Verdict::Passed);
    }

    #[test]
    fn says_nothing_of_short_answers_or_translations() {
        let short = judge("What is the capital city of France?", "Paris");
        assert_eq!(short.verdict, Verdict::NotApplicable);
        let creative = judge(
            "Name three important elements of dystopian literature",
            "1. Oppressive governments that watch every citizen 2. Heroes who doubt and rebel against \
             rules 3. Ruined cities with polluted air, scarce water and a bleak future for humanity",
        );
        assert_eq!(creative.verdict, Verdict::Passed);
        let translated = judge(
            "Translate into French: the weather is beautiful today and the children play outside",
            "Le temps est magnifique aujourd'hui et les enfants jouent dehors dans le jardin fleuri",
        );
        assert_eq!(translated.verdict, Verdict::NotApplicable);
    }
}
