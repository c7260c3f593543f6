//! The phrases and words that say what a request asks for and how much knowledge it speaks of.

use std::sync::LazyLock;

use crate::quality::phrases::Phrases;

/// What a found phrase speaks for, in the order of [`SECTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ask {
    Plain,
    Transform,
    Brief,
    Reasoning,
    Proof,
    Building,
    Constraint,
    Step,
    Extent,
    Choice,
    Specialist,
}

/// The sections of `asks.txt` and `terms.txt`.
const SECTIONS: [&str; 11] = [
    "plain",
    "transform",
    "brief",
    "reasoning",
    "proof",
    "building",
    "constraint",
    "step",
    "extent",
    "choice",
    "specialist",
];

/// The number of kinds of phrases.
pub(super) const KINDS: usize = SECTIONS.len();

pub(super) static VOCABULARY: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::from_list(
        concat!(include_str!("asks.txt"), "\n", include_str!("terms.txt")),
        &SECTIONS,
    )
});

/// Words with the knowledge they speak of, in tenths of a grade above or below the mean request.
pub(super) struct Lexicon {
    /// Open addressing; the length is a power of two. Nothing hashes to 0.
    slots: Vec<(u64, i8)>,
}

impl Lexicon {
    fn new(list: &str) -> Self {
        let entries: Vec<(u64, i8)> = list
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(word, value)| Some((hash(word), value.parse().ok()?)))
            .collect();
        let mut slots = vec![(0, 0); (entries.len() * 3).next_power_of_two().max(2)];
        let mask = slots.len() - 1;
        for entry in entries {
            let mut at = place(entry.0, mask);
            while slots[at].0 != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = entry;
        }
        Self { slots }
    }

    /// What a word speaks of, by its hash; `None` for one that is not known.
    pub(super) fn get(&self, hash: u64) -> Option<i8> {
        let mask = self.slots.len() - 1;
        let mut at = place(hash, mask);
        loop {
            let (held, value) = self.slots[at];
            if held == hash {
                return Some(value);
            }
            if held == 0 {
                return None;
            }
            at = (at + 1) & mask;
        }
    }
}

fn place(hash: u64, mask: usize) -> usize {
    (hash >> 29) as usize & mask
}

/// The hash that a word's begins with.
pub(super) const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// Takes a letter into a word's hash, in lower case.
pub(super) fn hash_letter(hash: u64, letter: char) -> u64 {
    let one = |hash: u64, letter: char| {
        (hash ^ u64::from(u32::from(letter))).wrapping_mul(0x0000_0100_0000_01b3)
    };
    if letter.is_ascii() {
        one(hash, letter.to_ascii_lowercase())
    } else {
        letter.to_lowercase().fold(hash, one)
    }
}

fn hash(word: &str) -> u64 {
    word.chars().fold(EMPTY, hash_letter)
}

/// Fitted by `benches/fit_complexity.py` on the project's own training set.
pub(super) static WORDS: LazyLock<Lexicon> =
    LazyLock::new(|| Lexicon::new(include_str!("words.txt")));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_built_and_no_phrase_stands_there_twice() {
        assert!(VOCABULARY.is_built());
        let mut seen = std::collections::HashSet::new();
        for list in [include_str!("asks.txt"), include_str!("terms.txt")] {
            for line in list.lines().filter(|line| !line.is_empty()) {
                assert!(line.starts_with(['#', '[']) || seen.insert(line), "{line}");
            }
        }
    }

    #[test]
    fn every_section_has_its_kind() {
        for (text, kind) in [
            ("What is it", Ask::Plain),
            ("Bitte übersetze", Ask::Transform),
            ("yes or no", Ask::Brief),
            ("почему", Ask::Reasoning),
            ("Zeige, dass", Ask::Proof),
            ("refactor", Ask::Building),
            ("au moins", Ask::Constraint),
            ("然后", Ask::Step),
            ("in detail", Ask::Extent),
            ("which of the following", Ask::Choice),
            ("lemma", Ask::Specialist),
        ] {
            let found: Vec<u8> = VOCABULARY.find(text).map(|found| found.tag).collect();
            assert!(found.contains(&(kind as u8)), "{text}");
        }
    }

    #[test]
    fn a_word_is_looked_up_by_its_hash() {
        let lexicon = Lexicon::new("lemma 9\nhello -7\nnonsense\n");
        assert_eq!(lexicon.get(hash("LEMMA")), Some(9));
        assert_eq!(lexicon.get(hash("hello")), Some(-7));
        assert_eq!(lexicon.get(hash("other")), None);
        assert_eq!(Lexicon::new("").get(hash("other")), None);
    }
}
