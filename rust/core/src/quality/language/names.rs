//! Names of languages, and where a request asks for one.

use std::sync::LazyLock;

use crate::quality::words::{Word, WordClasses, WordSet, sentences, words};

use super::tell::{Language, Script};

fn named(code: &str) -> Option<Language> {
    Some(match code {
        "zh" => Language::Script(Script::Chinese),
        "ja" => Language::Script(Script::Japanese),
        "ko" => Language::Script(Script::Korean),
        "ru" => Language::Script(Script::Cyrillic),
        "ar" => Language::Script(Script::Arabic),
        "hi" => Language::Script(Script::Devanagari),
        "bn" => Language::Script(Script::Bengali),
        "el" => Language::Script(Script::Greek),
        "he" => Language::Script(Script::Hebrew),
        "th" => Language::Script(Script::Thai),
        "ta" => Language::Script(Script::Tamil),
        "te" => Language::Script(Script::Telugu),
        "gu" => Language::Script(Script::Gujarati),
        "pa" => Language::Script(Script::Gurmukhi),
        code => Language::latin(code)?,
    })
}

/// Code, and the names in English, German, French, Spanish, Italian, Portuguese and by its speakers.
const NAMES: [(&str, &str); 31] = [
    (
        "en",
        "english englisch anglais inglés inglese inglês engels engelsk angielsku английском английски",
    ),
    (
        "de",
        "german deutsch allemand alemán tedesco alemão duits tysk niemiecku немецком",
    ),
    (
        "fr",
        "french französisch français francés francese francês frans fransk francusku французском",
    ),
    (
        "es",
        "spanish spanisch espagnol español castellano spagnolo espanhol spaans hiszpańsku испанском",
    ),
    (
        "it",
        "italian italienisch italien italiano itálico italiaans",
    ),
    (
        "pt",
        "portuguese portugiesisch portugais portugués portoghese português portugees",
    ),
    (
        "nl",
        "dutch niederländisch néerlandais neerlandés holandés olandese holandês nederlands",
    ),
    ("sv", "swedish schwedisch suédois sueco svedese svenska"),
    (
        "da",
        "danish dänisch danois danés danese dinamarquês dansk norwegian norwegisch norvégien noruego norvegese norueguês norsk",
    ),
    (
        "pl",
        "polish polnisch polonais polaco polacco polonês polski polsku",
    ),
    ("cs", "czech tschechisch tchèque checo ceco tcheco česky"),
    ("tr", "turkish türkisch turc turco türkçe"),
    (
        "id",
        "indonesian indonesisch indonésien indonesio indonesiano indonésio indonesia malay",
    ),
    ("vi", "vietnamese vietnamesisch vietnamien vietnamita việt"),
    (
        "ro",
        "romanian rumänisch roumain rumano rumeno romeno română",
    ),
    (
        "hu",
        "hungarian ungarisch hongrois húngaro ungherese magyarul",
    ),
    (
        "fi",
        "finnish finnisch finnois finlandés finlandese finlandês suomeksi",
    ),
    (
        "zh",
        "chinese mandarin chinesisch chinois mandarín chino cinese chinês",
    ),
    (
        "ja",
        "japanese japanisch japonais japonés giapponese japonês",
    ),
    ("ko", "korean koreanisch coréen coreano"),
    (
        "ru",
        "russian ukrainian bulgarian serbian russisch russe ruso russo русском русски",
    ),
    ("ar", "arabic persian farsi urdu arabisch arabe árabe arabo"),
    ("hi", "hindi marathi nepali"),
    ("bn", "bengali"),
    ("el", "greek griechisch grec griego greco grego"),
    ("he", "hebrew hebräisch hébreu hebreo ebraico hebraico"),
    ("th", "thai"),
    ("ta", "tamil"),
    ("te", "telugu"),
    ("gu", "gujarati"),
    ("pa", "punjabi"),
];

static BY_NAME: LazyLock<WordClasses<u8>> = LazyLock::new(|| {
    let mut lists = Vec::new();
    for (place, row) in NAMES.iter().enumerate() {
        if let Ok(place) = u8::try_from(place) {
            lists.push((place, row.1));
        }
    }
    WordClasses::new(&lists)
});

fn by_hash(hash: u64) -> Option<Language> {
    let place = BY_NAME.get(hash)?;
    named(NAMES[usize::from(place)].0)
}

