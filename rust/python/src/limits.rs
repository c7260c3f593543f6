//! Binding of the rate limiter.
//!
//! A request's accounts are read without an allocation, and it stays attached, since it takes less
//! than detaching does.

use cascadeflow_core::limits::{
    self as core, LATEST_NS, LimitError, Limits, MAX_ACCOUNTS, MAX_TOKENS, Outcome,
};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList, PySequence, PyString, PyTuple};

use crate::errors::{ConfigurationError, InvalidRequestError};

fn limit_error(error: LimitError) -> PyErr {
    let text = error.to_string();
    match error {
        LimitError::LimitTooLarge { .. } | LimitError::BurstTooLarge { .. } => {
            ConfigurationError::new_err(text)
        }
        LimitError::NoAccounts
        | LimitError::TooManyAccounts
        | LimitError::RepeatedAccount
        | LimitError::TooManyTokens(_) => InvalidRequestError::new_err(text),
    }
}

/// Reads a whole number from 0: a `bool` is none, and neither is anything that has to be rounded.
#[inline]
fn natural(value: &Bound<'_, PyAny>) -> Option<u64> {
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

fn instant(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    natural(value)
        .filter(|&now| now <= LATEST_NS)
        .ok_or_else(|| {
            InvalidRequestError::new_err(format!(
                "a time is whole nanoseconds of a monotonic clock, from 0 to {LATEST_NS}, not {}",
                shown(value)
            ))
        })
}

fn tokens(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    natural(value).ok_or_else(|| {
        InvalidRequestError::new_err(format!(
            "tokens are a whole number from 0 to {MAX_TOKENS}, not {}",
            shown(value)
        ))
    })
}

/// Reads one limit.
fn limit(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let read = |value| {
        natural(value).ok_or_else(|| {
            let given = shown(value);
            ConfigurationError::new_err(format!(
                "{name} is a whole number, 0 or more, or None, not {given}"
            ))
        })
    };
    value.map(read).transpose()
}

/// Reads a limit and its burst.
fn rate(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<(u64, u64)>> {
    let read = |value: &Bound<'_, PyAny>| {
        let pair = value.cast::<PyTuple>().ok();
        let pair = pair.filter(|pair| pair.len() == 2).and_then(|pair| {
            let limit = natural(&pair.get_item(0).ok()?)?;
            Some((limit, natural(&pair.get_item(1).ok()?)?))
        });
        pair.ok_or_else(|| {
            ConfigurationError::new_err(format!(
                "{name} is a limit and its burst, two whole numbers, or None, not {}",
                shown(value)
            ))
        })
    };
    value.map(read).transpose()
}

/// How often one account may ask.
#[pyclass(frozen, eq, module = "cascadeflow._native", name = "LimitPolicy")]
#[derive(PartialEq)]
struct PyLimitPolicy {
    policy: core::Policy,
    limits: Limits,
}

#[pymethods]
impl PyLimitPolicy {
    #[new]
    #[pyo3(signature = (
        *, per_second = None, per_minute = None, per_hour = None, per_day = None,
        tokens_per_minute = None, concurrent = None
    ))]
    fn new(
        per_second: Option<&Bound<'_, PyAny>>,
        per_minute: Option<&Bound<'_, PyAny>>,
        per_hour: Option<&Bound<'_, PyAny>>,
        per_day: Option<&Bound<'_, PyAny>>,
        tokens_per_minute: Option<&Bound<'_, PyAny>>,
        concurrent: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let limits = Limits {
            per_second: rate("per_second", per_second)?,
            per_minute: rate("per_minute", per_minute)?,
            per_hour: limit("per_hour", per_hour)?,
            per_day: limit("per_day", per_day)?,
            tokens_per_minute: limit("tokens_per_minute", tokens_per_minute)?,
            concurrent: limit("concurrent", concurrent)?,
        };
        let policy = core::Policy::new(&limits).map_err(limit_error)?;
        Ok(Self { policy, limits })
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.limits.hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        let limits = &self.limits;
        let pair = |name: &str, rate: Option<(u64, u64)>| {
            rate.map(|(limit, burst)| format!("{name}=({limit}, {burst})"))
        };
        let one = |name: &str, limit: Option<u64>| limit.map(|limit| format!("{name}={limit}"));
        let given = [
            pair("per_second", limits.per_second),
            pair("per_minute", limits.per_minute),
            one("per_hour", limits.per_hour),
            one("per_day", limits.per_day),
            one("tokens_per_minute", limits.tokens_per_minute),
            one("concurrent", limits.concurrent),
        ];
        let given: Vec<String> = given.into_iter().flatten().collect();
        format!("LimitPolicy({})", given.join(", "))
    }
}

