//! Finding the words in which an answer says what its answer is.

use crate::quality::answer::{Answer, Wrapping};
use crate::quality::arithmetic::{Mention, Rational, numbers};
use crate::quality::final_answer;
use crate::quality::units::unit_at;
use crate::quality::words::{WordSet, sentences, words};
use std::borrow::Cow;
use std::sync::LazyLock;

use super::literal;

/// No longer text is a final answer.
const MAX_CHARACTERS: usize = 400;

/// How an answer says what its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Marked: a member of JSON, a box, “the answer is”.
    Marked,
    /// The whole answer is nothing else.
    Whole,
    /// The answer's first words: “Yes, because …”, “(B) …”.
    Head,
    /// The last sentence of a calculation or an argument.
    Conclusion,
}

/// Finds it; a text of nothing but an explanation has none.
pub(super) fn locate(answer: &Answer<'_>) -> Option<(String, Manner)> {
    if let Some(field) = &answer.final_field {
        // An empty string is an answer where code was traced.
        let empty = field.is_empty().then_some("");
        return empty
            .or_else(|| short(field))
            .map(|text| (text.to_owned(), Manner::Marked));
    }
    let shown = answer.shown.trim();
    if let Some(text) = marked(answer) {
        return Some((text, Manner::Marked));
    }
    if answer.wrapping != Wrapping::None || shown.is_empty() {
        return None;
    }
    if let Some(text) = head(shown) {
        return Some((text.to_owned(), Manner::Head));
    }
    if let Some(text) = whole(answer, shown) {
        return Some((text.to_owned(), Manner::Whole));
    }
    conclusion(answer).map(|text| (text, Manner::Conclusion))
}

fn short(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text.chars().nth(MAX_CHARACTERS).is_none()).then_some(text)
}

/// A box, a line of `####`, the last “the answer is”, or the right side of a completed assertion.
fn marked(answer: &Answer<'_>) -> Option<String> {
    let shown = answer.shown;
    let prose: &str = &answer.prose;
    if let Some((_, text)) = final_answer::boxed(prose) {
        return short(text).map(str::to_owned);
    }
    let hashes = final_answer::hashes(prose).or_else(|| {
        prose
            .trim_start()
            .strip_prefix("#### ")
            .map(|rest| (0, rest))
    });
    if let Some((_, text)) = hashes {
        return short(text.lines().next().unwrap_or_default()).map(str::to_owned);
    }
    // In what is shown, not in the prose: the value may stand in a block behind the phrase.
    if answer.wrapping == Wrapping::None
        && let Some(end) = cue(answer)
    {
        let rest = &shown[end..];
        let block = answer.fences.iter().find(|fence| {
            fence.range.start >= end
                && shown[end..fence.range.start]
                    .trim_matches(is_filler)
                    .is_empty()
        });
        let text = match block {
            Some(fence) => fence.body.trim(),
            None => clip(rest),
        };
        return short(text).map(str::to_owned);
    }
    assertion(shown)
}

/// Where the last cue outside code ends.
fn cue(answer: &Answer<'_>) -> Option<usize> {
    let mut fences = answer.fences.iter().map(|fence| &fence.range).peekable();
    let mut last = None;
    for found in final_answer::CUES.find(answer.shown) {
        while fences.peek().is_some_and(|range| range.end <= found.start) {
            fences.next();
        }
        if fences.peek().is_none_or(|range| range.start > found.start) {
            last = Some(found.end);
        }
    }
    last
}

fn is_filler(character: char) -> bool {
    character.is_whitespace() || matches!(character, '*' | '_' | ':' | '：' | '>' | '=' | '-' | '#')
}

