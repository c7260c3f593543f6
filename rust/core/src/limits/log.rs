//! Logs of what was admitted: words, the oldest first, and the newest apart, so that one more request
//! in the newest slot copies nothing.
//!
//! A log of requests has a word for each instant. An instant of its own is the word itself; a slot has
//! the highest bit, its number in 28 bits, and in 32 bits how many were admitted in it. What is in a
//! slot counts as admitted at the slot's end, so that it is never forgotten too soon. A log of tokens
//! has two words for each slot: its end, and how many.

const SLOT: u64 = 1 << 63;
const COUNT_BITS: u32 = 32;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

const SECOND_NS: u64 = 1_000_000_000;

/// Up to so many requests in a window, each has its own instant; of more, a window has so many slots.
const FINE: u32 = 120;

/// No instant and no slot.
pub(super) const NONE: u64 = u64::MAX;

/// A window that slides.
pub(super) struct Window {
    span: u64,
    slot: u64,
}

impl Window {
    const fn of(seconds: u64) -> Self {
        let span = seconds * SECOND_NS;
        Self {
            span,
            slot: span / FINE as u64,
        }
    }
}

pub(super) const HOUR: Window = Window::of(3_600);
pub(super) const DAY: Window = Window::of(86_400);

/// What tokens count for.
pub(super) const TOKENS_NS: u64 = 60 * SECOND_NS;

/// A change of a log: some words in the place of others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Splice {
    at: usize,
    removed: usize,
    words: [u64; 2],
    count: usize,
}

impl Splice {
    fn one(at: usize, removed: usize, word: u64) -> Self {
        Self {
            at,
            removed,
            words: [word, 0],
            count: 1,
        }
    }

    fn two(at: usize, removed: usize, words: [u64; 2]) -> Self {
        Self {
            at,
            removed,
            words,
            count: 2,
        }
    }

    fn without(at: usize, removed: usize) -> Self {
        Self {
            at,
            removed,
            ..Self::default()
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.removed == 0 && self.count == 0
    }

    /// The words before it, of it, and after it.
    pub(super) fn cut<'words>(
        &'words self,
        words: &'words [u64],
    ) -> (&'words [u64], &'words [u64], &'words [u64]) {
        let (before, rest) = words.split_at(self.at.min(words.len()));
        let after = rest.get(self.removed..).unwrap_or_default();
        (
            before,
            self.words.get(..self.count).unwrap_or_default(),
            after,
        )
    }
}

/// When a word's requests count as admitted.
fn instant(word: u64, window: &Window) -> u64 {
    if word & SLOT == 0 {
        word
    } else {
        ((word & !SLOT) >> COUNT_BITS) * window.slot
    }
}

fn count(word: u64) -> u64 {
    if word & SLOT == 0 { 1 } else { word & COUNT }
}

/// From when on a word's requests count no more.
fn until(word: u64, window: &Window) -> u64 {
    instant(word, window) + window.span
}

/// Of a log, how many words count no more, and how many of what it counts they are.
type Gone = (usize, u64);

/// A log of requests, as it is at an instant.
#[derive(Clone, Copy)]
pub(super) struct Log<'words> {
    pub(super) older: &'words [u64],
    /// The newest word, `NONE` of a log that is empty.
    pub(super) last: u64,
}

/// What becomes of a log.
#[derive(Clone, Copy)]
pub(super) struct Change<Last> {
    pub(super) older: Splice,
    pub(super) last: Last,
}

impl<'words> Log<'words> {
    pub(super) const EMPTY: Self = Self {
        older: &[],
        last: NONE,
    };

    /// What still counts of it, and how many requests do no more.
    pub(super) fn at(self, window: &Window, now: u64) -> (Self, u64) {
        let mut gone: Gone = (0, 0);
        for &word in self.older {
            if until(word, window) > now {
                break;
            }
            gone.0 += 1;
            gone.1 += count(word);
        }
        let older = self.older.get(gone.0..).unwrap_or_default();
        let over = older.is_empty() && self.last != NONE && until(self.last, window) <= now;
        if over {
            (Self::EMPTY, gone.1 + count(self.last))
        } else {
            (Self { older, ..self }, gone.1)
        }
    }

