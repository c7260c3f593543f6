//! The languages whose code is parsed, and how a block names them.

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// JavaScript, with JSX.
    JavaScript,
    /// JSON.
    Json,
    /// Python 3, and 2.
    Python,
    /// SQL of any dialect.
    Sql,
}

impl Language {
    /// The language that the word behind an opening fence names, if it is one of these.
    #[must_use]
    pub fn of_fence(info: &str) -> Option<Self> {
        let end = info
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '+' | '#' | '.' | '-')))
            .unwrap_or(info.len());
        Self::named(&info[..end].to_ascii_lowercase())
    }

    /// The language with this name, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "javascript" | "js" | "jsx" | "node" | "nodejs" | "mjs" => Self::JavaScript,
            "json" => Self::Json,
            "python" | "py" | "python3" | "py3" => Self::Python,
            "sql" | "mysql" | "postgresql" | "postgres" | "sqlite" | "mssql" | "bigquery"
            | "snowflake" => Self::Sql,
            _ => return None,
        })
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "JavaScript",
            Self::Json => "JSON",
            Self::Python => "Python",
            Self::Sql => "SQL",
        }
    }
}
