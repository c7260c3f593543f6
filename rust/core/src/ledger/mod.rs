//! Budgets that cannot be overspent: scopes, their windows, and holds on them.
//!
//! # What it promises
//!
//! * **Never over.** What is settled and held of a scope in a window's period never exceeds the
//!   window's limit by a reservation. Only what was asked for with `force`, and what a call cost above
//!   its hold, goes over, and it is booked in full.
//! * **All or nothing.** A reservation over several scopes takes effect on all of them at one instant,
//!   or on none.
//! * **Exact refusals.** A reservation is refused only if at an instant within the call a scope had no
//!   room for it, counting nothing but holds that were made: never because of another reservation that
//!   is itself refused in the end.
//! * **Lock-free.** No caller waits for a thread that the scheduler has suspended. (Two rare things
//!   do not count as steady state: a hash table that grows, and a time zone that is read first.)
//! * **Every nanodollar is kept.** A window's usage is what is settled and held of the holds that were
//!   reserved in its period, however late they end.
//!
//! A settlement takes effect scope by scope, so "some order of the operations" is one in which each
//! scope's settlement is an operation of its own.
//!
//! # How
//!
//! * A scope's *block* is one cache line: a 128-bit word with all that was reserved in the block's life
//!   and the name of the hold that reserved last, two counters of what settlements gave back and
//!   settled, and how far the word may go. That bound is the nearest limit of all windows and the
//!   grant, so one comparison and one compare-and-swap cover them all ([`books`]).
//! * A hold's cell says what it wants before any word is touched. Its thread adds its amounts with its
//!   name, scope by scope in one order, and then decides it by a compare-and-swap on the cell. Whoever
//!   finds an undecided hold's name in his way brings it to its end himself ([`reserve`]).
//! * A block is replaced, never changed, when a period ends or limits change ([`block`]).
//! * Memory is handed out again and never freed while the ledger lives, and whatever decides by a
//!   compare-and-swap compares with something that never comes back: names of holds have a generation,
//!   counters only grow through all lives of a block ([`arena`]). So there is no unsafe code, and
//!   nobody's memory waits for anybody.
//!
//! Amounts are nanodollars, instants Unix milliseconds that the caller gives. They may go back; a
//! scope's periods never do. A limit of 0 refuses everything above 0; a reservation of 0 always fits.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use papaya::{HashMap, Operation};

use self::arena::Arena;
use self::block::{Block, Current, Scope};
use self::books::{Plan, signed};
use self::hold::{Cell, Hold, Stage, Target, generation_of, index_of};
use self::period::{EARLIEST_MS, LATEST_MS};
use self::reserve::Terms;
use self::sync::Slot;
pub use self::types::{
    Amounts, Cause, Evicted, HoldId, LedgerError, Limit, Opening, Outcome, Refusal, Reservation,
    ScopeId, ScopeName, Settlement, WindowStanding,
};
use self::word::{INDEX_BITS, INDEX_MASK, Word};

mod arena;
mod block;
mod books;
mod expire;
mod extend;
mod hold;
pub mod period;
mod replace;
mod reserve;
mod scopes;
mod settle;
mod sync;
mod types;
mod word;

/// The most scopes that a hold can be on.
pub const MAX_SCOPES: usize = 64;

/// The most scopes that can be open at once.
pub const MAX_OPEN_SCOPES: u32 = 12_000_000;

/// The most scopes of a hold in a small cell; one in eight million cells is small.
#[cfg(not(loom))]
const SMALL: usize = 8;
#[cfg(loom)]
const SMALL: usize = 2;

/// Set in the index of a large cell.
const LARGE: u32 = 1 << 23;

/// How many plans are remembered, to share them.
const PLANS: usize = 64;

