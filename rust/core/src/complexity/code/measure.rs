//! Counts what stands in a piece of code, in one pass over its tokens.

use super::CodeMetrics;
use super::constructs as c;
use super::keywords::{Role, has_no_end_tag, heads_a_statement, role};
use super::language::{Blocks, Language};
use super::lexer::{Kind, Lexer, Token};
use crate::quality::words::hash_word;

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
            self.names.push(hash_word(token.text));
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
        self.names.push(hash_word(word));
    }

    fn before_is(&self, text: &str) -> bool {
        self.before[0].is_some_and(|token| token.text == text)
    }

    fn word(&mut self, token: Token<'a>, begins: bool) {
        let word = token.text;
        if self.defining && self.defined.is_none() {
            self.defined = Some(hash_word(word));
        }
        match self.language.blocks() {
            Blocks::Queries => return self.query_word(word),
            Blocks::Tags => return self.tag_word(token),
            Blocks::Values => return self.name(word),
            Blocks::Words => self.block_word(token, begins),
            Blocks::Indentation | Blocks::Braces => {}
        }
        // What follows a point or an arrow is a member, whatever it is called.
        let arrow = matches!(self.language, Language::C | Language::Cpp | Language::Php)
            && self.before_is("->");
        let member = arrow || self.before_is(".") || self.before_is("?.");
        let shell_argument = self.language == Language::Shell && !self.begins_statement(begins);
        let mut role = if member || shell_argument {
            Role::Name
        } else {
            role(word, self.language)
        };
        if self.language == Language::Rust
            && word == "for"
            && (self.impl_header || self.next_is(token, b'<'))
            || matches!(
                self.language,
                Language::C | Language::Cpp | Language::CSharp
            ) && self.before_is("#")
        {
            role = Role::Keyword;
        }
        match role {
            Role::Branch => self.out.branches += 1,
            Role::Loop => {
                self.out.loops += 1;
                if self.language == Language::Python && !self.brackets.is_empty() {
                    self.out.constructs |= c::COMPREHENSIONS;
                }
            }
            Role::Keyword => {}
            Role::Name => self.name(word),
        }
        if !member {
            self.definition_word(word, role);
        }
        self.out.constructs |= c::of_word(word, self.language);
        // A keyword such as `throws`, or a type, may stand between `name(…)` and its block.
        if !self.language_writes_after_parameters() {
            self.pending = None;
        }
    }

    fn definition_word(&mut self, word: &str, role: Role) {
        if self.language.function_word(word) {
            self.out.functions += 1;
            self.defining = true;
            self.defined = None;
        } else if self.language.class_word(word)
            && (role != Role::Name
                || matches!(word, "record" | "object" | "protocol" | "actor" | "module"))
            && !self.before_is("class")
        {
            self.out.classes += 1;
            self.impl_header = word == "impl";
        }
    }

    fn language_writes_after_parameters(&self) -> bool {
        matches!(
            self.language,
            Language::Cpp
                | Language::Java
                | Language::CSharp
                | Language::TypeScript
                | Language::Other
        )
    }

    fn next_is(&self, token: Token<'_>, byte: u8) -> bool {
        self.code.as_bytes().get(token.start + token.text.len()) == Some(&byte)
    }

    fn begins_statement(&self, begins: bool) -> bool {
        begins
            || self.before[0].is_none_or(|before| {
                matches!(
                    before.text,
                    ";" | "then" | "do" | "else" | "|" | "&&" | "||" | "{" | "(" | "!" | ")"
                )
            })
    }

    /// Ruby's and the shell's blocks, which words open and close.
    fn block_word(&mut self, token: Token<'a>, begins: bool) {
        let word = token.text;
        if self.before_is(".") {
            return;
        }
        let starts = self.begins_statement(begins) || self.before_is("=");
        let (opens, closes) = if self.language == Language::Shell {
            (
                starts && matches!(word, "if" | "for" | "while" | "until" | "case" | "select"),
                starts && matches!(word, "fi" | "done" | "esac"),
            )
        } else {
            let loop_line = self
                .first
                .is_some_and(|first| matches!(first.text, "while" | "until" | "for"));
            let opener = matches!(
                word,
                "def"
                    | "class"
                    | "module"
                    | "if"
                    | "unless"
                    | "while"
                    | "until"
                    | "for"
                    | "case"
                    | "begin"
            );
            (
                starts && opener || word == "do" && !loop_line,
                word == "end",
            )
        };
        if opens {
            self.opened += 1;
            self.deepest(self.opened);
            if let Some(name) = self.defined.take() {
                self.functions.push((name, self.opened));
            }
        } else if closes {
            self.opened = self.opened.saturating_sub(1);
        }
    }

    fn query_word(&mut self, word: &str) {
        let mut buffer = [0_u8; 16];
        match lower(word, &mut buffer) {
            "select" => {
                if self.before_is("(") {
                    self.out.subqueries += 1;
                    self.out.constructs |= c::SUBQUERIES;
                    if let Some(bracket) = self.brackets.last_mut() {
                        bracket.query = true;
                    }
                }
                let depth = 1 + self
                    .brackets
                    .iter()
                    .rev()
                    .take(64)
                    .filter(|b| b.query)
                    .count();
                self.deepest(depth);
            }
            "join" => {
                self.out.joins += 1;
                self.out.constructs |= c::JOINS;
            }
            "when" | "and" | "or" | "where" | "having" | "if" | "elsif" => self.out.branches += 1,
            "loop" | "while" | "for" => self.out.loops += 1,
            "over" | "partition" => self.out.constructs |= c::WINDOWS,
            "group" | "count" | "sum" | "avg" | "min" | "max" | "rollup" => {
                self.out.constructs |= c::AGGREGATION;
            }
            "recursive" => self.out.constructs |= c::RECURSION,
            "regexp" | "rlike" | "regexp_replace" => self.out.constructs |= c::PATTERNS,
            "transaction" | "lock" => self.out.constructs |= c::CONCURRENCY,
            "function" | "procedure" | "trigger" | "view" => self.out.functions += 1,
            "table" => self.out.classes += 1,
            "from" | "on" | "by" | "as" | "order" | "inner" | "left" | "right" | "outer"
            | "full" | "cross" | "using" | "union" | "all" | "distinct" | "limit" | "offset"
            | "in" | "not" | "null" | "is" | "between" | "like" | "exists" | "case" | "then"
            | "else" | "end" | "asc" | "desc" | "with" | "create" | "insert" | "into"
            | "values" | "update" | "set" | "delete" | "primary" | "key" | "foreign"
            | "references" | "default" | "index" | "unique" | "int" | "integer" | "text"
            | "varchar" | "date" | "begin" | "commit" => {}
            _ => self.name(word),
        }
    }

    fn tag_word(&mut self, token: Token<'a>) {
        let adjacent =
            self.before[0].is_some_and(|before| before.start + before.text.len() == token.start);
        if adjacent && self.before_is("<") {
            self.tag_is_empty = has_no_end_tag(token.text);
            if !self.tag_is_empty {
                self.opened += 1;
                self.deepest(self.opened);
            }
        }
        self.name(token.text);
    }

    fn open(&mut self, token: Token<'a>) {
        let kind = token.text.as_bytes()[0];
        let head = self.before[0].filter(|before| before.kind == Kind::Word);
        if kind == b'('
            && let Some(head) = head
        {
            self.call(head.text);
        }
        if kind == b'{' {
            self.open_block();
        }
        let bracket = Bracket {
            kind,
            head: head.map(|head| head.text).filter(|_| !self.defining),
            after_new: head.is_some() && self.before[1].is_some_and(|before| before.text == "new"),
            query: false,
        };
        if kind != b'{' || self.language.blocks() != Blocks::Words {
            self.brackets.push(bracket);
        }
        if kind == b'(' {
            self.defining = false;
        }
        if self.language.blocks() == Blocks::Values {
            self.deepest(self.brackets.len());
        }
    }

    fn open_block(&mut self) {
        self.braces += 1;
        self.impl_header = false;
        self.defining = false;
        if let Some(pending) = self.pending.take()
            && let Some(head) = pending.head
        {
            if pending.after_new {
                self.out.classes += 1;
            } else if self.language.defines_by_braces() && !heads_a_statement(head) {
                self.out.functions += 1;
                self.defined = Some(hash_word(head));
            }
        }
        match self.language.blocks() {
            Blocks::Braces => self.deepest(self.braces),
            Blocks::Words if self.language == Language::Shell => {
                self.opened += 1;
                self.deepest(self.opened);
            }
            _ => {}
        }
        if self.language != Language::Python
            && let Some(name) = self.defined.take()
        {
            self.functions.push((name, self.braces));
        }
    }

    /// A call: of the function it stands in, it is recursion.
    fn call(&mut self, name: &str) {
        let member = self.before[1].is_some_and(|before| before.text == ".");
        if member || self.functions.is_empty() {
            // `self.name(…)` calls it too, but so does `other.name(…)`: two more tokens would tell.
            return self.member_call(name);
        }
        let hash = hash_word(name);
        if self
            .functions
            .iter()
            .rev()
            .take(8)
            .any(|&(open, _)| open == hash)
        {
            self.out.constructs |= c::RECURSION;
        }
    }

    fn member_call(&mut self, name: &str) {
        let Some(point) = self.before[1].filter(|before| before.text == ".") else {
            return;
        };
        let owner = &self.code[..point.start];
        let own = owner.ends_with("self") || owner.ends_with("this") || owner.ends_with("cls");
        let hash = hash_word(name);
        if own
            && self
                .functions
                .iter()
                .rev()
                .take(8)
                .any(|&(open, _)| open == hash)
        {
            self.out.constructs |= c::RECURSION;
        }
    }

    fn close(&mut self, token: Token<'a>) {
        let kind = token.text.as_bytes()[0];
        if kind == b'}' {
            self.braces = self.braces.saturating_sub(1);
            if self.language.blocks() == Blocks::Words {
                self.opened = self
                    .opened
                    .saturating_sub(usize::from(self.language == Language::Shell));
            }
            while self.language != Language::Python
                && self
                    .functions
                    .last()
                    .is_some_and(|&(_, depth)| depth > self.braces)
            {
                self.functions.pop();
            }
            if self.language.blocks() == Blocks::Words {
                return;
            }
        }
        let opening = match kind {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        // A bracket that was forgotten is closed with the one around it; one too many closes nothing.
        let near = self
            .brackets
            .iter()
            .rev()
            .take(8)
            .position(|b| b.kind == opening);
        let Some(extra) = near else { return };
        self.brackets.truncate(self.brackets.len() - extra);
        let closed = self.brackets.pop();
        if kind == b')' {
            self.pending = closed;
        }
    }

    fn sign(&mut self, token: Token<'a>) {
        let language = self.language;
        let is_script = matches!(language, Language::JavaScript | Language::TypeScript);
        match token.text {
            "&&" | "||" if language.blocks() != Blocks::Tags => self.out.branches += 1,
            "??" if is_script || matches!(language, Language::CSharp | Language::Php) => {
                self.out.branches += 1;
            }
            "?" if self.chooses(token) => self.out.branches += 1,
            "=>" if is_script => {
                self.out.functions += 1;
                self.out.constructs |= c::CLOSURES;
            }
            "=>" if language == Language::CSharp => self.out.constructs |= c::CLOSURES,
            "=>" if language == Language::Rust => self.out.branches += 1,
            "->" if matches!(language, Language::Java | Language::Kotlin) => {
                self.out.constructs |= c::CLOSURES;
            }
            "->" if language == Language::C => self.out.constructs |= c::MEMORY,
            "<" if self.opens_type_arguments(token) => self.out.constructs |= c::GENERICS,
            "</" | "/>" if language == Language::Html => {
                if token.text == "</" || !self.tag_is_empty {
                    self.opened = self.opened.saturating_sub(1);
                }
                self.tag_is_empty = true;
            }
            ":" if self.brackets.is_empty() => self.colon = true,
            ";" if language == Language::Shell && self.before_is(";") => self.out.branches += 1,
            _ => {}
        }
        let goes_on = self.language_writes_after_parameters()
            && matches!(
                token.text,
                ":" | "::" | "," | "." | "<" | ">" | "|" | "&" | "*" | "->" | "?"
            );
        if !goes_on {
            self.pending = None;
        }
    }

    /// Whether a question mark chooses between two values: types and error returns have one too.
    fn chooses(&self, token: Token<'_>) -> bool {
        let bytes = self.code.as_bytes();
        let byte = |at: Option<usize>| at.and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        let spaced = byte(token.start.checked_sub(1)).is_ascii_whitespace()
            && byte(Some(token.start + 1)).is_ascii_whitespace();
        match self.language {
            Language::JavaScript | Language::C | Language::Cpp | Language::Php => true,
            Language::TypeScript => {
                spaced
                    || !matches!(
                        byte(Some(token.start + 1)),
                        b':' | b')' | b',' | b';' | b'='
                    )
            }
            Language::Java => !self.before_is("<") && !self.before_is(","),
            Language::CSharp | Language::Swift | Language::Other => spaced,
            _ => false,
        }
    }

    fn opens_type_arguments(&self, token: Token<'_>) -> bool {
        matches!(
            self.language,
            Language::Java
                | Language::CSharp
                | Language::TypeScript
                | Language::Rust
                | Language::Cpp
                | Language::Kotlin
                | Language::Swift
        ) && self.before[0].is_some_and(|before| {
            before.kind == Kind::Word && before.start + before.text.len() == token.start
        }) && self
            .code
            .as_bytes()
            .get(token.start + 1)
            .is_some_and(u8::is_ascii_uppercase)
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

/// A short word in lower case; a longer one as it is.
fn lower<'b>(word: &'b str, buffer: &'b mut [u8; 16]) -> &'b str {
    let Some(place) = buffer.get_mut(..word.len()) else {
        return word;
    };
    place.copy_from_slice(word.as_bytes());
    place.make_ascii_lowercase();
    std::str::from_utf8(place).unwrap_or(word)
}
