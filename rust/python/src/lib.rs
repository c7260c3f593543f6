//! `cascadeflow._native`: converts, detaches, calls, maps errors, and nothing else.
//!
//! One file a room; each registers its own names, so that rooms do not meet in this one.

use pyo3::prelude::*;

mod complexity;
mod domains;
mod embed;
mod errors;
mod ledger;
mod limits;
mod local;
mod pricing;
mod quality;
mod tokens;

/// The Rust side of `CascadeFlow`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("DEBUG_BUILD", cfg!(debug_assertions))?;
    pricing::register(module)?;
    tokens::register(module)?;
    complexity::register(module)?;
    domains::register(module)?;
    quality::register(module)?;
    embed::register(module)?;
    ledger::register(module)?;
    limits::register(module)?;
    local::register(module)?;
    Ok(())
}
