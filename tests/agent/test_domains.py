"""What a request is about decides who answers it, and the result says who found that out."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow import (
    BudgetConfig,
    BudgetExceededError,
    CascadeAgent,
    ConfigurationError,
    CostTracker,
    Domain,
    DomainDetector,
    Drafting,
    InvalidRequestError,
    RateLimitError,
    RateLimits,
    TierConfig,
    TierForbiddenError,
    UnknownModelError,
    ZeroShot,
)
from cascadeflow._native import Vectors
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.pipeline import events

LEGAL = "Does the zebraclause bind my landlord?"
VAGUE = "and the other one?"
RULES = {
    "domain": "legal",
    "rule": [{"name": "a clause that decides", "weight": 40.0, "any": "zebraclause"}],
}
SAID = '{"domain": "legal", "also": ["finance"], "sure": true}'


class Letters:
    """An embedder whose vectors a test can foresee: how often a, b, c and others occur."""

    name = "letters/1"
    dimension = 4

    def embed(self, texts: Any) -> Vectors:
        rows = []
        for text in texts:
            counts = [float(text.count(letter)) for letter in "abc"]
            rows.append([*counts, 1.0 if not any(counts) else 0.0])
        return Vectors(rows).normalised()

    async def vectors(self, texts: Any) -> Vectors:
        await asyncio.sleep(0)
        return self.embed(texts)


def detector(*domains: Domain, semantic: Any = False) -> DomainDetector:
    """Knows that a zebraclause is legal, and is sure of nothing else that these tests ask."""
    return DomainDetector(domains, rules=RuleLayer(extra=[RULES]), semantic=semantic)


def answer(agent: CascadeAgent, query: str = LEGAL, **options: Any) -> Any:
    async def main() -> Any:
        async with agent:
            return await agent.run(query, **options)

    return asyncio.run(main())


# Finding out


def test_the_result_says_what_it_is_about_and_who_found_out(world: Any) -> None:
    result = answer(world(small=["yes"], big=["yes"]).agent(domains=detector()))
    routing = result.routing
    assert (routing.domain, routing.domain_layer) == ("legal", "rules")
    assert routing.domain_confidence > 0.99
    assert routing.domains[0][0] == "legal"
    assert "a clause that decides" in routing.domain_reason
    assert result.timing.routing_ms >= 0
    assert result.metadata["routing_domain"] == "legal"


def test_what_nobody_is_sure_about_is_general_and_goes_the_usual_way(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    result = answer(w.agent(domains=detector(Domain("legal", models=["big"]))), VAGUE)
    assert (result.routing.domain, result.routing.domain_layer) == ("general", "none")
    assert result.routing.domain_confidence is None
    assert w.asked == ["small"]


def test_the_callers_word_wins_and_nothing_is_looked_at(world: Any) -> None:
    result = answer(world(small=["yes"], big=["yes"]).agent(domains=detector()), domain="math")
    assert (result.routing.domain, result.routing.domain_layer) == ("math", "caller")


def test_without_routing_nobody_looks(world: Any) -> None:
    result = answer(world(small=["yes"], big=["yes"]).agent())
    assert (result.routing.domain, result.routing.domain_layer) == (None, None)
    assert result.timing.routing_ms is None


def test_a_domain_of_ones_own_is_found_by_its_examples(world: Any) -> None:
    own = Domain("bees", examples=["bbb", "bb b", "bbbb b"], models=["big"])
    w = world(small=["yes"], big=["yes"])
    agent = w.agent(domains=detector(own, semantic=Letters()))
    result = answer(agent, "b bb bbb")
    assert (result.routing.domain, result.routing.domain_layer) == ("bees", "semantic")
    assert w.asked == ["big"]
    assert answer(agent, "bb", domain="bees").routing.domain_layer == "caller"


def test_a_domain_that_does_not_exist_is_refused(world: Any) -> None:
    agent = world(small=["yes"], big=["yes"]).agent(domains=detector())
    with pytest.raises(InvalidRequestError, match="domain must be one of"):
        answer(agent, domain="bees")


@pytest.mark.parametrize("streamed", [False, True])
def test_streams_and_batches_are_routed_too(world: Any, *, streamed: bool) -> None:
    w = world(small=["yes"], big=["yes"])
    agent = w.agent(domains=detector(Domain("legal", models=["big"])))

    async def main() -> None:
        async with agent:
            if streamed:
                told = [event async for event in agent.stream(LEGAL)]
                routed = next(each for each in told if isinstance(each, events.Routed))
                assert routed.domain == "legal"
            else:
                await agent.run_batch([LEGAL])

    asyncio.run(main())
    assert w.asked == ["big"]


# What it changes


def test_a_domains_models_draft_and_verify(world: Any) -> None:
    w = world(small=["yes"], middle=["BAD"], big=["yes"])
    result = answer(w.agent(domains=detector(Domain("legal", models=["middle", "big"]))))
    assert w.asked == ["middle", "big"]
    assert result.routing.draft_model == "openai:middle"
    assert "legal is registered" in result.routing.reason


def test_its_system_prompt_stands_before_a_conversation_that_has_none(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    agent = w.agent(domains=detector(Domain("legal", system_prompt="You are no lawyer.")))
    answer(agent)
    answer(agent, system_prompt="You are mine.")
    firsts = [body["messages"][0] for body in w.bodies]
    assert [first["content"] for first in firsts] == ["You are no lawyer.", "You are mine."]


def test_its_threshold_judges_the_draft_unless_the_call_says_otherwise(world: Any) -> None:
    domains = detector(Domain("legal", threshold=0.97))
    agent = world(small=["yes"], big=["yes"]).agent(domains=domains)
    assert answer(agent).quality.threshold == 0.97
    assert answer(agent, quality_mode="fast").quality.threshold != 0.97
    assert answer(agent, VAGUE).quality.threshold != 0.97


def test_a_tier_answers_its_own_domains_only(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    agent = w.agent(
        domains=detector(), tier_config={"free": TierConfig("free", domains=["code", "general"])}
    )
    with pytest.raises(TierForbiddenError, match="taken to be about legal"):
        answer(agent, user_id="u")
    assert w.asked == []
    assert answer(agent, VAGUE, user_id="u").routing.domain == "general"


def test_a_domain_gives_nobody_a_model_that_his_tier_has_not(world: Any) -> None:
    w = world(small=["yes"], middle=["yes"], big=["yes"])
    free = TierConfig("free", blocked_models=["*big"])
    agent = w.agent(domains=detector(Domain("legal", models=["big"])), tier_config={"free": free})
    result = answer(agent, user_id="u")
    assert "big" not in w.asked
    assert result.routing.domain == "legal"


# The model that is asked


def test_a_model_says_what_the_others_are_not_sure_about(world: Any) -> None:
    w = world(small=[SAID, "yes"], big=["yes"])
    agent = w.agent(domains=detector(Domain("legal", models=["big"])), zero_shot=True)
    result = answer(agent, VAGUE)
    assert w.asked == ["small", "big"]
    form = w.bodies[0]["response_format"]["json_schema"]["schema"]
    assert "legal" in form["properties"]["domain"]["enum"]
    assert VAGUE in w.bodies[0]["messages"][1]["content"]
    routing = result.routing
    assert (routing.domain, routing.domain_layer) == ("legal", "zero_shot")
    assert routing.domains == (("legal", None), ("finance", None))
    roles = [event.role for event in w.events if isinstance(event, events.CallStarted)]
    assert roles == ["classifier", "direct"]


def test_its_cost_is_the_requests(world: Any, bill: Any) -> None:
    w = world(small=[{"text": SAID, "input_tokens": 400, "output_tokens": 20}, "yes"], big=["yes"])
    with CostTracker(global_budget=1, enforcement_mode="block") as tracker:
        agent = w.agent(domains=detector(), zero_shot=True, cost_tracker=tracker)
        result = answer(agent, VAGUE)
        classified = Decimal(bill("small", 400, 20)) / 10**9
        assert result.cost.classifier == classified
        assert result.cost.total == classified + Decimal(bill("small", 100, 50)) / 10**9
        assert result.budget.booked == result.cost.total
        assert tracker.spent == result.cost.total
        assert [event.charge.role for event in tracker.events()] == ["classifier", "draft"]


def test_the_same_question_is_asked_once(world: Any) -> None:
    w = world(small=[SAID, "yes"], big=["yes"])
    agent = w.agent(domains=detector(), zero_shot=True)

    async def main() -> None:
        async with agent:
            for _ in range(3):
                assert (await agent.run(VAGUE)).routing.domain == "legal"

    asyncio.run(main())
    assert len(w.asked) == 4


def test_what_finding_out_cost_stands_in_an_answer_from_the_cache(
    world: Any, bill: Any, tmp_path: Any
) -> None:
    cache = f"sqlite:///{tmp_path}/answers.sqlite"
    w = world(small=[SAID, "yes", SAID], big=["yes"])
    for turn in range(2):
        result = answer(w.agent(domains=detector(), zero_shot=True, cache=cache), VAGUE)
        classified = Decimal(bill("small", 100, 50)) / 10**9
        assert result.cost.classifier == classified
        assert (result.routing.route == "cache") == bool(turn)
    assert result.cost.total == classified
    assert result.usage.total_tokens == 150
    assert [attempt.model for attempt in result.attempts] == ["small"]
    assert result.routing.domain_layer == "zero_shot"


def test_a_model_that_failed_to_say_is_no_fallback_of_the_answer(world: Any) -> None:
    w = world(small=[500, "yes"], big=["yes"])
    assert answer(w.agent(domains=detector(), zero_shot=True), VAGUE).routing.fallbacks == ()


@pytest.mark.parametrize(
    "said",
    [500, "I cannot tell.", '{"domain": "bees", "also": [], "sure": true}', TimeoutError("late")],
)
def test_whatever_it_says_the_request_goes_on(world: Any, said: Any) -> None:
    w = world(small=[said, "yes"], big=["yes"])
    result = answer(w.agent(domains=detector(), zero_shot=True), VAGUE)
    assert (result.routing.domain, result.routing.domain_layer) == ("general", "none")
    assert "zero_shot" in result.routing.domain_reason
    assert result.content == "yes"


def test_who_is_not_sure_leaves_it_general(world: Any) -> None:
    unsure = '{"domain": "legal", "also": [], "sure": false}'
    w = world(small=[unsure, "yes"], big=["yes"])
    assert answer(w.agent(domains=detector(), zero_shot=True), VAGUE).routing.domain == "general"


def test_what_is_sure_already_is_not_asked(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    answer(w.agent(domains=detector(), zero_shot=True), LEGAL)
    answer(w.agent(domains=detector(), zero_shot=True), VAGUE, domain="code")
    assert w.asked == ["small", "small"]


def test_a_doubtful_answer_is_asked_about_and_stands_where_the_model_knows_no_better(
    world: Any,
) -> None:
    own = Domain("bees", examples=["bbb", "bb b", "bbbb b"])
    for said, domain, layer in ((SAID, "legal", "zero_shot"), ("who knows", "bees", "semantic")):
        w = world(small=[said, "yes"], big=["yes"])
        domains = detector(own, semantic=Letters())
        surest = answer(w.agent(domains=domains), "b bb").routing.domain_confidence
        w = world(small=[said, "yes"], big=["yes"])
        asks = ZeroShot(below=min(1.0, surest + 1e-9))
        routing = answer(w.agent(domains=domains, zero_shot=asks), "b bb").routing
        assert (routing.domain, routing.domain_layer) == (domain, layer)
        w = world(small=["yes"], big=["yes"])
        answer(w.agent(domains=domains, zero_shot=ZeroShot(below=surest)), "b bb")
        assert w.asked == ["small"]


def test_the_model_can_be_named(world: Any) -> None:
    w = world(small=["yes"], middle=[SAID], big=["yes"])
    answer(w.agent(domains=detector(), zero_shot=ZeroShot(model="middle")), VAGUE)
    assert w.asked[0] == "middle"
    with pytest.raises(UnknownModelError):
        w.agent(domains=detector(), zero_shot=ZeroShot(model="huge"))


def test_without_money_for_it_the_request_goes_on_without(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    with CostTracker(global_budget="0.0005", enforcement_mode="block") as tracker:
        agent = w.agent(domains=detector(), zero_shot=True, cost_tracker=tracker)
        result = answer(agent, VAGUE, model="small", max_tokens=20)
        assert result.routing.domain == "general"
        assert "nobody was asked" in result.routing.domain_reason
        assert w.asked == ["small"]


def test_nobody_pays_for_what_the_gate_refuses(world: Any) -> None:
    w = world(small=[SAID, "yes"], big=["yes"])
    free = TierConfig("free", rate_limits=RateLimits(per_hour=1))
    agent = w.agent(domains=detector(), zero_shot=True, tier_config={"free": free})
    answer(agent, VAGUE, user_id="u")
    sent = len(w.asked)
    with pytest.raises(RateLimitError):
        answer(agent, "and what of that?", user_id="u")
    assert len(w.asked) == sent


def test_a_tier_without_the_domain_that_a_model_named_is_refused_after_it(world: Any) -> None:
    w = world(small=[SAID], big=["yes"])
    free = TierConfig("free", domains=["code", "general"])
    agent = w.agent(domains=detector(), zero_shot=True, tier_config={"free": free})
    with pytest.raises(TierForbiddenError, match="legal"):
        answer(agent, VAGUE, user_id="u")
    assert w.asked == ["small"]
    assert agent.cost_tracker is not None


def test_a_request_cancelled_while_a_model_is_asked_holds_nothing(world: Any) -> None:
    w = world(small=[SAID], big=["yes"])
    with CostTracker(global_budget=1, enforcement_mode="block") as tracker:
        agent = w.agent(domains=detector(), zero_shot=True, cost_tracker=tracker)

        async def main() -> None:
            started = asyncio.Event()

            async def send(*_: Any, **__: Any) -> Any:
                started.set()
                await asyncio.Event().wait()

            agent._engine.completer.complete = send  # type: ignore[method-assign]
            task = asyncio.ensure_future(agent.run(VAGUE))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert sum(standing.held for standing in tracker.accounts()) == 0


def test_what_else_it_may_be_about_gives_nobody_a_domain_that_his_tier_has_not(world: Any) -> None:
    said = '{"domain": "support", "also": ["legal"], "sure": true}'
    w = world(small=[said, "yes"], big=["yes"])
    free = TierConfig("free", domains=["support"])
    legal = Domain("legal", models=["big"], system_prompt="SECRET")
    agent = w.agent(domains=detector(legal), zero_shot=True, tier_config={"free": free})
    assert answer(agent, VAGUE, user_id="u").routing.domain == "support"
    assert w.asked == ["small", "small"]
    assert "SECRET" not in str(w.bodies)


def test_a_models_own_budget_holds_for_the_plan_that_a_domain_makes(world: Any) -> None:
    w = world(small=[SAID, "yes"], big=["yes"])
    general, legal = Domain("general", models=["small"]), Domain("legal", models=["big"])
    budgets = {"model:openai:big": BudgetConfig(total="0.0000001")}
    with CostTracker(budgets=budgets, enforcement_mode="block") as tracker:
        agent = w.agent(
            domains=detector(general, legal),
            zero_shot=True,
            tier_config={"free": TierConfig("free")},
            cost_tracker=tracker,
        )
        with pytest.raises(BudgetExceededError):
            answer(agent, VAGUE, user_id="u")
    assert "big" not in w.asked


def test_the_cheapest_is_asked_whatever_the_order(world: Any) -> None:
    w = world(big=["yes"], small=[SAID])
    answer(w.agent("big", "small", order="given", domains=detector(), zero_shot=True), VAGUE)
    assert w.asked[0] == "small"


def test_a_domains_system_prompt_is_no_part_of_the_conversation(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    result = answer(w.agent(domains=detector(Domain("legal", system_prompt="No lawyer."))))
    assert [message.role for message in result.messages] == ["user", "assistant"]


def test_a_domain_of_another_type_is_refused(world: Any) -> None:
    agent = world(small=["yes"], big=["yes"]).agent(domains=detector())
    for wrong in (5, ["x"], b"x", True):
        with pytest.raises(InvalidRequestError, match="domain must be"):
            answer(agent, domain=wrong)


def test_an_empty_word_of_a_model_is_not_kept(world: Any) -> None:
    w = world(small=["", "yes", SAID, "yes"], big=["yes"])
    agent = w.agent(domains=detector(), zero_shot=True)

    async def main() -> list[str]:
        async with agent:
            return [(await agent.run(VAGUE)).routing.domain for _ in range(2)]

    assert asyncio.run(main()) == ["general", "legal"]


# Options


def test_an_option_that_would_do_nothing_is_refused(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    with pytest.raises(ConfigurationError, match="zero_shot= is the last layer"):
        w.agent(zero_shot=True)
    with pytest.raises(ConfigurationError, match="zero_shot must be"):
        w.agent(domains=detector(), zero_shot="yes")
    with pytest.raises(ConfigurationError, match="no model called 'huge'"):
        w.agent(domains=[Domain("legal", models=["huge"])])
    with pytest.raises(ConfigurationError, match="deadline"):
        ZeroShot(deadline=0)
    with pytest.raises(ConfigurationError, match="below"):
        ZeroShot(below=1.5)
    with pytest.raises(ConfigurationError, match="not both"):
        w.agent(drafting=Drafting(), draft_up_to="hard")
    with pytest.raises(ConfigurationError, match="drafting must be"):
        w.agent(drafting=True)


def test_enable_domain_routing_takes_the_built_in_layers(world: Any) -> None:
    w = world(small=["yes"], big=["yes"])
    result = answer(w.agent(enable_domain_routing=True), "SELECT name FROM users WHERE id = 3")
    assert result.routing.domain_layer in {"rules", "semantic", "none"}
    assert result.routing.domain is not None


# Whether drafting pays


def test_drafts_that_are_rejected_again_and_again_are_not_made_any_more(world: Any) -> None:
    w = world(middle=["BAD"], big=["yes"])
    drafting = Drafting()
    agent = w.agent(drafting=drafting)

    async def main() -> list[Any]:
        async with agent:
            return [await agent.run("Where is Oslo?") for _ in range(40)]

    results = asyncio.run(main())
    assert results[0].routing.route == "cascade"
    last = results[-1].routing
    assert last.route == "direct"
    assert "does not pay" in last.reason
    assert last.acceptance < 0.35
    assert last.expected_cost == last.expected_direct_cost
    assert agent.drafting is drafting
    drafting.reset()
    assert answer(agent, "Where is Oslo?").routing.route == "cascade"


def test_what_was_learned_is_kept_in_the_trackers_store(world: Any, tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/books.sqlite"
    for routes in ("cascade", "direct"):
        w = world(middle=["BAD"], big=["yes"])
        with CostTracker(global_budget=100, enforcement_mode="block", store=url) as tracker:
            agent = w.agent(cost_tracker=tracker)

            async def main(agent: CascadeAgent = agent, routes: str = routes) -> None:
                async with agent:
                    first = await agent.run("Where is Oslo?")
                    assert first.routing.route == routes
                    for _ in range(40):
                        await agent.run("Where is Oslo?")

            asyncio.run(main())
