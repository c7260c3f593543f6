//! Cutting text into words and sentences, once, for every rule that counts them.
//!
//! A word is a maximal run of letters and digits, with inner apostrophes; in scripts that write no
//! spaces (Han, kana, Thai, Lao, Khmer, Myanmar) each character is one. Words are compared by hash.

use std::ops::Range;

/// A word: where it stands in its text and the hash of its lower-cased letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Hash of the lower-cased word; curly and straight apostrophes are the same.
    pub hash: u64,
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn push(hash: u64, character: char) -> u64 {
    (hash ^ u64::from(u32::from(character))).wrapping_mul(PRIME)
}

/// The finishing step of `SplitMix64`: spreads FNV's weak high bits.
pub(crate) fn mix(hash: u64) -> u64 {
    let mut z = hash;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hashes a word as [`words`] does, so that fixed words can be looked up.
#[must_use]
pub fn hash_word(word: &str) -> u64 {
    let mut hash = OFFSET;
    for character in word.chars() {
        hash = push_lower(hash, character);
    }
    mix(hash)
}

fn push_lower(hash: u64, character: char) -> u64 {
    if character.is_ascii() {
        push(hash, character.to_ascii_lowercase())
    } else if character == '’' {
        push(hash, '\'')
    } else {
        character.to_lowercase().fold(hash, push)
    }
}

/// Words in classes, held by hash: one look-up says which class a word is of, if any.
pub(crate) struct WordClasses<C>(Vec<(u64, C)>);

impl<C: Copy> WordClasses<C> {
    /// Builds the classes from lists of words with spaces or line breaks between them.
    pub(crate) fn new(lists: &[(C, &str)]) -> Self {
        let mut all: Vec<(u64, C)> = lists
            .iter()
            .flat_map(|(class, list)| {
                list.split_whitespace()
                    .map(|word| (hash_word(word), *class))
            })
            .collect();
        all.sort_unstable_by_key(|(hash, _)| *hash);
        Self(all)
    }

    /// The class of a word, by its hash.
    pub(crate) fn get(&self, hash: u64) -> Option<C> {
        self.0
            .binary_search_by_key(&hash, |(hash, _)| *hash)
            .ok()
            .map(|at| self.0[at].1)
    }
}

/// A set of words, held by hash.
pub(crate) struct WordSet(Vec<u64>);

impl WordSet {
    /// Builds the set from words with spaces or line breaks between them.
    pub(crate) fn new(list: &str) -> Self {
        let mut hashes: Vec<u64> = list.split_whitespace().map(hash_word).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes)
    }

    /// Whether it holds a word, by its hash.
    pub(crate) fn has(&self, hash: u64) -> bool {
        self.0.binary_search(&hash).is_ok()
    }

    /// Whether it holds a word.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.has(hash_word(word))
    }
}

/// Whether a character is written without spaces between words.
#[must_use]
pub fn is_spaceless(character: char) -> bool {
    matches!(u32::from(character),
        0x0E00..=0x0EFF           // Thai, Lao
        | 0x1000..=0x109F         // Myanmar
        | 0x1780..=0x17FF         // Khmer
        | 0x3040..=0x30FF         // kana
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_134F // Han
    )
}

/// The words of a text, in order.
#[must_use]
pub fn words(text: &str) -> Vec<Word> {
    let bytes = text.as_bytes();
    let mut found = Vec::with_capacity(text.len() / 6 + 1);
    let mut open: Option<(usize, u64)> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        // Most texts are mostly ASCII, which needs no decoding.
        if byte.is_ascii_alphanumeric() {
            let (start, hash) = open.unwrap_or((at, OFFSET));
            let mut hash = hash;
            while let Some(byte) = bytes.get(at).filter(|byte| byte.is_ascii_alphanumeric()) {
                hash = push(hash, char::from(byte.to_ascii_lowercase()));
                at += 1;
            }
            open = Some((start, hash));
            continue;
        }
        let character = text[at..].chars().next().unwrap_or(' ');
        let end = at + character.len_utf8();
        let inner_apostrophe = matches!(character, '\'' | '’')
            && open.is_some()
            && text[end..].chars().next().is_some_and(char::is_alphabetic);
        if inner_apostrophe || (!byte.is_ascii() && character.is_alphanumeric()) {
            if is_spaceless(character) {
                close(&mut found, &mut open, at);
                found.push(Word {
                    start: at,
                    end,
                    hash: mix(push(OFFSET, character)),
                });
            } else {
                let (start, hash) = open.unwrap_or((at, OFFSET));
                open = Some((start, push_lower(hash, character)));
            }
        } else {
            close(&mut found, &mut open, at);
        }
        at = end;
    }
    close(&mut found, &mut open, text.len());
    found
}

