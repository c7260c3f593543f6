//! Binding of the pricing room.

use pyo3::prelude::*;

/// Adds this room's names to the module.
pub(crate) fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
