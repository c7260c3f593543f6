//! When a mismatch proves nothing: ranges, labels, conversions, unlike units, disputed equations.

use std::cmp::Ordering;
use std::ops::Range;

use super::equation::Judge;
use super::lex::Kind;
use super::rational::Rational;
use super::scan::Item;
use super::vocabulary::{DISPUTES, MEASURES};
use crate::quality::words::hash_word;

impl Judge<'_, '_> {
    /// Whether the mismatch may mean something else than an error.
    pub(super) fn proves_nothing(
        &self,
        left: Rational,
        right: Rational,
        range: Range<usize>,
    ) -> bool {
        let text = self.tokens.text;
        self.odd
            || self.left.doubtful
            || self.right.doubtful
            || self.is_range(left)
            || self.is_label(right)
            || self.converts(left, right)
            || self.mixes_units()
            || self.is_compound()
            || text[range.end..]
                .trim_start_matches([' ', '*', ')'])
                .starts_with('?')
            || is_disputed(text, range)
    }

    fn two_numbers(&self, operator: Item) -> Option<(&str, &str, &str)> {
        match self.left.items[..] {
            [Item::Number(a), middle, Item::Number(b)] if middle == operator => {
                let tokens = &self.tokens.all;
                let between = &self.tokens.text[tokens[a].end..tokens[b].start];
                Some((self.tokens.str(a), between, self.tokens.str(b)))
            }
            _ => None,
        }
    }

    /// `5-10 = $3`, `9-5 = 8 hours`: a range, not a difference.
    fn is_range(&self, left: Rational) -> bool {
        self.two_numbers(Item::Minus)
            .is_some_and(|(_, between, _)| left.is_negative() && between.len() <= 3)
    }

    /// `1/4 = $250`, `3/5 = 12 students`: what a part corresponds to.
    fn is_label(&self, right: Rational) -> bool {
        let one_or_more = right.compare(Rational::ONE) != Some(Ordering::Less);
        self.two_numbers(Item::Fraction)
            .is_some_and(|(a, between, b)| {
                between == "/"
                    && one_or_more
                    && a.len() <= 3
                    && a.bytes().chain(b.bytes()).all(|byte| byte.is_ascii_digit())
                    && (a.len(), a) < (b.len(), b)
            })
    }

    /// Whether the sides differ by a factor between common units, and name different ones.
    fn converts(&self, left: Rational, right: Rational) -> bool {
        let ratio = |a: Rational, b: Rational| a.divided_by(b).and_then(Rational::to_integer);
        let Some(factor) = ratio(left, right).or_else(|| ratio(right, left)) else {
            return false;
        };
        let is_price = |items: &[Item]| {
            items.iter().any(|item| {
                matches!(item, Item::Number(token)
            if matches!(self.tokens.all[*token].kind, Kind::Number { currency: true, .. }))
            })
        };
        if factor == 100 && is_price(&self.right.items) && !is_price(&self.left.items) {
            return true; // cents to dollars
        }
        let Some(right_unit) = self.unit_after(Self::last_number(&self.right.items)) else {
            return false;
        };
        self.left_units().all(|unit| unit != right_unit)
            && matches!(
                factor,
                2 | 3
                    | 4
                    | 7
                    | 8
                    | 10
                    | 12
                    | 14
                    | 16
                    | 20
                    | 24
                    | 28
                    | 30
                    | 36
                    | 48
                    | 52
                    | 60
                    | 100
                    | 128
                    | 144
                    | 168
                    | 365
                    | 1000
                    | 1024
                    | 1440
                    | 1760
                    | 2000
                    | 3600
                    | 5280
                    | 86400
                    | 1_000_000
            )
    }

    fn last_number(items: &[Item]) -> Option<usize> {
        items.iter().rev().find_map(|item| match item {
            Item::Number(token) => Some(*token),
            _ => None,
        })
    }

    /// The first word behind a number, without a plural's s.
    fn unit_after(&self, token: Option<usize>) -> Option<u64> {
        let next = token? + 1;
        let token = self.tokens.all.get(next)?;
        if token.kind != Kind::Word {
            return None;
        }
        let word = self.tokens.str(next);
        Some(hash_word(word.strip_suffix('s').unwrap_or(word)))
    }

    fn left_units(&self) -> impl Iterator<Item = u64> + '_ {
        self.left.items.iter().filter_map(|item| match item {
            Item::Number(token) => self.unit_after(Some(*token)),
            _ => None,
        })
    }

    /// A sum of unlike things: `5 chairs + 3 tables = 200 dollars` is a sentence about prices,
    /// `50 minutes + 2 hours = 170 minutes` converts.
    fn mixes_units(&self) -> bool {
        let sum = self
            .left
            .items
            .iter()
            .any(|item| matches!(item, Item::Plus | Item::Minus));
        let mut units = self.left_units();
        let Some(first) = units.next().filter(|_| sum) else {
            return false;
        };
        let right = self.unit_after(Self::last_number(&self.right.items));
        units.any(|unit| unit != first)
            && (!self.left_units().any(|unit| Some(unit) == right)
                || self.left_units().filter(|unit| MEASURES.has(*unit)).count() > 1)
    }

    /// `= 5 feet 11 inches`, `= 2 hours and 15 minutes`: a result in two parts.
    fn is_compound(&self) -> bool {
        let all = self.tokens.all;
        let Some(last) = Self::last_number(&self.right.items) else {
            return false;
        };
        let mut at = last + 1;
        while at < all.len() && at <= last + 2 && matches!(all[at].kind, Kind::Word) {
            at += 1;
        }
        at > last + 1 && all.get(at).is_some_and(|token| token.is_number())
    }
}

/// Whether the sentence around an equation says that it is not meant to hold.
fn is_disputed(text: &str, range: Range<usize>) -> bool {
    const REACH: usize = 80;
    const BEGINNINGS: [&str; 9] = [
        "wrong",
        "incorrect",
        "false",
        "mistak",
        "error",
        "erron",
        "contradict",
        "claim",
        "falsch",
    ];
    let mut from = range.start.saturating_sub(REACH);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let mut to = (range.end + REACH).min(text.len());
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    let before = text[from..range.start].rsplit(['\n', ';']).next();
    let before = before.and_then(|line| line.rsplit(". ").next());
    let after = text[range.end..to].split(['\n', ';']).next();
    let after = after.and_then(|line| line.split(". ").next());
    [before, after].into_iter().flatten().any(|piece| {
        piece
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’')))
            .any(|word| {
                let starts = |begin: &&str| {
                    word.get(..begin.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(begin))
                };
                DISPUTES.has_word(word) || BEGINNINGS.iter().any(starts)
            })
    })
}
