//! Weights

/// The intercept.
pub const INTERCEPT: f64 = 2.0;
/// The weights.
pub const WEIGHTS: [f64; 20] = [0.0; 20];
