"""Running recorded answers through the pipeline: what comes out is not the machine's doing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow
from cascadeflow.cli.replay.play import play
from cascadeflow.cli.replay.pricing import priced_model
from cascadeflow.config import LOCAL_CHECKS, QualityConfig

MODELS = ("gpt-4o-mini", "claude-3-5-sonnet-20241022", "gemini-1.5-flash")


def test_no_check_runs_out_of_the_time_of_a_live_request() -> None:
    said = RecordedAnswer(output="The answer is 4.", correct=True, input_tokens=9, output_tokens=5)
    row = ReplayRow(id="a", question="What is 2 + 2?", answers=dict.fromkeys(MODELS, said))
    models = [priced_model(name, "1,1", at=datetime.now(UTC)) for name in MODELS]
    # Within a nanosecond nobody can be asked, and where nobody was heard nothing is accepted.
    hasty = QualityConfig.strict(cross_check=MODELS[2], judge=False, check_timeout=1e-9)
    (outcome,) = asyncio.run(play([row], models, quality=hasty, on_progress=lambda _: None))
    assert outcome.accepted
    assert outcome.opinions_cost > 0


def test_an_opinion_that_was_cut_off_is_counted_as_not_heard() -> None:
    said = RecordedAnswer(output="The answer is 4.", correct=True, input_tokens=9, output_tokens=5)
    cut = replace(said, output="Let me", finish_reason="length")
    rows = [
        ReplayRow(id=each.output, question=f"What is 2 + 2, {each.output}?", answers=answers)
        for each in (said, cut)
        for answers in [dict.fromkeys(MODELS[:2], said) | {MODELS[2]: each}]
    ]
    models = [priced_model(name, "1,1", at=datetime.now(UTC)) for name in MODELS]
    config = QualityConfig.strict(cross_check=MODELS[2], judge=False, without=LOCAL_CHECKS)
    heard, unheard = asyncio.run(play(rows, models, quality=config, on_progress=lambda _: None))
    assert (heard.not_run, heard.accepted) == (False, True)
    assert (unheard.not_run, unheard.accepted) == (True, False)
