//! Answers that stop before they are finished.

use super::answer::{Answer, Reasoning, Wrapping};
use super::check::Check;
use super::words::{WordSet, snippet, words};
use std::sync::LazyLock;

const NAME: &str = "truncated";

/// Why the model stopped, as far as the provider said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// It ended by itself.
    Stop,
    /// It was cut by a token limit.
    Length,
    /// It asks to call tools.
    ToolCalls,
    /// The provider's filter cut in.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// Something broke.
    Error,
    /// Not known.
    #[default]
    Unknown,
}

/// Fails an answer that the provider cut, or whose text breaks off: an open code block or JSON value,
/// a list that is announced and does not come, a sentence that stops in the middle.
#[must_use]
pub fn check(answer: &Answer<'_>, finish: Finish, has_tool_calls: bool) -> Check {
    let shown = answer.shown.trim_end();
    match finish {
        Finish::Length => {
            return Check::hard(NAME, format!("cut by the token limit: “…{}”", tail(shown)));
        }
        Finish::Error => {
            return Check::hard(NAME, "the answer broke off with an error".to_owned());
        }
        _ => {}
    }
    if answer.reasoning == Reasoning::Open {
        return Check::hard(NAME, "the reasoning was never ended".to_owned());
    }
    if shown.is_empty() || has_tool_calls {
        return Check::not_applicable(NAME);
    }
    let found =
        |score, what: &str| Check::found(NAME, score, format!("{what}: “…{}”", tail(shown)));
    if answer.fences.last().is_some_and(|fence| !fence.closed) && answer.wrapping != Wrapping::Whole
    {
        return found(0.2, "a code block is not closed");
    }
    if let Some(what) = open_value(shown) {
        return found(0.1, what);
    }
    if answer
        .fences
        .last()
        .is_some_and(|fence| fence.range.end >= shown.len())
        || answer.wrapping != Wrapping::None
    {
        return Check::passed(NAME); // it ends with a block
    }
    let line = shown.rsplit('\n').next().unwrap_or_default().trim();
    if line.starts_with(['|', '>']) || is_code(line) {
        return Check::passed(NAME);
    }
    ending(shown, line).map_or_else(|| Check::passed(NAME), |(score, what)| found(score, what))
}

fn tail(text: &str) -> String {
    let start = text
        .char_indices()
        .rev()
        .nth(39)
        .map_or(0, |(index, _)| index);
    snippet(&text[start..], 40)
}

/// An answer that is one JSON value and stops inside it.
fn open_value(shown: &str) -> Option<&'static str> {
    let text = shown.trim_start();
    let json_like = text.starts_with("{\"")
        || text.starts_with("[{")
        || text.starts_with("[\"")
        || (text.starts_with('{') && text[1..].trim_start().starts_with('"'))
        || (text.starts_with('[') && text[1..].trim_start().starts_with(['{', '"']));
    if !json_like {
        return None;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    // Quotes that are not escaped upset the count: only an end that is no closing bracket tells.
    (depth > 0 && !text.ends_with(['}', ']'])).then_some("the JSON is not closed")
}

fn is_code(line: &str) -> bool {
    line.ends_with([';', '{', '}', '`']) || line.starts_with("//") || line.starts_with("#!")
}

/// Words that no sentence ends with: English, then the other main languages.
static DANGLING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "the a an and or but because of to with from by as which whose their your my our its \
         very than if while although into between such including are is was were und oder der \
         die das den dem ein eine mit für von weil dass et ou le la les des du une avec pour \
         dans que qui y el los las una con para il gli che per и или что",
    )
});

