"""all-MiniLM-L6-v2 in eight bits: made here, known by its hash, and near to the official one."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cascadeflow.errors import ConfigurationError
from cascadeflow.models import int8
from cascadeflow.models.embedding import SentenceModel, loaded_sentence_models
from cascadeflow.models.embedding_files import (
    GRAPH_INT8,
    MINILM_INT8,
    WEIGHTS_INT8,
    WEIGHTS_INT8_NAME,
    WEIGHTS_NAME,
    find_sentence_files,
    models_folder,
)
from cascadeflow.models.local_models import inventory, verify
from cascadeflow.models.pull import pull

if TYPE_CHECKING:
    from cascadeflow._native import Vectors

Array = np.ndarray[Any, Any]

TEXTS = [
    "What is the capital of France?",
    "Quelle est la capitale de la France ?",
    "def add(a, b):\n    return a + b\n",
    "Write a limerick about a teacher who sells nine books a day.",
    "My card was charged twice, please refund one of the payments.",
    "a somewhat longer text about the weather in the mountains " * 12,
    "",
    "?",
]


@pytest.fixture(scope="module")
def official() -> Path:
    """The folder of the official files, found on this machine."""
    try:
        return find_sentence_files()[0].external_data[WEIGHTS_NAME].parent
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rough(official: Path) -> SentenceModel:
    """The model in eight bits, made once for all these tests."""
    before = SentenceModel.find(official, variant="int8", threads=1)
    assert before.name == MINILM_INT8
    assert pull("all-MiniLM-L6-v2-int8").how == "made"
    assert pull("all-MiniLM-L6-v2-int8").how == "here"
    model = SentenceModel.find(official, variant="int8", threads=1)
    assert model is before, "made or yet to be made: it is opened once"
    return model


def array(vectors: Vectors) -> Array:
    return np.frombuffer(vectors.tobytes(), "<f4").reshape(len(vectors), -1)


def test_what_is_made_has_the_known_hash_and_is_found(rough: SentenceModel) -> None:
    folder = models_folder() / "all-MiniLM-L6-v2-int8"
    assert WEIGHTS_INT8.is_at(folder / WEIGHTS_INT8_NAME)
    assert find_sentence_files(variant="int8")[0].made_of is None
    assert {report.state for report in verify("all-MiniLM-L6-v2-int8")} == {"right"}
    status = next(each for each in inventory() if each.model.variant == "int8")
    assert (status.path, status.verified) == (folder, True)
    assert rough.dimension == 384


def test_its_vectors_are_near_the_official_ones_and_its_name_is_another(
    official: Path, rough: SentenceModel
) -> None:
    exact = SentenceModel.find(official, threads=1)
    have, want = array(rough.embed(TEXTS)), array(exact.embed(TEXTS))
    cosines = (have * want).sum(axis=1)
    assert cosines.mean() > 0.985
    assert cosines.min() > 0.96
    assert np.abs(np.linalg.norm(have, axis=1) - 1).max() < 1e-5
    assert rough.name != exact.name
    assert rough in loaded_sentence_models()
    status = next(each for each in inventory() if each.model.variant == "int8")
    assert status.loaded == 1


def test_a_text_has_the_same_vector_whatever_it_is_asked_together_with(
    rough: SentenceModel,
) -> None:
    together = array(rough.embed(TEXTS))
    alone = np.concatenate([array(rough.embed([text])) for text in TEXTS])
    assert np.array_equal(together, alone)


def test_the_shipped_graph_reads_the_file_that_is_made() -> None:
    from onnx import load  # noqa: PLC0415

    tensors, start = int8.layout()
    graph = load(GRAPH_INT8, load_external_data=False).graph
    read = {}
    for tensor in graph.initializer:
        where = {entry.key: entry.value for entry in tensor.external_data}
        if where:
            assert where["location"] == WEIGHTS_INT8_NAME
            read[tensor.name] = (int(where["offset"]), int(where["length"]), tuple(tensor.dims))
    assert read == {each.name: (start + each.begin, each.size, each.shape) for each in tensors}
    assert start + tensors[-1].begin + tensors[-1].size == WEIGHTS_INT8.size


def test_the_shipped_graph_is_what_its_generator_writes(tmp_path: Path) -> None:
    generator = Path(__file__).parents[2] / "benches" / "make_minilm_int8.py"
    command = [sys.executable, generator, "graph", tmp_path / "graph.onnx"]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "graph.onnx").read_bytes() == GRAPH_INT8.read_bytes()


def small_model(monkeypatch: pytest.MonkeyPatch) -> dict[str, Array]:
    """A model of the same make with a handful of numbers, one row of them zero."""
    for name, number in {
        "_LAYERS": 1, "_WIDTH": 6, "_INNER": 10, "_WORDS": 7, "_PLACES": 3,
    }.items():  # fmt: skip
        monkeypatch.setattr(int8, name, number)
    numbers = np.random.default_rng(5)
    weights = {}
    for tensor in int8.layout()[0]:
        if tensor.name.endswith("_scale"):
            continue
        shape = tensor.shape
        if tensor.kind == "I8" and "word" not in tensor.name:
            shape = shape[::-1]
        weights[tensor.name] = numbers.normal(size=shape).astype("<f4")
    weights["embeddings.word_embeddings.weight"][3] = 0
    return weights


def write_safetensors(path: Path, weights: dict[str, Array]) -> Path:
    entries, begin = {}, 0
    for name, values in weights.items():
        end = begin + values.nbytes
        entries[name] = {
            "dtype": "F32", "shape": list(values.shape), "data_offsets": [begin, end],
        }  # fmt: skip
        begin = end
    header = json.dumps(entries).encode()
    body = b"".join(values.tobytes() for values in weights.values())
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    return path


def made(path: Path) -> dict[str, Array]:
    """What is made of a file, as numpy reads it back by the header."""
    out = bytearray()
    int8.write_int8(path, out.extend)
    (length,) = struct.unpack_from("<Q", out)
    assert (8 + length) % 8 == 0
    header = json.loads(out[8 : 8 + length])
    kinds = {"F32": "<f4", "I8": "i1"}
    read = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = bytes(out[8 + length + begin : 8 + length + end])
        read[name] = np.frombuffer(raw, kinds[entry["dtype"]]).reshape(entry["shape"])
    assert 8 + length + max(entry["data_offsets"][1] for entry in header.values()) == len(out)
    return read


def test_the_numbers_are_those_of_the_plain_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = small_model(monkeypatch)
    read = made(write_safetensors(tmp_path / "model.safetensors", weights))
    for name, values in weights.items():
        if read[name].dtype != np.int8:
            assert np.array_equal(read[name], values)
            continue
        table = "word" in name
        levels = 127 if table else 63
        scale = (np.abs(values).max(axis=1).astype("f8") / levels).astype("f4")
        scale[scale == 0] = 1
        whole = np.rint(values.astype("f8") / scale.astype("f8")[:, None])
        assert np.array_equal(read[f"{name}_scale"].ravel(), scale)
        assert np.array_equal(read[name] if table else read[name].T, whole)
        assert np.abs(read[name]).max() == levels


@pytest.mark.parametrize("fault", ["missing", "shape", "kind", "header", "nothing"])
def test_weights_of_another_model_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    weights = small_model(monkeypatch)
    path = tmp_path / "model.safetensors"
    name = "encoder.layer.0.output.dense.weight"
    if fault == "missing":
        del weights[name]
    elif fault == "shape":
        weights[name] = weights[name].T.copy()
    write_safetensors(path, weights)
    if fault == "kind":
        path.write_bytes(path.read_bytes().replace(b'"F32"', b'"F16"'))
    elif fault == "header":
        path.write_bytes(b"\xff" * 8 + b"{}")
    elif fault == "nothing":
        path.unlink()
    with pytest.raises(ConfigurationError, match=r"model\.safetensors"):
        int8.write_int8(path, bytearray().extend)


def test_no_other_model_is_made_into_eight_bits(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match="the one model that int8 is made of"):
        SentenceModel.find(tmp_path, variant="int8")
    with pytest.raises(ConfigurationError, match="write fp32 or int8"):
        SentenceModel.find(tmp_path, variant="int4")  # type: ignore[arg-type]
