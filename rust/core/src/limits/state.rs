//! All that is used of an account, as one value: it is replaced, never changed.

use std::sync::Arc;

use super::flow::Flow;
use super::log::{self, DAY, HOUR, NONE, Splice};
use super::policy::{LimitName, Policy};

pub(super) const SECOND_NS: u64 = 1_000_000_000;
pub(super) const MINUTE_NS: u64 = 60 * SECOND_NS;

/// When a request would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    /// In so many nanoseconds.
    For(u64),
    /// When a lease has ended.
    Lease,
    /// Never: it is larger than the whole limit.
    Never,
}

/// A limit that refuses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    pub(super) limit: LimitName,
    pub(super) allowed: u64,
    pub(super) requested: u64,
    pub(super) wait: Wait,
}

/// How one limit stands; `reset_ns` is counted from now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) limit: LimitName,
    pub(super) allowed: u64,
    pub(super) remaining: u64,
    pub(super) reset_ns: Option<u64>,
}

/// By what a request's traces are found again; `NONE` where it left none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) hour: u64,
    pub(super) day: u64,
    /// The end of the slot that its tokens are in.
    pub(super) tokens: u64,
}

/// What is used of an account.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The latest instant at which something was counted.
    clock: u64,
    second: Flow,
    minute: Flow,
    tokens_used: u64,
    hour_used: u32,
    day_used: u32,
    leases: u32,
    hour_words: u16,
    day_words: u16,
    /// The logs of the hour, of the day and of tokens, one behind the other.
    words: Option<Arc<[u64]>>,
}

/// What still counts at an instant.
#[derive(Clone, Copy, Default)]
struct Live<'state> {
    hour: &'state [u64],
    day: &'state [u64],
    tokens: &'state [u64],
    hour_used: u32,
    day_used: u32,
    tokens_used: u64,
}

/// Changes of the logs, as they are at an instant.
#[derive(Default)]
struct Edits {
    hour: Splice,
    day: Splice,
    tokens: Splice,
}

impl State {
    /// Nothing used, and an instant before which nothing happens.
    pub(super) fn since(clock: u64) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// The instant that now is: a clock that goes back stands still.
    pub(super) fn now(&self, now: u64) -> u64 {
        now.max(self.clock)
    }

