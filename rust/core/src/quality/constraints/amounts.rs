//! How many words, sentences, lines … a request asks for, in the languages that `format` does not
//! read; lines, characters and bullet points in English as well.

use std::sync::LazyLock;

use crate::quality::words::{Word, WordClasses, WordSet, is_spaceless, words};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Words; in a script without spaces, characters.
    Words,
    /// Sentences.
    Sentences,
    /// Lines that are not empty.
    Lines,
    /// Paragraphs.
    Paragraphs,
    /// Bullets, or numbered items.
    Bullets,
    /// Characters.
    Characters,
}

/// A number asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub unit: Unit,
    /// No fewer than this.
    pub least: usize,
    /// No more than this.
    pub most: usize,
}

static UNITS: LazyLock<WordClasses<Unit>> = LazyLock::new(|| {
    WordClasses::new(&[
        (
            Unit::Words,
            "wort worte wörter wörtern worten mot mots palabra palabras parola parole palavra palavras слов слова словом",
        ),
        (
            Unit::Sentences,
            "satz sätze sätzen phrase phrases oración oraciones frase frases frasi предложение предложения предложениях предложений",
        ),
        (
            Unit::Lines,
            "line lines zeile zeilen ligne lignes línea líneas riga righe linha linhas строк строки",
        ),
        (
            Unit::Paragraphs,
            "absatz absätze absätzen paragraphe paragraphes párrafo párrafos paragrafo paragrafi parágrafo parágrafos",
        ),
        (
            Unit::Bullets,
            "bullets stichpunkte stichpunkten aufzählungspunkte puces viñetas",
        ),
        (
            Unit::Characters,
            "characters character zeichen caractères caracteres caratteri символов",
        ),
    ])
});

static NUMBERS: LazyLock<WordClasses<u8>> = LazyLock::new(|| {
    WordClasses::new(&[
        (
            1,
            "one single ein einem einen einer eine un une uno una um uma одним одно одном",
        ),
        (2, "two zwei deux dos due dois duas двух два"),
        (3, "three drei trois tres tre três трёх трех три"),
        (4, "four vier quatre cuatro quattro quatro четырёх четыре"),
        (5, "five fünf cinq cinco cinque пять пяти"),
        (6, "six sechs seis sei"),
        (7, "seven sieben sept siete sette sete"),
        (8, "eight acht huit ocho otto oito"),
        (9, "nine neun neuf nueve nove"),
        (10, "ten zehn dix diez dieci dez десять"),
    ])
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Most,
    Least,
    About,
    /// “more than”, and with a denial at most.
    More,
    /// “less than”, and with a denial, or in “au moins”, at least.
    Less,
}

static BOUNDS: LazyLock<WordClasses<Bound>> = LazyLock::new(|| {
    WordClasses::new(&[
        (
            Bound::Most,
            "most höchstens maximal max maximum maximale máximo massimo unter under within hasta até bis",
        ),
        (
            Bound::Least,
            "least mindestens minimum mínimo minimo wenigstens almeno",
        ),
        (
            Bound::About,
            "about around approximately roughly ungefähr etwa circa rund environ aproximadamente unas unos alrededor cerca около примерно",
        ),
        (Bound::More, "more mehr plus más più mais более больше"),
        (
            Bound::Less,
            "less fewer weniger moins menos meno менее меньше",
        ),
    ])
});

/// Words that tie the number to the answer.
static ANCHORS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "in mit en avec con em com using within exactly genau exactement exactamente esattamente exatamente dans у в ровно",
    )
});

/// Requests about such things: “How many words are in two lines?”
static ABOUT: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "how many wie viele combien cuántas cuántos quante quanti quantas quantos password passwort function code regex per pro par",
    )
});

/// What a sentence of a request limits.
pub(super) fn limits(sentence: &str) -> Vec<Limit> {
    let found = words(sentence);
    let mut out = chinese(sentence);
    if found.iter().any(|word| ABOUT.has(word.hash)) {
        return out;
    }
    for index in 0..found.len() {
        if let Some(limit) = limit_at(sentence, &found, index) {
            out.push(limit);
        }
    }
    out
}

fn limit_at(sentence: &str, found: &[Word], index: usize) -> Option<Limit> {
    let text = |word: &Word| &sentence[word.start..word.end];
    let count = count(text(&found[index]), found[index].hash)?;
    // “bullet points” are two words; everything else is one.
    let mut unit_at = index + 1;
    let unit = found.get(unit_at)?;
    let bullets = text(unit).eq_ignore_ascii_case("bullet")
        && found
            .get(unit_at + 1)
            .is_some_and(|next| text(next).eq_ignore_ascii_case("points"));
    let unit = if bullets {
        unit_at += 1;
        Unit::Bullets
    } else {
        UNITS.get(unit.hash)?
    };
    let before = &found[index.saturating_sub(4)..index];
    let behind = &found[unit_at + 1..found.len().min(unit_at + 4)];
    let bound = bound(before).or_else(|| {
        // Behind the unit “maximum” and “or less” bound it; “about” begins what it is about.
        let or = behind
            .first()
            .is_some_and(|word| matches!(text(word), "or" | "oder" | "ou" | "o"));
        bound(behind).filter(|bound| {
            matches!(bound, Bound::Most | Bound::Least) || or && *bound != Bound::About
        })
    });
    let anchored = before.iter().any(|word| ANCHORS.has(word.hash));
    if !anchored && bound.is_none() {
        return None;
    }
    // French sentences, not English phrases.
    let phrase = text(&found[index + 1]).to_lowercase().starts_with("phrase");
    let english = |word: &Word| {
        matches!(
            text(word).to_lowercase().as_str(),
            "in" | "with" | "using" | "of" | "at" | "the"
        )
    };
    if phrase && before.iter().any(english) {
        return None;
    }
    // “in one line” of code, “in two lines of the poem”: only the whole answer is meant.
    let of = behind
        .first()
        .is_some_and(|word| matches!(text(word), "of" | "von" | "de" | "di" | "da" | "do"));
    // “eine Zeile” is one, or any; “with a single line” is said of things in it.
    if of || count == 1 && !matches!(unit, Unit::Words | Unit::Sentences) {
        return None;
    }
    Some(limit(unit, count, bound, is_exact(found, index)))
}

