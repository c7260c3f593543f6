//! Cuts code into words, signs, strings and remarks, whatever is broken about it.
//!
//! One pass, no look back, no table of a language's grammar: what is needed to count is where remarks
//! and strings end, and that is the same handful of rules everywhere.

use super::language::{Language, is_word_byte};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word,
    Number,
    /// A string or a character.
    Text,
    /// A regular expression between slashes.
    Pattern,
    Remark,
    Open,
    Close,
    Sign,
    /// The end of a line outside strings and remarks; more than one byte where the line goes on.
    LineEnd,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Its first byte.
    pub(super) start: usize,
}

/// The tokens of a piece of code.
pub(super) struct Lexer<'a> {
    code: &'a str,
    at: usize,
    language: Language,
    /// Whether a slash now would divide: the last token was a value.
    after_value: bool,
    braces: usize,
    /// The depths of braces at which a template string goes on.
    templates: Vec<usize>,
    /// Quotes (double, single, back) that were once looked for to the end of the code, in vain.
    never_closed: [bool; 3],
    /// A regular expression was looked for up to here, in vain.
    no_pattern_before: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(code: &'a str, language: Language) -> Self {
        Self {
            code,
            at: 0,
            language,
            after_value: false,
            braces: 0,
            templates: Vec::new(),
            never_closed: [false; 3],
            no_pattern_before: 0,
        }
    }

    fn bytes(&self) -> &'a [u8] {
        self.code.as_bytes()
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes().get(at).copied().unwrap_or(0)
    }

    fn rest_starts(&self, with: &str) -> bool {
        self.bytes()[self.at..].starts_with(with.as_bytes())
    }

    /// Ends a token at a byte that is made to be the boundary of a character.
    fn token(&mut self, kind: Kind, end: usize) -> Token<'a> {
        let start = self.at;
        let mut end = end.clamp(start + 1, self.code.len());
        while !self.code.is_char_boundary(end) {
            end += 1;
        }
        self.at = end;
        let text = &self.code[start..end];
        match kind {
            Kind::Remark | Kind::LineEnd => {}
            Kind::Word => self.after_value = !divides_nothing(text),
            Kind::Number | Kind::Text | Kind::Pattern | Kind::Close => self.after_value = true,
            Kind::Open | Kind::Sign => self.after_value = false,
        }
        Token { kind, text, start }
    }

    fn line_end(&self, from: usize) -> usize {
        self.bytes()[from..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(self.code.len(), |length| from + length)
    }

    /// One past the next place where `closing` stands, or the end of the code.
    fn past(&self, closing: &str, from: usize) -> usize {
        let from = from.min(self.code.len());
        let needle = closing.as_bytes();
        self.bytes()[from..]
            .windows(needle.len())
            .position(|window| window == needle)
            .map_or(self.code.len(), |length| from + length + needle.len())
    }

    fn remark(&self) -> Option<usize> {
        let language = self.language;
        let (byte, next) = (self.byte(self.at), self.byte(self.at + 1));
        match byte {
            b'#' if language.has_hash_remarks() => {
                // `$#` and `${#a}` of the shell, `a#b` of YAML and PHP's `#[…]` are none.
                let bare = self.at == 0 || self.byte(self.at - 1).is_ascii_whitespace();
                let is_one = match language {
                    Language::Shell | Language::Yaml => bare,
                    Language::Php => next != b'[',
                    _ => true,
                };
                is_one.then(|| self.line_end(self.at))
            }
            b'#' if language == Language::Other => {
                let first = self.code[..self.at]
                    .bytes()
                    .rev()
                    .take_while(|&byte| byte != b'\n')
                    .take(200)
                    .all(|byte| byte.is_ascii_whitespace());
                (first && matches!(next, b' ' | b'#')).then(|| self.line_end(self.at))
            }
            b'/' if next == b'/' && language.has_line_slashes() => Some(self.line_end(self.at)),
            b'/' if next == b'*' && language.has_slash_remarks() => {
                Some(self.past("*/", self.at + 2))
            }
            b'-' if next == b'-' && language == Language::Sql => Some(self.line_end(self.at)),
            b'<' if language == Language::Html && self.rest_starts("<!--") => {
                Some(self.past("-->", self.at + 4))
            }
            _ => None,
        }
    }

    /// Where a string that opens here ends.
    fn string(&mut self, quote: u8) -> usize {
        let triple = match quote {
            b'"' => "\"\"\"",
            b'\'' => "'''",
            _ => "```",
        };
        let has_triple = match self.language {
            Language::Python => quote != b'`',
            Language::Java | Language::Kotlin | Language::Swift | Language::CSharp => quote == b'"',
            _ => false,
        };
        if has_triple && self.rest_starts(triple) {
            return self.past_triple(triple, self.at + 3);
        }
        let place = match quote {
            b'"' => 0,
            b'\'' => 1,
            _ => 2,
        };
        let long = self.language.string_spans_lines(quote) && !self.never_closed[place];
        let escapes = self.language.escapes(quote);
        let mut at = self.at + 1;
        while at < self.code.len() {
            match self.byte(at) {
                b'\\' if escapes => at += 1,
                b'\n' if !long => return at,
                byte if byte == quote => return at + 1,
                _ => {}
            }
            at += 1;
        }
        if long {
            // A quote that never closes is a slip, or an apostrophe: its line is lost, not the rest.
            self.never_closed[place] = true;
            return self.line_end(self.at + 1);
        }
        self.code.len()
    }

    /// A triple quote that is not escaped.
    fn past_triple(&self, triple: &str, from: usize) -> usize {
        let (bytes, quote) = (self.bytes(), triple.as_bytes()[0]);
        let mut at = from;
        while at < bytes.len() {
            if bytes[at] == b'\\' {
                at += 1;
            } else if bytes[at] == quote && bytes[at..].starts_with(triple.as_bytes()) {
                return at + 3;
            }
            at += 1;
        }
        bytes.len()
    }

    /// From within a template string to its end or to the next `${`, which is remembered.
    fn template(&mut self, from: usize) -> usize {
        let mut at = from;
        while at < self.code.len() {
            match self.byte(at) {
                b'\\' => at += 1,
                b'`' => return at + 1,
                b'$' if self.byte(at + 1) == b'{' => {
                    self.templates.push(self.braces);
                    return at + 2;
                }
                _ => {}
            }
            at += 1;
        }
        self.code.len()
    }

    /// Where a raw string of Rust (`r#"…"#`) ends, if one opens here.
    fn raw_string(&self) -> Option<usize> {
        if self.language != Language::Rust {
            return None;
        }
        let mut at = self.at;
        if self.byte(at) == b'b' {
            at += 1;
        }
        if self.byte(at) != b'r' {
            return None;
        }
        at += 1;
        let hashes = self.bytes()[at..]
            .iter()
            .take_while(|&&byte| byte == b'#')
            .take(16)
            .count();
        (self.byte(at + hashes) == b'"').then(|| {
            let closing = format!("\"{}", "#".repeat(hashes));
            self.past(&closing, at + hashes + 1)
        })
    }

    /// Where a regular expression that opens here ends, if one does on this line.
    fn pattern(&mut self) -> Option<usize> {
        if self.at < self.no_pattern_before {
            return None;
        }
        let mut at = self.at + 1;
        let mut in_class = false;
        // None is longer.
        let last = self.code.len().min(at + 1000);
        while at < last {
            match self.byte(at) {
                b'\n' => break,
                b'\\' => at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => {
                    let flags = self.bytes()[at + 1..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_lowercase())
                        .count();
                    return Some(at + 1 + flags);
                }
                _ => {}
            }
            at += 1;
        }
        // The same bytes are not searched from the next slash too.
        self.no_pattern_before = at;
        None
    }

    fn word_end(&self) -> usize {
        let extra: &[u8] = match self.language {
            Language::JavaScript | Language::TypeScript | Language::Php => b"$",
            Language::Css | Language::Html | Language::Yaml => b"-",
            _ => b"",
        };
        self.bytes()[self.at..]
            .iter()
            .position(|&byte| !is_word_byte(byte) && !extra.contains(&byte))
            .map_or(self.code.len(), |length| self.at + length)
    }

    fn number_end(&self) -> usize {
        let mut at = self.at;
        while at < self.code.len() {
            let byte = self.byte(at);
            let joined = byte == b'.' || (byte == b'\'' && self.language == Language::Cpp);
            if !(is_word_byte(byte) || joined && self.byte(at + 1).is_ascii_alphanumeric()) {
                break;
            }
            at += 1;
        }
        at
    }

    fn quoted(&mut self, quote: u8) -> Token<'a> {
        // Prose and markup have apostrophes; Rust has lifetimes.
        if quote == b'\'' {
            if matches!(self.language, Language::Html | Language::Json) {
                return self.token(Kind::Sign, self.at + 1);
            }
            if self.language == Language::Rust
                && self.byte(self.at + 1) != b'\\'
                && !self.closes_a_character()
            {
                return self.token(Kind::Sign, self.at + 1);
            }
        }
        let is_script = matches!(self.language, Language::JavaScript | Language::TypeScript);
        let end = if quote == b'`' && is_script {
            self.template(self.at + 1)
        } else {
            self.string(quote)
        };
        self.token(Kind::Text, end)
    }

    /// `'x'`, as opposed to the lifetime `'x`.
    fn closes_a_character(&self) -> bool {
        self.code[self.at + 1..]
            .char_indices()
            .nth(1)
            .is_some_and(|(index, character)| character == '\'' && index > 0)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.bytes().get(self.at)?;
            if byte == b'\n' {
                return Some(self.token(Kind::LineEnd, self.at + 1));
            }
            if byte == b'\\' {
                // A line that goes on: its end is told apart by its length.
                match (self.byte(self.at + 1), self.byte(self.at + 2)) {
                    (b'\n', _) => return Some(self.token(Kind::LineEnd, self.at + 2)),
                    (b'\r', b'\n') => return Some(self.token(Kind::LineEnd, self.at + 3)),
                    _ => {}
                }
            }
            if !byte.is_ascii_whitespace() {
                break;
            }
            self.at += 1;
        }
        if let Some(end) = self.remark() {
            return Some(self.token(Kind::Remark, end));
        }
        Some(self.code_token())
    }
}

