//! Holding a value to the rules.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::number::{Number, is_multiple};
use super::rules::{
    Allowed, ArrayRule, Bound, BoundKind, Id, Keywords, ObjectRule, Rule, TextRule, Types,
};
use super::value::{Members, Step, canonical, shown};
use crate::quality::json::{Node, Value};
use crate::quality::words::snippet;

/// Rules inside rules: deeper, nothing is known. A value is nested at most 128 deep, so only a schema
/// that refers to itself without going into the value gets here.
const DEPTH: usize = 480;

/// Why a check does not go on.
pub(super) enum Stop {
    /// The value does not fit.
    Fails(Failure),
    /// It took too long, or never ends.
    Spent,
}

/// Where and why a value does not fit.
pub(super) struct Failure {
    /// How deep in the value.
    depth: usize,
    pub(super) why: String,
}

/// Whether it is known that the value fits: `false` when nothing failed and something was not
/// checked.
pub(super) type Outcome = Result<bool, Stop>;

pub(super) struct Checker<'s, 'v> {
    pub(super) rules: &'s [Rule],
    /// The value's text.
    pub(super) text: &'v str,
    /// Steps left.
    pub(super) fuel: usize,
    pub(super) path: Vec<Step<'v>>,
    /// The first thing that was not checked.
    pub(super) unchecked: Option<String>,
}

fn fits(fits: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(why()) }
}

