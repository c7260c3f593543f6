//! The weights of the score.
//!
//! Written by `python benches/fit_complexity.py --write`; do not edit. Fitted on 595 requests
//! that were graded for this project. `docs/domains.md` is their card.

use super::COUNT;

/// What each input adds to the sum, in the order of [`super::INPUTS`].
pub(super) const WEIGHTS: [f64; COUNT] = [
    0.262,  // a request
    0.447,  // length
    0.263,  // several questions
    0.204,  // demands
    0.100,  // listed items
    0.100,  // several steps
    0.398,  // asks for reasoning
    0.150,  // asks to build or repair
    0.932,  // asks for a proof or the best
    0.115,  // asks for much
    0.119,  // mathematics
    0.884,  // specialist terms
    1.423,  // specialist vocabulary
    0.869,  // long words
    -0.166, // multiple choice
    0.400,  // code
    0.185,  // code
    0.323,  // code
    0.187,  // code
    -0.506, // everyday vocabulary
    -0.027, // plain question
    -0.115, // a text is given
    -0.185, // a short answer will do
];

/// What each domain adds.
pub(super) const DOMAINS: [(&str, f64); 14] = [
    ("code", 0.060),
    ("creative", 0.035),
    ("data", 0.039),
    ("factual", -0.133),
    ("finance", 0.114),
    ("general", -0.105),
    ("legal", 0.233),
    ("math", 0.000),
    ("medical", 0.205),
    ("reasoning", 0.037),
    ("science", 0.125),
    ("summarization", -0.175),
    ("support", -0.144),
    ("translation", -0.052),
];
