"""Which models there are, what they can do, what they cost.

The names load on first use: neither the price table nor anything heavy is read by importing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascadeflow.models.catalogue import ModelFacts, cheapest_first, lookup, suggest
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.config import LOCAL_PROVIDERS, ModelConfig
    from cascadeflow.models.prices import (
        CostOf,
        Price,
        PriceTier,
        cost_of,
        price_of,
        require_price,
        set_price,
        use_prices_file,
    )
    from cascadeflow.models.tokens import TokenCount, count_request, count_text, load_tokenizer
    from cascadeflow.models.usage import Usage

_HOMES = {
    "Completion": "completion",
    "CostOf": "prices",
    "LOCAL_PROVIDERS": "config",
    "ModelConfig": "config",
    "ModelFacts": "catalogue",
    "Price": "prices",
    "PriceTier": "prices",
    "TokenCount": "tokens",
    "Usage": "usage",
    "cheapest_first": "catalogue",
    "cost_of": "prices",
    "count_request": "tokens",
    "count_text": "tokens",
    "load_tokenizer": "tokens",
    "lookup": "catalogue",
    "price_of": "prices",
    "require_price": "prices",
    "set_price": "prices",
    "suggest": "catalogue",
    "use_prices_file": "prices",
}

__all__ = [
    "LOCAL_PROVIDERS",
    "Completion",
    "CostOf",
    "ModelConfig",
    "ModelFacts",
    "Price",
    "PriceTier",
    "TokenCount",
    "Usage",
    "cheapest_first",
    "cost_of",
    "count_request",
    "count_text",
    "load_tokenizer",
    "lookup",
    "price_of",
    "require_price",
    "set_price",
    "suggest",
    "use_prices_file",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