/// Scopes, their windows, and holds on them. All-or-nothing, lock-free, never over.
///
/// ```
/// use cascadeflow_core::ledger::period::Window;
/// use cascadeflow_core::ledger::{Amounts, Ledger, Opening, Reservation};
/// use cascadeflow_core::money::Nanodollars;
///
/// let dollar = Nanodollars::new(1_000_000_000)?;
/// let cent = Nanodollars::new(10_000_000)?;
/// let ledger = Ledger::new(86_400_000);
/// let user = ledger.open_scope("user", "u1", &[(Window::day("UTC")?, Some(dollar))], 0, &Opening::default())?;
/// let held = ledger.reserve(&[user], Amounts::Same(dollar), 0, 60_000, None, false)?;
/// let Reservation::Held(hold) = held else { panic!("it fits") };
/// assert!(matches!(
///     ledger.reserve(&[user], Amounts::Same(cent), 0, 60_000, None, false)?,
///     Reservation::Refused(_)
/// ));
/// ledger.settle(hold, Amounts::Same(cent), 1_000)?;
/// assert_eq!(ledger.total(user)?.0, cent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ledger {
    scopes: Arena<Scope>,
    blocks: Arena<Block>,
    small: Arena<Cell<SMALL>>,
    large: Arena<Cell<MAX_SCOPES>>,
    names: HashMap<Arc<ScopeName>, ScopeId>,
    /// Holds by their callers' keys, and until when they are remembered.
    keys: HashMap<u128, (u64, i64)>,
    plans: Box<[Slot<Plan>]>,
    hasher: RandomState,
    late_ms: i64,
}

impl Ledger {
    /// An empty ledger; an expired hold may be corrected, and a key is known, for `late_ms`.
    #[must_use]
    pub fn new(late_ms: i64) -> Self {
        let holds = LARGE - 1;
        Self {
            scopes: Arena::new(MAX_OPEN_SCOPES, INDEX_BITS),
            blocks: Arena::new((1 << INDEX_BITS) - 1, INDEX_BITS),
            small: Arena::new(holds, INDEX_BITS - 1),
            large: Arena::new(holds, INDEX_BITS - 1),
            names: HashMap::new(),
            keys: HashMap::new(),
            plans: (0..PLANS).map(|_| Slot::default()).collect(),
            hasher: RandomState::new(),
            late_ms: late_ms.max(0),
        }
    }

    /// Holds the amounts on all scopes or on none.
    ///
    /// The same `key` gives the hold that it gave before, until `late_ms` after its deadline. `force`
    /// holds even over the limits.
    ///
    /// # Errors
    ///
    /// [`LedgerError::NoScopes`], [`LedgerError::TooManyScopes`], [`LedgerError::RepeatedScope`],
    /// [`LedgerError::AmountCount`], [`LedgerError::TooLarge`], [`LedgerError::Full`].
    pub fn reserve(
        &self,
        scopes: &[ScopeId],
        amounts: Amounts<'_>,
        now_ms: i64,
        deadline_ms: i64,
        key: Option<u128>,
        force: bool,
    ) -> Result<Reservation, LedgerError> {
        amounts.fits(scopes.len())?;
        let terms = Terms {
            now_ms: clamp_ms(now_ms),
            deadline_ms,
            key,
            force,
            extends: false,
        };
        match scopes.len() {
            0 => Err(LedgerError::NoScopes),
            1..=4 => self.reserve_few::<4>(scopes, &amounts, &terms),
            5..=8 => self.reserve_few::<8>(scopes, &amounts, &terms),
            9..=MAX_SCOPES => self.reserve_few::<MAX_SCOPES>(scopes, &amounts, &terms),
            _ => Err(LedgerError::TooManyScopes),
        }
    }

    #[inline]
    fn reserve_few<const ROOM: usize>(
        &self,
        scopes: &[ScopeId],
        amounts: &Amounts<'_>,
        terms: &Terms,
    ) -> Result<Reservation, LedgerError> {
        let mut targets = [Target::default(); ROOM];
        let mut words = [Word(0); ROOM];
        let count = scopes.len().min(ROOM);
        let (targets, words) = (&mut targets[..count], &mut words[..count]);
        let mut sorted = true;
        let mut last = None;
        for (place, (target, scope)) in targets.iter_mut().zip(scopes).enumerate() {
            let amount = amounts.get(place).map_or(0, signed);
            *target = Target::new(scope.0, place, amount);
            sorted = sorted && last.is_none_or(|last| last < target.index());
            last = Some(target.index());
        }
        if !sorted {
            targets.sort_unstable_by_key(|target| (target.index(), target.place()));
            // Two handles of one cell are of different times: one of them is stale.
            let handles = |pair: &[Target]| {
                pair.first().map(Target::handle) == pair.last().map(Target::handle)
            };
            if targets.windows(2).any(handles) {
                return Err(LedgerError::RepeatedScope);
            }
        }
        self.hold_all(targets, words, terms)
    }

