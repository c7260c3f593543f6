"""What the tests of the checks by local models share: the sentence model, or a stand-in for it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from cascadeflow._native import Vectors
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import RequestVectors, SentenceModel
from cascadeflow.models.embedding_files import MINILM

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stranger:
    """An embedder whose vectors mean nothing, and which counts the texts it is given."""

    def __init__(self, name: str = MINILM) -> None:
        self.name = name
        self.dimension = 384
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._rows(texts, self.dimension)

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        return self.embed(texts)

    async def layered(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return self._rows(texts, 2 * self.dimension)

    @staticmethod
    def _rows(texts: Sequence[str], dimension: int) -> Vectors:
        rows = []
        for text in texts:
            seed = hashlib.sha256(text.encode()).digest()
            rows.append([(seed[at % 32] ^ at % 251) - 127.5 for at in range(dimension)])
        return Vectors(rows).normalised()


class Broken(Stranger):
    """An embedder that fails."""

    async def layered(self, texts: Sequence[str]) -> Vectors:
        raise ConfigurationError(f"no model for {len(texts)} texts")


def request() -> RequestVectors:
    """A request's vectors by the real model, as it is installed here."""
    try:
        return RequestVectors(SentenceModel.find())
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
