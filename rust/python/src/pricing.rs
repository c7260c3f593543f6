//! Binding of the pricing room.

use cascadeflow_core::pricing::{
    Constraint, Counts, Period, RateCard, Resolution, Schedule, Unit, Variant,
};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use pyo3::{PyTypeInfo, intern};

use crate::errors::{ConfigurationError, InvalidRequestError, pricing_error};

/// A rate as Python writes it: its unit, the threshold above which it holds, attodollars per million.
type Listed = (String, Option<u64>, u128);

/// Rates by unit, rates of requests by kind, the rate of the call.
type Card = (Vec<Listed>, Vec<(String, u128)>, Option<u128>);

/// `None`, `("from", day)` or `("daily", start, end)`.
#[derive(FromPyObject)]
enum When {
    #[pyo3(transparent)]
    Daily((String, u32, u32)),
    #[pyo3(transparent)]
    From((String, i64)),
}

fn constraint(when: Option<When>) -> PyResult<Constraint> {
    match when {
        None => Ok(Constraint::Always),
        Some(When::From((kind, day))) if kind == "from" => Ok(Constraint::From { day }),
        Some(When::Daily((kind, start, end))) if kind == "daily" => {
            Ok(Constraint::Daily { start, end })
        }
        Some(When::From((kind, _)) | When::Daily((kind, ..))) => Err(ConfigurationError::new_err(
            format!("{kind} is no constraint on the time of a price"),
        )),
    }
}

fn unit(name: &str) -> PyResult<Unit> {
    Unit::named(name)
        .ok_or_else(|| ConfigurationError::new_err(format!("{name} is nothing that has a price")))
}

fn rate_card((rates, requests, call): Card) -> PyResult<RateCard> {
    let rates = rates
        .into_iter()
        .map(|(name, above, rate)| Ok((unit(&name)?, above, rate)));
    let rates = rates.collect::<PyResult<Vec<_>>>()?;
    RateCard::new(rates, requests, call).map_err(|error| pricing_error(&error))
}

/// Reads one count; what is negative, too large or no number is the caller's mistake.
fn count(what: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    value.extract().map_err(|error: PyErr| {
        let py = value.py();
        let wrong = if error.is_instance(py, &PyOverflowError::type_object(py)) {
            "out of range"
        } else {
            "no count"
        };
        InvalidRequestError::new_err(format!("usage: {what} is {wrong}"))
    })
}

