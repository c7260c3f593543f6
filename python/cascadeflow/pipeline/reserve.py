"""The third station: money is held before anything is sent, or the plan is lowered until it fits.

What is held is the worst case: each planned call's input at its upper bound, its output at the
`max_tokens` it is sent, at the dearest price that may apply. Mode `warn` holds in order to count,
and runs all the same; `block` raises; `degrade` walks down a ladder of cheaper ways first:

1. the plan, unless an account has reached `degrade_at` and there is a cheaper one;
2. the cheapest model that has a price, asked directly; the next one where its own budget is spent;
3. the same with fewer output tokens, not under `min_output`;
4. the answer to an exact repeat, from the cache;
5. a model that costs nothing.

`model=` pins the model: then only its output can shrink.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import (
    BudgetExceededError,
    CascadeFlowError,
    InvalidRequestError,
    UnknownPriceError,
)
from cascadeflow.models.catalogue import lookup
from cascadeflow.models.worst_case import affordable_output, worst_case
from cascadeflow.pipeline.limits import stated_limit, thinking_tokens
from cascadeflow.pipeline.purse import Purse

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.budgets.reservation import Reservation
    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.worst_case import Counts
    from cascadeflow.pipeline.result import BudgetAction
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.types import ChatRequest

__all__ = ["Reckoner", "reserve", "reserve_step"]

# A request without a time-out of its own ends at the completer's: by then prices may have changed.
_LONGEST: Final = timedelta(hours=1)

_TRIES: Final = 16
"""How often the output is lowered again because another account has even less left."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One rung of the ladder."""

    plan: Plan
    action: BudgetAction
    output: int | None = None
    """The largest `max_tokens` on this rung; `None` leaves it."""


async def reserve(run: Run, tracker: CostTracker, *, tentative: bool = False) -> None:
    """Holds the money of a run, and lowers its plan where the budget says so.

    Afterwards `run.purse`, `run.plan`, `run.output_cap` … and `run.budget_action` stand; with
    `run.cached` set, the answer is that one and nothing may be asked.

    Args:
        run: whose money.
        tracker: who holds it.
        tentative: a refusal is not the last word: it alerts nobody, which is the caller's to do.

    Raises:
        BudgetExceededError: the request does not fit, in any way that its mode allows.
        UnknownPriceError: the mode enforces, and a model's price is not known.
        InvalidRequestError: the mode enforces, and nobody can say what the request costs at most.
        StoreError: the budget's store cannot be written.
    """
    reckoner = run.reckoner = Reckoner(run, tracker)
    if tracker.mode == "degrade" and run.enforces:
        try:
            await _descend(run, tracker, reckoner)
        except BudgetExceededError as error:
            if not tentative:
                tracker.announce(error)
            raise
    else:
        await _fill(run, tracker, reckoner, _Step(run.plan, "none"), tentative=tentative)


async def _descend(run: Run, tracker: CostTracker, reckoner: Reckoner) -> None:
    """Takes the first rung of the ladder that fits."""
    plan = run.plan
    cheaper = [] if run.pinned else reckoner.alone(plan, free=False)
    free = [] if run.pinned else reckoner.alone(plan, free=True)
    state = await tracker.prepare(run.spender, [model.id for model in _first(plan)])
    tight = state in {"degraded", "exhausted"} and bool(cheaper or free)
    whole = _Step(plan, "none")
    refusals: list[BudgetExceededError] = []
    if not tight and await _fits(run, tracker, reckoner, whole, refusals):
        return
    refused = []
    for lower in cheaper:
        if await _fits(run, tracker, reckoner, _Step(lower, "cheaper_plan"), refusals):
            return
        refused.append((lower, refusals[-1]))
        if refusals[-1].scope != "model":
            break  # where every model is counted, a dearer one does not fit either
    else:
        # The budgets of the cheaper models are spent, and of those only.
        if tight and cheaper and await _fits(run, tracker, reckoner, whole, refusals):
            return
    if not refused and refusals and not plan.drafters:
        refused = [(plan, refusals[-1])]
    for smaller, refusal in refused:
        if await _shrinks(run, tracker, reckoner, smaller, refusal=refusal, refusals=refusals):
            return
    recall = run.engine.recall
    if recall is not None:
        run.cached = await recall.look_up(run)
    if run.cached is not None:
        run.budget_action = "cache"
        return
    if free:
        await _fill(run, tracker, reckoner, _Step(free[0], "free_model"))
        return
    # Whoever can wait for one of them is told so, and of the least that it takes.
    raise next((r for r in reversed(refusals) if not r.permanent), refusals[-1])


