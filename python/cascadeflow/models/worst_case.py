"""The most that one call of a request can cost: what a budget holds before anything is sent.

The input is bounded by `count_request`, the output by the `max_tokens` that is sent, the price by
the dearest that may apply: any tier, dated snapshot or hour that may serve, the dearest kind of
token that the price has a rate for, and the fee for the call. `docs/prices.md` says what is
assumed of providers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from cascadeflow.errors import InvalidRequestError, UnboundedCostError
from cascadeflow.models._dearest import dearest_rates, rate_at
from cascadeflow.models._own_words import read_own_words
from cascadeflow.models.token_families import chat_format_for, family_for, vocabulary_for
from cascadeflow.models.tokens import TokenCount, count_request, countable_bound, uses_own_tools
from cascadeflow.money import MAX_NANODOLLARS
from cascadeflow.types import DocumentPart, ImagePart

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from cascadeflow.models._dearest import Rates
    from cascadeflow.models._own_words import OwnWords
    from cascadeflow.models._price import PriceSource
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.types import ChatRequest

__all__ = ["Counts", "WorstCase", "affordable_output", "worst_case"]

Counts: TypeAlias = "dict[Hashable, tuple[ChatRequest, ModelConfig, TokenCount]]"
"""Token counts of one request's variants, so that models that count alike share one count."""

_AN_HOUR: Final = timedelta(hours=1)
_RATES_PER_NANODOLLAR: Final = 10**15
_LARGEST: Final = 2**31 - 1

_SEARCHING: Final = ("sonar", "-online", ":online", "search-api", "openrouter/auto", "@preset/")
"""Names of models that read what was not sent, or that stand for models nobody knows.

Where the price has a fee for the call (Perplexity's), it is the fee with the most search.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The most that one call can cost.

    Attributes:
        nanodollars: the amount; no call of the request costs more.
        input_tokens: the most input tokens that it is reckoned with.
        input_exact: whether that is what the provider counts.
        output_tokens: the most output tokens that it is reckoned with, all answers together.
        source: where the dearest price came from.
    """

    nanodollars: int
    input_tokens: int
    input_exact: bool
    output_tokens: int
    source: PriceSource


