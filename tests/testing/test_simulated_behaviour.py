"""What a simulated model does is decided by the seed and the request, at the stated rates."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError
from cascadeflow.testing import (
    LogNormalLatency,
    ManualClock,
    SimulatedModel,
    SimulatedProvider,
    SimulatedRequest,
)

if TYPE_CHECKING:
    from conftest import RawResponse, Wire

SHEET = {f"How much is {n} + {n}?": str(2 * n) for n in range(400)}


def outcomes(
    wire: Wire,
    model: SimulatedModel,
    questions: list[str],
    *,
    seed: int = 7,
    at_once: int = 1,
    **more: Any,
) -> list[SimulatedRequest]:
    """Asks every question once; gives what the provider recorded, in the questions' order."""

    async def scenario() -> list[SimulatedRequest]:
        async with SimulatedProvider([model], seed=seed) as server:

            async def ask(some: list[str]) -> None:
                for question in some:
                    async with await wire.connect(server.port) as client:
                        await client.send(wire.openai(model.name, question, **more))
                        await client.reader.read(100_000 if model.break_stream_rate else 10)

            await asyncio.gather(*(ask(questions[start::at_once]) for start in range(at_once)))
            seen = {request.question: request for request in server.requests}
            return [seen[question] for question in questions]

    return asyncio.run(scenario())


def answers(requests: list[SimulatedRequest]) -> list[tuple[Any, ...]]:
    return [(r.status, r.text, r.right, r.outcome, r.request_id) for r in requests]


def test_skill_is_the_share_of_right_answers(wire: Wire) -> None:
    seen = outcomes(wire, SimulatedModel("small", skill=0.7, answers=SHEET), list(SHEET))
    right = [request.right for request in seen]
    # Exactly these, for the seed decides; 0.7 of 400 is 280, with a standard deviation of 9.
    assert (right.count(True), right.count(False)) == (271, 129)
    for request in seen:
        assert request.question is not None
        assert (request.text == SHEET[request.question]) is request.right


@pytest.mark.parametrize(("skill", "right"), [(0.0, 0), (1.0, 400)])
def test_without_or_with_full_skill_no_answer_or_every_one_is_right(
    wire: Wire, skill: float, right: int
) -> None:
    seen = outcomes(wire, SimulatedModel("small", skill=skill, answers=SHEET), list(SHEET))
    assert sum(request.right is True for request in seen) == right


def test_errors_broken_streams_and_refusals_come_at_their_rates(wire: Wire) -> None:
    model = SimulatedModel(
        "small", error_rate=0.1, error_status=503, break_stream_rate=0.2, refusal_rate=0.3
    )
    seen = outcomes(wire, model, list(SHEET), stream=True)
    # Of 400, 40 with a deviation of 6; of the others, 74 with one of 8, and 111 with one of 9.
    assert Counter(request.status for request in seen) == {200: 369, 503: 31}
    assert Counter(request.outcome for request in seen) == {"complete": 320, "broken": 80}
    assert sum(request.finish == "refusal" for request in seen) == 108


def test_the_same_seed_and_request_give_the_same_in_any_order_and_at_any_number_at_once(
    wire: Wire,
) -> None:
    model = SimulatedModel("small", skill=0.5, answers=SHEET, error_rate=0.2)
    questions = list(SHEET)[:120]
    one_by_one = answers(outcomes(wire, model, questions))
    assert answers(outcomes(wire, model, questions)) == one_by_one
    assert answers(outcomes(wire, model, questions, at_once=40)) == one_by_one
    backwards = outcomes(wire, model, questions[::-1])
    assert answers(backwards)[::-1] == one_by_one
    assert answers(outcomes(wire, model, questions, seed=8)) != one_by_one


def test_two_models_of_equal_skill_err_on_different_questions(wire: Wire) -> None:
    first, second = (
        [r.right for r in outcomes(wire, SimulatedModel(n, skill=0.5, answers=SHEET), list(SHEET))]
        for n in ("small", "other")
    )
    both = sum(a is b is True for a, b in zip(first, second, strict=True))
    assert first != second
    assert both == 97  # independent halves agree on a quarter: 100, with a deviation of 9


def test_whether_an_answer_is_right_depends_on_the_question_alone(wire: Wire) -> None:
    model = SimulatedModel("small", skill=0.5, answers=SHEET)
    questions = list(SHEET)[:60]
    plain = [request.text for request in outcomes(wire, model, questions)]
    others: list[dict[str, Any]] = [{"stream": True}, {"user": "u1"}, {"temperature": 0}]
    for more in others:
        assert [request.text for request in outcomes(wire, model, questions, **more)] == plain

    async def in_the_other_form() -> list[str | None]:
        async with SimulatedProvider([model], seed=7) as server:
            await wire.ask(server.port, *(wire.anthropic("small", q) for q in questions))
            return [request.text for request in server.requests]

    assert asyncio.run(in_the_other_form()) == plain


