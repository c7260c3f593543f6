"""What the operator's resolver answers, read; and what it does wrong, told once in a while.

A resolver that raises, takes too long or answers with something else tells nothing about a user,
who is then in the default tier: never in a better one because a database is down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cascadeflow.tiers.config import UserProfile

if TYPE_CHECKING:
    from cascadeflow.clock import Clock

__all__ = ["Answer", "Question", "TierResolver", "Warnings", "quoted", "raised", "read"]

TierResolver: TypeAlias = Callable[
    [str], "str | UserProfile | Awaitable[str | UserProfile | None] | None"
]
"""Says which tier a user id is in: by name, with exceptions of the user's own, or `None` for the
default tier. It may be async."""

_logger: Final = logging.getLogger("cascadeflow.tiers")

_MOST_NAMES: Final = 1_000
_MOST_PROBLEMS: Final = 100
_LONGEST_NAME: Final = 60
_SELDOM_SECONDS: Final = 60.0


class Answer(NamedTuple):
    """What a resolver said of a user, or why it said nothing.

    Attributes:
        tier: the tier's name; `None` when it named none.
        profile: the same with exceptions, where it gave some.
        problem: in words and without the error's message, which may hold a secret.
        lasting: whether it may be remembered.
    """

    tier: str | None = None
    profile: UserProfile | None = None
    problem: str | None = None
    lasting: bool = True


def read(value: Any) -> Answer:
    """Reads what a resolver answered, whatever its annotation says."""
    if value is None:
        return Answer()
    if isinstance(value, UserProfile):
        return Answer(value.tier, value)
    if isinstance(value, str):
        return Answer(value)
    return Answer(problem=f"the resolver gave {type(value).__name__}, which names no tier")


def raised(error: BaseException) -> Answer:
    """Reads what a resolver raised: its class alone."""
    return Answer(problem=f"the resolver raised {type(error).__name__}")


def quoted(name: str) -> str:
    """Gives a name for a log or a message, cut where it is long."""
    cut = name[:_LONGEST_NAME]  # plain text, also of an enum's member
    return repr(cut if len(cut) == len(name) else cut[:-1] + "…")


class Question:
    """One question to the resolver, on one event loop; everybody there who wants to know waits.

    Attributes:
        user_id: about whom.
        loop: where it was put.
        order: its number; of two answers the one that was asked for later holds.
    """

    __slots__ = ("_asked", "_hear", "_outcome", "_seconds", "_timer", "loop", "order", "user_id")

    def __init__(self, user_id: str, loop: asyncio.AbstractEventLoop, order: int) -> None:
        self.user_id = user_id
        self.loop = loop
        self.order = order
        self._outcome: asyncio.Future[Any] | None = None

    def put(
        self,
        awaitable: Awaitable[Any],
        hear: Callable[[Question, Answer], Any],
        *,
        seconds: float,
        clock: Clock,
    ) -> None:
        """Begins to wait for the resolver, for so many seconds at most.

        Args:
            awaitable: what the resolver gave.
            hear: called with its answer, once; what it gives is the outcome.
            seconds: after which the answer is not waited for.
            clock: the time.

        Raises:
            ValueError: it belongs to another event loop.
        """
        self._asked: asyncio.Future[Any] = asyncio.ensure_future(awaitable, loop=self.loop)
        self._hear = hear
        self._seconds = seconds
        self._outcome = self.loop.create_future()
        self._timer: asyncio.Future[None] = self.loop.create_task(clock.sleep(seconds))
        self._asked.add_done_callback(self._answered)
        self._timer.add_done_callback(self._late)

    async def outcome(self) -> Any:
        """Waits for the outcome. Whoever is cancelled meanwhile leaves it to the others."""
        assert self._outcome is not None  # noqa: S101 - for mypy: it was put
        return await asyncio.shield(self._outcome)

    def _answered(self, asked: asyncio.Future[Any]) -> None:
        if asked.cancelled():
            # By its own doing, or because the loop ends: nothing to hold against the next one.
            self._end(Answer(problem="the resolver was cancelled", lasting=False))
            return
        error = asked.exception()  # looked at also when it is late, or asyncio would log it whole
        self._end(read(asked.result()) if error is None else raised(error))

    def _late(self, timer: asyncio.Future[None]) -> None:
        if timer.cancelled() or self._asked.done():
            return
        self._asked.cancel()
        error = timer.exception()
        self._end(
            Answer(problem=f"the resolver took longer than {self._seconds:g} s")
            if error is None
            else raised(error)
        )

    def _end(self, answer: Answer) -> None:
        outcome = self._outcome
        if outcome is None or outcome.done():
            return
        self._timer.cancel()
        try:
            outcome.set_result(self._hear(self, answer))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            outcome.set_exception(error)


class Warnings:
    """Tells the log what is wrong, and not again for every request."""

    __slots__ = ("_clock", "_names", "_problems")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._names: dict[str, object] = {}
        self._problems: dict[str, float] = {}

    def unknown(self, name: str, default: str, who: str) -> None:
        """Warns of a tier that is not configured, once for each name; of the first 1,000."""
        name, mine = quoted(name), object()
        if name in self._names or len(self._names) > _MOST_NAMES:
            return
        if self._names.setdefault(name, mine) is not mine:
            return  # another thread was first
        if len(self._names) > _MOST_NAMES:
            _logger.warning(
                "more than %d names of tiers are not configured: no more of them are told",
                _MOST_NAMES,
            )
            return
        _logger.warning(
            "the tier %s, which %s names, is not configured: its users are in the default tier %s",
            name,
            who,
            quoted(default),
        )

    def problem(self, what: str, default: str) -> None:
        """Warns of a resolver that gave no tier, each way of it once a minute at most."""
        now = self._clock.monotonic()
        last = self._problems.get(what)
        if last is not None and now - last < _SELDOM_SECONDS:
            return
        if last is None and len(self._problems) >= _MOST_PROBLEMS:
            self._problems.clear()
        self._problems[what] = now
        _logger.warning(
            "%s: the users it was asked about are in the default tier %s until it answers again "
            "(told once a minute)",
            what,
            quoted(default),
        )
