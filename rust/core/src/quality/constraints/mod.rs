//! Demands that can be checked: words that must or must not be there, first and last words, case,
//! marks, forms, and counts in several languages.

mod amounts;
mod hold;
mod request;

pub use amounts::{Limit, Unit};
pub use request::{Demand, Form, Mark, demands};

use super::answer::Answer;
use super::check::Check;

const NAME: &str = "constraints";

/// Holds an answer to the demands of the request and, as far as they are meant for every answer, of the
/// standing instructions.
#[must_use]
pub fn check(answer: &Answer<'_>, request: &str, instructions: &str) -> Check {
    let mut all = demands(request);
    // A later wish of the user's is not held against standing rules on counts and forms.
    all.extend(demands(instructions).into_iter().filter(|demand| {
        matches!(
            demand,
            Demand::Without(_) | Demand::Lower | Demand::Upper | Demand::NoMark(_)
        )
    }));
    if all.is_empty() {
        return Check::not_applicable(NAME);
    }
    let fault = all.iter().find_map(|demand| hold::fault(answer, demand));
    fault.map_or_else(
        || Check::passed(NAME),
        |reason| Check::found(NAME, 0.2, reason),
    )
}

#[cfg(test)]
mod tests;
