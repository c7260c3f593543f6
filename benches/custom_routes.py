"""Routes by 10 examples each, beside semantic-router with the same vectors.

    python benches/custom_routes.py

Banking77 (77 intents) and CLINC150 (150 intents and rows about none of them) under
`CASCADEFLOW_DATA`, by rows that nothing was fitted on (`route_rows.py`), with examples drawn by
three seeds; and a few intents of them as the only domains, the others being about none of these.

Both ways have the same vectors of all-MiniLM-L6-v2. semantic-router is installed into an
environment of its own, which is removed afterwards (`--python` takes one that has it). Its
thresholds are fitted by its own `fit`, on more than ours sees of these domains: two further rows
of each and a hundred about none, which ours does without.

Printed is, in the mean over the seeds: `forced`: the likeliest domain is the right one, of requests
that have one; `right`: and it answers; `refused`: of these, none answers; `none`: of requests
about none, none answers; `auroc`: how well both kinds are told apart at any threshold; `ece`: how
far off the probabilities are, both kinds weighing the same.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from peer_environment import install
from route_rows import Embedded, read

from cascadeflow._native import Vectors
from cascadeflow.domains.examples import ExampleRoutes
from cascadeflow.domains.registry import Domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from route_rows import Intents

SEEDS = (1, 2, 3)
EXAMPLES = 10
FURTHER = 2
MOST_NONE = 300
PACKAGE = "semantic-router"
THEIR_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Task:
    """Domains by examples, and requests with the right domain or `None`."""

    name: str
    routes: Intents
    fit: list[str]
    fit_right: list[str | None]
    queries: list[str]
    right: list[str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """The likeliest domain, how sure that is, how sure it is any, and whether it answers."""

    likeliest: str
    probability: float
    inside: float
    answers: bool


def task(
    name: str,
    intents: Intents,
    *,
    none: Sequence[str],
    fit_none: Sequence[str],
    seed: int,
    count: int | None = None,
) -> Task:
    """Draws examples; with `count`, only so many intents are domains, and the others none."""
    chance = random.Random(seed)
    chosen = sorted(intents) if count is None else sorted(chance.sample(sorted(intents), count))
    routes: Intents = {}
    fit = list(fit_none)
    labels: list[str | None] = [None for _ in fit_none]
    queries: list[str] = []
    right: list[str | None] = []
    for intent in chosen:
        rows = chance.sample(intents[intent], len(intents[intent]))
        routes[intent] = rows[:EXAMPLES]
        fit += rows[EXAMPLES : EXAMPLES + FURTHER]
        labels += [intent] * FURTHER
        asked = rows[EXAMPLES + FURTHER :]
        queries += asked
        right += [intent] * len(asked)
    others = [row for intent in sorted(intents) if intent not in chosen for row in intents[intent]]
    outside = [*none, *chance.sample(others, min(len(others), MOST_NONE))]
    return Task(name, routes, fit, labels, queries + outside, right + [None] * len(outside))


def ours(each: Task, embedded: Embedded, times: list[float]) -> list[Answer]:
    """Answers by the package."""
    domains = [Domain(name, examples=rows) for name, rows in each.routes.items()]
    known = embedded([example for domain in domains for example in domain.examples])
    routes = ExampleRoutes.of_vectors(domains, native(known), embedded.model.name)
    found = []
    vectors = list(native(embedded(each.queries)))
    began = time.perf_counter()
    for vector in vectors:
        report = routes.report(vector)
        likeliest, probability = report.probabilities[0]
        inside = sum(share for _, share in report.probabilities)
        found.append(Answer(likeliest, probability, inside, report.answered))
    times.append((time.perf_counter() - began) / len(vectors) * 1e6)
    return found


def native(vectors: Any) -> Vectors:
    """The package's own vectors."""
    return Vectors.from_bytes(vectors.astype("<f4").tobytes(), vectors.shape[1])


