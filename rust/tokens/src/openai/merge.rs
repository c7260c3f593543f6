//! Byte-pair merging of one piece: the pair of lowest rank first, the leftmost of equals.
//!
//! Nearly all pieces are short and are merged by looking for the lowest rank over and over. A long
//! piece (a run of letters or symbols without an end) would make that quadratic; it is cut into
//! windows that are merged with a heap and joined where the joint is provably the whole's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::table::{LONGEST_TOKEN, RankTable};

/// The longest piece that is merged by looking for the lowest rank, in bytes.
const SHORT_PIECE: usize = 128;
/// A long piece is merged in windows of so many bytes.
const WINDOW: usize = 4096;
/// So many bytes before a window's end are taken to be disturbed by it.
const OVERLAP: usize = 2 * LONGEST_TOKEN;
/// So many joints are tried before a window is made longer.
const JOINTS: usize = 4;

const NO_RANK: u32 = u32::MAX;

/// Merges pieces of one text.
pub(super) struct Merger<'a> {
    ranks: &'a RankTable,
    text: &'a [u8],
    parts: Parts,
}

impl<'a> Merger<'a> {
    pub(super) fn new(ranks: &'a RankTable, text: &'a [u8]) -> Self {
        Self {
            ranks,
            text,
            parts: Parts::new(),
        }
    }

    /// Merges the piece `start..end` and calls `token` with the start and end of each token.
    pub(super) fn merge(&mut self, start: usize, end: usize, mut token: impl FnMut(usize, usize)) {
        if end - start <= SHORT_PIECE {
            self.parts.merge(self.ranks, self.text, start, end);
            for (from, to) in self.parts.bounds() {
                token(start + from, start + to);
            }
        } else {
            self.merge_long(start, end, token);
        }
    }

    /// Merges a long piece in windows.
    ///
    /// Tokens are the merging of their joined bytes exactly if each two neighbours are the merging
    /// of theirs: a boundary that no merge crosses parts the work into two that do not touch. So
    /// two windows that share a boundary may be joined there if the tokens on its two sides, merged
    /// alone, stay these two. Where they do not, another boundary is tried, then a longer window,
    /// in the end the rest of the piece.
    pub(super) fn merge_long(&self, start: usize, end: usize, mut token: impl FnMut(usize, usize)) {
        let mut window = Window::default();
        let mut left = Vec::new();
        let mut right = Vec::new();
        let mut length = WINDOW;
        window.merge(
            self.ranks,
            self.text,
            start,
            end.min(start + length),
            &mut left,
        );
        loop {
            let from = left[0];
            let to = left[left.len() - 1];
            if to == end {
                break;
            }
            let trusted = left.partition_point(|&bound| bound + OVERLAP <= to);
            let joint = (1..trusted).rev().take(JOINTS).find(|&joint| {
                let at = left[joint];
                window.merge(self.ranks, self.text, at, end.min(at + WINDOW), &mut right);
                self.stay_apart(left[joint - 1], at, right[1])
            });
            if let Some(joint) = joint {
                left[..=joint]
                    .windows(2)
                    .for_each(|bounds| token(bounds[0], bounds[1]));
                std::mem::swap(&mut left, &mut right);
                length = WINDOW;
            } else {
                length *= 2;
                window.merge(
                    self.ranks,
                    self.text,
                    from,
                    end.min(from + length),
                    &mut left,
                );
            }
        }
        left.windows(2)
            .for_each(|bounds| token(bounds[0], bounds[1]));
    }

    /// Gives the bounds of a piece's tokens, merged in one window however long it is.
    pub(super) fn merge_whole(&self, start: usize, end: usize) -> Vec<usize> {
        let mut bounds = Vec::new();
        Window::default().merge(self.ranks, self.text, start, end, &mut bounds);
        bounds
    }

    /// Whether the tokens `start..middle` and `middle..end` are the merging of their joined bytes.
    fn stay_apart(&self, start: usize, middle: usize, end: usize) -> bool {
        self.merge_whole(start, end) == [start, middle, end]
    }
}

/// The parts of a short piece, each known by the offset of its first byte from the piece's.
struct Parts {
    length: usize,
    /// The part's rank joined with the next one, above its offset: the lowest is merged first.
    keys: [i32; SHORT_PIECE],
    /// Where the next part starts, or where the piece ends.
    next: [u8; SHORT_PIECE],
    previous: [u8; SHORT_PIECE],
}

impl Parts {
    const OFFSET_BITS: u32 = SHORT_PIECE.ilog2();
    const NONE: i32 = i32::MAX;
    /// So many keys are compared side by side.
    const LANES: usize = 8;

    fn new() -> Self {
        Self {
            length: 0,
            keys: [Self::NONE; SHORT_PIECE],
            next: [0; SHORT_PIECE],
            previous: [0; SHORT_PIECE],
        }
    }

