//! One exhaustive map from Rust errors to Python exceptions.
//!
//! The exceptions themselves are Python classes of `cascadeflow.errors`; Rust raises the built-in
//! ones their Python callers translate: `ValueError` for bad input, `OverflowError` for money that
//! does not fit.
