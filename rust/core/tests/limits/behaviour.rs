//! What it does, case by case.

use cascadeflow_core::limits::{
    LATEST_NS, LimitError, LimitName, Limits, MAX_LIMIT, MAX_TOKENS, Policy, RateLimiter,
};

use super::{
    DAY, HOUR, MINUTE, SECOND, acquire, concurrent, passed, per_hour, per_second, policy, tokens,
};

fn remaining(limiter: &RateLimiter, name: &str, policy: &Policy, now: u64) -> u64 {
    limiter.standings(&[(name, policy)], now).unwrap()[0].remaining
}

#[test]
fn ten_an_hour_is_ten_in_any_hour() {
    let (limiter, ten) = (RateLimiter::new(), per_hour(10));
    // Ten at the end of one clock hour, and ten more at the beginning of the next, would be 19 and more.
    assert_eq!(passed(&limiter, &ten, 1, HOUR / 2), 1);
    assert_eq!(passed(&limiter, &ten, 64, HOUR - 1), 9);
    assert_eq!(passed(&limiter, &ten, 64, HOUR), 0);
    assert_eq!(passed(&limiter, &ten, 64, HOUR + HOUR / 2 - 1), 0);
    assert_eq!(passed(&limiter, &ten, 64, HOUR + HOUR / 2), 1);
    assert_eq!(passed(&limiter, &ten, 64, 2 * HOUR - 2), 0);
    assert_eq!(passed(&limiter, &ten, 64, 2 * HOUR - 1), 9);
}

#[test]
fn a_thousand_an_hour_is_never_more_and_late_by_thirty_seconds_at_most() {
    let (limiter, thousand) = (RateLimiter::new(), per_hour(1_000));
    assert_eq!(passed(&limiter, &thousand, 2_000, 1), 1_000);
    assert_eq!(passed(&limiter, &thousand, 1, HOUR), 0);
    let refusal = acquire(&limiter, &[("u", &thousand)], 0, HOUR).unwrap_err();
    assert_eq!(refusal.retry_ns, Some(30 * SECOND));
    assert_eq!(
        passed(&limiter, &thousand, 2_000, HOUR + 30 * SECOND),
        1_000
    );
}

#[test]
fn a_flow_has_its_burst_and_then_its_rate() {
    let (limiter, policy) = (RateLimiter::new(), per_second(10, 4));
    assert_eq!(passed(&limiter, &policy, 20, 0), 5);
    assert_eq!(passed(&limiter, &policy, 20, SECOND / 10 - 1), 0);
    assert_eq!(passed(&limiter, &policy, 20, SECOND / 10), 1);
    assert_eq!(passed(&limiter, &policy, 20, SECOND / 2), 4);
    assert_eq!(passed(&limiter, &policy, 20, 9 * SECOND), 5);
}

/// A rate that divides no second into whole nanoseconds drifts neither way.
#[test]
fn seven_a_minute_are_seven_thousand_in_a_thousand_minutes() {
    let limiter = RateLimiter::new();
    let seven = policy(Limits {
        per_minute: Some((7, 1)),
        ..Limits::default()
    });
    assert_eq!(passed(&limiter, &seven, 9, 0), 2);
    let mut now = 0;
    for count in 1..=7_000_u64 {
        let due = u128::from(count) * u128::from(MINUTE);
        now = u64::try_from(due.div_ceil(7)).unwrap();
        let refusal = acquire(&limiter, &[("u", &seven)], 0, now - 1).unwrap_err();
        assert_eq!(refusal.retry_ns, Some(1));
        assert_eq!(passed(&limiter, &seven, 2, now), 1, "request {count}");
    }
    assert_eq!(now, 1_000 * MINUTE);
}

#[test]
fn the_largest_rate_passes_one_each_nanosecond() {
    let (limiter, policy) = (RateLimiter::new(), per_second(MAX_LIMIT, 0));
    for now in 0..1_000 {
        assert_eq!(passed(&limiter, &policy, 3, now), 1);
    }
}