def worst_case(
    model: ModelConfig,
    request: ChatRequest,
    *,
    output_tokens: int,
    at: datetime,
    until: datetime | None = None,
    extra: int | None = None,
    counts: Counts | None = None,
) -> WorstCase:
    """Gives the most that one call of a request can cost.

    >>> from datetime import UTC, datetime
    >>> from cascadeflow.models.config import ModelConfig
    >>> from cascadeflow.models.prices import Price
    >>> from cascadeflow.types import ChatRequest, Message
    >>> model = ModelConfig("gpt-4o", "openai", price=Price(input=2, output=8))
    >>> hello = ChatRequest("gpt-4o", (Message("user", "hello"),))
    >>> worst_case(model, hello, output_tokens=100, at=datetime(2026, 11, 22, tzinfo=UTC))
    WorstCase(nanodollars=816000, input_tokens=8, input_exact=True, output_tokens=100, source='user')

    Args:
        model: the model that is asked; what it says in `extra` is sent too, and counts.
        request: what it is asked.
        output_tokens: the `max_tokens` that is sent. A larger one in the request counts instead.
        at: the earliest moment at which it may be sent.
        until: the latest one; an hour after `at` by default.
        extra: nanodollars that may be billed for what cannot be counted: tools that run at the
            provider, files, fields that this package does not know. Added where there is such;
            `None` refuses it.
        counts: token counts to share between models: an empty dict, used for one request's models.

    Raises:
        UnboundedCostError: there is something that cannot be counted, and `extra` is not given.
        UnknownPriceError: the model's price is not known.
        InvalidRequestError: a field of `extra` lifts the limit on the output, a number is negative,
            a moment has no time zone, or the amount is larger than can be accounted for.
        ConfigurationError: the user's prices file is broken, or a `tokenizer` file.
        StoreError: the price table is broken.
    """  # noqa: E501 - the doctest shows a record
    _check("output_tokens", output_tokens)
    own, rates, count, input_tokens, uncounted = _reckon(
        model, request, at=at, until=until, extra=extra, counts=counts
    )
    output = own.output(max(output_tokens, request.max_tokens or 0))
    most = -1
    dearest = rates[0]
    for each in rates:
        total = _total(each, input_tokens, output)
        if total > most:
            most, dearest = total, each
    amount = -(-most // _RATES_PER_NANODOLLAR) + uncounted
    if amount > MAX_NANODOLLARS:
        raise InvalidRequestError(
            f"{model.id}: the request may cost more than can be accounted for; set max_tokens"
        )
    return WorstCase(
        nanodollars=amount,
        input_tokens=input_tokens,
        input_exact=count.exact,
        output_tokens=output,
        source=dearest.source,
    )


def affordable_output(
    model: ModelConfig,
    request: ChatRequest,
    nanodollars: int,
    *,
    at: datetime,
    until: datetime | None = None,
    extra: int | None = None,
    counts: Counts | None = None,
) -> int | None:
    """Gives the largest `max_tokens` with which one call of a request costs no more than an amount.

    What the request itself says of `max_tokens` does not count here, it is what is asked for; what
    its `extra` says does.

    Args:
        model: the model that is asked.
        request: what it is asked.
        nanodollars: the amount.
        at: as for `worst_case`, like the rest.
        until: the latest moment of the call.
        extra: nanodollars for what cannot be counted.
        counts: token counts to share between models.

    Returns:
        At least 1, and no more than 2³¹ - 1 however little output costs; `None` when the amount
        does not pay for the input and one token.

    Raises:
        UnboundedCostError: as for `worst_case`, like the rest.
        UnknownPriceError: the model's price is not known.
        InvalidRequestError: what `worst_case` refuses.
    """
    own, rates, _, input_tokens, uncounted = _reckon(
        model, request, at=at, until=until, extra=extra, counts=counts
    )
    left = (min(nanodollars, MAX_NANODOLLARS) - uncounted) * _RATES_PER_NANODOLLAR
    output = own.output(_LARGEST)
    for each in rates:
        rest = left - _total(each, input_tokens, 0)
        if rest < 0:
            return None
        rate = _rate(each, input_tokens, output=True)
        if rate:
            output = min(output, rest // rate)
    limit = own.limit(output)
    return None if limit is None else min(limit, _LARGEST)


def _reckon(
    model: ModelConfig,
    request: ChatRequest,
    *,
    at: datetime,
    until: datetime | None,
    extra: int | None,
    counts: Counts | None,
) -> tuple[OwnWords, tuple[Rates, ...], TokenCount, int, int]:
    """What the request says, the rates, the count, the most input tokens, what goes uncounted."""
    if until is None:
        until = at + _AN_HOUR
    if at.tzinfo is None or until.tzinfo is None or until < at:
        raise InvalidRequestError(
            "a price holds at a moment: `at` and `until` need a time zone, as in "
            "datetime.now(UTC), and `until` may not lie before `at`"
        )
    if extra is not None:
        _check("extra", extra)
    own = read_own_words(request, model)
    rates = dearest_rates(
        model,
        at=at,
        until=until,
        tier=own.tier,
        fast=own.fast,
        region=own.region,
        without=own.without,
    )
    count = _counted(model, request, counts)
    searching = _searches(model.name) and not all(each.call for each in rates)
    most = count.upper_bound
    if most is not None and not (own.refused or own.unbounded or searching):
        return own, rates, count, most + own.more_input, 0
    if most is None:
        most = countable_bound(request, model)
    most += own.more_input
    if all(each.free and each.source == "local" for each in rates):
        return own, rates, count, most, 0
    if own.refused:
        raise InvalidRequestError(own.refused)
    if extra is None:
        raise UnboundedCostError(
            f"nobody can say what this request costs at most at {model.id}: "
            f"{_why(request, own, searching=searching)}. State what may be billed beyond the "
            "tokens that can be counted, in US dollars: max_extra_cost=… (0 if it is nothing)"
        )
    return own, rates, count, most, extra


@lru_cache(maxsize=256)
def _searches(name: str) -> bool:
    lowered = name.lower()
    return any(each in lowered for each in _SEARCHING)


def _why(request: ChatRequest, own: OwnWords, *, searching: bool) -> str:
    if own.unbounded:
        return f"{own.unbounded} may make it read or bill more than was sent"
    if searching:
        return "the model searches or chooses another model by itself"
    for message in request.messages:
        if isinstance(message.content, str):
            continue
        for part in message.content:
            if isinstance(part, DocumentPart):
                return "it holds a file, whose tokens nobody knows beforehand"
            if isinstance(part, ImagePart):
                return "it holds an image, for which this provider states no largest cost"
    return "the model uses tools of its provider by itself"


def _counted(model: ModelConfig, request: ChatRequest, counts: Counts | None) -> TokenCount:
    if counts is None:
        return count_request(request, model)
    key = (
        *(id(request.messages), id(request.tools), id(request.response_format)),
        *(id(request.extra), id(model.extra), model.tokenizer),
        _way_of_counting(model.provider, model.name),
    )
    found = counts.get(key)
    if found is None:
        # The entry keeps what the key names by its identity.
        found = counts[key] = (request, model, count_request(request, model))
    return found[2]


@lru_cache(maxsize=256)
def _way_of_counting(provider: str, name: str) -> str:
    """Models of which this is the same count every request alike."""
    ways = (
        vocabulary_for(provider, name),
        chat_format_for(provider, name),
        family_for(provider, name).name,
        uses_own_tools(name),
    )
    return repr(ways)


def _total(rates: Rates, input_tokens: int, output_tokens: int) -> int:
    """Attodollars per million."""
    total = rates.call
    if input_tokens:
        total += _rate(rates, input_tokens, output=False) * input_tokens
    if output_tokens:
        total += _rate(rates, input_tokens, output=True) * output_tokens
    return total


def _rate(rates: Rates, input_tokens: int, *, output: bool) -> int:
    steps = rates.output if output else rates.input
    if not steps:
        rates.price.upper_bound(0 if output else 1, 1 if output else 0)  # says what is missing
    return rate_at(steps, input_tokens)


def _check(name: str, value: int) -> None:
    if type(value) is not int or value < 0:
        raise InvalidRequestError(f"{name} must be a whole number of at least 0, not {value!r:.40}")
