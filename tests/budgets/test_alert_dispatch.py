"""Alerts are delivered in the background, whatever the channels do."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import LONG, Asleep, Waits, make_alert

from cascadeflow.budgets import alert_dispatch, alert_try
from cascadeflow.budgets.alerts import Alert, AlertDispatcher
from cascadeflow.errors import AlertDeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Scripted:
    """A channel that fails as it is told to, then takes what comes."""

    name = "scripted"

    def __init__(self, *errors: BaseException | None, attempts: int = 5) -> None:
        self.errors = list(errors)
        self.attempts = attempts
        self.tried: list[Alert] = []
        self.taken: list[Alert] = []

    async def deliver(self, alert: Alert) -> None:
        self.tried.append(alert)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.taken.append(alert)


class Highest(Random):
    """Draws the highest, so that the bounds of the waits can be seen."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


@pytest.fixture
def dispatch() -> Iterator[Callable[..., AlertDispatcher]]:
    made: list[AlertDispatcher] = []

    def make(*channels: Any, **options: Any) -> AlertDispatcher:
        made.append(AlertDispatcher(channels, **options))
        return made[-1]

    yield make
    for dispatcher in made:
        dispatcher.close(0.0)


# Delivery


def test_plain_and_async_channels_get_every_alert_in_order(dispatch: Any) -> None:
    plain: list[Alert] = []
    coroutine: list[Alert] = []
    returned: list[Alert] = []

    async def take(alert: Alert) -> None:
        await asyncio.sleep(0)
        coroutine.append(alert)

    async def take_later(alert: Alert) -> None:
        returned.append(alert)

    class Object:
        async def __call__(self, alert: Alert) -> None:
            await take(alert)

    def make(alert: Alert) -> Any:  # a plain function that gives something to await
        return take_later(alert)

    dispatcher = dispatch(plain.append, take, make, Object())
    sent = [make_alert(str(number)) for number in range(50)]
    for one in sent:
        dispatcher.send(one)
    assert dispatcher.flush(LONG)
    assert plain == returned == sent
    assert Counter(one.id for one in coroutine) == {one.id: 2 for one in sent}
    assert dispatcher.delivered == {"append": 50, "take": 50, "make": 50, "Object": 50}
    assert set(dispatcher.failed.values()) == set(dispatcher.dropped.values()) == {0}


def test_channels_of_one_name_are_counted_apart(dispatch: Any) -> None:
    good, bad = Scripted(), Scripted(ValueError(), attempts=1)
    dispatcher = dispatch(good, bad)
    dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert dispatcher.delivered == {"scripted": 1, "scripted-2": 0}
    assert dispatcher.failed == {"scripted": 0, "scripted-2": 1}


def test_alerts_may_be_sent_from_any_thread_and_any_loop(dispatch: Any) -> None:
    taken: list[Alert] = []
    dispatcher = dispatch(taken.append)

    async def from_a_loop(thread: int) -> None:
        for number in range(20):
            dispatcher.send(make_alert(f"{thread}/{number}"))
            await asyncio.sleep(0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda thread: asyncio.run(from_a_loop(thread)), range(8)))
    assert dispatcher.flush(LONG)
    assert len({one.id for one in taken}) == len(taken) == 160


def test_without_channels_nothing_is_kept_and_no_thread_is_started(dispatch: Any) -> None:
    before = threading.active_count()
    dispatcher = dispatch()
    dispatcher.send(make_alert())
    assert dispatcher.flush(0.0)
    assert threading.active_count() == before


def test_no_thread_is_started_before_the_first_alert(dispatch: Any) -> None:
    before = threading.active_count()
    dispatcher = dispatch(Scripted())
    assert threading.active_count() == before
    assert dispatcher.close(LONG)
    assert threading.active_count() == before


