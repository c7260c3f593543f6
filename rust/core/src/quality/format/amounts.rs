//! How many words, sentences, paragraphs or items a request asks for.

use std::sync::LazyLock;

use super::wanted::{ASKING, Amount, Bound, Sentence, Wanted};
use crate::quality::words::WordSet;

/// Plurals that are measured or counted otherwise: no list.
static OTHER: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "words characters letters lines pages minutes hours days weeks months years seconds \
         dollars times degrees miles meters percent points digits decimals players people persons \
         variables numbers integers arguments parameters parts columns rows stars stanzas verses \
         bits bytes figures places players",
    )
});

fn number(word: &str) -> Option<usize> {
    Some(match word {
        "one" | "single" => 1,
        "two" | "couple" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" | "dozen" => 12,
        "fifteen" => 15,
        "twenty" => 20,
        "thirty" => 30,
        "fifty" => 50,
        _ => {
            return word
                .parse()
                .ok()
                .filter(|count| (1..=10_000).contains(count));
        }
    })
}

impl Sentence<'_> {
    pub(super) fn amounts(&self, out: &mut Vec<Wanted>) {
        let asks = self.asks();
        for index in 0..self.words.len() {
            let Some(count) = number(self.at(index)) else {
                continue;
            };
            if count == 1 && self.at(index) == "one" && self.at(index + 1) == "of" {
                continue;
            }
            let unit = self.at(index + 1);
            let amount = Amount {
                count,
                bound: self.bound(index),
            };
            let anchored = self.anchored(index);
            match unit {
                "word" | "words" if anchored || (asks && self.hyphened(index)) => {
                    out.push(Wanted::Words(self.loosened(index, amount)));
                }
                "sentence" | "sentences" if anchored || (asks && self.is_object(index)) => {
                    out.push(Wanted::Sentences(amount));
                }
                "paragraph" | "paragraphs" if anchored || (asks && self.is_object(index)) => {
                    out.push(Wanted::Paragraphs(amount));
                }
                _ if asks
                    && (2..=100).contains(&count)
                    && self.is_object(index)
                    && self.is_listable(index + 1) =>
                {
                    out.push(Wanted::Items(amount));
                }
                _ => {}
            }
        }
    }

    /// Whether words before (or behind) a number make it a limit on the answer.
    fn anchored(&self, index: usize) -> bool {
        let mut before = index;
        while before > 0
            && matches!(
                self.at(before - 1),
                "exactly"
                    | "about"
                    | "around"
                    | "approximately"
                    | "roughly"
                    | "only"
                    | "just"
                    | "a"
                    | "most"
                    | "least"
                    | "than"
                    | "more"
                    | "fewer"
                    | "less"
                    | "no"
                    | "at"
                    | "up"
                    | "the"
                    | "maximum"
                    | "of"
                    | "under"
                    | "over"
                    | "below"
                    | "nearly"
            )
        {
            before -= 1;
        }
        let limited = before < index
            && !matches!(self.at(index - 1), "a" | "the" | "of" | "about" | "around");
        let preposition = before > 0
            && matches!(
                self.at(before - 1),
                "in" | "using" | "with" | "within" | "to"
            );
        let behind = self.follows(index + 2, &["or", "less"])
            || self.follows(index + 2, &["or", "fewer"])
            || matches!(self.at(index + 2), "max" | "maximum" | "long");
        (self.asks() && (limited || preposition || behind))
            || (before > 0
                && matches!(self.at(before - 1), "in" | "within")
                && !self.has("how")
                && self.is_instruction())
    }

    /// “In one word, what is …?”, “Answer in two sentences.”
    fn is_instruction(&self) -> bool {
        matches!(self.at(0), "in") || self.asks()
    }

    /// A sentence's number is the verb's own object: “list 5 …”, “give me three …”, “the top 10 …”.
    fn is_object(&self, index: usize) -> bool {
        let mut at = index;
        while at > 0
            && matches!(
                self.at(at - 1),
                "me" | "us"
                    | "a"
                    | "the"
                    | "list"
                    | "of"
                    | "exactly"
                    | "top"
                    | "best"
                    | "at"
                    | "least"
                    | "most"
                    | "only"
                    | "just"
                    | "with"
                    | "up"
                    | "about"
                    | "another"
                    | "some"
                    | "my"
                    | "out"
                    | "following"
                    | "these"
                    | "main"
                    | "first"
            )
        {
            at -= 1;
            if ASKING.has_word(self.at(at)) && self.at(at) != "use" {
                return true;
            }
        }
        at > 0 && ASKING.has_word(self.at(at - 1)) && self.at(at - 1) != "use"
    }

    /// A plural within three words behind the number, on which the number bears.
    fn is_listable(&self, index: usize) -> bool {
        for at in index..(index + 3).min(self.words.len()) {
            let word = self.at(at);
            if matches!(
                word,
                "of" | "and" | "or" | "in" | "for" | "to" | "that" | "with" | "by" | "on" | "per"
            ) || OTHER.has_word(word)
            {
                return false;
            }
            if word.len() > 3
                && word.ends_with('s')
                && !word.ends_with("ss")
                && !word.ends_with("ous")
            {
                return true;
            }
        }
        false
    }

    /// The lower end of a range that the number closes: “6 to 8”, “three or four”, “6-8”.
    fn low_end(&self, index: usize) -> Option<usize> {
        let count = number(self.at(index))?;
        let hyphen = index >= 1
            && matches!(
                self.text[self.spans[index - 1].end..self.spans[index].start].trim(),
                "-" | "–"
            );
        let at = match index {
            1.. if hyphen => index - 1,
            2.. if matches!(self.at(index - 1), "to" | "or") => index - 2,
            _ => return None,
        };
        number(self.at(at)).filter(|low| *low < count)
    }

    fn bound(&self, index: usize) -> Bound {
        let before = |distance: usize| index.checked_sub(distance).map_or("", |at| self.at(at));
        let (one, two) = (before(1), before(2));
        if let Some(low) = self.low_end(index) {
            return Bound::From(low);
        }
        if self.follows(index + 2, &["or", "less"])
            || self.follows(index + 2, &["or", "fewer"])
            || matches!(one, "under" | "within" | "below" | "maximum")
            || (one == "most" && two == "at")
            || (one == "to" && two == "up")
            || (one == "than" && matches!(two, "more" | "less" | "fewer"))
            || matches!(self.at(index + 2), "max" | "maximum")
        {
            // “more than 5” asks for more, “no more than 5” for fewer.
            if one == "than" && two == "more" && before(3) != "no" && before(3) != "not" {
                return Bound::AtLeast;
            }
            return Bound::AtMost;
        }
        if (one == "least" && two == "at")
            || self.follows(index + 2, &["or", "more"])
            || one == "over"
        {
            return Bound::AtLeast;
        }
        if matches!(
            one,
            "about" | "around" | "approximately" | "roughly" | "nearly"
        ) {
            return Bound::About;
        }
        Bound::Exactly
    }

    /// “a 200-word story”: a hyphen between number and unit.
    fn hyphened(&self, index: usize) -> bool {
        let between = &self.text[self.spans[index].end..self.spans[index + 1].start];
        between == "-" && self.at(index + 1) == "word"
    }

    /// Longer texts are counted by feel, unless `exactly` is said.
    fn loosened(&self, index: usize, amount: Amount) -> Amount {
        let exactly = index > 0 && self.at(index - 1) == "exactly";
        if amount.bound == Bound::Exactly && amount.count > 10 && !exactly {
            Amount {
                bound: Bound::About,
                ..amount
            }
        } else {
            amount
        }
    }
}
