//! What the comparison with the obvious ledger does not reach.

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{
    Amounts, Cause, HoldId, Ledger, LedgerError, MAX_SCOPES, Opening, Reservation, ScopeId,
};
use cascadeflow_core::money::Nanodollars;

use crate::{DAY, NOW, nano, of_day, of_total, open, reserve, same};

#[test]
fn a_limit_of_zero_refuses_all_but_nothing() {
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "a", &of_day(0));
    assert!(reserve(&ledger, &[scope], 1, NOW).is_none());
    assert!(reserve(&ledger, &[scope], 0, NOW).is_some());
}

#[test]
fn a_hold_can_be_on_sixty_four_scopes_in_any_order() {
    let ledger = Ledger::new(0);
    let mut scopes: Vec<ScopeId> = (0..=MAX_SCOPES)
        .map(|n| open(&ledger, &format!("s{n}"), &of_day(100)))
        .collect();
    let too_many = ledger.reserve(&scopes, same(1), NOW, NOW, None, false);
    assert_eq!(too_many, Err(LedgerError::TooManyScopes));
    scopes.pop();
    scopes.reverse();
    let amounts: Vec<Nanodollars> = (0..MAX_SCOPES as u64).map(nano).collect();
    let reserved = ledger.reserve(&scopes, Amounts::Each(&amounts), NOW, NOW, None, false);
    let Ok(Reservation::Held(hold)) = reserved else {
        panic!("{reserved:?}");
    };
    let expected: Vec<_> = scopes
        .iter()
        .copied()
        .zip(amounts.iter().copied())
        .collect();
    assert_eq!(ledger.held_amounts(hold), Ok(expected));
    ledger.settle(hold, Amounts::Each(&amounts), NOW).unwrap();
    for (scope, amount) in scopes.iter().zip(amounts) {
        assert_eq!(ledger.total(*scope), Ok((amount, Nanodollars::ZERO)));
    }
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "a", &of_day(100));
    let ask = |scopes: &[ScopeId], amounts| ledger.reserve(scopes, amounts, NOW, NOW, None, false);
    assert_eq!(ask(&[], same(1)), Err(LedgerError::NoScopes));
    assert_eq!(
        ask(&[scope, scope], same(1)),
        Err(LedgerError::RepeatedScope)
    );
    let count = LedgerError::AmountCount {
        expected: 1,
        given: 2,
    };
    assert_eq!(
        ask(&[scope], Amounts::Each(&[nano(1), nano(1)])),
        Err(count)
    );
    let hold = reserve(&ledger, &[scope], 1, NOW).unwrap();
    assert_eq!(
        ledger.settle(hold, Amounts::Each(&[nano(1), nano(1)]), NOW),
        Err(count)
    );
    assert_eq!(
        ledger.extend(hold, Amounts::Each(&[]), NOW, false),
        Err(LedgerError::AmountCount {
            expected: 1,
            given: 0
        })
    );
    for unknown in [0, 1, hold.get() + (1 << 24), 77 << 24 | 9, u64::MAX] {
        let unknown = HoldId::from_raw(unknown);
        assert_eq!(ledger.release(unknown, NOW), Err(LedgerError::UnknownHold));
        assert!(!ledger.renew(unknown, NOW));
    }
    let day = Window::day("UTC").unwrap();
    assert_eq!(
        ledger.set_limits(scope, &[(day, None), (day, None)], NOW),
        Err(LedgerError::RepeatedWindow)
    );
    for nowhere in [
        ScopeId::from_raw(5),
        ScopeId::from_raw(scope.get() | 1 << 24),
        ScopeId::from_raw(u64::MAX),
    ] {
        assert_eq!(ledger.total(nowhere), Err(LedgerError::UnknownScope));
        let refused = ledger
            .reserve(&[nowhere], same(1), NOW, NOW, None, true)
            .unwrap();
        assert!(matches!(refused, Reservation::Refused(refusal) if refusal.cause == Cause::Stale));
    }
}

