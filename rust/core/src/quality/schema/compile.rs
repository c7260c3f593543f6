//! Making rules of a schema's text: references are resolved and expressions read once.

use std::collections::{HashMap, VecDeque};

use super::number::Number;
use super::pattern::Pattern;
use super::rules::{
    Allowed, ArrayRule, Bound, BoundKind, Id, Keywords, ObjectRule, Rule, TextRule, Types,
};
use super::value::canonical;
use crate::quality::json::{Node, Value};
use crate::quality::words::snippet;

/// Keywords that ask something and are not checked.
const UNCHECKED: [&str; 4] = [
    "$dynamicRef",
    "$recursiveRef",
    "unevaluatedProperties",
    "unevaluatedItems",
];

const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// Makes the rules; the first is the whole schema's.
pub(super) fn compile(root: &Node<'_>, text: &str) -> Vec<Rule> {
    let mut compiler = Compiler {
        root,
        text,
        ids: HashMap::new(),
        waiting: VecDeque::new(),
        anchors: None,
    };
    compiler.id(root);
    let mut rules = Vec::new();
    // In the order of their numbers, without recursion: references may form long chains and rings.
    while let Some(node) = compiler.waiting.pop_front() {
        rules.push(compiler.rule(node));
    }
    rules
}

struct Compiler<'s, 'a> {
    root: &'s Node<'a>,
    text: &'s str,
    /// The rules' numbers by the subschemas' places in the text.
    ids: HashMap<(usize, usize), Id>,
    waiting: VecDeque<&'s Node<'a>>,
    anchors: Option<HashMap<&'s str, &'s Node<'a>>>,
}

fn text_of<'s>(node: &'s Node<'_>) -> Option<&'s str> {
    match &node.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn items<'s, 'a>(node: Option<&'s Node<'a>>) -> Option<&'s [Node<'a>]> {
    match &node?.value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// A number of items or characters: 2, and 2.0 too.
fn count(node: Option<&Node<'_>>) -> Option<usize> {
    match node?.value {
        Value::Number(text) => usize::try_from(Number::parse(text).whole()?).ok(),
        _ => None,
    }
}

fn is_true(node: Option<&Node<'_>>) -> bool {
    node.is_some_and(|node| node.value == Value::Bool(true))
}

fn names(node: &Node<'_>) -> Vec<String> {
    let names = items(Some(node)).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| text_of(name).map(str::to_owned))
        .collect()
}

impl<'s, 'a> Compiler<'s, 'a> {
    fn id(&mut self, node: &'s Node<'a>) -> Id {
        let next = self.ids.len();
        *self.ids.entry((node.start, node.end)).or_insert_with(|| {
            self.waiting.push_back(node);
            next
        })
    }

    fn maybe(&mut self, node: Option<&'s Node<'a>>) -> Option<Id> {
        node.map(|node| self.id(node))
    }

    fn list(&mut self, node: Option<&'s Node<'a>>) -> Option<Vec<Id>> {
        items(node).map(|nodes| nodes.iter().map(|node| self.id(node)).collect())
    }

