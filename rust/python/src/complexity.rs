//! Binding of the complexity room.

use cascadeflow_core::complexity::assess;
use pyo3::prelude::*;

/// Texts this long take about a millisecond: others may run meanwhile.
const LONG: usize = 64 * 1024;

/// Judges how hard a request is: its level, its score, and each part of the sum behind it.
#[pyfunction]
fn assess_complexity(
    py: Python<'_>,
    text: &str,
    earlier_words: usize,
) -> (&'static str, f64, Vec<(&'static str, f64)>) {
    let found = if text.len() >= LONG {
        py.detach(|| assess(text, earlier_words))
    } else {
        assess(text, earlier_words)
    };
    let parts = found
        .parts
        .iter()
        .map(|part| (part.what, part.weight))
        .collect();
    (found.level.name(), found.score, parts)
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(assess_complexity, module)?)
}
