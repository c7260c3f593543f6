//! What a reader sees of a request at a glance, counted in one pass over its lines and one over its
//! phrases.

use super::vocabulary::{Ask, VOCABULARY};
use crate::quality::words::is_spaceless;

/// Counts of what was seen. Each is bounded by the text's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Words; in scripts without spaces, two characters are one.
    pub words: usize,
    /// Sentences and lines that say something.
    pub sentences: usize,
    /// Question marks that end something.
    pub questions: usize,
    /// Runs of digits outside code.
    pub numbers: usize,
    /// Lines that begin like a list's item.
    pub list_items: usize,
    /// Lines of code, fenced or recognised by their form.
    pub code_lines: usize,
    /// Loops, branches, definitions, queries in that code.
    pub code_constructs: usize,
    /// The deepest indentation or bracket nesting of that code.
    pub code_nesting: usize,
    /// LaTeX commands and mathematical signs.
    pub math_signs: usize,
    /// Phrases that ask one plain thing.
    pub plain_asks: usize,
    /// Phrases that ask for reasoning.
    pub reasoning_asks: usize,
    /// Phrases that ask to build, write at length or repair.
    pub building_asks: usize,
    /// Phrases that demand something of the answer.
    pub constraints: usize,
    /// Phrases that order several steps.
    pub step_marks: usize,
    /// Specialist terms, each counted once for every time it stands there.
    pub specialist_terms: usize,
}

impl Features {
    /// Counts.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut seen = Self::default();
        let mut fenced = false;
        for line in text.lines() {
            let trimmed = line.trim_start();
            if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
                fenced = !fenced;
            } else if fenced || looks_like_code(trimmed) {
                seen.count_code(line, trimmed);
            } else {
                seen.count_prose(trimmed);
            }
        }
        for found in VOCABULARY.find(text) {
            let counter = match found.tag {
                tag if tag == Ask::Plain as u8 => &mut seen.plain_asks,
                tag if tag == Ask::Reasoning as u8 => &mut seen.reasoning_asks,
                tag if tag == Ask::Building as u8 => &mut seen.building_asks,
                tag if tag == Ask::Constraint as u8 => &mut seen.constraints,
                tag if tag == Ask::Step as u8 => &mut seen.step_marks,
                _ => &mut seen.specialist_terms,
            };
            *counter += 1;
        }
        seen
    }

    fn count_prose(&mut self, line: &str) {
        let listed = is_list_item(line);
        self.list_items += usize::from(listed);
        let mut in_word = false;
        // An item's own number is not one to work with.
        let mut in_number = listed;
        let mut spaceless = 0_usize;
        let mut said_something = false;
        let mut previous = ' ';
        for character in line.chars() {
            if character.is_alphanumeric() {
                said_something = true;
                if is_spaceless(character) {
                    spaceless += 1;
                    in_word = false;
                } else if !in_word {
                    self.words += 1;
                    in_word = true;
                }
                if character.is_ascii_digit() {
                    if !in_number && !previous.is_alphanumeric() {
                        self.numbers += 1;
                    }
                    in_number = true;
                } else {
                    in_number = false;
                }
            } else {
                in_word = in_word && matches!(character, '\'' | '’' | '-');
                // 1,000 and 3.14 are one number each.
                in_number = in_number && matches!(character, '.' | ',');
                if is_math_sign(character) || (character == '\\' && previous != '\\') {
                    self.math_signs += 1;
                }
                if matches!(character, '?' | '？' | '؟') && previous != character {
                    self.questions += 1;
                }
                if said_something
                    && matches!(character, '.' | '!' | '?' | '。' | '！' | '？')
                    && previous.is_alphabetic()
                {
                    self.sentences += 1;
                    said_something = false;
                }
            }
            previous = character;
        }
        self.words += spaceless.div_ceil(2);
        self.sentences += usize::from(said_something);
    }

    fn count_code(&mut self, line: &str, trimmed: &str) {
        if trimmed.is_empty() {
            return;
        }
        self.code_lines += 1;
        let indentation: usize = line[..line.len() - trimmed.len()]
            .bytes()
            .map(|byte| if byte == b'\t' { 4 } else { 1 })
            .sum();
        let (mut open, mut deepest) = (0_usize, 0_usize);
        for byte in trimmed.bytes() {
            match byte {
                b'(' | b'[' | b'{' => {
                    open += 1;
                    deepest = deepest.max(open);
                }
                b')' | b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
        }
        self.code_nesting = self.code_nesting.max(indentation / 4 + deepest);
        self.code_constructs += trimmed
            .split(|character: char| !(character.is_ascii_alphabetic() || character == '_'))
            .filter(|word| CONSTRUCTS.contains(word))
            .count();
    }
}

