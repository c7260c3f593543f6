"""The tracker adds up exactly, warns once, and stops nothing."""

from __future__ import annotations

import logging
import os
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import to_usd


def record(tracker: CostTracker, nanodollars: int | None, **more: str) -> tuple[str, ...]:
    standing = tracker.record(
        model=more.pop("model", "m"),
        provider=more.pop("provider", "p"),
        nanodollars=nanodollars,
        tokens=3,
        **more,  # type: ignore[arg-type]
    )
    return standing.crossed


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from("xy"),
            st.none() | st.sampled_from("uv"),
            st.none() | st.integers(0, 10**12),
        )
    )
)
def test_every_sum_is_exact_and_what_is_unknown_is_counted_apart(
    entries: list[tuple[str, str, str | None, int | None]],
) -> None:
    tracker = CostTracker(keep=2)
    for model, provider, user, cost in entries:
        tracker.record(model=model, provider=provider, nanodollars=cost, user_id=user)
    known = [(m, p, u, c) for m, p, u, c in entries if c is not None]
    assert tracker.spent == to_usd(sum(c for *_, c in known))
    assert tracker.unknown_costs == len(entries) - len(known)
    for place, sums in ((0, tracker.by_model), (1, tracker.by_provider), (2, tracker.by_user)):
        keys = {entry[place] for entry in known} - {None}
        assert sums == {
            key: float(to_usd(sum(entry[3] for entry in known if entry[place] == key)))
            for key in keys
        }
    assert tracker.get_summary()["total_entries"] == len(entries)
    assert [entry.nanodollars for entry in tracker.entries] == [c for *_, c in entries[-2:]]


def test_ten_times_a_tenth_of_a_dollar_is_a_dollar() -> None:
    tracker = CostTracker(budget_limit=1.00)
    for _ in range(10):
        tracker.add_cost("m", "p", 1, 0.1)
    assert tracker.spent == Decimal(1)
    assert tracker.total_cost == 1.0
    assert tracker.budget_exceeded


def test_each_state_is_reached_once_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    tracker = CostTracker(budget_limit=1)
    with caplog.at_level(logging.WARNING):
        assert record(tracker, 799_999_999) == ()
        assert tracker.standing().state == "ok"
        assert record(tracker, 1) == ("warned",)
        assert tracker.standing().state == "warned"
        assert record(tracker, 100_000_000) == ()
        assert record(tracker, 100_000_000) == ("exhausted",)
        assert record(tracker, 100_000_000) == ()
    assert tracker.standing().state == "exhausted"
    assert [r.args[0] for r in caplog.records if isinstance(r.args, tuple)] == [
        "warned",
        "exhausted",
    ]


def test_one_large_entry_reaches_both_states_at_once() -> None:
    assert record(CostTracker(budget_limit=1), 10**9) == ("warned", "exhausted")


def test_the_threshold_is_the_users() -> None:
    tracker = CostTracker(budget_limit=1, warn_threshold=0.5)
    assert record(tracker, 500_000_000) == ("warned",)


def test_nothing_is_stopped_over_the_limit() -> None:
    tracker = CostTracker(budget_limit="0.01")
    for _ in range(3):
        record(tracker, 10_000_000)
    assert tracker.spent == Decimal("0.03")


def test_a_limit_of_zero_is_a_limit_of_zero() -> None:
    tracker = CostTracker(budget_limit=0)
    assert tracker.standing().state == "exhausted"
    assert tracker.get_summary()["budget_remaining"] == 0


def test_without_a_limit_there_is_no_state() -> None:
    tracker = CostTracker()
    record(tracker, 5)
    assert tracker.standing().state is None
    assert "budget_limit" not in tracker.get_summary()
    assert not tracker.budget_warned


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), "much", 10**11])
def test_a_limit_that_is_none_is_refused(limit: float | str) -> None:
    with pytest.raises(ConfigurationError, match="budget_limit"):
        CostTracker(budget_limit=limit)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigurationError, match="warn_threshold"):
        CostTracker(warn_threshold=threshold)


def test_costs_that_cannot_be_are_refused() -> None:
    tracker = CostTracker()
    with pytest.raises(InvalidRequestError):
        tracker.add_cost("m", "p", 1, -0.1)
    with pytest.raises(InvalidRequestError):
        record(tracker, -1)
    with pytest.raises(InvalidRequestError):
        record(tracker, 2**62)
    with pytest.raises(ConfigurationError, match="keep"):
        CostTracker(keep=-1)
    assert tracker.get_summary()["total_entries"] == 0


def test_the_summary_has_v01s_keys() -> None:
    tracker = CostTracker(budget_limit=2.0)
    tracker.add_cost("gpt-4o", "openai", tokens=10, cost=0.5, query_id="q", metadata={"a": 1})
    assert tracker.get_summary() == {
        "total_cost": 0.5,
        "total_entries": 1,
        "unknown_costs": 0,
        "by_model": {"gpt-4o": 0.5},
        "by_provider": {"openai": 0.5},
        "by_user": {},
        "budget_limit": 2.0,
        "budget_remaining": 1.5,
        "budget_used_pct": 25.0,
        "budget_exceeded": False,
        "budget_state": "ok",
    }
    (entry,) = tracker.get_recent_entries(5)
    assert (entry.cost, entry.tokens, entry.query_id, entry.metadata) == (0.5, 10, "q", {"a": 1})
    assert tracker.get_entries_by_model("gpt-4o") == [entry]
    assert tracker.get_entries_by_model("other") == []
    assert tracker.get_entries_by_provider("openai") == [entry]
    assert tracker.get_recent_entries(0) == []


def test_a_reset_forgets_everything_and_warns_again() -> None:
    tracker = CostTracker(budget_limit=1)
    record(tracker, 10**9)
    tracker.reset()
    assert tracker.spent == 0
    assert tracker.entries == []
    assert record(tracker, 10**9) == ("warned", "exhausted")


def test_the_printed_summary_names_models_and_state(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = CostTracker(budget_limit=1)
    record(tracker, 900_000_000, model="gpt-4o")
    record(tracker, None)
    tracker.print_summary()
    text = capsys.readouterr().out
    assert "gpt-4o" in text
    assert "$0.900000" in text
    assert "90.0 % (warned)" in text
    assert "Of unknown cost:  1" in text


def test_verbose_logs_every_entry(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cascadeflow"):
        record(CostTracker(), 1)
        assert caplog.records == []
        record(CostTracker(verbose=True), 1)
    assert len(caplog.records) == 1


def test_threads_lose_nothing() -> None:
    tracker = CostTracker(keep=10)
    threads = [
        threading.Thread(target=lambda: [record(tracker, 7) for _ in range(2_000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.spent == to_usd(8 * 2_000 * 7)
    assert tracker.get_summary()["total_entries"] == 16_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_the_lock_was_held_can_go_on() -> None:
    tracker = CostTracker()
    with tracker._lock:
        child = os.fork()
        if child == 0:
            done = threading.Thread(target=record, args=(tracker, 5), daemon=True)
            done.start()
            done.join(timeout=10)
            os._exit(0 if tracker.spent == to_usd(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
