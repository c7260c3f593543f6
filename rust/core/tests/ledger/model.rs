//! The obvious ledger: every hold's part in every window's list, summed up whenever it is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{Cause, Limit, Outcome, Refusal, ScopeId, WindowStanding};

use crate::nano;

pub(crate) type Id = u64;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The hold, `None` for what was there before or booked by hand.
    hold: Option<Id>,
    index: i64,
    used: i64,
    spent: i64,
}

#[derive(Debug, Clone)]
struct Account {
    window: Window,
    limit: Option<u64>,
    newest: i64,
    entries: Vec<Entry>,
}

impl Account {
    fn new((window, limit): Limit, now: i64) -> Self {
        Self {
            window,
            limit: limit.map(cascadeflow_core::money::Nanodollars::get),
            newest: window.index(now),
            entries: Vec::new(),
        }
    }

    fn span(&self) -> i64 {
        i64::try_from(self.window.buckets()).unwrap() - 1
    }

    /// The newest period at an instant.
    fn at(&self, now: i64) -> i64 {
        self.newest.max(self.window.index(now))
    }

    fn sums(&self, now: i64) -> (i64, i64) {
        let newest = self.at(now);
        let counted = self
            .entries
            .iter()
            .filter(|entry| entry.index >= newest - self.span());
        counted.fold((0, 0), |(used, spent), entry| {
            (used + entry.used, spent + entry.spent)
        })
    }

    fn standing(&self, now: i64) -> WindowStanding {
        let newest = self.at(now);
        let (used, spent) = self.sums(now);
        let spent = spent.clamp(0, used.max(0));
        let mut buckets: BTreeMap<i64, i64> = BTreeMap::new();
        for entry in &self.entries {
            *buckets.entry(entry.index).or_default() += entry.used;
        }
        let first = buckets
            .range(newest - self.span()..)
            .find(|(_, used)| **used > 0)
            .map_or(newest, |(index, _)| *index);
        WindowStanding {
            window: self.window,
            limit: self.limit.map(nano),
            spent: nano(spent.unsigned_abs()),
            held: nano((used.max(0) - spent).unsigned_abs()),
            starts_ms: self.window.bounds(newest - self.span()).0,
            resets_ms: self.window.bounds(first + self.span()).1,
        }
    }

