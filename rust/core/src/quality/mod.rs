//! Text-quality rules.
