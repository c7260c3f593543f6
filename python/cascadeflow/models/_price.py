"""A price: what a million tokens of each kind cost, and what a call with some usage costs by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Context, Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from cascadeflow._native import RateCard
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import Amount, to_decimal
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Collection

    from cascadeflow.models.usage import Usage

__all__ = ["RATES", "CardSpec", "Price", "PriceSource", "PriceTier", "attodollars"]

PriceSource = Literal["catalogue", "user", "local", "provider"]
"""Where a price came from; `provider` is the cost that a provider itself reports."""

CardSpec: TypeAlias = tuple[list[tuple[str, int | None, int]], list[tuple[str, int]], int | None]
"""Rates as the native side takes them: by unit and threshold, by kind of request, of the call."""

RATES: Final = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "cache_read_audio",
    "output_audio",
    "input_image",
    "cache_read_image",
    "output_image",
    "input_video",
    "cache_read_video",
    "output_video",
    "citation",
)
"""Kinds of tokens that a usage record tells apart and a price may have a rate for."""

_MAX_RATE: Final = 1_000_000
_MOST_TOKENS: Final = 2**63
_PLACES: Final = 18
_EXACT: Final = Context(prec=64)
_REQUESTS_TO_MILLION: Final = 1_000


class _Native:
    """Holds the native rates beside a price's fields, where no comparison or copy sees them."""

    __slots__ = ("_card",)
    _card: RateCard


@dataclass(frozen=True, slots=True, init=False)
class PriceTier:
    """Rates for a whole request with more than `above` input tokens, cached ones included.

    A rate that a tier leaves out stays what it was below the threshold. US dollars per million
    tokens.

    Attributes:
        above: input tokens; the tier holds for the whole request once there are more.
        input: as in `Price`, like the rest.
    """

    above: int
    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    reasoning: Decimal | None
    input_audio: Decimal | None
    cache_read_audio: Decimal | None
    output_audio: Decimal | None
    input_image: Decimal | None
    cache_read_image: Decimal | None
    output_image: Decimal | None
    input_video: Decimal | None
    cache_read_video: Decimal | None
    output_video: Decimal | None
    citation: Decimal | None

    def __init__(
        self,
        *,
        above: int,
        input: Amount | None = None,  # noqa: A002 - the field's own term
        output: Amount | None = None,
        cache_read: Amount | None = None,
        cache_write: Amount | None = None,
        cache_write_1h: Amount | None = None,
        reasoning: Amount | None = None,
        input_audio: Amount | None = None,
        cache_read_audio: Amount | None = None,
        output_audio: Amount | None = None,
        input_image: Amount | None = None,
        cache_read_image: Amount | None = None,
        output_image: Amount | None = None,
        input_video: Amount | None = None,
        cache_read_video: Amount | None = None,
        output_video: Amount | None = None,
        citation: Amount | None = None,
    ) -> None:
        if type(above) is not int or above < 0:
            raise ConfigurationError(f"PriceTier.above is a count of tokens, not {above!r}")
        given = locals()
        object.__setattr__(self, "above", above)
        for name in RATES:
            object.__setattr__(self, name, _rate(given[name], f"PriceTier.{name}"))

    def __repr__(self) -> str:
        return _repr(self)


