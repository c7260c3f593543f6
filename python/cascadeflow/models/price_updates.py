"""What `cascadeflow prices update|diff|show` do, as functions that return records.

An update compiles the genai-prices package that is installed, or a file, into the user's own table,
and never without looking: prices that moved too far are refused, because a wrong table that is
taken over silently is a wrong bill.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models import catalogue
from cascadeflow.models._price import RATES, Price
from cascadeflow.models._table import SHIPPED, Row, Table
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.overrides import stated_price
from cascadeflow.models.prices import price_of
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.catalogue import ModelFacts

__all__ = [
    "PriceChange",
    "PriceDiff",
    "PriceExplanation",
    "UpdateReport",
    "WhichTable",
    "diff_prices",
    "show_price",
    "update_prices",
]

WhichTable: TypeAlias = Literal["shipped", "user", "installed"] | Path
"""The package's table, the user's own, the installed genai-prices package, or a file."""


_Flat: TypeAlias = dict[tuple[str, str], Decimal]
"""Rates by name and by what they are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """One rate that differs.

    Attributes:
        model: `provider:model`, by the table's ids.
        rate: which rate: its name, and the tier, variant or later day it is for.
        old: before, in US dollars per million (per thousand for requests); `None`: there was none.
        new: after; `None`: there is none any more.
    """

    model: str
    rate: str
    old: Decimal | None
    new: Decimal | None

    @property
    def change(self) -> Decimal | None:
        """`new / old - 1`; `None` when there was none before, or it was free."""
        if not self.old or self.new is None:
            return None
        return self.new / self.old - 1

    def exceeds(self, most: Decimal) -> bool:
        """Whether the price moved by this share or more, up or down, or began to cost or ceased to.

        A rate that is new, or gone, beside others of its model is a change of form: it does not
            count.
        """
        if self.old is None or self.new is None:
            return False
        return abs(self.new - self.old) >= most * self.old


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceDiff:
    """What differs between two tables.

    Attributes:
        old: which table is compared, and its date.
        new: with which, and its date.
        changes: rates that differ.
        added: models that only the new table has, or prices.
        removed: models that only the old table has, or prices.
    """

    old: str
    new: str
    changes: tuple[PriceChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.changes or self.added or self.removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport:
    """What became of an update.

    Attributes:
        diff: what differs from the table that was in use.
        refused: changes too large to be taken over unseen; while there are any, nothing is written.
        written: the user's table, or `None` when nothing was written.
    """

    diff: PriceDiff
    refused: tuple[PriceChange, ...]
    written: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceExplanation:
    """Why a model costs what it costs.

    Attributes:
        model: `provider:model`, as it was asked.
        price: the price in force; `None` when it is not known.
        reason: where it comes from, in words.
        facts: what the catalogue knows of the model, or `None`.
        periods: the catalogue's prices through time: when, and the rates.
        variants: its prices by service tier and the like: for what, when, and the rates they
            replace.
        not_by_token: rates for what no answer counts, such as hours of audio, by genai-prices'
            names.
        table: the file of the catalogue in use.
        sources: what it was compiled from, and the versions.
    """

    model: str
    price: Price | None
    reason: str
    facts: ModelFacts | None
    periods: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    variants: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    not_by_token: Mapping[str, Decimal] = field(default_factory=lambda: EMPTY)
    table: str = ""
    sources: Mapping[str, str] = field(default_factory=lambda: EMPTY)


def update_prices(
    source: Path | None = None,
    *,
    at: datetime,
    max_change: Decimal | float = 0.5,
    force: bool = False,
) -> UpdateReport:
    """Makes the user's own price table, which is then used in place of the package's.

    Args:
        source: a table that `compile_prices` made, or genai-prices' JSON data; default: the
            genai-prices package that is installed.
        at: now; the table bears its date, and prices in force then are compared.
        max_change: the share by which a price may move, up or down, without being refused.
        force: write all the same.

    Raises:
        MissingDependencyError: genai-prices is not installed and no file is given.
        ConfigurationError: what is installed is older than the table in use, and `force` is not
            set; or something in it cannot be carried over exactly.
        StoreError: the file cannot be read, or the table cannot be written.
    """
    most = Decimal(str(max_change))
    if not most > 0:
        raise ConfigurationError(f"max_change is a share above 0, such as 0.5; not {max_change}")
    current = catalogue.table()
    content, new = _compile(source, at=at, carry=current)
    if not force:
        _refuse_older(current, new)
    diff = _diff(current, new, at=at)
    refused = tuple(change for change in diff.changes if change.exceeds(most))
    if (refused and not force) or new.says_the_same_as(current):
        return UpdateReport(diff=diff, refused=refused, written=None)
    path = catalogue.user_table_path()
    _write(path, content)
    catalogue.reload()
    return UpdateReport(diff=diff, refused=refused, written=path)


def diff_prices(
    old: WhichTable = "shipped", new: WhichTable = "installed", *, at: datetime
) -> PriceDiff:
    """Compares two tables by the prices in force at a moment and from later days on.

    Raises:
        MissingDependencyError: genai-prices is not installed and is to be compared.
        StoreError: a table is not there or is broken.
    """
    return _diff(_load(old, at=at), _load(new, at=at), at=at)


def show_price(model: ModelConfig | str, *, at: datetime) -> PriceExplanation:
    """Explains a model's price.

    Args:
        model: the model, or `provider:model`.
        at: the moment whose price is asked for.
    """
    if isinstance(model, str):
        model = ModelConfig.parse(model)
    price = price_of(model, at=at)
    found = catalogue.find_row(model.provider, model.name)
    known = catalogue.table()
    if found is None:
        return PriceExplanation(
            model=model.id,
            price=price,
            reason=_reason(model, price, None),
            facts=None,
            table=known.where,
            sources=known.sources,
        )
    row, own = found
    periods = row.data.get("prices", ())
    return PriceExplanation(
        model=model.id,
        price=price,
        reason=_reason(model, price, row),
        facts=catalogue.facts(row),
        periods=tuple((_when(when), _by_token(rates)) for when, rates in periods),
        variants=tuple(
            (_context(context), _when(when), _by_token(rates))
            for context, when, rates in (row.variants() if own else ())
        ),
        not_by_token={
            name: Decimal(rate)
            for _, rates in periods
            for name, rate in rates.items()
            if name not in _BY_TOKEN
        },
        table=known.where,
        sources=known.sources,
    )


_BY_TOKEN = frozenset((*RATES, "requests", "call"))


def _by_token(rates: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: rate for name, rate in rates.items() if name in _BY_TOKEN}


def _reason(model: ModelConfig, price: Price | None, row: Row | None) -> str:
    stated = (
        (model.price, "stated as ModelConfig(price=…)"),
        (model.cost, f"stated as ModelConfig(cost={model.cost}), US dollars per 1,000 tokens"),
        (stated_price(model.id), "stated by the user, with set_price or in the prices file"),
    )
    for given, reason in stated:
        if given is not None:
            return reason
    if price is not None and price.source == "local":
        return f"{model.provider} runs on the user's own machines"
    if row is None:
        return "the catalogue does not have the model"
    if price is None:
        return f"the catalogue has {row.provider}:{row.id}, but no price by the token for it"
    return f"the catalogue's price of {row.provider}:{row.id}"


def _when(constraint: Any) -> str:
    if constraint is None:
        return "always"
    if isinstance(constraint, str):
        return f"from {constraint}"
    return f"{constraint[0]} to {constraint[1]} UTC"


def _context(context: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in context.items())


def _load(which: WhichTable, *, at: datetime) -> Table:
    if which == "shipped":
        return Table.read(SHIPPED)
    if which == "user":
        path = catalogue.user_table_path()
        if not path.is_file():
            raise StoreError(f"there is no table at {path}: make it by `cascadeflow prices update`")
        return Table.read(path)
    if which == "installed":
        return _compile(None, at=at, carry=None)[1]
    return _compile(which, at=at, carry=None)[1]


def _compile(source: Path | None, *, at: datetime, carry: Table | None) -> tuple[bytes, Table]:
    from cascadeflow.models.compile_prices import compile_table  # noqa: PLC0415 - release time

    if source is not None and source.suffix == ".jsonl":
        table = Table.read(source)
        for row in table.all_rows():
            if row.priced:
                row.schedule  # noqa: B018 - builds it, so that a broken row is refused now
        return source.read_bytes(), table
    content = compile_table(source, compiled=at.astimezone(UTC).date(), carry=carry)
    where = str(source) if source else "the installed genai-prices"
    return content, Table(content, where=where)


def _refuse_older(current: Table, new: Table) -> None:
    def numbers(table: Table) -> tuple[int, ...] | None:
        parts = table.sources.get("genai-prices", "").split(".")
        return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None

    have, found = numbers(current), numbers(new)
    if have is not None and found is not None and found < have:
        raise ConfigurationError(
            f"{new.where} is version {new.sources['genai-prices']}, older than the "
            f"{current.sources['genai-prices']} that the table in use was compiled from: "
            "pip install -U genai-prices, or force the update"
        )


def _diff(old: Table, new: Table, *, at: datetime) -> PriceDiff:
    before = {f"{row.provider}:{row.id}": row for row in old.all_rows() if row.priced}
    after = {f"{row.provider}:{row.id}": row for row in new.all_rows() if row.priced}
    changes = []
    for model, row in before.items():
        other = after.get(model)
        if other is None or (other.data["prices"], other.variants()) == (
            row.data["prices"],
            row.variants(),
        ):
            continue
        days = sorted({*_starts(row, at), *_starts(other, at)})
        was, becomes = _flat(row, at, days), _flat(other, at, days)
        changes += _changes(model, was, becomes)
    return PriceDiff(
        old=f"{old.where}, {old.compiled}",
        new=f"{new.where}, {new.compiled}",
        changes=tuple(changes),
        added=tuple(model for model in after if model not in before),
        removed=tuple(model for model in before if model not in after),
    )


def _changes(model: str, was: _Flat, becomes: _Flat) -> list[PriceChange]:
    """Gives what differs; what a variant or a later day only inherits is not told again."""
    changes = []
    told = set()
    for name, when in dict.fromkeys((*was, *becomes)):
        old, new = was.get((name, when)), becomes.get((name, when))
        if old != new and (name, old, new) not in told:
            told.add((name, old, new))
            changes.append(PriceChange(model=model, rate=f"{name}{when}", old=old, new=new))
    return changes


def _starts(row: Row, at: datetime) -> set[date]:
    """The days after a moment on which a row's prices change."""
    constraints = [when for when, _ in row.data["prices"]]
    constraints += [when for _, when, _ in row.variants()]
    starts = {date.fromisoformat(when) for when in constraints if isinstance(when, str)}
    return {day for day in starts if day > at.astimezone(UTC).date()}


def _flat(row: Row, at: datetime, days: list[date]) -> _Flat:
    """Every rate of a row, by its name and by the variant, hour or day it is for."""
    rates: _Flat = {}
    moments = {"": at} | {f", from {day}": datetime.combine(day, time(), UTC) for day in days}
    contexts: list[dict[str, str] | None] = [None, *(context for context, _, _ in row.variants())]
    hours = [when for when, _ in row.data["prices"] if isinstance(when, list)]
    for suffix, moment in moments.items():
        seconds = int(moment.timestamp() // 1)
        clocks = {suffix: seconds}
        for start, end in hours:
            at_start = time.fromisoformat(start)
            day_start = seconds - seconds % 86_400
            offset = at_start.hour * 3600 + at_start.minute * 60 + at_start.second
            clocks[f"{suffix}, {start} to {end} UTC"] = day_start + offset
        for clock, instant in clocks.items():
            for context in contexts:
                label = clock if context is None else f"{clock}, {_context(context)}"
                rates.update(_rates_at(row, instant, context, label))
    return rates


def _rates_at(row: Row, instant: int, context: dict[str, str] | None, label: str) -> _Flat:
    price = row.price(instant, context, None)
    rates = {}
    for name in RATES:
        for tier in (None, *price.tiers):
            rate: Decimal | None = getattr(price if tier is None else tier, name)
            if rate is not None:
                rates[name if tier is None else f"{name} above {tier.above}"] = rate
    rates |= {f"requests.{name}": rate for name, rate in price.requests.items()}
    if price.call is not None:
        rates["call"] = price.call
    return {(name, label): rate for name, rate in rates.items()}


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"the price table {path} cannot be written: {error}") from error
