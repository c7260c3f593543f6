from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import Vectors
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.domains.semantic import HEAD, SemanticHead, read_head
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NUMBERS = st.floats(-1, 1, width=32)


def halves(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}e", *numbers)


def header(**changes: Any) -> dict[str, Any]:
    return {
        "format": 2,
        "model": "tiny",
        "domains": ["code", "general"],
        "threshold": 0.6,
        "also": 0.3,
        "evidence": ["words"],
        "dimension": 2,
        "layered": 3,
        "hidden": 1,
        "examples": [["fix my code", "code"], ["hello " * 40, "general"]],
    } | changes


# One hidden number, 4x + z + 2·words - 1; `code` gets it, `general` gets 1.
MATRICES = (
    halves(4, 0, 1) + halves(2) + halves(-1) + halves(1, 0) + halves(0, 1) + bytes([127, 0, 0, 127])
)


def written(path: Path, numbers: bytes = MATRICES, **changes: Any) -> Path:
    file = path / "head.bin"
    file.write_bytes(json.dumps(header(**changes)).encode() + b"\n" + numbers)
    return file


@pytest.fixture
def tiny(tmp_path: Path) -> SemanticHead:
    return read_head(written(tmp_path))


def unit(x: float, y: float, inner: float = 0.0) -> Vectors:
    """A sentence's vector of length one, with its inner layer's of one number behind it."""
    length = math.hypot(x, y)
    return Vectors([[x / length, y / length, inner]])


def test_the_probabilities_are_the_softmax_of_the_network(tiny: SemanticHead) -> None:
    code, general = tiny.probabilities(unit(1, 0), [0.5])
    assert code == pytest.approx(math.exp(4) / (math.exp(4) + math.exp(1)))
    assert general == pytest.approx(1 - code)


def test_the_inner_layer_moves_the_probabilities(tiny: SemanticHead) -> None:
    assert tiny.probabilities(unit(1, 0, 1), [0.0])[0] > tiny.probabilities(unit(1, 0), [0.0])[0]


def test_a_negative_sum_counts_as_nothing(tiny: SemanticHead) -> None:
    code, _ = tiny.probabilities(unit(-1, 0), [0.0])
    assert code == pytest.approx(1 / (1 + math.e))


def test_evidence_moves_the_probabilities(tiny: SemanticHead) -> None:
    vector = unit(0.3, 1)
    assert tiny.probabilities(vector, [1.0])[0] > tiny.probabilities(vector, [0.0])[0]


def test_the_report_names_the_likeliest_first_with_its_nearest_examples(tiny: SemanticHead) -> None:
    report = tiny.report(unit(1, 0.1), [0.0], ms=3.5)
    assert [name for name, _ in report.probabilities] == ["code", "general"]
    assert (report.layer, report.answered, report.threshold, report.ms) == (
        "semantic",
        True,
        0.6,
        3.5,
    )
    nearest = report.evidence[0]
    assert (nearest.what, nearest.domain) == ("fix my code", "code")
    assert nearest.weight == pytest.approx(1 / math.sqrt(1.01), abs=1e-4)


def test_below_the_threshold_it_does_not_answer(tiny: SemanticHead) -> None:
    # 4 · 0.5 - 1 is what `general` has too: neither is likelier.
    report = tiny.report(unit(0.5, math.sqrt(0.75)), [0.0])
    assert report.probabilities[0][1] == pytest.approx(0.5, abs=1e-3)
    assert not report.answered


def test_long_examples_are_cut(tiny: SemanticHead) -> None:
    (nearest,) = tiny.nearest(unit(0, 1), 1)
    assert len(nearest.what) == 80
    assert nearest.what.endswith("…")


def test_the_nearest_are_told_by_the_sentences_vector_alone(tiny: SemanticHead) -> None:
    assert tiny.nearest(unit(1, 0.1, 9)) == tiny.nearest(Vectors([[1, 0.1]]).normalised())


@pytest.mark.parametrize("evidence", [[], [1.0, 2.0]])
def test_evidence_of_another_length_is_refused(
    tiny: SemanticHead, evidence: Sequence[float]
) -> None:
    with pytest.raises(ValueError, match="fitted on 1"):
        tiny.probabilities(unit(1, 0), evidence)


def test_one_vector_at_a_time(tiny: SemanticHead) -> None:
    with pytest.raises(ValueError, match="not 2"):
        tiny.probabilities(Vectors([[1, 0, 0], [0, 1, 0]]), [0.0])


def test_a_vector_of_another_dimension_is_refused(tiny: SemanticHead) -> None:
    with pytest.raises(InvalidRequestError):
        tiny.probabilities(Vectors([[1, 0, 0, 0]]), [0.0])


@pytest.mark.parametrize("cut", [1, 4, len(MATRICES)])
def test_a_file_cut_short_says_that_it_is_damaged(tmp_path: Path, cut: int) -> None:
    with pytest.raises(ConfigurationError, match="damaged"):
        read_head(written(tmp_path, MATRICES[:-cut]))


def test_a_file_with_more_than_it_announces_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="1 bytes more"):
        read_head(written(tmp_path, MATRICES + b"\0"))


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="format 3"):
        read_head(written(tmp_path, format=3))


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"[]\n", b"{}\n"])
def test_what_is_no_head_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "head.bin"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError):
        read_head(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_head(tmp_path / "nowhere.bin")


def test_the_shipped_head_knows_the_built_in_domains_and_the_rules_evidence() -> None:
    head = SemanticHead.builtin()
    assert set(head.domains) == DOMAINS
    assert head.evidence_names == RuleLayer.builtin().evidence_names
    assert 0.0 < head.also < 1.0
    assert 0.0 < head.threshold < 1.0
    assert head is SemanticHead.builtin()


def test_the_shipped_examples_cover_every_domain() -> None:
    shown = SemanticHead.builtin().nearest(Vectors([[0.05] * 384]), 10_000)
    assert {each.domain for each in shown} == DOMAINS
    assert len(shown) > 200


def test_the_shipped_card_stands_beside_it() -> None:
    card = HEAD.with_name("CARD.md").read_text(encoding="utf-8")
    for needed in ("Training data", "licence", "unseen_source", "Limits"):
        assert needed in card


@settings(max_examples=30, deadline=None)
@given(st.lists(NUMBERS, min_size=4, max_size=4).filter(any), st.text(max_size=60))
def test_the_shipped_head_gives_probabilities_whatever_the_vector(
    part: list[float], text: str
) -> None:
    head = SemanticHead.builtin()
    numbers = part * 192
    shares = head.probabilities(Vectors([numbers]).normalised(), RuleLayer.builtin().evidence(text))
    assert len(shares) == len(head.domains)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert sum(shares) == pytest.approx(1.0)
