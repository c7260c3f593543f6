"""How an agent judges drafts: what it is given is read, and checked before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.quality.calibration import calibration_of
from cascadeflow.quality.validator import CascadeValidator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cascadeflow.config import QualityMode
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.engine import Engine
    from cascadeflow.tiers.gate import Tiers

__all__ = ["asked_quality", "models_at_hand", "quality_of", "ready", "warm"]


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


def ready(engine: Engine, models: Sequence[ModelConfig]) -> Engine:
    """Looks for what any of an agent's requests may need; gives the engine.

    Raises:
        ConfigurationError: a calibration cannot be used, a model of the built-in checks is not on
            this machine, or one that is to give second opinions is none of the agent's; it says
            what to do.
    """
    for config in _qualities(engine):
        calibration_of(config)
        models_at_hand(engine.validator, config)
        if config.mode == "strict":
            _named_models(config, models)
    return engine


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
