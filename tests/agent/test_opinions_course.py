"""Mode strict on every way to ask: streams, batches, loops, tiers, variants, repeats, drafting."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.agent.opinions_site import (
    RIGHT,
    SUM,
    WRONG,
    Site,
    ask,
    graded,
    read,
    verdicts,
)

from cascadeflow import (
    AnswerReplaced,
    CascadeAgent,
    Domain,
    DomainDetector,
    Experiment,
    QualityConfig,
    TextChunk,
    TierConfig,
    TierForbiddenError,
    Tool,
    Variant,
)
from cascadeflow.pipeline.decide import Drafting
from cascadeflow.quality import RuleValidator
from cascadeflow.quality.calibration import Calibration, Expected
from cascadeflow.tiers.limits import FEATURES

if TYPE_CHECKING:
    from pathlib import Path

STRICT = QualityConfig.strict


def three(world: Any, judge: list[Any] | None = None, **scripts: Any) -> Site:
    return Site(world, judge, **{"small": [RIGHT], "middle": [RIGHT], "big": [RIGHT], **scripts})


# Ways to ask


@pytest.mark.parametrize("show_draft", [True, False])
def test_a_stream_asks_as_a_whole_answer_does(world: Any, show_draft: bool) -> None:
    site = three(world, [graded(1)], small=[WRONG])
    result, told = read(site.agent(), show_draft=show_draft)
    assert site.asked == ["small", "middle", "big?", "big"]
    replaced = [each for each in told if isinstance(each, AnswerReplaced)]
    assert len(replaced) == show_draft
    text = ""
    for each in told:
        if isinstance(each, AnswerReplaced):
            text = ""
        elif isinstance(each, TextChunk):
            text += each.text
    assert text == result.content == "The answer is 42."
    bodies = site.world.bodies
    assert [bool(body.get("stream")) for body in bodies] == [True, False, False, True]
    assert {each.model for each in told if isinstance(each, TextChunk)} <= {
        "openai:small",
        "openai:big",
    }


@pytest.mark.parametrize("show_draft", [True, False])
def test_a_stream_shows_an_accepted_draft_once(world: Any, show_draft: bool) -> None:
    site = three(world)
    result, told = read(site.agent(), show_draft=show_draft)
    text = "".join(each.text for each in told if isinstance(each, TextChunk))
    assert text == result.content
    kinds = [type(each).__name__ for each in told]
    assert kinds.index("DraftJudged") < kinds.index("RequestCompleted")


def test_every_request_of_a_batch_is_judged_by_itself(world: Any) -> None:
    site = three(world, middle=[RIGHT, WRONG, RIGHT, WRONG])
    agent = site.agent(quality_config=STRICT(judge=False))

    async def main() -> Any:
        async with agent:
            return await agent.run_batch([SUM] * 4, concurrency=1)

    results = asyncio.run(main())
    assert [each.quality.accepted for each in results] == [True, False, True, False]


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def test_in_a_tool_loop_calls_are_checked_and_the_last_answer_is_put_to_others(
    world: Any,
) -> None:
    call = {"text": "", "calls": (("c1", "add", '{"a": 17, "b": 25}'),), "finish": "tool_calls"}
    site = three(world, small=[call, WRONG], middle=[RIGHT])
    result = ask(site.agent(), tools=[add], tool_executor=True)
    assert site.asked == ["small", "small", "middle", "big?"]
    (judge,) = [body for body in site.world.bodies if "You grade" in str(body["messages"][0])]
    assert '[assistant]\ncalls add({"a": 17, "b": 25})' in judge["messages"][1]["content"]
    assert "[tool]\n42" in judge["messages"][1]["content"]
    assert "tools" not in judge
    assert result.cost.opinions is not None


def test_another_models_wish_to_call_a_tool_is_no_disagreement(world: Any) -> None:
    call = {"text": "", "calls": (("c1", "add", '{"a": 17, "b": 25}'),), "finish": "tool_calls"}
    site = three(world, middle=[call])
    result = ask(site.agent(), tools=[Tool("add", parameters={"type": "object"})])
    assert verdicts(result) == {"cross_check": "not_applicable", "judge": "passed"}
    assert site.asked == ["small", "middle", "big?"]


def test_structured_answers_are_compared_by_what_they_say(world: Any) -> None:
    def said(answer: int) -> dict[str, Any]:
        return {"text": json.dumps({"answer": answer})}

    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    site = three(world, small=[said(42)], middle=[said(42)])
    assert verdicts(ask(site.agent(), response_format=form)) == {"cross_check": "passed"}
    assert site.world.bodies[1]["response_format"]["json_schema"]["name"] == "sum"
    site = three(world, small=[said(41)], middle=[said(42)])
    assert verdicts(ask(site.agent(), response_format=form))["cross_check"] == "failed"
    site = three(world, small=[{"text": '{"answer": "many"}'}])
    result = ask(site.agent(), response_format=form)
    assert site.asked == ["small", "big"]  # nobody needs to be asked whether that can be read
    assert result.quality.accepted is False


def test_a_validator_of_ones_own_asks_nobody(world: Any) -> None:
    site = three(world)
    result = ask(site.agent(validator=RuleValidator()))
    assert site.asked == ["small"]
    assert result.quality.mode == "fast"


# Who decides how it is judged


def test_a_call_comes_before_its_tier_that_before_its_domain_that_before_the_agent(
    world: Any,
) -> None:
    def asked(**options: Any) -> list[str]:
        site = three(world)
        call = {
            key: options.pop(key) for key in ("quality_config", "quality_mode") if key in options
        }
        agent_quality = options.pop("agent", QualityConfig.fast())
        about = "math" if "domains" in options else None
        ask(site.agent(quality_config=agent_quality, **options), domain=about, **call)
        return site.asked

    strict, fast = STRICT(), QualityConfig.fast()
    domain = {"domains": DomainDetector([Domain("math", quality=strict)], semantic=False)}
    tier = {"tier_config": {"free": TierConfig("free", quality_config=fast)}}
    drafts, checks = ["small"], ["small", "middle"]
    assert asked() == drafts
    assert asked(agent=strict) == checks
    assert asked(**domain) == checks
    assert asked(**domain, **tier) == drafts
    assert asked(**domain, **tier, quality_config=strict) == checks
    assert asked(**domain, **tier, quality_mode="strict") == checks
    assert asked(agent=strict, quality_mode="fast") == drafts


def test_a_tier_without_strict_refuses_to_be_asked_for_it(world: Any) -> None:
    site = three(world)
    tier = TierConfig("free", features=FEATURES - {"strict"})
    for asked in ({"quality_mode": "strict"}, {"quality_config": STRICT()}):
        agent = site.agent(quality_config=QualityConfig.fast(), tier_config={"free": tier})
        with pytest.raises(TierForbiddenError, match="strict"):
            ask(agent, **asked)
    assert site.asked == []


def test_a_model_that_the_tier_forbids_gives_no_opinion(world: Any) -> None:
    tier = {"tier_config": {"free": TierConfig("free", models=["small", "big"])}}
    site = three(world)
    result = ask(site.agent(**tier))
    assert site.asked == ["small", "big?"]
    assert verdicts(result)["cross_check"] == "error"
    site = three(world)
    result = ask(site.agent(quality_config=STRICT(cross_check="middle", judge="middle"), **tier))
    assert site.asked == ["small", "big"]
    assert result.quality.accepted is False


def test_a_variant_may_judge_strictly(world: Any) -> None:
    site = three(world)
    experiment = Experiment(
        "judging",
        [Variant(name="as it is", weight=1e-9), Variant(name="strict", quality=STRICT())],
    )
    result = ask(
        site.agent(quality_config=QualityConfig.fast(), experiments=[experiment]), user_id="ann"
    )
    assert result.experiment.variant == "strict"
    assert site.asked == ["small", "middle"]


def test_a_hedged_draft_is_judged_once_and_by_who_did_not_draft(world: Any) -> None:
    async def before(model: str, _grades: bool) -> None:
        if model == "small" and first:
            first.clear()
            await asyncio.Event().wait()

    first = ["small"]
    site = three(world, small=[RIGHT], middle=[RIGHT])
    site.before = before
    result = ask(site.agent(hedge_after=0.01))
    assert result.routing.model_used == "openai:middle"
    assert site.asked == ["small", "middle", "small"]  # the one that was too slow, once more
    assert verdicts(result) == {"cross_check": "passed"}


# Repeats


def test_an_answer_is_served_again_only_to_who_judges_alike(world: Any) -> None:
    site = three(world)
    agent = site.agent(cache="memory", quality_config=QualityConfig.fast())
    configs = [
        QualityConfig.fast(),
        STRICT(),
        STRICT(samples=1),
        STRICT(rubric="5: right"),
        STRICT(judge=False),
        STRICT(cross_check="middle"),
        STRICT(clear_above=0.98),
        STRICT(clear_below=0.4),
        STRICT(sample_temperature=1),
        STRICT(check_timeout=20),
        STRICT(threshold=0.9),
    ]

    async def main() -> tuple[list[str], list[Any]]:
        async with agent:
            first = [await agent.run(SUM, quality_config=each) for each in configs]
            again = [await agent.run(SUM, quality_config=each) for each in configs]
            return [each.routing.route for each in first], again

    routes, again = asyncio.run(main())
    assert routes == ["cascade"] * len(configs)
    assert [each.routing.route for each in again] == ["cache"] * len(configs)
    sent = len(site.asked)
    assert again[1].cost.total == 0
    assert again[1].cost.opinions is None
    assert len(site.asked) == sent
    # What is saved is what the verifier's answer would have cost, not what all opinions read.
    assert again[1].cost.saved == again[0].cost.saved


def test_an_answer_is_served_again_only_while_its_calibration_stands(
    world: Any, tmp_path: Path
) -> None:
    def written(threshold: float) -> None:
        expected = Expected(estimate=0.9, low=0.8, high=1.0)
        Calibration(
            mode="fast",
            draft="small",
            verifier="big",
            questions=500,
            date="2026-11-23",
            target=0.97,
            confidence=0.95,
            promised=True,
            threshold=threshold,
            intercept=0.0,
            text=1.0,
            weights={},
            agrees=1.0,
            disagrees=-1.0,
            quality_kept=expected,
            saved=expected,
        ).write(file)

    file = tmp_path / "tuned.json"
    written(0.5)
    site = three(world)
    calibrated = QualityConfig.fast(calibration=str(file))
    agent = site.agent(cache="memory", quality_config=calibrated)

    async def main() -> list[str]:
        async with agent:
            routes = []
            for step in range(4):
                if step == 2:
                    written(0.99)
                    os.utime(file, ns=(1, 1))
                quality = replace(calibrated, threshold=0.8) if step == 3 else calibrated
                result = await agent.run(SUM, quality_config=quality)
                routes.append(f"{result.routing.route} {result.routing.escalated}")
            return routes

    assert asyncio.run(main()) == [
        "cascade False",
        "cache False",
        "cascade True",  # the file asks for more now
        "cascade False",  # and a threshold that is stated is neither
    ]


def test_a_draft_that_opinions_rejected_is_not_kept(world: Any) -> None:
    site = three(world, [graded(1)], small=[WRONG], middle=[500], big=[500])
    agent = site.agent("small", "middle", "big", cache="memory", on_verifier_failure="draft")
    quality = STRICT(cross_check=False)

    async def main() -> Any:
        async with agent:
            return [await agent.run(SUM, quality_config=quality) for _ in range(2)]

    results = asyncio.run(main())
    assert [each.routing.route for each in results] == ["cascade", "cascade"]


# Whether a draft pays


def test_what_an_opinion_is_expected_to_cost_is_weighed(world: Any) -> None:
    def expected(quality: QualityConfig | None) -> Any:
        site = three(world)
        result = ask(
            site.agent(
                quality_config=quality or QualityConfig.fast(),
                draft_up_to=None,
                drafting=Drafting(),
            )
        )
        return result.routing.expected_cost

    fast = expected(None)
    checked = expected(STRICT())
    sampled = expected(STRICT(cross_check=False, samples=1))
    many = expected(STRICT(cross_check=False, samples=3))
    graded_by = expected(STRICT(cross_check=False))
    assert None not in (fast, checked, sampled, many, graded_by)
    assert fast < sampled < many
    assert fast < checked
    assert fast < graded_by
    assert (many - fast) == 3 * (sampled - fast)


def test_a_draft_is_left_out_where_its_opinion_costs_more_than_it_saves(world: Any) -> None:
    """Draft 1, verifier 8: worth it. With an opinion of 7 besides it loses money, however good."""
    names = ("first", "second", "third", "fourth")
    site = Site(world, **{name: [RIGHT] for name in names})
    options: dict[str, Any] = {"draft_up_to": None, "drafting": Drafting()}
    assert ask(site.over(*names, **options)).routing.route == "cascade"
    dear = STRICT(cross_check="fourth")
    result = ask(site.over(*names, **options, quality_config=dear))
    assert result.routing.route == "direct"
    assert site.asked[-1] == "fourth"


def test_an_opinion_of_unknown_price_leaves_the_decision_to_the_level(world: Any) -> None:
    site = three(world)
    small, middle, big = site.agent().models
    agent = CascadeAgent(
        [small, replace(middle, price=None), big],
        STRICT(),
        order="given",
        transport=site.world.transport,
        drafting=Drafting(),
        unknown_price="allow",
    )
    result = ask(agent)
    assert "is not known" in result.routing.reason
    assert site.asked[:2] == ["small", "middle"]
    assert result.cost.total is None
    assert result.cost.opinions is None
