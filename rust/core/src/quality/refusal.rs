//! Answers that decline to answer.
//!
//! A phrase of refusal counts when it is the answer's own act: at the head of its first sentences (or
//! of its last one), outside quotes, quoted lines and code, and not asked for (“write a letter that
//! declines …”). What an answer goes on to give in spite of it softens the verdict.

use std::sync::LazyLock;

use super::answer::Answer;
use super::check::Check;
use super::phrases::{Found, Phrases};
use super::truncated::Finish;
use super::words::{WordSet, sentences, snippet, words};

const NAME: &str = "refusal";

/// Says by itself that nothing is coming.
const WHOLE: u8 = 0;
/// Says who speaks; refuses when the sentence goes on to deny something.
const PERSONA: u8 = 2;
/// Goes on refusing, once something was refused.
const EXPLANATION: u8 = 3;

static OPENINGS: LazyLock<Phrases> = LazyLock::new(|| {
    let list = include_str!("phrases/refusal.txt");
    Phrases::from_list(list, &["whole", "modal", "persona", "explanation"])
});

/// Words that deny.
static NEGATIONS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "not no cannot can't don't won't unable couldn't doesn't haven't never nicht kein keine ne \
         pas aucun aucune nunca não nem non nessun niet geen nie не нет",
    )
});

fn denies(sentence: &str) -> bool {
    words(sentence).iter().any(|word| NEGATIONS.has(word.hash))
        || sentence.contains(['不', '无', '無', '没', '沒'])
        || sentence.contains("ません")
}

/// What is refused; the first of at most four words behind a modal.
static ACTS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "assist assisting help helping comply complying fulfil fulfill fulfilling provide \
         providing answer answering discuss discussing create creating generate generating write \
         writing engage engaging support share sharing give giving offer offering continue \
         continuing complete completing access accessing browse browsing open view see viewing \
         process processing respond responding participate produce recommend advise endorse \
         promote encourage do perform execute retrieve search look predict speculate accommodate",
    )
});

/// Words in a request that ask for such a text, or that hold one.
static ASKED_FOR: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "decline declines declining refuse refuses refusal reject rejection rejecting apologize \
         apologise apology sorry translate roleplay ablehnen absage traduire rechazar",
    )
});

/// Fails an answer that declines; `refusal` is what the protocol carried apart from the text.
#[must_use]
pub fn check(answer: &Answer<'_>, question: &str, finish: Finish, refusal: Option<&str>) -> Check {
    if let Some(text) = refusal.filter(|text| !text.trim().is_empty()) {
        return Check::hard(NAME, format!("the model declined: “{}”", snippet(text, 80)));
    }
    match finish {
        Finish::Refusal => return Check::hard(NAME, "the provider says the model declined".into()),
        Finish::ContentFilter => {
            return Check::hard(NAME, "the provider's content filter cut the answer".into());
        }
        _ => {}
    }
    let prose: &str = &answer.prose;
    let text = match &answer.final_field {
        Some(field) if prose.trim().is_empty() => field.as_str(),
        _ => prose,
    };
    if text.trim().is_empty() {
        return Check::not_applicable(NAME);
    }
    let all = sentences(text);
    let mut refusing = Vec::new();
    for (index, sentence) in all.iter().enumerate() {
        // Its first three sentences are an answer's act; what is said later is an aside.
        if index >= 3 && index + 1 != all.len() {
            continue;
        }
        if is_refusing(text, sentence.clone()) {
            refusing.push((index, sentence.clone()));
        }
    }
    let Some((first, sentence)) = refusing.first().cloned() else {
        return Check::passed(NAME);
    };
    if is_asked_for(question) {
        return Check::passed(NAME);
    }
    let quote = snippet(&text[sentence.clone()], 80);
    // What is given besides: the sentences that neither refuse nor explain the refusal, and code.
    let is_explanation = |range: &std::ops::Range<usize>| {
        OPENINGS
            .find(&text[range.clone()])
            .any(|found| found.tag == EXPLANATION)
    };
    let given: usize = all
        .iter()
        .enumerate()
        .filter(|(index, range)| {
            !refusing.iter().any(|(other, _)| other == index) && !is_explanation(range)
        })
        .map(|(_, range)| words(&text[range.clone()]).len())
        .sum();
    let code: usize = answer
        .fences
        .iter()
        .map(|fence| fence.body.trim().len())
        .sum();
    // “…, but based on what is known, …”: the same sentence goes on to answer.
    let turns = turns(&text[sentence]);
    if first > 0 || code >= 40 || given >= 60 || (turns && given >= 10) {
        let score = if given >= 60 { 0.75 } else { 0.6 };
        return Check::found(
            NAME,
            score,
            format!("the answer declines a part: “{quote}”"),
        );
    }
    if given >= 30 {
        return Check::found(NAME, 0.3, format!("the answer mostly declines: “{quote}”"));
    }
    Check::hard(NAME, format!("the answer declines: “{quote}”"))
}

