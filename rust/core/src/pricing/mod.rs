//! Exact cost of a usage record under a price.
