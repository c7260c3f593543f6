//! Binding of the quality room.

use cascadeflow_core::quality::check::Verdict;
use cascadeflow_core::quality::features::NAMES;
use cascadeflow_core::quality::format::ResponseFormat;
use cascadeflow_core::quality::format::schema::{Fit, fits};
use cascadeflow_core::quality::json::parse;
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
    response_format = None, schema = None, calls_tools = false, has_reasoning = false
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
fn judge_answer(
    py: Python<'_>,
    question: &str,
    answer: &str,
    instructions: &str,
    finish_reason: &str,
    refusal: Option<&str>,
    response_format: Option<&str>,
    schema: Option<&str>,
    calls_tools: bool,
    has_reasoning: bool,
) -> PyResult<(f64, bool, Vec<Listed>, Vec<f64>)> {
    let format = match (response_format, schema) {
        (None, None) => ResponseFormat::Text,
        (Some("json_object"), None) => ResponseFormat::Json,
        (Some("json_schema"), Some(schema)) => ResponseFormat::Schema(schema),
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
    let judgement = if question.len() + instructions.len() + answer.len() >= LONG {
        py.detach(|| judge(&draft))
    } else {
        judge(&draft)
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

/// Why a text is not JSON, or does not fit a schema; `None` when it is and does, or when the schema asks
/// what is not checked.
#[pyfunction]
#[pyo3(signature = (text, schema, /))]
fn check_json(text: &str, schema: &str) -> PyResult<Option<String>> {
    let schema = parse(schema).map_err(|error| {
        let message = format!("the schema is not JSON: {error}");
        PyValueError::new_err(message)
    })?;
    Ok(match parse(text) {
        Err(error) => Some(error.to_string()),
        Ok(value) => match fits(&value, &schema) {
            Fit::Fails(why) => Some(why),
            Fit::Fits | Fit::Unknown => None,
        },
    })
}

/// The names of the features, and the intercept and weights that make them a probability.
#[pyfunction]
fn quality_weights() -> (Vec<&'static str>, f64, Vec<f64>) {
    (NAMES.to_vec(), INTERCEPT, WEIGHTS.to_vec())
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(judge_answer, module)?)?;
    module.add_function(wrap_pyfunction!(check_json, module)?)?;
    module.add_function(wrap_pyfunction!(quality_weights, module)?)
}
