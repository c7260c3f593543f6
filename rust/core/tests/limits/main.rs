//! The rate limiter beside a slow and obvious one, and under threads.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod behaviour;
mod eviction;
mod model;
mod sequential;
mod threads;

use cascadeflow_core::limits::{Limits, Outcome, Permit, Policy, RateLimiter, Refusal};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

pub(crate) fn policy(limits: Limits) -> Policy {
    Policy::new(&limits).unwrap()
}

pub(crate) fn per_second(limit: u64, burst: u64) -> Policy {
    policy(Limits {
        per_second: Some((limit, burst)),
        ..Limits::default()
    })
}

pub(crate) fn per_hour(limit: u64) -> Policy {
    policy(Limits {
        per_hour: Some(limit),
        ..Limits::default()
    })
}

pub(crate) fn tokens(limit: u64) -> Policy {
    policy(Limits {
        tokens_per_minute: Some(limit),
        ..Limits::default()
    })
}

pub(crate) fn concurrent(limit: u64) -> Policy {
    policy(Limits {
        concurrent: Some(limit),
        ..Limits::default()
    })
}

pub(crate) fn acquire(
    limiter: &RateLimiter,
    accounts: &[(&str, &Policy)],
    tokens: u64,
    now: u64,
) -> Result<Permit, Refusal> {
    match limiter.acquire(accounts, tokens, now).unwrap() {
        Outcome::Passed(permit) => Ok(permit),
        Outcome::Refused(refusal) => Err(refusal),
    }
}

/// Of so many requests at the same instant, how many pass; their permits are kept by nobody.
pub(crate) fn passed(limiter: &RateLimiter, policy: &Policy, requests: u64, now: u64) -> u64 {
    let pass = |_: &u64| acquire(limiter, &[("u", policy)], 0, now).is_ok();
    u64::try_from((0..requests).filter(pass).count()).unwrap()
}