def test_a_channel_that_hangs_delays_no_other(dispatch: Any) -> None:
    release = threading.Event()
    taken: list[Alert] = []

    def hang(_: Alert) -> None:
        assert release.wait(LONG)

    async def hang_politely(_: Alert) -> None:
        await asyncio.to_thread(release.wait, LONG)

    arrived = threading.Event()

    def take(alert: Alert) -> None:
        taken.append(alert)
        if len(taken) == 20:
            arrived.set()

    dispatcher = dispatch(hang, hang_politely, take)
    for number in range(20):
        dispatcher.send(make_alert(str(number)))
    assert arrived.wait(LONG)
    assert dispatcher.delivered["hang"] == dispatcher.delivered["hang_politely"] == 0
    assert not dispatcher.flush(0.0)
    release.set()
    assert dispatcher.flush(LONG)
    assert dispatcher.delivered == {"hang": 20, "hang_politely": 20, "take": 20}


def test_an_async_channel_that_never_ends_is_cut_off(
    dispatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_try, "DELIVERY_LIMIT", 0.0)

    async def never(_: Alert) -> None:
        await asyncio.Event().wait()

    dispatcher = dispatch(never)
    dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert dispatcher.failed == {"never": 1}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("very-secret"),
        asyncio.CancelledError("very-secret"),
        SystemExit("very-secret"),
        KeyboardInterrupt("very-secret"),
        StopIteration("very-secret"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_a_channel_raises_the_next_alert_is_delivered(
    dispatch: Any, caplog: pytest.LogCaptureFixture, error: BaseException, is_async: bool
) -> None:
    taken: list[Alert] = []

    def take(one: Alert) -> None:
        if one.scope.name == "bad":
            raise error
        taken.append(one)

    async def take_async(one: Alert) -> None:
        take(one)

    dispatcher = dispatch(take_async if is_async else take)
    dispatcher.send(make_alert("bad"))
    dispatcher.send(make_alert("good"))
    assert dispatcher.flush(LONG)
    assert [one.scope.name for one in taken] == ["good"]
    assert list(dispatcher.failed.values()) == list(dispatcher.delivered.values()) == [1]
    (record,) = caplog.records
    assert "user:bad day" in record.getMessage()
    assert (type(error).__name__ in record.getMessage()) or (
        is_async and type(error) is StopIteration
    )
    assert ".py:" in record.getMessage()
    assert "very-secret" not in caplog.text


# Trying again


def test_a_failed_try_is_repeated_with_full_jitter_that_doubles(dispatch: Any) -> None:
    clock = Waits()
    channel = Scripted(*[AlertDeliveryError("no")] * 9, attempts=10)
    dispatcher = dispatch(channel, clock=clock, random=Highest())
    dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert clock.asked == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len({one.id for one in channel.tried}) == 1
    assert dispatcher.delivered == {"scripted": 1}


def test_the_waits_are_drawn_from_the_whole_range(dispatch: Any) -> None:
    clock = Waits()
    channel = Scripted(*[AlertDeliveryError("no")] * 400, attempts=2)
    dispatcher = dispatch(channel, clock=clock, random=Random(7))
    for _ in range(200):
        dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert 0 <= min(clock.asked) < 0.05
    assert 0.95 < max(clock.asked) <= 1
    assert dispatcher.failed == {"scripted": 200}


def test_what_the_other_side_asks_for_is_waited_for(dispatch: Any) -> None:
    clock = Waits()
    channel = Scripted(AlertDeliveryError("full", retry_after=30.0), None)
    dispatcher = dispatch(channel, clock=clock, random=Highest())
    dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert clock.asked == [31]
    assert dispatcher.delivered == {"scripted": 1}


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (AlertDeliveryError("gone", retryable=False), 1),
        (AlertDeliveryError("come back tomorrow", retry_after=86_400.0), 1),
        (AlertDeliveryError("down"), 5),
        (OSError("down"), 5),
    ],
    ids=["never", "too late", "attempts used", "a foreign error"],
)
def test_an_alert_that_is_given_up_is_counted_and_logged_once(
    dispatch: Any, caplog: pytest.LogCaptureFixture, error: Exception, tries: int
) -> None:
    channel = Scripted(*[error] * 5)
    dispatcher = dispatch(channel, clock=Waits())
    dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert len(channel.tried) == tries
    assert dispatcher.failed == {"scripted": 1}
    (record,) = caplog.records
    assert f"in {tries} tr" in record.getMessage()


