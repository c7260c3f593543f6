//! Which language a piece of code is written in, and what its words and signs are read by.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// A language that the analyzer reads by its own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Language {
    Python,
    JavaScript,
    TypeScript,
    Java,
    C,
    Cpp,
    CSharp,
    Go,
    Rust,
    Php,
    Ruby,
    Kotlin,
    Swift,
    Sql,
    Shell,
    Html,
    Css,
    Json,
    Yaml,
    /// Code, but in no language known here: read by the rules that most languages share.
    Other,
}

/// Every language, in the order of its number.
pub const LANGUAGES: [Language; 20] = [
    Language::Python,
    Language::JavaScript,
    Language::TypeScript,
    Language::Java,
    Language::C,
    Language::Cpp,
    Language::CSharp,
    Language::Go,
    Language::Rust,
    Language::Php,
    Language::Ruby,
    Language::Kotlin,
    Language::Swift,
    Language::Sql,
    Language::Shell,
    Language::Html,
    Language::Css,
    Language::Json,
    Language::Yaml,
    Language::Other,
];

/// How a language marks its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// By indentation after a colon.
    Indentation,
    /// By braces.
    Braces,
    /// By words: `if … end`, `if … fi`.
    Words,
    /// By parentheses round an inner query.
    Queries,
    /// By tags.
    Tags,
    /// By the brackets of a value or the indentation of a key.
    Values,
}

