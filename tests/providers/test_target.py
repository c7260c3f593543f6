"""Where a request goes, and with which credentials."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from cascadeflow.errors import ConfigurationError, MissingKeyError
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.registry import Provider, get_provider, provider_ids, resolve_address
from cascadeflow.providers.target import Target
from cascadeflow.types import ChatRequest, Message

DEPLOYMENT = "https://acme.openai.azure.com/openai/deployments/gpt-4o"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has set decides nothing here."""
    for name in provider_ids():
        provider = get_provider(name)
        addresses = " ".join([provider.base_url, *provider.env_urls])
        for names in re.findall(r"\{([A-Z0-9_|]+)", addresses):
            for variable in names.split("|"):
                monkeypatch.delenv(variable, raising=False)
        for variable in provider.key_env:
            monkeypatch.delenv(variable, raising=False)


def target(provider: str, name: str = "m", **settings: Any) -> Target:
    return Target(ModelConfig(name, provider, **settings))


def sent(provider: str, name: str = "m", **settings: Any) -> tuple[str, dict[str, str]]:
    """The URL and the headers of a request."""
    to = target(provider, name, **settings)
    encoded = to.codec.encode(ChatRequest(model=name, messages=(Message("user", "Hi"),)))
    return to.url(encoded.path), dict(to.headers(encoded, to.key()))


# Joining an address and a path


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://a.example/v1", "/chat/completions", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1/", "/chat/completions", "https://a.example/v1/chat/completions"),
        ("https://a.example", "/v1/messages", "https://a.example/v1/messages"),
        ("https://a.example/v1", "/v1/messages", "https://a.example/v1/messages"),
        ("https://a.example/x/v2", "/v2/chat", "https://a.example/x/v2/chat"),
        ("https://a.example/v1/messages", "/v1/messages", "https://a.example/v1/messages"),
        (
            f"{DEPLOYMENT}?api-version=2024-10-21",
            "/chat/completions",
            f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21",
        ),
        (
            f"{DEPLOYMENT}/?api-version=2024-10-21",
            "/chat/completions",
            f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21",
        ),
        (
            f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21",
            "/chat/completions",
            f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://a.example/v1beta?tenant=7",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            "https://a.example/v1beta/models/m:streamGenerateContent?alt=sse&tenant=7",
        ),
    ],
)
def test_an_address_and_a_path_are_joined(base: str, path: str, url: str) -> None:
    assert target("openai", base_url=base).url(path) == url


# Addresses with variables


def test_a_variable_that_is_set_takes_the_place_of_the_usual_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert target("ollama").base == "http://localhost:11434/v1"
    monkeypatch.setenv("OLLAMA_BASE_URL", " https://gpu-7.example/v1/ ")
    assert target("ollama").base == "https://gpu-7.example/v1"
    assert target("ollama", base_url="http://other/v1").base == "http://other/v1"
    monkeypatch.setenv("OLLAMA_BASE_URL", "")
    assert target("ollama").base == "http://localhost:11434/v1"


