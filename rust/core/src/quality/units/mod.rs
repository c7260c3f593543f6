//! Units: what they measure, and how they convert.

mod table;

pub use table::{Dimension, System, Unit, unit_at};
