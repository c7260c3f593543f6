//! Cells that are handed out, given back and handed out again, and never freed.
//!
//! Since a cell's memory stays a cell of the same kind for as long as the ledger lives, a thread that
//! looks at one that was given back meanwhile reads atomics of another life, never freed memory; what
//! it read is judged by the counters that grow with each life. So no thread announces what it looks
//! at, and none waits before memory is used again.

use once_cell::race::OnceBox;

use super::sync::{AtomicU32, AtomicU64, Ordering, shard};

/// Cells in a piece of memory that is asked for at once.
#[cfg(not(loom))]
const CHUNK: usize = 1024;
#[cfg(loom)]
const CHUNK: usize = 4;

#[cfg(not(loom))]
const SHARDS: usize = 8;
#[cfg(loom)]
const SHARDS: usize = 1;

/// The place in a list's head that says: no cell. Places are one more than the cell's index.
const NONE: u64 = 0;

/// A cell that can wait in a list for its next life.
pub(super) trait Waiting {
    /// The cell behind it: its index and one, or 0.
    fn behind(&self) -> &AtomicU32;
}

/// The head of a list of free cells in a cache line of its own: a counter that makes each head
/// differ from all earlier ones, and the first cell's index and one.
#[repr(align(64))]
struct Head(AtomicU64);

const PLACE_BITS: u32 = 24;
const PLACES: u64 = (1 << PLACE_BITS) - 1;

/// At most so many cells, lock-free.
pub(super) struct Arena<T> {
    chunks: Box<[OnceBox<[T; CHUNK]>]>,
    free: [Head; SHARDS],
    /// Cells that have been handed out at least once: the indices below it.
    used: AtomicU32,
    room: u32,
}

impl<T: Waiting + Default> Arena<T> {
    /// Room for so many cells, of indices below a power of two; memory is taken as they are used.
    pub(super) fn new(room: u32, index_bits: u32) -> Self {
        let indices = if cfg!(loom) {
            4 * CHUNK
        } else {
            1 << index_bits
        };
        Self {
            chunks: (0..indices / CHUNK).map(|_| OnceBox::new()).collect(),
            free: std::array::from_fn(|_| Head(AtomicU64::new(NONE))),
            used: AtomicU32::new(0),
            room,
        }
    }

    /// The cell of an index; indices beyond the room wrap around.
    #[inline]
    pub(super) fn at(&self, index: u32) -> &T {
        let index = index as usize;
        // Their number is a power of two; a division would cost more than all else here.
        let chunk = &self.chunks[(index / CHUNK) & (self.chunks.len() - 1)];
        let cells = match chunk.get() {
            Some(cells) => cells,
            None => Self::grown(chunk),
        };
        &cells[index % CHUNK]
    }

    #[cold]
    fn grown(chunk: &OnceBox<[T; CHUNK]>) -> &[T; CHUNK] {
        chunk.get_or_init(|| {
            let cells: Vec<T> = (0..CHUNK).map(|_| T::default()).collect();
            match cells.into_boxed_slice().try_into() {
                Ok(cells) => cells,
                // It has just that length.
                Err(_) => Box::new(std::array::from_fn(|_| T::default())),
            }
        })
    }

    /// The indices that have been handed out so far lie below this.
    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// A free cell for the caller alone, `None` when there is none.
    #[inline]
    pub(super) fn take(&self) -> Option<u32> {
        let own = shard() % SHARDS;
        self.pop(own)
            .or_else(|| self.fresh())
            .or_else(|| (0..SHARDS).find_map(|other| self.pop(other)))
    }

    #[inline]
    fn pop(&self, list: usize) -> Option<u32> {
        let head = &self.free[list].0;
        let mut first = head.load(Ordering::Acquire);
        loop {
            let place = first & PLACES;
            if place == NONE {
                return None;
            }
            let index = u32::try_from(place - 1).unwrap_or_default();
            let next = u64::from(self.at(index).behind().load(Ordering::Acquire));
            let new = successor(first) | next;
            match head.compare_exchange(first, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(index),
                Err(now) => first = now,
            }
        }
    }

    #[cold]
    fn fresh(&self) -> Option<u32> {
        let mut used = self.used.load(Ordering::Acquire);
        while used < self.room {
            match self
                .used
                .compare_exchange(used, used + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(index) => return Some(index),
                Err(now) => used = now,
            }
        }
        None
    }

    /// Gives back a cell that is the caller's alone.
    #[inline]
    pub(super) fn give(&self, index: u32) {
        let head = &self.free[shard() % SHARDS].0;
        let behind = self.at(index).behind();
        let mut first = head.load(Ordering::Acquire);
        loop {
            behind.store(
                u32::try_from(first & PLACES).unwrap_or_default(),
                Ordering::Release,
            );
            let new = successor(first) | (u64::from(index) + 1);
            match head.compare_exchange(first, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }
}

/// A head's counter, counted on: 40 bits, so that it comes round after 10¹² changes.
const fn successor(head: u64) -> u64 {
    ((head >> PLACE_BITS) + 1) << PLACE_BITS
}