/// Words that ask for an answer. “In French?” alone does as well.
static ASKING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "write answer reply respond response summarize summarise explain describe give list compose \
         generate tell provide say draft output speak only always please must should rewrite continue \
         antworte antworten schreibe schreib erkläre beschreibe fasse verfasse sprich bitte réponds \
         répondez écris écrivez explique expliquez résume résumez décris parle responde escribe explica \
         resume describe habla contesta favor rispondi scrivi spiega riassumi descrivi parla responda \
         escreva explique resuma descreva fale antwoord schrijf leg ответь ответьте напиши объясни",
    )
});

static TRANSLATING: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "translate translated translation translating word words called mean means phrase sentence text \
         article book song lyrics poem film movie subtitles written course class lesson learn learning \
         teach studying study übersetze übersetzung heißt traduis traduction dit traduce traducción dice \
         traduci traduzione dice traduza tradução",
    )
});

/// Words before a language's name that ask for it.
static INTO: LazyLock<WordSet> =
    LazyLock::new(|| WordSet::new("in auf en em po op på на по pe in: use using"));

/// The one language that a request asks its answer to be in: “Answer in French.”
pub(super) fn demanded(request: &str) -> Option<Language> {
    let mut all: Vec<Language> = Vec::new();
    let (head, tail) = ends(request);
    for part in [head, tail] {
        for range in sentences(part) {
            let sentence = &part[range];
            all.extend(in_sentence(sentence));
        }
        all.extend(spaceless(part));
    }
    all.dedup();
    match all.as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

fn ends(text: &str) -> (&str, &str) {
    const REACH: usize = 2000;
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

fn in_sentence(sentence: &str) -> Option<Language> {
    let found = words(sentence);
    let first = found
        .first()
        .map_or("", |word| &sentence[word.start..word.end]);
    let asked_about = ["how", "why", "what", "who", "if", "when"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word));
    if asked_about || found.iter().any(|word| TRANSLATING.has(word.hash)) {
        return None;
    }
    let at = (1..found.len())
        .find(|&at| by_hash(found[at].hash).is_some() && INTO.has(found[at - 1].hash))?;
    let asks = found.iter().any(|word| ASKING.has(word.hash)) || found.len() <= 4;
    // “in French cuisine”, “in English-speaking countries”, “in German and in Dutch”
    let behind = &sentence[found[at].end..];
    let next = found
        .get(at + 1)
        .map_or("", |word| &sentence[word.start..word.end]);
    let ends = !behind.starts_with('-')
        && (next.is_empty()
            || behind
                .trim_start()
                .starts_with(['.', ',', ';', ':', ')', '!', '"'])
            || matches!(
                next,
                "please"
                    | "about"
                    | "only"
                    | "for"
                    | "that"
                    | "with"
                    | "on"
                    | "to"
                    | "über"
                    | "sur"
                    | "sobre"
                    | "su"
                    | "what"
                    | "bitte"
                    | "why"
                    | "how"
                    | "who"
                    | "where"
                    | "when"
                    | "the"
            ));
    let several = found
        .iter()
        .filter(|word| by_hash(word.hash).is_some())
        .count()
        > 1;
    (asks && ends && !several).then(|| by_hash(found[at].hash))?
}

/// “用英语回答”, “日本語で答えて”.
fn spaceless(text: &str) -> Option<Language> {
    let cues = [
        ("用英语回答", "en"),
        ("用英文回答", "en"),
        ("请用英语", "en"),
        ("请用英文", "en"),
        ("英語で答", "en"),
        ("用中文回答", "zh"),
        ("请用中文", "zh"),
        ("用法语回答", "fr"),
        ("用德语回答", "de"),
        ("用日语回答", "ja"),
        ("日本語で答", "ja"),
        ("日本語で回答", "ja"),
        ("用西班牙语回答", "es"),
        ("한국어로", "ko"),
        ("영어로 답", "en"),
    ];
    cues.iter()
        .find(|(cue, _)| text.contains(cue))
        .and_then(|(_, code)| named(code))
}

/// Whether a text speaks of a language.
pub(super) fn mentions(found: &[Word]) -> bool {
    found
        .iter()
        .take(4000)
        .any(|word| by_hash(word.hash).is_some())
}
