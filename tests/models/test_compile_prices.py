"""The table is genai-prices' facts, exactly, or there is no table."""

from __future__ import annotations

import json
import zipfile
import zlib
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models._facts import facts_of, read_litellm
from cascadeflow.models._table import SHIPPED, Table
from cascadeflow.models.compile_prices import compile_table, main

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 11, 22)


def provider(**model: Any) -> list[dict[str, Any]]:
    """genai-prices' JSON data with one provider of one model."""
    base = {
        "id": "m-1",
        "match": {"equals": "M-1"},
        "prices": {"input_mtok": 1, "output_mtok": 2},
    }
    return [{"id": "acme", "models": [{**base, **model}]}]


def compiled(tmp_path: Path, data: Any) -> Table:
    path = tmp_path / "data.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return Table(compile_table(path, compiled=DAY), where="test")


def row(tmp_path: Path, **model: Any) -> dict[str, Any]:
    (only,) = compiled(tmp_path, provider(**model)).rows("acme")
    return dict(only.data)


def test_the_committed_table_says_what_the_installed_package_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--check"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_the_committed_table_is_byte_for_byte_what_compiling_gives() -> None:
    shipped = Table.read(SHIPPED)
    day = date.fromisoformat(shipped.compiled)
    assert compile_table(compiled=day, carry=shipped) == SHIPPED.read_bytes()


def test_the_table_and_its_notice_are_small_and_beside_each_other() -> None:
    assert len(zlib.compress(SHIPPED.read_bytes())) < 150_000
    notice = SHIPPED.with_name("NOTICE.txt").read_text(encoding="utf-8")
    assert "Pydantic Services" in notice
    assert "Berri AI" in notice
    assert notice.count("Permission is hereby granted, free of charge") == 2


def test_a_stale_table_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "prices.jsonl"
    old.write_bytes(SHIPPED.read_bytes().replace(b'"input":0.25', b'"input":0.26', 1))
    assert main(["--check", "--output", str(old)]) == 1
    assert main(["--check", "--output", str(tmp_path / "none.jsonl")]) == 1
    assert "stale" in capsys.readouterr().out
    assert main(["--output", str(old), "--date", "2026-11-22"]) == 0
    assert main(["--check", "--output", str(old)]) == 0


def test_every_digit_of_a_price_is_kept(tmp_path: Path) -> None:
    text = json.dumps(provider()).replace('"input_mtok": 1', '"input_mtok": 0.04166666666666665')
    table = compiled(tmp_path, text)
    assert b'"input":0.04166666666666665,' in table._content


def test_tiers_dates_hours_variants_and_requests_are_carried_over(tmp_path: Path) -> None:
    tiered = {"base": 1, "tiers": [{"start": 500, "price": 3}, {"start": 200, "price": 2}]}
    found = row(
        tmp_path,
        context_window=9,
        deprecated=True,
        prices=[
            {"prices": {"input_mtok": tiered, "output_mtok": 2, "requests_kcount": 5}},
            {
                "constraint": {"start_date": "2026-01-02"},
                "prices": {"input_mtok": 1, "output_mtok": 1, "web_searches_kcount": 10},
            },
            {
                "constraint": {"start_time": "00:30:00Z", "end_time": "18:00:00+02:00"},
                "prices": {"input_mtok": 1, "output_mtok": 1, "audio_hours": 4},
            },
        ],
        price_variants=[{"when": {"service_tier": "flex"}, "prices": {"input_mtok": 0.5}}],
    )
    assert (found["window"], found["deprecated"]) == (9, True)
    assert found["prices"] == [
        [None, {"input": [1, [200, 2], [500, 3]], "output": 2, "call": 5}],
        ["2026-01-02", {"input": 1, "output": 1, "requests": {"web_search": 10}}],
        [["00:30:00", "16:00:00"], {"input": 1, "output": 1, "audio_hours": 4}],
    ]
    assert [list(each) for each in found["variants"]] == [
        [{"service_tier": "flex"}, None, {"input": pytest.approx(0.5)}]
    ]


