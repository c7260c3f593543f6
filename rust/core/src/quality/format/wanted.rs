//! What form a request asks its answer to have, as far as words say it without doubt.

use std::sync::LazyLock;

use crate::quality::words::{Word, WordSet, sentences, words};

/// A form asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// JSON, in words.
    Json,
    /// So many words.
    Words(Amount),
    /// So many sentences.
    Sentences(Amount),
    /// So many paragraphs.
    Paragraphs(Amount),
    /// A list of so many items.
    Items(Amount),
    /// Yes or no.
    YesNo,
    /// One of the letters of a multiple choice, and nothing else.
    Letter,
    /// Code.
    Code,
    /// A number.
    Number,
}

/// How many, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The number named.
    pub count: usize,
    /// Whether fewer will do, more will do, or it is only about so many.
    pub bound: Bound,
}

/// The sense in which a number was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So many.
    Exactly,
    /// So many or fewer.
    AtMost,
    /// So many or more.
    AtLeast,
    /// About so many.
    About,
    /// From the number given here up to so many.
    From(usize),
}

/// Instructions stand at the ends of a request; what a long document says in its middle is none.
const REACH: usize = 3000;

/// Verbs that ask for a text.
pub(super) static ASKING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "write answer reply respond summarize summarise explain describe give list name define \
         compose generate create tell provide limit keep use say suggest propose offer produce \
         draft state express return output show recommend brainstorm share mention identify \
         outline make present find formulate choose put come",
    )
});

/// Things made of code.
static THINGS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "function script code program class query regex method snippet algorithm implementation \
         macro subroutine stylesheet dockerfile makefile",
    )
});

/// Languages that code is written in.
static LANGUAGES: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "python javascript typescript java rust golang c sql bash html css php ruby kotlin \
         swift perl scala haskell matlab powershell react shell julia lua fortran cobol",
    )
});

/// The forms that a request asks for.
#[must_use]
pub fn detect(request: &str) -> Vec<Wanted> {
    let (head, tail) = ends(request);
    let mut wanted = Vec::new();
    for part in [head, tail] {
        let part = part.to_lowercase();
        for range in sentences(&part) {
            Sentence::new(&part[range]).detect(&mut wanted);
        }
    }
    wanted.dedup();
    wanted
}

/// The two ends of a text; the second is empty when the first holds it all.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= 2 * REACH {
        return (text, "");
    }
    let (mut head, mut tail) = (REACH, text.len() - REACH);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    (&text[..head], &text[tail..])
}

pub(super) struct Sentence<'a> {
    pub(super) text: &'a str,
    pub(super) words: Vec<&'a str>,
    pub(super) spans: Vec<Word>,
}

impl<'a> Sentence<'a> {
    fn new(text: &'a str) -> Self {
        let spans = words(text);
        let listed = spans
            .iter()
            .map(|word| &text[word.start..word.end])
            .collect();
        Self {
            text,
            words: listed,
            spans,
        }
    }

    pub(super) fn at(&self, index: usize) -> &'a str {
        self.words.get(index).copied().unwrap_or_default()
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub(super) fn follows(&self, index: usize, phrase: &[&str]) -> bool {
        phrase
            .iter()
            .enumerate()
            .all(|(offset, word)| self.at(index + offset) == *word)
    }

    fn contains(&self, phrase: &[&str]) -> bool {
        (0..self.words.len()).any(|index| self.follows(index, phrase))
    }

    /// Whether it asks for something: it begins with a verb that does, or names one behind `please`,
    /// `you` or `to`, and asks no question of quantity.
    pub(super) fn asks(&self) -> bool {
        if self.has("how") || self.at(0) == "what" && self.has("many") {
            return false;
        }
        let is_verb = |word: &str| ASKING.has_word(word);
        is_verb(self.at(0))
            || (1..self.words.len()).any(|index| {
                is_verb(self.at(index))
                    && matches!(
                        self.at(index - 1),
                        "please"
                            | "you"
                            | "to"
                            | "then"
                            | "and"
                            | "now"
                            | "only"
                            | "just"
                            | "me"
                            | "must"
                            | "should"
                            | "let's"
                            | "briefly"
                            | "simply"
                            | "also"
                    )
            })
    }

    fn detect(&self, out: &mut Vec<Wanted>) {
        self.json(out);
        self.amounts(out);
        self.choices(out);
        self.code(out);
        self.number(out);
    }

    /// “as JSON”, “a JSON object”, “valid JSON”: with a verb that asks, or an `only`.
    fn json(&self, out: &mut Vec<Wanted>) {
        let Some(index) = self.words.iter().position(|word| *word == "json") else {
            return;
        };
        let before = self.at(index.wrapping_sub(1));
        let after = self.at(index + 1);
        let shaped = matches!(
            before,
            "in" | "as" | "valid" | "a" | "only" | "with" | "strict" | "pure" | "raw" | "following"
        ) || matches!(after, "only" | "format" | "object" | "array");
        // The words around it may be about JSON, not in it.
        let about = matches!(
            after,
            "file"
                | "files"
                | "parser"
                | "library"
                | "schema"
                | "data"
                | "string"
                | "payload"
                | "api"
        ) || self.has("parse")
            || self.has("parsing")
            || self.has("convert")
            || self.has("function")
            || self.has("script")
            || self.has("code")
            || self.has("what")
            || self.has("why")
            || self.has("how")
            || self.has("explain")
            || self.has("difference");
        let asked = self.asks()
            || self.has("only")
            || self.has("output")
            || self.has("response")
            || self.has("format");
        if shaped && !about && asked {
            out.push(Wanted::Json);
        }
    }

