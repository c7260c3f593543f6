"""Recorded answers go over real HTTP exactly as they were recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from cascadeflow.testing import (
    ManualClock,
    RecordedAnswer,
    RecordedAnswersProvider,
    SimulatedModel,
)

if TYPE_CHECKING:
    from conftest import RawResponse, Wire

ANSWERS: dict[tuple[str, str], RecordedAnswer | tuple[str, int, int]] = {
    ("gpt", "What is 6 times 7?"): RecordedAnswer("It is 42.", 150, 61),
    ("gpt", "What is a long text?"): ("0123456789" * 10, 50, 9),
    ("claude", "What is 6 times 7?"): ("Forty-two.", 12, 70),
    ("claude", "What is cut?"): RecordedAnswer("It is", 2, 7, finish="length"),
}


def ask(wire: Wire, *requests: bytes) -> list[RawResponse]:
    async def scenario() -> list[RawResponse]:
        async with RecordedAnswersProvider(ANSWERS) as server:
            return await wire.ask(server.port, *requests)

    return asyncio.run(scenario())


def test_text_and_usage_are_the_recorded_ones_in_both_forms(wire: Wire) -> None:
    question = "What is 6 times 7?"
    openai, anthropic = ask(wire, wire.openai("gpt", question), wire.anthropic("claude", question))
    assert openai.json["choices"][0]["message"]["content"] == "It is 42."
    assert openai.json["usage"]["completion_tokens"] == 150
    assert openai.json["usage"]["prompt_tokens"] == 61
    assert anthropic.json["content"][0]["text"] == "Forty-two."
    assert anthropic.json["usage"]["output_tokens"] == 12
    assert anthropic.json["usage"]["input_tokens"] == 70


@pytest.mark.parametrize(
    ("model", "question"),
    [("gpt", "What is 6 times 8?"), ("claude", "What is a long text?"), ("other", "Hi")],
)
def test_what_is_not_recorded_is_not_found(wire: Wire, model: str, question: str) -> None:
    openai, anthropic = ask(wire, wire.openai(model, question), wire.anthropic(model, question))
    assert (openai.status, anthropic.status) == (404, 404)
    assert anthropic.json["error"]["type"] == "not_found_error"
    expected = "model_not_found" if model == "other" else "answer_not_recorded"
    assert openai.json["error"]["code"] == expected


def test_a_tighter_limit_cuts_text_and_usage_alike(wire: Wire) -> None:
    responses = ask(
        wire,
        wire.openai("gpt", "What is a long text?", max_tokens=50),
        wire.openai("gpt", "What is a long text?", max_tokens=20),
    )
    whole, cut = (response.json for response in responses)
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["choices"][0]["message"]["content"] == "0123456789" * 4
    assert cut["usage"]["completion_tokens"] == 20
    assert cut["usage"]["prompt_tokens"] == 9


def test_an_answer_that_was_cut_when_it_was_recorded_says_so_again(wire: Wire) -> None:
    openai, anthropic = ask(
        wire, wire.openai("claude", "What is cut?"), wire.anthropic("claude", "What is cut?")
    )
    assert openai.json["choices"][0]["finish_reason"] == "length"
    assert anthropic.json["stop_reason"] == "max_tokens"


def test_a_temperature_changes_nothing(wire: Wire) -> None:
    request = wire.openai("gpt", "What is 6 times 7?", temperature=1)
    texts = {r.json["choices"][0]["message"]["content"] for r in ask(wire, *[request] * 5)}
    assert texts == {"It is 42."}


def test_speed_and_reliability_can_be_stated_by_model(wire: Wire) -> None:
    async def scenario() -> None:
        clock = ManualClock(autojump=True)
        models = [SimulatedModel("gpt", latency=2.5)]
        async with RecordedAnswersProvider(ANSWERS, models=models, clock=clock) as server:
            assert [model.name for model in server.models_for("openai")] == ["gpt", "claude"]
            question = "What is 6 times 7?"
            await wire.ask(server.port, wire.openai("claude", question))
            assert clock.monotonic() == 0
            await wire.ask(server.port, wire.openai("gpt", question))
            assert clock.monotonic() == 2.5
            assert server.stats.by_model == {"gpt": 1, "claude": 1}

    asyncio.run(scenario())
