//! What a request is about, by rules: phrases and the form of the text, each with a weight for one or
//! several domains, summed to log-odds and calibrated to probabilities.
//!
//! Rules come as plain records; nothing here reads a file. A text of more than [`HEAD`] + [`TAIL`]
//! bytes is judged by its beginning and its end: what is asked stands there, before or behind what was
//! pasted, and a megabyte costs no more than 16 KB. Everything is linear in what is looked at.

pub mod fold;
mod matcher;
pub mod rule;
mod signs;
pub mod structure;
mod token;

use std::borrow::Cow;
use std::collections::HashSet;

use fold::fold;
use matcher::{Matcher, Tally};
use rule::{Ramp, Rule, RuleError};
use structure::{COUNT, Structure};

/// How many bytes of a long text's beginning are looked at.
pub const HEAD: usize = 12 * 1024;
/// How many bytes of a long text's end are looked at.
pub const TAIL: usize = 4 * 1024;

/// How many diluted rules may find something before each of them counts less: of `n` they add up as
/// `sqrt(FULL * n)` would. Single words say much in a short request; a page holds a hundred of them,
/// which say little more, and are not independent.
pub const FULL: f64 = 12.0;

/// How much more a rule counts for each further phrase: the first 1, the next a half, and so on.
fn saturated(count: u32) -> f64 {
    2.0 * (1.0 - 0.5_f64.powi(i32::try_from(count.min(60)).unwrap_or(60)))
}

/// What a rule that spoke adds to a domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// The rule, by index.
    pub rule: usize,
    /// The domain, by index.
    pub domain: usize,
    /// What it adds to the domain's log-odds.
    pub weight: f64,
}

/// What the rules make of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The calibrated probability of each domain; they add up to 1.
    pub probabilities: Vec<f64>,
    /// Each domain's log-odds, before calibration.
    pub sums: Vec<f64>,
    /// What rules found, as (rule, value), in the order of the rules.
    pub fired: Vec<(usize, f64)>,
    /// The structural features, in the order of [`structure::NAMES`].
    pub features: [f64; COUNT],
}

/// Rules, ready to judge.
#[derive(Debug)]
pub struct DomainRules {
    domains: usize,
    rules: Vec<Rule>,
    intercepts: Vec<f64>,
    temperature: f64,
    matcher: Matcher,
    /// The rules on a feature.
    ramps: Vec<(usize, Ramp)>,
    /// The rules that depend on rules.
    conditional: Vec<usize>,
}

