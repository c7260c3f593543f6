"""Takes alerts to their channels from a thread of its own, so that no request ever waits for one.

Each channel has a queue of its own: one that is slow or dead delays no other. A queue is bounded;
when it is full, the oldest alert in it is dropped and counted. What a channel does not take is
tried again after a random time of up to 1, 2, 4 … seconds, 60 at most ("full jitter", which keeps
many senders from coming back at once), or after what the other side asks for, and is given up and
logged when the channel's attempts are used or 15 minutes have passed.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.budgets.alert_channels import coerce_channels
from cascadeflow.budgets.alert_try import daemon_threads, may_be_repeated, try_once, why
from cascadeflow.clock import SystemClock
from cascadeflow.errors import AlertDeliveryError, ConfigurationError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

    from cascadeflow.budgets.alert_channels import AlertChannel
    from cascadeflow.budgets.alerts import Alert
    from cascadeflow.clock import Clock

__all__ = ["EXIT_WAIT", "GIVE_UP_AFTER", "AlertDispatcher"]

_logger: Final = logging.getLogger(__name__)

BASE_DELAY: Final = 1.0
"""Seconds; try n is followed by a random wait of up to `BASE_DELAY * 2**(n-1)`."""

MAX_DELAY: Final = 60.0
"""Seconds; no wait of our own choice is longer."""

GIVE_UP_AFTER: Final = 900.0
"""Seconds after its first try when an alert is given up, however many attempts are left."""

EXIT_WAIT: Final = 2.0
"""Seconds that the interpreter's end waits, at most, for alerts that are under way."""


class AlertDispatcher:
    """Hands alerts to channels in the background.

    `send` never blocks and never raises, from any thread and any event loop. The thread starts with
    the first alert, is a daemon, and is started anew in a forked child, which begins with empty
    queues: what was queued is its parent's to deliver. When the interpreter ends, it waits for what
    is under way, `EXIT_WAIT` seconds at most.

    Args:
        channels: channels, or functions that take an `Alert`, plain or `async`.
        clock: what is asked for the time, and waited on between tries.
        capacity: how many alerts may wait for each channel.
        random: what the waits between tries are drawn from.

    Raises:
        ConfigurationError: a channel is none, or `capacity` is under 1.
    """

    def __init__(
        self,
        channels: Iterable[Any],
        *,
        clock: Clock | None = None,
        capacity: int = 1000,
        random: Random | None = None,
    ) -> None:
        if capacity < 1:
            raise ConfigurationError(f"AlertDispatcher.capacity must be at least 1, not {capacity}")
        self._delivery = _Delivery(
            coerce_channels(channels), clock or SystemClock(), capacity, random or Random()
        )
        _deliveries.add(self._delivery)
        # Its thread holds the delivery, not this: who forgets to close leaks no thread.
        weakref.finalize(self, self._delivery.begin_close).atexit = False

    def send(self, alert: Alert) -> None:
        """Queues an alert for every channel; one that comes after `close` is dropped."""
        self._delivery.put(alert)

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits, at most `timeout` seconds, until every alert was delivered or given up.

        Returns:
            Whether nothing is left.
        """
        return self._delivery.wait_until_idle(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Takes no more alerts, and waits at most `timeout` seconds for those that are left.

        One that waits to be tried again is tried a last time at once, unless the other side asked
        for the wait. What is left then is counted as dropped, and the thread is given a tenth of a
        second to end.

        Returns:
            Whether nothing was left.
        """
        return self._delivery.close(timeout)

    @property
    def delivered(self) -> Mapping[str, int]:
        """How many alerts each channel took, by its name (`slack`, and `slack-2` for a second)."""
        return {lane.label: lane.delivered for lane in self._delivery.lanes}

    @property
    def failed(self) -> Mapping[str, int]:
        """How many alerts were given up, by channel."""
        return {lane.label: lane.failed for lane in self._delivery.lanes}

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many alerts were never tried, or not to the end, by channel."""
        return {lane.label: lane.dropped for lane in self._delivery.lanes}

    def __repr__(self) -> str:
        return f"AlertDispatcher({', '.join(lane.label for lane in self._delivery.lanes)})"


class _Lane:
    """One channel, its queue and its counts. Guarded by the delivery's lock."""

    __slots__ = (
        "attempts",
        "busy",
        "channel",
        "delivered",
        "dropped",
        "failed",
        "label",
        "queue",
        "told_of_drops",
        "wake",
    )

    def __init__(self, channel: AlertChannel, label: str) -> None:
        self.channel = channel
        self.label = label
        self.attempts = max(1, int(getattr(channel, "attempts", 1)))
        self.queue: deque[Alert] = deque()
        self.busy = False
        """Whether an alert was taken from the queue and is neither delivered nor given up."""
        self.wake: asyncio.Event | None = None
        self.told_of_drops = False
        self.delivered = self.failed = self.dropped = 0