/// Reads a `cascadeflow.models.Usage` by its attributes.
fn counts(usage: &Bound<'_, PyAny>) -> PyResult<Counts> {
    let py = usage.py();
    let mut counts = Counts::default();
    for unit in Unit::ALL {
        let name = match unit {
            Unit::Input => intern!(py, "input_tokens"),
            Unit::CacheRead => intern!(py, "cache_read_tokens"),
            Unit::CacheWrite => intern!(py, "cache_write_5m_tokens"),
            Unit::CacheWrite1h => intern!(py, "cache_write_1h_tokens"),
            Unit::InputAudio => intern!(py, "input_audio_tokens"),
            Unit::CacheReadAudio => intern!(py, "cache_read_audio_tokens"),
            Unit::InputImage => intern!(py, "input_image_tokens"),
            Unit::CacheReadImage => intern!(py, "cache_read_image_tokens"),
            Unit::InputVideo => intern!(py, "input_video_tokens"),
            Unit::CacheReadVideo => intern!(py, "cache_read_video_tokens"),
            Unit::Output => intern!(py, "output_tokens"),
            Unit::Reasoning => intern!(py, "reasoning_tokens"),
            Unit::OutputAudio => intern!(py, "output_audio_tokens"),
            Unit::OutputImage => intern!(py, "output_image_tokens"),
            Unit::OutputVideo => intern!(py, "output_video_tokens"),
            Unit::Citation => intern!(py, "citation_tokens"),
        };
        let value = usage.getattr(name)?;
        if !value.is_none() {
            counts.set(*unit, Some(count(unit.name(), &value)?));
        }
    }
    let requests = usage.getattr(intern!(py, "requests"))?;
    if requests.is_truthy()? {
        for item in requests.cast::<PyMapping>()?.items()? {
            let (kind, value): (String, Bound<'_, PyAny>) = item.extract()?;
            let requests = count(&kind, &value)?;
            counts.add_requests(kind, requests);
        }
    }
    Ok(counts)
}

/// The rates that hold for one call.
#[pyclass(frozen, module = "cascadeflow._native", name = "RateCard")]
struct PyRateCard(RateCard);

#[pymethods]
impl PyRateCard {
    #[new]
    fn new(
        rates: Vec<Listed>,
        requests: Vec<(String, u128)>,
        call: Option<u128>,
    ) -> PyResult<Self> {
        rate_card((rates, requests, call)).map(Self)
    }

    /// Nanodollars that a call with this usage cost, rounded up once.
    fn cost(&self, usage: &Bound<'_, PyAny>) -> PyResult<u64> {
        let cost = self
            .0
            .cost(&counts(usage)?)
            .map_err(|error| pricing_error(&error))?;
        Ok(cost.get())
    }

    /// Nanodollars that a call with at most so many tokens can cost, server-side requests apart.
    fn upper_bound(
        &self,
        input_tokens: u64,
        output_tokens: u64,
        without: Vec<String>,
    ) -> PyResult<u64> {
        let without = without
            .into_iter()
            .map(|name| unit(&name))
            .collect::<PyResult<Vec<_>>>()?;
        let bound = self
            .0
            .upper_bound(input_tokens, output_tokens, &without)
            .map_err(|error| pricing_error(&error))?;
        Ok(bound.get())
    }

    /// Every rate, rates of requests, and the rate of the call, in attodollars per million.
    fn listing(&self) -> Card {
        let rates = self
            .0
            .rates()
            .map(|(unit, above, rate)| (unit.name().to_owned(), above, rate));
        (
            rates.collect(),
            self.0.request_rates().to_vec(),
            self.0.call_rate(),
        )
    }
}

/// A model's rates through time.
#[pyclass(frozen, module = "cascadeflow._native", name = "PriceSchedule")]
struct PyPriceSchedule(Schedule);

#[pymethods]
impl PyPriceSchedule {
    #[new]
    #[expect(
        clippy::type_complexity,
        reason = "the shape of a row of the price table"
    )]
    fn new(
        periods: Vec<(Option<When>, Card)>,
        variants: Vec<(Vec<(String, String)>, Option<When>, Card)>,
    ) -> PyResult<Self> {
        let periods = periods.into_iter().map(|(when, card)| {
            Ok(Period {
                constraint: constraint(when)?,
                card: rate_card(card)?,
            })
        });
        let variants = variants.into_iter().map(|(when, from, card)| {
            Ok(Variant {
                when,
                constraint: constraint(from)?,
                card: rate_card(card)?,
            })
        });
        let (periods, variants) = (
            periods.collect::<PyResult<_>>()?,
            variants.collect::<PyResult<_>>()?,
        );
        Schedule::new(periods, variants)
            .map(Self)
            .map_err(|error| pricing_error(&error))
    }

    /// The index of the period, and a bit for each variant, that hold at an instant.
    fn resolve(
        &self,
        unix_seconds: i64,
        context: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(usize, u64)> {
        let context: Vec<(String, String)> = match context {
            Some(context) => context
                .iter()
                .map(|item| Ok((item.0.extract()?, item.1.extract()?)))
                .collect::<PyResult<_>>()?,
            None => Vec::new(),
        };
        let find = |key: &str| {
            context
                .iter()
                .find(|(known, _)| known == key)
                .map(|(_, value)| value.as_str())
        };
        let resolution = self.0.resolve(unix_seconds, find);
        Ok((resolution.period, resolution.variants))
    }

    /// The rates of a period with variants, as `resolve` gave them.
    fn card(&self, period: usize, variants: u64) -> PyResult<PyRateCard> {
        self.0
            .card(Resolution { period, variants })
            .map(PyRateCard)
            .map_err(|error| pricing_error(&error))
    }
}

/// Adds this room's names to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyRateCard>()?;
    module.add_class::<PyPriceSchedule>()
}
