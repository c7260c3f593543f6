//! Every order in which the ledger's atomic steps can fall, for small cases.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p cascadeflow-core --release --test ledger_loom`, with a target
//! directory of its own. The number of times that a thread is interrupted is bounded; within it, all
//! orders are tried, and all that the memory model lets a thread see.

#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{
    Amounts, HoldId, Ledger, Limit, Opening, Outcome, Reservation, ScopeId,
};
use cascadeflow_core::money::Nanodollars;
use loom::sync::Arc;
use loom::thread;

const NOW: i64 = 1_000_000_000;
const LATE: i64 = 1_000_000;

fn nano(amount: u64) -> Nanodollars {
    Nanodollars::new(amount).unwrap()
}

fn same(amount: u64) -> Amounts<'static> {
    Amounts::Same(nano(amount))
}

fn total(limit: u64) -> Limit {
    (Window::total(), Some(nano(limit)))
}

/// Buckets of two seconds, of which two count together.
fn rolling(limit: u64) -> Limit {
    (Window::rolling(2, 1).unwrap(), Some(nano(limit)))
}

fn open(ledger: &Ledger, name: &str, limit: Limit) -> ScopeId {
    ledger
        .open_scope("user", name, &[limit], NOW, &Opening::default())
        .unwrap()
}

fn reserve(ledger: &Ledger, scopes: &[ScopeId], amount: u64, now: i64) -> Option<HoldId> {
    match ledger.reserve(scopes, same(amount), now, now + 10, None, false) {
        Ok(Reservation::Held(hold)) => Some(hold),
        Ok(Reservation::Refused(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

fn spent_and_held(ledger: &Ledger, scope: ScopeId) -> (u64, u64) {
    let (spent, held) = ledger.total(scope).unwrap();
    (spent.get(), held.get())
}

fn check(interruptions: usize, case: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(interruptions);
    model.max_branches = 100_000;
    model.check(case);
}

#[test]
fn of_two_who_want_the_same_two_scopes_one_gets_both() {
    check(3, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let (a, b) = (open(&ledger, "a", total(1)), open(&ledger, "b", total(1)));
        let other = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || reserve(&ledger, &[b, a], 1, NOW).is_some())
        };
        let mine = reserve(&ledger, &[a, b], 1, NOW).is_some();
        assert_ne!(mine, other.join().unwrap());
        assert_eq!(spent_and_held(&ledger, a), (0, 1));
        assert_eq!(spent_and_held(&ledger, b), (0, 1));
    });
}

/// One may be helped to its end and covered by the other before its own thread goes on.
#[test]
fn two_that_fit_beside_each_other_are_each_held_once() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let (a, b) = (open(&ledger, "a", total(9)), open(&ledger, "b", total(9)));
        let other = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || reserve(&ledger, &[a, b], 1, NOW).unwrap())
        };
        let mine = reserve(&ledger, &[a, b], 2, NOW).unwrap();
        let other = other.join().unwrap();
        assert_eq!(spent_and_held(&ledger, a), (0, 3));
        assert_eq!(spent_and_held(&ledger, b), (0, 3));
        ledger.settle(mine, same(0), NOW).unwrap();
        ledger.settle(other, same(1), NOW).unwrap();
        assert_eq!(spent_and_held(&ledger, a), (1, 0));
        assert_eq!(spent_and_held(&ledger, b), (1, 0));
    });
}

#[test]
fn a_refused_reservation_leaves_nothing_and_refuses_nobody() {
    check(3, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let (a, b) = (open(&ledger, "a", total(1)), open(&ledger, "b", total(1)));
        let both = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || reserve(&ledger, &[a, b], 1, NOW).is_some())
        };
        let second = reserve(&ledger, &[b], 1, NOW).is_some();
        let first = reserve(&ledger, &[a], 1, NOW).is_some();
        let both = both.join().unwrap();
        // Either the one has both, or the other has each.
        assert_eq!((first, second), (!both, !both));
        assert_eq!(spent_and_held(&ledger, a), (0, 1));
        assert_eq!(spent_and_held(&ledger, b), (0, 1));
    });
}

#[test]
fn what_fits_beside_two_others_is_never_refused() {
    check(1, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let (a, b) = (open(&ledger, "a", total(2)), open(&ledger, "b", total(1)));
        let contend = |ledger: &Arc<Ledger>| {
            let ledger = Arc::clone(ledger);
            thread::spawn(move || reserve(&ledger, &[a, b], 1, NOW).is_some())
        };
        let (one, two) = (contend(&ledger), contend(&ledger));
        // At most one of them gets b, so one unit of a is left.
        assert!(reserve(&ledger, &[a], 1, NOW).is_some());
        assert_ne!(one.join().unwrap(), two.join().unwrap());
        assert_eq!(spent_and_held(&ledger, a), (0, 2));
        assert_eq!(spent_and_held(&ledger, b), (0, 1));
    });
}

