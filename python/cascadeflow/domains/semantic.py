"""The second layer's head: a sentence's vector and the rules' evidence to calibrated probabilities.

`benches/fit_domains.py` fits it and writes `data/semantic.bin`; `data/CARD.md` says from what, and
how well it does. It runs without numpy: its matrices are `Vectors`, multiplied in Rust.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from array import array
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import Vectors
from cascadeflow.domains.records import Evidence, LayerReport
from cascadeflow.errors import CascadeFlowError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HEAD", "SemanticHead", "read_head"]

HEAD: Final = Path(__file__).with_name("data") / "semantic.bin"
"""The head that is shipped."""

FORMAT: Final = 2
_EXAMPLES_SHOWN: Final = 3
_QUOTED: Final = 80
"""Characters of an example's text that a report quotes."""


class SemanticHead:
    """A classifier over one sentence model's vectors. Immutable; use it from any thread.

    Attributes:
        model: the name of the sentence model whose vectors it reads, as `Embedder.name` gives it.
        domains: what it tells apart, in the order of `probabilities`.
        threshold: the least probability at which its likeliest domain is an answer; below, the
            request is nobody's: `general`, or a model is asked.
        also: the least probability at which a further domain is worth naming beside the likeliest.
        evidence_names: the numbers of the rules' evidence that it reads, by name, in their order.
    """

    __slots__ = (
        "_bias",
        "_dimension",
        "_examples",
        "_hidden",
        "_hidden_bias",
        "_hidden_evidence",
        "_texts",
        "_weights",
        "also",
        "domains",
        "evidence_names",
        "model",
        "threshold",
    )

    def __init__(self, header: dict[str, Any], numbers: bytes) -> None:
        """Use `builtin` or `read_head`.

        Args:
            header: what the file says of itself.
            numbers: the matrices it announces, one after another.

        Raises:
            ConfigurationError: the file is of another format or not whole.
        """
        if header.get("format") != FORMAT:
            raise ConfigurationError(
                f"the domain head is of format {header.get('format')!r}, not of {FORMAT}: it "
                "belongs to another version of cascadeflow"
            )
        self.model: Final[str] = header["model"]
        self.domains: Final[tuple[str, ...]] = tuple(header["domains"])
        self.threshold: Final[float] = header["threshold"]
        self.also: Final[float] = header["also"]
        self.evidence_names: Final[tuple[str, ...]] = tuple(header["evidence"])
        # What it reads, and the sentence's vector in front of it.
        layered, self._dimension = header["layered"], header["dimension"]
        hidden, labels = header["hidden"], len(self.domains)
        self._texts: Final = tuple([(text, domain) for text, domain in header["examples"]])
        reader = _Reader(numbers)
        self._hidden = reader.rows(hidden, layered)
        self._hidden_evidence = reader.rows(hidden, len(self.evidence_names))
        self._hidden_bias = reader.floats(hidden)
        self._weights = reader.rows(labels, hidden)
        self._bias = reader.floats(labels)
        self._examples = reader.quantised(len(self._texts), self._dimension)
        reader.end()

    @staticmethod
    def builtin() -> SemanticHead:
        """Gives the shipped head, read once a process: some milliseconds.

        Raises:
            ConfigurationError: its file is missing or damaged.
        """
        return _builtin()

    def probabilities(self, vector: Vectors, evidence: Sequence[float]) -> list[float]:
        """Gives the probability of each of `domains`; they add up to 1.

        Args:
            vector: one vector of the model that `model` names, its inner layer's behind it
                (`SentenceModel.embed_layered`).
            evidence: the rules' numbers that `evidence_names` names, in that order.

        Raises:
            ValueError: there is not one vector, or not as many numbers of evidence as names.
            InvalidRequestError: the vector is of another dimension, or a number is not finite.
        """
        if len(vector) != 1:
            raise ValueError(f"the head reads one vector at a time, not {len(vector)}")
        if len(evidence) != len(self.evidence_names):
            raise ValueError(
                f"{len(evidence)} numbers of evidence, where the head was fitted on "
                f"{len(self.evidence_names)}: evidence_names names them"
            )
        sums = zip(
            vector.dots(self._hidden)[0],
            Vectors([evidence]).dots(self._hidden_evidence)[0],
            self._hidden_bias,
            strict=True,
        )
        inside = Vectors([[max(0.0, said + told + bias) for said, told, bias in sums]])
        scores = [
            dot + bias for dot, bias in zip(inside.dots(self._weights)[0], self._bias, strict=True)
        ]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        total = sum(powers)
        return [power / total for power in powers]

    def nearest(self, vector: Vectors, k: int = _EXAMPLES_SHOWN) -> tuple[Evidence, ...]:
        """Gives the `k` training examples nearest to a vector, with their cosine, nearest first.

        They explain; the probabilities do not come from them. A few hundred of the project's own
        training requests are shipped for this. What follows the sentence's vector is not looked at.
        """
        if vector.dimension > self._dimension:
            vector = vector.columns(0, self._dimension)
        return tuple(
            [
                Evidence(_quoted(self._texts[row][0]), self._texts[row][1], round(cosine, 4))
                for row, cosine in self._examples.top_k(vector, k)
            ]
        )

    def report(self, vector: Vectors, evidence: Sequence[float], *, ms: float = 0.0) -> LayerReport:
        """Says what the layer makes of a request; see `probabilities` for arguments and errors.

        Args:
            vector: the request's vector.
            evidence: the rules' evidence for it.
            ms: how long its vector took, waits included.
        """
        found = zip(self.domains, self.probabilities(vector, evidence), strict=True)
        ranked = sorted(found, key=_by_probability)
        return LayerReport(
            layer="semantic",
            probabilities=tuple(ranked),
            answered=ranked[0][1] >= self.threshold,
            threshold=self.threshold,
            evidence=self.nearest(vector),
            ms=ms,
        )

    def __repr__(self) -> str:
        return f"SemanticHead({len(self.domains)} domains over {self.model})"


