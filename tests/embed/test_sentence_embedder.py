"""Texts become the vectors that onnxruntime, tokenizers and numpy make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cascadeflow._native import SentenceEmbedder, Vectors
from cascadeflow.errors import CascadeFlowError, ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("runtime")

TEXTS = [
    "the cat sat on the mat",
    "who pays for tokens?",
    "",
    "the",
    "a dog? é cats pays cats pays on a mat mat mat",
    "who pays for tokens?",
]

WORDS = st.sampled_from(["the", "cat", "cats", "sat", "on", "mat", "who", "?", "é", "dog", "日本"])


def array(vectors: Vectors) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(vectors.tobytes(), "<f4")
    return flat.reshape(len(vectors), vectors.dimension)


@pytest.fixture
def model(writer: Any, tmp_path: Path) -> Path:
    path: Path = writer.Graph().hidden_as().save(tmp_path / "model.onnx")
    return path


def test_the_tokens_vectors_are_averaged_and_scaled_to_length_one(
    model: Path, tokenizer: Path, oracle: Any
) -> None:
    embedder = SentenceEmbedder(model, tokenizer, max_tokens=32)
    have = array(embedder.embed(TEXTS))
    want = oracle.mean_embeddings(model, tokenizer, TEXTS)
    assert np.abs(have - want).max() < 1e-5
    assert embedder.dimension == want.shape[1]
    assert np.abs(np.linalg.norm(have, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("types", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_a_graph_is_fed_the_inputs_that_it_has(
    writer: Any, oracle: Any, tokenizer: Path, tmp_path: Path, *, types: bool, mask: bool
) -> None:
    path = writer.Graph(types=types, mask=mask).hidden_as().save(tmp_path / "model.onnx")
    # Without a mask in the graph, texts of one length: nothing else could be right.
    texts = ["the cat sat", "who pays for"] if not mask else TEXTS
    have = array(SentenceEmbedder(path, tokenizer, max_tokens=32).embed(texts))
    assert np.abs(have - oracle.mean_embeddings(path, tokenizer, texts)).max() < 1e-5


@pytest.mark.parametrize("name", ["last_hidden_state", "token_embeddings", "whatever"])
def test_vectors_of_tokens_are_known_by_name_or_by_being_the_only_ones(
    writer: Any, oracle: Any, tokenizer: Path, tmp_path: Path, name: str
) -> None:
    graph = writer.Graph().first_as("pooler_output").hidden_as(name)
    path = graph.save(tmp_path / "model.onnx")
    have = array(SentenceEmbedder(path, tokenizer, max_tokens=32).embed(TEXTS))
    assert np.abs(have - oracle.mean_embeddings(path, tokenizer, TEXTS, output=name)).max() < 1e-5


@pytest.mark.parametrize("name", ["sentence_embedding", "whatever"])
def test_a_graph_s_own_vector_of_a_sentence_is_taken(
    writer: Any, oracle: Any, tokenizer: Path, tmp_path: Path, name: str
) -> None:
    graph = writer.Graph().first_as(name)
    if name == "sentence_embedding":
        graph = graph.hidden_as("token_embeddings")
    path = graph.save(tmp_path / "model.onnx")
    have = array(SentenceEmbedder(path, tokenizer, max_tokens=32).embed(TEXTS))
    raw, _ = oracle.run(path, tokenizer, TEXTS, output=name)
    assert np.abs(have - oracle.unit(raw)).max() < 1e-5


def test_an_output_that_is_named_is_the_one_that_is_read(
    writer: Any, oracle: Any, tokenizer: Path, tmp_path: Path
) -> None:
    graph = writer.Graph().hidden_as().first_as("pooler_output")
    path = graph.save(tmp_path / "model.onnx")
    embedder = SentenceEmbedder(path, tokenizer, max_tokens=32, output="pooler_output")
    raw, _ = oracle.run(path, tokenizer, TEXTS, output="pooler_output")
    assert np.abs(array(embedder.embed(TEXTS)) - oracle.unit(raw)).max() < 1e-5


@given(texts=st.lists(st.lists(WORDS, max_size=40).map(" ".join), min_size=1, max_size=12))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_text_has_one_vector_whatever_it_is_batched_with(
    model: Path, tokenizer: Path, texts: list[str]
) -> None:
    embedder = SentenceEmbedder(model, tokenizer, max_tokens=32, max_batch_tokens=100)
    together = array(embedder.embed(texts))
    alone = np.concatenate([array(embedder.embed([text])) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


def test_a_dynamically_quantised_model_is_independent_of_the_batch_when_texts_run_alone(
    writer: Any, tokenizer: Path, tmp_path: Path
) -> None:
    path = writer.Graph().quantised_as().save(tmp_path / "int8.onnx")
    alone = SentenceEmbedder(path, tokenizer, max_tokens=32, max_batch_tokens=1)
    batched = SentenceEmbedder(path, tokenizer, max_tokens=32)
    one = array(alone.embed(TEXTS[3:4]))
    assert np.array_equal(array(alone.embed(TEXTS))[3:4], one)
    assert not np.array_equal(array(batched.embed(TEXTS))[3:4], one)


def test_truncation_and_padding_baked_into_the_tokenizer_are_set_aside(
    writer: Any, model: Path, tokenizer: Path, tmp_path: Path
) -> None:
    baked = writer.write_tokenizer(tmp_path / "baked.json", bake=True)
    have = array(SentenceEmbedder(model, baked, max_tokens=32).embed(TEXTS))
    want = array(SentenceEmbedder(model, tokenizer, max_tokens=32).embed(TEXTS))
    assert np.array_equal(have, want)


def test_no_more_is_read_of_a_text_than_max_tokens(
    model: Path, tokenizer: Path, oracle: Any
) -> None:
    embedder = SentenceEmbedder(model, tokenizer, max_tokens=6)
    four = "the cat sat on"
    alike = array(embedder.embed([four, f"{four} a mat"]))
    assert np.array_equal(alike[0], alike[1])
    unlike = array(embedder.embed([four, "the cat sat a"]))
    assert not np.allclose(unlike[0], unlike[1])
    want = oracle.mean_embeddings(model, tokenizer, TEXTS, max_tokens=6)
    assert np.abs(array(embedder.embed(TEXTS)) - want).max() < 1e-5
    assert embedder.max_tokens == 6


@pytest.mark.parametrize(
    "text",
    [
        "the cat sat on a mat " * 50_000,
        "日本" * 200_000,
        "a" * 1_000_000,
        " " * 500_000 + "the cat",
        "é?" * 300_000,
        "cats",
    ],
    ids=["words", "no spaces", "one word", "spaces first", "two bytes", "short"],
)
def test_a_long_text_is_read_as_if_it_were_tokenised_whole(
    model: Path, tokenizer: Path, oracle: Any, text: str
) -> None:
    have = array(SentenceEmbedder(model, tokenizer, max_tokens=32).embed([text]))
    assert np.abs(have - oracle.mean_embeddings(model, tokenizer, [text])).max() < 1e-5


@pytest.mark.parametrize("place", ["under its name", "under another name", "behind a link"])
def test_weights_may_lie_in_a_file_elsewhere(
    writer: Any, model: Path, tokenizer: Path, tmp_path: Path, place: str
) -> None:
    path = writer.Graph().hidden_as().save_apart(tmp_path / "skeleton.onnx", "all.weights")
    away = tmp_path / "cache"
    away.mkdir()
    name = "all.weights" if place == "under its name" else "3f7a"
    weights = (tmp_path / "all.weights").rename(away / name)
    if place == "behind a link":
        (tmp_path / "links").mkdir()
        weights = tmp_path / "links" / "all.weights"
        weights.symlink_to(away / name)
    with pytest.raises(ConfigurationError, match=r"all\.weights"):
        SentenceEmbedder(path, tokenizer, max_tokens=32)
    embedder = SentenceEmbedder(
        path, tokenizer, max_tokens=32, external_data={"all.weights": weights}
    )
    want = SentenceEmbedder(model, tokenizer, max_tokens=32)
    assert np.array_equal(array(embedder.embed(TEXTS)), array(want.embed(TEXTS)))


@pytest.mark.parametrize("together", [True, False])
def test_weights_may_lie_in_several_files(
    writer: Any, model: Path, tokenizer: Path, tmp_path: Path, *, together: bool
) -> None:
    folder = tmp_path / "apart"
    folder.mkdir()
    path = writer.Graph().hidden_as().save_in_files(folder / "skeleton.onnx")
    files = [file for file in folder.iterdir() if file != path]
    assert len(files) > 1
    if not together:
        (tmp_path / "alone").mkdir()
        files[0] = files[0].rename(tmp_path / "alone" / files[0].name)
    graph = path.rename(tmp_path / "skeleton.onnx")
    data = {file.name: file for file in files}
    embedder = SentenceEmbedder(graph, tokenizer, max_tokens=32, external_data=data)
    want = SentenceEmbedder(model, tokenizer, max_tokens=32)
    assert np.array_equal(array(embedder.embed(TEXTS)), array(want.embed(TEXTS)))


@pytest.mark.parametrize("name", ["all.weights", "other.name"])
def test_weights_that_are_too_short_are_refused(
    writer: Any, tokenizer: Path, tmp_path: Path, name: str
) -> None:
    path = writer.Graph().hidden_as().save_apart(tmp_path / "skeleton.onnx", "all.weights")
    (tmp_path / "cache").mkdir()
    weights = (tmp_path / "all.weights").rename(tmp_path / "cache" / name)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match=r"skeleton\.onnx cannot be used"):
        SentenceEmbedder(path, tokenizer, external_data={"all.weights": weights})


def test_half_a_surrogate_pair_is_read_as_the_replacement_character(
    model: Path, tokenizer: Path
) -> None:
    vectors = array(SentenceEmbedder(model, tokenizer, max_tokens=32).embed(["\ud800", "\ufffd"]))
    assert np.array_equal(vectors[0], vectors[1])


def test_no_texts_are_no_vectors(model: Path, tokenizer: Path) -> None:
    embedder = SentenceEmbedder(model, tokenizer, max_tokens=32)
    vectors = embedder.embed([])
    assert len(vectors) == 0
    assert vectors.dimension == embedder.dimension


def test_a_string_is_not_taken_for_a_list_of_its_characters(model: Path, tokenizer: Path) -> None:
    embedder = SentenceEmbedder(model, tokenizer, max_tokens=32)
    with pytest.raises(TypeError):
        embedder.embed("the cat")


def test_a_text_without_tokens_is_named(writer: Any, model: Path, tmp_path: Path) -> None:
    bare = writer.write_tokenizer(tmp_path / "bare.json", special=False)
    embedder = SentenceEmbedder(model, bare, max_tokens=32)
    with pytest.raises(InvalidRequestError, match="text 1 has no tokens"):
        embedder.embed(["the cat", "  "])


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "gave NaN"), (0.0, "of zeros")])
def test_a_vector_that_is_none_is_an_error_and_no_number(
    writer: Any, tokenizer: Path, tmp_path: Path, value: float, reason: str
) -> None:
    graph = writer.Graph()
    graph.constant("value", np.array(value, np.float32))
    graph.constant("nothing", np.array(0.0, np.float32))
    graph.node("Mul", ["hidden", "nothing"], "none")
    graph.node("Add", ["none", "value"], "last_hidden_state")
    graph.output("last_hidden_state", ["b", "s", writer.WIDTH])
    path = graph.save(tmp_path / "model.onnx")
    embedder = SentenceEmbedder(path, tokenizer, max_tokens=32)
    with pytest.raises(CascadeFlowError, match=reason):
        embedder.embed(["the cat"])


def test_each_part_of_a_layered_vector_has_length_one(model: Path, tokenizer: Path) -> None:
    whole = array(SentenceEmbedder(model, tokenizer, max_tokens=32).embed(TEXTS))
    half = whole.shape[1] // 2
    have = array(SentenceEmbedder(model, tokenizer, max_tokens=32, parts=2).embed(TEXTS))
    for part in (slice(None, half), slice(half, None)):
        want = whole[:, part] / np.linalg.norm(whole[:, part], axis=1, keepdims=True)
        assert np.abs(have[:, part] - want).max() < 1e-6


@pytest.mark.parametrize("parts", [0, 3])
def test_parts_that_cannot_be_equal_are_refused(model: Path, tokenizer: Path, parts: int) -> None:
    with pytest.raises(ConfigurationError, match=r"equal parts|at least 1"):
        SentenceEmbedder(model, tokenizer, max_tokens=32, parts=parts)


def test_a_graph_of_a_fixed_length_gives_the_vectors_of_one_of_any(
    writer: Any, model: Path, tokenizer: Path, tmp_path: Path
) -> None:
    path = writer.Graph().hidden_as().fixed(length=16).save(tmp_path / "fixed.onnx")
    fixed = SentenceEmbedder(path, tokenizer, max_tokens=32)
    assert fixed.max_tokens == 16
    free = SentenceEmbedder(model, tokenizer, max_tokens=16)
    assert np.abs(array(fixed.embed(TEXTS)) - array(free.embed(TEXTS))).max() < 1e-5
