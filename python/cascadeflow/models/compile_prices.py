"""Compiles the genai-prices package into this package's price table.

    python -m cascadeflow.models.compile_prices            # make the table again
    python -m cascadeflow.models.compile_prices --check    # does it still say the same?
    python -m cascadeflow.models.compile_prices --facts litellm-….whl    # read the facts anew too

Facts only: ids, matching rules, prices, their dates, context windows; of LiteLLM's model list,
output limits and abilities. No text of either is taken; their licences are in `data/NOTICE.txt`.
Needs genai-prices installed, at release time only.

What cannot be carried over exactly is an error here, and not a wrong price later: an unknown kind
of rate, rule or constraint, a regular expression that does not compile, a price with more than 18
decimals.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError, MissingDependencyError, StoreError
from cascadeflow.models._facts import facts_of, read_litellm
from cascadeflow.models._price import RATES
from cascadeflow.models._table import FORMAT, SHIPPED, Table, schedule_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["compile_table", "genai_prices_version", "main", "read_providers"]

_RATES: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cache_read_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cache_read_image",
    "output_image_mtok": "output_image",
    "input_video_mtok": "input_video",
    "cache_video_read_mtok": "cache_read_video",
    "output_video_mtok": "output_video",
    "output_citation_mtok": "citation",
}
_REQUESTS: Final = {
    "web_searches_kcount": "web_search",
    "social_searches_kcount": "social_search",
    "storage_searches_kcount": "file_search",
    "code_executions_kcount": "code_execution",
}
_NOT_BY_TOKEN: Final = frozenset(
    {
        "audio_hours",
        "input_audio_hours",
        "output_audio_hours",
        "input_mchars",
        "input_text_messages_kcount",
        "input_gpixels",
        "input_document_kpages",
        "input_annotated_document_kpages",
        "rerank_searches_kcount",
    }
)
"""Rates for what no completion counts; the table keeps them, for `prices show`."""

# Server-side tools that cost nothing beyond their tokens, which genai-prices has no unit for.
# https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-fetch-tool#usage-and-pricing
_FREE_REQUESTS: Final = {"anthropic": {"web_fetch": 0}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cascadeflow.models.compile_prices")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--facts", type=Path, help="a LiteLLM wheel, or its JSON model list")
    parser.add_argument("--date", type=date.fromisoformat, help="the table's date; default: today")
    parser.add_argument("--output", type=Path, default=SHIPPED, help="where the table is written")
    options = parser.parse_args(arguments)
    old = Table.read(options.output) if options.output.exists() else None
    day = options.date or datetime.now(UTC).date()
    table = compile_table(compiled=day, facts=options.facts, carry=old)
    if options.check:
        stale = old is None or not Table(table, where="compiled").says_the_same_as(old)
        sys.stdout.write(f"{options.output} is {'stale' if stale else 'up to date'}\n")
        return int(stale)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(table)
    sys.stdout.write(f"{options.output}: {len(table):,} bytes\n")
    return 0


def compile_table(
    source: Path | None = None,
    *,
    compiled: date,
    facts: Path | None = None,
    carry: Table | None = None,
) -> bytes:
    """Gives the table as a file's content; equal sources give equal bytes.

    Args:
        source: genai-prices' own JSON data; default: the installed package.
        compiled: the table's date.
        facts: a LiteLLM wheel or its model list, for output limits and abilities.
        carry: a table whose facts are kept where `facts` is not given.

    Raises:
        MissingDependencyError: genai-prices is not installed.
        ConfigurationError: something cannot be carried over exactly.
    """
    providers, version = read_providers(source)
    sources = {"genai-prices": version}
    litellm = None
    if facts is not None:
        litellm, sources["litellm"] = read_litellm(facts)
    elif carry is not None and "litellm" in carry.sources:
        sources["litellm"] = carry.sources["litellm"]
    lines = []
    count = 0
    for provider in providers:
        provider_id = provider["id"]
        head: dict[str, Any] = {"provider": provider_id}
        if provider.get("fallback_model_providers"):
            head["fallback"] = list(provider["fallback_model_providers"])
        lines.append(head)
        rows = [_row(provider_id, model) for model in provider["models"]]
        if litellm is not None:
            found = facts_of(provider_id, rows, litellm)
        else:
            found = _carried(provider_id, carry)
        for row in rows:
            if row["id"] in found:
                row["facts"] = found[row["id"]]
            _check(provider_id, row)
        lines += rows
        count += len(rows)
    header = {
        "format": FORMAT,
        "compiled": compiled.isoformat(),
        "sources": sources,
        "models": count,
        "notice": "facts compiled from genai-prices and LiteLLM, both MIT: see NOTICE.txt",
    }
    return b"".join(_line(line) for line in (header, *lines))


def genai_prices_version() -> str:
    """Gives the version of genai-prices that is installed.

    Raises:
        MissingDependencyError: none is.
    """
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow to import

    try:
        return version("genai-prices")
    except PackageNotFoundError:
        raise MissingDependencyError(
            "prices are compiled from the genai-prices package: pip install genai-prices"
        ) from None


def read_providers(source: Path | None) -> tuple[list[dict[str, Any]], str]:
    """Reads genai-prices' providers as plain values, and where they are from.

    Raises:
        MissingDependencyError: genai-prices is not installed and no file is given.
        StoreError: the file cannot be read.
    """
    if source is not None:
        try:
            raw = json.loads(source.read_bytes(), parse_float=Decimal)
        except (OSError, ValueError) as error:
            raise StoreError(f"{source} cannot be read as price data: {error}") from error
        if not isinstance(raw, list):
            raise StoreError(f"{source} is not genai-prices' data: it must be a list of providers")
        return raw, f"file {source.name}"
    version = genai_prices_version()
    from genai_prices.data import providers  # noqa: PLC0415 - an optional dependency, 70 ms

    return [_plain(provider) for provider in providers], version


def _plain(value: Any) -> Any:
    """Makes genai-prices' objects the plain values that its JSON data has."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name.rstrip("_"): _plain(getattr(value, field.name))
            for field in fields(value)
            if field.name != "extractors"
        }
    if type(value).__name__ == "ModelPrice":
        return {name: _plain(price) for name, price in vars(value).items() if price is not None}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _row(provider: str, model: Mapping[str, Any]) -> dict[str, Any]:
    where = f"{provider}:{model['id']}"
    row: dict[str, Any] = {"id": model["id"]}
    if model.get("name"):
        row["name"] = model["name"]
    match = _match(model["match"], where)
    if match != model["id"].lower():
        row["match"] = match
    if model.get("context_window"):
        row["window"] = model["context_window"]
    if model.get("deprecated"):
        row["deprecated"] = True
    prices = model["prices"]
    if isinstance(prices, Mapping):
        prices = [{"prices": prices}]
    periods = [
        [_constraint(period.get("constraint"), where), _rates(period["prices"], where)]
        for period in prices
    ]
    if any(rates for _, rates in periods):
        row["prices"] = periods
    elif _is_free(model):
        row["prices"] = [[None, {"input": 0, "output": 0}]]
    for _, rates in row.get("prices", ()):
        if provider in _FREE_REQUESTS and "input" in rates:
            rates["requests"] = {**rates.get("requests", {}), **_FREE_REQUESTS[provider]}
    variants = [
        [
            dict(each["when"]),
            _constraint(each.get("constraint"), where),
            _rates(each["prices"], where),
        ]
        for each in model.get("price_variants") or ()
    ]
    if variants:
        row["variants"] = variants
    return row


