use proptest::prelude::*;

use super::check::Verdict;
use super::*;

/// Pieces that the rules look for, to be thrown together.
const PIECES: &[&str] = &[
    "3",
    "12",
    "1,234",
    "1.234,5",
    "007",
    "½",
    "²",
    "٣",
    "万",
    "+",
    "-",
    "−",
    "*",
    "**",
    "×",
    "/",
    "÷",
    "^",
    "=",
    "==",
    "≈",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\\frac{",
    "\\times",
    "\\boxed{",
    "\\",
    "%",
    "$",
    "€",
    "x",
    "of",
    "half",
    "apples",
    "半",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "`",
    "```",
    "```json\n",
    "~~~",
    "<think>",
    "</think>",
    "{\"answer\": ",
    "\"reasoning\": \"",
    "\"",
    "'",
    "’",
    ",",
    ".",
    "...",
    "…",
    ":",
    "#### ",
    "- ",
    "1. ",
    "**Answer:** ",
    "the answer is ",
    "I can't help",
    "I'm not sure",
    "wait,",
    "|",
    "&",
    "<<",
    ">>",
    "\u{200b}",
    "\u{feff}",
    "👍🏽",
    "e\u{301}",
    "ß",
    "İ",
    "東京",
    "\u{0}",
];

fn draft<'a>(question: &'a str, answer: &'a str) -> Draft<'a> {
    Draft {
        question,
        answer,
        ..Draft::default()
    }
}

fn check<'j>(judgement: &'j Judgement, name: &str) -> &'j Check {
    judgement
        .checks
        .iter()
        .find(|check| check.name == name)
        .unwrap()
}

fn holds_together(judgement: &Judgement) {
    assert_eq!(judgement.checks.len(), CHECKS.len());
    for (check, name) in judgement.checks.iter().zip(CHECKS) {
        assert_eq!(check.name, name);
        assert!((0.0..=1.0).contains(&check.score), "{check:?}");
        assert!(check.verdict != Verdict::Failed || !check.reason.is_empty());
        assert!(check.reason.chars().count() < 300, "{check:?}");
    }
    assert!((0.0..=1.0).contains(&judgement.probability));
    assert!(judgement.features.iter().all(|feature| feature.is_finite()));
    assert!(!judgement.rejected || judgement.probability <= combine::REJECTED);
}

proptest! {
    #[test]
    fn any_text_can_be_judged(question in ".{0,200}", answer in ".{0,400}", system in ".{0,100}") {
        let mut any = draft(&question, &answer);
        any.instructions = &system;
        holds_together(&judge(&any));
        any.format = ResponseFormat::Json;
        holds_together(&judge(&any));
        if let Ok(schema) = schema::JsonSchema::new(&system) {
            any.format = ResponseFormat::Schema(&schema);
            holds_together(&judge(&any));
        }
    }

    #[test]
    fn any_heap_of_what_the_rules_look_for_can_be_judged(
        question in prop::collection::vec(prop::sample::select(PIECES), 0..30),
        answer in prop::collection::vec(prop::sample::select(PIECES), 0..120),
    ) {
        holds_together(&judge(&draft(&question.concat(), &answer.concat())));
    }

    #[test]
    fn judging_twice_says_the_same(answer in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let text = answer.concat();
        let (one, two) = (judge(&draft("How many?", &text)), judge(&draft("How many?", &text)));
        prop_assert_eq!(one.checks, two.checks);
        prop_assert_eq!(one.probability.to_bits(), two.probability.to_bits());
    }
}

#[test]
fn each_fault_alone_rejects_an_answer_at_the_default_threshold() {
    const THRESHOLD: f64 = 0.80;
    for (fault, question, answer) in [
        ("empty", "Name a color.", ""),
        (
            "refusal",
            "Name a color.",
            "I'm sorry, but I can't help with that.",
        ),
        (
            "echo",
            "What is the capital of Chile?",
            "What is the capital of Chile?",
        ),
        (
            "truncated",
            "Name the steps.",
            "To repair the tire you need to do the following:",
        ),
        (
            "format",
            "Return the color as JSON.",
            "The color is red, as far as anyone can tell.",
        ),
        ("hedging", "Who won?", "I'm not sure, maybe it was Spain?"),
        (
            "repetition",
            "Tell me of the sea.",
            &"The sea is wide and very deep. ".repeat(12),
        ),
        ("arithmetic", "What is 17 times 3?", "17 * 3 = 41"),
        (
            "final_answer",
            "Ann has 4 bags of 12 nuts and eats 5. How many nuts are left?",
            "4 * 12 = 48 nuts. 48 - 5 = 43 nuts.\n#### 97",
        ),
        (
            "numbers",
            "7 cats share 3 cages. How many cats are in each cage?",
            "7 / 3 = 2.33, so the answer is 2.33",
        ),
    ] {
        let judgement = judge(&draft(question, answer));
        assert_eq!(
            check(&judgement, fault).verdict,
            Verdict::Failed,
            "{fault}: {judgement:?}"
        );
        assert!(
            judgement.probability < THRESHOLD,
            "{fault}: {}",
            judgement.probability
        );
    }
}

#[test]
fn plain_good_answers_are_accepted_at_the_default_threshold() {
    for (question, answer) in [
        ("What is the capital of Chile?", "Santiago."),
        ("What is 17 times 3?", "17 * 3 = 51"),
        ("What is 17 times 3?", "51"),
        (
            "¿Cuál es la capital de Chile?",
            "La capital de Chile es Santiago.",
        ),
        ("日本の首都はどこですか？", "東京です。"),
        (
            "Ann has 4 bags of 12 nuts and eats 5. How many nuts are left?",
            "4 * 12 = 48 nuts. 48 - 5 = 43 nuts.\n#### 43",
        ),
        (
            "Write a haiku about autumn.",
            "Red leaves drift and fall\nA cold wind sweeps the garden\nThe old gate stands still",
        ),
        (
            "Write a Python function that adds two numbers.",
            "```python\ndef add(a, b):\n    return a + b\n```",
        ),
    ] {
        let judgement = judge(&draft(question, answer));
        assert!(judgement.probability >= 0.80, "{answer}: {judgement:?}");
    }
}

#[test]
fn an_equation_the_question_states_is_not_the_answers_error() {
    let question = "A child wrote 7 * 8 = 54. What grade would you give, and why?";
    let judgement = judge(&draft(question, "The child wrote 7 * 8 = 54. Grade: D."));
    assert_eq!(check(&judgement, "arithmetic").verdict, Verdict::Passed);
}

#[test]
fn a_long_text_of_anything_is_judged_without_recursion_or_quadratic_work() {
    // Quadratic work would take many minutes here, and unbounded recursion would overflow the stack;
    // the Python tests do the same with a megabyte, in a release build.
    let size = 1 << 17;
    for piece in [
        "a ",
        "1+1=",
        "(",
        "{",
        "[",
        "{\"a\":",
        "\\frac{",
        "`",
        "```\n",
        "3 ",
        "= ",
        "- 1\n",
        "x",
        "=1 (2 ",
        "I can't ",
        "wait, ",
        "I'm not sure ",
        "1. ",
        "the answer is ",
        "?",
        "\n",
        "東",
        "1,",
        "<<1=",
        "\"",
    ] {
        let text = piece.repeat(size / piece.len());
        holds_together(&judge(&draft("How many are there?", &text)));
    }
    let question = "How many 7 words? ".repeat(size / 18);
    holds_together(&judge(&draft(&question, "49")));
}
