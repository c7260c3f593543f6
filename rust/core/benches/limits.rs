//! What a rate limit costs: acquire and release on one to three accounts of three limits each, beside
//! one mutex over plain deques; on one and two threads; and what is refused.
//!
//! `cargo bench -p cascadeflow-core --bench limits`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark is no library"
)]

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cascadeflow_core::limits::{Limits, Outcome, Policy, RateLimiter};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SECOND: u64 = 1_000_000_000;
const PER_HOUR: u64 = 1_000_000;
/// A request each tenth of a second.
const APART: u64 = SECOND / 10;

fn policy() -> Policy {
    Policy::new(&Limits {
        per_minute: Some((10_000, 9_999)),
        per_hour: Some(PER_HOUR),
        concurrent: Some(100),
        ..Limits::default()
    })
    .unwrap()
}

fn pass(limiter: &RateLimiter, accounts: &[(&str, &Policy)], now: u64) {
    match limiter.acquire(accounts, 0, now).unwrap() {
        Outcome::Passed(permit) => black_box(permit).release(),
        Outcome::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// The reference: all in one mutex.
#[derive(Default)]
struct Plain {
    minute: f64,
    at: u64,
    hour: VecDeque<u64>,
    under_way: u32,
}

#[expect(clippy::cast_precision_loss, reason = "that is what plain limiters do")]
fn plain_pass(plain: &Mutex<HashMap<String, Plain>>, accounts: &[&str], now: u64) {
    let mut known = plain.lock().unwrap();
    for name in accounts {
        if !known.contains_key(*name) {
            known.insert((*name).to_owned(), Plain::default());
        }
        let account = known.get_mut(*name).unwrap();
        let passed = (now - account.at) as f64 * 10_000.0 / (60 * SECOND) as f64;
        account.minute = (account.minute - passed).max(0.0);
        account.at = now;
        while account
            .hour
            .front()
            .is_some_and(|at| at + 3_600 * SECOND <= now)
        {
            account.hour.pop_front();
        }
        let hour = u64::try_from(account.hour.len()).unwrap();
        assert!(account.minute < 10_000.0 && hour < PER_HOUR && account.under_way < 100);
    }
    for name in accounts {
        let account = known.get_mut(*name).unwrap();
        account.minute += 1.0;
        account.hour.push_back(now);
        account.under_way += 1;
    }
    drop(known);
    let mut known = plain.lock().unwrap();
    for name in accounts {
        known.get_mut(*name).unwrap().under_way -= 1;
    }
}

/// How long `count` calls take, split over threads that start together.
fn on_threads(threads: usize, count: u64, call: impl Fn(usize) + Sync) -> Duration {
    let barrier = Barrier::new(threads + 1);
    let each = count / threads as u64 + 1;
    thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, call) = (&barrier, &call);
            scope.spawn(move || {
                barrier.wait();
                (0..each).for_each(|_| call(thread));
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

fn passes(c: &mut Criterion) {
    let policy = policy();
    let names = ["user:u1", "tier:pro", "global"];
    let mut group = c.benchmark_group("acquire and release, 3 limits");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    for count in 1..=names.len() {
        let limiter = RateLimiter::new();
        let accounts: Vec<(&str, &Policy)> = names.map(|name| (name, &policy))[..count].to_vec();
        let mut now = 0;
        group.bench_function(format!("{count} accounts"), |b| {
            b.iter(|| {
                now += APART;
                pass(&limiter, &accounts, now);
            });
        });
    }
    for count in 1..=names.len() {
        let plain = Mutex::new(HashMap::new());
        let mut now = 0;
        group.bench_function(format!("{count} accounts, one mutex"), |b| {
            b.iter(|| {
                now += APART;
                plain_pass(&plain, &names[..count], now);
            });
        });
    }
    for (what, own) in [
        ("sharing one of 2 accounts", false),
        ("sharing none of 2", true),
    ] {
        let limiter = RateLimiter::new();
        let clock = AtomicU64::new(0);
        let users = ["user:u1", "user:u2"];
        let shared = if own {
            ["tier:a", "tier:b"]
        } else {
            ["global"; 2]
        };
        group.bench_function(format!("2 threads {what}"), |b| {
            b.iter_custom(|count| {
                on_threads(2, count, |thread| {
                    let now = clock.fetch_add(APART, Ordering::Relaxed);
                    let accounts = [(users[thread], &policy), (shared[thread], &policy)];
                    pass(&limiter, &accounts, now);
                })
            });
        });
    }
    group.finish();
}

fn crowds(c: &mut Criterion) {
    let policy = policy();
    let limiter = RateLimiter::new();
    let names: Vec<String> = (0..1_000_000)
        .map(|number| format!("user:{number}"))
        .collect();
    for name in &names {
        pass(&limiter, &[(name, &policy)], 0);
    }
    let mut group = c.benchmark_group("acquire and release, 3 limits, 1,000,000 users");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let (mut number, mut now) = (0_usize, 0);
    group.bench_function("each in turn", |b| {
        b.iter(|| {
            number = (number + 7_919) % names.len();
            now += 1_000;
            pass(&limiter, &[(&names[number], &policy)], now);
        });
    });
    group.finish();
}

fn refusals(c: &mut Criterion) {
    let (policy, limiter) = (policy(), RateLimiter::new());
    let full = Policy::new(&Limits {
        per_hour: Some(10),
        ..Limits::default()
    })
    .unwrap();
    let accounts = [
        ("user:u1", &full),
        ("tier:pro", &policy),
        ("global", &policy),
    ];
    for _ in 0..10 {
        pass(&limiter, &accounts, 0);
    }
    c.bench_function("a refusal, 3 accounts", |b| {
        b.iter(|| black_box(limiter.acquire(&accounts, 0, 1)).is_ok());
    });
}

criterion_group!(benches, passes, crowds, refusals);
criterion_main!(benches);
