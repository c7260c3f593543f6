//! How often somebody may ask: requests, tokens and leases, counted by account.
//!
//! # What it promises
//!
//! * **Never over.** Of a limit L with burst B, at most L + B requests pass in any second (minute), at
//!   most L in any 3,600 (86,400) seconds, wherever they begin; at most as many tokens in any 60
//!   seconds as were allowed, beyond what corrections added; never more leases than allowed.
//! * **All or nothing.** A request on several accounts is counted on all of them at one instant, or
//!   nowhere.
//! * **Exact refusals.** A request is refused only if, at an instant within the call, a limit was full
//!   of requests that passed: never because of another one that is refused in the end.
//! * **Lock-free.** No caller waits for a thread that the scheduler has suspended. (Only the tokens of
//!   one and the same [`Permit`] are set one after the other.)
//! * A request counts towards the limits that its own policy has. A limit that is added later counts
//!   from then on; what was counted stays when limits change, and counts again for as long as it would
//!   have.
//!
//! # How
//!
//! All of an account is one value that is never changed, behind one pointer ([`state`], [`account`]):
//! a request reads it, decides every limit on it, and puts its own in its place if it is still there.
//! Per second and per minute: exact integer arithmetic ([`flow`]). Per hour and per day: a log with an
//! instant for each request, up to 120; above, a slot for every 120th of the window, which counts until
//! it lies wholly outside: late by up to 1/120 of the window, never over ([`log`]).
//!
//! Instants are nanoseconds of a monotonic clock that the caller gives. One that is before the latest
//! at which something was counted on an account is that latest one.

use std::array;
use std::sync::Arc;

use papaya::HashMap;

use self::account::{Account, Named, Node, Step, replace_all};
pub use self::permit::Permit;
use self::permit::{Part, Parts, check_tokens};
pub use self::policy::{
    LATEST_NS, LimitError, LimitName, Limits, MAX_ACCOUNTS, MAX_LIMIT, MAX_TOKENS, Policy,
};
use self::state::{Marks, State};
use self::sync::{AtomicU64, Ordering};
use self::types::Refusing;
pub use self::types::{Outcome, Refusal, Standing};

mod account;
mod flow;
mod log;
mod permit;
mod policy;
mod state;
mod sync;
mod types;

/// Counts requests, tokens and leases by account. All or nothing, lock-free, never over.
///
/// ```
/// use cascadeflow_core::limits::{Limits, Outcome, Policy, RateLimiter};
///
/// let ten_an_hour = Policy::new(&Limits { per_hour: Some(10), ..Limits::default() })?;
/// let limiter = RateLimiter::new();
/// for second in 0..10 {
///     let outcome = limiter.acquire(&[("user:u1", &ten_an_hour)], 0, second * 1_000_000_000)?;
///     assert!(matches!(outcome, Outcome::Passed(_)));
/// }
/// let outcome = limiter.acquire(&[("user:u1", &ten_an_hour)], 0, 60_000_000_000)?;
/// let Outcome::Refused(refusal) = outcome else { panic!("that is the eleventh") };
/// assert_eq!(refusal.retry_ns, Some(3_540_000_000_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RateLimiter {
    accounts: HashMap<Named, ()>,
    /// The latest instant at which accounts were forgotten: nothing happens before it on a new one.
    forgotten: AtomicU64,
}

impl Known {
    fn state(&self) -> Option<(&State, u32)> {
        match &*self.node {
            Node::State(state) => Some((state, self.ended)),
            Node::Closed | Node::Claim(_) => None,
        }
    }
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new()
    }
}

/// An account as a request finds it.
struct Known {
    account: Arc<Account>,
    node: Arc<Node>,
    /// How many of its leases had ended.
    ended: u32,
}

/// What a request finds on one of its accounts, and what it would make of it.
struct Found {
    known: Option<Known>,
    next: Option<(Arc<Node>, Marks)>,
}

impl RateLimiter {
    /// One that knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            accounts: HashMap::new(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Lets one request pass on every account, or on none. A refusal counts nothing.
    ///
    /// # Errors
    ///
    /// [`LimitError::NoAccounts`], [`LimitError::TooManyAccounts`], [`LimitError::RepeatedAccount`],
    /// [`LimitError::TooManyTokens`].
    pub fn acquire(
        &self,
        accounts: &[(&str, &Policy)],
        tokens: u64,
        now_ns: u64,
    ) -> Result<Outcome, LimitError> {
        check_accounts(accounts)?;
        check_tokens(tokens)?;
        let now = now_ns.min(LATEST_NS);
        Ok(match accounts.len() {
            1 => self.acquire_few::<1>(accounts, tokens, now),
            2..=3 => self.acquire_few::<3>(accounts, tokens, now),
            _ => self.acquire_few::<MAX_ACCOUNTS>(accounts, tokens, now),
        })
    }

    fn acquire_few<const ROOM: usize>(
        &self,
        accounts: &[(&str, &Policy)],
        tokens: u64,
        now: u64,
    ) -> Outcome {
        loop {
            let mut fits = true;
            let mut known = true;
            let mut found: [Option<Found>; ROOM] = array::from_fn(|place| {
                let &(name, policy) = accounts.get(place)?;
                let account = self.find(name);
                let next = match account.as_ref().and_then(Known::state) {
                    Some((state, ended)) => state.admit(policy, ended, tokens, now),
                    None => self.unused().admit(policy, 0, tokens, now),
                };
                fits = fits && next.is_some();
                known = known && account.is_some();
                Some(Found {
                    known: account,
                    next: next.map(|(state, marks)| (Node::state(state), marks)),
                })
            });
            if !fits {
                let found = found.iter().flatten();
                if let Some(refusal) = self.refuse(accounts, found, tokens, now) {
                    return Outcome::Refused(refusal);
                }
                continue;
            }
            if !known {
                for ((name, _), found) in accounts.iter().zip(found.iter().flatten()) {
                    if found.known.is_none() {
                        self.open(name);
                    }
                }
                continue;
            }
            if let Some(parts) = commit(accounts, &mut found) {
                return Outcome::Passed(Permit::new(parts, tokens));
            }
        }
    }