#[test]
fn nothing_is_held_above_what_can_be_counted() {
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "a", &[(Window::total(), None)]);
    let most = Nanodollars::MAX.get();
    let hold = reserve(&ledger, &[scope], most, NOW).unwrap();
    for force in [false, true] {
        let more = ledger.reserve(&[scope], same(1), NOW, NOW, None, force);
        assert_eq!(more, Err(LedgerError::TooLarge));
    }
    ledger.set_limits(scope, &of_total(5), NOW).unwrap();
    let more = ledger.reserve(&[scope], same(1), NOW, NOW, None, true);
    assert_eq!(more, Err(LedgerError::TooLarge));
    ledger
        .set_limits(scope, &[(Window::total(), None)], NOW)
        .unwrap();
    ledger.release(hold, NOW).unwrap();
    // All that was ever reserved is more than the word can count by far.
    for _ in 0..20 {
        let hold = reserve(&ledger, &[scope], most, NOW).unwrap();
        ledger.settle(hold, same(1), NOW).unwrap();
        let hold = reserve(&ledger, &[scope], most - 1_000, NOW).unwrap();
        ledger.release(hold, NOW).unwrap();
        assert_eq!(ledger.adjust(scope, -1, NOW), Ok(-1));
    }
    assert_eq!(
        ledger.total(scope),
        Ok((Nanodollars::ZERO, Nanodollars::ZERO))
    );
    assert_eq!(
        ledger.adjust(scope, i64::MIN, NOW),
        Err(LedgerError::TooLarge)
    );
}

#[test]
fn instants_at_the_ends_of_time_are_taken() {
    let ledger = Ledger::new(i64::MAX);
    let limits = [
        (Window::day("Europe/Oslo").unwrap(), Some(nano(5))),
        (Window::rolling(10, 10).unwrap(), Some(nano(5))),
    ];
    let scope = open(&ledger, "a", &limits);
    for now in [i64::MIN, 0, i64::MAX, NOW, i64::MAX] {
        let reserved = ledger.reserve(&[scope], same(1), now, i64::MAX, None, false);
        assert!(
            matches!(reserved, Ok(Reservation::Held(_))),
            "{now}: {reserved:?}"
        );
        assert_eq!(ledger.standing(scope, now).unwrap().len(), 2);
    }
    assert_eq!(ledger.expire(i64::MAX).len(), 5);
    assert!(ledger.evict(i64::MAX, i64::MIN).is_empty());
}

#[test]
fn a_scope_in_use_lately_is_not_evicted() {
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "a", &of_day(100));
    let other = open(&ledger, "b", &of_day(100));
    let hold = reserve(&ledger, &[scope], 10, NOW + 2 * DAY).unwrap();
    ledger.release(hold, NOW + 3 * DAY).unwrap();
    let evicted = ledger.evict(NOW + 4 * DAY, 2 * DAY);
    assert_eq!(
        evicted
            .iter()
            .map(|one| one.name.name())
            .collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(ledger.find_scope("user", "b"), None);
    let again = open(&ledger, "b", &of_day(100));
    assert_ne!(again, other);
    assert_eq!(ledger.evict(NOW + 6 * DAY, 2 * DAY).len(), 2);
}

#[test]
fn what_counts_for_ever_is_never_evicted_unless_a_store_knows_it() {
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "a", &of_total(100));
    let hold = reserve(&ledger, &[scope], 10, NOW).unwrap();
    ledger.settle(hold, same(10), NOW).unwrap();
    assert_eq!(ledger.evict(NOW + 999 * DAY, 0), []);
    ledger.set_grant(scope, Some(nano(50))).unwrap();
    let evicted = ledger.evict(NOW + 999 * DAY, 0);
    assert_eq!(
        evicted.iter().map(|one| one.total).collect::<Vec<_>>(),
        [nano(10)]
    );
}

