//! What a reader sees of a request at a glance, counted in one pass over its code, one over its prose
//! and one over its phrases.

use super::code::{CodeMetrics, find, measure_found};
use super::vocabulary::{Ask, EMPTY, KINDS, VOCABULARY, WORDS, hash_letter};
use crate::quality::words::is_spaceless;

/// Counts of what was seen. Each is bounded by the text's length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Words of prose; in scripts without spaces, two characters are one.
    pub words: usize,
    /// Words written with spaces between them that have ten letters or more.
    pub long_words: usize,
    /// Question marks that end something.
    pub questions: usize,
    /// Lines that begin like a list's item.
    pub list_items: usize,
    /// LaTeX commands and mathematical signs.
    pub math_signs: usize,
    /// Words that the lexicon knows.
    pub known_words: usize,
    /// Sum of what those speak of that speak of more knowledge than most, in tenths of a grade.
    pub learned: usize,
    /// The same of those that speak of less.
    pub everyday: usize,
    /// The code in it, if any.
    pub code: Option<CodeMetrics>,
    phrases: [usize; KINDS],
}

impl Features {
    /// Counts.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut seen = Self::default();
        let segments = find(text);
        let mut at = 0;
        for segment in &segments {
            seen.count_prose(&text[at..segment.start]);
            at = segment.end;
        }
        seen.count_prose(&text[at..]);
        seen.code = measure_found(text, &segments);
        seen
    }

    pub(super) fn count(&self, ask: Ask) -> usize {
        self.phrases[ask as usize]
    }

    fn count_prose(&mut self, text: &str) {
        for line in text.lines() {
            self.count_line(line.trim_start());
        }
        for found in VOCABULARY.find(text) {
            self.phrases[usize::from(found.tag)] += 1;
        }
    }

    fn count_line(&mut self, line: &str) {
        if line.starts_with("```") || line.starts_with("~~~") {
            return;
        }
        self.list_items += usize::from(is_list_item(line));
        let mut in_word = false;
        let mut spaceless = 0_usize;
        let mut previous = ' ';
        let mut letters = 0_usize;
        let mut hash = EMPTY;
        for character in line.chars() {
            let is_letter = character.is_alphabetic();
            if letters > 0 && !is_letter {
                self.end_word(letters, hash);
                letters = 0;
                hash = EMPTY;
            }
            if is_letter || character.is_numeric() {
                if is_spaceless(character) {
                    spaceless += 1;
                    in_word = false;
                } else {
                    if !in_word {
                        self.words += 1;
                        in_word = true;
                    }
                    if is_letter {
                        letters += 1;
                        hash = hash_letter(hash, character);
                    }
                }
            } else {
                in_word = in_word && matches!(character, '\'' | '’' | '-');
                if is_math_sign(character) || (character == '\\' && previous != '\\') {
                    self.math_signs += 1;
                }
                if matches!(character, '?' | '？' | '؟') && previous != character {
                    self.questions += 1;
                }
            }
            previous = character;
        }
        if letters > 0 {
            self.end_word(letters, hash);
        }
        self.words += spaceless.div_ceil(2);
    }

    fn end_word(&mut self, letters: usize, hash: u64) {
        self.long_words += usize::from(letters >= 10);
        if let Some(value) = WORDS.get(hash) {
            self.known_words += 1;
            let amount = usize::from(value.unsigned_abs());
            if value > 0 {
                self.learned += amount;
            } else {
                self.everyday += amount;
            }
        }
    }
}

fn is_list_item(line: &str) -> bool {
    let mut characters = line.chars();
    match characters.next() {
        Some('-' | '*' | '•' | '–') => characters.next() == Some(' '),
        Some(first) if first.is_ascii_alphanumeric() => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            // "1. ", "12) ", "a) "
            let rest = if rest.len() == line.len() {
                &line[1..]
            } else {
                rest
            };
            rest.starts_with(") ") || (first.is_ascii_digit() && rest.starts_with(". "))
        }
        _ => false,
    }
}

fn is_math_sign(character: char) -> bool {
    matches!(
        character,
        '^' | '√'
            | '∑'
            | 'Σ'
            | '∏'
            | '∫'
            | '∂'
            | '∇'
            | '∞'
            | '≤'
            | '≥'
            | '≠'
            | '≈'
            | '≡'
            | '∈'
            | '∉'
            | '⊂'
            | '⊆'
            | '∪'
            | '∩'
            | '∀'
            | '∃'
            | '→'
            | '⇒'
            | '⇔'
            | '±'
            | '×'
            | '÷'
            | '·'
            | '°'
            | '²'
            | '³'
            | '½'
            | 'π'
    )
}
