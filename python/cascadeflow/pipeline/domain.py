"""What a request is about, and what that changes: its models, its quality, its system prompt.

The free layers run before admission, for a tier may answer some domains only. The paid one runs
after the gate, so that nobody can make an agent pay for requests that it then refuses, and on money
of its own, which is held before the model is asked and settled with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from cascadeflow.domains.records import GENERAL, Detection, Evidence, LayerReport
from cascadeflow.domains.zero_shot import DESCRIPTIONS, Verdict, Verdicts, question, read
from cascadeflow.errors import (
    BudgetExceededError,
    InvalidRequestError,
    UnknownPriceError,
)
from cascadeflow.models.catalogue import cheapest_first
from cascadeflow.models.expected_cost import input_size
from cascadeflow.models.worst_case import worst_case
from cascadeflow.pipeline.beside import UNASKED, ask_beside
from cascadeflow.pipeline.purse import Purse
from cascadeflow.types import Message, last_user_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow.config import QualityConfig
    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.registry import RouteChoice
    from cascadeflow.domains.zero_shot import ZeroShot
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.request import Request
    from cascadeflow.pipeline.route import Plan, Router
    from cascadeflow.pipeline.run import Run
    from cascadeflow.types import ChatRequest

__all__ = ["DomainRouting", "Replan"]

Replan: TypeAlias = "Callable[[str | None, RouteChoice | None], Plan]"
"""Plans a request once more, for a domain and what that domain's registration asks for."""

_LONGEST = timedelta(hours=1)