@dataclass(frozen=True, slots=True, init=False)
class Price(_Native):
    """What a model costs, in US dollars per million tokens; frozen.

    A kind of token without a rate of its own is charged as what it is a part of: cache reads and
    writes, audio, images and video as `input`, the one-hour cache as `cache_write`, reasoning,
    citations and what is no text as `output`. Cached audio, a part of two (audio, and cached
    input), needs its own rate when both have one; so do cached images and video.

    Amounts are given as `Decimal`, `int`, text, or `float`, which is read by its shortest decimal
    form.

    >>> Price(input=0.25, output=2, cache_read="0.025")
    Price(input=0.25, output=2, cache_read=0.025, source='user')

    Attributes:
        input: input that has no rate of its own; `None`: the model takes none.
        output: output that has no rate of its own; `None`: the model gives none.
        cache_read: input read from a cache.
        cache_write: input written to a cache.
        cache_write_1h: input written to a cache for an hour.
        reasoning: output spent on reasoning.
        input_audio: audio input.
        cache_read_audio: audio input read from a cache.
        output_audio: audio output.
        input_image: image input.
        cache_read_image: image input read from a cache.
        output_image: image output.
        input_video: video input.
        cache_read_video: video input read from a cache.
        output_video: video output.
        citation: output that quotes sources.
        requests: server-side tools by their name in `Usage.requests`, in US dollars per
            **thousand**.
        call: the call itself, in US dollars per **thousand** calls.
        tiers: rates for long requests.
        source: where the price came from.
        date: since when it holds, or when it was compiled, ISO 8601; `None` when nobody said.
        service_tier: the provider's service tier it is for; `None` for the usual one.
    """

    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None
    cache_write_1h: Decimal | None
    reasoning: Decimal | None
    input_audio: Decimal | None
    cache_read_audio: Decimal | None
    output_audio: Decimal | None
    input_image: Decimal | None
    cache_read_image: Decimal | None
    output_image: Decimal | None
    input_video: Decimal | None
    cache_read_video: Decimal | None
    output_video: Decimal | None
    citation: Decimal | None
    requests: Mapping[str, Decimal]
    call: Decimal | None
    tiers: tuple[PriceTier, ...]
    source: PriceSource
    date: str | None
    service_tier: str | None

    def __init__(
        self,
        *,
        input: Amount | None,  # noqa: A002 - the field's own term
        output: Amount | None,
        cache_read: Amount | None = None,
        cache_write: Amount | None = None,
        cache_write_1h: Amount | None = None,
        reasoning: Amount | None = None,
        input_audio: Amount | None = None,
        cache_read_audio: Amount | None = None,
        output_audio: Amount | None = None,
        input_image: Amount | None = None,
        cache_read_image: Amount | None = None,
        output_image: Amount | None = None,
        input_video: Amount | None = None,
        cache_read_video: Amount | None = None,
        output_video: Amount | None = None,
        citation: Amount | None = None,
        requests: Mapping[str, Amount] = EMPTY,
        call: Amount | None = None,
        tiers: Iterable[PriceTier] = (),
        source: PriceSource = "user",
        date: str | None = None,
        service_tier: str | None = None,
    ) -> None:
        given = locals()
        for name in RATES:
            object.__setattr__(self, name, _rate(given[name], f"Price.{name}"))
        object.__setattr__(self, "requests", _rates(requests, "Price.requests"))
        object.__setattr__(self, "call", _rate(call, "Price.call"))
        object.__setattr__(self, "tiers", tuple(sorted(tiers, key=lambda tier: tier.above)))
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "date", date)
        object.__setattr__(self, "service_tier", service_tier)
        object.__setattr__(self, "_card", RateCard(*_card_spec(self)))

    @classmethod
    def from_card(
        cls, card: RateCard, *, source: PriceSource, date: str | None, service_tier: str | None
    ) -> Self:
        """Gives the price that native rates are, exactly."""
        listed, requests, call = card.listing()
        base: dict[str, Decimal] = {}
        tiers: dict[int, dict[str, Decimal]] = {}
        for unit, above, rate in listed:
            (base if above is None else tiers.setdefault(above, {}))[unit] = _dollars(rate)
        return cls(
            **{"input": None, "output": None, **base},
            requests={kind: _dollars(rate, per_thousand=True) for kind, rate in requests},
            call=None if call is None else _dollars(call, per_thousand=True),
            tiers=[PriceTier(above=above, **rates) for above, rates in tiers.items()],
            source=source,
            date=date,
            service_tier=service_tier,
        )

    def cost(self, usage: Usage) -> int:
        """Gives what a call with this usage costs, in nanodollars, rounded up once.

        >>> from cascadeflow.models.usage import Usage
        >>> Price(input=0.25, output=2).cost(Usage(input_tokens=1_000, output_tokens=500))
        1250000

        Raises:
            UnknownPriceError: something was used that the price says nothing of.
            UnknownUsageError: nothing is known of the input, or of the output, which cost
                something.
            InvalidRequestError: a count is negative, or the cost too large to be accounted for.
        """
        return self._card.cost(usage)

    def upper_bound(
        self, input_tokens: int, output_tokens: int, *, without: Collection[str] = ()
    ) -> int:
        """Gives the most a call with at most so many tokens can cost by this price, in nanodollars.

        Every token is taken for the dearest kind that has a rate, at the dearest tier in reach.
        What server-side tools cost is not in it: no count of tokens bounds them.

        >>> Price(input=3, output=15, cache_write_1h=6).upper_bound(1_000, 100)
        7500000
        >>> Price(input=3, output=15, cache_write_1h=6).upper_bound(
        ...     1_000, 100, without=["cache_write_1h"]
        ... )
        4500000

        Args:
            input_tokens: the most tokens that can be sent, of whatever kind.
            output_tokens: the most tokens that can come back, reasoning included.
            without: kinds that this call surely does not use (names of this class's rates, such as
                `"input_audio"`); `input` and `output` always count.

        Raises:
            UnknownPriceError: there are tokens on a side for which the price has no rate.
            InvalidRequestError: a count is negative, or the bound too large to be accounted for.
        """
        if not (0 <= input_tokens <= _MOST_TOKENS and 0 <= output_tokens <= _MOST_TOKENS):
            raise InvalidRequestError(
                f"a bound on cost needs counts of tokens, not {input_tokens} and {output_tokens}"
            )
        return self._card.upper_bound(input_tokens, output_tokens, list(without))

    def __repr__(self) -> str:
        return _repr(self)

    def __hash__(self) -> int:
        values = [getattr(self, field.name) for field in fields(self)]
        return hash(
            tuple(
                frozenset(value.items()) if isinstance(value, Mapping) else value
                for value in values
            )
        )

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _rebuild, (
            {
                name: dict(value) if isinstance(value, Mapping) else value
                for name, value in values.items()
            },
        )


