"""Playing the demo: each question in the cascade, and outside its bill by each model alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cascadeflow.money import from_usd

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from decimal import Decimal

    from cascadeflow.agent import CascadeAgent
    from cascadeflow.cli.demo.cast import Cast
    from cascadeflow.cli.demo.questions import Question
    from cascadeflow.pipeline.events import Event
    from cascadeflow.pipeline.result import CascadeResult

__all__ = ["Answer", "play"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question's way through the demo. Costs are in nanodollars, `None` when unknown.

    Attributes:
        question: what was asked.
        result: what the cascade served, and the proof of how it was come by.
        draft: the drafting model's answer, whether or not it was served; `None` when the demo's
            time for drafts was up, and the question went to the verifier at once.
        verifier: the verifier's answer, asked once more for comparison.
        cost: what the cascade was billed.
        draft_cost: what the drafting model alone costs; 0 without a draft.
        verifier_cost: what the verifier alone costs.
    """

    question: Question
    result: CascadeResult
    draft: str | None
    verifier: str
    cost: int | None
    draft_cost: int | None
    verifier_cost: int | None

    @property
    def right(self) -> bool:
        """Whether the answer that was served is right."""
        return self.question.check.holds(self.result.content)

    @property
    def draft_right(self) -> bool:
        """Whether there is a draft and it is right."""
        return self.draft is not None and self.question.check.holds(self.draft)

    @property
    def verifier_right(self) -> bool:
        """Whether the verifier's answer is right."""
        return self.question.check.holds(self.verifier)

    @property
    def saved(self) -> int | None:
        """Nanodollars that asking the verifier alone would have cost more."""
        if self.cost is None or self.verifier_cost is None:
            return None
        return self.verifier_cost - self.cost


async def play(
    questions: Sequence[Question], cast: Cast, *, patience: float | None
) -> AsyncGenerator[Answer]:
    """Answers the questions one by one.

    What each model scores alone is measured, outside of the cascade's bill: the verifier is asked
    every question once more; the draft is the one that was made, or, where the cascade made none,
    is asked for.

    Args:
        questions: what is asked.
        cast: who answers.
        patience: seconds after which no more drafts are made, so that a busy machine, on which the
            local model crawls, ends the demo all the same; `None` drafts to the end.

    Raises:
        CascadeFlowError: a question had no answer.
    """
    from cascadeflow.agent import CascadeAgent  # noqa: PLC0415
    from cascadeflow.pipeline.events import CallFinished  # noqa: PLC0415

    started = time.monotonic()
    drafts: list[CallFinished] = []

    def note_draft(event: Event) -> None:
        if isinstance(event, CallFinished) and event.role == "draft":
            drafts.append(event)

    models = (cast.draft.model, cast.verifier.model)
    async with CascadeAgent(models, order="given", on_event=note_draft) as agent:
        for question in questions:
            # Alone first: what is loaded on the first request is no request's overhead.
            verifier, verifier_cost = await _alone(agent, question, cast.verifier.model.id)
            drafts.clear()
            late = patience is not None and time.monotonic() - started > patience
            result = await agent.run(question.prompt, force_direct=late)
            draft: str | None = None
            draft_cost: int | None = 0
            if drafts:
                draft, draft_cost = drafts[0].completion.text, drafts[0].cost
            elif not late:
                draft, draft_cost = await _alone(agent, question, cast.draft.model.id)
            yield Answer(
                question=question,
                result=result,
                draft=draft,
                verifier=verifier,
                cost=_nanodollars(result.cost.total),
                draft_cost=draft_cost,
                verifier_cost=verifier_cost,
            )


async def _alone(agent: CascadeAgent, question: Question, model: str) -> tuple[str, int | None]:
    result = await agent.run(question.prompt, model=model)
    return result.content, _nanodollars(result.cost.total)


def _nanodollars(amount: Decimal | None) -> int | None:
    return None if amount is None else from_usd(amount)
