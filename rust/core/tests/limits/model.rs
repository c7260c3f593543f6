//! A limiter that is slow and obvious: it remembers every request, and counts.

use std::collections::BTreeMap;

use cascadeflow_core::limits::Limits;

use super::{DAY, HOUR, MINUTE, SECOND};

/// When the next request is due: a fraction of nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Due {
    numerator: u128,
    denominator: u128,
}

impl Due {
    fn new() -> Self {
        Self {
            numerator: 0,
            denominator: 1,
        }
    }

    /// The same, or now, in parts of a nanosecond of which a limit makes one.
    fn parts(self, limit: u128, now: u64) -> u128 {
        let parts = (self.numerator * limit).div_ceil(self.denominator);
        parts.max(u128::from(now) * limit)
    }

    fn passes(self, limit: u64, burst: u64, span: u64, now: u64) -> bool {
        let limit = u128::from(limit);
        limit > 0
            && self.parts(limit, now)
                <= u128::from(now) * limit + u128::from(burst) * u128::from(span)
    }

    fn pass(&mut self, limit: u64, span: u64, now: u64) {
        self.numerator = self.parts(limit.into(), now) + u128::from(span);
        self.denominator = limit.into();
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Account {
    clock: u64,
    second: Due,
    minute: Due,
    /// When each request counts as admitted.
    hour: Vec<u64>,
    day: Vec<u64>,
    /// Tokens by the end of the second that they were reserved in.
    tokens: BTreeMap<u64, u64>,
    leases: u64,
    permits: usize,
}

impl Account {
    fn new(clock: u64) -> Self {
        Self {
            clock,
            second: Due::new(),
            minute: Due::new(),
            hour: Vec::new(),
            day: Vec::new(),
            tokens: BTreeMap::new(),
            leases: 0,
            permits: 0,
        }
    }

    fn in_hour(&self, now: u64) -> u64 {
        count(&self.hour, HOUR, now)
    }

    fn in_day(&self, now: u64) -> u64 {
        count(&self.day, DAY, now)
    }

    fn token_sum(&self, now: u64) -> u64 {
        let counting = self.tokens.iter().filter(|(end, _)| *end + MINUTE > now);
        counting.map(|(_, tokens)| tokens).sum()
    }

    fn tokens_fit(&self, limit: u64, more: u64, now: u64) -> bool {
        limit > 0 && self.token_sum(now) + more <= limit
    }

    fn passes(&self, limits: &Limits, tokens: u64, now: u64) -> bool {
        let now = now.max(self.clock);
        let second = |(limit, burst)| self.second.passes(limit, burst, SECOND, now);
        let minute = |(limit, burst)| self.minute.passes(limit, burst, MINUTE, now);
        limits.per_second.is_none_or(second)
            && limits.per_minute.is_none_or(minute)
            && limits
                .per_hour
                .is_none_or(|limit| self.in_hour(now) < limit)
            && limits.per_day.is_none_or(|limit| self.in_day(now) < limit)
            && (limits.tokens_per_minute).is_none_or(|limit| self.tokens_fit(limit, tokens, now))
            && limits.concurrent.is_none_or(|limit| self.leases < limit)
    }

    fn idle(&self, now: u64) -> bool {
        let now = now.max(self.clock);
        let over = |due: Due| due.numerator <= u128::from(now) * due.denominator;
        self.permits == 0
            && self.leases == 0
            && over(self.second)
            && over(self.minute)
            && self.in_hour(now) == 0
            && self.in_day(now) == 0
            && self.token_sum(now) == 0
    }
}

fn count(instants: &[u64], span: u64, now: u64) -> u64 {
    let counting = instants.iter().filter(|&&instant| instant + span > now);
    u64::try_from(counting.count()).unwrap()
}

fn rounded(limit: u64, span: u64, now: u64) -> u64 {
    if limit <= 120 {
        now
    } else {
        now.div_ceil(span / 120) * (span / 120)
    }
}

/// What a request was counted, by account.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    parts: Vec<Part>,
    /// How many tokens each reservation has.
    reserved: Vec<u64>,
    leased: bool,
    cancelled: bool,
}

#[derive(Clone, Debug)]
struct Part {
    name: String,
    limits: Limits,
    at: u64,
    /// The second that each reservation is in.
    ends: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Limiter {
    pub(crate) accounts: BTreeMap<String, Account>,
    forgotten: u64,
}

impl Limiter {
    fn account(&self, name: &str) -> Account {
        let known = self.accounts.get(name).cloned();
        known.unwrap_or_else(|| Account::new(self.forgotten))
    }

