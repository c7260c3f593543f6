"""Texts and pairs get the probabilities that onnxruntime and numpy give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cascadeflow._native import TextClassifier
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("runtime")

TEXTS: list[str | tuple[str, str]] = [
    "the cat sat on the mat",
    ("who pays for tokens?", "the cat"),
    "",
    ("", "the cat"),
    ("a mat", ""),
    ("the cat " * 30, "who pays"),
    ("who pays", "the cat " * 30),
    ("the cat " * 30, "who pays " * 30),
]


@pytest.fixture
def model(writer: Any, tmp_path: Path) -> Path:
    path: Path = writer.Graph().hidden_as().logits_as(3).save(tmp_path / "model.onnx")
    return path


def test_softmax_makes_one_label_hold(model: Path, tokenizer: Path, oracle: Any) -> None:
    classifier = TextClassifier(model, tokenizer, activation="softmax", max_tokens=32)
    logits, _ = oracle.run(model, tokenizer, TEXTS, output="logits")
    have = np.array(classifier.classify(TEXTS))
    assert np.abs(have - oracle.softmax(logits)).max() < 1e-5
    assert np.abs(have.sum(axis=1) - 1).max() < 1e-6
    assert classifier.labels == 3
    assert classifier.max_tokens == 32


def test_sigmoid_lets_any_label_hold(model: Path, tokenizer: Path, oracle: Any) -> None:
    classifier = TextClassifier(model, tokenizer, activation="sigmoid", max_tokens=32)
    logits, _ = oracle.run(model, tokenizer, TEXTS, output="logits")
    assert np.abs(np.array(classifier.classify(TEXTS)) - oracle.sigmoid(logits)).max() < 1e-5


def test_a_pair_is_not_the_two_texts_joined(model: Path, tokenizer: Path) -> None:
    classifier = TextClassifier(model, tokenizer, activation="softmax", max_tokens=32)
    pair, swapped, joined = classifier.classify(
        [("the cat", "who pays"), ("who pays", "the cat"), "the cat who pays"]
    )
    assert pair != swapped
    assert pair != joined


def test_the_only_output_with_a_row_a_text_is_read_under_any_name(
    writer: Any, oracle: Any, tokenizer: Path, tmp_path: Path
) -> None:
    path = writer.Graph().hidden_as().logits_as(2, "classes").save(tmp_path / "model.onnx")
    classifier = TextClassifier(path, tokenizer, activation="softmax", max_tokens=32)
    logits, _ = oracle.run(path, tokenizer, TEXTS, output="classes")
    assert np.abs(np.array(classifier.classify(TEXTS)) - oracle.softmax(logits)).max() < 1e-5


def test_softmax_over_one_label_is_refused_because_it_is_always_sure(
    writer: Any, tokenizer: Path, tmp_path: Path
) -> None:
    path = writer.Graph().logits_as(1).save(tmp_path / "model.onnx")
    with pytest.raises(ConfigurationError, match="sigmoid"):
        TextClassifier(path, tokenizer, activation="softmax", max_tokens=32)
    classifier = TextClassifier(path, tokenizer, activation="sigmoid", max_tokens=32)
    assert classifier.labels == 1


def test_vectors_of_tokens_are_no_logits(writer: Any, tokenizer: Path, tmp_path: Path) -> None:
    path = writer.Graph().hidden_as("logits").save(tmp_path / "model.onnx")
    with pytest.raises(ConfigurationError, match="cannot be told"):
        TextClassifier(path, tokenizer, activation="softmax", max_tokens=32)


def test_an_unknown_activation_is_named(model: Path, tokenizer: Path) -> None:
    with pytest.raises(ConfigurationError, match="relu"):
        TextClassifier(model, tokenizer, activation="relu", max_tokens=32)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [3, ("one",), ("one", "two", "three"), None])
def test_what_is_neither_a_text_nor_a_pair_is_a_type_error(
    model: Path, tokenizer: Path, text: Any
) -> None:
    classifier = TextClassifier(model, tokenizer, activation="softmax", max_tokens=32)
    with pytest.raises(TypeError):
        classifier.classify([text])


def test_a_graph_of_a_fixed_length_reads_as_one_of_any(
    writer: Any, model: Path, tokenizer: Path, tmp_path: Path
) -> None:
    free = TextClassifier(model, tokenizer, activation="softmax", max_tokens=16)
    want = np.array(free.classify(TEXTS))
    for batch, length, asked in ((None, 16, 32), (1, 16, 16), (1, None, 16), (1, 24, 16)):
        graph = writer.Graph().hidden_as().logits_as(3).fixed(batch=batch, length=length)
        path = graph.save(tmp_path / f"{batch}-{length}.onnx")
        classifier = TextClassifier(path, tokenizer, activation="softmax", max_tokens=asked)
        assert classifier.max_tokens == 16
        assert np.abs(np.array(classifier.classify(TEXTS)) - want).max() < 1e-5
