//! What no dialect of SQL takes: brackets and quotation marks that stay open, and clauses without what
//! they are about.

use super::grammar::Parsed;

/// Statements that every dialect has, by their first word; nothing is said of others.
const KNOWN: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE"];

/// Words of programs in SQL, which are not judged.
const PROCEDURAL: [&str; 10] = [
    "DELIMITER",
    "PROCEDURE",
    "FUNCTION",
    "TRIGGER",
    "DECLARE",
    "BEGIN",
    "LOOP",
    "CURSOR",
    "EXEC",
    "MATCH_RECOGNIZE",
];

/// What needs something behind it.
const OPENS: [&str; 14] = [
    "FROM", "JOIN", "WHERE", "HAVING", "ON", "AND", "OR", "BY", "INTO", "SET", "=", "<", ">", "<>",
];

/// What begins a clause, and cannot be what the clause before it is about.
const BEGINS: [&str; 6] = ["WHERE", "HAVING", "GROUP", "ORDER", "LIMIT", "FROM"];

/// A word in capitals or a mark, and where it stands.
struct Token {
    text: String,
    at: usize,
}

/// Reads a text as SQL.
pub(super) fn parse(text: &str) -> Parsed {
    let tokens = match tokens(text) {
        Ok(tokens) => tokens,
        Err(unknown_or_broken) => return unknown_or_broken,
    };
    if !tokens
        .first()
        .is_some_and(|first| KNOWN.contains(&first.text.as_str()))
        || tokens
            .iter()
            .any(|token| PROCEDURAL.contains(&token.text.as_str()))
    {
        return Parsed::Unknown;
    }
    let mut open: Vec<usize> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" => open.push(token.at),
            ")" if open.pop().is_none() => return Parsed::Broken(token.at),
            ";" if !open.is_empty() => return Parsed::Broken(token.at),
            _ => {}
        }
        let next = tokens
            .get(index + 1)
            .map_or(";", |following| following.text.as_str());
        if OPENS.contains(&token.text.as_str())
            && (matches!(next, ";" | ")") || BEGINS.contains(&next))
        {
            return Parsed::Broken(token.at);
        }
    }
    match open.first() {
        Some(at) => Parsed::Broken(*at),
        None => Parsed::Whole,
    }
}

/// Words, numbers and marks, without remarks; a literal or a quoted name is one token.
fn tokens(text: &str) -> Result<Vec<Token>, Parsed> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let first = byte(at);
        match first {
            b'-' if byte(at + 1) == b'-' => at = line_end(bytes, at),
            b'/' if byte(at + 1) == b'*' => {
                let end = text[at..].find("*/").ok_or(Parsed::Broken(start))?;
                at += end + 2;
            }
            // A remark of MySQL's, or an operator of PostgreSQL's; text that is quoted in its own way.
            b'#' | b'$' | b'\\' => return Err(Parsed::Unknown),
            b'\'' | b'"' | b'`' => {
                let end = bytes[at + 1..].iter().position(|other| *other == first);
                let inner = end.ok_or(Parsed::Broken(start))?;
                // A backslash escapes in some dialects and is a character in others.
                if bytes[at + 1..at + 1 + inner].contains(&b'\\') {
                    return Err(Parsed::Unknown);
                }
                at += inner + 2;
                push(&mut out, "''", start);
            }
            b'<' | b'>' | b'=' | b'!' => {
                while matches!(byte(at), b'<' | b'>' | b'=' | b'!') {
                    at += 1;
                }
                push(&mut out, &text[start..at], start);
            }
            _ if first.is_ascii_alphanumeric() || first == b'_' || first >= 0x80 => {
                while byte(at).is_ascii_alphanumeric() || byte(at) == b'_' || byte(at) >= 0x80 {
                    at += 1;
                }
                push(&mut out, &text[start..at], start);
            }
            _ if first.is_ascii_whitespace() => at += 1,
            _ => {
                at += 1;
                push(&mut out, &text[start..at], start);
            }
        }
    }
    Ok(out)
}

fn push(out: &mut Vec<Token>, text: &str, at: usize) {
    out.push(Token {
        text: text.to_ascii_uppercase(),
        at,
    });
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| at + length)
}
