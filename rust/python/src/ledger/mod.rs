//! Binding of the ledger.
//!
//! A reservation and its settlement are on every request's path: what they are given is read without
//! an allocation, and they stay attached, since they take less than detaching does.

use cascadeflow_core::ledger::period::LATEST_MS;
use cascadeflow_core::ledger::{self as core, HoldId, Opening, Reservation, ScopeId};
use cascadeflow_core::money::Nanodollars;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{ConfigurationError, InvalidRequestError};

use self::reading::{
    Few, MAX_LATE_SECONDS, Parts, hold_id, instant, key, ledger_error, limits, money, no_amount,
    scope_id, shown, whole,
};
use self::records::{PyRefusal, PySettlement, PyWindow, PyWindowStanding};

mod reading;
mod records;

/// Scopes, their windows, and holds on them. All-or-nothing, lock-free, never over.
#[pyclass(frozen, module = "cascadeflow._native", name = "Ledger")]
struct PyLedger(core::Ledger);

#[pymethods]
impl PyLedger {
    #[new]
    #[pyo3(signature = (*, late_seconds = None), text_signature = "(*, late_seconds=86400)")]
    fn new(late_seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let late = match late_seconds {
            None => 86_400,
            Some(value) => whole(value)
                .filter(|seconds| (0..=MAX_LATE_SECONDS).contains(seconds))
                .ok_or_else(|| {
                    let message = format!(
                        "late_seconds is a whole number from 0 to {MAX_LATE_SECONDS}, not {}",
                        shown(value)
                    );
                    ConfigurationError::new_err(message)
                })?,
        };
        Ok(Self(core::Ledger::new(late * 1000)))
    }

