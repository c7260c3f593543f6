"""A world whose judges have a script of their own, for the tests of mode `strict`."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from cascadeflow import CascadeAgent, CostTracker, ModelConfig, QualityConfig, RequestCompleted
from cascadeflow.budgets.records import UsageEvent
from cascadeflow.models.prices import Price
from cascadeflow.money import to_usd
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.testing import RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUM = "What is 17 + 25?"
RIGHT = {"text": "The answer is 42.", "input_tokens": 20, "output_tokens": 8}
WRONG = {"text": "The answer is 43.", "input_tokens": 20, "output_tokens": 9}
PROSE = {"text": "It was a bright cold day.", "input_tokens": 20, "output_tokens": 10}
LOST = ConnectionError("reset")


def graded(grade: int, fault: str = "") -> dict[str, Any]:
    text = json.dumps({"fault": fault, "grade": grade})
    return {"text": text, "input_tokens": 200, "output_tokens": 15}


class Site:
    """A world in which judges have a script of their own.

    Attributes:
        sent: each call's model, whether it was asked to grade, and what it did.
        before: awaited before each answer, with the model and whether it grades.
    """

    def __init__(self, world: Any, judge: list[Any] | None = None, **scripts: list[Any]) -> None:
        self.world = world(**scripts)
        self.sent: list[tuple[str, bool, Any]] = []
        self.before: Callable[[str, bool], Any] | None = None
        self._judge = self._repeated(judge or [graded(5)])
        self._plain = self.world._respond
        self.world.transport = RecordingTransport(respond=self._respond)

    @staticmethod
    def _repeated(script: list[Any]) -> Iterator[Any]:
        yield from script
        while True:
            yield script[-1]

    async def _respond(self, request: Any) -> Any:
        body = json.loads(request.body)
        grades = "You grade the answer" in str(body["messages"][0]["content"])
        scripts = self.world.scripts
        does = next(self._judge if grades else scripts[body["model"]])
        self.sent.append((body["model"], grades, does))
        if self.before is not None:
            await self.before(body["model"], grades)
        before, scripts[body["model"]] = scripts[body["model"]], iter([does])
        try:
            return self._plain(request)
        finally:
            scripts[body["model"]] = before

    def agent(self, *names: str, **options: Any) -> CascadeAgent:
        """An agent that judges strictly and drafts always."""
        quality: dict[str, Any] = {}
        if "quality_mode" not in options:
            quality["quality_config"] = QualityConfig.strict()
        agent: CascadeAgent = self.world.agent(
            *names,
            **{
                "validator": CascadeValidator(),
                "breaker": None,
                "draft_up_to": "expert",
                **quality,
                **options,
            },
        )
        return agent

    def over(self, *names: str, **options: Any) -> CascadeAgent:
        """The same over models of any name, each dearer than the one before."""
        models = [
            ModelConfig(
                name,
                "openai",
                price=Price(input=2**at, output=2 ** (at + 1)),
                api_key="sk-test",
                base_url="http://127.0.0.1:9/v1",
            )
            for at, name in enumerate(names)
        ]
        return CascadeAgent(
            models,
            **{
                "transport": self.world.transport,
                "breaker": None,
                "draft_up_to": "expert",
                "quality_config": QualityConfig.strict(),
                **options,
            },
        )

    @property
    def asked(self) -> list[str]:
        """Who was asked, in order; a judge with a question mark."""
        return [f"{model}?" if grades else model for model, grades, _ in self.sent]

    def billed(self, bill: Any) -> int:
        """What the providers bill for what came whole, nanodollars."""
        return sum(
            bill(model, does["input_tokens"], does["output_tokens"])
            for model, _, does in self.sent
            if isinstance(does, dict) and "output_tokens" in does
        )

    def certain(self) -> bool:
        """Whether nothing was sent of which nobody can say what it cost."""
        return all(
            does == 500 or (isinstance(does, dict) and "output_tokens" in does)
            for _, _, does in self.sent
        )


def ask(agent: CascadeAgent, query: str = SUM, **options: Any) -> Any:
    """Asks once, and closes the agent."""

    async def main() -> Any:
        async with agent:
            return await agent.run(query, **{"max_tokens": 100, **options})

    return asyncio.run(main())


def read(agent: CascadeAgent, query: str = SUM, **options: Any) -> tuple[Any, list[Any]]:
    """Streams once; gives the result and every event."""

    async def main() -> tuple[Any, list[Any]]:
        async with agent:
            told = [each async for each in agent.stream(query, **{"max_tokens": 100, **options})]
            (last,) = [each for each in told if isinstance(each, RequestCompleted)]
            return last.result, told

    return asyncio.run(main())


def verdicts(result: Any) -> dict[str, str]:
    """What each second opinion came to."""
    names = {"cross_check", "cross_check_2", "self_consistency", "judge", "opinions"}
    return {each.name: each.verdict for each in result.quality.checks if each.name in names}


def why(result: Any, name: str) -> str:
    """The reason that a check gives."""
    (found,) = [each.reason for each in result.quality.checks if each.name == name]
    return str(found)


def money(budget: Any = 1, **options: Any) -> CostTracker:
    return CostTracker(**{"global_budget": budget, "enforcement_mode": "block", **options})


def held(tracker: CostTracker) -> int:
    return sum(standing.held for standing in tracker.accounts())


def used(tracker: CostTracker) -> list[UsageEvent]:
    """What was charged, as the log has it."""
    return [event for event in tracker.events() if isinstance(event, UsageEvent)]


def check_books(
    tracker: CostTracker, site: Site, bill: Any, results: list[Any], *, whole: bool = True
) -> None:
    """Asserts that nothing is held, and that books, log, results and bills agree."""
    assert held(tracker) == 0
    log: Counter[str] = Counter()
    for event in used(tracker):
        log[event.request_id] += event.charge.nanodollars or 0
    assert tracker.spent == to_usd(sum(log.values()))
    for result in results:
        assert result.budget.booked == to_usd(log[result.request_id])
        if result.cost.confirmed and result.routing.route != "cache":
            assert result.budget.booked == result.cost.total
            assert result.budget.unconfirmed == 0
        json.dumps(result.to_dict(), allow_nan=False)
    if whole and site.certain():
        assert tracker.spent == to_usd(site.billed(bill))
    assert tracker.spent >= to_usd(site.billed(bill))