    fn words(self) -> impl Iterator<Item = u64> + 'words {
        let last = (self.last != NONE).then_some(self.last);
        self.older.iter().copied().chain(last)
    }

    pub(super) fn is_empty(self) -> bool {
        self.last == NONE
    }

    pub(super) fn unchanged(self) -> Change<u64> {
        Change {
            older: Splice::default(),
            last: self.last,
        }
    }

    /// From when on nothing counts.
    pub(super) fn until(self, window: &Window) -> u64 {
        if self.is_empty() {
            0
        } else {
            until(self.last, window)
        }
    }

    /// One more request, and by what it is found again.
    pub(super) fn add(self, window: &Window, limit: u32, now: u64) -> (Change<u64>, u64) {
        let mark = if limit <= FINE {
            now
        } else {
            SLOT | (now.div_ceil(window.slot) << COUNT_BITS)
        };
        let moment = instant(mark, window);
        let change = if self.is_empty() {
            Change {
                older: Splice::default(),
                last: first(mark),
            }
        } else if is_slot(self.last, mark) {
            Change {
                older: Splice::default(),
                last: self.last + 1,
            }
        } else if instant(self.last, window) < moment {
            Change {
                older: Splice::one(self.older.len(), 0, self.last),
                last: first(mark),
            }
        } else {
            // A slot's end is later than now, or another request is of the same instant.
            Change {
                older: insert(self.older, window, mark, moment),
                last: self.last,
            }
        };
        (change, mark)
    }

    /// Without a request that was added under a mark, if it is still there.
    pub(super) fn take_back(self, mark: u64) -> Option<Change<u64>> {
        let is_it = |word| word == mark || is_slot(word, mark);
        let fewer = |word| (mark & SLOT != 0 && word & COUNT > 1).then(|| word - 1);
        if !is_it(self.last) {
            let place = self.older.iter().rposition(|&word| is_it(word))?;
            let word = self.older.get(place).copied().and_then(fewer);
            return Some(Change {
                older: word.map_or(Splice::without(place, 1), |word| {
                    Splice::one(place, 1, word)
                }),
                last: self.last,
            });
        }
        Some(match (fewer(self.last), self.older.split_last()) {
            (Some(last), _) => Change {
                older: Splice::default(),
                last,
            },
            (None, Some((&last, rest))) => Change {
                older: Splice::without(rest.len(), 1),
                last,
            },
            (None, None) => Self::EMPTY.unchanged(),
        })
    }

    /// From when on `used` are fewer than the limit, which is above 0.
    pub(super) fn free(self, window: &Window, mut used: u64, limit: u64) -> u64 {
        for word in self.words() {
            used = used.saturating_sub(count(word));
            if used < limit {
                return until(word, window);
            }
        }
        0
    }
}

fn first(mark: u64) -> u64 {
    if mark & SLOT == 0 { mark } else { mark + 1 }
}

/// Whether a word is the slot that a mark names.
fn is_slot(word: u64, mark: u64) -> bool {
    mark & SLOT != 0 && word != NONE && word & !COUNT == mark
}

fn insert(words: &[u64], window: &Window, mark: u64, moment: u64) -> Splice {
    for (place, &word) in words.iter().enumerate().rev() {
        if is_slot(word, mark) {
            return Splice::one(place, 1, word + 1);
        }
        if instant(word, window) < moment {
            return Splice::one(place + 1, 0, first(mark));
        }
    }
    Splice::one(0, 0, first(mark))
}

/// A slot of tokens: its end, and how many.
pub(super) type Slot = [u64; 2];

pub(super) const NO_SLOT: Slot = [NONE, 0];

/// A log of tokens, as it is at an instant.
#[derive(Clone, Copy)]
pub(super) struct TokenLog<'words> {
    pub(super) older: &'words [u64],
    pub(super) last: Slot,
}