    /// The members of an object of subschemas, each name's last one.
    fn members(&mut self, node: Option<&'s Node<'a>>) -> Vec<(String, Id)> {
        match node.map(|node| &node.value) {
            Some(Value::Object(members)) => {
                let last: HashMap<&str, &'s Node<'a>> =
                    members.iter().map(|(name, node)| (&**name, node)).collect();
                members
                    .iter()
                    .filter(|(name, node)| std::ptr::eq(last[&**name], node))
                    .map(|(name, node)| (name.to_string(), self.id(node)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn rule(&mut self, node: &'s Node<'a>) -> Rule {
        match &node.value {
            Value::Bool(true) => Rule::Always,
            Value::Bool(false) => Rule::Never,
            Value::Object(members) if members.is_empty() => Rule::Always,
            Value::Object(_) => Rule::Keywords(Box::new(self.keywords(node))),
            other => Rule::Unreadable(format!("a schema is an object, not {}", other.kind())),
        }
    }

    fn keywords(&mut self, node: &'s Node<'a>) -> Keywords {
        let mut keywords = Keywords {
            unchecked: UNCHECKED
                .into_iter()
                .find(|name| {
                    node.get(name).is_some_and(|asked| match asked.value {
                        Value::Bool(fits) => !fits,
                        _ => true,
                    })
                })
                .map(|name| format!("{name} is not checked")),
            nullable: is_true(node.get("nullable")),
            types: node.get("type").and_then(types),
            bounds: bounds(node),
            text: text_rule(node),
            object: self.object(node),
            array: self.array(node),
            any_of: self.list(node.get("anyOf")),
            one_of: self.list(node.get("oneOf")),
            all_of: self.list(node.get("allOf")).unwrap_or_default(),
            not: self.maybe(node.get("not")),
            ..Keywords::default()
        };
        if let Some(Value::Number(text)) = node.get("multipleOf").map(|node| &node.value) {
            keywords.multiple_of = Some((*text).to_owned());
        }
        if let Some(values) = items(node.get("enum")) {
            keywords.allowed.push(self.allowed(values));
        }
        if let Some(value) = node.get("const") {
            keywords
                .allowed
                .push(self.allowed(std::slice::from_ref(value)));
        }
        if let Some(asked) = node.get("if") {
            let then = self.maybe(node.get("then"));
            let otherwise = self.maybe(node.get("else"));
            keywords.condition = Some((self.id(asked), then, otherwise));
        }
        if let Some(reference) = node.get("$ref") {
            if let Some(target) = text_of(reference).and_then(|text| self.resolve(text)) {
                keywords.reference = Some(self.id(target));
            } else {
                let shown = snippet(&self.text[reference.start..reference.end], 60);
                keywords.unchecked = Some(format!("the reference {shown} leads nowhere"));
            }
        }
        keywords
    }

    fn allowed(&self, values: &[Node<'_>]) -> Allowed {
        let mut shown = String::new();
        for value in values {
            let next = snippet(&self.text[value.start..value.end], 40);
            if shown.len() + next.len() > 120 {
                shown.push_str(", …");
                break;
            }
            if !shown.is_empty() {
                shown.push_str(", ");
            }
            shown.push_str(&next);
        }
        Allowed {
            canonical: values.iter().map(canonical).collect(),
            shown,
        }
    }

    fn object(&mut self, node: &'s Node<'a>) -> Option<ObjectRule> {
        const WORDS: [&str; 10] = [
            "required",
            "properties",
            "patternProperties",
            "additionalProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "dependentRequired",
            "dependentSchemas",
            "dependencies",
        ];
        if !WORDS.iter().any(|word| node.get(word).is_some()) {
            return None;
        }
        let mut rule = ObjectRule {
            required: node.get("required").map(names).unwrap_or_default(),
            properties: self.members(node.get("properties")).into_iter().collect(),
            additional: self.maybe(node.get("additionalProperties")),
            names: self.maybe(node.get("propertyNames")),
            least: count(node.get("minProperties")),
            most: count(node.get("maxProperties")),
            dependent_schemas: self.members(node.get("dependentSchemas")),
            ..ObjectRule::default()
        };
        for (source, id) in self.members(node.get("patternProperties")) {
            rule.patterns.push((Pattern::new(&source), id));
        }
        // `dependencies` is how drafts before 2019 write both.
        for word in ["dependentRequired", "dependencies"] {
            let Some(Value::Object(members)) = node.get(word).map(|node| &node.value) else {
                continue;
            };
            for (name, asked) in members {
                if items(Some(asked)).is_some() {
                    rule.dependent_required
                        .push((name.to_string(), names(asked)));
                } else if word == "dependencies" {
                    rule.dependent_schemas
                        .push((name.to_string(), self.id(asked)));
                }
            }
        }
        Some(rule)
    }

    fn array(&mut self, node: &'s Node<'a>) -> Option<ArrayRule> {
        const WORDS: [&str; 6] = [
            "items",
            "prefixItems",
            "minItems",
            "maxItems",
            "uniqueItems",
            "contains",
        ];
        if !WORDS.iter().any(|word| node.get(word).is_some()) {
            return None;
        }
        // Before 2020, `items` could be the list and `additionalItems` what follows it.
        let (first, rest) = match node.get("items") {
            listed @ Some(Node {
                value: Value::Array(_),
                ..
            }) => (listed, node.get("additionalItems")),
            rest => (node.get("prefixItems"), rest),
        };
        let first = self.list(first).unwrap_or_default();
        let rest = self.maybe(rest);
        let contains = self.maybe(node.get("contains")).map(|id| {
            let least = count(node.get("minContains")).unwrap_or(1);
            (id, least, count(node.get("maxContains")))
        });
        Some(ArrayRule {
            first,
            rest,
            least: count(node.get("minItems")),
            most: count(node.get("maxItems")),
            unique: is_true(node.get("uniqueItems")),
            contains,
        })
    }

    /// Where a reference leads: `#`, `#/a/json/pointer`, `#anchor`, or one of these behind the
    /// schema's own `$id`.
    fn resolve(&mut self, reference: &str) -> Option<&'s Node<'a>> {
        let root: &'s Node<'a> = self.root;
        let own = root.get("$id").and_then(text_of).unwrap_or_default();
        let own = own.trim_end_matches('#');
        let fragment = reference.strip_prefix(own).unwrap_or(reference);
        if fragment.is_empty() {
            return (!own.is_empty()).then_some(root);
        }
        let fragment = unquoted(fragment.strip_prefix('#')?)?;
        if fragment.is_empty() {
            return Some(root);
        }
        let Some(pointer) = fragment.strip_prefix('/') else {
            let anchors = self.anchors.get_or_insert_with(|| anchors(root));
            return anchors.get(fragment.as_str()).copied();
        };
        let mut node = root;
        for part in pointer.split('/') {
            let part = part.replace("~1", "/").replace("~0", "~");
            node = match &node.value {
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                _ => node.get(&part)?,
            };
        }
        Some(node)
    }
}

/// Undoes percent-encoding.
fn unquoted(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let code = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(code).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Every `$anchor` and the subschema that has it, the first of each name.
fn anchors<'s, 'a>(root: &'s Node<'a>) -> HashMap<&'s str, &'s Node<'a>> {
    let mut found = HashMap::new();
    let mut waiting = vec![root];
    while let Some(node) = waiting.pop() {
        match &node.value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                waiting.extend(members.iter().map(|(_, member)| member));
                for word in ["$anchor", "$dynamicAnchor"] {
                    if let Some(name) = node.get(word).and_then(text_of) {
                        found.entry(name).or_insert(node);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// The types asked for. Gemini writes them in capitals; others than JSON's cannot be told from what
/// they were meant to be.
fn types(node: &Node<'_>) -> Option<Types> {
    let one = std::slice::from_ref(node);
    let listed = match &node.value {
        Value::String(_) => one,
        Value::Array(names) => names,
        _ => return None,
    };
    let mut types = Types {
        names: Vec::new(),
        foreign: false,
    };
    for name in listed {
        let known = text_of(name).and_then(|name| {
            TYPES
                .into_iter()
                .find(|known| name.eq_ignore_ascii_case(known))
        });
        match known {
            Some(name) => types.names.push(name),
            None => types.foreign = true,
        }
    }
    Some(types)
}

/// The bounds of numbers. In draft 4 an exclusive one is a mark beside the other.
fn bounds(node: &Node<'_>) -> Vec<Bound> {
    let marked = |name: &str| is_true(node.get(name));
    let minimum = if marked("exclusiveMinimum") {
        BoundKind::ExclusiveMinimum
    } else {
        BoundKind::Minimum
    };
    let maximum = if marked("exclusiveMaximum") {
        BoundKind::ExclusiveMaximum
    } else {
        BoundKind::Maximum
    };
    [
        ("minimum", minimum),
        ("maximum", maximum),
        ("exclusiveMinimum", BoundKind::ExclusiveMinimum),
        ("exclusiveMaximum", BoundKind::ExclusiveMaximum),
    ]
    .into_iter()
    .filter_map(|(name, kind)| match node.get(name)?.value {
        Value::Number(text) => Some(Bound {
            kind,
            limit: Number::parse(text),
            shown: snippet(text, 30),
        }),
        _ => None,
    })
    .collect()
}

fn text_rule(node: &Node<'_>) -> Option<TextRule> {
    let rule = TextRule {
        least: count(node.get("minLength")),
        most: count(node.get("maxLength")),
        pattern: node.get("pattern").and_then(text_of).map(Pattern::new),
    };
    let asks = rule.least.is_some() || rule.most.is_some() || rule.pattern.is_some();
    asks.then_some(rule)
}
