//! Binding of what the checks by local models count in texts.

use cascadeflow_core::local::{ngrams, overlap, support};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::ops::Range;

/// Texts this long take about a millisecond: others may run meanwhile.
const LONG: usize = 16 * 1024;

/// Characters of a sentence that are handed out: more than a model reads.
const SHOWN: usize = 2_000;

fn unlocked<T: Send>(py: Python<'_>, length: usize, work: impl FnOnce() -> T + Send) -> T {
    if length >= LONG {
        py.detach(work)
    } else {
        work()
    }
}

fn shown(text: &str, range: Range<usize>) -> String {
    text[range].chars().take(SHOWN).collect()
}

/// A linear model over hashed n-grams.
#[pyclass(frozen, module = "cascadeflow._native")]
struct NgramModel(ngrams::NgramModel);

#[pymethods]
impl NgramModel {
    #[new]
    #[pyo3(signature = (weights, *, scale, bias))]
    fn new(weights: &Bound<'_, PyBytes>, scale: f32, bias: f32) -> PyResult<Self> {
        let weights = weights.as_bytes().iter().map(|byte| byte.cast_signed());
        ngrams::NgramModel::new(weights.collect(), scale, bias)
            .map(Self)
            .ok_or_else(|| PyValueError::new_err("the weights must be as many as a power of two"))
    }

    #[pyo3(signature = (text, /))]
    fn logit(&self, py: Python<'_>, text: &str) -> f32 {
        unlocked(py, text.len(), || self.0.logit(text))
    }

    #[pyo3(signature = (text, /, *, characters, count))]
    fn worst(
        &self,
        py: Python<'_>,
        text: &str,
        characters: usize,
        count: usize,
    ) -> Vec<(f32, String)> {
        unlocked(py, text.len(), || {
            self.0
                .worst(text, characters, count)
                .into_iter()
                .map(|(logit, range)| (logit, text[range].to_owned()))
                .collect()
        })
    }
}

/// The hashes of a text's distinct n-grams.
#[pyfunction]
#[pyo3(signature = (text, /))]
fn ngram_features(py: Python<'_>, text: &str) -> Vec<u64> {
    unlocked(py, text.len(), || ngrams::features(text))
}

/// What an answer has of its question.
#[pyfunction]
#[pyo3(signature = (question, answer, /))]
fn relevance_measures(py: Python<'_>, question: &str, answer: &str) -> Vec<f32> {
    unlocked(py, question.len() + answer.len(), || {
        overlap::measures(question, answer).to_vec()
    })
}

/// A sentence, what was counted, the documents' sentences nearest to it, and what is missing there.
type Claim = (String, Vec<f32>, Vec<String>, Vec<String>);

/// What documents have of the sentences of an answer.
#[pyfunction]
#[pyo3(signature = (documents, answer, /))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands its arguments over by value"
)]
fn grounding_claims(py: Python<'_>, documents: Vec<String>, answer: &str) -> Vec<Claim> {
    let length = documents.iter().map(String::len).sum::<usize>() + answer.len();
    unlocked(py, length, || {
        let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
        support::Documents::new(&texts)
            .claims(answer)
            .into_iter()
            .map(|claim| {
                let near = claim.candidates.into_iter();
                (
                    shown(answer, claim.range),
                    claim.measures.to_vec(),
                    near.map(|(document, range)| shown(texts[document], range))
                        .collect(),
                    claim.missing,
                )
            })
            .collect()
    })
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("RELEVANCE_MEASURES", PyTuple::new(py, overlap::NAMES)?)?;
    module.add("GROUNDING_MEASURES", PyTuple::new(py, support::NAMES)?)?;
    module.add_class::<NgramModel>()?;
    module.add_function(wrap_pyfunction!(ngram_features, module)?)?;
    module.add_function(wrap_pyfunction!(relevance_measures, module)?)?;
    module.add_function(wrap_pyfunction!(grounding_claims, module)?)
}
