//! Finding every phrase of every rule: Aho-Corasick over the folded text, and a table for single words.
//!
//! Most phrases are single words, and an automaton would stop at each of them within longer words
//! too; a word of the text is looked up whole instead.
//!
//! A match counts when it stands on word boundaries (scripts without spaces have none) and in its
//! rule's place. The time is linear in the text, times the number of phrases that can end at one
//! character, which the rules fix and not the text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, Input, MatchKind};

use super::fold::{Folded, fold_pattern, is_word};
use super::rule::{Place, Rule, RuleError};
use crate::quality::words::is_spaceless;

/// The longest pattern, folded, in bytes.
pub(super) const LONGEST: usize = 200;

/// A phrase of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phrase {
    pub(super) rule: u32,
    pub(super) place: Place,
    /// Whether a word boundary must lie before and behind it.
    pub(super) before: bool,
    pub(super) behind: bool,
}

/// A stretch of phrases that have one text.
type Stretch = (u32, u32);

/// FNV-1a: the table's words are fixed by the rules, so no text can make its chains longer.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// All phrases of all rules.
#[derive(Debug)]
pub(super) struct Matcher {
    /// Distinct folded texts that are not single words.
    automaton: Option<NFA>,
    /// For each text of the automaton, the stretch of `phrases` that has it.
    stretches: Vec<Stretch>,
    /// Single words.
    words: HashMap<Box<[u8]>, Stretch, BuildHasherDefault<Fnv>>,
    phrases: Vec<Phrase>,
}

/// What was found: for every rule how many different phrases, and which rules have any.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) counts: Vec<u32>,
    pub(super) touched: Vec<u32>,
    seen: Vec<bool>,
    /// How many phrases were looked at: the work that the text alone does not bound.
    pub(super) candidates: usize,
}

/// Where the run of inner characters that begins here ends; here, when there is none.
fn word_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            at += 1;
            continue;
        }
        match text[at..].chars().next() {
            Some(character) if !byte.is_ascii() && is_inner(character) => {
                at += character.len_utf8();
            }
            _ => break,
        }
    }
    at
}

fn is_inner(character: char) -> bool {
    is_word(character) && !is_spaceless(character)
}

/// A pattern's folded text, and the boundaries that it wants.
pub(super) fn read(pattern: &str) -> (String, bool, bool) {
    let (stem, open) = match pattern.trim_end().strip_suffix('*') {
        Some(stem) if !stem.trim().is_empty() => (stem, true),
        _ => (pattern, false),
    };
    let text = fold_pattern(stem);
    let before = text.chars().next().is_some_and(is_inner);
    let behind = !open && text.chars().next_back().is_some_and(is_inner);
    (text, before, behind)
}

/// Whether a match at these bytes stands on the boundaries that its phrase wants.
pub(super) fn on_boundaries(text: &str, start: usize, end: usize, phrase: &Phrase) -> bool {
    let inner_before = || text[..start].chars().next_back().is_some_and(is_inner);
    let inner_behind = || text[end..].chars().next().is_some_and(is_inner);
    !(phrase.before && inner_before() || phrase.behind && inner_behind())
}

/// Whether a match that begins at this byte is in the place that its rule wants.
pub(super) fn in_place(folded: &Folded, start: usize, place: Place) -> bool {
    let words = &folded.words;
    let nth = |n: usize| words.get(n).map_or(usize::MAX, |&at| at as usize);
    if let Some(first) = place.first
        && start >= nth(first as usize)
    {
        return false;
    }
    if let Some(last) = place.last
        && words.len() > last as usize
        && start < nth(words.len() - last as usize)
    {
        return false;
    }
    !place.line
        || u32::try_from(start).is_ok_and(|start| folded.lines.binary_search(&start).is_ok())
}

