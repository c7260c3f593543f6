//! All that is used of an account, as one value: it is replaced, never changed.

use std::sync::Arc;

use super::flow::Flow;
use super::log::{self, Change, DAY, HOUR, Log, NO_SLOT, NONE, Slot, TokenLog};
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
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The latest instant at which something was counted.
    clock: u64,
    second: Flow,
    minute: Flow,
    hour_last: u64,
    day_last: u64,
    tokens_last: Slot,
    tokens_used: u64,
    hour_used: u32,
    day_used: u32,
    /// How many leases were ever given, round and round; the account knows how many have ended.
    leases: u32,
    hour_words: u16,
    day_words: u16,
    /// What is older in the logs of the hour, of the day and of tokens, one behind the other.
    words: Option<Arc<[u64]>>,
}

/// What still counts at an instant.
#[derive(Clone, Copy)]
struct Live<'state> {
    hour: Log<'state>,
    day: Log<'state>,
    tokens: TokenLog<'state>,
    hour_used: u32,
    day_used: u32,
    tokens_used: u64,
}

/// What becomes of the logs.
struct Changes {
    hour: Change<u64>,
    day: Change<u64>,
    tokens: Change<Slot>,
}

impl Live<'_> {
    fn unchanged(&self) -> Changes {
        Changes {
            hour: self.hour.unchanged(),
            day: self.day.unchanged(),
            tokens: self.tokens.unchanged(),
        }
    }
}

impl State {
    /// Nothing used, and an instant before which nothing happens.
    pub(super) fn since(clock: u64) -> Self {
        Self {
            clock,
            second: Flow::default(),
            minute: Flow::default(),
            hour_last: NONE,
            day_last: NONE,
            tokens_last: NO_SLOT,
            tokens_used: 0,
            hour_used: 0,
            day_used: 0,
            leases: 0,
            hour_words: 0,
            day_words: 0,
            words: None,
        }
    }

    /// The instant that now is: a clock that goes back stands still.
    fn now(&self, now: u64) -> u64 {
        now.max(self.clock)
    }

    /// How many leases are under way, of which so many have ended; at least, since some of those may
    /// have been given after this state: then another one is in its place.
    fn under_way(&self, ended: u32) -> u32 {
        let under_way = self.leases.wrapping_sub(ended).cast_signed();
        u32::try_from(under_way).unwrap_or(0)
    }

