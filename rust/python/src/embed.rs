//! Binding of the embed room.
#![expect(
    clippy::needless_pass_by_value,
    reason = "PyO3 and map_err hand their arguments over by value"
)]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use cascadeflow_embed as embed;
use embed::{Activation, EmbedError, ModelFiles, Text, TextModelOptions, runtime};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString};

pyo3::import_exception!(cascadeflow.errors, CascadeFlowError);
pyo3::import_exception!(cascadeflow.errors, ConfigurationError);
pyo3::import_exception!(cascadeflow.errors, InvalidRequestError);

/// From so many multiplications on, vectors are compared without the interpreter's lock: they take about
/// a millisecond on a machine without wide registers.
const DETACH_FROM: usize = 1 << 22;

/// One map for everything that the embed room refuses.
fn refuse(error: EmbedError) -> PyErr {
    let text = error.to_string();
    match error {
        EmbedError::Missing { .. }
        | EmbedError::Unreadable { .. }
        | EmbedError::Unusable { .. }
        | EmbedError::Option(_)
        | EmbedError::NotLoaded
        | EmbedError::OtherRuntime { .. }
        | EmbedError::RuntimeVersion { .. } => ConfigurationError::new_err(text),
        EmbedError::Invalid(_) => InvalidRequestError::new_err(text),
        EmbedError::Inference { .. } => CascadeFlowError::new_err(text),
    }
}

#[pyfunction]
#[pyo3(signature = (path, /))]
fn load_onnx_runtime(py: Python<'_>, path: PathBuf) -> PyResult<&'static str> {
    // No telemetry home, and none from what this process starts; who wants it has set the variable. It
    // is set by Python's own means, so that `os.environ` and the process agree.
    let environment = py.import("os")?.getattr("environ")?;
    environment.call_method1("setdefault", (runtime::TELEMETRY_SWITCH, "1"))?;
    // Opening the library reads tens of megabytes.
    py.detach(|| runtime::load(&path))
        .map(runtime::Runtime::version)
        .map_err(refuse)
}

#[pyfunction]
fn onnx_runtime_version() -> Option<&'static str> {
    runtime::current().ok().map(runtime::Runtime::version)
}

/// Rows of 32-bit numbers, all of one dimension.
#[pyclass(frozen, module = "cascadeflow._native")]
struct Vectors(embed::Vectors);

#[pymethods]
impl Vectors {
    #[new]
    #[pyo3(signature = (rows, /))]
    fn new(rows: Vec<Vec<f32>>) -> PyResult<Self> {
        let dimension = rows.first().map_or(0, Vec::len);
        if let Some(odd) = rows.iter().position(|row| row.len() != dimension) {
            return Err(refuse(EmbedError::Invalid(format!(
                "vector {odd} has {} numbers, the first has {dimension}",
                rows[odd].len()
            ))));
        }
        let vectors = embed::Vectors::new(rows.concat(), dimension);
        vectors.map(Self).map_err(refuse)
    }

    #[staticmethod]
    fn from_bytes(data: &[u8], dimension: usize) -> PyResult<Self> {
        let (numbers, rest) = data.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(refuse(EmbedError::Invalid(format!(
                "{} bytes are no whole 32-bit numbers",
                data.len()
            ))));
        }
        let values = numbers
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        embed::Vectors::new(values, dimension)
            .map(Self)
            .map_err(refuse)
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[pyo3(signature = (start, end, /))]
    fn columns(&self, start: usize, end: usize) -> PyResult<Self> {
        self.0.columns(start, end).map(Self).map_err(refuse)
    }

    fn tolist(&self) -> Vec<Vec<f32>> {
        self.0.rows().map(<[f32]>::to_vec).collect()
    }

    fn tobytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes: Vec<u8> = self
            .0
            .values()
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        PyBytes::new(py, &bytes)
    }

    fn normalised(&self) -> PyResult<Self> {
        self.0.normalised().map(Self).map_err(refuse)
    }

    fn dots(&self, py: Python<'_>, other: &Self) -> PyResult<Vec<Vec<f32>>> {
        self.detached(py, other.0.len(), || self.0.dots(&other.0))
    }

    fn cosines(&self, py: Python<'_>, other: &Self) -> PyResult<Vec<Vec<f32>>> {
        self.detached(py, other.0.len(), || self.0.cosines(&other.0))
    }

    fn top_k(&self, py: Python<'_>, query: &Self, k: usize) -> PyResult<Vec<(usize, f32)>> {
        let query = only(query)?;
        self.detached(py, 1, || self.0.top_k(query, k))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<Self> {
        let from_start = if index < 0 {
            self.0.len().checked_add_signed(index)
        } else {
            index.try_into().ok()
        };
        let row = from_start.and_then(|index| self.0.row(index));
        let row = row.ok_or_else(|| {
            PyIndexError::new_err(format!("no vector {index} among {}", self.0.len()))
        })?;
        self.one(row)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let rows: PyResult<Vec<_>> = self.0.rows().map(|row| self.one(row)).collect();
        PyList::new(py, rows?)?.try_iter()
    }

    fn __repr__(&self) -> String {
        format!(
            "Vectors({} of {} numbers)",
            self.0.len(),
            self.0.dimension()
        )
    }
}

