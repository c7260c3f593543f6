"""Running recorded answers through the pipeline that serves live requests, over loopback HTTP."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from cascadeflow.cli.replay.statistics import Baseline, Outcome, saved_fraction
from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.usage import Usage
from cascadeflow.money import from_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from cascadeflow.cli.replay.formats import ReplayRow
    from cascadeflow.cli.replay.pricing import PricedModel
    from cascadeflow.config import QualityConfig
    from cascadeflow.pipeline.result import CascadeResult

__all__ = ["always", "play"]

_CONCURRENCY = 16
"""Requests at once; what comes out does not depend on it."""

_PATIENCE = 600.0
"""The seconds that a check may take, the most that a configuration can give it.

So many requests at once share the models on this machine, and where it is busy with other things
too, checks would run out of a live request's time: the figures would tell of the machine.
"""


def always(
    rows: Sequence[ReplayRow], model: PricedModel, *, verifier: PricedModel
) -> Baseline | None:
    """What one recorded model scores that answers everything alone, nobody asked beside it.

    `None` where not all of its answers are marked: then nobody knows.

    Args:
        rows: questions that both models answered.
        model: who answers.
        verifier: whose cost `saved` is a share of.

    Raises:
        UnknownPriceError: a model's price has no such rate.
    """
    if any(row.answers[model.name].correct is None for row in rows):
        return None
    costs = [
        sum(
            each.price.cost(
                Usage(
                    input_tokens=row.answers[each.name].input_tokens,
                    output_tokens=row.answers[each.name].output_tokens,
                )
            )
            for row in rows
        )
        for each in (model, verifier)
    ]
    return Baseline(
        accuracy=sum(row.answers[model.name].right for row in rows) / len(rows),
        saved=saved_fraction(*costs),
    )


async def play(
    rows: Sequence[ReplayRow],
    models: Sequence[PricedModel],
    *,
    quality: QualityConfig,
    on_progress: Callable[[int], None],
) -> list[Outcome]:
    """Answers each row's question in a cascade, and once more by the verifier alone.

    Every question is drafted, however hard it looks: what is measured is the judging of drafts.

    Args:
        rows: questions that all models answered.
        models: the drafting model, the verifying one, and in mode `strict` the one whose answers
            the drafts are compared with.
        quality: how drafts are judged; their checks get all the time that they take.
        on_progress: called with how many of the `2 * len(rows)` requests have ended.

    Raises:
        CascadeFlowError: a request failed; none may, for every answer is recorded.
    """
    outcomes: list[Outcome] = []

    def report(done: int) -> None:
        on_progress(2 * len(outcomes) + done)

    quality = replace(quality, check_timeout=_PATIENCE)
    for part in _without_repeats(rows):
        outcomes += await _play(part, models, quality=quality, on_progress=report)
    return outcomes


async def _play(
    rows: Sequence[ReplayRow],
    models: Sequence[PricedModel],
    *,
    quality: QualityConfig,
    on_progress: Callable[[int], None],
) -> list[Outcome]:
    from cascadeflow.agent import CascadeAgent  # noqa: PLC0415
    from cascadeflow.testing.recorded import RecordedAnswer, RecordedAnswersProvider  # noqa: PLC0415

    answers = {
        (model.name, row.question): RecordedAnswer(
            text=row.answers[model.name].output,
            output_tokens=row.answers[model.name].output_tokens,
            prompt_tokens=row.answers[model.name].input_tokens,
            finish=row.answers[model.name].finish_reason,
        )
        for row in rows
        for model in models
    }
    questions = [row.question for row in rows]
    async with RecordedAnswersProvider(answers, keep_requests=0) as server:
        draft, verifier, *others = models
        # Drafts come from the first and are verified by the last; the others stand by.
        agent = CascadeAgent(
            [each.config(server.url) for each in (draft, *others, verifier)],
            quality,
            order="given",
            draft_up_to="expert",
        )
        async with agent:
            cascaded = await agent.run_batch(
                questions,
                concurrency=_CONCURRENCY,
                stop_on_error=True,
                on_progress=lambda progress: on_progress(progress.done),
            )
            alone = await agent.run_batch(
                questions,
                concurrency=_CONCURRENCY,
                stop_on_error=True,
                force_direct=True,
                on_progress=lambda progress: on_progress(len(questions) + progress.done),
            )
    return [
        _outcome(row, draft, verifier, result, direct)
        for row, result, direct in zip(rows, cascaded, alone, strict=True)
        if result is not None and direct is not None
    ]


def _outcome(
    row: ReplayRow,
    draft: PricedModel,
    verifier: PricedModel,
    result: CascadeResult,
    alone: CascadeResult,
) -> Outcome:
    return Outcome(
        draft_correct=row.answers[draft.name].right,
        verifier_correct=row.answers[verifier.name].right,
        draft_cost=_nanodollars(result.cost.draft, row),
        verifier_cost=_nanodollars(alone.cost.total, row),
        accepted=result.quality.accepted is True,
        score=result.quality.score,
        cost=_nanodollars(result.cost.total, row),
        not_run=any(check.verdict == "error" for check in result.quality.checks),
    )


def _nanodollars(cost: Decimal | None, row: ReplayRow) -> int:
    if cost is None:
        raise InvalidRequestError(f"the cost of {row.id} is not known: its price has no such rate")
    return from_usd(cost)


def _without_repeats(rows: Sequence[ReplayRow]) -> list[list[ReplayRow]]:
    """Parts in which no question comes twice: a recorded answer is found by its question."""
    seen: Counter[str] = Counter()
    parts: list[list[ReplayRow]] = []
    for row in rows:
        turn = seen[row.question]
        seen[row.question] += 1
        if turn == len(parts):
            parts.append([])
        parts[turn].append(row)
    return parts