class _Delivery:
    """The thread, what it shares with senders, and their lock, held for a few assignments only."""

    def __init__(
        self, channels: tuple[AlertChannel, ...], clock: Clock, capacity: int, random: Random
    ) -> None:
        self._channels = channels
        self._clock = clock
        self._capacity = capacity
        self._random = random
        self._closed = False
        # Made here, for what it stands on cannot be imported any more when the interpreter ends.
        self._executor = daemon_threads()
        self._begin()

    def _begin(self) -> None:
        # Re-entrant, for a signal's handler or a finaliser may send while its thread is sending.
        self._idle = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.Event | None = None
        self._waking = False
        self.lanes = [
            _Lane(channel, label)
            for channel, label in zip(self._channels, _labels(self._channels), strict=True)
        ]

    # Called from any thread

    def put(self, alert: Alert) -> None:
        with self._idle:
            if self._closed:
                for lane in self.lanes:
                    lane.dropped += 1
                return
            for lane in self.lanes:
                lane.queue.append(alert)
                if len(lane.queue) > self._capacity:
                    lane.queue.popleft()
                    lane.dropped += 1
            self._rouse()

    def begin_close(self) -> None:
        """Lets the thread end once its queues are empty."""
        with self._idle:
            self._closed = True
            if self._thread is not None:
                self._rouse()

    def wait_until_idle(self, timeout: float) -> bool:
        with self._idle:
            if self._is_idle() or threading.current_thread() is self._thread:
                return self._is_idle()
            return self._idle.wait_for(self._is_idle, timeout)

    def close(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self.begin_close()
        drained = self.wait_until_idle(timeout)
        with self._idle:
            thread, loop, task = self._thread, self._loop, self._task
            left = {
                lane.label: len(lane.queue) + lane.busy
                for lane in self.lanes
                if lane.queue or lane.busy
            }
            for lane in self.lanes:
                lane.dropped += left.get(lane.label, 0)
                lane.queue.clear()
                lane.busy = False
            if loop is not None and task is not None and left:
                loop.call_soon_threadsafe(task.cancel)
        if left:
            _logger.warning("closed with alerts undelivered, by channel: %s", left)
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.1, deadline - time.monotonic()))
        return drained

    def leave_parent(self) -> None:
        """In a forked child: begins anew, without touching what the parent's thread works with.

        To finalise the parent's loop here would take its sockets from its selector, which both
        share, so it is made immortal.
        """
        if self._thread is not None:
            import ctypes  # noqa: PLC0415 - only after a fork with a thread at work

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(dict(self.__dict__)))
        self._begin()

    def _is_idle(self) -> bool:
        return not any(lane.queue or lane.busy for lane in self.lanes)

    def _rouse(self) -> None:
        """Starts the thread, or tells it that something changed. The lock is held."""
        if not self.lanes:
            return
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="cascadeflow-alerts", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or the system has no more threads
                for lane in self.lanes:
                    lane.dropped += len(lane.queue)
                    lane.queue.clear()
                _logger.warning("no thread could be started to deliver alerts: they are dropped")
            else:
                self._thread = thread
        elif self._loop is not None and not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._wake)

    # The thread

    def _run(self) -> None:
        import asyncio  # noqa: PLC0415 - heavy, and of use here only

        try:
            with asyncio.Runner() as runner:
                runner.run(self._main())
        except asyncio.CancelledError:
            pass  # closed with alerts left, which `close` has counted
        finally:
            with self._idle:
                self._loop = self._task = self._thread = None
                for lane in self.lanes:  # of which none is at work any more
                    lane.failed += lane.busy
                    lane.busy = False
                self._idle.notify_all()

    async def _main(self) -> None:
        import asyncio  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        loop.set_default_executor(self._executor)
        self._stopping = asyncio.Event()
        for lane in self.lanes:
            lane.wake = asyncio.Event()
        with self._idle:
            self._loop = loop
            self._task = asyncio.current_task()
            self._wake()
        await asyncio.gather(*(self._serve(lane) for lane in self.lanes))

    def _wake(self) -> None:
        """On the loop: lets every lane look again, and says what was dropped."""
        with self._idle:
            self._waking = False
            if self._closed and self._stopping is not None:
                self._stopping.set()
            for lane in self.lanes:
                if lane.wake is not None:
                    lane.wake.set()
            full = [lane for lane in self.lanes if lane.dropped and not lane.told_of_drops]
            for lane in full:
                lane.told_of_drops = True
        for lane in full:
            _logger.warning(
                "alert channel %r is too slow: of more than %d alerts that wait for it, the oldest "
                "are dropped (AlertDispatcher.dropped counts them; this is said once)",
                lane.label,
                self._capacity,
            )

    async def _serve(self, lane: _Lane) -> None:
        while True:
            with self._idle:
                alert = lane.queue.popleft() if lane.queue else None
                lane.busy = alert is not None
                if alert is None and self._closed:
                    return
                if alert is None and lane.wake is not None:
                    lane.wake.clear()
            if alert is None:
                if lane.wake is not None:
                    await lane.wake.wait()
                continue
            taken = await self._deliver(lane, alert)
            with self._idle:
                if lane.busy:  # or `close` has given it up meanwhile
                    lane.busy = False
                    lane.delivered += taken
                    lane.failed += not taken
                self._idle.notify_all()

    async def _deliver(self, lane: _Lane, alert: Alert) -> bool:
        """Tries until the alert is taken or given up."""
        began = self._clock.monotonic()
        tries = 0
        while True:
            last = self._closed
            tries += 1
            error = await try_once(lane.channel, alert)
            if error is None:
                return True
            asked = error.retry_after if isinstance(error, AlertDeliveryError) else None
            wait = None
            if not last and tries < lane.attempts and may_be_repeated(error):
                wait = self._backoff(tries, asked)
            passed = self._clock.monotonic() - began
            if wait is not None and passed + wait <= GIVE_UP_AFTER:
                woken_early = await self._pause(wait)
                if not (woken_early and asked is not None):
                    continue
            _logger.warning(
                "alert channel %r did not take alert %s (%s, %s) in %d %s: %s",
                lane.label,
                alert.id,
                alert.account,
                alert.state,
                tries,
                "try" if tries == 1 else "tries",
                why(error),
            )
            return False

    def _backoff(self, tries: int, asked: float | None) -> float:
        """Seconds until the next try: full jitter, and never less than the other side asks for."""
        jitter = self._random.uniform(0.0, min(MAX_DELAY, BASE_DELAY * 2 ** (tries - 1)))
        # All who were told the same moment would come at once, so the jitter is added to it.
        return jitter if asked is None else asked + min(jitter, BASE_DELAY)

    async def _pause(self, seconds: float) -> bool:
        """Waits, and says whether closing cut it short."""
        import asyncio  # noqa: PLC0415

        assert self._stopping is not None  # noqa: S101 - set before any lane runs
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({sleep, stop}, return_when=asyncio.FIRST_COMPLETED)
            return not sleep.done()
        finally:
            sleep.cancel()
            stop.cancel()
            await asyncio.gather(sleep, stop, return_exceptions=True)


def _labels(channels: Iterable[AlertChannel]) -> list[str]:
    """Each channel's name, the second of a name with `-2` behind it."""
    labels: list[str] = []
    for channel in channels:
        label, number = channel.name, 1
        while label in labels:
            number += 1
            label = f"{channel.name}-{number}"
        labels.append(label)
    return labels


_deliveries: Final[weakref.WeakSet[_Delivery]] = weakref.WeakSet()


def _at_exit() -> None:
    """Gives what is under way a little time: the same little time for all together."""
    deadline = time.monotonic() + EXIT_WAIT
    deliveries = list(_deliveries)
    for delivery in deliveries:
        delivery.begin_close()
    for delivery in deliveries:
        delivery.close(max(0.0, deadline - time.monotonic()))


def _after_fork() -> None:
    for delivery in list(_deliveries):
        delivery.leave_parent()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
