//! How holds end: settled, released, expired, corrected.
//!
//! One thread wins the right to end a hold by one compare-and-swap on its cell; then it books the
//! hold's parts, each on its scope. Each booking stands for itself: a settlement over several scopes
//! is seen scope by scope.

use super::block::{Current, Side};
use super::books::{nanodollars, signed};
use super::hold::{Head, Hold, Part, Stage, State, Target, generation_of, index_of};
use super::types::{Amounts, HoldId, LedgerError, Outcome, ScopeId, Settlement};
use super::word::Counter;
use super::{Ledger, clamp_ms};
use crate::money::Nanodollars;

impl Ledger {
    /// Books what a hold cost in place of what it held, and returns the rest.
    ///
    /// It is booked in the periods that the hold was reserved in, the part above the hold too, which
    /// is booked in full even over the limits. Of a hold that was extended across the end of a
    /// period, what was held first is used first.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownHold`] when the id was never given, [`LedgerError::AmountCount`].
    #[inline]
    pub fn settle(
        &self,
        hold: HoldId,
        actual: Amounts<'_>,
        now_ms: i64,
    ) -> Result<Settlement, LedgerError> {
        self.end(hold, &actual, now_ms, Outcome::Settled)
    }

    /// Returns all that a hold held; an expired one is corrected to nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownHold`] when the id was never given.
    pub fn release(&self, hold: HoldId, now_ms: i64) -> Result<Settlement, LedgerError> {
        let nothing = Amounts::Same(Nanodollars::ZERO);
        self.end(hold, &nothing, now_ms, Outcome::Released)
    }

    /// A cell that is in use or was, and where the hold of an id is in it; `None` when it is over.
    pub(super) fn find(&self, id: HoldId) -> Result<Option<(Hold<'_>, State)>, LedgerError> {
        let index = index_of(id.0);
        if !self.is_cell(index) {
            return Err(LedgerError::UnknownHold);
        }
        let hold = self.hold(index);
        let state = hold.head.state();
        let generation = generation_of(id.0);
        if state.generation() < generation || generation == 0 {
            return Err(LedgerError::UnknownHold);
        }
        Ok((state.generation() == generation).then_some((hold, state)))
    }

    #[inline]
    fn end(
        &self,
        id: HoldId,
        actual: &Amounts<'_>,
        now_ms: i64,
        outcome: Outcome,
    ) -> Result<Settlement, LedgerError> {
        let already = Settlement {
            outcome: Outcome::Already,
            booked: None,
            overrun: Nanodollars::ZERO,
        };
        loop {
            let Some((hold, state)) = self.find(id)? else {
                return Ok(already);
            };
            let outcome = match state.stage() {
                Stage::Open => outcome,
                Stage::Expired => Outcome::Corrected,
                Stage::Over | Stage::Ending => return Ok(already),
                // Nobody was given these ids.
                Stage::Undecided | Stage::Refused | Stage::Extension => {
                    return Err(LedgerError::UnknownHold);
                }
            };
            let parts = hold.parts().len();
            let ending = state.to(Stage::Ending, state.detail());
            if hold.head.state() != state {
                continue;
            }
            actual.fits(parts)?;
            if hold.head.advance(state, ending) {
                let settlement = self.book_end(hold, ending, actual, now_ms, outcome);
                hold.head.put(ending.to(Stage::Over, 0));
                self.give_hold(index_of(id.0));
                return Ok(settlement);
            }
        }
    }

    /// Books the end of a hold that is the caller's to end.
    #[inline]
    fn book_end(
        &self,
        hold: Hold<'_>,
        state: State,
        actual: &Amounts<'_>,
        now_ms: i64,
        outcome: Outcome,
    ) -> Settlement {
        let extensions = self.extensions(hold.head, state).unwrap_or_default();
        let (mut booked, mut overrun) = (0, 0);
        for (place, part) in hold.parts().iter().enumerate() {
            let first = part.get();
            let cost = actual.get(first.place()).map_or(0, signed);
            let corrects = outcome == Outcome::Corrected;
            let more = extensions.iter().filter_map(|&index| {
                let part = self.hold(index).parts().get(place)?;
                Some(part.get())
            });
            let mut rest = cost;
            let mut before = 0;
            let mut target = first;
            for next in more {
                let share = rest.min(target.amount);
                self.book(&target, share, corrects);
                rest -= share;
                before += target.amount;
                target = next;
            }
            self.book(&target, rest, corrects);
            before += target.amount;
            booked = booked.max(cost);
            overrun = overrun.max(cost - before);
            self.scopes.at(first.index()).touch(clamp_ms(now_ms));
        }
        for index in extensions {
            let child = self.hold(index).head;
            child.put(child.state().to(Stage::Over, 0));
            self.give_hold(index);
        }
        Settlement {
            outcome,
            booked: Some(nanodollars(booked)),
            overrun: nanodollars(overrun),
        }
    }

