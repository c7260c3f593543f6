//! Parsing with tree-sitter's grammars, up to the first error.

use std::ops::ControlFlow;

use tree_sitter::{ParseOptions, ParseState, Parser};

use super::language::Language;

/// What parsing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The text is a program.
    Whole,
    /// It is none; near this byte it ceases to be one.
    Broken(usize),
    /// It cannot be said.
    Unknown,
}

/// Bytes of a line. Where one is longer nothing is parsed: a thousand beginnings of a regular
/// expression in a line are each read to its end.
const MAX_LINE: usize = 400;

fn grammar(language: Language) -> Option<tree_sitter::Language> {
    Some(match language {
        Language::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
        Language::Python => tree_sitter_python::LANGUAGE.into(),
        Language::Json | Language::Sql => return None,
    })
}

/// Parses a text. Once every way to read it has an error, nothing is recovered: that could take more
/// than linear time, and the answer is known.
pub(super) fn parse(language: Language, text: &str) -> Parsed {
    let Some(grammar) = grammar(language) else {
        return Parsed::Unknown;
    };
    if text.lines().any(|line| line.len() > MAX_LINE) {
        return Parsed::Unknown;
    }
    let mut parser = Parser::new();
    if parser.set_language(&grammar).is_err() {
        return Parsed::Unknown;
    }
    // Progress is reported every hundred steps, of which programs take a few a byte; what takes far more
    // is not worth waiting for.
    let most = 100 + text.len() / 4;
    let (mut steps, mut broken) = (0_usize, None);
    let mut progress = |state: &ParseState| {
        steps += 1;
        if state.has_error() {
            broken = Some(state.current_byte_offset());
        }
        if broken.is_some() || steps > most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let bytes = text.as_bytes();
    let tree = parser.parse_with_options(
        &mut |at, _| bytes.get(at..).unwrap_or_default(),
        None,
        Some(ParseOptions::new().progress_callback(&mut progress)),
    );
    let Some(tree) = tree else {
        return broken.map_or(Parsed::Unknown, |at| Parsed::Broken(at.min(text.len())));
    };
    let root = tree.root_node();
    if !root.has_error() {
        return Parsed::Whole;
    }
    Parsed::Broken(first_error(root))
}

/// Where the first error of a tree stands.
fn first_error(root: tree_sitter::Node<'_>) -> usize {
    let mut cursor = root.walk();
    loop {
        let node = cursor.node();
        if node.is_error() || node.is_missing() {
            return node.start_byte();
        }
        let inside = node.has_error() && cursor.goto_first_child();
        if !inside && !cursor.goto_next_sibling() {
            return node.start_byte();
        }
    }
}
