//! A vocabulary's tokens, and from a token's bytes to its rank.

/// No token of either vocabulary is longer, in bytes.
pub(super) const LONGEST_TOKEN: usize = 128;

/// How many bytes one load takes; nearly all tokens have no more.
const WINDOW: usize = 16;

/// A slot of the hash table: rank plus one below, the hash's lowest bits above; 0 is empty.
const RANK_BITS: u32 = 18;
const RANK_MASK: u32 = (1 << RANK_BITS) - 1;

/// The tokens' bytes, end to end, and a hash table of four bytes a slot over them.
///
/// A question about what is no token, the commonest while merging, ends at one slot's bits; the
/// bytes are compared only where these agree.
pub(super) struct RankTable {
    /// All tokens' bytes in the order of their ranks, then a window of zeros.
    bytes: Box<[u8]>,
    /// Where each token starts, and where the last one ends.
    starts: Box<[u32]>,
    slots: Box<[u32]>,
    singles: [u32; 256],
    /// Rank plus one of each two bytes; 0: they are no token.
    pairs: Box<[u32]>,
}

impl RankTable {
    /// Reads the form that `tools/compile_vocabularies.py` describes.
    pub(super) fn unpack(packed: &[u8]) -> Self {
        let count = bits_at(packed, 0, 32);
        let length = bits_at(packed, 32, 32);
        let mut bytes = vec![0; length + WINDOW].into_boxed_slice();
        let mut starts = vec![0; count + 1].into_boxed_slice();
        bytes[..256].copy_from_slice(&packed[8..264]);
        for (start, single) in starts.iter_mut().zip(0..=256) {
            *start = single;
        }
        let (mut bit, mut at) = (8 * 264, 256);
        for rank in 256..count {
            let width = (rank - 1).ilog2() + 1;
            for _ in 0..2 {
                let half = bits_at(packed, bit, width);
                bit += width as usize;
                let (start, end) = (starts[half] as usize, starts[half + 1] as usize);
                if end - start <= WINDOW {
                    bytes.copy_within(start..start + WINDOW, at);
                } else {
                    bytes.copy_within(start..end, at);
                }
                at += end - start;
            }
            starts[rank + 1] = narrow(at);
        }
        bytes[at..].fill(0);
        let mut table = Self {
            bytes,
            starts,
            slots: vec![0; 2 * count].into_boxed_slice(),
            singles: [0; 256],
            pairs: vec![0; 1 << 16].into_boxed_slice(),
        };
        for rank in 0..count {
            table.enter(rank);
        }
        table
    }

    fn enter(&mut self, rank: usize) {
        let (start, end) = (self.starts[rank] as usize, self.starts[rank + 1] as usize);
        match self.bytes[start..end] {
            [byte] => self.singles[usize::from(byte)] = narrow(rank),
            [first, second] => self.pairs[pair_index(first, second)] = narrow(rank + 1),
            _ => {
                let hash = if end - start <= WINDOW {
                    short_hash(window(&self.bytes, start, end - start), end - start)
                } else {
                    long_hash(&self.bytes[start..end])
                };
                let mut slot = self.first_slot(hash);
                while self.slots[slot] != 0 {
                    slot = self.next_slot(slot);
                }
                self.slots[slot] = fingerprint(hash) | narrow(rank + 1);
            }
        }
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of a token; none for what is no rank.
    pub(super) fn token(&self, rank: usize) -> &[u8] {
        match self.starts.get(rank..rank + 2) {
            Some(&[start, end]) => &self.bytes[start as usize..end as usize],
            _ => &[],
        }
    }

    /// The rank of two bytes, if they are a token.
    #[inline]
    pub(super) fn pair(&self, first: u8, second: u8) -> Option<u32> {
        count_work();
        self.pairs[pair_index(first, second)].checked_sub(1)
    }

    /// The rank of `text[start..end]`, if it is a token. The range lies in the text.
    #[inline]
    pub(super) fn rank(&self, text: &[u8], start: usize, end: usize) -> Option<u32> {
        let length = end - start;
        match length {
            0 => None,
            1 => Some(self.singles[usize::from(text[start])]),
            2 => self.pair(text[start], text[start + 1]),
            3..=WINDOW => self.short_rank(window(text, start, length), length),
            _ if length <= LONGEST_TOKEN => self.long_rank(&text[start..end]),
            _ => None,
        }
    }

    #[inline]
    fn short_rank(&self, wanted: Window, length: usize) -> Option<u32> {
        self.find(short_hash(wanted, length), |start, end| {
            end - start == length && window(&self.bytes, start, length) == wanted
        })
    }

    fn long_rank(&self, token: &[u8]) -> Option<u32> {
        self.find(long_hash(token), |start, end| {
            self.bytes[start..end] == *token
        })
    }

    #[inline]
    fn find(&self, hash: u64, is_wanted: impl Fn(usize, usize) -> bool) -> Option<u32> {
        count_work();
        let mut slot = self.first_slot(hash);
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if (entry ^ fingerprint(hash)) & !RANK_MASK == 0 {
                let rank = (entry & RANK_MASK) - 1;
                let start = self.starts[rank as usize] as usize;
                let end = self.starts[rank as usize + 1] as usize;
                if is_wanted(start, end) {
                    return Some(rank);
                }
            }
            slot = self.next_slot(slot);
        }
    }

