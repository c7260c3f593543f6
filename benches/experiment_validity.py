"""How experiments' figures hold under peeking: false alarms, stopping times, guard rails.

Every observation is one request of one user, and the p-value is looked at after each. The sums and
the formulas are the package's own, written over for whole arrays at once; the first runs of each
kind are held to the package's own result, value by value, so that it is the package that is judged.

Run: python benches/experiment_validity.py [--runs 1000] [--requests 10000] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import timeit
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cascadeflow.experiments import Experiment, Guardrail, Variant
from cascadeflow.experiments.analysis import _GUARDS_TIGHTEST_AT
from cascadeflow.experiments.inference import (
    FEWEST_UNITS,
    FEWEST_UNITS_FOR_SHARES,
    Moments,
    compared,
    mean_breach_p,
    mixture,
)
from cascadeflow.experiments.sqlite import SqliteExperiments

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]
Made = tuple[Array, Array, bool]
"""Whose request each is, its value, and whether values are shares."""

TIGHTEST_AT = 2000 / 4
"""As an experiment has it by default."""

ALPHA = 0.05


def by_user(values: Array, users: Array) -> tuple[Array, Array, Array]:
    """Each user's mean before and after each request, and whether the user is new."""
    order = np.argsort(users, kind="stable")
    user, value = users[order], values[order]
    first = np.r_[True, user[1:] != user[:-1]]
    place = np.arange(len(user))
    begin = np.maximum.accumulate(np.where(first, place, 0))
    total = np.cumsum(value)
    own = total - np.where(begin > 0, total[begin - 1], 0.0)
    count = place - begin + 1
    before, after, new = np.zeros(len(user)), np.empty(len(user)), np.zeros(len(user), bool)
    after[order] = own / count
    before[order] = np.where(first, 0.0, (own - value) / np.maximum(count - 1, 1))
    new[order] = first
    return before, after, new


def sums(users: Array, values: Array, mask: Array) -> list[Array]:
    """The six sums of `Moments` after every request, of those that the mask lets count."""
    before, after, new = by_user(values, users)
    parts = (new, after - before, after**2 - before**2, np.ones(len(values)), values, values**2)
    return [np.cumsum(np.where(mask, part, 0.0)) for part in parts]


def spread(side: list[Array], *, share: bool) -> tuple[Array, Array]:
    """The variance of users' means, and of single requests."""
    units, total, squares, requests, request_total, request_squares = side
    if share:
        units, total, squares = units + 2, total + 1, squares + 1
        requests, request_total, request_squares = (
            requests + 2,
            request_total + 1,
            request_squares + 1,
        )
    single = (squares - total**2 / units) / (units - 1)
    return single, request_squares / requests - (request_total / requests) ** 2


def p_values(users: Array, arms: Array, values: Array, *, share: bool) -> tuple[Array, Array]:
    """The always-valid p-value after every request, and the naive one of counting requests."""
    with np.errstate(all="ignore"):
        sides = [sums(users, values, arms == arm) for arm in (1, 0)]
        estimate = sides[0][1] / sides[0][0] - sides[1][1] / sides[1][0]
        variance = sum(spread(side, share=share)[0] / side[0] for side in sides)
        both = [one + other for one, other in zip(*sides, strict=True)]
        t = spread(both, share=share)[1] / variance
        r = mixture(TIGHTEST_AT)
        log_p = np.log1p(t / r) / 2 - estimate**2 / variance / 2 * t / (t + r)
        few = (np.minimum(sides[0][0], sides[1][0]) < FEWEST_UNITS) | ~(variance > 0)
        means = [side[4] / side[3] for side in sides]
        error = sum((side[5] / side[3] - (side[4] / side[3]) ** 2) / side[3] for side in sides)
        z = np.abs(means[0] - means[1]) / np.sqrt(error)
        enough = np.minimum(sides[0][3], sides[1][3]) >= FEWEST_UNITS
    naive = np.where(enough & np.isfinite(z), z, 0.0)
    return np.where(few, 1.0, np.exp(np.minimum(0.0, log_p))), naive


