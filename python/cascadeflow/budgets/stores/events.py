"""The log's events as canonical JSON, and what each adds to which sums.

One event is one line of ASCII JSON with sorted keys and no spaces, so that the same event always
has the same bytes and therefore the same hash. Fields that say nothing are left out.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii as _quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from cascadeflow.budgets.records import Charge, ManualEvent, Scope, Spender, UsageEvent
from cascadeflow.errors import InvalidRequestError, StoreError
from cascadeflow.money import MAX_NANODOLLARS
from cascadeflow.types import PeriodKind, ScopeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cascadeflow.budgets.records import LogEvent

__all__ = [
    "ANONYMOUS",
    "Booking",
    "booking",
    "check_amount",
    "decode",
    "decode_spender",
    "encode",
    "encode_spender",
    "from_micros",
    "identity",
    "limit_changes",
    "micros",
    "quarter_entries",
    "quarter_of",
    "quarter_start",
    "usage_scopes",
]

ANONYMOUS: Final = "anonymous"
"""The user whom spending is counted on when the spender names none."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_QUARTER: Final = 900 * 1_000_000
_GLOBAL: Final[tuple[ScopeKind, str]] = ("global", "")
_PERIODS: Final[tuple[PeriodKind, ...]] = get_args(PeriodKind)

# What a caller hangs on an event may be anything; a charge is never lost over it.
_DEEPEST: Final = 32
_LARGEST_INTEGER: Final = 1024

_BOOLEANS: Final = {True: "true", False: "false"}

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
)


class Booking(NamedTuple):
    """What one event adds to the sums.

    Attributes:
        scopes: kind and name of each scope, once: plain pairs, which hash fast.
        quarter: which UTC quarter of an hour, counted from 1970.
        nanodollars: how much; may be negative.
    """

    scopes: tuple[tuple[ScopeKind, str], ...]
    quarter: int
    nanodollars: int


def micros(moment: datetime) -> int:
    """Gives microseconds since 1970.

    Raises:
        InvalidRequestError: the moment has no time zone.
    """
    if moment.utcoffset() is None:
        raise InvalidRequestError(
            f"a store's times need a time zone: datetime(…, tzinfo=UTC), not {moment.isoformat()}"
        )
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """Gives the UTC time of so many microseconds since 1970."""
    return _EPOCH + value * _MICROSECOND


def quarter_of(at_micros: int) -> int:
    """Gives the number of the UTC quarter of an hour that a moment lies in."""
    return at_micros // _QUARTER


def quarter_start(quarter: int) -> datetime:
    """Gives the start of a quarter of an hour, UTC."""
    return from_micros(quarter * _QUARTER)


def quarter_entries(quarter: int, nanodollars: int, taken: int) -> tuple[tuple[datetime, int], ...]:
    """Gives what `ScopeRecord.by_quarter` has of a quarter of an hour: one entry, or two.

    >>> [amount for _, amount in quarter_entries(0, 30, 0) + quarter_entries(1, -60, 90)]
    [30, -90, 30]

    Args:
        quarter: which, counted from 1970.
        nanodollars: its sum.
        taken: what was taken off in it beyond what had been spent in it by then, at least 0.
    """
    start = quarter_start(quarter)
    if not taken:
        return ((start, nanodollars),)
    return ((start, -taken), (start, nanodollars + taken))


def check_amount(nanodollars: object, *, what: str) -> int:
    """Gives an amount that can be accounted for.

    Raises:
        InvalidRequestError: it is no integer, or larger than `money.MAX_NANODOLLARS` either way.
    """
    if type(nanodollars) is not int or not -MAX_NANODOLLARS <= nanodollars <= MAX_NANODOLLARS:
        raise InvalidRequestError(
            f"{what} must be a whole number of nanodollars within ±{MAX_NANODOLLARS}, "
            f"not {nanodollars!r:.80}"
        )
    return nanodollars


def usage_scopes(spender: Spender, model: str) -> tuple[Scope, ...]:
    """Gives every scope that a charge is summed on, whether it has a limit or not.

    >>> [str(scope) for scope in usage_scopes(Spender(tier="pro", tags=("a", "a")), "openai:m")]
    ['global', 'user:anonymous', 'tier:pro', 'tag:a', 'model:openai:m']
    """
    return tuple(Scope(kind, name) for kind, name in _usage_pairs(spender, model))


