//! What a character is to `OpenAI`'s patterns, as the regex engine that tiktoken was built with says.
//!
//! The table is compiled by `tools/compile_character_classes.py`, which asks that engine about
//! every character, and is compared with it again by the Python tests.

/// `\p{L}`
pub(super) const LETTER: u8 = 1;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
pub(super) const UPPER: u8 = 2;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
pub(super) const LOWER: u8 = 4;
/// `\p{N}`
pub(super) const NUMBER: u8 = 8;
/// `\s`
pub(super) const SPACE: u8 = 16;
/// `[\r\n]`, which are `SPACE` too
pub(super) const NEWLINE: u8 = 32;
/// `[^\s\p{L}\p{N}]`
pub(super) const SYMBOL: u8 = 64;

const BLOCK: usize = 128;
const BLOCKS: usize = 0x11_0000 / BLOCK;

static TABLE: &[u8; 38_272] = include_bytes!("../../data/character_classes.bin");

/// Gives the flags of the character that starts at `at`, and its length in bytes; no flags and no
/// length where the text is over.
///
/// `text` is UTF-8 and `at` a character's boundary.
#[inline]
pub(super) fn class_at(text: &[u8], at: usize) -> (u8, usize) {
    match text.get(at) {
        // The first block is that of the first 128 code points.
        Some(&byte) if byte < 0x80 => (TABLE[BLOCKS + usize::from(byte)], 1),
        Some(&lead) => class_of_multibyte(text, at, lead),
        None => (0, 0),
    }
}

/// The end of the run of characters from `at` on that have one of the flags.
#[inline]
pub(super) fn run(text: &[u8], mut at: usize, flags: u8) -> usize {
    loop {
        let (class, length) = class_at(text, at);
        if class & flags == 0 {
            return at;
        }
        at += length;
    }
}

#[inline(never)]
fn class_of_multibyte(text: &[u8], at: usize, lead: u8) -> (u8, usize) {
    let low_bits = |offset: usize| {
        text.get(at + offset)
            .map_or(0, |&byte| usize::from(byte & 0x3F))
    };
    let lead = usize::from(lead);
    let (code_point, length) = if lead < 0xE0 {
        ((lead & 0x1F) << 6 | low_bits(1), 2)
    } else if lead < 0xF0 {
        ((lead & 0x0F) << 12 | low_bits(1) << 6 | low_bits(2), 3)
    } else {
        (
            (lead & 0x07) << 18 | low_bits(1) << 12 | low_bits(2) << 6 | low_bits(3),
            4,
        )
    };
    let block = usize::from(TABLE[code_point / BLOCK]);
    (TABLE[BLOCKS + block * BLOCK + code_point % BLOCK], length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_measured_as_its_utf8_length_and_the_first_block_is_ascii() {
        assert_eq!(TABLE[0], 0);
        for character in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer).as_bytes();
            let (flags, length) = class_at(text, 0);
            assert_eq!(length, text.len());
            assert!(flags & NEWLINE == 0 || flags & SPACE != 0);
            // Each character is one of these four.
            assert_eq!((flags & (LETTER | NUMBER | SPACE | SYMBOL)).count_ones(), 1);
        }
        assert_eq!(class_at(b"", 0), (0, 0));
    }

    #[test]
    fn known_characters_have_their_classes() {
        let flags = |character: char| class_at(character.encode_utf8(&mut [0; 4]).as_bytes(), 0).0;
        assert_eq!(flags('A'), LETTER | UPPER);
        assert_eq!(flags('z'), LETTER | LOWER);
        assert_eq!(flags('ǅ'), LETTER | UPPER);
        assert_eq!(flags('漢'), LETTER | UPPER | LOWER);
        assert_eq!(flags('\u{301}'), UPPER | LOWER | SYMBOL);
        assert_eq!(flags('7'), NUMBER);
        assert_eq!(flags('Ⅷ'), NUMBER);
        assert_eq!(flags('\u{3000}'), SPACE);
        assert_eq!(flags('\n'), SPACE | NEWLINE);
        assert_eq!(flags('!'), SYMBOL);
        assert_eq!(flags('\u{10FFFF}'), SYMBOL);
    }
}
