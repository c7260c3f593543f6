//! Characters by what they are.

use crate::quality::words::is_spaceless;

/// How many characters of each sort a text has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u32,
    pub(super) latin: u32,
    pub(super) accents: u32,
    pub(super) other_letters: u32,
    pub(super) spaceless: u32,
    pub(super) capitals: u32,
    pub(super) code: u32,
    pub(super) math: u32,
    pub(super) commas: u32,
    pub(super) questions: u32,
    pub(super) exclamations: u32,
    pub(super) json_marks: u32,
    pub(super) quotes: u32,
    pub(super) quoted: u32,
    pub(super) emoji: u32,
}

/// What an ASCII byte is, as a bit set.
const LETTER: u8 = 1;
const CAPITAL: u8 = 2;
const CODE: u8 = 4;
const OTHER: u8 = 8;

const ASCII: [u8; 128] = {
    let mut table = [0; 128];
    let mut at = 0;
    while at < 128 {
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        let byte = at as u8;
        table[at] = match byte {
            b'a'..=b'z' => LETTER,
            b'A'..=b'Z' => LETTER | CAPITAL,
            b'{' | b'}' | b'[' | b']' | b'<' | b'>' | b'=' | b';' | b'&' | b'|' | b'\\' | b'_'
            | b'#' | b'(' | b')' | b'*' | b'@' | b'~' => CODE,
            b',' | b'?' | b'!' | b'"' | b'^' => OTHER,
            _ => 0,
        };
        at += 1;
    }
    table
};

impl Counts {
    /// Counts the characters of a line; quotation marks pair within it.
    pub(super) fn take(&mut self, line: &str) {
        let mut open: Option<u32> = None;
        let mut previous = ' ';
        let mut rest = line;
        while !rest.is_empty() {
            let ascii = rest.bytes().take_while(u8::is_ascii).count();
            for &byte in &rest.as_bytes()[..ascii] {
                self.all += 1;
                let class = ASCII[usize::from(byte & 0x7F)];
                if class == LETTER {
                    // Most bytes are.
                    self.latin += 1;
                    previous = char::from(byte);
                    continue;
                }
                self.latin += u32::from(class & LETTER);
                self.capitals += u32::from(class & CAPITAL != 0);
                self.code += u32::from(class & CODE != 0);
                if class & OTHER != 0 {
                    self.take_sign(char::from(byte), previous, &mut open);
                } else if byte == b':' && previous == '"' {
                    self.json_marks += 1;
                }
                previous = char::from(byte);
            }
            rest = &rest[ascii..];
            let Some(character) = rest.chars().next() else {
                break;
            };
            self.all += 1;
            self.take_other(character, &mut open);
            previous = character;
            rest = &rest[character.len_utf8()..];
        }
    }

    fn take_sign(&mut self, sign: char, previous: char, open: &mut Option<u32>) {
        match sign {
            ',' => self.commas += 1,
            '?' => self.questions += u32::from(previous != '?'),
            '!' => self.exclamations += u32::from(previous != '!'),
            '^' => self.math += 1,
            _ => self.toggle(open),
        }
    }

    fn toggle(&mut self, open: &mut Option<u32>) {
        match open.take() {
            None => *open = Some(self.all),
            Some(from) => self.close(from),
        }
    }

    fn close(&mut self, from: u32) {
        self.quotes += 1;
        self.quoted += self.all - from;
    }

    fn take_other(&mut self, character: char, open: &mut Option<u32>) {
        match character {
            '“' | '„' | '«' | '「' | '『' | '‘' => {
                // A German quotation ends with what opens an English one.
                if character == '“' && open.is_some() {
                    self.toggle(open);
                } else {
                    *open = Some(self.all);
                }
            }
            '”' | '»' | '」' | '』' => {
                if let Some(from) = open.take() {
                    self.close(from);
                }
            }
            '？' | '؟' => self.questions += 1,
            '！' => self.exclamations += 1,
            '，' | '、' => self.commas += 1,
            _ if is_math(character) => self.math += 1,
            _ if character.is_alphabetic() => {
                if u32::from(character) < 0x250 || matches!(u32::from(character), 0x1E00..=0x1EFF) {
                    self.latin += 1;
                    self.accents += 1;
                    self.capitals += u32::from(character.is_uppercase());
                } else {
                    self.other_letters += 1;
                    self.spaceless += u32::from(is_spaceless(character));
                }
            }
            _ if is_emoji(character) => self.emoji += 1,
            _ => {}
        }
    }
}

fn is_math(character: char) -> bool {
    matches!(u32::from(character),
        0x2200..=0x22FF            // mathematical operators
        | 0x2A00..=0x2AFF
        | 0x00B1 | 0x00D7 | 0x00F7 // ± × ÷
        | 0x00B2 | 0x00B3 | 0x00B9 | 0x2070..=0x209F
        | 0x2190..=0x21FF          // arrows
        | 0x2100..=0x214F
        | 0x1D400..=0x1D7FF)
}

fn is_emoji(character: char) -> bool {
    matches!(u32::from(character), 0x1F300..=0x1FAFF | 0x2600..=0x27BF | 0x1F1E6..=0x1F1FF)
}
