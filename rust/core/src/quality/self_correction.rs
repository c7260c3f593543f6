//! Answers that take back what they said.

use std::sync::LazyLock;

use super::check::Check;
use super::phrases::Phrases;
use super::words::snippet;

const NAME: &str = "self_correction";

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let list = include_str!("phrases/self_correction.txt");
    Phrases::from_list(list, &["correction"])
});

/// Counts the places where an answer corrects itself; one lowers the score a little, three fail it.
#[must_use]
pub fn check(prose: &str) -> (Check, usize) {
    let mut count = 0_usize;
    let mut first = None;
    for found in PHRASES.find(prose) {
        count += 1;
        first.get_or_insert(found);
    }
    let Some(found) = first else {
        return (Check::passed(NAME), 0);
    };
    let around = &prose[found.start..];
    let quote = snippet(around.split('\n').next().unwrap_or_default(), 50);
    let score = match count {
        1 => 0.75,
        2 => 0.6,
        _ => 0.3,
    };
    let reason = format!("the answer corrects itself: “{quote}”");
    (Check::found(NAME, score, reason), count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;

    #[test]
    fn counts_corrections() {
        let (found, count) = check("It is 5. Wait, that's not right. Let me recalculate: it is 6.");
        assert_eq!(count, 3);
        assert_eq!(found.verdict, Verdict::Failed);
        assert_eq!(check("Moment mal, das stimmt nicht.").1, 1);
        assert_eq!(check("The waiter waited. It is 6.").1, 0);
        assert!(PHRASES.is_built());
    }
}
