"""The figures against slow, obvious ones, and against tables."""

from __future__ import annotations

import math
import random
from statistics import mean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.experiments.inference import (
    FEWEST_UNITS,
    Difference,
    Moments,
    breach_p,
    chi_square_tail,
    compared,
    mean_breach_p,
    mixture,
    sample_ratio_p,
)

TIGHTEST_AT = 500.0


def moments_of(users: list[list[float]]) -> Moments:
    found = Moments()
    for values in users:
        found.add((0.0, 0.0), len(values), sum(values), sum(value**2 for value in values))
    return found


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-1e3, 1e3)), min_size=1, max_size=60))
def test_sums_kept_value_by_value_are_those_of_the_users_means(
    seen: list[tuple[int, float]],
) -> None:
    kept = Moments()
    known: dict[int, tuple[float, float]] = {}
    by_user: dict[int, list[float]] = {}
    for user, value in seen:
        known[user] = kept.add(known.get(user, (0.0, 0.0)), 1, value, value * value)
        by_user.setdefault(user, []).append(value)
    means = [mean(values) for values in by_user.values()]
    values = [value for _, value in seen]
    assert kept.units == len(means)
    assert kept.requests == len(seen)
    assert kept.mean == pytest.approx(mean(means), abs=1e-6)
    squares, freedom = kept.deviations(share=False)
    if len(means) > 1:
        assert squares / freedom == pytest.approx(variance(means), rel=1e-6, abs=1e-4)
    expected = mean([value**2 for value in values]) - mean(values) ** 2
    assert kept.request_variance(share=False) == pytest.approx(expected, rel=1e-6, abs=1e-4)


def sides(shift: float, users: int = 200, seed: int = 1) -> tuple[Moments, Moments]:
    draw = random.Random(seed)
    return (
        moments_of([[draw.gauss(shift, 1)] for _ in range(users)]),
        moments_of([[draw.gauss(0, 1)] for _ in range(users)]),
    )


def found(pair: tuple[Moments, Moments], *, alpha: float = 0.05) -> Difference:
    return compared([pair], share=False, alpha=alpha, tightest_at=TIGHTEST_AT)


def test_the_interval_is_the_stated_formula() -> None:
    one, other = sides(0.3)
    seen = found((one, other))
    assert one.mean is not None
    assert other.mean is not None
    assert seen.estimate == pytest.approx(one.mean - other.mean)
    squared = sum(
        side.deviations(share=False)[0] / side.deviations(share=False)[1] / side.units
        for side in (one, other)
    )
    t = one.merged(other).request_variance(share=False) / squared
    r = mixture(TIGHTEST_AT)
    half = math.sqrt(squared * (t + r) / t * (2 * math.log(20) + math.log((t + r) / r)))
    assert (seen.low, seen.high) == pytest.approx((seen.estimate - half, seen.estimate + half))
    z2 = seen.estimate**2 / squared
    assert seen.p == pytest.approx(math.sqrt((t + r) / r) * math.exp(-z2 / 2 * t / (t + r)))


@given(st.floats(-1, 1), st.floats(0.001, 0.5), st.integers(1, 50))
def test_the_p_value_is_the_level_at_which_the_interval_touches_zero(
    shift: float, alpha: float, seed: int
) -> None:
    pair = sides(shift, users=60, seed=seed)
    seen = found(pair, alpha=alpha)
    assert (seen.low > 0 or seen.high < 0) == (seen.p < alpha)


def test_intervals_are_tightest_where_they_were_asked_to_be() -> None:
    def width(t: float, tightest_at: float) -> float:
        r = mixture(tightest_at)
        return math.sqrt((t + r) / t**2 * (2 * math.log(20) + math.log((t + r) / r)))

    for tightest_at in (50.0, 500.0, 5000.0):
        widths = {other: width(500.0, other) for other in (50.0, 500.0, 5000.0)}
        if tightest_at == 500.0:
            assert min(widths, key=widths.__getitem__) == 500.0


def test_nothing_is_said_while_there_are_few_users() -> None:
    seen = found(sides(5.0, users=FEWEST_UNITS - 1))
    assert (seen.low, seen.high, seen.p) == (-math.inf, math.inf, 1.0)
    assert found(sides(5.0, users=FEWEST_UNITS)).p < 0.05


