"""The price table: reading it lazily, finding a model in it, and which prices hold when.

A table is a text file of JSON lines, made by `compile_prices`: a header; then for each provider one
line, and one line for each of its models in the order in which they are matched. Finding a provider
is a search in bytes; only the lines of providers that are asked for are parsed, and only the prices
of models that are asked for are built.

Matching follows the genai-prices package: a model belongs to the first row of its provider whose
rule fits; then to a row of the provider's fallback providers; then the same again with a compact
date (`-20251211`) written out (`-2025-12-11`).
"""

from __future__ import annotations

import json
import re
from datetime import date, time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cascadeflow._native import PriceSchedule
from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models._price import RATES, CardSpec, Price, attodollars

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FORMAT", "SHIPPED", "Match", "Row", "Table", "schedule_of"]

FORMAT: Final = 1
"""The version of the file's format; a table of another one is not read."""

SHIPPED: Final = Path(__file__).with_name("data") / "prices.jsonl"
"""The table that comes with the package."""

Match: TypeAlias = str | list[Any]
"""A rule: text that must be equal, or `[kind, argument, …]`."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_REQUEST_RATE: Final = 1_000
_PROVIDER: Final = b'\n{"provider":'
_COMPACT_DATE: Final = re.compile(r"(-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Row:
    """One model of a table."""

    def __init__(self, provider: str, data: Mapping[str, Any], table_date: str) -> None:
        self.provider = provider
        self.data = data
        self.table_date = table_date
        self._prices: dict[tuple[int, int], Price] = {}
        periods = data.get("prices", ())
        self.priced = bool(periods)
        """Whether the table knows what it costs."""
        self.has_variants = "variants" in data
        """Whether its price depends on the service tier or the like."""
        self._fixed = len(periods) == 1 and periods[0][0] is None

    @property
    def id(self) -> str:
        """The model's id in the table."""
        model_id: str = self.data["id"]
        return model_id

    def matches(self, name: str) -> bool:
        """Whether this row is meant by a name in lower case."""
        return _matches(self.data.get("match", self.data["id"].lower()), name)

    @cached_property
    def schedule(self) -> PriceSchedule:
        """Its prices through time, on the native side."""
        try:
            return schedule_of(self.data)
        except ConfigurationError as error:
            raise StoreError(
                f"the price table's row {self.provider}:{self.id} is broken ({error}): make the "
                "table again with `cascadeflow prices update`, or delete it"
            ) from error

    def price(
        self, unix_seconds: int, context: dict[str, str] | None, service_tier: str | None
    ) -> Price:
        """Gives the price that holds at an instant for a call with this context."""
        always = self._fixed and (context is None or not self.has_variants)
        key = (0, 0) if always else self.schedule.resolve(unix_seconds, context)
        price = self._prices.get(key)
        if price is None:
            period, variants = key
            price = Price.from_card(
                self.schedule.card(period, variants),
                source="catalogue",
                date=self._since(period, variants),
                service_tier=service_tier if variants else None,
            )
            self._prices[key] = price
        return price

    def variants(self) -> list[tuple[dict[str, str], Any, dict[str, Any]]]:
        """Its variants: the context each asks for, its constraint, the rates it replaces."""
        return [(context, when, rates) for context, when, rates in self.data.get("variants", ())]

    def _since(self, period: int, variants: int) -> str:
        """The latest start among what holds, or the day the table was compiled."""
        constraints = [self.data["prices"][period][0]]
        for index, (_, constraint, _) in enumerate(self.variants()):
            if variants >> index & 1:
                constraints.append(constraint)
        starts = [each for each in constraints if isinstance(each, str)]
        return max(starts, default=self.table_date)


