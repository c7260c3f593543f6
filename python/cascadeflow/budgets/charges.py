"""What was charged, as events: into the history, and into the log of a store."""

from __future__ import annotations

import itertools
import logging
import os
from typing import TYPE_CHECKING, Final

from cascadeflow.budgets.records import Charge, UsageEvent
from cascadeflow.budgets.refusals import dollars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.history import History, TotalState
    from cascadeflow.budgets.records import Spender
    from cascadeflow.budgets.reservation import Hold
    from cascadeflow.budgets.writer import Writer
    from cascadeflow.clock import Clock

__all__ = ["ChargeBook"]

_logger: Final = logging.getLogger("cascadeflow.budgets.tracker")


class ChargeBook:
    """Makes the events of the log and passes them on."""

    def __init__(
        self,
        history: History,
        writer: Writer | None,
        clock: Clock,
        total_limit: Callable[[], Limit | None],
        *,
        enforces: bool,
        verbose: bool,
    ) -> None:
        self._history = history
        self._writer = writer
        self._clock = clock
        self.total_limit = total_limit
        self._stopped = "" if enforces else " (tracked only: nothing is stopped)"
        self._verbose = verbose
        self.renew_after_fork()

    def renew_after_fork(self) -> None:
        """In a forked child: its event ids are its own."""
        self._prefix = os.urandom(8).hex()
        self._ids = itertools.count(1)

    def now(self) -> datetime:
        """The clock's time."""
        return self._clock.now()

    def event_id(self) -> str:
        """An id that no other event has."""
        return f"{self._prefix}-{next(self._ids)}"

    def book(
        self, hold: Hold, charges: Sequence[Charge], metadata: Mapping[str, object]
    ) -> tuple[UsageEvent, ...]:
        """Logs the charges that end a hold."""
        now = self._clock.now() if charges else hold.at
        events = tuple(
            [
                self.event(
                    charge,
                    hold.route.spender,
                    at=hold.at,
                    logged_at=now,
                    request_id=hold.request_id,
                    metadata=metadata,
                )
                for charge in charges
            ]
        )
        self._log(events, hold)
        return events

    def correct(
        self,
        hold: Hold,
        late: Sequence[UsageEvent],
        charges: Sequence[Charge],
        metadata: Mapping[str, object],
    ) -> None:
        """Logs what takes the place of an expired hold's unconfirmed charges.

        Each charge takes the place of one of the same model; what is left of them was never spent.
        """
        left = list(late)
        pairs: list[tuple[Charge, UsageEvent | None]] = []
        for charge in charges:
            old = next((event for event in left if event.charge.model == charge.model), None)
            if old is not None:
                left.remove(old)
            pairs.append((charge, old))
        for old in left:
            held = old.charge.held
            model = old.charge.model
            pairs.append((Charge(model=model, nanodollars=0, confirmed=True, held=held), old))
        now = self._clock.now()
        events = [
            self.event(
                charge,
                hold.route.spender,
                at=hold.at,
                logged_at=now,
                request_id=hold.request_id,
                metadata=metadata,
                corrected=old,
            )
            for charge, old in pairs
        ]
        self._log(events, hold)

    def event(
        self,
        charge: Charge,
        spender: Spender,
        *,
        at: datetime,
        logged_at: datetime,
        request_id: str,
        metadata: Mapping[str, object],
        corrected: UsageEvent | None = None,
    ) -> UsageEvent:
        """Makes an event; `corrected` is the one that it takes the place of."""
        return UsageEvent(
            event_id=self.event_id(),
            at=at,
            logged_at=logged_at,
            request_id=request_id,
            spender=spender,
            charge=charge,
            corrects=None if corrected is None else corrected.event_id,
            corrected_nanodollars=0 if corrected is None else corrected.charge.nanodollars or 0,
            metadata=metadata,
        )

    def _log(self, events: Sequence[UsageEvent], hold: Hold) -> None:
        if self._writer is not None:
            self._writer.put(events, ended=hold.request_id if hold.strict else None)
        if events:
            self.count(events)

    def count(self, events: Sequence[UsageEvent], *, tokens: int = 0) -> tuple[TotalState, ...]:
        """Counts events in the history, and says in the log of the process what was reached."""
        limit = self.total_limit()
        crossed = self._history.add(events, limit, tokens=tokens)
        if self._verbose:
            for event in events:
                _logger.info("%s cost %s nanodollars", event.charge.model, event.charge.nanodollars)
        for state in crossed:
            _logger.warning(
                "the budget is %s: %s of %s USD spent%s",
                state,
                dollars(self._history.spent),
                dollars((limit and limit.nanodollars) or 0),
                self._stopped,
            )
        return crossed
