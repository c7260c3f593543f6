//! One probability from all features: logistic, with few weights.

use super::features::COUNT;
use super::weights::{INTERCEPT, WEIGHTS};

/// No probability is higher than this once a check rejects the answer outright.
pub const REJECTED: f64 = 0.01;

/// The probability that an answer with these features is good enough.
#[must_use]
pub fn probability(features: &[f64; COUNT], rejected: bool) -> f64 {
    let score = features
        .iter()
        .zip(&WEIGHTS)
        .fold(INTERCEPT, |sum, (feature, weight)| sum + feature * weight);
    let probability = 1.0 / (1.0 + (-score).exp());
    if rejected {
        probability.min(REJECTED)
    } else {
        probability
    }
}
