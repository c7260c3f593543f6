//! Counts what stands in a piece of code, in one pass over its tokens.

mod brackets;
mod words;

use super::CodeMetrics;
use super::constructs as c;
use super::language::{Blocks, Language};
use super::lexer::{Kind, Lexer, Token};

/// A bracket that is open.
#[derive(Clone, Copy)]
struct Bracket<'a> {
    kind: u8,
    /// The word before it, unless it belongs to a definition that was counted by its own word.
    head: Option<&'a str>,
    /// Whether `new` stands before that word.
    after_new: bool,
    /// Whether an inner query begins here.
    query: bool,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "what was seen is seen or not"
)]
struct Counter<'a> {
    code: &'a str,
    language: Language,
    out: CodeMetrics,
    names: Vec<u64>,
    code_on_line: bool,
    remark_on_line: bool,
    /// The last two tokens that are code, the latest first.
    before: [Option<Token<'a>>; 2],
    brackets: Vec<Bracket<'a>>,
    braces: usize,
    /// The head of `name(…)` that may turn out to define something.
    pending: Option<Bracket<'a>>,
    /// A definition's word was seen; its name and parameters are to come.
    defining: bool,
    /// The function that was just defined, until its block opens.
    defined: Option<u64>,
    /// Functions that are open: the name's hash and the depth of the block.
    functions: Vec<(u64, usize)>,
    /// Rust's `impl … for …`.
    impl_header: bool,
    /// Blocks that words or tags opened.
    opened: usize,
    /// Whether the last tag has no end.
    tag_is_empty: bool,
    /// The columns of the open blocks.
    columns: Vec<usize>,
    /// The first two tokens of the logical line.
    first: Option<Token<'a>>,
    second: Option<Token<'a>>,
    /// Whether a colon stood in it outside brackets.
    colon: bool,
}

/// Measures a piece of code as a whole.
#[must_use]
pub fn measure(code: &str, language: Language) -> CodeMetrics {
    let mut counter = Counter::new(code, language);
    for token in Lexer::new(code, language) {
        counter.take(token);
    }
    counter.end_line();
    counter.end_logical_line();
    counter.names.sort_unstable();
    counter.names.dedup();
    let mut out = counter.out;
    out.identifiers = counter.names.len();
    out.cyclomatic = 1 + out.branches + out.loops;
    out
}

impl<'a> Counter<'a> {
    fn new(code: &'a str, language: Language) -> Self {
        Self {
            code,
            language,
            out: CodeMetrics::empty(language),
            names: Vec::new(),
            code_on_line: false,
            remark_on_line: false,
            before: [None; 2],
            brackets: Vec::new(),
            braces: 0,
            pending: None,
            defining: false,
            defined: None,
            functions: Vec::new(),
            impl_header: false,
            opened: 0,
            tag_is_empty: false,
            columns: vec![0],
            first: None,
            second: None,
            colon: false,
        }
    }

    fn take(&mut self, token: Token<'a>) {
        match token.kind {
            Kind::LineEnd => {
                self.end_line();
                if token.text.len() == 1 && self.brackets.is_empty() {
                    self.end_logical_line();
                }
                return;
            }
            Kind::Remark => return self.mark_lines(token.text, false),
            _ => {}
        }
        let begins = self.first.is_none();
        if begins {
            self.first = Some(token);
            self.begin_logical_line(token);
        } else if self.second.is_none() {
            self.second = Some(token);
        }
        let docstring = begins
            && self.language == Language::Python
            && token.kind == Kind::Text
            && self.ends_line(token);
        self.mark_lines(token.text, !docstring);
        match token.kind {
            Kind::Word => self.word(token, begins),
            Kind::Open => self.open(token),
            Kind::Close => self.close(token),
            Kind::Sign => self.sign(token),
            Kind::Pattern => self.out.constructs |= c::PATTERNS,
            _ => self.pending = None,
        }
        if self.language == Language::Json && token.kind == Kind::Text {
            self.names.push(hash_name(token.text));
        }
        self.before = [Some(token), self.before[0]];
    }

    fn mark_lines(&mut self, text: &str, is_code: bool) {
        let breaks = text
            .trim_end()
            .bytes()
            .filter(|&byte| byte == b'\n')
            .count();
        for line in 0..=breaks {
            if line > 0 {
                self.end_line();
            }
            self.code_on_line |= is_code;
            self.remark_on_line |= !is_code;
        }
    }

    fn end_line(&mut self) {
        if self.code_on_line {
            self.out.lines += 1;
        } else if self.remark_on_line {
            self.out.comment_lines += 1;
        }
        self.code_on_line = false;
        self.remark_on_line = false;
    }

    /// Whether nothing but white space or a remark follows on the line.
    fn ends_line(&self, token: Token<'_>) -> bool {
        self.code[token.start + token.text.len()..]
            .bytes()
            .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))
            .is_none_or(|byte| matches!(byte, b'\n' | b'#'))
    }

    fn level(&self) -> usize {
        self.columns.len() - 1
    }

    fn deepest(&mut self, depth: usize) {
        self.out.nesting = self.out.nesting.max(depth);
    }

    fn begin_logical_line(&mut self, token: Token<'a>) {
        let by_columns = matches!(self.language.blocks(), Blocks::Indentation)
            || matches!(self.language, Language::Yaml | Language::Other);
        if !by_columns {
            return;
        }
        let mut column = 0;
        for byte in self.code[..token.start].bytes().rev() {
            match byte {
                b' ' => column += 1,
                b'\t' => column += 8,
                _ => break,
            }
        }
        while self.columns.len() > 1 && self.columns.last().is_some_and(|&top| top > column) {
            self.columns.pop();
        }
        if self.columns.last().is_some_and(|&top| top < column) {
            self.columns.push(column);
        }
        let level = self.level();
        while self
            .functions
            .last()
            .is_some_and(|&(_, depth)| depth > level)
            && self.language == Language::Python
        {
            self.functions.pop();
        }
        match self.language {
            Language::Python if opens_a_block(token.text) => self.deepest(level + 1),
            Language::Yaml => self.deepest(level + 1),
            Language::Other if self.braces == 0 => self.deepest(level),
            _ => {}
        }
    }

    fn end_logical_line(&mut self) {
        if let Some(first) = self.first
            && self.language == Language::Python
        {
            let soft = matches!(first.text, "match" | "case")
                && self.second.is_some_and(|second| {
                    !matches!(second.text, "=" | "." | ":" | "," | ")" | "+=" | "-=")
                });
            if soft && self.colon {
                self.deepest(self.level() + 1);
                self.out.branches += usize::from(first.text == "case");
            }
            if let Some(name) = self.defined.take() {
                self.functions.push((name, self.level() + 1));
            }
        }
        self.first = None;
        self.second = None;
        self.colon = false;
    }

    fn name(&mut self, word: &str) {
        self.names.push(hash_name(word));
    }

    fn before_is(&self, text: &str) -> bool {
        self.before[0].is_some_and(|token| token.text == text)
    }
}

/// Python's words that open a block at the beginning of a line.
fn opens_a_block(word: &str) -> bool {
    matches!(
        word,
        "if" | "elif"
            | "else"
            | "for"
            | "while"
            | "def"
            | "class"
            | "with"
            | "try"
            | "except"
            | "finally"
            | "async"
    )
}

/// Tells names apart, `C` from `c` too.
fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
