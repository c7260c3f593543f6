"""No recorded exchange cost more than its worst case."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.models.recorded import Exchange as Recorded
from tests.models.recorded import exchanges as recorded_exchanges

from cascadeflow.errors import UnboundedCostError, UnknownPriceError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import cost_of
from cascadeflow.models.worst_case import worst_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cascadeflow.models.worst_case import WorstCase

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Exchange:
    """A recorded exchange that was answered: what it cost, and its worst case."""

    id: str
    provider: str
    limited: bool
    cost: int | None
    worst: WorstCase | None
    """`None`: refused, because nobody could bound it."""


@pytest.fixture(scope="module")
def recorded_requests() -> Iterator[Any]:
    """The module that reads recorded exchanges as requests of ours."""
    path = ROOT / "benches" / "recorded_requests.py"
    with pytest.MonkeyPatch.context() as patch:
        spec = spec_from_file_location("recorded_requests", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        patch.setitem(sys.modules, "recorded_requests", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def exchanges(recordings: Path, recorded_requests: Any) -> list[Exchange]:
    found = []
    for recorded in recorded_exchanges(recordings):
        if recorded.provider == "openai-responses":
            continue  # nobody here reads its requests back into requests of ours
        each = exchange(recorded, recorded_requests)
        if each is not None:
            found.append(each)
    return found


def exchange(recorded: Recorded, reader: Any) -> Exchange | None:
    """Reads a row; `None` when it has no usage, or lacks a part of what was sent."""
    provider, row, completion = recorded.provider, recorded.row, recorded.completion
    body = row["request"]
    if "...scrubbed" in json.dumps(body) or reader.billed_input(row) is None:
        return None
    if completion.usage is None:
        return None
    request = reader.READERS.get(provider, reader.read_openai)(row)
    model = ModelConfig(request.model, provider)
    limit = limit_of(body)
    made = completion.usage.total_output_tokens
    try:
        worst = worst_case(model, request, output_tokens=made if limit is None else limit, at=NOW)
    except UnboundedCostError:
        worst = None
    except UnknownPriceError:
        return None
    cost = cost_of(completion, model, at=NOW).nanodollars
    return Exchange(row["id"], provider, limit is not None, cost, worst)


def limit_of(body: dict[str, Any]) -> int | None:
    """The limit on the output that was sent."""
    nested = {**(body.get("inferenceConfig") or {}), **(body.get("generationConfig") or {})}
    for fields in (body, nested):
        for name in ("max_tokens", "max_completion_tokens", "maxTokens", "maxOutputTokens"):
            if fields.get(name) is not None:
                return int(fields[name])
    return None


def test_no_recorded_exchange_cost_more_than_its_worst_case(exchanges: list[Exchange]) -> None:
    compared = [each for each in exchanges if each.worst and each.cost is not None]
    assert len(compared) > 400
    assert sum(each.limited for each in compared) > 100
    over = [each for each in compared if each.worst and (each.cost or 0) > each.worst.nanodollars]
    assert over == []


def test_what_can_be_bounded_is_not_refused(exchanges: list[Exchange]) -> None:
    """Tools of the provider, files and foreign fields are refused; the rest, most, is not."""
    refused = sum(each.worst is None for each in exchanges)
    assert refused < 0.25 * len(exchanges)


def test_the_worst_case_is_no_fantasy(exchanges: list[Exchange]) -> None:
    """The recorded requests are short, so that what a provider may put around them weighs most."""
    ratios = [each.worst.nanodollars / each.cost for each in exchanges if each.worst and each.cost]
    assert statistics.median(ratios) < 10
