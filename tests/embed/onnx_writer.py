"""Writes tiny models and tokenizers: a layer of attention over an embedding table, and words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["the", "cat", "sat", "on", "a", "mat", "who", "pays", "for", "tokens", "?", "##s", "é"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
WIDTH = 8
POSITIONS = 64


def write_tokenizer(path: Path, *, special: bool = True, bake: bool = False) -> Path:
    """A WordPiece `tokenizer.json` of a BERT; baked in, if asked for: truncation to 4, padding."""
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
        )
    if bake:
        tokenizer.enable_truncation(4, direction="left")
        tokenizer.enable_padding(length=16, pad_id=ids["[PAD]"], pad_token="[PAD]")
    tokenizer.save(str(path))
    if bake:
        assert json.loads(path.read_text())["truncation"]["max_length"] == 4
    return path


class Graph:
    """Builds one graph: `hidden` over the inputs, then the outputs that a test asks for."""

    def __init__(self, *, seed: int = 7, types: bool = True, mask: bool = True) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"])]
        self.weight("table", (len(VOCABULARY), WIDTH))
        self.weight("positions", (POSITIONS, WIDTH))
        self.constant("zero", np.array(0))
        self.constant("one", np.array(1))
        self.node("Gather", ["table", "input_ids"], "words")
        self.node("Shape", ["input_ids"], "shape")
        self.node("Gather", ["shape", "one"], "length")
        self.node("Range", ["zero", "length", "one"], "range")
        self.node("Gather", ["positions", "range"], "places")
        self.node("Add", ["words", "places"], "placed")
        states = "placed"
        if types:
            self.add_input("token_type_ids")
            self.weight("kinds", (2, WIDTH))
            self.node("Gather", ["kinds", "token_type_ids"], "kind")
            self.node("Add", [states, "kind"], "typed")
            states = "typed"
        self.node("Transpose", [states], "turned", perm=[0, 2, 1])
        self.node("MatMul", [states, "turned"], "scores")
        if mask:
            self.add_input("attention_mask")
            self.constant("axis", np.array([1]))
            self.constant("one_float", np.array(1.0, np.float32))
            self.constant("far", np.array(-1e9, np.float32))
            self.node("Cast", ["attention_mask"], "seen", to=TensorProto.FLOAT)
            self.node("Sub", ["one_float", "seen"], "unseen")
            self.node("Mul", ["unseen", "far"], "penalty")
            self.node("Unsqueeze", ["penalty", "axis"], "penalties")
            self.node("Add", ["scores", "penalties"], "masked")
        self.node("Softmax", ["masked" if mask else "scores"], "attention", axis=-1)
        self.node("MatMul", ["attention", states], "hidden")
        self.node("Gather", ["hidden", "zero"], "first", axis=1)

    def add_input(
        self, name: str, element: int = TensorProto.INT64, shape: tuple[Any, ...] = ("b", "s")
    ) -> Graph:
        self.inputs.append(helper.make_tensor_value_info(name, element, list(shape)))
        return self

    def fixed(self, *, batch: int | None = None, length: int | None = None) -> Graph:
        """The same graph for texts of one length, or so many at once, as a static export is."""
        for each in self.inputs:
            for axis, size in enumerate((batch, length)):
                if size is not None:
                    each.type.tensor_type.shape.dim[axis].dim_value = size
        return self

    def constant(self, name: str, values: np.ndarray[Any, Any]) -> None:
        self.weights.append(numpy_helper.from_array(values, name))

    def weight(self, name: str, shape: tuple[int, ...]) -> None:
        self.constant(name, self.random.normal(size=shape).astype(np.float32))

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def output(self, name: str, shape: list[Any], element: int = TensorProto.FLOAT) -> Graph:
        self.outputs.append(helper.make_tensor_value_info(name, element, shape))
        return self

    def hidden_as(self, name: str = "last_hidden_state") -> Graph:
        """Every token's vector."""
        self.node("Identity", ["hidden"], name)
        return self.output(name, ["b", "s", WIDTH])

    def first_as(self, name: str = "sentence_embedding") -> Graph:
        """The first token's vector."""
        self.node("Identity", ["first"], name)
        return self.output(name, ["b", WIDTH])

    def logits_as(self, labels: int, name: str = "logits") -> Graph:
        """A score a label, from the first token's vector."""
        self.weight("head", (WIDTH, labels))
        self.node("MatMul", ["first", "head"], name)
        return self.output(name, ["b", labels])

    def quantised_as(self, name: str = "last_hidden_state") -> Graph:
        """Every token's vector through eight bits, scaled by the whole batch, as dynamic int8."""
        self.nodes.append(
            helper.make_node("DynamicQuantizeLinear", ["hidden"], ["bits", "scale", "nought"])
        )
        self.node("DequantizeLinear", ["bits", "scale", "nought"], name)
        return self.output(name, ["b", "s", WIDTH])

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "tiny", self.inputs, self.outputs, self.weights)
        # Old enough for every runtime that is supported.
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def save(self, path: Path) -> Path:
        onnx.save_model(self.model(), str(path))
        return path

    def save_apart(self, path: Path, location: str) -> Path:
        """The graph at `path`, its weights in the file `location` beside it.

        Constants that shapes are inferred from stay inside, as they must.
        """
        onnx.save_model(
            self.model(),
            str(path),
            save_as_external_data=True,
            location=location,
            size_threshold=90,
        )
        return path

    def save_in_files(self, path: Path) -> Path:
        """The graph at `path`, each weight in a file of its own beside it."""
        onnx.save_model(
            self.model(),
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=False,
            size_threshold=90,
        )
        return path
