"""Fits how sure routes by examples are, and when they say "none of these".

    python benches/fit_examples.py            # fit, report
    python benches/fit_examples.py --write    # and write domains/data/examples.json

Users are played: a few of the intents that are fitted on (1 to 59) become domains of 3 to 20
examples, further rows of these intents ask about them, and about none ask rows of the other
intents, half of CLINC150's out-of-scope rows and rows of this project's own training set. In each
game the two halves, about a domain and about none, weigh the same, and so does each game. A softmax
over the domains and "none" is fitted to all games at once. The threshold is the one, in steps of
0.01, at which the mean of both halves' right decisions is best. `route_rows.py` says which rows are
kept apart; `custom_routes.py` measures on those.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from route_rows import ROOT, Embedded, own_rows, read

from cascadeflow._native import ExampleIndex, Vectors
from cascadeflow.domains.examples import ExampleWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from route_rows import Intents

    Floats = NDArray[np.float64]

DATA = ROOT / "python" / "cascadeflow" / "domains" / "data" / "examples.json"
NAMES = ("mean", "nearest", "cohesion", "bias", "log_examples", "single", "own", "other")
ROUTE, NONE = NAMES[:3], NAMES[3:]
STRENGTH = 1000.0
RIDGE = 1e-4
QUERIES = 10
OTHERS = 300
OWN = 100

# Domains, examples of each, and how often that is played.
GAMES = (
    (1, 3, 8), (1, 5, 8), (1, 10, 8), (2, 5, 6), (2, 10, 6), (5, 3, 4), (5, 5, 4), (5, 10, 4),
    (5, 20, 4), (15, 5, 3), (15, 10, 3), (15, 20, 2), (40, 5, 2), (40, 10, 2), (40, 20, 1),
    (59, 10, 1),
)  # fmt: skip


class Game(NamedTuple):
    """Numbers by request, option and feature; the right option; what each request weighs."""

    features: Floats
    right: NDArray[np.int64]
    weights: Floats


def variance_within(intents: Intents, embedded: Embedded) -> float:
    """How much rows of one intent scatter, in the mean over the directions."""
    total, freedom, size = 0.0, 0, 1
    for rows in intents.values():
        vectors = embedded(rows).astype(float)
        total += float(((vectors - vectors.mean(0)) ** 2).sum())
        freedom, size = freedom + len(rows) - 1, vectors.shape[1]
    return total / freedom / size


def native(vectors: NDArray[np.float32]) -> Vectors:
    """The package's own vectors."""
    return Vectors.from_bytes(vectors.astype("<f4").tobytes(), vectors.shape[1])


def features(index: ExampleIndex, examples: float, queries: NDArray[np.float32]) -> Floats:
    """By query, for each route and then for none, the numbers that `NAMES` names."""
    routes = len(index)
    found = np.zeros((len(queries), routes + 1, len(NAMES)))
    for at, query in enumerate(native(queries)):
        means, nearest, _ = index.score(query, nearest=0)
        found[at, :routes, 0], found[at, :routes, 1] = means, nearest
    found[:, :routes, 2] = index.cohesion
    own_mean, own_nearest, other_mean, other_nearest = index.nearness
    own, other, single = (own_mean + own_nearest) / 2, 0.0, 1.0
    if other_mean is not None and other_nearest is not None:
        other, single = (other_mean + other_nearest) / 2, 0.0
    found[:, routes, 3:] = [1, np.log(examples), single, own, other]
    return found


def play(
    intents: Intents,
    count: int,
    examples: int,
    *,
    seed: int,
    none: list[str],
    embedded: Embedded,
    variance: float,
) -> Game:
    """Makes domains of some intents and asks about them, and about none."""
    chance = random.Random(seed)
    chosen = chance.sample(sorted(intents), count)
    known: list[str] = []
    asked: list[str] = []
    right: list[int] = []
    for at, intent in enumerate(chosen):
        rows = chance.sample(intents[intent], len(intents[intent]))
        known += rows[:examples]
        asked += rows[examples : examples + QUERIES]
        right += [at] * len(rows[examples : examples + QUERIES])
    others = [row for intent in sorted(intents) if intent not in chosen for row in intents[intent]]
    outside = chance.sample(others, min(len(others), OTHERS)) + none
    index = ExampleIndex(
        native(embedded(known)),
        [at for at in range(count) for _ in range(examples)],
        variance=variance,
        strength=STRENGTH,
    )
    answers = np.array(right + [count] * len(outside))
    inside = answers < count
    weights = np.where(inside, 0.5 / inside.sum(), 0.5 / (~inside).sum())
    return Game(features(index, examples, embedded(asked + outside)), answers, weights)


