//! The two patterns that cut text into pieces before their bytes are merged, written by hand.
//!
//! Each function does in one pass what the regular expression quoted above it does with
//! backtracking. A piece is never empty, and the pieces cover the text, so that a text is cut by
//! asking for one end after the other.

use super::characters::{LETTER, LOWER, NEWLINE, NUMBER, SPACE, SYMBOL, UPPER, class_at, run};

/// Gives the end of the piece of `text`, which is UTF-8, that starts at `start`, a character's
/// boundary before the text's end.
///
/// `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`
#[inline]
pub(super) fn cl100k(text: &[u8], start: usize) -> usize {
    let (first, length) = class_at(text, start);
    if first & LETTER != 0 {
        return run(text, start + length, LETTER);
    }
    let contracted = contraction(text, start);
    if contracted > start {
        return contracted;
    }
    if first & (NUMBER | NEWLINE) == 0 {
        let (second, second_length) = class_at(text, start + length);
        if second & LETTER != 0 {
            return run(text, start + length + second_length, LETTER);
        }
    }
    if first & NUMBER != 0 {
        return number(text, start + length);
    }
    let symbols = symbols(text, start, first);
    if symbols > start {
        return run(text, symbols, NEWLINE);
    }
    let space = Whitespace::at(text, start);
    if space.end == text.len() {
        space.end
    } else {
        space.after_last_newline.unwrap_or(space.before_last)
    }
}

/// As [`cl100k`], for this pattern:
///
/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
#[inline]
pub(super) fn o200k(text: &[u8], start: usize) -> usize {
    let (first, length) = class_at(text, start);
    if first & (LETTER | NUMBER | NEWLINE) == 0 {
        // It may lead a word. A mark may also be a word: the first alternative without a lead comes
        // before the second with one.
        let word = Word::at(text, start + length);
        if let Some(end) = word.ending_low {
            return contraction(text, end);
        }
        if first & LOWER != 0 {
            return contraction(text, start + length);
        }
        if let Some(end) = word.all_upper {
            return contraction(text, end);
        }
    } else if first & LETTER != 0 {
        let word = Word::at(text, start);
        let end = word.ending_low.or(word.all_upper);
        return contraction(text, end.unwrap_or(start + length));
    } else if first & NUMBER != 0 {
        return number(text, start + length);
    }
    let symbols = symbols(text, start, first);
    if symbols > start {
        let mut end = symbols;
        while matches!(text.get(end), Some(b'\r' | b'\n' | b'/')) {
            end += 1;
        }
        return end;
    }
    let space = Whitespace::at(text, start);
    if let Some(end) = space.after_last_newline {
        end
    } else if space.end == text.len() {
        space.end
    } else {
        space.before_last
    }
}

/// A run of letters and marks as o200k's first two alternatives see it.
struct Word {
    /// Where `UPPER* LOWER+` ends.
    ending_low: Option<usize>,
    /// Where `UPPER+ LOWER*` ends; looked at only when `ending_low` is `None`.
    all_upper: Option<usize>,
}

impl Word {
    #[inline]
    fn at(text: &[u8], start: usize) -> Self {
        let mut at = start;
        // The regex gives characters of `UPPER*` back until one is `LOWER` too; that one is the
        // last such, and what follows it is not `LOWER`, so that `LOWER+` ends with it.
        let mut after_last_both = None;
        loop {
            let (class, length) = class_at(text, at);
            if class & UPPER == 0 {
                if class & LOWER == 0 {
                    break;
                }
                let end = run(text, at + length, LOWER);
                return Self {
                    ending_low: Some(end),
                    all_upper: None,
                };
            }
            at += length;
            if class & LOWER != 0 {
                after_last_both = Some(at);
            }
        }
        Self {
            ending_low: after_last_both,
            all_upper: (at > start).then_some(at),
        }
    }
}

/// A run of whitespace.
struct Whitespace {
    end: usize,
    /// Where `\s*[\r\n]+` ends.
    after_last_newline: Option<usize>,
    /// Where the run ends without its last character, or with it when it is the only one: what
    /// `\s+(?!\S)|\s+` takes before a character that is not whitespace.
    before_last: usize,
}

