"""Chat completions of forms that no recording shows: nothing of them is lost or told twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import OverloadedError, ProviderError
from cascadeflow.models.completion import Completed, Completion, TextDelta, ToolCallDelta
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from cascadeflow.models.completion import StreamEvent

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": more.pop("index", 0), "delta": delta or {}, "finish_reason": finish}
    body = {"id": "x", "model": "m", "choices": [choice], **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def call(**fields: Any) -> bytes:
    return chunk({"tool_calls": [fields]})


END = chunk({}, "stop", usage=USAGE) + b"data: [DONE]\n\n"


def read(provider: str, *pieces: bytes) -> tuple[list[StreamEvent], Completion]:
    events = list(get_codec(provider).decode_stream(pieces))
    assert isinstance(events[-1], Completed)
    return events, events[-1].completion


def calls_of(answer: Completion) -> list[tuple[str, str, str]]:
    return [(each.id, each.name, each.arguments) for each in answer.tool_calls]


def test_text_between_parts_goes_back_to_mistral_where_it_stood() -> None:
    def thinking(text: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    reference = {"type": "reference", "reference_ids": [1]}
    _, answer = read(
        "mistral",
        chunk({"content": "First. "}),
        chunk({"content": [thinking("hm")]}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"content": [{"type": "text", "text": "!"}]}),
        chunk({"content": [reference]}),
        chunk({"content": " Bye."}),
        END,
    )
    assert answer.text == "First. Hello! Bye."
    assert answer.reasoning == "hm"
    back = get_codec("mistral").assistant_message(answer).extras["provider:mistral"]["content"]
    assert [part["type"] for part in back] == [
        *("text", "thinking", "text", "text", "reference", "text")
    ]
    texts = [part["text"] for part in back if part["type"] == "text"]
    assert "".join(texts) == answer.text


def test_a_call_of_a_kind_that_nobody_here_can_answer_is_kept_and_is_no_tool_call() -> None:
    odd = {"index": 0, "id": "a", "type": "web_search", "web_search": {"query": "q"}}
    _, answer = read("openai", chunk({"tool_calls": [odd]}), END)
    assert answer.tool_calls == ()
    assert answer.extras["choices"][0]["message"]["tool_calls"] == [odd]


def test_calls_without_number_and_id_are_told_apart_by_their_names() -> None:
    events, answer = read(
        "ollama",
        call(function={"name": "f", "arguments": '{"a":'}),
        call(function={"arguments": "1}"}),
        call(function={"name": "f", "arguments": {"a": 2}}),
        call(function={"name": "g", "arguments": "{}"}),
        END,
    )
    assert calls_of(answer) == [("", "f", '{"a":1}'), ("", "f", '{"a":2}'), ("", "g", "{}")]
    told = [event.index for event in events if isinstance(event, ToolCallDelta)]
    assert told == [0, 0, 1, 2]


def test_a_name_that_each_piece_repeats_begins_no_call() -> None:
    _, answer = read(
        "openai",
        call(function={"name": "f", "arguments": '{"a"'}),
        call(function={"name": "f", "arguments": ":1}"}),
        END,
    )
    assert calls_of(answer) == [("", "f", '{"a":1}')]


def test_an_id_that_comes_ahead_of_its_function_is_its_calls_id() -> None:
    _, answer = read(
        "openai",
        call(index=0, id="a", type="function"),
        call(index=0, function={"name": "f", "arguments": "{}"}),
        END,
    )
    assert calls_of(answer) == [("a", "f", "{}")]


def test_calls_whose_pieces_alternate_are_put_together_by_their_numbers() -> None:
    both = [
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"y":'}},
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}},
    ]
    _, answer = read(
        "openai",
        chunk({"tool_calls": both}),
        call(index=0, function={"arguments": "1}"}),
        call(index=1, function={"arguments": "2}"}),
        END,
    )
    assert sorted(calls_of(answer)) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


@pytest.mark.parametrize("line", [b"data:\n\n", b"data: \n\n", b": OPENROUTER PROCESSING\n\n"])
def test_a_sign_of_life_says_nothing(line: bytes) -> None:
    _, answer = read("openrouter", line, chunk({"content": "a"}), line, END, line)
    assert (answer.text, answer.finish_reason, answer.usage_complete) == ("a", "stop", True)


def test_the_end_counts_with_white_space_around_it() -> None:
    _, answer = read("openai", chunk({"content": "a"}), b"data: [DONE] \n\n")
    assert answer.usage_complete


def test_what_stands_beside_an_error_in_a_stream_is_in_its_partial_answer() -> None:
    fault = {"code": 502, "message": "the upstream broke off"}
    broken = chunk({"content": "tail"}, "error", error=fault, usage=USAGE)
    decoder = get_codec("openrouter").decoder()
    events = [*decoder.feed(chunk({"content": "a "}) + broken)]
    assert [each.text for each in events if isinstance(each, TextDelta)] == ["a ", "tail"]
    with pytest.raises(OverloadedError, match="the upstream broke off") as caught:
        decoder.finish()
    partial = caught.value.partial
    assert partial is not None
    assert partial.text == "a tail"
    assert partial.usage is not None
    assert (partial.usage.total_input_tokens, partial.usage.total_output_tokens) == (10, 5)


def test_a_stream_that_groq_stopped_early_is_an_error() -> None:
    stopped = chunk({}, None, x_groq={"id": "req_1", "error": "over capacity"})
    with pytest.raises(ProviderError, match="over capacity") as caught:
        read("groq", chunk({"content": "a"}), stopped, b"data: [DONE]\n\n")
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"


def test_xai_says_what_it_charged_in_ten_billionths_of_a_dollar() -> None:
    codec = get_codec("xai")
    for ticks, nanodollars in ((37_756_000, 3_775_600), (37_756_001, 3_775_601), (0, 0)):
        usage = {**USAGE, "cost_in_usd_ticks": ticks}
        body = {"choices": [{"message": {"content": "a"}}], "usage": usage}
        assert codec.decode(200, {}, json.dumps(body).encode()).reported_cost == nanodollars
    odd: Any
    for odd in (True, -1, 1.5, "7", None, 10**30):
        usage = {**USAGE, "cost_in_usd_ticks": odd}
        body = {"choices": [{"message": {"content": "a"}}], "usage": usage}
        assert codec.decode(200, {}, json.dumps(body).encode()).reported_cost is None


def test_a_choice_that_is_not_the_first_keeps_its_number() -> None:
    _, answer = read("openai", chunk({"content": "B"}, index=1), chunk({"content": "A"}), END)
    assert answer.text == "B"
    assert [choice["index"] for choice in answer.extras["choices"]] == [1, 0]
    assert answer.extras["choices"][1]["message"]["content"] == "A"
