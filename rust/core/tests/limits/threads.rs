//! Under threads: never over, nothing lost, and no refusal of what fits.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use cascadeflow_core::limits::{Limits, Policy, RateLimiter};

use super::{HOUR, MINUTE, SECOND, acquire, concurrent, per_hour, per_second, policy, tokens};

/// A small generator, one for each thread.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// Lets the others end, also when its own thread fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn remaining(limiter: &RateLimiter, name: &str, policy: &Policy, now: u64) -> u64 {
    limiter.standings(&[(name, policy)], now).unwrap()[0].remaining
}

#[test]
fn of_sixty_four_at_once_exactly_ten_an_hour_pass() {
    let user = policy(Limits {
        per_second: Some((100, 99)),
        per_minute: Some((1_000, 999)),
        per_hour: Some(10),
        per_day: Some(500),
        concurrent: Some(64),
        ..Limits::default()
    });
    let (tier, global) = (per_hour(1_000), tokens(1_000_000));
    for round in 0..50 {
        let limiter = RateLimiter::new();
        let (passed, barrier) = (AtomicU64::new(0), Barrier::new(64));
        thread::scope(|threads| {
            for number in 0..64 {
                let (limiter, passed, barrier) = (&limiter, &passed, &barrier);
                let (user, tier, global) = (&user, &tier, &global);
                threads.spawn(move || {
                    // In other orders too.
                    let mut accounts = [("user:a", user), ("tier:free", tier), ("global", global)];
                    accounts.rotate_left(number % 3);
                    barrier.wait();
                    if acquire(limiter, &accounts, 7, round).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 10);
        assert_eq!(remaining(&limiter, "user:a", &user, round), 90);
        assert_eq!(remaining(&limiter, "tier:free", &tier, round), 990);
        assert_eq!(
            remaining(&limiter, "global", &global, round),
            1_000_000 - 70
        );
    }
}

/// Of requests that are all alike, as many pass at each instant as if they came one by one.
#[test]
fn threads_pass_exactly_as_many_as_one_after_the_other() {
    const THREADS: usize = 8;
    let user = policy(Limits {
        per_second: Some((5, 2)),
        per_minute: Some((40, 10)),
        per_hour: Some(150),
        tokens_per_minute: Some(200),
        ..Limits::default()
    });
    let global = policy(Limits {
        per_second: Some((4, 3)),
        per_day: Some(500),
        ..Limits::default()
    });
    let mut random = Random::new(7);
    let mut now = 0;
    let instants: Vec<u64> = (0..600)
        .map(|_| {
            now += random.below(SECOND);
            now += u64::from(random.below(40) == 0) * random.below(HOUR);
            now
        })
        .collect();
    let one = RateLimiter::new();
    let alone = |now| {
        let pass = |_: &u64| acquire(&one, &[("u", &user), ("g", &global)], 3, now).is_ok();
        (0..24).filter(pass).count()
    };
    let expected: Vec<usize> = instants.iter().map(|&now| alone(now)).collect();
    assert!(expected.iter().sum::<usize>() > 200);

    let limiter = RateLimiter::new();
    let barrier = Barrier::new(THREADS);
    let passed: Vec<AtomicU64> = instants.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|threads| {
        for thread in 0..THREADS {
            let (limiter, barrier, passed) = (&limiter, &barrier, &passed);
            let (user, global, instants) = (&user, &global, &instants);
            threads.spawn(move || {
                let mut accounts = [("u", user), ("g", global)];
                accounts.rotate_left(thread % 2);
                for (&now, passed) in instants.iter().zip(passed) {
                    barrier.wait();
                    for _ in 0..24 / THREADS {
                        if acquire(limiter, &accounts, 3, now).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    for (passed, expected) in passed.into_iter().zip(expected) {
        assert_eq!(usize::try_from(passed.into_inner()).unwrap(), expected);
    }
}

#[test]
fn a_request_that_is_refused_elsewhere_makes_no_other_one_fail() {
    let limiter = RateLimiter::new();
    let (shared, full, one) = (concurrent(1), concurrent(1), concurrent(1));
    let _held = acquire(&limiter, &[("full", &full)], 0, 0).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let accounts = [("shared", &shared), ("full", &full)];
                    assert!(acquire(&limiter, &accounts, 0, 0).is_err());
                }
            });
        }
        let _done = Done(&done);
        for _ in 0..8_000 {
            acquire(&limiter, &[("shared", &shared), ("mine", &one)], 0, 0).expect("it fits");
        }
    });
    assert_eq!(remaining(&limiter, "shared", &shared, 0), 1);
}

/// Two who push each other out of the narrow account all the time never take the wide one's room.
#[test]
fn claims_that_fail_half_done_make_no_other_one_fail() {
    let limiter = RateLimiter::new();
    let (wide, narrow) = (concurrent(3), concurrent(1));
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(acquire(
                        &limiter,
                        &[("wide", &wide), ("narrow", &narrow)],
                        0,
                        0,
                    ));
                }
            });
        }
        let _done = Done(&done);
        for _ in 0..8_000 {
            // Beside it at most one of the others is on, so there is room for two more.
            let first = acquire(&limiter, &[("wide", &wide)], 0, 0).expect("it fits");
            let second = acquire(&limiter, &[("wide", &wide)], 0, 0).expect("it fits");
            drop((first, second));
        }
    });
    assert_eq!(remaining(&limiter, "wide", &wide, 0), 3);
    assert_eq!(remaining(&limiter, "narrow", &narrow, 0), 1);
}

