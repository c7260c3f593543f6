//! Answers that only give the question back.

use super::check::Check;
use super::words::{Word, WordSet, mix, snippet};
use std::sync::LazyLock;

const NAME: &str = "echo";

/// Words of requests that ask for their own text back, changed or not.
static COPYING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "repeat copy echo rewrite rephrase paraphrase correct proofread edit translate format \
         reformat punctuate capitalize uppercase lowercase fix quote transcribe say spell extract \
         replace remove convert complete continue fill reverse sort verbatim wiederhole übersetze \
         répète repite traduce highlight",
    )
});

/// Fails an answer whose words are those of the question and nothing more.
#[must_use]
pub fn check(answer: &str, answer_words: &[Word], question_words: &[Word]) -> Check {
    if answer_words.len() < 3 || question_words.len() < 3 {
        return Check::not_applicable(NAME);
    }
    let copying = question_words.iter().any(|word| COPYING.has(word.hash));
    if copying {
        return Check::not_applicable(NAME);
    }
    // Much longer than the question: it says more.
    if answer_words.len() > question_words.len() * 3 / 2 + 6 {
        return Check::passed(NAME);
    }
    let size = 3.min(answer_words.len()).min(question_words.len());
    let ours = groups(answer_words, size);
    let theirs = groups(question_words, size);
    let (in_question, in_answer) = (overlap(&ours, &theirs), overlap(&theirs, &ours));
    // A text that was pasted below an instruction may come back without the instruction.
    let with_instruction = ours
        .binary_search(&group_hash(&question_words[..size]))
        .is_ok();
    if !with_instruction {
        return Check::passed(NAME);
    }
    if in_question >= 0.85 && in_answer >= 0.85 {
        let reason = format!(
            "the answer only repeats the question: “{}”",
            snippet(answer, 60)
        );
        return Check::hard(NAME, reason);
    }
    // Most of a question with a few words before or behind it.
    if in_question >= 0.75 && in_answer >= 0.9 && is_question(answer) {
        let reason = format!(
            "the answer is the question again: “{}”",
            snippet(answer, 60)
        );
        return Check::found(NAME, 0.2, reason);
    }
    Check::passed(NAME)
}

fn is_question(text: &str) -> bool {
    text.trim_end().ends_with(['?', '？', '؟'])
}

fn group_hash(group: &[Word]) -> u64 {
    group
        .iter()
        .fold(0, |hash: u64, word| mix(hash.rotate_left(5) ^ word.hash))
}

/// The hashes of every run of `size` words, sorted, each once.
fn groups(words: &[Word], size: usize) -> Vec<u64> {
    let mut all: Vec<u64> = words.windows(size).map(group_hash).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The share of the left groups that the right ones hold; both are sorted.
fn overlap(left: &[u64], right: &[u64]) -> f64 {
    let (mut at, mut shared) = (0, 0_usize);
    for group in left {
        while at < right.len() && right[at] < *group {
            at += 1;
        }
        shared += usize::from(right.get(at) == Some(group));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let share = shared as f64 / left.len().max(1) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;
    use crate::quality::words::words;

    fn judge(question: &str, answer: &str) -> Check {
        check(answer, &words(answer), &words(question))
    }

    #[test]
    fn rejects_the_question_given_back() {
        for (question, answer) in [
            (
                "What is the capital of France?",
                "What is the capital of France?",
            ),
            (
                "What is the capital of France?",
                "what is the capital of france",
            ),
            (
                "Wie hoch ist der Eiffelturm in Paris?",
                "Wie hoch ist der Eiffelturm in Paris?",
            ),
            ("法国的首都是哪里？", "法国的首都是哪里？"),
            (
                "How many legs does a spider have?",
                "**How many legs does a spider have?**",
            ),
        ] {
            assert!(judge(question, answer).hard, "{question} / {answer}");
        }
    }

    #[test]
    fn passes_answers_that_use_the_questions_words() {
        for (question, answer) in [
            (
                "What is the capital of France?",
                "The capital of France is Paris.",
            ),
            ("Is the sky blue or green?", "The sky is blue"),
            ("Repeat after me: the sky is blue", "the sky is blue"),
            ("Correct this: he go to school", "He goes to school"),
            ("Which is bigger, a cat or a dog?", "A dog is bigger"),
            ("What is 2 + 2?", "4"),
            (
                "Read this poem aloud.\nThe day is full of sun and full of tears and rain",
                "The day is full of sun and full of tears and rain",
            ),
        ] {
            assert_ne!(
                judge(question, answer).verdict,
                Verdict::Failed,
                "{question} / {answer}"
            );
        }
    }
}