/// How one limit of one account stands.
#[pyclass(frozen, module = "cascadeflow._native", name = "LimitStanding")]
struct PyLimitStanding(core::Standing);

#[pymethods]
impl PyLimitStanding {
    #[getter]
    fn account(&self) -> &str {
        &self.0.account
    }

    #[getter]
    fn limit(&self) -> &'static str {
        self.0.limit.name()
    }

    #[getter]
    fn allowed(&self) -> u64 {
        self.0.allowed
    }

    /// How many would pass now; a GCRA limit's burst included.
    #[getter]
    fn remaining(&self) -> u64 {
        self.0.remaining
    }

    /// In how many nanoseconds nothing of it is used any more, if nobody comes; `None` for
    /// `concurrent`.
    #[getter]
    fn reset_ns(&self) -> Option<u64> {
        self.0.reset_ns
    }

    fn __repr__(&self) -> String {
        format!(
            "LimitStanding(account={:?}, limit='{}', allowed={}, remaining={}, reset_ns={})",
            self.0.account,
            self.limit(),
            self.0.allowed,
            self.0.remaining,
            or_none(self.0.reset_ns),
        )
    }
}

fn or_none(number: Option<u64>) -> String {
    number.map_or_else(|| "None".to_owned(), |number| number.to_string())
}

/// Why a request did not pass; nothing was counted.
#[pyclass(frozen, module = "cascadeflow._native", name = "LimitRefusal")]
struct PyLimitRefusal(core::Refusal);

#[pymethods]
impl PyLimitRefusal {
    /// Whose limit: of those that refused, the one that takes longest.
    #[getter]
    fn account(&self) -> &str {
        &self.0.account
    }

    #[getter]
    fn limit(&self) -> &'static str {
        self.0.limit.name()
    }

    #[getter]
    fn allowed(&self) -> u64 {
        self.0.allowed
    }

    #[getter]
    fn requested(&self) -> u64 {
        self.0.requested
    }

    /// In how many nanoseconds it would pass if nobody else came, over all limits of all accounts;
    /// exact for requests, an upper bound for tokens; `None` when a lease must end, or never.
    #[getter]
    fn retry_ns(&self) -> Option<u64> {
        self.0.retry_ns
    }

    /// Whether it is larger than a whole limit.
    #[getter]
    fn permanent(&self) -> bool {
        self.0.permanent
    }

    /// Every account of which some limit refused.
    #[getter]
    fn blocked<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.0.blocked)
    }

    fn __repr__(&self) -> String {
        format!(
            "LimitRefusal(account={:?}, limit='{}', allowed={}, requested={}, retry_ns={}, permanent={})",
            self.0.account,
            self.limit(),
            self.0.allowed,
            self.0.requested,
            or_none(self.0.retry_ns),
            if self.0.permanent { "True" } else { "False" },
        )
    }
}

/// A request that passed: what it was counted, and its leases. Dropped, its leases end.
#[pyclass(frozen, module = "cascadeflow._native", name = "Permit")]
struct PyPermit(core::Permit);

#[pymethods]
impl PyPermit {
    /// Reserves more tokens on every account that counts them, or on none.
    fn extend(
        &self,
        tokens: &Bound<'_, PyAny>,
        now_ns: &Bound<'_, PyAny>,
    ) -> PyResult<Option<PyLimitRefusal>> {
        let refused = self.0.extend(self::tokens(tokens)?, instant(now_ns)?);
        Ok(refused.map_err(limit_error)?.map(PyLimitRefusal))
    }

    /// Says how many tokens it used in all, in the place of what was reserved; the last word counts.
    fn correct(&self, tokens: &Bound<'_, PyAny>, now_ns: &Bound<'_, PyAny>) -> PyResult<()> {
        let corrected = self.0.correct(self::tokens(tokens)?, instant(now_ns)?);
        corrected.map_err(limit_error)
    }

    /// Nothing was sent: takes back its tokens and its place in hours and days, ends its leases.
    fn cancel(&self, now_ns: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.cancel(instant(now_ns)?);
        Ok(())
    }

    /// Ends its leases. Ending them twice is ending them once.
    fn release(&self) {
        self.0.release();
    }

    fn standings(&self, now_ns: &Bound<'_, PyAny>) -> PyResult<Vec<PyLimitStanding>> {
        let standings = self.0.standings(instant(now_ns)?);
        Ok(standings.into_iter().map(PyLimitStanding).collect())
    }
}

