"""The variant that was drawn is what is used, on every path, and the experiment hears of it."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import Experiment, Guardrail, Metric, Variant
from cascadeflow.agent_v01 import StreamEventType
from cascadeflow.config import QualityConfig
from cascadeflow.errors import (
    AllModelsFailedError,
    ConfigurationError,
    InvalidRequestError,
    TierForbiddenError,
    UnknownPriceError,
)
from cascadeflow.experiments import MemoryExperiments
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events
from cascadeflow.tiers.config import TierConfig

if TYPE_CHECKING:
    from cascadeflow.agent import CascadeAgent


def model(name: str, **options: Any) -> ModelConfig:
    return ModelConfig(
        name,
        "openai",
        price=Price(input=20, output=60) if name == "dear" else Price(input=1, output=2),
        api_key="sk-test",
        base_url="http://127.0.0.1:9/v1",
        **options,
    )


def trial(variant: Variant, **options: Any) -> Experiment:
    return Experiment("x", [Variant(name="as it is"), variant], **options)


def user_of(experiment: Experiment, variant: str) -> str:
    """A user who is in a variant."""
    for number in range(1000):
        found = experiment.choose(f"u{number}", "")
        if found is not None and found.variant == variant:
            return f"u{number}"
    raise AssertionError(variant)


def ask(agent: CascadeAgent, **options: Any) -> Any:
    async def main() -> Any:
        async with agent:
            return await agent.run("Where is Oslo?", **options)

    return asyncio.run(main())


def test_a_variants_threshold_is_the_one_that_judges_and_the_result_names_it(world: Any) -> None:
    experiment = trial(Variant(name="keen", quality=QualityConfig.fast(threshold=0.97)))
    w = world(small=["Oslo"], big=["Oslo"])
    agent = w.agent(experiments=[experiment], quality_config=QualityConfig.fast(threshold=0.6))
    for name, threshold in (("as it is", 0.6), ("keen", 0.97)):
        result = ask(agent, user_id=user_of(experiment, name))
        assert result.quality.threshold == threshold
        assert (result.experiment.name, result.experiment.variant) == ("x", name)
        assert result.to_dict()["experiment"] == {"name": "x", "variant": name}
        assert result.metadata["experiment_variant"] == name


def test_without_experiments_the_result_names_none(world: Any) -> None:
    result = ask(world(small=["Oslo"], big=["Oslo"]).agent())
    assert result.to_dict()["experiment"] == {"name": None, "variant": None}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"models": [model("dear"), model("other")]}, ["other", "dear"]),
        ({"models": [model("other")]}, ["other"]),
        ({"draft_models": [model("other")]}, ["other", "big"]),
        ({"verifiers": [model("dear")]}, ["small", "dear"]),
        ({"draft_models": [model("other")], "verifiers": [model("dear")]}, ["other", "dear"]),
        ({"drafting": "never"}, ["big"]),
        ({"drafting": "always"}, ["small", "big"]),
    ],
)
def test_a_variants_models_are_those_that_are_asked(
    world: Any, options: dict[str, Any], asked: list[str]
) -> None:
    experiment = trial(Variant(name="new", **options))
    w = world(small=["BAD"], big=["right"], other=["BAD other"], dear=["right"])
    result = ask(
        w.agent("small", "big", experiments=[experiment]), user_id=user_of(experiment, "new")
    )
    assert w.asked == asked
    assert result.routing.model_used == f"openai:{asked[-1]}"
    w = world(small=["BAD"], big=["right"])
    ask(w.agent("small", "big", experiments=[experiment]), user_id=user_of(experiment, "as it is"))
    assert w.asked == ["small", "big"]


def test_drafting_up_to_a_level_is_the_variants_own(world: Any) -> None:
    experiment = trial(Variant(name="new", drafting="moderate"))
    w = world(small=["a"], big=["b"])
    agent = w.agent(experiments=[experiment])
    for hint in ("moderate", "hard"):
        ask(agent, user_id=user_of(experiment, "new"), complexity_hint=hint)
    assert w.asked == ["small", "big"]


def test_drafting_always_is_not_weighed(world: Any) -> None:
    experiment = trial(Variant(name="new", drafting="always"))
    w = world(small=[{"text": "Oslo", "output_tokens": 50}], big=["b"])
    agent = w.agent(experiments=[experiment])
    weighed = ask(agent, user_id=user_of(experiment, "as it is"))
    told = ask(agent, user_id=user_of(experiment, "new"))
    assert weighed.routing.expected_cost is not None
    assert told.routing.expected_cost is None


def test_streams_and_batches_and_v01s_events_use_the_variant_too(world: Any) -> None:
    experiment = trial(Variant(name="new", models=[model("other")]))
    user = user_of(experiment, "new")
    w = world(small=["a"], big=["b"], other=["c"])
    agent = w.agent("small", "big", experiments=[experiment])

    async def main() -> tuple[Any, Any, Any]:
        async with agent:
            told = [event async for event in agent.stream("Hi", user_id=user)]
            batch = await agent.run_batch(["Hi", "Ho"], user_id=user)
            old = [event async for event in agent.stream_events("Hi", user_id=user)]
            return told[-1], batch, old

    last, batch, old = asyncio.run(main())
    assert isinstance(last, events.RequestCompleted)
    assert last.result.experiment.variant == "new"
    assert [result.experiment.variant for result in batch.results] == ["new", "new"]
    assert {event.data["model"] for event in old if event.type is StreamEventType.CHUNK} == {
        "other"
    }
    assert w.asked == ["other"] * 4


def test_what_came_of_requests_is_counted(world: Any) -> None:
    experiment = trial(Variant(name="new", models=[model("other")]))
    w = world(small=["good"], big=["b"], other=["c"])
    agent = w.agent("small", "big", experiments=[experiment])

    async def main() -> None:
        async with agent:
            for number in range(20):
                await agent.run("Hi", user_id=f"u{number}")

    asyncio.run(main())
    control, new = experiment._store.read("x"), experiment.report()
    assert control.arrivals  # the agent wrote them when it was closed
    assert new.users == 20
    old, other = new.variants
    measured = {each.metric: each for each in (old.primary, *old.others)}
    assert measured["cost"].mean == pytest.approx(float(Decimal("0.0002")))  # 100 in, 50 out
    assert measured["accepted"].mean == 1.0
    assert measured["escalated"].mean == 0.0
    assert measured["error"].mean == 0.0
    assert measured["quality"].mean == pytest.approx(0.9)
    assert measured["latency_ms"].mean is not None
    beside = {each.metric: each for each in (other.primary, *other.others)}
    assert beside["accepted"].mean == 0.0
    assert "quality" not in {metric for metric, each in beside.items() if each.users}


def test_a_request_that_gets_no_answer_is_an_error_and_a_refused_one_is_not(world: Any) -> None:
    experiment = trial(Variant(name="new", models=[model("other")]))
    user = user_of(experiment, "new")
    w = world(small=["a"], big=["b"], other=[500])
    agent = w.agent("small", "big", experiments=[experiment])
    with pytest.raises(AllModelsFailedError):
        ask(agent, user_id=user)
    with pytest.raises(InvalidRequestError):
        ask(agent, user_id=user, complexity_hint="odd")

    async def cancelled() -> None:
        async with agent:
            stream = agent.stream("Hi", user_id=user)
            await anext(stream)
            await stream.aclose()

    asyncio.run(cancelled())
    new = experiment.report().variants[1]
    error = next(each for each in new.others if each.metric == "error")
    assert (error.requests, error.mean) == (1, 1.0)


def test_a_guard_rail_stops_a_failing_variant_while_requests_come(world: Any) -> None:
    experiment = trial(
        Variant(name="new", models=[model("other")]),
        guardrails=[Guardrail(metric="error", at_most=0.05)],
        every=5,
    )
    w = world(small=["a"], big=["b"], other=[500])
    agent = w.agent("small", "big", experiments=[experiment])

    async def main() -> None:
        async with agent:
            await agent.run_batch(["Hi"] * 80)
            experiment.flush()
            results = await agent.run_batch(["Hi"] * 20)
            assert results.failure_count == 0
            assert {result.experiment.variant for result in results.results} == {"as it is"}

    asyncio.run(main())
    assert experiment.stopped == {"new"}


def test_feedback_finds_the_variant_by_the_requests_own_id(world: Any) -> None:
    thumb = Metric(name="thumb", better="higher", kind="share")
    experiment = trial(Variant(name="new", drafting="never"), metric=thumb)
    agent = world(small=["a"], big=["b"]).agent(experiments=[experiment])
    result = ask(agent)
    drawn = experiment.choose(None, result.request_id)
    assert drawn is not None
    assert drawn.variant == result.experiment.variant
    assert experiment.record("thumb", 1, request_id=result.request_id)


# Who takes no part


@pytest.mark.parametrize(
    ("options", "takes_part"),
    [
        ({"model": "openai:big"}, False),
        ({"force_direct": True}, False),
        ({"quality_config": QualityConfig.fast(threshold=0.5)}, False),
        ({"quality_mode": "fast"}, False),
        ({"complexity_hint": "simple"}, True),
        ({}, True),
    ],
)
def test_who_says_in_the_call_what_the_variants_say_takes_no_part(
    world: Any, options: dict[str, Any], takes_part: bool
) -> None:
    experiment = trial(Variant(name="keen", quality=QualityConfig.fast(threshold=0.97)))
    agent = world(small=["a"], big=["b"]).agent(experiments=[experiment])
    for variant in ("as it is", "keen"):
        result = ask(agent, user_id=user_of(experiment, variant), **options)
        assert result.experiment.variant == (variant if takes_part else None)
        if not takes_part:
            assert result.quality.threshold != 0.97
    assert experiment.report().users == (2 if takes_part else 0)


def test_a_calls_quality_does_not_count_where_the_variants_are_about_models(world: Any) -> None:
    experiment = trial(Variant(name="new", models=[model("other")]))
    agent = world(small=["a"], big=["b"], other=["c"]).agent(
        "small", "big", experiments=[experiment]
    )
    result = ask(agent, user_id=user_of(experiment, "new"), quality_mode="fast")
    assert result.experiment.variant == "new"


@pytest.mark.parametrize(
    ("variant", "tier", "takes_part"),
    [
        (Variant(name="new", models=[model("other")]), TierConfig(name="t"), True),
        (
            Variant(name="new", models=[model("other")]),
            TierConfig(name="t", blocked_models=("openai:other",)),
            False,
        ),
        (
            Variant(name="new", models=[model("other")]),
            TierConfig(name="t", models=("openai:small", "openai:big")),
            False,
        ),
        (
            Variant(name="new", quality=QualityConfig.fast(threshold=0.97)),
            TierConfig(name="t", quality_config=QualityConfig.fast(threshold=0.5)),
            False,
        ),
        (
            Variant(name="new", quality=QualityConfig.fast(threshold=0.97)),
            TierConfig(name="t", models=("openai:small", "openai:big")),
            True,
        ),
    ],
)
def test_a_tier_holds_over_a_variant_and_who_is_in_it_takes_no_part(
    world: Any, variant: Variant, tier: TierConfig, takes_part: bool
) -> None:
    experiment = trial(variant)
    for name in ("as it is", "new"):
        w = world(small=["BAD"], big=["b"], other=["c"])
        agent = w.agent(
            "small", "big", experiments=[experiment], tier_config={"t": tier}, default_tier="t"
        )
        result = ask(agent, user_id=user_of(experiment, name))
        assert result.experiment.variant == (name if takes_part else None)
        if not takes_part:
            assert w.asked == ["small", "big"]
            expected = tier.quality.threshold if tier.quality else QualityConfig().threshold
            assert result.quality.threshold == expected
        elif variant.models is not None:
            assert w.asked == (["other"] if name == "new" else ["small", "big"])
    assert experiment.report().users == (2 if takes_part else 0)


def test_a_tier_that_may_use_some_models_still_may_not_use_the_others(world: Any) -> None:
    experiment = trial(Variant(name="new", drafting="never"))
    tier = TierConfig(name="t", models=("openai:small",))
    w = world(small=["a"], big=["b"])
    agent = w.agent(experiments=[experiment], tier_config={"t": tier}, default_tier="t")
    for name in ("as it is", "new"):
        ask(agent, user_id=user_of(experiment, name))
    assert w.asked == ["small", "small"]
    with pytest.raises(TierForbiddenError):
        ask(agent, user_id=user_of(experiment, "new"), model="openai:big")


# The cache


def test_an_answer_of_one_variant_is_not_given_to_another(world: Any) -> None:
    prompt = dataclasses.replace(model("small"), system_prompt="Be brief.")
    experiment = trial(Variant(name="new", models=[prompt]))
    same = trial(Variant(name="same"))
    for tested, asked in ((experiment, ["big", "small"]), (same, ["big"])):
        w = world(small=["a"], big=["b"])
        agent = w.agent(
            "small",
            "big",
            experiments=[tested],
            cache="memory",
            cache_scope="global",
            enable_cascade=False,
        )

        async def main(agent: CascadeAgent = agent, tested: Experiment = tested) -> list[Any]:
            other = tested.variants[1].name
            users = [user_of(tested, name) for name in ("as it is", other, "as it is", other)]
            return [await agent.run("Where is Oslo?", user_id=user) for user in users]

        results = asyncio.run(main())
        assert w.asked == asked
        assert results[-1].routing.route == "cache"
        assert results[-1].experiment.variant == tested.variants[1].name
        cached = experiment.report().variants[0] if tested is experiment else None
        if cached is not None:  # a repeat costs nothing, and nobody drafted or judged
            measured = {each.metric: each for each in (cached.primary, *cached.others)}
            assert measured["cost"].requests == 2
            assert measured["accepted"].requests == 1


def test_models_of_one_name_that_are_asked_differently_are_cached_apart(world: Any) -> None:
    brief = dataclasses.replace(model("big"), system_prompt="Be brief.")
    experiment = trial(Variant(name="new", verifiers=[brief]))
    w = world(small=["a"], big=["b"])
    agent = w.agent(
        "small",
        "big",
        experiments=[experiment],
        cache="memory",
        cache_scope="global",
        enable_cascade=False,
    )
    for name in ("as it is", "new"):
        result = ask(agent, user_id=user_of(experiment, name))
        assert result.routing.route == "direct"
    first, second = w.bodies
    assert second["messages"][0]["content"] == "Be brief."
    assert len(second["messages"]) == len(first["messages"]) + 1


# What cannot be


def test_several_experiments_do_not_share_a_user(world: Any) -> None:
    half = Experiment("half", [Variant(name="a"), Variant(name="b")], share=0.5)
    rest = Experiment("rest", [Variant(name="c"), Variant(name="d")])
    agent = world(small=["a"], big=["b"]).agent(experiments=[half, rest])

    async def main() -> list[Any]:
        async with agent:
            return [await agent.run("Hi", user_id=f"u{number}") for number in range(30)]

    results = asyncio.run(main())
    assert half.report().users + rest.report().users == 30
    assert half.report().users
    assert rest.report().users
    for result in results:
        assert (result.experiment.name == "half") == (result.experiment.variant in {"a", "b"})


@pytest.mark.parametrize(
    ("experiments", "error", "message"),
    [
        ("x", ConfigurationError, "experiments must be a list of Experiment"),
        (["x"], ConfigurationError, "a list of Experiment, not of str"),
        (
            [trial(Variant(name="new", models=["openai:gpt-99-imaginary"]))],
            UnknownPriceError,
            "State it",
        ),
        (
            [trial(Variant(name="new", models=["nobody:gpt-5"]))],
            ConfigurationError,
            "no provider is called 'nobody'",
        ),
        ([trial(Variant(name="b")), trial(Variant(name="b"))], ConfigurationError, "twice: x"),
        (
            [trial(Variant(name="new", models=[model("other"), model("other")]))],
            ConfigurationError,
            "named twice",
        ),
    ],
)
def test_experiments_that_cannot_be_are_refused_when_the_agent_is_made(
    world: Any, experiments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        world(small=["a"]).agent(experiments=experiments)


def test_an_experiment_that_raises_costs_no_answer(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Experiment):
        def observe(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("a prompt")

    class Refusing(MemoryExperiments):
        def add(self, *_: Any) -> Any:
            raise OSError("the disk is gone")

    pair = [Variant(name="a"), Variant(name="b")]
    w = world(small=["Oslo"], big=["b"])
    assert ask(w.agent(experiments=[Broken("x", pair)])).content == "Oslo"
    assert "raised RuntimeError on an observation" in caplog.text
    assert "a prompt" not in caplog.text
    assert ask(w.agent(experiments=[Experiment("x", pair, store=Refusing())])).content == "Oslo"
    assert "what an experiment has seen cannot be written: the disk is gone" in caplog.text