#[test]
fn all_accounts_or_none() {
    let limiter = RateLimiter::new();
    let (many, one) = (per_hour(100), per_hour(1));
    let accounts = [("user:a", &many), ("tier:free", &many), ("global", &one)];
    acquire(&limiter, &accounts, 0, 0).unwrap();
    let refusal = acquire(&limiter, &accounts, 0, SECOND).unwrap_err();
    assert_eq!(refusal.account, "global");
    assert_eq!(refusal.blocked, ["global"]);
    assert_eq!(refusal.retry_ns, Some(HOUR - SECOND));
    assert_eq!(remaining(&limiter, "user:a", &many, SECOND), 99);
    assert_eq!(remaining(&limiter, "tier:free", &many, SECOND), 99);
    assert_eq!(limiter.len(), 3);
}

#[test]
fn a_refusal_remembers_nobody() {
    let (limiter, none) = (RateLimiter::new(), per_hour(0));
    for name in ["a", "b", "c"] {
        let refusal = acquire(&limiter, &[(name, &none)], 0, 0).unwrap_err();
        assert!(refusal.permanent && refusal.retry_ns.is_none());
    }
    assert!(limiter.is_empty());
}

#[test]
fn of_all_that_refuses_the_longest_is_named() {
    let limiter = RateLimiter::new();
    let user = policy(Limits {
        per_second: Some((1, 0)),
        per_day: Some(1),
        ..Limits::default()
    });
    let (tier, global) = (concurrent(1), tokens(5));
    let permit = acquire(
        &limiter,
        &[("u", &user), ("t", &tier), ("g", &global)],
        3,
        0,
    )
    .unwrap();
    let asked = |accounts: &[(&str, &Policy)], tokens| {
        let refusal = acquire(&limiter, accounts, tokens, SECOND / 2).unwrap_err();
        let named = (refusal.account.clone(), refusal.limit);
        (
            named,
            refusal.retry_ns,
            refusal.permanent,
            refusal.blocked.len(),
        )
    };
    let day = (
        ("u".to_owned(), LimitName::PerDay),
        Some(DAY - SECOND / 2),
        false,
        1,
    );
    assert_eq!(asked(&[("u", &user)], 0), day);
    let lease = (("t".to_owned(), LimitName::Concurrent), None, false, 2);
    assert_eq!(asked(&[("u", &user), ("t", &tier)], 0), lease);
    let never = (("g".to_owned(), LimitName::TokensPerMinute), None, true, 3);
    assert_eq!(
        asked(&[("u", &user), ("t", &tier), ("g", &global)], 6),
        never
    );
    drop(permit);
    assert_eq!(asked(&[("u", &user), ("t", &tier)], 0), day);
}

#[test]
fn tokens_are_reserved_corrected_and_free_after_a_minute() {
    let (limiter, hundred) = (RateLimiter::new(), tokens(100));
    let left = |now| remaining(&limiter, "u", &hundred, now);
    let permit = acquire(&limiter, &[("u", &hundred)], 60, SECOND).unwrap();
    assert_eq!(left(SECOND), 40);
    permit.correct(10, 2 * SECOND).unwrap();
    assert_eq!(left(2 * SECOND), 90);
    permit.correct(150, 3 * SECOND).unwrap();
    assert_eq!(left(3 * SECOND), 0);
    let refusal = acquire(&limiter, &[("u", &hundred)], 0, 3 * SECOND).unwrap_err();
    assert_eq!(refusal.retry_ns, Some(58 * SECOND));
    permit.correct(20, 4 * SECOND).unwrap();
    assert_eq!(left(4 * SECOND), 80);
    assert!(permit.extend(81, 30 * SECOND).unwrap().is_some());
    assert!(permit.extend(80, 30 * SECOND).unwrap().is_none());
    assert_eq!(left(30 * SECOND), 0);
    // What was reserved last is given back first.
    permit.correct(50, 30 * SECOND).unwrap();
    assert_eq!(left(30 * SECOND), 50);
    assert_eq!(left(61 * SECOND - 1), 50);
    assert_eq!(left(61 * SECOND), 70);
    assert_eq!(left(90 * SECOND), 100);
    permit.correct(1_000, 90 * SECOND).unwrap();
    assert_eq!(left(90 * SECOND), 100, "what is over cannot be set right");
}

