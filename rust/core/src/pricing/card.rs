//! The rates that hold for one call, and what they make of its usage.

use super::unit::ChargedAs;
use super::{PricingError, RATE_UNITS_PER_NANODOLLAR, Side, Unit};
use crate::money::{MoneyError, Nanodollars};

/// One unit's rate in attodollars per million, and its rates above thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    base: u128,
    /// Ascending by threshold; each holds for the whole request once its input is more than that.
    tiers: Vec<(u64, u128)>,
}

impl Rate {
    /// The rate for a request with so many input tokens in total.
    fn at(&self, total_input: u64) -> u128 {
        self.tiers
            .iter()
            .rev()
            .find(|(above, _)| total_input > *above)
            .map_or(self.base, |(_, rate)| *rate)
    }

    /// The dearest rate of any request with at most so many input tokens in total.
    fn dearest(&self, total_input: u64) -> u128 {
        let reachable = self
            .tiers
            .iter()
            .filter(|(above, _)| total_input > *above)
            .map(|(_, rate)| *rate);
        reachable.fold(self.base, u128::max)
    }
}

/// Tokens of one call by unit (`None`: the provider did not say) and its server-side requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    tokens: [Option<u64>; Unit::COUNT],
    requests: Vec<(String, u64)>,
}

impl Counts {
    /// Sets the tokens of one unit.
    pub fn set(&mut self, unit: Unit, tokens: Option<u64>) {
        self.tokens[unit as usize] = tokens;
    }

    /// Adds a kind of server-side request.
    pub fn add_requests(&mut self, kind: String, count: u64) {
        self.requests.push((kind, count));
    }

    /// The tokens of one unit.
    #[must_use]
    pub fn get(&self, unit: Unit) -> Option<u64> {
        self.tokens[unit as usize]
    }

    /// All tokens of one side; `None` when nothing is known of it.
    fn total(&self, side: Side) -> Result<Option<u64>, MoneyError> {
        let mut total = None;
        for unit in Unit::ALL.iter().filter(|unit| unit.side() == side) {
            if let Some(count) = self.get(*unit) {
                let sum = total
                    .unwrap_or(0_u64)
                    .checked_add(count)
                    .ok_or(MoneyError::TooLarge)?;
                total = Some(sum);
            }
        }
        Ok(total)
    }
}

/// The rates that hold for one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateCard {
    rates: [Option<Rate>; Unit::COUNT],
    requests: Vec<(String, u128)>,
    call: Option<u128>,
}

impl RateCard {
    /// Makes a card of rates in attodollars per million.
    ///
    /// Each rate is its unit, the number of input tokens above which it holds (`None`: the base
    /// rate) and the rate itself; `requests` are server-side requests by kind, `call` is the call.
    ///
    /// # Errors
    ///
    /// [`PricingError::DuplicateRate`] and [`PricingError::NoBaseRate`].
    pub fn new(
        rates: impl IntoIterator<Item = (Unit, Option<u64>, u128)>,
        requests: impl IntoIterator<Item = (String, u128)>,
        call: Option<u128>,
    ) -> Result<Self, PricingError> {
        let mut card = Self {
            call,
            ..Self::default()
        };
        let mut tiers: Vec<(Unit, u64, u128)> = Vec::new();
        for (unit, above, rate) in rates {
            if let Some(above) = above {
                tiers.push((unit, above, rate));
                continue;
            }
            let slot = &mut card.rates[unit as usize];
            if slot.is_some() {
                return Err(PricingError::DuplicateRate(unit.name().to_owned()));
            }
            *slot = Some(Rate {
                base: rate,
                tiers: Vec::new(),
            });
        }
        tiers.sort_unstable();
        for (unit, above, rate) in tiers {
            let base = card.rates[unit as usize]
                .as_mut()
                .ok_or(PricingError::NoBaseRate(unit))?;
            if base.tiers.last().is_some_and(|(last, _)| *last == above) {
                return Err(PricingError::DuplicateRate(format!("{unit} above {above}")));
            }
            base.tiers.push((above, rate));
        }
        for (kind, rate) in requests {
            if card.requests.iter().any(|(known, _)| *known == kind) {
                return Err(PricingError::DuplicateRate(kind));
            }
            card.requests.push((kind, rate));
        }
        card.requests.sort_unstable();
        Ok(card)
    }

