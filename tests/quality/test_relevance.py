"""An answer to another question is told from one to this question, whatever the texts."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import RELEVANCE_MEASURES, relevance_measures
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import RequestVectors
from cascadeflow.quality.relevance import HEAD, Relevance, RelevanceHead, read_relevance_head

if TYPE_CHECKING:
    from types import ModuleType

    from cascadeflow.quality.findings import Finding


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

THRESHOLD = 0.3

PAIRS = [
    (
        "How do I keep basil alive in a pot over the winter?",
        "Keep the basil on a sunny windowsill, water it sparingly, and pinch off its flowers.",
    ),
    (
        "A box holds 12 eggs. How many eggs are in 7 boxes?",
        "Each box holds 12 eggs, so 7 boxes hold 7 * 12 = 84 eggs.",
    ),
    (
        "What causes the northern lights?",
        "Particles from the sun make the upper air glow near the poles: the northern lights.",
    ),
    (
        "Wie wechsle ich einen Fahrradschlauch?",
        "Hebe den Mantel vom Rad, tausche den Schlauch aus und pumpe ihn wieder auf.",
    ),
]


def check(question: str, answer: str, vectors: RequestVectors | None = None) -> Finding:
    held = vectors or local.request()
    return asyncio.run(Relevance().check(question, answer, held, threshold=THRESHOLD))


@pytest.mark.parametrize("at", range(len(PAIRS)))
def test_the_answer_to_the_question_passes_and_all_others_fail(at: int) -> None:
    question, answer = PAIRS[at]
    right = check(question, answer)
    assert not right.failed, right
    assert right.reason == ""
    for place, (_, other) in enumerate(PAIRS):
        if place != at and "Rad" not in question + other:
            wrong = check(question, other)
            assert wrong.failed, (question, other, wrong)
            assert wrong.score < right.score
            assert "likeness" in wrong.reason


def test_the_threshold_decides() -> None:
    question, answer = PAIRS[0]
    strict = asyncio.run(Relevance().check(question, answer, local.request(), threshold=1.1))
    assert strict.failed


def test_the_numbers_behind_the_score_are_told() -> None:
    found = check(*PAIRS[1])
    assert set(RELEVANCE_MEASURES) < set(found.detail)
    assert found.detail["question's numbers in the answer"] == 1.0


def test_a_translation_cannot_be_compared() -> None:
    found = check(
        "Translate into German: the meeting of the board was moved to the end of the week.",
        "Die Sitzung des Vorstands wurde auf das Ende der Woche verschoben und ist geheim.",
    )
    assert (found.applicable, found.failed, found.score) == (False, False, 1.0)


@pytest.mark.parametrize(
    ("question", "answer"), [("", "Paris"), ("Why?", " \n"), ("?!", "yes"), ("hi", "…")]
)
def test_where_a_text_says_nothing_there_is_nothing_to_judge(question: str, answer: str) -> None:
    assert not check(question, answer, RequestVectors(local.Broken())).applicable


def test_a_failing_model_raises_instead_of_passing() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        check("What is it?", "It is that.", RequestVectors(local.Broken()))


def test_vectors_of_another_model_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="fitted on the vectors of all-MiniLM"):
        check("What is it?", "That.", RequestVectors(local.Stranger("another")))


@settings(max_examples=60)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_texts_have_a_score(question: str, answer: str) -> None:
    found = check(question, answer, RequestVectors(local.Stranger()))
    assert 0.0 <= found.score <= 1.0
    assert found.failed == (found.score < THRESHOLD)


@pytest.mark.parametrize(
    "text", ["Why? " * 200_000, "x" * 1_000_000, "何" * 300_000, "\ud83d alone"]
)
def test_megabytes_and_broken_text_do_no_harm(text: str) -> None:
    stranger = local.Stranger()
    for question, answer in ((text, "An answer."), ("A question?", text)):
        assert 0.0 <= check(question, answer, RequestVectors(stranger)).score <= 1.0
    assert max(map(len, stranger.asked)) <= 4_000


def test_measures_of_a_text_with_itself_are_full() -> None:
    found = dict(zip(RELEVANCE_MEASURES, relevance_measures(*[PAIRS[0][0]] * 2), strict=True))
    assert found["question's words in the answer"] == 1.0
    assert found["other script"] == 0.0


def test_a_head_that_weighs_what_is_not_counted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.bin"
    line, _, numbers = HEAD.read_bytes().partition(b"\n")
    head = json.loads(line)

    def write(changed: dict[str, object], numbers: bytes) -> None:
        path.write_bytes(json.dumps(head | changed).encode() + b"\n" + numbers)

    write({"weights": {"charm": 1.0}}, numbers)
    with pytest.raises(ConfigurationError, match="damaged"):
        read_relevance_head(path)
    write({"weights": {"other script": float("nan")}}, numbers)
    with pytest.raises(ConfigurationError, match="not finite"):
        read_relevance_head(path)
    write({}, b"\x00\x7e" + numbers[2:])
    with pytest.raises(ConfigurationError, match="not finite"):
        read_relevance_head(path)
    write({}, numbers[:-2])
    with pytest.raises(ConfigurationError, match="too few"):
        read_relevance_head(path)


def test_a_head_of_ones_own_is_used(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    stranger = local.Stranger("mine")
    head = {"format": 2, "model": "mine", "weights": {}, "bias": 0.0, "products": 0}
    path.write_text(json.dumps(head) + "\n")
    with pytest.raises(ConfigurationError, match="0 numbers a vector"):
        asyncio.run(
            Relevance(read_relevance_head(path)).check(
                "Why so?", "Because.", RequestVectors(stranger), threshold=0.4
            )
        )
    width = 2 * stranger.dimension
    head["products"] = width
    path.write_bytes(json.dumps(head).encode() + b"\n" + bytes(2 * width))
    vectors = RequestVectors(stranger)
    own = Relevance(read_relevance_head(path))
    assert asyncio.run(own.check("Why so?", "Because.", vectors, threshold=0.4)).score == 0.5


def test_the_shipped_head_has_its_card() -> None:
    assert RelevanceHead.builtin() is RelevanceHead.builtin()
    card = HEAD.with_name("RELEVANCE.md").read_text(encoding="utf-8")
    for needed in ("Training data", "licence", "LLMBar", "GSM8K", "Limits"):
        assert needed in card