impl<'v> Checker<'_, 'v> {
    pub(super) fn check<'a>(&mut self, value: &'v Node<'a>, id: Id, depth: usize) -> Outcome {
        self.spend(1)?;
        if depth > DEPTH {
            return Err(Stop::Spent);
        }
        let rules = self.rules;
        match &rules[id] {
            Rule::Always => Ok(true),
            Rule::Never => self.fail("is not allowed"),
            Rule::Unreadable(why) => Ok(self.skip(why)),
            Rule::Keywords(keywords) => self.keywords(value, keywords, depth),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        self.fuel = self.fuel.checked_sub(steps).ok_or(Stop::Spent)?;
        Ok(())
    }

    fn fail<T>(&self, why: &str) -> Result<T, Stop> {
        Err(Stop::Fails(Failure {
            depth: self.path.len(),
            why: format!("{} {why}", shown(&self.path)),
        }))
    }

    fn skip(&mut self, why: &str) -> bool {
        self.unchecked.get_or_insert_with(|| why.to_owned());
        false
    }

    fn snippet(&self, value: &Node<'_>) -> String {
        snippet(&self.text[value.start..value.end], 40)
    }

    fn inside<'a>(&mut self, step: Step<'v>, value: &'v Node<'a>, id: Id, depth: usize) -> Outcome {
        self.path.push(step);
        let outcome = self.check(value, id, depth + 1);
        self.path.pop();
        outcome
    }

    /// Whether a value fits, when a failure is no error: `None` when it is not known.
    fn tried<'a>(
        &mut self,
        value: &'v Node<'a>,
        id: Id,
        depth: usize,
    ) -> Result<Result<bool, Failure>, Stop> {
        match self.check(value, id, depth + 1) {
            Ok(known) => Ok(Ok(known)),
            Err(Stop::Fails(failure)) => Ok(Err(failure)),
            Err(Stop::Spent) => Err(Stop::Spent),
        }
    }

    fn keywords<'a>(&mut self, value: &'v Node<'a>, asked: &Keywords, depth: usize) -> Outcome {
        if asked.nullable && value.value == Value::Null {
            return Ok(true);
        }
        let mut known = match &asked.unchecked {
            Some(why) => self.skip(why),
            None => true,
        };
        if let Some(target) = asked.reference {
            known &= self.check(value, target, depth + 1)?;
        }
        if let Some(types) = &asked.types {
            known &= self.kind(value, types)?;
        }
        for allowed in &asked.allowed {
            if !allowed.canonical.contains(&canonical(value)) {
                return self.not_allowed(value, allowed);
            }
        }
        known &= match &value.value {
            Value::Number(text) => self.number(value, text, asked)?,
            Value::String(text) => match &asked.text {
                Some(rule) => self.string(value, text, rule)?,
                None => true,
            },
            Value::Array(items) => match &asked.array {
                Some(rule) => self.array(items, rule, depth)?,
                None => true,
            },
            Value::Object(members) => match &asked.object {
                Some(rule) => self.object(value, &Members::new(members), rule, depth)?,
                None => true,
            },
            Value::Null | Value::Bool(_) => true,
        };
        for one in &asked.all_of {
            known &= self.check(value, *one, depth + 1)?;
        }
        if let Some(choices) = &asked.any_of {
            known &= self.any_of(value, choices, depth)?;
        }
        if let Some(choices) = &asked.one_of {
            known &= self.one_of(value, choices, depth)?;
        }
        if let Some(not) = asked.not {
            match self.tried(value, not, depth)? {
                Ok(true) => return self.fail("fits a form that is not allowed"),
                Ok(false) => known = false,
                Err(_) => {}
            }
        }
        if let Some((asked, then, otherwise)) = asked.condition {
            let (branch, sure) = match self.tried(value, asked, depth)? {
                Ok(true) => (then, true),
                Ok(false) => (None, false),
                Err(_) => (otherwise, true),
            };
            known &= sure;
            if let Some(branch) = branch {
                known &= self.check(value, branch, depth + 1)?;
            }
        }
        Ok(known)
    }

    #[cold]
    fn not_allowed(&self, value: &Node<'_>, allowed: &Allowed) -> Outcome {
        let (found, shown) = (self.snippet(value), &allowed.shown);
        self.fail(&if allowed.canonical.len() > 1 {
            format!("is {found}, none of the values allowed: {shown}")
        } else {
            format!("is {found}, not the one value allowed: {shown}")
        })
    }

    fn kind(&mut self, value: &Node<'_>, types: &Types) -> Outcome {
        let kind = value.value.kind();
        let is = |name: &str| match (&value.value, name) {
            (Value::Number(text), "integer") => Number::parse(text).is_integer(),
            _ => name == kind,
        };
        if types.names.iter().any(|name| is(name)) {
            return Ok(true);
        }
        if types.foreign {
            return Ok(self.skip("a type is none of JSON's"));
        }
        let expected = types.names.join(" or ");
        // What is of the right type and no integer is shown: it may be off by a fraction.
        if kind == "number" && types.names == ["integer"] {
            let found = self.snippet(value);
            return self.fail(&format!("is {found}, not integer"));
        }
        self.fail(&format!("is of type {kind}, not {expected}"))
    }

    fn number(&mut self, value: &Node<'_>, text: &str, asked: &Keywords) -> Outcome {
        let number = Number::parse(text);
        for bound in &asked.bounds {
            if !holds(number, bound) {
                let found = self.snippet(value);
                let limit = &bound.shown;
                return self.fail(&match bound.kind {
                    BoundKind::Minimum => format!("is {found}, less than the minimum {limit}"),
                    BoundKind::Maximum => format!("is {found}, more than the maximum {limit}"),
                    BoundKind::ExclusiveMinimum => format!("is {found}, not more than {limit}"),
                    BoundKind::ExclusiveMaximum => format!("is {found}, not less than {limit}"),
                });
            }
        }
        let Some(divisor) = &asked.multiple_of else {
            return Ok(true);
        };
        match is_multiple(text, divisor) {
            Some(true) => Ok(true),
            Some(false) => {
                let found = self.snippet(value);
                self.fail(&format!("is {found}, no multiple of {divisor}"))
            }
            None => Ok(self.skip("multipleOf is no positive number")),
        }
    }

    fn string(&mut self, value: &Node<'_>, text: &str, rule: &TextRule) -> Outcome {
        let counted = || text.chars().count();
        if let Some(least) = rule.least
            && counted() < least
        {
            let (found, length) = (self.snippet(value), counted());
            return self.fail(&format!(
                "is {found}, {length} characters, too short: at least {least}"
            ));
        }
        if let Some(most) = rule.most
            && text.len() > most
            && counted() > most
        {
            let length = counted();
            return self.fail(&format!(
                "has {length} characters, too long: at most {most}"
            ));
        }
        let Some(pattern) = &rule.pattern else {
            return Ok(true);
        };
        self.spend(text.len() / 16)?;
        match pattern.found_in(text) {
            Some(true) => Ok(true),
            Some(false) => {
                let (found, source) = (self.snippet(value), snippet(pattern.source(), 60));
                self.fail(&format!(
                    "is {found}, which does not match the pattern {source}"
                ))
            }
            None => Ok(self.skip("a pattern could not be searched for")),
        }
    }

    fn object<'a>(
        &mut self,
        value: &'v Node<'a>,
        members: &Members<'v, 'a>,
        rule: &ObjectRule,
        depth: usize,
    ) -> Outcome {
        self.present(members, rule)?;
        let mut known = true;
        for (name, member) in members.iter() {
            let step = Step::Member(name);
            let mut declared = false;
            if let Some(id) = rule.properties.get(name) {
                declared = true;
                known &= self.inside(step, member, *id, depth)?;
            }
            for (pattern, id) in &rule.patterns {
                self.spend(1 + name.len() / 16)?;
                match pattern.found_in(name) {
                    Some(true) => {
                        declared = true;
                        known &= self.inside(step, member, *id, depth)?;
                    }
                    Some(false) => {}
                    None => {
                        declared = true;
                        known = self.skip("a pattern could not be searched for");
                    }
                }
            }
            if !declared && let Some(id) = rule.additional {
                if matches!(self.rules[id], Rule::Never) {
                    self.path.push(step);
                    let failed = self.fail(&not_declared(rule));
                    self.path.pop();
                    return failed;
                }
                known &= self.inside(step, member, id, depth)?;
            }
        }
        if let Some(id) = rule.names {
            known &= self.names(members, id, depth)?;
        }
        for (name, id) in &rule.dependent_schemas {
            if members.has(name) {
                known &= self.check(value, *id, depth + 1)?;
            }
        }
        Ok(known)
    }

    /// What must be there, and how many members there are.
    fn present(&mut self, members: &Members<'v, '_>, rule: &ObjectRule) -> Result<(), Stop> {
        self.spend(rule.required.len())?;
        for name in &rule.required {
            if !members.has(name) {
                let name = snippet(name, 60);
                return self.fail(&format!("lacks the member “{name}”"));
            }
        }
        for (name, needed) in &rule.dependent_required {
            self.spend(needed.len())?;
            if members.has(name)
                && let Some(missing) = needed.iter().find(|name| !members.has(name))
            {
                let (name, missing) = (snippet(name, 60), snippet(missing, 60));
                return self.fail(&format!("has “{name}” and lacks the member “{missing}”"));
            }
        }
        if rule.least.is_some() || rule.most.is_some() {
            let count = members.count();
            let bounds = counted(count, "members", rule.least, rule.most);
            bounds.or_else(|why| self.fail(&why))?;
        }
        Ok(())
    }

    /// `propertyNames`: names are texts of their own, without a place in the value's text.
    fn names(&mut self, members: &Members<'v, '_>, id: Id, depth: usize) -> Outcome {
        let mut known = true;
        for (name, _) in members.iter() {
            let written = format!("{name:?}");
            let node = Node {
                start: 0,
                end: written.len(),
                value: Value::String(name.into()),
            };
            let mut checker = Checker {
                rules: self.rules,
                text: &written,
                fuel: self.fuel,
                path: Vec::new(),
                unchecked: None,
            };
            let outcome = checker.check(&node, id, depth + 1);
            self.fuel = checker.fuel;
            match outcome {
                Ok(true) => {}
                Ok(false) => known = self.skip("a rule for names is not checked"),
                Err(Stop::Spent) => return Err(Stop::Spent),
                Err(Stop::Fails(failure)) => {
                    let why = failure.why.trim_start_matches("$ ");
                    return self.fail(&format!("has a member whose name {why}"));
                }
            }
        }
        Ok(known)
    }

    fn array<'a>(&mut self, items: &'v [Node<'a>], rule: &ArrayRule, depth: usize) -> Outcome {
        let bounds = counted(items.len(), "items", rule.least, rule.most);
        bounds.or_else(|why| self.fail(&why))?;
        if rule.unique {
            self.spend(items.len())?;
            let mut seen = HashSet::with_capacity(items.len());
            if let Some(again) = items.iter().position(|item| !seen.insert(canonical(item))) {
                return self.fail(&format!(
                    "has item {again} twice, and no two may be the same"
                ));
            }
        }
        let mut known = true;
        for (index, item) in items.iter().enumerate() {
            if let Some(id) = rule.first.get(index).copied().or(rule.rest) {
                known &= self.inside(Step::Item(index), item, id, depth)?;
            }
        }
        let Some((id, least, most)) = rule.contains else {
            return Ok(known);
        };
        let (mut fitting, mut unsure) = (0, 0);
        for item in items {
            match self.tried(item, id, depth)? {
                Ok(true) => fitting += 1,
                Ok(false) => unsure += 1,
                Err(_) => {}
            }
        }
        let few = fitting + unsure < least;
        if few || most.is_some_and(|most| fitting > most) {
            let asked = if few {
                format!("at least {least}")
            } else {
                format!("at most {most:?}")
            };
            return self.fail(&format!(
                "has {fitting} items of the form asked, not {asked}"
            ));
        }
        let sure = fitting >= least && most.is_none_or(|most| fitting + unsure <= most);
        Ok(known && sure)
    }

    fn any_of<'a>(&mut self, value: &'v Node<'a>, choices: &[Id], depth: usize) -> Outcome {
        let mut unsure = false;
        let mut nearest: Option<Failure> = None;
        for choice in choices {
            match self.tried(value, *choice, depth)? {
                Ok(true) => return Ok(true),
                Ok(false) => unsure = true,
                Err(failure) => nearest = Some(nearer(nearest, failure)),
            }
        }
        if unsure {
            return Ok(false);
        }
        self.no_form(nearest)
    }

    fn one_of<'a>(&mut self, value: &'v Node<'a>, choices: &[Id], depth: usize) -> Outcome {
        let (mut fitting, mut unsure) = (0, false);
        let mut nearest: Option<Failure> = None;
        for choice in choices {
            match self.tried(value, *choice, depth)? {
                Ok(true) => fitting += 1,
                Ok(false) => unsure = true,
                Err(failure) => nearest = Some(nearer(nearest, failure)),
            }
        }
        match fitting {
            0 if unsure => Ok(false),
            0 => self.no_form(nearest),
            1 => Ok(!unsure),
            _ => self.fail("fits more than one of the forms allowed"),
        }
    }

    /// Says of the form that came nearest why it is not fitted, since that is what was meant.
    fn no_form(&self, nearest: Option<Failure>) -> Outcome {
        match nearest {
            Some(failure) if failure.depth > self.path.len() => Err(Stop::Fails(failure)),
            Some(failure) => {
                let start = shown(&self.path).len();
                let why = failure.why.get(start..).unwrap_or_default().trim_start();
                self.fail(&format!("fits none of the forms allowed: it {why}"))
            }
            None => self.fail("fits none of the forms allowed"),
        }
    }
}

