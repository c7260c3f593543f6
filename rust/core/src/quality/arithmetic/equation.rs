//! Judging equations.

use std::ops::Range;

use super::evaluate::{Interval, PLAIN, Percent, Reading, evaluate};
use super::lex::{Kind, lex};
use super::number;
use super::rational::Rational;
use super::scan::{Expression, Item, Tokens};
use super::{Mention, mentions};

/// An equation with an operation on its left side.
#[derive(Clone, Debug, PartialEq)]
pub struct Equation {
    /// Where it stands.
    pub range: Range<usize>,
    /// What its left side comes to.
    pub left: Rational,
    /// What its right side says.
    pub right: Rational,
    /// Whether it holds; `None` where a mismatch proves nothing.
    pub holds: Option<bool>,
    /// Operations on the left side.
    pub operations: usize,
}

/// What checking a text's arithmetic found.
#[derive(Clone, Debug, Default)]
pub struct Arithmetic {
    /// The equations, in order, at most [`MAX_EQUATIONS`]; further ones are only counted.
    pub equations: Vec<Equation>,
    /// How many equations were found.
    pub found: usize,
    /// How many do not hold.
    pub wrong: usize,
    /// The first that does not hold.
    pub first_wrong: Option<Equation>,
    /// The numbers of the text.
    pub numbers: Vec<Mention>,
}

/// No more equations than this are kept.
pub const MAX_EQUATIONS: usize = 4096;

/// Checks every equation of a text.
#[must_use]
pub fn check(text: &str) -> Arithmetic {
    let lexed = lex(text);
    let tokens = Tokens::new(text, &lexed.tokens);
    let mut result = Arithmetic {
        numbers: mentions(text, &lexed.tokens),
        ..Arithmetic::default()
    };
    let mut judge = Judge {
        tokens: &tokens,
        left: Expression::default(),
        right: Expression::default(),
        odd: lexed.odd,
    };
    for (from, to) in Runs::new(&tokens) {
        judge.run(from, to, &mut result);
    }
    result
}

/// Stretches of tokens without an end in them; a line break before an equals sign is none.
struct Runs<'t, 'a> {
    tokens: &'t Tokens<'a>,
    at: usize,
}

impl<'t, 'a> Runs<'t, 'a> {
    fn new(tokens: &'t Tokens<'a>) -> Self {
        Self { tokens, at: 0 }
    }
}

impl Iterator for Runs<'_, '_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let all = self.tokens.all;
        let ends = |index: usize| match all[index].kind {
            Kind::Break => true,
            Kind::Newline => !all
                .get(index + 1)
                .is_some_and(|next| matches!(next.kind, Kind::Equals | Kind::Approximately)),
            _ => false,
        };
        while self.at < all.len() && ends(self.at) {
            self.at += 1;
        }
        let from = self.at;
        while self.at < all.len() && !ends(self.at) {
            self.at += 1;
        }
        (from < self.at).then_some((from, self.at))
    }
}

pub(super) struct Judge<'t, 'a> {
    pub(super) tokens: &'t Tokens<'a>,
    pub(super) left: Expression,
    pub(super) right: Expression,
    pub(super) odd: bool,
}

fn is_sign(kind: Kind) -> bool {
    matches!(kind, Kind::Equals | Kind::Approximately)
}

