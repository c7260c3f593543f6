"""A whole JSON answer in a stream's place is read, whatever the headers say, by every codec."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from recorded_rows import rows_of

from cascadeflow.errors import ProviderError, RateLimitedError
from cascadeflow.models.completion import Completed, Completion, TextDelta
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

WHOLE: dict[str, Any] = {
    "openai": {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]},
    "openai-responses": {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    },
    "anthropic": {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]},
    "bedrock": {"output": {"message": {"content": [{"text": "Hi"}]}}, "stopReason": "end_turn"},
    "cohere": {
        "message": {"content": [{"type": "text", "text": "Hi"}]},
        "finish_reason": "COMPLETE",
    },
}

NO_JSON: list[Mapping[str, str]] = [
    {},
    {"content-type": "text/event-stream"},
    {"content-type": "text/plain"},
    {"content-type": "application/problem+json"},
]


def read(provider: str, headers: Mapping[str, str], chunks: Iterable[bytes]) -> Completion:
    decoder = get_codec(provider).decoder(headers)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    assert decoder.failure is None
    events += decoder.finish()
    assert isinstance(events[-1], Completed)
    answer = events[-1].completion
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == answer.text
    return answer


@pytest.mark.parametrize("headers", NO_JSON)
@pytest.mark.parametrize("provider", WHOLE)
def test_a_whole_answer_is_read_where_a_stream_was_expected(
    provider: str, headers: Mapping[str, str]
) -> None:
    body = json.dumps(WHOLE[provider], indent=1).encode()
    expected = get_codec(provider).decode(200, headers, body)
    assert (expected.text, expected.finish_reason) == ("Hi", "stop")
    for lead in (b"", b"\r\n \n", b"\xef\xbb\xbf"):
        data = lead + body
        assert read(provider, headers, [data]).text == "Hi"
        answer = read(provider, headers, (bytes([byte]) for byte in data))
        assert (answer.text, answer.finish_reason) == ("Hi", "stop")


@pytest.mark.parametrize("provider", WHOLE)
def test_a_whole_error_in_a_streams_place_is_that_error(provider: str) -> None:
    body = b'{"error": {"message": "slow down", "code": 429}}'
    with pytest.raises(ProviderError) as caught:
        list(get_codec(provider).decode_stream([body[:9], body[9:]]))
    if provider != "bedrock":  # it has another form for errors
        assert type(caught.value) is RateLimitedError
    if provider != "gemini":  # whose decoder knows nothing of an answer yet
        partial = caught.value.partial
        assert partial is not None
        assert (partial.text, partial.usage, partial.finish_reason) == ("", None, "error")


def test_recorded_whole_answers_are_read_as_streams_too(recordings: Path) -> None:
    checked = 0
    for provider in ("bedrock", "gemini", "openai", "anthropic", "cohere", "openai-responses"):
        for row in rows_of(recordings, provider):
            text = row.get("response_text") or json.dumps(row.get("response"))
            if row["status"] != 200 or not text.startswith("{"):
                continue
            codec, data = get_codec(provider), text.encode()
            try:
                expected = codec.decode(200, {}, data)
            except ProviderError:
                continue
            events = list(codec.decode_stream([data[:100], data[100:]]))
            assert isinstance(events[-1], Completed)
            answer = events[-1].completion
            said = (answer.text, answer.tool_calls, answer.finish_reason, answer.usage)
            assert said == (
                expected.text,
                expected.tool_calls,
                expected.finish_reason,
                expected.usage,
            ), row["id"]
            checked += 1
    assert checked > 0


@pytest.mark.parametrize("provider", WHOLE)
def test_a_stream_handed_to_the_reader_of_whole_answers_is_a_typed_error(provider: str) -> None:
    with pytest.raises(ProviderError):
        get_codec(provider).decode(200, {}, b'data: {"a": 1}\n\n')