    /// The hold that a key gave, if it did.
    #[cold]
    fn known(&self, key: u128) -> Option<HoldId> {
        loop {
            let entry = || self.keys.pin().get(&key).copied();
            let (id, _) = entry()?;
            self.help(id);
            let hold = self.hold(index_of(id));
            let targets: Vec<Target> = hold.parts().iter().map(hold::Part::get).collect();
            let state = hold.head.state();
            let over = state.generation() != generation_of(id) || state.stage() == Stage::Over;
            if over {
                // A refused hold's key is taken away before it is over: so this one was held.
                if entry().is_some_and(|(now, _)| now == id) {
                    return Some(HoldId(id));
                }
            } else if state.stage() == Stage::Refused {
                return None;
            } else if state.stage() != Stage::Undecided {
                self.complete(&targets, id);
                return Some(HoldId(id));
            }
        }
    }

    /// Enters a hold under a key, unless another one has it.
    #[cold]
    fn claim(&self, key: u128, id: u64, deadline_ms: i64) -> bool {
        let until = deadline_ms.saturating_add(self.late_ms);
        let keys = self.keys.pin();
        let entered = keys.compute(key, |entry| match entry {
            Some((_, (other, _))) if !self.is_refused(*other) => Operation::Abort(()),
            _ => Operation::Insert((id, until)),
        });
        !matches!(entered, papaya::Compute::Aborted(()))
    }

    fn is_refused(&self, id: u64) -> bool {
        let state = self.hold(index_of(id)).head.state();
        state.generation() == generation_of(id) && state.stage() == Stage::Refused
    }

    /// Takes a refused hold's key away.
    #[cold]
    fn disclaim(&self, key: u128, id: u64) {
        // Another one may have taken it over already.
        let _ = self
            .keys
            .pin()
            .remove_if(&key, |_, (other, _)| *other == id);
    }

    /// Forgets the keys whose time is over and whose holds are.
    fn forget_keys(&self, now_ms: i64) {
        self.keys.pin().retain(|_, (id, until)| {
            let state = self.hold(index_of(*id)).head.state();
            let live = state.generation() == generation_of(*id) && state.stage() != Stage::Over;
            live || *until >= now_ms
        });
    }

    /// A hold's cell.
    #[inline]
    fn hold(&self, index: u32) -> Hold<'_> {
        if index & LARGE == 0 {
            self.small.at(index).view()
        } else {
            self.large.at(index & !LARGE).view()
        }
    }

    #[inline]
    fn take_cell(&self, parts: usize) -> Option<u32> {
        if parts <= SMALL {
            self.small.take()
        } else {
            self.large.take().map(|index| index | LARGE)
        }
    }

    #[inline]
    fn give_cell(&self, index: u32) {
        if index & LARGE == 0 {
            self.small.give(index);
        } else {
            self.large.give(index & !LARGE);
        }
    }

    /// Whether a cell was ever handed out.
    fn is_cell(&self, index: u32) -> bool {
        if index & LARGE == 0 {
            index < self.small.used()
        } else {
            index & !LARGE < self.large.used()
        }
    }

    /// All cells of holds that were ever handed out.
    fn cells(&self) -> impl Iterator<Item = u32> + use<> {
        let large = (0..self.large.used()).map(|index| index | LARGE);
        (0..self.small.used()).chain(large)
    }

    fn hash(&self, value: &impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(value) & 0xffff).unwrap_or_default()
    }
}

fn clamp_ms(now_ms: i64) -> i64 {
    now_ms.clamp(EARLIEST_MS, LATEST_MS)
}

/// A scope's handle: its cell's index and generation.
const fn handle(index: u32, generation: u32) -> ScopeId {
    ScopeId((generation as u64) << INDEX_BITS | index as u64)
}

const fn index_of_scope(scope: ScopeId) -> u32 {
    (scope.0 & INDEX_MASK) as u32
}

/// Whether a handle is that of the scope whose block was read just before.
#[inline]
fn is_live(cell: &Scope, current: Current, scope: ScopeId) -> bool {
    current.is_open() && u64::from(cell.generation()) == scope.0 >> INDEX_BITS
}
