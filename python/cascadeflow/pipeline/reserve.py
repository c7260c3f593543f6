"""The third station: money is held before anything is sent, or the plan is lowered until it fits.

What is held is the worst case: each planned call's input at its upper bound, its output at the
`max_tokens` it is sent, at the dearest price that may apply. Mode `warn` holds in order to count,
and runs all the same; `block` raises; `degrade` walks down a ladder of cheaper ways first:

1. the plan, unless an account has reached `degrade_at` and there is a cheaper one;
2. the cheapest model that has a price, asked directly;
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

__all__ = ["reserve"]

# A request without a time-out of its own ends at the completer's: by then prices may have changed.
_LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Step:
    """One rung of the ladder."""

    plan: Plan
    action: BudgetAction
    output: int | None = None
    """The largest `max_tokens` on this rung; `None` leaves it."""


async def reserve(run: Run, tracker: CostTracker) -> None:
    """Holds the money of a run, and lowers its plan where the budget says so.

    Afterwards `run.purse`, `run.plan`, `run.output_cap` … and `run.budget_action` stand; with
    `run.cached` set, the answer is that one and nothing may be asked.

    Raises:
        BudgetExceededError: the request does not fit, in any way that its mode allows.
        UnknownPriceError: the mode enforces, and a model's price is not known.
        InvalidRequestError: the mode enforces, and nobody can say what the request costs at most.
        StoreError: the budget's store cannot be written.
    """
    reckoner = _Reckoner(run, tracker)
    if tracker.mode != "degrade":
        await _fill(run, tracker, reckoner, _Step(run.plan, "none"))
        return
    plan = run.plan
    cheaper = None if run.pinned else reckoner.cheapest(plan, free=False)
    free = None if run.pinned else reckoner.cheapest(plan, free=True)
    tight = await tracker.prepare(run.spender, [model.id for model in plan.verifiers]) in {
        "degraded",
        "exhausted",
    }
    steps = []
    if not tight or (cheaper is None and free is None):
        steps.append(_Step(plan, "none"))
    if cheaper is not None:
        steps.append(_Step(cheaper, "cheaper_plan"))
    refusals: list[BudgetExceededError] = []
    for step in steps:
        if await _fits(run, tracker, reckoner, step, refusals):
            return
    if steps:
        smaller = reckoner.smaller(steps[-1].plan, refusals[-1])
        if smaller is not None and await _fits(run, tracker, reckoner, smaller, refusals):
            return
    recall = run.engine.recall
    if recall is not None:
        run.cached = await recall.look_up(run)
    if run.cached is not None:
        run.budget_action = "cache"
        return
    if free is not None:
        await _fill(run, tracker, reckoner, _Step(free, "free_model"))
        return
    raise refusals[0]


async def _fits(
    run: Run,
    tracker: CostTracker,
    reckoner: _Reckoner,
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


async def _fill(run: Run, tracker: CostTracker, reckoner: _Reckoner, step: _Step) -> None:
    """Holds what a rung can cost, and makes its plan the run's."""
    plan = step.plan
    first = ([plan.drafters[0]] if plan.drafters else []) + [plan.verifiers[0]]
    planned = {model.id: reckoner.worst(model, step.output) for model in first}
    reservation: Reservation = await tracker.reserve(
        run.spender,
        list(planned.items()),
        request_id=run.request_id,
        at=run.created,
        force=not tracker.enforces,
    )
    run.plan = plan
    run.budget_action = step.action
    run.output_default, run.output_cap = reckoner.default_output, step.output
    run.purse = Purse(
        reservation,
        worst=lambda model: reckoner.worst(model, step.output),
        planned=planned,
        budgeted_models=tracker.budgeted_models,
        unknown=reckoner.unknown,
        enforced=tracker.enforces,
    )


class _Reckoner:
    """Says what each model's call of one request can cost at most."""

    def __init__(self, run: Run, tracker: CostTracker) -> None:
        self._run = run
        self._tracker = tracker
        self._at: datetime = run.created
        left = run.left()
        self._until = run.created + (_LONGEST if left is None else timedelta(seconds=left))
        self._worst: dict[tuple[str, int | None], int] = {}
        self._counts: Counts = {}
        self.unknown: set[str] = set()
        """Models whose calls nobody can say the most of; only where nothing is enforced."""
        self.default_output: int | None = tracker.default_max_output if tracker.enforces else None

    def output(self, model: ModelConfig, cap: int | None) -> int:
        """The output tokens a model's call is reckoned with: what it is sent, when one is."""
        run = self._run
        limit = run.output_limit(model, self.default_output, cap)
        if limit is not None:
            return limit
        facts = lookup(model.provider, model.name)
        known = None if facts is None else facts.max_output_tokens
        return min(known or self._tracker.default_max_output, self._tracker.default_max_output)

    def worst(self, model: ModelConfig, cap: int | None) -> int:
        """The most one call can cost, in nanodollars.

        In a mode that only warns, what nobody can say is 0.
        """
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
                if self._tracker.enforces:
                    raise
                self.unknown.add(model.id)
                found = 0
            self._worst[model.id, cap] = found
        return found

    def _chat(self, model: ModelConfig) -> ChatRequest:
        return self._run.request.for_model(model, max_tokens=None)

    def cheapest(self, plan: Plan, *, free: bool) -> Plan | None:
        """The cheapest way below a plan: one model, asked directly. `None` when there is none.

        Args:
            plan: what is too dear.
            free: look for a model that costs nothing; otherwise for the cheapest that has a price.
        """
        costs = {}
        for model in plan.verifiers:
            try:
                costs[model.id] = self.worst(model, None)
            except CascadeFlowError:
                continue  # what it costs cannot be said: it is no cheaper way
        able = [m for m in plan.verifiers if m.id in costs and (costs[m.id] == 0) == free]
        if not able:
            return None
        best = min(able, key=lambda model: costs[model.id])
        if not plan.drafters and best is plan.verifiers[0]:
            return None
        line = tuple(sorted(able, key=lambda model: costs[model.id]))
        why = "it costs nothing" if free else "the budget is short: the cheapest model alone"
        return replace(plan, route="direct", reason=why, drafters=(), verifiers=line)

    def smaller(self, plan: Plan, refusal: BudgetExceededError) -> _Step | None:
        """The same plan with as much output as what is left pays for; `None` under the floor."""
        fits = int((refusal.limit - refusal.spent - refusal.held).scaleb(9))
        models = [*plan.drafters[:1], plan.verifiers[0]]
        if fits <= 0:
            return None
        model = max(models, key=lambda model: self.worst(model, None))
        for other in models:
            if other is not model:
                fits -= self.worst(other, None)
        if fits <= 0:
            return None
        output = affordable_output(
            model,
            self._chat(model),
            fits,
            at=self._at,
            until=self._until,
            extra=self._run.max_extra_cost,
            counts=self._counts,
        )
        if output is None or output < self._tracker.min_output:
            return None
        if output >= self.output(model, None):
            return None
        return _Step(plan, "smaller_max_tokens", output)
