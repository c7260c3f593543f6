"""One circuit breaker for each model: who keeps failing is left alone for a while.

A breaker is a state machine without I/O. Time and chance are handed in, and it remembers no more
than the last tries that its policy names.

```
            failures of the last tries               the cooldown is over
   closed ─────────────────────────────▶ open ─────────────────────────────▶ half open
     ▲                                    ▲                                    │   │
     │                                    └──────── the probe failed ──────────┘   │
     └──────────────────────────────── the probe was answered ─────────────────────┘
```

While half open, one request at a time is let through: the probe. Each change of state makes the
tickets of the time before worthless, so that what began earlier and ends late says nothing of now.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cascadeflow.errors import (
    CircuitOpenError,
    MalformedResponseError,
    OverloadedError,
    ProviderConnectionError,
    ProviderTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from cascadeflow.clock import Clock
    from cascadeflow.config import BreakerPolicy
    from cascadeflow.errors import ProviderError

__all__ = ["BURST_SECONDS", "BreakerState", "Breakers", "CircuitBreaker", "Outcome", "outcome_of"]

BURST_SECONDS: Final = 0.25
"""One broken connection or one restart fails everything that is under way. Of tries that were under
way together, one failure is counted in so many seconds; the next try then shows how things are."""

_State: TypeAlias = Literal["closed", "open", "half_open"]

Outcome: TypeAlias = Literal["answered", "failed", "refused", "unknown"]
"""What a try says of the model's health: it answered; it failed; it is there and refused this
request; or nothing, such as a try that was cancelled."""

_MOST_BREAKERS: Final = 1_024

_ILL: Final = (
    OverloadedError,
    ProviderConnectionError,
    ProviderTimeoutError,
    MalformedResponseError,
)


def outcome_of(error: ProviderError) -> Outcome:
    """Says what an error tells of the health of the model that it came from."""
    if isinstance(error, CircuitOpenError):
        return "unknown"
    return "failed" if isinstance(error, _ILL) else "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerState:
    """What a breaker knows of its model.

    Attributes:
        state: `closed`: requests are sent; `open`: none are; `half_open`: one at a time is.
        failures: how many of the last tries failed; 0 once it has opened.
        opened: how often it has opened since it was last closed.
        retry_after: seconds until it lets the next request through; 0 where it does so now, `None`
            while another request tries the model out.
    """

    state: _State
    failures: int
    opened: int
    retry_after: float | None


class CircuitBreaker:
    """A breaker: ask `admit` before each try, and tell `record` what came of it.

    Safe to use from several threads. A healthy model costs neither a lock nor memory.
    """

    __slots__ = (
        "_clock", "_failed_at", "_lock", "_opened", "_policy", "_random", "_state", "_ticket",
        "_tries", "_until",
    )  # fmt: skip

    def __init__(self, policy: BreakerPolicy, *, clock: Clock, random: Random) -> None:
        """Makes a closed breaker.

        Args:
            policy: when it opens, and for how long.
            clock: what is asked for the time.
            random: what the cooldowns are drawn from.
        """
        self._policy = policy
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._state: _State = "closed"
        self._ticket = 0
        """Whoever has another one was let through before the state last changed."""
        self._tries: deque[tuple[float, bool]] = deque(maxlen=policy.window)
        """When the last tries ended and whether they failed, from the first failure on."""
        self._failed_at = float("-inf")
        """When the last failure ended that was counted."""
        self._opened = 0
        self._until = 0.0
        """Open: when the next probe may go. Half open: when the probe's place lapses."""

    def admit(self) -> int | None:
        """Lets a try through and gives its ticket for `record`; `None` refuses it."""
        if self._state == "closed":
            return self._ticket
        with self._lock:
            return self._probe()

    def _probe(self) -> int | None:
        now = self._clock.monotonic()
        if self._state != "closed":
            if now < self._until:
                return None
            # The cooldown is over; or the last probe never came back, and its place has lapsed.
            self._state = "half_open"
            self._until = now + self._policy.max_cooldown
            self._ticket += 1
        return self._ticket

    def answering(self, ticket: int) -> int:
        """Takes the first sign of an answer, before its end: a probe closes the circuit with it.

        Gives the ticket under which the rest of the answer is recorded.
        """
        if self._state == "closed":
            return ticket
        with self._lock:
            if ticket == self._ticket and self._state == "half_open":
                self._close()
                return self._ticket
        return ticket

    def refuses_for(self) -> float:
        """Seconds that it lets nothing through from now on, as far as it knows; 0 when closed."""
        if self._state == "closed":
            return 0.0
        return max(0.0, self._until - self._clock.monotonic())

    def record(
        self, ticket: int, outcome: Outcome, *, began: float, retry_after: float | None = None
    ) -> None:
        """Takes what came of a try.

        Args:
            ticket: what `admit` gave for it. One from before the state last changed says nothing.
            outcome: what the try says of the model's health.
            began: when the try began, by the breaker's clock.
            retry_after: seconds that the provider asked to wait, with a failure.
        """
        if self._state == "closed" and outcome != "failed" and not self._tries:
            return  # nothing to weigh it against
        with self._lock:
            if ticket != self._ticket:
                return
            if self._state == "half_open":
                if outcome == "unknown":
                    self._state = "open"
                    self._until = self._clock.monotonic()  # the next one may try at once
                    self._ticket += 1
                elif outcome == "failed":
                    self._open(retry_after)
                else:
                    self._close()
            elif outcome == "failed":
                now = self._clock.monotonic()
                if began < self._failed_at and now < self._failed_at + BURST_SECONDS:
                    return  # what made the last one fail made this one fail
                self._failed_at = now
                self._tries.append((now, True))
                if self._failures() >= self._policy.failures:
                    self._open(retry_after)
            elif outcome == "answered" and self._tries:
                self._tries.append((self._clock.monotonic(), False))
                self._failures()

    def state(self) -> BreakerState:
        """Says what it knows."""
        with self._lock:
            left = max(0.0, self._until - self._clock.monotonic())
            return BreakerState(
                state=self._state,
                failures=self._failures(),
                opened=self._opened,
                retry_after={"closed": 0.0, "open": left, "half_open": None}[self._state],
            )

    @property
    def at_rest(self) -> bool:
        """Whether it is as good as new."""
        with self._lock:
            return self._state == "closed" and not self._failures()

    def _failures(self) -> int:
        """Counts the failures that still count, and forgets what does not."""
        tries = self._tries
        oldest = self._clock.monotonic() - self._policy.period
        while tries and (tries[0][0] < oldest or not tries[0][1]):
            tries.popleft()  # too long ago; or an answer, which no failure that counts precedes
        return sum(failed for _, failed in tries)

    def _close(self) -> None:
        self._state = "closed"
        self._opened = 0
        self._ticket += 1

    def _open(self, retry_after: float | None) -> None:
        policy = self._policy
        highest = min(policy.max_cooldown, policy.cooldown * 2.0 ** min(self._opened, 60))
        wait = self._random.uniform(highest / 2, highest)
        if retry_after is not None:
            wait = max(wait, min(retry_after, policy.max_cooldown))
        self._state = "open"
        self._opened += 1
        self._until = self._clock.monotonic() + wait
        self._ticket += 1
        self._tries.clear()


