"""Streams over OpenAI responses: what the recordings do not show."""

from __future__ import annotations

import asyncio
import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cascadeflow.errors import (
    ContentFilteredError,
    MalformedResponseError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)
from cascadeflow.models.completion import (
    Completed,
    Completion,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.usage import Usage
from cascadeflow.providers import Providers
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.registry import get_provider, register_provider
from cascadeflow.types import ToolCall

EXAMPLE = Path(__file__).parents[2] / "examples" / "openai_responses.py"

CODEC = get_codec("openai-responses")

Event = dict[str, Any]

BEGIN: Event = {
    "type": "response.created",
    "response": {"id": "resp", "model": "m", "status": "in_progress", "service_tier": "auto"},
}
USAGE = {"input_tokens": 5, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}}


def lines(*events: Any) -> bytes:
    return "".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events
    ).encode()


def stream(*events: Any) -> list[Any]:
    """The events; fed byte by byte they are the same."""
    data = lines(*events)
    given = list(CODEC.decode_stream([data]))
    assert list(CODEC.decode_stream(bytes([byte]) for byte in data)) == given
    return given


def answer_of(*events: Any) -> Completion:
    last = stream(*events)[-1]
    assert isinstance(last, Completed)
    completion: Completion = last.completion
    return completion


def of(index: int, kind: str, **fields: Any) -> Event:
    return {"type": f"response.{kind}", "output_index": index, "item_id": f"i{index}", **fields}


def added(index: int, kind: str, **fields: Any) -> Event:
    item = {"type": kind, "id": f"i{index}", "status": "in_progress", **fields}
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, kind: Any, **fields: Any) -> Event:
    item = {"type": kind, "id": f"i{index}", "status": "completed", **fields}
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def end(*output: Event, kind: str = "completed", **fields: Any) -> Event:
    response = {"id": "resp", "model": "m", "status": kind, "service_tier": "default"}
    items = [event["item"] for event in output]
    return {
        "type": f"response.{kind}",
        "response": {**response, "output": items, "usage": USAGE, **fields},
    }


def words(text: str, **fields: Any) -> Event:
    return {"type": "output_text", "text": text, "annotations": [], **fields}


REASONED = done(
    0,
    "reasoning",
    summary=[{"type": "summary_text", "text": "2+2"}, {"type": "summary_text", "text": "=4"}],
    encrypted_content="gAAA",
)
CITED = {"type": "url_citation", "url": "u"}
SPOKE = done(1, "message", role="assistant", content=[words("It is 4", annotations=[CITED])])
CALLED = done(2, "function_call", call_id="c1", name="f", arguments='{"a": 1}')
RAN = done(3, "custom_tool_call", call_id="c2", name="sh", input="ls -l")

PIECES: list[Event] = [
    BEGIN,
    {"type": "response.in_progress", "response": BEGIN["response"]},
    added(0, "reasoning", summary=[]),
    of(0, "reasoning_summary_part.added", summary_index=0, part={"type": "summary_text"}),
    of(0, "reasoning_summary_text.delta", summary_index=0, delta="2"),
    of(0, "reasoning_summary_text.delta", summary_index=0, delta="+2"),
    of(0, "reasoning_summary_text.done", summary_index=0, text="2+2"),
    of(0, "reasoning_summary_part.done", summary_index=0, part=REASONED["item"]["summary"][0]),
    of(0, "reasoning_summary_text.delta", summary_index=1, delta="=4"),
    REASONED,
    added(1, "message", role="assistant", content=[]),
    of(1, "content_part.added", content_index=0, part=words("")),
    of(1, "output_text.delta", content_index=0, delta="It is ", logprobs=[]),
    of(1, "output_text.delta", content_index=0, delta="4"),
    of(1, "output_text.annotation.added", content_index=0, annotation_index=0, annotation=CITED),
    of(1, "output_text.done", content_index=0, text="It is 4"),
    of(1, "content_part.done", content_index=0, part=SPOKE["item"]["content"][0]),
    SPOKE,
    added(2, "function_call", call_id="c1", name="f", arguments=""),
    of(2, "function_call_arguments.delta", delta='{"a":'),
    of(2, "function_call_arguments.delta", delta=" 1}"),
    of(2, "function_call_arguments.done", arguments='{"a": 1}'),
    CALLED,
    added(3, "custom_tool_call", call_id="c2", name="sh", input=""),
    of(3, "custom_tool_call_input.delta", delta="ls"),
    of(3, "custom_tool_call_input.delta", delta=" -l"),
    of(3, "custom_tool_call_input.done", input="ls -l"),
    RAN,
]
END = end(REASONED, SPOKE, CALLED, RAN)

