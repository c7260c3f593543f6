//! The steps that cut a text into pieces.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use tokenizers::pattern::Invert;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

use super::pattern::Checked;

/// GPT-2's pattern, which the step `ByteLevel` stands for.
const BYTE_LEVEL: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A file's steps in their order.
pub(super) struct PreTokenizers(Vec<Step>);

enum Step {
    Split {
        pattern: Checked,
        behavior: SplitDelimiterBehavior,
        invert: bool,
        prefix_space: bool,
    },
    Other(PreTokenizerWrapper),
}

#[derive(Deserialize)]
struct RegexSplit {
    pattern: RegexPattern,
    behavior: SplitDelimiterBehavior,
    invert: bool,
}

#[derive(Deserialize)]
struct RegexPattern {
    #[serde(rename = "Regex")]
    regex: Checked,
}

impl<'de> Deserialize<'de> for PreTokenizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Vec::new();
        read(Value::deserialize(deserializer)?, &mut steps).map_err(Error::custom)?;
        Ok(Self(steps))
    }
}

fn read(mut value: Value, steps: &mut Vec<Step>) -> Result<(), String> {
    if let Some(Value::Array(inner)) = value.get_mut("pretokenizers").map(Value::take) {
        return inner.into_iter().try_for_each(|value| read(value, steps));
    }
    let failed = |error| format!("its step {value} is not understood: {error}");
    if value.pointer("/pattern/Regex").is_some() {
        let split = RegexSplit::deserialize(&value).map_err(failed)?;
        steps.push(Step::Split {
            pattern: split.pattern.regex,
            behavior: split.behavior,
            invert: split.invert,
            prefix_space: false,
        });
        return Ok(());
    }
    let step = PreTokenizerWrapper::deserialize(&value).map_err(failed)?;
    if let PreTokenizerWrapper::ByteLevel(step) = &step
        && step.use_regex
    {
        steps.push(Step::Split {
            pattern: Checked::new(BYTE_LEVEL)?,
            behavior: SplitDelimiterBehavior::Isolated,
            invert: false,
            prefix_space: step.add_prefix_space,
        });
        let bytes_only = ByteLevel::new(false, step.trim_offsets, false);
        steps.push(Step::Other(PreTokenizerWrapper::ByteLevel(bytes_only)));
        return Ok(());
    }
    steps.push(Step::Other(step));
    Ok(())
}

impl PreTokenizer for PreTokenizers {
    fn pre_tokenize(&self, pieces: &mut PreTokenizedString) -> tokenizers::Result<()> {
        self.0.iter().try_for_each(|step| match step {
            Step::Other(step) => step.pre_tokenize(pieces),
            Step::Split {
                pattern,
                behavior,
                invert,
                prefix_space,
            } => pieces.split(|_, mut piece| {
                if *prefix_space && !piece.get().starts_with(' ') {
                    piece.prepend(" ");
                }
                if *invert {
                    piece.split(Invert(pattern), *behavior)
                } else {
                    piece.split(pattern, *behavior)
                }
            }),
        })
    }
}
