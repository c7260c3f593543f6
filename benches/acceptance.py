"""Whether learning when to draft pays: a simulated stream, and what learning takes.

    python benches/acceptance.py            the tables
    python benches/acceptance.py --check    and fails where a ratio is worse than the committed one

A stream of requests over 14 domains and 5 levels. How likely a draft is accepted differs from one
domain and level to the next about its level's mean, and a third and two thirds on a part of them
changes, as when a provider swaps a model. Each way of deciding meets the same requests, the same
draws of what is accepted and the same costs. What each costs is given as a share of what an oracle
spends that knows the true probability of every request; the regret is the difference, per request,
as a share of what the verifier alone costs.
"""

from __future__ import annotations

import argparse
import random
import sys
import timeit
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, get_args

from cascadeflow.domains.acceptance import AcceptanceModel, Estimate
from cascadeflow.domains.complexity import ComplexityLevel
from cascadeflow.models.config import ModelConfig
from cascadeflow.pipeline.decide import Drafting, decide
from cascadeflow.pipeline.request import normalise
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascadeflow.pipeline.request import Request

LEVELS: Final[tuple[ComplexityLevel, ...]] = get_args(ComplexityLevel)
MEANS: Final = {"trivial": 0.95, "simple": 0.8, "moderate": 0.65, "hard": 0.45, "expert": 0.3}
MIX: Final = {"trivial": 0.15, "simple": 0.3, "moderate": 0.3, "hard": 0.17, "expert": 0.08}
SPREAD: Final = 3.0
"""Of the beta distribution about a level's mean: wide, so that its level says little of a cell."""

CHANGED: Final = 0.4
REQUESTS: Final = 40_000
SEEDS: Final = (1, 2)
VERIFIER: Final = 10_000_000
"""Nanodollars of a verifier's answer, on average."""

EXPECTED: Final = {0.05: 1.005, 0.2: 1.015, 0.4: 1.03, 0.6: 1.03, 0.8: 1.025}
"""What learning costs at most, as a share of the oracle's spending, by the draft's cost as a share
of the verifier's."""

FIXED: Final = ("verifier alone", "always draft", "hard and below", "simple and below")
SLACK: Final = 1.001
"""How much more than the best fixed way learning may cost: where that one is right about everything
nothing can be learned, and every exploration and every wrong guess costs."""


@dataclass(frozen=True, slots=True)
class Arrival:
    domain: str
    level: ComplexityLevel
    truth: float
    draw: float
    draft: int
    verifier: int


