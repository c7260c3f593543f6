//! How much a single line looks like code.

/// How much a line looks like code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// Prose.
    Prose,
    Blank,
    /// Code where code stands beside it: `else:`, `x = 5`, an indented line.
    Maybe,
    /// No one writes it as prose.
    Code,
}

/// Whether a line has words in a row, or a sentence's end, and hardly a sign of code.
pub(super) fn reads_as_prose(line: &str) -> bool {
    if Signs::of(line.as_bytes()).count > 1 {
        return false;
    }
    let words = line
        .split_whitespace()
        .filter(|word| {
            word.trim_matches(|c: char| c.is_ascii_punctuation())
                .chars()
                .all(char::is_alphabetic)
        })
        .take(4)
        .count();
    words >= 4 || line.ends_with(['.', '?', '!', ','])
}

const ASSIGNS: u8 = 1;
const BRACES: u8 = 1 << 1;
const SQUARES: u8 = 1 << 2;
const ANGLES: u8 = 1 << 3;
const OTHERS: u8 = 1 << 4;

/// Which kind of sign of code each byte is, if any.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    kinds[b'=' as usize] = ASSIGNS;
    kinds[b'{' as usize] = BRACES;
    kinds[b'}' as usize] = BRACES;
    kinds[b'[' as usize] = SQUARES;
    kinds[b']' as usize] = SQUARES;
    kinds[b'<' as usize] = ANGLES;
    kinds[b'>' as usize] = ANGLES;
    kinds[b'(' as usize] = OTHERS;
    kinds[b')' as usize] = OTHERS;
    kinds[b';' as usize] = OTHERS;
    kinds[b'_' as usize] = OTHERS;
    kinds
};

/// The signs of code in a line.
struct Signs {
    kinds: u8,
    count: usize,
    /// Whether a name stands right before a parenthesis.
    calls: bool,
}

impl Signs {
    fn of(bytes: &[u8]) -> Self {
        let mut signs = Self {
            kinds: 0,
            count: 0,
            calls: false,
        };
        let mut previous = b' ';
        for &byte in bytes {
            let kind = KINDS[usize::from(byte)];
            signs.kinds |= kind;
            signs.count += usize::from(kind != 0);
            signs.calls |= byte == b'(' && (previous.is_ascii_alphanumeric() || previous == b'_');
            previous = byte;
        }
        signs
    }

    fn has(&self, kinds: u8) -> bool {
        self.kinds & kinds != 0
    }
}

/// Whether a line, which is not empty, begins with one of these.
fn begins(line: &str, with: &[&str]) -> bool {
    let first = line.as_bytes()[0];
    with.iter()
        .any(|start| start.as_bytes()[0] == first && line.starts_with(start))
}

/// Words that begin a statement in some language, and hardly ever a sentence.
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
    "protected ",
    "static ",
    "void ",
    "#include",
    "#define",
    "fn ",
    "pub ",
    "func ",
    "package ",
    "use ",
    "using ",
    "namespace ",
    "async ",
    "export ",
    "interface ",
    "struct ",
    "enum ",
    "impl ",
    "trait ",
    "type ",
    "fun ",
    "val ",
    "guard ",
    "@",
    "<?php",
    "#!/",
    "elif ",
    "else if",
    "for (",
    "while (",
    "if (",
    "switch (",
    "int ",
    "double ",
    "float ",
    "char ",
    "bool ",
    "string ",
    "String ",
    "auto ",
    "template",
    "module ",
    "print(",
    "raise ",
];

const QUERY_STARTS: &[&str] = &[
    "SELECT ",
    "INSERT INTO",
    "UPDATE ",
    "DELETE FROM",
    "CREATE TABLE",
    "CREATE INDEX",
    "CREATE VIEW",
    "ALTER TABLE",
    "DROP TABLE",
    "WITH RECURSIVE",
    "GROUP BY",
    "ORDER BY",
    "LEFT JOIN",
    "INNER JOIN",
    "PARTITION BY",
];

