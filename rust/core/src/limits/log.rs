//! Logs of what was admitted: words, the oldest first.
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

/// How many words count no more, and how many requests they are.
pub(super) fn expired(words: &[u64], window: &Window, now: u64) -> (usize, u64) {
    let mut gone = (0, 0);
    for &word in words {
        if until(word, window) > now {
            break;
        }
        gone.0 += 1;
        gone.1 += count(word);
    }
    gone
}

/// From when on nothing counts.
pub(super) fn last(words: &[u64], window: &Window) -> u64 {
    words.last().map_or(0, |&word| until(word, window))
}

/// One more request, and by what it is found again.
pub(super) fn add(words: &[u64], window: &Window, limit: u32, now: u64) -> (Splice, u64) {
    let mark = if limit <= FINE {
        now
    } else {
        SLOT | (now.div_ceil(window.slot) << COUNT_BITS)
    };
    let moment = instant(mark, window);
    // Nearly always it is the last: only a slot's end, or another limit, may be later than now.
    for (place, &word) in words.iter().enumerate().rev() {
        if mark & SLOT != 0 && word & !COUNT == mark && word & SLOT != 0 {
            return (Splice::one(place, 1, word + 1), mark);
        }
        if instant(word, window) < moment {
            return (Splice::one(place + 1, 0, first(mark)), mark);
        }
    }
    (Splice::one(0, 0, first(mark)), mark)
}

fn first(mark: u64) -> u64 {
    if mark & SLOT == 0 { mark } else { mark + 1 }
}

/// Without a request that was added under a mark, if it is still there.
pub(super) fn take_back(words: &[u64], mark: u64) -> Option<Splice> {
    if mark & SLOT == 0 {
        let place = words.iter().rposition(|&word| word == mark)?;
        return Some(Splice::without(place, 1));
    }
    let same = |&word: &u64| word & SLOT != 0 && word & !COUNT == mark;
    let place = words.iter().rposition(same)?;
    match words.get(place) {
        Some(&word) if word & COUNT > 1 => Some(Splice::one(place, 1, word - 1)),
        _ => Some(Splice::without(place, 1)),
    }
}

/// From when on `used` are fewer than the limit, which is above 0.
pub(super) fn free(words: &[u64], window: &Window, mut used: u64, limit: u64) -> u64 {
    for &word in words {
        used = used.saturating_sub(count(word));
        if used < limit {
            return until(word, window);
        }
    }
    0
}

/// The end of the slot that tokens of now are in.
pub(super) fn token_slot(now: u64) -> u64 {
    now.div_ceil(SECOND_NS) * SECOND_NS
}

/// Whether a slot of tokens still counts.
pub(super) fn counts(end: u64, now: u64) -> bool {
    end + TOKENS_NS > now
}

/// How many words count no more, and how many tokens they are.
pub(super) fn expired_tokens(words: &[u64], now: u64) -> (usize, u64) {
    let mut gone = (0, 0);
    for pair in words.as_chunks::<2>().0 {
        let [end, tokens] = *pair;
        if counts(end, now) {
            break;
        }
        gone.0 += 2;
        gone.1 += tokens;
    }
    gone
}

/// From when on no tokens count.
pub(super) fn last_tokens(words: &[u64]) -> u64 {
    let last = words.as_chunks::<2>().0.last();
    last.map_or(0, |[end, _]| end + TOKENS_NS)
}

/// From when on so many more tokens fit; they are no more than the limit.
pub(super) fn free_tokens(words: &[u64], mut used: u64, more: u64, limit: u64) -> u64 {
    for [end, tokens] in words.as_chunks::<2>().0 {
        used = used.saturating_sub(*tokens);
        if used.saturating_add(more) <= limit {
            return end + TOKENS_NS;
        }
    }
    0
}

/// A slot's tokens, `tokens` more and `less` fewer; and how many there are more and fewer indeed.
pub(super) fn shift_tokens(words: &[u64], end: u64, tokens: u64, less: u64) -> (Splice, u64, u64) {
    let slots = words.as_chunks::<2>().0;
    let place = slots.iter().rposition(|[other, _]| *other <= end);
    let found = place.and_then(|place| slots.get(place).map(|slot| (place, *slot)));
    match found {
        Some((place, [other, had])) if other == end => {
            let added = had.saturating_add(tokens);
            let left = added.saturating_sub(less);
            let splice = if left == 0 {
                Splice::without(place * 2, 2)
            } else {
                Splice::two(place * 2, 2, [end, left])
            };
            (splice, added - had, added - left)
        }
        _ => {
            let left = tokens.saturating_sub(less);
            let at = place.map_or(0, |place| place * 2 + 2);
            let splice = if left == 0 {
                Splice::default()
            } else {
                Splice::two(at, 0, [end, left])
            };
            (splice, left, 0)
        }
    }
}
