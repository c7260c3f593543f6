//! Cutting text into what an equation is made of, in one pass.
//!
//! Tokens are small (a kind and a span): a number's value is read when it is needed. What cannot be
//! evaluated with certainty (a variable, a date, a clock time, `mod`, `million`, `5!`, inline code)
//! becomes [`Kind::Poison`], and an expression that touches it is never judged.

use super::latex::Brace;
use super::vocabulary::{self, CLASSES, Class};
use crate::quality::words::{hash_word, is_spaceless};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number {
        percent: bool,
        currency: bool,
    },
    Plus,
    Minus,
    Times,
    Divide,
    Power,
    Open,
    Close,
    Equals,
    Approximately,
    /// A word: the unit of the number before it, or prose.
    Word,
    /// `of`, which multiplies behind a fraction or a percentage.
    Of,
    /// A word that changes what the number behind it means: `half`, `million`, `squared` …
    Scale,
    /// A line break: the equation may go on with `=` on the next line.
    Newline,
    /// Whatever ends an expression.
    Break,
    /// What cannot be evaluated.
    Poison,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn is_number(self) -> bool {
        matches!(self.kind, Kind::Number { .. })
    }
}

/// A text's tokens.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    /// Whether the text speaks of another arithmetic: modular, binary, a clock's.
    pub(crate) odd: bool,
}

/// Cuts a text into tokens.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line_start: true,
        tick_free_until: 0,
        braces: Vec::new(),
        out: Lexed {
            tokens: Vec::with_capacity(text.len() / 5),
            odd: false,
        },
    };
    while lexer.at < text.len() {
        lexer.step();
    }
    lexer.out
}

pub(super) struct Lexer<'a> {
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    line_start: bool,
    /// No backtick follows on this line before this byte: keeps the search for one linear.
    tick_free_until: usize,
    pub(super) braces: Vec<Brace>,
    pub(super) out: Lexed,
}