impl Judge<'_, '_> {
    fn run(&mut self, from: usize, to: usize, result: &mut Arithmetic) {
        let all = self.tokens.all;
        let mut segment = from;
        let mut first = true;
        let mut at = from;
        while at < to {
            if !is_sign(all[at].kind) {
                at += 1;
                continue;
            }
            let left_end = at - usize::from(at > from && all[at - 1].kind == Kind::Newline);
            let mut approximate = all[at].kind == Kind::Approximately;
            while at + 1 < to && is_sign(all[at + 1].kind) {
                at += 1;
                approximate = true;
            }
            let right_start = at + 1;
            let mut right_end = right_start;
            while right_end < to
                && !matches!(all[right_end].kind, Kind::Newline)
                && !is_sign(all[right_end].kind)
            {
                right_end += 1;
            }
            if left_end > segment && right_end > right_start {
                self.equation(
                    segment,
                    left_end,
                    !first,
                    right_start,
                    right_end,
                    approximate,
                    result,
                );
            }
            segment = right_start;
            first = false;
            at = right_start;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call, two spans")]
    fn equation(
        &mut self,
        left_from: usize,
        left_to: usize,
        continues: bool,
        right_from: usize,
        right_to: usize,
        approximate: bool,
        result: &mut Arithmetic,
    ) {
        let tokens = self.tokens;
        if !tokens.suffix(left_from, left_to, continues, &mut self.left)
            || self.left.operations == 0
            || !tokens.prefix(right_from, right_to, &mut self.right)
        {
            return;
        }
        let Some(left) = evaluate::<Rational>(&self.left.items, tokens, PLAIN) else {
            return;
        };
        let first = &self.right.items[..self.right.first];
        let Some(right) = evaluate::<Rational>(first, tokens, PLAIN) else {
            return;
        };
        let start = tokens.all[self.left.tokens.0].start;
        let end = tokens.all[self.right.tokens.1].end;
        let holds = if self.holds(left, approximate) {
            Some(true)
        } else if self.proves_nothing(left, right, start..end) {
            None
        } else {
            Some(false)
        };
        let equation = Equation {
            range: start..end,
            left,
            right,
            holds,
            operations: self.left.operations,
        };
        result.found += 1;
        if holds == Some(false) {
            result.wrong += 1;
            if result.first_wrong.is_none() {
                result.first_wrong = Some(equation.clone());
            }
        }
        if result.equations.len() < MAX_EQUATIONS {
            result.equations.push(equation);
        }
    }

    /// Whether the equation holds in some sensible reading.
    fn holds(&self, plain: Rational, approximate: bool) -> bool {
        let has = |test: &dyn Fn(usize) -> bool| {
            self.left
                .items
                .iter()
                .chain(&self.right.items)
                .any(|item| matches!(item, Item::Number(token) if test(*token)))
        };
        // The plain reading first: it is nearly always the one.
        if self.agrees(plain, PLAIN, approximate, false) {
            return true;
        }
        let percent = has(&|token| {
            matches!(
                self.tokens.all[token].kind,
                Kind::Number { percent: true, .. }
            )
        });
        let ambiguous = has(&|token| number::is_ambiguous(self.tokens.str(token)));
        let remarks = self.left.ambiguous || self.right.ambiguous;
        let fractions = self.left.items.iter().chain(&self.right.items);
        let tight = fractions.filter(|item| **item == Item::Fraction).count() > 0;
        let either = |both: bool| [false, true].into_iter().take(1 + usize::from(both));
        let senses = [Percent::Fraction, Percent::Plain, Percent::OfLeft];
        for european in either(ambiguous) {
            for remark in either(remarks) {
                for tight in either(tight) {
                    for percent_sense in &senses[..if percent { 3 } else { 1 }] {
                        let reading = Reading {
                            european,
                            percent: *percent_sense,
                            remark,
                            tight,
                        };
                        if let Some(left) = evaluate(&self.left.items, self.tokens, reading)
                            && self.agrees(left, reading, approximate, percent)
                        {
                            return true;
                        }
                    }
                }
            }
        }
        self.holds_without_label(approximate)
    }

    /// Whether the left side's value is what the right side says, in one reading.
    fn agrees(&self, left: Rational, reading: Reading, approximate: bool, percent: bool) -> bool {
        let items = &self.right.items;
        // The whole right side; or its first operand, where prose or a run-on goes on behind it.
        for part in [&items[..], &items[..self.right.first]] {
            let Some(right) = evaluate::<Rational>(part, self.tokens, reading) else {
                continue;
            };
            let decimals = self.decimals(part, reading);
            if equal(left, right, decimals, approximate)
                || (percent && hundredfold(left, right, decimals, approximate))
                || self.intervals_meet(part, reading, decimals, approximate)
            {
                return true;
            }
            if part.len() == self.right.first && items.len() == part.len() {
                break;
            }
        }
        false
    }

    /// Decimals that the right side is written with, when it is one number.
    fn decimals(&self, part: &[Item], reading: Reading) -> Option<u32> {
        let numbers =
            |item: &&Item| !matches!(item, Item::Plus | Item::Minus | Item::Open | Item::Close);
        let mut numbers = part.iter().filter(numbers);
        match (numbers.next(), numbers.next()) {
            (Some(&Item::Number(token)), None) => {
                let percent = matches!(
                    self.tokens.all[token].kind,
                    Kind::Number { percent: true, .. }
                ) && reading.percent != Percent::Plain;
                number::read(self.tokens.str(token), reading.european)
                    .map(|written| written.decimals + if percent { 2 } else { 0 })
            }
            _ => None,
        }
    }

    /// Whether the sides may be equal given how their numbers were rounded.
    fn intervals_meet(
        &self,
        part: &[Item],
        reading: Reading,
        decimals: Option<u32>,
        approximate: bool,
    ) -> bool {
        let Some(left) = evaluate::<Interval>(&self.left.items, self.tokens, reading) else {
            return false;
        };
        let Some(right) = evaluate::<Interval>(part, self.tokens, reading) else {
            return false;
        };
        if left.high - left.low <= 0.0 && right.high - right.low <= 0.0 {
            return false; // nothing was rounded
        }
        // The result itself is rounded to its last digit.
        let slack = decimals.map_or(0.0, |d| 0.5 * 10_f64.powi(-i32::try_from(d).unwrap_or(0)))
            + if approximate {
                right.high.abs() * 0.05
            } else {
                0.0
            };
        left.low <= right.high + slack && right.low - slack <= left.high
    }

    /// `Week 1 - 5 + 3 = 8`: whether it holds once a label and its dash are taken off.
    fn holds_without_label(&self, approximate: bool) -> bool {
        match self.left.items[..] {
            [Item::Number(label), Item::Minus, ref rest @ ..]
                if rest.len() > 1 && self.tokens.str(label).bytes().all(|b| b.is_ascii_digit()) =>
            {
                evaluate(rest, self.tokens, PLAIN)
                    .is_some_and(|left| self.agrees(left, PLAIN, approximate, false))
            }
            _ => false,
        }
    }
}

/// Equal exactly, or as far as the right side is written out.
fn equal(left: Rational, right: Rational, decimals: Option<u32>, approximate: bool) -> bool {
    if left == right {
        return true;
    }
    let (a, b) = (left.to_f64(), right.to_f64());
    let difference = left.minus(right).map_or(a - b, Rational::to_f64).abs();
    // The noise of binary floating point, as in 0.30000000000000004.
    if difference <= 1e-9 * a.abs().max(b.abs()) && !(left.is_integer() && right.is_integer()) {
        return true;
    }
    if approximate && difference <= 0.05 * a.abs().max(b.abs()) {
        return true;
    }
    match decimals {
        Some(0) => (approximate || !left.is_integer()) && difference < 1.0,
        // Rounded or cut at the last digit.
        Some(decimals) => {
            difference < 10_f64.powi(-i32::try_from(decimals).unwrap_or(0)) * 0.999_999
        }
        None => false,
    }
}

fn hundredfold(left: Rational, right: Rational, decimals: Option<u32>, approximate: bool) -> bool {
    let hundred = Rational::integer(100);
    let times = |value: Rational| value.times(hundred);
    times(left).is_some_and(|left| equal(left, right, decimals, approximate))
        || left
            .divided_by(hundred)
            .is_some_and(|left| equal(left, right, decimals, approximate))
}