impl Language {
    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Java => "java",
            Self::C => "c",
            Self::Cpp => "c++",
            Self::CSharp => "c#",
            Self::Go => "go",
            Self::Rust => "rust",
            Self::Php => "php",
            Self::Ruby => "ruby",
            Self::Kotlin => "kotlin",
            Self::Swift => "swift",
            Self::Sql => "sql",
            Self::Shell => "shell",
            Self::Html => "html",
            Self::Css => "css",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Other => "other",
        }
    }

    /// By the tag of a fence, or any name people call it by.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        Some(match tag.to_ascii_lowercase().as_str() {
            "python" | "py" | "python3" | "py3" | "pycon" | "ipython" | "pyi" => Self::Python,
            "javascript" | "js" | "jsx" | "mjs" | "cjs" | "node" | "nodejs" => Self::JavaScript,
            "typescript" | "ts" | "tsx" => Self::TypeScript,
            "java" => Self::Java,
            "c" | "h" => Self::C,
            "c++" | "cpp" | "cxx" | "cc" | "hpp" | "cuda" | "cu" | "arduino" | "glsl" | "hlsl" => {
                Self::Cpp
            }
            "c#" | "csharp" | "cs" => Self::CSharp,
            "go" | "golang" => Self::Go,
            "rust" | "rs" => Self::Rust,
            "php" => Self::Php,
            "ruby" | "rb" => Self::Ruby,
            "kotlin" | "kt" | "kts" => Self::Kotlin,
            "swift" => Self::Swift,
            "sql" | "mysql" | "postgres" | "postgresql" | "sqlite" | "tsql" | "plsql" | "psql"
            | "bigquery" => Self::Sql,
            "shell" | "sh" | "bash" | "zsh" | "console" | "shellsession" | "ksh" | "terminal" => {
                Self::Shell
            }
            "html" | "xml" | "svg" | "vue" | "xhtml" | "svelte" => Self::Html,
            "css" | "scss" | "less" | "sass" => Self::Css,
            "json" | "jsonc" | "json5" | "jsonl" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "other" | "scala" | "dart" | "lua" | "perl" | "r" | "julia" | "haskell" | "hs"
            | "elixir" | "ex" | "clojure" | "ocaml" | "f#" | "fsharp" | "matlab" | "vb"
            | "powershell" | "ps1" | "dockerfile" | "docker" | "makefile" | "make" | "toml"
            | "ini" | "nginx" | "diff" | "asm" | "assembly" | "solidity" | "zig" | "nim"
            | "groovy" | "code" | "graphql" | "proto" | "protobuf" | "terraform" | "hcl"
            | "vba" | "cobol" | "fortran" | "pascal" | "delphi" | "lisp" | "scheme" | "erlang"
            | "objc" | "objective-c" | "verilog" | "vhdl" => Self::Other,
            _ => return None,
        })
    }

    /// By what stands in the code; [`Language::Other`] where nothing speaks clearly.
    ///
    /// The first 16 KiB are read: a language shows early.
    #[must_use]
    pub fn guess(code: &str) -> Self {
        let start = code.trim_start();
        if let Some(shebang) = start.strip_prefix("#!") {
            let first = shebang.lines().next().unwrap_or("");
            return match first {
                line if line.contains("python") => Self::Python,
                line if line.contains("node") => Self::JavaScript,
                line if line.contains("ruby") => Self::Ruby,
                line if line.contains("php") => Self::Php,
                _ => Self::Shell,
            };
        }
        if looks_like_json(start) {
            return Self::Json;
        }
        let mut votes = [0_u32; LANGUAGES.len()];
        let head = &code.as_bytes()[..code.len().min(16 * 1024)];
        if let Some(markers) = &MARKERS.automaton {
            for found in markers.find_overlapping_iter(head) {
                let (marker_start, language, weight) = MARKERS.meaning[found.pattern().as_usize()];
                // A marker that begins with a letter begins a word.
                let inside_word =
                    marker_start && found.start() > 0 && is_word_byte(head[found.start() - 1]);
                if !inside_word {
                    votes[language as usize] += weight;
                }
            }
        }
        // What is also TypeScript is TypeScript only by what JavaScript has not; so too C++ and C.
        if votes[Self::TypeScript as usize] > 0 {
            votes[Self::TypeScript as usize] += votes[Self::JavaScript as usize];
        }
        if votes[Self::Cpp as usize] > 0 {
            votes[Self::Cpp as usize] += votes[Self::C as usize];
        }
        let mut best = (1, Self::Other);
        for language in LANGUAGES {
            if votes[language as usize] > best.0 {
                best = (votes[language as usize], language);
            }
        }
        best.1
    }

    pub(super) fn blocks(self) -> Blocks {
        match self {
            Self::Python => Blocks::Indentation,
            Self::Ruby | Self::Shell => Blocks::Words,
            Self::Sql => Blocks::Queries,
            Self::Html => Blocks::Tags,
            Self::Json | Self::Yaml => Blocks::Values,
            _ => Blocks::Braces,
        }
    }

    /// Whether `//` and `/* */` are remarks.
    pub(super) fn has_slash_remarks(self) -> bool {
        !matches!(
            self,
            Self::Python | Self::Ruby | Self::Shell | Self::Html | Self::Json | Self::Yaml
        )
    }

    /// Whether `//` alone is one: CSS and SQL have only the long form.
    pub(super) fn has_line_slashes(self) -> bool {
        self.has_slash_remarks() && !matches!(self, Self::Css | Self::Sql)
    }

    /// Whether `#` begins a remark.
    pub(super) fn has_hash_remarks(self) -> bool {
        matches!(
            self,
            Self::Python | Self::Ruby | Self::Shell | Self::Php | Self::Yaml
        )
    }

    /// Whether a string in this quote may run over several lines.
    pub(super) fn string_spans_lines(self, quote: u8) -> bool {
        match self {
            Self::Shell | Self::Php | Self::Ruby | Self::Sql => true,
            Self::Rust => quote == b'"',
            Self::Go => quote == b'`',
            _ => false,
        }
    }

    /// Whether a backslash takes the next character's meaning away inside this quote.
    pub(super) fn escapes(self, quote: u8) -> bool {
        !(self == Self::Sql
            || (self == Self::Shell && quote == b'\'')
            || (self == Self::Go && quote == b'`'))
    }

    /// Whether a function has a word of its own before its name; else it is known by `name(…) {`.
    pub(super) fn function_word(self, word: &str) -> bool {
        match self {
            Self::Python | Self::Ruby => word == "def",
            Self::JavaScript | Self::TypeScript | Self::Php | Self::Shell => word == "function",
            Self::Go | Self::Swift => word == "func",
            Self::Rust => word == "fn",
            Self::Kotlin => word == "fun",
            Self::Other => matches!(word, "def" | "fn" | "func" | "fun" | "function" | "sub"),
            _ => false,
        }
    }

    /// Whether `name(…) {` defines a function or a method.
    pub(super) fn defines_by_braces(self) -> bool {
        matches!(
            self,
            Self::JavaScript
                | Self::TypeScript
                | Self::Java
                | Self::C
                | Self::Cpp
                | Self::CSharp
                | Self::Shell
                | Self::Other
        )
    }

    pub(super) fn class_word(self, word: &str) -> bool {
        match self {
            Self::Python | Self::JavaScript => word == "class",
            Self::TypeScript => matches!(word, "class" | "interface" | "enum"),
            Self::Go => matches!(word, "struct" | "interface"),
            Self::C => matches!(word, "struct" | "union" | "enum"),
            Self::Rust => matches!(word, "struct" | "enum" | "trait" | "union" | "impl"),
            Self::Ruby => matches!(word, "class" | "module"),
            Self::Sql => word.eq_ignore_ascii_case("table"),
            Self::Swift => matches!(word, "class" | "struct" | "enum" | "protocol" | "actor"),
            Self::Shell | Self::Html | Self::Css | Self::Json | Self::Yaml => false,
            _ => matches!(
                word,
                "class" | "struct" | "interface" | "enum" | "record" | "trait" | "object"
            ),
        }
    }
}

