//! What a scope has spent in which period: the arithmetic of windows, without a thread in sight.
//!
//! A scope's amounts count over its whole life. A window's usage is what the life's amount is more
//! than a *mark*, which is the life's amount as it was when the window's period began. So a
//! reservation adds one number for all windows, and one comparison with the nearest of their ends
//! decides whether it fits. A rolling window has a mark for each bucket in which the scope was used;
//! the oldest bucket that still counts is its base.

use std::sync::Arc;

use super::period::Window;
use super::types::{LedgerError, Limit, WindowStanding};
use super::word::MOST;
use crate::money::Nanodollars;

/// The most windows of a scope.
pub(super) const MAX_WINDOWS: usize = 64;

/// No limit.
const UNLIMITED: i64 = i64::MAX;

/// A scope's windows and their limits, shared by scopes that have the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan(pub(super) Box<[Limit]>);

impl Plan {
    pub(super) fn new(limits: &[Limit]) -> Result<Self, LedgerError> {
        if limits.len() > MAX_WINDOWS {
            return Err(LedgerError::TooManyWindows);
        }
        for (place, (window, _)) in limits.iter().enumerate() {
            if limits.iter().take(place).any(|(other, _)| other == window) {
                return Err(LedgerError::RepeatedWindow);
            }
        }
        Ok(Self(limits.into()))
    }
}

/// How much a scope had used and spent in its life when a window's period, or bucket, began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    index: i64,
    used: i64,
    spent: i64,
    /// The version of the scope's block since which the period is counted, and the window's place
    /// in the plan.
    since_and_place: u64,
}

impl Mark {
    const fn new(index: i64, totals: Totals, since: u64, place: usize) -> Self {
        Self {
            index,
            used: totals.used,
            spent: totals.spent,
            since_and_place: (since << 8) | place as u64,
        }
    }

    const fn since(&self) -> u64 {
        self.since_and_place >> 8
    }

    const fn place(&self) -> usize {
        (self.since_and_place & 255) as usize
    }
}

/// A scope's life: settled and held together, and what is settled of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) used: i64,
    pub(super) spent: i64,
}

impl Totals {
    pub(super) fn settled_and_held(self) -> (Nanodollars, Nanodollars) {
        split(self.used, self.spent)
    }
}

/// What is used, as what is spent and what is held. A settlement adds to the one and takes from the
/// other in two steps; between them the rest counts as held.
fn split(used: i64, spent: i64) -> (Nanodollars, Nanodollars) {
    let used = used.max(0);
    let spent = spent.clamp(0, used);
    (nanodollars(spent), nanodollars(used - spent))
}

pub(super) fn nanodollars(amount: i64) -> Nanodollars {
    Nanodollars::new(amount.max(0).cast_unsigned()).unwrap_or(Nanodollars::MAX)
}

pub(super) fn signed(amount: Nanodollars) -> i64 {
    amount.get().cast_signed()
}

/// All that is known of a scope at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) plan: Arc<Plan>,
    pub(super) grant: Option<i64>,
    pub(super) totals: Totals,
    /// By window in the plan's order, and by period within a window; at least one for each.
    pub(super) marks: Vec<Mark>,
}

impl Books {
    /// Those of a scope that is opened.
    pub(super) fn open(
        plan: Arc<Plan>,
        now_ms: i64,
        version: u64,
        spent: &[Nanodollars],
        total: Nanodollars,
        grant: Option<Nanodollars>,
    ) -> Self {
        let life = signed(total);
        let marks = plan.0.iter().enumerate();
        let marks = marks.map(|(place, (window, _))| {
            let before = life - spent.get(place).copied().map_or(0, signed);
            let totals = Totals {
                used: before,
                spent: before,
            };
            Mark::new(window.index(now_ms), totals, version, place)
        });
        Self {
            marks: marks.collect(),
            grant: grant.map(signed),
            totals: Totals {
                used: life,
                spent: life,
            },
            plan,
        }
    }