impl DomainRules {
    /// Makes rules ready.
    ///
    /// `intercepts` is each domain's log-odds when no rule speaks; log-odds are divided by
    /// `temperature` (above 0) before they become probabilities.
    ///
    /// # Errors
    /// When a rule cannot be used; the error says which, and what would be right.
    pub fn new(
        rules: Vec<Rule>,
        intercepts: Vec<f64>,
        temperature: f64,
    ) -> Result<Self, RuleError> {
        let domains = intercepts.len();
        if domains == 0 {
            return Err(RuleError::Shape(
                "there is no domain to choose from".to_owned(),
            ));
        }
        if intercepts.iter().any(|value| !value.is_finite()) {
            return Err(RuleError::Shape(
                "an intercept is not a finite number".to_owned(),
            ));
        }
        if !(temperature.is_finite() && temperature > 0.0) {
            let message = format!("the temperature is {temperature}: write a number above 0");
            return Err(RuleError::Shape(message));
        }
        check(&rules, domains)?;
        let matcher = Matcher::new(&rules)?;
        let numbered = || rules.iter().enumerate();
        let ramps = numbered().filter_map(|(at, rule)| rule.ramp.map(|ramp| (at, ramp)));
        let depends = |rule: &Rule| !(rule.requires.is_empty() && rule.unless.is_empty());
        let conditional = numbered()
            .filter(|(_, rule)| depends(rule))
            .map(|(at, _)| at);
        let (ramps, conditional) = (ramps.collect(), conditional.collect());
        Ok(Self {
            domains,
            rules,
            intercepts,
            temperature,
            matcher,
            ramps,
            conditional,
        })
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How many domains there are.
    #[must_use]
    pub fn domains(&self) -> usize {
        self.domains
    }

    /// Judges a text.
    #[must_use]
    pub fn judge(&self, text: &str) -> Judgement {
        self.judge_counted(text).0
    }

    /// Judges a text, and counts the phrases that were looked at on the way: the work that the
    /// text alone does not bound.
    fn judge_counted(&self, text: &str) -> (Judgement, usize) {
        let looked_at = excerpt(text);
        let folded = fold(&looked_at);
        let tally = self.matcher.count(&folded, self.rules.len());
        let features = Structure::of(&looked_at).features();
        let fired = self.fired(&tally, &features);
        let mut sums = self.intercepts.clone();
        for &(rule, value) in &fired {
            for &(domain, weight) in &self.rules[rule].weights {
                sums[domain] += weight * value;
            }
        }
        let probabilities = softmax(&sums, self.temperature);
        (
            Judgement {
                probabilities,
                sums,
                fired,
                features,
            },
            tally.candidates,
        )
    }

    fn fired(&self, tally: &Tally, features: &[f64; COUNT]) -> Vec<(usize, f64)> {
        let mut values = vec![0.0; self.rules.len()];
        let mut found: Vec<usize> = Vec::with_capacity(tally.touched.len() + self.ramps.len());
        for &at in &tally.touched {
            let at = at as usize;
            let count = tally.counts[at];
            if count >= self.rules[at].least {
                values[at] = saturated(count);
                found.push(at);
            }
        }
        for (at, ramp) in &self.ramps {
            values[*at] = ramp.of(features[ramp.feature]);
            found.push(*at);
        }
        for &at in &self.conditional {
            let rule = &self.rules[at];
            // What it depends on depends on nothing, so its value is final.
            let lowest = rule
                .requires
                .iter()
                .map(|&other| values[other])
                .fold(1.0, f64::min);
            let ruled_out = rule.unless.iter().any(|&other| values[other] > 0.0);
            if ruled_out || lowest <= 0.0 {
                values[at] = 0.0;
            } else if rule.patterns.is_empty() && rule.ramp.is_none() {
                values[at] = lowest;
                found.push(at);
            }
        }
        found.sort_unstable();
        let mut fired: Vec<(usize, f64)> = found
            .into_iter()
            .map(|at| (at, values[at]))
            .filter(|&(_, value)| value > 0.0)
            .collect();
        self.dilute(&mut fired);
        fired
    }

    fn dilute(&self, fired: &mut [(usize, f64)]) {
        let diluted = |rule: usize| self.rules[rule].diluted;
        let count = fired.iter().filter(|&&(rule, _)| diluted(rule)).count();
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        if count > FULL {
            let share = (FULL / count).sqrt();
            for (rule, value) in fired {
                if diluted(*rule) {
                    *value *= share;
                }
            }
        }
    }

    /// What rules added to domains, the heaviest first, at most so many and none that is lighter
    /// than a hundredth.
    #[must_use]
    pub fn parts(&self, judgement: &Judgement, most: usize) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for &(rule, value) in &judgement.fired {
            let weights = self.rules[rule].weights.iter();
            parts.extend(
                weights
                    .map(|&(domain, weight)| Part {
                        rule,
                        domain,
                        weight: weight * value,
                    })
                    .filter(|part| part.weight.abs() >= 0.01),
            );
        }
        let heavier = |a: &Part, b: &Part| {
            b.weight
                .abs()
                .total_cmp(&a.weight.abs())
                .then((a.rule, a.domain).cmp(&(b.rule, b.domain)))
        };
        if parts.len() > most && most > 0 {
            parts.select_nth_unstable_by(most - 1, heavier);
        }
        parts.truncate(most);
        parts.sort_unstable_by(heavier);
        parts
    }
}

fn check(rules: &[Rule], domains: usize) -> Result<(), RuleError> {
    let mut names = HashSet::new();
    for rule in rules {
        let name = || rule.name.clone();
        if !names.insert(rule.name.as_str()) {
            return Err(RuleError::Twice(name()));
        }
        if !rule.patterns.is_empty() && rule.ramp.is_some() {
            return Err(RuleError::Both(name()));
        }
        if rule.patterns.is_empty() && rule.ramp.is_none() && rule.requires.is_empty() {
            return Err(RuleError::Nothing(name()));
        }
        let unknown = |what| RuleError::Unknown { rule: name(), what };
        for &(domain, weight) in &rule.weights {
            if domain >= domains {
                return Err(unknown("domain"));
            }
            finite(&rule.name, "a weight", weight)?;
        }
        if let Some(ramp) = &rule.ramp {
            if ramp.feature >= COUNT {
                return Err(unknown("feature"));
            }
            finite(&rule.name, "from", ramp.from)?;
            finite(&rule.name, "to", ramp.to)?;
        }
        for &other in rule.requires.iter().chain(&rule.unless) {
            let Some(other) = rules.get(other) else {
                return Err(unknown("rule"));
            };
            if !(other.requires.is_empty() && other.unless.is_empty()) {
                let other = other.name.clone();
                return Err(RuleError::Chained {
                    rule: name(),
                    other,
                });
            }
        }
    }
    Ok(())
}

fn finite(rule: &str, what: &'static str, value: f64) -> Result<(), RuleError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(RuleError::NotFinite {
        rule: rule.to_owned(),
        what,
        value: value.to_string(),
    })
}

/// What of a text is looked at: all of it, or its beginning and end.
#[must_use]
pub fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= HEAD + TAIL {
        return Cow::Borrowed(text);
    }
    let head = text.floor_char_boundary(HEAD);
    let tail = text.ceil_char_boundary(text.len() - TAIL);
    Cow::Owned([&text[..head], "\n", &text[tail..]].concat())
}

fn softmax(sums: &[f64], temperature: f64) -> Vec<f64> {
    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut out: Vec<f64> = sums
        .iter()
        .map(|sum| ((sum - highest) / temperature).exp())
        .collect();
    let total: f64 = out.iter().sum();
    for value in &mut out {
        *value /= total;
    }
    out
}

#[cfg(test)]
mod tests;
