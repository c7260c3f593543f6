//! A scope's cell, and the blocks that follow one another in its life.
//!
//! A block has everything that a reservation needs in one cache line. What changes seldom (periods,
//! limits, the grant, settlements across periods) is fixed for a block's life: to change it, the
//! block is closed, which freezes its numbers, and a successor with the change is put in its place by
//! one compare-and-swap. Whoever meets a closed block first puts a successor there himself, so nobody
//! waits for the one who closed it.

use std::sync::Arc;

use super::arena::Waiting;
use super::books::{Books, Mark, Plan, Totals};
use super::sync::{AtomicI64, AtomicU32, AtomicU64, AtomicU128, Ordering, Slot};
use super::types::ScopeName;
use super::word::{Counter, INDEX_BITS, INDEX_MASK, Tag, Word};

/// Where a scope is in its life: its block's index, and how many blocks it has had. The index that
/// names no cell says that the scope is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current(pub(super) u64);

impl Current {
    pub(super) const fn new(block: u32, version: u64) -> Self {
        Self((version << INDEX_BITS) | block as u64)
    }

    /// A scope that is not open.
    pub(super) const fn nowhere(version: u64) -> Self {
        Self((version << INDEX_BITS) | INDEX_MASK)
    }

    pub(super) const fn is_open(self) -> bool {
        self.0 & INDEX_MASK != INDEX_MASK
    }

    pub(super) const fn block(self) -> u32 {
        (self.0 & INDEX_MASK) as u32
    }

    pub(super) const fn version(self) -> u64 {
        self.0 >> INDEX_BITS
    }
}

/// A scope's cell.
pub(super) struct Scope {
    current: AtomicU64,
    /// How many scopes the cell had before this one; part of the handle.
    generation: AtomicU32,
    behind: AtomicU32,
    last_used_ms: AtomicI64,
    pub(super) name: Slot<ScopeName>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            current: AtomicU64::new(Current::nowhere(0).0),
            generation: AtomicU32::new(0),
            behind: AtomicU32::new(0),
            last_used_ms: AtomicI64::new(0),
            name: Slot::default(),
        }
    }
}

/// How much later a use must be to be written down.
const USE_STEP_MS: i64 = 1_000;

impl Waiting for Scope {
    fn behind(&self) -> &AtomicU32 {
        &self.behind
    }
}

impl Scope {
    #[inline]
    pub(super) fn current(&self) -> Current {
        Current(self.current.load(Ordering::Acquire))
    }

    pub(super) fn put_current(&self, current: Current) {
        self.current.store(current.0, Ordering::Release);
    }

    pub(super) fn advance(&self, from: Current, to: Current) -> bool {
        self.current
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    #[inline]
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every handle that was given out stale; for the one who evicted the scope.
    pub(super) fn retire_handles(&self) {
        let next = self.generation().wrapping_add(1);
        self.generation.store(next, Ordering::Release);
    }

    #[inline]
    pub(super) fn touch(&self, now_ms: i64) {
        if now_ms.saturating_sub(self.last_used_ms.load(Ordering::Relaxed)) > USE_STEP_MS {
            self.last_used_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    pub(super) fn begin_use(&self, now_ms: i64) {
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn last_used_ms(&self) -> i64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }
}

/// What a block knows besides its numbers.
#[derive(Debug)]
pub(super) struct Details {
    plan: Arc<Plan>,
    grant: Option<i64>,
    /// The life's amounts are these and the block's counters.
    used: i64,
    spent: i64,
    marks: Box<[Mark]>,
}

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Block {
    word: AtomicU128,
    /// What settlements have given back of what was reserved.
    refunded: AtomicU64,
    /// What was settled.
    settled: AtomicU64,
    /// A reservation fits when the word's amount with it is at most this and `refunded`.
    room: AtomicI64,
    valid_until_ms: AtomicI64,
    details: Slot<Details>,
    life: AtomicU32,
    behind: AtomicU32,
}

impl Waiting for Block {
    fn behind(&self) -> &AtomicU32 {
        &self.behind
    }
}

/// Which of a block's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What was given back.
    Refunded,
    /// What was settled.
    Settled,
}

/// A block must not begin another life with a counter above this, so that it never overflows.
const WORN: u64 = 1 << 61;

impl Block {
    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Changes the word if it is what was seen last; else gives what it is.
    #[inline]
    pub(super) fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        self.word
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }

    #[inline]
    fn side(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Refunded => &self.refunded,
            Side::Settled => &self.settled,
        }
    }

    #[inline]
    pub(super) fn counter(&self, side: Side) -> Counter {
        Counter(self.side(side).load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn swap_counter(
        &self,
        side: Side,
        from: Counter,
        to: Counter,
    ) -> Result<(), Counter> {
        self.side(side)
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Counter)
    }

    /// The most that the word's amount may become, as things stand.
    #[inline]
    pub(super) fn end(&self) -> i64 {
        let room = self.room.load(Ordering::Acquire);
        self.counter(Side::Refunded).count().wrapping_add(room)
    }

    #[inline]
    pub(super) fn valid_until_ms(&self) -> i64 {
        self.valid_until_ms.load(Ordering::Acquire)
    }

    /// The scope's books; of no meaning when the block's scope has left it meanwhile.
    pub(super) fn books(&self) -> Option<Books> {
        let details = self.details.get()?;
        let reserved = self.word().amount();
        let refunded = self.counter(Side::Refunded).count();
        let settled = self.counter(Side::Settled).count();
        Some(Books {
            plan: Arc::clone(&details.plan),
            grant: details.grant,
            totals: Totals {
                used: details.used.wrapping_add(reserved).wrapping_sub(refunded),
                spent: details.spent.wrapping_add(settled),
            },
            marks: details.marks.to_vec(),
        })
    }

    /// Begins a life with a scope's books, in a block that is the caller's alone.
    pub(super) fn begin(&self, books: Books) {
        // Counters go on where the last life left them, so that nothing seen then is ever seen again.
        let refunded = self.counter(Side::Refunded).count() + 1;
        let settled = self.counter(Side::Settled).count() + 1;
        let life = self.life.load(Ordering::Acquire).wrapping_add(1);
        let used = books.totals.used + refunded;
        self.room.store(books.ceiling() - used, Ordering::Release);
        self.valid_until_ms
            .store(books.valid_until_ms(), Ordering::Release);
        self.details.put(Some(Arc::new(Details {
            plan: books.plan,
            grant: books.grant,
            used,
            spent: books.totals.spent - settled,
            marks: books.marks.into_boxed_slice(),
        })));
        self.refunded
            .store(refunded.cast_unsigned(), Ordering::Release);
        self.settled
            .store(settled.cast_unsigned(), Ordering::Release);
        self.life.store(life, Ordering::Release);
        self.word
            .store(Word::new(0, Tag::first(life)).0, Ordering::Release);
    }

    /// Ends a life, in a block that is the caller's alone; says whether it can begin another.
    pub(super) fn finish(&self) -> bool {
        self.details.put(None);
        let worn = [Side::Refunded, Side::Settled]
            .into_iter()
            .any(|side| self.counter(side).count().cast_unsigned() > WORN);
        !worn && self.life.load(Ordering::Acquire) < u32::MAX
    }
}
