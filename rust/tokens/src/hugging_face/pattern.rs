//! A regular expression of a `tokenizer.json`, which says so when its engine gives up.

use fancy_regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de::Error};
use tokenizers::Offsets;
use tokenizers::pattern::Pattern;

/// Long patterns of many Unicode classes compile to more than the engine's own limit, in bytes.
const SIZE_LIMIT: usize = 64 << 20;

pub(super) struct Checked(Regex);

impl Checked {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        RegexBuilder::new(pattern)
            .oniguruma_mode(true)
            .delegate_size_limit(SIZE_LIMIT)
            .build()
            .map(Self)
            .map_err(|error| format!("its pattern {pattern:?} is not understood: {error}"))
    }
}

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = String::deserialize(deserializer)?;
        Self::new(&pattern).map_err(Error::custom)
    }
}

impl Pattern for &Checked {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut pieces = Vec::new();
        let mut end = 0;
        for found in self.0.find_iter(inside) {
            let found = found.map_err(|error| format!("{:?}: {error}", self.0.as_str()))?;
            if end != found.start() {
                pieces.push(((end, found.start()), false));
            }
            pieces.push(((found.start(), found.end()), true));
            end = found.end();
        }
        if end != inside.len() {
            pieces.push(((end, inside.len()), false));
        }
        Ok(pieces)
    }
}