static DENIALS: LazyLock<WordSet> =
    LazyLock::new(|| WordSet::new("no not pas não non nicht ne не au al ao pelo lo"));

/// The bound that the words beside a number set.
fn bound(list: &[Word]) -> Option<Bound> {
    let at = list
        .iter()
        .rposition(|word| BOUNDS.get(word.hash).is_some())?;
    let denied = list[at.saturating_sub(2)..at]
        .iter()
        .any(|word| DENIALS.has(word.hash));
    Some(match (BOUNDS.get(list[at].hash)?, denied) {
        (Bound::More, true) | (Bound::Less, false) => Bound::Most,
        (Bound::More, false) | (Bound::Less, true) => Bound::Least,
        (bound, _) => bound,
    })
}

fn is_exact(found: &[Word], index: usize) -> bool {
    static EXACT: LazyLock<WordSet> = LazyLock::new(|| {
        WordSet::new("exactly genau exactement exactamente esattamente exatamente ровно")
    });
    found[index.saturating_sub(3)..index]
        .iter()
        .any(|word| EXACT.has(word.hash))
}

fn limit(unit: Unit, count: usize, bound: Option<Bound>, exact: bool) -> Limit {
    // Counting is no exact science, but for small numbers.
    let slack = match unit {
        Unit::Words | Unit::Characters if count > 3 => count.div_ceil(10),
        Unit::Sentences if count >= 5 => 1,
        _ => 0,
    };
    let free = |least: usize, most: usize| Limit { unit, least, most };
    match bound {
        Some(Bound::Most | Bound::Less) => free(0, count + slack),
        Some(Bound::Least | Bound::More) => free(count.saturating_sub(slack), usize::MAX),
        Some(Bound::About) => free(count - count * 2 / 5, count + count * 2 / 5),
        // “In 50 words” is by feel, unless `exactly` is said.
        None if count > 10 && !exact && matches!(unit, Unit::Words | Unit::Characters) => {
            free(count - count * 2 / 5, count + count * 2 / 5)
        }
        None => free(count.saturating_sub(slack), count + slack),
    }
}

fn count(word: &str, hash: u64) -> Option<usize> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word
            .parse()
            .ok()
            .filter(|count| (1..=10_000).contains(count));
    }
    NUMBERS.get(hash).map(usize::from)
}

/// “不超过50字”, “用一句话”, “至少100字”, “50字以内”.
fn chinese(sentence: &str) -> Vec<Limit> {
    if !sentence.chars().any(is_spaceless) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for (written, unit) in [
        ("字", Unit::Words),
        ("句话", Unit::Sentences),
        ("句", Unit::Sentences),
        ("行", Unit::Lines),
        ("段", Unit::Paragraphs),
        ("个词", Unit::Words),
    ] {
        let Some(at) = sentence.find(written) else {
            continue;
        };
        let before = sentence[..at].trim_end().trim_end_matches('个').trim_end();
        let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (lead, count) = if digits > 0 {
            (
                &before[..before.len() - digits],
                before[before.len() - digits..].parse().ok(),
            )
        } else {
            let last = before.chars().next_back().unwrap_or(' ');
            let value = ['一', '二', '三', '四', '五', '六', '七', '八', '九', '十']
                .iter()
                .position(|c| *c == last);
            let value = if last == '两' { Some(1) } else { value };
            (
                &before[..before.len() - last.len_utf8().min(before.len())],
                value.map(|value| value + 1),
            )
        };
        let Some(count) = count.filter(|count| (1..=10_000).contains(count)) else {
            continue;
        };
        let behind = &sentence[at + written.len()..];
        let lead = lead.trim_end();
        let has = |list: &[&str]| list.iter().any(|word| lead.ends_with(word));
        let bound = if has(&["不超过", "不多于", "最多", "少于", "至多"])
            || behind.starts_with("以内")
            || behind.starts_with("以下")
            || behind.starts_with("之内")
        {
            Some(Bound::Most)
        } else if has(&["至少", "不少于", "超过", "多于"]) || behind.starts_with("以上")
        {
            Some(Bound::Least)
        } else if has(&["约", "大约", "大概"]) || behind.starts_with("左右") {
            Some(Bound::About)
        } else if has(&["用", "写", "在"]) {
            None
        } else {
            continue;
        };
        out.push(limit(unit, count, bound, false));
        if unit == Unit::Sentences {
            break;
        }
    }
    out
}
