"""Real answers of AI Studio and Vertex decode with nothing lost.

Each recorded response is read here a second time, leaf by leaf, without the codec's helpers: every
value that the provider sent is in the Completion's fields, or in its extras at the provider's path.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from recorded_rows import dig, leaves, rows_of

from cascadeflow.errors import BadRequestError, ModelNotFoundError, ProviderError
from cascadeflow.models.completion import (
    Completed,
    Completion,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from cascadeflow.models.usage import Usage
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from recorded_rows import Path_, Row

    from cascadeflow.models.completion import StreamEvent

PROVIDERS = ["gemini", "vertex"]


def wholes(folder: Path, provider: str) -> Iterator[tuple[str, Row, Completion]]:
    """Every answer that is no stream: its row's id, its body and what the codec made of it."""
    for row in rows_of(folder, provider):
        text = row.get("response_text", "")
        if row["status"] >= 400 or text.startswith("data:"):
            continue
        body = row["response"] if "response" in row else json.loads(text)
        data = json.dumps(body).encode()
        yield row["id"], body, get_codec(provider).decode(row["status"], {}, data)


def in_a_field(  # noqa: PLR0911 - a table, in the form of a match
    path: Path_, value: Any, answer: Completion, body: Row
) -> bool:
    """Whether a leaf is held by a field, or says only what the format itself says."""
    match path:
        case ("responseId",):
            return answer.response_id == value
        case ("modelVersion",):
            return answer.model == value
        case ("promptFeedback", "blockReason"):
            return answer.raw_finish_reason == value
        case ("candidates", 0, "index"):
            return bool(value == 0)
        case ("candidates", 0, "finishReason"):
            return answer.raw_finish_reason == value
        case ("candidates", 0, "content", "role"):
            return bool(value == "model")
        case ("candidates", 0, "content", "parts", int(index), "text"):
            thought = body["candidates"][0]["content"]["parts"][index].get("thought")
            return value in (answer.reasoning if thought else answer.text)
        case ("candidates", 0, "content", "parts", int(index), "functionCall", *rest):
            parts = body["candidates"][0]["content"]["parts"]
            number = sum("functionCall" in part for part in parts[:index])
            call = answer.tool_calls[number]
            said = {"id": call.id, "name": call.name, "args": json.loads(call.arguments)}
            return bool(dig(said, tuple(rest)) == value)
    return False


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_of_a_recorded_answer_is_lost(recordings: Path, provider: str) -> None:
    checked = 0
    for row_id, body, answer in wholes(recordings, provider):
        for path, value in leaves(body):
            held = in_a_field(path, value, answer, body)
            assert held or dig(answer.extras, path) == value, (row_id, path, value)
            checked += 1
        assert answer.extras["usageMetadata"] == body["usageMetadata"]
    assert checked > 1000


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_visible_answer_is_what_the_provider_wrote(recordings: Path, provider: str) -> None:
    reasons = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
    reasons |= {"MODEL_ARMOR": "content_filter", "UNEXPECTED_TOOL_CALL": "error"}
    for row_id, body, answer in wholes(recordings, provider):
        assert answer.usage_complete
        if "candidates" not in body:
            assert (answer.text, answer.tool_calls) == ("", ())
            assert answer.finish_reason == "content_filter"
            assert answer.raw_finish_reason == body["promptFeedback"]["blockReason"]
            continue
        [candidate] = body["candidates"]
        parts = (candidate.get("content") or {}).get("parts") or []
        texts = [part for part in parts if "text" in part]
        shown = [part["text"] for part in texts if not part.get("thought")]
        assert answer.text == "".join(shown), row_id
        assert answer.reasoning == "".join(part["text"] for part in texts if part.get("thought"))
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        told = [(call.name, json.loads(call.arguments)) for call in answer.tool_calls]
        assert told == [(call["name"], call.get("args", {})) for call in calls]
        ids = [call.id for call in answer.tool_calls]
        assert len(set(ids)) == len(ids)
        for call, call_id in zip(calls, ids, strict=True):
            assert call.get("id", call_id) == call_id
        reason = candidate["finishReason"]
        assert answer.raw_finish_reason == reason
        assert answer.finish_reason == ("tool_calls" if calls else reasons[reason]), row_id


def test_log_probabilities_are_those_of_the_chosen_tokens(recordings: Path) -> None:
    seen = 0
    for _, body, answer in wholes(recordings, "vertex"):
        result = body.get("candidates", [{}])[0].get("logprobsResult")
        if result is None:
            assert answer.logprobs is None
            continue
        assert answer.logprobs is not None
        chosen = result.get("chosenCandidates", [])
        assert [(each.token, each.logprob) for each in answer.logprobs] == [
            (each["token"], each["logProbability"]) for each in chosen
        ]
        for token, top in zip(answer.logprobs, result.get("topCandidates", []), strict=False):
            tops = [(each["token"], each["logProbability"]) for each in top["candidates"]]
            assert list(token.top) == tops
        seen += 1
    assert seen