    /// Of all limits of all accounts, those that refuse.
    #[cold]
    fn refuse<'found>(
        &self,
        accounts: &[(&str, &Policy)],
        found: impl Iterator<Item = &'found Found>,
        tokens: u64,
        now: u64,
    ) -> Option<Refusal> {
        let mut refusing = Refusing::default();
        for (&(name, policy), found) in accounts.iter().zip(found) {
            let see = |full| refusing.see(name, full);
            match found.known.as_ref().and_then(Known::state) {
                Some((state, ended)) => state.full(policy, ended, tokens, now, see),
                None => self.unused().full(policy, 0, tokens, now, see),
            }
        }
        refusing.refusal()
    }

    /// An account of which nothing is used.
    fn unused(&self) -> State {
        State::since(self.forgotten.load(Ordering::Acquire))
    }

    /// An account, if it is known.
    fn find(&self, name: &str) -> Option<Known> {
        let pinned = self.accounts.pin();
        let account = Arc::clone(&pinned.get_key_value(name)?.0.0);
        let node = account.current();
        if matches!(*node, Node::Closed) {
            // Whoever closed it may have been suspended before he took it out.
            self.take_out(&account);
            return None;
        }
        let ended = account.ended();
        Some(Known {
            account,
            node,
            ended,
        })
    }

    fn open(&self, name: &str) {
        let account = Named(Arc::new(Account::new(name, self.unused())));
        // Another thread may have been faster: then its account is the one.
        let _ = self.accounts.pin().try_insert(account, ());
    }

    fn take_out(&self, account: &Arc<Account>) -> bool {
        let same = |named: &Named, (): &()| Arc::ptr_eq(&named.0, account);
        let pinned = self.accounts.pin();
        matches!(pinned.remove_if(account.name(), same), Ok(Some(_)))
    }

    /// How each limit of each account stands.
    ///
    /// # Errors
    ///
    /// [`LimitError::NoAccounts`], [`LimitError::TooManyAccounts`], [`LimitError::RepeatedAccount`].
    pub fn standings(
        &self,
        accounts: &[(&str, &Policy)],
        now_ns: u64,
    ) -> Result<Vec<Standing>, LimitError> {
        check_accounts(accounts)?;
        let now = now_ns.min(LATEST_NS);
        let mut standings = Vec::new();
        for &(name, policy) in accounts {
            let known = self.find(name);
            let unused = self.unused();
            let state = known.as_ref().and_then(Known::state);
            let (state, ended) = state.unwrap_or((&unused, 0));
            permit::stand(name, state, policy, ended, now, &mut standings);
        }
        Ok(standings)
    }

    /// Forgets accounts of which nothing is used any more and that no permit is on; gives how many.
    pub fn evict(&self, now_ns: u64) -> usize {
        let now = now_ns.min(LATEST_NS);
        // A clock that goes back must not find room on an account that was full then.
        self.forgotten.fetch_max(now, Ordering::AcqRel);
        let pinned = self.accounts.pin();
        let mut evicted = 0;
        for (Named(account), ()) in &pinned {
            let node = account.current();
            // A permit took hold of the account before it put its state in: so one that is alive is
            // seen here, or else the state is not the one that was found.
            let idle = match &*node {
                Node::State(state) => {
                    Arc::strong_count(account) == 1 && state.is_idle(account.ended(), now)
                }
                Node::Closed | Node::Claim(_) => false,
            };
            if idle && account.close(&node) {
                self.take_out(account);
                evicted += 1;
            }
        }
        evicted
    }

    /// How many accounts are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.pin().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Puts the states in their places, all or none.
fn commit(accounts: &[(&str, &Policy)], found: &mut [Option<Found>]) -> Option<Parts> {
    if let [(_, policy)] = accounts {
        let Found { known, next } = found.first_mut()?.take()?;
        let (Known { account, node, .. }, (next, marks)) = (known?, next?);
        return account.replace(&node, next).then(|| {
            Parts::One(Part {
                account,
                policy: **policy,
                marks,
            })
        });
    }
    let mut parts = Vec::with_capacity(accounts.len());
    let mut steps = Vec::with_capacity(accounts.len());
    for ((_, policy), found) in accounts.iter().zip(found) {
        let Found { known, next } = found.take()?;
        let (Known { account, node, .. }, (next, marks)) = (known?, next?);
        steps.push(Step::new(&account, node, next));
        parts.push(Part {
            account,
            policy: **policy,
            marks,
        });
    }
    replace_all(steps).then(|| Parts::Many(parts.into_boxed_slice()))
}

fn check_accounts(accounts: &[(&str, &Policy)]) -> Result<(), LimitError> {
    if accounts.is_empty() {
        return Err(LimitError::NoAccounts);
    }
    if accounts.len() > MAX_ACCOUNTS {
        return Err(LimitError::TooManyAccounts);
    }
    for (place, (name, _)) in accounts.iter().enumerate() {
        if (accounts.iter().take(place)).any(|(other, _)| other == name) {
            return Err(LimitError::RepeatedAccount);
        }
    }
    Ok(())
}