    /// What still counts at an instant that is not before the clock.
    fn live(&self, now: u64) -> Live<'_> {
        let Some(words) = &self.words else {
            return Live::default();
        };
        let (hour, rest) = words.split_at(usize::from(self.hour_words).min(words.len()));
        let (day, tokens) = rest.split_at(usize::from(self.day_words).min(rest.len()));
        let (hour_gone, hour_less) = log::expired(hour, &HOUR, now);
        let (day_gone, day_less) = log::expired(day, &DAY, now);
        let (tokens_gone, tokens_less) = log::expired_tokens(tokens, now);
        Live {
            hour: hour.get(hour_gone..).unwrap_or_default(),
            day: day.get(day_gone..).unwrap_or_default(),
            tokens: tokens.get(tokens_gone..).unwrap_or_default(),
            hour_used: less(self.hour_used, hour_less),
            day_used: less(self.day_used, day_less),
            tokens_used: self.tokens_used.saturating_sub(tokens_less),
        }
    }

    /// The same, with these logs.
    fn with(&self, now: u64, live: &Live<'_>, edits: &Edits) -> Self {
        let (hour, day, tokens) = (
            edits.hour.cut(live.hour),
            edits.day.cut(live.day),
            edits.tokens.cut(live.tokens),
        );
        let kept = live.hour.len() + live.day.len() + live.tokens.len();
        let had = self.words.as_ref().map_or(0, |words| words.len());
        let untouched = edits.hour.is_none() && edits.day.is_none() && edits.tokens.is_none();
        let words = if untouched && kept == had {
            self.words.clone()
        } else {
            let all = (hour.0.iter().chain(hour.1).chain(hour.2))
                .chain(day.0.iter().chain(day.1).chain(day.2))
                .chain(tokens.0.iter().chain(tokens.1).chain(tokens.2))
                .copied();
            let some = all.size_hint().0 > 0;
            some.then(|| all.collect())
        };
        let words_of = |log: (&[u64], &[u64], &[u64])| {
            // A log has a few hundred words at most.
            u16::try_from(log.0.len() + log.1.len() + log.2.len()).unwrap_or(u16::MAX)
        };
        Self {
            clock: now,
            second: self.second,
            minute: self.minute,
            tokens_used: live.tokens_used,
            hour_used: live.hour_used,
            day_used: live.day_used,
            leases: self.leases,
            hour_words: words_of(hour),
            day_words: words_of(day),
            words,
        }
    }

    /// What it is after one more request, unless a limit refuses it.
    pub(super) fn admit(&self, policy: &Policy, tokens: u64, now: u64) -> Option<(Self, Marks)> {
        let now = self.now(now);
        let live = self.live(now);
        let mut edits = Edits::default();
        let (mut second, mut minute, mut leases) = (self.second, self.minute, self.leases);
        let mut counted = live;
        let mut marks = Marks {
            hour: NONE,
            day: NONE,
            tokens: NONE,
        };
        if let Some(rate) = policy.second {
            second = second.admit(rate, SECOND_NS, now)?;
        }
        if let Some(rate) = policy.minute {
            minute = minute.admit(rate, MINUTE_NS, now)?;
        }
        if let Some(limit) = policy.hour {
            if live.hour_used >= limit {
                return None;
            }
            (edits.hour, marks.hour) = log::add(live.hour, &HOUR, limit, now);
            counted.hour_used += 1;
        }
        if let Some(limit) = policy.day {
            if live.day_used >= limit {
                return None;
            }
            (edits.day, marks.day) = log::add(live.day, &DAY, limit, now);
            counted.day_used += 1;
        }
        if let Some(limit) = policy.tokens {
            if limit == 0 || live.tokens_used.saturating_add(tokens) > limit {
                return None;
            }
            marks.tokens = log::token_slot(now);
            (edits.tokens, _, _) = log::shift_tokens(live.tokens, marks.tokens, tokens, 0);
            counted.tokens_used += tokens;
        }
        if let Some(limit) = policy.concurrent {
            if leases >= limit {
                return None;
            }
            leases += 1;
        }
        let next = Self {
            second,
            minute,
            leases,
            ..self.with(now, &counted, &edits)
        };
        Some((next, marks))
    }

    /// Every limit that refuses one more request.
    pub(super) fn full(
        &self,
        policy: &Policy,
        tokens: u64,
        given: u64,
        mut seen: impl FnMut(Full),
    ) {
        let now = self.now(given);
        let live = self.live(now);
        let mut see = |limit, allowed, requested, wait| {
            seen(Full {
                limit,
                allowed,
                requested,
                wait,
            });
        };
        let flows = [
            (LimitName::PerSecond, policy.second, self.second, SECOND_NS),
            (LimitName::PerMinute, policy.minute, self.minute, MINUTE_NS),
        ];
        for (name, rate, flow, span) in flows {
            let Some(rate) = rate else { continue };
            let wait = match flow.wait(rate, span, now) {
                _ if rate.limit == 0 => Wait::Never,
                0 => continue,
                wait => Wait::For(now - given + wait),
            };
            see(name, u64::from(rate.limit), 1, wait);
        }
        let logs = [
            (
                LimitName::PerHour,
                policy.hour,
                live.hour_used,
                live.hour,
                HOUR,
            ),
            (LimitName::PerDay, policy.day, live.day_used, live.day, DAY),
        ];
        for (name, limit, used, words, window) in logs {
            let Some(limit) = limit.filter(|&limit| used >= limit) else {
                continue;
            };
            let limit = u64::from(limit);
            let wait = if limit == 0 {
                Wait::Never
            } else {
                Wait::For(log::free(words, &window, u64::from(used), limit) - given)
            };
            see(name, limit, 1, wait);
        }
        if let Some(full) = self.full_of_tokens(policy, tokens, given) {
            see(full.limit, full.allowed, full.requested, full.wait);
        }
        if let Some(limit) = policy.concurrent.filter(|&limit| self.leases >= limit) {
            let wait = if limit == 0 { Wait::Never } else { Wait::Lease };
            see(LimitName::Concurrent, u64::from(limit), 1, wait);
        }
    }

    /// The limit of tokens, if it refuses so many more.
    pub(super) fn full_of_tokens(&self, policy: &Policy, tokens: u64, given: u64) -> Option<Full> {
        let limit = policy.tokens?;
        let live = self.live(self.now(given));
        let fits = limit > 0 && live.tokens_used.saturating_add(tokens) <= limit;
        (!fits).then(|| Full {
            limit: LimitName::TokensPerMinute,
            allowed: limit,
            requested: tokens,
            wait: if limit == 0 || tokens > limit {
                Wait::Never
            } else {
                let free = log::free_tokens(live.tokens, live.tokens_used, tokens, limit);
                Wait::For(free - given)
            },
        })
    }

    /// What it is with so many more tokens, unless the limit refuses them; and their slot.
    pub(super) fn reserve(&self, policy: &Policy, tokens: u64, now: u64) -> Option<(Self, u64)> {
        let now = self.now(now);
        let mut live = self.live(now);
        let limit = policy.tokens?;
        if limit == 0 || live.tokens_used.saturating_add(tokens) > limit {
            return None;
        }
        let end = log::token_slot(now);
        let (splice, _, _) = log::shift_tokens(live.tokens, end, tokens, 0);
        let edits = Edits {
            tokens: splice,
            ..Edits::default()
        };
        let words = live;
        live.tokens_used += tokens;
        Some((
            self.with(
                now,
                &Live {
                    tokens: words.tokens,
                    ..live
                },
                &edits,
            ),
            end,
        ))
    }

    /// What it is with `more` tokens in a slot and `less` fewer, if that still counts.
    pub(super) fn correct(&self, end: u64, more: u64, less: u64, now: u64) -> Self {
        let now = self.now(now);
        let mut live = self.live(now);
        let mut edits = Edits::default();
        if log::counts(end, now) {
            let (splice, added, taken) = log::shift_tokens(live.tokens, end, more, less);
            edits.tokens = splice;
            live.tokens_used = live.tokens_used.saturating_add(added).saturating_sub(taken);
        }
        self.with(now, &live, &edits)
    }

    /// What it is without a request's place in the hour and the day.
    pub(super) fn take_back(&self, marks: Marks, now: u64) -> Self {
        let now = self.now(now);
        let mut live = self.live(now);
        let mut edits = Edits::default();
        if marks.hour != NONE
            && let Some(splice) = log::take_back(live.hour, marks.hour)
        {
            edits.hour = splice;
            live.hour_used = live.hour_used.saturating_sub(1);
        }
        if marks.day != NONE
            && let Some(splice) = log::take_back(live.day, marks.day)
        {
            edits.day = splice;
            live.day_used = live.day_used.saturating_sub(1);
        }
        self.with(now, &live, &edits)
    }

    /// What it is with one lease less.
    pub(super) fn end_lease(&self) -> Self {
        Self {
            leases: self.leases.saturating_sub(1),
            ..self.clone()
        }
    }

    /// How each limit stands.
    pub(super) fn stand(&self, policy: &Policy, given: u64, mut seen: impl FnMut(Stand)) {
        let now = self.now(given);
        let live = self.live(now);
        let mut see = |limit, allowed, remaining, until: Option<u64>| {
            // What is over at an instant that is now, or that a clock gone back has yet to reach again.
            let reset_ns = until.map(|until| if until <= now { 0 } else { until - given });
            seen(Stand {
                limit,
                allowed,
                remaining,
                reset_ns,
            });
        };
        let flows = [
            (LimitName::PerSecond, policy.second, self.second, SECOND_NS),
            (LimitName::PerMinute, policy.minute, self.minute, MINUTE_NS),
        ];
        for (name, rate, flow, span) in flows {
            let Some(rate) = rate else { continue };
            let remaining = flow.remaining(rate, span, now);
            see(name, u64::from(rate.limit), remaining, Some(flow.until()));
        }
        let logs = [
            (
                LimitName::PerHour,
                policy.hour,
                live.hour_used,
                log::last(live.hour, &HOUR),
            ),
            (
                LimitName::PerDay,
                policy.day,
                live.day_used,
                log::last(live.day, &DAY),
            ),
        ];
        for (name, limit, used, until) in logs {
            let Some(limit) = limit else { continue };
            let remaining = limit.saturating_sub(used);
            see(name, u64::from(limit), u64::from(remaining), Some(until));
        }
        if let Some(limit) = policy.tokens {
            let remaining = limit.saturating_sub(live.tokens_used);
            let until = log::last_tokens(live.tokens);
            see(LimitName::TokensPerMinute, limit, remaining, Some(until));
        }
        if let Some(limit) = policy.concurrent {
            let remaining = limit.saturating_sub(self.leases);
            see(
                LimitName::Concurrent,
                u64::from(limit),
                u64::from(remaining),
                None,
            );
        }
    }

    /// Whether nothing of it is used any more.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        let now = self.now(now);
        let live = self.live(now);
        self.leases == 0
            && self.second.until() <= now
            && self.minute.until() <= now
            && live.hour.is_empty()
            && live.day.is_empty()
            && live.tokens.is_empty()
    }
}

fn less(used: u32, gone: u64) -> u32 {
    used.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
}