    /// Opens a scope, or gives the handle of the open one unchanged.
    #[pyo3(
        signature = (
            kind, name, limits, now_ms, *, spent = None, spent_total = None, grant = None
        ),
        text_signature = "($self, kind, name, limits, now_ms, *, spent=(), spent_total=0, grant=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn open_scope(
        &self,
        kind: &str,
        name: &str,
        limits: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
        spent: Option<&Bound<'_, PyAny>>,
        spent_total: Option<&Bound<'_, PyAny>>,
        grant: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let limits = self::limits(limits)?;
        let mut spendings = Vec::new();
        if let Some(spent) = spent {
            for amount in spent.try_iter()? {
                spendings.push(money(&amount?)?);
            }
        }
        if spendings.len() > limits.len() {
            return Err(InvalidRequestError::new_err(format!(
                "spent has an amount for each of the {} windows at most, not {}",
                limits.len(),
                spendings.len()
            )));
        }
        let opening = Opening {
            spent: &spendings,
            total: spent_total.map(money).transpose()?.unwrap_or_default(),
            grant: grant.map(money).transpose()?,
        };
        self.0
            .open_scope(kind, name, &limits, instant(now_ms)?, &opening)
            .map(ScopeId::get)
            .map_err(ledger_error)
    }

    fn find_scope(&self, kind: &str, name: &str) -> Option<u64> {
        self.0.find_scope(kind, name).map(ScopeId::get)
    }

    fn scope_name(&self, scope: &Bound<'_, PyAny>) -> PyResult<(String, String)> {
        let name = self.0.scope_name(scope_id(scope)?).map_err(ledger_error)?;
        Ok((name.kind().to_owned(), name.name().to_owned()))
    }

    /// Changes limits while in use. A new window counts from now; one left out is counted no more; one
    /// that stays keeps what it has.
    fn set_limits(
        &self,
        scope: &Bound<'_, PyAny>,
        limits: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.0
            .set_limits(scope_id(scope)?, &self::limits(limits)?, instant(now_ms)?)
            .map_err(ledger_error)
    }

    /// Lets windows count in their current periods what the scope has used since its life came to so
    /// much, in the order of its limits; `None` leaves a window as it is.
    fn count_since(
        &self,
        scope: &Bound<'_, PyAny>,
        began: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mut lives = Vec::new();
        for life in began.try_iter()? {
            let life = life?;
            lives.push(if life.is_none() {
                None
            } else {
                Some(whole(&life).ok_or_else(|| no_amount(&life))?)
            });
        }
        self.0
            .count_since(scope_id(scope)?, &lives, instant(now_ms)?)
            .map_err(ledger_error)
    }

    fn set_grant(
        &self,
        scope: &Bound<'_, PyAny>,
        grant: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.0
            .set_grant(scope_id(scope)?, grant.map(money).transpose()?)
            .map_err(ledger_error)
    }

    /// Holds the amounts on all scopes or on none, and gives the hold's id.
    #[pyo3(signature = (scopes, amount, now_ms, deadline_ms, *, key = None, force = false))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn reserve<'py>(
        &self,
        py: Python<'py>,
        scopes: &Bound<'py, PyAny>,
        amount: &Bound<'py, PyAny>,
        now_ms: &Bound<'py, PyAny>,
        deadline_ms: &Bound<'py, PyAny>,
        key: Option<&Bound<'py, PyBytes>>,
        force: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let scopes = Few::read(scopes, ScopeId::from_raw(0), scope_id)?.ok_or_else(|| {
            let message = format!("scopes are a sequence of handles, not {}", shown(scopes));
            InvalidRequestError::new_err(message)
        })?;
        let amounts = Parts::read(amount)?;
        let key = match key {
            None => None,
            Some(key) => Some(self::key(key.as_bytes())?),
        };
        let reservation = self.0.reserve(
            scopes.get(),
            amounts.get(),
            instant(now_ms)?,
            instant(deadline_ms)?,
            key,
            force,
        );
        match reservation.map_err(ledger_error)? {
            Reservation::Held(hold) => Ok(hold.get().into_pyobject(py)?.into_any()),
            Reservation::Refused(refusal) => Ok(Bound::new(py, PyRefusal(refusal))?.into_any()),
        }
    }

    /// Holds so much more under the same hold, on all its scopes or on none.
    #[pyo3(signature = (hold, amount, now_ms, *, force = false))]
    fn extend(
        &self,
        hold: &Bound<'_, PyAny>,
        amount: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
        force: bool,
    ) -> PyResult<Option<PyRefusal>> {
        let amounts = Parts::read(amount)?;
        self.0
            .extend(hold_id(hold)?, amounts.get(), instant(now_ms)?, force)
            .map(|refusal| refusal.map(PyRefusal))
            .map_err(ledger_error)
    }

    /// Puts a deadline off; `False` when the hold is open no more.
    fn renew(&self, hold: &Bound<'_, PyAny>, deadline_ms: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.0.renew(hold_id(hold)?, instant(deadline_ms)?))
    }

    fn settle(
        &self,
        hold: &Bound<'_, PyAny>,
        actual: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
    ) -> PyResult<PySettlement> {
        let actual = Parts::read(actual)?;
        self.0
            .settle(hold_id(hold)?, actual.get(), instant(now_ms)?)
            .map(PySettlement)
            .map_err(ledger_error)
    }

    fn release(
        &self,
        hold: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
    ) -> PyResult<PySettlement> {
        self.0
            .release(hold_id(hold)?, instant(now_ms)?)
            .map(PySettlement)
            .map_err(ledger_error)
    }

    /// Settles at the hold what is past its deadline; gives the ids.
    fn expire(&self, py: Python<'_>, now_ms: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
        let now_ms = instant(now_ms)?;
        let expired = py.detach(|| self.0.expire(now_ms));
        Ok(expired.into_iter().map(HoldId::get).collect())
    }

    /// Books an amount by hand, in all windows, negative too; gives what was booked (no window's
    /// spending falls below zero).
    fn adjust(
        &self,
        scope: &Bound<'_, PyAny>,
        amount: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        let number = whole(amount)
            .filter(|number| number.unsigned_abs() <= Nanodollars::MAX.get())
            .ok_or_else(|| {
                let most = Nanodollars::MAX.get();
                InvalidRequestError::new_err(format!(
                    "an adjustment is whole nanodollars from -{most} to {most}, not {}",
                    shown(amount)
                ))
            })?;
        self.0
            .adjust(scope_id(scope)?, number, instant(now_ms)?)
            .map_err(ledger_error)
    }

    fn standing(
        &self,
        scope: &Bound<'_, PyAny>,
        now_ms: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<PyWindowStanding>> {
        let standings = self.0.standing(scope_id(scope)?, instant(now_ms)?);
        let standings = standings.map_err(ledger_error)?;
        Ok(standings.into_iter().map(PyWindowStanding).collect())
    }

    /// Settled and held over the scope's life.
    fn total(&self, scope: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
        let (settled, held) = self.0.total(scope_id(scope)?).map_err(ledger_error)?;
        Ok((settled.get(), held.get()))
    }

    /// Each scope of a hold and what is held, or was booked, on it.
    fn held_amounts(&self, hold: &Bound<'_, PyAny>) -> PyResult<Vec<(u64, u64)>> {
        let parts = self.0.held_amounts(hold_id(hold)?).map_err(ledger_error)?;
        let plain = |(scope, amount): (ScopeId, Nanodollars)| (scope.get(), amount.get());
        Ok(parts.into_iter().map(plain).collect())
    }

    fn scopes(&self, py: Python<'_>) -> Vec<u64> {
        let scopes = py.detach(|| self.0.scopes());
        scopes.into_iter().map(ScopeId::get).collect()
    }

    fn open_holds(&self) -> usize {
        self.0.open_holds()
    }

    /// Drops scopes that were not used for so long, have no open hold, and whose periods have ended
    /// (or whose store knows them: `grant` is set); gives kind, name and life's total.
    fn evict(
        &self,
        py: Python<'_>,
        now_ms: &Bound<'_, PyAny>,
        idle_ms: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(String, String, u64)>> {
        let now_ms = instant(now_ms)?;
        let idle_ms = whole(idle_ms)
            .filter(|idle| (0..=LATEST_MS).contains(idle))
            .ok_or_else(|| {
                let message = format!(
                    "idle_ms is whole milliseconds, 0 or more, not {}",
                    shown(idle_ms)
                );
                InvalidRequestError::new_err(message)
            })?;
        let evicted = py.detach(|| self.0.evict(now_ms, idle_ms));
        let plain = |scope: core::Evicted| {
            let name = scope.name;
            (
                name.kind().to_owned(),
                name.name().to_owned(),
                scope.total.get(),
            )
        };
        Ok(evicted.into_iter().map(plain).collect())
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyWindow>()?;
    module.add_class::<PyWindowStanding>()?;
    module.add_class::<PyRefusal>()?;
    module.add_class::<PySettlement>()?;
    module.add_class::<PyLedger>()
}
