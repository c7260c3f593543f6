//! The weights of the probability, one for each feature.
//!
//! Written by `python benches/fit_quality.py --write`; do not edit. Fitted on 11628 recorded
//! answers to GSM8K and CRUX questions (Apache-2.0); weights marked *prior* are set by hand there,
//! for faults that those answers hardly ever have. `docs/quality.md` is their card.

use super::features::COUNT;

/// The logit of an answer of which nothing is known to be wrong.
pub const INTERCEPT: f64 = 3.235;

/// What each feature adds to the logit, in the order of [`super::features::NAMES`].
pub const WEIGHTS: [f64; COUNT] = [
    -4.026, // wrong_arithmetic
    -3.000, // final_unsupported, prior
    -0.500, // not_last_result, prior
    -1.569, // unused_results
    -1.241, // unused_givens
    -2.000, // impossible_count, prior
    -1.116, // unclear_final
    -0.534, // final_length
    -0.468, // effort
    -0.564, // loose_numbers
    -2.432, // decimals
    -0.355, // magnitude
    -0.988, // question_load
    -0.999, // unverified
    -2.525, // caution
    -2.000, // self_correction, prior
    -3.800, // hedging, prior
    -3.800, // repetition, prior
    -3.800, // truncated, prior
    -3.800, // off_topic, prior
    -3.800, // format, prior
    -3.800, // refusal, prior
    -3.800, // constraints, prior
    -3.800, // wrong_language, prior
    -3.800, // wrong_units, prior
];
