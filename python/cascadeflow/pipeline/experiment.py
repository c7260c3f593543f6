"""Which variant of an experiment a request is in, what that changes, and what is told of it.

A variant is only what is really used: whoever names the model or the quality in the call, or is in
a tier that has its own or may not use all that the variants need, takes no part. That is looked at
for the whole experiment and not for the variant that was drawn, so the variants stay comparable.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import (
    InvalidRequestError,
    RateLimitError,
    RequestsForbiddenError,
    TierForbiddenError,
    ToolAbort,
)
from cascadeflow.money import NANODOLLARS_PER_USD
from cascadeflow.pipeline.verdicts import VerdictLine, verdict_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cascadeflow.config import QualityConfig
    from cascadeflow.experiments.records import Assignment, VariantSource
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.result import CascadeResult
    from cascadeflow.pipeline.route import Router
    from cascadeflow.pipeline.run import Run
    from cascadeflow.tiers.config import TierConfig

__all__ = ["Arm", "Contest", "Trial", "Trials", "observe_failure", "observe_result", "reconsider"]

_logger: Final = logging.getLogger(__name__)

_NOT_ITS_FAULT: Final = (
    InvalidRequestError,
    RateLimitError,
    RequestsForbiddenError,
    TierForbiddenError,
    ToolAbort,
)
"""Why a request has no answer whatever the variant: it is not an error of the variant's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant, made ready.

    Attributes:
        router: plans its requests.
        quality: how its drafts are judged; `None` is as without it.
        weighed: whether a draft is left out that is expected not to pay.
        key: tells its cached answers apart where models of the same name are asked differently.
        verdicts: what its drafts were judged to be, on the way to the experiment.
    """

    router: Router
    quality: QualityConfig | None = None
    weighed: bool = True
    key: str = ""
    verdicts: VerdictLine = field(default_factory=VerdictLine, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One experiment, made ready.

    Attributes:
        source: draws variants and takes what came of them.
        arms: its variants by name.
        models: every model that any of them names.
        judges: whether any of them says how drafts are judged.
        strict: whether any of them judges strictly.
    """

    source: VariantSource
    arms: Mapping[str, Arm]
    models: tuple[ModelConfig, ...]
    judges: bool
    strict: bool

    def bars(self, tier: TierConfig) -> bool:
        """Whether a tier keeps its users from it."""
        return (
            (self.judges and tier.quality is not None)
            or (self.strict and "strict" not in tier.features)
            or not all(tier.allows_model(model.id, model.name) for model in self.models)
        )


@dataclass(slots=True, kw_only=True)
class Trial:
    """One request's part in an experiment.

    Attributes:
        contest: which experiment.
        assignment: which variant.
        arm: the same, made ready.
        router: plans the request: the variant's, and the agent's once it takes no part.
        otherwise: the agent's.
    """

    contest: Contest
    assignment: Assignment
    arm: Arm
    router: Router
    otherwise: Router


class Trials:
    """An agent's experiments. A request is in one at most: the first that takes its user."""

    __slots__ = ("_contests", "_router", "arms", "models", "qualities")

    def __init__(self, contests: Sequence[Contest], router: Router) -> None:
        """Notes them.

        Args:
            contests: the experiments, in order.
            router: the agent's.
        """
        self._contests = tuple(contests)
        self._router = router
        self.models = tuple(model for contest in contests for model in contest.models)
        self.arms = tuple(arm for each in contests for arm in each.arms.values())
        self.qualities = [arm.quality for arm in self.arms]

    def draw(self, user_id: str | None, request_id: str, *, judged: bool) -> Trial | None:
        """Draws a request's variant; `None` where it takes no part.

        Args:
            user_id: whose request it is.
            request_id: its id.
            judged: whether the caller says how its draft is judged.
        """
        for contest in self._contests:
            assignment = contest.source.choose(user_id, request_id)
            if assignment is None:
                continue
            if judged and contest.judges:
                return None  # its user is in this experiment, and shall be in no other
            arm = contest.arms[assignment.variant]
            return Trial(
                contest=contest,
                assignment=assignment,
                arm=arm,
                router=arm.router,
                otherwise=self._router,
            )
        return None

    def flush(self) -> None:
        """Has what was seen written; what cannot be is kept, and said in the log."""
        for contest in self._contests:
            for arm in contest.arms.values():
                arm.verdicts.release()
            flush = getattr(contest.source, "flush", None)
            if flush is None:
                continue
            try:
                flush()
            except Exception as error:  # noqa: BLE001 - whatever a store raises: closing goes on
                _logger.warning("what an experiment has seen cannot be written: %s", error)


def reconsider(run: Run, trial: Trial, tier: TierConfig) -> None:
    """Takes a request out of its experiment where its user's tier does not go with that."""
    if not trial.contest.bars(tier):
        return
    run.trial = None
    trial.router = trial.otherwise
    if trial.arm.quality is not None:
        run.asked_quality = None
        run.quality = run.engine.quality
    if run.replan is not None:
        run.plan = run.planned = run.replan(run.domain, None)
        run.baseline = run.plan.verifiers[0]


def observe_result(trial: Trial, result: CascadeResult) -> None:
    """Tells an experiment what came of a request that was answered, and its verdict once it is."""
    timing = result.timing
    outcome = {"error": 0.0, "latency_ms": max(0.0, timing.total_ms - timing.reader_ms)}
    if result.cost.total is not None:
        outcome["cost"] = float(result.cost.total)
    verdict = verdict_values(result.quality.accepted, result.quality.score)
    if result.routing.route == "cache":  # nothing was drafted, and nothing judged
        del verdict["accepted"]
    else:
        outcome["escalated"] = 1.0 if result.routing.escalated else 0.0
    tell = partial(_tell, trial)
    trial.arm.verdicts.observe(tell, outcome, verdict, result.late_quality)


def observe_failure(
    run: Run, trial: Trial, error: BaseException, broken: Sequence[int | None]
) -> None:
    """Tells an experiment that a request got no answer, unless that is not the variant's doing.

    Args:
        run: whose books are being closed.
        trial: its part in the experiment.
        error: why.
        broken: what the calls cost that were broken off, nanodollars.
    """
    if not isinstance(error, Exception) or isinstance(error, _NOT_ITS_FAULT):
        return
    outcome = {"error": 1.0}
    costs = [call.cost.nanodollars for call in run.calls] + [f.cost for f in run.failures]
    known = [cost for cost in (*costs, *broken) if cost is not None]
    if len(known) == len(costs) + len(broken):
        outcome["cost"] = sum(known) / NANODOLLARS_PER_USD
    _tell(trial, outcome, later=False)


def _tell(trial: Trial, outcome: Mapping[str, float], *, later: bool) -> None:
    try:
        trial.contest.source.observe(trial.assignment, outcome, later=later)
    except Exception as error:  # noqa: BLE001 - the answer is there and paid for
        _logger.warning(
            "experiment %s raised %s on an observation, which is not counted",
            *(trial.assignment.experiment, type(error).__name__),
        )
