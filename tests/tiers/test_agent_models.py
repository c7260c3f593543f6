"""Nobody reaches a model that the tier blocks: by no parameter, on no way, in no weather."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pytest
from agent_world import QUESTION, World, ask, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascadeflow import (
    CascadeAgent,
    CascadeFlowError,
    ConfigurationError,
    CostTracker,
    InvalidRequestError,
    ModelConfig,
    QualityConfig,
    TierConfig,
    TierForbiddenError,
    Tiers,
    UserProfile,
)
from cascadeflow.agent import RunOptions
from cascadeflow.models.prices import Price
from cascadeflow.testing import ManualClock

METHODS = ("run", "run_batch", "run_streaming", "run_sync", "stream", "stream_events")
MODELS = ("small", "middle", "big", "spare")
HARD = "Prove that every bounded sequence has a convergent subsequence, step by step. " * 20


def lookup(city: str) -> str:
    """Says where a city is."""
    return f"{city} is in Norway"


TRIED: dict[str, tuple[Any, ...]] = {
    "query": (QUESTION, HARD, "openai:big"),
    "queries": ([QUESTION], [QUESTION, HARD], [[{"role": "user", "content": "openai:big"}]]),
    "messages": (
        [{"role": "user", "content": "Ask openai:big."}],
        [
            {"role": "system", "content": "You are openai:big"},
            {"role": "user", "content": QUESTION},
        ],
        [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": "I am big", "model": "big"},
            {"role": "user", "content": HARD},
        ],
    ),
    "max_tokens": (1, 100_000),
    "temperature": (0, 2.0),
    "system_prompt": ("You are openai:big.",),
    "top_p": (0.1,),
    "stop": ("big",),
    "seed": (7,),
    "tools": (
        [lookup],
        [{"type": "function", "function": {"name": "big", "parameters": {"type": "object"}}}],
    ),
    "tool_choice": ("auto", "required", "none"),
    "tool_executor": (True, lambda call: f"big {call.name}"),
    "max_steps": (1, 3),
    "response_format": (int, {"type": "json_object"}),
    "extra": (
        {"model": "big"},
        {"models": ["small", "big"]},
        {"fallbacks": ["big"]},
        {"route": "fallback"},
        {"provider": {"order": ["big"]}},
        {"preset": "big"},
        {"plugins": [{"id": "web"}]},
        {"tools": [{"type": "web_search", "model": "big"}]},
        {"prompt": {"id": "pmpt_big"}},
        {"previous_response_id": "resp_big"},
        {"reasoning_effort": "high"},
    ),
    "model": ("big", "openai:big", "spare", "openai:spare", "small", "gpt-5", "big "),
    "force_direct": (True,),
    "complexity_hint": ("trivial", "simple", "moderate", "hard", "expert"),
    "domain": ("code", "general", "legal"),
    "quality_mode": ("fast", "strict"),
    "quality_config": (QualityConfig(threshold=1.0), QualityConfig(threshold=0.0)),
    # Whose request it is comes from the server; that another one's name is another one is no way
    # around. These are in the default tier, or in none that exists.
    "user_id": (None, "u", "stranger", "openai:big"),
    "user_tier": ("pro", "no such tier", "openai:big"),
    "team": ("pro",),
    "key_id": ("pro",),
    "tags": (["pro", "openai:big"],),
    "max_extra_cost": (1_000,),
    "use_cache": (False, True),
    "timeout": (60.0,),
    "concurrency": (1, 9),
    "on_progress": (lambda _: None,),
    "stop_on_error": (True,),
    "show_draft": (True,),
    "enable_visual": (False,),
}
"""How each parameter of each method is tried: a new one must be thought about, and listed."""

NEEDS_TOOLS = {"tool_choice", "tool_executor", "max_steps"}


def parameters(method: str) -> set[str]:
    """A method's public parameters, what it passes on to `run` among them."""
    found: set[str] = set()
    for name, parameter in inspect.signature(getattr(CascadeAgent, method)).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found |= set(RunOptions.__annotations__)
        elif name != "self":
            found.add(name)
    return found


def test_every_method_that_asks_is_tried() -> None:
    ways = {
        name
        for name, method in inspect.getmembers(CascadeAgent, inspect.isfunction)
        if not name.startswith("_")
        and {"query", "queries", "messages"} & set(inspect.signature(method).parameters)
    }
    assert ways == set(METHODS)


