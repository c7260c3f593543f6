"""What a caller may write, and what it becomes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.config import ModelConfig
from cascadeflow.pipeline.request import normalise
from cascadeflow.types import (
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}


def test_a_query_is_one_user_message() -> None:
    assert normalise("What is 2 + 2?").messages == (Message("user", "What is 2 + 2?"),)


def test_messages_in_the_openai_form_are_read_in_full() -> None:
    request = normalise(
        messages=[
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"},
                    },
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {
                        "type": "file",
                        "file": {
                            "filename": "a.pdf",
                            "file_data": "data:application/pdf;base64,QUJD",
                        },
                    },
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "reasoning_content": "hm",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ]
    )
    assert request.messages == (
        Message("system", "Be brief."),
        Message(
            "user",
            (
                TextPart("What is this?"),
                ImagePart(url="https://x.example/a.png"),
                ImagePart(data="QUJD", media_type="image/png", detail="low"),
                DocumentPart(file_id="file-1"),
                DocumentPart(data="QUJD", media_type="application/pdf", name="a.pdf"),
            ),
            name="ann",
        ),
        Message(
            "assistant",
            "",
            tool_calls=(ToolCall("c1", "weather", '{"city": "Oslo"}'),),
            extras={"reasoning_content": "hm"},
        ),
        Message("tool", "rain", tool_call_id="c1"),
    )
    assert request.has_images


def test_message_records_pass_as_they_are() -> None:
    messages = [Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "Bye")]
    assert normalise(messages=messages).messages == tuple(messages)
    assert normalise(messages=iter(messages)).messages == tuple(messages)


def test_a_system_prompt_goes_before_the_conversation() -> None:
    assert normalise("Hi", system_prompt="Be brief.").messages == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
    )


def test_a_models_system_prompt_gives_way_to_the_conversations_own() -> None:
    model = ModelConfig(name="m", provider="openai", system_prompt="Model's.", temperature=0.3)
    plain = normalise("Hi").for_model(model, max_tokens=None)
    assert plain.messages[0] == Message("system", "Model's.")
    assert plain.temperature == 0.3
    own = normalise("Hi", system_prompt="Call's.", temperature=0.0).for_model(
        model, max_tokens=None
    )
    assert own.messages[0] == Message("system", "Call's.")
    assert own.temperature == 0.0


def test_nothing_is_sent_that_nobody_said() -> None:
    request = normalise("Hi").for_model(ModelConfig("m", "openai"), max_tokens=None)
    assert request.max_tokens is None
    assert request.temperature is None
    assert request.top_p is None
    assert request.seed is None
    assert request.stop == ()
    assert request.tools == ()
    assert request.extra == {}


def test_every_option_reaches_the_models_request() -> None:
    request = normalise(
        "Hi",
        temperature=0.5,
        top_p=0.9,
        stop=["END"],
        seed=7,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"x": 1}}},
        extra={"service_tier": "flex"},
    ).for_model(ModelConfig("m", "openai"), max_tokens=9)
    assert request.model == "m"
    assert (request.max_tokens, request.temperature, request.top_p) == (9, 0.5, 0.9)
    assert (request.stop, request.seed) == (("END",), 7)
    assert request.tools == (
        Tool("weather", "The weather somewhere", WEATHER["function"]["parameters"], True),  # type: ignore[index]
    )
    assert request.tool_choice == "weather"
    assert request.response_format == ResponseFormat("json_schema", {"x": 1}, "a")
    assert request.extra == {"service_tier": "flex"}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "weather", "parameters": {"type": "object"}},
        Tool("weather", parameters={"type": "object"}),
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}},
    ],
)
def test_a_tool_may_be_written_in_three_ways(tool: Any) -> None:
    assert normalise("Hi", tools=[tool]).tools == (Tool("weather", "", {"type": "object"}),)


def test_changing_a_callers_dicts_afterwards_changes_nothing() -> None:
    tools = [copy.deepcopy(WEATHER)]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    extra = {"metadata": {"a": 1}}
    own = Tool("own", parameters={"type": "object"})
    request = normalise(
        "Hi",
        tools=[*tools, own],
        response_format=ResponseFormat("json_schema", schema),
        extra=extra,
    )
    before = repr(request)
    tools[0]["function"]["parameters"]["properties"]["city"]["type"] = "integer"  # type: ignore[index]
    schema["properties"]["a"]["type"] = "string"  # type: ignore[index]
    extra["metadata"]["a"] = 2
    own.parameters["type"] = "array"  # type: ignore[index]
    assert repr(request) == before


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "either query="),
    ({"query": "Hi", "messages": [{"role": "user", "content": "Hi"}]}, "not both"),
    ({"query": "  "}, "query is empty"),
    ({"query": 3}, "query must be text"),
    ({"messages": []}, "messages is empty"),
    ({"messages": "Hi"}, "sequence of messages"),
    ({"messages": {"role": "user", "content": "Hi"}}, "sequence of messages"),
    ({"messages": ["Hi"]}, r"messages\[0\] must be a Message"),
    ({"messages": [{"role": "boss", "content": "Hi"}]}, r"messages\[0\].role"),
    ({"messages": [{"role": "user"}]}, "no content"),
    ({"messages": [{"role": "user", "content": "Hi", "mood": "bad"}]}, "mood"),
    ({"messages": [{"role": "user", "content": 3}]}, "text or a list of parts"),
    ({"messages": [{"role": "user", "content": "Hi", "name": 3}]}, "name must be text"),
    ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "image_url or file"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}, "must be text"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]},
        "would be lost: x",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "needs a url"),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": "data:png,xx"}]}
            ]
        },
        "a data: URL reads",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "file_id or"),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_data": "abc"}}]}
            ]
        },
        "file_data must be a data: URL",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
    ({"messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]}, "tool_call_id"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "only an assistant"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "must be a function call"),
    ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "must be a list"),
    ({"query": "half \ud83d of one"}, "half a surrogate pair at character 5"),
    ({"query": "Hi", "system_prompt": ""}, "system_prompt"),
    (
        {"messages": [{"role": "system", "content": "a"}], "system_prompt": "b"},
        "state it once",
    ),
    ({"query": "Hi", "max_tokens": 0}, "max_tokens must be at least 1"),
    ({"query": "Hi", "max_tokens": True}, "max_tokens must be a whole number"),
    ({"query": "Hi", "max_tokens": 1.5}, "max_tokens must be a whole number"),
    ({"query": "Hi", "temperature": -1}, r"temperature must lie in 0\.\.2"),
    ({"query": "Hi", "temperature": float("nan")}, "temperature must be a number"),
    ({"query": "Hi", "top_p": 1.5}, r"top_p must lie in 0\.\.1"),
    ({"query": "Hi", "seed": "x"}, "seed must be a whole number"),
    ({"query": "Hi", "stop": [""]}, "stop must be"),
    ({"query": "Hi", "stop": 3}, "stop must be"),
    ({"query": "Hi", "tools": True}, "tools must be a list"),
    ({"query": "Hi", "tools": WEATHER}, "tools must be a list"),
    ({"query": "Hi", "tools": [3]}, r"tools\[0\] must be a Tool"),
    ({"query": "Hi", "tools": [{"description": "x"}]}, r"tools\[0\] needs a name"),
    ({"query": "Hi", "tools": [{"name": "a", "color": "red"}]}, "no tool has: color"),
    ({"query": "Hi", "tools": [{"name": "a", "parameters": 3}]}, "JSON schema"),
    ({"query": "Hi", "tools": [{"name": "a", "strict": "yes"}]}, "strict"),
    ({"query": "Hi", "tools": [{"name": "a", "description": 3}]}, "description must be text"),
    ({"query": "Hi", "tools": [{"type": "web", "function": {"name": "a"}}]}, "not a function"),
    (
        {"query": "Hi", "tools": [{"name": "a", "parameters": {"x": {1, 2}}}]},
        "holds a set, which is not JSON",
    ),
    (
        {"query": "Hi", "tools": [{"name": "a", "parameters": {"x": float("inf")}}]},
        "not JSON",
    ),
    ({"query": "Hi", "tools": [{"name": "a", "parameters": {3: 4}}]}, "not text"),
    ({"query": "Hi", "tool_choice": "auto"}, "needs tools="),
    ({"query": "Hi", "tools": [WEATHER], "tool_choice": "rain"}, "one of weather"),
    ({"query": "Hi", "response_format": "json"}, "response_format must be"),
    ({"query": "Hi", "response_format": {"type": "xml"}}, "not 'xml'"),
    ({"query": "Hi", "response_format": {"type": "json_schema"}}, "needs a schema"),
    ({"query": "Hi", "response_format": {"type": "json_schema", "json_schema": 3}}, "a dict"),
    ({"query": "Hi", "extra": {"model": "x"}}, "extra may not set model"),
    ({"query": "Hi", "extra": [1]}, "extra must be a dict"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_a_wrong_argument_is_named_with_what_would_be_right(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        normalise(**arguments)


def test_json_nested_without_end_is_refused_before_it_overflows() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with pytest.raises(InvalidRequestError, match="levels deep"):
        normalise("Hi", extra=endless)


def test_a_text_response_format_asks_for_nothing() -> None:
    assert normalise("Hi", response_format={"type": "text"}).response_format is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)
message_like = st.dictionaries(
    st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "extra"]),
    st.sampled_from(["user", "assistant", "tool", "system", "text"]) | json_values,
)


@given(messages=st.lists(message_like | json_values, max_size=4))
def test_whatever_is_given_as_messages_is_read_or_refused_in_our_own_words(
    messages: list[Any],
) -> None:
    try:
        request = normalise(messages=messages)
    except InvalidRequestError:
        return
    assert len(request.messages) == len(messages)
    assert all(isinstance(message, Message) for message in request.messages)


@given(
    arguments=st.dictionaries(
        st.sampled_from(
            [
                *("max_tokens", "temperature", "top_p", "stop", "seed", "tools"),
                *("tool_choice", "response_format", "extra", "system_prompt"),
            ]
        ),
        json_values
        | st.lists(st.dictionaries(st.sampled_from(["name", "function", "type"]), json_values))
        | st.dictionaries(st.sampled_from(["type", "json_schema", "function"]), json_values),
    )
)
def test_whatever_is_given_as_options_is_read_or_refused_in_our_own_words(
    arguments: dict[str, Any],
) -> None:
    try:
        request = normalise("Hi", **arguments)
    except InvalidRequestError:
        return
    assert request.messages[-1] == Message("user", "Hi")
