"""What the scripts about the checks by local models share: evaluation data, vectors, figures."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascadeflow._native import Vectors
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.models.embedding_files import MINILM

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
DATA = Path(os.environ.get("CASCADEFLOW_DATA", HERE.parents[1] / "shared/data"))

DIMENSION = 384
LAYERS = 2
"""A layered vector holds the last layer's and behind it the fourth's."""

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def read(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def own(folder: str) -> list[dict[str, Any]]:
    """The rows of a training set in this folder."""
    return [
        json.loads(line)
        for path in sorted((HERE / folder).glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def vectors(texts: list[str], cache: Path | None = None) -> Floats:
    """The texts' layered vectors by all-MiniLM-L6-v2, from a file of them as far as it has them.

    Args:
        texts: what to embed.
        cache: an `.npz` that vectors are kept in from run to run; none are kept without.
    """
    known: dict[str, Floats] = {}
    if cache is not None and cache.exists():
        held = np.load(cache)
        known = dict(zip(held["digests"].tolist(), held["vectors"], strict=True))
    digests = [digest(text)[:20] for text in texts]
    missing = {each: text for each, text in zip(digests, texts, strict=True) if each not in known}
    if missing:
        model = SentenceModel.find()
        ordered = sorted(missing.items(), key=lambda pair: len(pair[1]))
        for at in range(0, len(ordered), 64):
            part = ordered[at : at + 64]
            rows = model.embed_layered([text for _, text in part])
            numbers = np.frombuffer(rows.tobytes(), np.float32).reshape(len(rows), -1)
            known.update(zip([each for each, _ in part], numbers, strict=True))
        if cache is not None:
            np.savez(cache, digests=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[each] for each in digests])


class CachedEmbedder:
    """all-MiniLM-L6-v2, remembering the vectors of `vectors`' file: an `Embedder`."""

    def __init__(self, cache: Path | None) -> None:
        self.name = MINILM
        self.dimension = DIMENSION
        self._cache = cache
        self._known: dict[str, Floats] = {}
        if cache is not None and cache.exists():
            held = np.load(cache)
            self._known = dict(zip(held["digests"].tolist(), held["vectors"], strict=True))
        self._new = 0

    def embed_layered(self, texts: Sequence[str]) -> Vectors:
        rows = []
        for text in texts:
            key = digest(text)[:20]
            if key not in self._known:
                found = SentenceModel.find().embed_layered([text])
                self._known[key] = np.frombuffer(found.tobytes(), np.float32)
                self._new += 1
            rows.append(self._known[key])
        return Vectors.from_bytes(np.stack(rows).astype("<f4").tobytes(), LAYERS * DIMENSION)

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self.embed_layered(texts).columns(0, DIMENSION)

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        return self.embed(texts)

    async def layered(self, texts: Sequence[str]) -> Vectors:
        return self.embed_layered(texts)

    def save(self) -> None:
        if self._cache is not None and self._new:
            known = self._known
            digests, rows = np.array(list(known)), np.stack(list(known.values()))
            np.savez(self._cache, digests=digests, vectors=rows)
            self._new = 0


def auc(flags: Flags, scores: Floats) -> float:
    """The chance that a flagged row scores above another; ties count half."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    if len(values) < len(scores):
        ranks = (np.bincount(inverse, ranks) / counts)[inverse]
    many = int(flags.sum())
    few = len(flags) - many
    return float((ranks[flags].sum() - many * (many + 1) / 2) / (many * few))


def auprc(flags: Flags, scores: Floats) -> float:
    """The mean precision over the flagged rows, ranked by score; equal scores are one rank."""
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(flags[order]), scores[order]
    last = np.append(ranked[1:] != ranked[:-1], [True])
    found, seen = hits[last], np.flatnonzero(last) + 1
    gained = np.diff(np.append([0], found))
    return float((gained * found / seen).sum() / flags.sum())


def f1(flags: Flags, said: Flags) -> float:
    both = int((flags & said).sum())
    return 2 * both / max(1, int(flags.sum() + said.sum()))
