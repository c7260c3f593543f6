"""A forecast: what it is made from, what it says, and how often it is right."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow.budgets.forecast import Forecast, forecast
from cascadeflow.budgets.forecast_history import complete_days, quarters_of
from cascadeflow.budgets.forecast_model import DayPart, fit
from cascadeflow.budgets.records import Charge, ManualEvent, Scope, Spender, UsageEvent
from cascadeflow.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

USER = Scope("user", "u1")
DOLLAR = 1_000_000_000
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
"""A Monday noon."""

Pairs = list[tuple[datetime, int]]


def every_hour(days: int, dollars: Any = 1.0, *, until: datetime = NOW, zone: str = "UTC") -> Pairs:
    """So many local days before `until`'s, each spent evenly by the hour, and today so far."""
    today = until.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    made: Pairs = []
    moment = (today - timedelta(days=days)).astimezone(UTC)
    while moment < until:
        local = moment.astimezone(ZoneInfo(zone))
        amount = dollars(local) if callable(dollars) else dollars
        made.append((moment, round(amount / 24 * DOLLAR)))
        moment += timedelta(hours=1)
    return made


def month(history: Iterable[Any], **changes: Any) -> Forecast:
    """The forecast for June, half of which is over; its first half cost 14.5 dollars."""
    given: dict[str, Any] = {
        "scope": USER,
        "period": "month",
        "window_start": datetime(2026, 6, 1, tzinfo=UTC),
        "window_end": datetime(2026, 7, 1, tzinfo=UTC),
        "limit": None,
        "spent": round(14.5 * DOLLAR),
        "held": 0,
        "now": NOW,
        "timezone": "UTC",
    }
    return forecast(history, **(given | changes))


def numbers(made: Forecast) -> tuple[int, int, int]:
    assert made.low is not None
    assert made.expected is not None
    assert made.high is not None
    return made.low, made.expected, made.high


# The middle


def test_steady_spending_goes_on() -> None:
    low, expected, high = numbers(month(every_hour(60)))
    assert expected == pytest.approx(30 * DOLLAR, rel=1e-6)
    assert low == pytest.approx(high, rel=1e-6)


def test_held_money_counts_but_not_at_the_low_end() -> None:
    plain = numbers(month(every_hour(60)))
    held = numbers(month(every_hour(60), held=DOLLAR))
    assert (held[0], held[1]) == (plain[0], plain[1] + DOLLAR)


def test_with_three_weeks_weekdays_are_told_apart() -> None:
    def office(local: datetime) -> float:
        return 1.4 if local.weekday() < 5 else 0.0

    made = month(every_hour(35, office), spent=0)
    # From Monday noon to the end of the 30th lie half a day and 11 working days.
    assert made.method == "weekday"
    assert made.samples == 34  # the first day may have begun before anyone looked
    assert made.expected == pytest.approx(11.5 * 1.4 * DOLLAR, rel=0.02)


def test_with_less_there_is_a_rate() -> None:
    made = month(every_hour(10, lambda local: 1.4 if local.weekday() < 5 else 0.0))
    assert (made.method, made.samples) == ("rate", 9)


def test_growth_is_followed() -> None:
    grown = month(every_hour(60, lambda local: 1.02 ** (local - NOW).days), spent=0)
    true = sum(1.02**day for day in range(15)) + 0.5
    assert grown.expected == pytest.approx(true * DOLLAR, rel=0.1)
    assert grown.expected > 1.1 * 15.5 * DOLLAR


def test_the_hours_of_the_day_are_known() -> None:
    def mornings(local: datetime) -> float:
        return 2.0 if local.hour < 12 else 0.0

    day = {
        "period": "day",
        "window_start": NOW.replace(hour=0),
        "window_end": NOW.replace(hour=0) + timedelta(days=1),
        "spent": DOLLAR,
    }
    assert month(every_hour(40, mornings), **day).expected == pytest.approx(DOLLAR, rel=0.02)
    assert month(every_hour(40), **day).expected == pytest.approx(1.5 * DOLLAR, rel=1e-6)


@pytest.mark.parametrize(
    ("now", "hours"),
    [(datetime(2026, 3, 29, 0, tzinfo=UTC), 22), (datetime(2026, 10, 25, 0, tzinfo=UTC), 23)],
    ids=["clocks go forward", "clocks go back"],
)
def test_days_are_those_of_the_zone_when_clocks_change(now: datetime, hours: int) -> None:
    zone = ZoneInfo("Europe/Oslo")
    start = datetime(now.year, now.month, now.day, tzinfo=zone)
    end = datetime(now.year, now.month, now.day + 1, tzinfo=zone)
    assert (end.astimezone(UTC) - now) == timedelta(hours=hours)
    made = month(
        every_hour(60, until=now, zone="Europe/Oslo"),
        period="day",
        window_start=start,
        window_end=end,
        limit=10**18,
        spent=0,
        now=now,
        timezone="Europe/Oslo",
    )
    # By the clock on the wall, what is left of the day is the same share of it as on other days.
    left = 24 - now.astimezone(zone).hour
    assert made.expected == pytest.approx(left / 24 * DOLLAR, rel=0.01)
    assert made.runs_out_at is None


