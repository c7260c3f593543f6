//! The regular expressions of JSON schemas: ECMA-262's, read by an engine of Rust's.

use fancy_regex::{Regex, RegexBuilder};

/// Steps back after which looking around in a text is given up.
const BACKTRACKS: usize = 100_000;

/// The most memory that one expression may take, in bytes.
const SIZE: usize = 1 << 20;

/// An expression that is searched for, not anchored.
#[derive(Debug)]
pub(super) struct Pattern {
    source: String,
    regex: Option<Regex>,
}

impl Pattern {
    pub(super) fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            regex: RegexBuilder::new(&translated(source))
                .backtrack_limit(BACKTRACKS)
                .delegate_size_limit(SIZE)
                .delegate_dfa_size_limit(SIZE)
                .build()
                .ok(),
        }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is found in a text; `None` when that cannot be said: the expression could not be
    /// read, or looking for it took too long.
    pub(super) fn found_in(&self, text: &str) -> Option<bool> {
        self.regex.as_ref()?.is_match(text).ok()
    }
}

/// Inside brackets an opening bracket, `&&`, `--` and `~~` are plain signs in ECMA-262 and are not in
/// Rust; `[]` is nothing there and `[^]` anything.
fn translated(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut rest = source.chars().peekable();
    let mut inside = false;
    let mut previous = ' ';
    while let Some(sign) = rest.next() {
        match sign {
            '\\' => {
                out.push('\\');
                out.extend(rest.next());
                previous = ' ';
                continue;
            }
            '[' if inside => out.push_str("\\["),
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                if rest.next_if_eq(&']').is_some() {
                    out.push_str(if negated { "[\\s\\S]" } else { "[^\\s\\S]" });
                } else {
                    inside = true;
                    out.push_str(if negated { "[^" } else { "[" });
                }
            }
            ']' if inside => {
                inside = false;
                out.push(']');
            }
            '&' | '-' | '~' if inside && sign == previous => {
                out.push('\\');
                out.push(sign);
            }
            _ => out.push(sign),
        }
        previous = sign;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_as_ecma_does() {
        for (pattern, text, expected) in [
            ("b", "abc", Some(true)),
            ("^b", "abc", Some(false)),
            (r"^[a-z]{2,3}\-\d+$", "ab-12", Some(true)),
            (r"^\/path\/[\w.]+$", "/path/a.b", Some(true)),
            ("^[[a]+$", "[a", Some(true)),
            ("^[a&&b]+$", "a&b", Some(true)),
            ("^[+--]+$", "+,-", Some(true)),
            ("[]", "a", Some(false)),
            ("^[^]$", "\n", Some(true)),
            (r"^(?!x)\w+$", "xy", Some(false)),
            (r"^(?!x)\w+$", "yx", Some(true)),
            (r"^(.)\1$", "aa", Some(true)),
            (r"\u00e9", "é", Some(true)),
            ("(", "(", None),
        ] {
            assert_eq!(Pattern::new(pattern).found_in(text), expected, "{pattern}");
        }
    }

    #[test]
    fn gives_up_on_a_search_without_end() {
        let pattern = Pattern::new(r"^(a|a)*\1$");
        assert_eq!(pattern.found_in(&"a".repeat(200)), Some(true));
        let pattern = Pattern::new(r"^(?=(a+)+$)(\1)+b");
        let found = pattern.found_in(&"a".repeat(5_000));
        assert!(found != Some(true));
    }
}
