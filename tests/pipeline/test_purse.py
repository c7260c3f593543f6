"""Money that was held for one request is counted once, whoever asks for it at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascadeflow import CostTracker, ModelConfig
from cascadeflow.budgets.records import NOBODY
from cascadeflow.budgets.reservation import Reservation
from cascadeflow.models.prices import CostOf
from cascadeflow.pipeline.purse import Purse

if TYPE_CHECKING:
    import pytest

MODELS = {name: ModelConfig(name, "openai") for name in ("small", "middle", "big")}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.integers(0, 300),
    limit=st.integers(300, 700),
    calls=st.lists(
        st.tuples(st.sampled_from(sorted(MODELS)), st.integers(0, 3), st.integers(0, 2)),
        min_size=2,
        max_size=6,
    ),
    costs=st.fixed_dictionaries({name: st.integers(1, 150) for name in MODELS}),
)
def test_calls_that_wait_for_the_ledger_at_the_same_time_never_share_what_is_left_over(
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    limit: int,
    calls: list[tuple[str, int, int]],
    costs: dict[str, int],
) -> None:
    extend = Reservation.extend

    async def slow(self: Any, calls: Any, *, force: bool = False) -> bool:
        await asyncio.sleep(0)  # as a store beyond the process does
        return await extend(self, calls, force=force)

    async def main() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Reservation, "extend", slow)
            tracker = CostTracker(global_budget=limit / 10**9, enforcement_mode="block")
            reservation = await tracker.reserve(
                NOBODY, [("openai:spare", held)], request_id="r", at=datetime.now(UTC)
            )
            purse = Purse(
                reservation,
                worst=lambda model: costs[model.name],
                planned={"openai:spare": held},
                budgeted_models=frozenset(),
                unknown=frozenset(),
                enforced=True,
            )
            await purse.promise({})  # the plan was given up: all of it is left over
            under_way: list[int] = []

            async def call(name: str, before: int, during: int) -> None:
                for _ in range(before):
                    await asyncio.sleep(0)
                tab = await purse.cover(MODELS[name], "draft")
                if tab is None:
                    return
                under_way.append(costs[name])
                assert sum(under_way) <= reservation.held, "more is under way than is held"
                for _ in range(during):
                    await asyncio.sleep(0)
                cost = CostOf(nanodollars=costs[name], confirmed=True)
                tab.answered(cost, None, None)

            await asyncio.gather(*[call(*one) for one in calls])
            outcome = purse.close()
            assert outcome.booked == sum(under_way) <= purse.held == reservation.held
            (account,) = tracker.accounts("global")
            assert account.held == 0
            assert account.spent == outcome.booked <= limit

    asyncio.run(main())