/// Whether a refusing sentence turns to what can be given.
fn turns(sentence: &str) -> bool {
    let found = words(sentence);
    let is = |word: &super::words::Word, list: &[&str]| {
        let text = &sentence[word.start..word.end];
        list.iter().any(|listed| text.eq_ignore_ascii_case(listed))
    };
    let turn = found
        .iter()
        .position(|word| is(word, &["but", "however", "nevertheless", "although"]));
    turn.is_some_and(|at| {
        let gives = [
            "can",
            "here",
            "based",
            "general",
            "generally",
            "provide",
            "following",
        ];
        found[at..].iter().any(|word| is(word, &gives)) && !denies(&sentence[found[at].start..])
    })
}

fn is_asked_for(question: &str) -> bool {
    words(question).iter().any(|word| ASKED_FOR.has(word.hash))
        || OPENINGS.find(question).any(|found| found.tag == WHOLE)
}

/// Whether a sentence refuses: a phrase near its head, outside quotes.
fn is_refusing(text: &str, range: std::ops::Range<usize>) -> bool {
    // Only its head counts, which also keeps this linear in a text without full stops.
    let mut end = range.end.min(range.start + 400);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let sentence = &text[range.start..end];
    let head = sentence.trim_start_matches(['*', '_', '#', '-', ' ']);
    if head.starts_with(['>', '"', '“', '«', '「', '‘']) || head.starts_with("//") {
        return false;
    }
    OPENINGS.find(sentence).any(|found| {
        let before = &sentence[..found.start];
        let near = before.chars().count() <= 60;
        let unquoted = before.matches('"').count().is_multiple_of(2)
            && before.matches(['“', '«', '「']).count() <= before.matches(['”', '»', '」']).count();
        near && unquoted && own_words(before) && refuses(sentence, found)
    })
}

/// Words that make what follows somebody else's, or only possible.
static SPOKEN_OF: LazyLock<WordSet> =
    LazyLock::new(|| WordSet::new("say says said saying if when whether why that because"));

/// Whether the words before a phrase leave it the answer's own: not “when you say”, not “if”.
fn own_words(before: &str) -> bool {
    let found = words(before);
    found.len() <= 8 && !found.iter().any(|word| SPOKEN_OF.has(word.hash))
}