    /// What still counts at an instant that is not before the clock.
    fn live(&self, now: u64) -> Live<'_> {
        let words = self.words.as_deref().unwrap_or_default();
        let (hour, rest) = words.split_at(usize::from(self.hour_words).min(words.len()));
        let (day, tokens) = rest.split_at(usize::from(self.day_words).min(rest.len()));
        let hour = Log {
            older: hour,
            last: self.hour_last,
        };
        let day = Log {
            older: day,
            last: self.day_last,
        };
        let tokens = TokenLog {
            older: tokens,
            last: self.tokens_last,
        };
        let (hour, hour_gone) = hour.at(&HOUR, now);
        let (day, day_gone) = day.at(&DAY, now);
        let (tokens, tokens_gone) = tokens.at(now);
        Live {
            hour,
            day,
            tokens,
            hour_used: less(self.hour_used, hour_gone),
            day_used: less(self.day_used, day_gone),
            tokens_used: self.tokens_used.saturating_sub(tokens_gone),
        }
    }

    /// The same, with these logs.
    fn with(&self, now: u64, live: &Live<'_>, changes: &Changes) -> Self {
        let (hour, day, tokens) = (
            &changes.hour.older,
            &changes.day.older,
            &changes.tokens.older,
        );
        let had = self.words.as_ref().map_or(0, |words| words.len());
        let kept = live.hour.older.len() + live.day.older.len() + live.tokens.older.len();
        let mut next = Self {
            clock: now,
            second: self.second,
            minute: self.minute,
            hour_last: changes.hour.last,
            day_last: changes.day.last,
            tokens_last: changes.tokens.last,
            tokens_used: live.tokens_used,
            hour_used: live.hour_used,
            day_used: live.day_used,
            leases: self.leases,
            hour_words: self.hour_words,
            day_words: self.day_words,
            words: None,
        };
        if kept == had && hour.is_none() && day.is_none() && tokens.is_none() {
            next.words.clone_from(&self.words);
            return next;
        }
        let hour = hour.cut(live.hour.older);
        let day = day.cut(live.day.older);
        let tokens = tokens.cut(live.tokens.older);
        let all = (hour.0.iter().chain(hour.1).chain(hour.2))
            .chain(day.0.iter().chain(day.1).chain(day.2))
            .chain(tokens.0.iter().chain(tokens.1).chain(tokens.2))
            .copied();
        let some = all.size_hint().0 > 0;
        next.words = some.then(|| all.collect());
        // A log has a few hundred words at most.
        let words_of = |log: (&[u64], &[u64], &[u64])| {
            u16::try_from(log.0.len() + log.1.len() + log.2.len()).unwrap_or(u16::MAX)
        };
        next.hour_words = words_of(hour);
        next.day_words = words_of(day);
        next
    }

    /// What it is after one more request, unless a limit refuses it.
    pub(super) fn admit(
        &self,
        policy: &Policy,
        ended: u32,
        tokens: u64,
        now: u64,
    ) -> Option<(Self, Marks)> {
        let now = self.now(now);
        let mut live = self.live(now);
        let mut changes = live.unchanged();
        let (mut second, mut minute, mut leases) = (self.second, self.minute, self.leases);
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
            (changes.hour, marks.hour) = live.hour.add(&HOUR, limit, now);
            live.hour_used += 1;
        }
        if let Some(limit) = policy.day {
            if live.day_used >= limit {
                return None;
            }
            (changes.day, marks.day) = live.day.add(&DAY, limit, now);
            live.day_used += 1;
        }
        if let Some(limit) = policy.tokens {
            if limit == 0 || live.tokens_used.saturating_add(tokens) > limit {
                return None;
            }
            marks.tokens = log::token_slot(now);
            (changes.tokens, _, _) = live.tokens.shift(marks.tokens, tokens, 0);
            live.tokens_used += tokens;
        }
        if let Some(limit) = policy.concurrent {
            if self.under_way(ended) >= limit {
                return None;
            }
            leases = leases.wrapping_add(1);
        }
        let mut next = self.with(now, &live, &changes);
        (next.second, next.minute, next.leases) = (second, minute, leases);
        Some((next, marks))
    }

    /// Every limit that refuses one more request.
    pub(super) fn full(
        &self,
        policy: &Policy,
        ended: u32,
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
        for (name, limit, used, log, window) in logs {
            let Some(limit) = limit.filter(|&limit| used >= limit) else {
                continue;
            };
            let limit = u64::from(limit);
            let wait = if limit == 0 {
                Wait::Never
            } else {
                Wait::For(log.free(&window, u64::from(used), limit) - given)
            };
            see(name, limit, 1, wait);
        }
        if let Some(full) = self.full_of_tokens(policy, tokens, given) {
            see(full.limit, full.allowed, full.requested, full.wait);
        }
        if let Some(limit) = policy
            .concurrent
            .filter(|&limit| self.under_way(ended) >= limit)
        {
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
                let free = live.tokens.free(live.tokens_used, tokens, limit);
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
        let mut changes = live.unchanged();
        (changes.tokens, _, _) = live.tokens.shift(end, tokens, 0);
        live.tokens_used += tokens;
        Some((self.with(now, &live, &changes), end))
    }

    /// What it is with `more` tokens in a slot and `less` fewer, if that still counts.
    pub(super) fn correct(&self, end: u64, more: u64, less: u64, now: u64) -> Self {
        let now = self.now(now);
        let mut live = self.live(now);
        let mut changes = live.unchanged();
        if log::counts(end, now) {
            let (change, added, taken) = live.tokens.shift(end, more, less);
            changes.tokens = change;
            live.tokens_used = (live.tokens_used.saturating_add(added)).saturating_sub(taken);
        }
        self.with(now, &live, &changes)
    }

    /// What it is without a request's place in the hour and the day.
    pub(super) fn take_back(&self, marks: Marks, now: u64) -> Self {
        let now = self.now(now);
        let mut live = self.live(now);
        let mut changes = live.unchanged();
        if marks.hour != NONE
            && let Some(change) = live.hour.take_back(marks.hour)
        {
            changes.hour = change;
            live.hour_used = live.hour_used.saturating_sub(1);
        }
        if marks.day != NONE
            && let Some(change) = live.day.take_back(marks.day)
        {
            changes.day = change;
            live.day_used = live.day_used.saturating_sub(1);
        }
        self.with(now, &live, &changes)
    }

    /// How each limit stands.
    pub(super) fn stand(
        &self,
        policy: &Policy,
        ended: u32,
        given: u64,
        mut seen: impl FnMut(Stand),
    ) {
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
                live.hour.until(&HOUR),
            ),
            (
                LimitName::PerDay,
                policy.day,
                live.day_used,
                live.day.until(&DAY),
            ),
        ];
        for (name, limit, used, until) in logs {
            let Some(limit) = limit else { continue };
            let remaining = limit.saturating_sub(used);
            see(name, u64::from(limit), u64::from(remaining), Some(until));
        }
        if let Some(limit) = policy.tokens {
            let remaining = limit.saturating_sub(live.tokens_used);
            let until = live.tokens.until();
            see(LimitName::TokensPerMinute, limit, remaining, Some(until));
        }
        if let Some(limit) = policy.concurrent {
            let remaining = limit.saturating_sub(self.under_way(ended));
            see(
                LimitName::Concurrent,
                u64::from(limit),
                u64::from(remaining),
                None,
            );
        }
    }

    /// Whether nothing of it is used any more.
    pub(super) fn is_idle(&self, ended: u32, now: u64) -> bool {
        let now = self.now(now);
        let live = self.live(now);
        self.under_way(ended) == 0
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