    fn bounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at == self.length {
                return None;
            }
            let start = at;
            at = usize::from(self.next[start]);
            Some((start, at))
        })
    }

    fn key(rank: Option<u32>, offset: usize) -> i32 {
        rank.and_then(|rank| {
            i32::try_from(rank << Self::OFFSET_BITS | u32::from(narrow(offset))).ok()
        })
        .unwrap_or(Self::NONE)
    }

    fn merge(&mut self, ranks: &RankTable, text: &[u8], start: usize, end: usize) {
        let length = end - start;
        self.length = length;
        let places = self
            .keys
            .iter_mut()
            .zip(&mut self.next)
            .zip(&mut self.previous);
        for (offset, ((key, next), previous)) in places.take(length).enumerate() {
            let at = start + offset;
            let rank = if at + 1 < end {
                ranks.pair(text[at], text[at + 1])
            } else {
                None
            };
            *key = Self::key(rank, offset);
            *next = narrow(offset + 1);
            *previous = narrow(offset.saturating_sub(1));
        }
        let lanes = length.next_multiple_of(Self::LANES);
        self.keys[length..lanes].fill(Self::NONE);
        loop {
            let lowest = lowest(&self.keys[..lanes]);
            if lowest == Self::NONE {
                return;
            }
            let first = usize::try_from(lowest).unwrap_or_default() & (SHORT_PIECE - 1);
            let second = usize::from(self.next[first]);
            let third = usize::from(self.next[second]);
            self.keys[second] = Self::NONE;
            self.next[first] = narrow(third);
            self.keys[first] = if third < length {
                self.previous[third] = narrow(first);
                let fourth = usize::from(self.next[third]);
                Self::key(ranks.rank(text, start + first, start + fourth), first)
            } else {
                Self::NONE
            };
            if first > 0 {
                let previous = usize::from(self.previous[first]);
                let rank = ranks.rank(text, start + previous, start + third);
                self.keys[previous] = Self::key(rank, previous);
            }
        }
    }
}

/// A place in a short piece, or its end.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a short piece has 128 bytes at most"
)]
#[inline]
fn narrow(offset: usize) -> u8 {
    offset as u8
}

/// The lowest of keys whose number is a multiple of `Parts::LANES`.
#[inline]
fn lowest(keys: &[i32]) -> i32 {
    let mut lowest = [Parts::NONE; Parts::LANES];
    for chunk in keys.chunks_exact(Parts::LANES) {
        for (lowest, &key) in lowest.iter_mut().zip(chunk) {
            *lowest = key.min(*lowest);
        }
    }
    lowest.into_iter().fold(Parts::NONE, i32::min)
}

/// One byte of a window, or the part that begins with it.
#[derive(Clone, Copy)]
struct Part {
    previous: usize,
    /// Where the next part starts, from the window's start.
    next: usize,
    /// The rank of this part joined with the next; `NO_RANK` when there is none, or no such part.
    rank: u32,
}

/// A rank (24 bits, the high ones) and a place (40 bits), which orders as the merging goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    const PLACE_BITS: u32 = 40;

    fn new(rank: u32, first: usize) -> Self {
        Self(u64::from(rank) << Self::PLACE_BITS | first as u64)
    }

    fn rank(self) -> u32 {
        (self.0 >> Self::PLACE_BITS) as u32
    }

    fn first(self) -> usize {
        (self.0 & ((1 << Self::PLACE_BITS) - 1)) as usize
    }
}

/// The memory that merging a window needs, kept from one to the next.
#[derive(Default)]
struct Window {
    parts: Vec<Part>,
    /// Ranks of two parts joined, and where the first one starts.
    queue: BinaryHeap<Reverse<Entry>>,
}

impl Window {
    /// Merges `text[start..end]`; `bounds` gets the start of each token, and the end.
    fn merge(
        &mut self,
        ranks: &RankTable,
        text: &[u8],
        start: usize,
        end: usize,
        bounds: &mut Vec<usize>,
    ) {
        let length = end - start;
        self.parts.clear();
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        queue.clear();
        for at in 0..length {
            let rank = if at + 1 < length {
                ranks
                    .pair(text[start + at], text[start + at + 1])
                    .unwrap_or(NO_RANK)
            } else {
                NO_RANK
            };
            if rank != NO_RANK {
                queue.push(Reverse(Entry::new(rank, at)));
            }
            self.parts.push(Part {
                previous: at.saturating_sub(1),
                next: at + 1,
                rank,
            });
        }
        self.queue = BinaryHeap::from(queue);
        while let Some(Reverse(entry)) = self.queue.pop() {
            let first = entry.first();
            if self.parts[first].rank != entry.rank() {
                continue; // the part, or its neighbour, has been merged since
            }
            let second = self.parts[first].next;
            let third = self.parts[second].next;
            self.parts[second].rank = NO_RANK;
            self.parts[first].next = third;
            if third < length {
                self.parts[third].previous = first;
            }
            self.rank_again(ranks, text, start, first, length);
            if first > 0 {
                let previous = self.parts[first].previous;
                self.rank_again(ranks, text, start, previous, length);
            }
        }
        bounds.clear();
        let mut at = 0;
        while at < length {
            bounds.push(start + at);
            at = self.parts[at].next;
        }
        bounds.push(end);
    }

    /// Looks up the rank of a part joined with the next one, after one of them has grown.
    fn rank_again(
        &mut self,
        ranks: &RankTable,
        text: &[u8],
        start: usize,
        first: usize,
        length: usize,
    ) {
        let second = self.parts[first].next;
        let rank = if second < length {
            let end = self.parts[second].next;
            ranks
                .rank(text, start + first, start + end)
                .unwrap_or(NO_RANK)
        } else {
            NO_RANK
        };
        self.parts[first].rank = rank;
        if rank != NO_RANK {
            self.queue.push(Reverse(Entry::new(rank, first)));
        }
    }
}