def test_a_day_of_another_zone_is_another_day() -> None:
    # Monday noon in UTC is 17:30 in Kolkata: seven more hours begin on that day, not twelve.
    day = {
        "period": "day",
        "window_start": datetime(2026, 6, 14, 18, 30, tzinfo=UTC),
        "window_end": datetime(2026, 6, 15, 18, 30, tzinfo=UTC),
        "spent": 0,
        "timezone": "Asia/Kolkata",
    }
    made = month(every_hour(40), **day)
    assert made.expected == pytest.approx(7 / 24 * DOLLAR, rel=0.02)


# The interval


def noisy(seed: int, days: int = 60, sigma: float = 0.5) -> Pairs:
    random = Random(seed)
    factors = [random.lognormvariate(0, sigma) for _ in range(days + 2)]
    return every_hour(days, lambda local: factors[(NOW - local).days])


def test_a_surer_interval_is_wider_and_holds_the_less_sure_one() -> None:
    made = [numbers(month(noisy(1), level=level)) for level in (0.1, 0.5, 0.8, 0.9, 0.99)]
    for narrow, wide in itertools.pairwise(made):
        assert wide[0] <= narrow[0] <= narrow[1] == wide[1] <= narrow[2] <= wide[2]
    assert made[-1][2] - made[-1][0] > 2 * (made[0][2] - made[0][0])


def test_noisier_spending_has_a_wider_interval() -> None:
    widths = []
    for sigma in (0.05, 0.5, 1.0):
        low, _, high = numbers(month(noisy(2, sigma=sigma)))
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]


def test_less_history_has_a_wider_interval() -> None:
    def width(days: int) -> float:
        spreads = [numbers(month(noisy(seed, days))) for seed in range(20)]
        return sorted((high - low) / expected for low, expected, high in spreads)[10]

    assert width(60) < width(5)


def test_the_same_history_gives_the_same_forecast_in_any_order() -> None:
    pairs = noisy(3)
    shuffled = pairs.copy()
    Random(1).shuffle(shuffled)
    assert month(pairs, limit=20 * DOLLAR) == month(shuffled, limit=20 * DOLLAR)


AMOUNTS = st.integers(-DOLLAR, 1000 * DOLLAR)


@pytest.mark.parametrize(
    "change",
    [
        {"period": "total", "window_start": None, "window_end": None},
        {
            "period": "rolling",
            "window_start": NOW - timedelta(days=366),
            "window_end": NOW + timedelta(days=366),
        },
    ],
)
@pytest.mark.parametrize("growth", [0.5, 2.0])
def test_no_growth_goes_on_for_ever(change: dict[str, Any], growth: float) -> None:
    history = every_hour(14, lambda local: growth ** (local - NOW).days)
    made = month(history, limit=10**17, **change)
    assert made.method == "rate"
    if made.high is not None:
        assert made.high < 366 * 100 * 2**14 * DOLLAR


@settings(max_examples=60, deadline=None)
@given(
    past=st.lists(st.tuples(st.integers(0, 90 * 96), AMOUNTS), max_size=60),
    spent=st.integers(0, 10**13),
    held=st.integers(0, 10**12),
    limit=st.one_of(st.none(), st.integers(0, 10**13)),
    zone=st.sampled_from(["UTC", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]),
    level=st.sampled_from([0.01, 0.5, 0.8, 0.999]),
)
def test_whatever_happened_the_numbers_stand_in_order_and_not_below_what_is_spent(
    *,
    past: list[tuple[int, int]],
    spent: int,
    held: int,
    limit: int | None,
    zone: str,
    level: float,
) -> None:
    history = [(NOW - timedelta(minutes=15 * quarters), amount) for quarters, amount in past]
    made = month(history, spent=spent, held=held, limit=limit, timezone=zone, level=level)
    json.dumps(made.to_dict())
    if made.method == "none":
        assert made.reason
        assert made.expected is made.low is made.high is None
    else:
        low, expected, high = numbers(made)
        assert spent <= low <= expected <= high
        assert spent + held <= expected
    if limit is not None and spent + held >= limit:
        assert made.runs_out_at == made.runs_out_early == NOW
    if made.runs_out_at is not None:
        assert made.runs_out_early is not None
        assert NOW <= made.runs_out_early <= made.runs_out_at <= datetime(2026, 7, 1, tzinfo=UTC)


# Running out


