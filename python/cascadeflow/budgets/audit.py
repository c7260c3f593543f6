"""Changes made by hand, and the proof that the usage log is as it was written.

Every change of a limit, every adjustment and every reset is an event with an actor and a reason, in
the same numbered chain as the charges. `verify` walks the chain; what it can and what it cannot
prove is written in `budgets.stores.chain`. In short: an unkeyed chain finds damage and careless
changes, but not a forger who computes all hashes anew; a keyed one (`CASCADEFLOW_AUDIT_KEY`) finds
that too; that the newest rows were taken away, or an older copy of the whole file put back, shows
only against a head that was noted elsewhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cascadeflow.budgets.records import ManualEvent
from cascadeflow.budgets.report_records import dollars
from cascadeflow.budgets.stores.chain import Head
from cascadeflow.budgets.stores.events import check_amount, identity, micros
from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.budgets.records import Scope
    from cascadeflow.budgets.stores.chain import ChainedLog, ChainRow
    from cascadeflow.types import PeriodKind

__all__ = ["AuditReport", "adjusted", "limit_changed", "noted_head", "reclaimed", "reset", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit of a log found.

    Attributes:
        rows: rows that were read; all of them when it is `ok`.
        ok: whether the log is as it was written, as far as its chain can prove.
        first_bad: the number of the first row that is not; `None` when it is ok, or when the fault
            is in no row (the sums, an index).
        reason: what is wrong; empty when it is ok.
        head: the newest row and its hash, as text to note elsewhere.
        keyed: whether the chain has a key: without, a forger who computed all hashes anew would not
            be found.
    """

    rows: int
    ok: bool
    first_bad: int | None
    reason: str
    head: str
    keyed: bool


def verify(log: ChainedLog, *, head: str | None = None) -> AuditReport:
    """Walks the chain from its first row, then looks for damage and reckons the sums anew.

    Found are rows that were changed, taken out, put in or moved, an index that names another event
    or time than its row, a log that ends before its head, and sums that are not those of the log.

    Args:
        log: a store, opened with the chain's key if it has one.
        head: what `noted_head` gave earlier: the log must still hold that row, with that hash.

    Raises:
        ConfigurationError: the head is none, or the chain has a key and the store was opened
            without it.
        StoreError: the file cannot be read.
    """
    noted = None if head is None else Head.parse(head)
    claimed = log.head()
    if not log.key_fits:
        raise ConfigurationError(
            "this log's chain has a key: set CASCADEFLOW_AUDIT_KEY to it before verifying"
        )
    count, first_bad, reason = _walk(log, claimed, noted)
    if not reason:
        reason = log.check_beside_chain() or ""
    return AuditReport(
        rows=count,
        ok=not reason,
        first_bad=first_bad,
        reason=reason,
        head=str(claimed),
        keyed=log.chain.keyed,
    )


def _walk(log: ChainedLog, claimed: Head, noted: Head | None) -> tuple[int, int | None, str]:
    """Gives how many rows were read, the first bad one, and why it is."""
    chain = log.chain
    count, digest = chain.genesis.rows, chain.genesis.hash
    for row in log.rows():
        if count == claimed.rows:
            # Written while this runs, it is the next audit's; but then the head has moved too.
            if log.head().rows > claimed.rows:
                break
            return count, count + 1, f"row {row.number} lies behind the head, row {claimed.rows}"
        count += 1
        if row.number != count:
            return count - 1, count, f"row {count} is missing: row {row.number} is next"
        digest = chain.link(digest, row.body)
        wrong = _wrong_with(row, digest, noted)
        if wrong:
            return count, count, f"row {count}: {wrong}"
    if count < claimed.rows:
        return count, count + 1, f"the log ends at row {count}, its head is row {claimed.rows}"
    if noted is not None and count < noted.rows:
        return count, count + 1, f"the log ends at row {count}, but {noted.rows} had been noted"
    whole = digest == claimed.hash
    return count, None, "" if whole else "the head's hash is not that of the newest row"


def noted_head(log: ChainedLog) -> str:
    """Gives the head to note elsewhere: on paper, in another system, with another owner.

    A later `verify(…, head=…)` then shows that nothing up to it was changed, and that no older copy
    was put in the log's place.
    """
    return str(log.head())


