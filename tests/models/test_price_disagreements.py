"""The list of where LiteLLM's prices are others than ours is what the two sources say."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from cascadeflow.models._table import SHIPPED, Table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compare() -> Any:
    spec = spec_from_file_location("compare_prices", ROOT / "docs" / "compare_prices.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "compare_prices", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def written(compare: Any) -> str:
    page = (ROOT / "docs" / "prices.md").read_text(encoding="utf-8")
    section = page.partition(compare.MARKERS[0])[2].partition(compare.MARKERS[1])[0]
    assert section
    return section


def test_the_page_is_what_the_two_sources_say(compare: Any, written: str) -> None:
    named = re.search(r"LiteLLM (\d[\w.]*\d)", written)
    assert named is not None
    try:
        installed = version("litellm")
    except PackageNotFoundError:
        pytest.skip("LiteLLM is not installed")
    if installed != named[1]:
        pytest.skip(f"LiteLLM {installed} is installed, the page is of {named[1]}")
    assert compare.section() == written.strip()


def test_the_page_is_of_the_table_that_is_shipped(written: str) -> None:
    table = Table.read(SHIPPED)
    assert (
        f"Our table of {table.compiled} (genai-prices {table.sources['genai-prices']})" in written
    )


LITELLM = {
    "gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06},
    "gpt-5-nano": {
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 4.0001e-07,
        "input_cost_per_token_flex": 5e-08,
    },
    "gpt-4.1": {"input_cost_per_token_priority": 1e-06},
    "no-such-model": {"input_cost_per_token": 1e-06},
}


def test_only_what_both_have_and_say_otherwise_is_listed(compare: Any) -> None:
    models = {
        name: {"litellm_provider": "openai", "mode": "chat", **rates}
        for name, rates in LITELLM.items()
    }
    found = [
        (each.model, each.rate, each.ours, each.theirs)
        for each in compare.differences(Table.read(SHIPPED), models)
    ]
    assert found == [
        ("openai:gpt-4.1", "input priority", Decimal("3.5"), Decimal(1)),
        ("openai:gpt-5-nano", "input", Decimal("0.05"), Decimal(1)),
        ("openai:gpt-5-nano", "input flex", Decimal("0.025"), Decimal("0.05")),
    ]


def test_a_price_by_the_hour_agrees_with_any_of_its_hours(compare: Any) -> None:
    table = Table.read(SHIPPED)
    by_hour = next(
        row
        for row in table.rows("deepseek")
        if any(isinstance(when, list) for when, _ in row.data.get("prices", ()))
    )
    at = compare.datetime.combine(
        compare.datetime.fromisoformat(table.compiled), compare.time(12), compare.UTC
    )
    offered = {price.input for price in compare.prices(by_hour, at, None)}
    assert len(offered) > 1
    for rate in offered:
        entry = {
            "litellm_provider": "deepseek",
            "mode": "chat",
            "input_cost_per_token": rate / 10**6,
        }
        assert list(compare.differences(table, {by_hour.id: entry})) == []
