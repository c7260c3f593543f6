"""What a model costs, and what an answer cost.

A model's price is the first of these that there is:

1. `ModelConfig(price=…)`;
2. `ModelConfig(cost=…)`, v0.1's flat price per 1,000 tokens;
3. what the user states with `set_price` or in a prices file (`cascadeflow.models.overrides`);
4. the catalogue's, for the model and the service tier that served the request;
5. nothing, for a model that runs on the user's own machines (`LOCAL_PROVIDERS`);
6. else it is unknown, which is never zero.

A cost that the provider itself reports wins over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import InvalidRequestError, UnknownPriceError, UnknownUsageError
from cascadeflow.models._price import RATES, Price, PriceSource, PriceTier
from cascadeflow.models._regions import in_region
from cascadeflow.models.catalogue import find_row, suggest
from cascadeflow.models.config import is_local_provider
from cascadeflow.models.overrides import set_price, stated_price, use_prices_file

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.models._table import Row
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.config import ModelConfig

__all__ = [
    "RATES",
    "CostOf",
    "Price",
    "PriceSource",
    "PriceTier",
    "cost_of",
    "price_of",
    "require_price",
    "set_price",
    "use_prices_file",
]

_FREE: Final = Price(input=0, output=0, source="local")

_USUAL_TIERS: Final = frozenset({"auto", "default", "on_demand", "standard"})
"""Service tiers at the published price."""

_CHEAPER_TIERS: Final = frozenset({"batch", "flex"})
"""Service tiers below it: without a price of their own, the published one is not too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostOf:
    """What an answer cost.

    Attributes:
        nanodollars: the cost, or `None` when it is unknown.
        source: where the price came from; `None` when unknown.
        date: since when the price holds, or when it was compiled, ISO 8601; `None` when nobody
            said.
        confirmed: whether it rests on the provider's own, final word on what was used.
        problem: why it is unknown, in words; empty when it is known.
    """

    nanodollars: int | None
    source: PriceSource | None = None
    date: str | None = None
    confirmed: bool = True
    problem: str = ""


def price_of(
    model: ModelConfig,
    *,
    at: datetime,
    service_tier: str | None = None,
    served_model: str | None = None,
    region: str | None = None,
) -> Price | None:
    """Gives a model's price, or `None` when it is not known.

    A price that the user states holds whatever tier or model served. By the catalogue:

    - A tier that costs what is published (`default`, `standard`, `auto`, `on_demand`) has the usual
      price; one with a price of its own (`flex`, `priority`, `fast`, `batch`) has that; `flex` and
      `batch` without one have the usual price, which is no less; any other has none.
    - A served model that the catalogue knows has its own price: a dated snapshot may differ from
      the name that leads to it, and a router may have chosen another model. One that the catalogue
      does not know has the asked model's price if its name says that it is the same model (a date,
      a version or a path more or less, words in another order); else its price is not known.
    - Anthropic's newer models cost more where the region that served is `us`; the price in a region
      that nobody knows of is not known.

    Args:
        model: the model that was asked.
        at: the moment, with a time zone: dated prices and prices by the hour depend on it.
        service_tier: the tier that served the request; before it is sent, the tier asked for.
        served_model: the model that served the request, by the provider's word.
        region: the region that served it, where the provider says so (`inference_geo`).

    Raises:
        InvalidRequestError: `at` has no time zone.
        ConfigurationError: the user's prices file is broken.
        StoreError: the price table is broken.
    """
    if model.price is not None:
        return model.price
    if model.cost is not None:
        return _flat(model.cost)
    stated = stated_price(model.id)
    if stated is not None:
        return stated
    found = find_row(model.provider, model.name, served_model)
    if found is not None:
        row, own = found
        price = _catalogue_price(row, own=own, at=at, service_tier=service_tier)
        return in_region(price, row, region) if price is not None and own else price
    return _FREE if _is_local(model) else None


