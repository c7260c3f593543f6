"""Real answers over OpenAI responses decode with nothing lost.

Each recorded response is read here a second time, leaf by leaf, without the codec's helpers: every
value that the provider sent is in the Completion's fields, or in its extras at the provider's path.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from recorded_rows import dig, headers_of, leaves, rows_of

from cascadeflow.errors import BadRequestError, ProviderError
from cascadeflow.models.completion import (
    Completed,
    Completion,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from recorded_rows import Path_, Row

    from cascadeflow.models.completion import StreamEvent


@pytest.fixture(scope="module")
def rows(recordings: Path) -> list[Row]:
    return rows_of(recordings, "openai-responses")


@pytest.fixture(scope="module")
def answered(rows: list[Row]) -> list[Row]:
    """What was answered whole."""
    return [row for row in rows if "response" in row and row["status"] < 400]


@pytest.fixture(scope="module")
def streamed(rows: list[Row]) -> list[Row]:
    return [row for row in rows if "response_text" in row]


def decode(row: Row) -> Completion:
    body = json.dumps(row["response"]).encode()
    return get_codec("openai-responses").decode(row["status"], headers_of(row), body)


def events_of(chunks: Iterable[bytes]) -> list[StreamEvent]:
    return list(get_codec("openai-responses").decode_stream(chunks))


def completion_of(row: Row) -> Completion:
    last = events_of([row["response_text"].encode()])[-1]
    assert isinstance(last, Completed)
    return last.completion


def payloads(row: Row) -> list[Row]:
    lines = [line[6:] for line in row["response_text"].splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def field(path: Path_, answer: Completion) -> Any:
    """What the field says that holds a leaf of the response object."""
    match path:
        case ("id",):
            return answer.response_id
        case ("model",):
            return answer.model
        case ("service_tier",):
            return answer.service_tier
        case ("status",):
            return answer.raw_finish_reason
    return None


def check_nothing_is_lost(body: Row, answer: Completion) -> int:
    checked = 0
    for path, value in leaves(body):
        held = field(path, answer), dig(answer.extras, path)
        assert value in held, (path, value, held)
        checked += 1
    return checked


def texts(body: Row, kind: str, where: str, part: str, name: str) -> str:
    """All texts of one sort in the output, joined."""
    return "".join(
        each[name]
        for item in body["output"]
        if item["type"] == kind
        for each in item.get(where) or []
        if each["type"] == part
    )


def check_the_visible_answer(body: Row, answer: Completion) -> None:
    assert answer.text == texts(body, "message", "content", "output_text", "text")
    refused = texts(body, "message", "content", "refusal", "refusal")
    assert (answer.refusal or "") == refused
    thought = [
        part["text"]
        for item in body["output"]
        if item["type"] == "reasoning"
        for part in [*item["summary"], *(item.get("content") or [])]
    ]
    assert answer.reasoning == "".join(thought)
    calls = [item for item in body["output"] if item["type"] == "function_call"]
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        (call["call_id"], call["name"], call["arguments"]) for call in calls
    ]
    finish = "tool_calls" if calls else "refusal" if refused else "stop"
    known = {"completed": finish, "complete": finish, "queued": "unknown"}
    assert answer.finish_reason == known[body["status"]]
    assert answer.usage_complete == (body["status"] != "queued")


def expected_usage(raw: Row) -> dict[str, int | None]:
    """What the documents say of each number, written down once more and on purpose naively."""
    into, out = raw["input_tokens_details"], raw["output_tokens_details"]
    cached, written = into["cached_tokens"], into.get("cache_write_tokens")
    reasoning = out["reasoning_tokens"]
    return {
        "input_tokens": raw["input_tokens"] - cached - (written or 0),
        "cache_read_tokens": cached,
        "cache_write_5m_tokens": written,
        "output_tokens": raw["output_tokens"] - reasoning,
        "reasoning_tokens": reasoning,
    }


def expected_tools(body: Row) -> dict[str, int]:
    """The calls of server-side tools that OpenAI bills each."""
    searches = [item for item in body["output"] if item["type"] == "web_search_call"]
    billed = {
        "web_search": sum(item["action"]["type"] == "search" for item in searches),
        "file_search": sum(item["type"] == "file_search_call" for item in body["output"]),
        "code_interpreter": len(
            {
                item["container_id"]
                for item in body["output"]
                if item["type"] == "code_interpreter_call"
            }
        ),
    }
    if "tool_usage" in body:
        billed["web_search"] = body["tool_usage"]["web_search"]["num_requests"]
    return {name: count for name, count in billed.items() if count}


def check_usage(body: Row, answer: Completion) -> None:
    if body["usage"] is None:
        assert answer.usage is None
        return
    usage = answer.usage
    assert usage is not None
    buckets = {name: getattr(usage, name) for name in Usage.__slots__ if name != "requests"}
    expected = expected_usage(body["usage"])
    assert buckets == {**dict.fromkeys(buckets), **expected}
    assert usage.total_input_tokens == body["usage"]["input_tokens"]
    assert usage.total_output_tokens == body["usage"]["output_tokens"]
    assert dict(usage.requests) == expected_tools(body)


def test_nothing_of_a_recorded_answer_is_lost(answered: list[Row]) -> None:
    assert sum(check_nothing_is_lost(row["response"], decode(row)) for row in answered) > 1000


def test_the_visible_answer_is_what_the_provider_wrote(answered: list[Row]) -> None:
    for row in answered:
        check_the_visible_answer(row["response"], decode(row))


def test_usage_is_split_into_buckets_that_add_up(answered: list[Row]) -> None:
    for row in answered:
        check_usage(row["response"], decode(row))


def test_the_tier_is_the_one_that_served_and_not_the_one_asked_for(rows: list[Row]) -> None:
    seen = set()
    for row in rows:
        if row["status"] < 400:
            answer = decode(row) if "response" in row else completion_of(row)
            seen.add(answer.service_tier)
    assert "auto" not in seen
    assert "default" in seen


def test_error_answers_raise_the_mapped_error_with_all_its_words(rows: list[Row]) -> None:
    refused = [row for row in rows if row["status"] >= 400]
    assert refused
    for row in refused:
        with pytest.raises(ProviderError) as caught:
            decode(row)
        error = caught.value
        assert type(error) is {400: BadRequestError}[row["status"]]
        assert (error.status, error.provider) == (row["status"], "openai-responses")
        assert error.billed is False
        assert not error.retryable
        assert error.details == row["response"]
        assert row["response"]["error"]["message"][:100] in str(error)


def test_output_goes_back_unchanged_in_the_next_request(answered: list[Row]) -> None:
    codec = get_codec("openai-responses")
    encrypted = 0
    for row in answered:
        message = codec.assistant_message(decode(row))
        output = row["response"]["output"]
        back = message.extras.get("provider:openai-responses", {})
        assert back == ({"output": output} if output else {})
        encrypted += sum(bool(item.get("encrypted_content")) for item in output)
    assert encrypted


# Streams


def test_streams_give_the_same_events_however_they_are_cut(streamed: list[Row]) -> None:
    for row in streamed:
        data = row["response_text"].encode()
        whole = events_of([data])
        assert events_of(bytes([byte]) for byte in data) == whole, row["id"]
        for size in (7, 64, 1021):
            cut = [data[i : i + size] for i in range(0, len(data), size)]
            assert events_of(cut) == whole, (row["id"], size)


def test_a_stream_cut_in_two_anywhere_gives_the_same_events(streamed: list[Row]) -> None:
    """Every boundary of the shortest stream, and of the others those around each event's end."""
    shortest = min(streamed, key=lambda row: len(row["response_text"]))
    for row in streamed:
        data = row["response_text"].encode()
        whole = events_of([data])
        ends = [at for at in range(len(data)) if data.startswith(b"\n\n", at)]
        near = {at + step for at in ends for step in (-1, 0, 1, 2, 3)}
        cuts = range(len(data)) if row is shortest else sorted(near)
        for at in cuts:
            assert events_of([data[:at], data[at:]]) == whole, (row["id"], at)


