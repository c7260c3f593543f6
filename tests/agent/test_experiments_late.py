"""An experiment counts a draft's late verdict, and the early one, marked, where none comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.agent.test_balanced import CAPITAL, agent_of
from tests.agent.test_experiments import user_of
from tests.agent.test_late_verdicts import LATER, LATER_GOOD, Gated
from tests.quality.local_models import Broken, Stranger

from cascadeflow import AllModelsFailedError, Experiment, Guardrail, QualityConfig, Variant
from cascadeflow.experiments import MemoryExperiments
from cascadeflow.pipeline import late

if TYPE_CHECKING:
    from pathlib import Path

ONE_CHECK = QualityConfig.balanced(
    toxicity_threshold=1.0, without=("relevance", "grounding"), async_validation=True
)
"""A configuration whose late check rejects nothing."""
DECLINES = "I'm sorry, but I can't help with that."


def trial(later: QualityConfig = LATER, **options: Any) -> Experiment:
    pair = [Variant(name="as it is"), Variant(name="later", quality=later)]
    return Experiment("x", pair, **{"metric": "accepted", **options})


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def seen(experiment: Experiment, variant: str = "later") -> dict[str, tuple[int, Any]]:
    """Of each metric: how many requests, and their mean; what was written alone."""
    book = experiment._store.read("x")
    found: dict[str, tuple[int, Any]] = {}
    for (_, name, metric), sums in book.moments.items():
        if name == variant and metric != "latency_ms":
            assert metric not in found
            found[metric] = (round(sums.requests), sums.request_total / sums.requests)
    return found


def arrived(experiment: Experiment) -> int:
    return sum(experiment._store.read("x").arrivals.values())


@pytest.mark.parametrize(("quality", "good"), [(LATER, 0.0), (LATER_GOOD, 1.0)])
@pytest.mark.parametrize("named", [True, False])
def test_the_late_verdict_is_what_is_counted_once_a_request(
    world: Any, quality: QualityConfig, good: float, named: bool
) -> None:
    experiment = Experiment(
        "x",
        [Variant(name="later", quality=quality), Variant(name="other", quality=quality)],
        metric="accepted",
    )
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> float:
        embedder = Gated()
        async with agent_of(w, quality, embedder, experiments=[experiment]) as agent:
            user = user_of(experiment, "later") if named else None
            results = [await agent.run(CAPITAL, user_id=user) for _ in range(6)]
            experiment.flush()
            before = {**seen(experiment), **seen(experiment, "other")}
            assert set(before) == {"cost", "error", "escalated"}
            embedder.go.set()
            report = await results[0].validated()
            assert report.score is not None
            return report.score

    score = asyncio.run(main())
    both = [seen(experiment), seen(experiment, "other")]
    assert sum(each["cost"][0] for each in both if each) == 6
    for each in filter(None, both):
        requests = each["cost"][0]
        assert each["accepted"] == (requests, good)
        assert each["quality"] == (requests, pytest.approx(score))
        assert each["unjudged"] == (requests, 0.0)
        assert each["escalated"] == (requests, 0.0)  # the verifier was asked by nobody
    assert arrived(experiment) == (1 if named else 6)


def test_drafts_that_their_text_condemns_are_not_counted_before_those_it_lets_through(
    world: Any,
) -> None:
    """Else a guard rail would see bad drafts alone until the models are open, and stop for it."""
    experiment = trial(
        ONE_CHECK, guardrails=[Guardrail(metric="accepted", at_least=0.2)], every=1_000
    )
    w = world(small=["Paris.", *[DECLINES] * 30, *["Paris."] * 20], big=["Paris."])
    users = [f"u{n}" for n in range(300)]

    async def main() -> None:
        embedder = Gated()
        async with agent_of(w, ONE_CHECK, embedder, experiments=[experiment]) as agent:
            drawn = [experiment.choose(user, "") for user in users]
            mine = [
                user
                for user, found in zip(users, drawn, strict=True)
                if found and found.variant == "later"
            ]
            for user in mine[:51]:
                await agent.run(CAPITAL, user_id=user)
            experiment.flush()
            assert "accepted" not in seen(experiment)
            embedder.go.set()

    asyncio.run(main())
    assert experiment.stopped == frozenset()
    counted, share = seen(experiment)["accepted"]
    assert (counted, share) == (51, pytest.approx(21 / 51))
    assert seen(experiment)["unjudged"] == (21, 0.0)  # of the others no late verdict was awaited


def test_a_guard_rail_stops_a_variant_by_its_late_verdicts(world: Any) -> None:
    experiment = trial(LATER, guardrails=[Guardrail(metric="accepted", at_least=0.7)])
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        async with agent_of(w, LATER_GOOD, Stranger(), experiments=[experiment]) as agent:
            for number in range(60):
                await (await agent.run(CAPITAL, user_id=f"u{number}")).validated()

    asyncio.run(main())
    assert experiment.stopped == {"later"}


@pytest.mark.parametrize("how", ["cancelled", "closed", "too many", "raised"])
def test_where_the_verdict_never_comes_the_early_one_counts_and_is_marked(
    world: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = trial(LATER)
    w = world(small=["Paris."], big=["never asked"])
    embedder = Gated()
    agent = agent_of(w, LATER, embedder, experiments=[experiment])
    user = user_of(experiment, "later")
    if how == "too many":
        monkeypatch.setattr(late, "MOST_WAITING", 0)
    if how == "raised":

        async def judge_with(*_: Any, **__: Any) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr(type(agent._engine.validator), "judge_with", judge_with)

    async def main() -> Any:
        result = await agent.run(CAPITAL, user_id=user)
        if how in {"cancelled", "closed"}:
            await embedder.busy.wait()
        else:
            await result.validated()
        return result

    if how == "closed":
        loop = asyncio.new_event_loop()
        result = loop.run_until_complete(main())
        left = asyncio.all_tasks(loop)
        loop.close()
        assert left
    else:
        result = asyncio.run(main())
    asyncio.run(agent.aclose())
    assert result.late_quality.done()
    found = seen(experiment)
    assert found["accepted"] == (1, 1.0)
    assert found["quality"] == (1, pytest.approx(result.quality.score))
    assert found["unjudged"] == (1, 1.0)


def test_a_check_that_could_not_run_is_a_verdict_and_counts_as_one(world: Any) -> None:
    experiment = trial(LATER_GOOD)
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        async with agent_of(w, LATER_GOOD, Broken(), experiments=[experiment]) as agent:
            await agent.run(CAPITAL, user_id=user_of(experiment, "later"))

    asyncio.run(main())
    assert seen(experiment)["accepted"] == (1, 0.0)
    assert seen(experiment)["unjudged"] == (1, 0.0)


def test_closing_the_agent_loses_no_late_verdict_and_a_file_opened_again_counts_none_twice(
    world: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/experiments.db"
    w = world(small=["Paris."], big=["never asked"])
    experiment = trial(LATER, store=url)
    user = user_of(experiment, "later")

    async def main(experiment: Experiment) -> None:
        embedder = Gated()
        agent = agent_of(w, LATER, embedder, experiments=[experiment])
        for _ in range(3):
            await agent.run(CAPITAL, user_id=user)
        experiment.close()  # early: what comes later opens the file anew
        closing = asyncio.create_task(agent.aclose())
        await embedder.busy.wait()
        embedder.go.set()
        await closing

    asyncio.run(main(experiment))
    for times in (1, 2):
        again = trial(LATER, store=url)
        for metric in ("cost", "accepted", "quality", "unjudged"):
            assert seen(again)[metric][0] == 3 * times
        assert seen(again)["accepted"][1] == 0.0
        assert arrived(again) == 1
        if times == 1:
            asyncio.run(main(again))
        again.close()


def test_a_store_that_fails_meanwhile_has_each_verdict_once_when_it_works_again(world: Any) -> None:
    class Moody(MemoryExperiments):
        works = False

        def add(self, *arguments: Any) -> Any:
            if not self.works:
                raise OSError("the disk is gone")
            return super().add(*arguments)

    store = Moody()
    experiment = trial(LATER, store=store)
    w = world(small=["Paris."], big=["never asked"])

    async def main() -> None:
        embedder = Gated()
        async with agent_of(w, LATER, embedder, experiments=[experiment]) as agent:
            await agent.run(CAPITAL, user_id=user_of(experiment, "later"))
            with pytest.raises(OSError, match="the disk is gone"):
                experiment.flush()
            embedder.go.set()

    asyncio.run(main())
    store.works = True
    experiment.flush()
    assert {metric: count for metric, (count, _) in seen(experiment).items()} == dict.fromkeys(
        ("cost", "error", "escalated", "accepted", "quality", "unjudged"), 1
    )


def test_a_request_that_fails_after_its_draft_was_judged_counts_no_verdict(world: Any) -> None:
    experiment = trial(ONE_CHECK)
    call = {"text": "", "calls": (("c1", "add", '{"a": 2, "b": 3}'),), "finish": "tool_calls"}
    w = world(small=[call, 500], big=[500])
    agent = agent_of(w, ONE_CHECK, Stranger(), experiments=[experiment])

    async def main() -> None:
        async with agent:
            user = user_of(experiment, "later")
            await agent.run("How much is 2 + 3?", tools=[add], tool_executor=True, user_id=user)

    with pytest.raises(AllModelsFailedError):
        asyncio.run(main())
    assert [event.late for event in w.events if hasattr(event, "late")] == [False, True]
    assert set(seen(experiment)) == {"error"}  # what the failures cost, nobody knows
    assert seen(experiment)["error"] == (1, 1.0)
