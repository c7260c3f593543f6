//! Folding a text so that what reads the same is the same: case, accents, widths, curly quotes and
//! white space.
//!
//! Every character is decomposed by compatibility (NFKD), lower-cased, and loses the accents of the
//! Latin, Greek and Cyrillic scripts and the vowel signs that Arabic mostly leaves out. So `ÉTÉ`,
//! `été` and its decomposed spelling are `ete`, `ﬁ` is `fi`, `ß` is `ss`, `ς` is `σ`, and Turkish
//! `İ I ı` are all `i`. The marks of other scripts (Devanagari's vowels, kana's voicing) stay: there
//! they are letters. The price is that `où` and `ou` are one.

use unicode_normalization::char::decompose_compatible;

use crate::quality::words::is_spaceless;

/// A folded text: words with one space between them, punctuation kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The folded characters.
    pub text: String,
    /// Where each word begins, in order; in scripts without spaces each character is a word.
    pub words: Vec<u32>,
    /// Where each line begins, in order, blank lines left out.
    pub lines: Vec<u32>,
}

/// Whether a folded character is part of a word.
#[must_use]
pub fn is_word(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    let code = u32::from(character);
    // The signs of the Indic scripts, which `is_alphanumeric` counts only in part, but no danda.
    character.is_alphanumeric()
        || (matches!(code, 0x0900..=0x0DFF) && !matches!(code, 0x0964 | 0x0965))
        || matches!(code, 0x3099 | 0x309A)
}

/// Letters that NFKD leaves whole and that people type as others.
fn plain(character: char) -> Option<&'static str> {
    Some(match character {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        'þ' | 'Þ' => "th",
        'ı' => "i",
        'ς' => "σ",
        '‘' | '’' | '‚' | '‛' | 'ʼ' | '′' | '`' | '´' => "'",
        '“' | '”' | '„' | '‟' | '«' | '»' | '″' => "\"",
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => "-",
        '。' => ".",
        '、' => ",",
        _ => return None,
    })
}

/// Whether a character is dropped: accents of alphabets, Arabic vowel signs, invisible characters.
fn is_dropped(character: char) -> bool {
    matches!(u32::from(character),
        0x0300..=0x036F | 0x0610..=0x061A | 0x0640 | 0x064B..=0x065F | 0x0670
        | 0x00AD | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060 | 0xFE00..=0xFE0F | 0xFEFF)
}

/// The characters that one character is folded to; white space is left to the caller.
fn fold_character(character: char, emit: &mut impl FnMut(char)) {
    if let Some(letters) = plain(character) {
        letters.chars().for_each(emit);
        return;
    }
    if matches!(u32::from(character), 0x4E00..=0x9FFF) {
        emit(character);
        return;
    }
    decompose_compatible(character, |part| {
        for lower in part.to_lowercase() {
            if !is_dropped(lower) {
                match plain(lower) {
                    Some(letters) => letters.chars().for_each(&mut *emit),
                    None => emit(lower),
                }
            }
        }
    });
}

/// Folds a text.
#[must_use]
pub fn fold(text: &str) -> Folded {
    let mut folder = Folder::new(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() {
            let run = bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric());
            let end = at + run.count();
            folder.push_run(&text[at..end]);
            at = end;
        } else if byte.is_ascii() {
            folder.push_ascii(byte);
            at += 1;
        } else {
            let Some(character) = text[at..].chars().next() else {
                break;
            };
            folder.push(character);
            at += character.len_utf8();
        }
    }
    folder.folded
}

/// Folds a pattern as [`fold`] folds a text, with no white space around it.
#[must_use]
pub fn fold_pattern(pattern: &str) -> String {
    fold(pattern).text.trim().to_owned()
}

struct Folder {
    folded: Folded,
    in_word: bool,
    /// White space is written when something follows it.
    space: bool,
    line: bool,
}

impl Folder {
    fn new(length: usize) -> Self {
        Self {
            folded: Folded {
                text: String::with_capacity(length + length / 8),
                words: Vec::with_capacity(length / 5 + 1),
                lines: Vec::new(),
            },
            in_word: false,
            space: false,
            line: true,
        }
    }

    /// Takes ASCII letters and digits, at least one.
    fn push_run(&mut self, run: &str) {
        if let Some(&first) = run.as_bytes().first() {
            self.push_ascii(first);
            let from = self.folded.text.len();
            self.folded.text.push_str(&run[1..]);
            self.folded.text[from..].make_ascii_lowercase();
        }
    }

