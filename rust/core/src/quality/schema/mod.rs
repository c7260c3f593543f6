//! Holding JSON to a JSON schema (draft 2020-12), as far as language models need it.
//!
//! Checked are all keywords that assert something, but for `unevaluatedProperties`,
//! `unevaluatedItems`, `$dynamicRef` and references out of the schema. `format` and what else only
//! describes is passed over. Also read: draft 4's exclusive bounds, the list form of `items`,
//! `dependencies`, `OpenAPI`'s `nullable`, and types in capitals, as Gemini writes them.
//!
//! What cannot be decided is said to be so, never taken for a fit: an expression that cannot be read,
//! a keyword from the list above, a schema that refers to itself without end.

mod check;
mod compile;
mod number;
mod pattern;
mod rules;
mod value;

use check::{Checker, Stop};
use rules::Rule;

use super::json::{JsonError, Node, parse};

/// Steps that any check may take.
const STEPS: usize = 200_000;

/// Further steps for each byte of the value: a long one may take longer.
const STEPS_A_BYTE: usize = 32;

/// What a value does to a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It fits.
    Fits,
    /// It does not: where, and why.
    Fails(String),
    /// Nothing speaks against it, and something could not be checked: what.
    Unknown(String),
}

/// A schema, read once.
#[derive(Debug)]
pub struct JsonSchema {
    rules: Vec<Rule>,
}

impl JsonSchema {
    /// Reads a schema's text.
    ///
    /// # Errors
    ///
    /// The text is not JSON, or nested too deep. What is JSON and no schema is not an error; nothing
    /// can be said of values then.
    pub fn new(text: &str) -> Result<Self, JsonError> {
        Ok(Self {
            rules: compile::compile(&parse(text)?, text),
        })
    }

    /// Reads a text as JSON and holds it to the schema, in time bounded by its length.
    ///
    /// # Errors
    ///
    /// The text is not JSON.
    pub fn check(&self, text: &str) -> Result<Fit, JsonError> {
        Ok(self.fits(&parse(text)?, text))
    }

    /// Holds a value to the schema; `text` is what it was read from.
    #[must_use]
    pub fn fits(&self, value: &Node<'_>, text: &str) -> Fit {
        let mut checker = Checker {
            rules: &self.rules,
            text,
            fuel: STEPS + STEPS_A_BYTE * text.len(),
            path: Vec::new(),
            unchecked: None,
        };
        match checker.check(value, 0, 0) {
            Ok(true) => Fit::Fits,
            Ok(false) => Fit::Unknown(checker.unchecked.unwrap_or_default()),
            Err(Stop::Fails(failure)) => Fit::Fails(failure.why),
            Err(Stop::Spent) => Fit::Unknown("the check did not come to an end".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