fn close(found: &mut Vec<Word>, open: &mut Option<(usize, u64)>, end: usize) {
    if let Some((start, hash)) = open.take() {
        found.push(Word {
            start,
            end,
            hash: mix(hash),
        });
    }
}

/// The sentences of a text, as byte ranges without surrounding white space; a line break ends one.
#[must_use]
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let end = at + character.len_utf8();
        let ends = match character {
            '\n' | '。' | '！' | '？' | '।' | '؟' => true,
            '.' if is_abbreviation(&text[start..at]) => false,
            '.' | '!' | '?' | '…' => characters
                .peek()
                .is_none_or(|&(_, next)| next.is_whitespace() || matches!(next, '"' | '”' | ')')),
            _ => false,
        };
        if ends {
            push_trimmed(text, start..end, &mut found);
            start = end;
        }
    }
    push_trimmed(text, start..text.len(), &mut found);
    found
}

/// Whether a text ends with an initial or a title, whose full stop ends no sentence.
fn is_abbreviation(before: &str) -> bool {
    let tail = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphabetic())
        .last()
        .map_or("", |(at, _)| &before[at..]);
    let initial = tail.chars().count() == 1 && tail.chars().all(char::is_uppercase);
    initial
        || matches!(
            tail,
            "Mr" | "Mrs" | "Ms" | "Dr" | "St" | "Prof" | "Rev" | "Gen" | "Mt" | "Jr" | "Sr" | "vs"
        )
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let trimmed = piece.trim_start();
    let start = range.start + (piece.len() - trimmed.len());
    let trimmed = trimmed.trim_end();
    if trimmed.chars().any(char::is_alphanumeric) {
        found.push(start..start + trimmed.len());
    }
}

/// A piece of a text to show in a reason: one line, at most `limit` characters, cut at a character.
#[must_use]
pub fn snippet(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut count = 0;
    for part in text.split_whitespace() {
        if count > 0 {
            out.push(' ');
            count += 1;
        }
        for character in part.chars() {
            if count >= limit {
                out.push('…');
                return out;
            }
            out.push(character);
            count += 1;
        }
        if count > limit {
            out.push('…');
            return out;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        words(text).iter().map(|w| &text[w.start..w.end]).collect()
    }

    #[test]
    fn cuts_words_in_many_scripts() {
        assert_eq!(
            texts("Don't stop, ’tis 3.5!"),
            ["Don't", "stop", "tis", "3", "5"]
        );
        assert_eq!(texts("Größe über alles"), ["Größe", "über", "alles"]);
        assert_eq!(texts("東京です"), ["東", "京", "で", "す"]);
        assert_eq!(texts("안녕 세상"), ["안녕", "세상"]);
        assert_eq!(texts(""), Vec::<&str>::new());
    }

    /// The definition, character by character.
    fn slowly(text: &str) -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let (mut found, mut open) = (Vec::new(), String::new());
        for (at, &character) in characters.iter().enumerate() {
            let inner = matches!(character, '\'' | '’')
                && !open.is_empty()
                && characters
                    .get(at + 1)
                    .is_some_and(|next| next.is_alphabetic());
            let lonely = character.is_alphanumeric() && is_spaceless(character);
            if (character.is_alphanumeric() || inner) && !lonely {
                open.push(character);
                continue;
            }
            if !open.is_empty() {
                found.push(std::mem::take(&mut open));
            }
            if lonely {
                found.push(character.to_string());
            }
        }
        if !open.is_empty() {
            found.push(open);
        }
        found
    }

    proptest::proptest! {
        #[test]
        fn cuts_any_text_as_the_definition_says(text in "([a-zA-Z0-9'’ .é東ßİ-]|.){0,60}") {
            proptest::prop_assert_eq!(texts(&text), slowly(&text));
            for word in words(&text) {
                proptest::prop_assert_eq!(word.hash, hash_word(&text[word.start..word.end]));
            }
        }
    }

    #[test]
    fn compares_words_without_case_or_apostrophe_form() {
        assert_eq!(words("DON’T")[0].hash, hash_word("don't"));
        assert_eq!(words("ÄRGER")[0].hash, hash_word("ärger"));
        assert_ne!(hash_word("a"), hash_word("b"));
    }

    #[test]
    fn cuts_sentences_but_not_numbers() {
        let text = "Dr. J. Roe says pi is 3.14. Is it? Yes!\n\n- done";
        let found: Vec<&str> = sentences(text).into_iter().map(|r| &text[r]).collect();
        assert_eq!(
            found,
            ["Dr. J. Roe says pi is 3.14.", "Is it?", "Yes!", "- done"]
        );
    }

    #[test]
    fn snippets_are_short_and_whole() {
        assert_eq!(snippet("a\n  b", 10), "a b");
        assert_eq!(snippet("äöüäöü", 3), "äöü…");
    }
}
