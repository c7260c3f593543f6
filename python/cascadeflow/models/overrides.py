"""Prices that the user states: in code, or in a TOML or JSON file.

```toml
[models."openai:gpt-5-mini"]
input = 0.25                          # US dollars per million tokens
output = 2
cache_read = 0.025
requests = { web_search = 10 }        # US dollars per thousand
date = 2026-10-01
tiers = [{ above = 272000, input = 0.5, output = 3 }]
```

The file is the one named by the environment variable `CASCADEFLOW_PRICES`, or `prices.toml` or
`prices.json` in the user's configuration directory (`~/.config/cascadeflow` on Linux), or the one
that `use_prices_file` names. It is read once, at the first look-up.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.models._paths import config_dir
from cascadeflow.models._price import RATES, Price, PriceTier

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRICES_VARIABLE", "read_prices_file", "set_price", "stated_price", "use_prices_file"]

PRICES_VARIABLE: Final = "CASCADEFLOW_PRICES"
"""The environment variable that may name the user's prices file."""

_KEYS: Final = (*RATES, "requests", "call", "tiers", "date")
_TIER_KEYS: Final = ("above", *RATES)

_stated: dict[str, Price] = {}
_from_file: Mapping[str, Price] | None = None


def set_price(model: str, price: Price | None) -> None:
    """States a model's price for the whole process; `None` takes the statement back.

    It wins over the user's file and over the catalogue, not over `ModelConfig(price=…)`.

    >>> set_price("acme:acme-1", Price(input=1, output=3))
    >>> set_price("acme:acme-1", None)

    Args:
        model: `provider:model`; upper and lower case are the same.
        price: the price.

    Raises:
        ConfigurationError: the model is not named as `provider:model`.
    """
    name = _model_id(model, "set_price")
    if price is None:
        _stated.pop(name, None)
    else:
        _stated[name] = price


def use_prices_file(path: str | Path | None) -> None:
    """Reads a prices file now, in place of the one read before.

    Args:
        path: the file; `None` goes back to the environment variable or the configuration directory,
            and reads there at the next look-up.

    Raises:
        ConfigurationError: the file cannot be read, or says something that is no price.
    """
    global _from_file  # noqa: PLW0603 - one set of stated prices a process
    _from_file = None if path is None else read_prices_file(path)


def stated_price(model: str) -> Price | None:
    """Gives the price that the user states for `provider:model`, or `None`.

    Raises:
        ConfigurationError: the user's prices file is broken.
    """
    global _from_file  # noqa: PLW0603
    if _from_file is None:
        path = _default_file()
        _from_file = {} if path is None else read_prices_file(path)
    if not _stated and not _from_file:
        return None
    name = model.lower()
    price = _stated.get(name)
    return _from_file.get(name) if price is None else price


def read_prices_file(path: str | Path) -> dict[str, Price]:
    """Reads a prices file: `.json`, or TOML by any other name.

    Returns:
        Prices by `provider:model`, in lower case.

    Raises:
        ConfigurationError: the file cannot be read, or says something that is no price; the text
            names the file, the model and the key.
    """
    path = Path(path).expanduser()
    models = _parse(path)
    prices: dict[str, Price] = {}
    for model, entry in models.items():
        name = _model_id(model, f"{path}: models")
        if name in prices:
            raise ConfigurationError(f"{path}: {model} is stated twice")
        prices[name] = _price(entry, f'{path}: models."{model}"')
    return prices


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            import json  # noqa: PLC0415 - read only when there is a file

            content = json.loads(text, parse_float=Decimal)
        else:
            import tomllib  # noqa: PLC0415

            content = tomllib.loads(text, parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the prices file {path} cannot be read: {error}") from error
    models = content.get("models") if isinstance(content, dict) else None
    if not isinstance(models, dict) or len(content) != 1:
        raise ConfigurationError(
            f'{path}: a prices file has one table, [models."provider:model"] for each model, '
            "and nothing else"
        )
    return models


def _price(entry: Any, where: str) -> Price:
    values = _known(entry, _KEYS, where)
    for needed in ("input", "output"):
        if needed not in values:
            raise ConfigurationError(
                f"{where}: {needed} is missing, in US dollars per million tokens"
            )
    if "tiers" in values:
        tiers = values["tiers"]
        if not isinstance(tiers, list):
            raise ConfigurationError(f"{where}.tiers must be a list")
        values["tiers"] = [_tier(tier, f"{where}.tiers") for tier in tiers]
    if not isinstance(values.get("requests", {}), dict):
        raise ConfigurationError(f"{where}.requests must be a table of names and amounts")
    if "date" in values:
        values["date"] = _date(values["date"], where)
    try:
        return Price(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _tier(entry: Any, where: str) -> PriceTier:
    values = _known(entry, _TIER_KEYS, where)
    if "above" not in values:
        raise ConfigurationError(f"{where}: above is missing, a number of input tokens")
    try:
        return PriceTier(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _known(entry: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where} must be a table, not {entry!r:.40}")
    for key in entry:
        if key not in keys:
            raise ConfigurationError(f"{where}: {key} is not known; known are {', '.join(keys)}")
    return dict(entry)


def _date(value: Any, where: str) -> str:
    from datetime import date  # noqa: PLC0415 - read only when there is a file

    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        raise ConfigurationError(
            f"{where}.date must be a day such as 2026-10-01, not {value!r:.40}"
        ) from None
    return day.isoformat()


def _default_file() -> Path | None:
    named = os.environ.get(PRICES_VARIABLE)
    if named:
        return Path(named)
    directory = config_dir()
    found = [directory / name for name in ("prices.toml", "prices.json")]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise ConfigurationError(f"there are two prices files, {found[0]} and {found[1]}: keep one")
    return found[0] if found else None


def _model_id(model: str, where: str) -> str:
    provider, colon, name = model.partition(":")
    if not (provider and colon and name):
        raise ConfigurationError(
            f"{where}: {model!r} names no provider: write provider:model, such as openai:gpt-5-mini"
        )
    return model.lower()