    fn push_ascii(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | 0x0B | 0x0C => self.space = true,
            b'\n' => {
                self.space = true;
                self.line = true;
            }
            // Other control characters are invisible.
            0..=0x1F | 0x7F => {}
            _ => {
                let folded = if byte == b'`' {
                    b'\''
                } else {
                    byte.to_ascii_lowercase()
                };
                let word = folded.is_ascii_alphanumeric() || folded == b'_';
                self.write(char::from(folded), word, false);
            }
        }
    }

    fn push(&mut self, character: char) {
        if character.is_whitespace() {
            self.space = true;
            self.line |= matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}');
            return;
        }
        fold_character(character, &mut |folded| {
            if folded.is_whitespace() {
                // What NFKD makes of a spacing accent.
                self.space = true;
            } else if folded.is_ascii() {
                let byte = u8::try_from(folded).unwrap_or(b' ');
                let word = byte.is_ascii_alphanumeric() || byte == b'_';
                self.write(folded, word, false);
            } else {
                self.write(folded, is_word(folded), is_spaceless(folded));
            }
        });
    }

    fn write(&mut self, character: char, word: bool, spaceless: bool) {
        let folded = &mut self.folded;
        if self.space && !folded.text.is_empty() {
            folded.text.push(' ');
        }
        self.in_word &= !self.space;
        // The text is at most some kilobytes: it was cut before.
        let at = u32::try_from(folded.text.len()).unwrap_or(u32::MAX);
        if self.line {
            folded.lines.push(at);
        }
        if spaceless || (word && !self.in_word) {
            folded.words.push(at);
        }
        self.in_word = word && !spaceless;
        self.space = false;
        self.line = false;
        folded.text.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        fold(text).text
    }

    #[test]
    fn what_reads_the_same_is_the_same() {
        assert_eq!(text("ÉTÉ"), "ete");
        assert_eq!(text("e\u{301}te\u{301}"), "ete");
        assert_eq!(text("Straße STRASSE"), "strasse strasse");
        assert_eq!(text("İSTANBUL ısı"), "istanbul isi");
        assert_eq!(text("Σίσυφος ΣΊΣΥΦΟΣ"), "σισυφοσ σισυφοσ");
        assert_eq!(text("ＦＵＬＬ　ﬁ №"), "full fi no");
        assert_eq!(text("Ёлка й"), "елка и");
        assert_eq!(text("Don’t “quote”"), "don't \"quote\"");
        assert_eq!(text("مُحَمَّد"), "محمد");
        assert_eq!(text("zero\u{200B}width\u{FEFF}"), "zerowidth");
    }

    #[test]
    fn marks_that_are_letters_stay() {
        assert_eq!(text("हिन्दी"), "हिन्दी");
        assert_eq!(text("が"), "か\u{3099}");
        assert_eq!(text("か\u{3099}"), text("が"));
    }

    #[test]
    fn words_and_lines_are_where_they_begin() {
        let folded = fold("  Ab,  cd\n\n 東京 x_1\n");
        assert_eq!(folded.text, "ab, cd 東京 x_1");
        assert_eq!(folded.words, [0, 4, 7, 10, 14]);
        assert_eq!(folded.lines, [0, 7]);
    }

    #[test]
    fn the_empty_text_is_empty() {
        assert_eq!(
            fold(" \n\t\u{3000}"),
            Folded {
                text: String::new(),
                ..Folded::default()
            }
        );
    }

    /// Folds character by character.
    fn slowly(text: &str) -> Folded {
        let mut folder = Folder::new(0);
        for character in text.chars() {
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => folder.push_ascii(byte),
                _ => folder.push(character),
            }
        }
        folder.folded
    }

    proptest::proptest! {
        #[test]
        fn runs_fold_as_their_characters_do(text in "[a-cA-C0É\u{301}東_' \n\u{200B}]{0,40}") {
            proptest::prop_assert_eq!(fold(&text), slowly(&text));
        }

        #[test]
        fn folding_twice_is_folding_once_and_stays_in_bounds(text in "\\PC{0,60}|[\\s\\w´ßİŒﬀ]{0,40}") {
            let once = fold(&text);
            let twice = fold(&once.text);
            proptest::prop_assert_eq!(&twice.text, &once.text);
            proptest::prop_assert!(once.words.is_sorted());
            for &at in once.words.iter().chain(&once.lines) {
                proptest::prop_assert!(once.text.is_char_boundary(at as usize));
                proptest::prop_assert!((at as usize) < once.text.len());
            }
            // NFKD grows a character to at most eighteen.
            proptest::prop_assert!(once.text.len() <= 33 * text.len());
        }
    }
}