def require_price(model: ModelConfig, *, at: datetime, service_tier: str | None = None) -> Price:
    """Gives a model's price.

    Raises:
        UnknownPriceError: it is not known; the text says how to state it.
        InvalidRequestError: `at` has no time zone.
    """
    price = price_of(model, at=at, service_tier=service_tier)
    if price is not None:
        return price
    near = [name for name in suggest(model.provider, model.name) if name != model.id]
    tier = "" if service_tier is None else f" at service tier {service_tier!r}"
    raise UnknownPriceError(
        f"the price of {model.id}{tier} is not known, and an unknown price is not taken for zero. "
        + (f"Did you mean {' or '.join(near)}? " if near else "")
        + f"State it, in US dollars per million tokens: ModelConfig({model.name!r}, "
        f"{model.provider!r}, price=Price(input=…, output=…)), or let unknown prices through: "
        'CascadeAgent(…, unknown_price="allow")'
    )


def cost_of(completion: Completion, model: ModelConfig, *, at: datetime) -> CostOf:
    """Gives what an answer cost: by the provider's own word, or its usage at the price in force.

    Args:
        completion: the answer; its usage may be an estimate (`usage_complete=False`), and the cost
            is then one too (`confirmed=False`).
        model: the model that was asked.
        at: the moment the request was sent, with a time zone.

    Raises:
        InvalidRequestError: `at` has no time zone, or a count is negative.
    """
    if completion.reported_cost is not None:
        return CostOf(nanodollars=completion.reported_cost, source="provider")
    served, (tier, region) = completion.model, _served(completion)
    price = price_of(model, at=at, service_tier=tier, served_model=served, region=region)
    if price is None:
        by = f", served as {served}" if served not in (None, model.name) else ""
        tier_text = f" at service tier {tier!r}" if tier is not None else ""
        where = f" in region {region!r}" if region is not None else ""
        problem = f"the price of {model.id}{by}{tier_text}{where} is not known"
        return CostOf(nanodollars=None, confirmed=False, problem=problem)
    if completion.usage is None:
        problem = f"{model.provider} did not say what was used"
        return CostOf(
            nanodollars=None, source=price.source, date=price.date, confirmed=False, problem=problem
        )
    try:
        nanodollars = price.cost(completion.usage)
    except (UnknownPriceError, UnknownUsageError) as error:
        return CostOf(
            nanodollars=None,
            source=price.source,
            date=price.date,
            confirmed=False,
            problem=f"{model.id}: {error}",
        )
    return CostOf(
        nanodollars=nanodollars,
        source=price.source,
        date=price.date,
        confirmed=completion.usage_complete,
    )


def _served(completion: Completion) -> tuple[str | None, str | None]:
    """Gives the tier and the region that served, by the provider's word.

    Anthropic says of its fast mode and of the region in the usage; the tier is the standard one
    beside it.
    """
    tier = completion.service_tier or None
    usage = completion.extras.get("usage")
    if usage is None or not isinstance(usage, Mapping):
        return tier, None
    if usage.get("speed") == "fast" and (tier is None or tier in _USUAL_TIERS):
        tier = "fast"
    region = usage.get("inference_geo")
    return tier, region if isinstance(region, str) and region else None


@lru_cache(maxsize=256)
def _flat(cost: float) -> Price:
    """v0.1's price: US dollars per 1,000 tokens, input and output alike."""
    per_million = Decimal(str(cost)).scaleb(3)
    return Price(input=per_million, output=per_million)


def _is_local(model: ModelConfig) -> bool:
    """Ollama also forwards to its own paid service, by models whose tag says so."""
    if not is_local_provider(model.provider):
        return False
    return not (model.provider == "ollama" and model.name.lower().endswith(("-cloud", ":cloud")))


def _catalogue_price(
    row: Row, *, own: bool, at: datetime, service_tier: str | None
) -> Price | None:
    if not row.priced:
        return None
    if at.tzinfo is None:
        raise InvalidRequestError(
            "a price holds at a moment: `at` needs a time zone, as in datetime.now(UTC)"
        )
    tier = service_tier.lower() if service_tier else None
    context = None
    if tier is not None and own and row.has_variants:
        context = {"service_tier": tier}
        if tier == "batch":
            context["processing"] = tier
        elif tier == "fast":
            context["speed"] = tier
    price = row.price(int(at.timestamp() // 1), context, tier)
    if price.input is None and price.output is None:
        return None  # sold by the hour, the page or the character: no answer can be priced by it
    if tier is None or price.service_tier is not None:
        return price
    return price if tier in _USUAL_TIERS or tier in _CHEAPER_TIERS else None