# Usage


def by_modality(raw: Row, name: str, modality: str) -> int | None:
    found = [each["tokenCount"] for each in raw.get(name, []) if each["modality"] == modality]
    return sum(found) if found else None


def expected_usage(raw: Row) -> dict[str, int | None]:
    """What the documents say of each number, written down once more and on purpose naively."""
    buckets: dict[str, int | None] = dict.fromkeys(
        name for name in Usage.__slots__ if name != "requests"
    )
    prompt, cached = raw["promptTokenCount"], raw.get("cachedContentTokenCount")
    plain = prompt - (cached or 0) + raw.get("toolUsePromptTokenCount", 0)
    output = raw.get("candidatesTokenCount")
    for modality, name in (("AUDIO", "audio"), ("IMAGE", "image"), ("VIDEO", "video")):
        read = by_modality(raw, "cacheTokensDetails", modality)
        buckets[f"cache_read_{name}_tokens"] = read
        if cached is not None:
            cached -= read or 0
        sent = by_modality(raw, "promptTokensDetails", modality)
        if sent is not None:
            buckets[f"input_{name}_tokens"] = sent - (read or 0)
            plain -= sent - (read or 0)
        made = by_modality(raw, "candidatesTokensDetails", modality)
        buckets[f"output_{name}_tokens"] = made
        if output is not None:
            output -= made or 0
    buckets["input_tokens"] = plain
    buckets["cache_read_tokens"] = cached
    buckets["reasoning_tokens"] = raw.get("thoughtsTokenCount")
    if output is None and buckets["reasoning_tokens"] is None:
        output = raw["totalTokenCount"] - prompt  # the prompt was read, and nothing was made
    buckets["output_tokens"] = output
    return buckets


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_is_split_into_buckets_that_add_up(recordings: Path, provider: str) -> None:
    kinds = set()
    for row_id, body, answer in wholes(recordings, provider):
        raw = body["usageMetadata"]
        if "promptTokenCount" not in raw:
            assert answer.usage is None
            assert answer.finish_reason == "content_filter"
            continue
        assert answer.usage is not None
        counts = {name: getattr(answer.usage, name) for name in expected_usage(raw)}
        assert counts == expected_usage(raw), row_id
        assert answer.usage.total_tokens == raw["totalTokenCount"]
        into = raw["promptTokenCount"] + raw.get("toolUsePromptTokenCount", 0)
        assert answer.usage.total_input_tokens == into
        kinds |= {name for name, count in counts.items() if count}
    assert {"input_tokens", "output_tokens", "reasoning_tokens", "input_image_tokens"} <= kinds
    if provider == "gemini":
        assert {"cache_read_video_tokens", "cache_read_audio_tokens", "cache_read_tokens"} <= kinds


@pytest.mark.parametrize("provider", PROVIDERS)
def test_searches_are_counted_as_they_are_billed(recordings: Path, provider: str) -> None:
    """By the query, empty and repeated ones aside; up to Gemini 2.5 by the prompt."""
    searched = 0
    for row_id, body, answer in wholes(recordings, provider):
        candidate = (body.get("candidates") or [{}])[0]
        queries = set((candidate.get("groundingMetadata") or {}).get("webSearchQueries", []))
        for part in (candidate.get("content") or {}).get("parts", []):
            if part.get("toolCall", {}).get("toolType") == "GOOGLE_SEARCH_WEB":
                queries |= set(part["toolCall"]["args"]["queries"])
        count = len(queries - {""})
        if body["modelVersion"].startswith(("gemini-1", "gemini-2")):
            count = min(count, 1)
        if answer.usage is not None:
            assert dict(answer.usage.requests) == ({"web_search": count} if count else {}), row_id
        searched += count
    assert searched


def test_the_tier_that_served_is_named_as_everywhere_else(recordings: Path) -> None:
    for _, body, answer in wholes(recordings, "gemini"):
        assert answer.service_tier == body["usageMetadata"].get("serviceTier")
    for _, body, answer in wholes(recordings, "vertex"):
        assert body["usageMetadata"]["trafficType"] == "ON_DEMAND"
        assert answer.service_tier == "on_demand"
    [flex] = [row for row in rows_of(recordings, "vertex") if "ON_DEMAND_FLEX" in json.dumps(row)]
    last = list(get_codec("vertex").decode_stream([flex["response_text"].encode()]))[-1]
    assert isinstance(last, Completed)
    assert last.completion.service_tier == "flex"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_error_answers_raise_the_mapped_error_with_all_its_words(
    recordings: Path, provider: str
) -> None:
    classes = {400: BadRequestError, 404: ModelNotFoundError}
    for row in rows_of(recordings, provider):
        if row["status"] < 400:
            continue
        raw = row["response"]["error"]
        for body in (row["response"], [row["response"]]):
            with pytest.raises(ProviderError) as caught:
                get_codec(provider).decode(row["status"], {}, json.dumps(body).encode())
            error = caught.value
            assert type(error) is classes[row["status"]]
            assert (error.status, error.provider) == (row["status"], provider)
            assert (error.code, error.billed) == (raw["status"], False)
            assert not error.retryable
            assert error.details == row["response"]
            assert raw["message"][:100] in str(error)


