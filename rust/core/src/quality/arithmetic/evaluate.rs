//! Computing an expression, exactly or as an interval, without recursion.

use super::lex::Kind;
use super::number;
use super::rational::Rational;
use super::scan::{Item, Tokens};

/// What a percentage is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Percent {
    /// `20%` is 0.2.
    Fraction,
    /// `20%` is 20: `100% - 20% = 80%`.
    Plain,
    /// `80 - 25%` is 60.
    OfLeft,
}

/// How an expression is read where it may be read in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) european: bool,
    pub(crate) percent: Percent,
    /// Whether a parenthesis behind a number is left out as a remark.
    pub(crate) remark: bool,
    /// Whether a division without spaces binds closer than one with.
    pub(crate) tight: bool,
}

pub(crate) const PLAIN: Reading = Reading {
    european: false,
    percent: Percent::Fraction,
    remark: false,
    tight: false,
};

/// Numbers that an expression can be computed in.
pub(crate) trait Field: Copy {
    fn read(number: number::Written, currency: bool, text: &str) -> Option<Self>;
    fn from_integer(value: i128) -> Self;
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn times(self, other: Self) -> Option<Self>;
    fn divided_by(self, other: Self) -> Option<Self>;
    fn power(self, other: Self) -> Option<Self>;
}

impl Field for Rational {
    fn read(number: number::Written, _currency: bool, _text: &str) -> Option<Self> {
        Some(number.value)
    }
    fn from_integer(value: i128) -> Self {
        Self::integer(value)
    }
    fn plus(self, other: Self) -> Option<Self> {
        Rational::plus(self, other)
    }
    fn minus(self, other: Self) -> Option<Self> {
        Rational::minus(self, other)
    }
    fn times(self, other: Self) -> Option<Self> {
        Rational::times(self, other)
    }
    fn divided_by(self, other: Self) -> Option<Self> {
        Rational::divided_by(self, other)
    }
    fn power(self, other: Self) -> Option<Self> {
        Rational::power(self, other)
    }
}

/// From the least to the greatest value that numbers, rounded as written, may stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Interval {
    fn of(values: [f64; 4]) -> Option<Self> {
        let low = values.into_iter().fold(f64::INFINITY, f64::min);
        let high = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
        (low.is_finite() && high.is_finite()).then_some(Self { low, high })
    }
}

impl Field for Interval {
    /// A number with two or more decimals that does not end in 0 or 5 may have been rounded: 3.33 is
    /// a third of ten, 0.25 is a quarter. Prices have two decimals by nature.
    fn read(number: number::Written, currency: bool, text: &str) -> Option<Self> {
        let value = number.value.to_f64();
        let rounded = number.decimals >= 2
            && !(currency && number.decimals == 2)
            && !text.ends_with(['0', '5']);
        let half = if rounded {
            0.5 / 10_f64.powi(i32::try_from(number.decimals).ok()?)
        } else {
            0.0
        };
        Some(Self {
            low: value - half,
            high: value + half,
        })
    }
    #[expect(clippy::cast_precision_loss, reason = "only small constants come here")]
    fn from_integer(value: i128) -> Self {
        Self {
            low: value as f64,
            high: value as f64,
        }
    }
    fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            low: self.low + other.low,
            high: self.high + other.high,
        })
    }
    fn minus(self, other: Self) -> Option<Self> {
        Some(Self {
            low: self.low - other.high,
            high: self.high - other.low,
        })
    }
    fn times(self, other: Self) -> Option<Self> {
        Self::of([
            self.low * other.low,
            self.low * other.high,
            self.high * other.low,
            self.high * other.high,
        ])
    }
    fn divided_by(self, other: Self) -> Option<Self> {
        if other.low <= 0.0 && other.high >= 0.0 {
            return None;
        }
        Self::of([
            self.low / other.low,
            self.low / other.high,
            self.high / other.low,
            self.high / other.high,
        ])
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be a small whole number"
    )]
    fn power(self, other: Self) -> Option<Self> {
        let whole = other.low.round();
        if (other.high - other.low) > 0.0 || (whole - other.low).abs() > 0.0 || whole.abs() > 64.0 {
            return None;
        }
        let ends = (self.low.powi(whole as i32), self.high.powi(whole as i32));
        Self::of([ends.0, ends.1, ends.0, ends.1])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Open,
    Plus,
    Minus,
    Times,
    Divide,
    Fraction,
    Negate,
    Power,
}

