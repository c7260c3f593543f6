//! What makes a block no program although it is good: placeholders, prompts, diffs, output, pieces.

use super::language::Language;

/// First words of a command line, in a block that names another language.
const COMMANDS: [&str; 30] = [
    "pip", "pip3", "python", "python3", "npm", "npx", "yarn", "pnpm", "conda", "apt", "apt-get",
    "sudo", "cd", "git", "docker", "curl", "wget", "brew", "uv", "cargo", "node", "javac", "java",
    "gcc", "make", "mkdir", "rustc", "go", "mvn", "tsc",
];

/// First words of the rest of a statement.
const CONTINUES: [&str; 12] = [
    "else", "elif", "except", "finally", "catch", "case", "default", "}", ")", "]", ",", ".",
];

/// Beginnings of lines that no program has: prompts, notebooks, tracebacks, hunks.
const PROMPTS: [&str; 14] = [
    ">>>",
    "$ ",
    "In [",
    "Out[",
    "> ",
    "PS ",
    "%",
    "!",
    "@@",
    "Traceback (",
    "C:\\",
    "mysql>",
    "sqlite>",
    "irb",
];

/// Marks of TypeScript and Flow, which are shown in blocks of JavaScript too.
const TYPES: [&str; 16] = [
    ": string",
    ": number",
    ": boolean",
    ": any",
    ": void",
    ": unknown",
    ": Promise<",
    "interface ",
    "type ",
    "enum ",
    "implements ",
    "readonly ",
    "public ",
    "private ",
    " as ",
    "@Component",
];

/// Whether a block that does not parse may be meant as it stands.
pub(super) fn excused(language: Language, text: &str) -> bool {
    let placeholder = text.contains("...")
        || text.contains('…')
        || text.contains("{{")
        || text.contains("{%")
        || text.contains("YOUR_")
        || text.contains("[your")
        || text.contains("&lt;")
        || text.contains("&quot;")
        || text.contains("\\_")
        || in_angles(text);
    let typed = language == Language::JavaScript && TYPES.iter().any(|mark| text.contains(mark));
    if placeholder || typed {
        return true;
    }
    // Remarks and documentation may say anything.
    let text = &without_remarks(language, text);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let Some(first) = lines.clone().next().map(str::trim) else {
        return true;
    };
    let last = lines.clone().next_back().map_or("", str::trim);
    let count = lines.clone().take(4).count();
    let word = first
        .split(|c: char| c.is_whitespace())
        .next()
        .unwrap_or_default();
    let lead = |list: &[&str]| {
        list.iter().any(|known| {
            let rest = first.strip_prefix(known);
            let letters = known.starts_with(char::is_alphabetic);
            rest.is_some_and(|rest| {
                !letters || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
    };
    // The head of something, shown alone.
    let head = count <= 3 && last.ends_with([':', '{', '(', ',', '\\']) || last.starts_with('@');
    let signs = |sign: char| {
        lines
            .clone()
            .filter(|line| line.starts_with(sign) && !line.starts_with("--"))
            .count()
    };
    // “'a' + 'b' = 'ab'” explains.
    let equation = language != Language::Sql && count == 1 && first.contains(" = ");
    equation
        || COMMANDS.contains(&word)
        || lead(&CONTINUES)
        || head
        || signs('+') + signs('-') >= 2
        || lines.any(|line| {
            let line = line.trim_start();
            PROMPTS.iter().any(|prompt| line.starts_with(prompt)) || is_prose(language, line)
        })
}

/// The text without documentation strings and block comments, the line breaks kept.
fn without_remarks(language: Language, text: &str) -> String {
    let (open, close) = match language {
        Language::Python => ("\"\"\"", "\"\"\""),
        _ => ("/*", "*/"),
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        out.push_str(&rest[..start]);
        let inner = &rest[start + open.len()..];
        let Some(end) = inner.find(close) else {
            out.push_str(&rest[start..]);
            return out;
        };
        rest = &inner[end + close.len()..];
    }
    out.push_str(rest);
    out
}

/// “<your key>”, “<table-name>”.
fn in_angles(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        let inner = &text[at + 1..];
        let end = inner
            .char_indices()
            .take(40)
            .find(|(_, c)| !(c.is_alphanumeric() || matches!(c, ' ' | '_' | '-')))
            .map_or(0, |(end, _)| end);
        inner[end..].starts_with('>')
            && inner[..end].contains([' ', '_', '-'])
            && !inner.starts_with(' ')
    })
}

/// A sentence in the middle of code. Queries read like one.
fn is_prose(language: Language, line: &str) -> bool {
    let marks = line.contains([
        '(', ')', '{', '}', '[', ']', '=', ';', '"', '\'', '#', '/', '`', '*', '_', '<',
    ]);
    language != Language::Sql && !marks && line.split_whitespace().count() >= 5
}