def _is_free(model: Mapping[str, Any]) -> bool:
    """Whether a model without rates is said to be free; without a word its price is unknown.

    OpenRouter and others put `:free` into the name; elsewhere the data says it in words.
    """
    words = f"{model.get('description') or ''} {model.get('price_comments') or ''}".lower()
    free_name: bool = model["id"].lower().endswith(":free")
    return free_name or "free of charge" in words


def _match(rule: Mapping[str, Any], where: str) -> Any:
    [(kind, argument)] = rule.items()
    if kind in ("or", "and"):
        return [kind, *(_match(each, where) for each in argument)]
    if kind == "regex":
        try:
            re.compile(argument)
        except re.error as error:
            raise ConfigurationError(f"{where}: cannot match by {argument!r}: {error}") from error
        return [kind, argument]
    if kind not in ("equals", "starts_with", "contains", "ends_with"):
        raise ConfigurationError(f"{where}: a rule of kind {kind!r} is not known")
    lowered = argument.lower()
    return lowered if kind == "equals" else [kind, lowered]


def _rates(prices: Mapping[str, Any], where: str) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    for key, price in prices.items():
        if key in _RATES:
            rates[_RATES[key]] = _tiered(price)
            continue
        if isinstance(price, Mapping):
            raise ConfigurationError(f"{where}: tiers of {key} are not known")
        if key in _REQUESTS:
            requests[_REQUESTS[key]] = price
        elif key == "requests_kcount":
            rates["call"] = price
        elif key in _NOT_BY_TOKEN:
            rates[key] = price
        elif price is not None:
            raise ConfigurationError(f"{where}: a price for {key} is not known")
    if requests:
        rates["requests"] = requests
    return rates


