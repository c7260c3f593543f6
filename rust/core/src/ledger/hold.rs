//! The cells of holds: a hold's scopes and amounts, and how far it has come.
//!
//! While it is being made, a hold's cell is also the description by which any other thread can bring
//! it to its end.

use super::arena::Waiting;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::word::{GENERATION_BITS, INDEX_BITS, INDEX_MASK};

/// How far a hold has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has ended, or its cell was never used.
    Over,
    /// Its thread, and whoever helps, is putting it on its scopes.
    Undecided,
    /// It is held on all its scopes.
    Open,
    /// It was refused, and its thread is taking back what it had put.
    Refused,
    /// It is booked at what was held, and may be corrected.
    Expired,
    /// It is held, as an extension of another hold.
    Extension,
    /// One thread alone is booking its end.
    Ending,
}

const STAGES: [Stage; 7] = [
    Stage::Over,
    Stage::Undecided,
    Stage::Open,
    Stage::Refused,
    Stage::Expired,
    Stage::Extension,
    Stage::Ending,
];

/// With [`Stage::Undecided`]: becomes an extension of another hold.
pub(super) const EXTENDS: u32 = 1;
/// With [`Stage::Undecided`]: is held over the limits too.
pub(super) const FORCED: u32 = 2;

/// A cell's generation, stage and one number more: with `Undecided` the flags above, with `Open`,
/// `Expired` and `Ending` the newest extension's index and one, or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    pub(super) const fn new(generation: u64, stage: Stage, detail: u32) -> Self {
        Self((generation << 28) | ((stage as u64) << 24) | detail as u64)
    }

    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.0 >> 28
    }

    #[inline]
    pub(super) fn stage(self) -> Stage {
        let number = (self.0 >> 24) & 15;
        STAGES
            .get(usize::try_from(number).unwrap_or_default())
            .copied()
            .unwrap_or(Stage::Over)
    }

    #[inline]
    pub(super) const fn detail(self) -> u32 {
        (self.0 & INDEX_MASK) as u32
    }

    /// The same hold, further on.
    #[inline]
    pub(super) const fn to(self, stage: Stage, detail: u32) -> Self {
        Self::new(self.generation(), stage, detail)
    }
}

/// A hold's id: its cell's index and generation.
#[inline]
pub(super) const fn id(index: u32, generation: u64) -> u64 {
    (generation << INDEX_BITS) | index as u64
}

#[inline]
pub(super) const fn index_of(id: u64) -> u32 {
    (id & INDEX_MASK) as u32
}

#[inline]
pub(super) const fn generation_of(id: u64) -> u64 {
    id >> INDEX_BITS
}

/// When a hold expires, in Unix milliseconds, or when it did; with the lower bits of the generation,
/// so that the deadline of a later hold in the same cell is not put off in its stead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline(pub(super) u64);

const PASSED: u64 = 1 << 63;
const STAMP_BITS: u32 = 20;
const STAMP: u64 = (1 << STAMP_BITS) - 1;
const LATEST: i64 = (1 << (63 - STAMP_BITS)) - 1;

impl Deadline {
    pub(super) fn at(ms: i64, generation: u64) -> Self {
        let ms = ms.clamp(0, LATEST).cast_unsigned();
        Self((ms << STAMP_BITS) | (generation & STAMP))
    }

    /// It is over since an instant, and cannot be put off any more.
    pub(super) fn passed(ms: i64, generation: u64) -> Self {
        Self(Self::at(ms, generation).0 | PASSED)
    }

    pub(super) const fn ms(self) -> i64 {
        ((self.0 & !PASSED) >> STAMP_BITS).cast_signed()
    }

    pub(super) const fn is_passed(self) -> bool {
        self.0 & PASSED != 0
    }

    pub(super) const fn belongs_to(self, generation: u64) -> bool {
        self.0 & STAMP == generation & STAMP
    }
}

/// One scope of a hold.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The scope's handle, and above its 56 bits the place at which the caller named it.
    scope: AtomicU64,
    /// The scope's block at that time and its version: the hold's periods.
    current: AtomicU64,
    amount: AtomicU64,
}

/// A copy of a part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scope: u64,
    pub(super) current: u64,
    pub(super) amount: i64,
}

const PLACE_SHIFT: u32 = 56;

