//! Embeddings, classifiers and similarity on ONNX Runtime.
//!
//! The runtime is the shared library inside the `onnxruntime` wheel: [`runtime::load`] opens it once
//! a process, from an absolute path. Everything else works on files that the caller names; nothing
//! here looks for a model, downloads one, or opens anything before it is asked to.

pub mod classifier;
pub mod error;
mod pool;
pub mod routes;
pub mod runtime;
pub mod sentence;
pub mod session;
pub mod similarity;
mod text_model;
mod tokenizer;

pub use classifier::{Activation, TextClassifier};
pub use error::{EmbedError, Result};
pub use routes::ExampleIndex;
pub use sentence::SentenceEmbedder;
pub use session::ModelFiles;
pub use similarity::Vectors;
pub use text_model::{Text, TextModelOptions};
