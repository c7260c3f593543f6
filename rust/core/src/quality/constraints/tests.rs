use super::*;
use crate::quality::check::Verdict;

fn verdict(request: &str, answer: &str) -> Verdict {
    check(&Answer::new(answer), request, "").verdict
}

const BROKEN: &[(&str, &str)] = &[
    (
        "Describe snow. Do not use the word \"cold\".",
        "Snow is cold and white.",
    ),
    (
        "Describe snow without using the words cold, white or winter.",
        "It falls in winter.",
    ),
    (
        "Describe snow, but avoid using the word white.",
        "A white blanket.",
    ),
    (
        "Write about Rome. Do not mention Caesar.",
        "Rome was ruled by Caesar.",
    ),
    (
        "Write a sentence without the letter e.",
        "The tree is green.",
    ),
    (
        "Write a story that includes the words \"fox\" and \"river\".",
        "A fox ran home.",
    ),
    (
        "Write a poem. It must include \"moonlight\".",
        "Roses are red.",
    ),
    (
        "Explain tides. Start your answer with \"Well\".",
        "Tides are caused by the Moon.",
    ),
    (
        "Explain tides. End your response with the phrase \"That is all.\"",
        "The Moon pulls.",
    ),
    (
        "Write your answer in all lowercase.",
        "Tides Are Caused By The Moon.",
    ),
    (
        "Answer in all caps: what is the capital of France?",
        "Paris is the capital.",
    ),
    (
        "Explain tides. No commas, please.",
        "The Moon, our neighbour, pulls.",
    ),
    (
        "Explain tides. Do not use exclamation marks.",
        "The Moon pulls!",
    ),
    ("Greet me. Don't use emojis.", "Hello 😀"),
    ("List fruits without bullet points.", "- apple\n- pear"),
    ("Return the list as YAML.", "There are apples and pears."),
    (
        "Give me the data in CSV format.",
        "There are apples and pears.",
    ),
    (
        "Compare both as a table.",
        "The first is larger than the second.",
    ),
    ("Return the list as XML.", "apples, pears"),
    (
        "How much is 3 + 4? Answer with only a number.",
        "The answer is 7 as three and four make seven.",
    ),
    ("Write a poem with exactly 4 lines.", "One\nTwo\nThree"),
    (
        "Summarize it in at most 3 bullet points.",
        "- a\n- b\n- c\n- d",
    ),
    (
        "Describe it in under 20 characters.",
        "This is a description that is far too long.",
    ),
    (
        "Fasse den Text in höchstens 10 Wörtern zusammen.",
        "Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort Wort",
    ),
    ("Antworte in einem Satz.", "Das ist so. Und das auch."),
    ("Antworte ohne das Wort \"nicht\".", "Das geht nicht."),
    (
        "Résume le texte en 10 mots maximum.",
        "mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot",
    ),
    ("Réponds en une phrase.", "C'est vrai. C'est tout."),
    ("Responde en una palabra.", "La capital es Lima."),
    (
        "Resume el texto en no más de 10 palabras.",
        "palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra palabra",
    ),
    ("Escribe al menos 10 palabras.", "Muy poco."),
    ("Rispondi in una parola.", "La capitale è Roma."),
    (
        "Responda em no máximo 5 palavras.",
        "Esta resposta tem muito mais do que cinco palavras.",
    ),
    (
        "请用不超过10字回答。",
        "这是一个非常非常长的回答，远远超过了限制。",
    ),
    ("用一句话总结。", "第一句。第二句。"),
    ("描述雪，不要使用“白”。", "雪是白色的。"),
];

#[test]
fn fails_what_was_demanded_otherwise() {
    for (request, answer) in BROKEN {
        assert_eq!(
            verdict(request, answer),
            Verdict::Failed,
            "{request} / {answer}"
        );
    }
}

