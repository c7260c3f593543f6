"""Which model, where it is, what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.types import EMPTY, JsonObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow.models.prices import Price

__all__ = [
    "LOCAL_PROVIDERS",
    "ModelConfig",
    "add_local_provider",
    "is_local_provider",
    "remove_local_provider",
]

LOCAL_PROVIDERS: Final = frozenset({"llamacpp", "lmstudio", "local", "ollama", "vllm"})
"""Providers that run on the user's own machines: free unless a price is stated."""

_HOTTEST: Final = 2.0
_TEXTS: Final = ("name", "provider", "api_key", "base_url", "system_prompt", "tokenizer")
_added: set[str] = set()

_GONE: Final = {
    "domains": "routing by domain is not part of this version, and a list that nothing reads would "
    "do nothing: leave it out",
    "keywords": "v0.1's routing by keywords is gone, nothing reads them: leave them out",
}
"""Fields of v0.1 that are refused, and what to do instead."""


def is_local_provider(provider: str) -> bool:
    """Whether a provider runs on the user's own machines, so that its models cost nothing."""
    return provider in LOCAL_PROVIDERS or provider in _added


def add_local_provider(provider: str) -> None:
    """Says that a provider of the user's own costs nothing, for the whole process.

    >>> add_local_provider("my-cluster")
    >>> is_local_provider("my-cluster")
    True
    """
    _added.add(provider)


def remove_local_provider(provider: str) -> None:
    """Takes `add_local_provider` back; what is local by its nature stays so.

    >>> remove_local_provider("my-cluster")
    >>> is_local_provider("my-cluster")
    False
    """
    _added.discard(provider)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model of an agent. `ModelConfig.parse("openai:gpt-5-mini")` needs nothing else.

    v0.1's form `ModelConfig(name=, provider=, cost=)` keeps working.

    Attributes:
        name: the model as its provider names it.
        provider: the provider's id in the registry, such as `"openai"`; lower case.
        cost: v0.1's flat price in USD per 1,000 tokens, input and output alike; wins over the
            catalogue.
        price: the price, where the catalogue's is missing or wrong; wins over `cost`.
        api_key: the key; without one, the provider's environment variable is read at the call.
        base_url: where the provider's API is, when not at its usual address.
        max_tokens: the largest output this agent may ask of the model.
        temperature: the sampling temperature when the call names none, 0 to 2.
        system_prompt: put before the conversation when it has no system message of its own.
        context_window: tokens of input and output together, when the catalogue's is missing or
            wrong.
        supports_tools: whether it can call tools; `None` asks the catalogue.
        tokenizer: the path of a Hugging Face `tokenizer.json` to count this model's tokens with.
        quality_score: how good the model is, 0 to 1: among models of equal cost (local ones are all
            free) the lower score drafts and the higher one verifies; none counts as 0.
        speed_ms: how long it usually takes, in milliseconds: among models of equal cost and quality
            the faster one drafts.
        headers: further headers for each request; values are never shown.
        extra: further fields for each request's body, in the provider's own words.
    """

    name: str
    provider: str
    cost: float | None = None
    price: Price | None = field(default=None, kw_only=True)
    api_key: str | None = field(default=None, repr=False, kw_only=True)
    base_url: str | None = field(default=None, kw_only=True)
    max_tokens: int | None = field(default=None, kw_only=True)
    temperature: float | None = field(default=None, kw_only=True)
    system_prompt: str | None = field(default=None, kw_only=True)
    context_window: int | None = field(default=None, kw_only=True)
    supports_tools: bool | None = field(default=None, kw_only=True)
    tokenizer: str | None = field(default=None, kw_only=True)
    quality_score: float | None = field(default=None, kw_only=True)
    speed_ms: float | None = field(default=None, kw_only=True)
    headers: JsonObject = field(default=EMPTY, repr=False, kw_only=True, hash=False)
    extra: JsonObject = field(default=EMPTY, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        for name in _TEXTS:
            text = getattr(self, name)
            if text is not None and not isinstance(text, str):  # never shown: it may be a key
                raise ConfigurationError(
                    f"ModelConfig.{name} must be text, not {type(text).__name__}"
                )
        for name in ("headers", "extra"):
            if not isinstance(getattr(self, name), Mapping):
                kind = type(getattr(self, name)).__name__
                raise ConfigurationError(f"ModelConfig.{name} must be a dict, not {kind}")
        if not self.name or not self.provider:
            raise ConfigurationError(
                "ModelConfig needs a name and a provider, such as openai:gpt-5-mini"
            )
        object.__setattr__(self, "provider", self.provider.lower())
        for name in ("headers", "extra"):
            if getattr(self, name):  # what the caller writes to its own mapping later is not meant
                object.__setattr__(self, name, dict(getattr(self, name)))
        _between("cost", self.cost, "USD per 1,000 tokens")
        _between("temperature", self.temperature, most=_HOTTEST)
        _between("quality_score", self.quality_score, most=1.0)
        _between("speed_ms", self.speed_ms, "milliseconds")
        _tokens("max_tokens", self.max_tokens)
        _tokens("context_window", self.context_window)
        if self.price is not None and not hasattr(self.price, "upper_bound"):
            raise ConfigurationError(
                f"ModelConfig.price is a Price(input=…, output=…) in USD per million tokens, not "
                f"{self.price!r:.40}; v0.1's number per 1,000 tokens is cost="
            )

    @property
    def id(self) -> str:
        """The model's name in this package: `provider:name`."""
        return f"{self.provider}:{self.name}"

    @classmethod
    def parse(cls, text: str, **settings: Any) -> ModelConfig:
        """Reads `"provider:model"`; `settings` are further fields.

        >>> ModelConfig.parse("openai:gpt-5-mini").id
        'openai:gpt-5-mini'

        Raises:
            ConfigurationError: the text has no provider before a colon.
        """
        provider, colon, name = text.partition(":")
        if not colon or not provider or not name:
            raise ConfigurationError(
                f"{text!r} names no provider: write provider:model, such as openai:gpt-5-mini"
            )
        return cls(name=name, provider=provider, **settings)


