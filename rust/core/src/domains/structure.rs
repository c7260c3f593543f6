//! The form of a text: what a reader sees of it before reading a word, counted in one scan.
//!
//! The scan goes line by line and token by token; each token is classified once, from its own bytes.
//! No state grows with the text.

use super::signs;
use super::token::{self, Kind};

/// The features' names, in order. Each is between 0 and 1: a share of something, or a count `n`
/// brought there by `n / (n + half)`.
pub const NAMES: [&str; COUNT] = [
    "words",
    "lines",
    "paragraphs",
    "sentences",
    "words_per_sentence",
    "code_fences",
    "code_lines",
    "code_signs",
    "identifiers",
    "calls",
    "indented_lines",
    "comment_lines",
    "prompt_lines",
    "stack_lines",
    "file_names",
    "paths",
    "links",
    "json_marks",
    "tags",
    "placeholders",
    "table_lines",
    "comma_lines",
    "latex",
    "math_signs",
    "equations",
    "variables",
    "formulas",
    "numbers",
    "number_share",
    "years",
    "currencies",
    "percentages",
    "physical_units",
    "clinical_units",
    "clock_times",
    "sections",
    "quoted_share",
    "quotes",
    "dialogue_lines",
    "options",
    "blanks",
    "bullets",
    "numbered_lines",
    "speakers",
    "labels",
    "letter_marks",
    "headings",
    "questions",
    "ends_asking",
    "ends_plainly",
    "exclamations",
    "search_style",
    "lower_start",
    "names",
    "capitals",
    "analogies",
    "latin_accents",
    "other_scripts",
    "mixed_scripts",
    "emoji",
    "opens_with_colon",
    "question_after_text",
];

/// How many features there are.
pub const COUNT: usize = 62;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
pub struct Structure {
    /// By [`Kind`] of token.
    pub(super) tokens: token::Counts,
    /// Characters by what they are.
    pub(super) signs: signs::Counts,
    lines: u32,
    paragraphs: u32,
    code_fences: u32,
    code_lines: u32,
    indented_lines: u32,
    comment_lines: u32,
    prompt_lines: u32,
    stack_lines: u32,
    table_lines: u32,
    comma_lines: u32,
    dialogue_lines: u32,
    options: u32,
    bullets: u32,
    numbered_lines: u32,
    speakers: u32,
    labels: u32,
    letter_marks: u32,
    headings: u32,
    sentences: u32,
    first_line_words: u32,
    first_line_colon: bool,
    last_line_words: u32,
    last_line_asks: bool,
    lower_start: bool,
    ends_plainly: bool,
}

fn share(part: u32, whole: u32) -> f64 {
    (f64::from(part) / f64::from(whole.max(1))).min(1.0)
}

fn saturating(count: u32, half: f64) -> f64 {
    let count = f64::from(count);
    count / (count + half)
}

