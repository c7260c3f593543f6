"""Running recorded answers through the pipeline: what comes out is not the machine's doing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow
from cascadeflow.cli.replay.play import play
from cascadeflow.cli.replay.pricing import priced_model
from cascadeflow.config import QualityConfig

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
