"""How drafts are judged is checked when the agent is made, wherever it is said."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import pytest
from tests.agent.opinions_site import ask, why
from tests.quality.test_calibration import written

from cascadeflow import CascadeAgent, QualityConfig
from cascadeflow.config import LOCAL_CHECKS
from cascadeflow.domains.registry import Domain
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.experiments import Experiment, Variant
from cascadeflow.tiers.config import TierConfig

if TYPE_CHECKING:
    from pathlib import Path

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


def tuned(folder: Path, **changes: Any) -> str:
    names = {"draft": "gpt-6-luna-2026-06-01", "verifier": "Claude-Opus-5-5"}
    return written(folder, **{**names, **changes})


def test_a_calibration_for_other_models_is_taken_and_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tuned(tmp_path)
    fast = QualityConfig.fast(calibration=path)
    assert warned(caplog, quality_config=fast) == []  # its names are longer, or shorter
    assert warned(caplog, "openai:gpt-5-mini", quality_config=fast) == []  # nothing is drafted
    tiers = {"free": TierConfig("free", quality_config=fast)}
    (said,) = warned(caplog, "openai:gpt-5-nano", OPUS, quality_config=fast, tier_config=tiers)
    assert path in said
    assert "the drafter openai:gpt-5-nano (tuned with gpt-6-luna-2026-06-01):" in said
    (said,) = warned(caplog, LUNA, "anthropic:claude-sonnet-4-5", quality_config=fast)
    assert "the verifier anthropic:claude-sonnet-4-5 (tuned with Claude-Opus-5-5):" in said
    # A longer name is not a snapshot of the shorter one as such.
    mini = QualityConfig.fast(calibration=tuned(tmp_path, draft="gpt-5"))
    (said,) = warned(caplog, "openai:gpt-5-mini", OPUS, quality_config=mini)
    assert "the drafter openai:gpt-5-mini (tuned with gpt-5):" in said
    # Which models a domain's requests go to is not known beforehand.
    path = tuned(tmp_path)
    other = {"quality_config": fast, "enable_domain_routing": True}
    assert warned(caplog, "openai:gpt-5-nano", OPUS, **other) == []


def test_a_calibration_is_said_to_know_nothing_of_other_opinions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    off = {"mode": "strict", "without": LOCAL_CHECKS}
    path = tuned(tmp_path, cross_check="gemini-2.5-flash", **off)
    three = (LUNA, "gemini:gemini-2.5-flash", OPUS)

    def said(**options: Any) -> list[str]:
        quality = STRICT(**{"calibration": path, "judge": False, **options})
        return warned(caplog, *three, quality_config=quality)

    assert said() == said(cross_check="gemini-2.5-flash") == []
    for options, what in (
        ({"judge": True}, "for a judge (judge=False turns it off):"),
        ({"samples": 2}, "for samples=2:"),
        ({"cross_check": OPUS}, f"for the cross-check {OPUS} (tuned with gemini-2.5-flash):"),
        ({"cross_check": ("gemini-2.5-flash", OPUS)}, "for several cross-checks (tuned with"),
        ({"cross_check": False, "samples": 1}, "for no cross-check (tuned with gemini-2.5-flash),"),
    ):
        (warning,) = said(**options)
        assert what in warning


def test_a_calibration_that_promises_nothing_is_said_to_accept_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tuned(tmp_path, promised=False, threshold=1.0)
    (said,) = warned(caplog, quality_config=QualityConfig.fast(calibration=path))
    assert said.startswith(f"the calibration {path} promises nothing")


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


# Second opinions


def warned(caplog: pytest.LogCaptureFixture, *models: str, **options: Any) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        agent_of(*models, **options)
    return [record.getMessage() for record in caplog.records]


STRICT: Any = functools.partial(QualityConfig.strict, without=LOCAL_CHECKS)


def test_an_agent_whose_only_judge_is_its_verifier_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiers = {"free": TierConfig("free", quality_config=STRICT(threshold=0.9))}
    (said,) = warned(caplog, quality_config=STRICT(), tier_config=tiers)
    assert f"nobody but the verifier, {OPUS}" in said
    assert "name a judge=" in said
    assert warned(caplog, LUNA, "openai:gpt-5-mini", OPUS, quality_config=STRICT()) == [said]
    variant = Variant(name="o", quality=STRICT())
    assert len(warned(caplog, experiments=[Experiment("x", [Variant(name="a"), variant])])) == 1
    # Where somebody else can be asked, or nobody drafts, there is nothing to say.
    for options in (
        {"judge": LUNA},
        {"samples": 1},
        {"cross_check": False},
        {"cross_check": OPUS},
    ):
        assert warned(caplog, quality_config=STRICT(**options)) == []
    three = (LUNA, "gemini:gemini-2.5-flash", OPUS)
    assert warned(caplog, *three, quality_config=STRICT()) == []
    assert warned(caplog, quality_config=STRICT(), enable_cascade=False) == []
    assert warned(caplog, OPUS, quality_config=STRICT()) == []
    assert warned(caplog) == []


def test_the_only_model_that_drafts_cannot_be_its_own_cross_check() -> None:
    for wanted in (LUNA, "gpt-6-luna", ("gpt-6-luna", OPUS)):
        config = STRICT(cross_check=wanted)
        with pytest.raises(ConfigurationError, match="the only model that drafts"):
            agent_of(quality_config=config)
        # With a third model, and in a domain, another one may draft in its place.
        agent_of(LUNA, "gemini:gemini-2.5-flash", OPUS, quality_config=config)
        agent_of(quality_config=config, enable_domain_routing=True)
        agent_of(quality_config=config, enable_cascade=False)
        variant = Variant(name="o", quality=config)
        with pytest.raises(ConfigurationError, match="the only model that drafts"):
            agent_of(experiments=[Experiment("x", [Variant(name="a"), variant])])
    agent_of(quality_config=STRICT(cross_check=OPUS))