SAID = [
    ReasoningDelta("2"),
    ReasoningDelta("+2"),
    ReasoningDelta("=4"),
    TextDelta("It is "),
    TextDelta("4"),
    ToolCallDelta(0, "c1", "f"),
    ToolCallDelta(0, arguments='{"a":'),
    ToolCallDelta(0, arguments=" 1}"),
    ToolCallDelta(1, "c2", "sh"),
    ToolCallDelta(1, arguments="ls"),
    ToolCallDelta(1, arguments=" -l"),
]
CALLS = (ToolCall("c1", "f", '{"a": 1}'), ToolCall("c2", "sh", "ls -l"))


def test_a_stream_s_pieces_become_events_and_its_last_word_the_answer() -> None:
    events = stream(*PIECES, END)
    usage = Usage(input_tokens=5, output_tokens=5, reasoning_tokens=4)
    completion = CODEC.decode(200, {}, json.dumps(END["response"]).encode())
    assert events == [*SAID, UsageUpdate(usage), Completed(completion)]
    assert (completion.text, completion.reasoning) == ("It is 4", "2+2=4")
    assert (completion.tool_calls, completion.finish_reason) == (CALLS, "tool_calls")


def test_a_stream_that_breaks_off_keeps_what_it_had() -> None:
    events = stream(*PIECES)
    assert events[:-1] == SAID
    answer = events[-1].completion
    assert (answer.text, answer.reasoning, answer.tool_calls) == ("It is 4", "2+2=4", CALLS)
    assert (answer.finish_reason, answer.raw_finish_reason) == ("error", None)
    assert (answer.usage, answer.usage_complete) == (None, False)
    assert (answer.service_tier, answer.extras["service_tier"]) == (None, "auto")
    assert answer.extras["output"] == [event["item"] for event in (REASONED, SPOKE, CALLED, RAN)]


@pytest.mark.parametrize("taken", range(len(PIECES) + 1))
def test_wherever_a_stream_breaks_off_its_events_add_up_to_its_answer(taken: int) -> None:
    events = stream(*PIECES[:taken])
    answer = events[-1].completion
    assert answer.text == "".join(e.text for e in events if isinstance(e, TextDelta))
    assert answer.reasoning == "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    written = "".join(e.arguments for e in events if isinstance(e, ToolCallDelta))
    assert written == "".join(call.arguments for call in answer.tool_calls)
    assert len(answer.tool_calls) == len({e.index for e in events if isinstance(e, ToolCallDelta)})
    assert not answer.usage_complete


def test_what_pieces_said_of_an_item_is_kept_when_it_never_ends() -> None:
    token = {"token": "A", "logprob": -0.5, "top_logprobs": []}
    answer = answer_of(
        BEGIN,
        added(0, "message", role="assistant", content=[]),
        of(0, "content_part.added", content_index=0, part=words("")),
        of(0, "output_text.delta", content_index=0, delta="A", logprobs=[token]),
        of(0, "output_text.annotation.added", content_index=0, annotation=CITED),
        added(1, "mcp_call", name="ask"),
        of(1, "mcp_call_arguments.delta", delta='{"q"'),
        added(2, "code_interpreter_call", code=""),
        of(2, "code_interpreter_call_code.delta", delta="print("),
        of(2, "code_interpreter_call.interpreting"),
        of(3, "web_search_call.searching"),
    )
    assert answer.extras["output"] == [
        {
            "type": "message",
            "id": "i0",
            "status": "in_progress",
            "role": "assistant",
            "content": [words("A", annotations=[CITED], logprobs=[token])],
        },
        {
            "type": "mcp_call",
            "id": "i1",
            "status": "in_progress",
            "name": "ask",
            "arguments": '{"q"',
        },
        {
            "type": "code_interpreter_call",
            "id": "i2",
            "status": "interpreting",
            "code": "print(",
        },
        {"type": "web_search_call", "id": "i3", "status": "searching"},
    ]
    assert answer.logprobs == (TokenLogprob("A", -0.5),)