def test_every_public_parameter_is_tried() -> None:
    assert set().union(*map(parameters, METHODS)) == set(TRIED)


async def by(method: str, agent: CascadeAgent, options: dict[str, Any]) -> list[Any]:
    """Asks in one of the ways; gives results. Whatever this package refuses with is no result."""
    options = {"user_id": "u", **options}
    try:
        if method == "run_batch":
            if "query" in options or "messages" in options:
                one = options.pop("query", None) or options.pop("messages")
                options.setdefault("queries", [one])
            return [r for r in await agent.run_batch(**{"queries": [QUESTION], **options}) if r]
        if not {"query", "messages"} & set(options):
            options["query"] = QUESTION
        if method == "stream":
            return [await read(agent.stream(**options))]
        if method == "stream_events":
            return [event async for event in agent.stream_events(**options)]
        if method == "run_sync":
            return [await asyncio.to_thread(agent.run_sync, **options)]
        return [await getattr(agent, method)(**options)]
    except (CascadeFlowError, ConfigurationError):
        return []


def check(world: World, results: list[Any], blocked: set[str]) -> None:
    """Nothing was asked of a blocked model, nothing sent names one, and no result has its words."""
    assert not blocked & set(world.asked)
    for body in world.bodies:
        del body["messages"], body["model"]
        body.pop("tools", None)
        body.pop("stop", None)
        for name in blocked:
            assert f'"{name}"' not in json.dumps(body)
    for result in results:
        told = repr(result) if not hasattr(result, "to_dict") else json.dumps(result.to_dict())
        for name in blocked:
            assert f"{name} says" not in told
            assert f'"model_used": "openai:{name}"' not in told


def script(name: str, weather: str) -> list[Any]:
    """What a model does in some weather."""
    scripts: dict[str, list[Any]] = {
        "answers": [f"{name} says Oslo"],
        "is rejected": [f"BAD {name} says Oslo"],
        "fails": [500],
        "breaks off": [{"text": f"{name} says", "breaks": True}],
        "calls tools": [
            {"text": f"{name} says", "calls": (("c1", "lookup", '{"city": "Oslo"}'),)},
            f"{name} says Oslo",
        ],
    }
    return scripts[weather]


def gated(blocked: set[str], how: str = "blocked") -> TierConfig:
    """A tier that keeps its users from some models, in one of the ways to say so."""
    allowed = [name for name in MODELS if name not in blocked]
    match how:
        case "blocked":
            return TierConfig("free", blocked_models=blocked)
        case "allowed":
            return TierConfig("free", models=allowed)
        case "ids":
            return TierConfig("free", models=[f"openai:{name}" for name in allowed])
        case _:
            return TierConfig(
                "free", models=["openai:*"], blocked_models=[f"*:{b}" for b in blocked]
            )


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in METHODS for name in sorted(parameters(method))],
)
def test_no_parameter_by_itself_reaches_a_blocked_model(method: str, name: str) -> None:
    tiers = {"free": gated({"big"}), "pro": TierConfig("pro")}

    async def main() -> None:
        for value in TRIED[name]:
            for weather in ("answers", "is rejected", "fails", "calls tools"):
                world = World(
                    small=script("small", weather),
                    middle=[500],
                    big=["big says Oslo"],
                    spare=script("spare", weather),
                )
                # The user's tier is the server's to say: no `user_tier=` changes it.
                agent = world.agent(tier_config=tiers, user_profiles={"u": "free"}, cache="memory")
                options = {name: value}
                if name in NEEDS_TOOLS:
                    options["tools"] = [lookup]
                if name == "user_id":
                    options["user_tier"] = None
                async with agent:
                    check(world, await by(method, agent, options), {"big"})

    asyncio.run(main())


def test_the_same_parameters_do_reach_it_in_another_tier() -> None:
    # So that what is proved above is the tier's doing.
    reached = set()
    for name in ("model", "force_direct", "complexity_hint", "quality_config"):
        for value in TRIED[name]:
            world = World(small=["BAD"], middle=[500], big=["big says Oslo"])
            agent = world.agent(tier_config={"free": gated({"big"}), "pro": TierConfig("pro")})
            try:
                ask(agent, user_id="u", user_tier="pro", **{name: value})
            except CascadeFlowError:
                continue
            if "big" in world.asked:
                reached.add(name)
    assert reached == {"model", "force_direct", "complexity_hint", "quality_config"}