def read_head(path: Path) -> SemanticHead:
    """Reads a head that `benches/fit_domains.py` wrote.

    The file is one line of JSON, then little-endian 16-bit floats, then the examples' vectors as
    signed bytes.

    Raises:
        ConfigurationError: the file is missing, damaged or of another format.
    """
    try:
        line, _, numbers = path.read_bytes().partition(b"\n")
        header = json.loads(line)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the domain head {path} cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise ConfigurationError(f"{path} is no domain head")
    try:
        return SemanticHead(header, numbers)
    except ConfigurationError:
        raise
    except (KeyError, TypeError, ValueError, CascadeFlowError) as error:
        raise ConfigurationError(f"the domain head {path} is damaged: {error!r}") from error


@cache
def _builtin() -> SemanticHead:
    return read_head(HEAD)


def _by_probability(pair: tuple[str, float]) -> float:
    return -pair[1]


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"


class _Reader:
    """Takes matrices off a run of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise ValueError(f"{len(self._data)} bytes of numbers are too few")
        self._at += size
        return taken

    def floats(self, count: int) -> tuple[float, ...]:
        return struct.unpack(f"<{count}e", self._take(2 * count))

    def rows(self, count: int, dimension: int) -> Vectors:
        numbers = array("f", self.floats(count * dimension))
        if sys.byteorder == "big":
            numbers.byteswap()
        return Vectors.from_bytes(numbers.tobytes(), dimension)

    def quantised(self, count: int, dimension: int) -> Vectors:
        """Rows of signed bytes, each scaled to length one."""
        numbers = array("b", self._take(count * dimension))
        rows = [numbers[at : at + dimension] for at in range(0, len(numbers), dimension)]
        return Vectors(rows).normalised()

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes more than announced")
