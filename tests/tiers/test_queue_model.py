"""The queue does what the plainest statement of its order does, whatever comes and goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from queue_reference import PlainQueue, Waiting

from cascadeflow._native import LimitPolicy, LimitRefusal, Permit, RateLimiter
from cascadeflow.testing import ManualClock
from cascadeflow.tiers.queue import (
    Behind,
    FairQueue,
    NeverFits,
    NotServed,
    QueueFull,
    TimedOut,
)

TICK_NS = 250_000_000
WEIGHTS = {"a": 1, "b": 3, "c": 10}
ENDS = {Permit: "passed", TimedOut: "late", QueueFull: "full", NeverFits: "never"}
USERS = ("u1", "u2", "u3", None)

# Every interval is a whole number of ticks.
RATES = st.sampled_from([(1, 0), (1, 2), (2, 1), (4, 0)])


@st.composite
def policies(draw: Any) -> LimitPolicy | None:
    kind = draw(st.sampled_from(["second", "concurrent", "tokens", "minute", "mixed", "none"]))
    if kind == "none":
        return None
    kinds = {kind} if kind != "mixed" else {"second", "tokens", "concurrent"}
    return LimitPolicy(
        per_second=draw(RATES) if "second" in kinds else None,
        per_minute=draw(st.sampled_from([(6, 1), (30, 0), (60, 3)])) if "minute" in kinds else None,
        tokens_per_minute=draw(st.sampled_from([80, 40, 150, 0])) if "tokens" in kinds else None,
        concurrent=draw(st.integers(1, 3)) if "concurrent" in kinds else None,
    )


@dataclass(frozen=True)
class Do:
    what: Literal["wait", "try", "leave", "release", "refund", "correct", "pass_time"]
    tier: str = "a"
    user: str | None = None
    tokens: int = 0
    ticks: int | None = None
    which: int = 0


TIERS = st.sampled_from(sorted(WEIGHTS))
WHO: dict[str, Any] = {
    "tier": TIERS,
    "user": st.sampled_from(USERS),
    "tokens": st.integers(0, 40),
}
WAITS = st.builds(
    Do,
    st.just("wait"),
    ticks=st.one_of(st.none(), st.integers(0, 60)),
    which=st.integers(1, 5),  # how many of them
    **WHO,
)
DEEDS = st.one_of(
    WAITS,
    WAITS,
    st.builds(Do, st.just("try"), **WHO),
    st.builds(
        Do,
        st.sampled_from(["leave", "release", "refund", "correct"]),
        which=st.integers(0, 30),
        tokens=st.integers(0, 50),
    ),
    st.builds(Do, st.just("pass_time"), ticks=st.sampled_from([1, 1, 2, 4, 7, 20, 60])),
)


@dataclass
class World:
    """The queue and its model, side by side, on a clock turned by hand."""

    limits: dict[str, LimitPolicy | None]
    size: int
    clock: ManualClock = field(default_factory=ManualClock)
    seen: list[tuple[int, str]] = field(default_factory=list)
    expected: list[tuple[int, str]] = field(default_factory=list)
    permits: dict[int, Permit] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    asked: dict[int, Waiting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = FairQueue(RateLimiter(), self.clock, size=self.size)
        self.model = PlainQueue(self.size)

    def now_ns(self) -> int:
        return round(self.clock.monotonic() * 1e9)

    def request(self, deed: Do) -> Waiting:
        # A user is in one tier. (Who waits in two stands in each one's order, and a look at one of
        # them may bear on the other's: then it matters how often one looks.)
        names = {
            f"user:{deed.user}@{deed.tier}": f"user:{deed.user}",
            f"tier:{deed.tier}": f"tier:{deed.tier}",
            "global": "global",
        }
        accounts = tuple(
            (name, policy)
            for name, of in names.items()
            if (policy := self.limits.get(of)) is not None
        )
        if not accounts:
            accounts = (("global", LimitPolicy(per_second=(4, 3))),)
        number = len(self.asked)
        deadline = None if deed.ticks is None else self.now_ns() + deed.ticks * TICK_NS
        self.asked[number] = Waiting(
            number, accounts, deed.tokens, deed.tier, WEIGHTS[deed.tier], deadline
        )
        return self.asked[number]

    def took(self, waiting: Waiting, permit: Permit) -> None:
        self.permits[waiting.number] = permit

    async def wait(self, waiting: Waiting) -> None:
        ended: Permit | NotServed
        try:
            ended = await self.queue.wait(
                waiting.accounts,
                waiting.tokens,
                tier=waiting.tier,
                weight=waiting.weight,
                deadline=None if waiting.deadline_ns is None else waiting.deadline_ns / 1e9,
            )
        except NotServed as error:
            ended = error
        self.seen.append((waiting.number, ENDS[type(ended)]))
        if isinstance(ended, Permit):
            self.took(waiting, ended)
            return
        assert ended.refusal is not None
        assert ended.refusal.account in waiting.names
        assert ended.refusal.permanent == isinstance(ended, NeverFits)
        if isinstance(ended, TimedOut):
            assert self.now_ns() == waiting.deadline_ns

    async def do(self, deed: Do) -> None:
        match deed.what:
            case "wait":
                for _ in range(deed.which):
                    waiting = self.request(deed)
                    self.expected += self.model.arrive(waiting, self.now_ns())
                    self.tasks[waiting.number] = asyncio.create_task(self.wait(waiting))
            case "try":
                self.try_now(self.request(deed))
            case "leave" if self.tasks:
                number = sorted(self.tasks)[deed.which % len(self.tasks)]
                self.tasks[number].cancel()
                self.expected += self.model.leave(number, self.now_ns())
            case "release" | "refund" | "correct" if self.permits:
                self.give_back(deed)
            case "pass_time":
                await self.pass_time(deed.ticks or 1)
            case _:
                pass
        await self.settle()

    def try_now(self, waiting: Waiting) -> None:
        expected = self.model.try_now(waiting, self.now_ns())
        answer = self.queue.try_now(waiting.accounts, waiting.tokens)
        if isinstance(answer, Permit):
            self.took(waiting, answer)
            assert expected == "passed"
        elif isinstance(answer, Behind):
            assert answer.refusal.account in waiting.names
            assert expected in {"behind", "refused"}
        else:
            # The model looks more often, so it may know better whom somebody waits for by now.
            assert isinstance(answer, LimitRefusal)
            assert expected in ({"never"} if answer.permanent else {"behind", "refused"})

    def give_back(self, deed: Do) -> None:
        number = sorted(self.permits)[deed.which % len(self.permits)]
        now_ns, waiting = self.now_ns(), self.asked[number]
        for permit in (self.permits[number], self.model.permits[number]):
            if deed.what == "release":
                permit.release()
            elif deed.what == "refund":
                permit.cancel(now_ns)
            else:
                permit.correct(min(deed.tokens, waiting.tokens), now_ns)
        if deed.what != "correct":
            del self.permits[number]
        self.expected += self.model.returned(waiting.names, now_ns)
        self.queue.returned(waiting.accounts)

    async def pass_time(self, ticks: int) -> None:
        """Stops at every alarm and every tick; the model looks each time."""
        for _ in range(ticks):
            end = self.now_ns() // TICK_NS * TICK_NS + TICK_NS
            while (now_ns := self.now_ns()) < end:
                alarm = self.clock.next_deadline
                stop = end if alarm is None else min(end, round(alarm * 1e9))
                self.clock.advance((stop - now_ns) / 1e9)
                self.expected += self.model.look(stop)
                await self.settle()

    async def settle(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)
        for number in [number for number, task in self.tasks.items() if task.done()]:
            task = self.tasks.pop(number)
            if not task.cancelled():
                task.result()
        assert [one for one in self.seen if one[1] == "passed"] == [
            one for one in self.expected if one[1] == "passed"
        ]
        assert sorted(self.seen) == sorted(self.expected)
        assert len(self.queue) == len(self.model.line) <= self.size

    async def drain(self) -> None:
        """Everybody comes through, when whoever passed leaves again."""
        for _ in range(1_000):
            for number in sorted(self.permits):
                self.give_back(Do("release", which=sorted(self.permits).index(number)))
                await self.settle()
            if self.permits:
                continue
            if not self.tasks:
                break
            alarm = self.clock.next_deadline
            assert alarm is not None, "somebody waits, and nothing would ever wake the queue"
            self.clock.advance(alarm - self.clock.monotonic())
            self.expected += self.model.look(self.now_ns())
            await self.settle()
        assert not self.tasks
        assert len(self.queue) == 0
        assert self.clock.sleepers == 0


LIMITS = st.fixed_dictionaries(
    {
        name: policies()
        for name in ("user:u1", "user:u2", "user:u3", "tier:a", "tier:b", "tier:c", "global")
    }
)


async def live(world: World, deeds: list[Do]) -> None:
    for deed in deeds:
        await world.do(deed)
    await world.drain()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    limits=LIMITS,
    size=st.sampled_from([100, 5, 2]),
    deeds=st.lists(DEEDS, min_size=30, max_size=90),
)
def test_everybody_passes_when_and_in_the_order_that_the_plain_model_says(
    limits: dict[str, LimitPolicy | None], size: int, deeds: list[Do]
) -> None:
    asyncio.run(live(World(limits, size), deeds))
