//! Texts to token ids, by a Hugging Face `tokenizer.json`.

use std::path::{Path, PathBuf};

use tokenizers::utils::truncation::TruncationParams;
use tokenizers::{EncodeInput, PostProcessor, Tokenizer};

use crate::error::{EmbedError, Result};
use crate::session::read_error;
use crate::text_model::Text;

const WHAT: &str = "the tokenizer";

/// Bytes read of a text for each token that is wanted of it, before more is tried. Ordinary text has
/// about four a token, so that the last token wanted lies far from the end of what was read.
const BYTES_PER_TOKEN: usize = 32;

/// No encoder reads more; the limit keeps a slip of the keyboard from allocating gigabytes.
const MOST_TOKENS: usize = 1 << 17;

/// How far back from the end of what is read a white space is looked for, in bytes.
const SEARCH: usize = 1024;

/// The ids of one text, and which of a pair's two parts each belongs to.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) ids: Vec<u32>,
    pub(crate) types: Vec<u32>,
}

/// A tokenizer that cuts every text at `max_tokens`, special tokens included, and pads none.
///
/// Truncation and padding that are baked into the file are set aside: they state what someone once
/// batched with, not what the model takes.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
    max_tokens: usize,
    pad: u32,
}

impl TextTokenizer {
    pub(crate) fn open(path: &Path, max_tokens: usize) -> Result<Self> {
        let unusable = |reason: String| EmbedError::Unusable {
            what: WHAT,
            path: path.to_path_buf(),
            reason,
        };
        if max_tokens > MOST_TOKENS {
            return Err(EmbedError::Option(format!(
                "max_tokens={max_tokens} is more than {MOST_TOKENS}"
            )));
        }
        let json = std::fs::read(path).map_err(|error| read_error(WHAT, path, &error))?;
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|error| unusable(error.to_string()))?;
        // Some models tell padding by its id alone (RoBERTa's positions), so it must be theirs.
        let pad = tokenizer
            .get_padding()
            .map(|padding| padding.pad_id)
            .or_else(|| tokenizer.token_to_id("[PAD]"))
            .or_else(|| tokenizer.token_to_id("<pad>"))
            .unwrap_or(0);
        let special = tokenizer
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(true));
        if max_tokens < special + 2 {
            return Err(EmbedError::Option(format!(
                "max_tokens={max_tokens} leaves no room for text beside the {special} special tokens of a pair"
            )));
        }
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: max_tokens,
                ..TruncationParams::default()
            }))
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            tokenizer,
            path: path.to_path_buf(),
            max_tokens,
            pad,
        })
    }

    /// The id that stands where a row of a batch has no token.
    pub(crate) fn pad(&self) -> u32 {
        self.pad
    }

    /// The most tokens that a text is encoded to.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Encodes a text, or a pair cut longest first.
    ///
    /// Of a long text only as much is read as its tokens need, so that a megabyte costs what its first
    /// pages cost. It is cut before a white space where there is one, which every tokenizer in use takes
    /// for the end of a word; the tokens are those of the whole text.
    pub(crate) fn encode(&self, text: Text<'_>) -> Result<Encoded> {
        let mut budget = self.max_tokens.saturating_mul(BYTES_PER_TOKEN);
        loop {
            let read = match text {
                Text::One(one) => Text::One(prefix(one, budget)),
                Text::Pair(first, second) => {
                    Text::Pair(prefix(first, budget), prefix(second, budget))
                }
            };
            let encoded = self.encode_whole(read)?;
            if encoded.ids.len() >= self.max_tokens || read == text {
                return Ok(encoded);
            }
            budget = budget.saturating_mul(4);
        }
    }

    fn encode_whole(&self, text: Text<'_>) -> Result<Encoded> {
        let input: EncodeInput<'_> = match text {
            Text::One(one) => one.into(),
            Text::Pair(first, second) => (first, second).into(),
        };
        let encoding = self.tokenizer.encode_fast(input, true);
        let encoding = encoding.map_err(|error| EmbedError::Unusable {
            what: WHAT,
            path: self.path.clone(),
            reason: format!("it failed on a text: {error}"),
        })?;
        Ok(Encoded {
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
        })
    }
}

/// The first `budget` bytes or somewhat fewer: up to a white space if one is near the end, else up to
/// the end of a character.
fn prefix(text: &str, budget: usize) -> &str {
    if text.len() <= budget {
        return text;
    }
    let head = &text[..text.floor_char_boundary(budget)];
    let near = head.floor_char_boundary(head.len().saturating_sub(SEARCH));
    match head[near..].rfind(char::is_whitespace) {
        Some(at) if near + at > 0 => &head[..near + at],
        _ => head,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::prefix;

    #[test]
    fn a_short_text_is_read_whole() {
        assert_eq!(prefix("one two", 7), "one two");
    }

    #[test]
    fn a_long_text_is_cut_before_the_last_white_space() {
        assert_eq!(prefix("one two three", 10), "one two");
    }

    #[test]
    fn a_text_without_white_space_is_cut_between_characters() {
        assert_eq!(prefix("ééééé", 5), "éé");
    }

    proptest! {
        #[test]
        fn a_prefix_is_a_prefix_within_its_budget(text in ".{0,200}", budget in 1_usize..100) {
            let read = prefix(&text, budget);
            prop_assert!(text.starts_with(read));
            prop_assert!(read.len() <= budget || read == text);
            prop_assert!(read == text || read.len() + 1024 + 4 > budget);
        }
    }
}