def _tiered(price: Any) -> Any:
    if not isinstance(price, Mapping):
        return price
    tiers = sorted(price["tiers"], key=lambda tier: tier["start"])
    return [price["base"], *([tier["start"], tier["price"]] for tier in tiers)]


def _constraint(constraint: Mapping[str, Any] | None, where: str) -> Any:
    if constraint is None:
        return None
    if set(constraint) == {"start_date"}:
        start = constraint["start_date"]
        return (
            start.isoformat() if isinstance(start, date) else date.fromisoformat(start).isoformat()
        )
    if set(constraint) == {"start_time", "end_time"}:
        return [_utc(constraint[end], where) for end in ("start_time", "end_time")]
    raise ConfigurationError(f"{where}: a constraint of {sorted(constraint)} is not known")


def _utc(moment: time | str, where: str) -> str:
    if isinstance(moment, str):
        moment = time.fromisoformat(moment)
    if moment.tzinfo is not None:
        moment = datetime.combine(date(1970, 1, 1), moment).astimezone(UTC).time()
    if moment.microsecond:
        raise ConfigurationError(f"{where}: a price that changes within a second is not known")
    return moment.isoformat()


def _check(provider: str, row: Mapping[str, Any]) -> None:
    """Builds the row's prices once, so that what cannot be built fails here."""
    if "prices" not in row:
        return
    try:
        schedule_of(row)
    except ConfigurationError as error:
        raise ConfigurationError(f"{provider}:{row['id']}: {error}") from error


def _carried(provider: str, carry: Table | None) -> dict[str, Any]:
    rows: Iterable[Any] = () if carry is None else carry.rows(provider)
    return {row.id: row.data["facts"] for row in rows if "facts" in row.data}


def _line(value: Any) -> bytes:
    """Writes a line of JSON; decimals are numbers with every digit they have."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_marked)
    return re.sub(r'"\x00([0-9.]+)\x00"', r"\1", text.replace("\\u0000", "\x00")).encode() + b"\n"


def _marked(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"\x00{value.normalize():f}\x00"
    raise TypeError(f"{type(value).__name__} is not JSON")


_KNOWN = frozenset(_RATES.values())
if frozenset(RATES) != _KNOWN:  # pragma: no cover - a slip of the pen in this file
    raise AssertionError(_KNOWN ^ {*RATES})

if __name__ == "__main__":
    sys.exit(main())
