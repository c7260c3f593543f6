//! Reading the value of a number as it was written.

use super::rational::Rational;

/// A number's value and how many decimals it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its value.
    pub value: Rational,
    /// Digits behind the decimal mark.
    pub decimals: u32,
}

/// Whether a point or comma in it may mean either thousands or decimals: `1.234`, `1,234`.
#[must_use]
pub(super) fn is_ambiguous(number: &str) -> bool {
    let marks = number
        .bytes()
        .filter(|byte| matches!(byte, b'.' | b','))
        .count();
    marks == 1
        && number
            .rfind(['.', ','])
            .is_some_and(|at| number.len() - at == 4 && (1..=3).contains(&at))
}

/// Reads a number; where its marks may mean two things, `european` says that a point groups
/// thousands and a comma begins the decimals.
#[must_use]
pub fn read(number: &str, european: bool) -> Option<Written> {
    if let Some((numerator, denominator)) = vulgar(number) {
        return Some(Written {
            value: Rational::new(numerator, denominator)?,
            decimals: 0,
        });
    }
    let count = |mark: u8| number.bytes().filter(|&byte| byte == mark).count();
    let (dots, commas) = (count(b'.'), count(b','));
    let behind = |at: usize| number.len() - at - 1;
    let mark = match (number.rfind('.'), number.rfind(',')) {
        (Some(dot), None) if dots == 1 && !(european && behind(dot) == 3) => Some(dot),
        (None, Some(comma))
            if commas == 1 && !number.contains('{') && (european || behind(comma) != 3) =>
        {
            Some(comma)
        }
        (Some(dot), Some(comma)) => Some(dot.max(comma)),
        _ => None,
    };
    let mut mantissa: i128 = 0;
    let mut scale: i128 = 1;
    let mut decimals = 0;
    for (at, digit) in number
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_digit())
    {
        mantissa = mantissa
            .checked_mul(10)?
            .checked_add(i128::from(digit - b'0'))?;
        if mark.is_some_and(|mark| at > mark) {
            scale = scale.checked_mul(10)?;
            decimals += 1;
        }
    }
    Some(Written {
        value: Rational::new(mantissa, scale)?,
        decimals,
    })
}

fn vulgar(number: &str) -> Option<(i128, i128)> {
    Some(match number {
        "½" => (1, 2),
        "¼" => (1, 4),
        "¾" => (3, 4),
        "⅓" => (1, 3),
        "⅔" => (2, 3),
        "⅛" => (1, 8),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(number: &str) -> (String, u32) {
        let written = read(number, false).unwrap();
        (written.value.to_text(), written.decimals)
    }

    #[test]
    fn reads_numbers_as_people_write_them() {
        assert_eq!(plain("1,234"), ("1234".into(), 0));
        assert_eq!(plain("1,234.50"), ("1234.5".into(), 2));
        assert_eq!(plain("1.234,5"), ("1234.5".into(), 1));
        assert_eq!(plain("2,5"), ("2.5".into(), 1));
        assert_eq!(plain("1{,}000"), ("1000".into(), 0));
        assert_eq!(plain("1.234.567"), ("1234567".into(), 0));
        assert_eq!(plain("12,34,567"), ("1234567".into(), 0));
        assert_eq!(plain("1\u{202f}000"), ("1000".into(), 0));
        assert_eq!(plain(".5"), ("0.5".into(), 1));
        assert_eq!(plain("¾"), ("0.75".into(), 0));
        assert_eq!(read("1.234", true).unwrap().value, Rational::integer(1234));
        assert!(is_ambiguous("1.234") && !is_ambiguous("1.23") && !is_ambiguous("1,234.5"));
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        assert_eq!(read(&"9".repeat(40), false), None);
    }
}
