//! Binding of the quality room.

use cascadeflow_core::quality::check::Verdict;
use cascadeflow_core::quality::features::NAMES;
use cascadeflow_core::quality::format::ResponseFormat;
use cascadeflow_core::quality::outcome;
use cascadeflow_core::quality::schema::{Fit, JsonSchema as Schema};
use cascadeflow_core::quality::truncated::Finish;
use cascadeflow_core::quality::weights::{INTERCEPT, WEIGHTS};
use cascadeflow_core::quality::{Draft, judge};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Texts this long take about a millisecond: others may run meanwhile.
const LONG: usize = 32 * 1024;

/// A check's name, verdict, score and reason.
type Listed = (&'static str, &'static str, f64, String);

fn finish(name: &str) -> PyResult<Finish> {
    Ok(match name {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        "error" => Finish::Error,
        "unknown" => Finish::Unknown,
        other => {
            let message = format!("{other:?} is no reason to finish");
            return Err(PyValueError::new_err(message));
        }
    })
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::NotApplicable => "not_applicable",
    }
}

/// Judges an answer by its text: the probability that it is good enough, whether a check rejects it
/// outright, each check, and the features behind the probability.
#[pyfunction]
#[pyo3(signature = (
    question, answer, *, instructions = "", finish_reason = "unknown", refusal = None,
    response_format = None, schema = None, calls_tools = false, has_reasoning = false,
    without = Vec::new()
))]
#[expect(
    clippy::too_many_arguments,
    clippy::needless_pass_by_value,
    reason = "keyword-only in Python, and what Python hands over is owned"
)]
fn judge_answer(
    py: Python<'_>,
    question: &str,
    answer: &str,
    instructions: &str,
    finish_reason: &str,
    refusal: Option<&str>,
    response_format: Option<&str>,
    schema: Option<&Bound<'_, JsonSchema>>,
    calls_tools: bool,
    has_reasoning: bool,
    without: Vec<String>,
) -> PyResult<(f64, bool, Vec<Listed>, Vec<f64>)> {
    let format = match (response_format, schema) {
        (None, None) => ResponseFormat::Text,
        (Some("json_object"), None) => ResponseFormat::Json,
        (Some("json_schema"), Some(schema)) => ResponseFormat::Schema(&schema.get().inner),
        _ => {
            let message = "response_format is json_object, or json_schema with a schema";
            return Err(PyValueError::new_err(message));
        }
    };
    let draft = Draft {
        question,
        instructions,
        answer,
        finish: finish(finish_reason)?,
        refusal,
        format,
        calls_tools,
        has_reasoning,
    };
    // Parsing takes longer than the other rules.
    let parses = answer.len() >= LONG / 16 && answer.contains("```");
    let judgement = if parses || question.len() + instructions.len() + answer.len() >= LONG {
        py.detach(|| judge(&draft))
    } else {
        judge(&draft)
    };
    let judgement = if without.is_empty() {
        judgement
    } else {
        let names: Vec<&str> = without.iter().map(String::as_str).collect();
        judgement.without(&names)
    };
    let checks = judgement
        .checks
        .into_iter()
        .map(|check| {
            (
                check.name,
                verdict(check.verdict),
                check.score,
                check.reason,
            )
        })
        .collect();
    Ok((
        judgement.probability,
        judgement.rejected,
        checks,
        judgement.features.to_vec(),
    ))
}

/// A JSON schema, read once, to hold texts to.
#[pyclass(frozen, module = "cascadeflow._native")]
struct JsonSchema {
    inner: Schema,
}

#[pymethods]
impl JsonSchema {
    #[new]
    #[pyo3(signature = (schema, /))]
    fn new(schema: &str) -> PyResult<Self> {
        let inner = Schema::new(schema).map_err(|error| {
            let message = format!("the schema is not JSON: {error}");
            PyValueError::new_err(message)
        })?;
        Ok(Self { inner })
    }

    /// What a text is to the schema, and where and why.
    #[pyo3(signature = (text, /))]
    fn check(&self, py: Python<'_>, text: &str) -> (&'static str, String) {
        let checked = if text.len() >= LONG {
            py.detach(|| self.inner.check(text))
        } else {
            self.inner.check(text)
        };
        match checked {
            Err(error) => ("broken", error.to_string()),
            Ok(Fit::Fits) => ("fits", String::new()),
            Ok(Fit::Fails(why)) => ("fails", why),
            Ok(Fit::Unknown(why)) => ("unknown", why),
        }
    }
}

/// The words in which an answer finally says what it comes to, and a form to group it by.
#[pyfunction]
#[pyo3(signature = (text, /))]
fn final_answer(py: Python<'_>, text: &str) -> Option<(String, String)> {
    let find = || {
        let found = outcome::of(text)?;
        let normal = found.normal();
        Some((found.text, normal))
    };
    if text.len() >= LONG {
        py.detach(find)
    } else {
        find()
    }
}

/// Whether two answers come to the same; nothing when that cannot be said.
#[pyfunction]
#[pyo3(signature = (one, other, /))]
fn same_final_answer(py: Python<'_>, one: &str, other: &str) -> Option<bool> {
    if one.len() + other.len() >= LONG {
        py.detach(|| outcome::same(one, other))
    } else {
        outcome::same(one, other)
    }
}

/// The names of the features, and the intercept and weights that make them a probability.
#[pyfunction]
fn quality_weights() -> (Vec<&'static str>, f64, Vec<f64>) {
    (NAMES.to_vec(), INTERCEPT, WEIGHTS.to_vec())
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(judge_answer, module)?)?;
    module.add_class::<JsonSchema>()?;
    module.add_function(wrap_pyfunction!(final_answer, module)?)?;
    module.add_function(wrap_pyfunction!(same_final_answer, module)?)?;
    module.add_function(wrap_pyfunction!(quality_weights, module)?)
}
