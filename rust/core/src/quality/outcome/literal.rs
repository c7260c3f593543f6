//! Reading a literal of Python, JavaScript or JSON, and writing it in one form.
//!
//! Two literals are written alike when the languages call them equal: `1.0` and `1`, either quotes,
//! `None` and `null`, the members of a dictionary or set in any order.

use crate::quality::arithmetic::Rational;

/// A literal that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// It in its one form.
    pub(super) canonical: String,
    /// What it is.
    pub(super) shape: Shape,
}

/// What a literal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string in quotes, and what stands between them.
    Quoted(String),
    /// A list, tuple, set or dictionary.
    Container,
    /// Nothing: `None`, `null`, `undefined`.
    Nothing,
    /// `True` or `false` and the like.
    Truth(bool),
    /// A number.
    Number,
}

/// Literals are nested no deeper than this.
const MAX_DEPTH: usize = 64;
/// No longer text is read as a literal.
pub(super) const MAX_LENGTH: usize = 20_000;

/// Reads the literal a text begins with, and where it ends.
pub(super) fn read_prefix(text: &str) -> Option<(Literal, usize)> {
    let mut end = text.len().min(MAX_LENGTH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut reader = Reader {
        text: &text[..end],
        at: 0,
    };
    let literal = reader.value(0)?;
    Some((literal, reader.at))
}

/// Reads a text that is one literal and nothing else.
pub(super) fn read(text: &str) -> Option<Literal> {
    let trimmed = text.trim();
    let (literal, end) = read_prefix(trimmed)?;
    (end == trimmed.len()).then_some(literal)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn takes(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len_utf8();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Option<Literal> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.rest().chars().next()? {
            '[' => self.sequence(depth, '[', ']'),
            '(' => self.sequence(depth, '(', ')'),
            '{' => self.braces(depth),
            '\'' | '"' => self.quoted(""),
            'u' if self.rest()[1..].starts_with(['\'', '"']) => {
                self.at += 1;
                self.quoted("")
            }
            'b' if self.rest()[1..].starts_with(['\'', '"']) => {
                self.at += 1;
                self.quoted("b")
            }
            '0'..='9' | '-' | '+' | '.' => self.number(),
            _ => self.word(),
        }
    }

    /// The values up to the closing mark, and whether a comma stands behind the last one.
    fn values(&mut self, depth: usize, close: char) -> Option<(Vec<String>, bool)> {
        let (mut found, mut comma) = (Vec::new(), false);
        loop {
            self.skip_space();
            if self.takes(close) {
                return Some((found, comma));
            }
            if !found.is_empty() && !comma {
                return None;
            }
            found.push(self.value(depth + 1)?.canonical);
            self.skip_space();
            comma = self.takes(',');
        }
    }

    fn sequence(&mut self, depth: usize, open: char, close: char) -> Option<Literal> {
        self.at += 1;
        let (values, comma) = self.values(depth, close)?;
        // One value in parentheses is itself, but for the comma behind it.
        if open == '(' && values.len() == 1 && !comma {
            return None;
        }
        let canonical = format!("{open}{}{close}", values.join(", "));
        Some(Literal {
            canonical,
            shape: Shape::Container,
        })
    }

    fn braces(&mut self, depth: usize) -> Option<Literal> {
        self.at += 1;
        let mut members = Vec::new();
        let mut comma = true;
        loop {
            self.skip_space();
            if self.takes('}') {
                break;
            }
            if !comma {
                return None;
            }
            let key = self.value(depth + 1)?.canonical;
            self.skip_space();
            if self.takes(':') {
                self.skip_space();
                let value = self.value(depth + 1)?.canonical;
                members.push(format!("{key}: {value}"));
            } else {
                members.push(key);
            }
            self.skip_space();
            comma = self.takes(',');
        }
        members.sort_unstable();
        Some(Literal {
            canonical: format!("{{{}}}", members.join(", ")),
            shape: Shape::Container,
        })
    }

    fn quoted(&mut self, prefix: &str) -> Option<Literal> {
        let mark = self.rest().chars().next()?;
        self.at += 1;
        let mut content = String::new();
        loop {
            let character = self.rest().chars().next()?;
            self.at += character.len_utf8();
            match character {
                '\\' => self.escape(&mut content)?,
                _ if character == mark => break,
                _ => content.push(character),
            }
        }
        let mut canonical = format!("{prefix}'");
        for character in content.chars() {
            match character {
                '\'' => canonical.push('\''),
                '\\' | '\n' | '\r' | '\t' => canonical.extend(character.escape_default()),
                _ => canonical.push(character),
            }
        }
        canonical.push('\'');
        Some(Literal {
            canonical,
            shape: Shape::Quoted(content),
        })
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        let digits = match character {
            'x' => 2,
            'u' => 4,
            'n' | 't' | 'r' | '\\' | '\'' | '"' | '/' => {
                out.push(match character {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                return Some(());
            }
            // Any other pair stands for itself, as in Python.
            other => {
                out.push('\\');
                out.push(other);
                return Some(());
            }
        };
        let code = self.rest().get(..digits)?;
        let code = u32::from_str_radix(code, 16).ok()?;
        self.at += digits;
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(())
    }

    fn number(&mut self) -> Option<Literal> {
        let rest = self.rest();
        let mut end = usize::from(rest.starts_with(['-', '+']));
        let mut digits = 0;
        let (mut point, mut exponent) = (false, false);
        for byte in rest[end..].bytes() {
            match byte {
                b'0'..=b'9' => digits += 1,
                b'_' if digits > 0 => {}
                b'.' if !point && !exponent => point = true,
                b'e' | b'E' if digits > 0 && !exponent => exponent = true,
                b'-' | b'+' if rest[..end].ends_with(['e', 'E']) => {}
                _ => break,
            }
            end += 1;
        }
        let text = &rest[..end];
        // “5.” ends a sentence; so does the point of `[1, 2].`, which is not reached here.
        let text = text.strip_suffix('.').unwrap_or(text);
        let next = rest[text.len()..].chars().next();
        if digits == 0 || next.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let canonical = decimal(text).unwrap_or_else(|| text.replace('_', ""));
        self.at += text.len();
        Some(Literal {
            canonical,
            shape: Shape::Number,
        })
    }

    fn word(&mut self) -> Option<Literal> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (canonical, shape) = match &rest[..end] {
            "True" | "true" => ("True", Shape::Truth(true)),
            "False" | "false" => ("False", Shape::Truth(false)),
            "None" | "null" | "undefined" | "nil" => ("None", Shape::Nothing),
            "set" if rest[end..].starts_with("()") => {
                self.at += end + 2;
                return Some(Literal {
                    canonical: "set()".to_owned(),
                    shape: Shape::Container,
                });
            }
            _ => return None,
        };
        self.at += end;
        Some(Literal {
            canonical: canonical.to_owned(),
            shape,
        })
    }
}

/// A decimal number's value in lowest terms, or `None` when it does not fit.
fn decimal(text: &str) -> Option<String> {
    let plain = text.replace('_', "").to_ascii_lowercase();
    let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let power = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scale = 10_i128.checked_pow(power.unsigned_abs())?;
    let value = if power >= 0 {
        Rational::integer(digits.checked_mul(scale)?)
    } else {
        Rational::new(digits, scale)?
    };
    Some(value.to_exact())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        read(text).map(|literal| literal.canonical)
    }

    #[test]
    fn writes_equal_literals_alike() {
        for (one, other) in [
            ("[1, 2,3 ]", "[1,2, 3,]"),
            ("['a', \"b\"]", "[\"a\",'b']"),
            ("{'b': 1, 'a': None}", "{\"a\": null, \"b\": 1.0}"),
            ("{3, 1}", "{1, 3}"),
            ("(1, True)", "(1, true)"),
            ("1e3", "1000"),
            ("'it\\'s'", "\"it's\""),
            ("'\\u0041\\x42'", "'AB'"),
            ("-0.50", "-.5"),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one} {other}");
            assert!(canonical(one).is_some(), "{one}");
        }
    }

    #[test]
    fn keeps_different_literals_apart() {
        for (one, other) in [
            ("[1, 2]", "(1, 2)"),
            ("[1, 2]", "[2, 1]"),
            ("'a'", "'A'"),
            ("['a b']", "['a  b']"),
            ("{}", "[]"),
            ("b'a'", "'a'"),
            ("(1,)", "[1]"),
            ("[True]", "['True']"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    #[test]
    fn reads_no_literal_where_there_is_none() {
        for text in [
            "[1, 2", "[1 2]", "f(x)", "(1)", "a", "'a", "[1, ...]", "{1: }", "5a", "",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
        assert_eq!(canonical(&"[".repeat(100_000)), None);
    }

    #[test]
    fn stops_at_the_literals_end() {
        let (literal, end) = read_prefix("[1, 'a.b']. So it is.").unwrap();
        assert_eq!((literal.canonical.as_str(), end), ("[1, 'a.b']", 10));
        assert_eq!(read_prefix("5. Then").unwrap().1, 1);
    }

    proptest::proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same(values in proptest::collection::vec("[a-z'\"\\\\ \n]{0,6}", 0..6)) {
            let text = format!("{values:?}");
            if let Some(written) = canonical(&text) {
                let inner: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
                let tuple = format!("({},)", inner.join(","));
                let as_list = canonical(&tuple).map(|t| t.replacen('(', "[", 1));
                if !values.is_empty() {
                    proptest::prop_assert_eq!(as_list.map(|t| t[..t.len() - 1].to_owned()), Some(written[..written.len() - 1].to_owned()));
                }
            }
        }

        #[test]
        fn any_text_is_read_or_not(text in "[\\[\\](){},:'\"\\\\0-9a-zA-Z .+-]{0,60}") {
            if let Some((_, end)) = read_prefix(&text) {
                proptest::prop_assert!(end <= text.len());
            }
        }
    }
}
