//! The words of a text that carry its content, by the hash of their stem.

pub(super) use crate::quality::words::is_spaceless;
use crate::quality::words::{Word, WordSet, hash_word, words};
use std::sync::LazyLock;

/// Words that any text may have, in some languages.
static STOP_WORDS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "a about above after again all also although always am an and another any are aren't as at be \
         because been before being below between both but by can can't cannot could couldn't did didn't \
         do does doesn't doing don't done down during each either else even ever every few for from \
         further get gets give given go goes going got had hadn't has hasn't have haven't having he \
         he's her here hers herself him himself his how however i i'm i've if in into is isn't it it's \
         its itself just know last least less let let's like make makes many may me might more most \
         much must my myself need needs no nor not nothing now of off often on once one only or other \
         others our ours out over own please quite rather really same see shall she should shouldn't \
         since so some something still such take than that that's the their theirs them themselves then \
         there there's therefore these they they're thing things this those though through thus to too \
         under until up upon us use used using very want was wasn't we we're well were weren't what \
         what's when where whether which while who whom whose why will with within without won't would \
         wouldn't yes yet you you're your yours yourself according said says \
         der die das den dem des ein eine einer einen einem und oder aber nicht ist sind war waren wird \
         werden hat haben kann mit von zu im in auf für als auch sich es er sie wir ich \
         le la les un une des du de et ou mais ne pas est sont était a ont pour par avec dans sur que \
         qui ce cette il elle nous vous je \
         el los las una unos y o pero no es son era fue ha han por para con en del al se lo su que \
         il gli uno e ma non è sono era ha hanno per con di da che si \
         o os as um uma e mas não é são foi tem por para com em do da no na que se",
    )
});

/// Letters of a word after which its endings are cut.
const SHORTEST_STEM: usize = 4;

/// A word that carries content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Hash of the stem.
    pub stem: u64,
}

/// The content words of a text, in order.
pub(super) fn terms(text: &str) -> Vec<Term> {
    words(text)
        .into_iter()
        .filter(|word| !STOP_WORDS.has(word.hash))
        .map(|word| Term {
            start: word.start,
            end: word.end,
            stem: stem(text, word),
        })
        .collect()
}

/// The hash of a word without the endings that English words commonly take; others keep theirs.
fn stem(text: &str, word: Word) -> u64 {
    let whole = &text[word.start..word.end];
    let ascii = whole
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'\'');
    if !ascii {
        return word.hash;
    }
    let lowered = whole.to_ascii_lowercase();
    hash_word(cut(&lowered))
}

/// Cuts the endings of an English word in lower case. What is left need be no word: it only has to
/// be the same for the forms of one.
fn cut(word: &str) -> &str {
    let mut word = word.strip_suffix("'s").unwrap_or(word);
    for ending in [
        "ically", "ations", "ation", "ingly", "edly", "ments", "ment", "ness", "ing", "ies", "ied",
        "ers", "est", "ed", "ly", "er", "es", "s", "e", "y",
    ] {
        if word.len() >= SHORTEST_STEM + ending.len().min(2)
            && let Some(rest) = word.strip_suffix(ending)
            && rest.len() >= SHORTEST_STEM - 1
            && !(ending == "s" && rest.ends_with('s'))
        {
            word = rest;
            break;
        }
    }
    // "planned" and "plan", "hoping" and "hope".
    let bytes = word.as_bytes();
    if let [.., before, last] = bytes
        && before == last
        && word.len() > SHORTEST_STEM
    {
        return &word[..word.len() - 1];
    }
    word.strip_suffix(['e', 'y', 'i'])
        .filter(|rest| rest.len() >= SHORTEST_STEM - 1)
        .unwrap_or(word)
}