def _usage_pairs(spender: Spender, model: str) -> tuple[tuple[ScopeKind, str], ...]:
    pairs: list[tuple[ScopeKind, str]] = [_GLOBAL, ("user", spender.user_id or ANONYMOUS)]
    if spender.tier:
        pairs.append(("tier", spender.tier))
    if spender.team:
        pairs.append(("team", spender.team))
    if spender.key:
        pairs.append(("key", spender.key))
    if spender.tags:
        pairs.extend(("tag", tag) for tag in dict.fromkeys(spender.tags) if tag)
    pairs.append(("model", model))
    return tuple(pairs)


def booking(event: LogEvent, at: int) -> Booking | None:
    """Gives what an event of that time (microseconds) adds to the sums; `None` for nothing."""
    if isinstance(event, UsageEvent):
        pairs = _usage_pairs(event.spender, event.charge.model)
        return Booking(pairs, quarter_of(at), event.booked)
    if event.kind == "limit" or not event.nanodollars:
        return None
    pair = (event.scope.kind, event.scope.name)
    return Booking((pair,), quarter_of(at), event.nanodollars)


def limit_changes(event: LogEvent) -> tuple[tuple[Scope, PeriodKind, int | None], ...]:
    """Gives the limits that an event sets: whose, of which period, and how much (`None`: none)."""
    if isinstance(event, UsageEvent) or event.kind != "limit":
        return ()
    periods = _PERIODS if event.period is None else (event.period,)
    return tuple((event.scope, period, event.nanodollars) for period in periods)


