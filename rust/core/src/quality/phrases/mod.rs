//! Finding fixed phrases in one pass, whatever the case, the apostrophe or the script.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// A set of phrases, each with a number that its owner gives a meaning.
pub(crate) struct Phrases {
    automaton: Option<AhoCorasick>,
    tags: Vec<u8>,
}

/// A phrase that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) tag: u8,
}

impl Phrases {
    /// Builds the set from a list: a line each, in lower case with straight apostrophes, under
    /// headings in brackets whose names are those of `sections`; a phrase's tag is its section's place
    /// there. Lines that begin with `#` are remarks.
    pub(crate) fn from_list(list: &str, sections: &[&str]) -> Self {
        let mut patterns: Vec<String> = Vec::new();
        let mut tags = Vec::new();
        let mut tag = None;
        for line in list.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                let name = name.trim_end_matches(']');
                tag = sections
                    .iter()
                    .position(|section| *section == name)
                    .and_then(|place| u8::try_from(place).ok());
            } else if !line.is_empty()
                && !line.starts_with('#')
                && let Some(tag) = tag
            {
                for variant in variants(line) {
                    patterns.push(variant);
                    tags.push(tag);
                }
            }
        }
        Self::build(&patterns, tags)
    }

    fn build(patterns: &[String], tags: Vec<u8>) -> Self {
        // The lists are constants of this crate: building fails only if there were gigabytes of them,
        // and an empty set then finds nothing. A test holds every set to be built.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns)
            .ok();
        Self { automaton, tags }
    }

    /// Every phrase in the text that stands on word boundaries, in order, not overlapping.
    pub(crate) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Found> + 'a {
        self.automaton
            .iter()
            .flat_map(move |automaton| automaton.find_iter(text))
            .filter(move |found| on_boundaries(text, found.start(), found.end()))
            .map(|found| Found {
                start: found.start(),
                end: found.end(),
                tag: self.tags[found.pattern().as_usize()],
            })
    }

    #[cfg(test)]
    pub(crate) fn is_built(&self) -> bool {
        self.automaton.is_some()
    }
}

/// The phrase with either apostrophe, and capitalised where ASCII folding does not reach.
fn variants(phrase: &str) -> Vec<String> {
    let mut all = vec![phrase.to_owned()];
    if phrase.contains('\'') {
        all.push(phrase.replace('\'', "’"));
    }
    if let Some(first) = phrase.chars().next()
        && !first.is_ascii()
    {
        let upper: String = first.to_uppercase().collect();
        if !upper.starts_with(first) {
            for index in 0..all.len() {
                all.push(format!("{upper}{}", &all[index][first.len_utf8()..]));
            }
        }
    }
    all
}

/// Whether neither end cuts a word in two; scripts without spaces have no such ends.
pub(crate) fn on_boundaries(text: &str, start: usize, end: usize) -> bool {
    let joined = |left: Option<char>, right: Option<char>| match (left, right) {
        (Some(left), Some(right)) => {
            left.is_alphanumeric()
                && right.is_alphanumeric()
                && !super::words::is_spaceless(left)
                && !super::words::is_spaceless(right)
        }
        _ => false,
    };
    let inside = &text[start..end];
    !joined(text[..start].chars().next_back(), inside.chars().next())
        && !joined(inside.chars().next_back(), text[end..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_phrases_in_any_case() {
        let list = "# a remark\n[one]\ni can't\nне могу\n\n[two]\n抱歉\n";
        let phrases = Phrases::from_list(list, &["none", "one", "two"]);
        assert!(phrases.is_built());
        let tags = |text: &str| phrases.find(text).map(|f| f.tag).collect::<Vec<_>>();
        assert_eq!(tags("I CAN’T and i can't"), [1, 1]);
        assert_eq!(tags("hi can't"), Vec::<u8>::new());
        assert_eq!(tags("I can'ts"), Vec::<u8>::new());
        assert_eq!(tags("Не могу. Я не могу"), [1, 1]);
        assert_eq!(tags("很抱歉我"), [2]);
    }
}