    fn marks_of(&self, place: usize) -> &[Mark] {
        let start = self.marks.partition_point(|mark| mark.place() < place);
        let rest = self.marks.get(start..).unwrap_or_default();
        let count = rest.partition_point(|mark| mark.place() == place);
        rest.get(..count).unwrap_or_default()
    }

    /// Whether a window's period is over at an instant. Periods never go back.
    pub(super) fn is_stale(&self, now_ms: i64) -> bool {
        self.plan.0.iter().enumerate().any(|(place, (window, _))| {
            let newest = self.marks_of(place).last();
            newest.is_none_or(|newest| window.index(now_ms) > newest.index)
        })
    }

    /// Lets the periods begin that have begun by an instant.
    pub(super) fn roll(&mut self, now_ms: i64, version: u64) {
        let mut rolled = Vec::with_capacity(self.marks.len() + self.plan.0.len());
        for (place, (window, _)) in self.plan.0.iter().enumerate() {
            rolled.extend(self.rolled(*window, self.marks_of(place), now_ms, version, place));
        }
        self.marks = rolled;
    }

    /// A window's marks at an instant; with none so far, counting begins there.
    fn rolled(
        &self,
        window: Window,
        marks: &[Mark],
        now_ms: i64,
        version: u64,
        place: usize,
    ) -> impl Iterator<Item = Mark> {
        let newest = marks.last().map(|mark| mark.index);
        let index = window.index(now_ms).max(newest.unwrap_or(i64::MIN));
        let oldest = oldest(window, index);
        let kept = marks.iter().filter(move |mark| mark.index >= oldest);
        let kept = kept.map(move |mark| Mark {
            since_and_place: (mark.since() << 8) | place as u64,
            ..*mark
        });
        let begun = (newest != Some(index)).then(|| Mark::new(index, self.totals, version, place));
        kept.collect::<Vec<_>>().into_iter().chain(begun)
    }

    /// Changes the windows and their limits; new windows count from now.
    pub(super) fn set_plan(&mut self, plan: Arc<Plan>, now_ms: i64, version: u64) {
        let mut marks = Vec::with_capacity(self.marks.len());
        for (place, (window, _)) in plan.0.iter().enumerate() {
            let before = self.plan.0.iter().position(|(other, _)| other == window);
            let known = before.map_or(&[][..], |before| self.marks_of(before));
            marks.extend(self.rolled(*window, known, now_ms, version, place));
        }
        self.marks = marks;
        self.plan = plan;
    }

    /// Lets windows count what a scope has used in their current periods since its life came to so
    /// much. They count more by it, never less, and each hold that ends later counts in them.
    pub(super) fn count_since(&mut self, began: &[Option<i64>]) {
        for (place, began) in began.iter().enumerate() {
            let start = self.marks.partition_point(|mark| mark.place() < place);
            let (Some(began), Some(mark)) = (*began, self.marks.get_mut(start)) else {
                continue;
            };
            if mark.place() == place && began < mark.used {
                let totals = Totals {
                    used: began,
                    spent: began.min(mark.spent),
                };
                *mark = Mark::new(mark.index, totals, 0, place);
            }
        }
    }

    /// Books a change of a hold that was reserved under a version of the block: it counts in the
    /// periods that had begun by then, and later ones are as they were.
    pub(super) fn book(&mut self, reserved: u64, used: i64, spent: i64) {
        self.totals.used = (self.totals.used + used).min(MOST);
        self.totals.spent = (self.totals.spent + spent).min(MOST);
        for mark in self.marks.iter_mut().filter(|mark| mark.since() > reserved) {
            mark.used += used;
            mark.spent += spent;
        }
    }

