//! Finds code in a request: between fences, indented, in back quotes, or simply pasted.

use super::language::Language;
use super::look::{Look, look, reads_as_prose};

/// A piece of code in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// What its fence says.
    pub language: Option<Language>,
}

struct Line<'a> {
    start: usize,
    end: usize,
    text: &'a str,
}

/// The pieces of code in a text, in order; they do not overlap.
///
/// Linear in the text's length.
#[must_use]
pub fn find(text: &str) -> Vec<Segment> {
    let mut found = Vec::new();
    let mut run: Option<Run> = None;
    let mut fence: Option<Fence> = None;
    let mut previous_blank = true;
    let mut at = 0;
    for raw in text.split_inclusive('\n') {
        let line = Line {
            start: at,
            end: at + raw.len(),
            text: raw.trim_end(),
        };
        at = line.end;
        let trimmed = line.text.trim_start();
        if let Some(open) = &fence {
            if open.is_closed_by(trimmed) {
                found.extend(open.segment(line.start));
                fence = None;
            }
            continue;
        }
        if let Some(opening) = Fence::open(trimmed, line.end) {
            found.extend(run.take().and_then(Run::segment));
            fence = Some(opening);
            continue;
        }
        let indented = line.text.len() - trimmed.len();
        let look = match look(trimmed) {
            Look::Prose if run.is_some() && indented > 0 && !reads_as_prose(trimmed) => Look::Maybe,
            // After an empty line, Markdown's code is indented by four.
            Look::Prose
                if (indented >= 4 || line.text.starts_with('\t'))
                    && previous_blank
                    && !reads_as_prose(trimmed) =>
            {
                Look::Maybe
            }
            look => look,
        };
        previous_blank = look == Look::Blank;
        match (&mut run, look) {
            (_, Look::Blank) => {}
            (Some(open), Look::Maybe | Look::Code) => open.take(&line, look),
            (None, Look::Code) if begins_as_prose(trimmed) => within(&line, &mut found),
            (None, Look::Maybe | Look::Code) => run = Some(Run::new(&line, look)),
            (_, Look::Prose) => {
                found.extend(run.take().and_then(Run::segment));
                within(&line, &mut found);
            }
        }
    }
    match fence {
        Some(open) => found.extend(open.segment(text.len())),
        None => found.extend(run.and_then(Run::segment)),
    }
    found
}

/// Lines that look like code, one after another.
struct Run {
    start: usize,
    end: usize,
    certain: usize,
    lines: usize,
}

impl Run {
    fn new(line: &Line<'_>, look: Look) -> Self {
        let mut run = Self {
            start: line.start,
            end: line.end,
            certain: 0,
            lines: 0,
        };
        run.take(line, look);
        run
    }

    fn take(&mut self, line: &Line<'_>, look: Look) {
        self.end = line.end;
        self.lines += 1;
        self.certain += usize::from(look == Look::Code);
    }

    /// Lines that only may be code are code beside lines that are.
    fn segment(self) -> Option<Segment> {
        (self.certain > 0 && self.certain * 6 >= self.lines).then_some(Segment {
            start: self.start,
            end: self.end,
            language: None,
        })
    }
}

struct Fence {
    mark: u8,
    length: usize,
    start: usize,
    language: Option<Language>,
    is_code: bool,
}

impl Fence {
    fn open(line: &str, content: usize) -> Option<Self> {
        let mark = line
            .bytes()
            .next()
            .filter(|byte| matches!(byte, b'`' | b'~'))?;
        let length = line.bytes().take_while(|&byte| byte == mark).count();
        let info = line[length..].trim();
        if length < 3 || info.contains('`') {
            return None;
        }
        let tag = info
            .split(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | ':'))
            .map(|word| word.trim_start_matches('.'))
            .find(|word| !word.is_empty())
            .unwrap_or("");
        let language = Language::from_tag(tag).filter(|language| *language != Language::Other);
        let says_text = matches!(
            tag.to_ascii_lowercase().as_str(),
            "text"
                | "txt"
                | "plaintext"
                | "plain"
                | "output"
                | "markdown"
                | "md"
                | "csv"
                | "tsv"
                | "log"
                | "quote"
                | "latex"
                | "tex"
                | "math"
        );
        Some(Self {
            mark,
            length,
            start: content,
            language,
            is_code: !says_text,
        })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let length = line.bytes().take_while(|&byte| byte == self.mark).count();
        length >= self.length && line[length..].trim().is_empty()
    }

    fn segment(&self, end: usize) -> Option<Segment> {
        (self.is_code && end > self.start).then_some(Segment {
            start: self.start,
            end,
            language: self.language,
        })
    }
}

