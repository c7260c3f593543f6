"""`cascadeflow tune` where models on this machine judge: what they see, and what comes of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.test_tune_command import LARGE, PAIR, SMALL, THIRD, rows_of
from tests.quality.local_models import Broken, Stranger

from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow, read_rows
from cascadeflow.cli.replay.play import play
from cascadeflow.cli.replay.pricing import priced_model
from cascadeflow.cli.tune.logged import LogJudge
from cascadeflow.cli.tune.tuning import Scored, decided, weigh
from cascadeflow.config import LOCAL_CHECKS, QualityConfig
from cascadeflow.models.embedding_files import PATH_VARIABLE
from cascadeflow.quality.calibration import Calibration, Expected
from cascadeflow.quality.evidence import probability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    from cascadeflow.cli.tune.tuning import LoggedDraft

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

BALANCED = (*PAIR, "--mode", "balanced")
OFF_QUESTION = "Bananas are yellow, and the river Seine flows through Paris towards the sea."
DOCUMENT = (
    "<document>The ferry to the island leaves the harbour at nine in the morning. It takes two "
    "hours, and a ticket costs twelve euros for adults.</document>\n"
)


def mixed(count: int) -> list[dict[str, Any]]:
    """Sums; every fifth draft is one to no question, and wrong."""
    rows = rows_of(count)
    for row in rows[::5]:
        row["models"][SMALL] |= {"output": OFF_QUESTION, "correct": False}
    return rows


def logged(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = folder / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def row_of(question: str, output: str) -> ReplayRow:
    def answer(text: str) -> RecordedAnswer:
        return RecordedAnswer(output=text, correct=True, input_tokens=20, output_tokens=9)

    return ReplayRow(
        id="one", question=question, answers={SMALL: answer(output), LARGE: answer("It is so.")}
    )


def judged(rows: Sequence[ReplayRow], embedder: Any = None, **options: Any) -> list[LoggedDraft]:
    models = [priced_model(name, None, at=datetime.now(UTC)) for name in (SMALL, LARGE)]
    judge = LogJudge(QualityConfig.balanced(), embedder)
    return asyncio.run(judge.drafts(rows, *models, **options))


@pytest.mark.usefixtures("sentence_model")
def test_a_small_log_gives_a_file_that_an_agent_judges_by(
    tmp_path: Path, answered: Answered, call: Call
) -> None:
    path, out = logged(tmp_path, mixed(60)), tmp_path / "quality.json"
    arguments = ("tune", str(path), *BALANCED, "--target", "0.6", "--out", str(out))
    found = answered(*arguments)
    assert (found["mode"], found["without"], found["not_run"]) == ("balanced", [], 0)
    assert found["promised"] is True
    made = Calibration.read(out)
    assert (made.mode, made.without, made.threshold) == ("balanced", (), found["threshold"])
    assert set(made.weights) & set(LOCAL_CHECKS)
    hint = f'written: {out}; use it with QualityConfig.balanced(calibration="{out}")'
    assert hint in call(*arguments).stdout

    rows = read_rows(path)
    models = [priced_model(name, None, at=datetime.now(UTC)) for name in (SMALL, LARGE)]
    config = QualityConfig.balanced(calibration=str(out))
    played = asyncio.run(play(rows, models, quality=config, on_progress=lambda _: None))
    off = [row.answers[SMALL].output == OFF_QUESTION for row in rows]
    assert not any(each.accepted for each, no in zip(played, off, strict=True) if no)
    accepted = [each for each, no in zip(played, off, strict=True) if not no]
    assert sum(each.accepted for each in accepted) > 0.6 * len(accepted)
    assert all((each.score or 0.0) >= made.threshold for each in played if each.accepted)


@pytest.mark.usefixtures("sentence_model")
@pytest.mark.parametrize("mode", ["balanced", "strict"])
def test_the_pipeline_then_decides_and_bills_what_was_reckoned(mode: Any, tmp_path: Path) -> None:
    """The weights in the file, over loopback HTTP, against the arithmetic of `tune`."""
    rows = read_rows(logged(tmp_path, mixed(50)))
    names = (SMALL, LARGE, THIRD)[: 3 if mode == "strict" else 2]
    models = [priced_model(name, None, at=datetime.now(UTC)) for name in names]
    config = QualityConfig(mode=mode, cross_check=THIRD, judge=False)
    drafts = asyncio.run(LogJudge(config).drafts(rows, *models))
    fitted, _ = weigh(drafts)
    # So much of each local doubt that it decides.
    weights = replace(fitted, features=(*fitted.features[:-3], -2.0, -2.0, -2.0))
    scored = [Scored(draft, weights, strict=mode == "strict") for draft in drafts]
    borders = sorted({each.accepted_up_to for each in scored})
    widest = max(range(len(borders) // 4, len(borders) - 1), key=lambda at: _gap(borders, at))
    threshold = round(probability((borders[widest] + borders[widest + 1]) / 2), 6)
    figure = Expected(estimate=0.5, low=0.4, high=0.6)
    Calibration.of_weights(
        weights,
        mode=mode,
        draft=SMALL,
        verifier=LARGE,
        cross_check=THIRD if mode == "strict" else None,
        questions=50,
        date="2026-11-23",
        target=0.9,
        confidence=0.95,
        promised=True,
        threshold=threshold,
        quality_kept=figure,
        saved=figure,
    ).write(tmp_path / "quality.json")
    config = replace(config, calibration=str(tmp_path / "quality.json"))
    played = asyncio.run(play(rows, models, quality=config, on_progress=lambda _: None))
    reckoned = decided(scored, threshold)
    assert {each.accepted for each in played} == {True, False}
    assert [each.accepted for each in played] == [each.accepted for each in reckoned]
    assert [each.cost for each in played] == [each.cost for each in reckoned]
    if mode == "balanced":
        for mine, its, draft in zip(played, reckoned, drafts, strict=True):
            if not draft.rejected:
                assert mine.score == pytest.approx(its.score, abs=1e-3)


def _gap(borders: Sequence[float], at: int) -> float:
    return borders[at + 1] - borders[at]


def test_vectors_are_made_once_a_text_however_often_it_comes() -> None:
    questions = [f"Question {index}: how many figs has Ann?" for index in range(6)]
    rows = [row_of(question, answer) for question in questions for answer in ("Nine.", "Ten.")]
    embedder, steps = Stranger(), []
    drafts = judged(
        [*rows, *rows],
        embedder,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert sorted(set(embedder.asked)) == sorted([*questions, "Nine.", "Ten."])
    assert len(embedder.asked) == len(set(embedder.asked))
    assert steps == [(done, 12) for done in range(1, 13)]
    assert drafts[:12] == drafts[12:]


def test_what_the_text_condemns_is_not_shown_to_the_models() -> None:
    embedder = Stranger()
    (draft,) = judged(
        [row_of("What is a fig?", "I'm sorry, but I can't help with that.")], embedder
    )
    assert draft.rejected is True
    assert embedder.asked == []
    assert draft.judged.features[-3:] == (0.0, 0.0, 0.0)


def test_a_draft_that_a_check_could_not_run_on_counts_as_rejected() -> None:
    (draft,) = judged([row_of("What is a fig?", "A fruit.")], Broken())
    assert (draft.rejected, draft.not_run) == (True, True)


@pytest.mark.usefixtures("sentence_model")
def test_a_document_in_the_question_is_held_to_the_draft() -> None:
    question = f"{DOCUMENT}When does the ferry leave, and what does it cost?"
    supported, made_up = judged(
        [
            row_of(question, "The ferry leaves the harbour at nine in the morning."),
            row_of(question, "Dogs of the old king slept in the southern tower every winter."),
        ]
    )
    assert (supported.rejected, made_up.rejected) == (False, True)
    assert made_up.judged.features[-2] > supported.judged.features[-2]


@pytest.mark.parametrize("mode", ["balanced", "strict"])
def test_a_missing_model_is_refused_before_the_log_is_read(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: Answered
) -> None:
    monkeypatch.setenv(PATH_VARIABLE, "/nowhere/at-all")
    third = ("--cross-check", THIRD) if mode == "strict" else ()
    options = (str(tmp_path / "none.jsonl"), *PAIR, "--mode", mode, *third)
    said = answered("tune", *options, exit_code=2)["error"]["message"]
    assert "/nowhere/at-all" in said
    assert "--without relevance --without grounding --without toxicity" in said


def test_checks_that_are_off_need_no_model_and_stand_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv(PATH_VARIABLE, "/nowhere/at-all")
    out = tmp_path / "quality.json"
    off = [option for name in LOCAL_CHECKS for option in ("--without", name)]
    path = logged(tmp_path, rows_of(40))
    said = call("tune", str(path), *BALANCED, *off, "--target", "0.6", "--out", str(out)).stdout
    assert f"without={LOCAL_CHECKS!r})" in " ".join(said.split())
    assert Calibration.read(out).without == LOCAL_CHECKS
