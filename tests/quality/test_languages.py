"""The guess at a text's language, against counting everything one by one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.quality import languages
from cascadeflow.quality.languages import guessed_language

COMMON = {name: words.split() for name, words in languages._COMMON.items()}
SCRIPTS = languages._SCRIPTS


def counted_one_by_one(text: str) -> str | None:
    text = text[:2_000]
    letters = sum(character.isalpha() for character in text)
    for name, first, last in SCRIPTS:
        held = sum(first <= character <= last for character in text)
        if letters and held * (5 if name == "ja" else 2) > letters:
            return name
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = {name: sum(word in common for word in words) for name, common in COMMON.items()}
    best = max(counts, key=counts.__getitem__)
    second = max(counts[name] for name in counts if name != best)
    return best if counts[best] >= 3 and counts[best] >= 2 * second else None


WORDS = st.sampled_from(sorted({word for words in COMMON.values() for word in words}))
OF_ONE = st.sampled_from(sorted(COMMON)).flatmap(
    lambda name: st.lists(st.sampled_from(COMMON[name]), max_size=12)
)
LETTERS = [st.characters(min_codepoint=ord(a), max_codepoint=ord(b)) for _, a, b in SCRIPTS]
IN_SCRIPT = st.one_of([st.text(each, max_size=12) for each in LETTERS])
ANY = st.one_of(WORDS, OF_ONE.map(" ".join), IN_SCRIPT, st.text(max_size=8))


@given(st.lists(ANY, max_size=12).map(" ".join))
def test_it_is_the_language_that_counting_one_by_one_gives(text: str) -> None:
    assert guessed_language(text) == counted_one_by_one(text)


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    german = "der Hund und die Katze sind nicht das was sie von sich denken "
    english = "the dog and the cat are not what they think of this "
    assert guessed_language(german * 40 + english * 400) == "de"
    assert guessed_language(" " * 2_000 + german) is None
