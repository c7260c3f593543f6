//! What the ledger's calls are given and give back: windows, standings, refusals, settlements.

use cascadeflow_core::ledger::period;
use cascadeflow_core::ledger::{self as core, Cause};
use cascadeflow_core::money::Nanodollars;
use pyo3::prelude::*;

use super::reading::{instant, period_error, shown, whole};
use crate::errors::ConfigurationError;

/// Over which time a scope's money is counted.
#[pyclass(frozen, eq, hash, module = "cascadeflow._native", name = "Window")]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub(crate) struct PyWindow(pub(super) period::Window);

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

/// How one window of a scope stands. Nanodollars; Unix milliseconds.
#[pyclass(frozen, module = "cascadeflow._native", name = "WindowStanding")]
pub(super) struct PyWindowStanding(pub(super) core::WindowStanding);

#[pymethods]
impl PyWindowStanding {
    #[getter]
    fn window(&self) -> PyWindow {
        PyWindow(self.0.window)
    }

    #[getter]
    fn limit(&self) -> Option<u64> {
        self.0.limit.map(Nanodollars::get)
    }

    #[getter]
    fn spent(&self) -> u64 {
        self.0.spent.get()
    }

    #[getter]
    fn held(&self) -> u64 {
        self.0.held.get()
    }

    #[getter]
    fn starts_ms(&self) -> Option<i64> {
        self.0.starts_ms
    }

    #[getter]
    fn resets_ms(&self) -> Option<i64> {
        self.0.resets_ms
    }

    fn __repr__(&self) -> String {
        format!(
            "WindowStanding(window={}, limit={}, spent={}, held={}, starts_ms={}, resets_ms={})",
            self.window().__repr__(),
            or_none(self.limit()),
            self.0.spent.get(),
            self.0.held.get(),
            or_none(self.0.starts_ms),
            or_none(self.0.resets_ms),
        )
    }
}

fn or_none(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "None".to_owned(), |number| number.to_string())
}

/// Why a reservation was not made; nothing was held.
#[pyclass(frozen, module = "cascadeflow._native", name = "Refusal")]
pub(super) struct PyRefusal(pub(super) core::Refusal);

#[pymethods]
impl PyRefusal {
    /// `limit`: a window is full. `grant`: the scope's grant is; ask the store for more and try again.
    /// `stale`: the scope's handle was evicted; open it again.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.cause {
            Cause::Limit(_) => "limit",
            Cause::Grant { .. } => "grant",
            Cause::Stale => "stale",
        }
    }

    #[getter]
    fn scope(&self) -> u64 {
        self.0.scope.get()
    }

    #[getter]
    fn requested(&self) -> u64 {
        self.0.requested.get()
    }

    /// With `grant`: what the scope must be granted in all for this request to fit.
    #[getter]
    fn grant_needed(&self) -> Option<u64> {
        match self.0.cause {
            Cause::Grant { needed } => Some(needed.get()),
            Cause::Limit(_) | Cause::Stale => None,
        }
    }

    /// With `limit`: the window that is full, the one that resets last if there are several.
    #[getter]
    fn standing(&self) -> Option<PyWindowStanding> {
        match self.0.cause {
            Cause::Limit(standing) => Some(PyWindowStanding(standing)),
            Cause::Grant { .. } | Cause::Stale => None,
        }
    }

    fn __repr__(&self) -> String {
        let more = match (self.grant_needed(), self.standing()) {
            (Some(needed), _) => format!(", grant_needed={needed}"),
            (_, Some(standing)) => format!(", standing={}", standing.__repr__()),
            (None, None) => String::new(),
        };
        format!(
            "Refusal(kind='{}', scope={}, requested={}{more})",
            self.kind(),
            self.scope(),
            self.requested()
        )
    }
}

/// What became of a settlement.
#[pyclass(frozen, module = "cascadeflow._native", name = "Settlement")]
pub(super) struct PySettlement(pub(super) core::Settlement);

#[pymethods]
impl PySettlement {
    /// `corrected`: the hold had expired, and what it was booked at is now this. `already`: it had
    /// ended before; nothing changed.
    #[getter]
    fn outcome(&self) -> &'static str {
        self.0.outcome.name()
    }

    /// The largest part's nanodollars that are booked for the hold now; `None` with `already`.
    #[getter]
    fn booked(&self) -> Option<u64> {
        self.0.booked.map(Nanodollars::get)
    }

    /// By how much a part exceeds what was held for it, at most.
    #[getter]
    fn overrun(&self) -> u64 {
        self.0.overrun.get()
    }

    fn __repr__(&self) -> String {
        format!(
            "Settlement(outcome='{}', booked={}, overrun={})",
            self.outcome(),
            or_none(self.booked()),
            self.overrun()
        )
    }
}
