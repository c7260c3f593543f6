"""Judges answers with PyPI's cascadeflow; run by `quality_peers.py` in an environment of its own.

    python cascadeflow_peer_quality.py JUDGED.json VECTORS.npy SAID.json

Answers are judged as its cascade judges a draft, by its parts in turn:

* `ProductionConfidenceEstimator` makes a confidence of question and answer (hedging, completeness,
  likeness in words, difficulty). It would take log-probabilities too; no recorded answer has any.
* `QualityValidator` with `QualityConfig.for_cascade()`, its agent's default, holds that confidence
  and the text to its checks; it detects the question's complexity itself. Its score is the weight
  of the checks that passed. Its thresholds that move with what was judged before are off, so that
  the order of the rows decides nothing.
* `SemanticQualityChecker` compares vectors of question and answer. Its own model, bge-small by
  fastembed, is fetched from a hub; vectors of all-MiniLM-L6-v2 that were made before stand in.

Texts of which only the toxicity is known go to that checker's list of words, and to
`ContentModerator`, the patterns of its guardrails.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cascadeflow.guardrails.content_moderator import (  # type: ignore[import-not-found]
    ContentModerator,
)
from cascadeflow.ml.embedding import UnifiedEmbeddingService  # type: ignore[import-not-found]

from cascadeflow.quality import (  # type: ignore[attr-defined]
    ProductionConfidenceEstimator,
    QualityConfig,
    QualityValidator,
    SemanticQualityChecker,
)


class Served(UnifiedEmbeddingService):  # type: ignore[misc]
    """Gives vectors that were made before."""

    def __init__(self, known: dict[str, Any]) -> None:
        super().__init__("sentence-transformers/all-MiniLM-L6-v2")
        self._known = known

    @property
    def is_available(self) -> bool:
        return True

    def embed(self, text: str) -> Any:
        return self._known[text]


def main(judged: str, vectors: str, said: str) -> None:
    """Judges every answer and every text."""
    logging.disable(logging.CRITICAL)  # it writes a line for each draft
    given = json.loads(Path(judged).read_text(encoding="utf-8"))
    known = dict(zip(given["embedded"], np.load(vectors), strict=True))
    config = QualityConfig.for_cascade()
    config.enable_adaptive = False
    validator, estimator = QualityValidator(config), ProductionConfidenceEstimator()
    checker, moderator = SemanticQualityChecker(embedder=Served(known)), ContentModerator()
    answers = []
    for query, response, finish_reason in given["answers"]:
        confidence = estimator.estimate(
            response, query=query, finish_reason=finish_reason
        ).final_confidence
        found = validator.validate(response, query, confidence)
        alike = checker.validate(query, response)
        answers.append(
            {
                "validator": [float(found.score), bool(found.passed)],
                "confidence": [float(confidence), bool(found.checks["confidence"])],
                "similarity": [float(alike.similarity), bool(alike.passed)],
            }
        )
    texts = []
    for text in given["texts"]:
        toxic, score = checker.check_toxicity(text)
        safe = moderator.check(text).is_safe
        texts.append(
            {"word list": [1.0 - score, not toxic], "moderator": [float(safe), bool(safe)]}
        )
    told = {
        "version": importlib.metadata.version("cascadeflow"),
        "answers": answers,
        "texts": texts,
    }
    Path(said).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
