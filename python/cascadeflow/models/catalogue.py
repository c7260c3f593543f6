"""What is known of models: prices, context windows, output limits, abilities.

The facts stand in a dated table that comes with the package, or in a newer one that the user made
with `cascadeflow prices update`. It is read at the first look-up, as far as it is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cascadeflow.models._paths import cache_dir
from cascadeflow.models._table import SHIPPED, Row, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from cascadeflow.models.config import ModelConfig

__all__ = [
    "PROVIDER_ALIASES",
    "ModelFacts",
    "catalogue_date",
    "cheapest_first",
    "find_row",
    "lookup",
    "reload",
    "rows_that_may_serve",
    "suggest",
    "table",
    "user_table_path",
]

PROVIDER_ALIASES: Final = {
    "azure_openai": "azure",
    "azure-openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "copilot": "github-copilot",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "google_vertex": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "grok": "x-ai",
    "xai": "x-ai",
    "meta-llama": "meta",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "openai-responses": "openai",
    "openai_responses": "openai",
    "together-ai": "together",
    "together_ai": "together",
    "togetherai": "together",
    "voyage": "voyageai",
    "z-ai": "zai",
    "zhipu": "zhipuai",
}
"""Provider ids that the table knows by another name. Every other id is looked up as it is."""

_BLEND_INPUT: Final = 3_000
_BLEND_OUTPUT: Final = 1_000
_MOST_REMEMBERED: Final = 4_096
_VERSION: Final = re.compile(r"[-@_]?(?:20\d{2}-?\d{2}-?\d{2}|\d{4}|latest|v\d+)$")
_WORD: Final = re.compile(r"[a-z]+|\d+(?:\.\d+)*")
_GOOGLE_RESOURCE: Final = re.compile(
    r"^(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/"
)
_AWS_RESOURCE: Final = re.compile(
    r"^arn:aws:bedrock:[^:/]*:\d*:(?:foundation-model|inference-profile)/"
)
_AWS_GEOGRAPHY: Final = re.compile(r"^(?:af|apac|au|ca|eu|in|jp|me|sa|us)\.")
"""An inference profile within a geography costs what the region costs that it is asked in; one that
is `global.` may cost less, and has rows of its own."""

_BARE: Final = {"aws": (_AWS_RESOURCE, _AWS_GEOGRAPHY), "google": (_GOOGLE_RESOURCE,)}
"""What stands before a model's name at a provider, taken off where the whole name is not known."""