def guard_p(users: Array, values: Array, bound: float, *, share: bool) -> Array:
    """The always-valid p-value of a mean being above its bound, after every request."""
    side = sums(users, values, np.ones(len(values), bool))
    with np.errstate(all="ignore"):
        single, request = spread(side, share=share)
        variance = single / side[0]
        t, r = request / variance, mixture(_GUARDS_TIGHTEST_AT)
        drift = (side[1] / side[0] - bound) / np.sqrt(variance) * np.sqrt(t / (t + r))
        drift = np.where(drift > 0, drift, 0.0)  # at 0 and below it has won nothing
        below = np.vectorize(lambda x: math.log(math.erfc(-x / math.sqrt(2)) / 2))
        won = math.log(2) + below(drift) - np.log1p(t / r) / 2 + drift**2 / 2
        fewest = FEWEST_UNITS_FOR_SHARES if share else FEWEST_UNITS
        known = (side[0] >= fewest) & (variance > 0)
        return np.where(known, np.exp(np.minimum(0.0, -won)), 1.0)


# Who asks, and what it costs: nothing differs between the variants.


def many_users(draw: np.random.Generator, n: int, rate: float) -> Made:
    return np.arange(n), (draw.random(n) < rate) * 1.0, True


def skewed_costs(draw: np.random.Generator, n: int) -> Made:
    escalated = draw.random(n) < 0.2
    return np.arange(n), np.where(escalated, 0.02, 0.0005) * draw.lognormal(0, 1, n), False


def rare_costs(draw: np.random.Generator, n: int) -> Made:
    escalated = draw.random(n) < 0.03
    return np.arange(n), np.where(escalated, 0.05, 0.0005) * draw.lognormal(0, 0.5, n), False