def _first(plan: Plan) -> list[ModelConfig]:
    """Who is asked if nobody fails."""
    return [*plan.drafters[:1], plan.verifiers[0]]


async def _shrinks(
    run: Run,
    tracker: CostTracker,
    reckoner: Reckoner,
    plan: Plan,
    *,
    refusal: BudgetExceededError,
    refusals: list[BudgetExceededError],
) -> bool:
    """Lowers the output of a plan of one model until every account can pay for it."""
    model = plan.verifiers[0]
    output = reckoner.output(model, None)
    floor = reckoner.floor(model)
    for last in (*[False] * _TRIES, True):
        # The floor is tried though it does not fit: that refusal says what it takes at least.
        lower = floor if last else max(floor, min(output - 1, reckoner.affordable(model, refusal)))
        if lower >= output:
            return False
        step = _Step(plan, "smaller_max_tokens", lower)
        if await _fits(run, tracker, reckoner, step, refusals):
            return True
        output, refusal = lower, refusals[-1]
    return False


async def _fits(
    run: Run,
    tracker: CostTracker,
    reckoner: Reckoner,
    step: _Step,
    refusals: list[BudgetExceededError],
) -> bool:
    """Tries one rung; a refusal is noted."""
    try:
        await _fill(run, tracker, reckoner, step)
    except BudgetExceededError as error:
        refusals.append(error)
        return False
    return True


async def _fill(
    run: Run, tracker: CostTracker, reckoner: Reckoner, step: _Step, *, tentative: bool = False
) -> None:
    """Holds what a rung can cost, and makes its plan the run's."""
    plan = step.plan
    planned = {model.id: reckoner.worst(model, step.output) for model in _first(plan)}
    try:
        reservation = await _hold(run, tracker, planned, tentative=tentative)
    except InvalidRequestError:
        if run.enforces:
            raise
        # More than can be counted. What only warns lets it through all the same.
        reckoner.unknown.update(planned)
        planned = dict.fromkeys(planned, 0)
        reservation = await _hold(run, tracker, planned)
    if tentative:
        reservation.confirm()
    run.plan = plan
    run.budget_action = step.action
    run.output_default, run.output_cap = reckoner.default_output, step.output
    run.purse = Purse(
        reservation,
        worst=lambda model: reckoner.worst(model, step.output),
        planned=planned,
        budgeted_models=tracker.budgeted_models,
        unknown=reckoner.unknown,
        enforced=run.enforces,
    )


async def reserve_step(run: Run, plan: Plan) -> Plan | None:
    """Holds what the next step of a tool loop can cost, beside what its request has cost so far.

    Args:
        run: the run; its request has the tools' results.
        plan: what would be done next.

    Returns:
        What the budget pays for: the plan, or in mode `degrade` a cheaper one; `None` for nothing.
    """
    purse, reckoner, tracker = run.purse, run.reckoner, run.tracker
    if purse is None or reckoner is None or tracker is None:
        return plan
    plans: list[tuple[Plan, BudgetAction]] = [(plan, run.budget_action)]
    if tracker.mode == "degrade" and not run.pinned:
        plans += [(each, "cheaper_plan") for each in reckoner.alone(plan, free=False)]
        plans += [(each, "free_model") for each in reckoner.alone(plan, free=True)]
    for each, action in plans:
        try:
            planned = {m.id: reckoner.worst(m, run.output_cap) for m in _first(each)}
            if await purse.promise(planned):
                run.budget_action = action
                return each
        except (InvalidRequestError, UnknownPriceError):
            continue  # nobody can say what it costs at most
    return None


