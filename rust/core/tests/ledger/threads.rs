//! Under threads: never over, every nanodollar kept, and no refusal of what fits.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{
    Amounts, HoldId, Ledger, LedgerError, Opening, Outcome, Reservation, ScopeId,
};

use crate::{DAY, NOW, nano, of_day, of_total, open, reserve, same};

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

fn used(ledger: &Ledger, scope: ScopeId) -> u64 {
    let (spent, held) = ledger.total(scope).unwrap();
    spent.get() + held.get()
}

#[test]
fn sixteen_threads_cannot_overspend_a_dollar() {
    const DOLLAR: u64 = 1_000_000_000;
    let ledger = Ledger::new(0);
    let scope = open(&ledger, "u1", &of_day(DOLLAR));
    let booked = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        for seed in 1..=16 {
            let (ledger, booked, over) = (&ledger, &booked, &over);
            threads.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..2_000 {
                    let most = 1 + random.below(20_000_000);
                    let Some(hold) = reserve(ledger, &[scope], most, NOW) else {
                        continue;
                    };
                    if used(ledger, scope) > DOLLAR {
                        over.store(true, Ordering::Relaxed);
                    }
                    let cost = random.below(most / 50 + 1);
                    ledger.settle(hold, same(cost), NOW).unwrap();
                    booked.fetch_add(cost, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!over.into_inner());
    let (spent, held) = ledger.total(scope).unwrap();
    assert_eq!(spent.get(), booked.into_inner());
    assert_eq!(held.get(), 0);
    assert!(spent.get() <= DOLLAR);
}

#[test]
fn a_reservation_that_fails_elsewhere_makes_no_other_one_fail() {
    let ledger = Ledger::new(0);
    let shared = open(&ledger, "shared", &of_total(100));
    let full = open(&ledger, "full", &of_total(0));
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(reserve(&ledger, &[shared, full], 100, NOW).is_none());
                }
            });
        }
        for _ in 0..100_000 {
            let hold = reserve(&ledger, &[shared], 100, NOW).expect("it fits");
            ledger.release(hold, NOW).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(used(&ledger, shared), 0);
}

