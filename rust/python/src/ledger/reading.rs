//! Reads what Python gives: whole numbers only, without an allocation.

use cascadeflow_core::ledger::period::{EARLIEST_MS, LATEST_MS, PeriodError};
use cascadeflow_core::ledger::{Amounts, HoldId, LedgerError, Limit, MAX_SCOPES, ScopeId};
use cascadeflow_core::money::Nanodollars;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyList, PySequence, PyTuple};

use super::records::PyWindow;
use crate::errors::{ConfigurationError, InvalidRequestError};

pyo3::import_exception!(cascadeflow.errors, CascadeFlowError);

/// The longest time that an expired hold can be kept: about 31 years.
pub(super) const MAX_LATE_SECONDS: i64 = 1_000_000_000;

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err hands its argument over by value"
)]
pub(super) fn period_error(error: PeriodError) -> PyErr {
    ConfigurationError::new_err(error.to_string())
}

pub(super) fn ledger_error(error: LedgerError) -> PyErr {
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
pub(super) fn whole(value: &Bound<'_, PyAny>) -> Option<i64> {
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
pub(super) fn shown(value: &Bound<'_, PyAny>) -> String {
    match value.repr() {
        Ok(text) => text.to_string().chars().take(80).collect(),
        Err(_) => "a number of too many digits".to_owned(),
    }
}

/// Reads an instant.
pub(super) fn instant(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    whole(value)
        .filter(|ms| (EARLIEST_MS..=LATEST_MS).contains(ms))
        .ok_or_else(|| {
            InvalidRequestError::new_err(format!(
                "a time is whole Unix milliseconds of the years 5 to 9987, not {}",
                shown(value)
            ))
        })
}

pub(super) fn amount_of(value: &Bound<'_, PyAny>) -> Option<Nanodollars> {
    let number = u64::try_from(whole(value)?).ok()?;
    Nanodollars::new(number).ok()
}

#[cold]
pub(super) fn no_amount(value: &Bound<'_, PyAny>) -> PyErr {
    InvalidRequestError::new_err(format!(
        "an amount is whole nanodollars from 0 to {}, not {}",
        Nanodollars::MAX.get(),
        shown(value)
    ))
}

/// Reads an amount of money.
pub(super) fn money(value: &Bound<'_, PyAny>) -> PyResult<Nanodollars> {
    amount_of(value).ok_or_else(|| no_amount(value))
}

/// Reads a handle or an id of so many bits.
pub(super) fn id(value: &Bound<'_, PyAny>, bits: u32, what: &str) -> PyResult<u64> {
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

pub(super) fn scope_id(value: &Bound<'_, PyAny>) -> PyResult<ScopeId> {
    id(value, 56, "a scope's handle").map(ScopeId::from_raw)
}

pub(super) fn hold_id(value: &Bound<'_, PyAny>) -> PyResult<HoldId> {
    id(value, 62, "a hold's id").map(HoldId::from_raw)
}

/// As many values as a hold has scopes at most, on the stack.
pub(super) struct Few<T> {
    values: [T; MAX_SCOPES],
    count: usize,
}

impl<T: Copy> Few<T> {
    /// Reads a tuple or a list, or else what behaves as one; `None` when it does not.
    pub(super) fn read<'py>(
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

    pub(super) fn get(&self) -> &[T] {
        self.values.get(..self.count).unwrap_or_default()
    }
}

/// One amount for every scope, or one each.
#[expect(clippy::large_enum_variant, reason = "it never leaves the stack")]
pub(super) enum Parts {
    Same(Nanodollars),
    Each(Few<Nanodollars>),
}

impl Parts {
    #[inline]
    pub(super) fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(amount) = amount_of(value) {
            return Ok(Self::Same(amount));
        }
        match Few::read(value, Nanodollars::ZERO, money)? {
            Some(amounts) => Ok(Self::Each(amounts)),
            None => Err(no_amount(value)),
        }
    }

    pub(super) fn get(&self) -> Amounts<'_> {
        match self {
            Self::Same(amount) => Amounts::Same(*amount),
            Self::Each(amounts) => Amounts::Each(amounts.get()),
        }
    }
}

/// Reads the windows of a scope and their limits.
pub(super) fn limits(value: &Bound<'_, PyAny>) -> PyResult<Vec<Limit>> {
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
pub(super) fn key(value: &[u8]) -> PyResult<u128> {
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
