//! The code analyzer: finds code in a request, guesses its language and measures it.
//!
//! Everything is counted by a lexer that survives broken code, in one pass. `docs/domains.md` says how
//! near its counts come to those of real parsers, and by which command.

mod constructs;
mod find;
mod keywords;
mod language;
mod lexer;
mod look;
mod measure;

pub use constructs::CONSTRUCTS;
pub use find::{Segment, find};
pub use language::{LANGUAGES, Language};
pub use measure::measure;

/// What is known of the code in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeMetrics {
    /// The language of most of its lines.
    pub language: Language,
    /// Pieces of code.
    pub blocks: usize,
    /// Lines with code on them.
    pub lines: usize,
    /// Lines with nothing but a remark, docstrings among them.
    pub comment_lines: usize,
    /// Functions and methods that are defined, those without a name where the language writes them
    /// with a word or an arrow (`function`, `func`, `=>`) among them.
    pub functions: usize,
    /// Classes, structures, interfaces, tables.
    pub classes: usize,
    /// Places that choose: `if`, each case, each handler of an error, `a ? b : c`, `and`, `or`.
    pub branches: usize,
    /// Loops, those of comprehensions among them.
    pub loops: usize,
    /// Places that choose, loops, and one: `McCabe`'s number of the code taken as one unit.
    pub cyclomatic: usize,
    /// How deep its deepest block lies.
    pub nesting: usize,
    /// Different names.
    pub identifiers: usize,
    /// Joins of tables.
    pub joins: usize,
    /// Queries within queries.
    pub subqueries: usize,
    /// Which of [`CONSTRUCTS`] it holds, by their places there, one bit each.
    pub constructs: u16,
}

impl CodeMetrics {
    /// The names of the constructs it holds.
    pub fn construct_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        CONSTRUCTS
            .iter()
            .enumerate()
            .filter(|(place, _)| self.constructs & (1 << place) != 0)
            .map(|(_, name)| *name)
    }

    fn empty(language: Language) -> Self {
        Self {
            language,
            blocks: 1,
            lines: 0,
            comment_lines: 0,
            functions: 0,
            classes: 0,
            branches: 0,
            loops: 0,
            cyclomatic: 1,
            nesting: 0,
            identifiers: 0,
            joins: 0,
            subqueries: 0,
            constructs: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        if other.lines > self.lines {
            self.language = other.language;
        }
        self.blocks += other.blocks;
        self.lines += other.lines;
        self.comment_lines += other.comment_lines;
        self.functions += other.functions;
        self.classes += other.classes;
        self.branches += other.branches;
        self.loops += other.loops;
        self.cyclomatic += other.cyclomatic - 1;
        self.nesting = self.nesting.max(other.nesting);
        // Names of one piece are mostly those of the next: the sum is an upper bound.
        self.identifiers += other.identifiers;
        self.joins += other.joins;
        self.subqueries += other.subqueries;
        self.constructs |= other.constructs;
    }
}

/// Measures the code that was found in a request; `None` without any.
#[must_use]
pub fn measure_found(text: &str, segments: &[Segment]) -> Option<CodeMetrics> {
    let mut all: Option<CodeMetrics> = None;
    for segment in segments {
        let code = &text[segment.start..segment.end];
        let language = segment.language.unwrap_or_else(|| Language::guess(code));
        let found = measure(code, language);
        if found.lines + found.comment_lines == 0 {
            continue;
        }
        match &mut all {
            Some(all) => all.add(&found),
            None => all = Some(found),
        }
    }
    all
}

#[cfg(test)]
mod tests;
