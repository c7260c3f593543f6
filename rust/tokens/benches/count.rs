//! How long counting takes, for texts that are easy and texts that are made to be hard.

use std::hint::black_box;

use cascadeflow_tokens::Vocabulary;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const ENGLISH: &str = "The answer depends on what you mean by a token: it isn't a word, nor is it a \
    syllable. Most common words are one token each; rare ones, like \"floccinaucinihilipilification\", \
    are many.\n\nNumbers such as 1234567.89 are cut by threes, and code\tlike `fn main() {}` has \
    its own rules.\n";
const JAPANESE: &str =
    "漢字かな交じり文の例です。これは長い文章で、日本語のテキストを数えるためのものです。";

fn counting(criterion: &mut Criterion) {
    let vocabularies = [Vocabulary::cl100k_base(), Vocabulary::o200k_base()];
    let texts = [
        ("English", ENGLISH.repeat(300)),
        ("Japanese", JAPANESE.repeat(500)),
        ("one letter", "a".repeat(100_000)),
        ("spaces", " ".repeat(100_000)),
        ("signs", "-+=*".repeat(25_000)),
    ];
    for vocabulary in vocabularies {
        let mut group = criterion.benchmark_group(vocabulary.name());
        for (name, text) in &texts {
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_with_input(BenchmarkId::from_parameter(name), text, |bencher, text| {
                bencher.iter(|| vocabulary.count(black_box(text)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, counting);
criterion_main!(benches);
