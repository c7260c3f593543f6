//! Code that does not parse.
//!
//! Only blocks that name their language are judged, and an answer that is nothing but code of the
//! language that was asked for. A block that does not parse is tried again as the piece it may be (the
//! body of a method, members of a class, an expression), and excused when it was not meant to be run:
//! placeholders, prompts, diffs, output.

mod excuse;
mod grammar;
mod indent;
mod language;
mod sql;

pub use language::Language;

use super::answer::{Answer, Wrapping};
use super::check::Check;
use super::json;
use super::words::{WordSet, snippet, words};
use grammar::Parsed;
use std::sync::LazyLock;

const NAME: &str = "code";

/// A longer block is not parsed: what opens a thousand strings takes time by the square.
const MAX_BLOCK: usize = 4 * 1024;
/// Nor is what stands behind so many bytes of blocks.
const MAX_ALL: usize = 8 * 1024;
/// A longer block that does not parse as it stands is not tried as a piece, nor called broken.
const MAX_PIECE: usize = 4 * 1024;

/// Checks the code of an answer; `asked` says whether code was asked for.
#[must_use]
pub fn check(answer: &Answer<'_>, question: &str, asked: bool) -> Check {
    let mut judged = false;
    let mut left = MAX_ALL;
    for fence in answer.fences.iter().filter(|fence| fence.closed) {
        let Some(language) = Language::of_fence(fence.info) else {
            continue;
        };
        // JSON around the answer itself is read leniently; whether it was asked for, `format` says.
        let wrapping = language == Language::Json && answer.wrapping != Wrapping::None;
        if wrapping || fence.body.len() > left.min(MAX_BLOCK) {
            continue;
        }
        // What the question shows, faults and all, is quoted.
        if question.contains(fence.body.trim()) {
            continue;
        }
        left -= fence.body.len();
        match parse(language, fence.body) {
            Parsed::Whole => judged = true,
            Parsed::Unknown => {}
            Parsed::Broken(at) => return broken(language, fence.body, at),
        }
    }
    if asked && answer.fences.is_empty() && answer.shown.len() <= MAX_BLOCK {
        match bare(answer.shown, question) {
            Some((_, Parsed::Whole)) => judged = true,
            Some((language, Parsed::Broken(at))) => return broken(language, answer.shown, at),
            _ => {}
        }
    }
    if judged {
        Check::passed(NAME)
    } else {
        Check::not_applicable(NAME)
    }
}

fn broken(language: Language, text: &str, at: usize) -> Check {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let number = text[..start].matches('\n').count() + 1;
    let line = text[start..].lines().next().unwrap_or_default();
    let shown = snippet(line, 60);
    let reason = format!(
        "the {} code does not parse, near line {number}: “{shown}”",
        language.name()
    );
    Check::found(NAME, 0.2, reason)
}

/// Languages that are not parsed here: the answer may be in them.
static OTHERS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "typescript ts java c cpp go golang rust ruby php kotlin swift perl scala haskell matlab r julia \
         lua fortran cobol bash shell powershell html css dart elixir clojure",
    )
});

/// An answer without blocks whose lines are all code, in the one language that the question names.
fn bare(shown: &str, question: &str) -> Option<(Language, Parsed)> {
    let asked = words(question);
    if asked.iter().any(|word| OTHERS.has(word.hash)) {
        return None;
    }
    let mut named = asked.into_iter().filter_map(|word| {
        let word = question[word.start..word.end].to_ascii_lowercase();
        // A node is one of a tree as well.
        if word == "node" {
            return None;
        }
        Language::named(&word)
    });
    let language = named.next()?;
    if named.any(|other| other != language) {
        return None;
    }
    let code = |line: &str| {
        line.starts_with([' ', '\t', '#', '@', '}', ')', ']'])
            || line.contains(['(', '=', '{', ';', ':'])
            || ["import ", "from ", "return ", "select ", "SELECT "]
                .iter()
                .any(|start| line.starts_with(start))
    };
    let all = shown
        .lines()
        .filter(|line| !line.trim().is_empty())
        .all(|line| code(line) && !line.ends_with('.'));
    let first = shown.trim_start();
    let starts = [
        "def ",
        "import ",
        "from ",
        "class ",
        "function ",
        "const ",
        "let ",
        "var ",
        "SELECT ",
        "select ",
        "#",
        "@",
        "async ",
        "export ",
    ]
    .iter()
    .any(|start| first.starts_with(start));
    (all && starts).then(|| (language, parse(language, shown)))
}

/// Parses a block as it stands, then as the piece it may be.
fn parse(language: Language, text: &str) -> Parsed {
    let first = match language {
        Language::Json => return json(text),
        Language::Sql => sql::parse(text),
        _ => grammar::parse(language, text),
    };
    let indented = (language == Language::Python && first == Parsed::Whole)
        .then(|| indent::fault(text))
        .flatten();
    let ((Parsed::Broken(at), _) | (Parsed::Whole, Some(at))) = (first, indented) else {
        return first;
    };
    if text.len() > MAX_PIECE || excuse::excused(language, text) {
        return Parsed::Unknown;
    }
    for piece in pieces(language, text) {
        if indented.is_none() && grammar::parse(language, &piece) == Parsed::Whole {
            return Parsed::Whole;
        }
    }
    Parsed::Broken(at)
}

/// A text in what may stand around it.
fn pieces(language: Language, text: &str) -> Vec<String> {
    let around: &[(&str, &str)] = match language {
        Language::Python => return vec![dedent(text), format!("if 1:\n{text}")],
        Language::JavaScript => &[
            ("(", "\n)"),
            ("({", "\n})"),
            ("class A {", "\n}"),
            ("async function* f() {", "\n}"),
            ("switch (a) {", "\n}"),
        ],
        Language::Json | Language::Sql => &[],
    };
    around
        .iter()
        .map(|(open, close)| format!("{open}{text}{close}"))
        .collect()
}

/// The text without the white space that all its lines begin with.
fn dedent(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let least = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(indent)
        .min()
        .unwrap_or(0);
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        out.push_str(line.get(least..).unwrap_or_default());
        out.push('\n');
    }
    out
}

/// JSON is strict, but an excerpt or several values are shown as well.
fn json(text: &str) -> Parsed {
    let Err(error) = json::parse(text.trim()) else {
        return Parsed::Whole;
    };
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let comment = lines()
        .any(|line| line.starts_with("//") || line.starts_with('#') || line.starts_with("/*"))
        || text.contains(" // ")
        || text.contains(" # ");
    let values = lines().count() > 1 && lines().all(|line| json::parse(line).is_ok());
    let members = json::parse(&format!("{{{text}}}")).is_ok();
    let object = text.trim_start().starts_with(['{', '[']);
    if comment || values || members || !object || excuse::excused(Language::Json, text) {
        return Parsed::Unknown;
    }
    let lead = text.len() - text.trim_start().len();
    Parsed::Broken(lead + error.offset)
}

#[cfg(test)]
mod tests;
