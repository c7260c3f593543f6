"""Mode balanced through an agent: what local models say decides, wherever the mode was chosen."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from tests.models.test_text_classifier import load, written
from tests.quality.local_models import Broken, Stranger
from tests.quality.local_models import request as real_vectors

from cascadeflow import (
    CascadeAgent,
    ConfigurationError,
    CostTracker,
    Domain,
    DomainDetector,
    Experiment,
    QualityConfig,
    TierConfig,
    Variant,
)
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.models.embedding_files import PATH_VARIABLE
from cascadeflow.pipeline import events
from cascadeflow.quality.validator import CascadeValidator

if TYPE_CHECKING:
    from pathlib import Path

    from cascadeflow._native import Vectors

CAPITAL = "What is the capital of France?"
FAST = QualityConfig.fast()
REJECTS = QualityConfig.balanced(toxicity_threshold=0.0)
"""A configuration in which a local check rejects every draft."""
ACCEPTS = QualityConfig.balanced(relevance_threshold=0.0, toxicity_threshold=1.0, threshold=0.0)
"""One in which they reject none that has a text."""


def agent_of(w: Any, quality: QualityConfig, embedder: Any = None, **options: Any) -> CascadeAgent:
    """An agent that always drafts, and judges by this."""
    options = {"validator": CascadeValidator(embedder), "draft_up_to": "expert", **options}
    agent: CascadeAgent = w.agent("small", "big", quality_config=quality, **options)
    return agent


def ask(agent: CascadeAgent, query: str = CAPITAL, **options: Any) -> Any:
    async def main() -> Any:
        async with agent:
            return await agent.run(query, **options)

    return asyncio.run(main())


def verdicts(result: Any) -> dict[str, str]:
    local = ("relevance", "grounding", "toxicity")
    return {each.name: each.verdict for each in result.quality.checks if each.name in local}


# What becomes of a draft


@pytest.fixture(scope="module")
def minilm() -> SentenceModel:
    real_vectors()  # skips where the model is not there
    return SentenceModel.find()


@pytest.mark.parametrize(
    ("draft", "check"),
    [
        ("Paris, you worthless idiot. Everybody hates you.", "toxicity"),
        ("Bananas are yellow.", ""),
    ],
)
def test_a_bad_draft_is_answered_by_the_verifier(
    world: Any, minilm: SentenceModel, draft: str, check: str
) -> None:
    w = world(small=[draft], big=["Paris."])
    by_text = ask(agent_of(w, FAST, minilm))
    assert by_text.content == draft
    w = world(small=[draft], big=["Paris."])
    result = ask(agent_of(w, QualityConfig.balanced(), minilm))
    assert w.asked == ["small", "big"]
    assert result.content == "Paris."
    assert result.routing.escalated
    assert result.quality.accepted is False
    if check:
        assert f"{check}: " in result.quality.reason


def test_a_good_draft_is_the_answer(world: Any, minilm: SentenceModel) -> None:
    w = world(small=["Paris."], big=["Paris."])
    result = ask(agent_of(w, QualityConfig.balanced(), minilm))
    assert w.asked == ["small"]
    assert result.quality.mode == "balanced"
    assert result.quality.accepted is True
    assert verdicts(result)["relevance"] == "passed"
    assert result.late_quality is None
    assert asyncio.run(result.validated()) is result.quality


def test_a_check_that_cannot_run_escalates(world: Any) -> None:
    w = world(small=["Paris."], big=["Paris."])
    result = ask(agent_of(w, ACCEPTS, Broken()))
    assert w.asked == ["small", "big"]
    assert result.quality.accepted is False
    assert "could not run" in result.quality.reason


def test_the_draft_is_judged_before_a_stream_shows_it(world: Any) -> None:
    w = world(small=["Lyon it is."], big=["Paris it is."])
    agent = agent_of(w, REJECTS, Stranger())

    async def main() -> list[Any]:
        async with agent:
            return [event async for event in agent.stream(CAPITAL)]

    told = asyncio.run(main())
    shown = "".join(event.text for event in told if isinstance(event, events.TextChunk))
    assert shown == "Paris it is."
    (judged,) = [event for event in told if isinstance(event, events.DraftJudged)]
    assert (judged.quality.mode, judged.quality.accepted, judged.late) == ("balanced", False, False)


# Where the mode may be chosen


def drafted(world: Any, **options: Any) -> list[str]:
    """Who is asked: the drafter alone where judged by text, the verifier too where by REJECTS."""
    w = world(small=["Paris."], big=["Paris."])
    call = {
        key: options.pop(key)
        for key in ("quality_config", "quality_mode", "domain", "user_id")
        if key in options
    }
    ask(agent_of(w, options.pop("agent", FAST), Stranger(), **options), **call)
    asked: list[str] = w.asked
    return asked


def test_it_may_be_chosen_for_an_agent_a_call_a_tier_or_a_domain(world: Any) -> None:
    text_alone, both = ["small"], ["small", "big"]
    tier = {"tier_config": {"free": TierConfig("free", quality_config=REJECTS)}}
    domain = {
        "domains": DomainDetector([Domain("math", quality=REJECTS)], semantic=False),
        "domain": "math",
    }
    assert drafted(world) == text_alone
    assert drafted(world, agent=REJECTS) == both
    assert drafted(world, quality_config=REJECTS) == both
    assert drafted(world, agent=REJECTS, quality_mode="fast") == text_alone
    assert drafted(world, **tier) == both
    assert drafted(world, **tier, quality_config=FAST) == text_alone
    assert drafted(world, **domain) == both
    assert drafted(world, **domain, quality_config=ACCEPTS) == text_alone
    off = dataclasses.replace(REJECTS, without=("relevance", "grounding", "toxicity"))
    assert drafted(world, agent=off) == text_alone


def test_a_variant_of_an_experiment_may_choose_it(world: Any) -> None:
    experiment = Experiment("x", [Variant(name="as it is"), Variant(name="new", quality=REJECTS)])
    arms: dict[str, str] = {}
    for number in range(100):
        found = experiment.choose(f"u{number}", "")
        if found is not None:
            arms.setdefault(found.variant, f"u{number}")
    asked = {
        arm: drafted(world, experiments=[experiment], user_id=user) for arm, user in arms.items()
    }
    assert asked == {"as it is": ["small"], "new": ["small", "big"]}


# A model that is not there


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, "/nowhere/at-all")


HOW = r"/nowhere/at-all.*without=\('relevance', 'grounding', 'toxicity'\)"


@pytest.mark.usefixtures("no_model")
def test_an_agent_without_the_model_is_refused_when_it_is_made(world: Any) -> None:
    w = world(small=["Paris."], big=["Paris."])
    configured: list[dict[str, Any]] = [
        {"quality": QualityConfig.balanced()},
        {"quality": QualityConfig.strict()},
        {"tier_config": {"free": TierConfig("free", quality_mode="balanced")}},
        {"domains": DomainDetector([Domain("math", quality=REJECTS)], semantic=False)},
        {"experiments": [Experiment("x", [Variant(name="a"), Variant(name="b", quality=REJECTS)])]},
    ]
    for options in configured:
        with pytest.raises(ConfigurationError, match=HOW):
            agent_of(w, options.pop("quality", FAST), **options)
    with pytest.raises(ConfigurationError, match=HOW):
        w.agent(validator=None, quality_mode="balanced")
    off = QualityConfig.balanced(without=("relevance", "grounding", "toxicity"))
    assert ask(agent_of(w, off)).quality.mode == "balanced"
    own = w.agent(quality_mode="balanced")  # a validator of the user's own needs no model of ours
    assert ask(own).quality.accepted is True


@pytest.mark.usefixtures("no_model")
def test_a_call_without_the_model_is_refused_before_anything_is_sent_or_held(world: Any) -> None:
    w = world(small=["Paris."], big=["Paris."])
    tracker = CostTracker()
    agent = agent_of(w, FAST, cost_tracker=tracker)

    async def streamed() -> None:
        async with agent:
            async for _ in agent.stream(CAPITAL, quality_mode="balanced"):
                pass

    for quality in ({"quality_mode": "balanced"}, {"quality_config": QualityConfig.strict()}):
        with pytest.raises(ConfigurationError, match=HOW):
            ask(agent, user_id="ann", **quality)
    with pytest.raises(ConfigurationError, match=HOW):
        asyncio.run(streamed())
    assert w.asked == []
    assert w.events == []
    assert ask(agent, user_id="ann").quality.mode == "fast"


# Models opened beforehand


class Warmed(Stranger):
    """An embedder that counts how often it is asked for what no check reads: to open."""

    def __init__(self) -> None:
        super().__init__()
        self.warmed = 0

    async def vectors(self, texts: Any) -> Vectors:
        self.warmed += 1
        return await super().vectors(texts)


def warm(agent: CascadeAgent) -> None:
    async def main() -> None:
        async with agent:
            await agent.warm_up()

    asyncio.run(main())


def test_warming_up_opens_the_models_and_nothing_where_none_is_needed(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load("onnx_writer"), "POSITIONS", 256)  # as many as are read of a text
    own = written(tmp_path)
    w = world(small=["Paris."], big=["Paris."])
    embedder = Warmed()
    agent = agent_of(w, dataclasses.replace(ACCEPTS, toxicity_model=str(own)), embedder)
    warm(agent)
    assert embedder.warmed == 1
    assert embedder.asked == []
    (own / "model.onnx").unlink()  # it is in memory
    assert verdicts(ask(agent))["toxicity"] == "passed"
    idle = Warmed()
    warm(agent_of(w, FAST, idle))
    assert idle.warmed == 0


def test_warming_up_opens_what_tiers_domains_and_variants_need(world: Any) -> None:
    configured: list[dict[str, Any]] = [
        {"tier_config": {"free": TierConfig("free", quality_config=REJECTS)}},
        {"domains": DomainDetector([Domain("math", quality=REJECTS)], semantic=False)},
        {"experiments": [Experiment("x", [Variant(name="a"), Variant(name="b", quality=REJECTS)])]},
    ]
    warmed = []
    for options in configured:
        embedder = Warmed()
        warm(agent_of(world(small=["a"], big=["b"]), FAST, embedder, **options))
        warmed.append(embedder.warmed)
    assert warmed == [1, 1, 1]


def test_warming_up_says_which_file_is_damaged(world: Any, tmp_path: Path) -> None:
    own = written(tmp_path)
    (own / "model.onnx").write_bytes(b"no graph")
    quality = QualityConfig.balanced(toxicity_model=str(own))
    agent = agent_of(world(small=["a"], big=["b"]), quality, Warmed())
    with pytest.raises(ConfigurationError, match=r"model\.onnx"):
        warm(agent)


# Vectors that are shared


def test_a_text_is_embedded_once_for_the_domain_and_the_checks(world: Any) -> None:
    embedder = Stranger()
    vague = "and the other one?"
    w = world(small=["It is the second of both."], big=["Paris."])
    result = ask(agent_of(w, ACCEPTS, embedder, domains=DomainDetector(semantic=embedder)), vague)
    assert set(verdicts(result).values()) == {"passed", "not_applicable"}
    assert sorted(embedder.asked) == ["It is the second of both.", vague]
    apart = Stranger("another/1")
    ask(agent_of(w, ACCEPTS, embedder, domains=DomainDetector(semantic=False)), vague)
    assert sorted(embedder.asked) == sorted(["It is the second of both.", vague] * 2)
    assert apart.asked == []


def test_a_rejected_draft_does_not_have_its_question_read_again(world: Any) -> None:
    embedder = Stranger()
    w = world(small=["Lyon."], big=["Paris."])
    ask(agent_of(w, REJECTS, embedder))
    assert w.asked == ["small", "big"]
    assert sorted(embedder.asked) == ["Lyon.", CAPITAL]


def test_what_is_written_of_a_verdict_quotes_no_answer(
    world: Any, minilm: SentenceModel, capsys: pytest.CaptureFixture[str]
) -> None:
    question = (
        "<document>The ferry to the island leaves the harbour at nine in the morning, and it takes "
        "two hours.</document>\nWhen does the ferry leave?"
    )
    w = world(small=["The captain, Henrik Olsen, was born in Bergen."], big=["At nine."])
    result = ask(agent_of(w, QualityConfig.balanced(), minilm, verbose=True), question)
    assert verdicts(result)["grounding"] == "failed"
    written_lines = capsys.readouterr().err
    assert "draft rejected" in written_lines
    assert "Olsen" not in written_lines
