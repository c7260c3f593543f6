//! Token counting: `OpenAI`'s vocabularies, built in and exact, and Hugging Face `tokenizer.json` files.

mod hugging_face;
mod openai;

pub use hugging_face::{Tokenizer, TokenizerError};
pub use openai::Vocabulary;
