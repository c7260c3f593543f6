//! An answer as the rules see it: what is shown, what is said in prose, what is code, and the field
//! that holds the final answer when the model wrapped its answer in JSON.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{self, Node, Value};

/// A fenced block of a Markdown text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence<'a> {
    /// What stands behind the opening fence, such as `python`, lower-cased by nobody.
    pub info: &'a str,
    /// The lines between the fences.
    pub body: &'a str,
    /// Whether the block was closed.
    pub closed: bool,
    /// Where the whole block stands, fences included.
    pub range: Range<usize>,
}

/// An answer taken apart.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// What the user sees: the text without a leading reasoning section in tags.
    pub shown: &'a str,
    /// What is said: without fenced code, and out of its JSON wrapping.
    pub prose: Cow<'a, str>,
    /// The fenced blocks of what is shown, at most [`MAX_FENCES`].
    pub fences: Vec<Fence<'a>>,
    /// The member of a JSON wrapping that holds the final answer, such as `answer`.
    pub final_field: Option<String>,
    /// Whether the answer is wrapped in a JSON object whose strings are its prose.
    pub wrapping: Wrapping,
    /// Whether a reasoning section in tags stands before what is shown.
    pub reasoning: Reasoning,
}

/// Whether an answer is wrapped in a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// It is not.
    None,
    /// It is, and the object stops before its end.
    Cut,
    /// It is, and the object is closed.
    Whole,
}

impl Wrapping {
    fn of(closed: bool) -> Self {
        if closed { Self::Whole } else { Self::Cut }
    }
}

/// Whether there is a reasoning section in tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// There is none.
    None,
    /// There is, and it was ended.
    Closed,
    /// There is, and it was never ended.
    Open,
}

/// More fenced blocks than this are read as prose.
pub const MAX_FENCES: usize = 1000;

const REASONING_TAGS: [&str; 5] = ["think", "thinking", "reasoning", "scratchpad", "reflection"];

const FINAL_NAMES: [&str; 8] = [
    "answer",
    "final_answer",
    "finalanswer",
    "final answer",
    "final",
    "result",
    "solution",
    "output",
];

impl<'a> Answer<'a> {
    /// Takes a text apart, in one pass over it.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let (shown, reasoning) = without_reasoning(text);
        let fences = fences(shown);
        let mut answer = Self {
            shown,
            prose: Cow::Borrowed(""),
            fences,
            final_field: None,
            wrapping: Wrapping::None,
            reasoning,
        };
        if !answer.unwrap_json() {
            answer.prose = outside(shown, answer.fences.iter().map(|fence| fence.range.clone()));
        }
        answer
    }

    /// Finds the object an answer is wrapped in and takes its strings as the prose.
    fn unwrap_json(&mut self) -> bool {
        let trimmed = self.shown.trim_start();
        let lead = self.shown.len() - trimmed.len();
        let whole = trimmed.starts_with('{').then_some((lead, trimmed));
        let fenced = self
            .fences
            .iter()
            .filter(|fence| fence.body.trim_start().starts_with('{'))
            .map(|fence| (offset_in(self.shown, fence.body), fence.body))
            .next_back();
        // An object that starts a line of its own, behind some words.
        let inline = || {
            let at = self.shown.find("\n{")? + 1;
            Some((at, &self.shown[at..]))
        };
        let Some((at, text)) = whole.or(fenced).or_else(inline) else {
            return false;
        };
        let Ok(node) = json::parse_prefix(text) else {
            return self.unwrap_broken(text);
        };
        let Value::Object(members) = &node.value else {
            return false;
        };
        let final_name = FINAL_NAMES.iter().find_map(|name| {
            members
                .iter()
                .rev()
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        });
        let only_json = whole.is_some() && text[node.end..].trim().is_empty();
        if final_name.is_none() && !only_json {
            return false;
        }
        let mut prose = if only_json {
            String::new()
        } else {
            let ranges = self.fences.iter().map(|fence| fence.range.clone());
            let block = at..at + node.end;
            let mut ranges: Vec<_> = ranges.filter(|range| !overlap(range, &block)).collect();
            let fence_of_block = self.fences.iter().find(|f| overlap(&f.range, &block));
            ranges.push(fence_of_block.map_or(block, |fence| fence.range.clone()));
            ranges.sort_unstable_by_key(|range| range.start);
            outside(self.shown, ranges.into_iter()).into_owned()
        };
        if let Some((_, node)) = final_name {
            self.final_field = Some(match &node.value {
                Value::String(string) => string.trim().to_owned(),
                _ => text[node.start..node.end].to_owned(),
            });
        }
        let skip = final_name.map(|(_, node)| node.start);
        if !prose.is_empty() {
            prose.push('\n');
        }
        strings(&node, skip, &mut prose);
        self.prose = Cow::Owned(prose);
        self.wrapping = Wrapping::of(text[..node.end].ends_with('}'));
        true
    }
}

impl<'a> Answer<'a> {
    /// JSON that not even lenient reading takes, such as one with bare quotes in its strings: the last
    /// member with a final answer's name, and what stands before it as the prose.
    fn unwrap_broken(&mut self, text: &'a str) -> bool {
        for name in FINAL_NAMES {
            let Some(at) = text.rfind(&format!("\"{name}\"")) else {
                continue;
            };
            let behind = text[at + name.len() + 2..].trim_start();
            let Some(value) = behind.strip_prefix(':') else {
                continue;
            };
            let Ok(node) = json::parse_prefix(value) else {
                continue;
            };
            self.final_field = Some(match &node.value {
                Value::String(string) => string.trim().to_owned(),
                _ => value[node.start..node.end].to_owned(),
            });
            self.prose = Cow::Owned(text[..at].replace("\\n", "\n").replace("\\\"", "\""));
            self.wrapping = Wrapping::of(text.contains('}'));
            return true;
        }
        false
    }
}

