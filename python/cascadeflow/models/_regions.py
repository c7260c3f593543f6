"""What a region adds to the list price, where an answer says which region served it.

Anthropic charges 1.1 times the price of every kind of token for inference that stays in the United
States, for Claude Opus 4.6, Claude Sonnet 4.6 and all models after them; searches cost what they
cost. The request asks for it (`inference_geo`), or the workspace does; the answer's usage says what
was done. https://platform.claude.com/docs/en/about-claude/pricing
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cascadeflow.models._price import RATES, Price, PriceTier

if TYPE_CHECKING:
    from cascadeflow.models._table import Row

__all__ = ["FACTOR", "dearest_factor", "in_region"]

FACTOR: Final = Decimal("1.1")
_ANTHROPIC: Final = "anthropic"
_EVERYWHERE: Final = frozenset({"global", "not_available"})
_AT_ONE_PRICE: Final = re.compile(r"claude-(?:v?[123](?:-|$)|[a-z]+-4-[0-5]$)")
"""Anthropic's models, by their ids in the table, that came before prices by region."""


def in_region(price: Price, row: Row, region: str | None) -> Price | None:
    """Gives a price as it is in a region, `None` when that is not known.

    Args:
        price: the list price.
        row: the provider's own row that it is of.
        region: the region that served, by the provider's word; `None` when it says nothing.
    """
    if region is None or row.provider != _ANTHROPIC or region in _EVERYWHERE:
        return price
    if region != "us":
        return None
    return price if _AT_ONE_PRICE.match(row.id) else _raised(price)


def dearest_factor(row: Row, *, asked: str | None) -> tuple[int, int]:
    """Gives the most by which a region may raise a row's price, as numerator and denominator.

    Args:
        row: the provider's own row.
        asked: the region that the request asks for; a workspace may have one that it asks for
            unasked.
    """
    if row.provider != _ANTHROPIC or asked == "global" or _AT_ONE_PRICE.match(row.id):
        return 1, 1
    return FACTOR.as_integer_ratio()


@lru_cache(maxsize=256)
def _raised(price: Price) -> Price:
    def raised(rates: Price | PriceTier) -> dict[str, Decimal]:
        given = {name: getattr(rates, name) for name in RATES}
        return {name: rate * FACTOR for name, rate in given.items() if rate is not None}

    return Price(
        **{"input": None, "output": None, **raised(price)},
        requests=price.requests,
        call=price.call,
        tiers=[PriceTier(above=tier.above, **raised(tier)) for tier in price.tiers],
        source=price.source,
        date=price.date,
        service_tier=price.service_tier,
    )