impl Vectors {
    /// A row as vectors of its own.
    fn one(&self, row: &[f32]) -> PyResult<Self> {
        embed::Vectors::new(row.to_vec(), self.0.dimension())
            .map(Self)
            .map_err(refuse)
    }

    /// Runs `work` on every row times `times`, without the interpreter's lock when that takes long.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        times: usize,
        work: impl FnOnce() -> embed::Result<T> + Send,
    ) -> PyResult<T> {
        if self.0.values().len().saturating_mul(times) < DETACH_FROM {
            work().map_err(refuse)
        } else {
            py.detach(work).map_err(refuse)
        }
    }
}

/// The one vector that a query is.
fn only(query: &Vectors) -> PyResult<&[f32]> {
    match query.0.len() {
        1 => Ok(query.0.values()),
        count => Err(refuse(EmbedError::Invalid(format!(
            "a query is one vector, not {count}"
        )))),
    }
}

/// Routes known by examples.
#[pyclass(frozen, module = "cascadeflow._native")]
struct ExampleIndex(embed::ExampleIndex);

/// By route the cosine with its mean, by route that with its nearest example, and the nearest examples.
type Scores = (Vec<f32>, Vec<f32>, Vec<(usize, f32)>);

#[pymethods]
impl ExampleIndex {
    #[new]
    #[pyo3(signature = (examples, routes, *, variance, strength))]
    fn new(
        py: Python<'_>,
        examples: &Vectors,
        routes: Vec<usize>,
        variance: f64,
        strength: f64,
    ) -> PyResult<Self> {
        py.detach(|| embed::ExampleIndex::new(&examples.0, &routes, variance, strength))
            .map(Self)
            .map_err(refuse)
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn cohesion(&self) -> Vec<f32> {
        self.0.cohesion().to_vec()
    }

    #[getter]
    fn nearness(&self) -> (f32, f32, Option<f32>, Option<f32>) {
        let found = self.0.nearness();
        (
            found.own_mean,
            found.own_nearest,
            found.other_mean,
            found.other_nearest,
        )
    }

    #[pyo3(signature = (query, *, nearest))]
    fn score(&self, query: &Vectors, nearest: usize) -> PyResult<Scores> {
        let found = self.0.score(only(query)?, nearest).map_err(refuse)?;
        Ok((found.means, found.nearest, found.examples))
    }

    fn __len__(&self) -> usize {
        self.0.cohesion().len()
    }

    fn __repr__(&self) -> String {
        format!("ExampleIndex({} routes)", self.0.cohesion().len())
    }
}

/// Texts to vectors of length one.
#[pyclass(frozen, module = "cascadeflow._native")]
struct SentenceEmbedder(embed::SentenceEmbedder);

#[pymethods]
impl SentenceEmbedder {
    #[new]
    #[pyo3(signature = (
        model, tokenizer, *, external_data=None, max_tokens=256, sessions=1, threads=1,
        max_batch_tokens=2048, output=None, parts=1
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        tokenizer: PathBuf,
        external_data: Option<BTreeMap<String, PathBuf>>,
        max_tokens: usize,
        sessions: usize,
        threads: usize,
        max_batch_tokens: usize,
        output: Option<String>,
        parts: usize,
    ) -> PyResult<Self> {
        let files = files(model, external_data);
        let options = options(max_tokens, sessions, threads, max_batch_tokens, output)?;
        let parts = at_least_one("parts", parts)?;
        py.detach(|| embed::SentenceEmbedder::open(files, &tokenizer, &options, parts))
            .map(Self)
            .map_err(refuse)
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn max_tokens(&self) -> usize {
        self.0.max_tokens()
    }

    fn embed(&self, py: Python<'_>, texts: Vec<Bound<'_, PyString>>) -> PyResult<Vectors> {
        let texts: Vec<_> = texts.iter().map(utf8).collect::<PyResult<_>>()?;
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        py.detach(|| self.0.embed(&texts))
            .map(Vectors)
            .map_err(refuse)
    }

    fn __repr__(&self) -> String {
        format!("SentenceEmbedder({})", self.0.path().display())
    }
}

/// Texts to the probabilities of labels.
#[pyclass(frozen, module = "cascadeflow._native")]
struct TextClassifier(embed::TextClassifier);

#[derive(FromPyObject)]
enum OneOrTwo<'py> {
    #[pyo3(transparent, annotation = "str")]
    One(Bound<'py, PyString>),
    #[pyo3(transparent, annotation = "tuple[str, str]")]
    Pair((Bound<'py, PyString>, Bound<'py, PyString>)),
}

#[pymethods]
impl TextClassifier {
    #[new]
    #[pyo3(signature = (
        model, tokenizer, *, activation, external_data=None, max_tokens=256, sessions=1, threads=1,
        max_batch_tokens=2048, output=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        tokenizer: PathBuf,
        activation: &str,
        external_data: Option<BTreeMap<String, PathBuf>>,
        max_tokens: usize,
        sessions: usize,
        threads: usize,
        max_batch_tokens: usize,
        output: Option<String>,
    ) -> PyResult<Self> {
        let activation = match activation {
            "softmax" => Activation::Softmax,
            "sigmoid" => Activation::Sigmoid,
            other => {
                return Err(refuse(EmbedError::Option(format!(
                    "activation is \"softmax\" or \"sigmoid\", not {other:?}"
                ))));
            }
        };
        let files = files(model, external_data);
        let options = options(max_tokens, sessions, threads, max_batch_tokens, output)?;
        py.detach(|| embed::TextClassifier::open(files, &tokenizer, &options, activation))
            .map(Self)
            .map_err(refuse)
    }

