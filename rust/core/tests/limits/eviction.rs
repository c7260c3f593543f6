//! What is used no more is forgotten, and nothing else.

use cascadeflow_core::limits::{Limits, RateLimiter};

use super::{
    DAY, HOUR, MINUTE, SECOND, acquire, concurrent, passed, per_hour, per_second, policy, tokens,
};

#[test]
fn an_account_is_forgotten_when_its_last_window_is_over() {
    let limiter = RateLimiter::new();
    let all = policy(Limits {
        per_second: Some((5, 4)),
        per_minute: Some((50, 49)),
        per_hour: Some(10),
        per_day: Some(1_000),
        tokens_per_minute: Some(100),
        concurrent: Some(2),
    });
    drop(acquire(&limiter, &[("u", &all)], 5, 1).unwrap());
    // A thousand a day are counted in slots of 720 seconds.
    assert_eq!(limiter.evict(DAY + 720 * SECOND - 1), 0);
    assert_eq!(limiter.len(), 1);
    assert_eq!(limiter.evict(DAY + 720 * SECOND), 1);
    assert!(limiter.is_empty());
}

#[test]
fn each_limit_keeps_its_account_as_long_as_it_counts() {
    for (policy, until) in [
        (per_second(10, 0), SECOND / 10),
        (per_hour(10), HOUR),
        (tokens(10), MINUTE),
    ] {
        let limiter = RateLimiter::new();
        drop(acquire(&limiter, &[("u", &policy)], 1, 0).unwrap());
        assert_eq!(limiter.evict(until - 1), 0);
        assert_eq!(limiter.evict(until), 1);
    }
}

#[test]
fn a_permit_keeps_its_account() {
    let limiter = RateLimiter::new();
    let (lease, some) = (concurrent(1), tokens(10));
    let permit = acquire(&limiter, &[("u", &lease), ("g", &some)], 0, 0).unwrap();
    assert_eq!(limiter.evict(DAY), 0);
    // Nothing was reserved, and yet what it used counts where everybody sees it.
    let late = acquire(&limiter, &[("h", &some)], 0, DAY).unwrap();
    assert_eq!(limiter.evict(DAY), 0);
    late.correct(10, DAY).unwrap();
    assert!(acquire(&limiter, &[("h", &some)], 1, DAY).is_err());
    permit.release();
    assert_eq!(limiter.evict(DAY), 0);
    drop(permit);
    assert_eq!(limiter.evict(DAY), 2);
    drop(late);
    assert_eq!(limiter.evict(DAY + MINUTE), 1);
}

#[test]
fn a_clock_that_goes_back_finds_no_room_on_a_forgotten_account() {
    let (limiter, ten) = (RateLimiter::new(), per_hour(10));
    assert_eq!(passed(&limiter, &ten, 20, SECOND), 10);
    assert_eq!(limiter.evict(SECOND + HOUR), 1);
    // It counts as used when it was forgotten, and so it is free an hour after that.
    assert_eq!(passed(&limiter, &ten, 20, 2 * SECOND), 10);
    assert_eq!(passed(&limiter, &ten, 20, 2 * SECOND + HOUR), 10 - 10);
    let refusal = acquire(&limiter, &[("u", &ten)], 0, 2 * SECOND + HOUR).unwrap_err();
    assert_eq!(refusal.retry_ns, Some(HOUR - SECOND));
    assert_eq!(passed(&limiter, &ten, 20, SECOND + 2 * HOUR), 10);
}
