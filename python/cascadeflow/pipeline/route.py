"""The second station: which models, in which order, and why. It computes only.

Which model drafts: the cheapest, by the catalogue and by what the user says of prices. Which one
verifies: the dearest. Models between them stand by: upwards from the cheapest when a drafter fails,
downwards from the dearest when a verifier does. `order="given"` takes the list as it was written.
A domain may ask for others. Whether a draft is made at all is weighed last, once the user's tier
has had its say about the models: by what drafting is expected to cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

from cascadeflow.domains.complexity import Assessor, ComplexityLevel
from cascadeflow.errors import ConfigurationError, InvalidRequestError, UnknownModelError
from cascadeflow.models.catalogue import cheapest_first, lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cascadeflow.config import QualityConfig
    from cascadeflow.domains.registry import RouteChoice
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.expected_cost import ExpectedCall
    from cascadeflow.pipeline.decide import Decision, Drafting
    from cascadeflow.pipeline.request import Request

__all__ = ["LEVELS", "Level", "Order", "Plan", "Router", "weigh"]

Level = ComplexityLevel
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""How hard a request is, easiest first."""

Order = Literal["price", "given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done with one request.

    Attributes:
        route: `cascade` (draft first) or `direct` (one model).
        reason: why, in words.
        complexity: how hard the request was judged to be.
        complexity_score: 0 to 1.
        drafters: who drafts, and who is next when one fails; empty on the direct route.
        verifiers: who verifies or answers directly, and who is next when one fails.
        fallbacks: who is asked when all of these failed, and for nothing else, unless a second
            opinion names one.
        decision: whether drafting pays, and by which figures; `None` where that was not weighed.
    """

    route: Literal["cascade", "direct"]
    reason: str
    complexity: Level
    complexity_score: float
    drafters: tuple[ModelConfig, ...]
    verifiers: tuple[ModelConfig, ...]
    fallbacks: tuple[ModelConfig, ...] = ()
    decision: Decision | None = None

    @property
    def draft_model(self) -> str | None:
        """The id of the model planned to draft."""
        return self.drafters[0].id if self.drafters else None

    @property
    def verifier_model(self) -> str:
        """The id of the model planned to verify, or to answer directly."""
        return self.verifiers[0].id


class Router:
    """An agent's models and how it chooses among them. Immutable."""

    __slots__ = ("_cascade", "_draft_up_to", "fallbacks", "models", "order")

    def __init__(
        self,
        models: Sequence[ModelConfig],
        *,
        at: datetime,
        order: Order = "price",
        enable_cascade: bool = True,
        draft_up_to: Level | None = None,
        fallbacks: Sequence[ModelConfig] = (),
    ) -> None:
        """Puts the models in order, once.

        Args:
            models: at least one, each named once, here or among the fallbacks.
            at: the moment whose prices decide the order.
            order: `price` puts the cheapest first; `given` keeps the order of the list.
            enable_cascade: `False` asks the last model directly, always.
            draft_up_to: the hardest level that is still drafted; harder requests go to the last
                model directly. `None` drafts every level.
            fallbacks: who is asked when all models that could answer have failed, in this order.

        Raises:
            ConfigurationError: no model, one named twice, or an option that does not exist.
        """
        if not models:
            raise ConfigurationError(
                "an agent needs at least one model, such as CascadeAgent(['openai:gpt-5-mini'])"
            )
        ids = [model.id for model in (*models, *fallbacks)]
        twice = sorted({model_id for model_id in ids if ids.count(model_id) > 1})
        if twice:
            raise ConfigurationError(f"models are named twice: {', '.join(twice)}")
        if order not in get_args(Order):
            raise ConfigurationError(f"order must be 'price' or 'given', not {order!r}")
        if draft_up_to is not None and draft_up_to not in LEVELS:
            raise ConfigurationError(
                f"draft_up_to must be one of {', '.join(LEVELS)}; not {draft_up_to!r}"
            )
        self.order: Order = order
        self.models = tuple(models if order == "given" else cheapest_first(models, at=at))
        self.fallbacks = tuple(fallbacks)
        self._cascade = enable_cascade
        self._draft_up_to = len(LEVELS) if draft_up_to is None else LEVELS.index(draft_up_to)

    @property
    def drafts(self) -> bool:
        """Whether any request may be drafted."""
        return self._cascade and len(self.models) > 1

    def find(self, name: str) -> ModelConfig:
        """Gives the model with this id (`provider:name`), or with this name when only one has it.

        Raises:
            UnknownModelError: the agent has no such model.
        """
        found = [model for model in self.models if name in {model.id, model.name}]
        if len(found) != 1:
            raise UnknownModelError(
                f"this agent has {'several models' if found else 'no model'} called {name!r}; "
                f"it has {', '.join(model.id for model in self.models)}"
            )
        return found[0]

    def varied(
        self,
        models: Sequence[ModelConfig] | None,
        *,
        at: datetime,
        order: Order,
        enable_cascade: bool | None = None,
        draft_up_to: Level | None = None,
        draft_all: bool = False,
    ) -> Router:
        """Gives a router that is like this one but for what is said; fallbacks stay.

        Args:
            models: the models; `None` keeps these.
            at: the moment whose prices decide their order.
            order: as at construction; it puts `models` in order, and these where none are given.
            enable_cascade: whether drafts are made.
            draft_up_to: the hardest level that is drafted.
            draft_all: whether all levels are.

        Raises:
            ConfigurationError: no model, or one is named twice.
        """
        line = self.models if models is None else models
        ids = {model.id for model in line}
        level = LEVELS[-1] if draft_all else draft_up_to
        varied = Router(
            line,
            at=at,
            order=order,
            enable_cascade=self._cascade if enable_cascade is None else enable_cascade,
            draft_up_to=level,
            fallbacks=[model for model in self.fallbacks if model.id not in ids],
        )
        if level is None:
            varied._draft_up_to = self._draft_up_to
        return varied

    def plan(
        self,
        request: Request,
        *,
        model: str | None = None,
        force_direct: bool = False,
        complexity_hint: str | None = None,
        domain: str | None = None,
        choice: RouteChoice | None = None,
        assessor: Assessor | None = None,
    ) -> Plan:
        """Plans one request.

        Args:
            request: what is asked.
            model: ask this model of the agent's, and no other.
            force_direct: make no draft.
            complexity_hint: the level, when the caller knows better than the rules.
            domain: what it is about, where that is known.
            choice: which models that asks for.
            assessor: who has read the request already.

        Raises:
            InvalidRequestError: no model can do what the request needs, or the hint is no level.
            UnknownModelError: the agent has no model called `model`.
        """
        if complexity_hint is None:
            found = (assessor or Assessor(request.messages)).assess(domain)
            level, score = found.level, found.score
        else:
            level, score = _hinted(complexity_hint)
        if model is not None:
            chosen = self.find(model)
            able = _able((chosen,), request)
            return _direct(able, "model= names it", level, score)
        able = _able(self.models, request)
        drafters, verifiers, why = _chosen(able, choice)
        plan = self._planned(drafters, verifiers, level, score, why, force_direct=force_direct)
        if self.fallbacks:
            line = tuple([each for each in self.fallbacks if _can(each, request)])
            plan = replace(plan, fallbacks=line)
        return plan

    def _planned(
        self,
        drafters: tuple[ModelConfig, ...],
        best_first: tuple[ModelConfig, ...],
        level: Level,
        score: float,
        why: str,
        *,
        force_direct: bool,
    ) -> Plan:
        if force_direct:
            return _direct(best_first, "force_direct=True", level, score)
        if not self._cascade:
            return _direct(best_first, "enable_cascade=False", level, score)
        if not drafters:
            reason = why or "the agent has one model"
            if not why and len(self.models) > 1:
                reason = "only one model can do what the request needs"
            return _direct(best_first, reason, level, score)
        if LEVELS.index(level) > self._draft_up_to:
            return _direct(best_first, f"{level} requests are not drafted", level, score)
        return Plan(
            route="cascade",
            reason=f"{level}: a draft may do" + (f"; {why}" if why else ""),
            complexity=level,
            complexity_score=score,
            drafters=drafters,
            verifiers=best_first,
        )


def weigh(
    plan: Plan,
    request: Request,
    drafting: Drafting,
    *,
    domain: str,
    at: datetime,
    quality: QualityConfig | None = None,
    explore: bool = True,
) -> Plan:
    """Leaves the draft out of a plan where it is expected to lose money.

    Args:
        plan: what would be done, all its models allowed.
        request: what is asked.
        drafting: what is known of whether drafts pay.
        domain: what the request is about.
        at: the moment whose prices hold.
        quality: how models would be asked for second opinions on the draft; `None` where none is.
        explore: whether it may be drafted to learn, which it is not where nothing would be learned.
    """
    if not plan.drafters:
        return plan
    judged: int | ExpectedCall = 0
    if quality is not None:
        from cascadeflow.pipeline.opinions import expect_opinion  # noqa: PLC0415 - off costs nothing

        judged = expect_opinion(plan, request, quality, drafting.lengths, at=at)
    decision = drafting.decide(
        request,
        domain=domain,
        level=plan.complexity,
        drafter=plan.drafters[0],
        verifier=plan.verifiers[0],
        at=at,
        validation_cost=judged,
        explore=explore,
    )
    if decision.route == "direct":
        return replace(plan, route="direct", reason=decision.reason, drafters=(), decision=decision)
    return replace(plan, reason=f"{plan.reason}; {decision.reason}", decision=decision)


def _chosen(
    able: tuple[ModelConfig, ...], choice: RouteChoice | None
) -> tuple[tuple[ModelConfig, ...], tuple[ModelConfig, ...], str]:
    """Who may draft and who verifies: as the domain asks for, as far as they are able."""
    if choice is not None and choice.verifiers:
        verifiers = tuple([model for model in choice.verifiers if model in able])
        if verifiers:
            drafters = [model for model in choice.drafters if model in able]
            return (
                tuple([model for model in drafters if model is not verifiers[0]]),
                verifiers,
                choice.reason,
            )
    return able[:-1], able[::-1], ""


def _direct(line: tuple[ModelConfig, ...], reason: str, level: Level, score: float) -> Plan:
    return Plan(
        route="direct",
        reason=reason,
        complexity=level,
        complexity_score=score,
        drafters=(),
        verifiers=line,
    )


def _hinted(hint: str) -> tuple[Level, float]:
    for place, level in enumerate(LEVELS):
        if hint == level:
            return level, place / (len(LEVELS) - 1)
    raise InvalidRequestError(f"complexity_hint must be one of {', '.join(LEVELS)}; not {hint!r}")


def _can(model: ModelConfig, request: Request) -> bool:
    """Whether nothing is known that keeps a model from doing what the request needs."""
    return (not request.tools or _calls_tools(model)) and (
        not request.has_images or _sees_images(model)
    )


def _able(models: tuple[ModelConfig, ...], request: Request) -> tuple[ModelConfig, ...]:
    """Leaves out models that are known to be unable to do what the request needs."""
    if request.tools:
        models = _only(models, "call tools", _calls_tools)
    if request.has_images:
        models = _only(models, "see images", _sees_images)
    return models


def _only(
    models: tuple[ModelConfig, ...], what: str, able: Callable[[ModelConfig], bool]
) -> tuple[ModelConfig, ...]:
    left = tuple(model for model in models if able(model))
    if not left:
        raise InvalidRequestError(
            f"the request needs a model that can {what}, and none is able to: "
            + ", ".join(model.id for model in models)
        )
    return left


def _calls_tools(model: ModelConfig) -> bool:
    if model.supports_tools is not None:
        return model.supports_tools
    facts = lookup(model.provider, model.name)
    return facts is None or facts.can("tools") is not False


def _sees_images(model: ModelConfig) -> bool:
    facts = lookup(model.provider, model.name)
    return facts is None or facts.can("vision") is not False