/// Words that branch, loop, define, wait or join, in the languages people paste.
const CONSTRUCTS: &[&str] = &[
    "if",
    "elif",
    "else",
    "for",
    "while",
    "def",
    "class",
    "function",
    "fn",
    "func",
    "struct",
    "enum",
    "trait",
    "impl",
    "interface",
    "match",
    "switch",
    "case",
    "try",
    "except",
    "catch",
    "async",
    "await",
    "yield",
    "lambda",
    "with",
    "template",
    "SELECT",
    "JOIN",
    "WHERE",
    "GROUP",
    "HAVING",
    "UNION",
    "select",
    "join",
    "where",
];

fn is_list_item(line: &str) -> bool {
    let mut characters = line.chars();
    match characters.next() {
        Some('-' | '*' | '•' | '–') => characters.next() == Some(' '),
        Some(first) if first.is_ascii_alphanumeric() => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            // "1. ", "12) ", "a) "
            let rest = if rest.len() == line.len() {
                &line[1..]
            } else {
                rest
            };
            rest.starts_with(") ") || (first.is_ascii_digit() && rest.starts_with(". "))
        }
        _ => false,
    }
}

fn is_math_sign(character: char) -> bool {
    matches!(
        character,
        '^' | '√'
            | '∑'
            | '∏'
            | '∫'
            | '∂'
            | '∇'
            | '∞'
            | '≤'
            | '≥'
            | '≠'
            | '≈'
            | '≡'
            | '∈'
            | '∉'
            | '⊂'
            | '⊆'
            | '∪'
            | '∩'
            | '∀'
            | '∃'
            | '→'
            | '⇒'
            | '⇔'
            | '±'
            | '×'
            | '÷'
            | '·'
            | '°'
    )
}

/// A line that no one writes as prose: an assignment, a definition, a statement's end, a query.
fn looks_like_code(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "def ",
        "class ",
        "import ",
        "from ",
        "return ",
        "const ",
        "let ",
        "var ",
        "function ",
        "public ",
        "private ",
        "static ",
        "void ",
        "#include",
        "fn ",
        "func ",
        "package ",
        "use ",
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE ",
        "CREATE ",
        "async def ",
        "@",
        "<?php",
        "#!/",
    ];
    let line = line.trim_end();
    if line.is_empty() {
        return false;
    }
    let ends = line.ends_with([';', '{', '}']) || line.ends_with("):") || line.ends_with("];");
    let code_start = STARTS.iter().any(|start| line.starts_with(start));
    // Prose begins with such words too ("from the start", "class action"): only a short line or one
    // with a call or an assignment is code.
    let called = line
        .as_bytes()
        .windows(2)
        .any(|pair| pair[1] == b'(' && (pair[0].is_ascii_alphanumeric() || pair[0] == b'_'));
    let signs = line.contains(['(', '=', '{', ';', '*', ')', '}', '[']);
    let short = line.split_whitespace().nth(3).is_none();
    (ends && signs) || (code_start && (called || line.contains(" = ") || short))
}