/// The failure deeper in the value; of two as deep, one that is not of the whole value's type.
fn nearer(nearest: Option<Failure>, failure: Failure) -> Failure {
    let rank = |failure: &Failure| (failure.depth, !failure.why.contains(" is of type "));
    match nearest {
        Some(nearest) if rank(&nearest) >= rank(&failure) => nearest,
        _ => failure,
    }
}

fn holds(number: Number, bound: &Bound) -> bool {
    let order = number.compare(bound.limit);
    match bound.kind {
        BoundKind::Minimum => order != Some(Ordering::Less),
        BoundKind::Maximum => order != Some(Ordering::Greater),
        BoundKind::ExclusiveMinimum => order == Some(Ordering::Greater),
        BoundKind::ExclusiveMaximum => order == Some(Ordering::Less),
    }
}

fn counted(
    count: usize,
    what: &str,
    least: Option<usize>,
    most: Option<usize>,
) -> Result<(), String> {
    let few = least.is_none_or(|least| count >= least);
    fits(few, || {
        format!(
            "has too few {what}: {count}, at least {}",
            least.unwrap_or(0)
        )
    })?;
    let many = most.is_none_or(|most| count <= most);
    fits(many, || {
        format!(
            "has too many {what}: {count}, at most {}",
            most.unwrap_or(0)
        )
    })
}

fn not_declared(rule: &ObjectRule) -> String {
    let mut names: Vec<&str> = rule.properties.keys().map(String::as_str).collect();
    names.sort_unstable();
    let known = snippet(&names.join(", "), 100);
    if known.is_empty() {
        "is not allowed: there are no members".to_owned()
    } else {
        format!("is not allowed; the members are {known}")
    }
}
