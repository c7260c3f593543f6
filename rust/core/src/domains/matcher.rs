//! Finding every phrase of every rule in one pass: Aho-Corasick over the folded text.
//!
//! A match counts when it stands on word boundaries (scripts without spaces have none) and in its
//! rule's place. The time is linear in the text, times the number of phrases that can end at one
//! character, which the rules fix and not the text.

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

/// All phrases of all rules.
#[derive(Debug)]
pub(super) struct Matcher {
    /// Distinct folded texts.
    automaton: Option<NFA>,
    /// For each distinct text, the stretch of `phrases` that has it.
    stretches: Vec<(u32, u32)>,
    phrases: Vec<Phrase>,
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
    !(phrase.before && inner_before()) && !(phrase.behind && inner_behind())
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
        all.sort_by(|a, b| (&a.0, a.1.rule, a.1.behind).cmp(&(&b.0, b.1.rule, b.1.behind)));
        // A phrase that a rule has twice counts once.
        all.dedup_by(|a, b| a.0 == b.0 && a.1.rule == b.1.rule);
        let mut texts: Vec<&str> = Vec::new();
        let mut stretches: Vec<(u32, u32)> = Vec::new();
        for (at, (text, _)) in all.iter().enumerate() {
            let at = u32::try_from(at).map_err(|error| RuleError::TooMany(error.to_string()))?;
            if texts.last() == Some(&text.as_str()) {
                if let Some(stretch) = stretches.last_mut() {
                    stretch.1 = at + 1;
                }
            } else {
                texts.push(text);
                stretches.push((at, at + 1));
            }
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
            phrases,
        })
    }

    /// Counts, for every rule, how many different phrases of it the text holds; returns the number
    /// of candidates looked at, which is the work done.
    pub(super) fn count(&self, folded: &Folded, counts: &mut [u32]) -> usize {
        let Some(automaton) = &self.automaton else {
            return 0;
        };
        let mut seen = vec![false; self.phrases.len()];
        let input = Input::new(&folded.text).anchored(Anchored::No);
        let mut state = OverlappingState::start();
        let mut candidates = 0;
        // Unanchored search of a standard automaton cannot fail.
        while automaton.try_find_overlapping(&input, &mut state).is_ok() {
            let Some(found) = state.get_match() else {
                break;
            };
            let (from, to) = self.stretches[found.pattern().as_usize()];
            for at in from as usize..to as usize {
                candidates += 1;
                let phrase = &self.phrases[at];
                if !seen[at]
                    && on_boundaries(&folded.text, found.start(), found.end(), phrase)
                    && in_place(folded, found.start(), phrase.place)
                {
                    seen[at] = true;
                    counts[phrase.rule as usize] += 1;
                }
            }
        }
        candidates
    }
}
