//! A linear model over hashed character and word n-grams.
//!
//! A text is normalised so that what reads the same counts the same: compatibility forms and
//! letter case are folded, marks on Latin letters dropped, letters that come three times or more in
//! a row shortened to two, digits made one, addresses and @names replaced. Each distinct n-gram
//! then counts once, and the sum is divided by the root of their number.

use super::terms::is_spaceless;
use crate::quality::words::{mix, sentences};
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Characters of the n-grams inside a padded word.
const SIZES: Range<usize> = 3..6;
/// Characters of a word that are looked at; longer ones are no words.
const LONGEST_WORD: usize = 64;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Each kind of n-gram has a start of its own, far from the others': kinds told apart in the low
/// bits alone would meet as soon as their first characters differ in the same bits.
fn hash(kind: u64, characters: impl IntoIterator<Item = char>) -> u64 {
    mix(characters.into_iter().fold(mix(OFFSET ^ kind), |hash, c| {
        (hash ^ u64::from(u32::from(c))).wrapping_mul(PRIME)
    }))
}

/// A word as it is compared: `None` when nothing is left of it.
fn normalised(token: &str) -> Vec<char> {
    if token.contains("://") || token.starts_with("www.") {
        return vec!['\u{1}'];
    }
    if token.starts_with('@') && token.chars().nth(1).is_some_and(char::is_alphanumeric) {
        return vec!['\u{2}'];
    }
    let mut out: Vec<char> = Vec::with_capacity(token.len());
    for character in token.nfkd().flat_map(char::to_lowercase) {
        if out.len() >= LONGEST_WORD {
            break;
        }
        let character = match character {
            c if is_combining_mark(c) => continue,
            '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}' => continue,
            '’' | '‘' | '`' => '\'',
            '“' | '”' => '"',
            c if c.is_numeric() => '0',
            c => c,
        };
        let twice = out.len() >= 2 && out[out.len() - 2..] == [character, character];
        if !twice {
            out.push(character);
        }
    }
    out
}

/// The features of a text: 64-bit hashes of its distinct n-grams, sorted.
#[must_use]
pub fn features(text: &str) -> Vec<u64> {
    let mut found = Vec::with_capacity(text.len() * 3);
    let mut last: Option<u64> = None;
    for token in text.split_whitespace() {
        let token = normalised(token);
        if token.is_empty() {
            continue;
        }
        grams(&token, &mut found);
        let is_part = |c: &char| c.is_alphanumeric() || *c < '\u{3}';
        let (Some(first), Some(end)) = (
            token.iter().position(is_part),
            token.iter().rposition(is_part),
        ) else {
            continue;
        };
        let word = hash(1, token[first..=end].iter().copied());
        found.push(word);
        if let Some(last) = last {
            found.push(mix(last.rotate_left(7) ^ word));
        }
        last = Some(word);
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn grams(token: &[char], found: &mut Vec<u64>) {
    let mut padded = Vec::with_capacity(token.len() + 2);
    padded.push(' ');
    padded.extend_from_slice(token);
    padded.push(' ');
    for size in SIZES {
        for gram in padded.windows(size) {
            found.push(hash(2, gram.iter().copied()));
        }
    }
    for pair in token.windows(2) {
        if pair.iter().any(|c| is_spaceless(*c)) {
            found.push(hash(3, pair.iter().copied()));
        }
    }
}

/// A text cut into pieces of at most `most` characters, at the ends of sentences where there are any.
#[must_use]
pub fn pieces(text: &str, most: usize) -> Vec<Range<usize>> {
    let most = most.max(1);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut room = 0;
    for sentence in sentences(text) {
        let length = text[sentence.clone()].chars().count();
        if length < room
            && let Some(last) = found.last_mut()
        {
            last.end = sentence.end;
            room -= length + 1;
            continue;
        }
        if length <= most {
            found.push(sentence);
            room = most - length;
            continue;
        }
        room = 0;
        let mut start = sentence.start;
        for (count, (at, _)) in text[sentence.clone()].char_indices().enumerate() {
            if count > 0 && count % most == 0 {
                found.push(start..sentence.start + at);
                start = sentence.start + at;
            }
        }
        found.push(start..sentence.end);
    }
    found
}

/// The model: a weight a bucket, kept as a signed byte each.
#[derive(Debug, Clone)]
pub struct NgramModel {
    weights: Vec<i8>,
    scale: f32,
    bias: f32,
}

impl NgramModel {
    /// Takes the weights, by what a step of them is worth, and the intercept.
    ///
    /// Gives `None` unless there are as many weights as a power of two.
    #[must_use]
    pub fn new(weights: Vec<i8>, scale: f32, bias: f32) -> Option<Self> {
        weights.len().is_power_of_two().then_some(Self {
            weights,
            scale,
            bias,
        })
    }

    /// The log-odds of a text; of one without words, the intercept.
    #[must_use]
    pub fn logit(&self, text: &str) -> f32 {
        let features = features(text);
        if features.is_empty() {
            return self.bias;
        }
        let mask = self.weights.len() - 1;
        let sum: i64 = features
            .iter()
            .map(|&feature| i64::from(self.weights[bucket(feature, mask)]))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "sums far below 2^24 a piece")]
        let (sum, count) = (sum as f32, features.len() as f32);
        self.bias + self.scale * sum / count.sqrt()
    }

    /// The pieces of a text with the highest log-odds, highest first, earlier ones first among
    /// equals.
    #[must_use]
    pub fn worst(&self, text: &str, most: usize, count: usize) -> Vec<(f32, Range<usize>)> {
        let mut scored: Vec<(f32, Range<usize>)> = pieces(text, most)
            .into_iter()
            .map(|piece| (self.logit(&text[piece.clone()]), piece))
            .collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0));
        scored.truncate(count);
        scored
    }
}

