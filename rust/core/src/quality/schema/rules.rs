//! A schema in the form in which it is checked: rules in a row, which name each other by number.

use std::collections::{HashMap, HashSet};

use super::number::Number;
use super::pattern::Pattern;

/// The number of a rule.
pub(super) type Id = usize;

/// What one schema or subschema asks.
#[derive(Debug)]
pub(super) enum Rule {
    /// Anything fits.
    Always,
    /// Nothing fits.
    Never,
    /// It cannot be read: why.
    Unreadable(String),
    /// What its keywords say.
    Keywords(Box<Keywords>),
}

/// A subschema's keywords; what is not there asks nothing.
#[derive(Debug, Default)]
pub(super) struct Keywords {
    /// A keyword that is not checked: without a failure elsewhere, nothing is known.
    pub(super) unchecked: Option<String>,
    pub(super) reference: Option<Id>,
    /// `nullable: true`, as `OpenAPI` writes it.
    pub(super) nullable: bool,
    pub(super) types: Option<Types>,
    /// `enum` and `const`.
    pub(super) allowed: Vec<Allowed>,
    pub(super) bounds: Vec<Bound>,
    /// `multipleOf`, as written.
    pub(super) multiple_of: Option<String>,
    pub(super) text: Option<TextRule>,
    pub(super) object: Option<ObjectRule>,
    pub(super) array: Option<ArrayRule>,
    pub(super) all_of: Vec<Id>,
    pub(super) any_of: Option<Vec<Id>>,
    pub(super) one_of: Option<Vec<Id>>,
    pub(super) not: Option<Id>,
    /// `if`, `then`, `else`.
    pub(super) condition: Option<(Id, Option<Id>, Option<Id>)>,
}

/// The types that fit, and their names as the schema lists them.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) names: Vec<&'static str>,
    /// Whether a type is among them that JSON does not have.
    pub(super) foreign: bool,
}

/// The values that fit.
#[derive(Debug)]
pub(super) struct Allowed {
    /// In one way of writing each.
    pub(super) canonical: HashSet<String>,
    /// For the reason, cut.
    pub(super) shown: String,
}

/// A bound of a number.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) kind: BoundKind,
    pub(super) limit: Number,
    /// As the schema writes it.
    pub(super) shown: String,
}

/// Which bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundKind {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// What is asked of a string.
#[derive(Debug, Default)]
pub(super) struct TextRule {
    pub(super) least: Option<usize>,
    pub(super) most: Option<usize>,
    pub(super) pattern: Option<Pattern>,
}

/// What is asked of an object.
#[derive(Debug, Default)]
pub(super) struct ObjectRule {
    pub(super) required: Vec<String>,
    pub(super) dependent_required: Vec<(String, Vec<String>)>,
    pub(super) dependent_schemas: Vec<(String, Id)>,
    pub(super) properties: HashMap<String, Id>,
    pub(super) patterns: Vec<(Pattern, Id)>,
    pub(super) additional: Option<Id>,
    pub(super) names: Option<Id>,
    pub(super) least: Option<usize>,
    pub(super) most: Option<usize>,
}

/// What is asked of an array.
#[derive(Debug, Default)]
pub(super) struct ArrayRule {
    pub(super) first: Vec<Id>,
    pub(super) rest: Option<Id>,
    pub(super) least: Option<usize>,
    pub(super) most: Option<usize>,
    pub(super) unique: bool,
    /// `contains`, and how many must and may fit it.
    pub(super) contains: Option<(Id, usize, Option<usize>)>,
}