/// Lines that a query goes on with.
const QUERY_MORE: &[&str] = &[
    "FROM ", "WHERE ", "JOIN ", "AND ", "OR ", "HAVING ", "LIMIT ", "SET ",
];

/// How much a line looks like code, without its indentation and its end.
pub(super) fn look(line: &str) -> Look {
    if line.is_empty() {
        return Look::Blank;
    }
    let bytes = line.as_bytes();
    let short = line.split_whitespace().nth(3).is_none();
    let signs = Signs::of(bytes);
    let called = signs.calls;
    let statement =
        line.ends_with(';') && (called || signs.has(ASSIGNS | BRACES | SQUARES | ANGLES));
    let ends = statement
        || line.ends_with(['{', '}'])
        || line.ends_with("):")
        || line.ends_with("];")
        || line.ends_with("=> {");
    if ends && !ends_prose(line) {
        return Look::Code;
    }
    if begins(line, STARTS)
        && (called || line.contains(" = ") || ends || short)
        && !reads_as_prose(line)
    {
        return Look::Code;
    }
    if begins(line, QUERY_STARTS) {
        return Look::Code;
    }
    if is_header(line) || is_markup(line) || is_member(line) || is_shell(line) {
        return Look::Code;
    }
    if begins(line, QUERY_MORE)
        || is_assignment(line)
        || matches!(bytes[0], b')' | b'}' | b']')
        || line.starts_with("//")
        || line.starts_with("else")
        || line.starts_with("try:")
        || line.starts_with("# ")
        || line.starts_with("\"\"\"")
        || line.starts_with("-- ")
        || line.ends_with(';') && short
        || called && short && !line.ends_with(['.', '?', '!'])
    {
        return Look::Maybe;
    }
    Look::Prose
}

/// Prose ends in a semicolon too, and in a brace of LaTeX.
fn ends_prose(line: &str) -> bool {
    (line.ends_with(';') && reads_as_prose(line)) || (line.ends_with('}') && line.contains('\\'))
}

/// `if x:`, `for a in b:` and their like.
fn is_header(line: &str) -> bool {
    line.ends_with(':')
        && [
            "if ", "for ", "while ", "with ", "elif ", "except ", "def ", "class ",
        ]
        .iter()
        .any(|word| line.starts_with(word))
        && line.split_whitespace().nth(9).is_none()
        && (line.contains(['=', '(', '<', '>', '[', '.', '_'])
            || line.starts_with("for ") && line.contains(" in ")
            || line.split_whitespace().nth(3).is_none())
}

/// A line of a shell script.
fn is_shell(line: &str) -> bool {
    line.ends_with("; do")
        || line.ends_with("; then")
        || line.starts_with("$ ")
        || matches!(line, "done" | "fi" | "esac")
        || line.starts_with("echo ") && line.contains(['"', '$', '\''])
}

/// An element of HTML.
fn is_markup(line: &str) -> bool {
    line.ends_with('>')
        && line.starts_with('<')
        && line[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'))
        && !line.contains("> ")
}

/// A member of a JSON object.
fn is_member(line: &str) -> bool {
    line.starts_with('"') && line.contains("\":") && line.ends_with([',', '{', '[', '"', '}', ']'])
        || line.starts_with("{\"")
}

/// `name = …`, `a.b[c] += …`.
fn is_assignment(line: &str) -> bool {
    let name = line
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_.[]\"'".contains(byte))
        .count();
    let rest = line[name..].trim_start();
    let sign = rest.trim_start_matches(['+', '-', '*', '/', '|', '&', ':', '%']);
    name > 0
        && rest.len() - sign.len() <= 1
        && sign.strip_prefix('=').is_some_and(|value| {
            !value.starts_with('=') && !value.trim().is_empty() && !reads_as_prose(value)
        })
}
