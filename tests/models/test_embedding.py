"""The sentence model gives the vectors of all-MiniLM-L6-v2, to everyone and from everywhere."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import math
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cascadeflow._native import Vectors
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.embedding import Embedder, RequestVectors, SentenceModel
from cascadeflow.models.embedding_files import GRAPH, MINILM, SentenceFiles, find_sentence_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

ROOT = Path(__file__).parents[2]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the oracle imports onnxruntime

Array = np.ndarray[Any, Any]

TEXTS = [
    "What is the capital of France?",
    "Quelle est la capitale de la France ?",
    "フランスの首都はどこですか",
    "Какая столица у Франции?",  # noqa: RUF001
    "ما هي عاصمة فرنسا؟",
    "def add(a, b):\n    return a + b\n",
    "👩‍💻 zero\u200bwidth, e\u0301 and \x00",
    "",
    " \n\t ",
    "?",
    "word",
    "a somewhat longer text " * 12,
    "beyond what is read " * 400,
    "x" * 5_000,
    "of a megabyte, " * 70_000,
]


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files() -> SentenceFiles:
    """The official files, found on this machine."""
    try:
        return find_sentence_files()[0]
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(files: SentenceFiles) -> SentenceModel:
    """The one model of all these tests."""
    return SentenceModel.find(files.external_data["model.safetensors"])


def array(vectors: Vectors) -> Array:
    return np.frombuffer(vectors.tobytes(), "<f4").reshape(len(vectors), -1)


@functools.cache
def tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return tokenizer


def tokens_of(files: SentenceFiles, text: str) -> tuple[Array, Array]:
    encoding = tokenizer(files.tokenizer).encode(text)
    return np.array([encoding.ids]), np.array([encoding.type_ids])


def unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def test_the_vectors_are_those_of_onnxruntimes_own_python(
    files: SentenceFiles, model: SentenceModel
) -> None:
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path",
        str(files.external_data["model.safetensors"].resolve().parent),
    )
    session = onnxruntime.InferenceSession(
        GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    have = array(model.embed(TEXTS))
    assert np.abs(np.linalg.norm(have, axis=1) - 1).max() < 1e-5
    for text, vector in zip(TEXTS, have, strict=True):
        ids, types = tokens_of(files, text)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        hidden, layered = session.run(None, feeds)
        assert layered.shape[-1] == 2 * hidden.shape[-1]
        assert unit(hidden[0].mean(axis=0)) @ vector == pytest.approx(1, abs=1e-5), text[:40]


class Bert:
    """The model by its own description, in numpy, from the official weights."""

    def __init__(self, weights: Path) -> None:
        self.data = np.memmap(weights, mode="r")
        (length,) = struct.unpack("<Q", self.data[:8].tobytes())
        self.header = json.loads(self.data[8 : 8 + length].tobytes())
        self.start = 8 + length

    def tensor(self, name: str) -> Array:
        entry = self.header[name]
        begin, end = (self.start + offset for offset in entry["data_offsets"])
        return np.asarray(self.data[begin:end]).view("<f4").reshape(entry["shape"])

    def linear(self, states: Array, name: str) -> Array:
        return np.asarray(states @ self.tensor(f"{name}.weight").T + self.tensor(f"{name}.bias"))

    def normalised(self, states: Array, name: str) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        scale, shift = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        return np.asarray(centred / spread * scale + shift)

    def hidden(self, ids: Array, types: Array) -> Array:
        table = "embeddings.{}_embeddings.weight"
        states = self.tensor(table.format("word"))[ids].astype(np.float64)
        states = states + self.tensor(table.format("token_type"))[types]
        states = states + self.tensor(table.format("position"))[: len(ids)]
        states = self.normalised(states, "embeddings.LayerNorm")
        for number in range(6):
            name = f"encoder.layer.{number}"
            query, key, value = (
                self.linear(states, f"{name}.attention.self.{part}").reshape(-1, 12, 32)
                for part in ("query", "key", "value")
            )
            scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(32)
            powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
            shares = powers / powers.sum(axis=-1, keepdims=True)
            means = np.einsum("hqk,khd->qhd", shares, value).reshape(-1, 384)
            attended = self.linear(means, f"{name}.attention.output.dense") + states
            states = self.normalised(attended, f"{name}.attention.output.LayerNorm")
            wide = self.linear(states, f"{name}.intermediate.dense")
            wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / np.sqrt(2)))
            narrow = self.linear(wide, f"{name}.output.dense") + states
            states = self.normalised(narrow, f"{name}.output.LayerNorm")
        return states


def test_the_graph_computes_what_the_model_is_described_to_compute(
    files: SentenceFiles, model: SentenceModel
) -> None:
    bert = Bert(files.external_data["model.safetensors"])
    # In one batch with a longer text: padding must change nothing.
    texts = [*TEXTS[:4], TEXTS[7], "a somewhat longer text " * 3]
    for text, vector in zip(texts, array(model.embed(texts)), strict=True):
        ids, types = tokens_of(files, text)
        expected = unit(bert.hidden(ids[0], types[0]).mean(axis=0))
        assert expected @ vector == pytest.approx(1, abs=1e-5), text
        assert np.abs(expected - vector).max() < 1e-4, text


def test_the_shipped_graph_is_what_its_generator_writes(
    files: SentenceFiles, tmp_path: Path
) -> None:
    generator = ROOT / "benches" / "make_minilm_skeleton.py"
    weights = files.external_data["model.safetensors"]
    written = tmp_path / "graph.onnx"
    subprocess.run([sys.executable, generator, weights, written], check=True, capture_output=True)
    assert written.read_bytes() == GRAPH.read_bytes()


def test_a_question_is_nearest_to_its_answer(model: SentenceModel) -> None:
    question = model.embed(["How do I sort a list in Python?"])
    answers = model.embed(
        ["The stock market fell today.", "Call sorted() on it.", "Boil the pasta in salted water."]
    )
    assert answers.top_k(question, 1)[0][0] == 1


def test_the_same_files_and_options_are_the_same_model(
    files: SentenceFiles, model: SentenceModel
) -> None:
    weights = files.external_data["model.safetensors"]
    assert SentenceModel.find(weights.parent) is model
    assert SentenceModel.find(weights) is SentenceModel.find(weights, max_tokens=256)
    assert SentenceModel.find(weights, max_tokens=64) is not model
    assert (model.max_tokens, model.sessions) == (256, 1)
    assert model.threads in (1, 2)
    with pytest.raises(ConfigurationError, match="threads must be at least 1"):
        SentenceModel.find(weights, threads=0)
    with pytest.raises(ConfigurationError, match="sessions must be at least 1"):
        SentenceModel.find(weights, sessions=0)


def test_tasks_of_several_loops_get_what_one_caller_gets(model: SentenceModel) -> None:
    texts = TEXTS[:11]
    expected = array(model.embed(texts))
    wrong: list[str] = []

    async def ask(number: int) -> None:
        at = number % len(texts)
        vector = array(await model.vectors([texts[at]]))[0]
        if vector @ expected[at] < 1 - 1e-5:
            wrong.append(texts[at])

    async def all_of_them() -> None:
        both = model.vectors(texts)
        await asyncio.gather(*(ask(number) for number in range(44)))
        assert (array(await both) * expected).sum(axis=1).min() > 1 - 1e-5
        assert len(await model.vectors([])) == 0

    threads = [threading.Thread(target=asyncio.run, args=(all_of_them(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_no_text_is_refused_before_it_can_spoil_a_batch(model: SentenceModel) -> None:
    for texts in ("one text", ["a text", None]):
        with pytest.raises(TypeError):
            asyncio.run(model.vectors(texts))  # type: ignore[arg-type]


def python(code: str, *arguments: object) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


FRESH = """
import asyncio, os, sys, threading
from cascadeflow.models.embedding import SentenceModel
model = SentenceModel.find(sys.argv[1])
assert (model.name, model.dimension) == ("all-MiniLM-L6-v2/fp32", 384)
assert model._embedder is None, "nothing was opened yet"
made = []
from cascadeflow.models import embedding
Embedder = embedding.SentenceEmbedder
embedding.SentenceEmbedder = lambda *given, **options: made.append(1) or Embedder(*given, **options)

