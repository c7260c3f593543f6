"""Reads an agent's experiments, and makes their variants ready."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from cascadeflow.agent_setup import UnknownPrice, check_models
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.experiments.experiment import Experiment
    from cascadeflow.experiments.records import Variant
    from cascadeflow.models.completer import Completer
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.experiment import Arm, Trials
    from cascadeflow.pipeline.route import Router

__all__ = ["trials_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """What the variants of an agent's experiments are made with."""

    router: Router
    completer: Completer | None
    at: datetime
    unknown_price: UnknownPrice

    def arm(self, variant: Variant) -> Arm:
        """Makes a variant ready.

        Raises:
            ConfigurationError: its models cannot be asked, or their prices are not known.
        """
        from cascadeflow.experiments.records import models_digest  # noqa: PLC0415
        from cascadeflow.pipeline.experiment import Arm  # noqa: PLC0415
        from cascadeflow.pipeline.route import Level  # noqa: PLC0415

        check_models(
            variant.named_models, self.completer, at=self.at, unknown_price=self.unknown_price
        )
        models, order = self._models(variant)
        rule = variant.drafting
        router = self.router
        if models is not None or rule is not None:
            router = router.varied(
                models,
                at=self.at,
                order=order,
                enable_cascade=None if rule is None else rule != "never",
                draft_up_to=next((level for level in get_args(Level) if level == rule), None),
                draft_all=rule == "always",
            )
        return Arm(
            router=router,
            quality=variant.quality,
            weighed=rule is None,
            key="" if models is None else models_digest(models),
        )

    def _models(self, variant: Variant) -> tuple[list[ModelConfig] | None, Any]:
        """Gives a variant's models in order, `None` where it has the agent's."""
        given: Any = variant.models
        if given is not None:
            return list(given), self.router.order
        drafts: Any = variant.draft_models
        verifiers: Any = variant.verifiers
        if drafts is None and verifiers is None:
            return None, self.router.order
        first = list(drafts or ())
        last = list(verifiers or ())[::-1]  # the one that is asked first stands last
        if drafts is not None and verifiers is not None:
            # Who is both drafts only, and the others verify.
            return [*first, *[model for model in last if model not in first]], "given"
        named = {model.id for model in (*first, *last)}
        rest = [model for model in self.router.models if model.id not in named]
        return [*first, *rest, *last], "given"


def trials_of(
    experiments: Any,
    router: Router,
    completer: Completer | None,
    at: datetime,
    unknown_price: UnknownPrice,
) -> Trials | None:
    """Gives an agent's experiments, `None` where it has none.

    Raises:
        ConfigurationError: one is none, two have one name, or a variant's models cannot be asked.
    """
    if isinstance(experiments, (str, dict)) or not isinstance(experiments, Iterable):
        raise ConfigurationError("experiments must be a list of Experiment")
    given: list[Experiment] = list(experiments)
    if not given:
        return None
    from cascadeflow.experiments.experiment import Experiment  # noqa: PLC0415 - off costs nothing
    from cascadeflow.pipeline.experiment import Contest, Trials  # noqa: PLC0415

    maker = _Maker(router=router, completer=completer, at=at, unknown_price=unknown_price)
    contests = []
    for experiment in given:
        if not isinstance(experiment, Experiment):
            raise ConfigurationError(
                f"experiments must be a list of Experiment, not of {type(experiment).__name__}"
            )
        qualities = [each.quality for each in experiment.variants if each.quality is not None]
        contests.append(
            Contest(
                source=experiment,
                arms={variant.name: maker.arm(variant) for variant in experiment.variants},
                models=tuple(m for variant in experiment.variants for m in variant.named_models),
                judges=bool(qualities),
                strict=any(quality.mode == "strict" for quality in qualities),
            )
        )
    names = [experiment.name for experiment in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"experiments are named twice: {', '.join(twice)}")
    return Trials(contests, router)
