"""Many at once never spend more than there is, and nothing is lost or left held."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cascadeflow.budgets.records import NOBODY, Charge, Spender, UsageEvent
from cascadeflow.budgets.reservation import Reservation
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import BudgetConfig
from cascadeflow.errors import BudgetExceededError
from cascadeflow.testing import ManualClock

USD = 10**9
MODEL = "openai:small"
START = datetime(2026, 3, 10, 12, tzinfo=UTC)


def paid(amount: int) -> list[Charge]:
    return [Charge(model=MODEL, nanodollars=amount, confirmed=True, held=amount)]


def test_ten_thousand_at_once_on_one_dollar_never_spend_more() -> None:
    tracker = CostTracker(default_user_budget=1, clock=ManualClock(START), keep=20_000)
    spender = Spender(user_id="u")
    chance = random.Random(7)
    served, unconfirmed, refused = [], [], 0

    async def request(number: int) -> None:
        nonlocal refused
        amount = chance.randrange(1, USD // 500)
        fate = chance.choice(["settle", "settle", "release", "drop", "extend"])
        await asyncio.sleep(0)
        try:
            held = await tracker.reserve(
                spender, [(MODEL, amount)], request_id=str(number), at=START
            )
        except BudgetExceededError:
            refused += 1
            return
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
            assert tracker.accounts("user:u")[0].remaining is not None
        if fate == "drop":
            unconfirmed.append(amount)
            return
        if fate == "extend" and not await held.extend([(MODEL, amount)]):
            refused += 1
        if fate == "release":
            held.release()
            return
        cost = chance.randrange(amount + 1)
        served.append(cost)
        held.settle(paid(cost))

    async def main() -> None:
        await asyncio.gather(*(request(number) for number in range(10_000)))

    asyncio.run(main())
    (standing,) = tracker.accounts("user:u")
    assert standing.held == 0
    assert standing.spent == sum(served) + sum(unconfirmed) <= USD
    assert tracker.spent == Decimal(standing.spent).scaleb(-9)
    assert refused > 0
    confirmed = [
        e.charge.nanodollars
        for e in tracker.events()
        if isinstance(e, UsageEvent) and e.charge.confirmed
    ]
    assert sorted(c for c in confirmed if c is not None) == sorted(served)


def test_sixty_four_tasks_of_a_new_user_share_its_one_budget() -> None:
    tracker = CostTracker(default_user_budget="0.50", clock=ManualClock(START))

    async def main() -> list[Reservation | BaseException]:
        calls = [(MODEL, USD // 100)]
        spender = Spender(user_id="never seen")
        return await asyncio.gather(
            *(tracker.reserve(spender, calls, request_id="r", at=START) for _ in range(64)),
            return_exceptions=True,
        )

    made = asyncio.run(main())
    held = [each for each in made if isinstance(each, Reservation)]
    assert len(held) == 50
    assert sum(isinstance(each, BudgetExceededError) for each in made) == 14
    for each in held:
        each.release()


@pytest.mark.parametrize("stored", [False, True])
def test_sixteen_threads_never_spend_more(stored: bool, tmp_path: object) -> None:
    store = f"sqlite:///{tmp_path}/b.db" if stored else None
    rounds = 100 if stored else 400
    heard: list[tuple[str, str]] = []
    tracker = CostTracker(
        global_budget=BudgetConfig(daily=1, total=2),
        default_user_budget="0.25",
        store=store,
        keep=20_000,
    )
    tracker._books._alert = lambda standing, state, _: heard.append((str(standing.scope), state))
    spent = [0] * 16
    over: list[int] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        spender = Spender(user_id=f"u{number % 6}")
        for _ in range(rounds):
            amount = chance.randrange(1, USD // 500)
            try:
                now = tracker._clock.now()
                held = tracker.reserve_sync(spender, [(MODEL, amount)], request_id="r", at=now)
            except BudgetExceededError:
                continue
            fate = chance.randrange(4)
            if fate == 0:
                held.release()
            elif fate == 1:
                spent[number] += amount
                del held
            else:
                if held.extend_sync([(MODEL, amount)]) and fate == 2:
                    amount *= 2
                held.settle(paid(amount))
                spent[number] += amount
            over.extend(
                s.spent + s.held
                for s in tracker._books.standings(list(tracker._books.accounts.values()), 0)
                if s.limit is not None and s.spent + s.held > s.limit
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert over == []
    by_period = {s.period: s for s in tracker.accounts("global")}
    assert {s.held for s in tracker.accounts()} == {0}
    assert by_period["total"].spent == sum(spent) <= USD
    assert tracker.spent == Decimal(sum(spent)).scaleb(-9)
    told = [each for each in heard if each[1] in {"warned", "degraded", "exhausted"}]
    assert len([each for each in told if each[0] != "global"]) == len(
        {each for each in told if each[0] != "global"}
    )
    tracker.close()
    if stored:
        with CostTracker(global_budget=BudgetConfig(total=2), store=store) as again:
            assert again.accounts("global")[0].spent == sum(spent)
            assert sum(e.booked for e in again.events() if isinstance(e, UsageEvent)) == sum(spent)


def test_a_limit_may_change_under_load() -> None:
    tracker = CostTracker(global_budget=1, clock=ManualClock(START))
    stop = threading.Event()
    failed: list[BaseException] = []

    def spend() -> None:
        try:
            while not stop.is_set():
                try:
                    held = tracker.reserve_sync(
                        Spender(team="t"), [(MODEL, 10)], request_id="r", at=START
                    )
                except BudgetExceededError:
                    continue
                held.settle(paid(5))
        except BaseException as error:  # noqa: BLE001 - to be shown by the test
            failed.append(error)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        tracker.set_budget("global", f"{1 + number % 3}", actor="a", reason="r")
        tracker.set_budget("team:t", f"{1 + number % 2}", actor="a", reason="r")
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    spent = {str(s.scope): (s.spent, s.held) for s in tracker.accounts()}
    assert spent["global"] == (int(tracker.spent.scaleb(9)), 0)
    assert spent["team:t"][1] == 0


def test_many_idle_accounts_are_dropped_beside_requests_that_use_them_again() -> None:
    clock = ManualClock(START)
    tracker = CostTracker(default_user_budget=BudgetConfig(daily=1), clock=clock)

    def spend(user: int) -> None:
        spender = Spender(user_id=f"u{user}")
        now = clock.now()
        held = tracker.reserve_sync(spender, [(MODEL, 5)], request_id="r", at=now)
        held.settle(paid(5))

    for user in range(3_000):
        spend(user)
    clock.advance(86_400)
    for user in range(0, 3_000, 3):
        spend(user)
        tracker.record(model="m", provider="p", nanodollars=1, user_id=f"u{user + 1}")
    for thread in threading.enumerate():
        if thread.name == "cascadeflow-budgets-tidy":
            thread.join()
    spent = {s.scope.name: s.spent for s in tracker.accounts()}
    for user in range(0, 3_000, 3):
        assert spent[f"u{user}"] == 5
        assert spent[f"u{user + 1}"] == 1
    clock.advance(86_400)
    spend(0)
    for thread in threading.enumerate():
        if thread.name == "cascadeflow-budgets-tidy":
            thread.join()
    assert len(tracker.accounts()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_counts_for_itself_and_leaves_its_parents_holds_alone() -> None:
    tracker = CostTracker(global_budget=1)

    def hold(amount: int) -> Reservation:
        now = tracker._clock.now()
        return tracker.reserve_sync(NOBODY, [(MODEL, amount)], request_id="r", at=now)

    held = hold(USD)
    with tracker._books.lock, tracker._history._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                own = hold(USD)
                held.settle(paid(5))
                own_is_open = own.open
                del held
                own.settle(paid(7))
                code = 0 if own_is_open and tracker.spent == Decimal(7).scaleb(-9) else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert held.open
    held.settle(paid(3))
    assert tracker.accounts()[0].spent == 3


def test_importing_the_package_imports_no_tracker() -> None:
    script = (
        "import sys, cascadeflow; "
        "assert not [m for m in sys.modules if m.startswith('cascadeflow.budgets')]; "
        "from cascadeflow import CostTracker; CostTracker(global_budget=1); "
        "heavy = {'sqlite3', 'httpx2', 'pydantic'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