impl Whitespace {
    #[inline]
    fn at(text: &[u8], start: usize) -> Self {
        let mut end = start;
        let mut last = start;
        let mut after_last_newline = None;
        loop {
            let (class, length) = class_at(text, end);
            if class & SPACE == 0 {
                break;
            }
            last = end;
            end += length;
            if class & NEWLINE != 0 {
                after_last_newline = Some(end);
            }
        }
        Self {
            end,
            after_last_newline,
            before_last: if last > start { last } else { end },
        }
    }
}

/// The end of `\p{N}{1,3}` whose first number ends at `at`.
#[inline]
fn number(text: &[u8], mut at: usize) -> usize {
    for _ in 0..2 {
        let (class, length) = class_at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        at += length;
    }
    at
}

/// The end of ` ?[^\s\p{L}\p{N}]+`, or `start` where it does not match.
#[inline]
fn symbols(text: &[u8], start: usize, first: u8) -> usize {
    if first & SYMBOL != 0 {
        return run(text, start, SYMBOL);
    }
    if text.get(start) == Some(&b' ') {
        let end = run(text, start + 1, SYMBOL);
        if end > start + 1 {
            return end;
        }
    }
    start
}

/// The end of `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at `at`, or `at` where it does not match.
///
/// Case-insensitive `s` matches the long s, U+017F, too; no other letter here has such a twin.
#[inline]
fn contraction(text: &[u8], at: usize) -> usize {
    if text.get(at) != Some(&b'\'') {
        return at;
    }
    let second = text.get(at + 2).map(u8::to_ascii_lowercase);
    match text.get(at + 1).map(u8::to_ascii_lowercase) {
        Some(b's' | b't' | b'm' | b'd') => at + 2,
        Some(b'r' | b'v') if second == Some(b'e') => at + 3,
        Some(b'l') if second == Some(b'l') => at + 3,
        Some(0xC5) if second == Some(0xBF) => at + 3,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(next: fn(&[u8], usize) -> usize, text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = next(text.as_bytes(), start);
            found.push(&text[start..end]);
            start = end;
        }
        found
    }

    #[test]
    fn words_take_one_character_before_them_and_their_contraction() {
        assert_eq!(
            pieces(o200k, "He's HERE, it'LL do\n"),
            ["He's", " HERE", ",", " it'LL", " do", "\n"]
        );
        assert_eq!(
            pieces(cl100k, "He's HERE, it'LL do\n"),
            ["He", "'s", " HERE", ",", " it", "'LL", " do", "\n"]
        );
    }

    #[test]
    fn capitals_start_a_word_of_o200k() {
        assert_eq!(pieces(o200k, "camelCaseHTTP"), ["camel", "Case", "HTTP"]);
        assert_eq!(pieces(cl100k, "camelCaseHTTP"), ["camelCaseHTTP"]);
        assert_eq!(pieces(o200k, "ªBC"), ["ª", "BC"]);
    }

    #[test]
    fn a_mark_leads_a_word_only_if_the_word_ends_low() {
        assert_eq!(pieces(o200k, "\u{301}ab"), ["\u{301}ab"]);
        assert_eq!(pieces(o200k, "\u{301}AB"), ["\u{301}", "AB"]);
        assert_eq!(pieces(o200k, "\u{301}'s!"), ["\u{301}'s", "!"]);
    }

    #[test]
    fn whitespace_leaves_its_last_character_to_the_word_behind_it() {
        assert_eq!(
            pieces(o200k, "a   b \n\n  "),
            ["a", "  ", " b", " \n\n", "  "]
        );
        assert_eq!(pieces(cl100k, "a   b \n\n  "), ["a", "  ", " b", " \n\n  "]);
        assert_eq!(pieces(cl100k, "a\t1"), ["a", "\t", "1"]);
    }

    #[test]
    fn symbols_take_the_line_breaks_behind_them() {
        assert_eq!(pieces(o200k, "x ();\r\n/\n y"), ["x", " ();\r\n/\n", " y"]);
        assert_eq!(pieces(cl100k, "x ();\r\n\n y"), ["x", " ();\r\n\n", " y"]);
    }

    #[test]
    fn numbers_are_cut_by_three() {
        assert_eq!(pieces(o200k, "12345 6"), ["123", "45", " ", "6"]);
        assert_eq!(pieces(cl100k, "²34Ⅷ"), ["²34", "Ⅷ"]);
    }

    #[test]
    fn the_long_s_contracts() {
        assert_eq!(pieces(o200k, "it'ſ"), ["it'ſ"]);
        assert_eq!(pieces(cl100k, "it'ſ"), ["it", "'ſ"]);
    }
}
