"""What the drafts of one variant were judged to be, told to its experiment in the requests' order.

With late verdicts a draft that its text condemns is known at once, and one that it lets through
only later. Told as they come, the bad ones would always be ahead, and a guard rail that is looked
at meanwhile could stop a variant for it. So nobody's verdict is told before the one in front of it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cascadeflow.pipeline.late import LateVerdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from cascadeflow.quality.report import QualityReport

__all__ = ["Tell", "VerdictLine", "verdict_values"]

_LONGEST: Final = 10_000
"""Requests that wait in line; beyond, the first one's early verdict is told in the late one's
place."""


class Tell(Protocol):
    """Tells an experiment what came of one request."""

    def __call__(self, outcome: Mapping[str, float], *, later: bool) -> None:
        """Tells it.

        Args:
            outcome: values by metric.
            later: whether the request was told of before, and this is added.
        """


@dataclass(slots=True, eq=False)
class _Place:
    """One request in line.

    Attributes:
        tell: tells what came of it.
        early: what its draft's text said.
        verdict: what is to be told, once that is known.
    """

    tell: Tell
    early: Mapping[str, float]
    verdict: Mapping[str, float] | None = None


def verdict_values(accepted: bool | None, score: float | None) -> dict[str, float]:  # noqa: FBT001
    """Gives the metrics that a verdict decides, as `accepted` and `quality`."""
    values = {"accepted": 1.0 if accepted else 0.0}
    if score is not None and 0 <= score <= 1:
        values["quality"] = score
    return values


class VerdictLine:
    """The requests of one variant whose verdicts are not told yet; for any thread.

    It is empty, and costs next to nothing, where no verdict is late.
    """

    __slots__ = ("_line", "_lock", "_pid")

    _line: deque[_Place]

    def __init__(self) -> None:
        self._reset()

    def observe(
        self,
        tell: Tell,
        outcome: Mapping[str, float],
        early: Mapping[str, float],
        late: Future[QualityReport] | None,
    ) -> None:
        """Tells what came of a request: at once what is known, and its verdict in its turn.

        Args:
            tell: tells it.
            outcome: what no verdict decides, by metric.
            early: what one does, by the verdict that the answer came with.
            late: the verdict that counts in its place, if it comes.
        """
        self._leave_parent()
        with self._lock:
            place = None if late is None and not self._line else _Place(tell, early)
            if place is not None:
                self._line.append(place)
        if place is None:
            tell({**outcome, **early}, later=False)
            return
        tell(outcome, later=False)
        if late is None:
            self._know(place, early)
        else:
            late.add_done_callback(lambda done: self._know(place, _counted(early, done)))

    def release(self) -> None:
        """Tells what is known, whoever is in front of it: nobody may wait for that any more."""
        self._leave_parent()
        with self._lock:
            ready = [place for place in self._line if place.verdict is not None]
            self._line = deque(place for place in self._line if place.verdict is None)
        _tell_all(ready)

    def _know(self, place: _Place, verdict: Mapping[str, float]) -> None:
        self._leave_parent()
        ready: list[_Place] = []
        with self._lock:
            if place.verdict is None:  # else its early one was told meanwhile
                place.verdict = verdict
            if len(self._line) > _LONGEST and self._line[0].verdict is None:
                self._line[0].verdict = _never_came(self._line[0].early)
            while self._line and self._line[0].verdict is not None:
                ready.append(self._line.popleft())
        _tell_all(ready)

    def _leave_parent(self) -> None:
        """Forgets, in a forked child, those in its parent's line: they are the parent's to tell."""
        if self._pid != os.getpid():
            self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._line = deque()
        self._pid = os.getpid()


def _tell_all(places: list[_Place]) -> None:
    for place in places:
        if place.verdict:  # nothing is told of an answer from the cache that was never judged
            place.tell(place.verdict, later=True)


def _counted(early: Mapping[str, float], done: Future[QualityReport]) -> Mapping[str, float]:
    """The late verdict, or the early one, marked, where that never came."""
    if not isinstance(done, LateVerdict) or not done.came:
        return _never_came(early)
    report = done.result()
    return {**verdict_values(report.accepted, report.score), "unjudged": 0.0}


def _never_came(early: Mapping[str, float]) -> Mapping[str, float]:
    return {**early, "unjudged": 1.0}
