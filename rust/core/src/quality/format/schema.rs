//! Holding a JSON value to a JSON schema (draft 2020-12), as far as language models need it.
//!
//! Checked: `type`, `enum`, `const`, `required`, `properties`, `additionalProperties`, `items`,
//! `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `anyOf`, `oneOf`, `allOf`, and `$ref` within the schema.
//! Other keywords, such as `pattern` and `format`, are not checked.

use crate::quality::json::{Node, Value};

/// Steps after which checking stops: a schema that refers to itself has no end of its own.
const FUEL: usize = 200_000;

/// What a value does to a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It fits.
    Fits,
    /// It does not: where, and why.
    Fails(String),
    /// The check was stopped; nothing is known.
    Unknown,
}

/// Holds a value to a schema.
#[must_use]
pub fn fits(value: &Node<'_>, schema: &Node<'_>) -> Fit {
    let mut checker = Checker {
        root: schema,
        fuel: FUEL,
    };
    let mut path = String::from("$");
    match checker.check(value, schema, &mut path, 0) {
        Ok(()) => Fit::Fits,
        Err(Stop::Fails(why)) => Fit::Fails(why),
        Err(Stop::Spent) => Fit::Unknown,
    }
}

enum Stop {
    Fails(String),
    Spent,
}

type Outcome = Result<(), Stop>;

struct Checker<'s, 'a> {
    root: &'s Node<'a>,
    fuel: usize,
}

fn fail(path: &str, why: &str) -> Outcome {
    Err(Stop::Fails(format!("{path} {why}")))
}

fn number(node: &Node<'_>) -> Option<f64> {
    match node.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

fn count(node: Option<&Node<'_>>) -> Option<usize> {
    match node?.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

fn same(left: &Node<'_>, right: &Node<'_>) -> bool {
    match (&left.value, &right.value) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => {
            a == b
                || a.parse::<f64>()
                    .ok()
                    .zip(b.parse().ok())
                    .is_some_and(|(a, b): (f64, f64)| a.total_cmp(&b).is_eq())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
                && b.iter().all(|(name, _)| left.get(name).is_some())
        }
        _ => false,
    }
}

impl<'s, 'a> Checker<'s, 'a> {
    fn check(
        &mut self,
        value: &Node<'_>,
        schema: &'s Node<'a>,
        path: &mut String,
        depth: usize,
    ) -> Outcome {
        self.fuel = self.fuel.checked_sub(1).ok_or(Stop::Spent)?;
        if depth > 200 {
            return Err(Stop::Spent);
        }
        match &schema.value {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return fail(path, "is not allowed"),
            Value::Object(_) => {}
            _ => return Err(Stop::Spent), // no schema
        }
        if let Some(target) = schema.get("$ref") {
            let target = self.resolve(target).ok_or(Stop::Spent)?;
            self.check(value, target, path, depth + 1)?;
        }
        if let Some(kind) = schema.get("type") {
            check_type(value, kind, path)?;
        }
        if let Some(expected) = schema.get("const")
            && !same(value, expected)
        {
            return fail(path, "is not the one value allowed");
        }
        if let Some(Node {
            value: Value::Array(allowed),
            ..
        }) = schema.get("enum")
            && !allowed.iter().any(|one| same(value, one))
        {
            return fail(path, "is none of the values allowed");
        }
        check_bounds(value, schema, path)?;
        self.check_object(value, schema, path, depth)?;
        self.check_array(value, schema, path, depth)?;
        self.check_combined(value, schema, path, depth)
    }

    fn resolve(&self, reference: &Node<'a>) -> Option<&'s Node<'a>> {
        let Value::String(text) = &reference.value else {
            return None;
        };
        let mut node = self.root;
        for part in text.strip_prefix('#')?.split('/').skip(1) {
            node = node.get(&part.replace("~1", "/").replace("~0", "~"))?;
        }
        Some(node)
    }

    fn inside(
        &mut self,
        value: &Node<'_>,
        schema: &'s Node<'a>,
        path: &mut String,
        step: &str,
        depth: usize,
    ) -> Outcome {
        let length = path.len();
        path.push_str(step);
        let outcome = self.check(value, schema, path, depth + 1);
        path.truncate(length);
        outcome
    }

    fn check_object(
        &mut self,
        value: &Node<'_>,
        schema: &'s Node<'a>,
        path: &mut String,
        depth: usize,
    ) -> Outcome {
        let Value::Object(members) = &value.value else {
            return Ok(());
        };
        if let Some(Node {
            value: Value::Array(required),
            ..
        }) = schema.get("required")
        {
            for name in required {
                if let Value::String(name) = &name.value
                    && value.get(name).is_none()
                {
                    return fail(path, &format!("lacks the member “{name}”"));
                }
            }
        }
        let properties = schema.get("properties");
        let additional = schema.get("additionalProperties");
        for (name, member) in members {
            let step = format!(".{name}");
            if let Some(schema) = properties.and_then(|properties| properties.get(name)) {
                self.inside(member, schema, path, &step, depth)?;
            } else if let Some(schema) = additional {
                self.inside(member, schema, path, &step, depth)?;
            }
        }
        Ok(())
    }

    fn check_array(
        &mut self,
        value: &Node<'_>,
        schema: &'s Node<'a>,
        path: &mut String,
        depth: usize,
    ) -> Outcome {
        let Value::Array(items) = &value.value else {
            return Ok(());
        };
        if count(schema.get("minItems")).is_some_and(|least| items.len() < least) {
            return fail(path, "has too few items");
        }
        if count(schema.get("maxItems")).is_some_and(|most| items.len() > most) {
            return fail(path, "has too many items");
        }
        let first: &'s [Node<'a>] = match schema.get("prefixItems") {
            Some(Node {
                value: Value::Array(first),
                ..
            }) => first,
            _ => &[],
        };
        let rest = schema.get("items");
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(rest) {
                self.inside(item, schema, path, &format!("[{index}]"), depth)?;
            }
        }
        Ok(())
    }

    fn check_combined(
        &mut self,
        value: &Node<'_>,
        schema: &'s Node<'a>,
        path: &mut String,
        depth: usize,
    ) -> Outcome {
        if let Some(Node {
            value: Value::Array(all),
            ..
        }) = schema.get("allOf")
        {
            for one in all {
                self.check(value, one, path, depth + 1)?;
            }
        }
        for (keyword, only_one) in [("anyOf", false), ("oneOf", true)] {
            let Some(Node {
                value: Value::Array(choices),
                ..
            }) = schema.get(keyword)
            else {
                continue;
            };
            let mut fitting = 0_usize;
            for choice in choices {
                match self.check(value, choice, path, depth + 1) {
                    Ok(()) => fitting += 1,
                    Err(Stop::Fails(_)) => {}
                    Err(Stop::Spent) => return Err(Stop::Spent),
                }
            }
            if fitting == 0 {
                return fail(path, "fits none of the forms allowed");
            }
            if only_one && fitting > 1 {
                return fail(path, "fits more than one of the forms allowed");
            }
        }
        Ok(())
    }
}

