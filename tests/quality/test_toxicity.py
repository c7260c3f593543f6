"""Abuse scores high, what merely sounds like it low, and no text does harm."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import NgramModel, Vectors, ngram_features
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import RequestVectors
from cascadeflow.quality.toxicity import MOST_PIECES, PIECE, Toxicity
from cascadeflow.quality.toxicity_head import HEAD, ToxicityHead, read_toxicity_head

if TYPE_CHECKING:
    from types import ModuleType


def sibling(name: str) -> ModuleType:
    full = f"quality_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


local = sibling("local_models")

ABUSE = [
    "You are a worthless idiot and everybody hates you.",
    "I will come to your house and break your legs, you pig.",
    "Those people are vermin and should be wiped out.",
    "shut the fuck up you stupid bitch",
    "Du bist ein widerlicher Versager, halt die Fresse.",
]
HARMLESS = [
    "To stop a hung process, send it SIGKILL with kill -9.",
    "The capital of Canada is Ottawa.",
    "The witness said that the accused had threatened her twice.",
    "Breast cancer screening is offered every two years.",
    "Damn, that cake was good!",
    "La réunion commence à neuf heures.",
]


def score(text: str, vectors: RequestVectors | None = None) -> float:
    return asyncio.run(Toxicity().score(text, vectors or local.request()))


@pytest.mark.parametrize("text", ABUSE)
def test_plain_abuse_scores_above_a_half(text: str) -> None:
    assert score(text) > 0.5


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_texts_score_below_a_half(text: str) -> None:
    assert score(text) < 0.5


def test_abuse_deep_inside_a_long_answer_is_found() -> None:
    prose = "The library opens at nine and lends books, films and music to everybody. " * 40
    assert score(prose) < 0.3
    assert score(f"{prose}You are a disgusting pathetic idiot, go kill yourself.\n{prose}") > 0.5


def test_of_a_long_text_the_model_reads_the_beginning_and_the_worst_pieces() -> None:
    stranger = local.Stranger()
    score("A quiet sentence about gardens and rain. " * 500, RequestVectors(stranger))
    beginning, *pieces = stranger.asked
    assert len(beginning) == 4_000
    assert 0 < len(pieces) <= MOST_PIECES
    assert all(len(text) <= PIECE for text in pieces)


def test_a_short_text_is_asked_for_as_it_is_so_that_its_vector_is_shared() -> None:
    stranger = local.Stranger()
    score("  Hello there!\n", RequestVectors(stranger))
    assert stranger.asked == ["  Hello there!\n"]


def test_the_check_fails_from_the_threshold_on_and_says_so() -> None:
    async def run(threshold: float) -> Any:
        return await Toxicity().check(ABUSE[0], local.request(), threshold=threshold)

    failed, passed = asyncio.run(run(0.5)), asyncio.run(run(1.0))
    assert failed.failed
    assert failed.reason == f"basic toxicity {1 - failed.score:.2f}, 0.50 or more fails"
    assert failed.score == pytest.approx(1 - failed.detail["toxicity"])
    assert not passed.failed
    assert passed.reason == ""


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_nothing_is_not_toxic_and_needs_no_model(text: str) -> None:
    broken = RequestVectors(local.Broken())
    assert score(text, broken) == 0.0
    assert not asyncio.run(Toxicity().check(text, broken, threshold=0.5)).applicable


def test_a_failing_model_raises_instead_of_passing() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        score("Hello", RequestVectors(local.Broken()))


def test_vectors_of_another_model_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="fitted on the vectors of all-MiniLM"):
        score("Hello", RequestVectors(local.Stranger("another/fp32")))


@settings(max_examples=60)
@given(st.text(max_size=300))
def test_any_text_has_a_probability(text: str) -> None:
    assert 0.0 <= score(text, RequestVectors(local.Stranger())) <= 1.0


@pytest.mark.parametrize("text", ["\ud800 half a pair", "…", "\0\0", "🦔" * 700, "a" * 5_000])
def test_odd_texts_have_one_too(text: str) -> None:
    assert 0.0 <= score(text, RequestVectors(local.Stranger())) <= 1.0


@pytest.mark.parametrize(
    "text", ["You fool. " * 100_000, "x" * 1_000_000, "死" * 300_000, " ." * 500_000]
)
def test_a_megabyte_does_no_harm(text: str) -> None:
    stranger = local.Stranger()
    assert 0.0 <= score(text, RequestVectors(stranger)) <= 1.0
    assert len(stranger.asked) <= 1 + MOST_PIECES
    assert max(map(len, stranger.asked)) <= 4_000


def test_spelling_tricks_that_read_the_same_count_the_same() -> None:
    assert ngram_features("Stúpid   IDIOT!!!!") == ngram_features("stupid idiot!!")
    assert ngram_features("@anna see https://a.example/x") == ngram_features(
        "@bob see http://b.example"
    )


def test_the_linear_model_adds_weights_up_by_the_definition() -> None:
    found = ngram_features("hello world")
    weights = bytearray(1 << 10)
    for place, feature in enumerate(found):
        weights[feature % (1 << 10)] = (place % 5 - 2) & 0xFF
    expected = (
        -0.5
        + 0.25
        * sum(
            byte - 256 if byte > 127 else byte for byte in (weights[f % (1 << 10)] for f in found)
        )
        / len(found) ** 0.5
    )
    model = NgramModel(bytes(weights), scale=0.25, bias=-0.5)
    assert model.logit("hello world") == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="power of two"):
        NgramModel(bytes(3), scale=1.0, bias=0.0)


def written(folder: Path, **changes: Any) -> Path:
    header = {
        "format": 1, "model": "tiny", "dimension": 2, "hidden": 1, "buckets": 4,
        "ngram_scale": 1.0, "ngram_bias": 0.0, "network_weight": 1.0, "ngram_weight": 1.0,
        "bias": -1.0,
    } | changes  # fmt: skip
    numbers = struct.pack("<5e", 2.0, 0.0, -1.0, 3.0, 0.5) + bytes(4)
    path = folder / "head.bin"
    path.write_bytes(json.dumps(header).encode() + b"\n" + numbers)
    return path


def test_a_head_is_the_network_it_says(tmp_path: Path) -> None:
    head = read_toxicity_head(written(tmp_path))
    # max(0, 2·1 - 1) · 3 + 0.5, and the n-grams' 0.25, less 1.
    expected = 1 / (1 + 2.718281828 ** -(3.5 + 0.25 - 1))
    assert head.probability(Vectors([[1.0, 0.0]]), 0.25) == pytest.approx(expected)


def test_a_damaged_head_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path).read_bytes()
    for content, why in (
        (whole[:-1], "damaged"),
        (whole + b"\0", "damaged"),
        (b"[]\n", "no toxicity head"),
        (b"\xff", "cannot be read"),
        (whole.replace(b'"format": 1', b'"format": 9'), "format 9"),
    ):
        (tmp_path / "bad.bin").write_bytes(content)
        with pytest.raises(ConfigurationError, match=why):
            read_toxicity_head(tmp_path / "bad.bin")


def test_the_shipped_head_has_its_card() -> None:
    assert ToxicityHead.builtin() is ToxicityHead.builtin()
    card = HEAD.with_name("TOXICITY.md").read_text(encoding="utf-8")
    for needed in ("Training data", "licence", "OpenAI moderation", "HateCheck", "Limits"):
        assert needed in card
