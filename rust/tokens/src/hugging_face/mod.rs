//! Hugging Face `tokenizer.json` files, on the `tokenizers` crate.
//!
//! The crate ends a search in silence when its regex engine gives up, and takes the rest of the text
//! for one piece; a normalizer's error it drops. The steps here that run a file's regular
//! expressions do so themselves and report what fails.

mod normalizer;
mod pattern;
mod pre_tokenizer;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use tokenizers::models::ModelWrapper;
use tokenizers::{Decoder, Encoding, PostProcessor, TokenizerImpl};

use normalizer::Normalizers;
use pre_tokenizer::PreTokenizers;

/// Why a `tokenizer.json` could not be read, or a text not be cut by it.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The bytes are no `tokenizer.json`, or ask for what is not known here.
    #[error("this is not a tokenizer.json that can be read: {0}")]
    Format(String),
    /// The file's rules fail on this text.
    #[error("the tokenizer.json's rules fail on this text: {0}")]
    Text(String),
}

/// A tokenizer from a `tokenizer.json`.
///
/// Truncation and padding that the file may ask for are left out, and so are the tokens that its
/// template puts around a text: what is counted is the text. The names of the file's special tokens
/// are these tokens wherever they stand, as in Hugging Face's library.
pub struct Tokenizer {
    inner: TokenizerImpl<ModelWrapper, Normalizers, PreTokenizers, Unused, Unused>,
    special_tokens: Vec<String>,
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Format`] when the bytes are not such a file.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let mut inner: TokenizerImpl<_, _, _, _, _> = serde_json::from_slice(bytes)
            .map_err(|error| TokenizerError::Format(error.to_string()))?;
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Format(error.to_string()))?
            .with_padding(None);
        let special_tokens = inner
            .get_added_tokens_decoder()
            .into_values()
            .filter(|token| token.special && !token.content.is_empty())
            .map(|token| token.content)
            .collect();
        Ok(Self {
            inner,
            special_tokens,
        })
    }

    /// Counts the tokens of a text.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the file's rules fail on the text.
    pub fn count(&self, text: &str) -> Result<usize, TokenizerError> {
        self.run(text).map(|encoding| encoding.len())
    }

    /// Gives the tokens of a text.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the file's rules fail on the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.run(text).map(|encoding| encoding.get_ids().to_vec())
    }

    /// Whether a text holds the name of a special token, which a server may take for that token or
    /// for text.
    #[must_use]
    pub fn names_a_special_token(&self, text: &str) -> bool {
        self.special_tokens.iter().any(|name| text.contains(name))
    }

    fn run(&self, text: &str) -> Result<Encoding, TokenizerError> {
        normalizer::take_error();
        let encoding = self.inner.encode_fast(text, false);
        if let Some(error) = normalizer::take_error() {
            return Err(TokenizerError::Text(error));
        }
        encoding.map_err(|error| TokenizerError::Text(error.to_string()))
    }
}

/// What a file says about tokens around a text and about decoding, which counting does not need.
struct Unused;

impl<'de> Deserialize<'de> for Unused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl PostProcessor for Unused {
    fn added_tokens(&self, _is_pair: bool) -> usize {
        0
    }

    fn process_encodings(
        &self,
        encodings: Vec<Encoding>,
        _add_special_tokens: bool,
    ) -> tokenizers::Result<Vec<Encoding>> {
        Ok(encodings)
    }
}

impl Decoder for Unused {
    fn decode_chain(&self, tokens: Vec<String>) -> tokenizers::Result<Vec<String>> {
        Ok(tokens)
    }
}
