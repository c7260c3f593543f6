//! How long it takes to price one answer, the rates being at hand.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark is no library"
)]

use std::hint::black_box;

use cascadeflow_core::pricing::{Constraint, Counts, Period, RateCard, Schedule, Unit, Variant};
use criterion::{Criterion, criterion_group, criterion_main};

const DOLLAR: u128 = 1_000_000_000_000_000_000;

fn card() -> RateCard {
    let rates = [
        (Unit::Input, None, 3 * DOLLAR),
        (Unit::Input, Some(200_000), 6 * DOLLAR),
        (Unit::CacheRead, None, 3 * DOLLAR / 10),
        (Unit::CacheWrite, None, 15 * DOLLAR / 4),
        (Unit::Output, None, 15 * DOLLAR),
        (Unit::Output, Some(200_000), 30 * DOLLAR),
    ];
    RateCard::new(rates, [("web_search".to_owned(), 10_000 * DOLLAR)], None).unwrap()
}

fn usage() -> Counts {
    let mut counts = Counts::default();
    counts.set(Unit::Input, Some(1_200));
    counts.set(Unit::CacheRead, Some(4_096));
    counts.set(Unit::Output, Some(350));
    counts.set(Unit::Reasoning, Some(640));
    counts
}

fn pricing(c: &mut Criterion) {
    let (card, usage) = (card(), usage());
    c.bench_function("pricing/cost", |b| {
        b.iter(|| black_box(&card).cost(black_box(&usage)));
    });
    c.bench_function("pricing/upper_bound", |b| {
        b.iter(|| black_box(&card).upper_bound(black_box(250_000), black_box(4_096), &[]));
    });
    let variant = Variant {
        when: vec![("service_tier".to_owned(), "flex".to_owned())],
        constraint: Constraint::From { day: 20_000 },
        card: card.clone(),
    };
    let periods = (0..3).map(|n| Period {
        constraint: Constraint::From { day: n * 100 },
        card: card.clone(),
    });
    let schedule = Schedule::new(periods.collect(), vec![variant]).unwrap();
    c.bench_function("pricing/resolve", |b| {
        b.iter(|| black_box(&schedule).resolve(black_box(1_800_000_000), |_| Some("flex")));
    });
}

criterion_group!(benches, pricing);
criterion_main!(benches);
