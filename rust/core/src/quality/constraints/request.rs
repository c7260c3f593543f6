//! What a request demands of its answer, as far as fixed phrases say it.

use std::ops::Range;
use std::sync::LazyLock;

use crate::quality::phrases::{Found, Phrases};
use crate::quality::words::{WordSet, is_spaceless, sentences, words};

use super::amounts::{Limit, limits};

/// What an answer must or must not have.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// It must not have this word or phrase.
    Without(String),
    /// It must not have this letter.
    WithoutLetter(char),
    /// It must have this word or phrase.
    With(String),
    /// Its first words.
    Start(String),
    /// Its last words.
    End(String),
    /// No capital letters.
    Lower,
    /// Capital letters only.
    Upper,
    /// None of these marks.
    NoMark(Mark),
    /// A form.
    Form(Form),
    /// A number and nothing else.
    NumberOnly,
    /// So many words, lines …
    Limit(Limit),
}

/// Marks that may be forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Commas.
    Comma,
    /// Exclamation marks.
    Exclamation,
    /// Emoji.
    Emoji,
    /// Bullets and numbered lists.
    Bullet,
    /// Markdown.
    Markdown,
}

/// Forms beside JSON, which `format` checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// YAML.
    Yaml,
    /// Comma-separated values.
    Csv,
    /// A Markdown table.
    Table,
    /// XML.
    Xml,
}

const SECTIONS: [&str; 19] = [
    "forbid_word",
    "forbid_quoted",
    "forbid_name",
    "forbid_letter",
    "require_word",
    "require_quoted",
    "start_with",
    "end_with",
    "lower",
    "upper",
    "no_commas",
    "no_exclamation",
    "no_emoji",
    "no_bullets",
    "no_markdown",
    "yaml",
    "csv",
    "table",
    "xml",
];

static CUES: LazyLock<Phrases> = LazyLock::new(|| {
    let mut sections = SECTIONS.to_vec();
    sections.push("number_only");
    Phrases::from_list(include_str!("../phrases/constraints.txt"), &sections)
});

/// Instructions stand at the ends of a request; what a long document says in its middle is none.
const REACH: usize = 3000;
/// No more phrases than this are looked at: each has its sentence read.
const MAX_CUES: usize = 60;
/// No more demands than this are held to.
const MAX_DEMANDS: usize = 20;

/// First words of requests put as questions: “Can you answer without commas?”
static POLITE: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "can could would will please kannst könntest können könnten peux pouvez pourrais puedes \
         podrías puede può puoi potresti pode poderia",
    )
});

/// Words that make a demand conditional, or an example, or somebody else's.
static CONDITIONAL: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "if when unless whenever example wenn falls quand lorsque cuando quando told asked says said \
         sagte dit dijo disse",
    )
});

/// Words of requests for programs, in which the demands are on what the program does.
static PROGRAMS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "function code script program class method regex query sql python javascript java \
         string strings variable column file files parse convert funktion fonction función funzione \
         função",
    )
});

/// The demands that a request makes.
#[must_use]
pub fn demands(request: &str) -> Vec<Demand> {
    let mut found = Vec::new();
    let (head, tail) = ends(request);
    let about_code = words(head).iter().any(|word| PROGRAMS.has(word.hash));
    for part in [head, tail] {
        for cue in CUES.find(part).take(MAX_CUES) {
            let sentence = sentence_around(part, cue.start, cue.end);
            if is_demanded(part, &sentence, cue.start)
                && let Some(demand) = read(part, &sentence, cue, about_code)
                && found.len() < MAX_DEMANDS
            {
                found.extend(demand);
            }
        }
        for range in sentences(part) {
            if found.len() < MAX_DEMANDS && is_demanded(part, &range, range.start) {
                found.extend(limits(&part[range]).into_iter().map(Demand::Limit));
            }
        }
    }
    found.dedup();
    found
}

