"""How an agent judges drafts: what it is given is read, and checked before anything is asked."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final, Literal

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.catalogue import cheapest_first
from cascadeflow.models.families import family_of
from cascadeflow.quality.calibration import calibration_of
from cascadeflow.quality.validator import CascadeValidator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cascadeflow.config import QualityMode
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.engine import Engine
    from cascadeflow.pipeline.route import Router
    from cascadeflow.quality.calibration import Calibration
    from cascadeflow.tiers.gate import Tiers

__all__ = ["asked_quality", "models_at_hand", "quality_of", "ready", "warm"]

_logger: Final = logging.getLogger(__name__)

_PAIR: Final = 2
"""So many models are a drafter and a verifier, whatever comes."""

_SNAPSHOT: Final = re.compile(r"(?:[-@](?:\d{3}.*|latest|preview.*))?", re.DOTALL)
"""What a name may have behind its model's: the date or number of a snapshot; `-mini` is more."""


def quality_of(config: QualityConfig | None, mode: QualityMode | None) -> QualityConfig:
    """Gives how drafts are judged.

    Raises:
        ConfigurationError: both ways of saying it were used, or the mode does not exist.
    """
    if config is not None and mode is not None:
        raise ConfigurationError("give quality_config= or quality_mode=, not both")
    if config is None:
        return QualityConfig(mode=mode or "fast")
    if not isinstance(config, QualityConfig):
        raise ConfigurationError(
            f"quality_config must be a QualityConfig, not {type(config).__name__}"
        )
    calibration_of(config)  # what cannot be used is said at once
    return config


def asked_quality(
    config: QualityConfig | None, mode: QualityMode | None, tiers: Tiers | None
) -> QualityConfig | Literal["strict"] | None:
    """Gives how one request's draft is judged, where the call says so.

    Raises:
        ConfigurationError: both ways of saying it were used, or the mode does not exist.
    """
    if config is None and mode is None:
        return None
    if mode == "strict" and config is None and tiers is not None:
        return "strict"  # whether it may be is its tier's to say, before anything else is looked at
    return quality_of(config, mode)


def models_at_hand(validator: object, config: QualityConfig) -> None:
    """Finds the models that the built-in checks need on this machine, before anything is asked.

    Raises:
        ConfigurationError: one is not there; it says what to do.
    """
    if isinstance(validator, CascadeValidator):
        validator.local_checks(config)


def ready(engine: Engine, models: Sequence[ModelConfig], router: Router) -> Engine:
    """Looks for what any of an agent's requests may need; gives the engine.

    Args:
        engine: the agent's.
        models: all that any of its requests may be put to.
        router: the agent's.

    Raises:
        ConfigurationError: a calibration cannot be used, a model of the built-in checks is not on
            this machine, or one that is to give second opinions is none of the agent's, or the
            drafter itself; it says what to do.
    """
    warnings: list[str] = []
    pairs = list(_pairs(engine, router))
    for config in _qualities(engine):
        calibration = calibration_of(config)
        if calibration is not None:
            line = next((its for other, its in pairs if other is config), None)
            warnings += _departs(config, calibration, line, at=engine.clock.now())
        models_at_hand(engine.validator, config)
        if config.mode == "strict":
            _named_models(config, models)
    for config, line in pairs:
        if config.mode == "strict" and isinstance(engine.validator, CascadeValidator):
            _not_the_drafter(config, line)
            warnings += _only_the_verifier(config, line)
    for warning in dict.fromkeys(warnings):
        _logger.warning("%s", warning)
    return engine


def _pairs(engine: Engine, router: Router) -> Iterator[tuple[QualityConfig, Router]]:
    """Ways of judging whose drafter and verifier are known beforehand, and by which router."""
    if engine.domains is not None:  # each domain may have others
        return
    arms = () if engine.trials is None else engine.trials.arms
    yield from ((arm.quality, arm.router) for arm in arms if arm.quality is not None)
    if all(arm.router.models == router.models for arm in arms):
        tiers = () if engine.tiers is None else engine.tiers.tiers.values()
        for config in (engine.quality, *[tier.quality for tier in tiers]):
            if config is not None:
                yield config, router


def _not_the_drafter(config: QualityConfig, router: Router) -> None:
    """Refuses a cross-check by the one model that can draft: it is asked nothing then, ever."""
    if not router.drafts or len(router.models) > _PAIR:
        return
    drafter = router.models[0]
    for wanted in config.cross_checks:
        if wanted in (drafter.id, drafter.name):
            raise ConfigurationError(
                f"QualityConfig.cross_check names {wanted!r}, which is the only model that drafts: "
                "its own answer is no second opinion. Name another one, or set cross_check=False"
            )


