//! A request that passed: what it was counted, and its leases.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::account::{Account, Node, Step, replace_all};
use super::log::NONE;
use super::policy::{LATEST_NS, LimitError, MAX_ACCOUNTS, MAX_TOKENS, Policy};
use super::state::Marks;
use super::sync::{AtomicBool, Ordering};
use super::types::{Refusal, Refusing, Standing};

/// What it was counted on one account.
pub(super) struct Part {
    pub(super) account: Arc<Account>,
    pub(super) policy: Policy,
    pub(super) marks: Marks,
}

/// Nearly every request is on a few accounts; one on a single one allocates nothing.
pub(super) enum Parts {
    One(Part),
    Many(Box<[Part]>),
}

impl Parts {
    fn get(&self) -> &[Part] {
        match self {
            Self::One(part) => std::slice::from_ref(part),
            Self::Many(parts) => parts,
        }
    }
}

/// Tokens that were reserved at one time, and in which slot of each account.
struct Reserved {
    tokens: u64,
    ends: [u64; MAX_ACCOUNTS],
}

/// All that was reserved: at first, in the slots of the marks, and later.
struct Tokens {
    first: u64,
    later: Vec<Reserved>,
}

/// A request that passed. Dropped, its leases end.
pub struct Permit {
    parts: Parts,
    leased: AtomicBool,
    cancelled: AtomicBool,
    /// Whose they are: no two requests meet here.
    tokens: Mutex<Tokens>,
}

impl Permit {
    pub(super) fn new(parts: Parts, tokens: u64) -> Self {
        let leased = (parts.get().iter()).any(|part| part.policy.concurrent.is_some());
        Self {
            parts,
            leased: AtomicBool::new(leased),
            cancelled: AtomicBool::new(false),
            tokens: Mutex::new(Tokens {
                first: tokens,
                later: Vec::new(),
            }),
        }
    }

    /// Reserves more tokens on every account that counts them, or on none.
    ///
    /// # Errors
    ///
    /// [`LimitError::TooManyTokens`].
    pub fn extend(&self, more: u64, now_ns: u64) -> Result<Option<Refusal>, LimitError> {
        let now = now_ns.min(LATEST_NS);
        check_tokens(more)?;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut steps = Vec::with_capacity(self.parts.get().len());
            let mut ends = [NONE; MAX_ACCOUNTS];
            let mut refusing = Refusing::default();
            for (slot, part) in ends.iter_mut().zip(self.parts.get()) {
                if part.policy.tokens.is_none() {
                    continue;
                }
                let node = part.account.current();
                let Node::State(state) = &*node else { continue };
                if let Some((next, end)) = state.reserve(&part.policy, more, now) {
                    *slot = end;
                    let next = Node::state(next);
                    steps.push(Step::new(&part.account, Arc::clone(&node), next));
                } else if let Some(full) = state.full_of_tokens(&part.policy, more, now) {
                    refusing.see(part.account.name(), full);
                }
            }
            if let Some(refusal) = refusing.refusal() {
                return Ok(Some(refusal));
            }
            if steps.is_empty() || replace_all(steps) {
                tokens.add(more, ends, self.parts.get());
                return Ok(None);
            }
        }
    }

    /// Says how many tokens it used in all, in the place of what was reserved; the last word counts.
    ///
    /// What is more is added to what was reserved last, even over the limit; what is less is taken from
    /// there first. A slot of 60 seconds ago stays as it is.
    ///
    /// # Errors
    ///
    /// [`LimitError::TooManyTokens`].
    pub fn correct(&self, total: u64, now_ns: u64) -> Result<(), LimitError> {
        check_tokens(total)?;
        self.set_tokens(total, now_ns.min(LATEST_NS));
        Ok(())
    }

    fn set_tokens(&self, total: u64, now: u64) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved = (tokens.later.iter()).fold(tokens.first, |sum, part| sum + part.tokens);
        let mut less = reserved.saturating_sub(total);
        let mut more = total.saturating_sub(reserved);
        let Tokens { first, later } = &mut *tokens;
        for reserved in later.iter_mut().rev() {
            if more == 0 && less == 0 {
                return;
            }
            let taken = less.min(reserved.tokens);
            less -= taken;
            let added = mem::take(&mut more);
            reserved.tokens = reserved.tokens - taken + added;
            for (part, end) in self.parts.get().iter().zip(reserved.ends) {
                shift(part, end, added, taken, now);
            }
        }
        *first = *first - less + more;
        for part in self.parts.get() {
            shift(part, part.marks.tokens, more, less, now);
        }
    }

    /// Nothing was sent: takes back its tokens and its place in hours and days, ends its leases.
    /// Seconds and minutes keep it.
    pub fn cancel(&self, now_ns: u64) {
        let now = now_ns.min(LATEST_NS);
        if !self.cancelled.swap(true, Ordering::AcqRel) {
            self.set_tokens(0, now);
            for part in self.parts.get() {
                if part.marks.hour != NONE || part.marks.day != NONE {
                    (part.account).update(|state| state.take_back(part.marks, now));
                }
            }
        }
        self.release();
    }

    /// Ends its leases. Ending them twice is ending them once.
    pub fn release(&self) {
        if !self.leased.swap(false, Ordering::AcqRel) {
            return;
        }
        for part in self.parts.get() {
            if part.policy.concurrent.is_some() {
                part.account.end_lease();
            }
        }
    }

    /// How each limit of each of its accounts stands.
    #[must_use]
    pub fn standings(&self, now_ns: u64) -> Vec<Standing> {
        let now = now_ns.min(LATEST_NS);
        let mut standings = Vec::new();
        for part in self.parts.get() {
            if let Node::State(state) = &*part.account.current() {
                let (name, ended) = (part.account.name(), part.account.ended());
                stand(name, state, &part.policy, ended, now, &mut standings);
            }
        }
        standings
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.parts.get().iter().map(|part| part.account.name());
        formatter.debug_list().entries(accounts).finish()
    }
}

impl Tokens {
    /// More tokens: with those that were reserved last, if they are in the same slots.
    fn add(&mut self, tokens: u64, ends: [u64; MAX_ACCOUNTS], parts: &[Part]) {
        if let Some(last) = self.later.last_mut() {
            if last.ends == ends {
                last.tokens += tokens;
                return;
            }
        } else if (parts.iter().zip(ends)).all(|(part, end)| part.marks.tokens == end) {
            self.first += tokens;
            return;
        }
        self.later.push(Reserved { tokens, ends });
    }
}

fn shift(part: &Part, end: u64, more: u64, less: u64, now: u64) {
    if end != NONE && (more > 0 || less > 0) {
        (part.account).update(|state| state.correct(end, more, less, now));
    }
}

pub(super) fn check_tokens(tokens: u64) -> Result<(), LimitError> {
    if tokens > MAX_TOKENS {
        return Err(LimitError::TooManyTokens(tokens));
    }
    Ok(())
}

/// Adds how each limit of an account stands.
pub(super) fn stand(
    name: &str,
    state: &super::state::State,
    policy: &Policy,
    ended: u32,
    now: u64,
    standings: &mut Vec<Standing>,
) {
    let account: Arc<str> = name.into();
    state.stand(policy, ended, now, |one| {
        standings.push(Standing {
            account: Arc::clone(&account),
            limit: one.limit,
            allowed: one.allowed,
            remaining: one.remaining,
            reset_ns: one.reset_ns,
        });
    });
}
