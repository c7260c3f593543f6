"""The cascade's decisions, without doing any of them: draft, judge, verify, fall back.

`course` is a generator that yields what is to be done next and is sent what came of it. It waits
for nothing and knows no clock, so `run` and `stream` share every decision, and a test can walk it
through any weather. What it decides is what its driver does: no other place picks a model.

* Drafting goes through the drafters in order. One that fails to answer is passed over.
* A draft that is answered is judged. Accepted, it is the answer. Rejected, drafting is over.
* Verifying goes through the verifiers in order, then the fallbacks, skipping whatever was asked
  before: nobody is asked twice. One that fails is passed over.
* When nobody is left there is no answer, unless `keep_rejected` says that a rejected draft is
  better than none; it then stands in the result as what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cascadeflow.pipeline.settle import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.quality.report import QualityReport

__all__ = ["BESIDE", "Ask", "Command", "Ending", "Judge", "Outcome", "Role", "course"]

Role = Literal[
    "draft", "verifier", "direct", "classifier", "cross_check", "sample", "judge"
]  # fmt: skip
"""What a model is asked for: a draft to be judged, the answer after one, the only answer, what the
request is about, or a second opinion on a draft."""

BESIDE: Final = frozenset({"classifier", "cross_check", "sample", "judge"})
"""The roles of calls beside the answer: nobody falls back on them, and nothing is learned of how
much a model writes."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this model; the outcome is its `Call`, or `None` when it failed."""

    model: ModelConfig
    role: Role


@dataclass(frozen=True, slots=True)
class Judge:
    """Judge this draft; the outcome is a `QualityReport`."""

    draft: Call


Command: TypeAlias = Ask | Judge
Outcome: TypeAlias = "Call | QualityReport | None"


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended.

    Attributes:
        answer: the call whose answer is the content; `None` when every model in line failed.
        quality: how the draft was judged, `None` when none was.
        escalated: whether a draft was rejected and another model asked because of it.
    """

    answer: Call | None
    quality: QualityReport | None
    escalated: bool


def course(
    plan: Plan, *, out_of_time: Callable[[], bool], keep_rejected: bool
) -> Generator[Command, Outcome, Ending]:
    """Walks one request through its plan.

    Args:
        plan: which models, in which order.
        out_of_time: whether the request's own time-out has passed: then nobody else is asked.
        keep_rejected: whether a rejected draft is returned when every verifier fails.
    """
    asked: set[str] = set()
    draft: Call | None = None
    quality: QualityReport | None = None
    for model in plan.drafters:
        if out_of_time():
            return Ending(None, None, escalated=False)
        asked.add(model.id)
        outcome = yield Ask(model, "draft")
        if not isinstance(outcome, Call):
            continue
        draft = outcome
        judged = yield Judge(draft)
        assert judged is not None and not isinstance(judged, Call)  # noqa: S101, PT018 - for mypy
        quality = judged
        if quality.accepted is True:
            return Ending(draft, quality, escalated=False)
        break
    escalated = False
    for model in (*plan.verifiers, *plan.fallbacks):
        if model.id in asked:
            continue
        if out_of_time():
            break
        asked.add(model.id)
        escalated = draft is not None
        outcome = yield Ask(model, "direct" if plan.route == "direct" else "verifier")
        if isinstance(outcome, Call):
            return Ending(outcome, quality, escalated=escalated)
    return Ending(draft if keep_rejected else None, quality, escalated=escalated)
