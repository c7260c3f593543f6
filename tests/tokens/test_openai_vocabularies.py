"""Both vocabularies give tiktoken's tokens on every text."""

# ruff: noqa: RUF001 - ambiguous characters are what is tested

from __future__ import annotations

import hashlib
import sys
from itertools import product
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow import _native

if TYPE_CHECKING:
    from collections.abc import Iterable

    import tiktoken

# What the patterns treat each in its own way, and what only looks like it.
TRICKY = [
    *("'", "’", "s", "S", "ſ", "t", "T", "re", "RE", "Ve", "LL", "lL", "'d", "'M", "K", "ı", "İ"),
    *(" ", "  ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"),
    *("\u200b", "\u180e", "\ufeff", "/", "//", "!", "_", "-", "=", "\\", "\0", "\x7f", "�"),
    *(
        "a",
        "Z",
        "ab",
        "AB",
        "aB",
        "Ab",
        "é",
        "e\u0301",
        "\u0301",
        "ǅ",
        "ʰ",
        "ª",
        "ß",
        "ﬁ",
        "Ω",
        "я",
    ),
    *(
        "漢",
        "かな",
        "한",
        "ก",
        "ا",
        "א",
        "\u093f",
        "क",
        "0",
        "12",
        "345",
        "6789",
        "²",
        "Ⅷ",
        "٣",
        "½",
    ),
    *("😀", "👩‍👩‍👧", "🇩🇪", "\ud7ff", "\ue000", "\U000e0001", "\U0010ffff", "\u0378", "\U000323af"),
    *(
        "<|endoftext|>",
        "<|im_start|>",
        "<|fim_prefix|>",
        "https://x.y/z?q=1",
        "def f(x):\n\treturn x",
    ),
]


def assert_same(ours: _native.Vocabulary, oracle: tiktoken.Encoding, texts: Iterable[str]) -> None:
    for text in texts:
        expected = oracle.encode_ordinary(text)
        assert ours.encode(text) == expected, ascii(text)
        assert ours.count(text) == len(expected), ascii(text)


def test_the_packed_vocabulary_is_the_published_one(
    rebuilt_file: bytes, published_sha256: str
) -> None:
    assert hashlib.sha256(rebuilt_file).hexdigest() == published_sha256


@given(text=st.text(max_size=300))
def test_any_text(text: str, ours: _native.Vocabulary, oracle: tiktoken.Encoding) -> None:
    assert_same(ours, oracle, [text])


@given(parts=st.lists(st.sampled_from(TRICKY), max_size=30))
def test_any_sequence_of_what_is_tricky(
    parts: list[str], ours: _native.Vocabulary, oracle: tiktoken.Encoding
) -> None:
    assert_same(ours, oracle, ["".join(parts)])


@given(
    text=st.text(st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc"]), max_size=40),
    length=st.integers(1, 400),
)
def test_long_pieces_of_letters_and_marks(
    text: str, length: int, ours: _native.Vocabulary, oracle: tiktoken.Encoding
) -> None:
    assert_same(ours, oracle, [text * (length // (len(text) or 1))])


def test_every_two_and_three_of_what_is_tricky(
    ours: _native.Vocabulary, oracle: tiktoken.Encoding
) -> None:
    assert_same(ours, oracle, map("".join, product(TRICKY, repeat=2)))
    some = TRICKY[::3]
    assert_same(ours, oracle, map("".join, product(some, repeat=3)))


def assert_same_around(
    ours: _native.Vocabulary, oracle: tiktoken.Encoding, around: str, code_points: Iterable[int]
) -> None:
    texts = [around.format(chr(each)) for each in code_points if not 0xD800 <= each < 0xE000]
    for start in range(0, len(texts), 1000):
        # Many at once are faster; what stands between keeps them apart.
        joined = "\n\n.".join(texts[start : start + 1000])
        if ours.encode(joined) != oracle.encode_ordinary(joined):
            assert_same(ours, oracle, texts[start : start + 1000])
            pytest.fail("only together do these differ")


@pytest.mark.parametrize("around", ["{0}", "a{0}1{0}"])
def test_every_character_alone_and_beside_a_letter_and_a_digit(
    around: str, ours: _native.Vocabulary, oracle: tiktoken.Encoding
) -> None:
    assert_same_around(ours, oracle, around, range(sys.maxunicode + 1))


@pytest.mark.parametrize(
    "around", ["{0}A", "A{0}b", " {0}", "{0} ", "{0}\n", "'{0}", "!{0}", "\u0301{0}"]
)
def test_every_character_of_the_basic_plane_beside_others(
    around: str, ours: _native.Vocabulary, oracle: tiktoken.Encoding
) -> None:
    assert_same_around(ours, oracle, around, range(0x10000))


def test_natural_texts(ours: _native.Vocabulary, oracle: tiktoken.Encoding) -> None:
    assert_same(ours, oracle, topics.values())


@pytest.mark.parametrize("unit", ["a", " ", "\n", "ab", "=", "A", "漢", "\u0301", "0", "xyzzy "])
def test_long_runs(unit: str, ours: _native.Vocabulary, oracle: tiktoken.Encoding) -> None:
    assert_same(ours, oracle, [unit * 30_000, unit * 30_000 + "x", "." + unit * 30_001 + "\n"])


def test_halves_of_surrogate_pairs_are_joined_or_replaced_as_by_tiktoken(
    ours: _native.Vocabulary, oracle: tiktoken.Encoding
) -> None:
    assert_same(ours, oracle, ["\ud800", "a\udfffb", "\ud83d\ude00", "\ude00\ud83d", "x\ud83d"])


def test_names_of_special_tokens_are_text(ours: _native.Vocabulary) -> None:
    assert ours.count("<|endoftext|>") > 1


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="p50k_base"):
        _native.Vocabulary("p50k_base")
