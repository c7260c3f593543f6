"""Other processes: what a forked child begins with, and errors that are sent to another one."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import RateLimitError, RateLimits, TierConfig, TierForbiddenError, Tiers
from cascadeflow.errors import AllModelsFailedError, BudgetExceededError, ProviderError
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow.errors import CascadeFlowError
    from cascadeflow.tiers.gate import Entry


def entered(tiers: Tiers) -> Entry | None:
    member = tiers.known("u", None)
    assert member is not None
    return tiers.try_enter(member)


def refusal() -> RateLimitError:
    tiers = Tiers(
        {"free": TierConfig("free", rate_limits=RateLimits(per_hour=1))}, clock=ManualClock()
    )
    entered(tiers)
    with pytest.raises(RateLimitError) as caught:
        entered(tiers)
    caught.value.add_note("told to the caller")
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        refusal(),
        RateLimitError("no", account="global", limit="queue", allowed=3),
        TierForbiddenError("no", tier="free", what="model", value="openai:gpt-6-luna"),
        BudgetExceededError(
            *("no",),
            scope="user",
            name="u",
            period="day",
            limit=Decimal(1),
            spent=Decimal(1),
            held=Decimal(0),
            requested=Decimal(2),
            resets_at=None,
            permanent=False,
        ),
        AllModelsFailedError("no", [ProviderError("no", provider="openai", model="gpt-6-luna")]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "way",
    [copy.copy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301 - our own
)
def test_an_error_that_is_copied_or_sent_keeps_its_class_text_and_fields(
    error: CascadeFlowError, way: Callable[[Any], Any]
) -> None:
    again = way(error)
    assert type(again) is type(error)
    assert (str(again), again.args) == (str(error), error.args)
    assert repr(vars(again)) == repr(vars(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_begins_anew_and_takes_nothing_of_its_parents() -> None:
    tier = TierConfig("free", max_concurrency=1, rate_limits=RateLimits(per_hour=2))
    tiers = Tiers({"free": tier}, clock=ManualClock())
    mine = entered(tiers)
    assert mine is not None
    with tiers._queue._lock:
        child = os.fork()
        if child == 0:
            code = 1
            signal.alarm(30)  # should it wait for the lock, it does not wait for ever
            try:
                mine.leave()  # its parent's, not the place that it takes now
                got = entered(tiers)
                assert got is not None
                left = {each.limit: each.remaining for each in got.standings()}
                code = 0 if left == {"per_hour": 1, "concurrent": 0} else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {each.limit: each.remaining for each in mine.standings()}["concurrent"] == 0
