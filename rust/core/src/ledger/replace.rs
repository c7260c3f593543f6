//! How a scope's block gives way to its successor, and how a pending word is brought to rest.

use super::block::{Block, Current, Scope, Side};
use super::books::Books;
use super::hold::{Stage, generation_of, index_of};
use super::sync::relax;
use super::types::{LedgerError, ScopeId};
use super::word::{Mark, Tag, Word};
use super::{Ledger, index_of_scope, is_live};

/// How often another thread's reservation is looked at again before it is helped: about as long as
/// one takes that is not interrupted.
#[cfg(not(loom))]
const PATIENCE: usize = 32;
#[cfg(loom)]
const PATIENCE: usize = 0;

impl Ledger {
    /// Puts a successor with a change in the place of a scope's block.
    ///
    /// The change may be made several times, each time on newer books; the last one counts.
    pub(super) fn replace(
        &self,
        scope: ScopeId,
        mut change: impl FnMut(&mut Books, u64),
    ) -> Result<(), LedgerError> {
        let index = index_of_scope(scope);
        let cell = self.scopes.at(index);
        loop {
            let current = cell.current();
            if !is_live(cell, current, scope) {
                return Err(LedgerError::UnknownScope);
            }
            if self.succeed(index, cell, current, &mut change) {
                return Ok(());
            }
        }
    }

    /// Tries once to put a successor in the place of a block; says whether it did.
    pub(super) fn succeed(
        &self,
        index: u32,
        cell: &Scope,
        current: Current,
        change: &mut dyn FnMut(&mut Books, u64),
    ) -> bool {
        let block = self.blocks.at(current.block());
        // There are millions more than scopes can be open: only more threads than that, each in the
        // midst of this, could have taken all. Taken first, so that nothing is closed without one.
        let Some(fresh) = self.blocks.take() else {
            relax();
            return false;
        };
        let version = current.version() + 1;
        let next = Current::new(fresh, version);
        let done = self.freeze(index, cell, current) && {
            let books = block.books();
            // Still there: so these are the frozen books of this scope.
            match books.filter(|_| cell.current() == current) {
                Some(mut books) => {
                    change(&mut books, version);
                    self.blocks.at(fresh).begin(books);
                    cell.advance(current, next)
                }
                None => false,
            }
        };
        let loose = if done { current.block() } else { fresh };
        if self.blocks.at(loose).finish() {
            self.blocks.give(loose);
        }
        done
    }

    /// Closes a scope's block; says whether it is closed and the scope has not left it.
    pub(super) fn freeze(&self, index: u32, cell: &Scope, current: Current) -> bool {
        let block = self.blocks.at(current.block());
        loop {
            let word = block.word();
            if cell.current() != current {
                return false;
            }
            if word.closed() {
                break;
            }
            if self.is_at_rest(index, block, word) && block.swap(word, word.close()).is_ok() {
                break;
            }
        }
        self.freeze_counters(cell, current)
    }

    /// Closes the counters of a block whose word is closed.
    pub(super) fn freeze_counters(&self, cell: &Scope, current: Current) -> bool {
        let block = self.blocks.at(current.block());
        for side in [Side::Refunded, Side::Settled] {
            loop {
                let counter = block.counter(side);
                if cell.current() != current {
                    return false;
                }
                if counter.closed() || block.swap_counter(side, counter, counter.close()).is_ok() {
                    break;
                }
            }
        }
        true
    }

    /// Lets the periods of a scope begin that have begun.
    #[cold]
    pub(super) fn roll(&self, index: u32, cell: &Scope, current: Current, now_ms: i64) {
        let books = self.blocks.at(current.block()).books();
        let stale = books.is_some_and(|books| books.is_stale(now_ms));
        if stale && cell.current() == current {
            self.succeed(index, cell, current, &mut |books, version| {
                books.roll(now_ms, version);
            });
        }
    }

    /// Whether a word says what is so: nobody's reservation on it is undecided, or refused and not
    /// yet taken back. If one is, it is brought nearer to its end, and the word is to be read again.
    #[inline]
    pub(super) fn is_at_rest(&self, scope: u32, block: &Block, word: Word) -> bool {
        let tag = word.tag();
        match tag.mark() {
            Mark::Clean => true,
            Mark::Locked => {
                self.bring_to_rest(scope, block, word);
                false
            }
            Mark::Added => {
                let state = self.hold(index_of(tag.hold())).head.state();
                let pending = state.generation() == generation_of(tag.hold())
                    && matches!(state.stage(), Stage::Undecided | Stage::Refused);
                if pending {
                    self.bring_to_rest(scope, block, word);
                }
                !pending
            }
        }
    }

    #[cold]
    fn bring_to_rest(&self, scope: u32, block: &Block, word: Word) {
        let tag = word.tag();
        let id = tag.hold();
        let hold = self.hold(index_of(id));
        let state = hold.head.state();
        let same = state.generation() == generation_of(id);
        let locked = tag.mark() == Mark::Locked;
        match state.stage() {
            Stage::Undecided if same => {
                for _ in 0..PATIENCE {
                    relax();
                    if hold.head.state() != state {
                        return;
                    }
                }
                self.help(id);
            }
            Stage::Refused if same && !locked => {
                if let Some(part) = hold.part_on(scope)
                    && hold.head.state() == state
                {
                    let without = word.amount() - part.amount;
                    let _ = block.swap(word, Word::new(without, Tag::new(id, Mark::Clean)));
                }
            }
            Stage::Open | Stage::Extension | Stage::Expired | Stage::Ending if same && locked => {
                if let Some(part) = hold.part_on(scope)
                    && hold.head.state().generation() == state.generation()
                {
                    let with = word.amount() + part.amount;
                    let _ = block.swap(word, Word::new(with, Tag::new(id, Mark::Added)));
                }
            }
            // A helper came late with the name of a hold that had been refused.
            _ if locked => {
                let _ = block.swap(word, Word::new(word.amount(), Tag::new(id, Mark::Clean)));
            }
            _ => {}
        }
    }
}
