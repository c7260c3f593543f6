"""Providers are data."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import cascadeflow.providers as public
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import LOCAL_PROVIDERS, ModelConfig
from cascadeflow.models.prices import price_of
from cascadeflow.models.usage import Usage
from cascadeflow.providers import (
    Provider,
    Quirks,
    get_codec,
    get_provider,
    provider_ids,
    register_provider,
)
from cascadeflow.providers import registry as registry_module

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(registry_module._registered)
    yield
    registry_module._registered.clear()
    registry_module._registered.update(before)


EXPECTED = ["openai", "anthropic", "groq", "mistral", "openrouter", "deepseek", "cerebras"]
EXPECTED += ["together", "fireworks", "xai", "perplexity", "huggingface", "zai", "azure"]
EXPECTED += ["ollama", "lmstudio", "vllm", "llamacpp", "crusoe", "snowflake", "cohere"]
EXPECTED += ["openai-responses", "gemini", "vertex", "bedrock"]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_promised_provider_is_there_with_all_it_takes_to_reach_it(name: str) -> None:
    provider = get_provider(name)
    assert provider.base_url.startswith("https://") or provider.local or name == "azure"
    assert provider.key_env or provider.local


@pytest.mark.parametrize("name", provider_ids())
def test_every_provider_has_a_codec_of_its_name(name: str) -> None:
    assert get_codec(name).name == name


def test_underscores_find_an_id_with_hyphens_unless_somebody_took_them() -> None:
    assert get_provider("openai_responses") is get_provider("openai-responses")
    mine = register_provider(Provider(id="openai_responses", base_url="https://a.example"))
    assert get_provider("openai_responses") is mine
    assert get_provider("openai-responses").protocol == "openai-responses"
    with pytest.raises(ConfigurationError):
        get_provider("open_ai")


def test_local_providers_are_those_that_cost_nothing() -> None:
    local = {name for name in provider_ids() if get_provider(name).local}
    assert local | {"local"} == LOCAL_PROVIDERS


def test_a_local_provider_of_one_s_own_is_free_until_it_is_replaced_by_one_that_is_not() -> None:
    model = ModelConfig("any", "my-machines")
    now = datetime.now(UTC)
    assert price_of(model, at=now) is None
    url = "http://127.0.0.1:9/v1"
    try:
        register_provider(Provider(id="my-machines", base_url=url, local=True))
        price = price_of(model, at=now)
        assert price is not None
        assert price.cost(Usage(input_tokens=10, output_tokens=10)) == 0
        register_provider(Provider(id="my-machines", base_url=url), replace=True)
        assert price_of(model, at=now) is None
    finally:
        registry_module._registered.pop("my-machines")


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"anthropic.*register_provider"):
        get_codec("opnai")


def test_a_provider_of_one_s_own_is_one_record() -> None:
    mine = Provider(id="acme", base_url="https://llm.acme.example/v1", key_env=("ACME_KEY",))
    register_provider(mine)
    assert get_provider("acme") is mine
    assert "acme" in provider_ids()
    assert get_codec("acme").name == "acme"
    register_provider(mine)  # the same once more changes nothing


def test_a_record_is_replaced_only_on_purpose_and_its_codec_with_it() -> None:
    from cascadeflow.types import ChatRequest, Message  # noqa: PLC0415

    request = ChatRequest(model="m", messages=(Message("user", "Hi"),), max_tokens=3)
    register_provider(Provider(id="acme", base_url="https://a.example"))
    assert b'"max_tokens"' in get_codec("acme").encode(request).body
    changed = Provider(
        id="acme",
        base_url="https://a.example",
        quirks=Quirks(max_tokens_field="max_completion_tokens"),
    )
    with pytest.raises(ConfigurationError, match="replace=True"):
        register_provider(changed)
    register_provider(changed, replace=True)
    assert b'"max_completion_tokens"' in get_codec("acme").encode(request).body


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a:b"},
        {"id": "local"},
        {"id": "a", "base_url": "llm.example"},
        {"id": "a", "env_urls": ("llm.example/{A}",)},
        {"id": "a", "protocol": "telepathy"},
        {"id": "a", "auth": "handshake"},
        {"id": 3},
        {"id": "a", "base_url": 3},
        {"id": "a", "env_urls": "https://{A}"},
        {"id": "a", "key_env": "A_KEY"},
        {"id": "a", "quirks": {"refuses": ["user"]}},
    ],
)
def test_a_record_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Provider(**wrong)


def test_every_public_name_is_there() -> None:
    assert public.__all__ == sorted(public.__all__)
    for name in public.__all__:
        home = getattr(public, name).__module__
        assert home.startswith("cascadeflow.providers.") or home == "cascadeflow.guard"
    with pytest.raises(AttributeError):
        _ = public.nothing


def test_decoding_loads_nothing_that_sends() -> None:
    code = (
        "import sys; from cascadeflow.providers import get_codec; get_codec('openai');"
        "get_codec('anthropic');"
        "print(sorted({'httpx2', 'pydantic', 'anyio', 'mistralrs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
