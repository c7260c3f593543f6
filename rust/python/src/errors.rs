//! One exhaustive map from Rust errors to Python exceptions.
//!
//! What says "this price is missing" or "this usage is not known" is raised as the class of
//! `cascadeflow.errors` that Python code catches; there is nothing to translate on the way up.

use cascadeflow_core::pricing::PricingError;
use pyo3::prelude::*;

pyo3::import_exception!(cascadeflow.errors, ConfigurationError);
pyo3::import_exception!(cascadeflow.errors, InvalidRequestError);
pyo3::import_exception!(cascadeflow.errors, UnknownPriceError);
pyo3::import_exception!(cascadeflow.errors, UnknownUsageError);

/// Maps what the pricing room refuses.
pub(crate) fn pricing_error(error: &PricingError) -> PyErr {
    let text = error.to_string();
    match error {
        PricingError::NoRate(unit) | PricingError::AmbiguousRate { unit, .. } => {
            UnknownPriceError::new_err(format!("{text}: state it with Price({unit}=…)"))
        }
        PricingError::NoRequestRate(kind) => UnknownPriceError::new_err(format!(
            "{text}: state it with Price(requests={{\"{kind}\": …}})"
        )),
        PricingError::MissingUsage(_) => UnknownUsageError::new_err(text),
        PricingError::DuplicateRate(_)
        | PricingError::NoBaseRate(_)
        | PricingError::TooManyVariants
        | PricingError::NoPeriod => ConfigurationError::new_err(text),
        PricingError::Money(_) => InvalidRequestError::new_err(text),
    }
}
