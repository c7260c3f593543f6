"""What the entries say of each provider is what is sent to it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import price_of
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.dialects import BUILT_IN
from cascadeflow.types import ChatRequest, Message, ToolCall

if TYPE_CHECKING:
    from cascadeflow.providers.registry import Provider

OPENAI_LIKE = [each for each in BUILT_IN if each.protocol == "openai"]


def by_id(provider: Provider) -> str:
    return provider.id


def encode(provider: str, messages: tuple[Message, ...] | None = None, **rest: Any) -> Any:
    messages = messages or (Message("user", "Hi", name="ann"),)
    request = ChatRequest(model="m", messages=messages, **rest)
    return json.loads(get_codec(provider).encode(request).body)


def test_no_id_stands_twice_and_all_are_lower_case() -> None:
    ids = [provider.id for provider in BUILT_IN]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]+", each) for each in ids)


@pytest.mark.parametrize("provider", BUILT_IN, ids=by_id)
def test_keys_go_over_tls_and_variables_have_the_names_of_variables(provider: Provider) -> None:
    if not provider.local:
        assert not provider.base_url.startswith("http://")
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in provider.key_env)
    assert provider.key_env or provider.local


@pytest.mark.parametrize("provider", OPENAI_LIKE, ids=by_id)
def test_a_request_with_everything_has_what_the_entry_says_and_no_more(provider: Provider) -> None:
    body = encode(provider.id, max_tokens=9, seed=1, user="u", logprobs=2, stream=True)
    quirks, refused = provider.quirks, provider.quirks.refuses
    expected: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi", "name": "ann"}],
        quirks.max_tokens_field: 9,
        quirks.seed_field: 1,
        "stream": True,
    }
    if "name" in refused:
        del expected["messages"][0]["name"]
    if "user" not in refused:
        expected["user"] = "u"
    if "stream_options" not in refused:
        expected["stream_options"] = {"include_usage": True}
    if quirks.logprobs_as_count:
        expected["logprobs"] = 2
    elif "logprobs" not in refused:
        expected |= {"logprobs": True, "top_logprobs": 2}
    assert body == expected


@pytest.mark.parametrize("provider", OPENAI_LIKE, ids=by_id)
def test_a_stream_s_usage_is_read_wherever_the_provider_says_it(provider: Provider) -> None:
    """Asked for by `stream_options`, it comes in a last chunk; unasked, beside the last choice."""
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    ways: list[list[Any]] = [
        [{"choices": [end]}, {"choices": [], "usage": usage}],
        [{"choices": [end], "usage": usage}],
        [{"choices": [{**end, "usage": usage}]}],  # Moonshot
        [{"choices": [end], "x_groq": {"usage": usage}}],
    ]
    for chunks in ways:
        data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()
        last: Any = list(get_codec(provider.id).decode_stream([data, b"data: [DONE]\n\n"]))[-1]
        assert last.completion.usage.total_tokens == 7
        assert last.completion.usage_complete


@pytest.mark.parametrize(
    "provider", [each for each in OPENAI_LIKE if each.quirks.reasoning_back], ids=by_id
)
def test_reasoning_goes_back_where_the_provider_wants_it(provider: Provider) -> None:
    field = provider.quirks.reasoning_back
    assert field is not None
    codec = get_codec(provider.id)
    body = {"choices": [{"message": {"content": "4", field: "2+2"}, "finish_reason": "stop"}]}
    answer = codec.decode(200, {}, json.dumps(body).encode())
    back = encode(provider.id, (Message("user", "Hi"), codec.assistant_message(answer)))
    assert back["messages"][1] == {"role": "assistant", "content": "4", field: "2+2"}


def test_the_id_of_another_provider_s_call_is_replaced_alike_in_call_and_result() -> None:
    theirs, ours = "call_0fypS1hVX~\ud800", "0EYmmMRLR"
    messages = (
        Message("user", "Hi"),
        Message("assistant", tool_calls=(ToolCall(theirs, "f", "{}"), ToolCall(ours, "g", "{}"))),
        Message("tool", "1", tool_call_id=theirs),
        Message("tool", "2", tool_call_id=ours),
    )
    _, assistant, first, second = encode("mistral", messages)["messages"]
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", first["tool_call_id"])
    assert second["tool_call_id"] == ours
    assert [call["id"] for call in assistant["tool_calls"]] == [first["tool_call_id"], ours]
    _, assistant, first, _ = encode("openai", messages)["messages"]
    assert (assistant["tool_calls"][0]["id"], first["tool_call_id"]) == (theirs, theirs)


@pytest.mark.parametrize(
    ("provider", "header"),
    [
        ("openai", "x-request-id"),
        ("azure", "apim-request-id"),
        ("cohere", "x-debug-trace-id"),
        ("mistral", "mistral-correlation-id"),
    ],
)
def test_a_request_s_id_is_found_under_the_provider_s_name(provider: str, header: str) -> None:
    headers = {header: "id-1", "x-ratelimit-remaining-tokens": "7", "set-cookie": "secret"}
    message = {"content": [{"type": "text", "text": "Hi"}]}
    body = {"choices": [{"message": {"content": "Hi"}}], "message": message}
    answer = get_codec(provider).decode(200, headers, json.dumps(body).encode())
    assert answer.request_id == "id-1"
    assert answer.headers == {header: "id-1", "x-ratelimit-remaining-tokens": "7"}


PRICED = {
    "baseten": "zai-org/GLM-4.7",
    "cerebras": "gpt-oss-120b",
    "cohere": "command-a-03-2025",
    "deepseek": "deepseek-chat",
    "groq": "openai/gpt-oss-120b",
    "mistral": "mistral-small-latest",
    "moonshotai": "kimi-k2-0905-preview",
    "openai": "gpt-5-mini",
    "openai-responses": "gpt-5-mini",
    "xai": "grok-4",
    "zai": "glm-4.7",
}


def test_every_provider_without_prices_of_its_own_is_known() -> None:
    """The others have rows in the shipped table; these say so in the documents."""
    from cascadeflow.models.catalogue import PROVIDER_ALIASES, table  # noqa: PLC0415

    unpriced = {
        provider.id
        for provider in BUILT_IN
        if not provider.local and not table().rows(PROVIDER_ALIASES.get(provider.id, provider.id))
    }
    assert unpriced <= {"crusoe", "huggingface", "snowflake"}


@pytest.mark.parametrize(("provider", "name"), PRICED.items())
def test_models_of_the_dialects_have_prices(provider: str, name: str) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415

    at = datetime(2026, 11, 22, tzinfo=UTC)
    assert price_of(ModelConfig(name, provider), at=at) is not None