#[test]
fn what_is_cancelled_leaves_hours_days_and_tokens_but_not_seconds() {
    let limiter = RateLimiter::new();
    let all = policy(Limits {
        per_second: Some((5, 4)),
        per_minute: Some((50, 49)),
        per_hour: Some(10),
        per_day: Some(1_000),
        tokens_per_minute: Some(100),
        concurrent: Some(2),
    });
    let left = || -> Vec<u64> {
        let standings = limiter.standings(&[("u", &all)], 7).unwrap();
        standings
            .iter()
            .map(|standing| standing.remaining)
            .collect()
    };
    let unused = left();
    assert_eq!(unused, [5, 50, 10, 1_000, 100, 2]);
    let permit = acquire(&limiter, &[("u", &all)], 30, 7).unwrap();
    assert_eq!(left(), [4, 49, 9, 999, 70, 1]);
    permit.cancel(7);
    assert_eq!(left(), [4, 49, 10, 1_000, 100, 2]);
    permit.cancel(7);
    permit.release();
    drop(permit);
    assert_eq!(left(), [4, 49, 10, 1_000, 100, 2]);
}

#[test]
fn a_lease_ends_once_however_it_ends() {
    let (limiter, two) = (RateLimiter::new(), concurrent(2));
    let left = || remaining(&limiter, "u", &two, 0);
    let first = acquire(&limiter, &[("u", &two)], 0, 0).unwrap();
    let second = acquire(&limiter, &[("u", &two)], 0, 0).unwrap();
    let refusal = acquire(&limiter, &[("u", &two)], 0, 0).unwrap_err();
    assert!(refusal.retry_ns.is_none() && !refusal.permanent);
    first.release();
    first.release();
    first.cancel(0);
    drop(first);
    assert_eq!(left(), 1);
    drop(second);
    assert_eq!(left(), 2);
}

#[test]
fn a_limit_may_be_changed_and_what_was_used_counts() {
    let limiter = RateLimiter::new();
    assert_eq!(passed(&limiter, &per_hour(5), 9, 0), 5);
    assert_eq!(passed(&limiter, &per_hour(8), 9, 1), 3);
    assert_eq!(passed(&limiter, &per_hour(2), 9, 2), 0);
    // Of more than 120 an hour, the instant is rounded up; those that were are not.
    assert_eq!(passed(&limiter, &per_hour(200), 500, 3), 192);
    assert_eq!(passed(&limiter, &per_hour(200), 500, HOUR), 5);
    assert_eq!(passed(&limiter, &per_hour(200), 500, HOUR + 2), 3);
    assert_eq!(
        passed(&limiter, &per_hour(200), 500, HOUR + 30 * SECOND - 1),
        0
    );
    assert_eq!(
        passed(&limiter, &per_hour(200), 500, HOUR + 30 * SECOND),
        192
    );
}

#[test]
fn a_faster_flow_does_not_wait_for_a_slower_ones_time() {
    let limiter = RateLimiter::new();
    let slow = policy(Limits {
        per_minute: Some((1, 0)),
        ..Limits::default()
    });
    let fast = policy(Limits {
        per_minute: Some((100, 99)),
        ..Limits::default()
    });
    assert_eq!(passed(&limiter, &slow, 5, 0), 1);
    // The one is due in a minute: a hundred might have passed in it, and one may be 59.4 s early.
    assert_eq!(passed(&limiter, &fast, 500, 0), 0);
    assert_eq!(passed(&limiter, &fast, 500, 6 * SECOND / 10), 1);
    assert_eq!(passed(&limiter, &slow, 5, MINUTE), 0);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let (limiter, policy) = (RateLimiter::new(), per_second(1, 0));
    assert_eq!(passed(&limiter, &policy, 1, 10 * SECOND), 1);
    let refusal = acquire(&limiter, &[("u", &policy)], 0, 4 * SECOND).unwrap_err();
    assert_eq!(refusal.retry_ns, Some(7 * SECOND));
    assert_eq!(passed(&limiter, &policy, 1, 11 * SECOND - 1), 0);
    assert_eq!(passed(&limiter, &policy, 1, 11 * SECOND), 1);
}

