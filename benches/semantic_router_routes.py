"""Routes requests with the PyPI package semantic-router; run by `custom_routes.py` in another venv.

    python semantic_router_routes.py VECTORS.npz TASKS.json ANSWERS.json

Its `IndexedRouter` as it comes (the mean of the five nearest utterances), and with `max` in the
place of `mean`, on vectors that were made before. Each is calibrated by its own `fit` on labelled
requests that are no utterances, some of them about nothing; its README then takes 0.5 as threshold.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from semantic_router import IndexedRouter, Route
from semantic_router.encoders import DenseEncoder


class Served(DenseEncoder):
    """Gives vectors that were made before."""

    name: str = "served"
    known: dict[str, Any]

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """Looks them up."""
        return [self.known[text].tolist() for text in docs]


def main(vectors: str, tasks: str, answers: str) -> None:
    """Answers every request of every task by each way."""
    with np.load(vectors) as kept:
        known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    encoder = Served(known=known)
    given = json.loads(Path(tasks).read_text(encoding="utf-8"))
    found: dict[str, Any] = {"version": importlib.metadata.version("semantic-router"), "tasks": []}
    for task in given:
        routes = [Route(name=name, utterances=rows) for name, rows in task["routes"].items()]
        ways = {}
        for way in ("mean", "max"):
            router = IndexedRouter(encoder=encoder, routes=routes, aggregation=way)
            router.fit(X=task["fit"], y=task["fit_right"])
            choices = [router(query) for query in task["queries"]]
            ways[way] = [[choice.name, choice.confidence] for choice in choices]
        found["tasks"].append(ways)
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
