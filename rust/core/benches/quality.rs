//! How long it takes to judge an answer by its text, at several lengths and in its parts.

#![allow(missing_docs, reason = "a benchmark is no library")]

use std::hint::black_box;

use cascadeflow_core::quality::{Draft, arithmetic, judge, words};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const QUESTION: &str = "A baker makes 16 loaves a day, keeps three for her family and gives four to \
    the school. She sells the rest at the market for $2 each. How much does she earn every day?";

const PARAGRAPH: &str = "She bakes 16 loaves every day, and three of them stay at home, so 16 - 3 = 13 \
    loaves are left. The school gets four of these, which leaves 13 - 4 = 9 loaves for the market. At $2 \
    for each loaf she earns 9 * $2 = $18 a day, whatever the weather, as long as she sells all of them. ";

fn answer(bytes: usize) -> String {
    let mut text = PARAGRAPH.repeat(bytes / PARAGRAPH.len() + 1);
    text.truncate(bytes - 20);
    text.push_str(" The answer is 18.");
    text
}

fn quality(c: &mut Criterion) {
    let mut group = c.benchmark_group("judge");
    for bytes in [64, 1024, 102_400, 1_048_576] {
        let answer = answer(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &answer, |b, answer| {
            let draft = Draft {
                question: QUESTION,
                answer,
                ..Draft::default()
            };
            b.iter(|| judge(black_box(&draft)));
        });
    }
    group.finish();
    let text = answer(1024);
    c.bench_function("arithmetic, 1 KB", |b| {
        b.iter(|| arithmetic::check(black_box(&text)));
    });
    c.bench_function("words, 1 KB", |b| b.iter(|| words::words(black_box(&text))));
    let hostile = "1+1=".repeat(262_144);
    c.bench_function("judge, 1 MB of 1+1=", |b| {
        let draft = Draft {
            answer: &hostile,
            ..Draft::default()
        };
        b.iter(|| judge(black_box(&draft)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).without_plots();
    targets = quality
}
criterion_main!(benches);