def test_an_alert_is_given_up_after_a_quarter_of_an_hour(dispatch: Any) -> None:
    clock = Waits()
    channel = Scripted(*[AlertDeliveryError("down")] * 99, attempts=100)
    dispatcher = dispatch(channel, clock=clock, random=Highest())
    dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert alert_dispatch.GIVE_UP_AFTER - 60 < sum(clock.asked) <= alert_dispatch.GIVE_UP_AFTER
    assert dispatcher.failed == {"scripted": 1}


# Bounds


def test_ten_thousand_alerts_at_a_dead_channel_keep_a_thousand(
    dispatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Asleep()

    dead = Scripted(*[AlertDeliveryError("down")] * 10)
    taken: list[str] = []
    dispatcher = dispatch(dead, lambda one: taken.append(one.scope.name), clock=clock)
    dispatcher.send(make_alert("first"))
    assert clock.reached.wait(LONG)
    for number in range(10_000):
        dispatcher.send(make_alert(str(number)))
    gc.collect()
    lane = dispatcher._delivery.lanes[0]
    assert len(lane.queue) == 1000
    assert [lane.queue[0].scope.name, lane.queue[-1].scope.name] == ["9000", "9999"]
    assert dispatcher.dropped["scripted"] == 9000
    assert not dispatcher.close(0.0)
    assert dispatcher.dropped["scripted"] == 10_001
    assert dispatcher.failed["scripted"] == dispatcher.delivered["scripted"] == 0
    kept = sum(isinstance(thing, Alert) for thing in gc.get_objects())
    assert kept < 1100
    said = [r.getMessage() for r in caplog.records if "too slow" in r.getMessage()]
    assert sum("'scripted'" in line for line in said) == 1


def test_a_full_queue_drops_the_oldest_and_counts_exactly(dispatch: Any) -> None:
    release = threading.Event()
    began = threading.Event()
    taken: list[str] = []

    def hold(one: Alert) -> None:
        began.set()
        assert release.wait(LONG)
        taken.append(one.scope.name)

    dispatcher = dispatch(hold, capacity=3)
    dispatcher.send(make_alert("first"))
    assert began.wait(LONG)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: dispatcher.send(make_alert("lost")), range(100)))
    for name in "abc":
        dispatcher.send(make_alert(name))
    release.set()
    assert dispatcher.flush(LONG)
    assert taken == ["first", "a", "b", "c"]
    assert dispatcher.dropped == {"hold": 100}


def test_a_signal_s_handler_may_send_in_the_middle_of_a_send(dispatch: Any) -> None:
    taken: list[Alert] = []
    dispatcher = dispatch(taken.append)
    with dispatcher._delivery._idle:  # as if interrupted while it holds its lock
        dispatcher.send(make_alert())
    assert dispatcher.flush(LONG)
    assert len(taken) == 1


# Ending


def test_close_delivers_what_is_left_and_then_takes_no_more(dispatch: Any) -> None:
    before = threading.active_count()
    channel = Scripted()
    dispatcher = dispatch(channel)
    for _ in range(30):
        dispatcher.send(make_alert())
    assert dispatcher.close(LONG)
    assert len(channel.taken) == 30
    assert threading.active_count() == before
    dispatcher.send(make_alert())
    assert dispatcher.dropped == {"scripted": 1}
    assert dispatcher.close(LONG)
    assert len(channel.tried) == 30


def test_close_tries_a_last_time_what_waits_for_its_next_try(dispatch: Any) -> None:
    clock = Asleep()

    channel = Scripted(AlertDeliveryError("down"), AlertDeliveryError("down"))
    dispatcher = dispatch(channel, clock=clock)
    dispatcher.send(make_alert())
    assert clock.reached.wait(LONG)
    assert dispatcher.close(LONG)
    assert len(channel.tried) == 2
    assert dispatcher.failed == {"scripted": 1}
    assert clock.sleepers == 0