/// The numbers of a text as they are compared: digits without separators of thousands, number words
/// as digits, ordinals as their number.
pub(super) fn numbers(text: &str) -> Vec<(usize, usize, String)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for word in words(text) {
        let Some(&first) = bytes.get(word.start) else {
            continue;
        };
        let whole = &text[word.start..word.end];
        if first.is_ascii_digit() {
            let joined = joins(bytes, word.start, &found);
            let digits = whole.trim_end_matches(|c: char| c.is_alphabetic());
            match (joined, found.last_mut()) {
                (Some(Join::Thousands), Some((_, end, last))) => {
                    last.push_str(digits);
                    *end = word.end;
                }
                (Some(Join::Fraction), Some((_, end, last))) => {
                    last.push('.');
                    last.push_str(digits);
                    *end = word.end;
                }
                _ => found.push((word.start, word.end, digits.to_owned())),
            }
        } else if let Some(value) = number_word(whole) {
            found.push((word.start, word.end, value.to_string()));
        }
    }
    for (_, _, digits) in &mut found {
        if digits.contains('.') {
            let kept = digits.trim_end_matches('0').trim_end_matches('.').len();
            digits.truncate(kept);
        }
        let zeros = digits.len() - digits.trim_start_matches('0').len();
        let whole_part = digits.find('.').unwrap_or(digits.len());
        digits.drain(..zeros.min(whole_part.saturating_sub(1)));
    }
    found
}

enum Join {
    Thousands,
    Fraction,
}

/// Whether the digits that begin at `start` go on with the number before them.
fn joins(bytes: &[u8], start: usize, found: &[(usize, usize, String)]) -> Option<Join> {
    let (_, end, last) = found.last()?;
    if end + 1 != start || !bytes[end - 1].is_ascii_digit() {
        return None;
    }
    let run = bytes[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    match bytes[*end] {
        b',' if run == 3 && last.len() <= 18 => Some(Join::Thousands),
        b'.' if !last.contains('.') => Some(Join::Fraction),
        _ => None,
    }
}

fn number_word(word: &str) -> Option<u32> {
    const NAMES: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    const TENS: [&str; 7] = [
        "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ];
    if !word.is_ascii() || word.len() > 9 {
        return None;
    }
    let lowered = word.to_ascii_lowercase();
    // “One” is mostly no number.
    if lowered == "one" {
        return None;
    }
    if let Some(at) = NAMES.iter().position(|name| *name == lowered) {
        return u32::try_from(at).ok();
    }
    let ten = TENS.iter().position(|name| *name == lowered)?;
    u32::try_from(30 + 10 * ten).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(text: &str) -> Vec<u64> {
        terms(text).iter().map(|term| term.stem).collect()
    }

    fn values(text: &str) -> Vec<String> {
        numbers(text)
            .into_iter()
            .map(|(_, _, value)| value)
            .collect()
    }

    #[test]
    fn forms_of_a_word_are_one() {
        for (left, right) in [
            ("planned", "plan"),
            ("hoping", "hope"),
            ("cities", "city"),
            ("studied", "studies"),
            ("announcement", "announced"),
            ("quickly", "quick"),
            ("walks", "walking"),
            ("Anna's", "Anna"),
        ] {
            assert_eq!(stems(left), stems(right), "{left} {right}");
        }
        assert_ne!(stems("planet"), stems("plan"));
        assert_ne!(stems("class"), stems("clam"));
    }

    #[test]
    fn stop_words_carry_nothing() {
        assert!(stems("It is what it is, and that's that.").is_empty());
        assert_eq!(stems("the cat of the house").len(), 2);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(values("1,250,000 and 3.50"), ["1250000", "3.5"]);
        assert_eq!(values("twelve men, 7th of May 2024"), ["12", "7", "2024"]);
        assert_eq!(values("5, 6, 700"), ["5", "6", "700"]);
        assert_eq!(values("007 and 0.5 and 0"), ["7", "0.5", "0"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_cut_at_characters(text in "([a-zA-Z0-9,.' é東]|.){0,80}") {
            for term in terms(&text) {
                proptest::prop_assert!(!text[term.start..term.end].is_empty());
            }
            for (start, end, _) in numbers(&text) {
                proptest::prop_assert!(!text[start..end].is_empty());
            }
        }
    }
}