    /// Moves what a bucket is below zero to the one before, from the newest on.
    fn level(&mut self) {
        let oldest = self.newest - self.span();
        let mut rest = 0;
        for index in (oldest..=self.newest).rev() {
            let bucket = self.entries.iter().filter(|entry| entry.index == index);
            // What this bucket and all newer ones have spent together.
            rest += bucket.map(|entry| entry.spent).sum::<i64>();
            if rest < 0 && index > oldest {
                let mut moved = |index, amount| {
                    self.entries.push(Entry {
                        hold: None,
                        index,
                        used: amount,
                        spent: amount,
                    });
                };
                moved(index, -rest);
                moved(index - 1, rest);
                rest = 0;
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Scope {
    accounts: Vec<Account>,
    grant: Option<u64>,
    used: i64,
    spent: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Expired(i64),
    Over,
}

#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) state: State,
    deadline: i64,
    /// Scopes in the order in which they were named, and what is held by each reservation.
    pub(crate) parts: Vec<(ScopeId, Vec<i64>)>,
    /// The ids under which its reservations are entered.
    entered: Vec<Id>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) scopes: HashMap<ScopeId, Scope>,
    pub(crate) holds: HashMap<Id, Hold>,
    keys: HashMap<u128, (Id, i64)>,
    late: i64,
    extensions: Id,
}

/// Scopes are looked at in the order of their cells.
fn cell(scope: ScopeId) -> u64 {
    scope.get() & 0xff_ffff
}

impl Model {
    pub(crate) fn new(late: i64) -> Self {
        Self {
            late,
            extensions: 1 << 60,
            ..Self::default()
        }
    }

    pub(crate) fn open(
        &mut self,
        scope: ScopeId,
        limits: &[Limit],
        now: i64,
        spent: &[u64],
        total: u64,
        grant: Option<u64>,
    ) {
        let accounts = limits.iter().enumerate().map(|(place, limit)| {
            let mut account = Account::new(*limit, now);
            let spent = i64::try_from(spent.get(place).copied().unwrap_or(0)).unwrap();
            account.entries.push(Entry {
                hold: None,
                index: account.newest,
                used: spent,
                spent,
            });
            account
        });
        let total = i64::try_from(total).unwrap();
        let scope_now = Scope {
            accounts: accounts.collect(),
            grant,
            used: total,
            spent: total,
        };
        self.scopes.insert(scope, scope_now);
    }

    pub(crate) fn set_limits(&mut self, scope: ScopeId, limits: &[Limit], now: i64) {
        let scope = self.scopes.get_mut(&scope).unwrap();
        let accounts = limits.iter().map(|limit| {
            let known = scope.accounts.iter().find(|old| old.window == limit.0);
            let mut account = known.cloned().unwrap_or_else(|| Account::new(*limit, now));
            account.newest = account.at(now);
            account.limit = limit.1.map(cascadeflow_core::money::Nanodollars::get);
            account
        });
        scope.accounts = accounts.collect();
    }

    pub(crate) fn set_grant(&mut self, scope: ScopeId, grant: Option<u64>) {
        self.scopes.get_mut(&scope).unwrap().grant = grant;
    }

    /// Why a request is refused, or nothing: then it is entered under an id, which comes with it.
    fn enter(
        &mut self,
        parts: &[(ScopeId, i64)],
        now: i64,
        force: bool,
        id: Option<Id>,
    ) -> Option<Refusal> {
        let mut sorted = parts.to_vec();
        sorted.sort_by_key(|(scope, _)| cell(*scope));
        if id.is_none() {
            for (scope, amount) in &sorted {
                let refusal = |cause| {
                    Some(Refusal {
                        scope: *scope,
                        requested: nano(amount.unsigned_abs()),
                        cause,
                    })
                };
                let Some(found) = self.scopes.get_mut(scope) else {
                    return refusal(Cause::Stale);
                };
                for account in &mut found.accounts {
                    account.newest = account.at(now);
                }
                if *amount == 0 || force {
                    continue;
                }
                let over = |account: &&Account| {
                    let (used, _) = account.sums(now);
                    let limit = account.limit.map(|limit| i64::try_from(limit).unwrap());
                    limit.is_some_and(|limit| used + amount > limit)
                };
                let full = found.accounts.iter().filter(over);
                let full = full.map(|account| account.standing(now));
                if let Some(standing) =
                    full.max_by_key(|standing| standing.resets_ms.unwrap_or(i64::MAX))
                {
                    return refusal(Cause::Limit(standing));
                }
                let needed = found.used + amount;
                let grant = found.grant.map(|grant| i64::try_from(grant).unwrap());
                if grant.is_some_and(|grant| needed > grant) {
                    return refusal(Cause::Grant {
                        needed: nano(needed.unsigned_abs()),
                    });
                }
            }
            return None;
        }
        for (scope, amount) in parts {
            let scope = self.scopes.get_mut(scope).unwrap();
            scope.used += amount;
            for account in &mut scope.accounts {
                account.entries.push(Entry {
                    hold: id,
                    index: account.newest,
                    used: *amount,
                    spent: 0,
                });
            }
        }
        None
    }

    pub(crate) fn known(&self, key: u128) -> Option<Id> {
        self.keys.get(&key).map(|(id, _)| *id)
    }

    pub(crate) fn refuses(
        &mut self,
        parts: &[(ScopeId, i64)],
        now: i64,
        force: bool,
    ) -> Option<Refusal> {
        self.enter(parts, now, force, None)
    }

    pub(crate) fn reserve(
        &mut self,
        id: Id,
        parts: &[(ScopeId, i64)],
        now: i64,
        deadline: i64,
        key: Option<u128>,
    ) {
        self.enter(parts, now, true, Some(id));
        let hold = Hold {
            state: State::Open,
            deadline,
            parts: parts
                .iter()
                .map(|(scope, amount)| (*scope, vec![*amount]))
                .collect(),
            entered: vec![id],
        };
        assert!(
            self.holds.insert(id, hold).is_none(),
            "an id was given twice"
        );
        if let Some(key) = key {
            self.keys.insert(key, (id, deadline + self.late));
        }
    }

    pub(crate) fn extend(
        &mut self,
        id: Id,
        amounts: &[i64],
        now: i64,
        force: bool,
    ) -> Option<Refusal> {
        let parts: Vec<(ScopeId, i64)> = self.holds[&id]
            .parts
            .iter()
            .zip(amounts)
            .map(|((scope, _), amount)| (*scope, *amount))
            .collect();
        if let Some(refusal) = self.refuses(&parts, now, force) {
            return Some(refusal);
        }
        self.extensions += 1;
        let entered = self.extensions;
        self.enter(&parts, now, true, Some(entered));
        let hold = self.holds.get_mut(&id).unwrap();
        hold.entered.push(entered);
        for ((_, held), (_, amount)) in hold.parts.iter_mut().zip(&parts) {
            held.push(*amount);
        }
        None
    }

    /// Changes what a reservation has used and spent.
    fn post(&mut self, scope: ScopeId, entered: Id, used: i64, spent: i64) {
        let scope = self.scopes.get_mut(&scope).unwrap();
        scope.used += used;
        scope.spent += spent;
        for account in &mut scope.accounts {
            let mut entries = account.entries.iter_mut();
            if let Some(entry) = entries.find(|entry| entry.hold == Some(entered)) {
                entry.used += used;
                entry.spent += spent;
            }
        }
    }

    /// Ends a hold: what became of it, what is booked at most and the overrun.
    pub(crate) fn settle(&mut self, id: Id, costs: &[i64], release: bool) -> (Outcome, i64, i64) {
        let hold = self.holds[&id].clone();
        let outcome = match hold.state {
            State::Over => return (Outcome::Already, 0, 0),
            State::Expired(_) => Outcome::Corrected,
            State::Open if release => Outcome::Released,
            State::Open => Outcome::Settled,
        };
        let mut overrun = 0;
        for ((scope, held), cost) in hold.parts.iter().zip(costs) {
            let mut rest = *cost;
            for (place, held) in held.iter().enumerate() {
                let last = place + 1 == hold.entered.len();
                let share = if last { rest } else { rest.min(*held) };
                rest -= share;
                let before = if outcome == Outcome::Corrected {
                    *held
                } else {
                    0
                };
                self.post(*scope, hold.entered[place], share - held, share - before);
            }
            overrun = overrun.max(cost - held.iter().sum::<i64>());
        }
        self.holds.get_mut(&id).unwrap().state = State::Over;
        (outcome, costs.iter().copied().max().unwrap(), overrun)
    }

    pub(crate) fn renew(&mut self, id: Id, deadline: i64) -> bool {
        let hold = self.holds.get_mut(&id).unwrap();
        let open = hold.state == State::Open;
        if open {
            hold.deadline = deadline;
        }
        open
    }

    pub(crate) fn expire(&mut self, now: i64) -> BTreeSet<Id> {
        let mut expired = BTreeSet::new();
        let ids: Vec<Id> = self.holds.keys().copied().collect();
        for id in ids {
            let hold = self.holds[&id].clone();
            match hold.state {
                State::Open if hold.deadline <= now => {
                    expired.insert(id);
                    for (scope, held) in &hold.parts {
                        for (place, held) in held.iter().enumerate() {
                            self.post(*scope, hold.entered[place], 0, *held);
                        }
                    }
                    self.holds.get_mut(&id).unwrap().state = State::Expired(now);
                }
                State::Expired(at) if now > at + self.late => {
                    self.holds.get_mut(&id).unwrap().state = State::Over;
                }
                _ => {}
            }
        }
        let holds = &self.holds;
        self.keys
            .retain(|_, (id, until)| holds[id].state != State::Over || *until >= now);
        expired
    }

    pub(crate) fn adjust(&mut self, scope: ScopeId, amount: i64, now: i64) -> i64 {
        let scope = self.scopes.get_mut(&scope).unwrap();
        for account in &mut scope.accounts {
            account.newest = account.at(now);
        }
        let spent = scope.accounts.iter().map(|account| account.sums(now).1);
        let least = spent.min().unwrap_or(scope.spent).min(scope.spent).max(0);
        let amount = amount.max(-least);
        scope.used += amount;
        scope.spent += amount;
        for account in &mut scope.accounts {
            account.entries.push(Entry {
                hold: None,
                index: account.newest,
                used: amount,
                spent: amount,
            });
            if amount < 0 {
                account.level();
            }
        }
        amount
    }

    pub(crate) fn standing(&self, scope: ScopeId, now: i64) -> Vec<WindowStanding> {
        let accounts = &self.scopes[&scope].accounts;
        accounts
            .iter()
            .map(|account| account.standing(now))
            .collect()
    }

    pub(crate) fn total(&self, scope: ScopeId) -> (i64, i64) {
        let scope = &self.scopes[&scope];
        let spent = scope.spent.clamp(0, scope.used.max(0));
        (spent, scope.used.max(0) - spent)
    }

    pub(crate) fn evict(&mut self, now: i64) -> BTreeSet<(ScopeId, i64)> {
        let busy: BTreeSet<ScopeId> = self
            .holds
            .values()
            .filter(|hold| hold.state != State::Over)
            .flat_map(|hold| hold.parts.iter().map(|(scope, _)| *scope))
            .collect();
        let idle = |(id, scope): (&ScopeId, &Scope)| {
            let forgettable = scope.grant.is_some()
                || scope.accounts.iter().all(|account| {
                    let standing = account.standing(now);
                    account.limit.is_none() || standing.spent.get() + standing.held.get() == 0
                });
            let free = !busy.contains(id) && forgettable;
            free.then(|| (*id, self.total(*id).0))
        };
        let evicted: BTreeSet<(ScopeId, i64)> = self.scopes.iter().filter_map(idle).collect();
        for (scope, _) in &evicted {
            self.scopes.remove(scope);
        }
        evicted
    }
}