def test_close_does_not_press_one_who_asked_for_time(dispatch: Any) -> None:
    clock = Asleep()

    channel = Scripted(AlertDeliveryError("full", retry_after=60.0))
    dispatcher = dispatch(channel, clock=clock)
    dispatcher.send(make_alert())
    assert clock.reached.wait(LONG)
    assert dispatcher.close(LONG)
    assert len(channel.tried) == 1
    assert dispatcher.failed == {"scripted": 1}


def test_close_waits_no_longer_than_it_is_told(
    dispatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    began = threading.Event()

    def hang(_: Alert) -> None:
        began.set()
        release.wait(LONG)

    dispatcher = dispatch(hang)
    for _ in range(3):
        dispatcher.send(make_alert())
    assert began.wait(LONG)
    assert not dispatcher.close(0.0)
    assert dispatcher.dropped == {"hang": 3}
    assert "{'hang': 3}" in caplog.text
    release.set()


def test_a_dispatcher_that_is_forgotten_delivers_and_ends_its_thread() -> None:
    channel = Scripted()
    dispatcher = AlertDispatcher([channel])
    dispatcher.send(make_alert())
    thread = dispatcher._delivery._thread
    assert thread is not None
    del dispatcher
    gc.collect()
    thread.join(LONG)
    assert not thread.is_alive()
    assert len(channel.taken) == 1


# Processes


def run(code: str) -> subprocess.CompletedProcess[str]:
    preamble = """
import os, sys, threading, logging
logging.basicConfig()
from cascadeflow.budgets.alerts import Alert, AlertDispatcher
from cascadeflow.budgets.records import AccountStanding, Scope
from cascadeflow.testing import ManualClock

AT = ManualClock().now()

def alert(name):
    scope = Scope("user", name)
    standing = AccountStanding(scope=scope, period="day", limit=100, spent=90, held=0,
                               state="warned", started_at=None, resets_at=None)
    return Alert(scope=scope, period="day", state="warned", standing=standing, at=AT, mode="warn")

def say(one):
    os.write(1, f"{one.scope.name} ".encode())
"""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", preamble + code],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def test_the_interpreter_s_end_waits_for_what_is_under_way() -> None:
    done = run("""
dispatcher = AlertDispatcher([say])
for number in range(5):
    dispatcher.send(alert(f"u{number}"))
""")
    assert (done.stdout.split(), done.returncode) == (["u0", "u1", "u2", "u3", "u4"], 0), done
    assert done.stderr == ""


def test_a_channel_that_hangs_does_not_keep_a_process_alive() -> None:
    done = run("""
from cascadeflow.budgets import alert_dispatch
alert_dispatch.EXIT_WAIT = 0.01
began = threading.Event()
def hang(one):
    began.set()
    threading.Event().wait()
async def hang_too(one):
    import asyncio
    await asyncio.Event().wait()
dispatcher = AlertDispatcher([hang, hang_too])
dispatcher.send(alert("u1"))
began.wait()
""")
    assert done.returncode == 0, done
    assert "undelivered, by channel: {'hang': 1, 'hang_too': 1}" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_starts_its_own_thread_and_repeats_nothing() -> None:
    done = run("""
began, release = threading.Event(), threading.Event()
def hold(one):
    if one.scope.name == "first":
        began.set()
        release.wait()
    say(one)
async def count(one):
    say(one)
dispatcher = AlertDispatcher([hold, count])
dispatcher.send(alert("first"))
dispatcher.send(alert("second"))
began.wait()
child = os.fork()
if child == 0:
    assert dispatcher.flush(0.0) and set(dispatcher.delivered.values()) == {0}
    dispatcher.send(alert("child"))
    assert dispatcher.flush(60)
    assert dispatcher.delivered == {"hold": 1, "count": 1}, dispatcher.delivered
    sys.exit(0)  # through every exit handler
status = os.waitpid(child, 0)[1]
assert status == 0, status
release.set()
assert dispatcher.flush(60)
assert dispatcher.delivered == {"hold": 2, "count": 2}, dispatcher.delivered
dispatcher.send(alert("third"))
""")
    assert done.returncode == 0, done
    assert Counter(done.stdout.split()) == dict.fromkeys(("first", "second", "child", "third"), 2)
    assert done.stderr == ""
