//! Words that change what the numbers beside them mean.

use std::sync::LazyLock;

use crate::quality::words::{WordClasses, WordSet};

/// What a word does to arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It changes the value of a number beside it, or names a function.
    Scale,
    /// Behind it arithmetic is not that of the whole numbers.
    Odd,
    /// The same, and it scales as well.
    OddScale,
    /// It makes an equation an approximation, behind its sign.
    About,
    Of,
    Times,
    Plus,
    Minus,
    Equals,
    Percent,
    Base,
}

pub(super) static CLASSES: LazyLock<WordClasses<Class>> = LazyLock::new(|| {
    WordClasses::new(&[
        (
            Class::Scale,
            "dozen dozens hundred hundreds thousand thousands million millions billion billions \
             trillion trillions mil mille millones tausend millionen lakh crore half halves third \
             thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh sevenths \
             eighth eighths ninth ninths tenth tenths hundredth hundredths halb hälfte mitad \
             moitié double twice thrice triple doppelt doble squared cubed  log ln sin cos tan \
             sqrt root factorial choose power am pm pair pairs тысяч тысячи миллион половина",
        ),
        (
            Class::Odd,
            "modular binary hexadecimal octal xor bitwise clock o'clock hex concatenate \
             concatenation concatenated",
        ),
        (Class::OddScale, "mod modulo"),
        (Class::About, "approximately about roughly around approx"),
        (Class::Of, "of"),
        (Class::Times, "times"),
        (Class::Plus, "plus"),
        (Class::Minus, "minus"),
        (Class::Equals, "equals"),
        (Class::Percent, "percent"),
        (Class::Base, "base"),
    ])
});

/// The same in scripts without spaces: ten thousand, half, times …
pub(super) const SCALE_CHARACTERS: &str = "半倍分万萬亿億千百打十成余点割兆";

/// Words before a number that tie it to what was said before: `the product of 3 and 4 + 2`.
pub(super) static LEADS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "and by from to than with between over into or und et y e von de di da mit aus avec con \
         com van en och og ja ile и на от из a",
    )
});

/// Units that others convert to, in the singular.
pub(super) static MEASURES: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "second sec minute min hour hr day week month year inch inche foot feet yard mile mm cm \
         meter metre km gram kg kilogram pound lb ounce oz cup pint quart gallon ml liter litre \
         cent dollar penny pennie nickel dime euro",
    )
});

/// Words that say an equation is not meant to hold.
pub(super) static DISPUTES: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new("not suppose assume imagine instead isn't doesn't can't cannot nicht")
});
