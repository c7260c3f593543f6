"""Real answers of real providers decode with nothing lost.

Each recorded response is read here a second time, leaf by leaf, without the codec's helpers: every
value that the provider sent is in the Completion's fields, or in its extras at the provider's path.
"""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

import pytest
from recorded_rows import dig, headers_of, leaves, rows_of

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
    from collections.abc import Iterable
    from pathlib import Path

    from recorded_rows import Path_, Row

    from cascadeflow.models.completion import StreamEvent

PROVIDERS = ["openai", "azure", "cerebras", "crusoe", "deepseek", "groq", "huggingface", "mistral"]
PROVIDERS += ["ollama", "openrouter", "snowflake", "zai", "anthropic"]


def decode(provider: str, row: Row) -> Completion:
    body = json.dumps(row["response"]).encode()
    return get_codec(provider).decode(row["status"], headers_of(row), body)


def openai_field(  # noqa: C901, PLR0911 - a table, in the form of a match
    path: Path_, value: Any, answer: Completion
) -> bool:
    """Whether a leaf is held by a field, or says only what the format itself says."""
    match path:
        case ("id",):
            return answer.response_id == value
        case ("model",):
            return answer.model == value
        case ("service_tier",):
            return answer.service_tier == value
        case ("choices", 0, "index"):
            return value == 0
        case ("choices", 0, "finish_reason"):
            return answer.raw_finish_reason == value
        case ("choices", 0, "message", "role"):
            return value == "assistant"
        case ("choices", 0, "message", "content"):
            return answer.text == value
        case ("choices", 0, "message", "content", _, "text"):
            return value in answer.text
        case ("choices", 0, "message", "content", _, "type"):
            return value == "text"
        case ("choices", 0, "message", "reasoning" | "reasoning_content"):
            return answer.reasoning == value
        case ("choices", 0, "message", "refusal"):
            return answer.refusal == value
        case ("choices", 0, "message", "tool_calls", int(index), *rest):
            call = answer.tool_calls[index]
            held: dict[Any, Any] = {
                ("id",): call.id,
                ("index",): index,
                ("type",): "function",
                ("function", "name"): call.name,
                ("function", "arguments"): call.arguments,
            }
            return held.get(tuple(rest)) == value
    return False


def anthropic_field(  # noqa: PLR0911 - a table, in the form of a match
    path: Path_, value: Any, answer: Completion, body: Row
) -> bool:
    match path:
        case ("id",):
            return answer.response_id == value
        case ("model",):
            return answer.model == value
        case ("type",):
            return value == "message"
        case ("role",):
            return value == "assistant"
        case ("stop_reason",):
            return answer.raw_finish_reason == value
        case ("content", int(index), *rest):
            block = body["content"][index]
            if block["type"] == "text":
                return (rest == ["type"]) or (rest == ["text"] and value in answer.text)
            if block["type"] == "tool_use":
                call = next(call for call in answer.tool_calls if call.id == block["id"])
                said = {"type": "tool_use", "id": call.id, "name": call.name}
                return bool(
                    dig({**said, "input": json.loads(call.arguments)}, tuple(rest)) == value
                )
    return False


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_of_a_recorded_answer_is_lost(recordings: Path, provider: str) -> None:
    checked = 0
    for row in rows_of(recordings, provider):
        if "response" not in row or row["status"] >= 400:
            continue
        answer = decode(provider, row)
        for path, value in leaves(row["response"]):
            held = (
                anthropic_field(path, value, answer, row["response"])
                if provider == "anthropic"
                else openai_field(path, value, answer)
            )
            assert held or dig(answer.extras, path) == value, (row["id"], path, value)
            checked += 1
    assert checked > 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_visible_answer_is_what_the_provider_wrote(recordings: Path, provider: str) -> None:
    for row in rows_of(recordings, provider):
        if "response" not in row or row["status"] >= 400:
            continue
        answer, body = decode(provider, row), row["response"]
        if provider == "anthropic":
            texts = [block["text"] for block in body["content"] if block["type"] == "text"]
            calls = [block["id"] for block in body["content"] if block["type"] == "tool_use"]
            reason = body["stop_reason"]
        else:
            message = body["choices"][0]["message"]
            content = message.get("content") or ""
            texts = (
                [content]
                if isinstance(content, str)
                else [part["text"] for part in content if part["type"] == "text"]
            )
            calls = [call["id"] for call in message.get("tool_calls") or []]
            reason = body["choices"][0]["finish_reason"]
        assert answer.text == "".join(texts)
        assert [call.id for call in answer.tool_calls] == calls
        assert answer.raw_finish_reason == reason
        assert (answer.finish_reason == "unknown") == (reason == "")
        assert answer.usage_complete