def _only_the_verifier(config: QualityConfig, router: Router) -> Iterator[str]:
    """Says so where the verifier alone can be asked, which costs about what its answer does."""
    if not router.drafts or config.samples or config.judge is not True:
        return
    drafter, verifier = router.models[0], router.models[-1]
    cheap = {family_of(model) for model in router.models[:-1]}
    if config.cross_check is True and len(cheap) == 1:
        yield (
            f"quality mode strict can ask nobody but the verifier, {verifier.id}, what it thinks "
            "of a draft, and that often costs as much as its answer: such requests go to it at "
            f"once. Add a cheap model of another family than {drafter.id}, or name a judge="
        )


def _departs(
    config: QualityConfig, calibration: Calibration, router: Router | None, *, at: datetime
) -> Iterator[str]:
    """Says what a calibration was tuned otherwise for: its promise does not hold here then.

    The log that it was tuned on may have other names for the same models, so that nothing is
    refused by them.

    Args:
        config: which it belongs to.
        calibration: the calibration.
        router: whose models answer; `None` where no one pair does.
        at: the moment whose prices say who is the cheapest.
    """
    if not calibration.promised:
        yield (
            f"the calibration {config.calibration} promises nothing, for its log was too small: "
            "by its own threshold no draft is accepted"
        )
    found: list[str] = []
    if router is not None and router.drafts:
        for role, tuned, model in (
            ("drafter", calibration.draft, router.models[0]),
            ("verifier", calibration.verifier, router.models[-1]),
        ):
            if not _alike(tuned, model.id):
                found.append(f"the {role} {model.id} (tuned with {tuned})")
    if config.mode == "strict":
        found += _other_opinions(config, str(calibration.cross_check), router, at=at)
    if found:
        yield (
            f"the calibration {config.calibration} was not tuned for {', '.join(found)}: what it "
            "promises does not hold here. Tune it again on a log of these, or ask as it was tuned"
        )


def _other_opinions(
    config: QualityConfig, tuned: str, router: Router | None, *, at: datetime
) -> Iterator[str]:
    """Second opinions that are asked for otherwise than a calibration was tuned."""
    asked = [each for each in config.cross_checks if isinstance(each, str)]
    if config.cross_check is True and router is not None:
        family = family_of(router.models[0])
        others = [model for model in router.models[:-1] if family_of(model) != family]
        asked = [model.id for model in cheapest_first(others, at=at)[:1]]
    if asked or config.cross_check is False or router is not None:
        if not any(_alike(tuned, each) for each in asked):
            who = f"the cross-check {asked[0]}" if asked else "no cross-check"
            yield f"{who} (tuned with {tuned})"
        elif len(asked) > 1:
            yield f"several cross-checks (tuned with {tuned} alone)"
    if config.samples:
        yield f"samples={config.samples}"
    if config.judge:
        yield "a judge (judge=False turns it off)"


def _alike(one: str, other: str) -> bool:
    """Whether two names may be one model's: `gpt-4o-mini-2024-07-18` is `openai:gpt-4o-mini`."""
    return any(
        _SNAPSHOT.fullmatch(longer.removeprefix(shorter)) is not None
        for mine in _forms(one)
        for its in _forms(other)
        for shorter, longer in [sorted((mine, its), key=len)]
        if longer.startswith(shorter)
    )


def _forms(name: str) -> set[str]:
    """A name as it is, without who serves it, and without who made it; letter case apart."""
    name = name.casefold()
    return {name, name.partition(":")[2] or name, name.rpartition("/")[2] or name}


def _named_models(config: QualityConfig, models: Sequence[ModelConfig]) -> None:
    """Refuses to ask models that an agent has not: each draft would find that out anew."""
    named = [("cross_check", each) for each in config.cross_checks]
    for option, wanted in (*named, ("judge", config.judge)):
        if isinstance(wanted, str) and not any(wanted in (each.id, each.name) for each in models):
            raise ConfigurationError(
                f"QualityConfig.{option} names {wanted!r}, which is none of the agent's models: "
                f"there are {', '.join(each.id for each in models)}"
            )
    for model in models:
        both = [each for each in config.cross_checks if each in (model.id, model.name)]
        if len(both) > 1:
            raise ConfigurationError(
                f"QualityConfig.cross_check: {' and '.join(map(str, both))} are the same model, "
                "which has one vote: name it once"
            )


def _qualities(engine: Engine) -> Iterator[QualityConfig]:
    """Every way in which an agent's requests may be judged, but for what a call or a user says."""
    yield engine.quality
    found: list[QualityConfig | None] = []
    if engine.tiers is not None:
        found += [tier.quality for tier in engine.tiers.tiers.values()]
    if engine.domains is not None:
        found += [domain.quality for domain in engine.domains.detector.registry.values()]
    if engine.trials is not None:
        found += engine.trials.qualities
    yield from (config for config in found if config is not None)


async def warm(engine: Engine) -> None:
    """Opens the models that judge drafts, and that say what requests are about."""
    validator, routing = engine.validator, engine.domains
    if isinstance(validator, CascadeValidator):
        for config in _qualities(engine):
            checks = validator.local_checks(config)
            if checks is not None:
                await checks.warm_up()
    if routing is not None:
        await routing.detector.warm_up()
