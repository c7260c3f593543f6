//! The computing heart of `CascadeFlow`: pure Rust, no Python, no I/O, no wall clock.
//!
//! What burns CPU on every request lives here. What needs the time is given it by the caller.

pub mod complexity;
pub mod domains;
pub mod ledger;
pub mod limits;
pub mod local;
pub mod money;
pub mod pricing;
pub mod quality;