/// The value that a text begins with, behind a phrase such as “the answer is”.
pub(super) fn clip(rest: &str) -> &str {
    // A minus sign belongs to the number.
    let rest = rest.trim_start_matches(|c: char| is_filler(c) && c != '-');
    for (open, close) in [
        ("```", "```"),
        ("`", "`"),
        ("\\(", "\\)"),
        ("\\[", "\\]"),
        ("$$", "$$"),
        ("“", "”"),
    ] {
        if let Some(inner) = rest.strip_prefix(open)
            && let Some(end) = inner.find(close)
            && end > 0
            && inner[..end].chars().count() <= MAX_CHARACTERS
        {
            return inner[..end].trim();
        }
    }
    // `$x$`, but not “$5 and $6”.
    if let Some(inner) = rest.strip_prefix('$')
        && !inner.starts_with(|c: char| c.is_ascii_digit() || c == ' ')
        && let Some(end) = inner.find('$')
    {
        return inner[..end].trim();
    }
    if rest.starts_with(['[', '(', '{', '\'', '"', '-'])
        && let Some((_, end)) = literal::read_prefix(rest)
        && rest[end..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric() && c != '/')
    {
        // A number goes on to its unit; a literal ends where it ends.
        if !rest.starts_with('-') {
            return &rest[..end];
        }
    }
    let line = rest.split('\n').next().unwrap_or_default();
    let end = line
        .match_indices(['.', '。', ';', '；', '!', '！'])
        .find(|(at, mark)| {
            !line[at + mark.len()..].starts_with(|c: char| c.is_alphanumeric())
                && !is_initial(&line[..*at])
        })
        .map_or(line.len(), |(at, _)| at);
    let mut text = &line[..end];
    for turn in [
        ", because",
        " because ",
        ", since ",
        ", which ",
        ", as ",
        ", so ",
        " — ",
        " – ",
    ] {
        if let Some(at) = text.find(turn) {
            text = &text[..at];
        }
    }
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '`' | ':' | '_' | ','))
}

/// Whether a full stop behind this is that of an initial: “J. K. Rowling”.
fn is_initial(before: &str) -> bool {
    let mut last = before.chars().rev();
    last.next().is_some_and(char::is_uppercase) && last.next().is_none_or(|c| c == ' ' || c == '.')
}

/// The literal behind the last `assert … ==`.
fn assertion(shown: &str) -> Option<String> {
    let line = shown
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with("assert ") && line.contains("=="))?;
    let value = line.rsplit("==").next()?.trim();
    literal::read_prefix(value).map(|(_, end)| value[..end].to_owned())
}

/// An answer that is nothing but a value: a line of few words without a verb, or a block of one line.
fn whole<'t>(answer: &Answer<'t>, shown: &'t str) -> Option<&'t str> {
    if let [fence] = answer.fences.as_slice() {
        let alone = answer.prose.trim().is_empty();
        let body = fence.body.trim();
        return (alone && !body.contains('\n'))
            .then_some(body)
            .and_then(short);
    }
    let text = short(shown).filter(|text| !text.contains('\n'))?;
    if literal::read(text.trim_matches('`')).is_some() {
        return Some(text.trim_matches('`'));
    }
    let count = words(text).len();
    let sentence = count > 4 && text.ends_with(['.', '!', '?']) || count > 8;
    (!sentence && !text.ends_with('?') && !text.ends_with(':')).then_some(text)
}

static EITHER: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new("yes no true false ja nein oui non sí si não sim sì nee да нет correct incorrect")
});

/// The value that an answer begins with: “Yes, …”, “**B** …”, “(C) …”.
fn head(shown: &str) -> Option<&str> {
    let line = shown
        .lines()
        .next()?
        .trim_start_matches(['*', '_', '#', ' ']);
    let found = words(line);
    let first = found.first()?;
    let word = &line[first.start..first.end];
    let behind = line[first.end..].trim_start_matches(['*', '_']);
    if first.start == 0 && EITHER.has(first.hash) {
        let stops = behind.is_empty()
            || behind.starts_with([',', '.', '!', ':', ';', '—', '–'])
            || behind.starts_with(" -")
            || behind.starts_with(" –")
            || behind.starts_with(" —");
        return stops.then_some(word);
    }
    // An option that the answer begins with, unless it goes through the options.
    let letter = word.len() == 1 && matches!(word.as_bytes()[0], b'A'..=b'J');
    let parenthesis = &line[..first.start] == "(";
    let marked = first.start == 0
        && (behind.starts_with(')') || behind.starts_with(". ") || behind.starts_with(':'))
        || parenthesis && behind.starts_with(')');
    if !letter || !marked {
        return None;
    }
    let lists = shown.lines().skip(1).any(|line| {
        let bare = line
            .trim_start_matches(['*', '_', '#', '-', ' ', '('])
            .as_bytes();
        bare.len() > 1 && bare[0].is_ascii_uppercase() && matches!(bare[1], b')' | b'.' | b':')
    });
    (!lists).then_some(word)
}

static CONCLUDING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "so therefore thus hence consequently finally altogether overall also daher somit folglich \
         donc ainsi alors entonces así luego quindi dunque perciò portanto logo assim",
    )
});

