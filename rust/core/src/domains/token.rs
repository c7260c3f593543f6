//! One token of a text, between white space: what it is by its own bytes.

/// What a token is. A token is of one kind, the first that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Word,
    /// A capitalised word that does not begin a sentence.
    Name,
    /// A word of two and more capitals.
    Capitals,
    /// One Latin letter that is no word by itself.
    Variable,
    Number,
    Year,
    Money,
    Percentage,
    PhysicalUnit,
    ClinicalUnit,
    Clock,
    Equation,
    Formula,
    Latex,
    Identifier,
    Call,
    File,
    Path,
    Link,
    Tag,
    Placeholder,
    Blank,
    Section,
    /// A colon or two that stands alone, as in analogies.
    Colon,
    Other,
}

const KINDS: usize = Kind::Other as usize + 1;

/// What was read of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) ends_sentence: bool,
    /// Whether it marks an option of a multiple choice: 0 for A, 1 for B and so on.
    pub(super) option: Option<u8>,
}

/// How many tokens of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    by_kind: [u32; KINDS],
    all: u32,
}

impl Counts {
    pub(super) fn add(&mut self, found: Found) {
        self.by_kind[found.kind as usize] += 1;
        self.all += u32::from(!matches!(
            found.kind,
            Kind::Other | Kind::Colon | Kind::Blank
        ));
    }

    pub(super) fn get(&self, kind: Kind) -> u32 {
        self.by_kind[kind as usize]
    }

    /// Tokens that hold a letter or digit.
    pub(super) fn words(&self) -> u32 {
        self.all
    }

    /// Tokens with a number in them.
    pub(super) fn numbers(&self) -> u32 {
        let kinds = [
            Kind::Number,
            Kind::Year,
            Kind::Money,
            Kind::Percentage,
            Kind::Clock,
            Kind::PhysicalUnit,
            Kind::ClinicalUnit,
        ];
        kinds.iter().map(|&kind| self.get(kind)).sum()
    }
}

const PHYSICAL: &[&str] = &[
    "m",
    "cm",
    "mm",
    "km",
    "nm",
    "μm",
    "µm",
    "kg",
    "g",
    "s",
    "ms",
    "hz",
    "khz",
    "mhz",
    "ghz",
    "n",
    "kn",
    "j",
    "kj",
    "mj",
    "w",
    "kw",
    "mw",
    "v",
    "mv",
    "kv",
    "a",
    "ma",
    "k",
    "°c",
    "°f",
    "°",
    "pa",
    "kpa",
    "mpa",
    "atm",
    "mol",
    "mole",
    "moles",
    "ev",
    "mev",
    "l",
    "m/s",
    "m/s^2",
    "m/s²",
    "km/h",
    "km/s",
    "n/m",
    "kg/m^3",
    "kg/m³",
    "g/mol",
    "kj/mol",
    "j/kg",
    "w/m",
    "t",
    "ω",
    "Ω",
    "parsecs",
    "au",
    "meters",
    "metres",
    "kilograms",
    "newtons",
    "joules",
    "watts",
    "volts",
    "amperes",
    "kelvin",
    "degrees",
    "g/cm3",
    "g/cm^3",
    "m3",
    "m^2",
    "m²",
    "mol/l",
    "c",
    "rad/s",
    "rpm",
];

const CLINICAL: &[&str] = &[
    "mg", "mcg", "µg", "μg", "ug", "ml", "mg/dl", "mmol/l", "mmol", "meq/l", "g/dl", "iu", "bpm",
    "mmhg", "mg/kg", "ml/h", "ml/min", "mg/day", "kg/m2", "kg/m²", "units", "u/l", "ng/ml",
    "pg/ml", "yo", "y/o", "yr", "weeks", "mg/l", "miu/l", "%/min", "f", "am", "od", "bd", "tds",
];

const EXTENSIONS: &[&str] = &[
    "py", "js", "ts", "tsx", "jsx", "java", "c", "cpp", "h", "hpp", "cs", "go", "rs", "rb", "php",
    "html", "css", "scss", "json", "xml", "yml", "yaml", "toml", "csv", "tsv", "xlsx", "xls",
    "sql", "sh", "bat", "ps1", "txt", "md", "log", "ini", "cfg", "conf", "env", "lock", "exe",
    "dll", "jar", "ipynb", "parquet", "db", "sqlite", "vue", "svelte", "kt", "swift", "dart", "r",
    "tf", "gradle",
];

const CURRENCIES: &[&str] = &[
    "usd", "eur", "gbp", "chf", "jpy", "dollars", "dollar", "euros", "euro", "pounds", "cents",
    "rs", "inr", "rupees", "k", "bn", "million", "billion", "m", "kr", "zł", "yen", "yuan",
    "reais",
];

fn is_trim(character: char) -> bool {
    matches!(
        character,
        '.' | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '"'
            | '\''
            | '('
            | ')'
            | '['
            | ']'
            | '*'
            | '“'
            | '”'
            | '‘'
            | '’'
            | '„'
            | '«'
            | '»'
            | '…'
            | '¿'
            | '¡'
    )
}