#[test]
fn the_end_of_time_is_no_trouble() {
    let limiter = RateLimiter::new();
    let all = policy(Limits {
        per_second: Some((1, MAX_LIMIT)),
        per_minute: Some((1, 50_000_000)),
        per_hour: Some(MAX_LIMIT),
        per_day: Some(MAX_LIMIT),
        tokens_per_minute: Some(MAX_TOKENS),
        concurrent: Some(MAX_LIMIT),
    });
    for now in [LATEST_NS, u64::MAX] {
        let permit = acquire(&limiter, &[("u", &all)], MAX_TOKENS / 2, now).unwrap();
        permit.correct(0, now).unwrap();
        assert!(!permit.standings(now).is_empty());
        permit.cancel(now);
    }
    assert_eq!(limiter.evict(u64::MAX), 0);
}

#[test]
fn corrections_beyond_all_bounds_stay_over_the_limit() {
    let (limiter, some) = (RateLimiter::new(), tokens(MAX_TOKENS));
    let permits: Vec<_> = (0..100)
        .map(|_| acquire(&limiter, &[("u", &some)], 0, 0).unwrap())
        .collect();
    for permit in &permits {
        permit.correct(MAX_TOKENS, 0).unwrap();
    }
    assert!(acquire(&limiter, &[("u", &some)], 0, 0).is_err());
    for permit in &permits {
        permit.correct(1, 0).unwrap();
    }
    assert_eq!(remaining(&limiter, "u", &some, 0), MAX_TOKENS - 100);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refuse = |limits: Limits| Policy::new(&limits).unwrap_err();
    let too_many = refuse(Limits {
        per_day: Some(MAX_LIMIT + 1),
        ..Limits::default()
    });
    assert_eq!(
        too_many.to_string(),
        "per_day is at most 1000000000, not 1000000001"
    );
    let burst = refuse(Limits {
        per_minute: Some((1, 50_000_001)),
        ..Limits::default()
    });
    assert!(matches!(
        burst,
        LimitError::BurstTooLarge {
            given: 50_000_001,
            ..
        }
    ));
    let too_many = refuse(Limits {
        tokens_per_minute: Some(u64::MAX),
        ..Limits::default()
    });
    assert!(matches!(too_many, LimitError::LimitTooLarge { .. }));

    let (limiter, one) = (RateLimiter::new(), per_hour(1));
    let error =
        |accounts: &[(&str, &Policy)], tokens| limiter.acquire(accounts, tokens, 0).unwrap_err();
    assert_eq!(error(&[], 0), LimitError::NoAccounts);
    assert_eq!(
        error(&[("a", &one), ("b", &one), ("a", &one)], 0),
        LimitError::RepeatedAccount
    );
    assert_eq!(error(&[("a", &one); 9], 0), LimitError::TooManyAccounts);
    let tokens = MAX_TOKENS + 1;
    assert_eq!(
        error(&[("a", &one)], tokens),
        LimitError::TooManyTokens(tokens)
    );
    let permit = acquire(&limiter, &[("a", &one)], 0, 0).unwrap();
    assert!(permit.extend(tokens, 0).is_err() && permit.correct(tokens, 0).is_err());
}

#[test]
fn eight_accounts_are_one_request() {
    let (limiter, two) = (RateLimiter::new(), per_hour(2));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let accounts: Vec<(&str, &Policy)> = names.iter().map(|name| (*name, &two)).collect();
    assert!(acquire(&limiter, &accounts, 0, 0).is_ok());
    assert!(acquire(&limiter, &accounts[3..4], 0, 0).is_ok());
    let refusal = acquire(&limiter, &accounts, 0, 0).unwrap_err();
    assert_eq!(refusal.blocked, ["d"]);
}
