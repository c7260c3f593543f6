"""How drafts are judged is checked when the agent is made, wherever it is said."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from tests.agent.opinions_site import ask, why

from cascadeflow import CascadeAgent, QualityConfig
from cascadeflow.domains.registry import Domain
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.experiments import Experiment, Variant
from cascadeflow.tiers.config import TierConfig

if TYPE_CHECKING:
    from cascadeflow.quality import QualityReport

LUNA, OPUS = "openai:gpt-6-luna", "anthropic:claude-opus-5-5"


def agent_of(*models: str, **options: Any) -> CascadeAgent:
    return CascadeAgent(models or (LUNA, OPUS), **options)


# Calibrations


def test_a_calibration_that_cannot_be_read_is_refused_wherever_it_is_given() -> None:
    missing = QualityConfig.fast(calibration="/nowhere/missing.json")
    variant = Variant(name="o", quality=missing)
    domain = Domain("legal", quality=missing)
    for options in (
        {"quality_config": missing},
        {"experiments": [Experiment("x", [Variant(name="a"), variant])]},
        {"tier_config": {"free": TierConfig("free", quality_config=missing)}},
        {"domains": [domain]},
    ):
        with pytest.raises(ConfigurationError, match=r"/nowhere/missing\.json cannot be read"):
            agent_of(**options)


class Raising:
    """A validator that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def judge(self, *_: Any, **__: Any) -> QualityReport:
        raise self.error


def test_the_log_says_what_cannot_be_used_and_quotes_no_request(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    said = ConfigurationError("the calibration q.json is gone")
    with caplog.at_level(logging.WARNING):
        w = world(small=["Oslo"], big=["Oslo"])
        result = ask(w.agent(validator=Raising(said)))
        assert said.args[0] in why(result, "validator")
        assert "raised ConfigurationError: the calibration q.json is gone" in caplog.text
        ask(world(small=["Oslo"], big=["Oslo"]).agent(validator=Raising(KeyError("a prompt"))))
        ask(
            world(small=["Oslo"], big=["Oslo"]).agent(
                validator=Raising(InvalidRequestError("a prompt"))
            )
        )
    assert "raised KeyError: the draft" in caplog.text
    assert "a prompt" not in caplog.text
