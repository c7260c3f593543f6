//! Vectors of sentences.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::error::{EmbedError, Result};
use crate::session::ModelFiles;
use crate::similarity::{Vectors, normalise};
use crate::text_model::{Shape, Text, TextModel, TextModelOptions};

/// A sentence-embedding model: texts to vectors of length one.
///
/// A graph's `sentence_embedding` is taken as the model's own pooling. Else the vectors of its tokens
/// (`last_hidden_state`, `token_embeddings`, or the only output of that shape) are averaged, special
/// tokens included and padding not, which is how sentence-transformers pools by default. Either is then
/// scaled to length one, so that a dot product is a cosine.
///
/// An output may hold the states of several layers beside each other: `parts` says of how many, and each
/// is scaled to length one by itself.
#[derive(Debug)]
pub struct SentenceEmbedder {
    model: TextModel,
    part: usize,
}

impl SentenceEmbedder {
    /// Opens a model and its `tokenizer.json`.
    ///
    /// # Errors
    /// [`EmbedError`] when no runtime is loaded, a file is missing or is not what it should be, the
    /// graph's inputs or outputs are not those of such a model, it does not run on `max_tokens` tokens, or
    /// its vectors are not of `parts` equal parts.
    pub fn open(
        files: ModelFiles,
        tokenizer: &Path,
        options: &TextModelOptions,
        parts: NonZeroUsize,
    ) -> Result<Self> {
        let model = TextModel::open(
            files,
            tokenizer,
            options,
            &[
                ("sentence_embedding", Shape::PerText),
                ("last_hidden_state", Shape::PerToken),
                ("token_embeddings", Shape::PerToken),
            ],
            &[Shape::PerToken, Shape::PerText],
        )?;
        let (width, parts) = (model.width(), parts.get());
        if width % parts != 0 {
            return Err(EmbedError::Option(format!(
                "vectors of {width} numbers have no {parts} equal parts"
            )));
        }
        let part = width / parts;
        Ok(Self { model, part })
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.model.width()
    }

    /// The most tokens read of a text.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.model.max_tokens()
    }

    /// The model's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.model.path()
    }

    /// A vector for each text, in the order of the texts.
    ///
    /// # Errors
    /// [`EmbedError`] when a text has no tokens or no direction, or the model fails.
    pub fn embed(&self, texts: &[&str]) -> Result<Vectors> {
        let width = self.model.width();
        let texts: Vec<_> = texts.iter().map(|text| Text::One(text)).collect();
        let mut vectors = vec![0.0_f32; texts.len() * width];
        self.model.run(&texts, |row| {
            let vector = &mut vectors[row.index * width..][..width];
            match self.model.shape() {
                Shape::PerText => vector.copy_from_slice(row.values),
                Shape::PerToken => sum(row.values, vector),
            }
            for part in vector.chunks_exact_mut(self.part) {
                normalise(part).map_err(|error| EmbedError::Inference {
                    during: "while the model ran",
                    reason: format!("text {} got no usable vector: {error}", row.index),
                })?;
            }
            Ok(())
        })?;
        Vectors::new(vectors, width)
    }
}

/// Adds up the tokens' vectors; their mean points the same way, which is all that is left of it once its
/// length is one.
fn sum(tokens: &[f32], vector: &mut [f32]) {
    for token in tokens.chunks_exact(vector.len()) {
        for (total, value) in vector.iter_mut().zip(token) {
            *total += value;
        }
    }
}