def expected_openai_usage(raw: Row) -> dict[str, int | None]:
    """What the documents say of each number, written down once more and on purpose naively."""
    prompt, made = raw["prompt_tokens"], raw["completion_tokens"]
    into = raw.get("prompt_tokens_details") or {}
    out = raw.get("completion_tokens_details") or {}
    names = ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")
    cached = into.get("cached_tokens")
    for name in names:
        cached = raw.get(name) if cached is None else cached
    written, audio = into.get("cache_write_tokens"), into.get("audio_tokens")
    if written is not None and (cached or 0) + written > prompt:
        written = prompt - (cached or 0)  # the same tokens were written and read
    reasoning, spoken = out.get("reasoning_tokens"), out.get("audio_tokens")
    if reasoning is not None:
        reasoning = min(reasoning, made)
    seen = {
        f"{side}_{kind}_tokens": details.get(f"{kind}_tokens")
        for side, details in (("input", into), ("output", out))
        for kind in ("image", "video")
    }
    looked_at = (seen["input_image_tokens"] or 0) + (seen["input_video_tokens"] or 0)
    shown = (seen["output_image_tokens"] or 0) + (seen["output_video_tokens"] or 0)
    return {
        **seen,
        "input_tokens": prompt - (cached or 0) - (written or 0) - (audio or 0) - looked_at,
        "cache_read_tokens": cached,
        "cache_write_5m_tokens": written,
        "cache_write_1h_tokens": None,
        "input_audio_tokens": audio,
        "cache_read_audio_tokens": None,
        "output_tokens": made - (reasoning or 0) - (spoken or 0) - shown,
        "reasoning_tokens": reasoning,
        "output_audio_tokens": spoken,
    }


def expected_anthropic_usage(raw: Row) -> dict[str, int | None]:
    split = raw.get("cache_creation") or {}
    thinking = (raw.get("output_tokens_details") or {}).get("thinking_tokens")
    for_an_hour = split.get("ephemeral_1h_input_tokens")
    return {
        "input_tokens": raw["input_tokens"],
        "cache_read_tokens": raw["cache_read_input_tokens"],
        "cache_write_5m_tokens": raw["cache_creation_input_tokens"] - (for_an_hour or 0),
        "cache_write_1h_tokens": for_an_hour,
        "input_audio_tokens": None,
        "cache_read_audio_tokens": None,
        "output_tokens": raw["output_tokens"] - (thinking or 0),
        "reasoning_tokens": thinking,
        "output_audio_tokens": None,
    }


def buckets(usage: Usage) -> dict[str, int | None]:
    names = [name for name in Usage.__slots__ if name != "requests"]
    return {name: getattr(usage, name) for name in names}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_is_split_into_buckets_that_add_up(recordings: Path, provider: str) -> None:
    expected = expected_anthropic_usage if provider == "anthropic" else expected_openai_usage
    for row in rows_of(recordings, provider):
        if "response" not in row or row["status"] >= 400:
            continue
        answer, raw = decode(provider, row), row["response"]["usage"]
        assert answer.usage is not None
        assert buckets(answer.usage) == {**buckets(Usage()), **expected(raw)}, row["id"]
        searches = sum(
            (raw.get(name) or {}).get("web_search_requests") or 0
            for name in ("server_tool_use", "server_tool_use_details")
        )
        assert answer.usage.requests.get("web_search", 0) == searches
        advised = [
            each for each in raw.get("iterations") or [] if each["type"] == "advisor_message"
        ]
        assert answer.usage.requests.get("advisor", 0) == len(advised)