#[test]
fn leases_and_tokens_are_conserved() {
    let limiter = RateLimiter::new();
    let user = policy(Limits {
        concurrent: Some(3),
        tokens_per_minute: Some(100_000_000),
        ..Limits::default()
    });
    let global = policy(Limits {
        concurrent: Some(5),
        tokens_per_minute: Some(1_000_000_000),
        per_hour: Some(100_000_000),
        ..Limits::default()
    });
    let names = ["a", "b", "c"];
    let under_way = AtomicU64::new(0);
    let (spent, counted) = ([const { AtomicU64::new(0) }; 3], AtomicU64::new(0));
    thread::scope(|threads| {
        for seed in 1..=6 {
            let (limiter, user, global) = (&limiter, &user, &global);
            let (under_way, spent, counted) = (&under_way, &spent, &counted);
            threads.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..2_000 {
                    let which = usize::try_from(random.below(3)).unwrap();
                    let accounts = [(names[which], user), ("global", global)];
                    let Ok(permit) = acquire(limiter, &accounts, random.below(50), 0) else {
                        continue;
                    };
                    assert!(under_way.fetch_add(1, Ordering::SeqCst) < 5);
                    if random.below(2) == 0 {
                        assert_eq!(permit.extend(random.below(50), 0), Ok(None));
                    }
                    let total = random.below(100);
                    permit.correct(total, 0).unwrap();
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    if random.below(3) == 0 {
                        permit.cancel(0);
                    } else {
                        spent[which].fetch_add(total, Ordering::Relaxed);
                        counted.fetch_add(1, Ordering::Relaxed);
                        if random.below(2) == 0 {
                            permit.release();
                        }
                    }
                }
            });
        }
    });
    let mut all = 0;
    for (name, spent) in names.iter().zip(spent) {
        let spent = spent.into_inner();
        all += spent;
        let standings = limiter.standings(&[(name, &user)], 0).unwrap();
        let left: Vec<u64> = standings.iter().map(|one| one.remaining).collect();
        assert_eq!(left, [100_000_000 - spent, 3]);
    }
    let standings = limiter.standings(&[("global", &global)], 0).unwrap();
    let left: Vec<u64> = standings.iter().map(|one| one.remaining).collect();
    let counted = counted.into_inner();
    assert!(counted > 1_000);
    assert_eq!(left, [100_000_000 - counted, 1_000_000_000 - all, 5]);
}

#[test]
fn one_permit_that_many_threads_end_ends_once() {
    let (limiter, policy) = (
        RateLimiter::new(),
        policy(Limits {
            concurrent: Some(10),
            tokens_per_minute: Some(1_000),
            per_hour: Some(50),
            ..Limits::default()
        }),
    );
    let _other = acquire(&limiter, &[("u", &policy)], 100, 0).unwrap();
    for _ in 0..300 {
        let permit = acquire(&limiter, &[("u", &policy)], 100, 0).unwrap();
        thread::scope(|threads| {
            threads.spawn(|| permit.release());
            threads.spawn(|| permit.correct(300, 0).unwrap());
            threads.spawn(|| permit.cancel(0));
            permit.cancel(0);
        });
        permit.correct(0, 0).unwrap();
        drop(permit);
        let standings = limiter.standings(&[("u", &policy)], 0).unwrap();
        let left: Vec<u64> = standings.iter().map(|one| one.remaining).collect();
        assert_eq!(left, [49, 900, 9]);
    }
}

/// Accounts are forgotten all the time while they are asked: nothing that was counted is lost.
#[test]
fn eviction_under_way_loses_nothing() {
    let (limiter, ten, flow) = (RateLimiter::new(), per_hour(10), per_second(1, 0));
    let (passed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let rounds = 300;
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                limiter.evict(0);
            }
        });
        let workers: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    for round in 0..rounds {
                        let name = format!("u{round}");
                        for _ in 0..6 {
                            let accounts = [(&*name, &ten), ("seldom", &Policy::UNLIMITED)];
                            if acquire(&limiter, &accounts, 0, 0).is_ok() {
                                passed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        let _done = Done(&done);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    assert_eq!(passed.into_inner(), 10 * rounds);
    let known = limiter.len();
    assert!(known >= usize::try_from(rounds).unwrap());
    assert_eq!(limiter.evict(HOUR), known);
    assert!(acquire(&limiter, &[("u0", &flow)], 0, HOUR + MINUTE).is_ok());
}
