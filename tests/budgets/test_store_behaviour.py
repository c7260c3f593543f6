"""What every store does, on disk and in memory."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from store_samples import ANN, GLOBAL, LONG_AGO, MODEL, START, MemoryOpener, SqliteOpener, usage

from cascadeflow.budgets.audit import adjusted, limit_changed, reset, verify
from cascadeflow.budgets.records import Scope, Spender, UsageEvent
from cascadeflow.budgets.stores.protocol import Grant, HeldCall, ScopeRecord, StrictHold
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from store_samples import Opener

    from cascadeflow.budgets.stores.protocol import Store


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return MemoryOpener() if request.param == "memory" else SqliteOpener(tmp_path / "budgets.db")


def spent(store: Store, scope: Scope) -> int:
    return store.scope(scope, since=LONG_AGO).spent


def hold(request: str, *amounts: int, model: str = MODEL) -> StrictHold:
    return StrictHold(
        request_id=request,
        at=START,
        spender=Spender(user_id="ann"),
        calls=tuple(HeldCall(model=model, nanodollars=amount) for amount in amounts),
    )


def test_a_new_store_knows_nothing(opener: Opener) -> None:
    store = opener.open()
    assert list(store.events()) == []
    assert list(store.scopes(since=LONG_AGO)) == []
    assert store.scope(ANN, since=LONG_AGO) == ScopeRecord(scope=ANN)
    assert store.head().rows == 0


def test_an_event_comes_back_as_it_was_also_after_a_crash(opener: Opener) -> None:
    event = usage(
        1,
        123,
        spender=Spender(user_id="ann", tier="pro", team="t", key="k", tags=("b", "a", "b")),
        metadata={"nested": {"list": [1, 2.5, None, True]}},
    )
    store = opener.open()
    store.append([event])
    assert list(store.events()) == [event]
    opener.crash()
    assert list(opener.open().events()) == [event]


def test_every_scope_a_spender_names_is_summed_once(opener: Opener) -> None:
    store = opener.open()
    who = Spender(user_id="ann", tier="pro", team="red", key="k1", tags=("a", "b", "a"))
    store.append([usage(1, 7, spender=who), usage(2, 5, user=None)])
    sums = {str(each.scope): each.spent for each in store.scopes(since=LONG_AGO)}
    assert sums == {
        "global": 12,
        "user:ann": 7,
        "user:anonymous": 5,
        "tier:pro": 7,
        "team:red": 7,
        "key:k1": 7,
        "tag:a": 7,
        "tag:b": 7,
        f"model:{MODEL}": 12,
    }


def test_sums_lie_in_the_quarter_of_an_hour_of_the_request(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 1), usage(2, 2, minutes=7.99), usage(3, 4, minutes=8)])
    store.append([usage(4, 8, minutes=60)])
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    quarters = ((at, 3), (at + timedelta(minutes=15), 4), (at + timedelta(minutes=60), 8))
    assert store.scope(ANN, since=LONG_AGO).by_quarter == quarters
    # The quarter that the moment lies in is given whole.
    assert store.scope(ANN, since=at + timedelta(minutes=16)).by_quarter == quarters[1:]
    assert store.scope(ANN, since=at + timedelta(days=1)).by_quarter == ()
    assert store.scope(ANN, since=at + timedelta(days=1)).spent == 15


def test_an_event_delivered_twice_is_one_event(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 5), usage(1, 5)])
    store.append([usage(1, 999), usage(2, 6)])
    assert [event.event_id for event in store.events()] == ["e1", "e2"]
    assert spent(store, ANN) == 11
    opener.crash()
    store = opener.open()
    store.append([usage(2, 6), usage(3, 1)])
    assert spent(store, ANN) == 12
    assert store.head().rows == 3


def test_a_correction_counts_the_difference(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 100, confirmed=False)])
    store.append([usage(2, 30, corrects="e1", corrected=100)])
    assert spent(store, ANN) == 30


def test_an_unknown_cost_is_logged_and_adds_nothing(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, None)])
    (event,) = store.events()
    assert isinstance(event, UsageEvent)
    assert event.charge.nanodollars is None
    assert spent(store, ANN) == 0


def test_events_come_by_the_time_of_their_request(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, minutes=30), usage(2, minutes=10), usage(3, minutes=20)])
    store.append([usage(4, minutes=10)])
    assert [event.event_id for event in store.events()] == ["e2", "e4", "e3", "e1"]
    since, until = START + timedelta(minutes=10), START + timedelta(minutes=30)
    chosen = [event.event_id for event in store.events(since=since, until=until)]
    assert chosen == ["e2", "e4", "e3"]
    elsewhere = timezone(timedelta(hours=5))
    assert [e.event_id for e in store.events(since=until.astimezone(elsewhere))] == ["e1"]


def test_reading_gives_each_event_once_whatever_their_times(opener: Opener) -> None:
    store = opener.open()
    # More than a page at one instant, between others.
    store.append([usage(n, minutes=(n % 3 == 0) * 5) for n in range(3500)])
    read = [event.event_id for event in store.events()]
    assert Counter(read) == Counter(f"e{n}" for n in range(3500))
    since = START + timedelta(minutes=5)
    assert len(list(store.events(since=since))) == 1167
    assert len(list(store.events(until=since))) == 3500 - 1167


def test_what_is_logged_while_one_reads_is_left_out(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(n) for n in range(2500)])
    reading = store.events()
    first = next(reading)
    store.append([usage("late", minutes=1), usage("early", minutes=-1)])
    assert len([first, *reading]) == 2500
    assert len(list(store.events())) == 2502


def test_a_failed_batch_changes_nothing(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 5)])
    head = store.head()
    wrong = usage(3)
    for each in (
        replace(wrong, charge=replace(wrong.charge, nanodollars=2**70)),
        replace(wrong, charge=replace(wrong.charge, nanodollars=1.5)),  # type: ignore[arg-type]
        replace(wrong, at=datetime(2026, 1, 1)),  # noqa: DTZ001 - the fault
    ):
        with pytest.raises(InvalidRequestError):
            store.append([usage(2, 5), each])
    assert store.head() == head
    assert spent(store, ANN) == 5


def test_limits_set_by_hand_are_kept_the_newest_holds(opener: Opener) -> None:
    store = opener.open()

    def limit(period: str | None, amount: int | None) -> None:
        store.append(
            [
                limit_changed(
                    ANN,
                    period,  # type: ignore[arg-type]
                    limit=amount,
                    previous=None,
                    actor="eve",
                    reason="asked",
                    at=START,
                )
            ]
        )

    limit("day", 5)
    limit("month", 50)
    limit("day", 7)
    limit("month", None)
    opener.crash()
    store = opener.open()
    assert dict(store.scope(ANN, since=LONG_AGO).limits) == {"day": 7, "month": None}
    assert [each.scope for each in store.scopes(since=LONG_AGO)] == [ANN]
    limit(None, 0)
    limits = dict(store.scope(ANN, since=LONG_AGO).limits)
    assert limits == dict.fromkeys(("rolling", "day", "week", "month", "total"), 0)


def test_adjustments_change_their_own_scope_only(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(1, 100)])
    by = {"actor": "eve", "reason": "goodwill", "at": START}
    store.append([adjusted(ANN, nanodollars=-30, previous=100, **by)])  # type: ignore[arg-type]
    assert (spent(store, ANN), spent(store, GLOBAL)) == (70, 100)
    store.append([reset(ANN, None, previous=70, **by)])  # type: ignore[arg-type]
    record = store.scope(ANN, since=LONG_AGO)
    assert (record.spent, record.by_quarter[0][1]) == (0, 0)
    manual = list(store.events())[1:]
    assert [(each.kind, each.nanodollars) for each in manual] == [("adjust", -30), ("reset", -70)]  # type: ignore[union-attr]


def test_sums_reckoned_anew_are_the_same(opener: Opener) -> None:
    store = opener.open()
    store.append([usage(n, n, user=f"u{n % 7}", minutes=n) for n in range(300)])
    store.append(
        [
            limit_changed(
                ANN, "day", limit=3, previous=None, actor="eve", reason="asked", at=START
            ),
            adjusted(ANN, nanodollars=4, previous=0, actor="eve", reason="asked", at=START),
        ]
    )
    before = sorted(store.scopes(since=LONG_AGO), key=lambda record: str(record.scope))
    store.rebuild_sums()
    store.rebuild_sums()
    after = sorted(store.scopes(since=LONG_AGO), key=lambda record: str(record.scope))
    assert after == before
    assert verify(store).ok
    store.append([usage("more", 5, user="u1")])
    assert spent(store, Scope("user", "u1")) == sum(n for n in range(300) if n % 7 == 1) + 5


# Grants


def test_after_a_crash_what_was_granted_and_not_reported_counts_as_spent(opener: Opener) -> None:
    store = opener.open()
    later = START + timedelta(minutes=3)
    store.grant([Grant(ANN, 100, START), Grant(GLOBAL, 500, START)])
    store.append([usage(1, 30)])
    store.grant([Grant(ANN, 200, later)])
    # The process that has the grants knows itself what it spent of them.
    assert store.scope(ANN, since=LONG_AGO).unreported == 0
    opener.crash()
    store = opener.open()
    ann = store.scope(ANN, since=LONG_AGO)
    assert (ann.spent, ann.unreported, ann.granted_at) == (200, 170, later)
    assert sum(amount for _, amount in ann.by_quarter) == 30
    assert spent(store, GLOBAL) == 500
    assert spent(store, Scope("model", MODEL)) == 30
    assert {str(each.scope): each.spent for each in store.scopes(since=LONG_AGO)} == {
        "user:ann": 200,
        "global": 500,
        f"model:{MODEL}": 30,
    }


def test_crash_after_crash_nothing_is_forgotten_and_nothing_counted_twice(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    opener.crash()
    for _ in range(3):
        store = opener.open()
        assert spent(store, ANN) == 100
        opener.crash()
    store = opener.open()
    store.grant([Grant(ANN, 150, START + timedelta(hours=1))])
    store.append([usage(1, 20)])
    opener.crash()
    record = opener.open().scope(ANN, since=LONG_AGO)
    assert (record.spent, record.unreported) == (150, 130)
    assert record.granted_at == START + timedelta(hours=1)


def test_a_grant_never_shrinks_while_the_process_lives(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    store.grant([Grant(ANN, 60, START)])
    opener.crash()
    assert spent(opener.open(), ANN) == 100


def test_a_clean_end_leaves_what_was_truly_spent(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START), Grant(GLOBAL, 100, START)])
    store.append([usage(1, 30)])
    store.close([(ANN, 30), (GLOBAL, 30)])
    store.close([(ANN, 99)])  # once closed it is closed
    store = opener.open()
    assert store.scope(ANN, since=LONG_AGO).unreported == 0
    assert (spent(store, ANN), spent(store, GLOBAL)) == (30, 30)


def test_spending_that_is_in_no_event_stays_counted_at_a_clean_end(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    store.append([usage(1, 30)])
    store.close([(ANN, 45)])
    record = opener.open().scope(ANN, since=LONG_AGO)
    assert (record.spent, record.unreported) == (45, 15)


def test_a_scope_that_is_not_named_at_the_end_keeps_its_grant(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    store.close()
    assert spent(opener.open(), ANN) == 100


def test_a_reported_scope_leaves_nothing_to_count_after_a_crash(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    store.append([usage(1, 30)])
    store.report([(ANN, 30)])
    opener.crash()
    record = opener.open().scope(ANN, since=LONG_AGO)
    assert (record.spent, record.unreported) == (30, 0)


def test_reclaiming_is_logged_with_actor_and_reason(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    store.append([usage(1, 30)])
    opener.crash()
    store = opener.open()
    with pytest.raises(InvalidRequestError, match="actor and a reason"):
        store.reclaim(ANN, actor=" ", reason="seen the bill")
    with pytest.raises(
        StoreError, match=r"\$0\.00000007 of user:ann .* \$0\.000000071 of it cannot"
    ):
        store.reclaim(ANN, actor="eve", reason="seen the bill", spent=71)
    event = store.reclaim(ANN, actor="eve", reason="seen the bill", spent=20)
    assert (event.kind, event.unreported, event.nanodollars) == ("reclaim", 70, 20)
    assert (event.previous, event.after) == (100, 50)
    record = store.scope(ANN, since=LONG_AGO)
    assert (record.spent, record.unreported, record.granted_at) == (50, 0, None)
    assert list(store.events())[-1] == event
    with pytest.raises(StoreError, match="nothing to settle"):
        store.reclaim(ANN, actor="eve", reason="again")
    opener.crash()
    store = opener.open()
    assert spent(store, ANN) == 50
    assert verify(store).ok


# Strict holds


def test_a_hold_that_nothing_followed_is_an_unconfirmed_charge_after_a_crash(
    opener: Opener,
) -> None:
    store = opener.open()
    store.hold([hold("r1", 40, 2), hold("r2", 5)])
    assert list(store.events()) == []
    opener.crash()
    store = opener.open()
    events = list(store.events())
    assert all(isinstance(each, UsageEvent) for each in events)
    found = sorted((e.request_id, e.charge.nanodollars) for e in events)  # type: ignore[union-attr]
    assert found == [("r1", 2), ("r1", 40), ("r2", 5)]
    for event in events:
        assert isinstance(event, UsageEvent)
        assert not event.charge.confirmed
        assert event.charge.held == event.charge.nanodollars
        assert event.at == START
        assert event.spender == Spender(user_id="ann")
    assert spent(store, ANN) == 47
    assert len({event.event_id for event in events}) == 3
    opener.crash()
    assert spent(opener.open(), ANN) == 47


def test_a_hold_that_an_event_or_its_end_followed_is_over(opener: Opener) -> None:
    store = opener.open()
    store.hold([hold("r1", 40), hold("r2", 50), hold("r3", 60)])
    store.append([usage(1, 10, request="r1")])
    store.append([], ended=["r2", "unknown"])
    opener.crash()
    assert spent(opener.open(), ANN) == 70


def test_an_event_ends_its_own_call_and_the_rest_of_the_hold_stays(opener: Opener) -> None:
    store = opener.open()
    store.hold([hold("r1", 40, model="m1"), hold("r1", 50, model="m2"), hold("r1", 7, model="m2")])
    store.append([usage(1, 10, request="r1", model="m2")])
    opener.crash()
    store = opener.open()
    assert spent(store, ANN) == 10 + 40 + 7


def test_a_request_that_ended_leaves_nothing_of_its_hold(opener: Opener) -> None:
    store = opener.open()
    store.hold([hold("r1", 40, 50, 60)])
    store.append([usage(1, 10, request="r1")], ended=["r1"])
    opener.crash()
    assert spent(opener.open(), ANN) == 10


def test_the_same_request_may_hold_again_after_a_crash(opener: Opener) -> None:
    for _ in range(2):
        store = opener.open()
        store.hold([hold("r1", 40)])
        opener.crash()
    assert spent(opener.open(), ANN) == 80


def test_a_hold_that_a_grant_covers_is_not_counted_twice(opener: Opener) -> None:
    store = opener.open()
    store.grant([Grant(ANN, 100, START)])
    store.hold([hold("r1", 40)])
    opener.crash()
    record = opener.open().scope(ANN, since=LONG_AGO)
    assert (record.spent, record.unreported) == (100, 60)


# Text


@pytest.mark.parametrize(
    "name",
    [
        "Zoë",
        "用户",
        "a'; DROP TABLE log; --",
        "\x00nul\x00",
        "\ud800 half a pair",
        "",
        " ",
        "\u202e",
    ],
)
def test_names_may_be_any_text(opener: Opener, name: str) -> None:
    store = opener.open()
    event = replace(
        usage(name, 3, user=name, request=name, model=f"p:{name}"), metadata={name: name}
    )
    store.hold([replace(hold(name, 9), spender=event.spender)])
    store.append([event, event])
    store.append([event], ended=[name])
    user = Scope("user", name or "anonymous")
    store.grant([Grant(user, 5, START)])
    opener.crash()
    store = opener.open()
    assert list(store.events()) == [event]
    assert spent(store, user) == 5
    assert spent(store, Scope("model", f"p:{name}")) == 3
    assert verify(store).ok


def test_texts_that_only_look_alike_are_two(opener: Opener) -> None:
    store = opener.open()
    one, two = "\u00e9", "e\u0301"
    store.append([usage(one, 1, user=one), usage(two, 2, user=two)])
    assert (spent(store, Scope("user", one)), spent(store, Scope("user", two))) == (1, 2)


# The rest


def test_threads_may_share_a_store(opener: Opener) -> None:
    store = opener.open()

    def work(thread: int) -> None:
        for batch in range(10):
            store.append([usage(f"{thread}-{batch}-{n}", 1) for n in range(5)])
            list(store.events())
            store.scope(ANN, since=LONG_AGO)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert spent(store, ANN) == 8 * 10 * 5
    assert verify(store).ok


def test_a_closed_store_says_so(opener: Opener) -> None:
    store = opener.open()
    store.close()
    for call in (
        lambda: store.append([usage(1)]),
        lambda: store.scope(ANN, since=LONG_AGO),
        lambda: list(store.events()),
        lambda: store.grant([Grant(ANN, 1, START)]),
    ):
        with pytest.raises(StoreError, match="open it again"):
            call()