def test_a_stream_ends_in_what_its_last_response_says_whole(streamed: list[Row]) -> None:
    assert len(streamed) > 5
    for row in streamed:
        final = payloads(row)[-1]["response"]
        answer = completion_of(row)
        assert answer == decode({"status": 200, "headers": {}, "response": final}), row["id"]
        check_nothing_is_lost(final, answer)
        check_the_visible_answer(final, answer)
        check_usage(final, answer)


def test_the_pieces_of_a_stream_add_up_to_its_answer(streamed: list[Row]) -> None:
    for row in streamed:
        events = events_of([row["response_text"].encode()])
        answer = completion_of(row)
        said = {
            kind: "".join(event.text for event in events if isinstance(event, kind))
            for kind in (TextDelta, ReasoningDelta, RefusalDelta)
        }
        assert said[TextDelta] == answer.text, row["id"]
        assert said[ReasoningDelta] == answer.reasoning
        assert said[RefusalDelta] == (answer.refusal or "")
        calls: dict[int, list[str]] = {}
        for event in events:
            if isinstance(event, ToolCallDelta):
                call = calls.setdefault(event.index, ["", "", ""])
                call[0] += event.id or ""
                call[1] += event.name or ""
                call[2] += event.arguments
        told = [[call.id, call.name, call.arguments] for call in answer.tool_calls]
        assert told == [call for _, call in sorted(calls.items())]
        assert [event.usage for event in events if isinstance(event, UsageUpdate)] == [answer.usage]
        assert isinstance(events[-1], Completed)


