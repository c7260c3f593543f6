//! Similarity at the size of `MiniLM` vectors (384), beside the obvious loops.
//!
//! `cargo bench -p cascadeflow-embed --bench similarity`

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot set up has nothing to measure"
)]

use std::hint::black_box;

use cascadeflow_embed::Vectors;
use cascadeflow_embed::similarity::{cosine, dot, normalise};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const DIMENSION: usize = 384;

/// Unit vectors from a small generator: the same on every run.
fn vectors(rows: usize) -> Vectors {
    let mut state = 0x2545_f491_u32;
    let mut values: Vec<f32> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 65_536.0 - 0.5
    })
    .take(rows * DIMENSION)
    .collect();
    for row in values.chunks_exact_mut(DIMENSION) {
        normalise(row).expect("no row is zero");
    }
    Vectors::new(values, DIMENSION).expect("whole rows")
}

/// One sum after another, in order: what the compiler may not reorder and so cannot vectorise.
fn naive_dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

fn naive_cosine(left: &[f32], right: &[f32]) -> f32 {
    naive_dot(left, right) / (naive_dot(left, left).sqrt() * naive_dot(right, right).sqrt())
}

fn pairs(criterion: &mut Criterion) {
    let two = vectors(2);
    let (left, right) = (two.row(0).expect("a row"), two.row(1).expect("a row"));
    let mut group = criterion.benchmark_group("pair");
    group.throughput(Throughput::Elements(DIMENSION as u64));
    group.bench_function("dot", |bench| {
        bench.iter(|| dot(black_box(left), black_box(right)));
    });
    group.bench_function("dot, naive", |bench| {
        bench.iter(|| naive_dot(black_box(left), black_box(right)));
    });
    group.bench_function("cosine", |bench| {
        bench.iter(|| cosine(black_box(left), black_box(right)));
    });
    group.bench_function("cosine, naive", |bench| {
        bench.iter(|| naive_cosine(black_box(left), black_box(right)));
    });
    group.finish();
}

fn nearest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("top 5 of");
    for rows in [100, 1_000, 10_000] {
        let set = vectors(rows);
        let query = set.row(rows / 2).expect("a row").to_vec();
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_with_input(BenchmarkId::new("top_k", rows), &set, |bench, set| {
            bench.iter(|| set.top_k(black_box(&query), 5));
        });
        group.bench_with_input(
            BenchmarkId::new("naive, full sort", rows),
            &set,
            |bench, set| {
                bench.iter(|| {
                    let mut scored: Vec<_> = set
                        .rows()
                        .map(|row| naive_dot(row, black_box(&query)))
                        .enumerate()
                        .collect();
                    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
                    scored.truncate(5);
                    scored
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, pairs, nearest);
criterion_main!(benches);
