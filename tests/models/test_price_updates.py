"""Updating prices: looked at first, refused when they moved far, written whole or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models import catalogue
from cascadeflow.models._table import SHIPPED
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.price_updates import diff_prices, show_price, update_prices
from cascadeflow.models.prices import Price, price_of, require_price

if TYPE_CHECKING:
    from pathlib import Path

MINI = ModelConfig.parse("openai:gpt-5-mini")
LINE = b'"match":["or","gpt-5-mini","gpt-5-mini-2025-08-07"],"window":400000,"prices":[[null,{'


def edited(home: Path, *edits: tuple[str, str], day: str = "2026-11-25") -> Path:
    """The shipped table with other prices, as somebody else compiled it on a later day."""
    content = SHIPPED.read_bytes()
    compiled = catalogue.catalogue_date().encode()
    content = content.replace(b'"compiled":"' + compiled, b'"compiled":"' + day.encode(), 1)
    for old, new in edits:
        assert LINE + old.encode() in content
        content = content.replace(LINE + old.encode(), LINE + new.encode(), 1)
    path = home / "newer.jsonl"
    path.write_bytes(content)
    return path


def test_a_small_change_is_taken_over_and_then_used(home: Path, now: datetime) -> None:
    report = update_prices(edited(home, ('"input":0.25', '"input":0.3')), at=now)
    (change,) = report.diff.changes
    assert (change.model, change.rate) == ("openai:gpt-5-mini", "input")
    assert (change.old, change.new, change.change) == (
        Decimal("0.25"),
        Decimal("0.3"),
        Decimal("0.2"),
    )
    assert report.refused == ()
    assert report.written == catalogue.user_table_path()
    assert require_price(MINI, at=now).input == Decimal("0.3")
    assert require_price(MINI, at=now).date == "2026-11-25"


@pytest.mark.parametrize("new", ["0.375", "0.5", "0.125", "0.01", "0", "[0.25,[9,4]]"])
def test_half_as_much_again_is_refused_unless_forced(home: Path, now: datetime, new: str) -> None:
    path = edited(home, ('"input":0.25', f'"input":{new}'))
    report = update_prices(path, at=now)
    if new.startswith("["):
        assert report.refused == (), "a tier that is new is no price that moved"
        return
    assert [change.new for change in report.refused] == [Decimal(new)]
    assert report.written is None
    assert not catalogue.user_table_path().exists()
    assert require_price(MINI, at=now).input == Decimal("0.25")
    assert update_prices(path, at=now, force=True).written is not None
    assert require_price(MINI, at=now).input == Decimal(new)


def test_the_share_that_is_refused_can_be_stated(home: Path, now: datetime) -> None:
    path = edited(home, ('"input":0.25', '"input":0.3'))
    assert update_prices(path, at=now, max_change=0.1).written is None
    assert update_prices(path, at=now, max_change=Decimal("0.21")).written is not None
    with pytest.raises(ConfigurationError, match="above 0"):
        update_prices(path, at=now, max_change=0)


def test_a_price_that_changes_later_is_seen_today(home: Path, now: datetime) -> None:
    row = b'"cache_read":0.025,"output":2,"requests":{"web_search":10,"file_search":2.5}'
    path = edited(home)
    content = path.read_bytes()
    start = content.index(LINE)
    later = row + b'}],["2027-03-01",{"input":0.75,' + row
    path.write_bytes(content[:start] + content[start:].replace(row, later, 1))
    report = update_prices(path, at=now)
    (change,) = report.diff.changes
    assert (change.rate, change.new) == ("input, from 2027-03-01", Decimal("0.75"))
    assert report.refused == (change,), "three times as dear is refused, though it is not due yet"


def test_models_that_came_and_went_are_named(home: Path, now: datetime) -> None:
    path = edited(home)
    old = b'{"id":"gpt-5-mini","name":"GPT-5 mini","match":["or","gpt-5-mini","gpt-5-mini-2025'
    new = b'{"id":"gpt-9","match":["or","gpt-9","gpt-5-mini-2025'
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    report = update_prices(path, at=now)
    assert report.diff.added == ("openai:gpt-9",)
    assert report.diff.removed == ("openai:gpt-5-mini",)
    assert price_of(ModelConfig.parse("openai:gpt-9"), at=now) is not None


@pytest.mark.usefixtures("home")
def test_an_update_from_the_installed_package_that_changes_nothing_writes_nothing(
    now: datetime,
) -> None:
    report = update_prices(at=now)
    assert report.diff.same
    assert report.written is None
    assert not catalogue.user_table_path().exists()


def test_an_older_package_is_not_taken_over_unless_forced(home: Path, now: datetime) -> None:
    path = edited(home, ('"input":0.25', '"input":0.3'))
    path.write_bytes(path.read_bytes().replace(b'"genai-prices":"', b'"genai-prices":"99.', 1))
    assert update_prices(path, at=now).written
    with pytest.raises(ConfigurationError, match="older than the 99"):
        update_prices(at=now)
    assert update_prices(at=now, force=True).written
    assert require_price(MINI, at=now).input == Decimal("0.25")


def test_a_table_older_than_the_shipped_one_is_not_used(home: Path, now: datetime) -> None:
    path = edited(home, ('"input":0.25', '"input":0.3'), day="2020-01-01")
    catalogue.user_table_path().write_bytes(path.read_bytes())
    catalogue.reload()
    assert require_price(MINI, at=now).input == Decimal("0.25")


@pytest.mark.usefixtures("home")
def test_a_broken_table_of_the_users_own_is_an_error_and_not_ignored(now: datetime) -> None:
    catalogue.user_table_path().write_bytes(b"half a tab")
    with pytest.raises(StoreError, match="delete it"):
        price_of(MINI, at=now)


def test_a_file_with_a_broken_row_is_refused_and_nothing_is_written(
    home: Path, now: datetime
) -> None:
    path = edited(home, ('"input":0.25', '"input":"cheap"'))
    with pytest.raises((StoreError, ConfigurationError)):
        update_prices(path, at=now)
    assert not catalogue.user_table_path().exists()


def test_a_table_that_cannot_be_written_is_an_error_and_leaves_nothing(
    home: Path, now: datetime
) -> None:
    path = edited(home, ('"input":0.25', '"input":0.3'))
    catalogue.user_table_path().mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        update_prices(path, at=now)
    assert list(catalogue.user_table_path().parent.iterdir()) == [catalogue.user_table_path()]


def test_tables_are_compared_by_name_or_file(home: Path, now: datetime) -> None:
    assert diff_prices("shipped", "installed", at=now).same
    path = edited(home, ('"input":0.25', '"input":0.3'))
    assert len(diff_prices("shipped", path, at=now).changes) == 1
    with pytest.raises(StoreError, match="make it by `cascadeflow prices update`"):
        diff_prices("user", "shipped", at=now)
    update_prices(path, at=now)
    assert len(diff_prices("user", "shipped", at=now).changes) == 1
    assert diff_prices("user", path, at=now + timedelta(days=1)).same


def test_a_price_is_explained_by_where_it_comes_from(now: datetime) -> None:
    shown = show_price("openai:gpt-5-mini-2025-08-07", at=now)
    assert shown.price == require_price(MINI, at=now)
    assert shown.reason == "the catalogue's price of openai:gpt-5-mini"
    assert shown.facts is not None
    assert shown.periods[0][0] == "always"
    assert ("service_tier = flex", "from 2026-10-12") in [v[:2] for v in shown.variants]
    assert shown.table == str(SHIPPED)
    assert set(shown.sources) == {"genai-prices", "litellm"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (ModelConfig("m", "openai", price=Price(input=1, output=1)), "ModelConfig(price=…)"),
        (ModelConfig("m", "openai", cost=0.1), "ModelConfig(cost=0.1)"),
        (ModelConfig("m", "ollama"), "the user's own machines"),
        (ModelConfig("m", "openai"), "does not have the model"),
        (ModelConfig("tts-1", "openai"), "no price by the token"),
    ],
)
def test_every_reason_has_its_words(model: ModelConfig, reason: str, now: datetime) -> None:
    assert reason in show_price(model, at=now).reason


def test_rates_that_are_not_by_the_token_are_shown_apart(now: datetime) -> None:
    shown = show_price("openai:tts-1", at=now)
    assert shown.price is None
    assert shown.not_by_token == {"input_mchars": 15}
    by_the_hour = show_price("deepseek:deepseek-v4-pro", at=now)
    assert "01:00:00 to 04:00:00 UTC" in [when for when, _ in by_the_hour.periods]