impl Structure {
    /// Counts.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut seen = Self::default();
        let mut fenced = false;
        let mut after_blank = true;
        let mut next_option = 0;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() {
                after_blank = true;
                continue;
            }
            seen.lines += 1;
            seen.paragraphs += u32::from(after_blank);
            after_blank = false;
            if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
                seen.code_fences += 1;
                fenced = !fenced;
                continue;
            }
            seen.take_line(line, trimmed, fenced, &mut next_option);
        }
        seen.lower_start = text
            .chars()
            .find(|character| character.is_alphanumeric())
            .is_some_and(char::is_lowercase);
        seen.ends_plainly = text
            .trim_end()
            .chars()
            .next_back()
            .is_some_and(char::is_alphanumeric);
        seen
    }

    fn take_line(&mut self, line: &str, trimmed: &str, fenced: bool, next_option: &mut u8) {
        let shape = LineShape::of(line, trimmed);
        self.code_lines += u32::from(fenced || shape.code);
        self.indented_lines += u32::from(shape.indented);
        self.comment_lines += u32::from(shape.comment);
        self.prompt_lines += u32::from(shape.prompt);
        self.stack_lines += u32::from(shape.stack);
        self.table_lines += u32::from(shape.table);
        self.bullets += u32::from(shape.bullet);
        self.numbered_lines += u32::from(shape.numbered);
        self.headings += u32::from(shape.heading);
        self.dialogue_lines += u32::from(shape.dialogue);
        match shape.label_words {
            Some(0..=2) if shape.label_has_text => self.speakers += 1,
            Some(_) => self.labels += 1,
            None => {}
        }
        self.letter_marks += u32::from(shape.letter);
        let signs_before = self.signs.commas;
        let words_before = self.tokens.words();
        self.signs.take(trimmed);
        let mut previous = None;
        let mut seen_any = false;
        for token in trimmed.split_whitespace() {
            let found = token::read(token, previous, seen_any);
            seen_any = true;
            previous = Some(found.kind);
            self.sentences += u32::from(found.ends_sentence);
            if let Some(option) = found.option
                && (option == *next_option || option == 0)
            {
                self.options += 1;
                *next_option = option + 1;
            }
            self.tokens.add(found);
        }
        let commas = self.signs.commas - signs_before;
        let words = self.tokens.words() - words_before;
        self.comma_lines += u32::from(commas >= 2 && !fenced && commas >= words.saturating_sub(1));
        if !matches!(trimmed.as_bytes().last(), Some(b'.' | b'!' | b'?')) {
            self.sentences += 1;
        }
        if self.lines == 1 {
            self.first_line_words = words;
            self.first_line_colon = trimmed.ends_with([':', '：']);
        }
        self.last_line_words = words;
        self.last_line_asks = trimmed.ends_with(['?', '？', '؟'])
            || trimmed.ends_with("?)")
            || trimmed.ends_with("?\"");
    }

    /// All words; in scripts without spaces two characters are one.
    fn words(&self) -> u32 {
        self.tokens.words() + self.signs.spaceless / 2
    }

    /// The features, in the order of [`NAMES`].
    #[must_use]
    pub fn features(&self) -> [f64; COUNT] {
        let (tokens, signs) = (&self.tokens, &self.signs);
        let words = self.words();
        let lines = self.lines;
        let flag = |value: bool| f64::from(u8::from(value));
        let letters = signs.latin + signs.other_letters;
        let short = lines == 1 && words <= 14;
        let search = short
            && self.ends_plainly
            && tokens.get(Kind::Name) + tokens.get(Kind::Capitals) == 0
            && signs.capitals <= 1
            && self.sentences <= 1;
        [
            // 1 at 3,000 words.
            (f64::from(words + 1).ln() / 8.0).min(1.0),
            saturating(lines.saturating_sub(1), 6.0),
            saturating(self.paragraphs.saturating_sub(1), 2.0),
            saturating(self.sentences.saturating_sub(1), 4.0),
            (f64::from(words) / f64::from(self.sentences.max(1)) / 40.0).min(1.0),
            saturating(self.code_fences, 1.0),
            share(self.code_lines, lines),
            (10.0 * share(signs.code, signs.all)).min(1.0),
            saturating(tokens.get(Kind::Identifier), 2.0),
            saturating(tokens.get(Kind::Call), 2.0),
            share(self.indented_lines, lines),
            saturating(self.comment_lines, 2.0),
            saturating(self.prompt_lines, 1.0),
            saturating(self.stack_lines, 1.0),
            saturating(tokens.get(Kind::File), 1.0),
            saturating(tokens.get(Kind::Path), 1.0),
            saturating(tokens.get(Kind::Link), 1.0),
            saturating(signs.json_marks, 2.0),
            saturating(tokens.get(Kind::Tag), 2.0),
            saturating(tokens.get(Kind::Placeholder), 2.0),
            saturating(self.table_lines, 2.0),
            saturating(self.comma_lines, 2.0),
            saturating(tokens.get(Kind::Latex), 1.0),
            saturating(signs.math, 2.0),
            saturating(tokens.get(Kind::Equation), 1.0),
            saturating(tokens.get(Kind::Variable), 3.0),
            saturating(tokens.get(Kind::Formula), 1.0),
            saturating(tokens.numbers(), 3.0),
            (3.0 * share(tokens.numbers(), words)).min(1.0),
            saturating(tokens.get(Kind::Year), 1.0),
            saturating(tokens.get(Kind::Money), 2.0),
            saturating(tokens.get(Kind::Percentage), 2.0),
            saturating(tokens.get(Kind::PhysicalUnit), 1.0),
            saturating(tokens.get(Kind::ClinicalUnit), 1.0),
            saturating(tokens.get(Kind::Clock), 1.0),
            saturating(tokens.get(Kind::Section), 1.0),
            share(signs.quoted, signs.all),
            saturating(signs.quotes, 2.0),
            saturating(self.dialogue_lines, 2.0),
            saturating(self.options.saturating_sub(1), 2.0),
            saturating(tokens.get(Kind::Blank), 1.0),
            saturating(self.bullets, 3.0),
            saturating(self.numbered_lines, 3.0),
            saturating(self.speakers, 2.0),
            saturating(self.labels, 2.0),
            saturating(self.letter_marks, 1.0),
            saturating(self.headings, 1.0),
            saturating(signs.questions, 1.0),
            flag(self.last_line_asks),
            flag(self.ends_plainly),
            saturating(signs.exclamations, 1.0),
            flag(search),
            flag(self.lower_start),
            (3.0 * share(tokens.get(Kind::Name), words)).min(1.0),
            (3.0 * share(tokens.get(Kind::Capitals), words)).min(1.0),
            saturating(tokens.get(Kind::Colon), 1.0),
            (10.0 * share(signs.accents, letters)).min(1.0),
            share(signs.other_letters, letters),
            2.0 * share(signs.other_letters.min(signs.latin), letters),
            saturating(signs.emoji, 1.0),
            flag(self.first_line_colon && lines > 1),
            flag(self.last_line_asks && words >= 40 && self.last_line_words * 2 < words),
        ]
    }
}