    /// This card with the rates of others in place of its own; of several, the first one counts.
    #[must_use]
    pub fn overridden_by<'a>(&'a self, others: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut merged = Self::default();
        for card in others.into_iter().chain([self]) {
            for (mine, theirs) in merged.rates.iter_mut().zip(&card.rates) {
                if mine.is_none() {
                    mine.clone_from(theirs);
                }
            }
            for (kind, rate) in &card.requests {
                if !merged.requests.iter().any(|(known, _)| known == kind) {
                    merged.requests.push((kind.clone(), *rate));
                }
            }
            merged.call = merged.call.or(card.call);
        }
        merged.requests.sort_unstable();
        merged
    }

    /// Every rate: its unit, the threshold above which it holds, and attodollars per million.
    pub fn rates(&self) -> impl Iterator<Item = (Unit, Option<u64>, u128)> + '_ {
        Unit::ALL.iter().zip(&self.rates).flat_map(|(unit, rate)| {
            rate.iter().flat_map(|rate| {
                let tiers = rate
                    .tiers
                    .iter()
                    .map(|(above, rate)| (*unit, Some(*above), *rate));
                std::iter::once((*unit, None, rate.base)).chain(tiers)
            })
        })
    }

    /// Rates of server-side requests, in attodollars per million.
    #[must_use]
    pub fn request_rates(&self) -> &[(String, u128)] {
        &self.requests
    }

    /// The rate of the call itself, in attodollars per million calls.
    #[must_use]
    pub fn call_rate(&self) -> Option<u128> {
        self.call
    }

    /// What a call cost.
    ///
    /// # Errors
    ///
    /// [`PricingError::NoRate`], [`PricingError::AmbiguousRate`] or [`PricingError::NoRequestRate`]
    /// for what was used and has no rate; [`PricingError::MissingUsage`] when nothing is known of a
    /// side that the card charges for; [`PricingError::Money`] when the amount does not fit.
    pub fn cost(&self, counts: &Counts) -> Result<Nanodollars, PricingError> {
        let input = self.known(counts, Side::Input)?;
        self.known(counts, Side::Output)?;
        let mut total = self.call.unwrap_or(0);
        for unit in Unit::ALL {
            let Some(tokens) = counts.get(*unit).filter(|tokens| *tokens > 0) else {
                continue;
            };
            total = add(total, self.rate_for(*unit)?.at(input), tokens)?;
        }
        for (kind, count) in counts.requests.iter().filter(|(_, count)| *count > 0) {
            let (_, rate) = self
                .requests
                .iter()
                .find(|(known, _)| known == kind)
                .ok_or_else(|| PricingError::NoRequestRate(kind.clone()))?;
            total = add(total, *rate, *count)?;
        }
        Ok(Nanodollars::from_ratio_up(
            total,
            RATE_UNITS_PER_NANODOLLAR,
        )?)
    }

    /// The most that a call with at most so many tokens can cost, server-side requests apart:
    /// every token is taken for the dearest kind that has a rate, at the dearest tier in reach.
    ///
    /// `without` are units that the call cannot use; `Input` and `Output` cannot be among them.
    ///
    /// # Errors
    ///
    /// [`PricingError::NoRate`] when a side has tokens but no rate of its own;
    /// [`PricingError::Money`] when the amount does not fit.
    pub fn upper_bound(
        &self,
        input: u64,
        output: u64,
        without: &[Unit],
    ) -> Result<Nanodollars, PricingError> {
        let mut total = self.call.unwrap_or(0);
        for (tokens, side, unit) in [
            (input, Side::Input, Unit::Input),
            (output, Side::Output, Unit::Output),
        ] {
            if tokens == 0 {
                continue;
            }
            self.rate_for(unit)?;
            let dearest = Unit::ALL
                .iter()
                .filter(|unit| unit.side() == side)
                .filter(|unit| {
                    matches!(unit, Unit::Input | Unit::Output) || !without.contains(unit)
                })
                .filter_map(|unit| self.rates[*unit as usize].as_ref())
                .map(|rate| rate.dearest(input))
                .max();
            total = add(total, dearest.unwrap_or(0), tokens)?;
        }
        Ok(Nanodollars::from_ratio_up(
            total,
            RATE_UNITS_PER_NANODOLLAR,
        )?)
    }

    /// How many tokens of a side there are; nothing being known is an error if that side costs.
    fn known(&self, counts: &Counts, side: Side) -> Result<u64, PricingError> {
        match counts.total(side)? {
            Some(total) => Ok(total),
            None if self.charges(side) => Err(PricingError::MissingUsage(side)),
            None => Ok(0),
        }
    }

    fn charges(&self, side: Side) -> bool {
        Unit::ALL
            .iter()
            .zip(&self.rates)
            .any(|(unit, rate)| unit.side() == side && rate.is_some())
    }

    /// The rate for a unit: its own, or that of the more general unit it is a part of.
    fn rate_for(&self, unit: Unit) -> Result<&Rate, PricingError> {
        let mut general = unit;
        loop {
            if let Some(rate) = &self.rates[general as usize] {
                return Ok(rate);
            }
            general = match general.charged_as() {
                ChargedAs::Itself => return Err(PricingError::NoRate(unit)),
                ChargedAs::PartOf(whole) => whole,
                ChargedAs::PartOfBoth(first, second) => match (self.has(first), self.has(second)) {
                    (true, true) => {
                        return Err(PricingError::AmbiguousRate {
                            unit,
                            first,
                            second,
                        });
                    }
                    (false, true) => second,
                    _ => first,
                },
            };
        }
    }

    fn has(&self, unit: Unit) -> bool {
        self.rates[unit as usize].is_some()
    }
}

fn add(total: u128, rate: u128, count: u64) -> Result<u128, MoneyError> {
    let product = rate
        .checked_mul(u128::from(count))
        .ok_or(MoneyError::TooLarge)?;
    total.checked_add(product).ok_or(MoneyError::TooLarge)
}