const KEPT: &[(&str, &str)] = &[
    (
        "Describe snow. Do not use the word \"cold\".",
        "Scolding winds carry white flakes.",
    ),
    (
        "Describe snow without using the words cold, white or winter.",
        "Frozen flakes.",
    ),
    (
        "Write a story that includes the words \"fox\" and \"river\".",
        "Foxes love rivers.",
    ),
    (
        "Explain tides. Start your answer with \"Well\".",
        "**Well**, the Moon pulls.",
    ),
    (
        "Explain tides. End your response with the phrase \"That is all.\"",
        "The Moon pulls. That is all",
    ),
    (
        "Write your answer in all lowercase.",
        "tides are caused by the moon.",
    ),
    (
        "Explain tides. No commas, please.",
        "The Moon pulls 1,000 times.",
    ),
    (
        "Return the list as YAML.",
        "```yaml\nfruits:\n  - apple\n```",
    ),
    ("Give me the data in CSV format.", "a,b\n1,2"),
    (
        "Compare both as a table.",
        "| a | b |\n|---|---|\n| 1 | 2 |",
    ),
    ("Return the list as XML.", "<a><b>1</b></a>"),
    ("How much is 3 + 4? Answer with only a number.", "7"),
    (
        "Write a poem with exactly 4 lines.",
        "One\nTwo\n\nThree\nFour",
    ),
    (
        "Fasse den Text in höchstens 10 Wörtern zusammen.",
        "Kurz und gut.",
    ),
    ("Responde en una palabra.", "Lima."),
    ("请用不超过10字回答。", "短。"),
];

#[test]
fn passes_what_was_demanded() {
    for (request, answer) in KEPT {
        assert_eq!(
            verdict(request, answer),
            Verdict::Passed,
            "{request} / {answer}"
        );
    }
}

#[test]
fn is_not_misled_by_what_is_no_demand() {
    for request in [
        "Why do style guides tell you to avoid the word \"very\"?",
        "What does it mean to write in all caps?",
        "The teacher told us: do not use the word \"said\". What do you think?",
        "How many words are in two lines of this poem?",
        "Write a function that returns the string in all lowercase.",
        "If you use a list, do not use commas.",
        "Explain the difference between XML and JSON.",
        "Do not use a knife to open the box. What else works?",
        "List animals whose names start with the letter A.",
        "How do I avoid using too much water?",
        "Fix this sentence: \"Do not use the word 'stop' twice.\"",
        "A poem has 3 stanzas of 4 lines each. What form is it?",
        "Write a poem of 5 verses, each with 8 lines.",
        "Compose an acrostic with the word \"kind\".",
        "Il y a 50 mots dans ce texte.",
        "Ein Absatz hat fünf Sätze.",
        "这本书有10行字。",
        "What can I do without using my hands?",
        "Please include the words of the anthem.",
        "How is a table in a database different from a spreadsheet?",
    ] {
        assert_eq!(demands(request), Vec::new(), "{request}");
    }
}

#[test]
fn standing_rules_hold_for_every_answer() {
    let answer = Answer::new("Sure, here you are.");
    let found = check(
        &answer,
        "Hi",
        "You are a helper. Never use the word \"sure\".",
    );
    assert_eq!(found.verdict, Verdict::Failed);
    let found = check(&answer, "Hi", "Answer as YAML.");
    assert_eq!(found.verdict, Verdict::NotApplicable);
}

#[test]
fn a_long_request_takes_linear_time() {
    for piece in [
        "do not use the word ",
        "\"",
        "in 5 lines ",
        "no commas. ",
        "include the words a, ",
        "用5字",
        "„",
    ] {
        let text = piece.repeat((1 << 17) / piece.len());
        let _ = check(&Answer::new(&text), &text, &text);
    }
}

proptest::proptest! {
    #[test]
    fn any_request_can_be_read(request in ".{0,200}", answer in ".{0,100}") {
        let _ = verdict(&request, &answer);
    }
}