def test_requests_of_one_user_are_no_further_proof() -> None:
    draw = random.Random(3)
    users = [[draw.gauss(0.2, 1)] for _ in range(50)], [[draw.gauss(0, 1)] for _ in range(50)]
    once = compared(
        [(moments_of(users[0]), moments_of(users[1]))], share=False, alpha=0.05, tightest_at=500
    )
    often = compared(
        [(moments_of([u * 100 for u in users[0]]), moments_of([u * 100 for u in users[1]]))],
        share=False,
        alpha=0.05,
        tightest_at=500,
    )
    assert (often.low, often.p) == pytest.approx((once.low, once.p), rel=1e-2)


def test_a_first_event_is_no_proof() -> None:
    one, none = moments_of([[1.0], *[[0.0]] * 199]), moments_of([[0.0]] * 200)
    assert compared([(one, none)], share=True, alpha=0.05, tightest_at=500).p > 0.5


def test_values_that_never_differ_prove_nothing() -> None:
    pair = moments_of([[2.0]] * 100), moments_of([[1.0]] * 100)
    assert found(pair).p == 1.0


def test_a_drift_under_changed_weights_is_no_difference() -> None:
    """All of the second epoch's users cost more, and most of them came to the variant."""
    draw = random.Random(5)

    def users(count: int, level: float) -> Moments:
        return moments_of([[draw.gauss(level, 0.1)] for _ in range(count)])

    strata = [(users(100, 1), users(900, 1)), (users(900, 2), users(100, 2))]
    seen = compared(strata, share=False, alpha=0.05, tightest_at=500)
    assert seen.low < 0 < seen.high
    pooled = strata[0][0].merged(strata[1][0]), strata[0][1].merged(strata[1][1])
    assert found(pooled).low > 0.5  # what adding them up would have said


def test_a_bound_is_broken_upwards_alone() -> None:
    assert breach_p(2.0, 0.01, 100, bound=1.0, tightest_at=100) < 1e-6
    assert breach_p(0.0, 0.01, 100, bound=1.0, tightest_at=100) == 1.0
    assert breach_p(1.0, 0.01, 100, bound=1.0, tightest_at=100) == 1.0


@given(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.floats(1e-12, 1e3), st.floats(1e-3, 1e9))
def test_the_further_above_its_bound_the_surer_and_never_below_it(
    bound: float, above: float, variance: float, information: float
) -> None:
    def p(estimate: float) -> float:
        return breach_p(estimate, variance, information, bound=bound, tightest_at=100)

    assert p(bound - above) == 1.0
    assert 0 <= p(bound + 2 * above) <= p(bound + above) <= 1


def test_a_variant_that_keeps_its_bound_for_ever_is_never_stopped() -> None:
    kept = moments_of([[0.0]] * 50_000)
    assert mean_breach_p(kept, bound=0.05, sign=1, share=True, tightest_at=100) == 1.0


def test_a_storm_of_errors_is_seen_after_ten_users_and_not_before() -> None:
    def p(users: int, value: float) -> float:
        return mean_breach_p(
            moments_of([[value]] * users), bound=0.05, sign=1, share=True, tightest_at=100
        )

    assert p(9, 1.0) == 1.0
    assert p(10, 1.0) < 0.01
    assert p(500, 0.0) == 1.0


def test_a_mean_that_may_not_fall_is_watched_from_above() -> None:
    low = moments_of([[0.4]] * 60 + [[0.5]] * 60)
    assert mean_breach_p(low, bound=0.8, sign=-1, share=True, tightest_at=100) < 0.001
    assert mean_breach_p(low, bound=0.3, sign=-1, share=True, tightest_at=100) == 1.0


@pytest.mark.parametrize(
    ("statistic", "freedom"),
    # Abramowitz and Stegun, table 26.8, 5 %.
    [(3.84146, 1), (5.99147, 2), (7.81473, 3), (9.48773, 4), (11.0705, 5), (18.3070, 10)],
)
def test_the_chi_square_tail_is_the_tables(statistic: float, freedom: int) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(0.05, abs=2e-6)


def test_numbers_of_users_are_held_to_the_weights() -> None:
    assert sample_ratio_p([([500, 500], [1, 1])]) == (1.0, 1)
    p, _ = sample_ratio_p([([5000, 5400], [1, 1])])
    assert p < 0.001
    # Each set of weights by itself: what is wrong with the sum may be right with its parts.
    p, freedom = sample_ratio_p([([500, 500], [1, 1]), ([100, 900], [1, 9])])
    assert (p, freedom) == (1.0, 2)
    assert sample_ratio_p([([3, 0], [1, 1])]) == (1.0, 0)  # too few to say