def theirs(tasks: list[Task], embedded: Embedded, python: Path) -> dict[str, Any]:
    """Answers by semantic-router, in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        vectors, given, found = (Path(folder) / name for name in ("v.npz", "t.json", "a.json"))
        texts = sorted(
            {text for each in tasks for text in (*each.fit, *each.queries)}.union(
                *(rows for each in tasks for rows in each.routes.values())
            )
        )
        np.savez(vectors, texts=np.array(texts), vectors=embedded(texts))
        plain = [
            {"routes": t.routes, "fit": t.fit, "fit_right": t.fit_right, "queries": t.queries}
            for t in tasks
        ]
        given.write_text(json.dumps(plain), encoding="utf-8")
        script = Path(__file__).with_name("semantic_router_routes.py")
        subprocess.run([python, script, vectors, given, found], check=True)
        answers: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return answers


def figures(right: list[str | None], answers: list[Answer]) -> dict[str, float]:
    """What is printed, of one task."""
    pairs = list(zip(right, answers, strict=True))
    inside = [(want, got) for want, got in pairs if want is not None]
    outside = [got for want, got in pairs if want is None]
    hit = [(got.probability, want == got.likeliest, 0.5 / len(inside)) for want, got in inside]
    hit += [(got.probability, False, 0.5 / len(outside)) for got in outside]
    return {
        "forced": mean([got.likeliest == want for want, got in inside]),
        "right": mean([got.likeliest == want and got.answers for want, got in inside]),
        "refused": mean([not got.answers for _, got in inside]),
        "none": mean([not got.answers for got in outside]),
        "auroc": auroc([got.inside for _, got in inside], [got.inside for got in outside]),
        "ece": calibration(hit),
    }


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return float(np.mean(values))


def auroc(inside: list[float], outside: list[float]) -> float:
    """How often a request about a domain is given more than one about none; ties count half."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
    return float(below.mean() / 2 / len(ordered))


def calibration(rows: list[tuple[float, bool, float]], bins: int = 10) -> float:
    """The expected calibration error over bins of equal width."""
    share, right, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    at = np.minimum((share * bins).astype(int), bins - 1)
    return float(
        sum(abs((weight * (share - right))[at == each].sum()) for each in range(bins))
        / weight.sum()
    )


def main() -> None:
    """Embeds, answers, prints."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cache", type=Path, help="keep the vectors in this .npz file")
    options.add_argument("--python", type=Path, help="a Python that has semantic-router")
    options.add_argument("--alone", action="store_true", help="without semantic-router")
    given = options.parse_args()
    rows = read()
    embedded = Embedded(given.cache)
    tasks = []
    for seed in SEEDS:
        unseen, none = rows.unseen(), rows.clinc150_none
        with_none: dict[str, Any] = {"none": none, "fit_none": rows.fit_none, "seed": seed}
        without: dict[str, Any] = {**with_none, "none": []}
        tasks += [
            task("Banking77", rows.banking77, **with_none),
            task("CLINC150", rows.clinc150, **with_none),
            task("CLINC150, 90 unseen", unseen, **with_none),
        ]
        for count in (1, 5, 20):
            tasks += [
                task(f"{count} of Banking77", rows.banking77, **without, count=count),
                task(f"{count} of CLINC150 unseen", unseen, **with_none, count=count),
            ]
    for each in tasks:
        embedded.add(
            [*each.queries, *each.fit, *(row for kept in each.routes.values() for row in kept)]
        )
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    times: dict[str, list[float]] = {}

    def note(each: Task, way: str, answers: list[Answer]) -> None:
        by_way = found.setdefault(each.name, {})
        by_way.setdefault(way, []).append(figures(each.right, answers))

    for each in tasks:
        note(each, "cascadeflow", ours(each, embedded, times.setdefault(each.name, [])))
    if not given.alone:
        with tempfile.TemporaryDirectory() as folder:
            python = given.python or install(Path(folder), PACKAGE)
            answered = theirs(tasks, embedded, python)
        version = answered["version"]
        for each, ways in zip(tasks, answered["tasks"], strict=True):
            for way, choices in ways.items():
                answers = [Answer(name, p, p, p >= THEIR_THRESHOLD) for name, p in choices]
                note(each, f"{PACKAGE} {version} {way}", answers)
    for name, ways in found.items():
        took = f"{min(times[name]):.0f} µs a request" if name in times else ""
        print(f"\n{name}: {EXAMPLES} examples each, {len(SEEDS)} seeds; {took}")
        for way, results in ways.items():
            shown = {key: mean([result[key] for result in results]) for key in results[0]}
            print(f"  {way:<30}", "  ".join(f"{key} {value:.3f}" for key, value in shown.items()))


if __name__ == "__main__":
    main()
