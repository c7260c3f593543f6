"""Prices that the user states in a file."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from cascadeflow.errors import ConfigurationError
from cascadeflow.models._paths import config_dir
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.overrides import read_prices_file, set_price, use_prices_file
from cascadeflow.models.prices import Price, PriceTier, price_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

TOML = """
[models."acme:Big"]
input = 0.1
output = 2
cache_read = "0.025"
requests = { web_search = 10 }
call = 5
date = 2026-10-01
tiers = [{ above = 200000, input = 0.5, output = 3 }]
input_image = 1

[models."openai:gpt-5-mini"]
input = 7
output = 8
"""

BIG = Price(
    input="0.1",
    output=2,
    cache_read="0.025",
    requests={"web_search": 10},
    call=5,
    date="2026-10-01",
    tiers=[PriceTier(above=200_000, input="0.5", output=3)],
    input_image=1,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_toml_file_says_everything_a_price_can(tmp_path: Path) -> None:
    prices = read_prices_file(write(tmp_path / "mine.toml", TOML))
    assert prices["acme:big"] == BIG
    assert set(prices) == {"acme:big", "openai:gpt-5-mini"}


def test_a_json_file_says_the_same(tmp_path: Path) -> None:
    entry = {
        "input": 0.1,
        "output": 2,
        "cache_read": "0.025",
        "requests": {"web_search": 10},
        "call": 5,
        "date": "2026-10-01",
        "tiers": [{"above": 200_000, "input": 0.5, "output": 3}],
        "input_image": 1,
    }
    path = write(tmp_path / "mine.json", json.dumps({"models": {"acme:Big": entry}}))
    assert read_prices_file(path) == {"acme:big": BIG}


def test_a_number_in_a_file_keeps_every_digit_it_has(tmp_path: Path) -> None:
    text = '{"models": {"a:b": {"input": 0.041666666666666665, "output": 1}}}'
    price = read_prices_file(write(tmp_path / "p.json", text))["a:b"]
    assert price.input == Decimal("0.041666666666666665")


def test_the_file_named_in_the_environment_wins_over_the_catalogue(
    home: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADEFLOW_PRICES", str(write(home / "p.toml", TOML)))
    price = price_of(ModelConfig.parse("openai:gpt-5-mini"), at=now)
    assert price == Price(input=7, output=8)
    assert price is not None
    assert price.source == "user"


@pytest.mark.usefixtures("home")
def test_the_file_in_the_configuration_directory_is_found(now: datetime) -> None:
    write(config_dir() / "prices.toml", TOML)
    assert price_of(ModelConfig("big", "acme"), at=now) == BIG
    assert price_of(ModelConfig("BIG", "Acme"), at=now) == BIG


@pytest.mark.usefixtures("home")
def test_two_files_in_the_configuration_directory_are_one_too_many(now: datetime) -> None:
    write(config_dir() / "prices.toml", TOML)
    write(config_dir() / "prices.json", '{"models": {}}')
    with pytest.raises(ConfigurationError, match="keep one"):
        price_of(ModelConfig("big", "acme"), at=now)


def test_a_file_named_in_code_counts_until_it_is_taken_back(home: Path, now: datetime) -> None:
    big = ModelConfig("big", "acme")
    use_prices_file(write(home / "p.toml", TOML))
    assert price_of(big, at=now) == BIG
    set_price("acme:big", Price(input=1, output=1))
    assert price_of(big, at=now) == Price(input=1, output=1)
    set_price("acme:big", None)
    use_prices_file(None)
    assert price_of(big, at=now) is None


def test_a_named_file_that_is_missing_is_an_error(
    home: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADEFLOW_PRICES", str(home / "gone.toml"))
    with pytest.raises(ConfigurationError, match=r"gone\.toml cannot be read"):
        price_of(ModelConfig("big", "acme"), at=now)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models = ", "cannot be read"),
        ("[prices]\n", "has one table"),
        ("other = 1\n[models]\n", "and nothing else"),
        ('[models."gpt"]\ninput=1\noutput=1', "names no provider"),
        ('[models."a:b"]\ninput=1', "output is missing"),
        ('[models."a:b"]\ninput=1\noutput=1\ninptu=2', "inptu is not known"),
        ('[models."a:b"]\ninput=-1\noutput=1', r'models\."a:b": Price\.input must be'),
        ('[models."a:b"]\ninput=nan\noutput=1', "must be finite"),
        ('[models."a:b"]\ninput=1\noutput=1\nrequests=3', "requests must be a table"),
        ('[models."a:b"]\ninput=1\noutput=1\ntiers=3', "tiers must be a list"),
        ('[models."a:b"]\ninput=1\noutput=1\ntiers=[{input=1}]', "above is missing"),
        ('[models."a:b"]\ninput=1\noutput=1\ntiers=[{above=1.5}]', "count of tokens"),
        ('[models."a:b"]\ninput=1\noutput=1\ntiers=[{above=1,x=1}]', "x is not known"),
        ('[models."a:b"]\ninput=1\noutput=1\ndate="soon"', "must be a day"),
        ('[models]\n"a:b"=3', "must be a table"),
        ('[models."a:b"]\ninput=1\noutput=1\n[models."A:B"]\ninput=1\noutput=1', "twice"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(text: str, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "prices.toml", text)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        read_prices_file(path)
    assert "prices.toml" in str(caught.value)


def test_a_statement_about_no_provider_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="provider:model"):
        set_price("gpt-5-mini", Price(input=1, output=1))
