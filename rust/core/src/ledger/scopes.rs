//! Opening, finding, changing and evicting scopes, and how they stand.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use papaya::{Compute, Equivalent, Operation};

use super::block::{Block, Current, Scope};
use super::books::{Books, Plan, signed};
use super::hold::{Part, Stage};
use super::types::{Evicted, LedgerError, Limit, Opening, ScopeId, ScopeName, WindowStanding};
use super::word::{MOST, Word};
use super::{Ledger, clamp_ms, handle, index_of_scope, is_live};
use crate::money::Nanodollars;

/// A name that is looked up without being copied.
struct NameRef<'a> {
    kind: &'a str,
    name: &'a str,
}

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.name.hash(state);
    }
}

impl Hash for ScopeName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        self.name().hash(state);
    }
}

impl Equivalent<Arc<ScopeName>> for NameRef<'_> {
    fn equivalent(&self, key: &Arc<ScopeName>) -> bool {
        key.kind() == self.kind && key.name() == self.name
    }
}

/// A scope that may be evicted, as it was seen.
struct Candidate {
    id: ScopeId,
    current: Current,
    word: Word,
}

impl Ledger {
    /// Opens a scope, or gives the handle of the open one unchanged.
    ///
    /// # Errors
    ///
    /// [`LedgerError::RepeatedWindow`], [`LedgerError::TooManyWindows`], [`LedgerError::AmountCount`]
    /// when more is spent than there are windows, [`LedgerError::Full`].
    pub fn open_scope(
        &self,
        kind: &str,
        name: &str,
        limits: &[Limit],
        now_ms: i64,
        opening: &Opening<'_>,
    ) -> Result<ScopeId, LedgerError> {
        let plan = self.plan(limits)?;
        if opening.spent.len() > limits.len() {
            return Err(LedgerError::AmountCount {
                expected: limits.len(),
                given: opening.spent.len(),
            });
        }
        if let Some(open) = self.find_scope(kind, name) {
            return Ok(open);
        }
        let now_ms = clamp_ms(now_ms);
        let block = self.blocks.take().ok_or(LedgerError::Full)?;
        let Some(index) = self.scopes.take() else {
            self.blocks.give(block);
            return Err(LedgerError::Full);
        };
        let cell = self.scopes.at(index);
        let version = cell.current().version() + 1;
        let known = Arc::new(ScopeName::new(kind, name));
        self.blocks.at(block).begin(Books::open(
            plan,
            now_ms,
            version,
            opening.spent,
            opening.total,
            opening.grant,
        ));
        cell.begin_use(now_ms);
        cell.name.put(Some(Arc::clone(&known)));
        cell.put_current(Current::new(block, version));
        let id = handle(index, cell.generation());
        let names = self.names.pin();
        let entered = names.compute(known, |entry| match entry {
            Some((_, open)) if self.is_open(*open) => Operation::Abort(*open),
            _ => Operation::Insert(id),
        });
        if let Compute::Aborted(open) = entered {
            // Another thread was first; nobody has seen this one.
            self.drop_scope(index, cell, Current::new(block, version));
            return Ok(open);
        }
        Ok(id)
    }

    /// The handle of an open scope.
    #[must_use]
    pub fn find_scope(&self, kind: &str, name: &str) -> Option<ScopeId> {
        let found = self.names.pin().get(&NameRef { kind, name }).copied();
        found.filter(|scope| self.is_open(*scope))
    }

    /// A scope's kind and name.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`].
    pub fn scope_name(&self, scope: ScopeId) -> Result<Arc<ScopeName>, LedgerError> {
        let name = self.scopes.at(index_of_scope(scope)).name.get();
        // Still the same scope: so it was its name.
        name.filter(|_| self.is_open(scope))
            .ok_or(LedgerError::UnknownScope)
    }

    /// The handles of all open scopes.
    #[must_use]
    pub fn scopes(&self) -> Vec<ScopeId> {
        let names = self.names.pin();
        names
            .iter()
            .map(|(_, scope)| *scope)
            .filter(|scope| self.is_open(*scope))
            .collect()
    }

