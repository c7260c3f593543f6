//! Embeddings.