def test_it_says_when_the_limit_is_reached() -> None:
    made = month(every_hour(60), limit=20 * DOLLAR)
    assert made.runs_out_at is not None
    assert abs(made.runs_out_at - (NOW + timedelta(days=5.5))) <= timedelta(minutes=15)


def test_a_limit_that_is_high_enough_is_not_reached() -> None:
    made = month(every_hour(60), limit=31 * DOLLAR)
    assert made.runs_out_at is made.runs_out_early is None


def test_much_spending_reaches_it_earlier() -> None:
    made = month(noisy(5), limit=round(28.0 * DOLLAR))
    low, expected, high = numbers(made)
    assert low < expected
    assert made.runs_out_early is not None
    assert made.runs_out_at is None or made.runs_out_early < made.runs_out_at
    # The interval and the moments are of one piece.
    assert (made.runs_out_at is not None) == (expected >= 28 * DOLLAR)
    assert high >= 28 * DOLLAR


def test_an_account_without_an_end_runs_out_some_day() -> None:
    made = month(
        every_hour(60), period="total", window_start=None, window_end=None, limit=100 * DOLLAR
    )
    assert made.expected is made.low is made.high is None
    assert made.method == "weekday"
    assert "no end" in (made.reason or "")
    assert made.runs_out_at is not None
    assert abs(made.runs_out_at - (NOW + timedelta(days=85.5))) <= timedelta(minutes=30)


def test_from_a_rolling_window_old_spending_falls_out() -> None:
    rolling = {
        "period": "rolling",
        "window_start": NOW - timedelta(days=7),
        "window_end": NOW + timedelta(days=7),
        "spent": 7 * DOLLAR,
    }
    steady = month(every_hour(60), limit=round(7.5 * DOLLAR), **rolling)
    assert steady.expected == pytest.approx(7 * DOLLAR, rel=1e-6)
    assert steady.runs_out_at is None

    def doubled(local: datetime) -> float:
        return 2.0 if local >= NOW - timedelta(days=3) else 1.0

    # Ten dollars are in the window; each day adds about 2 and lets 1 fall out, for four days.
    history = every_hour(60, doubled)
    spent = sum(amount for at, amount in history if at >= NOW - timedelta(days=7))
    fuller = month(history, limit=round(10.3 * DOLLAR), **(rolling | {"spent": spent}))
    assert fuller.runs_out_early is not None
    assert fuller.runs_out_early > NOW


# Too little to go by


def test_without_a_past_there_is_no_forecast_and_a_reason() -> None:
    made = month([], limit=DOLLAR, spent=0)
    assert (made.method, made.samples, made.expected) == ("none", 0, None)
    assert "at least 3" in (made.reason or "")


def test_three_complete_days_make_a_rate() -> None:
    assert month(every_hour(3)).method == "none"
    assert month(every_hour(4)).method == "rate"


def test_a_long_silence_is_not_a_rate() -> None:
    made = month([(NOW - timedelta(days=40), DOLLAR)])
    assert (made.method, made.expected) == ("none", None)
    assert "nothing was spent" in (made.reason or "")


def test_a_period_that_is_over_stands_where_it_stands() -> None:
    made = month(every_hour(60), window_end=NOW, held=5)
    assert numbers(made) == (round(14.5 * DOLLAR) + 5,) * 3
    assert made.method == "none"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"level": 0.0}, InvalidRequestError),
        ({"level": 1.0}, InvalidRequestError),
        ({"now": NOW.replace(tzinfo=None)}, InvalidRequestError),
        ({"window_end": NOW.replace(tzinfo=None)}, InvalidRequestError),
        ({"timezone": "Mars/Olympus"}, ConfigurationError),
        ({"timezone": "../etc/passwd"}, ConfigurationError),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        month(every_hour(10), **changes)


def test_a_past_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="history"):
        month([(NOW.replace(tzinfo=None), 1)])


# The history


def event(at: datetime, nanodollars: int, **fields: Any) -> UsageEvent:
    model = fields.pop("model", "openai:m")
    corrected = fields.pop("corrected", 0)
    return UsageEvent(
        event_id=f"{at}{fields}",
        at=at,
        logged_at=at,
        request_id="r",
        spender=Spender(**({"user_id": "u1"} | fields)),
        charge=Charge(model=model, nanodollars=nanodollars, confirmed=True),
        corrected_nanodollars=corrected,
    )


def test_events_and_pairs_give_the_same_forecast() -> None:
    pairs = noisy(6)
    events = [event(at, amount) for at, amount in pairs]
    by_hand = ManualEvent(
        event_id="m",
        at=NOW - timedelta(days=1),
        kind="adjust",
        scope=USER,
        period=None,
        nanodollars=10**12,
        previous=0,
        actor="a",
        reason="r",
    )
    others = [event(at, amount * 7, user_id="u2") for at, amount in pairs]
    assert month([*events, by_hand, *others]) == month(pairs)


