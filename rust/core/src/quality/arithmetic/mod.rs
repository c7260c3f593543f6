//! Checking the arithmetic of an answer: every `a op b = c` is found, recomputed exactly, and judged.
//!
//! A false alarm costs a good draft, so an equation counts as wrong only when no sensible reading of
//! it holds: rounding, percentages in either sense, European separators, a remark in parentheses, a
//! run-on `3 + 4 = 7 + 5 = 12`, a conversion of units. What is not surely an equation between numbers
//! is not judged at all.

mod doubt;
mod equation;
mod evaluate;
mod latex;
mod lex;
mod number;
mod rational;
mod scan;
mod vocabulary;

pub use equation::{Arithmetic, Equation, MAX_EQUATIONS, check};
pub use number::{Written, read as read_number};
pub use rational::Rational;

use lex::{Kind, Token};

/// A number in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Its value; a percentage is the number that is written.
    pub value: Rational,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The numbers that a text mentions, in order, those with a unit such as `48g` among them.
#[must_use]
pub fn numbers(text: &str) -> Vec<Mention> {
    mentions(text, &lex::lex(text).tokens)
}

fn mentions(text: &str, tokens: &[Token]) -> Vec<Mention> {
    tokens
        .iter()
        .filter(|token| {
            token.is_number()
                || (token.kind == Kind::Poison
                    && text[token.start..].starts_with(|c: char| c.is_ascii_digit()))
        })
        .filter_map(|token| {
            Some(Mention {
                value: number::read(&text[token.start..token.end], false)?.value,
                start: token.start,
                end: token.end,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