def stream(seed: int, share: float) -> Iterator[Arrival]:
    chance = random.Random(seed)
    domains = sorted(DOMAINS)
    chance.shuffle(domains)
    traffic = [1 / (place + 1) for place in range(len(domains))]

    def truth(level: str) -> float:
        mean = MEANS[level]
        return chance.betavariate(SPREAD * mean, SPREAD * (1 - mean))

    truths = {(domain, level): truth(level) for domain in domains for level in LEVELS}
    for number in range(REQUESTS):
        if number in (REQUESTS // 3, 2 * REQUESTS // 3):
            for cell in truths:
                if chance.random() < CHANGED:
                    truths[cell] = truth(cell[1])
        (domain,) = chance.choices(domains, traffic)
        (level,) = chance.choices(LEVELS, [MIX[each] for each in LEVELS])
        length = chance.lognormvariate(-0.125, 0.5)  # mean 1
        yield Arrival(
            domain,
            level,
            truths[domain, level],
            chance.random(),
            round(share * VERIFIER * length),
            round(VERIFIER * length),
        )


def surely(probability: float) -> Estimate:
    return Estimate(probability=probability, observations=0.0, behind=float("inf"))


def play(arrivals: list[Arrival], drafts: Callable[[Arrival], bool]) -> int:
    """What a way of deciding spends, nanodollars."""
    spent = 0
    for each in arrivals:
        if drafts(each):
            spent += each.draft
            if each.draw < each.truth:
                continue
        spent += each.verifier
    return spent


def learner(**options: float) -> Callable[[Arrival], bool]:
    model = AcceptanceModel(**options)  # type: ignore[arg-type]
    name = "openai:gpt-5-mini"

    def drafts(each: Arrival) -> bool:
        decision = decide(
            level=each.level,
            acceptance=model.estimate(each.domain, each.level, name),
            draft_cost=each.draft,
            verifier_cost=each.verifier,
        )
        drafted = decision.route == "cascade" or model.explore(each.domain, each.level, name)
        if drafted:
            model.observe(each.domain, each.level, name, accepted=each.draw < each.truth)
        return drafted

    return drafts


def oracle(each: Arrival) -> bool:
    return (
        decide(
            level=each.level,
            acceptance=surely(each.truth),
            draft_cost=each.draft,
            verifier_cost=each.verifier,
        ).route
        == "cascade"
    )


WAYS: Final[dict[str, Callable[[], Callable[[Arrival], bool]]]] = {
    "verifier alone": lambda: lambda _: False,
    "always draft": lambda: lambda _: True,
    "hard and below": lambda: lambda each: each.level != "expert",
    "simple and below": lambda: lambda each: each.level in ("trivial", "simple"),
    "the priors alone": lambda: (
        lambda each: (
            AcceptanceModel().estimate("", each.level, "").probability * each.verifier > each.draft
        )
    ),
    "learned, exploring": learner,
    "learned, not exploring": lambda: learner(explore_every=0),
}


def simulate() -> bool:
    """Prints the table; says whether learning kept within what is committed."""
    print(f"{REQUESTS:,} requests, {len(SEEDS)} seeds; spending as a share of the oracle's")
    print(f"{'draft / verifier cost':24}" + "".join(f"{share:>9.0%}" for share in EXPECTED))
    spent: dict[str, list[float]] = {}
    oracle_spent, alone = [], []
    for share in EXPECTED:
        streams = [list(stream(seed, share)) for seed in SEEDS]
        least = sum(play(each, oracle) for each in streams)
        oracle_spent.append(least)
        alone.append(sum(play(each, WAYS["verifier alone"]()) for each in streams))
        for name, way in WAYS.items():
            spent.setdefault(name, []).append(sum(play(each, way()) for each in streams))
    for name, sums in spent.items():
        ratios = [each / least for each, least in zip(sums, oracle_spent, strict=True)]
        print(f"{name:24}" + "".join(f"{ratio:9.3f}" for ratio in ratios))
    learned = spent["learned, exploring"]
    regrets = [
        (each - least) / direct
        for each, least, direct in zip(learned, oracle_spent, alone, strict=True)
    ]
    print(f"{'regret of learning':24}" + "".join(f"{regret:9.2%}" for regret in regrets))
    best = [min(spent[name][place] for name in FIXED) for place in range(len(EXPECTED))]
    best_ratios = [each / fixed for each, fixed in zip(learned, best, strict=True)]
    print(f"{'learned / best fixed':24}" + "".join(f"{ratio:9.3f}" for ratio in best_ratios))
    ratios = [each / least for each, least in zip(learned, oracle_spent, strict=True)]
    within = all(ratio <= most for ratio, most in zip(ratios, EXPECTED.values(), strict=True))
    return within and max(best_ratios) <= SLACK


def microseconds(call: Callable[[], object], times: int = 5_000) -> float:
    return min(timeit.repeat(call, number=times, repeat=5)) / times * 1e6


def deciding(request: Request) -> Callable[[], object]:
    drafting, now = Drafting(), datetime.now(UTC)
    cheap, dear = map(ModelConfig.parse, ("openai:gpt-5-mini", "anthropic:claude-opus-5"))
    return lambda: drafting.decide(
        request, domain="science", level="hard", drafter=cheap, verifier=dear, at=now
    )


def costs() -> None:
    """Prints what learning and deciding take."""
    model, name = AcceptanceModel(max_cells=100_000), "openai:gpt-5-mini"
    for level in LEVELS:
        for domain in DOMAINS:
            model.observe(domain, level, name, accepted=True)
    estimate = model.estimate("code", "hard", name)
    rows: list[tuple[str, Callable[[], object]]] = [
        ("observe", lambda: model.observe("code", "hard", name, accepted=True)),
        ("estimate", lambda: model.estimate("code", "hard", name)),
        ("explore", lambda: model.explore("code", "hard", name)),
        (
            "decide",
            lambda: decide(level="hard", acceptance=estimate, draft_cost=9, verifier_cost=99),
        ),
    ]
    for repeats in (1, 20, 2_000):
        request = normalise("Why is the sky blue at noon and red at dusk? " * repeats)
        characters = len(request.messages[0].text)
        rows.append((f"Drafting.decide, {characters:,} characters", deciding(request)))
    for what, call in rows:
        print(f"{what:40}{microseconds(call, 2_000):9.2f} us")
    tracemalloc.start()
    many = AcceptanceModel(max_cells=100_000)
    before, _ = tracemalloc.get_traced_memory()
    for number in range(10_000):
        many.observe(f"domain-{number}", "hard", name, accepted=True)
    after, _ = tracemalloc.get_traced_memory()
    print(f"{'bytes of a cell, its name included':40}{(after - before) / len(many.learned):9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="fail on a ratio gone bad")
    options = parser.parse_args()
    kept = simulate()
    costs()
    if options.check and not kept:
        sys.exit(
            f"learning costs more than is committed: {EXPECTED} of what the oracle spends, and "
            f"{SLACK} of what the best fixed way does"
        )


if __name__ == "__main__":
    main()