@pytest.mark.parametrize(
    ("scope", "own", "other"),
    [
        (Scope("user", "a"), {"user_id": "a"}, {"user_id": "b"}),
        (Scope("user", "anonymous"), {"user_id": None}, {"user_id": "b"}),
        (Scope("user", "anonymous"), {"user_id": ""}, {"user_id": "b"}),
        (Scope("tier", "a"), {"tier": "a"}, {"tier": None}),
        (Scope("team", "a"), {"team": "a"}, {"team": "b"}),
        (Scope("key", "a"), {"key": "a"}, {"key": "b"}),
        (Scope("tag", "a"), {"tags": ("b", "a")}, {"tags": ("b",)}),
        (Scope("model", "a"), {"model": "a"}, {"model": "b"}),
    ],
)
def test_of_the_log_only_the_account_s_own_events_count(
    scope: Scope, own: dict[str, Any], other: dict[str, Any]
) -> None:
    events = [event(NOW, 5, **own), event(NOW, 7, **other)]
    assert sum(quarters_of(events, scope, NOW).values()) == 5
    assert sum(quarters_of(events, Scope("global"), NOW).values()) == 12


def test_a_correction_counts_as_the_difference_and_the_future_not_at_all() -> None:
    events = [event(NOW, 10), event(NOW, 4, corrected=10), event(NOW + timedelta(hours=1), 99)]
    assert list(quarters_of(events, USER, NOW).values()) == [4]


def test_quarters_are_those_of_the_clock_on_the_wall() -> None:
    zone = ZoneInfo("Asia/Kathmandu")  # 5:45 from UTC
    at = datetime(2026, 6, 12, 23, 50, tzinfo=zone)
    history = [(at - timedelta(days=1), 1), (at, 2), (at + timedelta(minutes=15), 4)]
    days, weekday = complete_days(quarters_of(history, USER, NOW), NOW, zone)
    assert days == [{95: 2}, {0: 4}, {}]
    assert weekday == 0


def test_a_million_events_are_a_few_thousand_sums() -> None:
    sums = quarters_of(
        ((NOW - timedelta(seconds=7 * number), 3) for number in range(1_000_000)), USER, NOW
    )
    assert sum(sums.values()) == 3_000_000
    assert len(sums) < 7 * 1_000_000 // 900 + 3


# The statistics


def test_weekdays_that_do_not_differ_get_no_factors() -> None:
    random = Random(4)
    days = [{40: int(random.gammavariate(4, 250))} for _ in range(56)]
    factors = fit(days, 6, weekly=True).weekday
    assert max(abs(factor - 1) for factor in factors) < 0.25
    assert sum(factors) == pytest.approx(7)


def test_a_growth_is_found_where_there_is_one_and_not_where_there_is_none() -> None:
    random = Random(5)
    growing = [{1: int(1e6 * 1.02**day * random.gammavariate(9, 1 / 9))} for day in range(60)]
    steady = [{1: int(1e6 * random.gammavariate(9, 1 / 9))} for _ in range(60)]
    assert fit(growing, 0, weekly=True).growth == pytest.approx(0.02, abs=0.006)
    assert abs(fit(steady, 0, weekly=True).growth) < 0.004


def test_parts_of_a_day_add_up_to_the_day() -> None:
    days = [{quarter: quarter * 100 for quarter in range(96)} for _ in range(30)]
    found = fit(days, 0, weekly=False)
    cuts = [0.0, 10.5, 33.25, 96.0]
    assert sum(found.share(a, b) for a, b in itertools.pairwise(cuts)) == pytest.approx(1.0)
    assert DayPart(1, 0).end == 96.0


# How often it is right


@pytest.fixture(scope="module")
def backtest(request: pytest.FixtureRequest) -> Any:
    path = request.path.parents[2] / "benches" / "forecast_backtest.py"
    spec = importlib.util.spec_from_file_location("forecast_backtest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["forecast_backtest"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("constant", 0.05),
        ("weekly", 0.08),
        ("office", 0.10),
        ("trend", 0.10),
        ("bursty", 0.25),
        ("sparse", 0.60),
        ("outage", 0.10),
    ],
)
def test_most_accounts_end_inside_their_interval(backtest: Any, kind: str, error: float) -> None:
    assert kind in backtest.WELL_SPECIFIED
    outcomes = backtest.backtest(kind, 30, seed=3)
    assert len(outcomes) >= 27
    assert backtest.coverage(outcomes) >= 0.65
    assert backtest.median([outcome.error for outcome in outcomes]) <= error


def test_a_less_sure_interval_holds_fewer(backtest: Any) -> None:
    half = backtest.coverage(backtest.backtest("weekly", 30, seed=3, level=0.4))
    assert 0.2 <= half <= 0.7