/// What one line looks like.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations")]
struct LineShape {
    code: bool,
    indented: bool,
    comment: bool,
    prompt: bool,
    stack: bool,
    table: bool,
    bullet: bool,
    numbered: bool,
    heading: bool,
    dialogue: bool,
    letter: bool,
    label_words: Option<u32>,
    label_has_text: bool,
}

const CODE_STARTS: &[&str] = &[
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
    "protected ",
    "static ",
    "void ",
    "#include",
    "#define",
    "fn ",
    "func ",
    "package ",
    "using ",
    "async ",
    "await ",
    "<?php",
    "#!/",
    "if (",
    "for (",
    "while (",
    "for i in ",
    "print(",
    "try:",
    "except ",
    "else:",
    "elif ",
    "struct ",
    "impl ",
    "int ",
    "double ",
    "@",
    "SELECT ",
    "end",
];

const LETTER_STARTS: &[&str] = &[
    "dear ",
    "subject:",
    "re:",
    "from:",
    "to:",
    "cc:",
    "sincerely",
    "kind regards",
    "best regards",
    "regards",
    "yours ",
    "sehr geehrte",
    "mit freundlichen",
    "cordialement",
    "estimad",
    "gentile ",
    "best,",
    "cheers,",
    "betreff:",
    "objet:",
    "asunto:",
    "oggetto:",
    "onderwerp:",
    "beste ",
];

impl LineShape {
    fn of(line: &str, trimmed: &str) -> Self {
        let bytes = trimmed.as_bytes();
        let first = bytes.first().copied().unwrap_or(b' ');
        let last = bytes.last().copied().unwrap_or(b' ');
        let rest = || bytes.get(1).copied().unwrap_or(b' ');
        let signs = || bytes.iter().any(|byte| b"(={;*)}[<>".contains(byte));
        let ends = matches!(last, b';' | b'{' | b'}')
            || trimmed.ends_with("):")
            || trimmed.ends_with(") {")
            || trimmed.ends_with("=>");
        let starts = CODE_STARTS.iter().any(|start| trimmed.starts_with(start));
        let bars = trimmed.matches('|').count();
        let tabs = trimmed.matches('\t').count();
        let (label_words, label_has_text) = label(trimmed);
        let digits = bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        Self {
            code: (ends && signs()) || (starts && (bytes.len() < 12 || signs())),
            indented: line.starts_with("  ") || line.starts_with('\t'),
            comment: trimmed.starts_with("//")
                || trimmed.starts_with("/*")
                || trimmed.starts_with("-- ")
                || trimmed.starts_with("\"\"\"")
                || (first == b'#' && rest() == b' ' && line.starts_with(' ')),
            prompt: trimmed.starts_with("$ ")
                || trimmed.starts_with(">>> ")
                || trimmed.starts_with("PS C:")
                || trimmed.starts_with("In ["),
            stack: trimmed.starts_with("Traceback")
                || trimmed.starts_with("File \"")
                || trimmed.starts_with("Caused by:")
                || (trimmed.starts_with("at ") && trimmed.ends_with(')') && trimmed.contains(':'))
                || trimmed.split(':').next().is_some_and(|head| {
                    (head.ends_with("Error") || head.ends_with("Exception"))
                        && head.len() < trimmed.len()
                        && !head.contains(' ')
                }),
            table: bars >= 2 || tabs >= 2,
            bullet: (matches!(first, b'-' | b'*' | b'+') && rest() == b' ')
                || trimmed.starts_with("• "),
            numbered: (1..=3).contains(&digits)
                && matches!(bytes.get(digits), Some(b'.' | b')'))
                && bytes.get(digits + 1) == Some(&b' '),
            heading: first == b'#' && trimmed.trim_start_matches('#').starts_with(' '),
            dialogue: trimmed.starts_with(['"', '“', '„', '«', '—', '–', '「']),
            letter: LETTER_STARTS.iter().any(|start| {
                bytes
                    .get(..start.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
            }),
            label_words,
            label_has_text,
        }
    }
}

/// Whether a line begins with a label such as `Anna:` or `Order no:`, of how many words, and whether
/// text follows it.
fn label(line: &str) -> (Option<u32>, bool) {
    const LONGEST: usize = 32;
    let bytes = line.as_bytes();
    let head = &bytes[..bytes.len().min(LONGEST)];
    let Some(at) = head.iter().position(|&byte| byte == b':') else {
        return (None, false);
    };
    let follows = bytes.get(at + 1).copied();
    if at == 0 || matches!(follows, Some(b'/' | b':')) || head[0].is_ascii_digit() {
        return (None, false);
    }
    let words = head[..at].split(|&byte| byte == b' ').count();
    let words = u32::try_from(words).unwrap_or(u32::MAX);
    if words > 4 {
        return (None, false);
    }
    (Some(words), bytes.len() > at + 2)
}