/// The two ends of a text; the second is empty when the first holds it all.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= 2 * REACH {
        return (text, "");
    }
    let (mut head, mut tail) = (REACH, text.len() - REACH);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    (&text[..head], &text[tail..])
}

/// The sentence in which a cue stands; a full stop in it is one between letters.
fn sentence_around(text: &str, start: usize, end: usize) -> Range<usize> {
    let ends = |c: char| matches!(c, '\n' | '。' | '！' | '？' | '!' | '?');
    let before = &text[..start];
    let from = before.rfind(ends).map_or(0, |at| {
        at + before[at..].chars().next().map_or(1, char::len_utf8)
    });
    let from = before[from..].rfind(". ").map_or(from, |at| from + at + 2);
    let behind = &text[end..];
    let to = behind.find(ends).map_or(text.len(), |at| {
        end + at + behind[at..].chars().next().map_or(1, char::len_utf8)
    });
    let to = behind[..to - end].find(". ").map_or(to, |at| end + at + 1);
    from..to
}

/// Whether what stands at `at` of a sentence is demanded: not asked about, not conditional, not quoted.
fn is_demanded(text: &str, sentence: &Range<usize>, at: usize) -> bool {
    let whole = &text[sentence.clone()];
    let before = &text[sentence.start..at];
    let quoted = before.matches('"').count() % 2 == 1
        || before.matches(['“', '«', '「']).count() > before.matches(['”', '»', '」']).count();
    let found = words(whole);
    let polite = found
        .first()
        .is_some_and(|word| POLITE.has(word.hash) || ASKING.has(word.hash));
    let question = whole.trim_end().ends_with(['?', '？']) && !polite;
    // “In one word, what is …?”: the demand comes first.
    let leads = before.trim().is_empty();
    let conditional = words(before).iter().any(|word| CONDITIONAL.has(word.hash));
    !quoted && !conditional && (!question || leads)
}

fn read(text: &str, sentence: &Range<usize>, cue: Found, about_code: bool) -> Option<Vec<Demand>> {
    let rest = &text[cue.end..sentence.end.max(cue.end)];
    let section = SECTIONS
        .get(usize::from(cue.tag))
        .copied()
        .unwrap_or("number_only");
    let all = |terms: Vec<String>, make: fn(String) -> Demand| {
        (!terms.is_empty()).then(|| terms.into_iter().map(make).collect())
    };
    // Of a program's output, or of the letters of a string, nothing is demanded here.
    if about_code && !matches!(section, "yaml" | "csv" | "xml" | "number_only") {
        return None;
    }
    let one = |demand: Demand| Some(vec![demand]);
    match section {
        "forbid_word" => all(terms(rest, true), Demand::Without),
        "forbid_quoted" => all(terms(rest, false), Demand::Without),
        "forbid_name" => all(terms(rest, false), Demand::Without)
            .or_else(|| name(rest).map(|name| vec![Demand::Without(name)])),
        "forbid_letter" => letter(rest).map(|letter| vec![Demand::WithoutLetter(letter)]),
        "require_word" if speaks_of_spelling(&text[sentence.clone()]) => None,
        "require_word" if asks(text, sentence, cue.start) => all(terms(rest, true), Demand::With),
        "require_quoted" => all(terms(rest, false), Demand::With),
        "start_with" => phrase(rest).and_then(|phrase| one(Demand::Start(phrase))),
        "end_with" => phrase(rest).and_then(|phrase| one(Demand::End(phrase))),
        _ if !asks(text, sentence, cue.start) => None,
        "lower" => one(Demand::Lower),
        "upper" => one(Demand::Upper),
        "no_commas" => one(Demand::NoMark(Mark::Comma)),
        "no_exclamation" => one(Demand::NoMark(Mark::Exclamation)),
        "no_emoji" => one(Demand::NoMark(Mark::Emoji)),
        "no_bullets" => one(Demand::NoMark(Mark::Bullet)),
        "no_markdown" => one(Demand::NoMark(Mark::Markdown)),
        "yaml" if !about_code => one(Demand::Form(Form::Yaml)),
        "csv" if !about_code => one(Demand::Form(Form::Csv)),
        "table" => one(Demand::Form(Form::Table)),
        "xml" if !about_code => one(Demand::Form(Form::Xml)),
        "number_only" => one(Demand::NumberOnly),
        _ => None,
    }
}

