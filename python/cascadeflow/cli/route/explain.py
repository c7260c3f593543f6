"""Decides about one request exactly as an agent does, up to where a model would be asked.

It opens an agent's run and takes it through the stations that compute: domain, plan, expected cost.
Nobody is asked: the run's completer refuses to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from cascadeflow.agent_open import open_run
from cascadeflow.agent_setup import check_models
from cascadeflow.clock import SystemClock
from cascadeflow.config import QualityConfig
from cascadeflow.domains.acceptance import AcceptanceModel
from cascadeflow.domains.complexity import Complexity, assess
from cascadeflow.domains.zero_shot import Verdicts
from cascadeflow.errors import CascadeFlowError
from cascadeflow.models.expected_cost import input_size
from cascadeflow.pipeline.decide import Drafting
from cascadeflow.pipeline.domain import DomainRouting
from cascadeflow.pipeline.engine import Engine
from cascadeflow.pipeline.route import Router
from cascadeflow.quality.validator import RuleValidator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.records import Detection
    from cascadeflow.domains.registry import RouteChoice
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.expected_cost import ExpectedCall
    from cascadeflow.models.notes import Notes
    from cascadeflow.pipeline.route import Plan

__all__ = ["LAYERS", "Explanation", "explain"]

LAYERS: Final = ("rules", "semantic", "zero_shot")
"""The layers in their order; the last one asks a model, which is never done here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What an agent would do with one request, and why.

    Attributes:
        text: the request.
        detection: what it is about, with what each layer that was asked made of it.
        skipped: the layers that were not asked, and why, by name.
        complexity: how hard it is, and why.
        choice: which models the domain asks for, and why.
        considered: who would draft and verify if a draft was made.
        plan: what would be done: `considered`, or its direct route where a draft does not pay.
        expected: what a call of each model that may be asked is expected to use and cost.
        quality: how a draft is judged.
    """

    text: str
    detection: Detection
    skipped: dict[str, str]
    complexity: Complexity
    choice: RouteChoice
    considered: Plan
    plan: Plan
    expected: tuple[ExpectedCall, ...]
    quality: QualityConfig


class _Nobody:
    """A completer that asks no model."""

    async def complete(self, *_: object, **__: object) -> NoReturn:
        raise self._refused()

    def stream(self, *_: object, **__: object) -> NoReturn:
        raise self._refused()

    async def aclose(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _refused() -> CascadeFlowError:
        return CascadeFlowError("explaining a decision asks no model")


async def explain(
    text: str,
    models: Sequence[ModelConfig],
    detector: DomainDetector,
    *,
    domain: str | None = None,
    notes: Notes | None = None,
) -> Explanation:
    """Explains what an agent with these models would do with a request.

    Args:
        text: the request.
        models: the agent's, at least one.
        detector: what finds out what it is about, with the domains of one's own.
        domain: what it is about, where the caller says so.
        notes: what was learned of drafts; `None` begins with what is expected of each level.

    Raises:
        ConfigurationError: the models or domains cannot be, or a layer that is needed cannot run.
        InvalidRequestError: the request is empty, or there is no such domain.
        StoreError: what was learned cannot be read.
    """
    clock = SystemClock()
    now = clock.now()
    check_models(models, None, at=now, unknown_price="allow")
    router = Router(models, at=now)
    detector.registry.check(router.models)
    # An explanation counts for nothing: no draft is made to learn.
    drafting = Drafting(acceptance=AcceptanceModel(explore_every=0), notes=notes)
    engine = Engine(
        completer=_Nobody(),
        validator=RuleValidator(),
        quality=QualityConfig(),
        clock=clock,
        tracker=None,
        recall=None,
        notify=None,
        keep_rejected=False,
        domains=DomainRouting(
            detector=detector, router=router, zero_shot=None, verdicts=Verdicts()
        ),
        drafting=drafting,
    )
    await open_run(engine, router, text, None, streamed=False, domain=domain).admit()
    # Once more: the first time also opened what is needed, which is no part of a layer's time.
    run = open_run(engine, router, text, None, streamed=False, domain=domain)
    await run.admit()
    detection = run.detection
    assert detection is not None  # noqa: S101 - for mypy: the engine has a detector
    choice = detector.registry.choose(
        detection,
        router.models,
        order=router.order,
        input_tokens=input_size(run.asked).tokens(router.models[0]),
    )
    considered = router.plan(run.asked, domain=detection.domain, choice=choice)
    asked = {model.id: model for model in (*considered.drafters, *considered.verifiers)}
    return Explanation(
        text=text,
        detection=detection,
        skipped=_skipped(detection),
        complexity=assess(run.asked.messages, detection.domain),
        choice=choice,
        considered=considered,
        plan=run.plan,
        expected=drafting.expect(run.request, run.plan.complexity, *asked.values(), at=run.created),
        quality=run.quality,
    )


def _skipped(detection: Detection) -> dict[str, str]:
    asked = {report.layer for report in detection.layers}
    why: dict[str, str] = {}
    for layer in LAYERS:
        if layer in asked:
            continue
        if detection.layer == "caller":
            why[layer] = "the caller said what it is about"
        elif layer == "zero_shot":
            why[layer] = (
                "a model would be asked here, with zero_shot=True"
                if detection.layer == "none"
                else f"the layer {detection.layer} was sure"
            )
        elif detection.layer == "rules":
            why[layer] = "the layer rules was sure"
        else:
            why[layer] = "it is switched off"
    return why
