//! Every order in which the limiter's atomic steps can fall, for small cases.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p cascadeflow-core --release --test limits_loom`, with a target
//! directory of its own. The number of times that a thread is interrupted is bounded; within it, all
//! orders are tried. The map of accounts is not known to loom: accounts are made before threads are.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use cascadeflow_core::limits::{Limits, Outcome, Permit, Policy, RateLimiter};
use loom::sync::Arc;
use loom::thread;

fn concurrent(limit: u64) -> Policy {
    let limits = Limits {
        concurrent: Some(limit),
        ..Limits::default()
    };
    Policy::new(&limits).unwrap()
}

fn per_hour(limit: u64) -> Policy {
    let limits = Limits {
        per_hour: Some(limit),
        ..Limits::default()
    };
    Policy::new(&limits).unwrap()
}

fn tokens(limit: u64) -> Policy {
    let limits = Limits {
        tokens_per_minute: Some(limit),
        ..Limits::default()
    };
    Policy::new(&limits).unwrap()
}

/// One that knows these accounts, of which nothing is used.
fn knowing(names: &[&str]) -> Arc<RateLimiter> {
    let limiter = RateLimiter::new();
    for name in names {
        assert!(acquire(&limiter, &[(name, &Policy::UNLIMITED)]).is_some());
    }
    Arc::new(limiter)
}

fn acquire(limiter: &RateLimiter, accounts: &[(&str, &Policy)]) -> Option<Permit> {
    match limiter.acquire(accounts, 1, 0) {
        Ok(Outcome::Passed(permit)) => Some(permit),
        Ok(Outcome::Refused(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

fn left(limiter: &RateLimiter, name: &str, policy: &Policy) -> u64 {
    limiter.standings(&[(name, policy)], 0).unwrap()[0].remaining
}

fn check(interruptions: usize, case: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(interruptions);
    model.max_branches = 100_000;
    model.check(case);
}

#[test]
fn of_two_who_want_the_same_two_accounts_one_gets_both() {
    check(4, || {
        let limiter = knowing(&["a", "b"]);
        let one = per_hour(1);
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || acquire(&limiter, &[("b", &one), ("a", &one)]).is_some())
        };
        let mine = acquire(&limiter, &[("a", &one), ("b", &one)]).is_some();
        assert_ne!(mine, other.join().unwrap());
        assert_eq!(
            (left(&limiter, "a", &one), left(&limiter, "b", &one)),
            (0, 0)
        );
    });
}

/// One may be helped to its end and overtaken before its own thread goes on.
#[test]
fn two_that_fit_beside_each_other_are_each_counted_once() {
    check(4, || {
        let limiter = knowing(&["a", "b"]);
        let ten = per_hour(10);
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || acquire(&limiter, &[("a", &ten), ("b", &ten)]).is_some())
        };
        assert!(acquire(&limiter, &[("b", &ten), ("a", &ten)]).is_some());
        assert!(other.join().unwrap());
        assert_eq!(
            (left(&limiter, "a", &ten), left(&limiter, "b", &ten)),
            (8, 8)
        );
    });
}

#[test]
fn a_refused_request_leaves_nothing_and_refuses_nobody() {
    check(4, || {
        let limiter = knowing(&["a", "b"]);
        let one = per_hour(1);
        let both = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || acquire(&limiter, &[("a", &one), ("b", &one)]).is_some())
        };
        let second = acquire(&limiter, &[("b", &one)]).is_some();
        let first = acquire(&limiter, &[("a", &one)]).is_some();
        // Either the one has both, or the other has each.
        let both = both.join().unwrap();
        assert_eq!((first, second), (!both, !both));
        assert_eq!(
            (left(&limiter, "a", &one), left(&limiter, "b", &one)),
            (0, 0)
        );
    });
}

#[test]
fn what_fits_beside_two_others_is_never_refused() {
    check(3, || {
        let limiter = knowing(&["a", "b"]);
        let (two, one) = (per_hour(2), per_hour(1));
        let contend = |limiter: &Arc<RateLimiter>| {
            let limiter = Arc::clone(limiter);
            thread::spawn(move || acquire(&limiter, &[("a", &two), ("b", &one)]).is_some())
        };
        let (first, second) = (contend(&limiter), contend(&limiter));
        // At most one of them gets b, so one of a is left.
        assert!(acquire(&limiter, &[("a", &two)]).is_some());
        assert_ne!(first.join().unwrap(), second.join().unwrap());
        assert_eq!(
            (left(&limiter, "a", &two), left(&limiter, "b", &one)),
            (0, 0)
        );
    });
}

#[test]
fn a_lease_that_ends_makes_room_exactly_once() {
    check(4, || {
        let limiter = knowing(&["a", "b"]);
        let one = concurrent(1);
        let permit = acquire(&limiter, &[("a", &one), ("b", &one)]).unwrap();
        let permit = Arc::new(permit);
        let ending = {
            let permit = Arc::clone(&permit);
            thread::spawn(move || permit.release())
        };
        let next = acquire(&limiter, &[("a", &one), ("b", &one)]);
        permit.cancel(0);
        ending.join().unwrap();
        drop(permit);
        let held = u64::from(next.is_some());
        assert_eq!(left(&limiter, "a", &one), 1 - held);
        assert_eq!(left(&limiter, "b", &one), 1 - held);
    });
}

#[test]
fn leases_that_come_and_go_refuse_nobody() {
    check(4, || {
        let limiter = knowing(&["a"]);
        let two = concurrent(2);
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || {
                for _ in 0..2 {
                    assert!(acquire(&limiter, &[("a", &two)]).is_some());
                }
            })
        };
        let mine = acquire(&limiter, &[("a", &two)]);
        assert!(mine.is_some());
        other.join().unwrap();
        assert_eq!(left(&limiter, "a", &two), 1);
    });
}

#[test]
fn corrections_and_reservations_are_both_counted() {
    check(4, || {
        let limiter = knowing(&["a", "b"]);
        let ten = tokens(10);
        let permit = acquire(&limiter, &[("a", &ten), ("b", &ten)]).unwrap();
        let correcting = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || {
                permit.correct(4, 0).unwrap();
                drop(limiter);
            })
        };
        let other = acquire(&limiter, &[("b", &ten), ("a", &ten)]).unwrap();
        assert_eq!(other.extend(2, 0), Ok(None));
        correcting.join().unwrap();
        assert_eq!(
            (left(&limiter, "a", &ten), left(&limiter, "b", &ten)),
            (3, 3)
        );
        other.cancel(0);
        assert_eq!(
            (left(&limiter, "a", &ten), left(&limiter, "b", &ten)),
            (6, 6)
        );
    });
}

/// Which account of that name is in the map when it was forgotten and made anew is the map's to say.
#[test]
fn an_account_is_forgotten_or_used_never_both() {
    check(3, || {
        let limiter = knowing(&["a"]);
        let two = per_hour(2);
        let evicting = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || limiter.evict(0))
        };
        assert!(acquire(&limiter, &[("a", &two)]).is_some());
        evicting.join().unwrap();
        assert_eq!(left(&limiter, "a", &two), 1);
        assert_eq!(limiter.evict(0), 0);
    });
}