impl<'a> Lexer<'a> {
    /// The token that begins here, which is neither a line's end nor a remark.
    fn code_token(&mut self) -> Token<'a> {
        let byte = self.byte(self.at);
        if let Some(end) = self.raw_string() {
            return self.token(Kind::Text, end);
        }
        let is_script = matches!(self.language, Language::JavaScript | Language::TypeScript);
        match byte {
            b'"' | b'\'' | b'`' => self.quoted(byte),
            b'0'..=b'9' => {
                let end = self.number_end();
                self.token(Kind::Number, end)
            }
            b'$' if is_script || self.language == Language::Php => {
                let end = self.word_end();
                self.token(Kind::Word, end)
            }
            _ if is_word_byte(byte) => self.word(),
            b'(' | b'[' => self.token(Kind::Open, self.at + 1),
            b')' | b']' => self.token(Kind::Close, self.at + 1),
            b'{' => {
                self.braces += 1;
                self.token(Kind::Open, self.at + 1)
            }
            b'}' => {
                if self.templates.last() == Some(&self.braces) {
                    self.templates.pop();
                    let end = self.template(self.at + 1);
                    return self.token(Kind::Text, end);
                }
                self.braces = self.braces.saturating_sub(1);
                self.token(Kind::Close, self.at + 1)
            }
            b'/' if is_script && !self.after_value => match self.pattern() {
                Some(end) => self.token(Kind::Pattern, end),
                None => self.token(Kind::Sign, self.at + 1),
            },
            _ => {
                let pair = &self.bytes()[self.at..(self.at + 2).min(self.code.len())];
                let long = matches!(
                    pair,
                    b"=>"
                        | b"->"
                        | b"&&"
                        | b"||"
                        | b"??"
                        | b"?."
                        | b"=="
                        | b"!="
                        | b"<="
                        | b">="
                        | b"::"
                        | b":="
                        | b"<-"
                        | b"</"
                        | b"/>"
                        | b"?:"
                        | b"+="
                        | b"-="
                );
                self.token(Kind::Sign, self.at + if long { 2 } else { 1 })
            }
        }
    }

    /// A name, a keyword, or a string with a prefix.
    fn word(&mut self) -> Token<'a> {
        let end = self.word_end();
        // A string's prefix (f"", r'', b"") belongs to it.
        let quote = self.byte(end);
        let prefix = end - self.at <= 2
            && matches!(quote, b'"' | b'\'')
            && matches!(
                self.language,
                Language::Python | Language::Rust | Language::Cpp
            )
            && self.bytes()[self.at..end]
                .iter()
                .all(|b| b"rRbBfFuULtT8".contains(b));
        if prefix {
            let start = self.at;
            self.at = end;
            let stop = self.string(quote);
            self.at = start;
            self.token(Kind::Text, stop)
        } else {
            self.token(Kind::Word, end)
        }
    }
}

/// Keywords after which a slash opens a regular expression.
fn divides_nothing(word: &str) -> bool {
    matches!(
        word,
        "return"
            | "typeof"
            | "case"
            | "in"
            | "of"
            | "delete"
            | "void"
            | "throw"
            | "new"
            | "else"
            | "do"
            | "instanceof"
            | "await"
            | "yield"
    )
}
