"""What is counted of a request, how it is estimated, and that the bound is one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.token_families import chat_format_for, family_for, vocabulary_for
from cascadeflow.models.tokens import TokenCount, count_request, count_text
from cascadeflow.models.tool_rendering import render_tools
from cascadeflow.types import (
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

GPT_4O = ModelConfig("gpt-4o", "openai")
GPT_5 = ModelConfig("gpt-5-mini", "openai")
CLAUDE = ModelConfig("claude-sonnet-4-5", "anthropic")
UNKNOWN = ModelConfig("whatever-7b", "vllm")
WEATHER = Tool(
    "get_weather",
    "Get the current weather for a city.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city,\n  and its country"},
            "unit": {"enum": ["C", "F"], "default": "C"},
        },
        "required": ["city"],
    },
)


def ask(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest("model", messages or (Message("user", "hello"),), **fields)


def bound(count: TokenCount) -> int:
    assert count.upper_bound is not None
    return count.upper_bound


@pytest.mark.parametrize(
    ("provider", "name", "vocabulary"),
    [
        ("openai", "gpt-4o-2024-05-13", "o200k_base"),
        ("openai", "gpt-4.1-nano", "o200k_base"),
        ("openai", "gpt-5.6-sol", "o200k_base"),
        ("openai", "o3-mini", "o200k_base"),
        ("openai", "ft:gpt-4o-mini:acme::x", "o200k_base"),
        ("openai", "gpt-4-turbo", "cl100k_base"),
        ("azure", "gpt-35-turbo", "cl100k_base"),
        ("openai", "text-embedding-3-small", "cl100k_base"),
        ("openrouter", "openai/gpt-4o-mini", "o200k_base"),
        ("groq", "openai/gpt-oss-120b", "o200k_base"),
        ("bedrock", "openai.gpt-oss-120b-1:0", "o200k_base"),
        ("azure", "our-deployment", None),
        ("openai", "gpt-40", None),
        ("openai", "omega-1", None),
        ("anthropic", "claude-opus-5", None),
    ],
)
def test_the_vocabulary_is_known_by_the_models_name(
    provider: str, name: str, vocabulary: str | None
) -> None:
    assert vocabulary_for(provider, name) == vocabulary


@pytest.mark.parametrize(
    ("provider", "name", "family"),
    [
        ("anthropic", "claude-sonnet-4-5", "anthropic"),
        ("bedrock", "us.anthropic.claude-sonnet-4-6", "anthropic"),
        ("openrouter", "google/gemini-2.5-flash", "gemini"),
        ("groq", "deepseek-r1-distill-llama-70b", "llama"),
        ("mistral", "ministral-8b-latest", "mistral"),
        ("mistral", "a-new-name", "mistral"),
        ("azure", "our-deployment", "openai"),
        ("vllm", "whatever-7b", "other"),
        ("vllm", "supernova-7b", "other"),
    ],
)
def test_the_family_is_known_by_name_else_by_provider(
    provider: str, name: str, family: str
) -> None:
    assert family_for(provider, name).name == family


def test_a_text_is_counted_exactly_or_estimated_and_says_so() -> None:
    text = "Hello, world! Grüße."
    exact = count_text(text, model=GPT_4O)
    assert exact == count_text(text, model="openai:gpt-4o")
    assert exact == count_text(text, model="o200k_base")
    assert (exact.upper_bound, exact.exact, exact.method) == (exact.tokens, True, "o200k_base")
    estimate = count_text(text, model=CLAUDE)
    assert not estimate.exact
    assert estimate.method == "estimate:anthropic"
    assert estimate.upper_bound == len(text.encode())
    assert exact.tokens <= estimate.tokens <= bound(estimate)


def test_an_unknown_vocabulary_says_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match="o200k_base"):
        count_text("x", model="p50k_base")


def test_a_plain_chat_is_counted_by_the_published_formula() -> None:
    request = ask(Message("system", "Be brief."), Message("user", "hello", name="Ann"))
    texts = count_text("Be brief.", model=GPT_4O).tokens + 1
    name = 1 + count_text("Ann", model=GPT_4O).tokens
    assert count_request(request, GPT_4O) == TokenCount(
        texts + name + 2 * 4 + 3, texts + name + 2 * 4 + 3, exact=True, method="o200k_base"
    )
    assert count_request(request, GPT_5).tokens == texts + name + 2 * 4 + 2


def test_text_parts_count_as_texts() -> None:
    parts = Message("user", (TextPart("hello "), TextPart("world")))
    assert count_request(ask(parts), GPT_4O).tokens == 4 + 3 + sum(
        count_text(text, model=GPT_4O).tokens for text in ("hello ", "world")
    )


@pytest.mark.parametrize("model", [GPT_4O, GPT_5, CLAUDE, UNKNOWN])
@pytest.mark.parametrize(
    "more",
    [
        {"tools": (WEATHER,)},
        {"response_format": ResponseFormat("json_schema", dict(WEATHER.parameters))},
        {"messages": (Message("assistant", "", (ToolCall("1", "get_weather", '{"city":"X"}'),)),)},
        {"messages": (Message("assistant", "", extras={"reasoning": "Let me think about it."}),)},
        {"messages": (Message("user", (ImagePart(url="https://x.y/z.png"),)),)},
    ],
)
def test_whatever_is_more_than_text_makes_the_count_larger_and_inexact(
    model: ModelConfig, more: dict[str, Any]
) -> None:
    hello = Message("user", "hello")
    request = ask(
        hello, *more.get("messages", ()), **{k: v for k, v in more.items() if k != "messages"}
    )
    counted, plain = count_request(request, model), count_request(ask(hello), model)
    assert not counted.exact
    assert counted.tokens > plain.tokens
    assert counted.upper_bound is None or counted.upper_bound > bound(plain)


def test_an_image_is_bounded_where_its_provider_states_a_bound() -> None:
    image = ask(Message("user", (ImagePart(url="https://x.y/z.png"),)))
    assert bound(count_request(image, GPT_4O)) > 1_445  # gpt-4o's dearest image
    assert bound(count_request(image, ModelConfig("gpt-4o-mini", "openai"))) > 48_169
    assert count_request(image, CLAUDE).upper_bound is not None
    assert count_request(image, UNKNOWN).upper_bound is None


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        (GPT_4O, ask(Message("user", (DocumentPart(file_id="file-1"),)))),
        (GPT_4O, ask(extra={"web_search_options": {}})),
        (CLAUDE, ask(extra={"tools": [{"type": "web_search_20250305", "name": "web_search"}]})),
        (ModelConfig("gpt-4o", "openai", extra={"prompt": {"id": "p"}}), ask()),
        (ModelConfig("openai/gpt-4o", "openrouter"), ask(extra={"models": ["x-ai/grok-4"]})),
        (ModelConfig("compound-beta", "groq"), ask()),
    ],
)
def test_nothing_is_promised_where_the_provider_may_read_more_than_was_sent(
    model: ModelConfig, request_: ChatRequest
) -> None:
    count = count_request(request_, model)
    assert count.upper_bound is None
    assert not count.exact


def test_other_hosts_of_openais_models_are_estimated() -> None:
    count = count_request(ask(), ModelConfig("openai/gpt-oss-120b", "groq"))
    assert (count.method, count.exact) == ("o200k_base", False)
    assert chat_format_for("groq", "openai/gpt-oss-120b") is None
    assert count.tokens > 8  # its template has a system message of its own


@given(
    texts=st.lists(st.text(max_size=60), min_size=1, max_size=5),
    arguments=st.text(max_size=30),
    model=st.sampled_from([GPT_4O, GPT_5, CLAUDE, UNKNOWN]),
)
def test_no_estimate_exceeds_its_bound(
    texts: list[str], arguments: str, model: ModelConfig
) -> None:
    messages = [Message("user", text) for text in texts]
    messages.append(Message("assistant", "", (ToolCall("1", "f", arguments),)))
    for request in (ask(*messages[:-1]), ask(*messages, tools=(WEATHER,))):
        count = count_request(request, model)
        assert 0 <= count.tokens <= bound(count)
    for text in texts:
        count = count_text(text, model=model)
        assert 0 <= count.tokens <= bound(count)


def test_halves_of_surrogate_pairs_do_not_break_a_count() -> None:
    for model in (GPT_4O, CLAUDE):
        assert bound(count_request(ask(Message("user", "\ud800")), model)) > 0


def test_tools_are_rendered_as_the_open_format_shows_them() -> None:
    assert render_tools([WEATHER, Tool("now")]) == (
        "namespace functions {\n\n"
        "// Get the current weather for a city.\n"
        "type get_weather = (_: {\n"
        "// The city,\n// and its country\n"
        "city: string,\n"
        'unit?: "C" | "F", // default: "C"\n'
        "}) => any;\n\n"
        "type now = () => any;\n\n"
        "} // namespace functions"
    )


def test_a_schema_of_any_form_is_rendered_and_comes_to_an_end() -> None:
    node: dict[str, Any] = {
        "type": "object",
        "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            "values": {"type": "array", "items": {"type": ["string", "integer"]}},
            "kind": {"const": "node"},
            "what": True,
        },
    }
    tool = Tool("f", "", {**node, "$defs": {"Node": node}})
    text = render_tools([tool])
    assert "values?: string | integer[]," in text
    assert 'kind?: "node",' in text
    assert "what?: any," in text
    assert text.count("next?") == 2
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    assert "any[]" in render_tools([Tool("f", "", {"properties": {"deep": deep}})])
