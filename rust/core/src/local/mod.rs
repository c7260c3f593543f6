//! What the checks of the mode `balanced` count in texts, beside what their models say.
//!
//! Everything here is exact counting over words and characters; the figures are weighed in Python,
//! by small heads that were fitted for it.

pub mod ngrams;
pub mod overlap;
pub mod support;
mod terms;