async def first_uses():
    await asyncio.gather(model.warm_up(), model.vectors(["one"]), asyncio.to_thread(model.warm))

asyncio.run(first_uses())
assert made == [1], "opened once"
assert not {"numpy", "onnxruntime"} & set(sys.modules), "nothing heavy was imported"
mine = model.embed(["one"]).tobytes()
if hasattr(os, "fork"):
    with model._loading, model._batcher._lock, embedding._registry._lock:  # as another thread may
        child = os.fork()
    if child == 0:
        assert SentenceModel.find(sys.argv[1]) is model
        theirs = asyncio.run(model.vectors(["one"])).tobytes()
        os._exit(0 if theirs == mine else 1)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


def test_it_is_opened_once_with_nothing_heavy_imported_and_works_in_a_forked_child(
    files: SentenceFiles,
) -> None:
    assert python(FRESH, files.external_data["model.safetensors"]) == "done"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A small model of another kind, whose tokenizer adds no special tokens."""
    writer = load("models_tests_onnx_writer", ROOT / "tests" / "embed" / "onnx_writer.py")
    writer.write_tokenizer(tmp_path / "tokenizer.json", special=False)
    writer.Graph().hidden_as().save(tmp_path / "model.onnx")
    return tmp_path


def test_another_model_runs_from_its_folder(other: Path) -> None:
    model = SentenceModel.find(other, max_tokens=32)
    assert model.dimension == 8
    assert model.name.startswith(f"{other.name}/")
    assert model.name != MINILM
    assert array(model.embed(["the cat"])).shape == (1, 8)


def test_a_vector_of_a_dynamically_quantised_model_does_not_move_with_its_neighbours(
    other: Path,
) -> None:
    writer = load("models_tests_onnx_writer", ROOT / "tests" / "embed" / "onnx_writer.py")
    writer.Graph().quantised_as().save(other / "model.onnx")
    model = SentenceModel.find(other, max_tokens=32)
    texts = ["the cat", "who pays for tokens?", "a mat sat"]
    alone = [model.embed([text]).tobytes() for text in texts]
    assert [vector.tobytes() for vector in model.embed(texts)] == alone


def test_a_text_without_tokens_fails_its_own_caller_only(other: Path) -> None:
    model = SentenceModel.find(other, max_tokens=32)

    async def go() -> list[Any]:
        asks = (model.vectors([text]) for text in ("the cat", "", "a mat"))
        return await asyncio.gather(*asks, return_exceptions=True)

    cat, nothing, mat = asyncio.run(go())
    assert isinstance(nothing, InvalidRequestError)
    assert array(cat) == pytest.approx(array(model.embed(["the cat"])), abs=1e-5)
    assert array(mat) == pytest.approx(array(model.embed(["a mat"])), abs=1e-5)


def test_a_model_that_pools_otherwise_outside_its_graph_is_refused(other: Path) -> None:
    (other / "1_Pooling").mkdir()
    (other / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false}')
    with pytest.raises(ConfigurationError, match="sentence_embedding"):
        SentenceModel.find(other, max_tokens=32).warm()


def test_a_model_that_failed_to_open_is_tried_again(other: Path) -> None:
    tokenizer = (other / "tokenizer.json").read_bytes()
    (other / "tokenizer.json").write_text("{}")
    model = SentenceModel.find(other, max_tokens=32)
    for use in (model.warm_up(), model.vectors(["the cat"])):
        with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
            asyncio.run(use)
    (other / "tokenizer.json").write_bytes(tokenizer)
    assert model.embed(["the cat"]).dimension == 8


class Counting:
    """An embedder that notes what it was asked, and waits to be let go."""

    name, dimension = "counting/1", 1

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.free = asyncio.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        return Vectors([[float(len(text))] for text in texts])

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        await self.free.wait()
        if "" in texts:
            raise InvalidRequestError("nothing")
        return self.embed(texts)


def test_a_request_computes_each_vector_once_whoever_asks() -> None:
    async def go() -> None:
        embedder = Counting()
        request = RequestVectors(embedder)
        assert request.name == "counting/1"
        asks = [asyncio.create_task(request.vector_of(text)) for text in ("a", "bb", "a", "a")]
        await asyncio.sleep(0)
        asks[0].cancel()  # who asked first leaves the others what they asked for
        embedder.free.set()
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert [float(array(v)[0, 0]) for v in outcomes[1:]] == [2, 1, 1]  # type: ignore[arg-type]
        assert await request.vector_of("a") is outcomes[2]
        assert embedder.asked == ["a", "bb"]

    asyncio.run(go())


def test_a_vector_that_failed_is_asked_for_again() -> None:
    async def go() -> None:
        embedder: Embedder = Counting()
        request = RequestVectors(embedder)
        embedder.free.set()  # type: ignore[attr-defined]
        for _ in range(2):
            with pytest.raises(InvalidRequestError):
                await request.vector_of("")
        assert embedder.asked == ["", ""]  # type: ignore[attr-defined]

    asyncio.run(go())


def test_an_inner_layer_stands_behind_the_sentences_vector() -> None:
    model = SentenceModel.find()
    layered, plain = array(model.embed_layered(TEXTS[:3])), array(model.embed(TEXTS[:3]))
    assert layered.shape == (3, 2 * model.dimension)
    assert (layered[:, : model.dimension] == plain).all()
    inner = layered[:, model.dimension :]
    assert np.abs(np.linalg.norm(inner, axis=1) - 1).max() < 1e-5
    assert np.abs(inner - plain).max() > 0.1


def test_a_request_has_both_of_a_texts_vectors_from_one_run() -> None:
    class Layered(Counting):
        async def layered(self, texts: Sequence[str]) -> Vectors:
            narrow = await self.vectors(texts)
            return Vectors([[*row, 7.0] for row in narrow.tolist()])

    async def go() -> None:
        embedder = Layered()
        embedder.free.set()
        request = RequestVectors(embedder)
        both, one = await request.layered_of("bb"), await request.vector_of("bb")
        assert (both.tolist(), one.tolist()) == ([[2.0, 7.0]], [[2.0]])
        assert embedder.asked == ["bb"]
        plain = Counting()
        plain.free.set()
        assert (await RequestVectors(plain).layered_of("bb")).tolist() == [[2.0]]

    asyncio.run(go())
