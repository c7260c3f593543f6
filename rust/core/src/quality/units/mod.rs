//! Units: what they measure, how they convert, and where an answer's contradict.

mod check;
mod table;

pub use check::check;
pub use table::{Dimension, System, Unit, unit_at};
