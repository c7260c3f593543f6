//! What single words say.

use super::super::constructs as c;
use super::super::keywords::{Role, has_no_end_tag, role};
use super::super::language::{Blocks, Language};
use super::super::lexer::Token;
use super::{Counter, hash_name};

impl<'a> Counter<'a> {
    pub(super) fn word(&mut self, token: Token<'a>, begins: bool) {
        let word = token.text;
        if self.defining && self.defined.is_none() {
            self.defined = Some(hash_name(word));
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
        let point = self.adjoins(token) && (self.before_is(".") || self.before_is("?."));
        let member = !begins && (arrow || point);
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
        // Rust's `fn(…)` is the type of a pointer.
        let pointer = word == "fn" && self.next_is(token, b'(');
        if !member && !pointer {
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

    pub(super) fn language_writes_after_parameters(&self) -> bool {
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

    /// Whether nothing stands between the last token and this one.
    fn adjoins(&self, token: Token<'_>) -> bool {
        self.before[0].is_some_and(|before| before.start + before.text.len() == token.start)
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
