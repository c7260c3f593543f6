//! Binding of the domain rules.

use std::collections::HashMap;

use cascadeflow_core::domains::rule::{Place, Ramp, Rule};
use cascadeflow_core::domains::structure::NAMES;
use cascadeflow_core::domains::{DomainRules as Rules, HEAD, TAIL};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// What comes of what was heaviest; more would only take time to hand over.
const MOST_PARTS: usize = 16;

/// What is worth letting other threads run for: some hundred microseconds.
const LONG: usize = 8 * 1024;

/// A rule as Python hands it over: name, weights by domain, patterns, (first, last, line), least,
/// (feature, from, to), required rules, excluding rules, whether it is diluted.
type Record = (
    String,
    Vec<(String, f64)>,
    Vec<String>,
    (Option<u32>, Option<u32>, bool),
    u32,
    Option<(String, f64, f64)>,
    Vec<String>,
    Vec<String>,
    bool,
);

/// A rule's name, a domain and what it adds.
type Listed = (Py<PyString>, Py<PyString>, f64);

/// Weighted rules, ready to judge requests; see `cascadeflow.domains.rules`.
#[pyclass(frozen, module = "cascadeflow._native")]
struct DomainRules {
    inner: Rules,
    domains: Vec<Py<PyString>>,
    names: Vec<Py<PyString>>,
    evidence_names: Vec<String>,
    /// How many of the domains, the first ones, belong to the evidence.
    evidence_domains: usize,
}

fn index_of<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    names.enumerate().map(|(at, name)| (name, at)).collect()
}

fn find(index: &HashMap<&str, usize>, rule: &str, what: &str, name: &str) -> PyResult<usize> {
    index.get(name).copied().ok_or_else(|| {
        let message = format!("rule {rule:?} names the {what} {name:?}, which does not exist");
        PyValueError::new_err(message)
    })
}

fn read(records: Vec<Record>, domains: &[String]) -> PyResult<Vec<Rule>> {
    let domain_index = index_of(domains.iter().map(String::as_str));
    let feature_index = index_of(NAMES.into_iter());
    let names: Vec<String> = records.iter().map(|record| record.0.clone()).collect();
    let rule_index = index_of(names.iter().map(String::as_str));
    records
        .into_iter()
        .map(
            |(name, weights, patterns, place, least, feature, requires, unless, diluted)| {
                let weights = weights
                    .into_iter()
                    .map(|(domain, weight)| {
                        Ok((find(&domain_index, &name, "domain", &domain)?, weight))
                    })
                    .collect::<PyResult<_>>()?;
                let ramp = feature
                    .map(|(feature, from, to)| {
                        find(&feature_index, &name, "feature", &feature).map(|feature| Ramp {
                            feature,
                            from,
                            to,
                        })
                    })
                    .transpose()?;
                let rules = |others: &[String]| {
                    let found = others
                        .iter()
                        .map(|other| find(&rule_index, &name, "rule", other));
                    found.collect::<PyResult<Vec<usize>>>()
                };
                let (first, last, line) = place;
                Ok(Rule {
                    requires: rules(&requires)?,
                    unless: rules(&unless)?,
                    name,
                    weights,
                    patterns,
                    place: Place { first, last, line },
                    least,
                    ramp,
                    diluted,
                })
            },
        )
        .collect()
}

#[pymethods]
impl DomainRules {
    #[new]
    #[pyo3(signature = (domains, rules, *, intercepts, temperature = 1.0, evidence_domains = None))]
    fn new(
        py: Python<'_>,
        domains: Vec<String>,
        rules: Vec<Record>,
        intercepts: Vec<f64>,
        temperature: f64,
        evidence_domains: Option<usize>,
    ) -> PyResult<Self> {
        if intercepts.len() != domains.len() {
            let message = format!("{} domains, {} intercepts", domains.len(), intercepts.len());
            return Err(PyValueError::new_err(message));
        }
        let evidence_domains = evidence_domains.unwrap_or(domains.len());
        let Some(of_evidence) = domains.get(..evidence_domains) else {
            let message = format!(
                "evidence_domains is {evidence_domains} of {}",
                domains.len()
            );
            return Err(PyValueError::new_err(message));
        };
        let evidence_names = NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .chain(of_evidence.iter().map(|domain| format!("rules: {domain}")))
            .collect();
        let rules = read(rules, &domains)?;
        let inner = py
            .detach(|| Rules::new(rules, intercepts, temperature))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let interned = |name: &str| PyString::intern(py, name).unbind();
        Ok(Self {
            domains: domains.into_iter().map(|name| interned(&name)).collect(),
            names: inner
                .rules()
                .iter()
                .map(|rule| interned(&rule.name))
                .collect(),
            inner,
            evidence_names,
            evidence_domains,
        })
    }

    /// Each domain's probability, in the order of the domains, and what rules added to domains'
    /// log-odds, the heaviest first.
    #[pyo3(signature = (text, /))]
    fn judge(&self, py: Python<'_>, text: &str) -> (Vec<f64>, Vec<Listed>) {
        let judge = || {
            let judgement = self.inner.judge(text);
            let parts = self.inner.parts(&judgement, MOST_PARTS);
            (judgement.probabilities, parts)
        };
        let (probabilities, parts) = if text.len() >= LONG {
            py.detach(judge)
        } else {
            judge()
        };
        let listed = parts
            .into_iter()
            .map(|part| {
                let rule = self.names[part.rule].clone_ref(py);
                (rule, self.domains[part.domain].clone_ref(py), part.weight)
            })
            .collect();
        (probabilities, listed)
    }

    /// The structural features, then the rules' log-odds for each domain, in the order of
    /// `evidence_names`.
    #[pyo3(signature = (text, /))]
    fn evidence(&self, py: Python<'_>, text: &str) -> Vec<f64> {
        let judge = || self.inner.judge(text);
        let judgement = if text.len() >= LONG {
            py.detach(judge)
        } else {
            judge()
        };
        let sums = &judgement.sums[..self.evidence_domains];
        judgement.features.iter().chain(sums).copied().collect()
    }

    /// What each number of `evidence` is.
    fn evidence_names(&self) -> Vec<String> {
        self.evidence_names.clone()
    }

    /// What the rules found, as (index, value), for fitting their weights.
    #[pyo3(signature = (text, /))]
    fn fired(&self, text: &str) -> Vec<(usize, f64)> {
        self.inner.judge(text).fired
    }
}

/// The names of the structural features, each between 0 and 1, that a rule may be written on.
#[pyfunction]
fn domain_features() -> Vec<&'static str> {
    NAMES.to_vec()
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DomainRules>()?;
    module.add_function(wrap_pyfunction!(domain_features, module)?)?;
    module.add("DOMAIN_RULES_HEAD", HEAD)?;
    module.add("DOMAIN_RULES_TAIL", TAIL)
}
