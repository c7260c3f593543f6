//! Binding of the complexity room.

use cascadeflow_core::complexity::code::{CodeMetrics, Language, measure};
use cascadeflow_core::complexity::{Features, INPUTS, inputs, judge};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Texts this long take about a millisecond: others may run meanwhile.
const LONG: usize = 64 * 1024;

/// Language, constructs, and the counts in the order of the stub.
type Code = (&'static str, Vec<&'static str>, [usize; 12]);

fn code(metrics: &CodeMetrics) -> Code {
    (
        metrics.language.name(),
        metrics.construct_names().collect(),
        [
            metrics.blocks,
            metrics.lines,
            metrics.comment_lines,
            metrics.functions,
            metrics.classes,
            metrics.branches,
            metrics.loops,
            metrics.cyclomatic,
            metrics.nesting,
            metrics.identifiers,
            metrics.joins,
            metrics.subqueries,
        ],
    )
}

fn maybe_detached<T: Send>(py: Python<'_>, text: &str, work: impl FnOnce() -> T + Send) -> T {
    if text.len() >= LONG {
        py.detach(work)
    } else {
        work()
    }
}

/// What was counted in a request's text, to be judged with any domain.
#[pyclass(frozen, module = "cascadeflow._native")]
struct ComplexityFeatures(Features);

/// The level, the score, each part of the sum behind it.
type Judged = (&'static str, f64, Vec<(&'static str, f64)>);

#[pymethods]
impl ComplexityFeatures {
    #[new]
    fn new(py: Python<'_>, text: &str) -> Self {
        Self(maybe_detached(py, text, || Features::of(text)))
    }

    #[pyo3(signature = (earlier_words, domain=None))]
    fn judge(&self, earlier_words: usize, domain: Option<&str>) -> Judged {
        let (level, score, parts) = judge(&self.0, earlier_words, domain);
        let parts = parts.iter().map(|part| (part.what, part.weight)).collect();
        (level.name(), score, parts)
    }

    #[getter]
    fn code(&self) -> Option<Code> {
        self.0.code.as_ref().map(code)
    }
}

/// The names and values of what the score is a weighted sum of, before the domain and the context.
#[pyfunction]
fn complexity_inputs(py: Python<'_>, text: &str) -> Vec<(&'static str, f64)> {
    let values = maybe_detached(py, text, || inputs(&Features::of(text)));
    INPUTS.into_iter().zip(values).collect()
}

/// Measures a piece of code as a whole, in the language that is named or guessed.
#[pyfunction]
#[pyo3(signature = (source, language=None))]
fn measure_code(py: Python<'_>, source: &str, language: Option<&str>) -> PyResult<Code> {
    let language = match language {
        None => Language::guess(source),
        Some(name) => Language::from_tag(name).ok_or_else(|| {
            PyValueError::new_err(format!(
                "no such language: {name:?}; leave it out to have it guessed"
            ))
        })?,
    };
    let found = maybe_detached(py, source, || measure(source, language));
    Ok(code(&found))
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ComplexityFeatures>()?;
    module.add_function(wrap_pyfunction!(complexity_inputs, module)?)?;
    module.add_function(wrap_pyfunction!(measure_code, module)?)
}