def _rebuild(values: dict[str, Any]) -> Price:
    return Price(**values)


def attodollars(rate: Decimal | int, *, what: str) -> int:
    """Gives a rate as a whole number of 10⁻¹⁸ US dollars.

    Raises:
        ConfigurationError: it has more than 18 decimal places.
    """
    scaled = Decimal(rate).scaleb(_PLACES, _EXACT)
    whole = int(scaled)
    if whole != scaled:
        raise ConfigurationError(f"{what} has more than {_PLACES} decimal places: {rate}")
    return whole


def _card_spec(price: Price) -> CardSpec:
    rates: list[tuple[str, int | None, int]] = []
    for name in RATES:
        value: Decimal | None = getattr(price, name)
        if value is not None:
            rates.append((name, None, attodollars(value, what=name)))
    for tier in price.tiers:
        for name in RATES:
            value = getattr(tier, name)
            if value is not None:
                rates.append((name, tier.above, attodollars(value, what=name)))
    requests = [
        (kind, attodollars(value, what=kind) * _REQUESTS_TO_MILLION)
        for kind, value in price.requests.items()
    ]
    call = price.call
    if call is None:
        return rates, requests, None
    return rates, requests, attodollars(call, what="call") * _REQUESTS_TO_MILLION


def _dollars(rate: int, *, per_thousand: bool = False) -> Decimal:
    """Gives 10⁻¹⁸ dollars per million as dollars per million, or per thousand."""
    places = _PLACES + 3 if per_thousand else _PLACES
    return _plain(Decimal(rate).scaleb(-places, _EXACT))


def _plain(value: Decimal) -> Decimal:
    """Takes trailing zeros and the exponent away: prices are to be read."""
    short = value.normalize(_EXACT)
    return (
        short.quantize(Decimal(1), context=_EXACT) if short == short.to_integral_value() else short
    )


def _rate(amount: Amount | None, what: str) -> Decimal | None:
    """Reads a rate given by a user; what cannot be a price is refused here and nowhere else."""
    if amount is None:
        return None
    try:
        value = to_decimal(amount, what=what)
    except InvalidRequestError as error:
        raise ConfigurationError(str(error)) from None
    if value > _MAX_RATE:
        raise ConfigurationError(
            f"{what} is {value} US dollars, more than {_MAX_RATE:,}: prices are per million tokens "
            "(requests and calls per thousand), not nanodollars"
        )
    attodollars(value, what=what)
    return _plain(value)


def _rates(amounts: Mapping[str, Amount], what: str) -> Mapping[str, Decimal]:
    rates = {name: _rate(amount, f"{what}[{name!r}]") for name, amount in sorted(amounts.items())}
    missing = [name for name, rate in rates.items() if rate is None]
    if missing:
        raise ConfigurationError(f"{what}: {', '.join(missing)} needs an amount")
    return MappingProxyType({name: rate for name, rate in rates.items() if rate is not None})


def _repr(record: Price | PriceTier) -> str:
    parts = []
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Decimal):
            parts.append(f"{field.name}={value}")
        elif isinstance(value, Mapping):
            if value:
                inside = ", ".join(f"{name!r}: {rate}" for name, rate in value.items())
                parts.append(f"{field.name}={{{inside}}}")
        elif value is not None and value != ():
            parts.append(f"{field.name}={value!r}")
    return f"{type(record).__name__}({', '.join(parts)})"