fn overlap(left: &Range<usize>, right: &Range<usize>) -> bool {
    left.start < right.end && right.start < left.end
}

fn offset_in(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// Appends every string of a value, each on lines of its own; the parser has bounded the depth.
fn strings(node: &Node<'_>, skip: Option<usize>, out: &mut String) {
    if Some(node.start) == skip {
        return;
    }
    match &node.value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, skip, out)),
        Value::Object(members) => members
            .iter()
            .for_each(|(_, item)| strings(item, skip, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text without the given ranges, which are in order.
fn outside(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let mut at = 0;
    for range in ranges {
        let out = out.get_or_insert_with(String::new);
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push('\n');
        }
        at = at.max(range.end);
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(&text[at..]);
            Cow::Owned(out)
        }
    }
}

fn without_reasoning(text: &str) -> (&str, Reasoning) {
    let trimmed = text.trim_start();
    for tag in REASONING_TAGS {
        let Some(rest) = trimmed
            .strip_prefix('<')
            .and_then(|rest| rest.strip_prefix(tag))
            .and_then(|rest| rest.strip_prefix('>'))
        else {
            continue;
        };
        let close = format!("</{tag}>");
        return match rest.find(&close) {
            Some(at) => (&rest[at + close.len()..], Reasoning::Closed),
            None => ("", Reasoning::Open),
        };
    }
    (text, Reasoning::None)
}

/// The fenced blocks of a Markdown text (`CommonMark` §4.5, without its rules on indentation).
fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut found: Vec<Fence<'_>> = Vec::new();
    let mut open: Option<(u8, usize, usize, usize)> = None; // mark, its length, start, body start
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let content = line.trim();
        let Some(&mark) = content
            .as_bytes()
            .first()
            .filter(|&&b| b == b'`' || b == b'~')
        else {
            continue;
        };
        let count = content.bytes().take_while(|&b| b == mark).count();
        if count < 3 {
            continue;
        }
        match open {
            Some((open_mark, open_count, open_start, body)) => {
                if mark == open_mark && count >= open_count && content.len() == count {
                    found.push(fence(text, open_start, body, start, at, true));
                    open = None;
                    if found.len() >= MAX_FENCES {
                        return found;
                    }
                }
            }
            // ```one line``` is inline code.
            None if mark == b'`' && content[count..].contains('`') => {}
            None => open = Some((mark, count, start, at)),
        }
    }
    if let Some((_, _, start, body)) = open {
        found.push(fence(text, start, body, text.len(), text.len(), false));
    }
    found
}

fn fence(
    text: &str,
    start: usize,
    body: usize,
    body_end: usize,
    end: usize,
    closed: bool,
) -> Fence<'_> {
    let info = text[start..body].trim().trim_start_matches(['`', '~']);
    Fence {
        info: info.trim(),
        body: &text[body..body_end],
        closed,
        range: start..end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_code_out_of_the_prose() {
        let answer = Answer::new("Here:\n```python\nx = 1\n```\nDone.");
        assert_eq!(answer.fences.len(), 1);
        assert_eq!(answer.fences[0].info, "python");
        assert_eq!(answer.fences[0].body, "x = 1\n");
        assert_eq!(answer.prose, "Here:\n\nDone.");
        assert!(!Answer::new("a\n```\nb").fences[0].closed);
        assert!(Answer::new("a ```b``` c").fences.is_empty());
    }

    #[test]
    fn unwraps_an_answer_in_json_even_when_it_is_broken() {
        let fenced =
            "Sure:\n```json\n{\"reasoning\": \"2 + 2\nis 4\", \"answer\": \"4\"}\n```\nBye.";
        let answer = Answer::new(fenced);
        assert_ne!(answer.wrapping, Wrapping::None);
        assert_eq!(answer.final_field.as_deref(), Some("4"));
        assert!(
            answer.prose.contains("is 4")
                && answer.prose.contains("Sure")
                && answer.prose.contains("Bye")
        );
        let cut = Answer::new("{\"reasoning\": \"First, add");
        assert_eq!(cut.wrapping, Wrapping::Cut);
        assert_eq!(cut.prose, "First, add\n");
        let number = Answer::new("Well.\n{\"why\": \"so\", \"answer\": 12.5}");
        assert_eq!(number.final_field.as_deref(), Some("12.5"));
    }

    #[test]
    fn unwraps_json_with_bare_quotes_in_its_strings() {
        let answer = Answer::new("{\"reasoning\": \"He said \"hi\" twice.\", \"answer\": \"2\"}");
        assert_ne!(answer.wrapping, Wrapping::None);
        assert_eq!(answer.final_field.as_deref(), Some("2"));
        assert!(answer.prose.contains("twice"));
    }

    #[test]
    fn leaves_data_in_json_alone() {
        let answer = Answer::new("An example:\n```json\n{\"name\": \"Ada\"}\n```\n");
        assert_eq!(answer.wrapping, Wrapping::None);
        assert_eq!(answer.final_field, None);
    }

    #[test]
    fn takes_reasoning_tags_off() {
        let answer = Answer::new("<think>hm</think>\nParis");
        assert_eq!(answer.shown.trim(), "Paris");
        assert_eq!(answer.reasoning, Reasoning::Closed);
        let open = Answer::new("<think>hm");
        assert_eq!(open.reasoning, Reasoning::Open);
        assert!(open.shown.is_empty());
    }
}