/// Reads a token; `previous` is what stood before it on its line, and `inside` whether anything did.
pub(super) fn read(token: &str, previous: Option<Kind>, inside: bool) -> Found {
    let bytes = token.as_bytes();
    let core = token.trim_matches(is_trim);
    let last = bytes.last().copied().unwrap_or(b' ');
    let ends_sentence = matches!(last, b'.' | b'!' | b'?') && core.len() > 2
        || token.ends_with(['。', '？', '！', '।']);
    Found {
        kind: kind(token, core, previous, inside),
        ends_sentence,
        option: option(bytes),
    }
}

/// `A)`, `(A)`, `A.`, `(a)`, `a)`, `A:` and `Ⓐ`-less forms: which option it is.
fn option(bytes: &[u8]) -> Option<u8> {
    let (letter, open, close) = match bytes {
        [b'(', letter, close, ..] => (letter, true, close),
        [letter, close, ..] => (letter, false, close),
        _ => return None,
    };
    let closed = match close {
        b')' => true,
        b'.' | b':' => !open && letter.is_ascii_uppercase() && bytes.len() == 2,
        _ => false,
    };
    let upper = letter.to_ascii_uppercase();
    (closed && (b'A'..=b'J').contains(&upper)).then(|| upper - b'A')
}

fn kind(token: &str, core: &str, previous: Option<Kind>, inside: bool) -> Kind {
    let bytes = core.as_bytes();
    let Some(&first) = bytes.first() else {
        return sign(token);
    };
    if first.is_ascii_lowercase() && bytes.iter().all(u8::is_ascii_lowercase) {
        // Most tokens are plain words.
        return plain_word(token, core, previous);
    }
    if let Some(kind) = by_sign(token, core) {
        return kind;
    }
    if first.is_ascii_digit() || matches!(first, b'+' | b'-') && bytes.len() > 1 {
        return number(core);
    }
    word(token, core, inside)
}

fn sign(token: &str) -> Kind {
    match token {
        ":" | "::" => Kind::Colon,
        "=" | "≈" | "≤" | "≥" | "<=" | ">=" => Kind::Equation,
        "==" | "!=" | "&&" | "||" | "=>" | "->" | ":=" | "+=" => Kind::Identifier,
        "%" => Kind::Percentage,
        _ => Kind::Other,
    }
}

fn is_unit(core: &str, units: &[&str]) -> bool {
    core.len() <= 9 && units.iter().any(|unit| unit.eq_ignore_ascii_case(core))
}

fn plain_word(token: &str, core: &str, previous: Option<Kind>) -> Kind {
    let bytes = core.as_bytes();
    if previous == Some(Kind::Number) {
        if is_unit(core, CLINICAL) {
            return Kind::ClinicalUnit;
        }
        if is_unit(core, PHYSICAL) {
            return Kind::PhysicalUnit;
        }
        if is_unit(core, CURRENCIES) {
            return Kind::Money;
        }
    }
    if bytes.len() == 1 && !matches!(bytes[0], b'a' | b'i' | b'o' | b'e' | b'y' | b'u') {
        return Kind::Variable;
    }
    if token.len() > core.len() && token.starts_with('\\') {
        return Kind::Latex;
    }
    if token.ends_with("()") || token.ends_with("();") {
        return Kind::Call;
    }
    Kind::Word
}

/// What a token is by a sign in it.
fn by_sign(token: &str, core: &str) -> Option<Kind> {
    let bytes = core.as_bytes();
    let mut signs = [false; 128];
    for &byte in bytes {
        if byte.is_ascii() && !byte.is_ascii_alphanumeric() {
            signs[usize::from(byte)] = true;
        }
    }
    let has = |byte: u8| signs[usize::from(byte)];
    if core.contains('§') || core.contains('¶') {
        return Some(Kind::Section);
    }
    if core.contains(['$', '€', '£', '¥', '₹']) {
        let digit = bytes.iter().any(u8::is_ascii_digit);
        let lone = core.chars().count() == 1;
        if digit && !has(b'=') && !has(b'\\') && !has(b'^') && !has(b'_') || lone {
            return Some(Kind::Money);
        }
        return Some(if has(b'{') {
            Kind::Placeholder
        } else {
            Kind::Latex
        });
    }
    if has(b'\\') {
        let drive = bytes.get(1) == Some(&b':');
        return Some(if drive { Kind::Path } else { Kind::Latex });
    }
    if token.contains("___") {
        return Some(Kind::Blank);
    }
    if core.contains("://") || core.starts_with("www.") {
        return Some(Kind::Link);
    }
    if has(b'@') {
        return Some(if has(b'.') {
            Kind::Link
        } else {
            Kind::Identifier
        });
    }
    if has(b'<') && (has(b'>') || has(b'/')) {
        return Some(Kind::Tag);
    }
    if has(b'{') || has(b'}') {
        return Some(Kind::Placeholder);
    }
    if bytes.ends_with(b"%") || has(b'%') && bytes.first().is_some_and(u8::is_ascii_digit) {
        return Some(Kind::Percentage);
    }
    if has(b'=') || has(b'^') {
        let program = core.contains("==") || core.contains("=>") || has(b'"') || has(b'_');
        return Some(if program {
            Kind::Identifier
        } else {
            Kind::Equation
        });
    }
    if has(b'(') {
        // f(x) is mathematics, read(path) is code; an ending such as "(s)" is neither.
        let name = bytes.iter().take_while(|byte| **byte != b'(').count();
        return match name {
            1 => Some(Kind::Equation),
            0 => None,
            _ if token.ends_with("(s)") => None,
            _ => Some(Kind::Call),
        };
    }
    if has(b'_') {
        return Some(Kind::Identifier);
    }
    if has(b'/') {
        let slashes = core.matches('/').count();
        if core.starts_with(['/', '~']) || slashes >= 2 && !bytes[0].is_ascii_digit() {
            return Some(Kind::Path);
        }
    }
    if has(b'.') {
        return dotted(core);
    }
    if has(b':') && core.contains("::") {
        return Some(Kind::Identifier);
    }
    None
}