async def _hold(
    run: Run, tracker: CostTracker, planned: dict[str, int], *, tentative: bool = False
) -> Reservation:
    return await tracker.reserve(
        run.spender,
        list(planned.items()),
        request_id=run.request_id,
        at=run.created,
        force=not run.enforces,
        tentative=tentative or tracker.mode == "degrade",  # a lower rung may follow
    )


class Reckoner:
    """Says what each model's call of one request can cost at most."""

    def __init__(self, run: Run, tracker: CostTracker) -> None:
        self._run = run
        self._tracker = tracker
        self._at: datetime = run.created
        left = run.left()
        self._until = run.created + (_LONGEST if left is None else timedelta(seconds=left))
        self._request = run.request
        self._worst: dict[tuple[str, int | None], int] = {}
        self._counts: Counts = {}
        self.unknown: set[str] = set()
        """Models whose calls nobody can say the most of; only where nothing is enforced."""
        self.default_output: int | None = tracker.default_max_output if run.enforces else None

    def output(self, model: ModelConfig, cap: int | None) -> int:
        """The output tokens a model's call is reckoned with: what it is sent, when one is."""
        run = self._run
        limit = run.output_limit(model, self.default_output, cap)
        if limit is None:
            limit = stated_limit(run.request, model)
        if limit is not None:
            return limit
        facts = lookup(model.provider, model.name)
        known = None if facts is None else facts.max_output_tokens
        return min(known or self._tracker.default_max_output, self._tracker.default_max_output)

    def worst(self, model: ModelConfig, cap: int | None) -> int:
        """The most one call can cost, in nanodollars.

        In a mode that only warns, what nobody can say is 0.
        """
        if self._run.request is not self._request:  # tools have answered since
            self._request = self._run.request
            self._worst.clear()
            self._counts.clear()
        found = self._worst.get((model.id, cap))
        if found is None:
            try:
                found = worst_case(
                    model,
                    self._chat(model),
                    output_tokens=self.output(model, cap),
                    at=self._at,
                    until=self._until,
                    extra=self._run.max_extra_cost,
                    counts=self._counts,
                ).nanodollars
            except (InvalidRequestError, UnknownPriceError):
                if self._run.enforces:
                    raise
                self.unknown.add(model.id)
                found = 0
            self._worst[model.id, cap] = found
        return found

    def _chat(self, model: ModelConfig) -> ChatRequest:
        return self._run.request.for_model(model, max_tokens=None)

    def alone(self, plan: Plan, *, free: bool) -> list[Plan]:
        """The ways below a plan: each of its models alone, the cheapest first.

        Args:
            plan: what is too dear.
            free: the models that cost nothing; otherwise those that have a price.
        """
        costs = {}
        for model in plan.verifiers:
            try:
                costs[model.id] = self.worst(model, None)
            except CascadeFlowError:
                continue  # what it costs cannot be said: it is no cheaper way
        able = [m for m in plan.verifiers if m.id in costs and (costs[m.id] == 0) == free]
        line = sorted(able, key=lambda model: costs[model.id])
        most = None if plan.drafters else costs.get(plan.verifiers[0].id)
        why = "it costs nothing" if free else "the budget is short: a cheaper model alone"
        return [
            replace(
                plan,
                route="direct",
                reason=why,
                drafters=(),
                verifiers=(model, *[other for other in line if other is not model]),
            )
            for model in line
            if most is None or costs[model.id] < most
        ]

    def floor(self, model: ModelConfig) -> int:
        """The fewest output tokens that a model's call may be lowered to."""
        return self._tracker.min_output + thinking_tokens(self._run.request, model)

    def affordable(self, model: ModelConfig, refusal: BudgetExceededError) -> int:
        """The output tokens that the account which refused a model's call can pay for."""
        left = int((refusal.limit - refusal.spent - refusal.held).scaleb(9))
        if left <= 0:
            return 0
        output = affordable_output(
            model,
            self._chat(model),
            left,
            at=self._at,
            until=self._until,
            extra=self._run.max_extra_cost,
            counts=self._counts,
        )
        return output or 0