def sticky_shares(draw: np.random.Generator, n: int) -> Made:
    users = draw.integers(0, n // 20, n)
    rates = draw.beta(0.5, 1.5, n // 20)
    return users, (draw.random(n) < rates[users]) * 1.0, True


def same_users(draw: np.random.Generator, n: int) -> Made:
    return draw.integers(0, 400, n), draw.normal(0, 1, n), False


def busy_few(draw: np.random.Generator, n: int) -> Made:
    weights = draw.pareto(1.1, n // 20) + 0.01
    users = draw.choice(len(weights), n, p=weights / weights.sum())
    level = draw.lognormal(0, 1, len(weights))
    return users, level[users] * draw.lognormal(0, 1, n), False


def come_and_go(draw: np.random.Generator, n: int) -> Made:
    born = np.sort(draw.integers(0, n, n // 10))
    newest = np.maximum(1, np.searchsorted(born, np.arange(n), side="right"))
    oldest = np.maximum(0, newest - 200)
    users = oldest + (draw.random(n) * (newest - oldest)).astype(int)
    return users, draw.normal(0, 1, n // 10)[users] + draw.normal(0, 1, n), False


def latencies(draw: np.random.Generator, n: int) -> Made:
    users = draw.integers(0, n // 5, n)
    level = 600 * np.exp(draw.normal(0, 0.4, n // 5))
    return users, level[users] * draw.lognormal(0, 0.8, n), False


NULLS: dict[str, Callable[[np.random.Generator, int], Made]] = {
    "a user a request, 10 % escalated": lambda draw, n: many_users(draw, n, 0.1),
    "a user a request, 1 % errors": lambda draw, n: many_users(draw, n, 0.01),
    "a user a request, skewed costs": skewed_costs,
    "a user a request, rare high costs": rare_costs,
    "20 requests a user, users differ": sticky_shares,
    "the same 400 users again and again": same_users,
    "few users send most, costs differ": busy_few,
    "users come and go": come_and_go,
    "5 requests a user, latencies": latencies,
}


def drawn_arms(draw: np.random.Generator, users: Array) -> Array:
    arms = draw.integers(0, 2, int(users.max()) + 1)
    chosen: Array = arms[users]
    return chosen


def slow_p(users: Array, arms: Array, values: Array, *, share: bool) -> float:
    """The same by the package, value by value."""
    sides = (Moments(), Moments())
    known: dict[int, tuple[float, float]] = {}
    for user, arm, value in zip(users.tolist(), arms.tolist(), values.tolist(), strict=True):
        known[user] = sides[1 - arm].add(known.get(user, (0.0, 0.0)), 1, value, value * value)
    return compared([sides], share=share, alpha=ALPHA, tightest_at=TIGHTEST_AT).p


def false_alarms(runs: int, requests: int, checked: int) -> dict[str, dict[str, float]]:
    """How often nothing is taken for something, in so many runs of each kind."""
    found = {}
    for place, (name, make) in enumerate(NULLS.items()):
        draw = np.random.default_rng([7, place])
        alarms = naive_alarms = 0
        for number in range(runs):
            users, values, share = make(draw, requests)
            arms = drawn_arms(draw, users)
            p, z = p_values(users, arms, values, share=share)
            if number < checked:
                slow = slow_p(users, arms, values, share=share)
                assert math.isclose(float(p[-1]), slow, rel_tol=1e-6, abs_tol=1e-12), name
            alarms += bool(p.min() <= ALPHA)
            naive_alarms += bool(z.max() >= 1.959964)
        rate = alarms / runs
        found[name] = {
            "false_alarms": rate,
            "standard_error": math.sqrt(rate * (1 - rate) / runs),
            "peeking_at_a_t_test": naive_alarms / runs,
        }
    return found


def power(runs: int) -> list[dict[str, float]]:
    """How many users it takes to see a difference, beside a test of a size fixed beforehand.

    The fixed one is a two-sided z-test with the number of users that gives it 80 % power for
    exactly the difference that there is, which nobody knows beforehand.
    """
    found = []
    for place, (base, lift) in enumerate(((0.2, 0.1), (0.2, 0.05), (0.2, 0.03))):
        both = base * (1 - base) + (base + lift) * (1 - base - lift)
        fixed = 2 * math.ceil((1.959964 + 0.841621) ** 2 * both / lift**2)
        longest = 6 * fixed
        draw = np.random.default_rng([11, place])
        stopped, hits = [], 0
        for _ in range(runs):
            users = np.arange(longest)
            arms = draw.integers(0, 2, longest)
            values = (draw.random(longest) < base + lift * arms) * 1.0
            p, _ = p_values(users, arms, values, share=True)
            seen = np.flatnonzero(p <= ALPHA)
            stopped.append(int(seen[0]) + 1 if len(seen) else math.inf)
            part = slice(0, fixed)
            sides = [values[part][arms[part] == arm] for arm in (0, 1)]
            error = math.sqrt(sum(side.var() / len(side) for side in sides))
            hits += abs(sides[1].mean() - sides[0].mean()) / error >= 1.959964
        times = np.array(stopped)
        found.append(
            {
                "base": base,
                "lift": lift,
                "fixed_users": fixed,
                "fixed_power": hits / runs,
                "power_at_the_same_users": float((times <= fixed).mean()),
                "power_at_twice": float((times <= 2 * fixed).mean()),
                "median_users": float(np.median(times)),
                "p90_users": float(np.quantile(times, 0.9)),
            }
        )
    return found


def guards(runs: int, requests: int, checked: int) -> dict[str, dict[str, float]]:
    """How often a variant is stopped that is just at its bound, and how soon one that is not."""
    alpha = ALPHA

    def errors(draw: np.random.Generator, rate: float, n: int) -> tuple[Array, Array]:
        users = draw.integers(0, max(1, n // 5), n)
        rates = draw.beta(rate * 10, (1 - rate) * 10, max(1, n // 5))
        return users, (draw.random(n) < rates[users]) * 1.0

    found: dict[str, dict[str, float]] = {}
    for place, bound in enumerate((0.01, 0.05, 0.2)):
        draw = np.random.default_rng([13, place])
        stops, soon = 0, []
        for number in range(runs):
            users, values = errors(draw, bound, requests)
            p = guard_p(users, values, bound, share=True)
            if number < checked:
                kept, known = Moments(), {}
                for user, value in zip(users.tolist(), values.tolist(), strict=True):
                    known[user] = kept.add(known.get(user, (0.0, 0.0)), 1, value, value * value)
                slow = mean_breach_p(
                    kept, bound=bound, sign=1, share=True, tightest_at=_GUARDS_TIGHTEST_AT
                )
                assert math.isclose(float(p[-1]), slow, rel_tol=1e-6, abs_tol=1e-12)
            stops += bool(p.min() <= alpha)
            if number < runs // 4:
                users, values = errors(draw, min(1.0, 3 * bound), requests)
                seen = np.flatnonzero(guard_p(users, values, bound, share=True) <= alpha)
                soon.append(int(seen[0]) + 1 if len(seen) else math.inf)
        found[f"errors at most {bound:.0%}"] = {
            "stopped_at_the_bound": stops / runs,
            "median_requests_at_thrice_the_bound": float(np.median(soon)),
        }
    return found


def costs() -> dict[str, float]:
    """What a draw and an observation take on a request's way, and what a user takes to be kept."""
    outcome = {"cost": 0.001, "latency_ms": 500.0, "accepted": 1.0, "escalated": 0.0, "error": 0.0}
    rails = [Guardrail(metric="latency_ms", at_most=2000, quantile=0.95)]

    def made(weights: tuple[float, ...], store: Any = "memory") -> Experiment:
        variants = [Variant(name=f"v{place}", weight=w) for place, w in enumerate(weights)]
        return Experiment("x", variants, guardrails=rails, store=store, every=10**9)

    def least(work: Callable[[], object]) -> float:
        return min(timeit.repeat(work, number=200, repeat=300)) * 5000

    found = {}
    for name, weights in (("two_even", (1.0, 1.0)), ("three_uneven", (2.0, 1.0, 1.0))):
        trial = made(weights)
        found[f"choose_{name}_us"] = least(lambda trial=trial: trial.choose("user-123", ""))
    assignment = trial.choose("user-123", "")
    assert assignment is not None
    found["observe_us"] = least(lambda: trial.observe(assignment, outcome))
    users = 10_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ab.db"
        file = SqliteExperiments(path)
        stored = made((1.0, 1.0), file)
        tracemalloc.start()
        kept = made((1.0, 1.0))
        for trial in (kept, stored):
            for number in range(users):
                drawn = trial.choose(f"user-{number}", "")
                assert drawn is not None
                trial.observe(drawn, outcome)
            if trial is kept:
                trial.flush()
                found["memory_bytes_a_user"] = tracemalloc.get_traced_memory()[0] / users
                tracemalloc.stop()
        stored.close()
        file.close()
        found["file_bytes_a_user"] = path.stat().st_size / users
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="of each kind")
    parser.add_argument("--requests", type=int, default=10_000, help="in each run")
    parser.add_argument("--checked", type=int, default=2, help="runs held to the package's result")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    began = time.perf_counter()
    report = {
        "runs": options.runs,
        "requests": options.requests,
        "false_alarms": false_alarms(options.runs, options.requests, options.checked),
        "power": power(options.runs // 2),
        "guards": guards(options.runs // 2, options.requests // 2, options.checked),
    }
    report["costs"] = costs()
    report["seconds"] = round(time.perf_counter() - began)
    if options.json:
        print(json.dumps(report))
        return
    print(f"False alarms at 5 %, {options.runs} runs of {options.requests} requests each, a look")
    print("after every request; and the same with a z-test that counts requests")
    for name, row in report["false_alarms"].items():
        print(
            f"  {name:<36} {row['false_alarms']:6.2%} ± {row['standard_error']:.2%}"
            f"   z-test {row['peeking_at_a_t_test']:6.1%}"
        )
    print("Power, a share of 20 % that rises")
    for row in report["power"]:
        print(
            f"  by {row['lift']:.0%}: fixed size {row['fixed_users']} users, power "
            f"{row['fixed_power']:.0%}; always valid {row['power_at_the_same_users']:.0%}, at "
            f"twice the users {row['power_at_twice']:.0%}; stops after {row['median_users']:.0f} "
            f"users (median), {row['p90_users']:.0f} (p90)"
        )
    print("Guard rails")
    for name, row in report["guards"].items():
        print(
            f"  {name:<20} stopped while at it {row['stopped_at_the_bound']:.2%}; at three times "
            f"it, after {row['median_requests_at_thrice_the_bound']:.0f} requests (median)"
        )
    for name, value in report["costs"].items():
        print(f"  {name:<24} {value:,.1f}")
    print(f"{report['seconds']} s")


if __name__ == "__main__":
    main()
