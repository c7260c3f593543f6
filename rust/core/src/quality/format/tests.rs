use super::*;
use crate::quality::check::Verdict;

fn judge(question: &str, text: &str) -> Check {
    check(
        &Answer::new(text),
        &detect(question),
        "",
        ResponseFormat::Text,
    )
}

#[test]
fn json_of_the_protocol_must_be_json_and_nothing_else() {
    let judge = |text: &str| check(&Answer::new(text), &[], "", ResponseFormat::Json);
    assert_eq!(judge(" {\"a\": 1} ").verdict, Verdict::Passed);
    for text in ["{\"a\": 1", "```json\n{}\n```", "Here: {}", "{'a': 1}", ""] {
        assert!(judge(text).hard, "{text:?}");
    }
    let schema = JsonSchema::new(r#"{"type":"object","required":["a"]}"#).unwrap();
    let form = ResponseFormat::Schema(&schema);
    let judge = |text: &str| check(&Answer::new(text), &[], "", form);
    assert_eq!(judge("{\"a\": 1}").verdict, Verdict::Passed);
    let missing = judge("{\"b\": 1}");
    assert!(
        missing.hard && missing.reason.contains("lacks"),
        "{missing:?}"
    );
}

#[test]
fn fails_answers_of_another_form() {
    for (question, text) in [
        ("Return the user as JSON.", "The user is Ada."),
        (
            "Return the user as JSON.",
            "```json\n{\"name\": \"Ada\",\n```",
        ),
        (
            "Answer in one word: what is the capital of France?",
            "The capital of France is Paris.",
        ),
        (
            "Explain gravity in one sentence.",
            "Things fall. Mass attracts mass.",
        ),
        ("List 5 fruits.", "1. apple\n2. pear\n3. plum"),
        (
            "List 3 fruits.",
            "1. apple\n2. pear\n3. plum\n4. fig\n5. kiwi",
        ),
        (
            "Is 7 prime? Answer yes or no.",
            "Seven has just two divisors.",
        ),
        (
            "Write a function that adds two numbers.",
            "You add the first number to the second one.",
        ),
        (
            "How many legs does a spider have?",
            "Spiders are arachnids with legs.",
        ),
        ("Summarize this in 10 words or less.", &"word ".repeat(30)),
        ("Write a 200-word story about a fox.", "A fox ran."),
        (
            "Answer with only the letter of the correct option.",
            "Photosynthesis",
        ),
        (
            "Write two paragraphs about whales.",
            "Whales are large animals of the sea.",
        ),
    ] {
        assert_eq!(
            judge(question, text).verdict,
            Verdict::Failed,
            "{question} / {text}"
        );
    }
}

#[test]
fn passes_answers_of_the_form_asked_for() {
    for (question, text) in [
        ("Return the user as JSON.", "{\"name\": \"Ada\"}"),
        (
            "Return the user as JSON.",
            "Sure:\n```json\n{\"name\": \"Ada\"}\n```",
        ),
        (
            "Answer in one word: what is the capital of France?",
            "Paris.",
        ),
        ("Explain gravity in one sentence.", "Mass attracts mass."),
        (
            "List 3 fruits.",
            "1. apple\n   - red\n   - green\n2. pear\n3. plum",
        ),
        (
            "List three fruits.",
            "**Apple**\n- sweet\n- red\n\n**Pear**\n- soft\n- green\n\n**Plum**\n- blue",
        ),
        (
            "Summarize the text in 2 to 4 sentences.",
            "It is short. It is good. It ends well.",
        ),
        ("Is 7 prime? Answer yes or no.", "Yes."),
        ("Ist 7 prim? Answer yes or no.", "Ja, 7 ist prim."),
        (
            "Write a function that adds two numbers.",
            "```python\ndef add(a, b):\n    return a + b\n```",
        ),
        (
            "Write a function that adds two numbers.",
            "def add(a, b):\n    return a + b",
        ),
        ("How many legs does a spider have?", "Eight."),
        ("How many legs does a spider have?", "8"),
        ("Answer with only the letter of the correct option.", "B"),
        (
            "Answer with only the letter of the correct option.",
            "The answer is (C).",
        ),
    ] {
        assert_eq!(
            judge(question, text).verdict,
            Verdict::Passed,
            "{question} / {text}"
        );
    }
}

#[test]
fn says_nothing_where_no_form_was_asked_for() {
    let found = judge("List 3 fruits.", "Apple, pear and plum.");
    assert_eq!(found.verdict, Verdict::NotApplicable, "nothing to count");
    let found = judge("Tell me about Rome.", "Rome is a city.");
    assert_eq!(found.verdict, Verdict::NotApplicable);
}

#[test]
fn a_system_prompt_may_ask_for_a_form() {
    let answer = Answer::new("The weather is fine.");
    let found = check(
        &answer,
        &[],
        "Respond only with valid JSON.",
        ResponseFormat::Text,
    );
    assert!(found.hard);
}
