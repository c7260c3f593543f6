use proptest::prelude::*;

use super::vocabulary::Ask;
use super::{Features, Level, assess, judge};

/// Written for this project; the level is what a person would say.
const EXAMPLES: &[(Level, &str)] = &[
    (Level::Trivial, "hi"),
    (Level::Trivial, "Thanks a lot!"),
    (Level::Trivial, "What is the capital of Peru?"),
    (Level::Trivial, "What is 2 + 2?"),
    (Level::Trivial, "Who wrote Hamlet?"),
    (Level::Trivial, "Translate 'good morning' into French."),
    (Level::Simple, "Explain how a rainbow forms."),
    (
        Level::Simple,
        "A shop sells pens at 3 euros. Anna buys 4 pens and pays with 20 euros. How much change does she get?",
    ),
    (
        Level::Simple,
        "Write a function that reverses a string in Python.",
    ),
    (
        Level::Moderate,
        "Compare the advantages and disadvantages of renting and buying a flat, and recommend one for a \
         couple that must move within five years.",
    ),
    (
        Level::Moderate,
        "Write a SQL query that finds, for each customer, the three largest orders of the last year. \
         Include customers without orders, and do not use window functions.",
    ),
    (
        Level::Hard,
        "Refactor this so that it is thread-safe, and explain why the original has a race condition:\n\
         ```python\nclass Counter:\n    def __init__(self):\n        self.n = 0\n    def add(self, k):\n        \
         for _ in range(k):\n            if self.n < 1000:\n                self.n += 1\n            else:\n                \
         raise ValueError(self.n)\n```\nIt must not use a global lock, and each method should stay lock-free \
         if possible.",
    ),
    (
        Level::Expert,
        "Prove that every bounded sequence of real numbers has a convergent subsequence, then derive from it \
         that a continuous function on a compact manifold attains its maximum. State each lemma you use, \
         justify every step rigorously, avoid the axiom of choice where possible, and discuss under what \
         conditions the theorem fails in an infinite-dimensional vector space. Compare your proof with one \
         by a topology argument, estimate the rate of convergence for the polynomial case \
         \\(p(x) = x^3 - 2x + 1\\), and give at least two counterexamples.",
    ),
];

#[test]
fn every_example_is_at_most_one_level_off_and_most_are_exact() {
    let mut exact = 0;
    for (expected, text) in EXAMPLES {
        let found = assess(text, 0, None);
        let distance = (found.level as i32 - *expected as i32).abs();
        assert!(
            distance <= 1,
            "{text:?}: {:?} {:.3}, expected {expected:?}; {:?}",
            found.level,
            found.score,
            found.parts
        );
        exact += usize::from(distance == 0);
    }
    assert!(exact * 4 >= EXAMPLES.len() * 3, "only {exact} are exact");
}

#[test]
fn levels_rise_with_the_examples() {
    let mean = |level: Level| {
        let scores: Vec<f64> = EXAMPLES
            .iter()
            .filter(|(l, _)| *l == level)
            .map(|(_, text)| assess(text, 0, None).score)
            .collect();
        scores.iter().sum::<f64>() / f64::from(u32::try_from(scores.len()).unwrap())
    };
    let means = [
        Level::Trivial,
        Level::Simple,
        Level::Moderate,
        Level::Hard,
        Level::Expert,
    ]
    .map(mean);
    assert!(means.is_sorted(), "{means:?}");
}

#[test]
fn an_empty_text_is_trivial() {
    let found = assess("", 0, None);
    assert_eq!((found.level, found.score), (Level::Trivial, 0.0));
    assert!(found.parts.is_empty());
}

#[test]
fn a_long_conversation_makes_a_short_question_harder() {
    let alone = assess("And the second one?", 0, None).score;
    let after_much = assess("And the second one?", 5_000, None).score;
    assert!(after_much > alone);
}

#[test]
fn what_was_counted_once_is_judged_as_the_text_is() {
    for (_, text) in EXAMPLES {
        let features = Features::of(text);
        for domain in [None, Some("legal"), Some("support"), Some("bees")] {
            for earlier in [0, 3_000] {
                let whole = assess(text, earlier, domain);
                let judged = judge(&features, earlier, domain);
                assert_eq!(judged, (whole.level, whole.score, whole.parts));
            }
        }
    }
}

#[test]
fn reasons_are_sorted_by_their_weight() {
    let found = assess(EXAMPLES[EXAMPLES.len() - 1].1, 0, None);
    assert!(
        found
            .parts
            .is_sorted_by(|a, b| a.weight.abs() >= b.weight.abs())
    );
    assert!(
        found
            .parts
            .iter()
            .any(|part| part.what == "specialist terms")
    );
}

#[test]
fn code_is_recognised_without_a_fence() {
    let found = assess(
        "Why is this slow?\nfor (int i = 0; i < n; i++) {\n    f(a[i]);\n}",
        0,
        None,
    );
    let code = found.features.code.unwrap();
    assert_eq!((code.lines, code.loops, code.nesting), (3, 1, 1));
    let prose = assess(
        "from the start of the class (of 1990) we use let as a verb",
        0,
        None,
    );
    assert_eq!(prose.features.code, None);
}

#[test]
fn scripts_without_spaces_have_words_too() {
    let found = assess("请证明质数有无穷多个，并比较至少两种证明方法。", 0, None);
    assert!(found.features.words >= 8, "{:?}", found.features);
    assert!(found.features.count(Ask::Reasoning) >= 1);
}

#[test]
fn a_list_is_counted_by_its_items() {
    let found = assess(
        "Do:\n1. a b\n2) c\n- d\n* e\na) f\n10. g\n3.14 is pi\n-5 is less",
        0,
        None,
    );
    assert_eq!(found.features.list_items, 6);
}

proptest! {
    #[test]
    fn any_text_gets_a_score_in_range(text in "\\PC*", earlier in 0usize..1_000_000) {
        let found = assess(&text, earlier, None);
        prop_assert!((0.0..=1.0).contains(&found.score));
    }

    #[test]
    fn any_lines_of_code_like_noise_are_survived(text in "[ \\t\\n(){};=a-z`#*\\-0-9.]{0,400}") {
        let found = assess(&text, 0, None);
        prop_assert!((0.0..=1.0).contains(&found.score));
    }

    #[test]
    fn saying_it_twice_never_makes_it_easier_by_more_than_rounding(text in "[a-z ,.?0-9\\n]{30,400}") {
        // Only the "plain question" relief may go; it never comes.
        let once = assess(&text, 0, None).score;
        let twice = assess(&format!("{text}\n{text}"), 0, None).score;
        prop_assert!(twice + 0.13 >= once);
    }
}
