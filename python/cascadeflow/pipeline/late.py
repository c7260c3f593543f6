"""Judging after the answer: what `QualityConfig(async_validation=True)` leaves for later.

The answer goes out on what its text says; models on this machine judge it beside whatever comes
next, and their verdict is reported. It changes nothing of the answer, teaches the router, and is
never lost in silence: what could not be judged is reported as not accepted.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.pipeline import events
from cascadeflow.quality.report import CheckReport, QualityReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call

__all__ = ["MOST_WAITING", "LateJudging", "LateVerdict", "loggable"]

_logger: Final = logging.getLogger(__name__)

MOST_WAITING: Final = 1_000
"""Verdicts under way at once in an agent. Beyond, drafts come faster than this machine can judge
them: they are reported as not judged, instead of piling up."""


def loggable(error: BaseException) -> str:
    """Says what a validator raised: by its class alone, for its message may quote the prompt.

    `ConfigurationError` is the exception: it names options and files, which no request is in.
    """
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, ConfigurationError) else name


class LateVerdict(Future[QualityReport]):
    """A verdict that is still to come, for any thread to wait for; it never raises.

    Attributes:
        came: whether the draft was judged, and the report is not one of why it was not.
    """

    came: bool = False


class LateJudging:
    """The verdicts of an agent that are still to come; several event loops may wait for theirs."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[None], Callable[[], None]] = {}

    def begin(
        self,
        run: Run,
        draft: Call,
        early: QualityReport,
        judged: Callable[[], Awaitable[QualityReport]],
        learn: Callable[[bool], None],
    ) -> LateVerdict:
        """Begins to judge a draft that was accepted for now.

        Args:
            run: its request.
            draft: the draft.
            early: what its text said.
            judged: judges it in full.
            learn: takes the verdict for the router.

        Returns:
            The verdict to come, for any thread to wait for; it never raises.
        """
        future = LateVerdict()
        future.set_running_or_notify_cancel()  # who stops waiting for it does not stop it

        def give(report: QualityReport, *, came: bool = False) -> None:
            if future.done():
                return
            future.came = came
            future.set_result(report)
            if run.engine.notify is not None:
                run.engine.notify(
                    events.DraftJudged(
                        request_id=run.request_id,
                        model=draft.model.id,
                        quality=report,
                        late=True,
                    )
                )

        def lost() -> None:
            give(_not_judged(early, "it was cancelled, as its event loop ended"))

        async def work() -> None:
            came = False
            try:
                report = await judged()
            except asyncio.CancelledError:
                lost()
                raise
            except Exception as error:  # noqa: BLE001 - whatever a check raises: reported
                _logger.warning("a late verdict failed: %s", loggable(error))
                report = _not_judged(early, f"the validator raised {loggable(error)}")
            else:
                came = True
                learn(report.accepted is True)
            give(report, came=came)

        if len(self._waiting) >= MOST_WAITING:
            self._give_up_lost()
        if len(self._waiting) >= MOST_WAITING:
            full = _not_judged(early, f"{MOST_WAITING} drafts were waiting to be judged")
            asyncio.get_running_loop().call_soon(give, full)  # after the early verdict was told
            return future
        task = asyncio.create_task(work())

        def ended(task: asyncio.Task[None]) -> None:
            self._waiting.pop(task, None)
            lost()  # one that is cancelled before its first step runs nothing of it

        self._waiting[task] = lost
        task.add_done_callback(ended)
        return future

    def _give_up_lost(self) -> None:
        """Reports those whose event loop was closed under them: it did not even cancel them."""
        for task, lost in list(self._waiting.items()):
            if task.get_loop().is_closed() and self._waiting.pop(task, None) is not None:
                lost()

    async def aclose(self) -> None:
        """Waits for the verdicts that are under way on this event loop."""
        self._give_up_lost()
        loop = asyncio.get_running_loop()
        mine = [task for task in list(self._waiting) if task.get_loop() is loop]
        if mine:
            await asyncio.wait(mine)  # who stops waiting for them does not stop them


def _not_judged(early: QualityReport, why: str) -> QualityReport:
    """The report of a draft of which more than its text was to be known, and is not."""
    reason = f"it could not be judged: {why}"
    check = CheckReport(name="validator", verdict="error", score=0.0, reason=reason)
    return replace(early, accepted=False, reason=reason, checks=(*early.checks, check))
