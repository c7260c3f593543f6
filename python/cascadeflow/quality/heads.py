"""The small heads of the checks by local models: reading their files, computing their log-odds.

They run without numpy: matrices are `Vectors`, multiplied in Rust.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from array import array
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import Vectors
from cascadeflow.errors import CascadeFlowError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    _Head = TypeVar("_Head")

__all__ = ["LinearHead", "Network", "Numbers", "clipped", "probability", "read_head", "whole"]

READ: Final = 4_000
"""Characters of a text that are handed to a sentence model: more than its 256 tokens hold, but for
words without end."""


def probability(logit: float) -> float:
    """The probability of log-odds.

    >>> probability(0.0)
    0.5
    """
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    power = math.exp(max(logit, -700.0))
    return power / (1.0 + power)


def whole(text: str) -> str:
    """The text without halves of surrogate pairs, as JSON may carry them: they are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clipped(text: str) -> str:
    """As much of a text as a sentence model is given."""
    return text if len(text) <= READ else text[:READ]


class LinearHead:
    """A logistic model over some of a list of named numbers.

    Attributes:
        names: what it weighs.
    """

    __slots__ = ("_bias", "_parts", "names")

    def __init__(self, weights: dict[str, float], bias: float, *, of: tuple[str, ...]) -> None:
        """Takes the weights by name.

        Args:
            weights: the weight of each number that has one.
            bias: the intercept.
            of: the names of all numbers, in their order.

        Raises:
            ValueError: a weight is of something else, or is not finite.
        """
        if not all(math.isfinite(each) for each in (*weights.values(), bias)):
            raise ValueError("a weight is not finite")
        self.names: Final = tuple(weights)
        self._parts: Final = [(of.index(name), weight) for name, weight in weights.items()]
        self._bias: Final = bias

    def logit(self, values: Sequence[float]) -> float:
        """Gives the log-odds of the numbers.

        >>> LinearHead({"length": 2.0}, -1.0, of=("width", "length")).logit([7.0, 3.0])
        5.0
        """
        return self._bias + math.fsum([weight * values[place] for place, weight in self._parts])


class Network:
    """One hidden layer of rectified sums over a vector, then log-odds."""

    __slots__ = ("_bias", "_hidden", "_hidden_bias", "_out")

    def __init__(self, numbers: Numbers, *, dimension: int, hidden: int) -> None:
        """Takes its matrices off the numbers.

        Raises:
            ValueError: they are too few.
        """
        self._hidden = numbers.rows(hidden, dimension)
        self._hidden_bias = numbers.floats(hidden)
        self._out = numbers.floats(hidden)
        (self._bias,) = numbers.floats(1)

    def logit(self, vector: Vectors) -> float:
        """Gives the log-odds of one vector.

        Raises:
            InvalidRequestError: it is of another dimension.
        """
        parts = zip(vector.dots(self._hidden)[0], self._hidden_bias, self._out, strict=True)
        return self._bias + math.fsum([max(0.0, dot + bias) * out for dot, bias, out in parts])


class Numbers:
    """Takes numbers off a run of bytes: little-endian 16-bit floats, or bytes as they are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            ValueError: there are too few.
        """
        taken = self._data[self._at : self._at + size]
        if size < 0 or len(taken) < size:
            raise ValueError(f"{len(self._data)} bytes of numbers are too few")
        self._at += size
        return taken

    def floats(self, count: int) -> tuple[float, ...]:
        """The next floats."""
        return struct.unpack(f"<{count}e", self.take(2 * count))

    def rows(self, count: int, dimension: int) -> Vectors:
        """The next rows of a matrix."""
        numbers = array("f", self.floats(count * dimension))
        if sys.byteorder == "big":
            numbers.byteswap()
        return Vectors.from_bytes(numbers.tobytes(), dimension)

    def end(self) -> None:
        """Says that nothing more may come.

        Raises:
            ValueError: there is more.
        """
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes more than announced")


def read_head(
    path: Path, what: str, form: int, make: Callable[[dict[str, Any], Numbers], _Head]
) -> _Head:
    """Reads a head: one line of JSON, then numbers.

    Args:
        path: the file.
        what: what to call it in an error.
        form: the format that this version reads.
        make: makes the head of what the file says of itself, and of its numbers.

    Raises:
        ConfigurationError: the file is missing, damaged or of another format.
    """
    try:
        line, _, numbers = path.read_bytes().partition(b"\n")
        header = json.loads(line)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the {what} {path} cannot be read: {error}") from error
    if not isinstance(header, dict) or "format" not in header:
        raise ConfigurationError(f"{path} is no {what}")
    if header["format"] != form:
        raise ConfigurationError(
            f"the {what} {path} is of format {header['format']!r}, not of {form}: it belongs to "
            "another version of cascadeflow"
        )
    rest = Numbers(numbers)
    try:
        head = make(header, rest)
        rest.end()
    except (KeyError, TypeError, ValueError, struct.error, CascadeFlowError) as error:
        raise ConfigurationError(f"the {what} {path} is damaged: {error!r}") from error
    return head