    /// Changes limits while in use.
    ///
    /// A new window counts from now; one that is left out is counted no more; one that stays keeps
    /// what it has.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`], [`LedgerError::RepeatedWindow`],
    /// [`LedgerError::TooManyWindows`].
    pub fn set_limits(
        &self,
        scope: ScopeId,
        limits: &[Limit],
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        let plan = self.plan(limits)?;
        let now_ms = clamp_ms(now_ms);
        self.replace(scope, |books, version| {
            books.set_plan(Arc::clone(&plan), now_ms, version);
        })
    }

    /// Lets windows count back: each counts in its current period what the scope has used since its
    /// life came to so much, in the order of its limits; `None` leaves a window as it is.
    ///
    /// For windows that were added when their periods had begun long before. A window counts more by
    /// it, never less. An amount may be negative: more was spent than the scope's life knows.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`], [`LedgerError::TooLarge`].
    pub fn count_since(
        &self,
        scope: ScopeId,
        began: &[Option<i64>],
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        if began
            .iter()
            .flatten()
            .any(|life| !(-MOST..=MOST).contains(life))
        {
            return Err(LedgerError::TooLarge);
        }
        let now_ms = clamp_ms(now_ms);
        self.replace(scope, |books, version| {
            books.roll(now_ms, version);
            books.count_since(began);
        })
    }

    /// Changes what a scope may have settled and held over its life; `None` when nobody grants.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`].
    pub fn set_grant(&self, scope: ScopeId, grant: Option<Nanodollars>) -> Result<(), LedgerError> {
        self.replace(scope, |books, _| books.grant = grant.map(signed))
    }