#[test]
fn kinds_and_names_do_not_run_together() {
    let ledger = Ledger::new(0);
    let opened = |kind, name| {
        ledger
            .open_scope(kind, name, &[], NOW, &Opening::default())
            .unwrap()
    };
    let (one, other) = (opened("user", "1"), opened("use", "r1"));
    assert_ne!(one, other);
    assert_eq!(opened("user", "1"), one);
    let name = ledger.scope_name(other).unwrap();
    assert_eq!((name.kind(), name.name()), ("use", "r1"));
    assert_eq!(ledger.scopes().len(), 2);
}

/// The cell of a hold is used again at once: its old id must stay what it was.
#[test]
fn an_old_id_never_means_a_new_hold() {
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "a", &of_day(100));
    let old = reserve(&ledger, &[scope], 10, NOW).unwrap();
    ledger.release(old, NOW).unwrap();
    for _ in 0..100 {
        let new = reserve(&ledger, &[scope], 10, NOW).unwrap();
        assert_ne!(new, old);
        assert!(!ledger.renew(old, NOW + DAY));
        ledger.settle(old, same(5), NOW).unwrap();
        assert_eq!(ledger.total(scope), Ok((nano(0), nano(10))));
        ledger.release(new, NOW).unwrap();
    }
}

#[test]
fn a_window_that_is_added_late_can_count_back() {
    let ledger = Ledger::new(DAY);
    let scope = open(&ledger, "a", &of_day(100));
    let first = reserve(&ledger, &[scope], 10, NOW).unwrap();
    ledger.settle(first, same(7), NOW).unwrap();
    let open_one = reserve(&ledger, &[scope], 20, NOW).unwrap();
    let limits = [of_day(100)[0], of_total(30)[0]];
    ledger.set_limits(scope, &limits, NOW).unwrap();
    let total = || {
        let standing = ledger.standing(scope, NOW).unwrap();
        (standing[1].spent.get(), standing[1].held.get())
    };
    assert_eq!(total(), (0, 0));
    for _ in 0..2 {
        ledger.count_since(scope, &[None, Some(0)], NOW).unwrap();
        assert_eq!(total(), (7, 20));
        // It counts more, never less.
        ledger.count_since(scope, &[None, Some(5)], NOW).unwrap();
        assert_eq!(total(), (7, 20));
    }
    assert!(reserve(&ledger, &[scope], 4, NOW).is_none());
    let more = reserve(&ledger, &[scope], 3, NOW).unwrap();
    ledger.settle(open_one, same(1), NOW).unwrap();
    assert_eq!(total(), (8, 3));
    ledger.settle(more, same(3), NOW).unwrap();
    ledger.count_since(scope, &[None, Some(-9)], NOW).unwrap();
    assert_eq!(total(), (20, 0));
    assert_eq!(ledger.standing(scope, NOW).unwrap()[0].spent, nano(11));
    // What is taken off later is taken off what the period has.
    assert_eq!(ledger.adjust(scope, -100, NOW), Ok(-11));
    assert_eq!(total(), (9, 0));
    assert!(reserve(&ledger, &[scope], 22, NOW).is_none());
    assert_eq!(
        ledger.count_since(scope, &[Some(i64::MIN)], NOW),
        Err(LedgerError::TooLarge)
    );
    assert_eq!(
        ledger.count_since(ScopeId::from_raw(5), &[], NOW),
        Err(LedgerError::UnknownScope)
    );
}

#[test]
fn a_window_that_counts_back_begins_its_next_period_at_nothing() {
    let ledger = Ledger::new(DAY);
    let scope = open(&ledger, "a", &of_total(1_000));
    let hold = reserve(&ledger, &[scope], 40, NOW).unwrap();
    ledger.settle(hold, same(40), NOW).unwrap();
    let limits = [of_total(1_000)[0], of_day(50)[0]];
    ledger.set_limits(scope, &limits, NOW).unwrap();
    ledger
        .count_since(scope, &[None, Some(10), Some(0)], NOW)
        .unwrap();
    assert!(reserve(&ledger, &[scope], 21, NOW).is_none());
    assert!(reserve(&ledger, &[scope], 20, NOW).is_some());
    assert!(reserve(&ledger, &[scope], 50, NOW + DAY).is_some());
}
