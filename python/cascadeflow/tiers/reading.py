"""Tiers and profiles as plain values, in JSON or TOML: read, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

from cascadeflow.config import BudgetConfig, QualityConfig
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import Amount, to_decimal
from cascadeflow.tiers.checks import near, shown
from cascadeflow.tiers.config import RateLimits, TierConfig, UserProfile
from cascadeflow.tiers.presets import PRESETS

__all__ = ["UNLIMITED", "plain_tier", "profile_fields", "read_tiers", "tier_fields"]

UNLIMITED: Final = "unlimited"
"""What stands for `None` where that is no limit: TOML has no null."""

_AMOUNTS: Final = frozenset({"daily", "weekly", "monthly", "total", "rolling"})
_BUDGETS: Final = frozenset({"budget", "tier_budget"})
_RATES: Final = frozenset({"rate_limits", "tier_rate_limits"})
_COUNTS: Final = frozenset({"max_tokens", "max_concurrency", "tier_max_concurrency"})
_LIFTED: Final = _BUDGETS | _RATES | _COUNTS

_Tier = TypeVar("_Tier", bound=TierConfig)


def tier_fields(mapping: Mapping[str, Any], *, name: str | None = None) -> dict[str, Any]:
    """Reads the arguments of a `TierConfig`.

    Args:
        mapping: plain values by field, and `preset`.
        name: the tier's name, where `mapping` does not say.

    Raises:
        ConfigurationError: a key is not known, or a nested value cannot be right.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(
            f"tier {name!r} must be a table of its fields, not {shown(mapping)}"
        )
    preset = mapping.get("preset")
    base: Mapping[str, Any] = {}
    if preset is not None:
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ConfigurationError(
                f"tier {name!r}: preset must be {' or '.join(map(repr, PRESETS))}, "
                f"not {shown(preset)}"
            )
        base = PRESETS[preset]
    named = mapping.get("name", preset if name is None else name)
    if named is None:
        raise ConfigurationError("a tier needs a name: name=, or the key name")
    if name is not None and named != name:
        raise ConfigurationError(f"tier {name!r} is named {shown(named)} within: which one?")
    where = f"tier {named!r}"
    known = [each.name for each in fields(TierConfig)]
    _refuse_unknown(where, "", mapping, [*known, "preset"])
    values = {
        key: _value(where, key, value, base.get(key))
        for key, value in mapping.items()
        if key not in {"name", "preset"}
    }
    return {**base, **values, "name": named}


