//! When which rates hold: dated periods, hours of the day, variants such as service tiers.

use super::{PricingError, RateCard};

const SECONDS_PER_DAY: i64 = 86_400;

/// When something holds, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// At all times.
    Always,
    /// From the beginning of a day on, counted in days from 1970-01-01.
    From {
        /// The day.
        day: i64,
    },
    /// Each day from one second of the day up to, but not including, another; the end may lie
    /// before the start, and the time then runs over midnight.
    Daily {
        /// The first second.
        start: u32,
        /// The second after the last.
        end: u32,
    },
}

impl Constraint {
    /// Whether it holds at an instant, in whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn active(self, unix_seconds: i64) -> bool {
        match self {
            Self::Always => true,
            Self::From { day } => unix_seconds.div_euclid(SECONDS_PER_DAY) >= day,
            Self::Daily { start, end } => {
                let now = unix_seconds.rem_euclid(SECONDS_PER_DAY);
                let (start, end) = (i64::from(start), i64::from(end));
                if end < start {
                    now >= start || now < end
                } else {
                    start <= now && now < end
                }
            }
        }
    }
}

/// Rates and when they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// When.
    pub constraint: Constraint,
    /// The rates.
    pub card: RateCard,
}

/// Rates that replace the period's own when a call's context has all of `when`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Context values, such as `service_tier` = `flex`.
    pub when: Vec<(String, String)>,
    /// When it holds.
    pub constraint: Constraint,
    /// The rates it replaces.
    pub card: RateCard,
}

/// Which period and which variants hold: equal resolutions have equal rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// The period's index.
    pub period: usize,
    /// A bit for each variant that holds.
    pub variants: u64,
}

/// A model's rates through time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    periods: Vec<Period>,
    variants: Vec<Variant>,
}

impl Schedule {
    /// Makes a schedule.
    ///
    /// # Errors
    ///
    /// [`PricingError::NoPeriod`] without a period, [`PricingError::TooManyVariants`] above 64.
    pub fn new(periods: Vec<Period>, variants: Vec<Variant>) -> Result<Self, PricingError> {
        if periods.is_empty() {
            return Err(PricingError::NoPeriod);
        }
        if variants.len() > 64 {
            return Err(PricingError::TooManyVariants);
        }
        Ok(Self { periods, variants })
    }

    /// What holds at an instant for a call with this context: the last active period (the first
    /// one when none is active) and every active variant whose values the context has.
    pub fn resolve<'a>(
        &self,
        unix_seconds: i64,
        context: impl Fn(&str) -> Option<&'a str>,
    ) -> Resolution {
        let period = self
            .periods
            .iter()
            .rposition(|period| period.constraint.active(unix_seconds))
            .unwrap_or(0);
        let mut variants = 0;
        for (index, variant) in self.variants.iter().enumerate() {
            let fits = variant
                .when
                .iter()
                .all(|(key, value)| context(key) == Some(value));
            if fits && variant.constraint.active(unix_seconds) {
                variants |= 1 << index;
            }
        }
        Resolution { period, variants }
    }

    /// The rates of a resolution; of several variants with the same unit the first one counts.
    ///
    /// # Errors
    ///
    /// [`PricingError::NoPeriod`] when the resolution is not one of this schedule.
    pub fn card(&self, resolution: Resolution) -> Result<RateCard, PricingError> {
        let period = self
            .periods
            .get(resolution.period)
            .ok_or(PricingError::NoPeriod)?;
        let variants = self.variants.iter().enumerate();
        let active = variants
            .filter(|(index, _)| resolution.variants >> index & 1 == 1)
            .map(|(_, v)| &v.card);
        Ok(period.card.overridden_by(active))
    }
}
