"""`cascadeflow tune`: what it promises, what it writes, and that the pipeline then does so."""

from __future__ import annotations

import ast
import asyncio
import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from math import comb
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.cli.replay.formats import read_rows
from cascadeflow.cli.replay.play import play
from cascadeflow.cli.replay.pricing import priced_model
from cascadeflow.cli.tune.logged import LogJudge
from cascadeflow.cli.tune.promise import Tally, keeps, level_of, questions_needed
from cascadeflow.cli.tune.tuning import LoggedDraft, Scored, choose, decided, weigh
from cascadeflow.config import LOCAL_CHECKS, QualityConfig
from cascadeflow.quality.calibration import Calibration, Expected, calibration_of
from cascadeflow.quality.evidence import logit, probability
from cascadeflow.quality.fitting import JudgedDraft, Weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

SMALL, LARGE, THIRD = "gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022", "gemini-1.5-flash"
PAIR = ("--draft", SMALL, "--verifier", LARGE)
WITHOUT_MODELS = ("--without", "relevance", "--without", "grounding", "--without", "toxicity")
STRICT = (*PAIR, "--mode", "strict", "--cross-check", THIRD, *WITHOUT_MODELS)


def rows_of(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Sums: a wrong draft often shows a wrong step, and the third model seldom agrees with it."""
    draw = random.Random(seed)

    def answer(text: str, *, right: bool, tokens: int) -> dict[str, Any]:
        return {"output": text, "correct": right, "input_tokens": 20, "output_tokens": tokens}

    made = []
    for index in range(count):
        one, other = draw.randint(10, 99), draw.randint(10, 99)
        right = draw.random() < 0.85
        said = one + other + (0 if right else draw.randint(1, 9))
        step = said if draw.random() < 0.7 else one + other
        third = one + other if draw.random() < 0.9 else said
        verified = draw.random() < 0.95
        made.append(
            {
                "id": str(index),
                "question": f"Number {index}: Ann has {one} figs and buys {other}. How many now?",
                "models": {
                    SMALL: answer(
                        f"{one} + {other} = {step}. The answer is {said}.", right=right, tokens=20
                    ),
                    LARGE: answer(
                        f"The answer is {one + other if verified else 3}.", right=verified, tokens=9
                    ),
                    THIRD: answer(f"The answer is {third}.", right=third == one + other, tokens=9),
                },
            }
        )
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(400)), encoding="utf-8")
    return path


def test_a_log_that_is_large_enough_gives_a_promise_and_a_file(
    log: Path, tmp_path: Path, answered: Answered
) -> None:
    out = tmp_path / "quality.json"
    found = answered("tune", str(log), *PAIR, "--target", "0.9", "--out", str(out))
    assert found["promised"] is True
    assert found["quality_kept"]["low"] <= found["quality_kept"]["estimate"]
    assert found["quality_kept"]["estimate"] >= 0.9
    assert found["saved"]["estimate"] > found["baselines"]["always_verifier"]["saved"]
    random_kept = found["baselines"]["random"]["quality_kept"]
    assert found["quality_kept"]["estimate"] > random_kept
    made = Calibration.read(out)
    assert (made.mode, made.draft, made.verifier, made.questions) == ("fast", SMALL, LARGE, 400)
    assert (made.target, made.threshold) == (0.9, found["threshold"])
    kept = [point for point in found["curve"] if point["promised"]]
    assert max(point["saved"] for point in kept) == pytest.approx(found["saved"]["estimate"])


def test_a_second_opinion_saves_more_for_the_same_promise(log: Path, answered: Answered) -> None:
    fast = answered("tune", str(log), *PAIR, "--target", "0.95")
    strict = answered("tune", str(log), *STRICT, "--target", "0.95")
    assert strict["promised"] is True
    assert strict["saved"]["estimate"] > fast["saved"]["estimate"]
    assert strict["weights"]["agrees"] > 0 > strict["weights"]["disagrees"]


def test_whom_the_drafts_are_only_compared_with_needs_no_marks(
    log: Path, tmp_path: Path, answered: Answered
) -> None:
    rows, some = rows_of(400), 40
    for row in rows:
        del row["models"][THIRD]["correct"]
    for row in rows[:some]:
        del row["models"][SMALL]["correct"]
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = answered("tune", str(bare), *STRICT)
    assert (found["n"], found["skipped"]) == (400 - some, some)
    bare.write_text("".join(json.dumps(row) + "\n" for row in rows[some:]), encoding="utf-8")
    found = answered("tune", str(bare), *STRICT)
    whole = tmp_path / "whole.jsonl"
    kept = log.read_text(encoding="utf-8").splitlines()[some:]
    whole.write_text("\n".join(kept), encoding="utf-8")
    assert answered("tune", str(whole), *STRICT) == found


@pytest.mark.parametrize(
    ("target", "begins"), [("0.9", ""), ("0.999", "; it promises nothing, and with it no draft")]
)
def test_the_hint_is_the_configuration_that_the_promise_is_about(
    target: str, begins: str, log: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "quality.json"
    arguments = ("tune", str(log), *STRICT, "--target", target, "--out", str(out))
    said = " ".join(call(*arguments).stdout.split())
    assert f"written: {out}{begins}" in said
    assert ("it promises nothing" in said) is bool(begins)
    written = ast.parse(said.rpartition("use it with ")[2], mode="eval").body
    assert isinstance(written, ast.Call)
    given_there = {str(each.arg): ast.literal_eval(each.value) for each in written.keywords}
    assert ast.unparse(written.func) == "QualityConfig.strict"
    config = QualityConfig.strict(**given_there)
    assert (config.cross_check, config.judge, config.samples) == (THIRD, False, 0)
    assert calibration_of(config) == Calibration.read(out)


def test_more_than_one_second_opinion_is_refused_and_none_is_dropped(
    log: Path, answered: Answered
) -> None:
    found = answered("tune", str(log), *STRICT, "--cross-check", LARGE, exit_code=2)
    assert "tune takes one --cross-check, not 2" in found["error"]["message"]


def test_a_log_that_is_too_small_says_how_much_is_missing_and_accepts_nothing(
    tmp_path: Path, call: Call, answered: Answered
) -> None:
    path, out = tmp_path / "small.jsonl", tmp_path / "quality.json"
    path.write_text("\n".join(json.dumps(row) for row in rows_of(60)), encoding="utf-8")
    arguments = ("tune", str(path), *PAIR, "--target", "0.99", "--out", str(out))
    found = answered(*arguments)
    right = sum(row["models"][LARGE]["correct"] for row in rows_of(60))
    assert found["questions_needed"] == -(-questions_needed(0.99, level_of(0.95)) * 60 // right)
    assert (found["promised"], found["threshold"], found["accepted"]) == (False, 1.0, 0.0)
    words = " ".join(call(*arguments).stdout.split())
    assert "too small" in words
    assert f"takes {found['questions_needed']} at least" in words
    assert Calibration.read(out).promised is False


@pytest.mark.parametrize("mode", ["fast", "strict"])
def test_the_pipeline_then_decides_and_bills_what_was_reckoned(mode: str, tmp_path: Path) -> None:
    """The weights in the file, over loopback HTTP, against the arithmetic of `tune`."""
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows_of(60)), encoding="utf-8")
    rows = read_rows(path)
    strict = mode == "strict"
    names = (SMALL, THIRD, LARGE) if strict else (SMALL, LARGE)
    models = [priced_model(name, None, at=datetime.now(UTC)) for name in names]
    config = QualityConfig(
        mode="strict" if strict else "fast",
        cross_check=THIRD,
        judge=False,
        without=LOCAL_CHECKS if strict else (),
    )
    third = models[1] if strict else None
    drafts = asyncio.run(LogJudge(config).drafts(rows, models[0], models[-1], third))
    weights, _ = weigh(drafts)
    borders = sorted(Scored(draft, weights, strict=strict).accepted_up_to for draft in drafts)
    threshold = round(probability((borders[20] + borders[21]) / 2), 6)
    made = Calibration.of_weights(
        weights,
        mode=config.mode,
        without=config.without,
        draft=SMALL,
        verifier=LARGE,
        cross_check=THIRD if strict else None,
        questions=60,
        date="2026-11-23",
        target=0.9,
        confidence=0.95,
        promised=True,
        threshold=threshold,
        quality_kept=_figure(),
        saved=_figure(),
    )
    made.write(tmp_path / "quality.json")
    config = replace(config, calibration=str(tmp_path / "quality.json"))
    ordered = [models[0], models[-1], *models[1:-1]]  # as play takes them
    played = asyncio.run(play(rows, ordered, quality=config, on_progress=lambda _: None))
    reckoned = decided([Scored(draft, weights, strict=strict) for draft in drafts], threshold)
    assert {each.accepted for each in played} == {True, False}
    assert [each.accepted for each in played] == [each.accepted for each in reckoned]
    assert [each.cost for each in played] == [each.cost for each in reckoned]


def _figure() -> Expected:
    return Expected(estimate=0.5, low=0.4, high=0.6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*PAIR, "--mode", "strict"), "belong together"),
        ((*PAIR, "--cross-check", THIRD), "belong together"),
        ((*PAIR, "--mode", "strict", "--cross-check", SMALL), "must be different"),
        ((*PAIR, "--without", "astrology"), "there is no check astrology"),
        ((*PAIR, "--target", "1"), "--target must lie in"),
        ((*PAIR, "--confidence", "0.2"), "--confidence must lie in"),
        ((*PAIR, "--plot", "x.png"), ".svg, .csv, .json"),
        (("--draft", "nobody", "--verifier", LARGE), "holds no model 'nobody'"),
    ],
)
def test_what_cannot_be_tuned_is_said(
    log: Path, options: tuple[str, ...], words: str, answered: Answered
) -> None:
    assert words in answered("tune", str(log), *options, exit_code=2)["error"]["message"]


def test_the_plot_and_the_files_are_written(log: Path, tmp_path: Path, call: Call) -> None:
    curve, picture = tmp_path / "curve.csv", tmp_path / "curve.svg"
    files = ("--plot", "terminal", "--plot", str(curve), "--plot", str(picture))
    result = call("tune", str(log), *PAIR, "--target", "0.9", *files)
    assert "cost saved across" in result.stdout
    assert "Promised" in result.stdout
    assert curve.read_text().startswith("threshold,accepted,accuracy,saved,promised\n")
    assert picture.read_text().startswith("<svg")


# The promise


def exactly(tally: Tally, target: float, rate: float) -> float:
    """The probability of at least as good a tally, by every pair of counts, at a rate of gains."""
    total = tally.right + tally.wrong
    odds = tally.wrong / tally.right
    loss = 1 - target + odds * rate
    worth = tally.losses - tally.gains

    def share(count: int, hits: int, chance: float) -> float:
        return comb(count, hits) * chance**hits * (1 - chance) ** (count - hits)

    assert total
    return sum(
        share(tally.right, losses, loss) * share(tally.wrong, gains, rate)
        for losses, gains in product(range(tally.right + 1), range(tally.wrong + 1))
        if losses - gains <= worth
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(5, 60), st.integers(0, 12), st.data(), st.sampled_from([0.6, 0.8, 0.9, 0.95])
)  # fmt: skip
def test_nothing_is_promised_that_chance_alone_would_often_give(
    right: int, wrong: int, data: st.DataObject, target: float
) -> None:
    losses = data.draw(st.integers(0, right))
    gains = data.draw(st.integers(0, wrong))
    tally = Tally(right=right, wrong=wrong, losses=losses, gains=gains)
    if keeps(tally, target, 0.05):
        # At the rate of gains that is seen, were the target missed by a hair.
        assert exactly(tally, target, gains / wrong if wrong else 0.0) <= 0.05
        assert losses - gains <= (1 - target) * right


def test_more_losses_are_never_better_and_more_gains_never_worse() -> None:
    def kept(losses: int, gains: int) -> bool:
        tally = Tally(right=300, wrong=60, losses=losses, gains=gains)
        return keeps(tally, 0.95, 0.01)

    for gains in (0, 10, 20):
        verdicts = [kept(losses, gains) for losses in range(40)]
        assert verdicts == sorted(verdicts, reverse=True)
        assert verdicts[0] is True
        assert verdicts[-1] is False
    assert sum(kept(losses, 20) for losses in range(40)) > sum(
        kept(losses, 0) for losses in range(40)
    )


@pytest.mark.parametrize("target", [0.9, 0.97, 0.99])
def test_the_questions_that_are_needed_are_the_fewest_that_show_it(target: float) -> None:
    level = level_of(0.95)
    needed = questions_needed(target, level)
    for count, shown in ((needed, True), (needed - 1, False)):
        assert keeps(Tally(right=count, wrong=0, losses=0, gains=0), target, level) is shown


def test_large_logs_are_reckoned_without_underflow() -> None:
    tally = Tally(right=95_000, wrong=5_000, losses=2_000, gains=200)
    assert keeps(tally, 0.97, 0.01) is True
    assert keeps(tally, 0.99, 0.01) is False


def made_up(count: int, seed: int, *, loss: float) -> list[LoggedDraft]:
    """Drafts whose score knows nothing: each is lost, gained or neither by the same chance."""
    draw = random.Random(seed)
    drafts = []
    for index in range(count):
        verifier = draw.random() < 0.9
        good = draw.random() >= loss if verifier else draw.random() < 0.2
        judged = JudgedDraft(
            group=str(index), log_odds=draw.uniform(-4, 7.9), features=(), agrees=None, good=good
        )
        drafts.append(
            LoggedDraft(
                judged=judged, rejected=False, verifier_right=verifier,
                draft_cost=1, verifier_cost=20,
            )
        )  # fmt: skip
    return drafts


def test_a_promise_that_the_truth_breaks_is_rare() -> None:
    """Accepting a share of these drafts keeps 1 - 0.12 * share + gains: known, for 200 logs."""
    blank = Weights(intercept=0.0, text=1.0, features=())
    promised = broken = 0
    for seed in range(200):
        drafts = made_up(250, seed, loss=0.12)
        tuned = choose(
            [Scored(draft, blank, strict=False) for draft in drafts], target=0.93, confidence=0.95
        )
        if tuned.promised:
            share = (7.9 - max(-4.0, min(7.9, logit(tuned.threshold)))) / 11.9
            truth = 1 + share * (-0.12 + 0.2 * 0.1 / 0.9)
            promised += 1
            broken += truth < 0.93
    assert promised > 150
    assert broken / 200 <= level_of(0.95) + 0.01