/// The value that the last sentence of a calculation or argument comes to.
fn conclusion(answer: &Answer<'_>) -> Option<String> {
    let prose = without_notes(answer.prose.trim_end());
    let prose: &str = &prose;
    let line_start = prose.rfind('\n').map_or(0, |at| at + 1);
    let line = &prose[line_start..];
    let range = sentences(line).pop()?;
    let sentence = short(&line[range])?;
    let concludes = words(sentence)
        .first()
        .is_some_and(|word| CONCLUDING.has(word.hash));
    let results = results(prose);
    if !concludes && results.is_none() {
        return None;
    }
    let mentioned = numbers(sentence);
    // What is bold in it is its value.
    let mut parts = sentence.split("**");
    let bold = parts.nth(1).filter(|bold| numbers(bold).len() == 1);
    if let Some(bold) = bold
        && parts.count() == 1
    {
        return Some(bold.trim().to_owned());
    }
    // Else what stands behind its last equals sign, its only number, or the one that was calculated.
    let number = if let Some(sign) = last_sign(sentence) {
        mentioned.iter().find(|mention| mention.start >= sign)
    } else if let [only] = mentioned.as_slice() {
        Some(only)
    } else {
        let mut calculated = mentioned
            .iter()
            .filter(|mention| results == Some(mention.value));
        calculated.next().filter(|_| calculated.next().is_none())
    }?;
    Some(with_signs(sentence, number).to_owned())
}

/// Behind the last equals sign; a sentence that sets two things has no one value.
fn last_sign(sentence: &str) -> Option<usize> {
    let mut signs = sentence.match_indices(['=', '≈']);
    let (last, sign) = signs.next_back()?;
    let before = signs.next_back().map_or(0, |(at, _)| at);
    let two = before > 0 && sentence[before..last].contains(" and ");
    (!two).then_some(last + sign.len())
}

/// A number with its sign, currency, percent sign or unit.
fn with_signs<'t>(sentence: &'t str, number: &Mention) -> &'t str {
    let before = &sentence[..number.start];
    let lead = before.trim_end_matches(['$', '€', '£', '\\']);
    let lead = match lead.strip_suffix(['-', '−']) {
        // A hyphen between words or numbers is no minus.
        Some(rest) if rest.is_empty() || rest.ends_with([' ', '(', '=']) => rest,
        _ => lead,
    };
    let mut end = number.end;
    let behind = &sentence[end..];
    let word = behind.trim_start_matches([' ', '\\', '*']);
    let scale = SCALED.iter().find(|scale| word.starts_with(*scale));
    if word.starts_with('%') {
        end += behind.len() - word.len() + 1;
    } else if let Some(scale) = scale {
        end += behind.len() - word.len() + scale.len();
    } else if unit_at(word).is_some() {
        let length = word
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(word.len());
        // “miles per hour” stays together, and is no unit that converts.
        let rate = word[length..].starts_with('/') || word[length..].starts_with(" per ");
        if !rate {
            end += behind.len() - word.len() + length;
        }
    }
    sentence[lead.len()..end].trim()
}

const SCALED: [&str; 5] = ["percent", "million", "billion", "thousand", "hundred"];

/// What the last calculation at a text's end comes to.
fn results(prose: &str) -> Option<Rational> {
    let mut start = prose.len().saturating_sub(2000);
    while !prose.is_char_boundary(start) {
        start += 1;
    }
    let tail = &prose[start..];
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    tail.match_indices(['=', '≈']).rev().find_map(|(at, sign)| {
        let behind = tail[at + sign.len()..].trim_start();
        let bare = behind.trim_start_matches(['$', '€', '£', '-', '\\', '*', ' ']);
        let line = bare.split('\n').next().unwrap_or_default();
        let value =
            digit(bare.chars().next()).then(|| numbers(line).first().map(|m| m.value))??;
        let negative = behind
            .trim_start_matches(['$', '€', '£', ' '])
            .starts_with('-');
        if negative {
            value.negate()
        } else {
            Some(value)
        }
    })
}

/// The text without the notes of a calculator: “= <<3*4=12>>12”.
fn without_notes(prose: &str) -> Cow<'_, str> {
    if !prose.contains("<<") {
        return Cow::Borrowed(prose);
    }
    let mut out = String::with_capacity(prose.len());
    let mut rest = prose;
    while let Some(start) = rest.find("<<") {
        let inner = &rest[start + 2..];
        // A note is short, which keeps this linear.
        let mut reach = inner.len().min(200);
        while !inner.is_char_boundary(reach) {
            reach -= 1;
        }
        let end = inner[..reach].find(">>");
        out.push_str(&rest[..start]);
        let Some(end) = end else {
            out.push_str("<<");
            rest = inner;
            continue;
        };
        rest = &inner[end + 2..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
