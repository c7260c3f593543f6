//! Probabilities of labels.

use std::path::Path;

use crate::error::{EmbedError, Result};
use crate::session::ModelFiles;
use crate::text_model::{Shape, Text, TextModel, TextModelOptions};

/// How logits become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// One label holds: the probabilities of a text add up to one.
    Softmax,
    /// Any number of labels hold: each has its own probability.
    Sigmoid,
}

/// A text-classification model: texts, or pairs of texts, to a probability for each label.
#[derive(Debug)]
pub struct TextClassifier {
    model: TextModel,
    activation: Activation,
}

impl TextClassifier {
    /// Opens a model and its `tokenizer.json`. The output read is `logits`, or the only one with a row a
    /// text.
    ///
    /// # Errors
    /// [`EmbedError`] as for [`SentenceEmbedder::open`](crate::SentenceEmbedder::open), and for softmax
    /// over a single label, which would always be sure.
    pub fn open(
        files: ModelFiles,
        tokenizer: &Path,
        options: &TextModelOptions,
        activation: Activation,
    ) -> Result<Self> {
        let model = TextModel::open(
            files,
            tokenizer,
            options,
            &[("logits", Shape::PerText)],
            &[Shape::PerText],
        )?;
        if activation == Activation::Softmax && model.width() == 1 {
            return Err(EmbedError::Option(format!(
                "the model {} has one label, of which softmax is always 1: use sigmoid",
                model.path().display()
            )));
        }
        Ok(Self { model, activation })
    }

    /// The number of labels.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.model.width()
    }

    /// The most tokens read of a text or pair.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.model.max_tokens()
    }

    /// The model's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.model.path()
    }

    /// The probabilities of the labels, in the model's order, for each text in order.
    ///
    /// # Errors
    /// [`EmbedError`] when a text has no tokens, or the model fails.
    pub fn classify(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<f32>>> {
        let mut probabilities = vec![Vec::new(); texts.len()];
        self.model.run(texts, |row| {
            probabilities[row.index] = match self.activation {
                Activation::Softmax => softmax(row.values),
                Activation::Sigmoid => row.values.iter().copied().map(sigmoid).collect(),
            };
            Ok(())
        })?;
        Ok(probabilities)
    }
}

/// `exp(x_i) / sum(exp(x_j))`, the largest logit taken off first so that nothing overflows.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut powers: Vec<_> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f32 = powers.iter().sum();
    for power in &mut powers {
        *power /= total;
    }
    powers
}

/// `1 / (1 + exp(-x))`, by the form that does not overflow on either side of zero.
fn sigmoid(logit: f32) -> f32 {
    let power = (-logit.abs()).exp();
    if logit >= 0.0 {
        1.0 / (1.0 + power)
    } else {
        power / (1.0 + power)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{sigmoid, softmax};

    proptest! {
        #[test]
        fn softmax_equals_its_definition_in_f64(logits in prop::collection::vec(-80.0_f32..80.0, 1..40)) {
            let powers: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
            let total: f64 = powers.iter().sum();
            for (have, power) in softmax(&logits).iter().zip(&powers) {
                prop_assert!((f64::from(*have) - power / total).abs() < 1e-6);
            }
        }

        #[test]
        fn sigmoid_equals_its_definition_in_f64(logit in any::<f32>().prop_filter("finite", |x| x.is_finite())) {
            let want = 1.0 / (1.0 + (-f64::from(logit)).exp());
            prop_assert!((f64::from(sigmoid(logit)) - want).abs() < 1e-6);
        }

        #[test]
        fn softmax_of_any_finite_logits_adds_up_to_one(logits in prop::collection::vec(-1e30_f32..1e30, 1..40)) {
            let total: f32 = softmax(&logits).iter().sum();
            prop_assert!((total - 1.0).abs() < 1e-5);
        }
    }
}