def _tokens(name: str, value: Any) -> None:
    """Refuses what is no number of tokens."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(
            f"ModelConfig.{name} must be a whole number of tokens, not {value!r}"
        )
    if value < 1:
        raise ConfigurationError(f"ModelConfig.{name} must be at least 1, not {value}")


def _between(name: str, value: float | None, unit: str = "", *, most: float | None = None) -> None:
    """Refuses what is no finite number of at least 0; a comparison with NaN is false."""
    if value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ConfigurationError(f"ModelConfig.{name} must be a number, not {value!r}")
    upper = float("inf") if most is None else most
    if not 0 <= value <= upper or value == float("inf"):
        bounds = "at least 0" if most is None else f"between 0 and {most:g}"
        raise ConfigurationError(
            f"ModelConfig.{name} must be {bounds}{' ' + unit if unit else ''}, not {value!r}"
        )


def _explaining(init: Callable[..., None]) -> Callable[..., None]:
    """Tells what became of a keyword that does not exist; v0.1 took any, and ignored most."""
    known = [each.name for each in fields(ModelConfig)]

    @wraps(init)
    def explained(self: ModelConfig, *args: Any, **settings: Any) -> None:
        for name in settings:
            if name in known:
                continue
            if name in _GONE:
                raise ConfigurationError(f"ModelConfig({name}=…): {_GONE[name]}")
            from difflib import get_close_matches  # noqa: PLC0415 - for errors only

            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise ConfigurationError(f"ModelConfig has no field {name!r}: {hint}")
        init(self, *args, **settings)

    return explained


# A dataclass writes its own __init__, whose TypeError knows nothing of v0.1.
ModelConfig.__init__ = _explaining(ModelConfig.__init__)  # type: ignore[method-assign]