fn check_type(value: &Node<'_>, kind: &Node<'_>, path: &str) -> Outcome {
    let is = |name: &str| match name {
        "integer" => number(value).is_some_and(|number| number.fract() == 0.0),
        other => value.value.kind() == other,
    };
    let (fits, expected) = match &kind.value {
        Value::String(name) => (is(name), name.to_string()),
        Value::Array(names) => {
            let names: Vec<&str> = names
                .iter()
                .filter_map(|name| match &name.value {
                    Value::String(name) => Some(name.as_ref()),
                    _ => None,
                })
                .collect();
            (names.iter().any(|name| is(name)), names.join(" or "))
        }
        _ => return Ok(()),
    };
    if fits {
        Ok(())
    } else {
        fail(
            path,
            &format!("is of type {}, not {expected}", value.value.kind()),
        )
    }
}

fn check_bounds(value: &Node<'_>, schema: &Node<'_>, path: &str) -> Outcome {
    if let Some(number) = number(value) {
        let bound = |name: &str| schema.get(name).and_then(self::number);
        if bound("minimum").is_some_and(|least| number < least)
            || bound("exclusiveMinimum").is_some_and(|least| number <= least)
        {
            return fail(path, "is too small");
        }
        if bound("maximum").is_some_and(|most| number > most)
            || bound("exclusiveMaximum").is_some_and(|most| number >= most)
        {
            return fail(path, "is too large");
        }
    }
    if let Value::String(text) = &value.value {
        let length = text.chars().count();
        if count(schema.get("minLength")).is_some_and(|least| length < least) {
            return fail(path, "is too short");
        }
        if count(schema.get("maxLength")).is_some_and(|most| length > most) {
            return fail(path, "is too long");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::json::parse;

    fn outcome(value: &str, schema: &str) -> Fit {
        fits(&parse(value).unwrap(), &parse(schema).unwrap())
    }

    const PERSON: &str = r##"{"type":"object","required":["name","age"],"additionalProperties":false,
        "properties":{"name":{"type":"string","minLength":1},"age":{"type":"integer","minimum":0},
        "role":{"enum":["admin","user"]},"tags":{"type":"array","items":{"type":"string"},"maxItems":2},
        "boss":{"$ref":"#"}}}"##;

    #[test]
    fn holds_values_to_schemas() {
        for good in [
            r#"{"name":"Ada","age":36}"#,
            r#"{"name":"Ada","age":36.0,"role":"user","tags":["a","b"]}"#,
            r#"{"name":"Ada","age":36,"boss":{"name":"Bob","age":50}}"#,
        ] {
            assert_eq!(outcome(good, PERSON), Fit::Fits, "{good}");
        }
        for (bad, why) in [
            (r#"{"name":"Ada"}"#, "lacks the member “age”"),
            (r#"{"name":1,"age":1}"#, "$.name is of type number"),
            (r#"{"name":"","age":1}"#, "too short"),
            (r#"{"name":"A","age":-1}"#, "too small"),
            (r#"{"name":"A","age":1.5}"#, "not integer"),
            (
                r#"{"name":"A","age":1,"role":"root"}"#,
                "none of the values",
            ),
            (r#"{"name":"A","age":1,"tags":["a","b","c"]}"#, "too many"),
            (r#"{"name":"A","age":1,"tags":[1]}"#, "$.tags[0]"),
            (r#"{"name":"A","age":1,"x":1}"#, "$.x is not allowed"),
            (
                r#"{"name":"A","age":1,"boss":{"name":"B"}}"#,
                "$.boss lacks",
            ),
            ("[]", "not object"),
        ] {
            match outcome(bad, PERSON) {
                Fit::Fails(text) => assert!(text.contains(why), "{bad}: {text}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
    }

    #[test]
    fn knows_alternatives() {
        let schema = r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#;
        assert_eq!(outcome("null", schema), Fit::Fits);
        assert!(matches!(outcome("1", schema), Fit::Fails(_)));
        let schema = r#"{"oneOf":[{"type":"number"},{"minimum":3}]}"#;
        assert!(matches!(outcome("5", schema), Fit::Fails(_)));
    }

    #[test]
    fn a_schema_without_end_is_not_decided() {
        assert_eq!(outcome("1", r##"{"$ref":"#"}"##), Fit::Unknown);
        assert_eq!(
            outcome("1", r#"{"$ref":"https://example.com/a"}"#),
            Fit::Unknown
        );
    }
}
