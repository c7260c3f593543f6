"""The rows that routes by examples are fitted on and those that they are judged by, apart.

Banking77 (CC-BY-4.0) and CLINC150 (CC-BY-3.0), under `CASCADEFLOW_DATA`. Fitted is on 60 intents
of CLINC150, on half of its out-of-scope rows, and on this project's own training set; judged by
other rows of all intents of CLINC150, 90 of which were not fitted on at all, the other half of the
out-of-scope rows, and Banking77, of which nothing was fitted on.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from cascadeflow.models.embedding import SentenceModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
SEED = 7
INTENTS_FITTED = 60
ROWS_FITTED = 30
ROWS_JUDGED = {"clinc150": 25, "banking77": 30}

Intents: TypeAlias = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts by intent, and texts that are of none."""

    fit: Intents
    fit_none: list[str]
    clinc150: Intents
    clinc150_none: list[str]
    banking77: Intents

    def unseen(self) -> Intents:
        """The intents of CLINC150 that were not fitted on."""
        return {intent: rows for intent, rows in self.clinc150.items() if intent not in self.fit}


def read() -> Rows:
    """Reads the rows and parts them, by a fixed seed."""
    folder = Path(os.environ.get("CASCADEFLOW_DATA", ROOT.parent / "shared" / "data")) / "routes"
    clinc, banking = _by_intent(folder, "clinc150_train"), _by_intent(folder, "banking77_train")
    none = clinc.pop("oos")
    chance = random.Random(SEED)
    fitted = set(chance.sample(sorted(clinc), INTENTS_FITTED))
    judged, fit = {}, {}
    for intent, rows in clinc.items():
        mixed, kept = chance.sample(rows, len(rows)), ROWS_JUDGED["clinc150"]
        judged[intent] = mixed[:kept]
        if intent in fitted:
            fit[intent] = mixed[kept : kept + ROWS_FITTED]
    none = chance.sample(none, len(none))
    half = len(none) // 2
    sampled = {
        intent: chance.sample(rows, min(ROWS_JUDGED["banking77"], len(rows)))
        for intent, rows in banking.items()
    }
    return Rows(fit, none[half:], judged, none[:half], sampled)


def own_rows(step: int) -> list[str]:
    """Gives every so manieth row of this project's own training set."""
    paths = sorted((ROOT / "benches" / "domain_training").glob("*.jsonl"))
    lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    return [json.loads(line)["text"] for line in lines[::step]]


class Embedded:
    """Texts' vectors of length one, each computed once; kept in a file where one is named."""

    def __init__(self, cache: Path | None) -> None:
        """Reads the file, if it is there."""
        self.model = SentenceModel.find()
        self._cache = cache
        self._known: dict[str, NDArray[np.float32]] = {}
        if cache is not None and cache.exists():
            with np.load(cache) as kept:
                texts, vectors = kept["texts"], kept["vectors"]
            self._known = dict(zip(texts.tolist(), vectors, strict=True))

    def add(self, texts: Iterable[str]) -> None:
        """Embeds what is not known yet."""
        new = sorted(set(texts) - self._known.keys(), key=len)
        for at in range(0, len(new), 64):
            part = new[at : at + 64]
            found = self.model.embed(part)
            rows = np.frombuffer(found.tobytes(), "<f4").reshape(len(part), -1)
            self._known.update(zip(part, rows, strict=True))
        if new and self._cache is not None:
            vectors = np.stack(list(self._known.values()))
            np.savez(self._cache, texts=np.array(list(self._known)), vectors=vectors)

    def __call__(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Gives the vectors of texts that were added, a row each."""
        return np.stack([self._known[text] for text in texts])


def _by_intent(folder: Path, name: str) -> Intents:
    found: dict[str, set[str]] = defaultdict(set)
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            found[row["label"]].add(row["text"])
    return {intent: sorted(rows) for intent, rows in sorted(found.items())}