def profile_fields(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the arguments of a `UserProfile`.

    Raises:
        ConfigurationError: a key is not known, or a nested value cannot be right.
    """
    where = "user profile"
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(f"a {where} must be a table of its fields, not {shown(mapping)}")
    known = [each.name for each in fields(UserProfile) if each.init]
    _refuse_unknown(where, "", mapping, known)
    return {key: _value(where, key, value, None) for key, value in mapping.items()}


def read_tiers(path: str | Path, read: Callable[..., _Tier]) -> dict[str, _Tier]:
    """Reads a TOML file's tiers.

    Args:
        path: the file.
        read: makes a tier of a table; its `name` is the table's.

    Raises:
        ConfigurationError: the file cannot be read, or says something that is no tier; the text
            names the file, the tier and the key.
    """
    import tomllib  # noqa: PLC0415 - read only when there is a file

    path = Path(path).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the tiers file {path} cannot be read: {error}") from error
    for key in content:
        if key != "tiers":
            raise ConfigurationError(
                f"{path}: {key} is not known: a tiers file has tables [tiers.<name>], "
                "and nothing else"
            )
    tables = content.get("tiers")
    if not isinstance(tables, dict) or not tables:
        raise ConfigurationError(f"{path} has no tiers: write a table [tiers.<name>] for each")
    tiers = {}
    for name, table in tables.items():
        try:
            tiers[name] = read(table, name=name)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
    return tiers


def plain_tier(tier: TierConfig) -> dict[str, Any]:
    """Writes a tier as plain values: what differs from the defaults, `None` never."""
    plain: dict[str, Any] = {}
    for each in fields(TierConfig):
        value = getattr(tier, each.name)
        if value is None or value == each.default:
            continue
        bare = each.name in _BUDGETS and not isinstance(value, BudgetConfig)
        plain[each.name] = _text(value) if bare else _plain(value)
    return plain


def _plain(value: Any) -> Any:
    """Writes the value of a field that is no bare amount."""
    match value:
        case BudgetConfig():
            return {
                each.name: _text(given) if each.name in _AMOUNTS else given
                for each in fields(value)
                if (given := getattr(value, each.name)) != each.default
            }
        case RateLimits() | QualityConfig():
            found = {each.name: getattr(value, each.name) for each in fields(value)}
            return {name: _plain(given) for name, given in found.items() if given is not None}
        case frozenset():
            return sorted(value)
        case tuple():
            return list(value)
        case _:
            return value


def _text(amount: Amount) -> str:
    return str(to_decimal(amount, what="a budget"))


def _value(where: str, key: str, value: Any, base: Any) -> Any:
    """Reads one field; a table lies over the preset's, key by key."""
    if key in _LIFTED and value == UNLIMITED:
        return None
    if key in _BUDGETS and not isinstance(value, BudgetConfig) and value is not None:
        return _budget(where, key, value, base)
    if key in _RATES and isinstance(value, Mapping):
        return _rates(where, key, value, base)
    if key == "quality_config" and isinstance(value, Mapping):
        _refuse_unknown(where, key, value, [each.name for each in fields(QualityConfig)])
        numbers = {name: _number(given) for name, given in value.items()}
        return _made(where, key, lambda: QualityConfig(**numbers))
    return _number(value)


def _budget(where: str, key: str, value: Any, base: Any) -> Any:
    if not isinstance(value, Mapping):
        return _amount(f"{where}: {key}", value)
    _refuse_unknown(where, key, value, [each.name for each in fields(BudgetConfig)])
    values: dict[str, Any] = {}
    for name, given in value.items():
        at = f"{where}: {key}.{name}"
        if name in _AMOUNTS:
            lifted = given is None or given == UNLIMITED
            values[name] = None if lifted else _amount(at, given)
        elif name == "timezone":
            values[name] = given
        else:
            number = _number(given)
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise ConfigurationError(f"{at} must be a number, not {shown(given)}")
            values[name] = number
    if isinstance(base, BudgetConfig):
        return _made(where, key, lambda: replace(base, **values))
    return _made(where, key, lambda: BudgetConfig(**values))


def _rates(where: str, key: str, value: Mapping[str, Any], base: Any) -> RateLimits:
    _refuse_unknown(where, key, value, [each.name for each in fields(RateLimits)])
    values = {name: None if given == UNLIMITED else _number(given) for name, given in value.items()}
    return _made(where, key, lambda: replace(base or RateLimits(), **values))


_Made = TypeVar("_Made")


def _made(where: str, key: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {key}: {error}") from None


def _amount(at: str, value: Any) -> Decimal:
    """Reads US dollars; a float by its shortest decimal form."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ConfigurationError(f"{at} must be a number of US dollars, not {shown(value)}")
    try:
        return to_decimal(value, what=at)
    except InvalidRequestError as error:
        raise ConfigurationError(str(error)) from None


def _number(value: Any) -> Any:
    """Gives a decimal number, as TOML is read, as the float that is meant where it is no amount."""
    return float(value) if isinstance(value, Decimal) else value


def _refuse_unknown(where: str, within: str, mapping: Mapping[Any, Any], known: list[str]) -> None:
    for key in mapping:
        if key not in known:
            at = f"{within}.{key}" if within else str(key)
            raise ConfigurationError(f"{where}: {at} is not known: {near(str(key), known)}")
