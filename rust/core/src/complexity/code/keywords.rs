//! What the words of a language do to the flow of a program.

use super::language::Language;

/// What a word does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Something is called by it.
    Name,
    /// A keyword that neither chooses nor repeats.
    Keyword,
    /// It chooses.
    Branch,
    /// It repeats.
    Loop,
}

/// The role of a word that stands where a keyword may stand.
pub(super) fn role(word: &str, language: Language) -> Role {
    match language {
        Language::Python => python(word),
        Language::Ruby | Language::Shell => wordy(word),
        Language::Html | Language::Css | Language::Json | Language::Yaml => Role::Name,
        _ => braced(word, language),
    }
}

fn python(word: &str) -> Role {
    match word {
        "if" | "elif" | "except" | "and" | "or" => Role::Branch,
        "for" | "while" => Role::Loop,
        "False" | "None" | "True" | "as" | "assert" | "async" | "await" | "break" | "class"
        | "continue" | "def" | "del" | "else" | "finally" | "from" | "global" | "import" | "in"
        | "is" | "lambda" | "nonlocal" | "not" | "pass" | "raise" | "return" | "try" | "with"
        | "yield" => Role::Keyword,
        _ => Role::Name,
    }
}

fn wordy(word: &str) -> Role {
    match word {
        "if" | "elif" | "elsif" | "unless" | "when" | "rescue" | "and" | "or" => Role::Branch,
        "for" | "while" | "until" | "loop" => Role::Loop,
        "alias" | "begin" | "break" | "case" | "class" | "def" | "do" | "done" | "else" | "end"
        | "ensure" | "esac" | "export" | "false" | "fi" | "function" | "in" | "local"
        | "module" | "next" | "nil" | "not" | "raise" | "require" | "return" | "self" | "super"
        | "then" | "true" | "yield" => Role::Keyword,
        _ => Role::Name,
    }
}

fn braced(word: &str, language: Language) -> Role {
    match word {
        "if" | "case" | "catch" => Role::Branch,
        "elif" | "elsif" | "elseif" | "except" | "unless" | "rescue"
            if language == Language::Other || language == Language::Php =>
        {
            Role::Branch
        }
        "and" | "or" if matches!(language, Language::Other | Language::Php) => Role::Branch,
        "guard" if language == Language::Swift => Role::Branch,
        "for" | "while" => Role::Loop,
        "foreach" if matches!(language, Language::CSharp | Language::Php | Language::Other) => {
            Role::Loop
        }
        "loop" if language == Language::Rust => Role::Loop,
        "until" | "repeat" if language == Language::Other => Role::Loop,
        _ if is_keyword(word) => Role::Keyword,
        _ => Role::Name,
    }
}

/// Words that the languages with braces reserve, one list for all of them.
#[expect(clippy::too_many_lines, reason = "one list")]
fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "abstract"
            | "as"
            | "async"
            | "auto"
            | "await"
            | "bool"
            | "boolean"
            | "break"
            | "byte"
            | "chan"
            | "char"
            | "class"
            | "const"
            | "constexpr"
            | "continue"
            | "crate"
            | "def"
            | "default"
            | "defer"
            | "delete"
            | "do"
            | "double"
            | "else"
            | "enum"
            | "export"
            | "extends"
            | "extern"
            | "false"
            | "final"
            | "finally"
            | "float"
            | "fn"
            | "from"
            | "fun"
            | "func"
            | "function"
            | "go"
            | "goto"
            | "impl"
            | "implements"
            | "import"
            | "in"
            | "instanceof"
            | "int"
            | "interface"
            | "internal"
            | "is"
            | "let"
            | "lock"
            | "long"
            | "map"
            | "match"
            | "mod"
            | "mut"
            | "namespace"
            | "new"
            | "nil"
            | "null"
            | "nullptr"
            | "of"
            | "override"
            | "package"
            | "private"
            | "protected"
            | "pub"
            | "public"
            | "range"
            | "readonly"
            | "return"
            | "self"
            | "Self"
            | "short"
            | "signed"
            | "sizeof"
            | "static"
            | "string"
            | "struct"
            | "super"
            | "switch"
            | "synchronized"
            | "template"
            | "this"
            | "throw"
            | "throws"
            | "trait"
            | "true"
            | "try"
            | "type"
            | "typedef"
            | "typename"
            | "typeof"
            | "undefined"
            | "union"
            | "unsafe"
            | "unsigned"
            | "use"
            | "using"
            | "val"
            | "var"
            | "virtual"
            | "void"
            | "volatile"
            | "when"
            | "where"
            | "with"
            | "yield"
    )
}

/// Whether `word(…) {` is a statement and defines nothing.
pub(super) fn heads_a_statement(word: &str) -> bool {
    matches!(
        word,
        "if" | "for"
            | "while"
            | "switch"
            | "catch"
            | "synchronized"
            | "using"
            | "lock"
            | "try"
            | "with"
            | "foreach"
            | "constexpr"
            | "return"
            | "fixed"
            | "when"
            | "match"
            | "elif"
            | "elseif"
            | "await"
            | "sizeof"
            | "super"
            | "until"
            | "unless"
            | "alignas"
            | "decltype"
            | "noexcept"
            | "defined"
            | "and"
            | "or"
            | "not"
    )
}

/// An element of HTML that has no end tag.
pub(super) fn has_no_end_tag(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "source"
            | "track"
            | "wbr"
            | "DOCTYPE"
            | "doctype"
    )
}
