"""Writes all-MiniLM-L6-v2 as an ONNX graph without weights: they are read from the official file.

    python benches/make_minilm_skeleton.py WEIGHTS [GRAPH]

`WEIGHTS` is the model's official `model.safetensors`, of which the header alone is read; `GRAPH` is
where the graph goes, by default where the package keeps it. Each of the graph's weights is a length
and an offset into that very file (ONNX's external data), so 25 KB are all that has to be shipped.

The arithmetic is that of `transformers.BertModel` with the model's `config.json`: 6 layers of 384
numbers, 12 heads of 32, an intermediate layer of 1,536 with the exact GELU, LayerNorm's epsilon
1e-12. Mean and scaling to length one are left to who reads `last_hidden_state`, or
`layered_states`, which has the states of layer 4 beside those of the last.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GRAPH = Path(__file__).parents[1] / "python/cascadeflow/models/data/all-minilm-l6-v2.onnx"

LAYERS = 6
WIDTH = 384
HEADS = 12
HEAD = WIDTH // HEADS
EPSILON = 1e-12
INNER = 4
"""The layer whose states stand beside the last one's in `layered_states`. The last layer is trained
to tell what a text is about; what is to be done with it is easier to read further in."""
FAR = np.float32(-3.4e38)
"""What is added to the score of a token that is padding: nothing is left of it after softmax."""

OPSET, IR_VERSION = 17, 8
"""The oldest that have LayerNormalization, which every supported runtime reads."""


class Skeleton:
    """A graph that grows node by node; its weights point into a safetensors file."""

    def __init__(self, weights: Path) -> None:
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            self._header: dict[str, Any] = json.loads(file.read(length))
        self._data_starts = 8 + length
        self._initializers: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def weight(self, name: str) -> str:
        """One of the file's tensors."""
        entry = self._header[name]
        if entry["dtype"] != "F32":
            sys.exit(f"{name} is {entry['dtype']}, not F32: this is another model")
        start, end = entry["data_offsets"]
        tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", "model.safetensors"),
            ("offset", self._data_starts + start),
            ("length", end - start),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers.append(tensor)
        return name

    def constant(self, value: Any) -> str:
        """Numbers inside the graph."""
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **options: Any) -> str:
        """An operation with one output."""
        name = output or f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **options))
        return name

    def linear(self, states: str, name: str) -> str:
        """`states @ weight.T + bias`."""
        turned = self.node("Transpose", self.weight(f"{name}.weight"), perm=[1, 0])
        return self.node("Add", self.node("MatMul", states, turned), self.weight(f"{name}.bias"))

    def normalised(self, states: str, name: str) -> str:
        """LayerNorm over the last axis."""
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node(
            "LayerNormalization", states, scale, shift, axis=-1, epsilon=EPSILON
        )  # fmt: skip

    def embedded(self) -> str:
        """Words, kinds and places, added up."""
        zero, one = self.constant(0), self.constant(1)
        length = self.node("Gather", self.node("Shape", "input_ids"), one)
        places = self.node("Range", zero, length, one)
        word_table = self.weight("embeddings.word_embeddings.weight")
        words = self.node("Gather", word_table, "input_ids")
        kind_table = self.weight("embeddings.token_type_embeddings.weight")
        kinds = self.node("Gather", kind_table, "token_type_ids")
        place_table = self.weight("embeddings.position_embeddings.weight")
        placed = self.node("Gather", place_table, places)
        total = self.node("Add", self.node("Add", words, kinds), placed)
        return self.normalised(total, "embeddings.LayerNorm")

    def penalties(self) -> str:
        """What padding's scores get added: batch, 1, 1, tokens."""
        seen = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        unseen = self.node("Sub", self.constant(np.float32(1)), seen)
        penalty = self.node("Mul", unseen, self.constant(FAR))
        return self.node("Unsqueeze", penalty, self.constant([1, 2]))

    def attention(self, states: str, layer: str, penalties: str) -> str:
        """Each token's mean over all tokens, by what each asks and what each offers."""
        apart = self.constant([0, 0, HEADS, HEAD])

        def heads(name: str, axes: list[int]) -> str:
            flat = self.linear(states, f"{layer}.attention.self.{name}")
            return self.node("Transpose", self.node("Reshape", flat, apart), perm=axes)

        query, key = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1])
        scale = self.constant(np.float32(HEAD**-0.5))
        scores = self.node("Mul", self.node("MatMul", query, key), scale)
        shares = self.node("Softmax", self.node("Add", scores, penalties), axis=-1)
        means = self.node("MatMul", shares, heads("value", [0, 2, 1, 3]))
        turned = self.node("Transpose", means, perm=[0, 2, 1, 3])
        together = self.node("Reshape", turned, self.constant([0, 0, WIDTH]))
        return self.linear(together, f"{layer}.attention.output.dense")

    def gelu(self, states: str) -> str:
        """`x / 2 * (1 + erf(x / sqrt(2)))`."""
        half, one = self.constant(np.float32(0.5)), self.constant(np.float32(1))
        root = self.constant(np.float32(2**0.5))
        risen = self.node("Add", self.node("Erf", self.node("Div", states, root)), one)
        return self.node("Mul", self.node("Mul", states, half), risen)

    def layer(self, states: str, number: int, penalties: str) -> str:
        """One of the encoder's layers."""
        name = f"encoder.layer.{number}"
        attended = self.node("Add", self.attention(states, name, penalties), states)
        states = self.normalised(attended, f"{name}.attention.output.LayerNorm")
        wide = self.gelu(self.linear(states, f"{name}.intermediate.dense"))
        narrow = self.node("Add", self.linear(wide, f"{name}.output.dense"), states)
        return self.normalised(narrow, f"{name}.output.LayerNorm")

    def model(self) -> bytes:
        """The whole graph."""
        states, penalties = self.embedded(), self.penalties()
        inner = states
        for number in range(LAYERS):
            states = self.layer(states, number, penalties)
            if number + 1 == INNER:
                inner = states
        self.node("Identity", states, output="last_hidden_state")
        self.node("Concat", states, inner, output="layered_states", axis=-1)
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", width])
            for name, width in (("last_hidden_state", WIDTH), ("layered_states", 2 * WIDTH))
        ]
        graph = helper.make_graph(
            self._nodes, "all-MiniLM-L6-v2", inputs, outputs, self._initializers
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        written: bytes = model.SerializeToString(deterministic=True)
        return written


def main() -> None:
    """Writes the graph."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    graph = Path(sys.argv[2]) if len(sys.argv) == 3 else GRAPH
    written = Skeleton(Path(sys.argv[1])).model()
    graph.write_bytes(written)
    print(f"{graph}: {len(written):,} bytes")


if __name__ == "__main__":
    main()
