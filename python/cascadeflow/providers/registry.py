"""The record of a provider, and who is registered: the entries themselves are `dialects`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import quote

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import add_local_provider, remove_local_provider

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    All but `refuses` (`logprobs` of it: OpenAI's and Cohere's protocol) and `default_max_tokens`
    (Anthropic's) speak of the OpenAI protocols.

    Attributes:
        max_tokens_field: which field limits the output.
        developer_role: whether it knows the role `developer`; others are sent `system`.
        required_choice: its word for "call some tool".
        names_tools: whether the one tool to call can be named; where it cannot, only that tool is
            declared, and some call demanded.
        seed_field: its name for the sampling seed.
        logprobs_as_count: whether `logprobs` is a number there, instead of a switch beside one.
        documents: how a document is sent: inline only, inline or by URL, or in Mistral's own part.
        refuses: fields it answers with an error and that are therefore left out for it. One that
            refuses `stream_options` sends a stream's usage unasked.
        reasoning_back: the field in which it wants an answer's reasoning back in the next request.
        call_id_length: how many letters and digits a tool call's id must have; one that another
            provider gave is replaced, the same one always by the same.
        default_max_tokens: sent when a request has no limit and the protocol demands one.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    developer_role: bool = False
    required_choice: str = "required"
    names_tools: bool = True
    seed_field: str = "seed"
    logprobs_as_count: bool = False
    documents: Literal["inline", "inline_or_url", "document_url"] = "inline"
    refuses: frozenset[Refusal] = frozenset()
    reasoning_back: Literal["reasoning", "reasoning_content"] | None = None
    call_id_length: int | None = None
    default_max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider.

    Attributes:
        id: its name in `provider:model`.
        protocol: the wire protocol it speaks.
        base_url: where its API is; `{NAME}` stands for an environment variable, `{A|B}` for the
            first that is set, `{NAME:value}` for one with a default, `{model}` for the model's
            name. Empty when nothing of the kind is known: `ModelConfig.base_url` then states it.
        env_urls: addresses that hold instead where all of their variables are set; the first
            such one counts.
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
    env_urls: tuple[str, ...] = ()
    key_env: tuple[str, ...] = ()
    auth: AuthStyle = "bearer"
    signer: SignerName | None = None
    local: bool = False
    quirks: Quirks = Quirks()

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            given = getattr(self, name)
            if not isinstance(given, kind):
                raise ConfigurationError(
                    f"provider {self.id}: {name} is a {kind.__name__}, not {given!r}"
                )
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
        for url in filter(None, (self.base_url, *self.env_urls)):
            if not url.startswith(("http://", "https://", "{")):
                raise ConfigurationError(
                    f"provider {self.id}: an address starts with https:// or http://, "
                    f"unlike {url!r}"
                )


_KINDS: Final[Mapping[str, type]] = {
    "id": str,
    "base_url": str,
    "env_urls": tuple,
    "key_env": tuple,
    "quirks": Quirks,
}
"""Fields of a `Provider` that are easily given as another type: a text is a sequence, too."""

_registered: dict[str, Provider] = {}
_VARIABLE: Final = re.compile(r"\{([A-Z0-9_|]+)(?::([^}]*))?\}")


def get_provider(provider_id: str) -> Provider:
    """Gives a provider's record. An id with underscores also finds the one with hyphens.

    >>> get_provider("groq").base_url
    'https://api.groq.com/openai/v1'
    >>> get_provider("openai_responses").id
    'openai-responses'

    Raises:
        ConfigurationError: nobody registered it.
    """
    known = _known()
    provider = known.get(provider_id) or known.get(provider_id.replace("_", "-"))
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
    base = (model.base_url or _address(provider, model)).replace(
        "{model}", quote(model.name, safe="")
    )
    if not base.startswith(("http://", "https://")):
        what = (
            f"its address starts with https:// or http://, unlike {base!r}"
            if base
            else "each customer of this provider has an address of their own"
        )
        raise ConfigurationError(f"{model.id}: {what}: set ModelConfig.base_url")
    return base.rstrip("/")


def _address(provider: Provider, model: ModelConfig) -> str:
    first = _VARIABLE.match(provider.base_url)
    if first is not None:
        rest = provider.base_url[first.end() :]
        value = _value(first)
        if value is not None and rest and value.endswith(rest):
            return value  # somebody stated the whole of it
    chosen = provider.base_url
    for url in provider.env_urls:
        if all(_value(found) is not None for found in _VARIABLE.finditer(url)):
            chosen = url
            break
    return _VARIABLE.sub(lambda found: _variable(found, model), chosen).replace(
        "//global-aiplatform.",
        "//aiplatform.",  # Google's global location has no prefix
    )


def _variable(found: re.Match[str], model: ModelConfig) -> str:
    value = _value(found)
    if value is None:
        raise ConfigurationError(
            f"{model.id}: where it is reached depends on {' or '.join(found[1].split('|'))}: set "
            "it in the environment, or set ModelConfig.base_url"
        )
    return value


def _value(found: re.Match[str]) -> str | None:
    """What stands for a variable: the first that is set, or its default."""
    for name in found[1].split("|"):
        if value := os.environ.get(name, "").strip():
            return value.rstrip("/")
    default: str | None = found[2]
    return default


def _known() -> dict[str, Provider]:
    """Gives who is registered; the built-in ones are read with the first question."""
    if not _registered:
        from cascadeflow.providers.dialects import BUILT_IN  # noqa: PLC0415 - it imports this

        _registered.update((provider.id, provider) for provider in BUILT_IN)
    return _registered
