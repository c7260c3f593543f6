"""Second opinions are paid for like any call: held, booked once, never at the answer's expense."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.agent.opinions_site import (
    LOST,
    PROSE,
    RIGHT,
    SUM,
    WRONG,
    Site,
    ask,
    check_books,
    graded,
    held,
    money,
    read,
    used,
    verdicts,
)

from cascadeflow import (
    AllModelsFailedError,
    BudgetConfig,
    BudgetExceededError,
    CascadeAgent,
    CascadeFlowError,
    QualityConfig,
    RetryPolicy,
)
from cascadeflow.money import to_usd
from cascadeflow.testing import ManualClock

STRICT = QualityConfig.strict
NO_USAGE = {"text": "The answer is 42.", "usage": False}
BREAKS = {"text": "The answer is 42 indeed.", "breaks_after": 2}


def three(world: Any, judge: list[Any] | None = None, **scripts: Any) -> Site:
    return Site(world, judge, **{"small": [RIGHT], "middle": [RIGHT], "big": [RIGHT], **scripts})


def limited(total: Any) -> BudgetConfig:
    """A budget that says nothing and changes nothing before it is spent."""
    return BudgetConfig(total=total, warn_at=1, degrade_at=1)


def roles(tracker: Any) -> list[str]:
    return [event.charge.role for event in used(tracker)]


def cost(bill: Any, *calls: tuple[str, dict[str, Any]]) -> Decimal:
    return to_usd(
        sum(bill(who, does["input_tokens"], does["output_tokens"]) for who, does in calls)
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_every_opinion_is_booked_once_and_in_the_result(
    world: Any, bill: Any, streaming: bool
) -> None:
    site = three(world, [graded(2)], small=[WRONG, RIGHT, WRONG])
    quality = STRICT(samples=2, clear_below=0)
    with money() as tracker:
        agent = site.agent(cost_tracker=tracker, quality_config=quality)
        result = read(agent)[0] if streaming else ask(agent)
        assert roles(tracker) == ["draft", "cross_check", "sample", "sample", "judge", "verifier"]
        opinions = cost(
            bill, ("middle", RIGHT), ("small", RIGHT), ("small", WRONG), ("big", graded(2))
        )
        assert result.cost.opinions == opinions
        assert result.cost.draft == cost(bill, ("small", WRONG))
        assert result.cost.verifier == cost(bill, ("big", RIGHT))
        assert result.cost.total == opinions + result.cost.draft + result.cost.verifier
        assert result.cost.saved == result.cost.verifier_alone - result.cost.total
        assert result.cost.saved_basis == "measured"
        assert result.cost.verifier_alone == result.cost.verifier
        check_books(tracker, site, bill, [result])
    by_model = {name: usage.total_tokens for name, usage in result.usage_by_model.items()}
    assert by_model == {"openai:small": 29 + 28 + 29, "openai:middle": 28, "openai:big": 215 + 28}
    assert result.usage.total_tokens == sum(by_model.values())
    assert (
        [attempt.model for attempt in result.attempts]
        == [model for model, _, _ in site.sent]
        == ["small", "middle", "small", "small", "big", "big"]
    )
    timing = result.timing
    assert timing.total_ms == pytest.approx(
        timing.transport_ms + timing.overhead_ms + timing.reader_ms, abs=0.01
    )
    assert timing.validation_ms is not None
    assert timing.draft_ms + timing.validation_ms + timing.verifier_ms <= timing.total_ms


def test_opinions_are_in_the_flat_and_the_json_form(world: Any, bill: Any) -> None:
    site = three(world)
    result = ask(site.agent())
    expected = format(cost(bill, ("middle", RIGHT)), "f")
    assert result.to_dict()["cost"]["opinions"] == expected
    assert result.metadata["cost_opinions"] == expected
    (check,) = [
        each for each in result.to_dict()["quality"]["checks"] if each["name"] == "cross_check"
    ]
    assert check["verdict"] == "passed"
    assert check["ms"] >= 0
    fast = ask(three(world).agent(quality_config=QualityConfig.fast()))
    assert fast.to_dict()["cost"]["opinions"] is None


def test_an_accepted_draft_keeps_its_own_response_id(world: Any) -> None:
    site = three(world, middle=[WRONG])
    plain = site._plain

    def numbered(request: Any) -> Any:
        came = plain(request)
        name = f"chatcmpl-call-{len(site.sent)}-of".encode()
        return replace(came, chunks=tuple(c.replace(b"chatcmpl", name) for c in came.chunks))

    site._plain = numbered
    result = ask(site.agent(quality_config=STRICT(samples=1, clear_below=0, clear_above=1)))
    assert site.asked == ["small", "middle", "small", "big?"]
    assert result.quality.accepted is True
    assert result.response_ids == {  # a sample's is not the answer's
        "openai:small": "chatcmpl-call-1-of-small",
        "openai:middle": "chatcmpl-call-2-of-middle",
        "openai:big": "chatcmpl-call-4-of-big",
    }


def test_samples_side_by_side_are_waited_for_once(world: Any) -> None:
    clock = ManualClock(autojump=True)

    async def before(_model: str, _grades: bool) -> None:
        await clock.sleep(10)

    site = three(world)
    site.before = before
    quality = STRICT(samples=4, cross_check=False)
    timing = ask(site.agent(quality_config=quality, clock=clock)).timing
    assert len(site.asked) == 5
    assert timing.total_ms == timing.transport_ms == 20_000  # the draft, and all samples at once
    assert timing.validation_ms == timing.draft_ms == 10_000


# Little money


def enough_for(world: Any, judge: list[Any] | None = None, **scripts: Any) -> Decimal:
    """What draft and verifier are held at together."""
    site = three(world, judge, **scripts)
    with money() as tracker:
        fast = ask(site.agent(cost_tracker=tracker, quality_config=QualityConfig.fast()))
        return Decimal(fast.budget.held)


@pytest.mark.parametrize("mode", ["block", "degrade"])
def test_without_money_for_an_opinion_the_promised_verifier_answers(
    world: Any, bill: Any, mode: str
) -> None:
    plan = enough_for(world)
    # The draft leaves most of what it was held at: dear opinions do not fit into it.
    site = three(world)
    quality = STRICT(cross_check=False)
    with money(limited(plan), enforcement_mode=mode) as tracker:
        result = ask(site.agent(cost_tracker=tracker, quality_config=quality))
        assert verdicts(result) == {"judge": "error"}
        assert site.asked == ["small", "big"]
        assert result.quality.accepted is False
        assert "no budget has the money to ask openai:big" in result.quality.reason
        assert "$" not in result.quality.reason
        check_books(tracker, site, bill, [result])
        assert tracker.spent <= plan


def test_in_warn_mode_opinions_are_asked_for_all_the_same(world: Any, bill: Any) -> None:
    site = three(world, [graded(1)], small=[WRONG])
    with money("0.000001", enforcement_mode="warn") as tracker:
        result = ask(site.agent(cost_tracker=tracker))
        assert site.asked == ["small", "middle", "big?", "big"]
        assert result.budget.over_limit
        check_books(tracker, site, bill, [result])


@pytest.mark.parametrize("step", range(0, 100, 7))
def test_the_limit_holds_and_the_verifiers_promise_is_kept_at_every_budget(
    world: Any, bill: Any, step: int
) -> None:
    plan = enough_for(world)
    dear = {**PROSE, "output_tokens": 100}  # as much as it was held for
    site = three(world, [graded(1)], small=[WRONG, RIGHT], middle=[dear])
    limit = plan * (100 + step) / 100
    with money(limited(limit)) as tracker:
        result = ask(site.agent(cost_tracker=tracker, quality_config=STRICT(samples=2)))
        assert result.routing.model_used == "openai:big"  # it was promised, whatever is asked
        assert tracker.spent <= limit
        check_books(tracker, site, bill, [result])


def test_a_models_own_budget_holds_for_its_opinions(world: Any, bill: Any) -> None:
    site = three(world)
    with money(budgets={"model:openai:middle": "0.000001"}) as tracker:
        result = ask(site.agent(cost_tracker=tracker))
        assert verdicts(result) == {"cross_check": "error", "judge": "passed"}
        assert "middle" not in site.asked
        check_books(tracker, site, bill, [result])


def test_a_users_budget_pays_for_his_opinions(world: Any, bill: Any) -> None:
    site = three(world)
    with money(None, default_user_budget=1) as tracker:
        result = ask(site.agent(cost_tracker=tracker), user_id="ann")
        (account,) = tracker.accounts("user:ann")
        assert to_usd(account.spent) == result.cost.total
        assert result.cost.opinions > 0
        check_books(tracker, site, bill, [result])


@pytest.mark.parametrize("does", [500, LOST, NO_USAGE])
def test_an_opinion_that_fails_is_booked_as_any_call_is(world: Any, bill: Any, does: Any) -> None:
    site = three(world, middle=[does])
    with money() as tracker:
        result = ask(site.agent(cost_tracker=tracker))
        asked = [event.charge for event in used(tracker) if event.charge.role == "cross_check"]
        if does == 500:
            assert asked == []
            assert result.cost.confirmed
        else:
            (charge,) = asked
            assert not charge.confirmed
            assert charge.nanodollars == charge.held > 0
            assert result.budget.unconfirmed == 1
            assert not result.cost.confirmed
        check_books(tracker, site, bill, [result])


def test_a_judge_of_unknown_price_is_booked_as_unknown_and_not_as_nothing(world: Any) -> None:
    site = three(world, [LOST])
    small, middle, big = site.agent().models
    with money(enforcement_mode="warn") as tracker:
        agent = CascadeAgent(
            [small, replace(middle, price=None), big],
            STRICT(cross_check=False, judge="middle"),
            order="given",
            transport=site.world.transport,
            retry=RetryPolicy(attempts=1),
            unknown_price="allow",
            cost_tracker=tracker,
        )
        result = ask(agent)
        (charge,) = [event.charge for event in used(tracker) if event.charge.role == "judge"]
        assert charge.nanodollars is None
        assert not charge.confirmed
        assert not result.cost.confirmed
        assert held(tracker) == 0
    site = three(world, [LOST])
    with money() as tracker:
        agent = CascadeAgent(
            [small, replace(middle, price=None), big],
            STRICT(cross_check=False, judge="middle"),
            order="given",
            transport=site.world.transport,
            unknown_price="allow",
            cost_tracker=tracker,
        )
        result = ask(agent)
        assert site.asked == ["small", "big"]  # what cannot be held is not asked
        assert verdicts(result) == {"judge": "error"}


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({"max_tokens": 90_000}, 400),
        ({"max_completion_tokens": 90_000, "seed": 3}, 400),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, 2_400),
    ],
)
def test_a_judge_answers_within_what_is_held_whatever_its_model_is_told(
    world: Any, bill: Any, extra: dict[str, Any], limit: int
) -> None:
    site = three(world)
    small, middle, big = site.agent().models
    with money(10) as tracker:
        agent = CascadeAgent(
            [small, middle, replace(big, extra=extra)],
            STRICT(cross_check=False),
            order="given",
            transport=site.world.transport,
            cost_tracker=tracker,
        )
        result = ask(agent)
        assert verdicts(result) == {"judge": "passed"}
        (judge,) = [each for each in site.world.bodies if "You grade" in str(each["messages"][0])]
        limits = {judge[each] for each in ("max_tokens", "max_completion_tokens") if each in judge}
        assert limits == {limit}
        assert judge.get("temperature") == (None if "thinking" in extra else 0.0)
        assert judge.get("seed") == extra.get("seed")
        check_books(tracker, site, bill, [result])


def test_a_second_try_of_an_opinion_is_held_for_too(world: Any, bill: Any) -> None:
    site = three(world, middle=[LOST, RIGHT])
    with money() as tracker:
        retry = RetryPolicy(attempts=2, base_delay=0)
        result = ask(site.agent(cost_tracker=tracker, retry=retry))
        assert roles(tracker) == ["draft", "cross_check", "cross_check"]
        assert verdicts(result) == {"cross_check": "passed"}
        check_books(tracker, site, bill, [result])


# What is broken off


def stuck(site: Site, who: str, *, grades: bool = False) -> asyncio.Event:
    """Lets one model never answer; the event says that it was asked."""
    asked = asyncio.Event()

    async def before(model: str, judging: bool) -> None:
        if model == who and judging == grades and len(site.sent) > 1:
            asked.set()
            await asyncio.Event().wait()

    site.before = before
    return asked


@pytest.mark.parametrize("who", ["middle", "small", "big"])
@pytest.mark.parametrize("streaming", [False, True])
def test_an_opinion_under_way_when_the_request_is_cancelled_is_booked_at_its_hold(
    world: Any, bill: Any, who: str, streaming: bool
) -> None:
    site = three(world)
    quality = STRICT(cross_check=who == "middle", samples=3 * (who == "small"))

    async def main(tracker: Any) -> None:
        asked = stuck(site, who, grades=who == "big")
        async with site.agent(cost_tracker=tracker, quality_config=quality) as agent:

            async def go() -> None:
                if streaming:
                    async for _ in agent.stream(SUM, max_tokens=100):
                        pass
                else:
                    await agent.run(SUM, max_tokens=100)

            task = asyncio.ensure_future(go())
            await asyncio.wait_for(asked.wait(), 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert held(tracker) == 0

    with money() as tracker:
        asyncio.run(main(tracker))
        open_ones = [event.charge for event in used(tracker) if not event.charge.confirmed]
        assert len(open_ones) == (3 if who == "small" else 1)
        assert all(charge.nanodollars == charge.held > 0 for charge in open_ones)
        check_books(tracker, site, bill, [], whole=False)
    assert site.world.transport.open_exchanges == 0


@pytest.mark.parametrize("samples", [0, 3])
def test_an_opinion_under_way_when_time_is_up_is_booked_and_told(
    world: Any, bill: Any, samples: int
) -> None:
    site = three(world)
    quality = STRICT(cross_check=not samples, samples=samples, judge=not samples)

    async def main(tracker: Any) -> Any:
        stuck(site, "small" if samples else "middle")
        agent = site.agent(
            cost_tracker=tracker, quality_config=quality, on_verifier_failure="draft"
        )
        async with agent:
            return await agent.run(SUM, max_tokens=100, timeout=0.2)

    with money() as tracker:
        result = asyncio.run(main(tracker))
        assert result.quality.accepted is False
        assert result.content == "The answer is 42."
        assert not result.cost.confirmed
        assert result.cost.estimated_other > 0
        charges = [event.charge for event in used(tracker)]
        assert [charge.confirmed for charge in charges] == [True] + [False] * max(1, samples)
        assert result.budget.unconfirmed == max(1, samples)
        assert result.timing.transport_ms <= result.timing.total_ms
        check_books(tracker, site, bill, [result], whole=False)


def test_an_opinion_that_is_too_slow_is_booked_and_the_next_one_asked(
    world: Any, bill: Any
) -> None:
    site = three(world)

    async def main(tracker: Any) -> Any:
        stuck(site, "middle")
        quality = STRICT(check_timeout=0.05)
        async with site.agent(cost_tracker=tracker, quality_config=quality) as agent:
            return await agent.run(SUM, max_tokens=100)

    with money() as tracker:
        result = asyncio.run(main(tracker))
        assert roles(tracker) == ["draft", "cross_check", "judge"]
        assert result.quality.accepted is True
        check_books(tracker, site, bill, [result], whole=False)


# Anything


JUDGES: list[Any] = [graded(5), graded(1), {**graded(3), "text": "hm"}, 500, LOST, NO_USAGE]
ANSWERS: list[Any] = [RIGHT, WRONG, PROSE, 500, LOST, BREAKS, NO_USAGE]


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    judge=st.lists(st.sampled_from(JUDGES), min_size=1, max_size=3),
    small=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4),
    middle=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3),
    big=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3),
    budget=st.sampled_from(["0.0005", "0.004", "0.0045", "0.006", "0.01", "0.02", "1"]),
    mode=st.sampled_from(["block", "degrade", "warn"]),
    retries=st.integers(1, 2),
    cache=st.sampled_from([None, "memory"]),
    samples=st.integers(0, 2),
    cross_check=st.sampled_from([True, False, "big", "small"]),
    ways=st.lists(
        st.sampled_from(["run", "stream", "shown", 0, 2, 3, 4, 6]), min_size=1, max_size=4
    ),
)
@example(
    judge=[LOST],
    small=[RIGHT, LOST],
    middle=[LOST],
    big=[RIGHT],
    budget="0.0045",
    mode="degrade",
    retries=2,
    cache="memory",
    samples=2,
    cross_check=True,
    ways=["run", "shown", "run"],
)
def test_the_books_agree_whatever_happens(  # noqa: PLR0917 - what is drawn
    world: Any,
    bill: Any,
    judge: list[Any],
    small: list[Any],
    middle: list[Any],
    big: list[Any],
    budget: str,
    mode: str,
    retries: int,
    cache: str | None,
    samples: int,
    cross_check: Any,
    ways: list[Any],
) -> None:
    site = Site(world, judge, small=small, middle=middle, big=big)
    results: list[Any] = []
    with money(budget, enforcement_mode=mode) as tracker:
        agent = site.agent(
            cost_tracker=tracker,
            retry=RetryPolicy(attempts=retries, base_delay=0),
            cache=cache,
            quality_config=STRICT(samples=samples, cross_check=cross_check),
        )

        async def one(way: Any) -> Any:
            if way == "run":
                return await agent.run(SUM, max_tokens=100)
            stream = agent.stream(SUM, max_tokens=100, show_draft=way != "stream")
            last: Any = None
            seen = 0
            async for each in stream:
                last = each
                seen += 1
                if isinstance(way, int) and seen > way:
                    await stream.aclose()
                    return None
            return getattr(last, "result", None)

        async def main() -> None:
            async with agent:
                for way in ways:
                    try:
                        result = await one(way)
                    except CascadeFlowError:
                        result = None
                    assert held(tracker) == 0
                    if result is not None:
                        results.append(result)

        asyncio.run(main())
        left = any(isinstance(way, int) for way in ways)
        check_books(tracker, site, bill, results, whole=not left)
        (total,) = tracker.accounts("global")
        if mode != "warn":
            assert total.limit is not None
            assert total.spent <= total.limit
        for result in results:
            parts = (result.cost.draft, result.cost.verifier, result.cost.opinions)
            if result.cost.total is not None and result.routing.route != "cache":
                known = sum([part or 0 for part in parts], result.cost.other or Decimal(0))
                assert result.cost.total == known
    assert site.world.transport.open_exchanges == 0


def test_a_thousand_at_once_on_a_small_budget_stay_within_it(world: Any, bill: Any) -> None:
    site = three(world, [graded(5), graded(1)], small=[RIGHT, WRONG], middle=[RIGHT, PROSE])
    with money(limited("0.4")) as tracker:
        agent = site.agent(cost_tracker=tracker, quality_config=STRICT(samples=1), on_event=None)

        async def main() -> list[Any]:
            async with agent:
                asked = [
                    agent.run(SUM, max_tokens=100, user_id=f"u{at % 50}") for at in range(1_000)
                ]
                return await asyncio.gather(*asked, return_exceptions=True)

        came = asyncio.run(main())
        refused = [each for each in came if isinstance(each, BudgetExceededError)]
        results = [each for each in came if not isinstance(each, BaseException)]
        other = [each for each in came if isinstance(each, BaseException)]
        assert len(refused) + len(results) == 1_000, [
            each for each in other if not isinstance(each, BudgetExceededError)
        ][:3]
        assert refused
        assert results
        check_books(tracker, site, bill, results)
        assert tracker.spent <= Decimal("0.4")
        assert any(verdicts(each) for each in results)


def test_when_nobody_answers_after_opinions_nothing_stays_held(world: Any, bill: Any) -> None:
    site = three(world, [graded(1)], small=[WRONG], middle=[500], big=[500])
    with money() as tracker:
        with pytest.raises(AllModelsFailedError, match="the draft was rejected"):
            ask(site.agent(cost_tracker=tracker))
        assert held(tracker) == 0
        assert tracker.spent == to_usd(site.billed(bill))
