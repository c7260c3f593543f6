"""Which model, where it is, what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.types import EMPTY, JsonObject

if TYPE_CHECKING:
    from cascadeflow.models.prices import Price

__all__ = ["LOCAL_PROVIDERS", "ModelConfig"]

LOCAL_PROVIDERS: Final = frozenset({"llamacpp", "lmstudio", "local", "ollama", "vllm"})
"""Providers that run on the user's own machines: free unless a price is stated."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model of an agent. `ModelConfig.parse("openai:gpt-5-mini")` needs nothing else.

    v0.1's form `ModelConfig(name=, provider=, cost=)` keeps working.

    Attributes:
        name: the model as its provider names it.
        provider: the provider's id in the registry, such as `"openai"`.
        cost: v0.1's flat price in USD per 1,000 tokens, input and output alike; wins over the catalogue.
        price: the price, where the catalogue's is missing or wrong; wins over `cost`.
        api_key: the key; without one, the provider's environment variable is read at the call.
        base_url: where the provider's API is, when not at its usual address.
        max_tokens: the largest output this agent may ask of the model.
        temperature: the sampling temperature when the call names none.
        system_prompt: put before the conversation when it has no system message of its own.
        context_window: tokens of input and output together, when the catalogue's is missing or wrong.
        supports_tools: whether it can call tools; `None` asks the catalogue.
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
    headers: JsonObject = field(default=EMPTY, repr=False, kw_only=True)
    extra: JsonObject = field(default=EMPTY, kw_only=True)

    def __post_init__(self) -> None:
        if not self.name or not self.provider:
            raise ConfigurationError(
                "ModelConfig needs a name and a provider, such as openai:gpt-5-mini"
            )
        if self.cost is not None and not 0 <= self.cost < float("inf"):
            raise ConfigurationError(
                f"ModelConfig.cost must be at least 0 USD per 1,000 tokens, not {self.cost!r}"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigurationError(
                f"ModelConfig.max_tokens must be at least 1, not {self.max_tokens}"
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