@st.composite
def attempts(draw: st.DrawFn) -> dict[str, Any]:
    """Who is blocked, how, what the weather is, and what a request says."""
    method = draw(st.sampled_from([name for name in METHODS if name != "run_sync"]))
    names = draw(
        st.lists(
            st.sampled_from(sorted(parameters(method) - {"queries", "user_id"})),
            unique=True,
            max_size=5,
        )
    )
    if NEEDS_TOOLS & set(names):
        names.append("tools")
        if "max_steps" in names:
            names.append("tool_executor")
    if {"query", "messages"} <= set(names):
        names.remove("query")
    if {"quality_mode", "quality_config"} <= set(names):
        names.remove("quality_mode")
    options = {name: draw(st.sampled_from(TRIED[name])) for name in dict.fromkeys(names)}
    if "model" in options:  # any of them, blocked or not
        options["model"] = draw(st.sampled_from([*MODELS, *[f"openai:{m}" for m in MODELS]]))
    return {
        "method": method,
        "options": options,
        "blocked": draw(st.sets(st.sampled_from(MODELS), min_size=1, max_size=4)),
        "how": draw(st.sampled_from(["blocked", "allowed", "ids", "patterns"])),
        "weather": {
            name: draw(
                st.sampled_from(["answers", "is rejected", "fails", "breaks off", "calls tools"])
            )
            for name in MODELS
        },
        "agent": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "cache": st.just("memory"),
                    "cache_scope": st.just("global"),
                    "on_verifier_failure": st.just("draft"),
                    "enable_cascade": st.just(False),
                    "draft_up_to": st.just("trivial"),
                    "order": st.just("given"),
                    "hedge_after": st.just(0.5),
                },
            )
        ),
        "budget": draw(st.sampled_from([None, None, "0.0001", "0.001", "0.02"])),
    }


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(attempts())
def test_no_combination_of_parameters_reaches_a_blocked_model(attempt: dict[str, Any]) -> None:
    blocked = attempt["blocked"]
    if len(blocked) == len(MODELS) and attempt["how"] in ("allowed", "ids"):
        attempt["how"] = "blocked"
    world = World(**{name: script(name, attempt["weather"][name]) for name in MODELS})
    world.clock = ManualClock(autojump=True)
    world.meanwhile = lambda: world.clock.sleep(1)
    options = dict(attempt["agent"])
    if attempt["budget"] is not None:
        options["cost_tracker"] = CostTracker(
            default_user_budget=attempt["budget"], enforcement_mode="degrade", clock=world.clock
        )

    async def main() -> None:
        agent = world.agent(
            tier_config={"free": gated(blocked, attempt["how"]), "pro": TierConfig("pro")},
            user_profiles={"u": "free"},
            **options,
        )
        async with agent:
            # Whatever a pro user was answered before is not shown to the free one.
            asked = {k: v for k, v in attempt["options"].items() if k not in {"user_tier", "model"}}
            await by(
                attempt["method"], agent, {**asked, "user_id": "somebody else", "user_tier": "pro"}
            )
            before = len(world.asked)
            results = await by(attempt["method"], agent, attempt["options"])
            assert not blocked & set(world.asked[before:])
            for result in results:
                told = repr(result) + (
                    json.dumps(result.to_dict()) if hasattr(result, "to_dict") else ""
                )
                for name in blocked:
                    assert f"{name} says" not in told

    asyncio.run(main())


# Way by way


def test_a_blocked_model_that_is_named_is_refused_with_its_name() -> None:
    world = World(small=["small says"], big=["big says"])
    agent = world.agent(tier_config={"free": gated({"big"})})
    with pytest.raises(TierForbiddenError, match="may not use openai:big") as caught:
        ask(agent, model="big")
    assert (caught.value.tier, caught.value.what, caught.value.value) == (
        "free",
        "model",
        "openai:big",
    )
    assert world.asked == []
    assert ask(agent, model="small").content == "small says"


def test_where_every_model_is_blocked_the_request_is_refused() -> None:
    world = World(small=["small says"], big=["big says"], spare=["spare says"])
    agent = world.agent(tier_config={"free": gated({"small", "big", "spare"})})
    with pytest.raises(TierForbiddenError, match="none of the models") as caught:
        ask(agent)
    assert caught.value.what == "model"
    assert world.asked == []


