"""The record of a provider, and who is registered: the entries themselves are `dialects`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import add_local_provider, remove_local_provider

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig

__all__ = [
    "Provider",
    "Quirks",
    "SignerName",
    "get_provider",
    "provider_ids",
    "register_provider",
    "resolve_address",
]

Protocol = Literal[
    "openai", "openai-responses", "anthropic", "gemini", "vertex", "bedrock", "cohere"
]
AuthStyle = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"]
SignerName = Literal["aws-sigv4", "google-oauth"]
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
        base_url: where its API is; `{NAME}` stands for an environment variable, `{A|B}` for the
            first that is set, `{NAME:value}` for one with a default. Empty when nothing of the kind
            is known: `ModelConfig.base_url` then states it.
        key_env: environment variables that may hold its key, the first that is set counts.
        auth: how the key is sent: as `authorization: Bearer …`, or as the header named.
        signer: how requests are signed where no key is set: with AWS credentials (extra `bedrock`)
            or Google's (extra `vertex`).
        local: whether it runs on the user's own machines: it needs no key, and costs nothing
            unless a price is stated.
        quirks: where it departs from its protocol.
    """

    id: str
    protocol: Protocol = "openai"
    base_url: str = ""
    key_env: tuple[str, ...] = ()
    auth: AuthStyle = "bearer"
    signer: SignerName | None = None
    local: bool = False
    quirks: Quirks = Quirks()

    def __post_init__(self) -> None:
        if not self.id or ":" in self.id or self.id == "local":
            raise ConfigurationError(
                f"a provider's id is text without a colon, and not 'local'; {self.id!r} is not"
            )
        for name, value, known in (
            ("protocol", self.protocol, get_args(Protocol)),
            ("auth", self.auth, get_args(AuthStyle)),
            ("signer", self.signer, (None, *get_args(SignerName))),
        ):
            if value not in known:
                raise ConfigurationError(
                    f"provider {self.id}: {name} is one of "
                    f"{', '.join(str(each) for each in known)}; not {value!r}"
                )
        if self.base_url and not self.base_url.startswith(("http://", "https://", "{")):
            raise ConfigurationError(
                f"provider {self.id}: base_url starts with https:// or http://, "
                f"unlike {self.base_url!r}"
            )


_registered: dict[str, Provider] = {}
_VARIABLE: Final = re.compile(r"\{([A-Z0-9_|]+)(?::([^}]*))?\}")


def get_provider(provider_id: str) -> Provider:
    """Gives a provider's record.

    >>> get_provider("groq").base_url
    'https://api.groq.com/openai/v1'

    Raises:
        ConfigurationError: nobody registered it.
    """
    provider = _known().get(provider_id)
    if provider is None:
        raise ConfigurationError(
            f"no provider is called {provider_id!r}; known are {', '.join(provider_ids())}. "
            "An OpenAI-compatible one of your own: cascadeflow.providers.register_provider(...)"
        )
    return provider


def provider_ids() -> tuple[str, ...]:
    """Gives the ids of all registered providers, sorted; `local` runs here and is none of them."""
    return tuple(sorted(_known()))


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
    taken = _known().get(provider.id)
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


def resolve_address(provider: Provider, model: ModelConfig) -> str:
    """Gives where a model is reached: its own `base_url`, or its provider's.

    Raises:
        ConfigurationError: neither is stated, or a variable in the provider's is not set.
    """
    base = model.base_url or _VARIABLE.sub(
        lambda found: _variable(found, model), provider.base_url
    ).replace("//global-aiplatform.", "//aiplatform.")  # Google's global location has no prefix
    if not base.startswith(("http://", "https://")):
        what = (
            f"base_url starts with https:// or http://, unlike {base!r}"
            if base
            else "each customer of this provider has an address of their own"
        )
        raise ConfigurationError(f"{model.id}: {what}: set ModelConfig.base_url")
    return base.rstrip("/")


def _variable(found: re.Match[str], model: ModelConfig) -> str:
    names = found[1].split("|")
    for name in names:
        if value := os.environ.get(name, "").strip():
            return value.rstrip("/")
    if found[2] is not None:
        return found[2]
    raise ConfigurationError(
        f"{model.id}: where it is reached depends on {' or '.join(names)}: set it in the "
        "environment, or set ModelConfig.base_url"
    )


def _known() -> dict[str, Provider]:
    """Gives who is registered; the built-in ones are read with the first question."""
    if not _registered:
        from cascadeflow.providers.dialects import BUILT_IN  # noqa: PLC0415 - it imports this

        _registered.update((provider.id, provider) for provider in BUILT_IN)
    return _registered
