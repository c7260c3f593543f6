"""Writes all-MiniLM-L6-v2 in eight bits as an ONNX graph without weights, and says what it keeps.

    python benches/make_minilm_int8.py graph [GRAPH]     # the graph that the package ships
    python benches/make_minilm_int8.py score [TEXTS]     # its vectors beside those of fp32

The weights are made from the official `model.safetensors` on the user's machine
(`cascadeflow.models.int8`); this graph says where in that file each of them lies. It is the graph
of `make_minilm_skeleton.py` with two changes: a row of the word table is eight bits and a scale of
its own; and a layer's weights are eight bits with a scale for each channel, multiplied as integers
with what comes in, scaled by the largest number in it (ONNX's dynamic quantisation).

`score` reads one text a line (by default the training requests of `benches/domain_training`), and
prints the cosine of each text's two vectors and how often its nearest neighbour stays the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from make_minilm_skeleton import Skeleton
from onnx import TensorProto, helper

from cascadeflow.models.int8 import Tensor, layout

GRAPH = Path(__file__).parents[1] / "python/cascadeflow/models/data/all-minilm-l6-v2-int8.onnx"
WEIGHTS = "model-int8.safetensors"
TRAINING = Path(__file__).parent / "domain_training"
TYPES = {"F32": TensorProto.FLOAT, "I8": TensorProto.INT8}


class Int8Skeleton(Skeleton):
    """The same graph over weights in eight bits."""

    def __init__(self) -> None:
        tensors, start = layout()
        self._tensors: dict[str, Tensor] = {tensor.name: tensor for tensor in tensors}
        self._data_starts = start
        self._initializers: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._scaled: dict[str, tuple[str, str, str]] = {}

    def weight(self, name: str) -> str:
        if name in {tensor.name for tensor in self._initializers}:
            return name
        entry = self._tensors[name]
        tensor = onnx.TensorProto(name=name, data_type=TYPES[entry.kind], dims=entry.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", WEIGHTS),
            ("offset", self._data_starts + entry.begin),
            ("length", entry.size),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers.append(tensor)
        return name

    def linear(self, states: str, name: str) -> str:
        """`states @ weight.T + bias`, the product in integers."""
        if states not in self._scaled:
            outputs = tuple(f"{states}_{part}" for part in ("eight_bits", "scale", "zero"))
            self._nodes.append(helper.make_node("DynamicQuantizeLinear", [states], outputs))
            self._scaled[states] = outputs
        eight_bits, scale, zero = self._scaled[states]
        product = self.node("MatMulInteger", eight_bits, self.weight(f"{name}.weight"), zero)
        scales = self.node("Mul", scale, self.weight(f"{name}.weight_scale"))
        product = self.node("Cast", product, to=TensorProto.FLOAT)
        return self.node("Add", self.node("Mul", product, scales), self.weight(f"{name}.bias"))

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        table = "embeddings.word_embeddings.weight"
        if operator != "Gather" or inputs[0] != table:
            return super().node(operator, *inputs, output=output, **options)
        words = super().node("Gather", table, inputs[1])
        scales = super().node("Gather", self.weight(f"{table}_scale"), inputs[1])
        return super().node("Mul", super().node("Cast", words, to=TensorProto.FLOAT), scales)


def texts_of(path: Path | None) -> list[str]:
    """One text a line; or a share of the requests written for this project."""
    if path is not None:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    requests = [
        str(json.loads(line)["text"])
        for file in sorted(TRAINING.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return requests[:: len(requests) // 1000]


def score(texts: list[str]) -> None:
    """Prints how far the vectors of eight bits are from those of fp32."""
    from cascadeflow.models.embedding import SentenceModel  # noqa: PLC0415

    def vectors(variant: Any) -> Any:
        embedded = SentenceModel.find(variant=variant).embed(texts)
        return np.frombuffer(embedded.tobytes(), "<f4").reshape(len(texts), -1)

    exact, rough = vectors("fp32"), vectors("int8")
    cosines = (exact * rough).sum(axis=1)
    among, rough_among = exact @ exact.T, rough @ rough.T
    moved = np.abs(among - rough_among)
    for cosine in (among, rough_among):
        np.fill_diagonal(cosine, -1)
    same = (among.argmax(axis=1) == rough_among.argmax(axis=1)).mean()
    print(f"{len(texts):,} texts, cosine of the two vectors of a text:")
    print(f"  mean {cosines.mean():.4f}, 1 % below {np.quantile(cosines, 0.01):.4f},", end=" ")
    print(f"least {cosines.min():.4f}")
    print(f"nearest neighbour the same: {same:.1%}")
    print(f"cosine of two texts moves by {moved.mean():.4f} in the mean, {moved.max():.4f} at most")


def main() -> None:
    """Writes the graph, or scores it."""
    match sys.argv[1:]:
        case ["graph", *rest] if len(rest) <= 1:
            graph = Path(rest[0]) if rest else GRAPH
            written = Int8Skeleton().model()
            graph.write_bytes(written)
            print(f"{graph}: {len(written):,} bytes")
        case ["score", *rest] if len(rest) <= 1:
            score(texts_of(Path(rest[0]) if rest else None))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