impl Target {
    #[inline]
    pub(super) fn new(scope: u64, place: usize, amount: i64) -> Self {
        Self {
            scope: scope | (place as u64) << PLACE_SHIFT,
            current: 0,
            amount,
        }
    }

    /// The scope's handle.
    #[inline]
    pub(super) const fn handle(&self) -> u64 {
        self.scope & ((1 << PLACE_SHIFT) - 1)
    }

    /// The scope's index, by which all holds are ordered.
    #[inline]
    pub(super) const fn index(&self) -> u32 {
        index_of(self.scope)
    }

    /// At which place the caller named it.
    #[inline]
    pub(super) const fn place(&self) -> usize {
        (self.scope >> PLACE_SHIFT) as usize
    }
}

impl Part {
    #[inline]
    pub(super) fn set(&self, target: &Target) {
        self.scope.store(target.scope, Ordering::Release);
        self.current.store(target.current, Ordering::Release);
        self.amount
            .store(target.amount.cast_unsigned(), Ordering::Release);
    }

    #[inline]
    pub(super) fn get(&self) -> Target {
        Target {
            scope: self.scope.load(Ordering::Acquire),
            current: self.current.load(Ordering::Acquire),
            amount: self.amount.load(Ordering::Acquire).cast_signed(),
        }
    }
}

/// What all cells of holds have.
#[derive(Debug, Default)]
pub(super) struct Head {
    state: AtomicU64,
    deadline: AtomicU64,
    parts: AtomicU32,
    /// The extension before this one: its index and one, or 0.
    earlier: AtomicU32,
    behind: AtomicU32,
}

impl Head {
    #[inline]
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// Puts a hold that is the caller's alone at another stage.
    #[inline]
    pub(super) fn put(&self, state: State) {
        self.state.store(state.0, Ordering::Release);
    }

    /// Puts a hold at another stage, if it is where it was seen last.
    #[inline]
    pub(super) fn advance(&self, from: State, to: State) -> bool {
        self.state
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(super) fn earlier(&self) -> u32 {
        self.earlier.load(Ordering::Acquire)
    }

    pub(super) fn put_earlier(&self, place: u32) {
        self.earlier.store(place, Ordering::Release);
    }

    #[inline]
    pub(super) fn deadline(&self) -> Deadline {
        Deadline(self.deadline.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn put_deadline(&self, deadline: Deadline) {
        self.deadline.store(deadline.0, Ordering::Release);
    }

    pub(super) fn move_deadline(&self, from: Deadline, to: Deadline) -> bool {
        self.deadline
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// A cell with room for so many parts.
#[repr(align(64))]
pub(super) struct Cell<const PARTS: usize> {
    head: Head,
    parts: [Part; PARTS],
}

impl<const PARTS: usize> Default for Cell<PARTS> {
    fn default() -> Self {
        Self {
            head: Head::default(),
            parts: std::array::from_fn(|_| Part::default()),
        }
    }
}

impl<const PARTS: usize> Waiting for Cell<PARTS> {
    fn behind(&self) -> &AtomicU32 {
        &self.head.behind
    }
}

impl<const PARTS: usize> Cell<PARTS> {
    #[inline]
    pub(super) fn view(&self) -> Hold<'_> {
        Hold {
            head: &self.head,
            parts: &self.parts,
        }
    }
}

/// A cell, whatever its size.
#[derive(Clone, Copy)]
pub(super) struct Hold<'a> {
    pub(super) head: &'a Head,
    parts: &'a [Part],
}

impl<'a> Hold<'a> {
    /// Its parts in the order of their scopes' indices.
    #[inline]
    pub(super) fn parts(self) -> &'a [Part] {
        let count = self.head.parts.load(Ordering::Acquire) as usize;
        self.parts.get(..count).unwrap_or(self.parts)
    }

    /// Fills a cell that is the caller's alone.
    #[inline]
    pub(super) fn fill(self, targets: &[Target]) {
        for (part, target) in self.parts.iter().zip(targets) {
            part.set(target);
        }
        let count = u32::try_from(targets.len()).unwrap_or_default();
        self.head.parts.store(count, Ordering::Release);
    }

    /// A copy of the part on a scope.
    pub(super) fn part_on(self, scope: u32) -> Option<Target> {
        let mut parts = self.parts().iter().map(Part::get);
        parts.find(|part| part.index() == scope)
    }
}

const _: () = assert!(GENERATION_BITS + 28 == 64);