@pytest.mark.parametrize(
    ("model", "free"),
    [
        ({"prices": {}}, False),
        ({"prices": {}, "id": "m-1:free"}, True),
        ({"prices": {}, "price_comments": "Free of charge on this API"}, True),
        ({"prices": {}, "price_comments": "Included in the subscription"}, False),
    ],
)
def test_a_model_without_rates_is_free_only_where_the_data_says_so(
    tmp_path: Path, model: dict[str, Any], free: bool
) -> None:
    found = row(tmp_path, **model)
    assert found.get("prices") == ([[None, {"input": 0, "output": 0}]] if free else None)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ({"prices": {"input_mtok": 1, "smell_mtok": 1}}, "a price for smell_mtok is not known"),
        (
            {"prices": {"web_searches_kcount": {"base": 1, "tiers": []}}},
            "tiers of web_searches_kcount",
        ),
        ({"match": {"regex": "(unclosed"}}, "cannot match by"),
        ({"match": {"sounds_like": "m"}}, "rule of kind 'sounds_like'"),
        ({"match": {"or": [{"sounds_like": "m"}]}}, "rule of kind 'sounds_like'"),
        (
            {"prices": [{"constraint": {"weekday": 1}, "prices": {"input_mtok": 1}}]},
            "constraint of",
        ),
        (
            {
                "prices": [
                    {
                        "constraint": {"start_time": "00:00:00.5", "end_time": "01:00:00"},
                        "prices": {"input_mtok": 1},
                    }
                ]
            },
            "within a second",
        ),
        (
            {"prices": {"input_mtok": {"base": 1, "tiers": [{"start": 2, "price": 1}] * 2}}},
            "given twice",
        ),
        (
            {"price_variants": [{"when": {"a": str(n)}, "prices": {}} for n in range(65)]},
            "at most 64",
        ),
    ],
)
def test_what_cannot_be_carried_over_exactly_fails_and_names_the_model(
    tmp_path: Path, model: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        compiled(tmp_path, provider(**model))
    assert "acme:m-1" in str(caught.value)


def test_a_price_of_more_digits_than_can_be_held_fails(tmp_path: Path) -> None:
    text = json.dumps(provider()).replace('"input_mtok": 1', '"input_mtok": 0.1000000000000000001')
    with pytest.raises(ConfigurationError, match="more than 18 decimal places"):
        compiled(tmp_path, text)


@pytest.mark.parametrize("content", ["not json", "{}"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(StoreError, match=r"data\.json"):
        compiled(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [b"", b"no json\n", b"{}\n", b'{"format":1}\n', b'{"format":99,"compiled":"","sources":{}}\n'],
)
def test_a_broken_table_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prices.jsonl"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cascadeflow prices update"):
        Table.read(path)


LITELLM = {
    "m-1": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_output_tokens": 100,
        "supports_vision": True,
        "supports_function_calling": False,
    },
    "m-1-2026-01-01": {"litellm_provider": "openai", "mode": "chat", "max_output_tokens": 50},
    "m-2-a": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_output_tokens": 7,
        "supports_vision": True,
        "deprecation_date": "2027-01-01",
    },
    "m-2-b": {"litellm_provider": "openai", "mode": "responses", "max_output_tokens": 8},
    "m-3": {"litellm_provider": "someone-else", "mode": "chat", "max_output_tokens": 9},
    "m-4": {"litellm_provider": "openai", "mode": "embedding", "max_output_tokens": 9},
}


def test_facts_are_of_the_very_model_or_of_all_its_names_in_agreement() -> None:
    rows = [
        {"id": "m-1", "match": ["starts_with", "m-1"]},
        {"id": "m-2", "match": ["starts_with", "m-2"]},
        {"id": "m-3"},
        {"id": "m-4"},
    ]
    assert facts_of("openai", rows, LITELLM) == {
        "m-1": {"max_output": 100, "can": ["vision"], "cannot": ["tools"]},
        "m-2": {"can": ["vision"], "retires": "2027-01-01"},
    }


def test_facts_are_read_out_of_a_wheel_or_a_file(tmp_path: Path) -> None:
    wheel = tmp_path / "litellm-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        name = "litellm/model_prices_and_context_window_backup.json"
        archive.writestr(name, json.dumps(LITELLM))
    assert read_litellm(wheel) == (LITELLM, "9.9.9")
    plain = tmp_path / "list.json"
    plain.write_text(json.dumps(LITELLM))
    assert read_litellm(plain) == (LITELLM, "file list.json")
    with zipfile.ZipFile(wheel, "w"):
        pass
    with pytest.raises(StoreError, match="no model list"):
        read_litellm(wheel)
