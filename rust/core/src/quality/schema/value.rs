//! Values as a schema sees them: when two are the same, and where one stands.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::number::Number;
use crate::quality::json::{Node, Value};
use crate::quality::words::snippet;

/// One text for all ways to write the same value: 1.0 is 1, and the order of members says nothing.
pub(super) fn canonical(node: &Node<'_>) -> String {
    let mut out = String::new();
    write(node, &mut out);
    out
}

fn quoted(text: &str, out: &mut String) {
    // The debug form escapes quotes and backslashes: no two texts are written the same.
    let _ = write!(out, "{text:?}");
}

fn write(node: &Node<'_>, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => out.push_str(&Number::parse(text).canonical()),
        Value::String(text) => quoted(text, out),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            let sorted: BTreeMap<&str, &Node<'_>> =
                members.iter().map(|(name, node)| (&**name, node)).collect();
            out.push('{');
            for (name, member) in sorted {
                quoted(name, out);
                out.push(':');
                write(member, out);
                out.push(',');
            }
            out.push('}');
        }
    }
}

/// From how many members on they are looked up in a table.
const MANY: usize = 12;

/// An object's members; of those with the same name the last one, as clients read it.
pub(super) struct Members<'v, 'a> {
    listed: &'v [(std::borrow::Cow<'a, str>, Node<'a>)],
    table: Option<HashMap<&'v str, usize>>,
}

impl<'v, 'a> Members<'v, 'a> {
    pub(super) fn new(listed: &'v [(std::borrow::Cow<'a, str>, Node<'a>)]) -> Self {
        let table = (listed.len() >= MANY).then(|| {
            listed
                .iter()
                .enumerate()
                .map(|(index, (name, _))| (&**name, index))
                .collect()
        });
        Self { listed, table }
    }

    fn index(&self, name: &str) -> Option<usize> {
        match &self.table {
            Some(table) => table.get(name).copied(),
            None => self.listed.iter().rposition(|(other, _)| other == name),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    pub(super) fn count(&self) -> usize {
        self.table
            .as_ref()
            .map_or_else(|| self.iter().count(), HashMap::len)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'v str, &'v Node<'a>)> {
        let listed = self.listed;
        listed
            .iter()
            .enumerate()
            .filter(|(index, (name, _))| self.index(name) == Some(*index))
            .map(|(_, (name, node))| (&**name, node))
    }
}

/// One step from a value to one inside it.
#[derive(Clone, Copy)]
pub(super) enum Step<'v> {
    Member(&'v str),
    Item(usize),
}

/// A path in words, such as `$.items[2].price`; a long one is cut in its middle.
pub(super) fn shown(path: &[Step<'_>]) -> String {
    const ENDS: usize = 6;
    let mut out = String::from("$");
    for (index, step) in path.iter().enumerate() {
        if path.len() > 2 * ENDS && index >= ENDS && index < path.len() - ENDS {
            if index == ENDS {
                out.push('…');
            }
            continue;
        }
        match step {
            Step::Item(index) => {
                let _ = write!(out, "[{index}]");
            }
            Step::Member(name) => {
                let plain = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '-');
                if !name.is_empty() && name.len() <= 40 && name.chars().all(plain) {
                    out.push('.');
                    out.push_str(name);
                } else {
                    let _ = write!(out, "[{:?}]", snippet(name, 40));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::json::parse;

    fn same(a: &str, b: &str) -> bool {
        canonical(&parse(a).unwrap()) == canonical(&parse(b).unwrap())
    }

    #[test]
    fn knows_when_two_values_are_the_same() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, r#"{"b":[true,null],"a":1.0}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#""é""#, r#""\u00e9""#),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "true"),
            ("1", "\"1\""),
            ("[]", "{}"),
            ("[1,2]", "[2,1]"),
            (r#"["a","b"]"#, r#"["a\",\"b"]"#),
            ("null", "\"null\""),
            ("0", "false"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn shows_paths_that_stay_short() {
        let path = [Step::Member("a"), Step::Item(3), Step::Member("b c")];
        assert_eq!(shown(&path), "$.a[3][\"b c\"]");
        let long = [Step::Member("x"); 100];
        assert_eq!(shown(&long), "$.x.x.x.x.x.x….x.x.x.x.x.x");
        assert!(shown(&[Step::Member(&"n".repeat(1_000_000))]).len() < 100);
    }
}