/// How an ending looks broken off, and how surely.
fn ending(shown: &str, line: &str) -> Option<(f64, &'static str)> {
    if line.ends_with("___") {
        return None; // a form to fill in
    }
    let bare = line.trim_end_matches(['*', '_', '~', ' ']);
    let last = bare.chars().next_back()?;
    if matches!(last, ':' | '：') {
        let announces = words(bare).len() >= 3 || shown.len() > 2 * line.len();
        return announces.then_some((0.15, "something is announced and does not come"));
    }
    if matches!(last, ',' | '、' | '，' | '(' | '（' | '–' | '—' | '&') {
        // “Best regards,” ends a letter.
        let closing = words(bare).len() <= 4 && shown.len() > 3 * line.len();
        return Some((
            if closing { 0.6 } else { 0.2 },
            "the text stops in the middle",
        ));
    }
    if is_cut_number(shown, bare) {
        return Some((0.2, "the text stops in the middle of a number"));
    }
    if line.rfind("<<") > line.rfind(">>") {
        return Some((0.2, "the text stops in the middle of a calculation"));
    }
    if is_bare_marker(line) {
        return Some((0.2, "a list stops at an empty item"));
    }
    if matches!(
        last,
        '.' | '!'
            | '?'
            | '…'
            | '。'
            | '！'
            | '？'
            | '।'
            | '؟'
            | '۔'
            | '"'
            | '”'
            | '»'
            | ')'
            | ']'
            | '}'
            | '」'
            | '』'
            | '）'
            | '>'
            | '|'
            | '%'
            | '`'
    ) {
        return None;
    }
    // Math and headings end as they like; scripts without full stops too.
    if bare.contains(['=', '$', '\\']) || line.starts_with('#') {
        return None;
    }
    let line_words = words(bare);
    let word = line_words.last().map(|word| &bare[word.start..word.end])?;
    // A capital is a letter of its own, as in “the answer is A”.
    let letter = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    if line_words.len() >= 4 && !letter && DANGLING.has_word(word) {
        return Some((0.2, "a sentence stops in the middle"));
    }
    let last_part = bare.rsplit(' ').next().unwrap_or_default();
    let enumeration = bare.matches(',').count() * 4 >= line_words.len();
    let item = enumeration
        || last_part.contains(['#', '/', '@'])
        || line.starts_with(['-', '*', '•', '+'])
        || line.starts_with(|c: char| c.is_ascii_digit());
    let thai = bare.chars().any(|c| ('\u{e00}'..='\u{eff}').contains(&c));
    let full_stops = shown.matches(['.', '。', '।']).count();
    // Long prose that ends its sentences elsewhere and not here, or one that is very long.
    let long = line_words.len() >= 12 && full_stops >= 2 || line_words.len() >= 20;
    let prose = !item && !thai && last.is_alphanumeric() && long;
    prose.then_some((0.45, "the last sentence has no end"))
}

/// A text that ends with one or two digits behind a comma, where commas group thousands.
fn is_cut_number(shown: &str, bare: &str) -> bool {
    let digits = bare.bytes().rev().take_while(u8::is_ascii_digit).count();
    let before = &bare[..bare.len() - digits];
    let grouped = |text: &str| {
        text.match_indices(',').any(|(at, _)| {
            let behind = text[at + 1..]
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            behind == 3 && text[..at].ends_with(|c: char| c.is_ascii_digit())
        })
    };
    matches!(digits, 1 | 2)
        && before
            .strip_suffix(',')
            .is_some_and(|start| start.ends_with(|c: char| c.is_ascii_digit()))
        && grouped(shown)
}

/// A list's mark with nothing behind it.
fn is_bare_marker(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (1..=3).contains(&digits) && matches!(&line[digits..], "." | ")") && line.len() > 1
        || matches!(line, "-" | "*" | "•")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::check::Verdict;

    fn verdict(text: &str) -> Verdict {
        check(&Answer::new(text), Finish::Stop, false).verdict
    }

    #[test]
    fn fails_what_breaks_off() {
        for text in [
            "Here is the code:\n```python\nprint(1)",
            "{\"name\": \"Ada\", \"age\": 3",
            "[{\"a\": 1}, {\"b\":",
            "There are three steps you need to follow:",
            "The reasons are as follows:\n\n1. Cost\n2.",
            "The capital of France is Paris, and the capital of",
            "Die Hauptstadt von Frankreich ist Paris und die",
            "Wir brauchen Mehl, Zucker,",
            "Первый шаг прост, второй сложнее, и",
            "They sold 88,000 copies in all, so Harald sold 88,00",
            "The insurance is $1300 * 10/100 = $<<1300*10/1",
            "First we add the numbers. Then we divide. After that we take the square root of the result and we see that it must be positiv",
            "手順は次のとおりです：",
        ] {
            assert_eq!(verdict(text), Verdict::Failed, "{text:?}");
        }
    }

    #[test]
    fn passes_what_is_finished() {
        for text in [
            "Paris",
            "The capital is Paris.",
            "Is it? Yes!",
            "- one\n- two\n- three",
            "x = 4",
            "```python\nprint(1)\n```",
            "{\"a\": [1, 2]}",
            "Roses are red\nViolets are blue\nSugar is sweet\nAnd so are you",
            "ปารีสเป็นเมืองหลวงของฝรั่งเศส",
            "答えは4です。",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "**Total: 18**",
            "def f(x):\n    return x;",
            "Best regards,\nAda Lovelace",
            "He said “yes”",
            "Answer: B",
            "```json\n{\"answer\": \"4\"}\n",
            "\\[ x = 4 \\]",
            "Das kostet 12,50",
            "So, for all of these reasons, the answer is A",
            "Signature: ______  Date: ______",
            "We did it, and it was worth every step of the way up to the top of the hill today #hiking",
            "See https://example.com/a/b",
        ] {
            assert_eq!(verdict(text), Verdict::Passed, "{text:?}");
        }
    }

    #[test]
    fn a_limit_that_cut_it_rejects() {
        let cut = check(&Answer::new("Paris."), Finish::Length, false);
        assert!(cut.hard && cut.reason.contains("token limit"));
        assert!(check(&Answer::new("<think>hm"), Finish::Stop, false).hard);
    }
}