def softmax(scores: Floats) -> Floats:
    """Probabilities by row."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: Floats = powers / powers.sum(1, keepdims=True)
    return shares


def fit(games: list[Game]) -> Floats:
    """Fits by Newton's method, which halves a step that goes too far; the loss is convex."""

    def loss(weights: Floats) -> float:
        total = RIDGE * float(weights @ weights) / 2
        for game in games:
            chosen = softmax(game.features @ weights)[np.arange(len(game.right)), game.right]
            total -= float(game.weights @ np.log(chosen + 1e-300))
        return total

    weights = np.zeros(len(NAMES))
    current = loss(weights)
    for _ in range(100):
        slope, bend = RIDGE * weights, RIDGE * np.eye(len(NAMES))
        for game in games:
            share = softmax(game.features @ weights)
            mean = np.einsum("qk,qkf->qf", share, game.features)
            slope = slope + game.weights @ (mean - game.features[np.arange(len(share)), game.right])
            weighed = (share * game.weights[:, None])[:, :, None] * game.features
            bend = bend + np.tensordot(weighed, game.features, ((0, 1), (0, 1)))
            bend = bend - (mean * game.weights[:, None]).T @ mean
        step = np.linalg.solve(bend, slope)
        size = 1.0
        while size > 1e-6 and loss(weights - size * step) >= current:
            size /= 2
        new = loss(weights - size * step)
        if new > current - 1e-9:
            return weights
        weights, current = weights - size * step, new
    raise SystemExit("the fit did not end")


def threshold_of(games: list[Game], weights: Floats) -> tuple[float, float]:
    """The threshold at which both kinds of request are best told apart, and how well."""
    inside, true, weigh = [], [], []
    for game in games:
        share = softmax(game.features @ weights)
        inside.append(1 - share[:, -1])
        true.append(game.right < share.shape[1] - 1)
        weigh.append(game.weights)
    all_inside, all_true, all_weigh = map(np.concatenate, (inside, true, weigh))

    def right(threshold: float) -> float:
        return float(all_weigh @ ((all_inside >= threshold) == all_true)) / len(games)

    best = max((round(at / 100, 2) for at in range(1, 100)), key=right)
    return best, right(best)


def main() -> None:
    """Fits, reports, writes."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--write", action="store_true", help="write examples.json")
    options.add_argument("--cache", type=Path, help="keep the vectors in this .npz file")
    given = options.parse_args()
    rows, own = read(), own_rows(step=7)
    embedded = Embedded(given.cache)
    embedded.add([*(row for each in rows.fit.values() for row in each), *rows.fit_none, *own])
    variance = variance_within(rows.fit, embedded)
    games = []
    for count, examples, times in GAMES:
        for at in range(times):
            none = rows.fit_none + random.Random(1000 * count + at).sample(own, OWN)
            game = play(
                rows.fit,
                count,
                examples,
                seed=100 * at + 10 * count + examples,
                none=none,
                embedded=embedded,
                variance=variance,
            )
            games.append(game)
    found = fit(games)
    threshold, share = threshold_of(games, found)
    weights = ExampleWeights(
        model=embedded.model.name,
        variance=float(f"{variance:.4g}"),
        strength=STRENGTH,
        threshold=threshold,
        **{name: round(float(value), 3) for name, value in zip(NAMES, found, strict=True)},
    )
    print(json.dumps(asdict(weights), indent=2))
    print(f"{len(games)} games; one of the domains or none: {share:.1%} right (fitted on)")
    if given.write:
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps({"card": CARD, "weights": asdict(weights)}, indent=2) + "\n")


CARD = {
    "what": "How cosines with a domain's examples become the probability that a request is about "
    "it, or about none of the domains.",
    "made_by": "python benches/fit_examples.py --write",
    "fitted_on": [
        (
            "CLINC150, training part (CC-BY-3.0): 30 rows each of 60 intents chosen by chance, and "
            "half of the out-of-scope rows"
        ),
        (
            "CascadeFlow's own training set (benches/domain_training, Apache-2.0): every seventh "
            "row, as requests about none of the domains"
        ),
    ],
    "not_fitted_on": "CLINC150's other 90 intents, the other half of its out-of-scope rows, and "
    "Banking77: benches/custom_routes.py measures on these.",
    "holds_for": "vectors of all-MiniLM-L6-v2 in fp32, English, requests half of which are about "
    "none of the domains; fitted to 1 to 59 domains of 3 to 20 examples, measured with 1 to 150 of "
    "10. Others were not measured.",
}

if __name__ == "__main__":
    main()