def test_a_rejected_draft_escalates_to_the_best_that_is_allowed() -> None:
    world = World(small=["BAD"], middle=["middle says"], big=["big says"])
    result = ask(world.agent(tier_config={"free": gated({"big"})}))
    assert world.asked == ["small", "middle"]
    assert result.routing.verifier_model == "openai:middle"
    # What is saved is counted against what could have been asked.
    assert result.cost.verifier_alone == result.cost.verifier


def test_a_hard_request_goes_to_the_best_that_is_allowed() -> None:
    world = World(small=["small says"], middle=["middle says"], big=["big says"])
    agent = world.agent(tier_config={"free": gated({"big"})}, draft_up_to="hard")
    assert ask(agent, complexity_hint="expert").content == "middle says"
    assert ask(agent, force_direct=True).content == "middle says"
    assert world.asked == ["middle", "middle"]


def test_a_blocked_drafter_is_passed_over() -> None:
    world = World(small=["small says"], middle=["middle says"], big=["big says"])
    result = ask(world.agent(tier_config={"free": gated({"small"})}))
    assert world.asked == ["middle"]
    assert result.routing.draft_model == "openai:middle"
    assert result.routing.verifier_model == "openai:big"


def test_one_model_that_is_left_answers_directly() -> None:
    world = World(small=["BAD small says"], middle=["middle says"], big=["big says"])
    result = ask(world.agent(tier_config={"free": gated({"middle", "big"})}))
    assert world.asked == ["small"]
    assert result.routing.route == "direct"
    assert result.quality.accepted is None
    assert "free" in result.routing.reason


@pytest.mark.parametrize("streamed", [False, True])
def test_down_the_whole_line_a_blocked_model_is_never_next(streamed: bool) -> None:
    world = World(small=[500], middle=[500], big=["big says"], spare=["spare says"])
    agent = world.agent(tier_config={"free": gated({"big"})})
    result = asyncio.run(read(agent.stream(QUESTION))) if streamed else ask(agent)
    assert world.asked == ["small", "middle", "spare"]
    assert result.content == "spare says"


def test_a_blocked_fallback_is_no_fallback() -> None:
    world = World(small=[500], big=[500], spare=["spare says"])
    with pytest.raises(CascadeFlowError):
        ask(world.agent(tier_config={"free": gated({"spare"})}))
    assert world.asked == ["small", "big"]


def test_a_rejected_draft_that_is_returned_is_an_allowed_ones() -> None:
    world = World(small=["BAD small says"], middle=[500], big=["big says"])
    agent = world.agent(tier_config={"free": gated({"big"})}, on_verifier_failure="draft")
    result = ask(agent)
    assert world.asked == ["small", "middle"]
    assert result.content == "BAD small says"


def test_a_slow_draft_is_hedged_with_an_allowed_model() -> None:
    world = World(small=["small says"], middle=["middle says"], big=["big says"])
    world.clock = ManualClock(autojump=True)
    world.meanwhile = lambda: world.clock.sleep(100 if world.transport.open_exchanges == 1 else 1)
    config = {"free": gated({"middle"}), "pro": TierConfig("pro")}
    result = ask(world.agent(tier_config=config, hedge_after=5))
    assert world.asked == ["small", "small"]
    assert result.content == "small says"
    result = ask(world.agent(tier_config=config, hedge_after=5), user_tier="pro")
    assert world.asked[2:] == ["small", "middle"]


@pytest.mark.parametrize("scope", ["global", "tenant"])
def test_an_answer_that_a_blocked_model_gave_to_another_is_not_shown(scope: Any) -> None:
    world = World(small=["BAD small says"], middle=["middle says"], big=["big says"])
    config = {"free": gated({"big"}), "pro": TierConfig("pro")}

    async def main() -> None:
        agent = world.agent(tier_config=config, cache="memory", cache_scope=scope)
        async with agent:
            one = await agent.run(QUESTION, user_id="p", user_tier="pro", team="t")
            assert one.content == "big says"
            again = await agent.run(QUESTION, user_id="q", user_tier="pro", team="t")
            assert again.routing.route == "cache"
            for route in ("cascade", "cache"):  # its own line's answers are shared
                mine = await agent.run(QUESTION, user_id="u", user_tier="free", team="t")
                assert mine.content == "middle says"
                assert mine.routing.route == route
            shown = await read(agent.stream(QUESTION, user_id="u", user_tier="free", team="t"))
            assert shown.content == "middle says"

    asyncio.run(main())