def ask_again(
    wire: Wire, model: SimulatedModel, times: int, **more: Any
) -> tuple[list[RawResponse], list[SimulatedRequest]]:
    """Sends the same request several times."""

    async def scenario() -> tuple[list[RawResponse], list[SimulatedRequest]]:
        async with SimulatedProvider([model], seed=7) as server:
            request = wire.openai("small", "How much is 3 + 3?", **more)
            responses = await wire.ask(server.port, *[request] * times)
            return responses, list(server.requests)

    return asyncio.run(scenario())


def test_a_repeat_draws_its_errors_again_so_that_a_retry_can_succeed(wire: Wire) -> None:
    responses, seen = ask_again(wire, SimulatedModel("small", error_rate=0.5), 100)
    assert [request.repeat for request in seen] == list(range(100))
    assert Counter(response.status for response in responses) == {200: 57, 500: 43}
    assert len({request.request_id for request in seen}) == 100
    again, _ = ask_again(wire, SimulatedModel("small", error_rate=0.5), 100)
    assert [response.status for response in again] == [response.status for response in responses]


@pytest.mark.parametrize(
    ("more", "varies"),
    [({}, False), ({"temperature": 0}, False), ({"temperature": 1}, True),
     ({"temperature": 1, "seed": 5}, False)],
)  # fmt: skip
def test_a_repeats_answer_varies_only_by_a_temperature_without_a_seed(
    wire: Wire, more: dict[str, Any], varies: bool
) -> None:
    model = SimulatedModel("small", skill=0.5, answers=SHEET)
    responses, _ = ask_again(wire, model, 30, **more)
    texts = {response.json["choices"][0]["message"]["content"] for response in responses}
    assert (len(texts) > 1) is varies
    assert len({response.json["id"] for response in responses}) == 30


def test_another_seed_in_the_request_samples_another_answer(wire: Wire) -> None:
    model = SimulatedModel("small", skill=0.5, answers=SHEET)

    async def scenario() -> set[str]:
        async with SimulatedProvider([model]) as server:
            requests = [
                wire.openai("small", "How much is 3 + 3?", temperature=1, seed=seed)
                for seed in range(30)
            ]
            responses = await wire.ask(server.port, *requests)
            return {each.json["choices"][0]["message"]["content"] for each in responses}

    assert len(asyncio.run(scenario())) > 1


def test_wrong_answers_can_be_stated_and_the_rest_is_perturbed(wire: Wire) -> None:
    model = SimulatedModel(
        "small",
        skill=0.0,
        answers={"One?": "Rome", "Two?": "22", "Three?": "1999"},
        wrong_answers=lambda question: "I think it is two." if question == "Two?" else None,
    )
    one, two, three = (
        request.text for request in outcomes(wire, model, ["One?", "Two?", "Three?"])
    )
    assert one in {"22", "1999"}
    assert two == "I think it is two."
    assert three is not None
    assert 0 < abs(int(three) - 1999) <= 10


def test_a_sheet_can_be_a_function_that_is_asked_each_time(wire: Wire) -> None:
    asked: list[str] = []

    def sheet(question: str) -> str | None:
        asked.append(question)
        return f"Answer {len(asked)}" if question != "Unknown?" else None

    async def scenario() -> list[SimulatedRequest]:
        async with SimulatedProvider([SimulatedModel("small", answers=sheet)]) as server:
            request = wire.openai("small", "Known?")
            await wire.ask(server.port, request, request, wire.openai("small", "Unknown?"))
            return list(server.requests)

    first, second, unknown = asyncio.run(scenario())
    assert (first.text, second.text) == ("Answer 1", "Answer 2")
    assert unknown.right is None
    assert unknown.output_tokens == 32


