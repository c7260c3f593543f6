"""The page on reports: its example runs, and its table names the columns that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usage_logs import usage

from cascadeflow.budgets.focus import FOCUS_COLUMNS, FOCUS_VERSION
from cascadeflow.budgets.stores import open_store

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")


def test_the_example_runs_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///budgets.db") as store:
        store.append([usage(team="research")])
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - it is ours
    assert "research" in capsys.readouterr().out
    assert names["summary"].rows == 1


def test_the_page_names_every_focus_column_and_the_version() -> None:
    named = set(re.findall(r"`([A-Za-z_]+)`", PAGE))
    standard = {name for name in FOCUS_COLUMNS if not name.startswith("x_")}
    told = {"ChargeDescription", "ConsumedUnit", "PricingUnit", "BillingCurrency"}
    told |= {"BillingAccountName", "SkuMeter", "SkuPriceDetails"}
    assert standard - named <= told
    assert {"x_InputTokens", "x_UserId"} <= named
    assert f"**{FOCUS_VERSION}**" in PAGE
