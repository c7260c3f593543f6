//! How long it takes to judge a request by rules, and to make rules ready.

#![allow(missing_docs, clippy::panic, reason = "a benchmark is no library")]

use std::hint::black_box;

use cascadeflow_core::domains::DomainRules;
use cascadeflow_core::domains::fold::fold;
use cascadeflow_core::domains::rule::Rule;
use cascadeflow_core::domains::structure::Structure;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PARAGRAPH: &str = "Please look at the function below, which reads 16 rows of sales.csv and should \
    return the total by region. It raises KeyError: 'region' since we moved to the new export, and my \
    manager wants the figures (about $4,200 for March, 12% less than in February) before the meeting. \
    What is wrong with it, and how would you test it? ";

/// As many rules and phrases as the built-in ones have, about.
fn rules() -> Vec<Rule> {
    let syllables = [
        "ba", "de", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we",
    ];
    let phrase = |n: usize| {
        let at = |shift: usize| syllables[(n / shift) % syllables.len()];
        format!("{}{}{} {}{}", at(1), at(12), at(144), at(3), at(50))
    };
    (0..400)
        .map(|rule| Rule {
            name: format!("rule {rule}"),
            weights: (0..14).map(|domain| (domain, 0.5)).collect(),
            patterns: (0..18)
                .map(|n| phrase(rule * 18 + n))
                .chain((rule % 8 == 0).then(|| {
                    ["the", "what is", "with", "before", "return"][rule / 8 % 5].to_owned()
                }))
                .collect(),
            ..Rule::default()
        })
        .chain((0..2400).map(|n| Rule {
            name: format!("word {n}"),
            weights: (0..14).map(|domain| (domain, 0.5)).collect(),
            patterns: vec![word(n)],
            diluted: true,
            ..Rule::default()
        }))
        .collect()
}

/// The paragraph's words, then invented ones.
fn word(n: usize) -> String {
    let known = PARAGRAPH.split_whitespace().filter(|word| word.len() > 2);
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    known
        .get(n)
        .map_or_else(|| format!("word{n}"), |word| (*word).to_owned())
}

fn text(bytes: usize) -> String {
    let mut text = PARAGRAPH.repeat(bytes / PARAGRAPH.len() + 1);
    text.truncate(bytes);
    text
}

fn domains(c: &mut Criterion) {
    let ready = DomainRules::new(rules(), vec![0.0; 14], 1.0);
    let ready = ready.unwrap_or_else(|error| panic!("{error}"));
    let mut group = c.benchmark_group("judge");
    for bytes in [32, 1024, 102_400, 1_048_576] {
        let text = text(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::from_parameter(bytes), &text, |b, text| {
            b.iter(|| ready.judge(black_box(text)));
        });
    }
    group.finish();
    let kilobyte = text(1024);
    c.bench_function("fold, 1 KB", |b| b.iter(|| fold(black_box(&kilobyte))));
    c.bench_function("structure, 1 KB", |b| {
        b.iter(|| Structure::of(black_box(&kilobyte)).features());
    });
    let chinese = "请把下面这段话翻译成英语，并解释为什么这样翻译。".repeat(14);
    c.bench_function("judge, 1 KB of Chinese", |b| {
        b.iter(|| ready.judge(black_box(&chinese)));
    });
    c.bench_function("make ready", |b| {
        b.iter(|| DomainRules::new(rules(), vec![0.0; 14], 1.0).map(|rules| rules.domains()));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).without_plots();
    targets = domains
}
criterion_main!(benches);