def test_a_sheet_that_raises_is_answered_by_an_error_that_says_so(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    def sheet(_question: str) -> str | None:
        raise LookupError("the sheet is torn")

    async def scenario() -> RawResponse:
        async with SimulatedProvider([SimulatedModel("small", answers=sheet)]) as server:
            (response,) = await wire.ask(server.port, wire.openai("small", "Hi"))
            return response

    response = asyncio.run(scenario())
    assert response.status == 500
    assert "LookupError: the sheet is torn" in response.json["error"]["message"]
    assert "the sheet is torn" in caplog.text


def test_filler_has_the_stated_length_and_differs_by_question(wire: Wire) -> None:
    for tokens in (1, 2, 33, 40_000):
        seen = outcomes(wire, SimulatedModel("small", output_tokens=tokens), ["One?", "Two?"])
        assert [request.output_tokens for request in seen] == [tokens, tokens]
        assert {len(request.text or "") for request in seen} == {4 * tokens}
        assert all((request.text or "").endswith(".") for request in seen)
        assert seen[0].text != seen[1].text or tokens == 1


def test_tokens_can_be_counted_by_a_function(wire: Wire) -> None:
    def words(text: str) -> int:
        return len(text.split())

    model = SimulatedModel(
        "small", answers={"One two three?": "a bb ccc dddd eeeee"}, count_tokens=words
    )
    (whole,) = outcomes(wire, model, ["One two three?"])
    assert (whole.prompt_tokens, whole.output_tokens) == (3 + 4 + 3, 5)
    (cut,) = outcomes(wire, model, ["One two three?"], max_tokens=3)
    assert (cut.text, cut.output_tokens, cut.finish) == ("a bb ccc ", 3, "length")


def test_the_latency_and_the_speed_are_what_was_stated(wire: Wire) -> None:
    async def scenario() -> None:
        clock = ManualClock(autojump=True)
        model = SimulatedModel(
            "small", latency=0.5, tokens_per_second=10, output_tokens=21, reasoning_tokens=5
        )
        async with SimulatedProvider([model], clock=clock) as server:
            async with await wire.connect(server.port) as client:
                await client.send(wire.openai("small", "Hi", stream=True))
                await client.read_head()
                # The first token after the latency and the hidden reasoning.
                assert clock.monotonic() == pytest.approx(0.5 + 5 / 10, abs=0.1)
                while await client.reader.read(10_000) and not server.requests:
                    pass
                # The 21st, twenty tokens' time later.
                assert clock.monotonic() == pytest.approx(0.5 + 5 / 10 + 20 / 10)
            before = clock.monotonic()
            (response,) = await wire.ask(server.port, wire.openai("small", "Hi"))
            assert clock.monotonic() - before == pytest.approx(0.5 + (5 + 21 - 1) / 10)
            assert response.headers["openai-processing-ms"] == "3000"

    asyncio.run(scenario())


def test_a_stream_comes_in_pieces_of_so_many_tokens_each_at_its_time(wire: Wire) -> None:
    async def scenario() -> list[tuple[float, int]]:
        clock = ManualClock()
        model = SimulatedModel(
            "small", latency=1, tokens_per_second=4, tokens_per_chunk=2, output_tokens=7
        )
        arrived: list[tuple[float, int]] = []

        async def read() -> None:
            data = b""
            while b"[DONE]" not in data:
                data = await client.reader.read(100_000)
                # The first piece has the empty one before it that names the role.
                arrived.append((clock.monotonic(), data.count(b'"content":"') - (not arrived)))

        async with (
            SimulatedProvider([model], clock=clock) as server,
            await wire.connect(server.port) as client,
        ):
            await client.send(wire.openai("small", "Hi", stream=True))
            reading = asyncio.create_task(read())
            await clock.run_for(10)
            await reading
        return arrived

    # Seven tokens are three pieces of two and one of one, half a second apart.
    assert asyncio.run(scenario()) == [(1.0, 1), (1.5, 1), (2.0, 1), (2.5, 1)]


def test_log_normal_latencies_differ_by_request_and_repeat(wire: Wire) -> None:
    async def scenario() -> list[float]:
        clock = ManualClock(autojump=True)
        model = SimulatedModel("small", latency=LogNormalLatency(0.4, 0.5))
        moments = [0.0]
        async with SimulatedProvider([model], clock=clock, seed=3) as server:
            for question in ("One?", "One?", "Two?"):
                await wire.ask(server.port, wire.openai("small", question))
                moments.append(clock.monotonic())
        return [later - earlier for earlier, later in pairwise(moments)]

    first = asyncio.run(scenario())
    assert len({round(each, 6) for each in first}) == 3
    assert all(0.05 < each < 3 for each in first)
    assert asyncio.run(scenario()) == first


def test_a_failing_request_takes_its_latency_too(wire: Wire) -> None:
    async def scenario() -> None:
        clock = ManualClock(autojump=True)
        model = SimulatedModel("small", latency=2, error_rate=1)
        async with SimulatedProvider([model], clock=clock) as server:
            (response,) = await wire.ask(server.port, wire.openai("small", "Hi"))
            assert (response.status, clock.monotonic()) == (500, 2.0)
            (response,) = await wire.ask(server.port, wire.openai("other", "Hi"))
            assert (response.status, clock.monotonic()) == (404, 2.0)

    asyncio.run(scenario())


def test_models_of_one_name_and_a_negative_seed_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two simulated models"):
        SimulatedProvider([SimulatedModel("small"), SimulatedModel("small")])
    with pytest.raises(ConfigurationError, match="seed"):
        SimulatedProvider([], seed=-1)


def test_more_distinct_requests_than_are_remembered_only_forget_the_oldest(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.testing.site._REMEMBERED_REQUESTS", 2)

    async def scenario() -> list[int]:
        async with SimulatedProvider([SimulatedModel("small")]) as server:
            questions = ["One?", "Two?", "One?", "Three?", "Four?", "Five?", "One?", "Three?"]
            await wire.ask(server.port, *(wire.openai("small", each) for each in questions))
            return [request.repeat for request in server.requests]

    assert asyncio.run(scenario()) == [0, 0, 1, 0, 0, 0, 2, 0]