/// “An acrostic with the word …”, “ends with the word …”: the word itself need not be there.
fn speaks_of_spelling(sentence: &str) -> bool {
    static SPELLING: LazyLock<WordSet> = LazyLock::new(|| {
        WordSet::new(
            "acrostic akrostichon acrostiche acróstico acrostico rhyme rhymes rhyming synonym synonyms \
             antonym anagram anagrams replace replacing instead define spell letters sentence's",
        )
    });
    words(sentence).iter().any(|word| SPELLING.has(word.hash))
}

/// Verbs that ask for an answer, in several languages.
static ASKING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "write answer reply respond response summarize summarise explain describe give list name \
         compose generate create tell provide keep use say suggest produce draft return output show \
         mention make include present format put must should please only do don't no never avoid \
         refrain without compare contrast rewrite \
         translate convert turn organize organise arrange sort extract classify vergleiche übersetze \
         traduis compara traduce confronta traduci traduza schreibe schreib antworte beantworte erkläre beschreibe nenne gib fasse \
         verfasse erstelle verwende benutze liste zeige réponds répondez écris écrivez explique \
         expliquez résume résumez donne donnez décris liste présente présentez utilise responde \
         escribe explica resume describe da dame haz enumera redacta usa utiliza presenta \
         rispondi scrivi spiega riassumi descrivi elenca dammi fai presenta responda escreva \
         explique resuma descreva liste dê faça apresente crea crie",
    )
});

/// Whether the sentence asks for an answer, or the phrase stands alone.
fn asks(text: &str, sentence: &Range<usize>, at: usize) -> bool {
    let before = &text[sentence.start..at];
    let asked = words(&text[sentence.clone()]);
    let spaceless = text[sentence.clone()].chars().any(is_spaceless);
    spaceless || before.trim().is_empty() || asked.iter().any(|word| ASKING.has(word.hash))
}

const QUOTES: [(char, char); 7] = [
    ('"', '"'),
    ('“', '”'),
    ('„', '“'),
    ('«', '»'),
    ('「', '」'),
    ('\'', '\''),
    ('‘', '’'),
];

/// The quoted text that a text begins with, and where it ends.
fn quoted(text: &str) -> Option<(&str, usize)> {
    let trimmed = text.trim_start_matches([' ', ':', '：', '*', '\u{a0}']);
    let lead = text.len() - trimmed.len();
    let open = trimmed.chars().next()?;
    let (_, close) = QUOTES.iter().find(|(mark, _)| *mark == open)?;
    let inner = &trimmed[open.len_utf8()..];
    let end = inner
        .find(*close)
        .or_else(|| (open == '„').then(|| inner.find('”'))?)?;
    let content = &inner[..end];
    let fits = !content.trim().is_empty() && content.chars().count() <= 80;
    fits.then(|| (content, lead + open.len_utf8() + end + close.len_utf8()))
}

