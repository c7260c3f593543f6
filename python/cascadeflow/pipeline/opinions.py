"""Asks models for second opinions on a draft, on the request's own money.

What was held for the plan stays the plan's: a second opinion is held beside it, and where no budget
has the money for it nobody is asked, which the quality report says.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import (
    BudgetExceededError,
    InvalidRequestError,
    UnknownPriceError,
)
from cascadeflow.models.catalogue import cheapest_first, lookup
from cascadeflow.models.expected_cost import expect_call, input_size
from cascadeflow.models.families import family_of
from cascadeflow.models.worst_case import worst_case
from cascadeflow.pipeline.beside import UNASKED, ask_beside
from cascadeflow.pipeline.limits import capped_extra, thinking_tokens
from cascadeflow.quality.opinions import NotAskedError
from cascadeflow.quality.rubric import FORM, OUTPUT_TOKENS, grading
from cascadeflow.types import ChatRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cascadeflow.config import QualityConfig
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.expected_cost import ExpectedCall, OutputLengths
    from cascadeflow.pipeline.cascade import Role
    from cascadeflow.pipeline.purse import Tab
    from cascadeflow.pipeline.request import Request
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call
    from cascadeflow.types import Message

__all__ = ["RequestAdviser", "expect_opinion"]

_LONGEST: Final = timedelta(hours=1)

_THINKING: Final = 16
"""How many times the output a judge gets that thinks before it answers: it thinks inside it."""

_GRADE_OUTPUT: Final = 100
"""Tokens that a fault in one sentence and a grade are expected to take."""


class RequestAdviser:
    """Asks models about one draft; see `quality.opinions.Adviser`."""

    def __init__(self, run: Run, draft: Call) -> None:
        """Begins with nobody asked; only models that the request may use are."""
        self._run = run
        self._draft = draft
        self._deadline = run.quality.check_timeout
        self._compared: set[str] = set()

    async def answer(self, wanted: bool | str) -> tuple[str, Completion]:  # noqa: FBT001
        """See `Adviser.answer`."""
        model = _answerer(self._run.plan, self._draft.model, wanted, at=self._run.created)
        if model.id in self._compared:  # under its other name
            raise NotAskedError(f"{model.id} was asked already: it has one vote")
        self._compared.add(model.id)
        chat = replace(self._run.chat_for(model), stream=False)
        return model.id, await self._asked(model, "cross_check", chat)

    async def sample(self, count: int, temperature: float) -> Sequence[Completion]:
        """See `Adviser.sample`."""
        model = self._draft.model
        facts = lookup(model.provider, model.name)
        chat = replace(self._draft.request, stream=False)
        if facts is None or facts.can("sampling") is not False:
            chat = replace(chat, temperature=temperature, seed=None)
        run, begin = self._run, len(self._run.tried)
        asked = await asyncio.gather(
            *[self._asked(model, "sample", chat) for _ in range(count)], return_exceptions=True
        )
        # Side by side they are waited for once: for the one that came last.
        run.tried[begin:-1] = [replace(each, ahead_ms=0.0) for each in run.tried[begin:-1]]
        came = [each for each in asked if not isinstance(each, BaseException)]
        for each in asked:
            if isinstance(each, BaseException) and not isinstance(each, NotAskedError):
                raise each
        if not came:
            raise next(each for each in asked if isinstance(each, NotAskedError))
        return came

    async def judge(
        self,
        wanted: bool | str,  # noqa: FBT001
        messages: tuple[Message, ...],
    ) -> tuple[str, Completion]:
        """See `Adviser.judge`."""
        model = _judge_of(self._run.plan, wanted)
        facts = lookup(model.provider, model.name)
        # Where the catalogue knows the model but not that it takes a schema, it may refuse one.
        structured = facts is None or facts.can("structured_output") is True
        sampled = facts is None or facts.can("sampling") is not False
        chat = ChatRequest(
            model=model.name, messages=messages, response_format=FORM if structured else None
        )
        thinks = thinking_tokens(chat, model)  # what its own settings let it think
        most = thinks + OUTPUT_TOKENS * (_THINKING if _reasons(model) else 1)
        chat = replace(
            chat,
            max_tokens=most,
            temperature=0.0 if sampled and not thinks and not _reasons(model) else None,
            extra=capped_extra(chat.extra, model, most),
        )
        return model.id, await self._asked(model, "judge", chat)

    # How

    async def _asked(self, model: ModelConfig, role: Role, chat: ChatRequest) -> Completion:
        if self._run.out_of_time():
            raise NotAskedError("the request's time is up")
        try:
            tab = await self._tab(model, role, chat)
            call = await ask_beside(self._run, model, role, chat, tab=tab, deadline=self._deadline)
        except NotAskedError:
            raise
        except BudgetExceededError:  # its text may say how others' budgets stand
            raise NotAskedError(f"no budget has the money to ask {model.id}") from None
        except UNASKED as error:
            raise NotAskedError(f"{model.id} was not asked: {error}") from error
        except Exception as error:  # a completer or a store of one's own may raise anything
            raise NotAskedError(f"{model.id} did not answer: {type(error).__name__}") from error
        return call.reply.completion

    async def _tab(self, model: ModelConfig, role: Role, chat: ChatRequest) -> Tab | None:
        """Holds what asking can cost.

        Raises:
            NotAskedError: the budgets have not as much left.
            CascadeFlowError: nobody can say what it costs at most.
        """
        run = self._run
        if run.purse is None or run.reckoner is None:
            return None
        most = (
            self._judging(model, chat)
            if role == "judge"
            else run.reckoner.worst(model, run.output_cap)
        )
        tab = await run.purse.cover_beside(model, role, most)
        if tab is None:
            raise NotAskedError(f"no budget has the money to ask {model.id}")
        return tab

    def _judging(self, model: ModelConfig, chat: ChatRequest) -> int:
        """The most that a judge can cost: it is asked something else than the request."""
        run = self._run
        left = run.left()
        try:
            return worst_case(
                model,
                chat,
                output_tokens=chat.max_tokens or 0,
                at=run.created,
                until=run.created + (_LONGEST if left is None else timedelta(seconds=left)),
                extra=run.max_extra_cost,
            ).nanodollars
        except (InvalidRequestError, UnknownPriceError):
            if run.enforces:
                raise
            if run.reckoner is not None:
                run.reckoner.unknown.add(model.id)
            return 0


# Who


def _named(plan: Plan, name: str) -> ModelConfig:
    line = {model.id: model for model in (*plan.drafters, *plan.verifiers, *plan.fallbacks)}
    found = [model for model in line.values() if name in {model.id, model.name}]
    if len(found) != 1:
        which = "several of the request's models are" if found else "no model of the request is"
        raise NotAskedError(f"{which} called {name!r}")
    return found[0]


def _answerer(
    plan: Plan,
    drafter: ModelConfig,
    wanted: bool | str,  # noqa: FBT001 - as configured
    *,
    at: datetime,
) -> ModelConfig:
    """Who answers the request too."""
    if isinstance(wanted, str):
        model = _named(plan, wanted)
        if model.id == drafter.id:
            raise NotAskedError(f"{model.id} drafted: its own answer is no second opinion")
        return model
    family = family_of(drafter)
    # Fallbacks are for when all others have failed, unless they are named.
    line = {model.id: model for model in (*plan.drafters, *plan.verifiers)}
    others = [model for model in line.values() if family_of(model) != family]
    # The verifier's own answer is what is to be saved.
    cheaper = [model for model in others if model.id != plan.verifiers[0].id]
    if not cheaper:
        raise NotAskedError(
            f"no model of another family than {family} is among the request's, the verifier "
            "apart: add a cheap one, or set cross_check=False"
        )
    return cheapest_first(cheaper, at=at)[0]


def _judge_of(plan: Plan, wanted: bool | str) -> ModelConfig:  # noqa: FBT001 - as configured
    return _named(plan, wanted) if isinstance(wanted, str) else plan.verifiers[0]


def _reasons(model: ModelConfig) -> bool:
    facts = lookup(model.provider, model.name)
    return facts is not None and facts.can("reasoning") is True


# At what cost


def expect_opinion(
    plan: Plan, request: Request, quality: QualityConfig, lengths: OutputLengths, *, at: datetime
) -> int | ExpectedCall:
    """Says what the first second opinion on a plan's draft is expected to cost.

    Those after it are asked only where that one settles nothing, which nobody knows beforehand.

    Args:
        plan: what would be done; it drafts.
        request: what is asked.
        quality: who is asked for second opinions.
        lengths: how much models write.
        at: the moment whose prices hold.

    Returns:
        The call; 0 where nobody can be asked.
    """
    drafter, level = plan.drafters[0], plan.complexity
    for wanted in quality.cross_checks:
        try:
            other = _answerer(plan, drafter, wanted, at=at)
        except NotAskedError:
            continue  # the next one is the first
        else:
            size = input_size(request)
            return expect_call(request, other, level=level, size=size, lengths=lengths, at=at)
    if quality.samples:
        size = input_size(request)
        one = expect_call(request, drafter, level=level, size=size, lengths=lengths, at=at)
        each = one.nanodollars
        return replace(one, nanodollars=None if each is None else each * quality.samples)
    if not quality.judge:
        return 0
    try:
        model = _judge_of(plan, quality.judge)
    except NotAskedError:
        return 0
    chat = ChatRequest(model=model.name, messages=grading(request.messages, "", quality.rubric))
    size = input_size(chat)
    return expect_call(
        chat,
        model,
        level=level,
        size=replace(size, texts=size.texts + round(lengths.expect(level, drafter))),
        lengths=lengths,
        at=at,
        most_output=OUTPUT_TOKENS * _THINKING if _reasons(model) else _GRADE_OUTPUT,
    )
