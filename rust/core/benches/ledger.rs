//! What a budget check costs: reserve and settle over four scopes of three windows each, beside one
//! mutex over plain records; the share of fitting requests that are refused; memory for each scope.
//!
//! `cargo bench -p cascadeflow-core --bench ledger`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark is no library"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{Amounts, Ledger, Limit, Opening, Reservation, ScopeId};
use cascadeflow_core::money::Nanodollars;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Counts what is allocated, for the memory of a scope.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it hands everything on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const NOW: i64 = 1_790_000_000_000;
const CENT: u64 = 10_000_000;

fn usd(dollars: u64) -> Nanodollars {
    Nanodollars::new(dollars * 1_000_000_000).unwrap()
}

fn limits() -> [Limit; 3] {
    [
        (Window::day("Europe/Oslo").unwrap(), Some(usd(1_000_000))),
        (Window::week("Europe/Oslo").unwrap(), Some(usd(2_000_000))),
        (Window::month("Europe/Oslo").unwrap(), Some(usd(4_000_000))),
    ]
}

fn ledger_with(scopes: usize) -> (Ledger, Vec<ScopeId>) {
    let ledger = Ledger::new(86_400_000);
    let limits = limits();
    let open = |number: usize| {
        let name = format!("u{number}");
        ledger
            .open_scope("user", &name, &limits, NOW, &Opening::default())
            .unwrap()
    };
    let scopes = (0..scopes.max(4)).map(open).collect();
    (ledger, scopes)
}

/// Four scopes for the n-th request: two that all share and two of its own.
fn picked(scopes: &[ScopeId], n: usize) -> [ScopeId; 4] {
    let spread = |n: usize| 2 + n.wrapping_mul(2_654_435_761) % (scopes.len() - 2);
    let third = spread(n);
    let fourth = 2 + (third - 2 + 1) % (scopes.len() - 2);
    [scopes[0], scopes[1], scopes[third], scopes[fourth]]
}

fn reserve_and_settle(ledger: &Ledger, scopes: &[ScopeId; 4]) {
    let most = Amounts::Same(Nanodollars::new(CENT).unwrap());
    let cost = Amounts::Same(Nanodollars::new(CENT / 3).unwrap());
    let reserved = ledger
        .reserve(scopes, most, NOW, NOW + 60_000, None, false)
        .unwrap();
    let Reservation::Held(hold) = reserved else {
        panic!("it fits");
    };
    black_box(ledger.settle(hold, cost, NOW).unwrap());
}

/// The reference: all in one mutex.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Record {
    used: [u64; 3],
    limits: [u64; 3],
    until: i64,
}

#[derive(Default)]
struct Plain {
    records: Vec<Record>,
    holds: Vec<([usize; 4], u64)>,
    free: Vec<usize>,
}

impl Plain {
    fn reserve(&mut self, scopes: &[usize; 4], amount: u64, now: i64) -> Option<usize> {
        let fits = |record: &Record| {
            now < record.until && (0..3).all(|w| record.used[w] + amount <= record.limits[w])
        };
        if !scopes.iter().all(|&scope| fits(&self.records[scope])) {
            return None;
        }
        for &scope in scopes {
            for used in &mut self.records[scope].used {
                *used += amount;
            }
        }
        let hold = (*scopes, amount);
        if let Some(place) = self.free.pop() {
            self.holds[place] = hold;
            Some(place)
        } else {
            self.holds.push(hold);
            Some(self.holds.len() - 1)
        }
    }

    fn settle(&mut self, hold: usize, cost: u64) {
        let (scopes, amount) = self.holds[hold];
        for scope in scopes {
            for used in &mut self.records[scope].used {
                *used -= amount - cost;
            }
        }
        self.free.push(hold);
    }
}

fn plain_with(scopes: usize) -> Mutex<Plain> {
    let record = Record {
        used: [0; 3],
        limits: limits().map(|(_, limit)| limit.unwrap().get()),
        until: NOW + 86_400_000,
    };
    Mutex::new(Plain {
        records: vec![record; scopes.max(4)],
        ..Plain::default()
    })
}

fn plain_pair(plain: &Mutex<Plain>, scopes: &[usize; 4]) {
    let hold = plain.lock().unwrap().reserve(scopes, CENT, NOW).unwrap();
    plain.lock().unwrap().settle(black_box(hold), CENT / 3);
}

/// How long `count` calls take, split over threads that start together.
fn on_threads(threads: usize, count: u64, call: impl Fn(usize) + Sync) -> Duration {
    if threads == 1 {
        let start = Instant::now();
        (0..count).for_each(|n| call(usize::try_from(n).unwrap()));
        return start.elapsed();
    }
    let barrier = Barrier::new(threads + 1);
    let each = count / threads as u64 + 1;
    thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, call) = (&barrier, &call);
            scope.spawn(move || {
                barrier.wait();
                (0..each).for_each(|n| call(usize::try_from(n).unwrap() * threads + thread));
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

fn pairs(c: &mut Criterion) {
    for scopes in [4, 1_000_000] {
        let mut group = c.benchmark_group(format!("reserve and settle, {scopes} scopes"));
        group.throughput(Throughput::Elements(1));
        group
            .sample_size(20)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(2));
        let before = ALLOCATED.load(Ordering::Relaxed);
        let (ledger, ids) = ledger_with(scopes);
        let bytes = ALLOCATED.load(Ordering::Relaxed) - before - ids.capacity() * 8;
        if scopes > 4 {
            println!("memory: {} bytes a scope of 3 windows", bytes / scopes);
        }
        let plain = plain_with(scopes);
        let numbers: Vec<ScopeId> = (0..scopes as u64).map(ScopeId::from_raw).collect();
        for threads in [1, 2] {
            group.bench_function(format!("ledger, {threads} threads"), |b| {
                b.iter_custom(|count| {
                    on_threads(threads, count, |n| {
                        reserve_and_settle(&ledger, &picked(&ids, n));
                    })
                });
            });
            group.bench_function(format!("one mutex, {threads} threads"), |b| {
                b.iter_custom(|count| {
                    on_threads(threads, count, |n| {
                        let picked = picked(&numbers, n);
                        let picked = picked.map(|id| usize::try_from(id.get()).unwrap());
                        plain_pair(&plain, &picked);
                    })
                });
            });
        }
        group.finish();
    }
}

/// One thread always fails at its second scope, the other always fits on the first: how many of the
/// latter's requests are refused.
fn adversary(_: &mut Criterion) {
    let ledger = Ledger::new(0);
    let open = |name, dollars| {
        let limit = [(Window::total(), Some(usd(dollars)))];
        ledger
            .open_scope("user", name, &limit, NOW, &Opening::default())
            .unwrap()
    };
    let (shared, full) = (open("shared", 1), open("full", 0));
    let done = AtomicBool::new(false);
    let amount = Amounts::Same(usd(1));
    let (mut refused, mut tried) = (0_u32, 0_u32);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let held = ledger
                    .reserve(&[shared, full], amount, NOW, NOW, None, false)
                    .unwrap();
                assert!(matches!(held, Reservation::Refused(_)));
            }
        });
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            for _ in 0..1_000 {
                tried += 1;
                match ledger
                    .reserve(&[shared], amount, NOW, NOW, None, false)
                    .unwrap()
                {
                    Reservation::Held(hold) => {
                        ledger.release(hold, NOW).unwrap();
                    }
                    Reservation::Refused(_) => refused += 1,
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("adversary: {refused} of {tried} fitting requests refused");
}

criterion_group!(benches, pairs, adversary);
criterion_main!(benches);
