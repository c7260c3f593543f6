//! Exact fractions of 128-bit integers. What does not fit is no number: every operation is checked.

use std::cmp::Ordering;

/// A fraction in lowest terms, its denominator positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rational {
    numerator: i128,
    denominator: i128,
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        // Division of 128 bits is slow, and nearly every number is short.
        if let (Ok(mut short_a), Ok(mut short_b)) = (u64::try_from(a), u64::try_from(b)) {
            while short_b != 0 {
                (short_a, short_b) = (short_b, short_a % short_b);
            }
            return u128::from(short_a);
        }
        (a, b) = (b, a % b);
    }
    a
}

impl Rational {
    /// Zero.
    pub const ZERO: Self = Self::integer(0);
    /// One.
    pub const ONE: Self = Self::integer(1);

    /// A whole number.
    #[must_use]
    pub const fn integer(value: i128) -> Self {
        Self {
            numerator: value,
            denominator: 1,
        }
    }

    /// A fraction, or `None` when the denominator is zero or a part does not fit.
    #[must_use]
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        if denominator == 1 {
            return Some(Self::integer(numerator));
        }
        let divisor =
            i128::try_from(gcd(numerator.unsigned_abs(), denominator.unsigned_abs())).ok()?;
        let (numerator, denominator) = (numerator / divisor, denominator / divisor);
        if denominator < 0 {
            Some(Self {
                numerator: numerator.checked_neg()?,
                denominator: denominator.checked_neg()?,
            })
        } else {
            Some(Self {
                numerator,
                denominator,
            })
        }
    }

    /// Whether it is a whole number.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.denominator == 1
    }

    /// Whether it is less than zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.numerator < 0
    }

    /// The whole number it is, or `None`.
    #[must_use]
    pub fn to_integer(self) -> Option<i128> {
        self.is_integer().then_some(self.numerator)
    }

    /// Its magnitude.
    #[must_use]
    pub fn abs(self) -> Option<Self> {
        if self.is_negative() {
            self.negate()
        } else {
            Some(self)
        }
    }

    /// Its negative.
    #[must_use]
    pub fn negate(self) -> Option<Self> {
        Some(Self {
            numerator: self.numerator.checked_neg()?,
            denominator: self.denominator,
        })
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.denominator == 1 && other.denominator == 1 {
            return Some(Self::integer(self.numerator.checked_add(other.numerator)?));
        }
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(
            left.checked_add(right)?,
            self.denominator.checked_mul(other.denominator)?,
        )
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.plus(other.negate()?)
    }

    /// The product.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.numerator)?,
            self.denominator.checked_mul(other.denominator)?,
        )
    }

    /// The quotient, or `None` when the divisor is zero.
    #[must_use]
    pub fn divided_by(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.denominator)?,
            self.denominator.checked_mul(other.numerator)?,
        )
    }

    /// The power to a whole exponent between -64 and 64.
    #[must_use]
    pub fn power(self, exponent: Self) -> Option<Self> {
        let exponent = exponent.to_integer().filter(|e| (-64..=64).contains(e))?;
        let mut result = Self::ONE;
        for _ in 0..exponent.unsigned_abs() {
            result = result.times(self)?;
        }
        if exponent < 0 {
            Self::ONE.divided_by(result)
        } else {
            Some(result)
        }
    }

    /// The larger-or-smaller of two, or `None` when the cross products do not fit.
    #[must_use]
    pub fn compare(self, other: Self) -> Option<Ordering> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Some(left.cmp(&right))
    }

    /// The nearest double.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double is asked for; the error is one part in 2^52"
    )]
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// Its value without rounding: whole, or as a fraction.
    #[must_use]
    pub fn to_exact(self) -> String {
        if self.is_integer() {
            self.numerator.to_string()
        } else {
            format!("{}/{}", self.numerator, self.denominator)
        }
    }

    /// How a person would write it: whole, or with at most four decimals.
    #[must_use]
    pub fn to_text(self) -> String {
        if self.is_integer() {
            return self.numerator.to_string();
        }
        let text = format!("{:.4}", self.to_f64());
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(numerator: i128, denominator: i128) -> Rational {
        Rational::new(numerator, denominator).unwrap()
    }

    #[test]
    fn computes_as_on_paper() {
        assert_eq!(ratio(1, 3).plus(ratio(1, 6)), Some(ratio(1, 2)));
        assert_eq!(ratio(1, 3).minus(ratio(1, 3)), Some(Rational::ZERO));
        assert_eq!(ratio(2, 3).times(ratio(3, 4)), Some(ratio(1, 2)));
        assert_eq!(ratio(2, 3).divided_by(ratio(4, -3)), Some(ratio(-1, 2)));
        assert_eq!(ratio(1, 2).divided_by(Rational::ZERO), None);
        assert_eq!(ratio(3, 2).power(Rational::integer(-2)), Some(ratio(4, 9)));
        assert_eq!(ratio(10, 4).to_text(), "2.5");
    }

    #[test]
    fn what_does_not_fit_is_no_number() {
        let huge = Rational::integer(i128::MAX);
        assert_eq!(huge.plus(Rational::ONE), None);
        assert_eq!(huge.times(huge), None);
        assert_eq!(Rational::new(1, i128::MIN), None);
        assert_eq!(Rational::new(i128::MIN, i128::MIN), None);
    }

    proptest! {
        #[test]
        fn obeys_the_laws_of_a_field(a in -999i128..999, b in 1i128..999, c in -999i128..999, d in 1i128..999) {
            let (x, y) = (ratio(a, b), ratio(c, d));
            prop_assert_eq!(x.plus(y), y.plus(x));
            prop_assert_eq!(x.plus(y).unwrap().minus(y), Some(x));
            if c != 0 {
                prop_assert_eq!(x.times(y).unwrap().divided_by(y), Some(x));
            }
            prop_assert_eq!(x.compare(y), Some((a * d).cmp(&(c * b))));
        }
    }
}
