"""`cascadeflow replay` from the file to the figures, over loopback HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

SMALL, LARGE = "gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022"


def entry(
    name: str, question: str, draft: str, *, draft_right: bool, large_right: bool = True
) -> dict[str, Any]:
    """A row: the draft is 100 tokens in and 10 out, the verifier 120 in and 20 out."""
    return {
        "id": name,
        "question": question,
        "models": {
            SMALL: {
                "output": draft,
                "correct": draft_right,
                "input_tokens": 100,
                "output_tokens": 10,
            },
            LARGE: {
                "output": "The answer is 4.",
                "correct": large_right,
                "input_tokens": 120,
                "output_tokens": 20,
            },
        },
    }


DRAFT_NANO = 100 * 150 + 10 * 600
VERIFIER_NANO = 120 * 3000 + 20 * 15000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [
        entry("a", "What is 2 + 2?", "The answer is 4.", draft_right=True),
        entry("b", "What is 1 + 3?", "", draft_right=False),
        entry("c", "What is 5 - 1?", "The answer is 4.", draft_right=True, large_right=False),
        # The same question again, answered otherwise: each row is served its own answer.
        entry("d", "What is 2 + 2?", "", draft_right=False),
        {
            "question": "Only one answered",
            "models": {
                SMALL: {"output": "4", "correct": True, "input_tokens": 1, "output_tokens": 1}
            },
        },
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_replay_charges_and_counts_what_was_recorded(log: Path, answered: Answered) -> None:
    found = answered(
        "replay", str(log), "--draft", "gpt-4o-mini", "--verifier", "claude-3.5-sonnet"
    )
    stable = ["n", "saved", "quality_kept", "accuracy", "escalated", "auc", "baselines"]
    assert list(found)[: len(stable)] == stable
    # An empty draft is rejected, a plain right one accepted, whatever else the rules see.
    assert found["n"] == 4
    assert found["escalated"] == 0.5
    assert found["accuracy"] == 1.0
    billed = 4 * DRAFT_NANO + 2 * VERIFIER_NANO
    assert found["cost"] == pytest.approx(billed / 1e9, abs=1e-12)
    assert found["saved"] == pytest.approx(1 - billed / (4 * VERIFIER_NANO))
    assert found["quality_kept"] == pytest.approx(1 / 0.75)
    assert found["auc"] == 1.0
    assert found["skipped"] == 1
    assert (found["draft"], found["verifier"]) == (SMALL, LARGE)
    baselines = found["baselines"]
    assert baselines["always_draft"] == pytest.approx(
        {"accuracy": 0.5, "saved": 1 - DRAFT_NANO / VERIFIER_NANO}
    )
    assert baselines["always_verifier"] == {"accuracy": 0.75, "saved": 0.0}
    assert baselines["perfect"] == pytest.approx({"accuracy": 1.0, "saved": found["saved"]})
    share = (billed - 4 * DRAFT_NANO) / (4 * VERIFIER_NANO)
    assert baselines["random"] == pytest.approx(
        {"accuracy": 0.5 + share * 0.25, "saved": found["saved"]}
    )


def test_a_draft_that_a_token_limit_had_cut_is_judged_as_cut(
    tmp_path: Path, answered: Answered
) -> None:
    text = "The ducks lay sixteen eggs, of which she eats three and bakes"
    cut = entry("cut", "How many eggs are left?", text, draft_right=False)
    cut["models"][SMALL]["finish_reason"] = "length"
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(cut), encoding="utf-8")
    found = answered("replay", str(path), "--draft", SMALL, "--verifier", LARGE)
    assert found["escalated"] == 1.0


def test_a_threshold_of_zero_accepts_a_plain_draft_and_of_one_none(
    log: Path, answered: Answered
) -> None:
    pair = ("--draft", SMALL, "--verifier", LARGE)
    lax = answered("replay", str(log), *pair, "--threshold", "0", "--limit", "1")
    assert (lax["n"], lax["threshold"], lax["escalated"]) == (1, 0.0, 0.0)
    assert lax["saved"] == lax["baselines"]["always_draft"]["saved"]
    strict = answered("replay", str(log), *pair, "--threshold", "1")
    assert strict["escalated"] == 1.0
    # Escalating everything pays for every draft in vain.
    assert strict["saved"] == pytest.approx(-DRAFT_NANO / VERIFIER_NANO)


def test_prices_are_taken_as_stated_or_from_another_model(log: Path, answered: Answered) -> None:
    pair = ("--draft", SMALL, "--verifier", LARGE)
    found = answered(
        "replay", str(log), *pair, "--draft-price", "1,2", "--verifier-price", "openai:gpt-4o"
    )
    assert found["cost_draft_only"] == pytest.approx(4 * (100 * 1 + 10 * 2) / 1e6)
    assert found["cost_verifier_only"] == pytest.approx(4 * (120 * 2.5 + 20 * 10) / 1e6)
    assert "as stated" in found["draft_price"]
    assert "openai:gpt-4o" in found["verifier_price"]


def test_the_table_the_plot_and_the_files_are_written(
    log: Path, tmp_path: Path, call: Call
) -> None:
    curve = tmp_path / "curve.csv"
    picture = tmp_path / "curve.svg"
    result = call(
        "replay",
        str(log),
        *("--draft", SMALL, "--verifier", LARGE),
        *("--plot", "terminal", "--plot", str(curve), "--plot", str(picture)),
    )
    assert "random, at equal cost" in result.stdout
    assert "cost saved across" in result.stdout
    assert curve.read_text().startswith("threshold,escalated,accuracy,saved\n")
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--draft", "gpt-5", "--verifier", LARGE), "the file holds no model 'gpt-5'"),
        (("--draft", SMALL, "--verifier", "gpt-4o-mini"), "choose two"),
        (("--draft", SMALL, "--verifier", LARGE, "--mode", "strict"), "belong together"),
        (("--draft", SMALL, "--verifier", LARGE, "--cross-check", SMALL), "belong together"),
        (("--draft", SMALL, "--verifier", LARGE, "--threshold", "2"), "0..1"),
        (("--draft", SMALL, "--verifier", LARGE, "--plot", "x.png"), ".svg, .csv, .json"),
        (("--draft", SMALL, "--verifier", LARGE, "--draft-price", "1,"), "IN,OUT"),
        (("--draft", SMALL, "--verifier", LARGE, "--draft-price", "1"), "IN,OUT"),
        (("--draft", SMALL, "--verifier", LARGE, "--draft-price", "nobody:x"), "is not known"),
    ],
)
def test_what_cannot_be_replayed_is_said_before_anything_is_asked(
    log: Path, options: tuple[str, ...], words: str, answered: Answered
) -> None:
    error = answered("replay", str(log), *options, exit_code=2)["error"]
    assert words in error["message"]


def test_a_model_without_a_price_says_how_to_state_one(tmp_path: Path, answered: Answered) -> None:
    row = entry("a", "What is 2 + 2?", "4", draft_right=True)
    row["models"]["homegrown-7b"] = row["models"].pop(SMALL)
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    pair = ("--draft", "homegrown-7b", "--verifier", LARGE)
    error = answered("replay", str(path), *pair, exit_code=2)["error"]
    assert "--draft-price" in error["message"]
    found = answered("replay", str(path), *pair, "--draft-price", "0,0")
    assert found["cost_draft_only"] == 0.0


def test_a_log_that_nobody_has_marked_says_who_can(tmp_path: Path, answered: Answered) -> None:
    row = entry("a", "What is 2 + 2?", "4", draft_right=True)
    for each in row["models"].values():
        del each["correct"]
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    for command in ("replay", "tune"):
        arguments = (command, str(path), "--draft", SMALL, "--verifier", LARGE)
        said = answered(*arguments, exit_code=2)["error"]["message"]
        assert "'correct'" in said
        assert "cascadeflow judge LOG --model" in said


def test_a_file_that_is_not_there_is_said(tmp_path: Path, answered: Answered) -> None:
    pair = ("--draft", "a", "--verifier", "b")
    error = answered("replay", str(tmp_path / "none.jsonl"), *pair, exit_code=1)["error"]
    assert "cannot be read" in error["message"]
