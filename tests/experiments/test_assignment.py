"""The draw is the documented one, respects the weights, and moves as few users as it can."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.experiments.assignment import Draw

PREFIX = "cascadeflow experiment 1"
USERS = [f"user-{number}" for number in range(20_000)]


def by_the_book(
    experiment: str, weights: list[tuple[str, float]], share: float, kind: str, who: str
) -> tuple[str, str] | None:
    """The documented rule, written out slowly."""

    def digest(*parts: str) -> int:
        text = "\0".join((PREFIX, experiment, *parts))
        return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")

    whole = digest(kind + who)

    def number(purpose: str) -> float:
        return (((whole * (digest("", purpose) | 1)) % 2**256 // 2**204) + 0.5) / 2**52

    if number("share") >= share:
        return None
    scores = {name: -math.log(number(f"variant:{name}")) / weight for name, weight in weights}
    return f"{whole:064x}"[:32], min(scores, key=scores.__getitem__)


EVEN = [("control", 1.0), ("treatment", 1.0)]
UNEVEN = [("small", 3.0), ("large", 1.0), ("larger", 0.5)]
VECTORS = [
    # experiment, weights, share; user, request; unit, variant
    (("checkout", EVEN, 1.0), ("ada", ""), ("10b0ca4244754d6385d5016e27547416", "control")),
    (("checkout", EVEN, 1.0), ("bob", ""), ("4d73a7be6a1affc2551fb87d4a85d0dc", "treatment")),
    (("checkout", EVEN, 1.0), ("Åse", ""), ("26f1f0d3d5217e599507d575bb75bb5a", "control")),
    (("checkout", EVEN, 1.0), (None, "r1"), ("2e8b5a0c35abed3894929122b9d6c117", "treatment")),
    (("models", UNEVEN, 0.5), ("ada", ""), ("a6fdc6579d16c11e46085fa6caeacbf7", "small")),
    (("models", UNEVEN, 0.5), ("bob", ""), ("be2d214341bb8ec333f04b14ef51692f", "large")),
    (("models", UNEVEN, 0.5), ("cyd", ""), None),
]


@pytest.mark.parametrize(("experiment", "who", "expected"), VECTORS)
def test_the_documented_vectors_hold(
    experiment: tuple[str, list[tuple[str, float]], float],
    who: tuple[str | None, str],
    expected: tuple[str, str] | None,
) -> None:
    name, weights, share = experiment
    drawn = Draw(name, weights, share=share).of(*who)
    assert (drawn and (drawn[0].hex(), drawn[1])) == expected


def test_the_vectors_are_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    for _, _, expected in VECTORS:
        assert expected is None or expected[0] in page


@given(
    st.text(max_size=8),
    st.lists(
        st.tuples(st.text("abcd é", min_size=1, max_size=4), st.floats(0.01, 100)),
        min_size=1,
        max_size=5,
        unique_by=lambda each: each[0],
    ),
    st.floats(0.01, 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    st.booleans(),
)
def test_the_draw_is_the_rule_that_the_page_states(
    name: str, weights: list[tuple[str, float]], share: float, who: str, anonymous: bool
) -> None:
    drawn = Draw(name, weights, share=share).of(None if anonymous else who, who)
    expected = by_the_book(name, weights, share, "r" if anonymous else "u", who)
    assert (drawn and (drawn[0].hex(), drawn[1])) == expected


def test_another_process_draws_the_same() -> None:
    code = (
        "from cascadeflow.experiments.assignment import Draw;"
        "d = Draw('x', [('a', 1.0), ('b', 2.0), ('c', 0.5)], share=0.7);"
        "print(''.join((d.of(f'u{n}', '') or (b'', '-'))[1] for n in range(300)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    draw = Draw("x", [("a", 1.0), ("b", 2.0), ("c", 0.5)], share=0.7)
    here = "".join((draw.of(f"u{n}", "") or (b"", "-"))[1] for n in range(300))
    assert here == there
    assert set(here) == set("abc-")


def drawn(weights: dict[str, float], share: float = 1.0) -> dict[str, str]:
    draw = Draw("x", list(weights.items()), share=share)
    found = {user: draw.of(user, "") for user in USERS}
    return {user: each[1] for user, each in found.items() if each is not None}


def test_variants_are_drawn_with_the_probability_of_their_weights() -> None:
    counts = Counter(drawn({"a": 1, "b": 2, "c": 5}).values())
    for name, weight in {"a": 1, "b": 2, "c": 5}.items():
        expected = len(USERS) * weight / 8
        assert abs(counts[name] - expected) < 4 * math.sqrt(expected)


def test_the_order_of_the_variants_does_not_count() -> None:
    assert drawn({"a": 1, "b": 2}) == drawn({"b": 2, "a": 1})
    assert drawn({"a": 1, "b": 1}) == drawn({"b": 3, "a": 3})


def test_two_experiments_draw_independently() -> None:
    other = Draw("y", [("a", 1.0), ("b", 1.0)])
    pairs = Counter(
        (name, (other.of(user, "") or (b"", ""))[1])
        for user, name in drawn({"a": 1, "b": 1}).items()
    )
    for count in pairs.values():
        assert abs(count - len(USERS) / 4) < 4 * math.sqrt(len(USERS) / 4)


def test_a_changed_weight_moves_users_to_or_from_that_variant_alone() -> None:
    before, after = drawn({"a": 1, "b": 1, "c": 1}), drawn({"a": 2, "b": 1, "c": 1})
    moved = {(before[user], after[user]) for user in USERS if before[user] != after[user]}
    assert moved == {("b", "a"), ("c", "a")}
    share = sum(before[user] != after[user] for user in USERS) / len(USERS)
    assert abs(share - (2 / 4 - 1 / 3)) < 0.012  # what no rule could undercut


def test_a_variant_that_is_added_or_taken_out_moves_nobody_else() -> None:
    before, after = drawn({"a": 1, "b": 1}), drawn({"a": 1, "b": 1, "c": 1})
    assert {after[user] for user in USERS if before[user] != after[user]} == {"c"}


def test_a_larger_share_brings_users_in_and_moves_nobody() -> None:
    some, more = drawn({"a": 1, "b": 1}, share=0.2), drawn({"a": 1, "b": 1}, share=0.5)
    assert some.items() <= more.items()
    assert abs(len(some) / len(USERS) - 0.2) < 0.012
    assert abs(len(more) / len(USERS) - 0.5) < 0.015


def test_a_user_and_a_request_of_the_same_name_are_two_units() -> None:
    draw = Draw("x", [("a", 1.0), ("b", 1.0)])
    units = {draw.of("same", "other"), draw.of(None, "same")}
    assert len({each[0] for each in units if each}) == 2


def test_a_name_with_half_a_character_is_drawn_too() -> None:
    assert Draw("x", [("a", 1.0)]).of("\ud800", "") is not None
