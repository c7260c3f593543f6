//! The weights of the probability, one for each feature.
//!
//! Written by `python benches/fit_quality.py --write`; do not edit. Fitted on 2197 answers
//! that were graded for this project; the intercept and weights marked *prior* are set by hand
//! there. `docs/quality.md` is their card.

use super::features::COUNT;

/// The logit of an answer of which nothing is known to be wrong.
pub const INTERCEPT: f64 = 2.500;

/// What each feature adds to the logit, in the order of [`super::features::NAMES`].
pub const WEIGHTS: [f64; COUNT] = [
    -4.000, // wrong_arithmetic, prior
    -3.000, // final_unsupported, prior
    -0.500, // not_last_result, prior
    0.000,  // unused_results
    -0.008, // unused_givens
    -2.000, // impossible_count, prior
    -0.384, // unclear_final
    -0.134, // final_length
    -0.471, // effort
    -0.747, // loose_numbers
    -0.640, // decimals
    -0.158, // magnitude
    -0.583, // question_load
    0.000,  // unverified
    -0.096, // caution
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
    -3.800, // broken_code, prior
];