impl Matcher {
    pub(super) fn new(rules: &[Rule]) -> Result<Self, RuleError> {
        let mut all: Vec<(String, Phrase)> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for pattern in &rule.patterns {
                let (text, before, behind) = read(pattern);
                if text.is_empty() {
                    return Err(RuleError::Empty {
                        rule: rule.name.clone(),
                        pattern: pattern.clone(),
                    });
                }
                if text.len() > LONGEST {
                    return Err(RuleError::Long {
                        rule: rule.name.clone(),
                        bytes: text.len(),
                        most: LONGEST,
                    });
                }
                let rule = u32::try_from(index)
                    .map_err(|_| RuleError::TooMany("too many rules".to_owned()))?;
                let place = rules[index].place;
                let phrase = Phrase {
                    rule,
                    place,
                    before,
                    behind,
                };
                all.push((text, phrase));
            }
        }
        // A phrase that a rule has twice counts once, an open one before a closed one.
        all.sort_by(|a, b| (&a.0, a.1.rule, a.1.behind).cmp(&(&b.0, b.1.rule, b.1.behind)));
        all.dedup_by(|a, b| a.0 == b.0 && a.1.rule == b.1.rule);
        all.sort_by(|a, b| (&a.0, a.1.behind, a.1.rule).cmp(&(&b.0, b.1.behind, b.1.rule)));
        let mut texts: Vec<&str> = Vec::new();
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut words = HashMap::default();
        let mut at = 0;
        for same in all.chunk_by(|a, b| a.0 == b.0 && a.1.behind == b.1.behind) {
            let end = at + u32::try_from(same.len()).unwrap_or(u32::MAX);
            let (text, phrase) = &same[0];
            if phrase.before && phrase.behind && text.chars().all(is_inner) {
                words.insert(text.as_bytes().into(), (at, end));
            } else {
                texts.push(text);
                stretches.push((at, end));
            }
            at = end;
        }
        let automaton = if texts.is_empty() {
            None
        } else {
            let built = NFA::builder()
                .match_kind(MatchKind::Standard)
                .build(&texts)
                .map_err(|error| RuleError::TooMany(error.to_string()))?;
            Some(built)
        };
        let phrases = all.into_iter().map(|(_, phrase)| phrase).collect();
        Ok(Self {
            automaton,
            stretches,
            words,
            phrases,
        })
    }

    /// Counts, for every rule, how many different phrases of it the text holds.
    pub(super) fn count(&self, folded: &Folded, rules: usize) -> Tally {
        let mut tally = Tally {
            counts: vec![0; rules],
            touched: Vec::new(),
            seen: vec![false; self.phrases.len()],
            candidates: 0,
        };
        if !self.words.is_empty() {
            for &start in &folded.words {
                let start = start as usize;
                let end = word_end(&folded.text, start);
                if let Some(&stretch) = self.words.get(&folded.text.as_bytes()[start..end]) {
                    self.take(stretch, folded, start, end, &mut tally);
                }
            }
        }
        if let Some(automaton) = &self.automaton {
            let input = Input::new(&folded.text).anchored(Anchored::No);
            let mut state = OverlappingState::start();
            // Unanchored search of a standard automaton cannot fail.
            while automaton.try_find_overlapping(&input, &mut state).is_ok() {
                let Some(found) = state.get_match() else {
                    break;
                };
                let stretch = self.stretches[found.pattern().as_usize()];
                self.take(stretch, folded, found.start(), found.end(), &mut tally);
            }
        }
        tally
    }

    fn take(
        &self,
        (from, to): Stretch,
        folded: &Folded,
        start: usize,
        end: usize,
        tally: &mut Tally,
    ) {
        for at in from as usize..to as usize {
            tally.candidates += 1;
            let phrase = &self.phrases[at];
            if !tally.seen[at]
                && on_boundaries(&folded.text, start, end, phrase)
                && in_place(folded, start, phrase.place)
            {
                tally.seen[at] = true;
                let count = &mut tally.counts[phrase.rule as usize];
                if *count == 0 {
                    tally.touched.push(phrase.rule);
                }
                *count += 1;
            }
        }
    }
}