    /// Books what one part of a hold cost; when it corrects, in place of the hold booked before.
    #[inline]
    pub(super) fn book(&self, part: &Target, cost: i64, corrects: bool) {
        let used = cost - part.amount;
        let spent = if corrects { used } else { cost };
        self.post(part, used, spent);
    }

    /// Changes what a hold's scope has used and spent, in the hold's periods.
    #[inline]
    pub(super) fn post(&self, part: &Target, used: i64, spent: i64) {
        let used = if used <= 0 && self.count(part, Side::Refunded, -used) {
            0
        } else {
            used
        };
        let spent = if spent >= 0 && self.count(part, Side::Settled, spent) {
            0
        } else {
            spent
        };
        if used != 0 || spent != 0 {
            self.post_across(part, used, spent);
        }
    }

    /// What counts on in the block that the hold was reserved in; says whether that still goes.
    #[inline]
    fn count(&self, part: &Target, side: Side, amount: i64) -> bool {
        if amount == 0 {
            return true;
        }
        let current = Current(part.current);
        let cell = self.scopes.at(part.index());
        let block = self.blocks.at(current.block());
        let mut seen = block.counter(side);
        loop {
            if seen.closed() || cell.current() != current {
                return false;
            }
            let next = Counter(seen.0 + amount.cast_unsigned());
            match block.swap_counter(side, seen, next) {
                Ok(()) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// The same when the scope has moved on, or when it changes the books otherwise.
    #[cold]
    fn post_across(&self, part: &Target, used: i64, spent: i64) {
        let reserved = Current(part.current).version();
        let posted = self.replace(ScopeId(part.handle()), |books, _| {
            books.book(reserved, used, spent);
        });
        debug_assert!(posted.is_ok(), "a scope with a hold on it was evicted");
    }

    /// The extensions of a hold, oldest first; `None` when it changed meanwhile.
    pub(super) fn extensions(&self, head: &Head, state: State) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        let mut place = state.detail();
        while let Some(index) = place.checked_sub(1) {
            found.push(index);
            place = self.hold(index).head.earlier();
            if head.state() != state {
                return None;
            }
        }
        found.reverse();
        Some(found)
    }

    /// Each scope of a hold, in the order in which they were named, and what is held on it, or
    /// booked when it has expired.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownHold`], [`LedgerError::HoldEnded`].
    pub fn held_amounts(&self, hold: HoldId) -> Result<Vec<(ScopeId, Nanodollars)>, LedgerError> {
        loop {
            let Some((cell, state)) = self.find(hold)? else {
                return Err(LedgerError::HoldEnded);
            };
            if !matches!(state.stage(), Stage::Open | Stage::Expired) {
                return Err(LedgerError::HoldEnded);
            }
            let Some(extensions) = self.extensions(cell.head, state) else {
                continue;
            };
            let mut parts: Vec<Target> = cell.parts().iter().map(Part::get).collect();
            for index in extensions {
                for (part, more) in parts.iter_mut().zip(self.hold(index).parts()) {
                    part.amount += more.get().amount;
                }
            }
            if cell.head.state() == state {
                parts.sort_by_key(Target::place);
                let amounts = parts.iter();
                return Ok(amounts
                    .map(|part| (ScopeId(part.handle()), nanodollars(part.amount)))
                    .collect());
            }
        }
    }

    /// How many holds are open.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.cells()
            .filter(|index| is_open(self.hold(*index).head.state()))
            .count()
    }
}

pub(super) fn is_open(state: State) -> bool {
    state.stage() == Stage::Open
}