    /// Which of the accounts refuse.
    pub(crate) fn refusing(
        &self,
        accounts: &[(String, Limits)],
        tokens: u64,
        now: u64,
    ) -> Vec<String> {
        let refuses =
            |(name, limits): &&(String, Limits)| !self.account(name).passes(limits, tokens, now);
        let refusing = accounts.iter().filter(refuses);
        refusing.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn acquire(
        &mut self,
        accounts: &[(String, Limits)],
        tokens: u64,
        now: u64,
    ) -> Option<Permit> {
        if !self.refusing(accounts, tokens, now).is_empty() {
            return None;
        }
        let mut permit = Permit {
            parts: Vec::new(),
            reserved: vec![tokens],
            leased: true,
            cancelled: false,
        };
        for (name, limits) in accounts {
            let mut account = self.account(name);
            let now = now.max(account.clock);
            account.clock = now;
            account.permits += 1;
            if let Some((limit, _)) = limits.per_second {
                account.second.pass(limit, SECOND, now);
            }
            if let Some((limit, _)) = limits.per_minute {
                account.minute.pass(limit, MINUTE, now);
            }
            if let Some(limit) = limits.per_hour {
                account.hour.push(rounded(limit, HOUR, now));
            }
            if let Some(limit) = limits.per_day {
                account.day.push(rounded(limit, DAY, now));
            }
            let end = now.div_ceil(SECOND) * SECOND;
            if limits.tokens_per_minute.is_some() {
                *account.tokens.entry(end).or_default() += tokens;
            }
            account.leases += u64::from(limits.concurrent.is_some());
            self.accounts.insert(name.clone(), account);
            permit.parts.push(Part {
                name: name.clone(),
                limits: *limits,
                at: now,
                ends: vec![end],
            });
        }
        Some(permit)
    }

    fn held(&mut self, name: &str) -> &mut Account {
        self.accounts.get_mut(name).expect("a permit keeps it")
    }

    pub(crate) fn extend(&mut self, permit: &mut Permit, more: u64, now: u64) -> bool {
        let counting = |part: &&Part| part.limits.tokens_per_minute.is_some();
        let fits = permit.parts.iter().filter(counting).all(|part| {
            let account = &self.accounts[&part.name];
            let limit = part.limits.tokens_per_minute.unwrap();
            account.tokens_fit(limit, more, now.max(account.clock))
        });
        if !fits {
            return false;
        }
        permit.reserved.push(more);
        for part in &mut permit.parts {
            let account = self.held(&part.name);
            let mut end = 0;
            if part.limits.tokens_per_minute.is_some() {
                account.clock = account.clock.max(now);
                end = account.clock.div_ceil(SECOND) * SECOND;
                *account.tokens.entry(end).or_default() += more;
            }
            part.ends.push(end);
        }
        true
    }

    /// The last reservation takes all that is more, and gives what is less first.
    pub(crate) fn correct(&mut self, permit: &mut Permit, total: u64, now: u64) {
        let before = permit.reserved.clone();
        let mut over = permit.reserved.iter().sum::<u64>().saturating_sub(total);
        let short = total.saturating_sub(permit.reserved.iter().sum());
        for tokens in permit.reserved.iter_mut().rev() {
            let taken = over.min(*tokens);
            *tokens -= taken;
            over -= taken;
        }
        *permit.reserved.last_mut().unwrap() += short;
        for part in &permit.parts {
            if part.limits.tokens_per_minute.is_none() {
                continue;
            }
            let account = self.held(&part.name);
            for ((end, before), after) in part.ends.iter().zip(&before).zip(&permit.reserved) {
                if before != after {
                    account.clock = account.clock.max(now);
                    let slot = account.tokens.entry(*end).or_default();
                    *slot = *slot + after - before;
                }
            }
        }
    }

    pub(crate) fn cancel(&mut self, permit: &mut Permit, now: u64) {
        if !permit.cancelled {
            permit.cancelled = true;
            self.correct(permit, 0, now);
            for part in &permit.parts {
                let account = self.held(&part.name);
                if let Some(limit) = part.limits.per_hour {
                    forget(&mut account.hour, rounded(limit, HOUR, part.at));
                    account.clock = account.clock.max(now);
                }
                if let Some(limit) = part.limits.per_day {
                    forget(&mut account.day, rounded(limit, DAY, part.at));
                    account.clock = account.clock.max(now);
                }
            }
        }
        self.release(permit);
    }

    pub(crate) fn release(&mut self, permit: &mut Permit) {
        if permit.leased {
            permit.leased = false;
            for part in &permit.parts {
                if part.limits.concurrent.is_some() {
                    self.held(&part.name).leases -= 1;
                }
            }
        }
    }

    pub(crate) fn dropped(&mut self, mut permit: Permit) {
        self.release(&mut permit);
        for part in &permit.parts {
            self.held(&part.name).permits -= 1;
        }
    }

    pub(crate) fn evict(&mut self, now: u64) -> usize {
        self.forgotten = self.forgotten.max(now);
        let before = self.accounts.len();
        self.accounts.retain(|_, account| !account.idle(now));
        before - self.accounts.len()
    }

    /// How many more would pass, by trying.
    pub(crate) fn remaining(&self, name: &str, limits: &Limits, now: u64) -> u64 {
        let mut tried = self.clone();
        let accounts = [(name.to_owned(), *limits)];
        let mut passed = 0;
        while tried.acquire(&accounts, 0, now).is_some() {
            passed += 1;
        }
        passed
    }

    pub(crate) fn tokens_left(&self, name: &str, limit: u64, now: u64) -> u64 {
        let account = self.account(name);
        limit.saturating_sub(account.token_sum(now.max(account.clock)))
    }

    pub(crate) fn leases(&self, name: &str) -> u64 {
        self.account(name).leases
    }

    /// Whether a limit is as if it had never been used.
    pub(crate) fn unused(&self, name: &str, limit: &str, now: u64) -> bool {
        let account = self.account(name);
        let now = now.max(account.clock);
        let over = |due: Due| due.numerator <= u128::from(now) * due.denominator;
        match limit {
            "per_second" => over(account.second),
            "per_minute" => over(account.minute),
            "per_hour" => account.in_hour(now) == 0,
            "per_day" => account.in_day(now) == 0,
            _ => account.token_sum(now) == 0,
        }
    }
}

fn forget(instants: &mut Vec<u64>, instant: u64) {
    if let Some(place) = instants.iter().rposition(|&other| other == instant) {
        instants.remove(place);
    }
}
