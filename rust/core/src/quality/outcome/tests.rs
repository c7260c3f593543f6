use proptest::prelude::*;

use super::*;

fn normal(text: &str) -> Option<String> {
    of(text).map(|outcome| outcome.normal())
}

#[test]
fn finds_what_an_answer_finally_says() {
    for (text, expected) in [
        (
            "```json\n{\"reasoning\": \"3 + 4 = 7\", \"answer\": \"$7.00\"}\n```",
            "7 dollar",
        ),
        ("{\"answer\": [1, 2,3]}", "[1, 2, 3]"),
        ("{\"answer\": \"{'b': 2, 'a': 1}\"}", "{'a': 1, 'b': 2}"),
        ("So the length is $\\boxed{\\frac{3}{4}}$.", "3/4"),
        ("2 + 2 = 4\n#### 1,234", "1234"),
        ("The answer is **42**.", "42"),
        ("The answer is (C) Photosynthesis.", "C"),
        ("The correct answer is B.", "B"),
        ("**Answer:** D) all of them", "D"),
        ("(B)", "B"),
        ("B. The heart pumps blood through the body.", "B"),
        ("Yes, because 7 has just two divisors.", "true"),
        ("No.", "false"),
        ("**True**", "true"),
        ("True", "true"),
        ("Ja, das stimmt.", "true"),
        ("是", "true"),
        (
            "The output is as follows.\nThe answer is: `['a.b', 'c']`.",
            "['a.b', 'c']",
        ),
        (
            "The answer is:\n```python\n(1, 'x')\n```\nas shown.",
            "(1, 'x')",
        ),
        ("Hence\nassert f([1]) == {'k': 'v.w'}", "{'k': 'v.w'}"),
        ("'abc'", "abc"),
        ("Paris.", "paris"),
        ("The answer is J. K. Rowling.", "j k rowling"),
        (
            "She has 3 * 4 = 12 eggs. Therefore, she has 12 eggs left.",
            "12",
        ),
        (
            "16 - 7 = 9 eggs\nSo she earns 9 * $2 = $18 every day.",
            "18 dollar",
        ),
        ("The meeting ends at\nAnswer: 2:30 p.m.", "14:30"),
        ("The probability is 0.5. So the result is 50%.", "50%"),
        (
            "465 - 367 = 98\n\nSo she needs 98 points to reach an average of 93.",
            "98",
        ),
        (
            "In total 175 + 140 + 280 = <<175+140+280=595>>595 gems are in the 2 chests.",
            "595",
        ),
        ("The sum is 4 + 5 = **9** apples.", "9"),
        ("The answer is an empty string.", ""),
        ("{\"answer\": \"\"}", ""),
        ("{\"answer\": \"!?\"}", "!?"),
        ("answer: eighteen", "18"),
        ("The answer is -3/4", "-3/4"),
        ("The answer is x + 3", "x+3"),
        ("Die Antwort lautet 3,5 Stunden.", "7/2 hour"),
        ("因此答案是 18。", "18"),
        ("<think>the answer is 5</think>\nThe answer is 6.", "6"),
    ] {
        assert_eq!(normal(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn an_explanation_has_no_final_answer() {
    for text in [
        "",
        "The sky is blue because air scatters short waves more than long ones.",
        "In 1969, people first walked on the Moon. They came back after eight days.",
        "A) red\nB) green\nC) blue",
        "1. Mix the flour with water.\n2. Bake it for 40 minutes.",
        "```python\ndef f(x):\n    return x\n```",
        "No man is an island, and no book is a world, as the saying goes among those who read.",
        "What do you mean?",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
}

#[test]
fn says_when_two_answers_agree() {
    for (one, other) in [
        ("The answer is 18.", "{\"answer\": \"$18.00\"}"),
        ("#### 1200", "\\boxed{1,200}"),
        ("\n#### 5 hours", "The answer is 300 minutes"),
        ("#### 0", "The answer is 0"),
        ("The answer is 5", "The answer is 5 hours"),
        ("answer: 50%", "answer: 0.5"),
        ("answer: 50%", "answer: 1/2"),
        ("answer: 24%", "answer: 24"),
        ("answer: 33.33", "answer: 33.3333"),
        ("answer: 33.33", "answer: 100/3"),
        ("answer: 1.5 million", "answer: 1,500,000"),
        ("B", "The answer is (B) Paris."),
        ("{\"answer\": \"''\"}", "{\"answer\": \"\"}"),
        (
            "answer: 4 blue and 6 red",
            "answer: Tim has 4 blue and 6 red",
        ),
        ("'yes'", "yes"),
        ("answer: '1co'", "answer: 1co"),
        ("Yes.", "The statement is true. Answer: True"),
        ("'abc'", "abc"),
        (
            "{\"answer\": \"['a', 'b']\"}",
            "The answer is [\"a\",\"b\"].",
        ),
        ("The answer is Paris.", "paris"),
        ("The answer is the Eiffel Tower", "Answer: Eiffel tower"),
        ("Answer: 2 pm", "Answer: 14:00"),
        ("\\boxed{\\dfrac{x}{2}}", "$\\boxed{\\frac{x}{2}}$"),
        ("Olivia answer: 32 + 0.8x", "answer: 32+0.8x"),
    ] {
        assert_eq!(same(one, other), Some(true), "{one} | {other}");
        assert_eq!(same(other, one), Some(true), "{other} | {one}");
    }
}

#[test]
fn says_when_two_answers_differ() {
    for (one, other) in [
        ("The answer is 18.", "The answer is 19."),
        ("answer: 18.5", "answer: 18"),
        ("answer: 5 hours", "answer: 5 minutes"),
        ("answer: 50%", "answer: 60%"),
        ("A", "B"),
        ("Yes.", "No."),
        ("[1, 2]", "[2, 1]"),
        ("[1, 2]", "(1, 2)"),
        ("'abc'", "'ABC'"),
        ("answer: w)))", "answer: w))"),
        ("answer: __1.0r__a", "answer: __1.00r__a"),
        ("answer: 23x John z", "answer: 24x John z"),
        ("'  a'", "' a'"),
        ("neqe-;ew22", "nnneqe-;ew22"),
        ("The answer is Paris", "The answer is Rome"),
        ("answer: Cannot be determined", "answer: 5"),
        ("answer: 4 blue and 6 red", "answer: 5 blue and 5 red"),
        ("answer: May 5", "answer: June 5"),
        (
            "answer: 12345678901234567890123456789012345678901234567890",
            "answer: 12345678901234567890123456789012345678901234567891",
        ),
    ] {
        assert_eq!(same(one, other), Some(false), "{one} | {other}");
        assert_eq!(same(other, one), Some(false), "{other} | {one}");
    }
}

#[test]
fn says_nothing_where_both_may_be_meant_alike() {
    for (one, other) in [
        ("answer: 1.234", "answer: 1,234"),
        ("hello", "HELLO"),
        ("' a'", "a"),
        ("B", "Paris"),
        ("Answer: Shakespeare", "Answer: William Shakespeare"),
        (
            "answer: 4 blue and 6 red",
            "{\"answer\": {\"blue\": 4, \"red\": 6}}",
        ),
        (
            "The sky is blue because air scatters short waves of light most.",
            "answer: 5",
        ),
    ] {
        assert_eq!(same(one, other), None, "{one} | {other}");
        assert_eq!(same(other, one), None, "{other} | {one}");
    }
}

const PIECES: &[&str] = &[
    "the answer is ",
    "#### ",
    "\\boxed{",
    "}",
    "{\"answer\": ",
    "\"",
    "'",
    "[",
    "]",
    "(",
    ")",
    "{",
    ":",
    ",",
    ".",
    " ",
    "\n",
    "```",
    "`",
    "**",
    "$",
    "%",
    "=",
    "-",
    "/",
    "\\frac{1}{2}",
    "12",
    "3.5",
    "1,234",
    "½",
    "٣",
    "東",
    "é",
    "A",
    "B)",
    "Yes",
    "no",
    "true",
    "hours",
    "May ",
    "million",
    "assert f(1) == ",
    "2:30 pm",
    "e\u{301}",
    "👍",
];

proptest! {
    #[test]
    fn any_text_has_an_outcome_or_none(text in ".{0,200}") {
        if let Some(outcome) = of(&text) {
            prop_assert_ne!(same(&text, &text), Some(false));
            prop_assert!(outcome.text.chars().count() <= 400);
        }
    }

    #[test]
    fn comparing_is_the_same_in_either_order_and_forms_that_are_equal_agree(
        one in prop::collection::vec(prop::sample::select(PIECES), 0..12),
        other in prop::collection::vec(prop::sample::select(PIECES), 0..12),
    ) {
        let (one, other) = (one.concat(), other.concat());
        prop_assert_eq!(same(&one, &other), same(&other, &one));
        if let (Some(a), Some(b)) = (of(&one), of(&other))
            && a.normal() == b.normal()
        {
            prop_assert_ne!(same(&one, &other), Some(false));
        }
    }
}

#[test]
fn a_long_text_takes_linear_time() {
    for piece in [
        "the answer is ",
        "`",
        "$",
        "(",
        "[",
        "\\boxed{",
        "assert x == ",
        "= 1 ",
        "**",
        "Yes, ",
        "```\n",
        "#### \n",
        "A) ",
    ] {
        let text = piece.repeat((1 << 18) / piece.len());
        let _ = same(&text, "5");
    }
}