impl Lexer<'_> {
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn char_at(&self, at: usize) -> char {
        self.text
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .unwrap_or('\0')
    }

    fn char_before(&self, at: usize) -> char {
        self.text[..at].chars().next_back().unwrap_or('\0')
    }

    /// The first character behind `at` that is no space.
    fn next_visible(&self, at: usize) -> char {
        let mut at = at;
        while matches!(self.byte(at), b' ' | b'\t') {
            at += 1;
        }
        self.char_at(at)
    }

    pub(super) fn emit(&mut self, kind: Kind, length: usize) {
        let start = self.at;
        self.at += length;
        // Several ends in a row are one.
        let last = self.out.tokens.last().map(|token| token.kind);
        if kind == Kind::Break && last == Some(Kind::Break) {
            return;
        }
        self.out.tokens.push(Token {
            kind,
            start,
            end: self.at,
        });
    }

    fn last(&self) -> Option<Kind> {
        self.out.tokens.last().map(|token| token.kind)
    }

    fn after_operand(&self) -> bool {
        matches!(
            self.last(),
            Some(Kind::Number { .. } | Kind::Close | Kind::Word)
        )
    }

    fn step(&mut self) {
        let character = self.char_at(self.at);
        let at_line_start = self.line_start;
        if character != ' ' && character != '\t' {
            self.line_start = character == '\n';
        }
        match character {
            ' ' | '\t' | '\r' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '&' | '$' | '€' | '£'
            | '¥' | '₹' | '₩' | '₽' | '_' | '°' => {
                self.at += character.len_utf8();
            }
            '\n' => self.emit(Kind::Newline, 1),
            '0'..='9' => self.number(),
            '.' => self.dot(),
            '½' | '¼' | '¾' | '⅓' | '⅔' | '⅛' => {
                let length = character.len_utf8();
                self.emit(
                    Kind::Number {
                        percent: false,
                        currency: false,
                    },
                    length,
                );
            }
            '-' | '−' | '–' | '+' => self.sign(character, at_line_start),
            '*' => self.star(at_line_start),
            '×' | '⋅' | '·' | '∙' | '✕' | '✖' => {
                self.emit(Kind::Times, character.len_utf8());
            }
            '÷' => self.emit(Kind::Divide, character.len_utf8()),
            '/' | '∕' | '⁄' => self.slash(character),
            '^' => self.emit(Kind::Power, 1),
            '²' | '³' => self.superscript(character),
            '(' | '[' => self.emit(Kind::Open, 1),
            ')' | ']' => self.emit(Kind::Close, 1),
            '{' => self.open_brace(),
            '}' => self.close_brace(),
            '=' | '＝' => self.equals(character),
            '≈' | '≃' | '≅' | '~' => self.emit(Kind::Approximately, character.len_utf8()),
            '%' => self.percent(),
            '\\' => self.command(),
            '`' => self.ticks(),
            '!' if self
                .last()
                .is_some_and(|kind| matches!(kind, Kind::Number { .. } | Kind::Close))
                && matches!(
                    self.next_visible(self.at + 1),
                    '+' | '-' | '*' | '/' | '=' | '×' | '÷'
                ) =>
            {
                self.emit(Kind::Poison, 1);
            }
            '…' | '√' | '±' | '∓' | '≡' | '∑' | 'π' | '∞' => {
                self.emit(Kind::Poison, character.len_utf8());
            }
            ':' if self
                .last()
                .is_some_and(|kind| matches!(kind, Kind::Number { .. }))
                && self.byte(self.at + 1).is_ascii_digit() =>
            {
                self.emit(Kind::Poison, 1);
            }
            _ if character.is_alphabetic() => self.word(),
            _ if character.is_numeric() => self.emit(Kind::Poison, character.len_utf8()),
            _ => self.emit(Kind::Break, character.len_utf8()),
        }
    }

    fn dot(&mut self) {
        if self.bytes[self.at..].starts_with(b"...") {
            self.emit(Kind::Poison, 3);
        } else if self.byte(self.at + 1).is_ascii_digit()
            && !self.char_before(self.at).is_alphanumeric()
        {
            self.number();
        } else {
            self.emit(Kind::Break, 1);
        }
    }

    fn run_of_digits(&self, from: usize) -> usize {
        let mut at = from;
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        at - from
    }

    /// Reads a number with its separators: `1,234.5`, `1.234,5`, `1 234` (narrow spaces), `1'234`,
    /// `1{,}234` (LaTeX).
    fn number(&mut self) {
        let start = self.at;
        let mut end = start + self.run_of_digits(start);
        let leading_zero = end - start > 1 && self.byte(start) == b'0';
        let mut odd_shape = false;
        let (mut dots, mut commas) = (0_usize, 0_usize);
        loop {
            let rest = &self.text[end..];
            let separator = match rest.chars().next() {
                Some('.' | ',' | '\'') => 1,
                Some('\u{a0}' | '\u{2009}') => 2,
                Some('\u{202f}') => 3,
                Some('{') if rest.starts_with("{,}") => 3,
                _ => break,
            };
            let digits = self.run_of_digits(end + separator);
            let grouped = digits == 3 || (self.byte(end) == b',' && digits == 2);
            match self.byte(end) {
                _ if digits == 0 => break,
                b'.' => dots += 1,
                // A decimal comma, unless this is a list such as 1,2,3.
                b',' if digits != 3 => {
                    let next = end + separator + digits;
                    let list = self.byte(next) == b','
                        && self.byte(next + 1).is_ascii_digit()
                        && !(digits == 2 && self.run_of_digits(next + 1) >= 2);
                    if list || (commas > 0 && !grouped) {
                        break;
                    }
                    commas += 1;
                }
                b',' => commas += 1,
                _ if !grouped => break,
                _ => {}
            }
            end += separator + digits;
        }
        if dots > 1 && !groups_of_three(&self.text[start..end]) {
            odd_shape = true; // a version or an address
        }
        let after = self.char_at(end);
        let hexadecimal = &self.text[start..end] == "0" && after == 'x';
        let exponent =
            matches!(after, 'e' | 'E') && matches!(self.byte(end + 1), b'0'..=b'9' | b'+' | b'-');
        let single_letter = after.is_alphabetic()
            && !(matches!(after, 'x' | 'X') && self.byte(end + 1).is_ascii_digit())
            && !self.char_at(end + after.len_utf8()).is_alphanumeric();
        let currency = matches!(
            self.text[..start].trim_end_matches(' ').chars().next_back(),
            Some('$' | '€' | '£' | '¥' | '₹' | '₩' | '₽')
        );
        let poison = odd_shape
            || hexadecimal
            || exponent
            || (single_letter && !is_spaceless(after))
            || (leading_zero && dots + commas == 0)
            || end - start > 40;
        self.at = start;
        let kind = if poison {
            Kind::Poison
        } else {
            Kind::Number {
                percent: false,
                currency,
            }
        };
        self.emit(kind, end - start);
        if poison && after.is_alphabetic() {
            self.at += self.letters_and_digits(self.at);
        }
    }

    fn letters_and_digits(&self, from: usize) -> usize {
        self.text[from..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .map(char::len_utf8)
            .sum()
    }

    fn sign(&mut self, character: char, at_line_start: bool) {
        let length = character.len_utf8();
        let next = self.char_at(self.at + length);
        let before = self.char_before(self.at);
        if at_line_start && matches!(next, ' ' | '\t') {
            self.at += length; // a bullet
        } else if character == '-' && (next == '-' || next == '>') {
            self.emit(Kind::Break, 2);
        } else if character == '+' && matches!(next, '+' | '/' | '-') {
            self.emit(Kind::Poison, 2);
        } else if character == '-' && before.is_ascii_digit() && next.is_alphabetic() {
            self.at += length; // 12-mile
        } else if character == '-' && before.is_alphabetic() && next.is_ascii_digit() {
            self.emit(Kind::Poison, length); // COVID-19
        } else if character == '+' {
            self.emit(Kind::Plus, length);
        } else {
            self.emit(Kind::Minus, length);
        }
    }

    fn star(&mut self, at_line_start: bool) {
        let double = self.byte(self.at + 1) == b'*';
        let length = if double { 2 } else { 1 };
        let next = self.char_at(self.at + length);
        let spaced = next == ' ';
        if at_line_start && spaced {
            self.at += length;
            return;
        }
        let before = self.char_before(self.at);
        let operand_follows = matches!(
            self.next_visible(self.at + length),
            '0'..='9' | '(' | '[' | '$' | '€' | '£' | '.' | '\\' | '-' | '−'
        );
        if double {
            // **bold** hugs its text on one side, a power on both or on neither.
            let hugs = (before == ' ') == spaced;
            if hugs && self.after_operand() && operand_follows && self.last() != Some(Kind::Word) {
                self.emit(Kind::Power, 2);
            } else {
                self.at += 2;
            }
        } else if self.after_operand() && operand_follows && (spaced || before != ' ') {
            self.emit(Kind::Times, 1);
        } else if self.after_operand() && !spaced && before == ' ' && !operand_follows {
            self.at += 1; // *emphasis*
        } else if self.after_operand() && spaced {
            self.emit(Kind::Times, 1); // before a word: a variable poisons it
        } else {
            self.at += 1;
        }
    }

    fn slash(&mut self, character: char) {
        let length = character.len_utf8();
        let next = self.next_visible(self.at + length);
        if next == '/' {
            self.emit(Kind::Poison, length + 1); // whole-number division, a comment, an address
        } else if next.is_ascii_digit() && self.char_before(self.at).is_alphabetic() {
            self.emit(Kind::Poison, length); // calories/100 ml
        } else if next.is_alphabetic() && self.after_operand() {
            self.at += length; // per
            let word = self.letters_and_digits(self.at);
            if word > 0 {
                self.emit(Kind::Word, word);
            }
        } else {
            self.emit(Kind::Divide, length);
        }
    }

    fn superscript(&mut self, character: char) {
        // An area's unit keeps its number.
        if self.char_before(self.at).is_alphabetic() {
            self.at += character.len_utf8();
        } else {
            self.emit(Kind::Power, character.len_utf8());
        }
    }

    fn equals(&mut self, character: char) {
        let length = character.len_utf8();
        let before = self.byte(self.at.wrapping_sub(1));
        let next = self.byte(self.at + length);
        if character == '=' && matches!(next, b'=' | b'>' | b'~') {
            self.emit(Kind::Poison, 2);
        } else if character == '='
            && matches!(
                before,
                b'!' | b'<'
                    | b'>'
                    | b'='
                    | b':'
                    | b'+'
                    | b'-'
                    | b'*'
                    | b'/'
                    | b'%'
                    | b'|'
                    | b'^'
                    | b'~'
            )
        {
            self.emit(Kind::Poison, length);
        } else {
            self.emit(Kind::Equals, length);
        }
    }

    /// A percent sign belongs to the number before it; between two numbers it is a remainder.
    fn percent(&mut self) {
        let spaced = self.char_before(self.at) == ' ';
        let remainder = self.next_visible(self.at + 1).is_ascii_digit()
            && (spaced || self.byte(self.at + 1) != b' ');
        if remainder {
            self.emit(Kind::Poison, 1);
        } else {
            self.mark_percent(1);
        }
    }

    pub(super) fn mark_percent(&mut self, length: usize) {
        if let Some(token) = self.out.tokens.last_mut()
            && let Kind::Number { percent, .. } = &mut token.kind
        {
            *percent = true;
            self.at += length;
        } else {
            self.emit(Kind::Break, length);
        }
    }

    /// Inline code up to its closing backtick on the same line is one thing that is not evaluated.
    fn ticks(&mut self) {
        if self.at + 1 < self.tick_free_until {
            self.emit(Kind::Break, 1);
            return;
        }
        let rest = &self.text[self.at + 1..];
        let line = rest.find('\n').unwrap_or(rest.len());
        if let Some(length) = rest[..line].find('`') {
            self.emit(Kind::Poison, length + 2);
        } else {
            self.tick_free_until = self.at + 1 + line;
            self.emit(Kind::Break, 1);
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let mut has_digit = false;
        let mut end = start;
        let mut characters = self.text[start..].char_indices().peekable();
        while let Some((offset, character)) = characters.next() {
            let inner = matches!(character, '\'' | '’' | '-')
                && offset > 0
                && characters.peek().is_some_and(|&(_, c)| c.is_alphabetic());
            if !(character.is_alphanumeric() || character == '_' || inner) {
                break;
            }
            // Scripts without spaces: a digit begins a number, not the rest of a name.
            if character.is_ascii_digit() && is_spaceless(self.char_before(start + offset)) {
                break;
            }
            has_digit |= character.is_numeric() || character == '_';
            end = start + offset + character.len_utf8();
            if matches!(character, 'x' | 'X') && offset == 0 && self.is_times(end) {
                self.emit(Kind::Times, 1);
                return;
            }
        }
        let word = &self.text[start..end];
        let kind = if has_digit {
            Kind::Poison
        } else {
            self.classify(word, end)
        };
        match kind {
            Kind::Number { .. } => self.mark_percent(end - start),
            Kind::Approximately if self.last() != Some(Kind::Equals) => {
                self.emit(Kind::Word, end - start);
            }
            _ => self.emit(kind, end - start),
        }
    }

    /// Whether an `x` before `end` stands between two operands.
    fn is_times(&self, end: usize) -> bool {
        let before = self.char_before(end - 1);
        self.after_operand()
            && (before.is_ascii_digit() || matches!(before, ' ' | ')' | '%' | ']'))
            && matches!(
                self.next_visible(end),
                '0'..='9' | '(' | '$' | '€' | '£' | '.'
            )
    }

    fn classify(&mut self, word: &str, end: usize) -> Kind {
        let follower = self.next_visible(end);
        let number_follows = matches!(follower, '0'..='9' | '$' | '€' | '£' | '(');
        let mut characters = word.chars();
        let first = characters.next().unwrap_or_default();
        if characters.next().is_none() {
            let attached = self.char_before(end - word.len()).is_ascii_digit();
            let plain = if is_spaceless(first) {
                !vocabulary::SCALE_CHARACTERS.contains(first)
            } else {
                matches!(first, 'a' | 'A' | 'I') && !attached
            };
            return if plain { Kind::Word } else { Kind::Poison };
        }
        let between = number_follows && self.after_operand();
        let class = CLASSES.get(hash_word(word));
        self.out.odd |= matches!(class, Some(Class::Odd | Class::OddScale))
            || (class == Some(Class::Base) && number_follows);
        match class {
            Some(Class::Of) => Kind::Of,
            Some(Class::Times) if between => Kind::Times,
            Some(Class::Plus) if between => Kind::Plus,
            Some(Class::Minus) if between => Kind::Minus,
            Some(Class::Equals) => Kind::Equals,
            // The caller marks the number before it.
            Some(Class::Percent) => Kind::Number {
                percent: true,
                currency: false,
            },
            Some(Class::About) => Kind::Approximately,
            Some(Class::Scale | Class::OddScale) => Kind::Scale,
            _ if !word.is_ascii()
                && word.contains(|c| vocabulary::SCALE_CHARACTERS.contains(c)) =>
            {
                Kind::Scale
            }
            _ => Kind::Word,
        }
    }
}

/// Whether a number with several dots groups its digits by threes: `1.234.567`.
fn groups_of_three(number: &str) -> bool {
    let number = number.split(',').next().unwrap_or(number);
    let mut groups = number.split('.');
    groups
        .next()
        .is_some_and(|first| (1..=3).contains(&first.len()))
        && groups.all(|group| group.len() == 3)
}
