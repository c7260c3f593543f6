//! JSON numbers, compared as what was written and not as what a float makes of it.

use std::cmp::Ordering;

/// A number: whole ones exactly, to 38 digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Written without a fraction or an exponent.
    Whole(i128),
    /// Any other; infinite when it is beyond a float.
    Float(f64),
}

impl Number {
    /// Reads what the JSON reader took for a number.
    pub(super) fn parse(text: &str) -> Self {
        text.parse().map_or_else(
            |_| Self::Float(text.parse().unwrap_or(f64::NAN)),
            Self::Whole,
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "what a float is for")]
    fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    /// The whole number it is, when it is one: 3.0 is.
    pub(super) fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(whole) => Some(whole),
            #[expect(clippy::cast_possible_truncation, reason = "in range and whole")]
            Self::Float(float) => {
                (float.abs() < BEYOND && float.fract() == 0.0).then_some(float as i128)
            }
        }
    }

    /// Whether it has no fraction.
    pub(super) fn is_integer(self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Float(float) => float.is_finite() && float.fract() == 0.0,
        }
    }

    /// The order of two numbers, exact between whole ones and floats too.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (Self::Whole(a), Self::Float(b)) => compare(a, b),
            (Self::Float(a), Self::Whole(b)) => compare(b, a).map(Ordering::reverse),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
        }
    }

    /// One text for all ways to write the same number.
    pub(super) fn canonical(self) -> String {
        self.whole()
            .map_or_else(|| format!("{:e}", self.float()), |whole| whole.to_string())
    }
}

/// 2¹²⁷: floats from here on are beyond an `i128`.
const BEYOND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

#[expect(clippy::cast_possible_truncation, reason = "in range")]
fn compare(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        None
    } else if float >= BEYOND {
        Some(Ordering::Less)
    } else if float < -BEYOND {
        Some(Ordering::Greater)
    } else {
        let order = whole.cmp(&(float.trunc() as i128));
        Some(order.then_with(|| {
            0.0_f64
                .partial_cmp(&float.fract())
                .unwrap_or(Ordering::Equal)
        }))
    }
}

/// A number as digits times a power of ten.
fn decimal(text: &str) -> Option<(i128, i32)> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let mantissa = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    Some((mantissa, exponent.checked_sub(places)?))
}

/// Whether one number is a whole multiple of another, in decimal arithmetic: 0.3 is one of 0.1.
///
/// Floats decide where 38 digits do not hold both; `None` where the divisor is no positive number.
pub(super) fn is_multiple(text: &str, divisor: &str) -> Option<bool> {
    let size = Number::parse(divisor).float();
    if size.is_nan() || size <= 0.0 {
        return None;
    }
    let exactly = || {
        let ((a, a_exponent), (b, b_exponent)) = (decimal(text)?, decimal(divisor)?);
        let shift = |number: i128, by: i32| {
            number.checked_mul(10_i128.checked_pow(u32::try_from(by).ok()?)?)
        };
        let lower = a_exponent.min(b_exponent);
        let a = shift(a, a_exponent.checked_sub(lower)?)?;
        let b = shift(b, b_exponent.checked_sub(lower)?)?;
        (b != 0).then(|| a % b == 0)
    };
    Some(exactly().unwrap_or_else(|| {
        let times = Number::parse(text).float() / size;
        times.is_finite() && times.fract() == 0.0
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(a: &str, b: &str) -> Ordering {
        Number::parse(a).compare(Number::parse(b)).unwrap()
    }

    #[test]
    fn compares_whole_numbers_and_floats_exactly() {
        for (less, more) in [
            ("9007199254740992.0", "9007199254740993"),
            ("-1", "-0.5"),
            ("-1.5", "-1"),
            ("1", "1.5"),
            ("3", "1e400"),
            ("-1e400", "3"),
            ("99999999999999999999999999999999999", "1e36"),
        ] {
            assert_eq!(order(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(order(more, less), Ordering::Greater, "{less} {more}");
        }
        assert_eq!(order("1.0", "1"), Ordering::Equal);
        assert_eq!(order("-0.0", "0"), Ordering::Equal);
    }

    #[test]
    fn writes_the_same_number_in_one_way() {
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("-0.0", "0"),
            ("0.10", "1e-1"),
        ] {
            assert_eq!(Number::parse(a).canonical(), Number::parse(b).canonical());
        }
        assert_ne!(
            Number::parse("9007199254740993").canonical(),
            Number::parse("9007199254740992.0").canonical()
        );
    }

    #[test]
    fn knows_multiples_in_decimal() {
        for (number, divisor, expected) in [
            ("0.3", "0.1", Some(true)),
            ("19.99", "0.01", Some(true)),
            ("19.995", "0.01", Some(false)),
            ("1e3", "5", Some(true)),
            ("7", "2", Some(false)),
            ("-4", "2", Some(true)),
            ("1e300", "2", Some(true)),
            ("0", "0.7", Some(true)),
            ("1", "0", None),
            ("1", "-1", None),
        ] {
            assert_eq!(is_multiple(number, divisor), expected, "{number} {divisor}");
        }
    }
}
