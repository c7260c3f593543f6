//! Integer nanodollars: 1 USD is 10⁹ of them, and no float ever adds up money.

use thiserror::Error;

/// Why an amount of money cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// The result is larger than [`Nanodollars::MAX`].
    #[error("the amount is larger than can be accounted for (about 4.6 billion US dollars)")]
    TooLarge,
    /// The result would be less than nothing.
    #[error("the amount would be less than zero")]
    Negative,
}

/// An amount of money, at least 0 and at most [`Nanodollars::MAX`].
///
/// ```
/// use cascadeflow_core::money::Nanodollars;
///
/// let cent = Nanodollars::new(10_000_000)?;
/// assert_eq!(cent.checked_add(cent)?.get(), 20_000_000);
/// # Ok::<(), cascadeflow_core::money::MoneyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanodollars(u64);

impl Nanodollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount, 2⁶² − 1: it leaves two bits of a 64-bit word free for a ledger's flags.
    pub const MAX: Self = Self((1 << 62) - 1);

    /// Takes a count of nanodollars.
    ///
    /// # Errors
    ///
    /// [`MoneyError::TooLarge`] when it is more than [`Self::MAX`].
    pub const fn new(nanodollars: u64) -> Result<Self, MoneyError> {
        if nanodollars > Self::MAX.0 {
            return Err(MoneyError::TooLarge);
        }
        Ok(Self(nanodollars))
    }

    /// Divides a finer amount by the number of its units in a nanodollar, rounding up once.
    ///
    /// # Errors
    ///
    /// [`MoneyError::TooLarge`] when the quotient is more than [`Self::MAX`].
    pub fn from_ratio_up(
        amount: u128,
        units_per_nanodollar: std::num::NonZeroU128,
    ) -> Result<Self, MoneyError> {
        let quotient = amount.div_ceil(units_per_nanodollar.get());
        u64::try_from(quotient)
            .map_err(|_| MoneyError::TooLarge)
            .and_then(Self::new)
    }

    /// The count of nanodollars.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Adds.
    ///
    /// # Errors
    ///
    /// [`MoneyError::TooLarge`] when the sum is more than [`Self::MAX`].
    pub const fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        // Two amounts of at most 2^62 − 1 cannot wrap a u64.
        Self::new(self.0 + other.0)
    }

    /// Subtracts.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Negative`] when `other` is the larger one.
    pub const fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Ok(Self(rest)),
            None => Err(MoneyError::Negative),
        }
    }

    /// Multiplies by a count.
    ///
    /// # Errors
    ///
    /// [`MoneyError::TooLarge`] when the product is more than [`Self::MAX`].
    pub const fn checked_mul(self, count: u64) -> Result<Self, MoneyError> {
        match self.0.checked_mul(count) {
            Some(product) => Self::new(product),
            None => Err(MoneyError::TooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU128;

    use proptest::prelude::*;

    use super::*;

    fn amount() -> impl Strategy<Value = Nanodollars> {
        (0..=Nanodollars::MAX.get()).prop_map(|n| Nanodollars::new(n).unwrap())
    }

    #[test]
    fn the_largest_amount_is_taken_and_one_more_is_not() {
        assert_eq!(
            Nanodollars::new(Nanodollars::MAX.get()),
            Ok(Nanodollars::MAX)
        );
        assert_eq!(
            Nanodollars::new(Nanodollars::MAX.get() + 1),
            Err(MoneyError::TooLarge)
        );
        assert_eq!(Nanodollars::new(u64::MAX), Err(MoneyError::TooLarge));
    }

    proptest! {
        #[test]
        fn addition_agrees_with_wide_integers(a in amount(), b in amount()) {
            let wide = u128::from(a.get()) + u128::from(b.get());
            let expected = if wide > u128::from(Nanodollars::MAX.get()) {
                Err(MoneyError::TooLarge)
            } else {
                Ok(wide)
            };
            prop_assert_eq!(a.checked_add(b).map(|sum| u128::from(sum.get())), expected);
        }

        #[test]
        fn subtraction_undoes_addition_and_never_goes_below_zero(a in amount(), b in amount()) {
            if let Ok(sum) = a.checked_add(b) {
                prop_assert_eq!(sum.checked_sub(b), Ok(a));
            }
            prop_assert_eq!(a.checked_sub(b).is_err(), b > a);
        }

        #[test]
        fn multiplication_agrees_with_wide_integers(a in amount(), count in any::<u64>()) {
            let wide = u128::from(a.get()) * u128::from(count);
            let expected = if wide > u128::from(Nanodollars::MAX.get()) {
                Err(MoneyError::TooLarge)
            } else {
                Ok(wide)
            };
            prop_assert_eq!(a.checked_mul(count).map(|product| u128::from(product.get())), expected);
        }

        #[test]
        fn rounding_up_is_the_least_amount_that_is_enough(amount in any::<u128>(), units in 1..=u128::MAX) {
            let units = NonZeroU128::new(units).unwrap();
            match Nanodollars::from_ratio_up(amount, units) {
                Ok(rounded) => {
                    let rounded = u128::from(rounded.get());
                    prop_assert!(rounded.checked_mul(units.get()).is_none_or(|enough| enough >= amount));
                    prop_assert!(rounded == 0 || (rounded - 1) * units.get() < amount);
                }
                Err(_) => prop_assert!(amount / units.get() >= u128::from(Nanodollars::MAX.get())),
            }
        }
    }
}