def test_before_the_last_word_the_pieces_count_and_no_copy_that_a_server_sends_early() -> None:
    early = {**BEGIN["response"], "output": [{"type": "message", "content": [words("I")]}]}
    answer = answer_of({"type": "response.in_progress", "response": early}, *PIECES[10:14])
    assert answer.text == "It is 4"


def test_an_item_that_changes_its_kind_is_what_it_became() -> None:
    answer = answer_of(BEGIN, CALLED, done(2, "mcp_call", name="f"), done(2, ["odd"]))
    assert answer.tool_calls == ()


def test_a_refusal_comes_in_pieces_of_its_own() -> None:
    refusal = {"type": "refusal", "refusal": "Not this."}
    item = done(0, "message", content=[refusal])
    events = stream(
        BEGIN,
        of(0, "refusal.delta", content_index=0, delta="Not "),
        of(0, "refusal.delta", content_index=0, delta="this."),
        of(0, "refusal.done", content_index=0, refusal="Not this."),
        end(item),
    )
    assert events[:2] == [RefusalDelta("Not "), RefusalDelta("this.")]
    assert (events[-1].completion.refusal, events[-1].completion.finish_reason) == (
        "Not this.",
        "refusal",
    )


def test_raw_reasoning_is_reasoning() -> None:
    item = done(0, "reasoning", summary=[], content=[{"type": "reasoning_text", "text": "Hm."}])
    piece = of(0, "reasoning_text.delta", content_index=0, delta="Hm.")
    events = stream(BEGIN, piece, of(0, "reasoning_text.done", content_index=0, text="Hm."), item)
    assert events[0] == ReasoningDelta("Hm.")
    assert [type(event) for event in events] == [ReasoningDelta, Completed]
    assert events[-1].completion.reasoning == "Hm."


@pytest.mark.parametrize(
    "events",
    [
        [END],
        [BEGIN, REASONED, SPOKE, CALLED, RAN, END],
        [BEGIN, added(1, "message", content=[]), END],
        [of(1, "output_text.done", content_index=0, text="It is 4"), END],
    ],
)
def test_a_server_that_sends_no_pieces_is_given_in_whole_ones(events: list[Event]) -> None:
    given = stream(*events)
    answer = given[-1].completion
    assert answer == CODEC.decode(200, {}, json.dumps(END["response"]).encode())
    assert "".join(each.text for each in given if isinstance(each, TextDelta)) == "It is 4"
    assert "".join(each.text for each in given if isinstance(each, ReasoningDelta)) == "2+2=4"
    calls = [each for each in given if isinstance(each, ToolCallDelta)]
    assert [each.id for each in calls if each.id] == ["c1", "c2"]
    assert [each.arguments for each in calls if each.arguments] == ['{"a": 1}', "ls -l"]


def test_a_last_word_without_the_output_leaves_what_the_pieces_said() -> None:
    for output in ([], None):
        last = end(output=output)
        answer = answer_of(*PIECES, last)
        assert (answer.text, answer.tool_calls) == ("It is 4", CALLS)
        assert (answer.finish_reason, answer.service_tier) == ("tool_calls", "default")
        assert answer.usage_complete