impl Operator {
    fn precedence(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Plus | Self::Minus => 1,
            Self::Times | Self::Divide => 2,
            Self::Fraction => 3,
            Self::Negate => 4,
            Self::Power => 5,
        }
    }
}

/// A value, and whether it is a percentage standing alone.
type Operand<T> = (T, bool);

/// Computes an expression by Dijkstra's shunting yard; `None` when it cannot be (a division by zero,
/// a value that does not fit, a form that is no expression).
pub(crate) fn evaluate<T: Field>(
    items: &[Item],
    tokens: &Tokens<'_>,
    reading: Reading,
) -> Option<T> {
    let mut values: Vec<Operand<T>> = Vec::with_capacity(8);
    let mut operators: Vec<Operator> = Vec::with_capacity(8);
    let mut expects_operand = true;
    let mut index = 0;
    while index < items.len() {
        let item = items[index];
        index += 1;
        match item {
            Item::Number(token) => {
                values.push(read(tokens, token, reading)?);
                expects_operand = false;
            }
            Item::Open => {
                operators.push(Operator::Open);
                expects_operand = true;
            }
            Item::Close => {
                loop {
                    match operators.pop()? {
                        Operator::Open => break,
                        operator => apply(operator, &mut values, reading)?,
                    }
                }
                if let Some(last) = values.last_mut() {
                    last.1 = false;
                }
                expects_operand = false;
            }
            Item::Implied if reading.remark => {
                index = behind_group(items, index)?;
                expects_operand = false;
            }
            Item::Plus | Item::Minus if expects_operand => {
                if item == Item::Minus {
                    operators.push(Operator::Negate);
                }
            }
            Item::Plus
            | Item::Minus
            | Item::Times
            | Item::Divide
            | Item::Fraction
            | Item::Power
            | Item::Implied => {
                let operator = match item {
                    Item::Plus => Operator::Plus,
                    Item::Minus => Operator::Minus,
                    Item::Fraction if reading.tight => Operator::Fraction,
                    Item::Divide | Item::Fraction => Operator::Divide,
                    Item::Power => Operator::Power,
                    _ => Operator::Times,
                };
                let right_to_left = operator == Operator::Power;
                while let Some(&top) = operators.last() {
                    let binds = top.precedence() > operator.precedence()
                        || (top.precedence() == operator.precedence() && !right_to_left);
                    if !binds {
                        break;
                    }
                    operators.pop();
                    apply(top, &mut values, reading)?;
                }
                operators.push(operator);
                expects_operand = true;
            }
        }
    }
    while let Some(operator) = operators.pop() {
        apply(operator, &mut values, reading)?;
    }
    let (value, _) = values.pop()?;
    values.is_empty().then_some(value)
}

/// The item behind the parenthesis that opens at `index`.
fn behind_group(items: &[Item], index: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, item) in items[index..].iter().enumerate() {
        match item {
            Item::Open => depth += 1,
            Item::Close => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn read<T: Field>(tokens: &Tokens<'_>, token: usize, reading: Reading) -> Option<Operand<T>> {
    let text = tokens.str(token);
    let Kind::Number { percent, currency } = tokens.all[token].kind else {
        // The little two or three of a power.
        return Some((T::from_integer(if text == "²" { 2 } else { 3 }), false));
    };
    let value = T::read(number::read(text, reading.european)?, currency, text)?;
    if percent && reading.percent != Percent::Plain {
        return Some((value.divided_by(T::from_integer(100))?, true));
    }
    Some((value, false))
}

fn apply<T: Field>(
    operator: Operator,
    values: &mut Vec<Operand<T>>,
    reading: Reading,
) -> Option<()> {
    let (right, percent) = values.pop()?;
    if operator == Operator::Negate {
        values.push((T::from_integer(0).minus(right)?, percent));
        return Some(());
    }
    let (left, left_percent) = values.pop()?;
    let of_left = percent && !left_percent && reading.percent == Percent::OfLeft;
    let value = match operator {
        Operator::Plus if of_left => left.plus(left.times(right)?)?,
        Operator::Minus if of_left => left.minus(left.times(right)?)?,
        Operator::Plus => left.plus(right)?,
        Operator::Minus => left.minus(right)?,
        Operator::Times => left.times(right)?,
        Operator::Divide | Operator::Fraction => left.divided_by(right)?,
        Operator::Power => left.power(right)?,
        Operator::Open | Operator::Negate => return None,
    };
    values.push((value, false));
    Some(())
}