/// The bucket of a feature among `mask + 1`.
#[must_use]
pub fn bucket(feature: u64, mask: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low bits are what is wanted"
    )]
    let low = feature as usize;
    low & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_reads_the_same_counts_the_same() {
        let plain = features("so cool, i like it");
        assert_eq!(features("SO  cool,\n I líke it"), plain);
        assert_eq!(features("sooooo coool"), features("soo cool"));
        assert_eq!(features("@anna in 1999"), features("@bert in 2024"));
        assert_ne!(features("so cool"), features("so cold"));
        assert!(features(" \n ").is_empty());
    }

    /// The definition, with strings.
    fn slowly(text: &str) -> usize {
        let mut found = BTreeSet::new();
        let mut last: Option<String> = None;
        for token in text.split_whitespace() {
            let token = normalised(token);
            let padded: Vec<char> = format!(" {} ", token.iter().collect::<String>())
                .chars()
                .collect();
            for size in 3..=5 {
                for at in 0..(padded.len() + 1).saturating_sub(size) {
                    found.insert(format!(
                        "c{}",
                        padded[at..at + size].iter().collect::<String>()
                    ));
                }
            }
            let joined: String = token.iter().collect();
            let word = joined.trim_matches(|c: char| !c.is_alphanumeric() && c >= '\u{3}');
            if word.is_empty() {
                continue;
            }
            found.insert(format!("w{word}"));
            if let Some(last) = &last {
                found.insert(format!("b{last} {word}"));
            }
            last = Some(word.to_owned());
        }
        found.len()
    }

    #[test]
    fn kinds_of_features_never_meet_in_their_first_characters() {
        // A piece "nX0" is not the word "mX0", though n and m differ by the bits that 1 and 2 do.
        let text = "nX0 MX0";
        assert_eq!(features(text).len(), slowly(text));
        let starts =
            (' '..='\u{ff}').flat_map(|c| (1..=3).map(move |kind| hash(kind, [c, 'x', '0'])));
        let distinct: BTreeSet<u64> = starts.clone().collect();
        assert_eq!(distinct.len(), starts.count());
    }

    #[test]
    fn weights_add_up_over_the_root_of_their_number() {
        let mut weights = vec![0_i8; 1 << 16];
        let found = features("hello");
        weights[bucket(found[0], (1 << 16) - 1)] = 4;
        let Some(model) = NgramModel::new(weights, 0.5, -1.0) else {
            panic!("a power of two")
        };
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let expected = -1.0 + 0.5 * 4.0 / (found.len() as f32).sqrt();
        assert!((model.logit("hello") - expected).abs() < 1e-6);
        assert!((model.logit("") + 1.0).abs() < 1e-6);
        assert!(NgramModel::new(vec![0; 3], 1.0, 0.0).is_none());
    }

    #[test]
    fn long_texts_are_cut_at_sentences() {
        let text = "One two three. Four five six. Seven eight nine ten eleven twelve.";
        let cut: Vec<&str> = pieces(text, 32).into_iter().map(|r| &text[r]).collect();
        assert_eq!(
            cut,
            [
                "One two three. Four five six.",
                "Seven eight nine ten eleven twel",
                "ve."
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn finds_as_many_features_as_the_definition(text in "[a-zA-Z0-9 '!@é.]{0,60}") {
            proptest::prop_assert_eq!(features(&text).len(), slowly(&text));
        }

        #[test]
        fn pieces_hold_every_letter_once(text in "([a-zA-Z .!東é\n]|.){0,200}", most in 1_usize..40) {
            let cut = pieces(&text, most);
            let letters = |part: &str| part.chars().filter(|c| c.is_alphanumeric()).count();
            let held: usize = cut.iter().map(|r| letters(&text[r.clone()])).sum();
            proptest::prop_assert_eq!(held, letters(&text));
            for pair in cut.windows(2) {
                proptest::prop_assert!(pair[0].end <= pair[1].start);
            }
        }
    }
}
