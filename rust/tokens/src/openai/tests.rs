//! The fast ways against slow, obvious ones.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::merge::Merger;
use super::split;
use super::table::{RankTable, WORK};
use super::vocabulary::Vocabulary;

type Ranks = HashMap<Vec<u8>, u32>;

static SLOW_CL100K: LazyLock<Ranks> = LazyLock::new(|| ranks_of(Vocabulary::cl100k_base()));
static SLOW_O200K: LazyLock<Ranks> = LazyLock::new(|| ranks_of(Vocabulary::o200k_base()));

fn ranks_of(vocabulary: &Vocabulary) -> Ranks {
    (0..)
        .zip(vocabulary.tokens())
        .map(|(rank, token)| (token.to_vec(), rank))
        .collect()
}

/// Byte-pair merging as it is told: join the neighbours of lowest rank until there are none.
fn merge_slowly(ranks: &Ranks, piece: &[u8]) -> Vec<u32> {
    let mut parts: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
    loop {
        let joined = |at: usize| [parts[at].as_slice(), parts[at + 1].as_slice()].concat();
        let lowest = (0..parts.len().saturating_sub(1))
            .filter_map(|at| ranks.get(&joined(at)).map(|rank| (rank, at)))
            .min();
        let Some((_, at)) = lowest else {
            return parts.iter().map(|part| ranks[part]).collect();
        };
        parts[at] = joined(at);
        parts.remove(at + 1);
    }
}