    /// Books an amount by hand, in all windows; what it takes away, it takes from the newest
    /// spending. Gives what was booked: no window's spending falls below zero.
    pub(super) fn adjust(&mut self, amount: i64) -> i64 {
        let bases = (0..self.plan.0.len()).filter_map(|place| self.marks_of(place).first());
        let least = bases
            .map(|base| self.totals.spent - base.spent)
            .min()
            .unwrap_or(self.totals.spent)
            .min(self.totals.spent)
            .max(0);
        let room = (MOST - self.totals.used).max(0);
        let amount = amount.clamp(-least, room);
        self.totals.used += amount;
        self.totals.spent += amount;
        if amount >= 0 {
            return amount;
        }
        for mark in &mut self.marks {
            let excess = (mark.spent - self.totals.spent).max(0);
            mark.spent -= excess;
            mark.used -= excess;
        }
        amount
    }

    /// The most that the life's amount may become.
    pub(super) fn ceiling(&self) -> i64 {
        let ends = self.plan.0.iter().enumerate().map(|(place, (_, limit))| {
            let base = self.marks_of(place).first().map_or(0, |base| base.used);
            limit.map_or(UNLIMITED, |limit| base.saturating_add(signed(limit)))
        });
        ends.min()
            .unwrap_or(UNLIMITED)
            .min(self.grant.unwrap_or(UNLIMITED))
            .min(MOST)
    }

    /// The instant at which a period ends first.
    pub(super) fn valid_until_ms(&self) -> i64 {
        let ends = self.plan.0.iter().enumerate().map(|(place, (window, _))| {
            let newest = self.marks_of(place).last();
            newest
                .and_then(|newest| window.bounds(newest.index).1)
                .unwrap_or(i64::MAX)
        });
        ends.min().unwrap_or(i64::MAX)
    }

    /// How each window stands.
    pub(super) fn standings(&self) -> Vec<WindowStanding> {
        let windows = self.plan.0.iter().enumerate();
        windows
            .filter_map(|(place, (window, limit))| {
                let marks = self.marks_of(place);
                let (base, newest) = (marks.first()?, marks.last()?);
                let (spent, held) =
                    split(self.totals.used - base.used, self.totals.spent - base.spent);
                let ends = |index: i64| window.bounds(index).1;
                Some(WindowStanding {
                    window: *window,
                    limit: *limit,
                    spent,
                    held,
                    starts_ms: window.bounds(oldest(*window, newest.index)).0,
                    resets_ms: ends(self.first_used(marks).unwrap_or(newest.index) + span(*window)),
                })
            })
            .collect()
    }

    /// The first bucket in which something was used that counts.
    fn first_used(&self, marks: &[Mark]) -> Option<i64> {
        let next = marks.iter().skip(1).map(|mark| mark.used);
        let next = next.chain([self.totals.used]);
        let mut used = marks
            .iter()
            .zip(next)
            .filter(|(mark, next)| *next > mark.used);
        used.next().map(|(mark, _)| mark.index)
    }

    /// The window that an amount does not fit in, the one that resets last if there are several.
    pub(super) fn full(&self, amount: i64) -> Option<WindowStanding> {
        let standings = self.standings().into_iter().enumerate();
        let full = standings.filter(|(place, standing)| {
            let base = self.marks_of(*place).first().map_or(0, |base| base.used);
            let limit = standing.limit.map_or(UNLIMITED, signed);
            amount > limit.saturating_sub(self.totals.used - base)
        });
        full.map(|(_, standing)| standing)
            .max_by_key(|standing| standing.resets_ms.unwrap_or(i64::MAX))
    }

    /// Whether no limited window would forget anything with the scope.
    pub(super) fn is_forgettable(&self) -> bool {
        self.grant.is_some()
            || self.standings().iter().all(|standing| {
                standing.limit.is_none()
                    || (standing.spent == Nanodollars::ZERO && standing.held == Nanodollars::ZERO)
            })
    }
}

/// How many more numbers count together with a window's newest.
fn span(window: Window) -> i64 {
    i64::try_from(window.buckets()).unwrap_or(1) - 1
}

fn oldest(window: Window, newest: i64) -> i64 {
    newest.saturating_sub(span(window))
}