def test_each_piece_of_a_stream_is_an_event_of_its_own(streamed: list[Row]) -> None:
    for row in streamed:
        pieces = [
            payload["delta"]
            for payload in payloads(row)
            if payload["type"] in ("response.output_text.delta", "response.refusal.delta")
        ]
        events = events_of([row["response_text"].encode()])
        assert [event.text for event in events if isinstance(event, TextDelta)] == pieces


def test_what_an_earlier_event_of_a_stream_said_is_in_the_answer(streamed: list[Row]) -> None:
    """Two things are said twice and differ: how far it was, and reasoning encrypted once more."""
    form = {"type", "sequence_number", "item_id", "obfuscation", "delta"}
    form |= {"output_index", "content_index", "summary_index", "annotation_index"}
    for row in streamed:
        answer = completion_of(row)
        kept = {json.dumps(value) for _, value in leaves(answer.extras)}
        fields = (answer.response_id, answer.model, answer.service_tier, answer.raw_finish_reason)
        kept |= {json.dumps(value) for value in fields}
        for payload in payloads(row):
            for path, value in leaves(payload):
                if path[-1] in form or path[-1] in ("status", "encrypted_content"):
                    continue
                if path == ("response", "service_tier") and value == "auto":
                    continue  # what was asked for, before it was known what serves
                assert json.dumps(value) in kept, (row["id"], path, value)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_a_stream_that_breaks_off_keeps_what_it_had_and_does_not_pass_for_whole(
    streamed: list[Row], share: float
) -> None:
    for row in streamed:
        data = row["response_text"].encode()
        cut = data[: int(len(data) * share)]
        if b"event: response.completed" in cut:
            cut = cut[: cut.index(b"event: response.completed")]
        events = events_of([cut])
        assert isinstance(events[-1], Completed)
        answer = events[-1].completion
        assert (answer.usage, answer.usage_complete) == (None, False)
        assert (answer.finish_reason, answer.raw_finish_reason) == ("error", None)
        assert answer.service_tier is None
        said = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert answer.text == said
        assert completion_of(row).text.startswith(said)
        deltas = [event for event in events if isinstance(event, ToolCallDelta)]
        written = "".join(call.arguments for call in answer.tool_calls)
        assert written == "".join(event.arguments for event in deltas)
