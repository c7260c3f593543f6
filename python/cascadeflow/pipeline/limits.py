"""How many output tokens a model is allowed: what the caller, the model and a budget say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.catalogue import lookup
from cascadeflow.providers.registry import get_provider

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.request import Request
    from cascadeflow.providers.registry import Provider
    from cascadeflow.types import ChatRequest, JsonObject

__all__ = ["capped_extra", "output_limit", "stated_limit", "thinking_tokens"]

_LIMITS: Final = {
    "openai-responses": ("max_output_tokens",),
    "gemini": ("generationConfig.maxOutputTokens", "generation_config.max_output_tokens"),
    "vertex": ("generationConfig.maxOutputTokens", "generation_config.max_output_tokens"),
    "bedrock": ("inferenceConfig.maxTokens",),
}
"""The field that limits the output, by protocol; the others call it `max_tokens`."""


def output_limit(request: Request, model: ModelConfig, *, default: int | None = None) -> int | None:
    """Gives the `max_tokens` to send: the call's, at most the model's own; `None` sends none.

    A protocol that demands a limit is given the most the model can put out, by the catalogue, else
    the provider's documented default; `result.budget.max_tokens_sent` reports either.

    Args:
        request: what is asked.
        model: of whom.
        default: what is sent instead, at most what the model can put out, where nobody said
            anything. What the model is told to think comes on top.
    """
    asked, cap = request.max_tokens, model.max_tokens
    if asked is not None:
        return asked if cap is None else min(asked, cap)
    if cap is not None:
        return cap
    if stated_limit(request, model) is not None:
        return None  # it is sent already
    if default is not None:
        facts = lookup(model.provider, model.name)
        default += thinking_tokens(request, model)
        return min(default, (facts and facts.max_output_tokens) or default)
    provider = _provider(model)  # none in this process, or behind a completer of the user's own
    demanded = None if provider is None else provider.quirks.default_max_tokens
    if demanded is None:
        return None
    facts = lookup(model.provider, model.name)
    return demanded if facts is None else facts.max_output_tokens or demanded


def stated_limit(request: Request, model: ModelConfig) -> int | None:
    """Gives the limit that `extra` states in the provider's own words: it is sent as it is.

    Only a field that the provider's protocol heeds counts.
    """
    if not (request.extra or model.extra):
        return None
    fields: Mapping[str, Any] = {**model.extra, **request.extra}
    for name in _names(model):
        where, _, inner = name.rpartition(".")
        found: Any = fields.get(where) if where else fields
        limit = found.get(inner) if isinstance(found, Mapping) else None
        if type(limit) is int and limit > 0:
            return limit
    return None


def capped_extra(extra: JsonObject, model: ModelConfig, most: int) -> JsonObject:
    """Gives what to send beside a request, so that no limit of the model's own `extra` is larger.

    Args:
        extra: the request's own fields, which win over the model's.
        model: whom it is sent to.
        most: the largest limit that may be sent.
    """
    capped: dict[str, Any] = dict(extra)
    fields: Mapping[str, Any] = {**model.extra, **extra}
    for name in _names(model):
        where, _, inner = name.rpartition(".")
        found: Any = fields.get(where) if where else fields
        if not isinstance(found, Mapping) or inner not in found:
            continue
        if where:
            capped[where] = {**found, **capped.get(where, {}), inner: most}
        else:
            capped[inner] = most
    return capped


def _names(model: ModelConfig) -> tuple[str, ...]:
    """The fields that limit what a model answers with."""
    provider = _provider(model)
    if provider is not None and provider.protocol == "openai":
        return (provider.quirks.max_tokens_field, "max_tokens")
    return _LIMITS.get(provider.protocol if provider else "", ("max_tokens",))


def thinking_tokens(request: Request | ChatRequest, model: ModelConfig) -> int:
    """Gives what `extra` lets a model think, 0 when it says nothing.

    `max_tokens` holds the thinking too, and one that is no larger is refused by the provider.
    """
    if not (request.extra or model.extra):
        return 0
    fields = {**model.extra, **request.extra}
    found = 0
    for name, part in (("thinking", "budget_tokens"), ("reasoning", "max_tokens")):
        settings: Any = fields.get(name)
        tokens = settings.get(part) if isinstance(settings, Mapping) else None
        if type(tokens) is int:
            found = max(found, tokens)
    return found


def _provider(model: ModelConfig) -> Provider | None:
    try:
        return get_provider(model.provider)
    except ConfigurationError:
        return None
