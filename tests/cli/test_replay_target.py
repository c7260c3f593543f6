"""`cascadeflow replay --target-quality`, and several `--cross-check`s."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cli.replay.statistics import Outcome, always_verifier
from cascadeflow.cli.replay.target import choose_threshold, target_quality

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PAIR = (
    "--draft",
    "small",
    "--verifier",
    "large",
    "--draft-price",
    "1,1",
    "--verifier-price",
    "9,9",
)


def outcome(draft: bool, verifier: bool, score: float | None) -> Outcome:
    return Outcome(
        draft_correct=draft,
        verifier_correct=verifier,
        draft_cost=1,
        verifier_cost=10,
        accepted=False,
        score=score,
        cost=11,
    )


def kept(outcomes: Sequence[Outcome], threshold: float) -> float:
    """The accuracy where drafts from a threshold on stand."""
    right = [
        each.draft_correct
        if each.score is not None and each.score >= threshold
        else each.verifier_correct
        for each in outcomes
    ]
    return sum(right) / len(right)


def test_the_threshold_lies_where_the_first_loss_too_many_is_shut_out() -> None:
    outcomes = [
        outcome(True, True, 0.9),
        outcome(True, True, 0.8),
        outcome(False, True, 0.7),
        outcome(True, True, 0.6),
        outcome(False, True, 0.5),
    ]
    assert choose_threshold(outcomes, 1.0) == 0.8
    assert choose_threshold(outcomes, 0.8) == 0.6
    assert choose_threshold(outcomes, 0.0) == 0.5


def test_where_nothing_keeps_it_nothing_is_accepted() -> None:
    outcomes = [outcome(False, True, 0.99), outcome(False, True, None)]
    assert choose_threshold(outcomes, 0.97) == 1.0


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.sampled_from([None, 0.1, 0.4, 0.5, 0.9])),
        min_size=1,
        max_size=40,
    ),
    st.floats(0, 1),
)
def test_the_chosen_threshold_keeps_the_target_and_no_lower_one_does(
    rows: list[tuple[bool, bool, float | None]], target: float
) -> None:
    outcomes = [outcome(*row) for row in rows]
    found = choose_threshold(outcomes, target)
    wanted = target * always_verifier(outcomes).accuracy - 1e-9
    assert kept(outcomes, found) >= wanted
    scores = [each.score for each in outcomes if each.score is not None]
    for lower in scores:
        if lower < found:
            assert kept(outcomes, lower) < wanted + 2e-9


def test_held_out_fifths_do_not_see_their_own_questions() -> None:
    # The only wrong draft with a high score lies in the first fifth: chosen on the others, the
    # threshold lets it through.
    outcomes = [outcome(at > 0, True, 0.5 + at / 100) for at in range(10)]
    outcomes[0] = outcome(False, True, 0.9)
    found = target_quality(outcomes, 1.0)
    assert found.threshold == 1.0
    assert found.quality_kept == 0.9


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Six sums. The draft and one checker err on the fourth, another checker on the second."""
    rows = []
    for at in range(1, 7):
        right, other = str(at + at), str(at + at + 1)
        said = {
            "small": other if at == 4 else right,
            "large": right,
            "first": other if at == 2 else right,
            "second": right,
        }
        models = {
            name: {
                "output": f"The answer is {text}.",
                "correct": text == right,
                "input_tokens": 10,
                "output_tokens": 10,
            }
            for name, text in said.items()
        }
        rows.append({"id": str(at), "question": f"What is {at} + {at}?", "models": models})
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_replay_runs_at_the_threshold_that_it_chose(
    log: str, answered: Callable[..., Any]
) -> None:
    found = answered("replay", log, *PAIR, "--target-quality", "1")
    assert found["quality_kept"] == 1.0
    told = found["target_quality"]
    assert (told["target"], told["threshold"]) == (1.0, found["threshold"])
    assert set(told["held_out"]) == {"saved", "quality_kept"}
    lenient = answered("replay", log, *PAIR, "--target-quality", "0")
    assert (lenient["escalated"], lenient["accuracy"]) == (0.0, 5 / 6)
    plain = answered("replay", log, *PAIR)
    assert plain["target_quality"] is None


def test_a_threshold_and_a_target_are_refused_together(log: str, call: Callable[..., Any]) -> None:
    said = call("replay", log, *PAIR, "--target-quality", "1", "--threshold", "0.5", exit_code=2)
    assert "give it, or --threshold" in " ".join(said.stderr.split())


def test_a_second_cross_check_is_asked_where_the_first_disagrees(
    log: str, answered: Callable[..., Any], call: Callable[..., Any]
) -> None:
    strict = (*PAIR, "--mode", "strict", "--cross-check", "first", "--cross-check-price", "1,1")
    one = answered("replay", log, *strict)
    assert (one["escalated"], one["cross_checks"]) == (2 / 6, ["first"])
    both = answered("replay", log, *strict, "--cross-check", "second", "--cross-check-price", "2,2")
    assert (both["escalated"], both["accuracy"]) == (1 / 6, 1.0)
    assert both["cross_checks"] == ["first", "second"]
    assert both["cross_check"] == "first"
    # The second is asked about two drafts: the one that the first is wrong of, and the wrong one.
    asked = both["cost_opinions"] - one["cost_opinions"]
    assert asked == pytest.approx(2 * 20 * 2 / 1e6)
    refused = call("replay", log, *strict, "--cross-check", "first", exit_code=2)
    assert "--cross-check first is another --cross-check too" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--cross-check", "small"), "--cross-check small is the --draft too"),
        (("--cross-check", "large"), "--cross-check large is the --verifier too"),
        (
            ("--cross-check", "first", "--cross-check-price", "1,1", "--cross-check-price", "2,2"),
            "there are 2 --cross-check-price for 1 --cross-check: leave out 2,2",
        ),
    ],
)
def test_a_cross_check_that_cannot_be_one_is_named_with_the_rule_it_breaks(
    log: str, more: tuple[str, ...], words: str, answered: Callable[..., Any]
) -> None:
    error = answered("replay", log, *PAIR, "--mode", "strict", *more, exit_code=2)["error"]
    assert words in error["message"]
    assert ("--cross-check-price" in error["message"]) is ("--cross-check-price" in more)
