"""Names domains with PyPI's cascadeflow; run by `domain_peers.py` in an environment of its own.

    python cascadeflow_peer_domains.py exemplars
    python cascadeflow_peer_domains.py answer ROWS.json VECTORS.npz ANSWERS.json

Its `DomainDetector` (words and patterns) as it comes, and its `SemanticDomainDetector` (both mixed)
on vectors that were made before: of all-MiniLM-L6-v2, which it lists among its models.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from cascadeflow.routing.domain import (  # type: ignore[import-not-found]
    DOMAIN_EXEMPLARS,
    DomainDetector,
    SemanticDomainDetector,
)

PASSES = 5


class Served:
    """Gives vectors that were made before, in the form of its own embedding service."""

    is_available = True

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known

    def embed(self, text: str) -> Any:
        return self.known[text]

    def embed_batch(self, texts: list[str]) -> list[Any]:
        return [self.known[text] for text in texts]

    @staticmethod
    def _cosine_similarity(one: Any, other: Any) -> float:
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def answer(rows: str, vectors: str, answers: str) -> None:
    """Answers every row by each way, and says how long the rules took."""
    given = json.loads(Path(rows).read_text(encoding="utf-8"))
    with np.load(vectors) as kept:
        known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
    rules = DomainDetector()
    mixed = SemanticDomainDetector(embedder=Served(known))
    told: dict[str, Any] = {"version": importlib.metadata.version("cascadeflow")}
    rules.detect("a first request, which compiles what is compiled once")
    times = []
    told["rules"] = []
    for text in given["texts"]:
        began = time.perf_counter()
        domain, _ = rules.detect(text)
        times.append(time.perf_counter() - began)
        told["rules"].append(domain.value)
    told["rules_s"] = times
    told["mixed"] = [mixed.detect(text)[0].value for text in given["texts"]]
    told["timed_s"] = timed_seconds(rules, given["timed"])
    Path(answers).write_text(json.dumps(told), encoding="utf-8")


def timed_seconds(rules: Any, texts: list[str]) -> list[float]:
    """The least time of each text, in seconds."""
    found = [float("inf")] * len(texts)
    for _ in range(PASSES):
        for at, text in enumerate(texts):
            began = time.perf_counter()
            rules.detect(text)
            found[at] = min(found[at], time.perf_counter() - began)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "exemplars":
        print(json.dumps([text for texts in DOMAIN_EXEMPLARS.values() for text in texts]))
    else:
        answer(*sys.argv[2:])
