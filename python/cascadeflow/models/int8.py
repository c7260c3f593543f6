"""Makes all-MiniLM-L6-v2's weights in eight bits out of the official ones, on the user's machine.

A layer's weights get one scale for each channel that comes out, the word table one for each word;
what is small (biases, norms, the table of places) stays as it is. No other package is needed, and
the same input gives the same bytes on every machine, so that what was made is known by its hash as
the official weights are. `benches/make_minilm_int8.py` makes the graph that reads them.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Tensor", "layout", "write_int8"]

_LAYERS: Final = 6
_WIDTH: Final = 384
_INNER: Final = 1536
_WORDS: Final = 30_522
_PLACES: Final = 512
_WORD_TABLE: Final = "embeddings.word_embeddings.weight"

_LEVELS: Final = 127
"""The largest number of the word table."""

_LAYER_LEVELS: Final = 63
"""The largest number of a layer's weights: seven bits. Processors without VNNI add two products of
these with eight-bit numbers in sixteen bits, where larger ones would be cut off without a word: the
vectors would be worse, and not those of another machine."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers in a safetensors file.

    Attributes:
        name: what the file calls them; `…_scale` holds the scales of the one before it.
        kind: 32-bit floating point, or signed eight bits.
        shape: rows and columns, or a length.
        begin: where they begin, in bytes after the header.
    """

    name: str
    kind: Literal["F32", "I8"]
    shape: tuple[int, ...]
    begin: int

    @property
    def size(self) -> int:
        """Bytes."""
        numbers = 1
        for count in self.shape:
            numbers *= count
        return numbers * (4 if self.kind == "F32" else 1)


def layout() -> tuple[tuple[Tensor, ...], int]:
    """Gives the tensors of the file that `write_int8` writes, and where in it the first begins."""
    header, tensors = _layout()
    return tensors, len(header)


def write_int8(weights: Path, write: Callable[[bytes], object]) -> None:
    """Makes the weights in eight bits, a safetensors file of 23 MB: ten seconds of one core.

    Args:
        weights: the official `model.safetensors`.
        write: takes the file's bytes, in their order.

    Raises:
        ConfigurationError: the weights cannot be read or are another model's.
    """
    header, tensors = _layout()
    source = _Source(weights)
    write(header)
    made: dict[str, bytes] = {}
    for tensor in tensors:
        if tensor.kind == "F32" and not tensor.name.endswith("_scale"):
            write(source.bytes_of(tensor.name, tensor.shape))
            continue
        name = tensor.name.removesuffix("_scale")
        if name not in made:
            # Scales stand before their numbers: both are made when the first is asked for.
            shape = next(each.shape for each in tensors if each.name == name)
            made[f"{name}_scale"], made[name] = _quantised(source, name, shape)
        write(made.pop(tensor.name) if tensor.kind == "I8" else made[tensor.name])


def _quantised(source: _Source, name: str, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Scales and numbers: a layer's turned, as its graph multiplies them; a table's as they are."""
    turned = name != _WORD_TABLE
    rows, columns = shape[::-1] if turned else shape
    levels = _LAYER_LEVELS if turned else _LEVELS
    values = source.floats(name, (rows, columns))
    scales = array("f")
    numbers = array("b", bytes(rows * columns))
    for row in range(rows):
        line = values[row * columns : (row + 1) * columns]
        lowest, highest = min(line), max(line)
        scales.append(max(highest, -lowest) / levels or 1.0)
        # By the scale as it will be read, of 32 bits. `x / scale`, twice as fast without a loop.
        whole = array("b", map(round, map(scales[row].__rtruediv__, line)))
        if turned:
            numbers[row::rows] = whole
        else:
            numbers[row * columns : (row + 1) * columns] = whole
    if sys.byteorder == "big":
        scales.byteswap()
    return scales.tobytes(), numbers.tobytes()


class _Source:
    """The official file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                self._header: dict[str, Any] = json.loads(file.read(length))
        except (OSError, ValueError, struct.error, MemoryError, OverflowError) as error:
            raise ConfigurationError(f"{path} cannot be read as weights: {error}") from error
        self._start = 8 + length

    def bytes_of(self, name: str, shape: tuple[int, ...]) -> bytes:
        entry = self._header.get(name, {})
        if entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
            raise ConfigurationError(f"{self._path} holds no {name} as all-MiniLM-L6-v2 has it")
        begin, end = entry["data_offsets"]
        with self._path.open("rb") as file:
            file.seek(self._start + begin)
            return file.read(end - begin)

    def floats(self, name: str, shape: tuple[int, int]) -> array[float]:
        values = array("f", self.bytes_of(name, shape))
        if sys.byteorder == "big":
            values.byteswap()
        return values


def _layout() -> tuple[bytes, tuple[Tensor, ...]]:
    tensors: list[Tensor] = []
    entries: dict[str, dict[str, Any]] = {}
    begin = 0
    # Four bytes before one: so all of them lie where a processor likes to read them.
    for kind in ("F32", "I8"):
        for name, numbers, shape in _shapes():
            if numbers != kind:
                continue
            tensor = Tensor(name, numbers, shape, begin)
            end = begin + tensor.size
            entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}
            tensors.append(tensor)
            begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, tuple(tensors)


def _shapes() -> Iterator[tuple[str, Literal["F32", "I8"], tuple[int, ...]]]:
    yield f"{_WORD_TABLE}_scale", "F32", (_WORDS, 1)
    yield _WORD_TABLE, "I8", (_WORDS, _WIDTH)
    yield "embeddings.position_embeddings.weight", "F32", (_PLACES, _WIDTH)
    yield "embeddings.token_type_embeddings.weight", "F32", (2, _WIDTH)
    yield from _norm("embeddings")
    for layer in (f"encoder.layer.{number}" for number in range(_LAYERS)):
        attention = f"{layer}.attention"
        yield from chain(
            _linear(f"{attention}.self.query", _WIDTH, _WIDTH),
            _linear(f"{attention}.self.key", _WIDTH, _WIDTH),
            _linear(f"{attention}.self.value", _WIDTH, _WIDTH),
            _linear(f"{attention}.output.dense", _WIDTH, _WIDTH),
            _norm(f"{attention}.output"),
            _linear(f"{layer}.intermediate.dense", _WIDTH, _INNER),
            _linear(f"{layer}.output.dense", _INNER, _WIDTH),
            _norm(f"{layer}.output"),
        )


def _norm(name: str) -> Iterator[tuple[str, Literal["F32", "I8"], tuple[int, ...]]]:
    for part in ("weight", "bias"):
        yield f"{name}.LayerNorm.{part}", "F32", (_WIDTH,)


def _linear(
    name: str, inputs: int, outputs: int
) -> Iterator[tuple[str, Literal["F32", "I8"], tuple[int, ...]]]:
    yield f"{name}.weight_scale", "F32", (outputs,)
    yield f"{name}.weight", "I8", (inputs, outputs)
    yield f"{name}.bias", "F32", (outputs,)
