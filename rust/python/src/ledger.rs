//! Binding of the ledger.

use cascadeflow_core::ledger::period::{self, EARLIEST_MS, LATEST_MS, PeriodError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

use crate::errors::{ConfigurationError, InvalidRequestError};

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err hands its argument over by value"
)]
fn period_error(error: PeriodError) -> PyErr {
    ConfigurationError::new_err(error.to_string())
}

/// Reads a whole number: a `bool` is none, and neither is anything that has to be rounded.
fn whole(value: &Bound<'_, PyAny>) -> Option<i64> {
    if value.is_exact_instance_of::<PyInt>()
        || (value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>())
    {
        value.extract().ok()
    } else {
        None
    }
}

/// What was given, cut short: an int may have too many digits to be shown at all.
fn shown(value: &Bound<'_, PyAny>) -> String {
    match value.repr() {
        Ok(text) => text.to_string().chars().take(80).collect(),
        Err(_) => "a number of too many digits".to_owned(),
    }
}

/// Reads an instant.
fn instant(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    whole(value)
        .filter(|ms| (EARLIEST_MS..=LATEST_MS).contains(ms))
        .ok_or_else(|| {
            InvalidRequestError::new_err(format!(
                "a time is whole Unix milliseconds of the years 5 to 9987, not {}",
                shown(value)
            ))
        })
}

/// Over which time a scope's money is counted.
#[pyclass(frozen, eq, hash, module = "cascadeflow._native", name = "Window")]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub(crate) struct PyWindow(period::Window);

#[pymethods]
impl PyWindow {
    #[staticmethod]
    fn day(zone: &str) -> PyResult<Self> {
        period::Window::day(zone).map(Self).map_err(period_error)
    }

    /// ISO weeks: from Monday to Sunday.
    #[staticmethod]
    fn week(zone: &str) -> PyResult<Self> {
        period::Window::week(zone).map(Self).map_err(period_error)
    }

    #[staticmethod]
    fn month(zone: &str) -> PyResult<Self> {
        period::Window::month(zone).map(Self).map_err(period_error)
    }

    #[staticmethod]
    fn total() -> Self {
        Self(period::Window::total())
    }

    /// The last `seconds`, in so many buckets, each counted until it lies wholly outside.
    #[staticmethod]
    fn rolling(seconds: &Bound<'_, PyAny>, buckets: &Bound<'_, PyAny>) -> PyResult<Self> {
        let natural = |value: &Bound<'_, PyAny>, what: &str| {
            whole(value)
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(|| {
                    let message = format!(
                        "a rolling window's {what} are a whole number, not {}",
                        shown(value)
                    );
                    ConfigurationError::new_err(message)
                })
        };
        period::Window::rolling(natural(seconds, "seconds")?, natural(buckets, "buckets")?)
            .map(Self)
            .map_err(period_error)
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind().name()
    }

    /// The instance that holds at an instant: its start and its end, Unix milliseconds.
    fn period(&self, now_ms: &Bound<'_, PyAny>) -> PyResult<(Option<i64>, Option<i64>)> {
        let index = self.0.index(instant(now_ms)?);
        let oldest = index + 1 - i64::try_from(self.0.buckets())?;
        Ok((self.0.bounds(oldest).0, self.0.bounds(index).1))
    }

    fn __repr__(&self) -> String {
        let kind = self.0.kind().name();
        if let Some(zone) = self.0.zone() {
            format!("Window.{kind}({zone:?})")
        } else if let Some((seconds, buckets)) = self.0.rolls() {
            format!("Window.{kind}({seconds}, {buckets})")
        } else {
            format!("Window.{kind}()")
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyWindow>()
}