/// Code within a line of prose: in back quotes, a query, or a statement with its braces.
fn within(line: &Line<'_>, found: &mut Vec<Segment>) {
    let segment = |from: usize, to: usize| Segment {
        start: line.start + from,
        end: line.start + to,
        language: None,
    };
    let text = line.text;
    if let Some(from) = text
        .find("SELECT ")
        .filter(|&from| text[from..].contains(" FROM "))
    {
        let to = text[from..]
            .find(';')
            .map_or(text.len(), |length| from + length + 1);
        found.push(segment(from, to));
        return;
    }
    // A statement with a brace and a semicolon, from the last full stop or colon before its sign.
    if let (Some(open), Some(close)) = (text.find('{'), text.rfind(['}', ';']))
        && close > open
        && text[open..=close].contains(';')
        && text[open..=close].contains(['(', '='])
    {
        let from = text[..open]
            .rfind(['。', '：', '?', '？'])
            .map(|at| at + text[at..].chars().next().map_or(1, char::len_utf8))
            .max(text[..open].rfind(". ").map(|at| at + 2))
            .max(text[..open].rfind(": ").map(|at| at + 2))
            .unwrap_or(0);
        found.push(segment(from, close + 1));
        return;
    }
    let mut at = 0;
    while let Some(open) = text[at..].find('`').map(|length| at + length) {
        let Some(close) = text[open + 1..].find('`').map(|length| open + 1 + length) else {
            return;
        };
        let inner = &text[open + 1..close];
        // A bare name in back quotes is a word of prose.
        if inner.len() > 2 && inner.contains(['(', '=', '{', ';', '[', '<']) {
            found.push(segment(open + 1, close));
        }
        at = close + 1;
    }
}

/// Whether a sentence ends before the line's first brace.
fn begins_as_prose(line: &str) -> bool {
    let head = line.find('{').map_or("", |brace| &line[..brace]);
    head.contains(['。', '：', '？'])
        || head.rfind([':', '.', '?']).is_some_and(|end| {
            line.as_bytes().get(end + 1) == Some(&b' ') && reads_as_prose(&line[..end])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        find(text)
            .iter()
            .map(|s| text[s.start..s.end].trim())
            .collect()
    }

    #[test]
    fn a_fence_holds_code_and_says_its_language() {
        let text =
            "Why?\n```py title=x\nx = 1\n~~~\n```\nAnd this\n~~~\nls\n~~~\n```text\nno\n```\n";
        let found = find(text);
        assert_eq!(pieces(text), ["x = 1\n~~~", "ls"]);
        assert_eq!(found[0].language, Some(Language::Python));
        assert_eq!(found[1].language, None);
    }

    #[test]
    fn a_fence_that_never_closes_goes_on_to_the_end() {
        assert_eq!(
            pieces("Fix:\n```go\nfunc a() {}\n\nmore"),
            ["func a() {}\n\nmore"]
        );
    }

    #[test]
    fn pasted_code_is_found_without_a_fence() {
        let text = "Why does this fail?\n\ndef f(x):\n    if x:\n        y = 2\n\n    return x\n\nIt worked before the update.";
        assert_eq!(
            pieces(text),
            ["def f(x):\n    if x:\n        y = 2\n\n    return x"]
        );
        let text = "slow:\nSELECT a\nFROM b\nWHERE c = 1\nplease help me with it";
        assert_eq!(pieces(text), ["SELECT a\nFROM b\nWHERE c = 1"]);
    }

    #[test]
    fn indented_code_is_found_beside_prose() {
        let text =
            "Look at this:\n\n    total = 0\n    for a in b:\n        total += a\n\nWhat is it?";
        assert_eq!(
            pieces(text),
            ["total = 0\n    for a in b:\n        total += a"]
        );
    }

    #[test]
    fn code_within_a_line_is_found() {
        assert_eq!(
            pieces("このコードをレビューして。public int f() { if (a) { return 1; } return 0; }"),
            ["public int f() { if (a) { return 1; } return 0; }"]
        );
        assert_eq!(
            pieces("it's slow: SELECT * FROM logs WHERE a = 1; which index?"),
            ["SELECT * FROM logs WHERE a = 1;"]
        );
        assert_eq!(
            pieces("Implement `f(xs: list) -> int`, not `g`."),
            ["f(xs: list) -> int"]
        );
    }

    #[test]
    fn prose_is_not_code() {
        for text in [
            "from the start of the class (of 1990) we use let as a verb",
            "Solve this:\nx = 5\ny = 2x + 3\nWhat is y?",
            "First point;\nsecond point (the longer one), which matters;\nand the third.",
            "Prove that \\frac{a}{b} = \\sqrt{c}",
            "If you had one wish, what would it be:",
            "    A poem\n    is indented\n    by four spaces",
            "For example: take two eggs (large) and 100 g of flour.",
            "class action lawsuits, from the beginning",
        ] {
            assert_eq!(pieces(text), Vec::<&str>::new(), "{text}");
        }
    }
}
