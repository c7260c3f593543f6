"""`cascadeflow tokens`: counts, bounds, prices, and what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]


def test_a_text_is_counted_for_each_model_and_priced_as_input(answered: Answered) -> None:
    found = answered(
        "tokens",
        "Hello, world!",
        "-m",
        "openai:gpt-4o",
        "-m",
        "anthropic:claude-3-5-sonnet-20241022",
    )
    assert (found["characters"], found["bytes"]) == (13, 13)
    exact, estimated = found["counts"]
    assert (exact["tokens"], exact["upper_bound"], exact["exact"]) == (4, 4, True)
    assert exact["input_cost"] == pytest.approx(4 * 2.5 / 1e6)
    assert estimated["exact"] is False
    assert estimated["upper_bound"] == 13
    assert estimated["method"].startswith("estimate:")


def test_a_chat_counts_more_than_its_text(answered: Answered) -> None:
    (alone,) = answered("tokens", "hello", "-m", "openai:gpt-4o")["counts"]
    (chat,) = answered("tokens", "hello", "-m", "openai:gpt-4o", "--chat")["counts"]
    assert (alone["tokens"], chat["tokens"]) == (1, 8)


def test_a_file_is_read_and_a_vocabulary_may_stand_for_a_model(
    tmp_path: Path, answered: Answered, call: Call
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("naïve ☃", encoding="utf-8")
    found = answered("tokens", "-f", str(path), "-m", "cl100k_base")
    assert (found["characters"], found["bytes"]) == (7, 10)
    assert found["counts"][0]["method"] == "cl100k_base"
    assert found["counts"][0]["input_cost"] is None
    assert "10 bytes" in call("tokens", "-f", str(path)).stdout


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ((), "give a text", 2),
        (("a", "-f", "b"), "give a text", 2),
        (("-f", "/no/such/file"), "cannot be read", 1),
        (("a", "-m", "p50k_base"), "no vocabulary is called", 2),
        (("a", "--chat"), "need a model", 2),
        (("a", "-m", "acme:x", "--tokenizer", "/no/such/tokenizer.json"), "cannot be read", 2),
    ],
)
def test_what_cannot_be_counted_is_said(
    arguments: tuple[str, ...], words: str, code: int, answered: Answered
) -> None:
    assert words in answered("tokens", *arguments, exit_code=code)["error"]["message"]