@pytest.mark.parametrize("name", [each for each in provider_ids() if get_provider(each).env_urls])
def test_every_address_from_the_environment_is_used(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = get_provider(name)
    for url in provider.env_urls:
        for variable in re.findall(r"\{([A-Z0-9_]+)\}", url):
            monkeypatch.setenv(variable, f"https://{variable.lower()}.example")
        filled = re.sub(
            r"\{([A-Z0-9_]+)(?::([^}]*))?\}", lambda v: os.environ.get(v[1]) or v[2], url
        )
        assert target(name).base == filled.replace("{model}", "m")


def test_azure_is_reached_by_its_first_version_and_by_a_dated_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-0123456789")
    with pytest.raises(ConfigurationError, match="AZURE_OPENAI_ENDPOINT"):
        target("azure")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://acme.openai.azure.com/")
    url, headers = sent("azure", "gpt-4o")
    assert url == "https://acme.openai.azure.com/openai/v1/chat/completions"
    assert headers["api-key"] == "key-0123456789"
    assert "authorization" not in headers
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    url, _ = sent("azure", "gpt-4o")
    assert url == f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21"
    url, _ = sent("azure", "my deployment/a")
    assert "/deployments/my%20deployment%2Fa/chat" in url
    # An endpoint that says the version itself is the whole address.
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://acme.openai.azure.com/openai/v1/")
    url, _ = sent("azure", "gpt-4o")
    assert url == "https://acme.openai.azure.com/openai/v1/chat/completions"


def test_one_address_may_hold_the_name_of_each_model() -> None:
    base = "https://acme.openai.azure.com/openai/deployments/{model}?api-version=2024-10-21"
    url, _ = sent("azure", "gpt-4o", base_url=base, api_key="k" * 9)
    assert url == f"{DEPLOYMENT}/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("provider", "variables", "base"),
    [
        (
            "cloudflare",
            {"CLOUDFLARE_ACCOUNT_ID": "acc"},
            "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1",
        ),
        (
            "databricks",
            {"DATABRICKS_HOST": "https://ws.cloud.databricks.com/"},
            "https://ws.cloud.databricks.com/serving-endpoints",
        ),
        (
            "databricks",
            {"DATABRICKS_HOST": "https://ws.cloud.databricks.com/serving-endpoints"},
            "https://ws.cloud.databricks.com/serving-endpoints",
        ),
        (
            "snowflake",
            {"SNOWFLAKE_ACCOUNT": "org-acc"},
            "https://org-acc.snowflakecomputing.com/api/v2/cortex/v1",
        ),
        (
            "bedrock",
            {"AWS_DEFAULT_REGION": "eu-north-1"},
            "https://bedrock-runtime.eu-north-1.amazonaws.com",
        ),
        (
            "vertex",
            {"GOOGLE_CLOUD_PROJECT": "p"},
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global",
        ),
        (
            "vertex",
            {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "europe-west1"},
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1",
        ),
    ],
)
def test_an_address_is_filled_in_from_the_environment(
    provider: str, variables: dict[str, str], base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig("m", provider)
    with pytest.raises(ConfigurationError, match="set it in the environment"):
        resolve_address(get_provider(provider), model)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve_address(get_provider(provider), model) == base


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Provider(id="nowhere")
    with pytest.raises(ConfigurationError, match="address of their own"):
        resolve_address(nowhere, ModelConfig("m", "nowhere"))
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "acme.openai.azure.com")
    with pytest.raises(ConfigurationError, match="https://"):
        target("azure")


# Keys


def test_the_first_variable_that_holds_a_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingKeyError, match="MOONSHOTAI_API_KEY or MOONSHOT_API_KEY"):
        sent("moonshotai")
    monkeypatch.setenv("MOONSHOT_API_KEY", "second-0123")
    assert sent("moonshotai")[1]["authorization"] == "Bearer second-0123"
    monkeypatch.setenv("MOONSHOTAI_API_KEY", "first-0123")
    assert sent("moonshotai")[1]["authorization"] == "Bearer first-0123"


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("openai", "authorization", "Bearer key-0123"),
        ("anthropic", "x-api-key", "key-0123"),
        ("azure", "api-key", "key-0123"),
        ("gemini", "x-goog-api-key", "key-0123"),
        ("cohere", "authorization", "Bearer key-0123"),
    ],
)
def test_a_key_is_sent_in_the_provider_s_header(provider: str, header: str, value: str) -> None:
    headers = sent(provider, api_key="key-0123", base_url="https://a.example")[1]
    credentials = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
    assert {name: headers[name] for name in credentials & headers.keys()} == {header: value}


def test_a_token_in_a_header_of_one_s_own_needs_no_key_beside_it() -> None:
    """As Azure takes Microsoft Entra's tokens, and Anthropic those of OAuth."""
    own = {"Authorization": "Bearer token-0123"}
    for provider in ("azure", "anthropic"):
        headers = sent(provider, base_url="https://a.example", headers=own)[1]
        assert headers["authorization"] == "Bearer token-0123"
        assert "api-key" not in headers
        assert "x-api-key" not in headers
