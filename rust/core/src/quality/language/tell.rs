//! Telling a text's language.

use std::sync::LazyLock;

use crate::quality::words::{Word, hash_word};

/// A language, or a group of languages that are not told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// One in Latin letters: its place in the list of function words.
    Latin(u8),
    /// One told by its script.
    Script(Script),
}

/// Scripts that tell the language, or a few related ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Chinese,
    Japanese,
    Korean,
    Cyrillic,
    Arabic,
    Devanagari,
    Bengali,
    Greek,
    Hebrew,
    Thai,
    Tamil,
    Telugu,
    Gujarati,
    Gurmukhi,
}

pub(super) const LATIN: [(&str, &str); 17] = [
    ("en", "English"),
    ("de", "German"),
    ("fr", "French"),
    ("es", "Spanish"),
    ("it", "Italian"),
    ("pt", "Portuguese"),
    ("nl", "Dutch"),
    ("sv", "Swedish"),
    ("da", "Danish or Norwegian"),
    ("pl", "Polish"),
    ("cs", "Czech"),
    ("tr", "Turkish"),
    ("id", "Indonesian"),
    ("vi", "Vietnamese"),
    ("ro", "Romanian"),
    ("hu", "Hungarian"),
    ("fi", "Finnish"),
];

impl Language {
    /// The language in Latin letters with this code.
    pub(super) fn latin(code: &str) -> Option<Self> {
        let place = LATIN.iter().position(|(known, _)| *known == code)?;
        u8::try_from(place).ok().map(Self::Latin)
    }

    /// Its name in English.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latin(place) => LATIN.get(usize::from(place)).map_or("another", |row| row.1),
            Self::Script(script) => match script {
                Script::Chinese => "Chinese",
                Script::Japanese => "Japanese",
                Script::Korean => "Korean",
                Script::Cyrillic => "Russian or another in Cyrillic",
                Script::Arabic => "Arabic or another in its script",
                Script::Devanagari => "Hindi or another in Devanagari",
                Script::Bengali => "Bengali",
                Script::Greek => "Greek",
                Script::Hebrew => "Hebrew",
                Script::Thai => "Thai",
                Script::Tamil => "Tamil",
                Script::Telugu => "Telugu",
                Script::Gujarati => "Gujarati",
                Script::Gurmukhi => "Punjabi",
            },
        }
    }
}

/// Words of several languages weigh less: twelve in all for each word.
const WEIGHT: u32 = 12;

/// Function words by hash, with a bit for each language.
static FUNCTION_WORDS: LazyLock<Vec<(u64, u32)>> = LazyLock::new(|| {
    let mut all: Vec<(u64, u32)> = Vec::new();
    for line in include_str!("function_words.txt").lines() {
        let mut parts = line.split_whitespace();
        let Some(Language::Latin(place)) = parts.next().and_then(Language::latin) else {
            continue;
        };
        all.extend(parts.map(|word| (hash_word(word), 1_u32 << place)));
    }
    all.sort_unstable();
    let mut merged: Vec<(u64, u32)> = Vec::new();
    for (hash, bits) in all {
        match merged.last_mut() {
            Some(last) if last.0 == hash => last.1 |= bits,
            _ => merged.push((hash, bits)),
        }
    }
    merged
});

fn languages_of(hash: u64) -> u32 {
    FUNCTION_WORDS
        .binary_search_by_key(&hash, |(hash, _)| *hash)
        .map_or(0, |at| FUNCTION_WORDS[at].1)
}

/// No more of a text than this is read.
const MAX_WORDS: usize = 200;
const MAX_CHARACTERS: usize = 1500;

fn weights(words: &[Word]) -> ([u32; LATIN.len()], u32) {
    let mut found = [0_u32; LATIN.len()];
    let mut read = 0;
    for word in words.iter().take(MAX_WORDS) {
        // A letter alone is a variable, an initial or a label at least as often.
        if word.end - word.start < 2 {
            continue;
        }
        read += 1;
        let bits = languages_of(word.hash);
        if bits == 0 {
            continue;
        }
        for (place, slot) in found.iter_mut().enumerate() {
            if bits >> place & 1 == 1 {
                *slot += WEIGHT / bits.count_ones();
            }
        }
    }
    (found, read)
}

/// Whether a text has so many different function words of a language.
fn is_varied(words: &[Word], place: usize, least: usize) -> bool {
    let mut seen: Vec<u64> = Vec::new();
    for word in words.iter().take(MAX_WORDS) {
        if word.end - word.start >= 2
            && languages_of(word.hash) >> place & 1 == 1
            && !seen.contains(&word.hash)
        {
            seen.push(word.hash);
            if seen.len() >= least {
                return true;
            }
        }
    }
    false
}

