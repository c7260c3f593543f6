//! A scope's 128-bit word and its parts: what has been reserved, and who reserved last.

/// Bits of an index into a table of cells.
pub(super) const INDEX_BITS: u32 = 24;
/// Every index is at most this; the last one names no cell.
pub(super) const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// Bits of a hold's generation: how often its cell has been used.
pub(super) const GENERATION_BITS: u32 = 36;
/// The last generation: the cell is not used again.
pub(super) const LAST_GENERATION: u64 = (1 << GENERATION_BITS) - 1;

/// The most that a word can count, and the most that an account can have.
pub(super) const MOST: i64 = (1 << 62) - 1;

const CLOSED: u64 = 1 << 63;

/// What a word's tag says of the hold it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The hold's own thread added its amount; it stands unless the hold is refused.
    Added,
    /// Another thread put the hold's name here for it; its amount is added once it is decided.
    Locked,
    /// The hold was refused and nothing of it is left.
    Clean,
}

/// Who changed a word last; no tag ever comes back to the same word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    pub(super) const fn new(hold: u64, mark: Mark) -> Self {
        Self((hold << 2) | mark as u64)
    }

    /// The tag of a word that begins a life, which no hold has changed yet.
    pub(super) const fn first(life: u32) -> Self {
        Self::new((life as u64) << INDEX_BITS | INDEX_MASK, Mark::Clean)
    }

    /// The hold's id.
    pub(super) const fn hold(self) -> u64 {
        self.0 >> 2
    }

    pub(super) const fn mark(self) -> Mark {
        match self.0 & 3 {
            0 => Mark::Added,
            1 => Mark::Locked,
            _ => Mark::Clean,
        }
    }
}

/// The amount reserved in the life of a block, the tag, and whether the block is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u128);

impl Word {
    #[inline]
    pub(super) const fn new(amount: i64, tag: Tag) -> Self {
        Self((tag.0 as u128) << 64 | (amount.cast_unsigned() & !CLOSED) as u128)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    const fn low(self) -> u64 {
        self.0 as u64
    }

    #[inline]
    pub(super) const fn amount(self) -> i64 {
        (self.low() & !CLOSED).cast_signed()
    }

    #[inline]
    pub(super) const fn tag(self) -> Tag {
        Tag((self.0 >> 64) as u64)
    }

    #[inline]
    pub(super) const fn closed(self) -> bool {
        self.low() & CLOSED != 0
    }

    #[inline]
    pub(super) const fn close(self) -> Self {
        Self(self.0 | CLOSED as u128)
    }
}

/// A counter that only grows, through all lives of its block, until it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counter(pub(super) u64);

impl Counter {
    #[inline]
    pub(super) const fn count(self) -> i64 {
        (self.0 & !CLOSED).cast_signed()
    }

    #[inline]
    pub(super) const fn closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(super) const fn close(self) -> Self {
        Self(self.0 | CLOSED)
    }
}
