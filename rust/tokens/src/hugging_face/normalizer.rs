//! The steps that rewrite a text before it is cut.

use std::cell::Cell;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{NormalizedString, Normalizer};

use super::pattern::Checked;

thread_local! {
    /// What went wrong since it was last asked for: the crate drops a normalizer's error.
    static ERROR: Cell<Option<String>> = const { Cell::new(None) };
}

/// Gives what went wrong on this thread since the last call.
pub(super) fn take_error() -> Option<String> {
    ERROR.take()
}

/// A file's steps in their order.
pub(super) struct Normalizers(Vec<Step>);

enum Step {
    Replace(Replace),
    Other(NormalizerWrapper),
}

#[derive(Deserialize)]
struct Replace {
    pattern: RegexPattern,
    content: String,
}

#[derive(Deserialize)]
struct RegexPattern {
    #[serde(rename = "Regex")]
    regex: Checked,
}

impl<'de> Deserialize<'de> for Normalizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps = Vec::new();
        read(Value::deserialize(deserializer)?, &mut steps).map_err(Error::custom)?;
        Ok(Self(steps))
    }
}

fn read(mut value: Value, steps: &mut Vec<Step>) -> Result<(), String> {
    if let Some(Value::Array(inner)) = value.get_mut("normalizers").map(Value::take) {
        return inner.into_iter().try_for_each(|value| read(value, steps));
    }
    let failed = |error| format!("its step {value} is not understood: {error}");
    steps.push(if value.pointer("/pattern/Regex").is_some() {
        Step::Replace(Replace::deserialize(&value).map_err(failed)?)
    } else {
        Step::Other(NormalizerWrapper::deserialize(&value).map_err(failed)?)
    });
    Ok(())
}

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        let done = self.0.iter().try_for_each(|step| match step {
            Step::Other(step) => step.normalize(text),
            Step::Replace(step) => text.replace(&step.pattern.regex, &step.content),
        });
        if let Err(error) = &done {
            ERROR.set(Some(error.to_string()));
        }
        done
    }
}
