"""Reads what a tier's field is given: right, or an error that says what would be.

Each check takes where the value stands, for the error's text, and the value as it came, whatever
its annotation says; it gives the value as it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cascadeflow.config import BudgetConfig, QualityConfig
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    import re

    from cascadeflow.money import Amount

__all__ = [
    "instance",
    "matches",
    "near",
    "one_of",
    "optional_budget",
    "optional_quality",
    "optional_whole",
    "seconds",
    "shown",
    "subset",
    "text",
    "texts",
    "total",
    "whole",
]


def near(name: str, known: Iterable[str]) -> str:
    """Says what may have been meant by a name that is not known.

    >>> near("max_token", ["max_tokens", "models"])
    'did you mean max_tokens?'
    >>> near("colour", ["tools", "batch"])
    'known are batch, tools'
    """
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    known = sorted(known)
    found = get_close_matches(name, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known are {', '.join(known)}"


def text(where: str, value: Any) -> str:
    """Takes a text that is not blank and that UTF-8 can write, as an account's name must be."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{where} must be a text that is not empty, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{where} must be a text that UTF-8 can write, not {shown(value)}"
        ) from None
    return value


def texts(where: str, value: Any) -> tuple[str, ...]:
    """Takes any iterable of texts; each is kept once, a set's in alphabetical order."""
    if isinstance(value, str):
        raise ConfigurationError(f"{where} must be a list of texts: [{value!r}], not {value!r}")
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ConfigurationError(f"{where} must be a list of texts, not {shown(value)}")
    found = dict.fromkeys(text(f"each of {where}", each) for each in value)
    kept = tuple(sorted(found) if isinstance(value, Set) else found)
    # The same object where nothing changes: a million users' tiers hold it once.
    return value if type(value) is tuple and value == kept else kept


def subset(where: str, value: Any, known: frozenset[str]) -> frozenset[str]:
    """Takes any iterable of known names."""
    if type(value) is frozenset and value <= known:
        return value  # as for texts
    names = texts(where, value)
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"{where}: {name!r} is not known; known are {', '.join(sorted(known))}"
            )
    return frozenset(names)


def one_of(where: str, value: Any, known: tuple[str, ...]) -> str:
    """Takes one of a few texts."""
    if not isinstance(value, str) or value not in known:
        raise ConfigurationError(
            f"{where} must be {' or '.join(map(repr, known))}, not {shown(value)}"
        )
    return value


def whole(where: str, value: Any, least: int, most: int | None = None) -> int:
    """Takes a whole number within its bounds; `True` is none."""
    right = isinstance(value, int) and not isinstance(value, bool)
    if right and least <= value and (most is None or value <= most):
        return int(value)
    bounds = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
    raise ConfigurationError(f"{where} must be a whole number {bounds}, not {shown(value)}")


def optional_whole(where: str, value: Any, least: int, most: int | None = None) -> int | None:
    """Takes a whole number within its bounds, or `None`, which is no limit."""
    if value is None:
        return None
    try:
        return whole(where, value, least, most)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} (None is no limit)") from None


def seconds(where: str, value: Any) -> float:
    """Takes a finite number of seconds, more than 0."""
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)):
            number = float(value)
            if 0 < number < math.inf:
                return number
    except OverflowError:  # a whole number larger than any float
        pass
    raise ConfigurationError(
        f"{where} must be a finite number of seconds, more than 0, not {shown(value)}"
    )


def instance(where: str, value: Any, kind: type) -> Any:
    """Takes a record of one kind, or `None`."""
    if value is None or isinstance(value, kind):
        return value
    hint = f": {kind.__name__}(**{{…}})" if isinstance(value, Mapping) else ""
    raise ConfigurationError(f"{where} must be a {kind.__name__} or None{hint}, not {shown(value)}")


def optional_budget(where: str, value: Any) -> BudgetConfig | Amount | None:
    """Takes a budget, or an amount in US dollars, which is a total; kept as it is given."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        raise ConfigurationError(
            f"{where} must be an amount or a BudgetConfig: BudgetConfig(**{{…}})"
        )
    try:
        budget = value if isinstance(value, BudgetConfig) else BudgetConfig(total=value)
        _check_zone(budget.timezone)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    given: BudgetConfig | Amount = value
    return given


def optional_quality(where: str, value: Any) -> str | None:
    """Takes a quality mode that this version has, or `None`."""
    if value is None:
        return None
    try:
        return QualityConfig(mode=value).mode
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


@lru_cache(maxsize=1_024)
def total(amount: Amount) -> BudgetConfig:
    """Gives the budget that a bare amount stands for."""
    return BudgetConfig(total=amount)


@lru_cache(maxsize=256)
def _check_zone(zone: str) -> None:
    """Refuses a time zone that the ledger does not know, before its first request does."""
    if text("timezone", zone) == "UTC":
        return
    from cascadeflow._native import Window  # noqa: PLC0415 - seldom needed

    Window.day(zone)


def matches(patterns: tuple[str, ...], model_id: str, name: str) -> bool:
    """Tells whether any of the patterns is a model's: its id, its bare name, or one of both.

    `*` is any text and `?` any one character; nothing else is special, for names of models may
    hold brackets.

    >>> matches(("openai:*",), "openai:gpt-5", "gpt-5"), matches(("gpt-[45]",), "a:gpt-5", "gpt-5")
    (True, False)
    """
    if not patterns:
        return False
    match = _compiled(patterns).match
    return match(model_id) is not None or match(name) is not None


@lru_cache(maxsize=1_024)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    import re  # noqa: PLC0415
    from fnmatch import translate  # noqa: PLC0415 - its expressions never backtrack without end

    return re.compile("|".join(translate(each.replace("[", "[[]")) for each in patterns))


def shown(value: Any) -> str:
    """Gives what was given, cut short; an int may have too many digits to be shown at all."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return "a number of too many digits"