/// The survey of a reservation sees that there is room everywhere, and finds a scope full when it is
/// half done: the case in which something has to be taken back.
#[test]
fn reservations_that_are_taken_back_half_done_make_no_other_one_fail() {
    let ledger = Ledger::new(0);
    let wide = open(&ledger, "wide", &of_total(30));
    // It holds one: the two who want it push each other out of it all the time.
    let narrow = open(&ledger, "narrow", &of_total(10));
    let done = AtomicBool::new(false);
    let refused = AtomicU64::new(0);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match reserve(&ledger, &[wide, narrow], 10, NOW) {
                        Some(hold) => drop(ledger.release(hold, NOW).unwrap()),
                        None => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
        for _ in 0..50_000 {
            // Beside it at most one of the others is held, so there is room for two more.
            let hold = reserve(&ledger, &[wide], 20, NOW).expect("it fits");
            ledger.release(hold, NOW).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((used(&ledger, wide), used(&ledger, narrow)), (0, 0));
}

/// All at once: periods that end, limits that change, extensions, renewals, expiries, corrections.
#[test]
fn every_nanodollar_is_kept_whatever_happens_at_once() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 4_000;
    let ledger = Ledger::new(i64::MAX / 4);
    let windows = [
        (Window::day("UTC").unwrap(), Some(nano(50_000))),
        (Window::rolling(10, 5).unwrap(), Some(nano(9_000))),
        (Window::total(), None),
    ];
    let scopes: Vec<ScopeId> = (0..6)
        .map(|n| open(&ledger, &format!("s{n}"), &windows))
        .collect();
    let booked: Vec<AtomicU64> = scopes.iter().map(|_| AtomicU64::new(0)).collect();
    let book = |picked: &[usize], cost: u64| {
        for scope in picked {
            booked[*scope].fetch_add(cost, Ordering::Relaxed);
        }
    };
    let work = |seed: u64| {
        let mut random = Random::new(seed);
        let mut left: Vec<(HoldId, Vec<usize>)> = Vec::new();
        for round in 0..ROUNDS {
            let now = NOW + i64::try_from(round * 977).unwrap();
            let mut picked: BTreeSet<usize> = BTreeSet::new();
            for _ in 0..=random.below(3) {
                picked.insert(usize::try_from(random.below(6)).unwrap());
            }
            let picked: Vec<usize> = picked.into_iter().collect();
            let ids: Vec<ScopeId> = picked.iter().map(|n| scopes[*n]).collect();
            let most = random.below(3_000);
            let reserved = ledger
                .reserve(
                    &ids,
                    same(most),
                    now,
                    now + 5_000,
                    None,
                    random.below(40) == 0,
                )
                .unwrap();
            if let Reservation::Held(hold) = reserved {
                if random.below(4) == 0 {
                    match ledger.extend(hold, same(random.below(500)), now, false) {
                        Ok(_) | Err(LedgerError::HoldEnded) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                let _ = random.below(4) == 0 && ledger.renew(hold, now + 9_000);
                left.push((hold, picked));
            }
            if random.below(3) > 0 && !left.is_empty() {
                let place = usize::try_from(random.below(left.len() as u64)).unwrap();
                let (hold, picked) = left.swap_remove(place);
                let cost = random.below(3_500);
                let settled = ledger.settle(hold, same(cost), now).unwrap();
                assert_ne!(settled.outcome, Outcome::Already);
                book(&picked, cost);
            }
            match random.below(200) {
                0 => drop(ledger.expire(now)),
                1 => {
                    let scope = scopes[usize::try_from(random.below(6)).unwrap()];
                    ledger.set_limits(scope, &windows, now).unwrap();
                }
                2 => {
                    let number = usize::try_from(random.below(6)).unwrap();
                    assert_eq!(ledger.adjust(scopes[number], 7, now).unwrap(), 7);
                    book(&[number], 7);
                }
                3 => {
                    for scope in &scopes {
                        for standing in ledger.standing(*scope, now).unwrap() {
                            assert_eq!(standing.limit.is_none(), standing.resets_ms.is_none());
                        }
                    }
                }
                _ => {}
            }
        }
        for (hold, picked) in left {
            let settled = ledger.settle(hold, same(3), NOW).unwrap();
            assert_ne!(settled.outcome, Outcome::Already);
            book(&picked, 3);
        }
    };
    thread::scope(|threads| {
        for seed in 1..=THREADS {
            let work = &work;
            threads.spawn(move || work(seed));
        }
    });
    assert_eq!(ledger.open_holds(), 0);
    for (scope, booked) in scopes.iter().zip(booked) {
        let (spent, held) = ledger.total(*scope).unwrap();
        assert_eq!((spent.get(), held.get()), (booked.into_inner(), 0));
        let far = NOW + 400 * DAY;
        for standing in ledger.standing(*scope, far).unwrap() {
            if standing.limit.is_some() {
                assert_eq!((standing.spent.get(), standing.held.get()), (0, 0));
            } else {
                assert_eq!(standing.spent, spent);
            }
        }
    }
}

#[test]
fn one_key_is_held_once_however_many_ask() {
    const KEYS: u128 = 400;
    let ledger = Ledger::new(DAY);
    let (first, second) = (
        open(&ledger, "a", &of_day(10_000)),
        open(&ledger, "b", &of_day(10_000)),
    );
    let ask = |key: u128| {
        let reserved = ledger
            .reserve(&[first, second], same(1), NOW, NOW + 1, Some(key), false)
            .unwrap();
        let Reservation::Held(hold) = reserved else {
            panic!("it fits");
        };
        hold
    };
    let given: Vec<Vec<HoldId>> = thread::scope(|threads| {
        let asking: Vec<_> = (0..4)
            .map(|_| threads.spawn(|| (0..KEYS).map(ask).collect()))
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(given.iter().all(|holds| *holds == given[0]));
    assert_eq!(ledger.open_holds(), 400);
    assert_eq!(used(&ledger, first), 400);
    assert_eq!(used(&ledger, second), 400);
}

#[test]
fn of_many_who_end_a_hold_one_does() {
    let ledger = Ledger::new(DAY);
    let scope = open(&ledger, "a", &of_day(1_000_000));
    for round in 0..2_000 {
        let hold = reserve(&ledger, &[scope], 100, NOW).unwrap();
        let outcomes: Vec<Outcome> = thread::scope(|threads| {
            let ending: Vec<_> = [1_u64, 2]
                .map(|cost| {
                    let ledger = &ledger;
                    threads.spawn(move || ledger.settle(hold, same(cost), NOW).unwrap().outcome)
                })
                .into_iter()
                .collect();
            if round % 2 == 0 {
                drop(ledger.expire(NOW + 60_000));
            }
            ending.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let already = outcomes.iter().filter(|one| **one == Outcome::Already);
        assert_eq!(already.count(), 1, "{outcomes:?}");
    }
    let (spent, held) = ledger.total(scope).unwrap();
    assert!((2_000..=4_000).contains(&spent.get()));
    assert_eq!(held.get(), 0);
}

#[test]
fn scopes_that_come_and_go_take_their_totals_along() {
    let ledger = Ledger::new(0);
    let window = [(Window::day("UTC").unwrap(), None)];
    let names = ["a", "b", "c"];
    let booked = AtomicU64::new(0);
    let dropped = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let gather = || {
        for evicted in ledger.evict(NOW, 0) {
            dropped.fetch_add(evicted.total.get(), Ordering::Relaxed);
        }
    };
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                gather();
            }
        });
        let work = |seed: u64| {
            let mut random = Random::new(seed);
            for _ in 0..10_000 {
                let name = names[usize::try_from(random.below(3)).unwrap()];
                let hold = loop {
                    let scope = ledger
                        .open_scope("user", name, &window, NOW, &Opening::default())
                        .unwrap();
                    if let Some(hold) = reserve(&ledger, &[scope], 9, NOW) {
                        break hold;
                    }
                };
                let cost = random.below(12);
                let settled = ledger.settle(hold, Amounts::Same(nano(cost)), NOW).unwrap();
                assert_eq!(settled.outcome, Outcome::Settled);
                booked.fetch_add(cost, Ordering::Relaxed);
            }
        };
        let workers: Vec<_> = [1, 2]
            .map(|seed| threads.spawn(move || work(seed)))
            .into_iter()
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    gather();
    assert_eq!(ledger.scopes(), []);
    assert_eq!(dropped.into_inner(), booked.into_inner());
}