_NONE_NAMED = Verdict(GENERAL, (), sure=False)
"""Kept for an answer that named no domain: asked again, the model would hardly name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRouting:
    """An agent's detector, and what it does with what that says.

    Attributes:
        detector: the layers that cost no money.
        router: whose plans it changes.
        zero_shot: that a model is asked where these are not sure; `None` asks nobody.
        verdicts: what models said before.
    """

    detector: DomainDetector
    router: Router
    zero_shot: ZeroShot | None
    verdicts: Verdicts

    async def detect(self, run: Run) -> None:
        """Finds out what a request is about, as far as that costs nothing."""
        clock = run.engine.clock.monotonic
        began = clock()
        if run.domain is not None:
            self._settle(run, Detection(domain=run.domain, confidence=None, layer="caller"))
        else:
            run.vectors = self.detector.vectors()
            text = last_user_text(run.asked.messages)
            self._settle(run, await self.detector.detect(text, run.vectors))
        run.routing_ms = (run.routing_ms or 0.0) + (clock() - began) * 1000

    def asks(self, run: Run) -> bool:
        """Whether nobody is sure yet, and a model is to be asked."""
        found = run.detection
        if self.zero_shot is None or found is None:
            return False
        sure = found.confidence is not None and found.confidence >= self.zero_shot.below
        if found.layer == "caller" or (found.layer != "none" and sure):
            return False
        # Of an image alone there is nothing to ask about.
        return bool(last_user_text(run.asked.messages).strip())

    async def ask(self, run: Run) -> None:
        """Asks a model what a request is about; whatever comes of it, the request goes on."""
        clock = run.engine.clock.monotonic
        began = clock()
        found = run.detection
        if self.zero_shot is None or found is None:
            return
        report, verdict = await self._asked(run, self.zero_shot)
        layers = (*found.layers, replace(report, ms=(clock() - began) * 1000))
        if verdict is None or not report.answered:
            self._settle(run, replace(found, layers=layers))
        else:
            self._settle(
                run,
                Detection(
                    domain=verdict.domain,
                    confidence=None,
                    layer="zero_shot",
                    domains=tuple([(name, None) for name in (verdict.domain, *verdict.also)]),
                    layers=layers,
                ),
            )
        run.routing_ms = (run.routing_ms or 0.0) + (clock() - began) * 1000

    def _settle(self, run: Run, found: Detection) -> None:
        """Notes what a request is about, and plans it anew."""
        run.detection = found
        run.domain = found.domain
        tier = None if run.member is None else run.member.tier
        routed = found
        if tier is not None and found.layer != "caller":
            # What else it may be about gives nobody the models of a domain that his tier has not.
            allowed = tuple([each for each in found.domains if tier.allows_domain(each[0])])
            routed = replace(found, domains=allowed)
        choice = self.detector.registry.choose(
            routed,
            [m for m in self.router.models if tier is None or tier.allows_model(m.id, m.name)],
            order=self.router.order,
            input_tokens=input_size(run.asked).tokens(self.router.models[0]),
        )
        if run.replan is not None:
            run.plan = run.planned = run.replan(found.domain, choice)
            run.baseline = run.plan.verifiers[0]
        run.request = _instructed(run.asked, choice)
        if run.asked_quality is None:
            run.quality = _quality(run, choice)

    # The paid layer

    async def _asked(self, run: Run, zero_shot: ZeroShot) -> tuple[LayerReport, Verdict | None]:
        names = {
            name: self.detector.registry.description(name) or DESCRIPTIONS.get(name, "")
            for name in sorted(self.detector.names)
        }
        model = self._model(run, zero_shot)
        text = last_user_text(run.asked.messages)
        key = Verdicts.key(text, tuple(names), model.id)
        verdict = self.verdicts.get(key)
        if verdict is None:
            chat = question(text, names, model)
            try:
                purse = await _hold(run, model, chat)
                said = await _ask(run, model, chat, purse, zero_shot.deadline)
            except BudgetExceededError:  # its text may say how others' budgets stand
                return _no("nobody was asked: no budget has the money for it"), None
            except UNASKED as error:
                return _no(f"nobody was asked: {error}"), None
            except Exception as error:  # noqa: BLE001 - a completer of one's own may raise anything
                return _no(f"{model.id} did not say: {type(error).__name__}"), None
            verdict = read(said.text, tuple(names)) or _NONE_NAMED
            if verdict is not _NONE_NAMED or (said.text.strip() and said.finish_reason == "stop"):
                self.verdicts.put(key, verdict)
        if verdict is _NONE_NAMED:
            return _no(f"{model.id} named no domain"), None
        report = LayerReport(
            layer="zero_shot",
            probabilities=(),  # a model's own word is none
            answered=verdict.sure,
            threshold=0.0,
            evidence=(Evidence(f"{model.id} says so", verdict.domain, 1.0),),
        )
        return report, verdict

    def _model(self, run: Run, zero_shot: ZeroShot) -> ModelConfig:
        """The model that was named, where the request may use it, else the cheapest that it may.

        Those that the plan leaves out may be asked too, for they need not see the request's images
        nor call its tools; but where the caller named the model, nobody else sees the request.
        """
        may = list(self.router.models)
        if run.pinned:
            may = [model for model in may if model in run.plan.verifiers]
        elif run.member is not None:
            tier = run.member.tier
            may = [model for model in may if tier.allows_model(model.id, model.name)]
        if zero_shot.model is not None:
            named = self.router.find(zero_shot.model)
            if named in may:
                return named
        return cheapest_first(may, at=run.created)[0]


def _no(why: str) -> LayerReport:
    return LayerReport(
        layer="zero_shot", probabilities=(), answered=False, threshold=0.0, error=why
    )


async def _hold(run: Run, model: ModelConfig, chat: ChatRequest) -> Purse | None:
    """Holds what asking can cost, apart from what the request itself will hold."""
    tracker = run.tracker
    if tracker is None:
        return None
    left = run.left()
    unknown: set[str] = set()
    try:
        most = worst_case(
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
        unknown.add(model.id)
        most = 0
    planned = {model.id: most}
    reservation = await tracker.reserve(
        run.spender,
        list(planned.items()),
        request_id=run.request_id,
        at=run.created,
        force=not run.enforces,
        tentative=True,  # the request goes on without it
    )
    reservation.confirm()
    purse = run.aside = Purse(
        reservation,
        worst=lambda _: most,
        planned=planned,
        budgeted_models=tracker.budgeted_models,
        unknown=unknown,
        enforced=run.enforces,
    )
    return purse


async def _ask(
    run: Run, model: ModelConfig, chat: ChatRequest, purse: Purse | None, deadline: float
) -> Completion:
    """Asks one model once, on its own money; its cost is the request's."""
    tab = None if purse is None else await purse.cover(model, "classifier")
    try:
        call = await ask_beside(run, model, "classifier", chat, tab=tab, deadline=deadline)
    except Exception:  # who cancels it closes its books
        run.settle()  # what is not spent is free for the request itself
        raise
    run.settle()
    return call.reply.completion


def _instructed(request: Request, choice: RouteChoice) -> Request:
    """Puts the domain's system prompt before a conversation that has none."""
    if choice.system_prompt is None or any(
        message.role in {"system", "developer"} for message in request.messages
    ):
        return request
    return replace(request, messages=(Message("system", choice.system_prompt), *request.messages))


def _quality(run: Run, choice: RouteChoice) -> QualityConfig:
    quality = choice.quality or run.engine.quality
    if choice.threshold is not None:
        quality = replace(quality, threshold=choice.threshold)
    return quality