    /// Where the search for a hash begins, by its high bits.
    #[inline]
    fn first_slot(&self, hash: u64) -> usize {
        let slot = (u128::from(hash) * self.slots.len() as u128) >> 64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than the number of slots"
        )]
        let slot = slot as usize;
        slot
    }

    #[inline]
    fn next_slot(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() {
            0
        } else {
            slot + 1
        }
    }
}

/// The number in `width` bits, at most 32, from a bit on; bits behind the end are 0.
#[inline]
fn bits_at(packed: &[u8], bit: usize, width: u32) -> usize {
    let start = bit / 8;
    let mut word = [0; 8];
    if let Some(whole) = packed.get(start..start + 8) {
        word.copy_from_slice(whole);
    } else {
        word[..packed.len() - start].copy_from_slice(&packed[start..]);
    }
    let bits = u64::from_le_bytes(word) >> (bit % 8) & ((1 << width) - 1);
    #[expect(clippy::cast_possible_truncation, reason = "32 bits at most")]
    let number = bits as usize;
    number
}

/// One to 16 bytes of a text as two numbers, the first byte lowest, zeros behind the last.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Window(u64, u64);

#[inline]
fn window(text: &[u8], start: usize, length: usize) -> Window {
    let (mut low, mut high) = ([0; 8], [0; 8]);
    // Two loads where the text goes on for a window, which is nearly always.
    if let Some(whole) = text.get(start..start + WINDOW) {
        low.copy_from_slice(&whole[..8]);
        high.copy_from_slice(&whole[8..]);
    } else {
        let mut bytes = [0; WINDOW];
        bytes[..length].copy_from_slice(&text[start..start + length]);
        low.copy_from_slice(&bytes[..8]);
        high.copy_from_slice(&bytes[8..]);
    }
    let (low, high) = (u64::from_le_bytes(low), u64::from_le_bytes(high));
    if length <= 8 {
        Window(low & (u64::MAX >> (64 - 8 * length)), 0)
    } else {
        Window(low, high & (u64::MAX >> (128 - 8 * length)))
    }
}

#[inline]
fn pair_index(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lowest bits are what is wanted"
)]
#[inline]
fn fingerprint(hash: u64) -> u32 {
    (hash as u32) << RANK_BITS
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are what is wanted"
)]
#[inline]
fn mix(low: u64, high: u64) -> u64 {
    let product =
        u128::from(low ^ 0x9E37_79B9_7F4A_7C15) * u128::from(high ^ 0xD1B5_4A32_D192_ED03);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn short_hash(bytes: Window, length: usize) -> u64 {
    mix(bytes.0, bytes.1 ^ length as u64)
}

fn long_hash(token: &[u8]) -> u64 {
    let mut hash = token.len() as u64;
    for chunk in token.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(u64::from_le_bytes(word), hash);
    }
    hash
}

/// A rank, or a place among a vocabulary's bytes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a vocabulary has a few megabytes"
)]
#[inline]
fn narrow(number: usize) -> u32 {
    number as u32
}

#[cfg(test)]
thread_local! {
    /// How often a table was asked on this thread: the unit of work in which tests state linearity.
    pub(super) static WORK: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[inline]
fn count_work() {
    #[cfg(test)]
    WORK.set(WORK.get() + 1);
}
