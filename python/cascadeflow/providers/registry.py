"""The providers, as data: where each is, which protocol it speaks, and how it departs from it.

A dialect is a record, not a class: one more OpenAI-compatible provider is one more entry here, or
one call of `register_provider` in the user's own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import add_local_provider, remove_local_provider

__all__ = ["Provider", "Quirks", "get_provider", "provider_ids", "register_provider"]

Protocol = Literal["openai", "anthropic"]
AuthStyle = Literal["bearer", "x-api-key", "api-key"]
Refusal = Literal["logprobs", "name", "stream_options", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """Where a provider departs from its protocol's usual form.

    Attributes:
        max_tokens_field: which field limits the output.
        developer_role: whether it knows the role `developer`; others are sent `system`.
        required_choice: its word for "call some tool".
        seed_field: its name for the sampling seed.
        logprobs_as_count: whether `logprobs` is a number there, instead of a switch beside one.
        documents: how a document is sent: inline only, inline or by URL, or in Mistral's own part.
        refuses: fields it answers with an error and that are therefore left out for it. One that
            refuses `stream_options` sends a stream's usage unasked.
        reasoning_back: the field in which it wants an answer's reasoning back in the next request.
        default_max_tokens: sent when a request has no limit and the protocol demands one.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    developer_role: bool = False
    required_choice: str = "required"
    seed_field: str = "seed"
    logprobs_as_count: bool = False
    documents: Literal["inline", "inline_or_url", "document_url"] = "inline"
    refuses: frozenset[Refusal] = frozenset()
    reasoning_back: Literal["reasoning", "reasoning_content"] | None = None
    default_max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider.

    Attributes:
        id: its name in `provider:model`.
        protocol: the wire protocol it speaks.
        base_url: where its API is; empty when every customer has an address of their own, which
            `ModelConfig.base_url` then states.
        key_env: environment variables that may hold its key, the first that is set counts.
        auth: how the key is sent: as `authorization: Bearer …`, or as the header named.
        local: whether it runs on the user's own machines: it needs no key, and costs nothing
            unless a price is stated.
        quirks: where it departs from its protocol.
    """

    id: str
    protocol: Protocol = "openai"
    base_url: str = ""
    key_env: tuple[str, ...] = ()
    auth: AuthStyle = "bearer"
    local: bool = False
    quirks: Quirks = Quirks()

    def __post_init__(self) -> None:
        if not self.id or ":" in self.id or self.id == "local":
            raise ConfigurationError(
                f"a provider's id is text without a colon, and not 'local'; {self.id!r} is not"
            )
        if self.protocol not in ("openai", "anthropic"):
            raise ConfigurationError(
                f"provider {self.id}: the protocols are openai and anthropic, not {self.protocol!r}"
            )
        if self.auth not in ("bearer", "x-api-key", "api-key"):
            raise ConfigurationError(
                f"provider {self.id}: auth is bearer, x-api-key or api-key, not {self.auth!r}"
            )
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"provider {self.id}: base_url starts with https:// or http://, "
                f"unlike {self.base_url!r}"
            )


_OPENAI: Final = Quirks(max_tokens_field="max_completion_tokens", developer_role=True)

_BUILT_IN: Final = (
    Provider(
        id="openai",
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        quirks=_OPENAI,
    ),
    Provider(
        id="anthropic",
        protocol="anthropic",
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY",),
        auth="x-api-key",
        # The protocol demands a limit. 4,096 is the smallest output limit of its models.
        quirks=Quirks(default_max_tokens=4096),
    ),
    Provider(id="azure", key_env=("AZURE_OPENAI_API_KEY",), auth="api-key", quirks=_OPENAI),
    Provider(
        id="cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_env=("CEREBRAS_API_KEY",),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens",
            refuses=frozenset({"stream_options"}),
            reasoning_back="reasoning",
        ),
    ),
    Provider(
        id="crusoe",
        base_url="https://api.inference.crusoecloud.com/v1",
        key_env=("CRUSOE_API_KEY",),
    ),
    Provider(
        id="deepseek",
        base_url="https://api.deepseek.com",
        key_env=("DEEPSEEK_API_KEY",),
        quirks=Quirks(reasoning_back="reasoning_content"),
    ),
    Provider(
        id="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_env=("FIREWORKS_API_KEY",),
    ),
    Provider(
        id="groq",
        base_url="https://api.groq.com/openai/v1",
        key_env=("GROQ_API_KEY",),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens", refuses=frozenset({"logprobs", "name"})
        ),
    ),
    Provider(
        id="huggingface",
        base_url="https://router.huggingface.co/v1",
        key_env=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    ),
    Provider(
        id="llamacpp",
        base_url="http://localhost:8080/v1",
        key_env=("LLAMA_API_KEY",),
        local=True,
    ),
    Provider(id="lmstudio", base_url="http://localhost:1234/v1", local=True),
    Provider(
        id="mistral",
        base_url="https://api.mistral.ai/v1",
        key_env=("MISTRAL_API_KEY",),
        quirks=Quirks(
            required_choice="any",
            seed_field="random_seed",
            documents="document_url",
            refuses=frozenset({"logprobs", "name", "stream_options", "user"}),
        ),
    ),
    Provider(
        id="ollama",
        base_url="http://localhost:11434/v1",
        key_env=("OLLAMA_API_KEY",),
        local=True,
        quirks=Quirks(reasoning_back="reasoning"),
    ),
    Provider(
        id="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_env=("OPENROUTER_API_KEY",),
        quirks=Quirks(documents="inline_or_url"),
    ),
    Provider(
        id="perplexity",
        base_url="https://api.perplexity.ai",
        key_env=("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
        quirks=Quirks(refuses=frozenset({"logprobs", "stream_options"})),
    ),
    Provider(id="snowflake", key_env=("SNOWFLAKE_TOKEN",)),
    Provider(
        id="together",
        base_url="https://api.together.xyz/v1",
        key_env=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
        quirks=Quirks(logprobs_as_count=True),
    ),
    Provider(id="vllm", base_url="http://localhost:8000/v1", key_env=("VLLM_API_KEY",), local=True),
    Provider(id="xai", base_url="https://api.x.ai/v1", key_env=("XAI_API_KEY",)),
    Provider(
        id="zai",
        base_url="https://api.z.ai/api/paas/v4",
        key_env=("ZAI_API_KEY",),
        quirks=Quirks(reasoning_back="reasoning_content"),
    ),
)

_registered: dict[str, Provider] = {provider.id: provider for provider in _BUILT_IN}


def get_provider(provider_id: str) -> Provider:
    """Gives a provider's record.

    >>> get_provider("groq").base_url
    'https://api.groq.com/openai/v1'

    Raises:
        ConfigurationError: nobody registered it.
    """
    provider = _registered.get(provider_id)
    if provider is None:
        raise ConfigurationError(
            f"no provider is called {provider_id!r}; known are {', '.join(provider_ids())}. "
            "An OpenAI-compatible one of your own: cascadeflow.providers.register_provider(...)"
        )
    return provider


def provider_ids() -> tuple[str, ...]:
    """Gives the ids of all registered providers, sorted; `local` runs here and is none of them."""
    return tuple(sorted(_registered))


def register_provider(provider: Provider, *, replace: bool = False) -> Provider:
    """Makes a provider of the user's own known under its id, for the whole process.

    >>> _ = register_provider(Provider(id="acme", base_url="https://llm.acme.example/v1"))
    >>> get_provider("acme").auth
    'bearer'

    Args:
        provider: its record.
        replace: whether it may take the place of one that has the same id.

    Raises:
        ConfigurationError: the id is taken by another record and `replace` is not set.
    """
    taken = _registered.get(provider.id)
    if taken is not None and taken != provider and not replace:
        raise ConfigurationError(
            f"a provider called {provider.id!r} is registered already: pass replace=True, "
            "or set base_url on the ModelConfig to reach the same provider elsewhere"
        )
    _registered[provider.id] = provider
    if provider.local:
        # What runs on the user's own machines has a price: nothing, unless one is stated.
        add_local_provider(provider.id)
    else:
        remove_local_provider(provider.id)
    return provider