def test_openrouter_says_what_it_charged(recordings: Path) -> None:
    seen = 0
    for row in rows_of(recordings, "openrouter"):
        if "response" not in row:
            continue
        raw = row["response"]["usage"]
        answer = decode("openrouter", row)
        if "cost" not in raw:
            assert answer.reported_cost is None
            continue
        dollars = raw["cost"]
        if raw.get("is_byok"):
            dollars += raw["cost_details"]["upstream_inference_cost"]
        exact = Decimal(str(dollars)) * 10**9
        assert answer.reported_cost == int(exact.to_integral_value(ROUND_CEILING))
        seen += 1
    assert seen


@pytest.mark.parametrize("provider", PROVIDERS)
def test_error_answers_raise_the_mapped_error_with_all_its_words(
    recordings: Path, provider: str
) -> None:
    classes = {400: BadRequestError, 404: ModelNotFoundError}
    for row in rows_of(recordings, provider):
        if row["status"] < 400:
            continue
        with pytest.raises(ProviderError) as caught:
            decode(provider, row)
        error = caught.value
        assert type(error) is classes[row["status"]]
        assert (error.status, error.provider) == (row["status"], provider)
        assert error.billed is False
        assert not error.retryable
        assert error.details == row["response"]
        assert row["response"]["error"]["message"][:100] in str(error)


# Streams


def streamed(folder: Path) -> Iterable[tuple[str, Row]]:
    for provider in PROVIDERS:
        for row in rows_of(folder, provider):
            if "response_text" in row:
                yield provider, row


def events_of(provider: str, chunks: Iterable[bytes]) -> list[StreamEvent | str]:
    """The events, and at the end the error's class where the stream carries one."""
    events: list[StreamEvent | str] = []
    try:
        events.extend(get_codec(provider).decode_stream(chunks))
    except ProviderError as error:
        events.append(f"{type(error).__name__}: {error} / {error.partial}")
    return events


def test_streams_give_the_same_events_however_they_are_cut(recordings: Path) -> None:
    for provider, row in streamed(recordings):
        data = row["response_text"].encode()
        whole = events_of(provider, [data])
        assert events_of(provider, (bytes([byte]) for byte in data)) == whole, row["id"]
        for size in (7, 64, 1021):
            cut = [data[i : i + size] for i in range(0, len(data), size)]
            assert events_of(provider, cut) == whole, (row["id"], size)