#[test]
fn a_settlement_makes_room_exactly_once() {
    check(3, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let (a, b) = (open(&ledger, "a", total(3)), open(&ledger, "b", total(3)));
        let hold = reserve(&ledger, &[a, b], 3, NOW).unwrap();
        let settling = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.settle(hold, same(1), NOW).unwrap())
        };
        let held = reserve(&ledger, &[a, b], 2, NOW).is_some();
        assert_eq!(settling.join().unwrap().outcome, Outcome::Settled);
        let expected = if held { (1, 2) } else { (1, 0) };
        assert_eq!(spent_and_held(&ledger, a), expected);
        assert_eq!(spent_and_held(&ledger, b), expected);
        assert!(held || reserve(&ledger, &[a, b], 2, NOW).is_some());
    });
}

#[test]
fn a_period_that_ends_meanwhile_tears_no_reservation_apart() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let (a, b) = (
            open(&ledger, "a", rolling(1)),
            open(&ledger, "b", rolling(1)),
        );
        let later = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || reserve(&ledger, &[a], 1, NOW + 10_000).is_some())
        };
        let both = reserve(&ledger, &[a, b], 1, NOW).is_some();
        let later = later.join().unwrap();
        assert!(both || later);
        let used = u64::from(both) + u64::from(later);
        assert_eq!(spent_and_held(&ledger, a), (0, used));
        assert_eq!(spent_and_held(&ledger, b), (0, u64::from(both)));
    });
}

#[test]
fn a_settlement_across_the_end_of_a_period_is_booked_once() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", rolling(10));
        let hold = reserve(&ledger, &[a], 4, NOW).unwrap();
        let later = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || reserve(&ledger, &[a], 10, NOW + 10_000).is_some())
        };
        ledger.settle(hold, same(1), NOW).unwrap();
        assert!(later.join().unwrap(), "the period before does not count");
        assert_eq!(spent_and_held(&ledger, a), (1, 10));
        let now = ledger.standing(a, NOW + 10_000).unwrap();
        assert_eq!((now[0].spent.get(), now[0].held.get()), (0, 10));
    });
}

#[test]
fn two_changes_of_a_scope_are_both_made() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", total(10));
        let changing = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.adjust(a, 3, NOW).unwrap())
        };
        let held = reserve(&ledger, &[a], 2, NOW).is_some();
        ledger.set_limits(a, &[total(6)], NOW).unwrap();
        assert_eq!(changing.join().unwrap(), 3);
        assert!(held);
        assert_eq!(spent_and_held(&ledger, a), (3, 2));
        let standing = ledger.standing(a, NOW).unwrap();
        assert_eq!(standing[0].limit, Some(nano(6)));
    });
}

#[test]
fn a_hold_that_expires_while_it_is_settled_ends_once() {
    check(3, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", total(10));
        let hold = reserve(&ledger, &[a], 4, NOW).unwrap();
        let expiring = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.expire(NOW + 100).len())
        };
        let settled = ledger.settle(hold, same(1), NOW).unwrap().outcome;
        let expired = expiring.join().unwrap();
        assert_eq!(expired == 1, settled == Outcome::Corrected);
        assert_eq!(spent_and_held(&ledger, a), (1, 0));
    });
}

#[test]
fn of_two_settlements_and_an_expiry_each_counts_once() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", total(10));
        let hold = reserve(&ledger, &[a], 4, NOW).unwrap();
        let expiring = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || drop(ledger.expire(NOW + 100)))
        };
        let other = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.settle(hold, same(1), NOW).unwrap().outcome)
        };
        let mine = ledger.settle(hold, same(2), NOW).unwrap().outcome;
        let other = other.join().unwrap();
        expiring.join().unwrap();
        let already = |outcome| outcome == Outcome::Already;
        assert_ne!(already(mine), already(other));
        let booked = if already(mine) { 1 } else { 2 };
        assert_eq!(spent_and_held(&ledger, a), (booked, 0));
    });
}

#[test]
fn a_hold_that_is_renewed_does_not_expire_and_one_that_expires_is_not_renewed() {
    check(3, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", total(10));
        let hold = reserve(&ledger, &[a], 4, NOW).unwrap();
        let expiring = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.expire(NOW + 100).len())
        };
        let renewed = ledger.renew(hold, NOW + 200);
        assert_eq!(expiring.join().unwrap() == 1, !renewed);
    });
}

#[test]
fn an_extension_is_held_by_the_hold_or_not_at_all() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", total(10));
        let hold = reserve(&ledger, &[a], 4, NOW).unwrap();
        let extending = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.extend(hold, same(5), NOW, false) == Ok(None))
        };
        let settled = ledger.settle(hold, same(6), NOW).unwrap();
        let extended = extending.join().unwrap();
        let overrun = if extended { 0 } else { 2 };
        assert_eq!(settled.overrun, nano(overrun));
        assert_eq!(spent_and_held(&ledger, a), (6, 0));
        assert_eq!(ledger.open_holds(), 0);
    });
}

#[test]
fn a_scope_is_evicted_or_reserved_on_never_both() {
    check(2, || {
        let ledger = Arc::new(Ledger::new(LATE));
        let a = open(&ledger, "a", total(10));
        let evicting = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.evict(NOW, 0).len())
        };
        let held = reserve(&ledger, &[a], 4, NOW).is_some();
        assert_eq!(evicting.join().unwrap() == 1, !held);
    });
}
