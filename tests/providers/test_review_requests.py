"""Requests of forms that providers refuse are written in a form that they take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.codecs import get_codec
from cascadeflow.types import ChatRequest, DocumentPart, ImagePart, Message, TextPart, ToolCall

IMAGE = ImagePart(data="AAAA", media_type="image/png")
PDF = DocumentPart(data="JVBERi0=", media_type="application/pdf", name="a.pdf")

USER = Message("user", "look")
CALLS = Message("assistant", tool_calls=(ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}")))
RESULTS = (
    Message("tool", (TextPart("see"), IMAGE), tool_call_id="c1"),
    Message("tool", (PDF,), tool_call_id="c2"),
)


def messages(provider: str, *written: Message) -> list[dict[str, Any]]:
    encoded = get_codec(provider).encode(ChatRequest("m", written))
    sent: list[dict[str, Any]] = json.loads(encoded.body)["messages"]
    return sent


@pytest.mark.parametrize("then", [(), (Message("user", "well?"),)])
def test_files_in_a_tools_result_stand_behind_the_results(then: tuple[Message, ...]) -> None:
    sent = messages("openai", USER, CALLS, *RESULTS, *then)
    roles = ["user", "assistant", "tool", "tool", "user", *("user" for _ in then)]
    assert [each["role"] for each in sent] == roles
    first, second, behind = sent[2:5]
    assert first == {
        "role": "tool",
        "content": [{"type": "text", "text": "see"}],
        "tool_call_id": "c1",
    }
    assert second == {"role": "tool", "content": "", "tool_call_id": "c2"}
    kinds = [part["type"] for part in behind["content"]]
    assert kinds == ["text", "image_url", "text", "file"]
    assert "c1" in behind["content"][0]["text"]
    assert "c2" in behind["content"][2]["text"]


def test_mistral_takes_files_in_a_tools_result_and_no_user_behind_it() -> None:
    sent = messages("mistral", USER, CALLS, *RESULTS)
    assert [each["role"] for each in sent] == ["user", "assistant", "tool", "tool"]
    assert [part["type"] for part in sent[2]["content"]] == ["text", "image_url"]
    assert [part["type"] for part in sent[3]["content"]] == ["document_url"]


def test_a_result_of_text_parts_alone_is_written_as_before() -> None:
    result = Message("tool", (TextPart("a"), TextPart("b")), tool_call_id="c1")
    sent = messages("openai", USER, CALLS, result)
    assert sent[2]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert len(sent) == 3


def test_cohere_has_no_words_for_an_image_in_a_tools_result() -> None:
    with pytest.raises(InvalidRequestError, match="no images in a tool's result"):
        messages("cohere", USER, CALLS, RESULTS[0])


def test_anthropic_is_not_sent_messages_without_content() -> None:
    nothing = Message("assistant", "")
    sent = messages("anthropic", Message("user", "a"), nothing, Message("user", "b"))
    assert sent == [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(InvalidRequestError, match="add the user's"):
        messages("anthropic", Message("user", ""))
    empty_result = Message("tool", "", tool_call_id="c1")
    assert messages("anthropic", USER, CALLS, empty_result)[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1"}
    ]