fn dotted(core: &str) -> Option<Kind> {
    let (stem, ending) = core.rsplit_once('.')?;
    if stem.is_empty() || !stem.as_bytes()[stem.len() - 1].is_ascii_alphanumeric() {
        return None;
    }
    let named = stem.bytes().any(|byte| byte.is_ascii_alphabetic());
    if named && stem.len() > 1 && EXTENSIONS.contains(&ending) {
        return Some(Kind::File);
    }
    let word = |part: &str| {
        part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_alphanumeric()) && {
            part.as_bytes()[0].is_ascii_alphabetic()
        }
    };
    // a.b where both are words: an attribute, or a missing space; the latter has a capital behind.
    (word(stem) && word(ending) && ending.as_bytes()[0].is_ascii_lowercase())
        .then_some(Kind::Identifier)
}

fn number(core: &str) -> Kind {
    let bytes = core.as_bytes();
    let start = bytes
        .iter()
        .position(|byte| !(byte.is_ascii_digit() || b".,+-/".contains(byte)))
        .unwrap_or(bytes.len());
    let (digits, rest) = core.split_at(start);
    if rest.is_empty() {
        let value = digits.parse::<u32>().ok();
        return if digits.len() == 4 && value.is_some_and(|year| (1000..=2099).contains(&year)) {
            Kind::Year
        } else {
            Kind::Number
        };
    }
    if rest.starts_with(':') && rest.len() >= 3 {
        return Kind::Clock;
    }
    if rest.eq_ignore_ascii_case("am") || rest.eq_ignore_ascii_case("pm") {
        return Kind::Clock;
    }
    if is_unit(rest, CLINICAL) {
        return Kind::ClinicalUnit;
    }
    if is_unit(rest, CURRENCIES) && rest.len() > 1 || rest == "k" {
        return Kind::Money;
    }
    if is_unit(rest, PHYSICAL) {
        return Kind::PhysicalUnit;
    }
    if rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase() {
        // 3x, 2n.
        return Kind::Equation;
    }
    Kind::Number
}

fn word(token: &str, core: &str, inside: bool) -> Kind {
    let bytes = core.as_bytes();
    if token.ends_with("()") || token.ends_with("();") {
        return Kind::Call;
    }
    let ascii = core.is_ascii();
    if bytes.len() == 1 {
        return if matches!(bytes[0], b'A' | b'I' | b'O') {
            Kind::Word
        } else {
            Kind::Variable
        };
    }
    if ascii && is_formula(bytes) {
        return Kind::Formula;
    }
    let capitals = bytes
        .iter()
        .filter(|byte| byte.is_ascii_uppercase())
        .count();
    if ascii && capitals >= 2 && capitals == bytes.len() {
        return Kind::Capitals;
    }
    // camelCase, also inside a longer name.
    if ascii
        && bytes.windows(3).any(|w| {
            w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase() && w[2].is_ascii_lowercase()
        })
    {
        return Kind::Identifier;
    }
    if inside && core.chars().next().is_some_and(char::is_uppercase) {
        return Kind::Name;
    }
    if core.chars().any(char::is_alphanumeric) {
        Kind::Word
    } else {
        Kind::Other
    }
}

/// A chemical formula with a digit in it: `H2O`, `CaCO3`, `C6H12O6`.
fn is_formula(bytes: &[u8]) -> bool {
    let mut elements = 0;
    let mut digits = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte.is_ascii_uppercase() {
            elements += 1;
            at += usize::from(bytes.get(at).is_some_and(u8::is_ascii_lowercase));
        } else if byte.is_ascii_digit() && elements > 0 {
            digits += 1;
        } else if !matches!(byte, b'(' | b')' | b'+' | b'-') {
            return false;
        }
    }
    elements >= 1 && digits >= 1 && (elements >= 2 || (digits == 1 && bytes.len() == 2))
}