/// A text's language, if it is sure: most of its letters are of one script, and in Latin letters at
/// least `least` words are written and the function words are those of one language.
#[must_use]
pub fn tell(text: &str, words: &[Word], least: usize) -> Option<Language> {
    if let Some(script) = script(text)? {
        return Some(Language::Script(script));
    }
    if words.len() < least {
        return None;
    }
    let (found, read) = weights(words);
    let (place, best) = found
        .iter()
        .enumerate()
        .max_by_key(|(_, weight)| **weight)?;
    let second = found
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != place)
        .map(|(_, w)| *w)
        .max()?;
    // Every eighth word, and half as much again as the next language has.
    let sure = *best * 8 >= read * WEIGHT && *best >= 2 * WEIGHT && *best * 2 >= second * 3;
    // One word again and again is a name.
    let sure = sure && is_varied(words, place, if read < 8 { 2 } else { 3 });
    let place = u8::try_from(place).ok()?;
    sure.then_some(Language::Latin(place))
}

/// Whether a text has a trace of a language: one of its own function words, or two of its letters.
pub(super) fn has_trace(text: &str, words: &[Word], language: Language) -> bool {
    match language {
        Language::Latin(place) => words
            .iter()
            .take(MAX_WORDS)
            .any(|word| word.end - word.start >= 2 && languages_of(word.hash) == 1 << place),
        Language::Script(script) => {
            let of_script = |c: &char| script_of(*c) == Some(Some(script));
            let sample = text.chars().take(MAX_CHARACTERS);
            sample.filter(of_script).nth(1).is_some()
        }
    }
}

/// Whether a text has a fair part in a language: a bilingual answer, or one with a sentence in it.
pub(super) fn has_some(text: &str, words: &[Word], language: Language) -> bool {
    match language {
        Language::Latin(place) => {
            // Only words that no other language of the list has.
            let mut own = [0_usize; LATIN.len()];
            for word in words.iter().take(MAX_WORDS) {
                let bits = languages_of(word.hash);
                if bits.is_power_of_two() {
                    own[bits.trailing_zeros() as usize] += 1;
                }
            }
            let (mine, most) = (own[usize::from(place)], own.iter().copied().max());
            mine >= 3 && mine * 5 >= most.unwrap_or(0)
        }
        Language::Script(script) => {
            let of_script = |c: char| script_of(c) == Some(Some(script));
            let sample = text.chars().take(MAX_CHARACTERS);
            sample.filter(|c| of_script(*c)).count() >= 10
        }
    }
}

/// The script that most letters are of: `Some(None)` is the Latin one, `None` that it is not sure.
#[expect(clippy::option_option, reason = "unsure, Latin, or another script")]
fn script(text: &str) -> Option<Option<Script>> {
    let mut counts: Vec<(Option<Script>, usize)> = Vec::new();
    let mut total = 0;
    for character in text.chars().take(MAX_CHARACTERS) {
        let Some(script) = script_of(character) else {
            continue;
        };
        // A character of Chinese is a word, of most others a letter.
        let weight = match script {
            Some(Script::Chinese | Script::Japanese | Script::Korean) => 3,
            _ => 1,
        };
        total += weight;
        match counts.iter_mut().find(|(known, _)| *known == script) {
            Some((_, count)) => *count += weight,
            None => counts.push((script, weight)),
        }
    }
    let count = |script: Script| {
        counts
            .iter()
            .find(|(known, _)| *known == Some(script))
            .map_or(0, |(_, count)| *count)
    };
    let (kana, han) = (count(Script::Japanese), count(Script::Chinese));
    if (kana + han) * 10 >= total * 7 && total >= 24 {
        // Japanese has kana between its characters, Chinese has none.
        let japanese = kana * 10 >= kana + han;
        return Some(Some(if japanese {
            Script::Japanese
        } else {
            Script::Chinese
        }));
    }
    let (script, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let enough = if script.is_some() { 15 } else { 8 };
    (count * 10 >= total * 7 && count >= enough).then_some(script)
}

/// A letter's script; `None` for what is no letter or one that tells nothing.
#[expect(clippy::option_option, reason = "no letter, Latin, or another script")]
fn script_of(character: char) -> Option<Option<Script>> {
    let script = match u32::from(character) {
        0x41..=0x5A | 0x61..=0x7A | 0xC0..=0x24F | 0x1E00..=0x1EFF => return Some(None),
        0x370..=0x3FF | 0x1F00..=0x1FFF => Script::Greek,
        0x400..=0x52F => Script::Cyrillic,
        0x590..=0x5FF => Script::Hebrew,
        0x600..=0x6FF | 0x750..=0x77F | 0xFB50..=0xFDFF | 0xFE70..=0xFEFC => Script::Arabic,
        0x900..=0x97F => Script::Devanagari,
        0x980..=0x9FF => Script::Bengali,
        0xA00..=0xA7F => Script::Gurmukhi,
        0xA80..=0xAFF => Script::Gujarati,
        0xB80..=0xBFF => Script::Tamil,
        0xC00..=0xC7F => Script::Telugu,
        0xE00..=0xE7F => Script::Thai,
        0x3040..=0x30FF => Script::Japanese,
        0x3400..=0x4DBF | 0x4E00..=0x9FFF => Script::Chinese,
        0xAC00..=0xD7AF | 0x1100..=0x11FF => Script::Korean,
        _ => return None,
    };
    Some(Some(script))
}
