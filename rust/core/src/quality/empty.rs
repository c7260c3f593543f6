//! Answers that say nothing.

use super::answer::{Answer, Reasoning, Wrapping};
use super::check::Check;

const NAME: &str = "empty";

/// Whether a character can be seen and says something.
fn says_something(character: char) -> bool {
    !character.is_whitespace()
        && !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Fails an answer of white space, invisible characters, mere dots, an empty code block, or reasoning
/// in tags with nothing behind it. With a tool call, an answer needs no text.
#[must_use]
pub fn check(answer: &Answer<'_>, has_tool_calls: bool, has_reasoning: bool) -> Check {
    let shown = answer.shown;
    if has_tool_calls {
        return Check::not_applicable(NAME);
    }
    if !shown.chars().any(says_something) {
        let reason = if answer.reasoning != Reasoning::None || has_reasoning {
            "the answer is only reasoning, nothing follows it"
        } else if shown.is_empty() {
            "the answer is empty"
        } else {
            "the answer is only white space"
        };
        return Check::hard(NAME, reason.to_owned());
    }
    let says = |text: &str| {
        text.chars()
            .any(|c| says_something(c) && !matches!(c, '.' | '…'))
    };
    if !says(shown) {
        return Check::hard(NAME, "the answer is only dots".to_owned());
    }
    let blocks_empty = answer.fences.iter().all(|fence| !says(fence.body));
    if !answer.fences.is_empty()
        && blocks_empty
        && answer.wrapping == Wrapping::None
        && !says(&answer.prose)
    {
        return Check::hard(NAME, "the answer is an empty code block".to_owned());
    }
    Check::passed(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;

    fn fails(text: &str) -> bool {
        check(&Answer::new(text), false, false).verdict == Verdict::Failed
    }

    #[test]
    fn fails_what_says_nothing() {
        for text in [
            "",
            " \n\t",
            "\u{200b}\u{feff}",
            "...",
            "…",
            "```\n```",
            "```json\n\n```",
            "<think>so it is 4</think>\n",
            "<think>so it",
            "\u{a0}",
        ] {
            assert!(fails(text), "{text:?}");
        }
    }

    #[test]
    fn passes_the_shortest_answers() {
        for text in [
            "4",
            "Yes",
            "是",
            "👍",
            "-",
            ">",
            "{}",
            "[]",
            "\"\"",
            "```\nx\n```",
            "0",
        ] {
            assert!(!fails(text), "{text:?}");
        }
    }

    #[test]
    fn a_tool_call_needs_no_text() {
        let answer = Answer::new("");
        assert_eq!(check(&answer, true, false).verdict, Verdict::NotApplicable);
        assert!(
            check(&answer, false, true)
                .reason
                .contains("only reasoning")
        );
    }
}
