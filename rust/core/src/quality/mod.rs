//! Judging an answer by its text: each rule looks for one fault, and one calibrated probability says
//! how likely the answer is good enough.
//!
//! Every rule is linear in the length of its texts, takes any Unicode, and recurses nowhere without
//! a bound. What a rule cannot know it leaves out: `NotApplicable`, never a pass.

pub mod answer;
pub mod arithmetic;
pub mod check;
pub mod code;
pub mod combine;
pub mod constraints;
pub mod echo;
pub mod empty;
pub mod features;
pub mod final_answer;
pub mod format;
pub mod hedging;
pub mod json;
pub mod language;
pub mod outcome;
pub(crate) mod phrases;
pub mod reasoning;
pub mod refusal;
pub mod repetition;
pub mod schema;
pub mod self_correction;
pub mod topic;
pub mod truncated;
pub mod units;
pub mod weights;
pub mod without;
pub mod words;

use std::sync::LazyLock;

use answer::Answer;
use arithmetic::{Arithmetic, Equation};
use check::{Check, Verdict};
use format::{ResponseFormat, Wanted};
use truncated::Finish;
use words::{WordSet, snippet, words};

/// What is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    /// What was asked: the last user message.
    pub question: &'a str,
    /// Standing instructions: the system prompt.
    pub instructions: &'a str,
    /// The answer's visible text.
    pub answer: &'a str,
    /// Why the model stopped.
    pub finish: Finish,
    /// The model's words of refusal, where the protocol carries them apart.
    pub refusal: Option<&'a str>,
    /// The form the protocol was asked for.
    pub format: ResponseFormat<'a>,
    /// Whether the answer calls tools.
    pub calls_tools: bool,
    /// Whether reasoning was shown apart from the text.
    pub has_reasoning: bool,
}

/// What judging found.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Each check, always the same ones in the same order.
    pub checks: Vec<Check>,
    /// The features, in the order of [`features::NAMES`].
    pub features: [f64; features::COUNT],
    /// The probability that the answer is good enough.
    pub probability: f64,
    /// Whether a check rejects the answer whatever the others say.
    pub rejected: bool,
}

/// The checks, in order.
pub const CHECKS: [&str; 16] = [
    "empty",
    "truncated",
    "refusal",
    "echo",
    "format",
    "topic",
    "hedging",
    "self_correction",
    "repetition",
    "arithmetic",
    "final_answer",
    "numbers",
    "constraints",
    "language",
    "units",
    "code",
];

static REPETITION_ASKED: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new("repeat repeated repeating times lyrics song chorus mantra loop verbatim")
});

/// Judges an answer.
#[must_use]
pub fn judge(draft: &Draft<'_>) -> Judgement {
    let answer = Answer::new(draft.answer);
    let empty = empty::check(&answer, draft.calls_tools, draft.has_reasoning);
    let truncated = truncated::check(&answer, draft.finish, draft.calls_tools);
    let refusal = refusal::check(&answer, draft.question, draft.finish, draft.refusal);
    if empty.verdict != Verdict::Passed {
        let mut checks = vec![empty, truncated, refusal];
        checks.extend(CHECKS[3..].iter().map(|name| Check::not_applicable(name)));
        return conclude(checks, [0.0; features::COUNT]);
    }
    let prose: &str = &answer.prose;
    let prose_words = words(prose);
    let question_words = words(draft.question);
    let arithmetic = arithmetic::check(prose);
    let last = final_answer::find(&answer);
    let givens = reasoning::Givens::new(draft.question, &question_words);
    let findings = reasoning::check(&givens, &arithmetic, last.as_ref(), prose);
    let (self_correction, corrections) = self_correction::check(prose);
    let (hedging, hedges) = hedging::check(prose, &prose_words);
    let repetition_asked = question_words
        .iter()
        .any(|word| REPETITION_ASKED.has(word.hash));
    let wanted = format::detect(draft.question);
    let checks = vec![
        empty,
        truncated,
        refusal,
        echo::check(prose, &prose_words, &question_words),
        format::check(&answer, &wanted, draft.instructions, draft.format),
        topic::check(
            prose,
            &prose_words,
            &arithmetic.numbers,
            draft.question,
            &question_words,
            &givens.digits,
        ),
        hedging,
        self_correction,
        repetition::check(prose, &prose_words, repetition_asked),
        arithmetic_check(&arithmetic, prose, draft.question),
        findings.final_answer,
        findings.numbers,
        constraints::check(&answer, draft.question, draft.instructions),
        language::check(
            &answer,
            &prose_words,
            draft.question,
            &question_words,
            draft.instructions,
        ),
        units::check(&answer, &arithmetic, draft.question, &question_words),
        code::check(&answer, draft.question, wanted.contains(&Wanted::Code)),
    ];
    let features = features::take(&features::Sources {
        prose_words: &prose_words,
        question_words: &question_words,
        arithmetic: &arithmetic,
        last: last.as_ref(),
        measures: &findings.measures,
        corrections,
        hedges,
        asks_number: wanted.contains(&Wanted::Number),
        checks: &checks,
    });
    conclude(checks, features)
}

fn conclude(checks: Vec<Check>, features: [f64; features::COUNT]) -> Judgement {
    let rejected = checks.iter().any(|check| check.hard);
    Judgement {
        probability: combine::probability(&features, rejected),
        checks,
        features,
        rejected,
    }
}

/// The check of the equations; one that the question itself states is the question's, not the
/// answer's.
fn arithmetic_check(arithmetic: &Arithmetic, prose: &str, question: &str) -> Check {
    const NAME: &str = "arithmetic";
    let Some(wrong) = &arithmetic.first_wrong else {
        return if arithmetic.found == 0 {
            Check::not_applicable(NAME)
        } else {
            Check::passed(NAME)
        };
    };
    let stated = arithmetic::check(question).equations;
    let is_stated = |equation: &Equation| {
        stated
            .iter()
            .any(|other| other.left == equation.left && other.right == equation.right)
    };
    let wrong = arithmetic
        .equations
        .iter()
        .filter(|equation| equation.holds == Some(false))
        .find(|equation| !is_stated(equation))
        .or_else(|| (!is_stated(wrong)).then_some(wrong));
    wrong.map_or_else(
        || Check::passed(NAME),
        |wrong| {
            let text = snippet(&prose[wrong.range.clone()], 60);
            let reason = format!("“{text}” is wrong: it is {}", wrong.left.to_text());
            Check::found(NAME, 0.05, reason)
        },
    )
}

#[cfg(test)]
mod tests;