def test_items_that_a_server_does_not_number_are_known_by_their_ids_and_order() -> None:
    def unnumbered(event: Event, *names: str) -> Event:
        return {name: value for name, value in event.items() if name not in names}

    by_id = [unnumbered(event, "output_index") for event in PIECES]
    assert stream(*by_id, END) == stream(*PIECES, END)
    alone = [BEGIN, *PIECES[18:21]]
    by_order = [unnumbered(event, "output_index", "item_id") for event in alone]
    answer = answer_of(*by_order)
    assert answer.tool_calls == (ToolCall("c1", "f", '{"a": 1}'),)


def test_the_whole_text_is_the_last_word_where_it_differs_from_its_pieces() -> None:
    events = stream(
        BEGIN,
        of(0, "output_text.delta", content_index=0, delta="Its"),
        of(0, "output_text.done", content_index=0, text="It is"),
        of(0, "output_text.done", content_index=0, text="It is so"),
    )
    assert events[:-1] == [TextDelta("Its"), TextDelta(" so")]
    assert events[-1].completion.text == "It is so"


@pytest.mark.parametrize(
    ("kind", "fields", "finish"),
    [
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ("cancelled", {}, "error"),
        ("completed", {"status": None}, "stop"),
    ],
)
def test_a_stream_may_end_otherwise(kind: str, fields: dict[str, Any], finish: str) -> None:
    answer = answer_of(BEGIN, SPOKE, end(SPOKE, kind=kind, **fields))
    assert (answer.finish_reason, answer.usage_complete) == (finish, True)
    assert answer.usage is not None


def test_a_failed_response_raises_after_what_came_before_and_keeps_it() -> None:
    failed = end(kind="failed", error={"code": "bio_policy", "message": "No."})
    decoder = CODEC.decoder()
    assert decoder.feed(lines(*PIECES, failed))[:-1] == SAID
    with pytest.raises(ContentFilteredError) as caught:
        decoder.finish()
    error = caught.value
    assert error is decoder.failure
    assert (error.billed, error.retryable) == (None, False)
    assert (error.partial.text, error.partial.finish_reason) == ("It is 4", "error")
    assert error.partial.usage == Usage(input_tokens=5, output_tokens=5, reasoning_tokens=4)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "error", "code": "server_error", "message": "Oops"}, OverloadedError),
        (
            {"type": "error", "error": {"type": "too_many_requests", "message": "Slow"}},
            RateLimitedError,
        ),
    ],
)
def test_an_error_event_raises_after_what_came_before(
    event: Event, expected: type[ProviderError]
) -> None:
    decoder = CODEC.decoder({"x-request-id": "req_1"})
    given = decoder.feed(lines(BEGIN, *PIECES[10:13], event))
    assert given == [TextDelta("It is ")]
    with pytest.raises(expected) as caught:
        decoder.feed(b"")
    assert (caught.value.billed, caught.value.request_id) == (None, "req_1")
    assert caught.value.partial.text == "It is "


def test_what_comes_behind_the_last_word_takes_nothing_back() -> None:
    late = {"type": "error", "code": "server_error", "message": "Oops"}
    answer = answer_of(BEGIN, SPOKE, end(SPOKE), late)
    assert (answer.text, answer.usage_complete) == ("It is 4", True)
    assert answer.extras["events"] == [late]


def test_events_that_nobody_knows_are_kept_unless_the_last_word_says_them_whole() -> None:
    news = {"type": "response.weather", "degrees": 21}
    preview = of(0, "image_generation_call.partial_image", partial_image_b64="AAAA")
    step = of(0, "image_generation_call.completed", seconds=3)
    drawn = done(0, "image_generation_call", result="BBBB")
    alive = {"type": "keepalive", "sequence_number": 3}
    broken = answer_of(BEGIN, news, alive, preview, step)
    assert broken.extras["events"] == [news, preview, step]
    answer = answer_of(BEGIN, news, alive, preview, step, drawn, end(drawn))
    assert answer.extras["events"] == [news]


