//! Exact cost of a usage record under a price.
//!
//! Rates are integers of 10⁻¹⁸ US dollars ("attodollars") per million units. Nanodollars per million
//! would be too coarse: some published prices are a third of a cent written out to 17 places. All
//! buckets are added up in 128 bits and rounded up once, to the nanodollar.
//!
//! The semantics are those of the `genai-prices` package, 0.2.3: a tier applies to the whole request
//! once its total input is *more* than the tier's threshold; a unit without a rate of its own is
//! charged as the more general unit it is a part of; of several periods the last active one counts,
//! and the first one when none is active.

mod card;
mod schedule;
#[cfg(test)]
mod tests;
mod unit;

use std::num::NonZeroU128;

use thiserror::Error;

pub use card::{Counts, Rate, RateCard};
pub use schedule::{Constraint, Period, Resolution, Schedule, Variant};
pub use unit::{Side, Unit};

use crate::money::MoneyError;

/// How many attodollars per million units make a nanodollar per unit: 10⁹ × 10⁶.
pub(crate) const RATE_UNITS_PER_NANODOLLAR: NonZeroU128 =
    match NonZeroU128::new(1_000_000_000_000_000) {
        Some(units) => units,
        None => unreachable!(),
    };

/// Why a cost cannot be said, or a price cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PricingError {
    /// Tokens were used for which the price says nothing.
    #[error("the price has no rate for {0} tokens")]
    NoRate(Unit),
    /// Tokens were used that two rates could be meant for.
    #[error(
        "the price has a rate for {first} and one for {second}, but none for {unit} tokens, which are both"
    )]
    AmbiguousRate {
        /// The tokens.
        unit: Unit,
        /// One rate that could be meant.
        first: Unit,
        /// The other.
        second: Unit,
    },
    /// Server-side requests were made for which the price says nothing.
    #[error("the price has no rate for {0} requests")]
    NoRequestRate(String),
    /// The usage says nothing of one side of the call, and missing is not zero.
    #[error("the usage says nothing of {0} tokens, and missing is not zero")]
    MissingUsage(Side),
    /// A rate was given twice.
    #[error("the rate for {0} is given twice")]
    DuplicateRate(String),
    /// A tier's rate has no base rate under it.
    #[error("{0} has a rate above a threshold but no base rate")]
    NoBaseRate(Unit),
    /// More variants than one resolution can tell apart.
    #[error("a price may have at most 64 variants")]
    TooManyVariants,
    /// A schedule without a period has no price at any time.
    #[error("a price needs at least one period")]
    NoPeriod,
    /// The amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