    #[getter]
    fn labels(&self) -> usize {
        self.0.labels()
    }

    #[getter]
    fn max_tokens(&self) -> usize {
        self.0.max_tokens()
    }

    fn classify(&self, py: Python<'_>, texts: Vec<OneOrTwo<'_>>) -> PyResult<Vec<Vec<f32>>> {
        let mut owned = Vec::with_capacity(texts.len());
        for text in &texts {
            owned.push(match text {
                OneOrTwo::One(one) => (utf8(one)?, None),
                OneOrTwo::Pair((first, second)) => (utf8(first)?, Some(utf8(second)?)),
            });
        }
        let texts: Vec<_> = owned
            .iter()
            .map(|(first, second)| match second {
                None => Text::One(first),
                Some(second) => Text::Pair(first, second),
            })
            .collect();
        py.detach(|| self.0.classify(&texts)).map_err(refuse)
    }

    fn __repr__(&self) -> String {
        format!("TextClassifier({})", self.0.path().display())
    }
}

fn files(model: PathBuf, external_data: Option<BTreeMap<String, PathBuf>>) -> ModelFiles {
    ModelFiles {
        model,
        external_data: external_data.unwrap_or_default().into_iter().collect(),
    }
}

fn options(
    max_tokens: usize,
    sessions: usize,
    threads: usize,
    max_batch_tokens: usize,
    output: Option<String>,
) -> PyResult<TextModelOptions> {
    Ok(TextModelOptions {
        max_tokens,
        sessions: at_least_one("sessions", sessions)?,
        threads: at_least_one("threads", threads)?,
        max_batch_tokens,
        output,
    })
}

fn at_least_one(name: &str, number: usize) -> PyResult<NonZeroUsize> {
    NonZeroUsize::new(number)
        .ok_or_else(|| refuse(EmbedError::Option(format!("{name} must be at least 1"))))
}

/// The text as UTF-8, halves of surrogate pairs joined or replaced by U+FFFD: a request that holds one
/// is still read.
fn utf8(text: &Bound<'_, PyString>) -> PyResult<String> {
    if let Ok(text) = text.to_cow() {
        return Ok(text.into_owned());
    }
    text.call_method1("encode", ("utf-16", "surrogatepass"))?
        .call_method1("decode", ("utf-16", "replace"))?
        .extract()
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(load_onnx_runtime, module)?)?;
    module.add_function(wrap_pyfunction!(onnx_runtime_version, module)?)?;
    module.add_class::<Vectors>()?;
    module.add_class::<ExampleIndex>()?;
    module.add_class::<SentenceEmbedder>()?;
    module.add_class::<TextClassifier>()
}