    /// Books an amount by hand, in all windows, negative too. What it takes away, it takes from the
    /// newest spending.
    ///
    /// Gives what was booked: no window's spending falls below zero, nor what is used above
    /// [`Nanodollars::MAX`].
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`], [`LedgerError::TooLarge`].
    pub fn adjust(&self, scope: ScopeId, amount: i64, now_ms: i64) -> Result<i64, LedgerError> {
        if !(-MOST..=MOST).contains(&amount) {
            return Err(LedgerError::TooLarge);
        }
        let now_ms = clamp_ms(now_ms);
        let mut booked = 0;
        self.replace(scope, |books, version| {
            books.roll(now_ms, version);
            booked = books.adjust(amount);
        })?;
        Ok(booked)
    }

    /// How each window of a scope stands at an instant, in the order of its limits.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`].
    pub fn standing(
        &self,
        scope: ScopeId,
        now_ms: i64,
    ) -> Result<Vec<WindowStanding>, LedgerError> {
        let mut books = self.books(scope)?;
        books.roll(clamp_ms(now_ms), 0);
        Ok(books.standings())
    }

    /// What is settled and what is held over a scope's life.
    ///
    /// # Errors
    ///
    /// [`LedgerError::UnknownScope`].
    pub fn total(&self, scope: ScopeId) -> Result<(Nanodollars, Nanodollars), LedgerError> {
        Ok(self.books(scope)?.totals.settled_and_held())
    }

    /// Drops the scopes that were not used for so long, have nothing held and nothing that may still
    /// be corrected, and would forget nothing: a store grants to them, or none of their limited
    /// windows has anything that counts.
    #[must_use = "what they had spent is known nowhere else"]
    pub fn evict(&self, now_ms: i64, idle_ms: i64) -> Vec<Evicted> {
        let now_ms = clamp_ms(now_ms);
        // Seen before the holds are: whoever reserves on one from now on changes its word.
        let candidates: Vec<Candidate> = self
            .scopes()
            .into_iter()
            .filter_map(|id| self.candidate(id, now_ms, idle_ms))
            .collect();
        let busy = self.scopes_with_holds();
        candidates
            .into_iter()
            .filter(|candidate| !busy.contains(&candidate.id))
            .filter_map(|candidate| self.evict_one(&candidate, now_ms))
            .collect()
    }

    fn candidate(&self, id: ScopeId, now_ms: i64, idle_ms: i64) -> Option<Candidate> {
        let index = index_of_scope(id);
        let cell = self.scopes.at(index);
        loop {
            let current = cell.current();
            let idle = now_ms.saturating_sub(cell.last_used_ms()) >= idle_ms;
            if !idle || !is_live(cell, current, id) {
                return None;
            }
            let word = self.blocks.at(current.block()).word();
            if !word.closed() {
                return Some(Candidate { id, current, word });
            }
            // Closed by one that gave up, or is suspended: else nobody would ever evict the scope.
            self.succeed(index, cell, current, &mut |_, _| ());
        }
    }

    /// The scopes of all holds that are not over.
    fn scopes_with_holds(&self) -> HashSet<ScopeId> {
        self.cells()
            .map(|index| self.hold(index))
            .filter(|hold| hold.head.state().stage() != Stage::Over)
            .flat_map(|hold| hold.parts().iter().map(Part::get))
            .map(|part| ScopeId(part.handle()))
            .collect()
    }

    fn evict_one(&self, candidate: &Candidate, now_ms: i64) -> Option<Evicted> {
        let index = index_of_scope(candidate.id);
        let cell = self.scopes.at(index);
        let block = self.blocks.at(candidate.current.block());
        if !self.is_at_rest(index, block, candidate.word) {
            return None;
        }
        let mut books = self.books(candidate.id).ok()?;
        let total = books.totals.settled_and_held();
        books.roll(now_ms, 0);
        let free = total.1 == Nanodollars::ZERO && books.is_forgettable();
        if !free || block.swap(candidate.word, candidate.word.close()).is_err() {
            return None;
        }
        // Nothing can have been booked meanwhile: nothing was held, and no hold can be corrected.
        let name = cell.name.get()?;
        if !self.freeze_counters(cell, candidate.current)
            || !self.drop_scope(index, cell, candidate.current)
        {
            return None;
        }
        let names = self.names.pin();
        // Not there any more when it was opened again already.
        let _ = names.remove_if(&name, |_, open| *open == candidate.id);
        Some(Evicted {
            name,
            total: total.0,
        })
    }

    /// Ends a scope, unless its block has got a successor; its cell is free then.
    fn drop_scope(&self, index: u32, cell: &Scope, current: Current) -> bool {
        if !cell.advance(current, Current::nowhere(current.version())) {
            return false;
        }
        cell.retire_handles();
        cell.name.put(None);
        if self.blocks.at(current.block()).finish() {
            self.blocks.give(current.block());
        }
        self.scopes.give(index);
        true
    }

    fn is_open(&self, scope: ScopeId) -> bool {
        let cell = self.scopes.at(index_of_scope(scope));
        is_live(cell, cell.current(), scope)
    }

    /// A scope's books at one instant.
    fn books(&self, scope: ScopeId) -> Result<Books, LedgerError> {
        let index = index_of_scope(scope);
        let cell = self.scopes.at(index);
        loop {
            let current = cell.current();
            if !is_live(cell, current, scope) {
                return Err(LedgerError::UnknownScope);
            }
            let block: &Block = self.blocks.at(current.block());
            let word = block.word();
            if !word.closed() && !self.is_at_rest(index, block, word) {
                continue;
            }
            let books = block.books();
            if block.word() == word
                && cell.current() == current
                && let Some(books) = books
            {
                return Ok(books);
            }
        }
    }

    /// A plan of these limits, the one that other scopes have if it was made lately.
    fn plan(&self, limits: &[Limit]) -> Result<Arc<Plan>, LedgerError> {
        let plan = Plan::new(limits)?;
        let place = self.hash(&plan) % self.plans.len();
        let Some(slot) = self.plans.get(place) else {
            return Ok(Arc::new(plan));
        };
        if let Some(known) = slot.get().filter(|known| **known == plan) {
            return Ok(known);
        }
        let plan = Arc::new(plan);
        slot.put(Some(Arc::clone(&plan)));
        Ok(plan)
    }
}