/// The end of the slot that tokens of now are in.
pub(super) fn token_slot(now: u64) -> u64 {
    now.div_ceil(SECOND_NS) * SECOND_NS
}

/// Whether a slot of tokens still counts.
pub(super) fn counts(end: u64, now: u64) -> bool {
    end + TOKENS_NS > now
}

/// A slot with so many more tokens and so many fewer; and how many there are more and fewer indeed.
fn shifted([end, had]: Slot, more: u64, less: u64) -> (Option<Slot>, u64, u64) {
    let added = had.saturating_add(more);
    let left = added.saturating_sub(less);
    ((left > 0).then_some([end, left]), added - had, added - left)
}

impl TokenLog<'_> {
    pub(super) const EMPTY: Self = Self {
        older: &[],
        last: NO_SLOT,
    };

    /// What still counts of it, and how many tokens do no more.
    pub(super) fn at(self, now: u64) -> (Self, u64) {
        let mut gone: Gone = (0, 0);
        for &[end, tokens] in self.older.as_chunks::<2>().0 {
            if counts(end, now) {
                break;
            }
            gone.0 += 2;
            gone.1 += tokens;
        }
        let older = self.older.get(gone.0..).unwrap_or_default();
        let [end, tokens] = self.last;
        if older.is_empty() && end != NONE && !counts(end, now) {
            (Self::EMPTY, gone.1 + tokens)
        } else {
            (Self { older, ..self }, gone.1)
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.last == NO_SLOT
    }

    pub(super) fn unchanged(self) -> Change<Slot> {
        Change {
            older: Splice::default(),
            last: self.last,
        }
    }

    /// From when on no tokens count.
    pub(super) fn until(self) -> u64 {
        if self.is_empty() {
            0
        } else {
            self.last[0] + TOKENS_NS
        }
    }

    /// From when on so many more tokens fit; they are no more than the limit.
    pub(super) fn free(self, mut used: u64, more: u64, limit: u64) -> u64 {
        let last = (!self.is_empty()).then_some(&self.last);
        for [end, tokens] in self.older.as_chunks::<2>().0.iter().chain(last) {
            used = used.saturating_sub(*tokens);
            if used.saturating_add(more) <= limit {
                return end + TOKENS_NS;
            }
        }
        0
    }

    /// A slot with so many more tokens and so many fewer; and how many there are more and fewer indeed.
    pub(super) fn shift(self, end: u64, more: u64, less: u64) -> (Change<Slot>, u64, u64) {
        let slots = self.older.as_chunks::<2>().0;
        let is_newer = self.is_empty() || self.last[0] < end;
        if is_newer {
            let (slot, added, taken) = shifted([end, 0], more, less);
            let change = match slot {
                Some(last) if self.is_empty() => Change {
                    older: Splice::default(),
                    last,
                },
                Some(last) => Change {
                    older: Splice::two(self.older.len(), 0, self.last),
                    last,
                },
                None => self.unchanged(),
            };
            return (change, added, taken);
        }
        if self.last[0] == end {
            let (slot, added, taken) = shifted(self.last, more, less);
            let change = match (slot, slots.split_last()) {
                (Some(last), _) => Change {
                    older: Splice::default(),
                    last,
                },
                (None, Some((&last, rest))) => Change {
                    older: Splice::without(rest.len() * 2, 2),
                    last,
                },
                (None, None) => TokenLog::EMPTY.unchanged(),
            };
            return (change, added, taken);
        }
        let place = slots.partition_point(|[other, _]| *other < end);
        let (had, removed) = match slots.get(place) {
            Some(&[other, had]) if other == end => (had, 2),
            _ => (0, 0),
        };
        let (slot, added, taken) = shifted([end, had], more, less);
        let older = match slot {
            Some(slot) => Splice::two(place * 2, removed, slot),
            None => Splice::without(place * 2, removed),
        };
        let change = Change {
            older,
            last: self.last,
        };
        (change, added, taken)
    }
}
