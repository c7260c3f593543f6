"""How accounts stand by what a store holds alone, for those who look from outside.

The limits that the running process has from its code are not in the store, only those set by hand;
what it holds for requests under way is not either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, get_args

from cascadeflow.budgets.accounts import limits_of
from cascadeflow.budgets.records import AccountStanding
from cascadeflow.budgets.vault import sums_of
from cascadeflow.config import BudgetConfig
from cascadeflow.types import PeriodKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.stores.protocol import ScopeRecord

__all__ = ["StoredCalendar", "StoredStanding"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_QUARTER: Final = timedelta(minutes=15)

_EVERY_PERIOD: Final[Mapping[PeriodKind, int | None]] = dict.fromkeys(get_args(PeriodKind))


@dataclass(frozen=True, slots=True)
class StoredStanding:
    """One account's standing.

    Attributes:
        standing: how it stands; its limit is one set by hand, its state by the default thresholds,
            and nothing is held.
        booked: what the log adds up to, nanodollars; less than what `standing.spent` counts, even
            less than nothing, after a reset of a longer period.
        unreported: what a process was granted and never reported; part of `standing.spent`.
        by_hand: whether a limit of this period was set or taken away by hand.
    """

    standing: AccountStanding
    booked: int
    unreported: int
    by_hand: bool


class StoredCalendar:
    """The periods that hold at one moment.

    Args:
        now: the moment.
        timezone: an IANA name: whose days, weeks and months.
        rolling_hours: the length of the rolling period.

    Raises:
        ConfigurationError: the hours lie out of range.
        InvalidRequestError: there is no such time zone.
    """

    def __init__(
        self, now: datetime, *, timezone: str = "UTC", rolling_hours: float = 24.0
    ) -> None:
        self.now = now
        self._config = BudgetConfig(total=0, timezone=timezone, rolling_hours=rolling_hours)
        self._periods: dict[PeriodKind, tuple[datetime | None, datetime | None]] = {
            limit.period: self._period(limit) for limit in self._limits({})
        }

    @property
    def since(self) -> datetime:
        """From when on a store must be asked for sums: the earliest start of the periods."""
        return min(start for start, _ in self._periods.values() if start is not None)

    def standings(self, record: ScopeRecord) -> tuple[StoredStanding, ...]:
        """Gives how a scope stands in every period, the rolling one first, all its life last.

        Args:
            record: what the store gave for `since`.
        """
        by_hand = dict(record.limits)
        limits = self._limits(by_hand)
        starts = [limit.window.period(_milliseconds(self.now))[0] for limit in limits]
        # What the tracker itself counts when it opens the account.
        logged, counted = sums_of(record, limits, starts)
        found = []
        for limit, known, spent in zip(limits, logged, counted, strict=True):
            start, end = self._periods[limit.period]
            if start is None:
                booked = record.spent - record.unreported
            else:
                booked = sum(
                    amount for quarter, amount in record.by_quarter if quarter + _QUARTER > start
                )
            found.append(
                StoredStanding(
                    AccountStanding(
                        scope=record.scope,
                        period=limit.period,
                        limit=limit.nanodollars,
                        spent=spent,
                        held=0,
                        state=limit.state(spent),
                        started_at=start,
                        resets_at=end,
                    ),
                    booked,
                    spent - known,
                    limit.period in by_hand,
                )
            )
        return tuple(found)

    def _limits(self, by_hand: Mapping[PeriodKind, int | None]) -> tuple[Limit, ...]:
        return limits_of(self._config, {**_EVERY_PERIOD, **by_hand})

    def _period(self, limit: Limit) -> tuple[datetime | None, datetime | None]:
        start, end = limit.window.period(_milliseconds(self.now))
        return _moment(start), _moment(end)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _EPOCH + milliseconds * _MILLISECOND
