//! Binding of the ledger.
//!
//! A reservation and its settlement are on every request's path: what they are given is read without
//! an allocation, and they stay attached, since they take less than detaching does.

use cascadeflow_core::ledger::period::{self, EARLIEST_MS, LATEST_MS, PeriodError};
use cascadeflow_core::ledger::{
    self as core, Amounts, Cause, HoldId, LedgerError, Limit, MAX_SCOPES, Opening, Reservation,
    ScopeId,
};
use cascadeflow_core::money::Nanodollars;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyList, PySequence, PyTuple};

use crate::errors::{ConfigurationError, InvalidRequestError};

pyo3::import_exception!(cascadeflow.errors, CascadeFlowError);

/// The longest time that an expired hold can be kept: about 31 years.
const MAX_LATE_SECONDS: i64 = 1_000_000_000;

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err hands its argument over by value"
)]
fn period_error(error: PeriodError) -> PyErr {
    ConfigurationError::new_err(error.to_string())
}

fn ledger_error(error: LedgerError) -> PyErr {
    let text = error.to_string();
    match error {
        LedgerError::UnknownScope
        | LedgerError::UnknownHold
        | LedgerError::HoldEnded
        | LedgerError::NoScopes
        | LedgerError::TooManyScopes
        | LedgerError::RepeatedScope
        | LedgerError::AmountCount { .. }
        | LedgerError::TooLarge => InvalidRequestError::new_err(text),
        LedgerError::RepeatedWindow | LedgerError::TooManyWindows => {
            ConfigurationError::new_err(text)
        }
        LedgerError::Full => CascadeFlowError::new_err(text),
    }
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
#[cold]
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

fn amount_of(value: &Bound<'_, PyAny>) -> Option<Nanodollars> {
    let number = u64::try_from(whole(value)?).ok()?;
    Nanodollars::new(number).ok()
}

#[cold]
fn no_amount(value: &Bound<'_, PyAny>) -> PyErr {
    InvalidRequestError::new_err(format!(
        "an amount is whole nanodollars from 0 to {}, not {}",
        Nanodollars::MAX.get(),
        shown(value)
    ))
}

/// Reads an amount of money.
fn money(value: &Bound<'_, PyAny>) -> PyResult<Nanodollars> {
    amount_of(value).ok_or_else(|| no_amount(value))
}

/// Reads a handle or an id of so many bits.
fn id(value: &Bound<'_, PyAny>, bits: u32, what: &str) -> PyResult<u64> {
    whole(value)
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| number >> bits == 0)
        .ok_or_else(|| {
            let message = format!(
                "{what} is a whole number that the ledger gave, not {}",
                shown(value)
            );
            InvalidRequestError::new_err(message)
        })
}

fn scope_id(value: &Bound<'_, PyAny>) -> PyResult<ScopeId> {
    id(value, 56, "a scope's handle").map(ScopeId::from_raw)
}

fn hold_id(value: &Bound<'_, PyAny>) -> PyResult<HoldId> {
    id(value, 62, "a hold's id").map(HoldId::from_raw)
}

/// As many values as a hold has scopes at most, on the stack.
struct Few<T> {
    values: [T; MAX_SCOPES],
    count: usize,
}

impl<T: Copy> Few<T> {
    /// Reads a tuple or a list, or else what behaves as one; `None` when it does not.
    fn read<'py>(
        from: &Bound<'py, PyAny>,
        filler: T,
        read: impl Fn(&Bound<'py, PyAny>) -> PyResult<T>,
    ) -> PyResult<Option<Self>> {
        let mut few = Self {
            values: [filler; MAX_SCOPES],
            count: 0,
        };
        if let Ok(tuple) = from.cast_exact::<PyTuple>() {
            for item in tuple.iter_borrowed() {
                few.push(read(&item)?)?;
            }
        } else if let Ok(list) = from.cast_exact::<PyList>() {
            for item in list.iter() {
                few.push(read(&item)?)?;
            }
        } else if from.cast::<PySequence>().is_ok() {
            for item in from.try_iter()? {
                few.push(read(&item?)?)?;
            }
        } else {
            return Ok(None);
        }
        Ok(Some(few))
    }

    fn push(&mut self, value: T) -> PyResult<()> {
        let place = self.values.get_mut(self.count);
        *place.ok_or_else(|| ledger_error(LedgerError::TooManyScopes))? = value;
        self.count += 1;
        Ok(())
    }

    fn get(&self) -> &[T] {
        self.values.get(..self.count).unwrap_or_default()
    }
}

/// One amount for every scope, or one each.
#[expect(clippy::large_enum_variant, reason = "it never leaves the stack")]
enum Parts {
    Same(Nanodollars),
    Each(Few<Nanodollars>),
}

impl Parts {
    #[inline]
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(amount) = amount_of(value) {
            return Ok(Self::Same(amount));
        }
        match Few::read(value, Nanodollars::ZERO, money)? {
            Some(amounts) => Ok(Self::Each(amounts)),
            None => Err(no_amount(value)),
        }
    }

    fn get(&self) -> Amounts<'_> {
        match self {
            Self::Same(amount) => Amounts::Same(*amount),
            Self::Each(amounts) => Amounts::Each(amounts.get()),
        }
    }
}

/// Reads the windows of a scope and their limits.
fn limits(value: &Bound<'_, PyAny>) -> PyResult<Vec<Limit>> {
    let refuse = |given: &Bound<'_, PyAny>| {
        let message = format!(
            "limits are pairs of a Window and whole nanodollars (None: no limit), not {}",
            shown(given)
        );
        ConfigurationError::new_err(message)
    };
    let sequence = value.cast::<PySequence>().map_err(|_| refuse(value))?;
    let mut limits = Vec::new();
    for item in sequence.try_iter()? {
        let item = item?;
        let pair: Option<(Bound<'_, PyWindow>, Bound<'_, PyAny>)> = item.extract().ok();
        let (window, limit) = pair.ok_or_else(|| refuse(&item))?;
        let limit = if limit.is_none() {
            None
        } else {
            Some(amount_of(&limit).ok_or_else(|| refuse(&item))?)
        };
        limits.push((window.get().0, limit));
    }
    Ok(limits)
}

/// Reads a key: its bytes as one number.
fn key(value: &[u8]) -> PyResult<u128> {
    let mut bytes = [0; 16];
    let place = bytes
        .get_mut(..value.len())
        .filter(|place| !place.is_empty());
    place
        .ok_or_else(|| {
            let message = format!("a key has 1 to 16 bytes, not {}", value.len());
            InvalidRequestError::new_err(message)
        })?
        .copy_from_slice(value);
    Ok(u128::from_le_bytes(bytes))
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

/// How one window of a scope stands. Nanodollars; Unix milliseconds.
#[pyclass(frozen, module = "cascadeflow._native", name = "WindowStanding")]
struct PyWindowStanding(core::WindowStanding);

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
struct PyRefusal(core::Refusal);

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
struct PySettlement(core::Settlement);

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
