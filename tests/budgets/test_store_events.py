"""The log's canonical text: the same bytes for the same event, and the event back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import START, usage

from cascadeflow.budgets.audit import adjusted
from cascadeflow.budgets.records import Charge, ManualEvent, Scope, Spender, UsageEvent
from cascadeflow.budgets.stores.events import (
    decode,
    decode_spender,
    encode,
    encode_spender,
    from_micros,
    identity,
    micros,
    quarter_of,
    quarter_start,
)
from cascadeflow.errors import InvalidRequestError, StoreError
from cascadeflow.money import MAX_NANODOLLARS

texts = st.text(st.characters(), max_size=12)  # every code point, halves of pairs too
moments = st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
amounts = st.integers(0, MAX_NANODOLLARS)
spenders = st.builds(
    Spender,
    user_id=st.none() | texts,
    tier=st.none() | texts,
    team=st.none() | texts,
    key=st.none() | texts,
    tags=st.lists(texts, max_size=3).map(tuple),
)
charges = st.builds(
    Charge,
    model=texts,
    nanodollars=st.none() | amounts,
    confirmed=st.booleans(),
    held=amounts,
    estimate=st.none() | amounts,
    role=texts,
    input_tokens=st.none() | amounts,
    output_tokens=st.none() | amounts,
    price_source=st.none() | texts,
    price_date=st.none() | texts,
    response_id=st.none() | texts,
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
usages = st.builds(
    UsageEvent,
    event_id=texts,
    at=moments,
    logged_at=moments,
    request_id=texts,
    spender=spenders,
    charge=charges,
    corrects=st.none() | texts,
    corrected_nanodollars=amounts,
    metadata=st.dictionaries(texts, json_values, max_size=3),
)


def plainly(event: UsageEvent) -> str:
    """The same by the slow way: everything that says something, through `json`."""

    def iso(moment: datetime) -> str:
        return moment.isoformat(timespec="microseconds")

    fields: dict[str, Any] = asdict(event)
    charge = {key: value for key, value in fields["charge"].items() if value is not None}
    charge["nanodollars"] = event.charge.nanodollars
    if not event.charge.held:
        del charge["held"]
    who = {key: value for key, value in fields["spender"].items() if value not in (None, ())}
    fields |= {"at": iso(event.at), "logged_at": iso(event.logged_at), "kind": "usage"}
    fields |= {"charge": charge, "spender": who}
    for name in ("corrects", "corrected_nanodollars", "metadata"):
        if fields[name] is None or not (fields[name] or name == "corrects"):
            del fields[name]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


@given(usages)
def test_an_event_comes_back_from_its_text(event: UsageEvent) -> None:
    text = encode(event)
    assert text.isascii()
    assert decode(text) == event
    assert identity(text) == (event.event_id, micros(event.at))


@given(usages)
def test_the_text_is_what_json_with_sorted_keys_gives(event: UsageEvent) -> None:
    assert encode(event) == plainly(event)


@given(spenders)
def test_a_spender_comes_back_from_its_text(spender: Spender) -> None:
    assert decode_spender(encode_spender(spender)) == spender


@given(
    st.builds(
        ManualEvent,
        event_id=texts,
        at=moments,
        kind=st.sampled_from(["limit", "adjust", "reset", "reclaim"]),
        scope=st.builds(Scope, st.sampled_from(["user", "global", "tag"]), texts),
        period=st.none() | st.sampled_from(["day", "total"]),
        nanodollars=st.none() | st.integers(-MAX_NANODOLLARS, MAX_NANODOLLARS),
        previous=st.none() | amounts,
        actor=texts,
        reason=texts,
        unreported=amounts,
    )
)
def test_a_change_by_hand_comes_back_from_its_text(event: ManualEvent) -> None:
    text = encode(event)
    assert decode(text) == event
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


@given(moments)
def test_a_moment_lies_in_its_quarter_of_an_hour(moment: datetime) -> None:
    assert from_micros(micros(moment)) == moment
    start = quarter_start(quarter_of(micros(moment)))
    assert start <= moment < start + timedelta(minutes=15)
    assert (start.minute % 15, start.second, start.microsecond) == (0, 0, 0)


def test_the_same_moment_elsewhere_has_the_same_text() -> None:
    event = usage(1)
    elsewhere = replace(event, at=event.at.astimezone(timezone(timedelta(hours=-7, minutes=-30))))
    assert encode(elsewhere) == encode(event)


def test_a_charge_is_not_lost_over_what_its_metadata_holds() -> None:
    class Secretive:
        def __repr__(self) -> str:
            raise AssertionError("nothing asks what it is")

    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    metadata: dict[Any, Any] = {
        "object": Secretive(),
        "nan": float("nan"),
        "infinity": float("-inf"),
        "long": 10**5000,
        "deep": deep,
        "pair": (1, {"set": {1}}),
        7: "seven",
        Secretive(): 1,
        "bytes": b"\xff",
    }
    event = decode(encode(usage(1, metadata=metadata)))
    assert isinstance(event, UsageEvent)
    kept = dict(event.metadata)
    assert str(kept.pop("deep")).count("[") == 31
    assert kept == {
        "object": "<Secretive>",
        "nan": "<nan>",
        "infinity": "<-inf>",
        "long": "<int>",
        "pair": [1, {"set": "<set>"}],
        "7": "seven",
        "<Secretive>": 1,
        "bytes": "<bytes>",
    }


@pytest.mark.parametrize("amount", [2**62, -(2**62), 1.0, True, "1", float("nan")])
def test_an_amount_that_is_none_is_refused(amount: Any) -> None:
    event = usage(1)
    for each in (
        replace(event, charge=replace(event.charge, nanodollars=amount)),
        replace(event, charge=replace(event.charge, held=amount)),
        replace(event, charge=replace(event.charge, estimate=amount)),
        replace(event, corrected_nanodollars=amount),
    ):
        with pytest.raises(InvalidRequestError, match="whole number of nanodollars"):
            encode(each)
    with pytest.raises(InvalidRequestError, match="whole number of nanodollars"):
        adjusted(Scope("global"), nanodollars=amount, previous=0, actor="a", reason="r", at=START)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"kind":"usage"}',
        '{"kind":"other"}',
        "[" * 100_000,
        encode(usage(1)).replace('"confirmed":true', '"confirmed":true,"more":1'),
        encode(usage(1)).replace("2026-03-01", "2026-13-01"),
        encode(usage(1)).replace('"charge":{', '"charge":[{').replace('"},"event', '"}],"event'),
    ],
)
def test_a_text_that_is_no_event_is_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(StoreError, match="audit verify"):
        decode(text)
