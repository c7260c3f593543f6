//! `OpenAI`'s vocabularies: split by a pattern, then merge bytes by rank.

mod characters;
mod merge;
mod split;
mod table;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use vocabulary::Vocabulary;