def payloads(row: Row) -> list[Row]:
    lines = [line[6:] for line in row["response_text"].splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_a_stream_holds_what_its_pieces_said(recordings: Path) -> None:
    for provider, row in streamed(recordings):
        pieces = payloads(row)
        events = events_of(provider, [row["response_text"].encode()])
        if provider == "anthropic":
            deltas = [piece["delta"] for piece in pieces if piece["type"] == "content_block_delta"]
            text = "".join(delta.get("text", "") for delta in deltas)
            thought = "".join(delta.get("thinking", "") for delta in deltas)
            usages = [piece["usage"] for piece in pieces if piece["type"] == "message_delta"]
            counted = [(each["input_tokens"], each["output_tokens"]) for each in usages]
        else:
            choices = [choice for piece in pieces for choice in piece.get("choices", [])]
            deltas = [choice["delta"] for choice in choices]
            text = "".join(delta.get("content") or "" for delta in deltas)
            thought = "".join(delta.get("reasoning") or "" for delta in deltas)
            usages = [piece["usage"] for piece in pieces if piece.get("usage")]
            counted = [(each["prompt_tokens"], each["completion_tokens"]) for each in usages]
        said = [event.text for event in events if isinstance(event, TextDelta)]
        assert "".join(said) == text, row["id"]
        reasoned = [event.text for event in events if isinstance(event, ReasoningDelta)]
        assert "".join(reasoned) == thought, row["id"]
        if isinstance(events[-1], str):
            assert not counted
            continue
        assert isinstance(events[-1], Completed)
        answer = events[-1].completion
        assert (answer.text, answer.reasoning) == (text, thought)
        assert answer.usage is not None
        assert answer.usage_complete
        assert [event.usage for event in events if isinstance(event, UsageUpdate)][
            -1
        ] == answer.usage
        assert (answer.usage.total_input_tokens, answer.usage.total_output_tokens) == counted[-1]
        assert answer.finish_reason != "unknown"
        check_calls(events, answer)


def check_calls(events: list[StreamEvent | str], answer: Completion) -> None:
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call = calls.setdefault(event.index, ["", "", ""])
            call[0] += event.id or ""
            call[1] += event.name or ""
            call[2] += event.arguments
    told = [[call.id, call.name, call.arguments] for call in answer.tool_calls]
    assert told == [[*call[:2], call[2] or "{}"] for _, call in sorted(calls.items())]
    for call in answer.tool_calls:
        json.loads(call.arguments)


def test_nothing_of_a_recorded_stream_is_lost(recordings: Path) -> None:
    """Texts come in pieces; every other value is in a field or in the extras."""
    for provider, row in streamed(recordings):
        events = events_of(provider, [row["response_text"].encode()])
        if isinstance(events[-1], str):
            continue
        assert isinstance(events[-1], Completed)
        answer = events[-1].completion
        kept = {json.dumps(value) for _, value in leaves(answer.extras)}
        fields = (
            answer.response_id,
            answer.model,
            answer.service_tier,
            answer.raw_finish_reason,
            *(text for call in answer.tool_calls for text in (call.id, call.name)),
        )
        kept |= {json.dumps(value) for value in fields}
        format_words = {"assistant", "function", "message", "text", "tool_use", "text_delta"}
        pieces = {"content", "reasoning", "arguments", "text", "partial_json", "thinking"}
        for payload in payloads(row):
            if payload.get("type") in ("ping", "content_block_stop", "message_stop"):
                continue
            for path, value in leaves(payload):
                name = path[-1]
                if name in pieces or name in ("index", "obfuscation", "type"):
                    continue
                if "usage" in path and provider == "anthropic":
                    continue  # counts grow: the last ones stand
                if value in format_words:
                    continue
                assert json.dumps(value) in kept, (row["id"], path, value)


def test_a_stream_that_carries_an_error_gives_what_came_before_and_then_raises(
    recordings: Path,
) -> None:
    seen = 0
    for provider, row in streamed(recordings):
        if provider != "groq" or "event: error" not in row["response_text"]:
            continue
        events: list[StreamEvent] = []
        with pytest.raises(BadRequestError) as caught:
            events.extend(get_codec(provider).decode_stream([row["response_text"].encode()]))
        assert events
        assert caught.value.code == "tool_use_failed"
        assert caught.value.billed is None
        assert caught.value.partial.reasoning
        seen += 1
    assert seen


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_stream_that_breaks_off_does_not_pass_for_whole(recordings: Path, share: float) -> None:
    for provider, row in streamed(recordings):
        data = row["response_text"].encode()
        cut = data[: int(len(data) * share)]
        if b'finish_reason":"' in cut or b'stop_reason":"' in cut or b"event: error" in cut:
            continue
        last = list(get_codec(provider).decode_stream([cut]))[-1]
        assert isinstance(last, Completed)
        assert not last.completion.usage_complete
        assert last.completion.finish_reason == "error"