type Given<'py> = (Bound<'py, PyString>, Bound<'py, PyLimitPolicy>);

/// A request's accounts, on the stack.
struct Accounts<'py> {
    given: [Option<Given<'py>>; MAX_ACCOUNTS],
    count: usize,
}

impl<'py> Accounts<'py> {
    /// Reads a tuple or a list, or else what behaves as one.
    fn read(from: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut accounts = Self {
            given: [const { None }; MAX_ACCOUNTS],
            count: 0,
        };
        if let Ok(tuple) = from.cast_exact::<PyTuple>() {
            for item in tuple.iter_borrowed() {
                accounts.push(&item)?;
            }
        } else if let Ok(list) = from.cast_exact::<PyList>() {
            for item in list.iter() {
                accounts.push(&item)?;
            }
        } else if from.cast::<PySequence>().is_ok() {
            for item in from.try_iter()? {
                accounts.push(&item?)?;
            }
        } else {
            return Err(Self::refuse(from));
        }
        Ok(accounts)
    }

    #[cold]
    fn refuse(given: &Bound<'_, PyAny>) -> PyErr {
        InvalidRequestError::new_err(format!(
            "accounts are pairs of a name and a LimitPolicy, not {}",
            shown(given)
        ))
    }

    fn push(&mut self, item: &Bound<'py, PyAny>) -> PyResult<()> {
        let place = self.given.get_mut(self.count);
        let place = place.ok_or_else(|| limit_error(LimitError::TooManyAccounts))?;
        let pair = item.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
        let pair = pair.and_then(|pair| {
            let name = pair.get_item(0).ok()?.cast_into::<PyString>().ok()?;
            let policy = pair.get_item(1).ok()?.cast_into::<PyLimitPolicy>().ok()?;
            Some((name, policy))
        });
        *place = Some(pair.ok_or_else(|| Self::refuse(item))?);
        self.count += 1;
        Ok(())
    }

    /// Calls with the accounts as the core wants them.
    fn with<T>(
        &self,
        call: impl FnOnce(&[(&str, &core::Policy)]) -> Result<T, LimitError>,
    ) -> PyResult<T> {
        const UNLIMITED: &core::Policy = &core::Policy::UNLIMITED;
        let mut plain = [("", UNLIMITED); MAX_ACCOUNTS];
        for (plain, (name, policy)) in plain.iter_mut().zip(self.given.iter().flatten()) {
            *plain = (name.to_str()?, &policy.get().policy);
        }
        call(plain.get(..self.count).unwrap_or_default()).map_err(limit_error)
    }
}

/// Counts requests, tokens and leases by account. All or nothing, lock-free, never over.
#[pyclass(frozen, module = "cascadeflow._native", name = "RateLimiter")]
struct PyRateLimiter(core::RateLimiter);

#[pymethods]
impl PyRateLimiter {
    #[new]
    fn new() -> Self {
        Self(core::RateLimiter::new())
    }

    /// Lets one request pass on every account, or on none.
    fn acquire<'py>(
        &self,
        py: Python<'py>,
        accounts: &Bound<'py, PyAny>,
        tokens: &Bound<'py, PyAny>,
        now_ns: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (tokens, now) = (self::tokens(tokens)?, instant(now_ns)?);
        let outcome = Accounts::read(accounts)?.with(|all| self.0.acquire(all, tokens, now))?;
        Ok(match outcome {
            Outcome::Passed(permit) => Bound::new(py, PyPermit(permit))?.into_any(),
            Outcome::Refused(refusal) => Bound::new(py, PyLimitRefusal(refusal))?.into_any(),
        })
    }

    fn standings<'py>(
        &self,
        accounts: &Bound<'py, PyAny>,
        now_ns: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<PyLimitStanding>> {
        let now = instant(now_ns)?;
        let standings = Accounts::read(accounts)?.with(|all| self.0.standings(all, now))?;
        Ok(standings.into_iter().map(PyLimitStanding).collect())
    }

    /// Forgets accounts of which nothing is used any more; gives how many.
    fn evict(&self, py: Python<'_>, now_ns: &Bound<'_, PyAny>) -> PyResult<usize> {
        let now = instant(now_ns)?;
        Ok(py.detach(|| self.0.evict(now)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyLimitPolicy>()?;
    module.add_class::<PyLimitStanding>()?;
    module.add_class::<PyLimitRefusal>()?;
    module.add_class::<PyPermit>()?;
    module.add_class::<PyRateLimiter>()
}
