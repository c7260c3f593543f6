"""Files and options that cannot work are refused when a model is opened, with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import SentenceEmbedder, TextClassifier
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def model(writer: Any, tmp_path: Path) -> Path:
    path: Path = writer.Graph().hidden_as().save(tmp_path / "model.onnx")
    return path


def refused(match: str, model: Path, tokenizer: Path, **options: Any) -> None:
    options.setdefault("max_tokens", 32)
    with pytest.raises(ConfigurationError, match=match):
        SentenceEmbedder(model, tokenizer, **options)


def test_a_missing_model_is_named(tokenizer: Path, tmp_path: Path) -> None:
    refused(r"the model .*nowhere\.onnx does not exist", tmp_path / "nowhere.onnx", tokenizer)


def test_a_missing_tokenizer_is_named(model: Path, tmp_path: Path) -> None:
    refused(r"the tokenizer .*nowhere\.json does not exist", model, tmp_path / "nowhere.json")


def test_missing_weights_are_named(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    weights = {"w": tmp_path / "nowhere.bin"}
    refused(r"the weights .*nowhere\.bin does not exist", model, tokenizer, external_data=weights)


def test_a_folder_is_no_model(tokenizer: Path, tmp_path: Path) -> None:
    refused("folder", tmp_path, tokenizer)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:0], lambda data: data[::-1], lambda data: data[: len(data) // 2]],
    ids=["empty", "reversed", "half"],
)
def test_a_damaged_model_is_refused(
    model: Path, tokenizer: Path, damage: Callable[[bytes], bytes]
) -> None:
    model.write_bytes(damage(model.read_bytes()))
    refused(r"the model .*model\.onnx cannot be used", model, tokenizer)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"model": {"type": "Unknown"}}'])
def test_a_damaged_tokenizer_is_refused(model: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(text)
    refused(r"the tokenizer .*damaged\.json cannot be used", model, path)


def test_an_input_that_cannot_be_fed_is_named(writer: Any, tokenizer: Path, tmp_path: Path) -> None:
    graph = writer.Graph().hidden_as().add_input("pixel_values")
    refused("pixel_values", graph.save(tmp_path / "image.onnx"), tokenizer)


def test_a_model_that_reads_no_token_ids_is_refused(
    writer: Any, tokenizer: Path, tmp_path: Path
) -> None:
    graph = writer.Graph().hidden_as()
    graph.inputs[0].name = "tokens"
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            if name == "input_ids":
                node.input[index] = "tokens"
    refused("no input input_ids", graph.save(tmp_path / "other.onnx"), tokenizer)


def test_a_model_of_a_fixed_length_that_cannot_be_fed_is_refused(
    writer: Any, tokenizer: Path, tmp_path: Path
) -> None:
    blind = writer.Graph(mask=False).hidden_as().fixed(length=16)
    refused("fixed length.* dynamic axes", blind.save(tmp_path / "blind.onnx"), tokenizer)
    several = writer.Graph().hidden_as().fixed(batch=2)
    refused("dynamic axes", several.save(tmp_path / "several.onnx"), tokenizer)
    odd = writer.Graph(types=False).hidden_as().fixed(length=16)
    odd.add_input("token_type_ids", shape=("b", 8))
    refused("two lengths", odd.save(tmp_path / "odd.onnx"), tokenizer)
    short = writer.Graph().hidden_as().fixed(length=4)
    refused("max_tokens=4 leaves no room", short.save(tmp_path / "short.onnx"), tokenizer)


def test_an_output_that_does_not_exist_is_refused_with_those_that_do(
    model: Path, tokenizer: Path
) -> None:
    refused("no output logits; it has last_hidden_state", model, tokenizer, output="logits")


def test_outputs_that_cannot_be_told_apart_are_listed(
    writer: Any, tokenizer: Path, tmp_path: Path
) -> None:
    path = writer.Graph().hidden_as("left").hidden_as("right").save(tmp_path / "two.onnx")
    refused("name one of left: .*; right: ", path, tokenizer)


def test_a_pooler_is_not_taken_for_a_sentence_s_vector(
    writer: Any, tokenizer: Path, tmp_path: Path
) -> None:
    path = writer.Graph().first_as("pooler_output").save(tmp_path / "pooler.onnx")
    refused("pooler_output", path, tokenizer)


def test_an_output_of_another_type_is_refused(writer: Any, tokenizer: Path, tmp_path: Path) -> None:
    graph = writer.Graph()
    element = writer.TensorProto.DOUBLE
    graph.node("Cast", ["hidden"], "last_hidden_state", to=element)
    graph.output("last_hidden_state", ["b", "s", writer.WIDTH], element)
    path = graph.save(tmp_path / "double.onnx")
    refused("last_hidden_state: f64", path, tokenizer, output="last_hidden_state")


def test_more_tokens_than_the_model_has_positions_for_are_refused_at_once(
    writer: Any, model: Path, tokenizer: Path
) -> None:
    SentenceEmbedder(model, tokenizer, max_tokens=writer.POSITIONS)
    refused("does not run on 65 tokens", model, tokenizer, max_tokens=writer.POSITIONS + 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_tokens": 4}, "max_tokens=4 leaves no room"),
        ({"max_tokens": 10**9}, "max_tokens=1000000000 is more"),
        ({"sessions": 0}, "sessions must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_batch_tokens": 0}, "max_batch_tokens must be at least 1"),
    ],
)
def test_an_option_that_cannot_work_is_named(
    model: Path, tokenizer: Path, options: dict[str, Any], match: str
) -> None:
    refused(match, model, tokenizer, **options)
    with pytest.raises(ConfigurationError, match=match):
        TextClassifier(model, tokenizer, activation="softmax", **{"max_tokens": 32, **options})
