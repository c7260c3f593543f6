//! Binding of the tokens room.

use std::borrow::Cow;

use cascadeflow_tokens as tokens;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// From so many bytes on a text is worked on without the interpreter's lock: the slowest of
/// `OpenAI`'s texts takes about a millisecond for as many.
const DETACH_FROM: usize = 8 * 1024;

/// The same for a `tokenizer.json`, whose rules are run by slower engines.
const DETACH_FILE_FROM: usize = 1024;

/// One of `OpenAI`'s vocabularies.
#[pyclass(frozen, module = "cascadeflow._native")]
struct Vocabulary(&'static tokens::Vocabulary);

#[pymethods]
impl Vocabulary {
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        // The first use of a name unpacks it, which takes milliseconds.
        py.detach(|| tokens::Vocabulary::by_name(name))
            .map(Self)
            .ok_or_else(|| PyValueError::new_err(format!("no vocabulary is called {name:?}")))
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn count(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let text = utf8(text)?;
        Ok(run(py, &text, DETACH_FROM, |text| self.0.count(text)))
    }

    fn encode(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<Vec<u32>> {
        let text = utf8(text)?;
        Ok(run(py, &text, DETACH_FROM, |text| self.0.encode(text)))
    }

    fn tokens(&self) -> Vec<Cow<'static, [u8]>> {
        self.0.tokens().map(Cow::Borrowed).collect()
    }
}

/// A tokenizer from a `tokenizer.json`.
#[pyclass(frozen, module = "cascadeflow._native")]
struct Tokenizer(tokens::Tokenizer);

#[pymethods]
impl Tokenizer {
    #[new]
    fn new(py: Python<'_>, json: &[u8]) -> PyResult<Self> {
        py.detach(|| tokens::Tokenizer::from_json(json))
            .map(Self)
            .map_err(|error| tokenizer_error(&error))
    }

    fn count(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let text = utf8(text)?;
        run(py, &text, DETACH_FILE_FROM, |text| self.0.count(text))
            .map_err(|error| tokenizer_error(&error))
    }

    fn encode(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<Vec<u32>> {
        let text = utf8(text)?;
        run(py, &text, DETACH_FILE_FROM, |text| self.0.encode(text))
            .map_err(|error| tokenizer_error(&error))
    }

    fn names_a_special_token(&self, text: &Bound<'_, PyString>) -> PyResult<bool> {
        Ok(self.0.names_a_special_token(&utf8(text)?))
    }
}

fn tokenizer_error(error: &tokens::TokenizerError) -> PyErr {
    match error {
        tokens::TokenizerError::Format(_) | tokens::TokenizerError::Text(_) => {
            PyValueError::new_err(error.to_string())
        }
    }
}

fn run<T: Send>(
    py: Python<'_>,
    text: &str,
    detach_from: usize,
    work: impl FnOnce(&str) -> T + Send,
) -> T {
    if text.len() < detach_from {
        work(text)
    } else {
        py.detach(|| work(text))
    }
}

/// The text as UTF-8. Halves of surrogate pairs, which UTF-8 cannot hold, are joined where they
/// stand together and replaced by U+FFFD where they stand alone, as tiktoken does.
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
    if let Ok(text) = text.to_cow() {
        return Ok(text);
    }
    let paired = text
        .call_method1("encode", ("utf-16", "surrogatepass"))?
        .call_method1("decode", ("utf-16", "replace"))?;
    Ok(Cow::Owned(paired.extract()?))
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Vocabulary>()?;
    module.add_class::<Tokenizer>()?;
    Ok(())
}
