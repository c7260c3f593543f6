"""Sentences that the documents do not say are found and quoted; documents are found in messages."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import GROUNDING_MEASURES, grounding_claims
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import RequestVectors
from cascadeflow.quality.grounding import HEAD, MOST_CHECKED, Grounding, GroundingHead, documents_of
from cascadeflow.quality.languages import guessed_language
from cascadeflow.types import Message

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

TEXT = (
    "The harbour bridge in Ostrand was closed on 4 June after inspectors found cracks in two "
    "girders. Mayor Lida Brandt said repairs would cost 12 million euros and take until October. "
    "Buses are diverted through the old town. Nobody was hurt."
)


def check(documents: list[str], answer: str, vectors: RequestVectors | None = None) -> Finding:
    held = vectors or local.request()
    return asyncio.run(Grounding().check(documents, answer, held, threshold=0.4))


@pytest.mark.parametrize(
    "answer",
    [
        "The harbour bridge in Ostrand was closed on 4 June.",
        "Mayor Lida Brandt said repairs would cost 12 million euros.",
        "Inspectors found cracks in two girders. Buses are diverted through the old town.",
        "12 million euros",
    ],
)
def test_what_the_document_says_is_supported(answer: str) -> None:
    found = check([TEXT], answer)
    assert not found.failed, found
    assert found.reason == ""


@pytest.mark.parametrize(
    ("answer", "quoted"),
    [
        ("Repairs would cost 95 million euros and take until March.", "95, March not there"),
        ("The airport tunnel collapsed in an earthquake.", "airport tunnel"),
        ("The bridge was closed on 4 June. Governor Otto Hansen resigned.", "Otto, Hansen"),
        ("17 people died", "17 not there"),
    ],
)
def test_what_it_does_not_say_is_quoted(answer: str, quoted: str) -> None:
    found = check([TEXT], answer)
    assert found.failed, found
    assert quoted in found.quoted
    assert quoted not in found.reason
    assert found.detail["unsupported"] >= 1


def test_the_worst_sentence_makes_the_score() -> None:
    good, bad = "Buses are diverted through the old town.", "Queen Mathilde opened 30 museums."
    alone = check([TEXT], bad).score
    both = check([TEXT], f"{good} {bad}")
    assert both.score == pytest.approx(alone)
    assert both.detail["sentences"] == 2
    assert good not in both.quoted


def test_any_of_several_documents_may_support_a_sentence() -> None:
    answer = "The ferry to Lund costs 9 crowns."
    assert check([TEXT], answer).failed
    assert not check([TEXT, "Since May the ferry to Lund costs 9 crowns a trip."], answer).failed


@pytest.mark.parametrize("answer", ["", " \n", "…"])
def test_without_text_or_documents_there_is_nothing_to_judge(answer: str) -> None:
    broken = RequestVectors(local.Broken())
    assert not check([TEXT], answer, broken).applicable
    assert not check([], "The bridge was closed.", broken).applicable


def test_an_answer_in_another_language_is_not_judged() -> None:
    answer = "Die Brücke wurde am 4. Juni für den Verkehr gesperrt, und die Busse fahren nicht."
    assert not check([TEXT], answer).applicable


def test_a_failing_model_raises_instead_of_passing() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        check([TEXT], "The bridge is open.", RequestVectors(local.Broken()))
    with pytest.raises(ConfigurationError, match="fitted on the vectors of all-MiniLM"):
        check([TEXT], "The bridge is open.", RequestVectors(local.Stranger("another")))


def test_however_long_the_answer_the_model_reads_a_few_sentences() -> None:
    stranger = local.Stranger()
    answer = " ".join(f"Tower number {place} burned down in Gotham." for place in range(300))
    found = check([TEXT] * 3, answer, RequestVectors(stranger))
    assert found.detail["sentences"] == 300
    assert len(stranger.asked) <= 3 * MOST_CHECKED


@settings(max_examples=60)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_texts_have_a_score(document: str, answer: str) -> None:
    found = check([document], answer, RequestVectors(local.Stranger()))
    assert 0.0 <= found.score <= 1.0
    assert found.failed == (found.score < 0.4)
    assert bool(found.reason) == found.failed


@pytest.mark.parametrize(
    "text", ["The cat sat. " * 80_000, "x" * 1_000_000, "猫。" * 150_000, "\udc00 x y"]
)
def test_megabytes_and_broken_text_do_no_harm(text: str) -> None:
    for document, answer in ((text, "The cat sat there."), (TEXT, text), (text, text)):
        vectors = RequestVectors(local.Stranger())
        assert 0.0 <= check([document], answer, vectors).score <= 1.0


def test_claims_tell_what_is_missing_and_where_to_look() -> None:
    ((text, measures, nearest, missing),) = grounding_claims(
        [TEXT], "Repairs cost 13 million euros."
    )
    named = dict(zip(GROUNDING_MEASURES, measures, strict=True))
    assert text == "Repairs cost 13 million euros."
    assert named["numbers missing"] == 1.0
    assert nearest[0].startswith("Mayor Lida Brandt")
    assert missing == ["13"]


def test_documents_are_found_where_they_are_marked() -> None:
    long = "The council met on Tuesday and decided to build a pier. " * 8
    asked = [
        Message("system", f"Answer from the context.\nContext: {long}\nQuestion style: short"),
        Message("user", f'<document id="2">{TEXT}</document>\nWhen was the bridge closed?'),
        Message("assistant", "x" * 500),
        Message(
            "tool", '{"temperature": 21, "place": "Ostrand", "sky": "clear"}', tool_call_id="1"
        ),
    ]
    found = documents_of(asked)
    assert found[0].startswith("The council met")
    assert found[1:] == (TEXT, asked[3].text)


def test_a_long_text_counts_where_the_request_speaks_of_it() -> None:
    article = TEXT + " Shops near the bridge fear for their sales and ask the city for help." * 2
    assert documents_of([Message("user", f"Summarise this article.\n\n{article}")]) == (article,)
    assert documents_of([Message("user", f"Write about bridges.\n\n{article}")]) == ()
    assert documents_of([Message("user", article * 200)]) == (article * 200,)


@pytest.mark.parametrize(
    "wish",
    ["Translate the text into French.", "Write a reply to this e-mail.", "Rewrite it politely.",
     "Classify the text.", "Übersetze den Text."],
)  # fmt: skip
def test_there_are_none_where_the_answer_says_something_else(wish: str) -> None:
    assert documents_of([Message("user", f"{wish}\n\nText: {TEXT}")]) == ()


@pytest.mark.parametrize(
    "text", ["<text> " * 4_000, '"""' * 9_000, "\n" * 31_000, "Context:" * 3_000, ""]
)
def test_odd_messages_are_read_without_harm(text: str) -> None:
    assert isinstance(documents_of([Message("user", text)]), tuple)


@given(st.text(max_size=500))
def test_any_message_is_read(text: str) -> None:
    assert all(part.strip() for part in documents_of([Message("user", text)]))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The bridge was closed to all traffic for the rest of the year.", "en"),
        ("Die Brücke ist für den Rest des Jahres nicht für Autos geöffnet.", "de"),
        (
            "Le pont est fermé pour le reste de l'année et les bus passent par la vieille ville.",
            "fr",
        ),
        ("Мост закрыт до конца года.", "ru"),
        ("橋は年末まで閉鎖されています。", "ja"),
        ("def f(x): return x", None),
        ("", None),
    ],
)
def test_languages_are_guessed_or_left_open(text: str, language: str | None) -> None:
    assert guessed_language(text) == language


def test_the_shipped_head_has_its_card() -> None:
    assert GroundingHead.builtin() is GroundingHead.builtin()
    card = HEAD.with_name("GROUNDING.md").read_text(encoding="utf-8")
    for needed in ("Training data", "licence", "QAGS", "HaluEval", "Limits"):
        assert needed in card