def identity(body: str) -> tuple[str, int]:
    """Gives the id and the time (microseconds) that an event's text names.

    Raises:
        StoreError: the text is no event.
    """
    try:
        fields = json.loads(body)
        return fields["event_id"], micros(datetime.fromisoformat(fields["at"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"its text is no event ({error!r:.120})") from None


def encode(event: LogEvent) -> str:
    """Gives an event as canonical JSON, pure ASCII.

    What is no JSON in the metadata (an object, a NaN, a number of a thousand bits, more than 32
    levels) is written as its type's name in angle brackets: a charge is not lost over it.

    Raises:
        InvalidRequestError: an amount or a time is none.
    """
    if isinstance(event, UsageEvent):
        return _encode_usage(event)
    fields: dict[str, Any] = {
        "actor": event.actor,
        "at": _iso(event.at),
        "event_id": event.event_id,
        "kind": event.kind,
        "reason": event.reason,
        "scope": [event.scope.kind, event.scope.name],
    }
    if event.nanodollars is not None:
        fields["nanodollars"] = check_amount(event.nanodollars, what=f"a {event.kind}")
    if event.period is not None:
        fields["period"] = event.period
    if event.previous is not None:
        fields["previous"] = check_amount(event.previous, what="what was before")
    if event.unreported:
        fields["unreported"] = check_amount(event.unreported, what="what was not reported")
    return _ENCODER.encode(fields)


def decode(body: str) -> LogEvent:
    """Reads an event back.

    Raises:
        StoreError: the text is no event; it was changed, or damaged.
    """
    try:
        fields = json.loads(body)
        if fields["kind"] != "usage":
            return _manual(fields)
        return UsageEvent(
            event_id=fields["event_id"],
            at=datetime.fromisoformat(fields["at"]),
            logged_at=datetime.fromisoformat(fields["logged_at"]),
            request_id=fields["request_id"],
            spender=_spender(fields["spender"]),
            charge=Charge(**fields["charge"]),
            corrects=fields.get("corrects"),
            corrected_nanodollars=fields.get("corrected_nanodollars", 0),
            metadata=fields.get("metadata", {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise StoreError(
            "a row of the usage log cannot be read: it was changed or damaged. Run `cascadeflow "
            f"audit verify` to find which, and restore the file from a backup ({error!r:.120})"
        ) from None


def encode_spender(spender: Spender) -> str:
    """Gives a spender as canonical JSON."""
    parts = []
    if spender.key is not None:
        parts.append(f'"key":{_quote(spender.key)}')
    if spender.tags:
        parts.append(f'"tags":[{",".join(map(_quote, spender.tags))}]')
    if spender.team is not None:
        parts.append(f'"team":{_quote(spender.team)}')
    if spender.tier is not None:
        parts.append(f'"tier":{_quote(spender.tier)}')
    if spender.user_id is not None:
        parts.append(f'"user_id":{_quote(spender.user_id)}')
    return f"{{{','.join(parts)}}}"


def decode_spender(body: str) -> Spender:
    """Reads a spender back.

    Raises:
        StoreError: the text is none.
    """
    try:
        return _spender(json.loads(body))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"a hold's spender cannot be read: {error!r:.120}") from None


def _encode_usage(event: UsageEvent) -> str:
    """Writes a charge by hand, for a batch of them is on the way to the disk.

    The tests hold it to the same bytes as `json` with sorted keys gives.
    """
    charge = event.charge
    paid = f'{{"confirmed":{_BOOLEANS[charge.confirmed]}'
    if charge.estimate is not None:
        paid += f',"estimate":{check_amount(charge.estimate, what="an estimate")}'
    if charge.held:
        paid += f',"held":{check_amount(charge.held, what="a hold")}'
    if charge.input_tokens is not None:
        paid += f',"input_tokens":{check_amount(charge.input_tokens, what="a token count")}'
    paid += f',"model":{_quote(charge.model)},"nanodollars":'
    if charge.nanodollars is None:
        paid += "null"
    else:
        paid += str(check_amount(charge.nanodollars, what="a charge"))
    if charge.output_tokens is not None:
        paid += f',"output_tokens":{check_amount(charge.output_tokens, what="a token count")}'
    if charge.price_date is not None:
        paid += f',"price_date":{_quote(charge.price_date)}'
    if charge.price_source is not None:
        paid += f',"price_source":{_quote(charge.price_source)}'
    if charge.response_id is not None:
        paid += f',"response_id":{_quote(charge.response_id)}'
    corrected = ""
    if event.corrected_nanodollars:
        amount = check_amount(event.corrected_nanodollars, what="a corrected charge")
        corrected = f'"corrected_nanodollars":{amount},'
    if event.corrects is not None:
        corrected += f'"corrects":{_quote(event.corrects)},'
    metadata = ""
    if event.metadata:
        metadata = f'"metadata":{_ENCODER.encode(_plain(event.metadata, 0))},'
    return (
        f'{{"at":"{_iso(event.at)}","charge":{paid},"role":{_quote(charge.role)}}},{corrected}'
        f'"event_id":{_quote(event.event_id)},"kind":"usage","logged_at":"{_iso(event.logged_at)}",'
        f'{metadata}"request_id":{_quote(event.request_id)},'
        f'"spender":{encode_spender(event.spender)}}}'
    )


def _spender(fields: dict[str, Any]) -> Spender:
    return Spender(**{**fields, "tags": tuple(fields.get("tags", ()))})


def _manual(fields: dict[str, Any]) -> ManualEvent:
    kind, name = fields["scope"]
    if fields["kind"] not in {"limit", "adjust", "reset", "reclaim"}:
        raise ValueError(fields["kind"])
    return ManualEvent(
        event_id=fields["event_id"],
        at=datetime.fromisoformat(fields["at"]),
        kind=fields["kind"],
        scope=Scope(kind, name),
        period=fields.get("period"),
        nanodollars=fields.get("nanodollars"),
        previous=fields.get("previous"),
        actor=fields["actor"],
        reason=fields["reason"],
        unreported=fields.get("unreported", 0),
    )


def _iso(moment: datetime) -> str:
    if moment.tzinfo is not UTC:
        micros(moment)  # refuses one without a time zone
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def _plain(value: object, depth: int) -> Any:  # noqa: PLR0911 - one line a kind
    """Gives what JSON can carry of a value."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _LARGEST_INTEGER else "<int>"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else f"<{value}>"
    if depth >= _DEEPEST:
        return f"<{type(value).__name__}>"
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in value]
    items = _items(value)
    if items is None:
        return f"<{type(value).__name__}>"
    return {key: _plain(each, depth + 1) for key, each in items}


def _items(value: object) -> Iterator[tuple[str, object]] | None:
    """Gives a mapping's items with text for keys; `None` for what is no mapping."""
    from collections.abc import Mapping  # noqa: PLC0415 - only where metadata is nested

    if not isinstance(value, Mapping):
        return None
    return ((_key(key), each) for key, each in value.items())


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    # As JSON itself writes them; of anything else not even the text is taken.
    return str(key) if isinstance(key, int | float | None) else f"<{type(key).__name__}>"
