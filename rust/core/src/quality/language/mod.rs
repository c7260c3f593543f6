//! Answers in another language than the question, or than was asked for.
//!
//! Languages of other scripts are told by their letters, those in Latin letters by their function
//! words. Nothing is said of short texts, of translations and what speaks of languages, or of songs and
//! quotations.

mod names;
mod tell;

pub use tell::{Language, tell};

use super::answer::Answer;
use super::check::Check;
use super::words::{Word, WordSet};
use std::sync::LazyLock;

const NAME: &str = "language";

/// Requests whose answers may be in any language.
static ANY_LANGUAGE: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "translate translates translated translation translations translator lyrics song songs poem \
         anthem prayer recite quote quotes quotation hymn verse pronounce pronunciation word words \
         phrase phrases phrasebook sentence meaning mean means saying proverb proverbs language \
         languages linguistic bilingual dialect slang loanword etymology grammar correct proofread \
         übersetze übersetzen übersetzung lied liedtext gedicht sprache sprachen wort wörter heißt \
         bedeutet traduis traduire traduction chanson paroles poème langue langues mot mots \
         traduce traducir traducción canción letra poema idioma idiomas lengua palabra palabras \
         traduci tradurre traduzione canzone lingua lingue parola parole traduza traduzir tradução \
         canção língua línguas palavra palavras vertaal vertaling переведи перевод песня",
    )
});

/// The same in scripts without spaces.
const ANY_LANGUAGE_SPACELESS: [&str; 9] = [
    "翻译",
    "翻譯",
    "翻訳",
    "歌词",
    "語",
    "语",
    "번역",
    "แปล",
    "诗",
];

/// Fails an answer whose language is surely another one.
#[must_use]
pub fn check(
    answer: &Answer<'_>,
    answer_words: &[Word],
    question: &str,
    question_words: &[Word],
    instructions: &str,
) -> Check {
    let prose: &str = &answer.prose;
    let Some(said) = tell(prose, answer_words, 12) else {
        return Check::not_applicable(NAME);
    };
    if let Some(demanded) = names::demanded(question).or_else(|| names::demanded(instructions)) {
        return judge(prose, answer_words, said, demanded, "asked for");
    }
    let any = question_words
        .iter()
        .any(|word| ANY_LANGUAGE.has(word.hash))
        || ANY_LANGUAGE_SPACELESS
            .iter()
            .any(|term| question.contains(term))
        || names::mentions(question_words);
    let asked = asked_in(question, question_words);
    let Some(asked) = asked.filter(|_| !any) else {
        return Check::not_applicable(NAME);
    };
    if said == asked {
        return Check::passed(NAME);
    }
    // “Summarise this: …”, and a text in another language: either may be meant.
    // Japanese itself is written with Chinese characters.
    let japanese = asked == Language::Script(tell::Script::Japanese);
    if !japanese && tell::has_trace(question, question_words, said) || !head_is(question, asked) {
        return Check::not_applicable(NAME);
    }
    // A system prompt in the answer's language says what is spoken here.
    if !instructions.is_empty() {
        let found = super::words::words(instructions);
        if names::mentions(&found)
            || tell(instructions, &found, 4).is_none_or(|language| language == said)
        {
            return Check::not_applicable(NAME);
        }
    }
    judge(prose, answer_words, said, asked, "the question's")
}

/// The language of a question, without the code in it; of a long one, that of both its ends, between
/// which other texts stand.
fn asked_in(question: &str, found: &[Word]) -> Option<Language> {
    const END: usize = 40;
    if question.contains("```") {
        let taken = Answer::new(question);
        let prose: &str = &taken.prose;
        // An unclosed fence stays; a second look would not end.
        if prose.len() < question.len() && !prose.contains("```") {
            return asked_in(prose, &super::words::words(prose));
        }
        return None;
    }
    if found.len() <= 2 * END {
        return tell(question, found, 4);
    }
    let (head, tail) = (&found[..END], &found[found.len() - END..]);
    let first = tell(&question[..head.last()?.end], head, 4)?;
    let start = tail.first()?.start;
    let shifted: Vec<Word> = tail
        .iter()
        .map(|word| Word {
            start: word.start - start,
            end: word.end - start,
            hash: word.hash,
        })
        .collect();
    let second = tell(&question[start..], &shifted, 4)?;
    (first == second).then_some(first)
}

/// Whether what stands before a colon, a quotation or a line break is in the language of the whole.
fn head_is(question: &str, asked: Language) -> bool {
    let ends = [':', '：', '\n', '"', '“', '„', '«', '「'];
    let question = question.trim();
    let head = question.split(ends).next().unwrap_or_default();
    head.len() == question.len()
        || tell(head, &super::words::words(head), 3).is_some_and(|language| language == asked)
}

fn judge(prose: &str, words: &[Word], said: Language, expected: Language, whose: &str) -> Check {
    if said == expected || tell::has_some(prose, words, expected) {
        return Check::passed(NAME);
    }
    let (said, expected) = (said.name(), expected.name());
    let reason = format!("the answer is in {said}, and {whose} language is {expected}");
    Check::found(
        NAME,
        0.2,
        reason.replace("asked for language is", "what was asked for is"),
    )
}

#[cfg(test)]
mod tests;