@pytest.mark.parametrize(
    "event",
    [
        of(0, "output_text.delta", content_index=0, delta=7),
        of(0, "output_text.done", content_index=0, text=None),
        of(0, "content_part.added", content_index=0, part="A"),
        {"type": "response.output_item.added", "output_index": 0, "item": "A"},
        {"type": "response.completed", "response": "A"},
        {"type": "", "output_index": 0},
    ],
)
def test_an_event_of_another_form_is_kept_as_it_came(event: Event) -> None:
    answer = answer_of(BEGIN, event)
    assert answer.extras["events"] == [event]
    assert not answer.usage_complete


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"[" * 10**5])
def test_an_event_that_is_none_is_a_typed_error(data: bytes) -> None:
    decoder = CODEC.decoder()
    decoder.feed(lines(*PIECES[:14]))
    with pytest.raises(MalformedResponseError) as caught:
        decoder.feed(b"data: " + data + b"\n\n")
    assert caught.value.partial.text == "It is 4"
    assert caught.value.billed is None


def test_an_event_that_was_cut_off_is_none() -> None:
    data = lines(*PIECES, END)
    last = list(CODEC.decode_stream([data[:-20]]))[-1]
    assert isinstance(last, Completed)
    assert (last.completion.text, last.completion.usage_complete) == ("It is 4", False)
    # Many servers forget the empty line behind their last event.
    last = list(CODEC.decode_stream([data[:-2]]))[-1]
    assert isinstance(last, Completed)
    assert last.completion.usage_complete


def test_a_sentinel_at_the_end_means_nothing() -> None:
    data = lines(BEGIN, SPOKE, end(SPOKE))
    assert list(CODEC.decode_stream([data + b"data: [DONE]\n\n"])) == list(
        CODEC.decode_stream([data])
    )


def test_a_whole_answer_where_a_stream_was_asked_for_is_read() -> None:
    body = json.dumps(END["response"]).encode()
    decoder = CODEC.decoder({"content-type": "application/json"})
    events = [*decoder.feed(body[:50]), *decoder.feed(body[50:]), *decoder.finish()]
    assert TextDelta("It is 4") in events
    assert events[-1] == Completed(CODEC.decode(200, {}, body))


def test_a_model_is_asked_over_http_whole_and_streamed(http: Any) -> None:
    async def handler(exchange: Any) -> None:
        if not exchange.json.get("stream"):
            await exchange.respond(200, END["response"])
            return
        await exchange.start_stream()
        for event in (*PIECES, END):
            await exchange.event(event)
        await exchange.end_stream()

    async def ask() -> None:
        async with http.serve(handler) as server:
            providers = Providers()
            model = ModelConfig("m", "openai-responses", api_key="sk-test", base_url=server.url)
            reply = await providers.complete(model, http.ask())
            events = [event async for event in providers.stream(model, http.ask())]
            await providers.aclose()
        assert [exchange.path for exchange in server.exchanges] == ["/v1/responses"] * 2
        assert {exchange.headers["authorization"] for exchange in server.exchanges} == {
            "Bearer sk-test"
        }
        assert events[: len(SAID)] == SAID
        assert events[-1].completion == reply.completion == events[-2].completion

    asyncio.run(ask())


def test_the_example_runs_unchanged_and_sends_encrypted_reasoning_back(
    http: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def handler(exchange: Any) -> None:
        if not exchange.json.get("stream"):
            await exchange.respond(200, end(REASONED, CALLED)["response"])
            return
        await exchange.start_stream()
        for event in (*PIECES[10:18], end(SPOKE)):
            await exchange.event(event)
        await exchange.end_stream()

    async def run() -> Any:
        async with http.serve(handler) as server:
            register_provider(replace(record, base_url=server.url), replace=True)
            await runpy.run_path(str(EXAMPLE))["main"]()
        return [exchange.json for exchange in server.exchanges]

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    record = get_provider("openai-responses")
    try:
        asked, again = asyncio.run(run())
    finally:
        register_provider(record, replace=True)
    assert asked["reasoning"] == {"effort": "low", "summary": "auto"}
    assert again["input"][1:3] == [REASONED["item"], CALLED["item"]]
    assert again["input"][3]["type"] == "function_call_output"
    printed = capsys.readouterr().out
    assert "tool_calls" in printed
    assert "It is 4" in printed
