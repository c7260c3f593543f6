//! What brackets and signs say.

use super::super::constructs as c;
use super::super::keywords::heads_a_statement;
use super::super::language::{Blocks, Language};
use super::super::lexer::{Kind, Token};
use super::{Bracket, Counter, hash_name};

impl<'a> Counter<'a> {
    pub(super) fn open(&mut self, token: Token<'a>) {
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
                self.defined = Some(hash_name(head));
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
        let hash = hash_name(name);
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
        let hash = hash_name(name);
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

    pub(super) fn close(&mut self, token: Token<'a>) {
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

    pub(super) fn sign(&mut self, token: Token<'a>) {
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
