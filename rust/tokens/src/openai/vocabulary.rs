//! `OpenAI`'s vocabularies: unpacked on first use, then shared by all threads.

use once_cell::race::OnceBox;

use super::merge::Merger;
use super::split::{cl100k, o200k};
use super::table::RankTable;

// Two threads that come first at once both unpack, and one result is dropped. No one ever waits, so
// that a process forked from a third thread at that moment cannot wait for ever.
static CL100K: OnceBox<Vocabulary> = OnceBox::new();
static O200K: OnceBox<Vocabulary> = OnceBox::new();

#[derive(Clone, Copy)]
enum Pattern {
    Cl100k,
    O200k,
}

/// One of `OpenAI`'s vocabularies, exact as tiktoken's `encode_ordinary`: the name of a special token
/// is text like any other.
///
/// ```
/// use cascadeflow_tokens::Vocabulary;
///
/// assert_eq!(Vocabulary::o200k_base().count("Hello, world!"), 4);
/// assert_eq!(Vocabulary::cl100k_base().encode("Hello"), [9906]);
/// ```
pub struct Vocabulary {
    name: &'static str,
    pattern: Pattern,
    ranks: RankTable,
}

impl Vocabulary {
    /// The vocabulary of GPT-4 and GPT-3.5; the first call unpacks it, in milliseconds.
    pub fn cl100k_base() -> &'static Self {
        static PACKED: &[u8] = include_bytes!("../../data/cl100k_base.merges");
        CL100K.get_or_init(|| Box::new(Self::unpack("cl100k_base", Pattern::Cl100k, PACKED)))
    }

    /// The vocabulary of GPT-4o and all later models; the first call unpacks it, in milliseconds.
    pub fn o200k_base() -> &'static Self {
        static PACKED: &[u8] = include_bytes!("../../data/o200k_base.merges");
        O200K.get_or_init(|| Box::new(Self::unpack("o200k_base", Pattern::O200k, PACKED)))
    }

    /// The vocabulary of a name in tiktoken's words, if it is one of these two.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        match name {
            "cl100k_base" => Some(Self::cl100k_base()),
            "o200k_base" => Some(Self::o200k_base()),
            _ => None,
        }
    }

    /// Its name in tiktoken's words.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Counts the tokens of a text.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        let mut count = 0;
        match self.pattern {
            Pattern::Cl100k => self.cut(text.as_bytes(), cl100k, |_, _| count += 1),
            Pattern::O200k => self.cut(text.as_bytes(), o200k, |_, _| count += 1),
        }
        count
    }

    /// Gives the tokens of a text.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = text.as_bytes();
        let mut tokens = Vec::new();
        // Each token is one of the vocabulary, so that its rank is found.
        let push = |start, end| tokens.extend(self.ranks.rank(text, start, end));
        match self.pattern {
            Pattern::Cl100k => self.cut(text, cl100k, push),
            Pattern::O200k => self.cut(text, o200k, push),
        }
        tokens
    }

    /// Gives the bytes of every token, in the order of their ranks.
    #[must_use]
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.ranks.len()).map(|rank| self.ranks.token(rank))
    }

    #[cfg(test)]
    pub(super) fn ranks(&self) -> &RankTable {
        &self.ranks
    }

    /// Calls `token` with the start and end of each token.
    #[inline]
    fn cut(
        &self,
        text: &[u8],
        next_piece: impl Fn(&[u8], usize) -> usize,
        mut token: impl FnMut(usize, usize),
    ) {
        let mut merger = Merger::new(&self.ranks, text);
        let mut start = 0;
        while start < text.len() {
            let end = next_piece(text, start);
            if self.ranks.rank(text, start, end).is_some() {
                token(start, end);
            } else {
                merger.merge(start, end, &mut token);
            }
            start = end;
        }
    }

    fn unpack(name: &'static str, pattern: Pattern, packed: &[u8]) -> Self {
        Self {
            name,
            pattern,
            ranks: RankTable::unpack(packed),
        }
    }
}
