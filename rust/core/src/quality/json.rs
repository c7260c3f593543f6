//! Reading JSON in one pass with bounded depth: strictly, to say whether a client could parse it, or
//! leniently, to get at what a model meant to write.
//!
//! Strict is RFC 8259. Lenient also takes raw control characters and unknown escapes in strings,
//! commas before a closing bracket, and an end of text wherever it comes.

use std::borrow::Cow;
use std::fmt;

/// Nested deeper than this is an error in both ways of reading.
pub const MAX_DEPTH: usize = 128;

/// A value and where it stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// The value itself.
    pub value: Value<'a>,
}

/// A JSON value; numbers are kept as they were written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as written.
    Number(&'a str),
    /// A string, decoded.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Node<'a>>),
    /// An object, its members in order; a name may come twice.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Value<'_> {
    /// The value's JSON type, in JSON schema's words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

impl<'a> Node<'a> {
    /// The last member of that name, when this is an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        match &self.value {
            Value::Object(members) => members
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }
}

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The byte at which reading failed.
    pub offset: usize,
    /// What was wrong there.
    pub problem: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.problem, self.offset)
    }
}

/// Reads a whole text as one JSON value, strictly.
///
/// # Errors
///
/// The first place where the text is not JSON, or is nested deeper than [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Node<'_>, JsonError> {
    let mut reader = Reader::new(text, false);
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    if reader.at == text.len() {
        Ok(node)
    } else {
        Err(reader.error("text after the value"))
    }
}

/// Reads the JSON value that a text begins with, leniently, and says how far it reached.
///
/// # Errors
///
/// What even lenient reading cannot make a value of.
pub fn parse_prefix(text: &str) -> Result<Node<'_>, JsonError> {
    let mut reader = Reader::new(text, true);
    reader.space();
    reader.value(0)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    lenient: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, lenient: bool) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            lenient,
        }
    }

    fn error(&self, problem: &'static str) -> JsonError {
        JsonError {
            offset: self.at,
            problem,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deep"));
        }
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.error("a value was expected")),
            None => return Err(self.error("the text ends where a value was expected")),
        };
        Ok(Node {
            start,
            end: self.at,
            value,
        })
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.error("a value was expected"))
        }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        if !self.digits() {
            return Err(self.error("a digit was expected"));
        }
        if self.bytes[whole] == b'0' && self.at - whole > 1 {
            self.at = whole;
            return Err(self.error("a number has a leading zero"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.digits() {
                return Err(self.error("a digit was expected"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.digits() {
                return Err(self.error("a digit was expected"));
            }
        }
        Ok(Value::Number(&self.text[start..self.at]))
    }

    /// Reads a string from its opening quote to behind its closing one.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let mut run = self.at;
        let mut decoded: Option<String> = None;
        loop {
            match self.peek() {
                None if self.lenient => return Ok(self.finish(decoded, run)),
                None => return Err(self.error("a string is not closed")),
                Some(b'"') => {
                    let text = self.finish(decoded, run);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let out = decoded.get_or_insert_default();
                    out.push_str(&self.text[run..self.at]);
                    self.at += 1;
                    self.escape(out)?;
                    run = self.at;
                }
                Some(0..0x20) if !self.lenient => {
                    return Err(self.error("a raw control character in a string"));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn finish(&self, decoded: Option<String>, run: usize) -> Cow<'a, str> {
        let rest = &self.text[run..self.at];
        match decoded {
            None => Cow::Borrowed(rest),
            Some(mut out) => {
                out.push_str(rest);
                Cow::Owned(out)
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), JsonError> {
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(out),
            _ if self.lenient => {
                out.push('\\');
                return Ok(());
            }
            _ => return Err(self.error("an unknown escape")),
        };
        self.at += 1;
        out.push(character);
        Ok(())
    }

    fn unicode(&mut self, out: &mut String) -> Result<(), JsonError> {
        let Some(first) = self.hex(self.at + 1) else {
            if self.lenient {
                out.push('\\');
                return Ok(());
            }
            return Err(self.error("four hexadecimal digits were expected"));
        };
        self.at += 5;
        let mut code = first;
        if (0xD800..0xDC00).contains(&first)
            && self.bytes[self.at..].starts_with(b"\\u")
            && let Some(second) = self.hex(self.at + 2)
            && (0xDC00..0xE000).contains(&second)
        {
            self.at += 6;
            code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        }
        // A lone surrogate is allowed by the grammar and is no character.
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn hex(&self, from: usize) -> Option<u32> {
        let digits = self.bytes.get(from..from + 4)?;
        digits.iter().try_fold(0, |code, &digit| {
            Some(code * 16 + char::from(digit).to_digit(16)?)
        })
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(b']') if items.is_empty() || self.lenient => break self.at += 1,
                None if self.lenient => break,
                _ => items.push(self.value(depth + 1)?),
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                None if self.lenient => break,
                None => return Err(self.error("an array is not closed")),
                Some(_) => return Err(self.error("a comma or a closing bracket was expected")),
            }
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(b'}') if members.is_empty() || self.lenient => break self.at += 1,
                None if self.lenient => break,
                Some(b'"') => {}
                None => return Err(self.error("an object is not closed")),
                Some(_) => return Err(self.error("a member's name in quotes was expected")),
            }
            let name = self.string()?;
            self.space();
            match self.peek() {
                Some(b':') => self.at += 1,
                None if self.lenient => break,
                _ => return Err(self.error("a colon was expected")),
            }
            self.space();
            if self.lenient && self.peek().is_none() {
                break;
            }
            let node = self.value(depth + 1)?;
            members.push((name, node));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                None if self.lenient => break,
                None => return Err(self.error("an object is not closed")),
                Some(_) => return Err(self.error("a comma or a closing brace was expected")),
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_json_allows_and_nothing_else() {
        for good in [
            "{}",
            " [] ",
            "[1, -2.5e+3, true, false, null, \"a\\n\\u00e4\\ud83d\\ude00\"]",
            "{\"a\": {\"b\": [{}]}}",
            "0",
            "\"\"",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{'a': 1}",
            "{a: 1}",
            "01",
            "1.",
            "-",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "nul",
            "[1] x",
            "\"open",
            "[1 2]",
            "NaN",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_leniently_what_models_write() {
        let text = "{\"reasoning\": \"line\none \\$5\", \"answer\": 7,} and more";
        let node = parse_prefix(text).unwrap();
        assert_eq!(
            node.get("reasoning").unwrap().value,
            Value::String("line\none \\$5".into())
        );
        assert_eq!(node.get("answer").unwrap().value, Value::Number("7"));
        assert_eq!(&text[node.end..], " and more");
        let cut = parse_prefix("{\"a\": \"half a sent").unwrap();
        assert_eq!(
            cut.get("a").unwrap().value,
            Value::String("half a sent".into())
        );
        assert!(parse_prefix("{\"a\": ").is_ok());
    }

    #[test]
    fn refuses_deep_nesting_without_overflowing_the_stack() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(parse(&deep).unwrap_err().problem, "nested too deep");
        assert_eq!(parse_prefix(&deep).unwrap_err().problem, "nested too deep");
        let deep = "{\"a\":".repeat(200_000);
        assert_eq!(parse(&deep).unwrap_err().problem, "nested too deep");
    }
}
