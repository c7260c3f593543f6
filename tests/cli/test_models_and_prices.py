"""`cascadeflow models` and `cascadeflow prices`: what they find, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cascadeflow.models._table import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]


def test_models_list_counts_each_providers_models_and_lists_one_providers(
    call: Call, answered: Answered
) -> None:
    providers = answered("models", "list")["providers"]
    assert providers["openai"] > 20
    listed = answered("models", "list", "-p", "openai")["models"]
    assert len(listed) == providers["openai"]
    assert {"id", "context_window", "max_output_tokens", "abilities", "price"} <= set(listed[0])
    assert "openai" in call("models", "list").output


def test_models_search_finds_by_every_word_and_by_ability(answered: Answered) -> None:
    found = answered("models", "search", "GPT-5", "mini", "-p", "openai")["models"]
    assert "openai:gpt-5-mini" in {model["id"] for model in found}
    assert all("mini" in model["id"] for model in found)
    seeing = answered("models", "list", "-p", "anthropic", "--can", "vision")["models"]
    assert seeing
    assert all("vision" in model["abilities"] for model in seeing)


def test_a_model_is_shown_with_its_window_and_its_exact_price(
    call: Call, answered: Answered
) -> None:
    shown = answered("models", "show", "openai:gpt-4o-2024-05-13")
    assert shown["context_window"] == 128_000
    assert (shown["price"]["input"], shown["price"]["output"]) == ("5", "15")
    assert "128,000" in call("models", "show", "openai:gpt-4o-2024-05-13").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("models", "show", "openai:gpt5-mini"), "openai:gpt-5-mini"),
        (("models", "show", "gpt-5-mini"), "write provider:model"),
        (("models", "list", "-p", "nobody"), "no provider 'nobody'"),
        (("models", "search", "no", "such", "model"), "use fewer words"),
        (("prices", "show", "openai:no-such-model"), "is not known"),
        (("prices", "diff", "user"), "there is no table at"),
        (("prices", "diff", "shipped", "/no/such/file.jsonl"), "cannot be read"),
        (("prices", "update", "--max-change", "0"), "max_change"),
    ],
)
def test_what_cannot_be_found_is_one_clear_line_and_a_json_error(
    call: Call, answered: Answered, arguments: tuple[str, ...], words: str
) -> None:
    code = 1 if "diff" in arguments else 2
    result = call(*arguments, exit_code=code)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    error = answered(*arguments, exit_code=code)["error"]
    assert words in error["message"]
    assert error["type"].endswith("Error")


def test_verbose_shows_the_traceback_of_an_error(call: Call) -> None:
    result = call("models", "show", "openai:none", "--verbose", exit_code=2)
    assert "Traceback" in result.stderr


def test_a_price_is_shown_with_its_reason_and_its_tiers(call: Call, answered: Answered) -> None:
    shown = answered("prices", "show", "google:gemini-1.5-flash")
    assert shown["price"]["tiers"] == [
        {"above": 128_000, "input": "0.15", "output": "0.6", "cache_read": "0.0375"}
    ]
    assert "catalogue" in shown["reason"]
    text = call("prices", "show", "google:gemini-1.5-flash").output
    assert "above 128,000 input tokens input 0.15" in text
    local = answered("prices", "show", "ollama:llama3")
    assert local["price"]["source"] == "local"


def table_with(path: Path, model: str, input_rate: int) -> Path:
    """The shipped table of a later day, with another input rate of one of Anthropic's models."""
    header, *lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    lines.insert(0, json.dumps({**json.loads(header), "compiled": "2999-01-01"}))
    section = lines.index('{"provider":"anthropic"}')
    at = next(i for i in range(section, len(lines)) if f'"id":"{model}"' in lines[i])
    row = json.loads(lines[at])
    row["prices"][0][1]["input"] = input_rate
    lines[at] = json.dumps(row, separators=(",", ":"))
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def test_an_update_shows_what_changes_and_writes_the_users_table(
    tmp_path: Path, answered: Answered
) -> None:
    source = table_with(tmp_path / "new.jsonl", "claude-2", 9)
    compared = answered("prices", "diff", "shipped", str(source))
    assert compared["changes"] == [
        {"model": "anthropic:claude-2", "rate": "input", "old": "8", "new": "9"}
    ]
    report = answered("prices", "update", "--from", str(source))
    assert report["refused"] == []
    assert Path(report["written"]).is_file()
    assert answered("prices", "show", "anthropic:claude-2")["price"]["input"] == "9"


def test_a_price_that_moved_too_far_is_refused_until_forced(
    tmp_path: Path, call: Call, answered: Answered
) -> None:
    source = table_with(tmp_path / "new.jsonl", "claude-2", 80)
    result = call("prices", "update", "--from", str(source), exit_code=2)
    assert "nothing was written" in result.stderr
    assert "anthropic:claude-2" in result.stdout
    assert answered("prices", "show", "anthropic:claude-2")["price"]["input"] == "8"
    call("prices", "update", "--from", str(source), "--force")
    assert answered("prices", "show", "anthropic:claude-2")["price"]["input"] == "80"