fn refuses(sentence: &str, found: Found) -> bool {
    match found.tag {
        WHOLE => return true,
        PERSONA => return denies(sentence),
        EXPLANATION => return false,
        _ => {}
    }
    let rest = &sentence[found.end..];
    // “Unable to” and “cannot” without a subject only at the very head.
    let phrase = &sentence[found.start..found.end];
    let bare = phrase.eq_ignore_ascii_case("unable to") || phrase.eq_ignore_ascii_case("cannot");
    if bare && !sentence[..found.start].trim().is_empty() {
        return false;
    }
    let following = words(rest);
    // “I can't help but …”, “I can't do without …” refuse nothing.
    let phrase_is = |texts: &[&str]| {
        following.len() >= texts.len()
            && texts
                .iter()
                .zip(&following)
                .all(|(text, word)| rest[word.start..word.end].eq_ignore_ascii_case(text))
    };
    if ["but", "wait", "feeling", "noticing"]
        .iter()
        .any(|next| phrase_is(&["help", next]))
        || phrase_is(&["do", "without"])
        || phrase_is(&["see", "why"])
        || phrase_is(&["see", "any"])
        || phrase_is(&["recommend", "enough"])
        || phrase_is(&["do", "better"])
        || phrase_is(&["give", "up"])
    {
        return false;
    }
    following.iter().take(4).any(|word| ACTS.has(word.hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;

    fn judge(question: &str, text: &str) -> Check {
        check(&Answer::new(text), question, Finish::Stop, None)
    }

    #[test]
    fn rejects_answers_that_decline() {
        for text in [
            "I'm sorry, but I can't assist with that request.",
            "I cannot help with this.",
            "I’m unable to provide medical advice.",
            "As an AI language model, I don't have personal opinions.",
            "I'm sorry, as an AI language model, I don't have the ability to set up reminders. However, \
             you can use a virtual assistant on your phone.",
            "Als KI-Sprachmodell habe ich keine Gefühle.",
            "I have to decline this one.",
            "Sorry, I can't do that.",
            "Unfortunately, I am not able to access the internet.",
            "I don't know.",
            "I don't have access to real-time data, so I can't tell you today's weather.",
            "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
            "Je suis désolé, mais je ne peux pas répondre à cette question.",
            "Lo siento, pero no puedo ayudar con eso.",
            "Desculpe, mas não posso ajudar com isso.",
            "Mi dispiace, ma non posso aiutarti.",
            "Извините, но я не могу помочь с этим.",
            "很抱歉，我无法回答这个问题。",
            "申し訳ありませんが、お手伝いできません。",
            "죄송하지만 도와드릴 수 없습니다.",
            "عذرًا، لا أستطيع مساعدتك في ذلك.",
            "{\"answer\": \"I'm sorry, but I cannot help with that.\"}",
        ] {
            let found = judge("How do I do this?", text);
            assert!(found.hard, "{text}: {found:?}");
        }
    }

    #[test]
    fn passes_answers_that_answer() {
        for text in [
            "I'm sorry to hear that. Try restarting the router first.",
            "I can't help but admire this poem. It is about loss.",
            "The assistant said \"I cannot help with that\" and stopped.",
            "> I cannot help with that\n\nThis line is a typical refusal.",
            "People who cannot see use a white cane.",
            "You cannot divide by zero. The result is undefined.",
            "If I cannot provide proof, the claim fails.",
            "Dear Ann,\nI can't wait to see you on Sunday!",
            "Paris.",
            "Ich kann das Fenster öffnen.",
            "我认为答案是 4。",
            "Plants cannot provide energy without light.",
            "As an AI language model, I can list the most common allergens: milk, eggs, and nuts.",
            "As an AI language model, I don't have personal experience, but based on general knowledge \
             dogs chase rabbits. They bark, their ears stand up, and they run after them at once.",
        ] {
            let found = judge("How do I do this?", text);
            assert_eq!(found.verdict, Verdict::Passed, "{text}: {found:?}");
        }
    }

    #[test]
    fn a_refusal_that_was_asked_for_is_an_answer() {
        let found = judge(
            "Write a polite email to decline the invitation",
            "I'm sorry, but I can't attend. I must decline.",
        );
        assert_eq!(found.verdict, Verdict::Passed);
    }

    #[test]
    fn what_is_given_in_spite_of_it_softens_the_verdict() {
        let advice = "I can't provide medical advice. ".to_owned()
            + &"Rest, drink water, and see a doctor when the fever lasts more than three days. "
                .repeat(12);
        let found = judge("I have a fever, what should I do?", &advice);
        assert!(!found.hard && found.score >= 0.5, "{found:?}");
    }

    #[test]
    fn the_protocols_own_word_counts() {
        let answer = Answer::new("");
        assert!(check(&answer, "", Finish::Refusal, None).hard);
        assert!(check(&answer, "", Finish::ContentFilter, None).hard);
        assert!(check(&answer, "", Finish::Stop, Some("I can't do that")).hard);
        assert!(OPENINGS.is_built());
    }
}