/// Whether a byte may stand within a name.
pub(super) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn looks_like_json(start: &str) -> bool {
    let mut bytes = start.bytes();
    let first = bytes.next();
    let second = bytes.find(|byte| !byte.is_ascii_whitespace());
    match (first, second) {
        (Some(b'{'), Some(b'"')) => {
            let rest = &start[..floor(start, 400)];
            rest.contains("\":") || rest.contains("\" :")
        }
        (Some(b'['), Some(b'{')) => start[..floor(start, 400)].contains("\":"),
        _ => false,
    }
}

/// The greatest boundary of a character that is not past `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

struct Markers {
    automaton: Option<AhoCorasick>,
    /// Whether it begins with a letter; the language; the votes.
    meaning: Vec<(bool, Language, u32)>,
}

static MARKERS: LazyLock<Markers> = LazyLock::new(|| {
    let mut patterns = Vec::new();
    let mut meaning = Vec::new();
    let mut current = None;
    for line in include_str!("markers.txt").lines() {
        if let Some(name) = line.strip_prefix('[') {
            current = Language::from_tag(name.trim_end_matches(']'));
        } else if let Some(language) = current
            && let Some((weight, marker)) = line.split_once(' ')
            && let Ok(weight) = weight.parse::<u32>()
        {
            let marker = marker.replace("\\n", "\n").replace("\\s", " ");
            let first = marker.bytes().next().is_some_and(is_word_byte);
            meaning.push((first, language, weight));
            patterns.push(marker);
        }
    }
    Markers {
        automaton: AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&patterns)
            .ok(),
        meaning,
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_markers_are_built_and_each_language_has_some() {
        assert!(MARKERS.automaton.is_some());
        for language in LANGUAGES {
            let known = MARKERS.meaning.iter().any(|(_, l, _)| *l == language);
            let by_other_means = matches!(language, Language::Json | Language::Other);
            assert!(known || by_other_means, "{language:?}");
        }
    }

    #[test]
    fn every_language_is_found_by_its_own_name() {
        for language in LANGUAGES {
            if language != Language::Other {
                assert_eq!(Language::from_tag(language.name()), Some(language));
            }
        }
        assert_eq!(Language::from_tag("text"), None);
    }
}