fn merge_fast(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<u32> {
    let ranks: &RankTable = vocabulary.ranks();
    let mut found = Vec::new();
    Merger::new(ranks, piece).merge(0, piece.len(), |start, end| {
        found.extend(ranks.rank(piece, start, end));
    });
    found
}

/// Pieces of few different bytes or tokens, in which many merges compete.
fn piece(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let some_token = (0usize..200_000).prop_map(|rank| {
        let vocabulary = Vocabulary::o200k_base();
        vocabulary.tokens().nth(rank).unwrap_or(b"?").to_vec()
    });
    let tokens = prop::collection::vec(some_token, 1..8);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..longest),
        prop::collection::vec(prop::sample::select(b"aeinrst ".to_vec()), 1..longest),
        (prop::collection::vec(any::<u8>(), 1..5), 1..longest).prop_map(|(period, length)| period
            .into_iter()
            .cycle()
            .take(length)
            .collect()),
        (prop::collection::vec(tokens, 1..12)).prop_map(move |groups| {
            let mut bytes = groups.concat().concat();
            bytes.truncate(longest);
            bytes
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_equals_the_slow_way(piece in piece(300)) {
        let (cl100k, o200k) = (Vocabulary::cl100k_base(), Vocabulary::o200k_base());
        prop_assert_eq!(merge_fast(cl100k, &piece), merge_slowly(&SLOW_CL100K, &piece));
        prop_assert_eq!(merge_fast(o200k, &piece), merge_slowly(&SLOW_O200K, &piece));
    }

    #[test]
    fn windows_are_joined_to_what_the_whole_gives(piece in piece(12_000)) {
        for vocabulary in [Vocabulary::cl100k_base(), Vocabulary::o200k_base()] {
            let merger = Merger::new(vocabulary.ranks(), &piece);
            let mut joined = vec![0];
            merger.merge_long(0, piece.len(), |_, end| joined.push(end));
            prop_assert_eq!(joined, merger.merge_whole(0, piece.len()));
        }
    }

    #[test]
    fn a_token_is_found_by_its_bytes_wherever_it_stands(
        rank in 0usize..200_000, before in 0usize..20, after in 0usize..20
    ) {
        for vocabulary in [Vocabulary::cl100k_base(), Vocabulary::o200k_base()] {
            let Some(token) = vocabulary.tokens().nth(rank) else { continue };
            let text = [&b"x".repeat(before), token, &b"y".repeat(after)].concat();
            let found = vocabulary.ranks().rank(&text, before, before + token.len());
            prop_assert_eq!(found.map(|rank| rank as usize), Some(rank));
        }
    }

    #[test]
    fn pieces_equal_those_of_the_regular_expressions(
        text in r"([ \t\r\n\u{3000}'/!_.\u{301}]|'[sStTmMdDrRvVlLſ][eElL]?|[a-cA-CéÉªǅあ漢]|[0-9²Ⅷ]){0,60}"
    ) {
        for (next, pattern) in [
            (split::cl100k as fn(&[u8], usize) -> usize, &*CL100K_PATTERN),
            (split::o200k, &*O200K_PATTERN),
        ] {
            let mut start = 0;
            for found in pattern.find_iter(&text) {
                let found = found.unwrap();
                prop_assert_eq!(start, found.start());
                start = next(text.as_bytes(), start);
                prop_assert_eq!(start, found.end(), "{:?}", text);
            }
            prop_assert_eq!(start, text.len());
        }
    }
}

// As tiktoken 0.14 has them.
static CL100K_PATTERN: LazyLock<fancy_regex::Regex> = LazyLock::new(|| {
    fancy_regex::Regex::new(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    )
    .unwrap()
});
static O200K_PATTERN: LazyLock<fancy_regex::Regex> = LazyLock::new(|| {
    fancy_regex::Regex::new(&[
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
    .join("|"))
    .unwrap()
});

#[test]
fn every_token_is_the_merging_of_its_own_bytes() {
    // The reason why windows may be joined as they are.
    for vocabulary in [Vocabulary::cl100k_base(), Vocabulary::o200k_base()] {
        for (rank, token) in (0..).zip(vocabulary.tokens()) {
            assert_eq!(merge_fast(vocabulary, token), [rank], "{token:?}");
        }
    }
}

#[test]
fn no_token_is_longer_than_the_table_asks_for() {
    for vocabulary in [Vocabulary::cl100k_base(), Vocabulary::o200k_base()] {
        let longest = vocabulary.tokens().map(<[u8]>::len).max();
        assert_eq!(longest, Some(super::table::LONGEST_TOKEN));
    }
}

#[test]
fn the_work_grows_with_the_text_and_not_faster() {
    let work = |vocabulary: &Vocabulary, text: &str| {
        WORK.set(0);
        assert!(vocabulary.count(text) > 0);
        WORK.get()
    };
    for unit in [
        "a", "A", " ", "\n", "ab", "ACGT", "=", "-+", "漢", "ö", "😀", "\u{301}", "xyzzy", "0",
    ] {
        for vocabulary in [Vocabulary::cl100k_base(), Vocabulary::o200k_base()] {
            for tail in ["", "x"] {
                let text = |bytes: usize| unit.repeat(bytes / unit.len()) + tail;
                let (short, long) = (
                    work(vocabulary, &text(8_000)),
                    work(vocabulary, &text(32_000)),
                );
                assert!(long <= 10 * 32_000, "{unit:?}: {long} questions");
                assert!(
                    4 * short + 8_000 >= long,
                    "{unit:?}: {short} questions, then {long}"
                );
            }
        }
    }
}

#[test]
fn nothing_is_no_token() {
    assert_eq!(Vocabulary::o200k_base().count(""), 0);
    assert!(Vocabulary::cl100k_base().encode("").is_empty());
}

#[test]
fn counts_are_the_numbers_of_tokens() {
    let text = "Counting 12345 tokens, isn't it?\n\n\tYes…  漢字かな 😀".repeat(300);
    for vocabulary in [Vocabulary::cl100k_base(), Vocabulary::o200k_base()] {
        let tokens = vocabulary.encode(&text);
        assert_eq!(vocabulary.count(&text), tokens.len());
        let bytes: Vec<&[u8]> = vocabulary.tokens().collect();
        let decoded: Vec<u8> = tokens
            .iter()
            .flat_map(|&token| bytes[token as usize])
            .copied()
            .collect();
        assert_eq!(decoded, text.as_bytes());
    }
}

#[test]
fn a_vocabulary_is_known_by_its_name() {
    for name in ["cl100k_base", "o200k_base"] {
        assert_eq!(Vocabulary::by_name(name).map(Vocabulary::name), Some(name));
    }
    assert!(Vocabulary::by_name("p50k_base").is_none());
}
