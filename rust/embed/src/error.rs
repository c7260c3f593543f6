//! What can go wrong, by who can put it right.

use std::path::PathBuf;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, EmbedError>;

/// An error of the runtime, a model, a tokenizer or an argument.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// A file that does not exist.
    #[error("{what} {} does not exist", path.display())]
    Missing {
        /// What the file was to be: `"the model"`, `"the tokenizer"` …
        what: &'static str,
        /// The path as it was given.
        path: PathBuf,
    },
    /// A file that exists and cannot be read or opened.
    #[error("{what} {} cannot be opened: {reason}", path.display())]
    Unreadable {
        /// What the file was to be.
        what: &'static str,
        /// The path as it was given.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A file that was read and is not what it should be.
    #[error("{what} {} cannot be used: {reason}", path.display())]
    Unusable {
        /// What the file was to be.
        what: &'static str,
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// An option that cannot work, whatever the texts.
    #[error("{0}")]
    Option(String),
    /// A text or vector that cannot be worked with.
    #[error("{0}")]
    Invalid(String),
    /// No runtime has been loaded in this process.
    #[error(
        "no ONNX Runtime is loaded: load the library inside the onnxruntime package first, by its absolute path"
    )]
    NotLoaded,
    /// A runtime is loaded, from another file.
    #[error(
        "ONNX Runtime is already loaded from {}: one process holds one runtime, so {} cannot be loaded too",
        loaded.display(), asked.display()
    )]
    OtherRuntime {
        /// The library that is in use.
        loaded: PathBuf,
        /// The library that was asked for.
        asked: PathBuf,
    },
    /// The library is an ONNX Runtime, but not one that this crate can call.
    #[error(
        "{} is ONNX Runtime {version}: 1.{needed} or newer is needed (pip install --upgrade onnxruntime)",
        path.display()
    )]
    RuntimeVersion {
        /// The library's path.
        path: PathBuf,
        /// The version that it states.
        version: String,
        /// The least minor version that works.
        needed: u32,
    },
    /// The runtime failed while it was set up or while a model ran.
    #[error("ONNX Runtime failed {during}: {reason}")]
    Inference {
        /// What was being done.
        during: &'static str,
        /// The runtime's own words.
        reason: String,
    },
}