    fn choices(&self, out: &mut Vec<Wanted>) {
        let answering =
            self.has("answer") || self.has("reply") || self.has("respond") || self.has("say");
        if self.contains(&["yes", "or", "no"])
            || self.contains(&["yes", "no"]) && self.has("answer")
        {
            let last = self.words.len().saturating_sub(3);
            if answering || self.follows(last, &["yes", "or", "no"]) {
                out.push(Wanted::YesNo);
            }
        }
        let letter = self.has("letter")
            && (self.has("only") || self.has("just") || self.has("single"))
            && (self.has("answer")
                || self.has("option")
                || self.has("choice")
                || self.has("correct"));
        if letter && self.asks() && !self.has("each") {
            out.push(Wanted::Letter);
        }
    }

    /// “write a function …”, “implement … in Python”.
    fn code(&self, out: &mut Vec<Wanted>) {
        for index in 0..self.words.len() {
            if !matches!(
                self.at(index),
                "write" | "implement" | "code" | "create" | "develop" | "generate"
            ) {
                continue;
            }
            if index > 0
                && !matches!(
                    self.at(index - 1),
                    "please" | "you" | "to" | "and" | "then" | "me"
                )
            {
                continue;
            }
            let ahead = (index + 1)..(index + 8).min(self.words.len());
            let thing = ahead.clone().find(|at| THINGS.has_word(self.at(*at)));
            let language = (index + 1..self.words.len()).any(|at| {
                LANGUAGES.has_word(self.at(at)) && (self.at(at) != "c" || self.at(at - 1) == "in")
            });
            let about = ahead.clone().any(|at| {
                matches!(
                    self.at(at),
                    "about"
                        | "on"
                        | "story"
                        | "essay"
                        | "post"
                        | "article"
                        | "email"
                        | "poem"
                        | "tutorial"
                        | "documentation"
                        | "name"
                        | "description"
                        | "review"
                        | "letter"
                )
            });
            let sure = thing.is_some_and(|at| {
                matches!(
                    self.at(at),
                    "function" | "regex" | "snippet" | "subroutine" | "macro"
                ) || language
            });
            if sure && !about {
                out.push(Wanted::Code);
                return;
            }
        }
    }

    /// “How many …?”, “Calculate …”: an answer without any number is none.
    fn number(&self, out: &mut Vec<Wanted>) {
        let question = self.text.trim_end().ends_with('?');
        let index = (0..self.words.len()).find(|&at| self.follows(at, &["how", "many"]));
        let near_head = index.is_some_and(|at| at <= 12 || question);
        if question && near_head && !self.has("ways") && !self.contains(&["do", "you"]) {
            out.push(Wanted::Number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(count: usize, bound: Bound) -> Amount {
        Amount { count, bound }
    }

    #[test]
    fn finds_what_is_asked() {
        use Bound::{About, AtLeast, AtMost, Exactly};
        for (request, expected) in [
            (
                "Answer in one word: what is the capital of France?",
                Wanted::Words(amount(1, Exactly)),
            ),
            (
                "In one word, what color is the sky?",
                Wanted::Words(amount(1, Exactly)),
            ),
            (
                "Summarize this in 50 words or less.",
                Wanted::Words(amount(50, AtMost)),
            ),
            (
                "Write a 200-word story about a fox.",
                Wanted::Words(amount(200, About)),
            ),
            (
                "Explain gravity in exactly three sentences.",
                Wanted::Sentences(amount(3, Exactly)),
            ),
            (
                "Describe Rome using no more than two sentences.",
                Wanted::Sentences(amount(2, AtMost)),
            ),
            (
                "Write two paragraphs about whales.",
                Wanted::Paragraphs(amount(2, Exactly)),
            ),
            (
                "List 5 reasons to exercise.",
                Wanted::Items(amount(5, Exactly)),
            ),
            (
                "Please give me three creative names for a cat café.",
                Wanted::Items(amount(3, Exactly)),
            ),
            (
                "Give me a list of at least 10 vegetables.",
                Wanted::Items(amount(10, AtLeast)),
            ),
            ("Return the result as JSON.", Wanted::Json),
            ("Respond only with a JSON object.", Wanted::Json),
            ("Is 7 prime? Answer yes or no.", Wanted::YesNo),
            (
                "Answer with only the letter of the correct option.",
                Wanted::Letter,
            ),
            ("Write a function that adds two numbers.", Wanted::Code),
            (
                "Please write a program in Python that prints primes.",
                Wanted::Code,
            ),
            ("How many legs does a spider have?", Wanted::Number),
        ] {
            let found = detect(request);
            assert!(found.contains(&expected), "{request}: {found:?}");
        }
    }

    #[test]
    fn is_not_misled_by_stories_and_subjects() {
        for request in [
            "She can type 50 words in one minute.",
            "John writes 3 sentences per page and 20 pages per day.",
            "How do I parse JSON in Python?",
            "What is JSON?",
            "Explain the difference between JSON and XML.",
            "An essay of 500 words costs $20. What is the price per word?",
            "Write a program for the wedding ceremony.",
            "Write a story about a function in the palace.",
            "Tom gives 3 apples to Ann.",
            "One of the sentences is wrong.",
            "The teacher said yes or no would not do.",
            "Solve for x in 20 minutes.",
        ] {
            assert_eq!(detect(request), Vec::new(), "{request}");
        }
    }
}
