"""The dearest rates that a call may be billed at: whichever tier, snapshot or hour serves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models import catalogue
from cascadeflow.models._regions import dearest_factor
from cascadeflow.models.overrides import stated_price
from cascadeflow.models.prices import require_price

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from cascadeflow._native import RateCard
    from cascadeflow.models._price import Price, PriceSource
    from cascadeflow.models._table import Row, Table
    from cascadeflow.models.config import ModelConfig

__all__ = ["Rates", "Steps", "dearest_rates", "rate_at"]

Steps = tuple[tuple[int, int], ...]
"""Attodollars per million tokens, from more than so many input tokens on; both ascending."""

_OUTPUT_UNITS: Final = frozenset(
    {"output", "reasoning", "output_audio", "output_image", "output_video", "citation"}
)

_TIERS_UNDER: Final[Mapping[str, frozenset[str]]] = {
    "default": frozenset({"default"}),
    "flex": frozenset({"default", "flex"}),
}
"""Tiers that OpenAI may serve when one of these is asked for; any may serve when it is not."""

_PINNING: Final = frozenset({"openai", "openai-responses"})
"""Providers that serve the tier that is asked for, or a cheaper one."""

_QUARTER: Final = 900
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY: Final = 86_400
_MOST_REMEMBERED: Final = 1_024


@dataclass(frozen=True, slots=True)
class Rates:
    """The most each token of a call may cost by one price.

    Attributes:
        input: for input; empty when the price has no rate for it.
        output: for output; empty when the price has no rate for it.
        call: attodollars per million calls.
        price: the price that the model has at the first moment, by its usual name and tier.
    """

    input: Steps
    output: Steps
    call: int
    price: Price

    @property
    def source(self) -> PriceSource:
        """Where the price came from."""
        return self.price.source

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return not (self.call or any(rate for _, rate in (*self.input, *self.output)))


def rate_at(steps: Steps, input_tokens: int) -> int:
    """The dearest rate of any request with at most so many input tokens."""
    if len(steps) == 1:
        return steps[0][1]
    found = 0
    for above, rate in steps:
        if input_tokens <= above:
            break
        found = rate
    return found


_remembered: dict[tuple[Any, ...], tuple[Rates, ...]] = {}
_remembered_of: Table | None = None


def dearest_rates(
    model: ModelConfig,
    *,
    at: datetime,
    until: datetime,
    tier: str | None,
    fast: bool,
    region: str | None,
    without: frozenset[str],
) -> tuple[Rates, ...]:
    """Gives the rates that may hold for a call; what it costs at most is the most by any of them.

    A price that the user states holds whatever serves. By the catalogue: every model that the name
    may stand for, every tier and region, and every time from `at` to `until`, to the quarter of an
    hour.

    Args:
        model: the model that is asked.
        at: the earliest moment of the call.
        until: the latest one.
        tier: the service tier asked for.
        fast: whether the request asks for the provider's fast mode.
        region: the region asked for.
        without: units that the call surely does not use.

    Raises:
        UnknownPriceError: the price is not known, or that of the tier asked for.
        ConfigurationError: the user's prices file is broken.
        StoreError: the price table is broken.
    """
    global _remembered_of  # noqa: PLW0603 - forgotten with the table that it was read from
    if model.price is not None or model.cost is not None or stated_price(model.id) is not None:
        return (_of_price(require_price(model, at=at), without),)
    table = catalogue.table()
    if table is not _remembered_of:
        _remembered.clear()
        _remembered_of = table
    if tier:
        require_price(model, at=at, service_tier=tier)  # a tier that is asked for has to have one
    start, end = int(at.timestamp()) // _QUARTER, -(-int(until.timestamp()) // _QUARTER)
    pinned = tier if model.provider in _PINNING and tier in _TIERS_UNDER else None
    key = (model.provider, model.name, start, end, pinned, fast, region, without)
    found = _remembered.get(key)
    if found is None:
        found = _of_catalogue(
            model,
            (start * _QUARTER, end * _QUARTER),
            at,
            pinned=pinned,
            fast=fast,
            region=region,
            without=without,
        )
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[key] = found
    return found


def _of_catalogue(
    model: ModelConfig,
    window: tuple[int, int],
    at: datetime,
    *,
    pinned: str | None,
    fast: bool,
    region: str | None,
    without: frozenset[str],
) -> tuple[Rates, ...]:
    rows, own = catalogue.rows_that_may_serve(model.provider, model.name)
    # An unknown price is an error here, and so is one that no answer can be priced by.
    first = _of_price(require_price(model, at=at), without)
    if not (first.input and first.output):
        return (first,)
    found = {(first.input, first.output, first.call): first}
    for row in rows:
        if not row.priced:
            continue
        resolutions = {
            row.schedule.resolve(moment, context)
            for context in (_contexts(row, pinned=pinned, fast=fast) if own else [None])
            for moment in _moments(row, *window)
        }
        factor = dearest_factor(row, asked=region) if own else (1, 1)
        for resolution in resolutions:
            card = row.schedule.card(*resolution)
            rates = _raised(_of_card(card, without, first.price), *factor)
            if rates.input and rates.output:
                found.setdefault((rates.input, rates.output, rates.call), rates)
    return tuple(_undominated(found.values()))


def _raised(rates: Rates, numerator: int, denominator: int) -> Rates:
    if numerator == denominator:
        return rates

    def raised(steps: Steps) -> Steps:
        return tuple((above, -(-rate * numerator // denominator)) for above, rate in steps)

    return Rates(raised(rates.input), raised(rates.output), rates.call, rates.price)


def _contexts(row: Row, *, pinned: str | None, fast: bool) -> Iterator[dict[str, str] | None]:
    """Every context that a call may be served in: each variant's own, and each tier's."""
    yield None
    for context, _, _ in row.variants():
        if "speed" in context and not fast:
            continue  # no provider serves its fast mode unasked
        asked = context.get("service_tier")
        if pinned is not None and (asked is not None) and asked not in _TIERS_UNDER[pinned]:
            continue
        yield context


def _moments(row: Row, start: int, end: int) -> set[int]:
    """Instants of a time at which every price that holds during it holds, in Unix seconds.

    Prices change at the beginning of a day, or at hours that are the same every day. So two days
    from each of the former show all that there is.
    """
    constraints = [when for when, _ in row.data["prices"]]
    constraints += [when for _, when, _ in row.variants()]
    first, last = start // _DAY, end // _DAY
    days = {first, first + 1}
    hours = {0}
    for when in constraints:
        if isinstance(when, str):
            day = date.fromisoformat(when).toordinal() - _EPOCH
            days |= {day, day + 1}
        elif when is not None:
            hours |= {_seconds(each) for each in when}
    instants = {day * _DAY + hour for day in days if day <= last for hour in hours}
    return {start, *(instant for instant in instants if start < instant <= end)}


def _seconds(text: str) -> int:
    moment = time.fromisoformat(text)
    return int(timedelta(hours=moment.hour, minutes=moment.minute).total_seconds()) + moment.second


def _of_price(price: Price, without: frozenset[str]) -> Rates:
    remembered = _of_prices.get(id(price))
    if remembered is None or remembered[0] is not price:
        if len(_of_prices) >= _MOST_REMEMBERED:
            _of_prices.clear()
        remembered = _of_prices[id(price)] = (price, {})
    rates = remembered[1].get(without)
    if rates is None:
        card = price._card  # noqa: SLF001 - the room's own
        rates = remembered[1][without] = _of_card(card, without, price)
    return rates


def _of_card(card: RateCard, without: frozenset[str], price: Price) -> Rates:
    listed, _, call = card.listing()
    sides: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    units = {unit for unit, _, _ in listed}
    for unit, above, rate in listed:
        side = unit in _OUTPUT_UNITS
        # Without a rate of its own, a side's plain tokens have none, whatever its other kinds cost.
        if unit not in without and ("output" if side else "input") in units:
            sides[side].append((-1 if above is None else above, rate))
    return Rates(_steps(sides[0]), _steps(sides[1]), call or 0, price)


_of_prices: dict[int, tuple[Price, dict[frozenset[str], Rates]]] = {}
"""By identity, as hashing a price takes longer than reading it; an entry keeps its price alive."""


def _steps(rates: Iterable[tuple[int, int]]) -> Steps:
    steps: list[tuple[int, int]] = []
    for above, rate in sorted(rates):
        if steps and rate <= steps[-1][1]:
            continue
        if steps and steps[-1][0] == above:
            steps.pop()
        steps.append((above, rate))
    return tuple(steps)


def _undominated(all_rates: Iterable[Rates]) -> list[Rates]:
    """Leaves out what is never dearer than another, where the steps are simple enough to see it."""
    kept: list[Rates] = []
    for rates in sorted(all_rates, key=_size, reverse=True):
        if not any(_covers(other, rates) for other in kept):
            kept.append(rates)
    return kept


def _size(rates: Rates) -> tuple[int, int, int]:
    return rates.output[-1][1], rates.input[-1][1], rates.call


def _covers(one: Rates, other: Rates) -> bool:
    return (
        one.call >= other.call
        and _above(one.input, other.input)
        and _above(one.output, other.output)
    )


def _above(one: Steps, other: Steps) -> bool:
    """Whether one is at least the other for every number of input tokens."""
    points = {above + 1 for above, _ in (*one, *other)}
    return all(rate_at(one, point) >= rate_at(other, point) for point in points)