/// The words behind a cue: quoted ones, joined by commas or conjunctions; or, where `bare` ones will
/// do, single words joined likewise.
fn terms(rest: &str, bare: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = rest;
    loop {
        if let Some((term, end)) = quoted(rest) {
            found.push(clean(term));
            rest = &rest[end..];
        } else if bare && found.len() < 10 {
            let Some(word) = words(rest).first().copied() else {
                break;
            };
            let gap = rest[..word.start].trim_matches([' ', ':', '*', '_']);
            let term = &rest[word.start..word.end];
            if !gap.is_empty() || is_function_word(term) {
                break;
            }
            found.push(clean(term));
            rest = &rest[word.end..];
        } else {
            break;
        }
        // On to the next of a list.
        let joined = rest.trim_start();
        let next = [
            ",", "、", "or ", "and ", "oder ", "und ", "ou ", "et ", "o ", "y ", "e ", "和", "或",
        ]
        .iter()
        .find_map(|join| joined.strip_prefix(join));
        let Some(next) = next else { break };
        let next = next.trim_start();
        rest = ["or ", "and ", "oder ", "und ", "ou ", "et "]
            .iter()
            .find_map(|join| next.strip_prefix(join))
            .unwrap_or(next);
        // Behind a bare word only another list member follows, not a new clause.
        if bare && quoted(rest).is_none() && words(rest).len() > 2 && !joined.starts_with(',') {
            let ends = words(rest)
                .first()
                .map_or("", |word| rest[word.end..].trim_start());
            if !ends.is_empty() && !ends.starts_with(['.', ',', ';', ')']) {
                break;
            }
        }
        if bare && quoted(rest).is_none() && joined.starts_with(',') {
            let after = words(rest)
                .first()
                .map_or("", |word| rest[word.end..].trim_start());
            if !(after.starts_with([',', '.'])
                || after.starts_with("or ")
                || after.starts_with("and ")
                || after.is_empty())
            {
                break;
            }
        }
    }
    found.retain(|term| !term.is_empty());
    found.dedup();
    found
}

fn clean(term: &str) -> String {
    term.trim()
        .trim_end_matches([',', '.', ';', ':', '!', '?'])
        .to_lowercase()
}

/// Words that cannot be the ones meant: “the word in”, “the words that”.
fn is_function_word(word: &str) -> bool {
    matches!(
        word.to_lowercase().as_str(),
        "in" | "on"
            | "at"
            | "that"
            | "which"
            | "you"
            | "for"
            | "from"
            | "with"
            | "below"
            | "above"
            | "limit"
            | "count"
            | "and"
            | "or"
            | "is"
            | "are"
            | "of"
            | "itself"
            | "given"
            | "provided"
            | "following"
            | "i"
    )
}

/// A name behind “do not mention”: capitalised words up to the clause's end.
fn name(rest: &str) -> Option<String> {
    let clause = rest
        .split(['.', ',', ';', '!', '?', '\n'])
        .next()
        .unwrap_or_default()
        .trim();
    let found = words(clause);
    let capital =
        |word: &crate::quality::words::Word| clause[word.start..].starts_with(char::is_uppercase);
    ((1..=3).contains(&found.len()) && found.iter().all(capital)).then(|| clean(clause))
}

/// The first or last words demanded: quoted, or one word behind “the word”.
fn phrase(rest: &str) -> Option<String> {
    if let Some((term, _)) = quoted(rest) {
        return Some(term.trim().to_owned());
    }
    let rest = rest.trim_start();
    let lead = [
        "the word ",
        "the words ",
        "the phrase ",
        "the sentence ",
        "dem wort ",
        "le mot ",
        "la palabra ",
        "la parola ",
        "a palavra ",
    ]
    .iter()
    .find_map(|lead| rest.strip_prefix(lead))?;
    if let Some((term, _)) = quoted(lead) {
        return Some(term.trim().to_owned());
    }
    let word = words(lead).first().copied()?;
    let alone = lead[word.end..].trim_start();
    let term = &lead[word.start..word.end];
    (alone.is_empty() || alone.starts_with(['.', ',', ';', ')'])).then(|| term.to_owned())
}

fn letter(rest: &str) -> Option<char> {
    let term = quoted(rest).map_or_else(
        || {
            words(rest)
                .first()
                .map_or("", |word| &rest[word.start..word.end])
        },
        |(term, _)| term,
    );
    let mut letters = term.trim().chars();
    let letter = letters.next().filter(|c| c.is_alphabetic())?;
    letters
        .next()
        .is_none()
        .then(|| letter.to_lowercase().next().unwrap_or(letter))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_phrases_are_built() {
        assert!(super::CUES.is_built());
    }
}
