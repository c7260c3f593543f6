//! The weights of the score.
//!
//! Written by `python benches/fit_complexity.py --write`; do not edit. Fitted on 595 requests
//! that were graded for this project. `docs/domains.md` is their card.

use super::COUNT;

/// What each input adds to the sum, in the order of [`super::INPUTS`].
pub(super) const WEIGHTS: [f64; COUNT] = [
    0.262,  // a request
    0.450,  // length
    0.267,  // several questions
    0.203,  // demands
    0.100,  // listed items
    0.100,  // several steps
    0.407,  // asks for reasoning
    0.166,  // asks to build or repair
    0.952,  // asks for a proof or the best
    0.104,  // asks for much
    0.127,  // mathematics
    0.893,  // specialist terms
    1.354,  // specialist vocabulary
    0.885,  // long words
    -0.179, // multiple choice
    0.404,  // code
    0.189,  // code
    0.325,  // code
    0.176,  // code
    -0.439, // everyday vocabulary
    -0.032, // plain question
    -0.129, // a text is given
    -0.187, // a short answer will do
];

/// What each domain adds.
pub(super) const DOMAINS: [(&str, f64); 14] = [
    ("code", 0.070),
    ("creative", 0.027),
    ("data", 0.045),
    ("factual", -0.149),
    ("finance", 0.124),
    ("general", -0.111),
    ("legal", 0.237),
    ("math", 0.007),
    ("medical", 0.207),
    ("reasoning", 0.034),
    ("science", 0.128),
    ("summarization", -0.178),
    ("support", -0.141),
    ("translation", -0.055),
];