def _wrong_with(row: ChainRow, digest: bytes, noted: Head | None) -> str:
    """Says what is wrong with a row whose hash should be `digest`; empty when nothing is."""
    if digest != row.hash:
        return "its hash is not that of its text and the rows before it"
    if noted is not None and row.number == noted.rows and digest != noted.hash:
        return "its hash is not the one that was noted: the log was written anew"
    try:
        event_id, at = identity(row.body)
    except StoreError as error:
        return str(error)
    if event_id != row.event_id:
        return f"the index names it {row.event_id!r:.80}, its text {event_id!r:.80}"
    if at != row.at:
        return "the index has another time than its text"
    return ""


def limit_changed(
    scope: Scope,
    period: PeriodKind | None,
    *,
    limit: int | None,
    previous: int | None,
    actor: str,
    reason: str,
    at: datetime,
) -> ManualEvent:
    """Gives the event of a limit that was set, or taken away (`None`); nanodollars.

    `period` `None` sets it for every period.

    Raises:
        InvalidRequestError: the limit is negative, or there is no actor or no reason.
    """
    if limit is not None and limit < 0:
        raise InvalidRequestError(f"a limit must be at least 0 nanodollars, not {limit}")
    return _manual(
        "limit",
        scope,
        period,
        nanodollars=limit,
        previous=previous,
        actor=actor,
        reason=reason,
        at=at,
    )


def adjusted(
    scope: Scope, *, nanodollars: int, previous: int | None, actor: str, reason: str, at: datetime
) -> ManualEvent:
    """Gives the event of spending corrected by hand, by so many nanodollars; negative lowers it.

    Raises:
        InvalidRequestError: the amount is none, or there is no actor or no reason.
    """
    return _manual(
        "adjust",
        scope,
        None,
        nanodollars=nanodollars,
        previous=previous,
        actor=actor,
        reason=reason,
        at=at,
    )


def reset(
    scope: Scope,
    period: PeriodKind | None,
    *,
    previous: int,
    actor: str,
    reason: str,
    at: datetime,
) -> ManualEvent:
    """Gives the event of spending set to zero by hand, from `previous` nanodollars.

    Raises:
        InvalidRequestError: the amount is none, or there is no actor or no reason.
    """
    return _manual(
        "reset",
        scope,
        period,
        nanodollars=-previous,
        previous=previous,
        actor=actor,
        reason=reason,
        at=at,
    )


def reclaimed(
    scope: Scope,
    *,
    previous: int,
    unreported: int,
    spent: int,
    actor: str,
    reason: str,
    at: datetime,
) -> ManualEvent:
    """Gives the event of unreported money that was settled by hand: `spent` of it is booked.

    Args:
        scope: whose.
        previous: nanodollars that counted as spent until now, `unreported` among them.
        unreported: nanodollars that were granted and never reported.
        spent: how many of these were truly spent.
        actor: who settles it.
        reason: why.
        at: when.

    Raises:
        InvalidRequestError: there is no actor or no reason.
        StoreError: nothing is unreported, or less than `spent`.
    """
    if not unreported:
        raise StoreError(
            f"{scope} has nothing to settle: all that was granted to it was reported. "
            "`cascadeflow budget show` marks the accounts that have something with a star"
        )
    if not 0 <= spent <= unreported:
        raise StoreError(
            f"{dollars(unreported)} of {scope} were granted and not reported, so {dollars(spent)} "
            "of it cannot have been spent: give what the provider billed, at most that much"
        )
    return _manual(
        "reclaim",
        scope,
        None,
        nanodollars=spent,
        previous=previous,
        actor=actor,
        reason=reason,
        at=at,
        unreported=unreported,
    )


def _manual(
    kind: Literal["limit", "adjust", "reset", "reclaim"],
    scope: Scope,
    period: PeriodKind | None,
    *,
    nanodollars: int | None,
    previous: int | None,
    actor: str,
    reason: str,
    at: datetime,
    unreported: int = 0,
) -> ManualEvent:
    if not actor.strip() or not reason.strip():
        raise InvalidRequestError("a change by hand needs an actor and a reason")
    for amount, what in ((nanodollars, f"the {kind}"), (previous, "what was before")):
        if amount is not None:
            check_amount(amount, what=what)
    micros(at)  # refuses a time without a zone
    return ManualEvent(
        event_id=f"manual-{os.urandom(16).hex()}",
        at=at,
        kind=kind,
        scope=scope,
        period=period,
        nanodollars=nanodollars,
        previous=previous,
        actor=actor,
        reason=reason,
        unreported=unreported,
    )