# Streams


def streamed(folder: Path) -> Iterable[tuple[str, Row, bytes]]:
    for provider in PROVIDERS:
        for row in rows_of(folder, provider):
            text = row.get("response_text", "")
            if text.startswith("data:"):
                yield provider, row, text.encode()


def payloads(data: bytes) -> list[Row]:
    lines = [line[6:] for line in data.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines]


def events_of(provider: str, chunks: Iterable[bytes]) -> list[StreamEvent]:
    return list(get_codec(provider).decode_stream(chunks))


def last_of(events: list[StreamEvent]) -> Completion:
    assert isinstance(events[-1], Completed)
    return events[-1].completion


def test_streams_give_the_same_events_however_they_are_cut(recordings: Path) -> None:
    for provider, row, data in streamed(recordings):
        whole = events_of(provider, [data])
        assert events_of(provider, (bytes([byte]) for byte in data)) == whole, row["id"]
        for size in (7, 64, 1021):
            cut = [data[i : i + size] for i in range(0, len(data), size)]
            assert events_of(provider, cut) == whole, (row["id"], size)
        for at in range(0, len(data), 1 if len(data) < 2500 else 211):
            assert events_of(provider, [data[:at], data[at:]]) == whole, (row["id"], at)


def test_a_stream_holds_what_its_pieces_said(recordings: Path) -> None:
    for provider, row, data in streamed(recordings):
        pieces = payloads(data)
        events = events_of(provider, [data])
        answer = last_of(events)
        parts = [
            part
            for piece in pieces
            for part in (piece["candidates"][0].get("content") or {}).get("parts", [])
        ]
        shown = "".join(p.get("text", "") for p in parts if not p.get("thought"))
        thought = "".join(p.get("text", "") for p in parts if p.get("thought"))
        said = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert said == answer.text == shown, row["id"]
        reasoned = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
        assert reasoned == answer.reasoning == thought, row["id"]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        told = [event for event in events if isinstance(event, ToolCallDelta)]
        assert [(each.index, each.name) for each in told] == [
            (index, call["name"]) for index, call in enumerate(calls)
        ]
        assert [json.loads(call.arguments) for call in answer.tool_calls] == [
            call["args"] for call in calls
        ]
        assert [(each.id, each.arguments) for each in told] == [
            (call.id, call.arguments) for call in answer.tool_calls
        ]
        final = pieces[-1]["usageMetadata"]
        assert answer.extras["usageMetadata"] == final
        assert answer.usage_complete
        assert answer.usage is not None
        assert answer.usage.total_tokens == final["totalTokenCount"]
        usages = [event.usage for event in events if isinstance(event, UsageUpdate)]
        assert usages[-1] == answer.usage
        assert answer.finish_reason == ("tool_calls" if calls else "stop")


def test_nothing_of_a_recorded_stream_is_lost(recordings: Path) -> None:
    """Texts come in pieces and counts grow; every other value is in a field or in the extras."""
    for provider, row, data in streamed(recordings):
        answer = last_of(events_of(provider, [data]))
        kept = {json.dumps(value) for _, value in leaves(answer.extras)}
        kept |= {json.dumps(each) for each in (answer.response_id, answer.model, "model", 0)}
        kept.add(json.dumps(answer.raw_finish_reason))
        for call in answer.tool_calls:
            kept |= {json.dumps(each) for each in (call.id, call.name)}
            kept |= {json.dumps(value) for _, value in leaves(json.loads(call.arguments))}
        for payload in payloads(data):
            for path, value in leaves(payload):
                if path[-1] == "text" and "parts" in path:
                    assert value in answer.text + answer.reasoning
                elif path[0] != "usageMetadata":
                    assert json.dumps(value) in kept, (row["id"], path, value)


def test_the_pieces_as_one_json_list_are_the_same_answer(recordings: Path) -> None:
    """Without `alt=sse`, Google sends a stream so."""
    for provider, row, data in streamed(recordings):
        body = json.dumps(payloads(data)).encode()
        answer = get_codec(provider).decode(200, {}, body)
        assert answer == last_of(events_of(provider, [data])), row["id"]
        decoder = get_codec(provider).decoder({"content-type": "application/json; charset=UTF-8"})
        assert not decoder.feed(body)
        assert last_of(list(decoder.finish())) == answer


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_stream_that_breaks_off_does_not_pass_for_whole(recordings: Path, share: float) -> None:
    for provider, _, data in streamed(recordings):
        cut = data[: int(data.index(b'"finishReason"') * share)]
        answer = last_of(events_of(provider, [cut]))
        assert not answer.usage_complete
        assert answer.raw_finish_reason is None
        assert answer.finish_reason == "error"
