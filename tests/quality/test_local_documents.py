"""Where documents cannot be compared with an answer, its question is: never does nothing judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.quality.local_judging import DOCUMENT, FERRY, SUPPORTED, balanced, judged, verdicts
from tests.quality.local_models import Stranger
from tests.quality.local_models import request as real_vectors

from cascadeflow.models.completion import Completion
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.quality.documents import asked_beside, documents_of
from cascadeflow.quality.local import LocalChecks
from cascadeflow.types import ChatRequest, Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow._native import Vectors

GERMAN = (
    "Die Fähre zur Insel verlässt den Hafen morgens um neun Uhr und braucht für die Überfahrt zwei "
    "Stunden. Eine Karte kostet zwölf Euro für Erwachsene und sechs Euro für Kinder."
)
ABROAD = f"<document>{GERMAN}</document>\nWhen does the ferry leave, and what does it cost?"
BANANAS = "Bananas are yellow because they hold carotene, and they grow where it is warm and wet."


def test_an_answer_in_another_language_than_its_documents_is_held_to_its_question() -> None:
    found = verdicts(judged(ABROAD, SUPPORTED, Stranger(), relevance_threshold=0.0))
    assert (found["grounding"], found["relevance"]) == ("not_applicable", "passed")
    failing = judged(ABROAD, SUPPORTED, Stranger(), relevance_threshold=1.0)
    assert verdicts(failing)["relevance"] == "failed"
    assert failing.accepted is False


def test_an_answer_without_words_leaves_nothing_to_compare_with_either() -> None:
    found = verdicts(judged(FERRY, "\U0001f642", Stranger()))
    assert (found["grounding"], found["relevance"]) == ("not_applicable", "not_applicable")


def test_the_question_is_read_without_the_documents_in_it() -> None:
    embedder = Stranger()
    judged(ABROAD, SUPPORTED, embedder, without=("toxicity",))
    assert {text.strip() for text in embedder.asked} == {
        "When does the ferry leave, and what does it cost?",
        SUPPORTED,
    }


def test_where_the_documents_can_be_compared_the_question_is_not_read() -> None:
    embedder = Stranger()
    found = judged(FERRY, SUPPORTED, embedder, without=("toxicity",), grounding_threshold=0.0)
    assert verdicts(found)["relevance"] == "not_applicable"
    assert not any("When does the ferry leave" in text for text in embedder.asked)


@pytest.mark.parametrize("wish", ["Summarise the article.", "What does it say about prices?"])
def test_who_asks_what_a_text_says_is_not_held_to_the_words_of_asking(wish: str) -> None:
    found = verdicts(judged(f"{wish}\n\nArticle: {GERMAN}", SUPPORTED, Stranger()))
    assert found["grounding"] == "not_applicable"
    assert (found["relevance"] == "not_applicable") is wish.startswith("Summarise")


def test_results_of_tools_in_another_language_leave_the_question_too() -> None:
    chat = ChatRequest(
        "m",
        (
            Message("user", "When does the ferry leave, and what does it cost?"),
            Message("assistant", "", tool_calls=(ToolCall("1", "look", "{}"),)),
            Message("tool", GERMAN, tool_call_id="1"),
        ),
    )
    found = asyncio.run(
        LocalChecks(balanced(), Stranger()).run(
            chat, Completion(text=SUPPORTED), config=balanced(relevance_threshold=0.0)
        )
    )
    assert [each.verdict for each in found.checks][:2] == ["passed", "not_applicable"]


class Together(Stranger):
    """An embedder that answers only once two checks have asked it at once."""

    def __init__(self, texts: int) -> None:
        super().__init__()
        self.texts = texts
        self.met = asyncio.Event()

    async def layered(self, texts: Sequence[str]) -> Vectors:
        found = await super().layered(texts)
        if len(self.asked) >= self.texts:
            self.met.set()
        await self.met.wait()
        return found


def test_the_question_is_read_beside_toxicity() -> None:
    long = f"{SUPPORTED} {BANANAS} {BANANAS} {BANANAS}"

    async def main() -> Any:
        # The answer's vector is shared; the question's and that of a piece are not.
        embedder = Together(3)
        chat = ChatRequest("m", (Message("user", ABROAD),))
        config = balanced(relevance_threshold=0.0, toxicity_threshold=1.0)
        return await LocalChecks(config, embedder).run(chat, Completion(text=long), config=config)

    found = asyncio.run(main())
    assert [each.verdict for each in found.checks] == ["passed", "not_applicable", "passed"]


def test_documents_that_could_not_be_compared_in_time_are_the_only_error() -> None:
    class Stuck(Stranger):
        async def layered(self, texts: Sequence[str]) -> Vectors:
            await asyncio.Event().wait()
            raise AssertionError(texts)

    report = judged(FERRY, SUPPORTED, Stuck(), without=("toxicity",), check_timeout=0.001)
    assert verdicts(report)["grounding"] == "error"
    assert verdicts(report)["relevance"] == "not_applicable"


def test_the_real_model_rejects_what_is_beside_the_question_of_documents_in_another_language() -> (
    None
):
    real_vectors()  # skips where the model is not there
    model = SentenceModel.find()
    good = judged(ABROAD, SUPPORTED, model)
    assert good.accepted is True
    assert verdicts(good)["relevance"] == "passed"
    bad = judged(ABROAD, BANANAS, model)
    assert bad.accepted is False
    assert verdicts(bad)["relevance"] == "failed" or "relevance" in bad.reason


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        (f"Context: {DOCUMENT}\nQuestion: When does it leave?", "When does it leave?"),
        (f'Who sails?\n"""{DOCUMENT}"""', 'Who sails?\n""" """'),
        (f"<source id='1'>{DOCUMENT}</source> When does it leave?", "When does it leave?"),
        (f"According to the letter, who sails?\nLetter: {DOCUMENT}", ""),
        ("When does it leave?", "When does it leave?"),
        ("", ""),
    ],
)
def test_what_a_message_asks_beside_its_documents(message: str, asked: str) -> None:
    found = asked_beside(message, documents_of([Message("user", message)]))
    assert found.strip() == asked


@given(st.text(max_size=200), st.lists(st.text(max_size=50), max_size=3))
def test_nothing_is_put_into_a_message(message: str, documents: list[str]) -> None:
    left = asked_beside(message, [each for each in documents if each])
    assert len(left) <= len(message)
    assert set(left) <= {*message, " "}