class Breakers:
    """The breakers of a completer: one for each model at each address.

    Args:
        policy: when they open; `None` has none.
        clock: what they ask for the time.
        random: what their cooldowns are drawn from.
    """

    __slots__ = ("_breakers", "_clock", "_policy", "_random")

    def __init__(self, policy: BreakerPolicy | None, *, clock: Clock, random: Random) -> None:
        self._policy = policy
        self._clock = clock
        self._random = random
        self._breakers: dict[tuple[str, str], CircuitBreaker] = {}

    def of(self, model: str, address: str) -> CircuitBreaker | None:
        """Gives a model's breaker; the same for all who ask it at the same address."""
        if self._policy is None:
            return None
        # What may hold a secret is not part of what is shown: an address's query, and a name in it.
        key = model, address.partition("?")[0].rpartition("@")[2]
        breaker = self._breakers.get(key)
        if breaker is None:
            if len(self._breakers) >= _MOST_BREAKERS:
                kept = {k: each for k, each in self._breakers.items() if not each.at_rest}
                self._breakers = kept if len(kept) < _MOST_BREAKERS else {}
            breaker = CircuitBreaker(self._policy, clock=self._clock, random=self._random)
            # Two threads may come at once: both get the one that was first.
            breaker = self._breakers.setdefault(key, breaker)
        return breaker

    def states(self) -> Mapping[str, BreakerState]:
        """Gives what each knows, by the model's id, with the address where it has several."""
        breakers = self._breakers.copy()
        ids = [model for model, _ in breakers]
        return {
            model if ids.count(model) == 1 else f"{model} at {address}": breaker.state()
            for (model, address), breaker in breakers.items()
        }