def test_an_answer_from_before_a_model_was_blocked_is_not_shown_after() -> None:
    world = World(small=["BAD"], big=["big says"])
    tiers = Tiers({"free": TierConfig("free")}, clock=world.clock)

    async def main() -> None:
        async with world.agent(tier_config=tiers, cache="memory") as agent:
            assert (await agent.run(QUESTION, user_id="u")).content == "big says"
            tiers.set_profile("u", UserProfile("free", blocked_models=["big"]))
            assert (await agent.run(QUESTION, user_id="u")).content == "BAD"

    asyncio.run(main())


def free_of_charge(name: str) -> ModelConfig:
    return ModelConfig(
        name,
        "openai",
        price=Price(input=0, output=0),
        api_key="sk-test",
        base_url="http://127.0.0.1:9/v1",
    )


@pytest.mark.parametrize(("blocked", "budget"), [("spare", "0.0000001"), ("small", "0.0012")])
def test_a_budget_that_degrades_takes_no_blocked_model(blocked: str, budget: str) -> None:
    # The ladder's ends: a model that costs nothing, and the cheapest alone.
    world = World(small=["small says"], middle=["middle says"], big=["big says"], spare=["spare"])
    models = [*map(world.model, ("small", "middle", "big")), free_of_charge("spare")]
    config = {"free": gated({blocked}), "pro": TierConfig("pro")}
    for name, reaches in (("pro", True), ("free", False)):
        tracker = CostTracker(
            default_user_budget=budget, enforcement_mode="degrade", clock=world.clock
        )
        agent = world.agent(
            models=models if blocked == "spare" else models[:3],
            tier_config=config,
            cost_tracker=tracker,
            fallbacks=[],
            cache=False,
        )
        before = len(world.asked)
        try:
            ask(agent, user_id="u", user_tier=name, max_tokens=100)
        except CascadeFlowError:
            assert name == "free"
        assert (blocked in world.asked[before:]) == reaches


@pytest.mark.parametrize(
    "extra",
    [
        {"models": ["big"]},
        {"fallbacks": ["big"]},
        {"route": "fallback"},
        {"plugins": [{"id": "web"}]},
        {"tools": [{"type": "web_search"}]},
        {"provider": {"order": ["x"]}},
        {"preset": "p"},
        {"reasoning_effort": "low", "models": ["big"]},
    ],
)
def test_extra_fields_that_could_name_a_model_are_refused(extra: dict[str, Any]) -> None:
    world = World(small=["small says"], big=["big says"])
    agent = world.agent(tier_config={"free": gated({"big"}), "pro": TierConfig("pro")})
    with pytest.raises(TierForbiddenError) as caught:
        ask(agent, extra=extra)
    assert caught.value.what == "feature"
    assert caught.value.value == "extra"
    assert world.asked == []
    assert ask(agent, extra=extra, user_tier="pro").content == "small says"
    assert ask(agent, extra={"reasoning_effort": "low"}).content == "small says"


def test_extra_may_not_say_the_model_at_all() -> None:
    world = World(small=["small says"], big=["big says"])
    with pytest.raises(InvalidRequestError, match="extra may not set model"):
        ask(world.agent(tier_config={"free": gated({"big"})}), extra={"model": "big"})


def test_tools_that_only_a_blocked_model_could_call_are_refused() -> None:
    world = World(small=["small says"], big=["big says"])
    models = [world.model("small", supports_tools=False), world.model("big")]
    agent = world.agent(models=models, tier_config={"free": gated({"big"})})
    with pytest.raises(TierForbiddenError):
        ask(agent, tools=[lookup])
    assert world.asked == []


def test_every_step_of_a_tool_loop_stays_among_the_allowed() -> None:
    call = {"text": "", "calls": (("c1", "lookup", '{"city": "Oslo"}'),)}
    world = World(
        small=[call, "BAD", 500], middle=[call, 500], big=["big says"], spare=["spare says"]
    )
    result = ask(
        world.agent(tier_config={"free": gated({"big"})}), tools=[lookup], tool_executor=True
    )
    assert world.asked == ["small", "small", "middle", "middle", "small", "spare"]
    assert result.content == "spare says"