_table: Table | None = None
_found: dict[tuple[str, str, str | None], tuple[Row, bool] | None] = {}
_serving: dict[tuple[str, str], tuple[tuple[Row, ...], bool]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of one model.

    Attributes:
        id: the row's id in the catalogue, `provider:model`; several names may lead to one row.
        name: the model's name for people; its id where none is known.
        context_window: tokens it can take in all, or `None`.
        max_input_tokens: tokens of input it takes, where that is less than the window, or `None`.
        max_output_tokens: tokens of output it can give, reasoning included, or `None`.
        abilities: what it is known to be able to do (`_facts.ABILITIES` lists the names).
        inabilities: what it is known to be unable to do. What is in neither is not known.
        deprecated: whether its provider says so.
        retires: the day on which its provider ends it, ISO 8601, or `None`.
        priced: whether the catalogue knows a price for it.
        date: the day the table was compiled, ISO 8601.
    """

    id: str
    name: str
    context_window: int | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    abilities: frozenset[str]
    inabilities: frozenset[str]
    deprecated: bool
    retires: str | None
    priced: bool
    date: str

    def can(self, ability: str) -> bool | None:
        """Whether it has an ability; `None` when that is not known."""
        if ability in self.abilities:
            return True
        return False if ability in self.inabilities else None


def lookup(provider: str, name: str) -> ModelFacts | None:
    """Gives what is known of a model; `None` when the catalogue does not have it.

    >>> lookup("openai", "gpt-5-mini-2025-08-07").context_window
    400000
    >>> lookup("openai", "no-such-model") is None
    True

    Args:
        provider: the provider's id, such as `"openai"`.
        name: the model as the provider is asked for it; dated names find their model.
    """
    found = find_row(provider, name)
    return None if found is None else facts(found[0])


def facts(row: Row) -> ModelFacts:
    """Gives a row of the table as facts."""
    data = row.data
    known = data.get("facts", {})
    return ModelFacts(
        id=f"{row.provider}:{row.id}",
        name=data.get("name", row.id),
        context_window=data.get("window"),
        max_input_tokens=known.get("max_input"),
        max_output_tokens=known.get("max_output"),
        abilities=frozenset(known.get("can", ())),
        inabilities=frozenset(known.get("cannot", ())),
        deprecated=data.get("deprecated", False),
        retires=known.get("retires"),
        priced=row.priced,
        date=row.table_date,
    )


def cheapest_first(models: Sequence[ModelConfig], *, at: datetime) -> list[ModelConfig]:
    """Puts models in order: cheapest first, models whose price is unknown last.

    What is compared is the cost of one call with 3,000 input and 1,000 output tokens, a fee for the
    call included. Models of equal cost (local ones are all free) are ordered by `quality_score`,
    the lowest first, then by `speed_ms`, the fastest first; what remains equal keeps the order it
    was given in.

    Args:
        models: in any order.
        at: the moment whose prices count.
    """
    from cascadeflow.models.prices import price_of  # noqa: PLC0415 - prices stand on this module
    from cascadeflow.models.usage import Usage  # noqa: PLC0415

    call = Usage(input_tokens=_BLEND_INPUT, output_tokens=_BLEND_OUTPUT)

    def key(model: ModelConfig) -> tuple[bool, int, float, float]:
        price = price_of(model, at=at)
        # A price without an output rate is that of a model which gives none: it cannot answer.
        known = price is not None and price.input is not None and price.output is not None
        cost = price.cost(call) if price is not None and known else 0
        quality = 0.0 if model.quality_score is None else model.quality_score
        speed = 0.0 if model.speed_ms is None else model.speed_ms
        return not known, cost, quality, speed

    return sorted(models, key=key)


def suggest(provider: str, name: str, *, limit: int = 3) -> list[str]:
    """Gives the names in the catalogue that come nearest, as `provider:model`, for errors.

    >>> suggest("openai", "gpt5-mini")[0]
    'openai:gpt-5-mini'

    Args:
        provider: the provider that was named; where the catalogue does not have it, all are
            searched.
        name: the name that was not found.
        limit: how many at most.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    known = table()
    provider_id = _provider_id(provider)
    rows = known.rows(provider_id) or tuple(known.all_rows())
    shown = provider if known.rows(provider_id) else None
    ids = {row.id.lower(): f"{shown or row.provider}:{row.id}" for row in rows}
    return [ids[near] for near in get_close_matches(name.lower(), ids, n=limit, cutoff=0.6)]


def find_row(provider: str, name: str, served: str | None = None) -> tuple[Row, bool] | None:
    """Finds the row by which a model is priced, and whether it is the provider's own.

    Args:
        provider: the provider's id.
        name: the model that was asked.
        served: the model that served, by the provider's word; `None` before the call.
    """
    key = (provider, name, served)
    try:
        return _found[key]
    except KeyError:
        pass
    found = _find(_provider_id(provider), name)
    if served is not None and served != name:
        found = _find_served(_provider_id(provider), name, served, asked=found)
    if len(_found) >= _MOST_REMEMBERED:
        _found.clear()  # names come from servers too: what they send must not fill the memory
    _found[key] = found
    return found


def _find_served(
    provider: str, name: str, served: str, *, asked: tuple[Row, bool] | None
) -> tuple[Row, bool] | None:
    """Finds the row of the model that served.

    A name that the table knows has its own row: a dated snapshot may cost something else than the
    name that leads to it, and a router may have chosen another model. A name that it does not know
    has the asked model's row if it says that it is the same model, and none otherwise.
    """
    if served.lower() == _without_variant(name.lower()):
        return asked  # `…:free` answered as `…`: the variant that was asked for is what is billed
    found = _find(provider, served)
    if found is not None:
        return found
    return asked if _words(name) == _words(served) else None


def rows_that_may_serve(provider: str, name: str) -> tuple[tuple[Row, ...], bool]:
    """Gives the rows by which a call of a model may be priced, whoever serves it.

    That is the row of the name that is asked, and the provider's rows whose names say that they are
    the same model (a dated snapshot may cost something else). A name that ends in `latest` may lead
    to any row that has all of its words.

    Returns:
        The rows, the asked model's own first, and whether they are the provider's own; no rows when
        the catalogue does not have the model.
    """
    key = (provider, name)
    serving = _serving.get(key)
    if serving is not None:
        return serving
    found = find_row(provider, name)
    if found is None:
        return (), False
    row, own = found
    words = _words(name)
    latest = name.lower().endswith("latest")
    others = []
    for other in table().rows(row.provider):
        theirs = _words(other.id)
        if other is not row and (theirs == words or (latest and set(words) <= set(theirs))):
            others.append(other)
    if len(_serving) >= _MOST_REMEMBERED:
        _serving.clear()
    serving = _serving[key] = (row, *others), own
    return serving


def _without_variant(name: str) -> str:
    return name.partition(":")[0]


@lru_cache(maxsize=_MOST_REMEMBERED)
def _words(name: str) -> tuple[str, ...]:
    """Gives what a name says of the model itself: no path, no date or version, in any order."""
    bare = _without_variant(name.lower().rpartition("/")[2])
    while (shorter := _VERSION.sub("", bare)) not in (bare, ""):
        bare = shorter
    return tuple(sorted(_WORD.findall(bare)))


def _find(provider: str, name: str) -> tuple[Row, bool] | None:
    known = table()
    if provider == "huggingface":
        # The router's names end in the provider that serves; without it, nobody knows who will.
        name, _, served_by = name.rpartition(":")
        return known.find(f"huggingface_{served_by.lower()}", name) if name else None
    found = known.find(provider, name)
    if found is None and provider in _BARE:
        for pattern in _BARE[provider]:
            bare = pattern.sub("", name.lower())
            if bare != name and (found := known.find(provider, bare)) is not None:
                return found
            name = bare
    return found


def _provider_id(provider: str) -> str:
    lowered = provider.lower()
    return PROVIDER_ALIASES.get(lowered, lowered)


def catalogue_date() -> str:
    """Gives the day the table in use was compiled, ISO 8601."""
    return table().compiled


def table() -> Table:
    """Gives the table in use: the user's own when it is not older than the shipped one.

    Raises:
        StoreError: the user's own table is broken.
    """
    global _table  # noqa: PLW0603 - one table a process
    if _table is None:
        chosen = Table.read(SHIPPED)
        path = user_table_path()
        if path.is_file():
            own = Table.read(path)
            if own.compiled >= chosen.compiled:
                chosen = own
        _table = chosen
    return _table


def reload() -> None:
    """Forgets the table and every look-up: the next one reads the files again."""
    global _table  # noqa: PLW0603
    _table = None
    _found.clear()
    _serving.clear()


def user_table_path() -> Path:
    """Gives where `cascadeflow prices update` keeps the user's own table."""
    return cache_dir() / "prices.jsonl"