class Table:
    """A price table, read as far as it was asked for."""

    def __init__(self, content: bytes, *, where: str) -> None:
        """Takes a file's content.

        Args:
            content: the whole file.
            where: what it is, for errors.

        Raises:
            StoreError: it is no price table, or one of another format.
        """
        self.where = where
        self._content = content
        try:
            header = json.loads(content[: content.index(b"\n")])
            table_format = header["format"]
            self.compiled: str = header["compiled"]
            self.sources: dict[str, str] = header["sources"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{where} is no price table ({type(error).__name__}: {error}): make it again with "
                "`cascadeflow prices update`, or delete it"
            ) from error
        if table_format != FORMAT:
            raise StoreError(
                f"{where} has format {table_format}, this version reads {FORMAT}: make it again "
                "with `cascadeflow prices update`, or delete it"
            )
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._fallbacks: dict[str, tuple[str, ...]] = {}

    @classmethod
    def read(cls, path: Path) -> Table:
        """Reads a file.

        Raises:
            StoreError: it cannot be read, or is no price table.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"the price table {path} cannot be read: {error}") from error
        return cls(content, where=str(path))

    def says_the_same_as(self, other: Table) -> bool:
        """Whether two tables differ in nothing but the day they were compiled on."""
        return _without_date(self._content) == _without_date(other._content)

    @cached_property
    def _sections(self) -> dict[str, tuple[int, int]]:
        """Where each provider's lines begin and end."""
        starts = []
        at = self._content.find(_PROVIDER)
        while at != -1:
            starts.append(at + 1)
            at = self._content.find(_PROVIDER, at + 1)
        sections = {}
        for start, end in zip(starts, [*starts[1:], len(self._content)], strict=True):
            # The id is the first value of the provider's line.
            quoted = self._content[start + len(_PROVIDER) - 1 : start + 100].split(b'"', 2)[1]
            sections[quoted.decode()] = (start, end)
        return sections

    def providers(self) -> tuple[str, ...]:
        """Gives the providers' ids, in the table's order."""
        return tuple(self._sections)

    def rows(self, provider: str) -> tuple[Row, ...]:
        """Gives a provider's models, in the order in which they are matched; none if unknown."""
        rows = self._rows.get(provider)
        if rows is None:
            section = self._sections.get(provider)
            rows = () if section is None else self._parse(provider, *section)
            self._rows[provider] = rows
        return rows

    def all_rows(self) -> Iterator[Row]:
        """Gives every model."""
        for provider in self.providers():
            yield from self.rows(provider)

    def row(self, provider: str, model_id: str) -> Row | None:
        """Gives a provider's model by its id in the table."""
        return next((row for row in self.rows(provider) if row.id == model_id), None)

    def find(self, provider: str, name: str) -> tuple[Row, bool] | None:
        """Finds a model by the name a provider is asked with.

        Returns:
            The row, and whether it is the provider's own: a fallback provider's variants (service
            tiers, batch) are not this provider's. `None` when nothing fits.
        """
        lowered = name.lower()
        found = self._find(provider, lowered)
        if found is None:
            written_out = _COMPACT_DATE.sub(_write_out, lowered)
            if written_out != lowered:
                found = self._find(provider, written_out)
        return found

    def _find(self, provider: str, name: str) -> tuple[Row, bool] | None:
        for row in self.rows(provider):
            if row.matches(name):
                return row, True
        for fallback in self._fallbacks.get(provider, ()):
            for row in self.rows(fallback):
                if row.matches(name):
                    return row, False
        return None

    def _parse(self, provider: str, start: int, end: int) -> tuple[Row, ...]:
        lines = self._content[start:end].strip()
        try:
            head, *models = json.loads(
                b"[" + lines.replace(b"\n", b",") + b"]", parse_float=Decimal
            )
            self._fallbacks[provider] = tuple(head.get("fallback", ()))
            return tuple(Row(provider, model, self.compiled) for model in models)
        except (ValueError, AttributeError, TypeError) as error:
            raise StoreError(
                f"{self.where}: the models of {provider} are broken: {error}"
            ) from error


def schedule_of(data: Mapping[str, Any]) -> PriceSchedule:
    """Gives a row's prices as native schedule.

    Raises:
        ConfigurationError: a rate or a constraint is not one that this version knows.
    """
    try:
        periods = [(_constraint(when), _card_spec(rates)) for when, rates in data["prices"]]
        variants = [
            (list(context.items()), _constraint(when), _card_spec(rates))
            for context, when, rates in data.get("variants", ())
        ]
        return PriceSchedule(periods, variants)
    except ConfigurationError:
        raise
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"what it says of prices is malformed: {error}") from error


def _card_spec(rates: Mapping[str, Any]) -> CardSpec:
    listed: list[tuple[str, int | None, int]] = []
    for name in RATES:
        value = rates.get(name)
        if isinstance(value, list):
            base, *tiers = value
            listed.append((name, None, attodollars(base, what=name)))
            for above, rate in tiers:
                listed.append((name, above, attodollars(rate, what=name)))
        elif value is not None:
            listed.append((name, None, attodollars(value, what=name)))
    requests = [
        (kind, attodollars(rate, what=kind) * _REQUEST_RATE)
        for kind, rate in rates.get("requests", {}).items()
    ]
    call = rates.get("call")
    return (
        listed,
        requests,
        None if call is None else attodollars(call, what="call") * _REQUEST_RATE,
    )


def _constraint(when: Any) -> tuple[str, int] | tuple[str, int, int] | None:
    """`null`, a day from which it holds, or the two ends of a time of the day in UTC."""
    if when is None:
        return None
    if isinstance(when, str):
        return "from", date.fromisoformat(when).toordinal() - _EPOCH
    start, end = (time.fromisoformat(each) for each in when)
    return "daily", _seconds(start), _seconds(end)


def _seconds(moment: time) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _matches(rule: Match, name: str) -> bool:  # noqa: PLR0911 - one return a kind of rule
    if isinstance(rule, str):
        return rule == name
    kind, *arguments = rule
    if kind == "or":
        return any(_matches(each, name) for each in arguments)
    if kind == "and":
        return all(_matches(each, name) for each in arguments)
    argument: str = arguments[0]
    if kind == "starts_with":
        return name.startswith(argument)
    if kind == "contains":
        return argument in name
    if kind == "ends_with":
        return name.endswith(argument)
    if kind == "regex":
        return re.search(argument, name) is not None
    raise StoreError(f"a price table's rule of kind {kind!r} is not known to this version")


def _without_date(content: bytes) -> bytes:
    return re.sub(rb'"compiled":"[^"]*"', b"", content, count=1)


def _write_out(match: re.Match[str]) -> str:
    dash, year, month, day = match.groups()
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return match.group(0)
    return f"{dash}{year}-{month}-{day}"
