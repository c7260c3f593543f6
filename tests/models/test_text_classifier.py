"""Classifiers that a user brings are found by path, and asked by the checks."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import TextClassifier, load_onnx_runtime
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import RequestVectors
from cascadeflow.models.model_files import onnx_runtime_library
from cascadeflow.models.text_classifier import ClassifierModel, find_classifier_files
from cascadeflow.quality.grounding import Grounding
from cascadeflow.quality.toxicity import Toxicity

if TYPE_CHECKING:
    from types import ModuleType

    from cascadeflow.models.embedding import Embedder

TESTS = Path(__file__).parents[1]
TEXTS: list[str | tuple[str, str]] = ["the cat sat", ("who pays", "for tokens?"), "", "a mat"]


def load(name: str) -> ModuleType:
    full = f"classifier_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, TESTS / "embed" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


def written(folder: Path, *, labels: tuple[str, ...] = ("fine", "toxic"), **config: Any) -> Path:
    """A folder with a tiny classifier, as an export writes it."""
    writer = load("onnx_writer")
    folder.mkdir(parents=True, exist_ok=True)
    writer.Graph().hidden_as().logits_as(len(labels)).save(folder / "model.onnx")
    writer.write_tokenizer(folder / "tokenizer.json")
    told = {"id2label": {str(place): name for place, name in enumerate(labels)}} | config
    (folder / "config.json").write_text(json.dumps(told))
    return folder


def oracle(folder: Path, texts: list[str | tuple[str, str]], activation: Any) -> list[list[float]]:
    load_onnx_runtime(onnx_runtime_library())
    return TextClassifier(
        folder / "model.onnx", folder / "tokenizer.json", activation=activation, max_tokens=32
    ).classify(texts)


def test_probabilities_are_the_models_whatever_they_are_run_with(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path), max_tokens=32)
    assert model.labels == ("fine", "toxic")
    found = asyncio.run(model.probabilities(TEXTS))
    for have, want in zip(found, oracle(tmp_path, TEXTS, "softmax"), strict=True):
        assert have == pytest.approx(want, abs=1e-5)
    assert model.classify(["the cat sat"])[0] == pytest.approx(found[0], abs=1e-6)
    assert asyncio.run(model.probabilities([])) == []


@pytest.mark.parametrize(
    ("labels", "config"),
    [(("a", "b"), {"problem_type": "multi_label_classification"}), (("toxic",), {})],
)
def test_labels_that_do_not_exclude_each_other_are_sigmoids(
    tmp_path: Path, labels: tuple[str, ...], config: dict[str, str]
) -> None:
    model = ClassifierModel.find(written(tmp_path, labels=labels, **config), max_tokens=32)
    assert model.files.activation == "sigmoid"
    want = oracle(tmp_path, ["the cat"], "sigmoid")[0]
    assert model.classify(["the cat"])[0] == pytest.approx(want, abs=1e-5)


def test_the_same_files_are_one_model_and_others_another(tmp_path: Path) -> None:
    folder = written(tmp_path / "one")
    model = ClassifierModel.find(folder, max_tokens=32)
    assert ClassifierModel.find(folder / "model.onnx", max_tokens=32) is model
    assert ClassifierModel.find(folder, max_tokens=16) is not model
    assert ClassifierModel.find(written(tmp_path / "two"), max_tokens=32) is not model


def test_the_hubs_layout_is_found_too(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model.onnx")
    files = find_classifier_files(folder)
    assert files.graph == folder / "onnx" / "model.onnx"
    assert files.tokenizer == folder / "tokenizer.json"


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "model.onnx").write_bytes(b"no graph")
    model = ClassifierModel.find(folder, max_tokens=32)
    with pytest.raises(ConfigurationError):
        model.warm()
    written(tmp_path)
    asyncio.run(model.warm_up())


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    (written(tmp_path) / missing).unlink()
    with pytest.raises(ConfigurationError, match=missing.replace(".", r"\.")):
        ClassifierModel.find(tmp_path)


@pytest.mark.parametrize(
    "config", ["", "[]", "{}", '{"id2label": {}}', '{"id2label": {"1": "a"}}', '{"id2label": 3}']
)
def test_a_configuration_without_labels_says_so(tmp_path: Path, config: str) -> None:
    (written(tmp_path) / "config.json").write_text(config)
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        ClassifierModel.find(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        ClassifierModel.find(tmp_path / "nowhere")


def test_labels_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, labels=("a", "b"))
    (folder / "config.json").write_text('{"id2label": {"0": "a", "1": "b", "2": "c"}}')
    with pytest.raises(ConfigurationError, match="two models"):
        ClassifierModel.find(folder, max_tokens=32).warm()


def test_a_label_is_found_by_name_whatever_its_case(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path, labels=("SAFE", "Toxic")))
    assert model.label("toxic") == 1
    with pytest.raises(ConfigurationError, match="SAFE, Toxic"):
        model.label("insult")
    with pytest.raises(ConfigurationError, match="several"):
        model.label("safe", "toxic")


@pytest.mark.parametrize("option", ["threads", "sessions"])
def test_options_below_one_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        ClassifierModel.find(written(tmp_path), **{option: 0})


def test_many_threads_and_loops_may_ask_at_once(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path), max_tokens=32, sessions=2)
    want, found = model.classify(["the cat sat"]), []

    def ask() -> None:
        found.append(asyncio.run(model.probabilities(["the cat sat"])))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(rows[0] == pytest.approx(want[0], abs=1e-6) for rows in found)
    assert len(found) == 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_asks_a_model_that_its_parent_used(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path), max_tokens=32)
    want = asyncio.run(model.probabilities(["the cat sat"]))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if asyncio.run(model.probabilities(["the cat sat"])) == want else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class NoEmbedder:
    """Vectors that nobody may ask for."""

    name = "none"


def nobody() -> RequestVectors:
    embedder: Any = NoEmbedder()
    held: Embedder = embedder
    return RequestVectors(held)


LONG = "the cat sat " * 200 + "who pays for tokens? " * 100


def test_toxicity_takes_the_named_labels_probability_of_the_worst_piece(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path), max_tokens=32)
    assert model.characters == 118  # as many for 30 tokens as 1,000 are for 254
    pieces = [LONG[at : at + 118] for at in range(0, len(LONG), 118)]
    want = max(row[1] for row in model.classify(pieces))
    check = Toxicity(classifier=model)
    assert check.name == "toxic"
    assert asyncio.run(check.score(LONG, nobody())) == pytest.approx(want, abs=1e-6)
    other = asyncio.run(Toxicity(classifier=model, label="fine").score("the cat", nobody()))
    assert other == pytest.approx(model.classify(["the cat"])[0][0], abs=1e-6)
    assert 0 <= asyncio.run(check.score("x" * 1_000_000, nobody())) <= 1


def test_toxicity_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path, labels=("up", "down")))
    with pytest.raises(ConfigurationError, match="up, down"):
        Toxicity(classifier=model)
    with pytest.raises(ConfigurationError, match="label"):
        Toxicity(label="toxic")


def test_grounding_asks_an_inference_model_about_document_and_sentence(tmp_path: Path) -> None:
    labels = ("contradiction", "entailment", "neutral")
    model = ClassifierModel.find(written(tmp_path, labels=labels), max_tokens=32)
    document, answer = "The cat sat on a mat.", "The cat sat on tokens."
    found = asyncio.run(Grounding(nli=model).check([document], answer, nobody(), threshold=0.5))
    want = model.classify([(document, answer)])[0][1]
    assert found.score == pytest.approx(want, abs=1e-6)
    with pytest.raises(ConfigurationError, match="neutral"):
        Grounding(nli=model, entailment="yes")


# How much a model reads at once


@pytest.mark.parametrize(
    ("config", "reader", "tokens"),
    [
        ({}, None, 256),
        ({"max_position_embeddings": 512}, None, 256),
        ({"max_position_embeddings": 40}, None, 40),
        ({"max_position_embeddings": 512}, {"model_max_length": 48}, 48),
        ({"max_position_embeddings": 40}, {"model_max_length": 10**30}, 40),
        ({"max_position_embeddings": 40}, {"model_max_length": 1e30}, 40),
        ({"max_position_embeddings": 40}, {}, 40),
        ({"max_position_embeddings": -1}, {"model_max_length": None}, 256),
        ({"max_position_embeddings": 130, "model_type": "roberta"}, None, 128),
        ({"max_position_embeddings": 129, "model_type": "roberta", "pad_token_id": 0}, None, 128),
        ({"max_position_embeddings": 34, "model_type": "roberta", "pad_token_id": 40}, None, 256),
        ({"max_position_embeddings": 130, "model_type": "bert"}, None, 130),
    ],
)
def test_how_much_a_model_reads_is_what_its_files_say(
    tmp_path: Path, config: dict[str, Any], reader: dict[str, Any] | None, tokens: int
) -> None:
    written(tmp_path, **config)
    if reader is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(reader))
    assert ClassifierModel.find(tmp_path).max_tokens == tokens
    assert ClassifierModel.find(tmp_path, max_tokens=20).max_tokens == 20


@pytest.mark.parametrize("text", ["", "[]"])
def test_a_damaged_description_of_the_tokenizer_is_named(tmp_path: Path, text: str) -> None:
    written(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"tokenizer_config\.json cannot be read"):
        ClassifierModel.find(tmp_path)


def few(folder: Path, how: str, **options: Any) -> Path:
    """A model of 64 positions, which its files or its graph tell."""
    writer = load("onnx_writer")
    assert writer.POSITIONS == 64
    if how == "config":
        return written(folder, max_position_embeddings=64, **options)
    written(folder, **options)
    if how == "tokenizer":
        (folder / "tokenizer_config.json").write_text('{"model_max_length": 64}')
    else:
        labels = len(options.get("labels", ("fine", "toxic")))
        graph = writer.Graph().hidden_as().logits_as(labels).fixed(batch=1, length=64)
        graph.save(folder / "model.onnx")
    return folder


@pytest.mark.parametrize("how", ["config", "tokenizer", "graph"])
def test_a_model_of_few_positions_reads_long_texts_in_pieces_that_it_holds(
    tmp_path: Path, how: str
) -> None:
    model = ClassifierModel.find(few(tmp_path, how))
    found = asyncio.run(Toxicity(classifier=model).score(LONG, nobody()))
    assert (model.max_tokens, model.characters) == (64, 244)
    pieces = [LONG[at : at + 244] for at in range(0, len(LONG), 244)]
    rows = model.classify(pieces)
    assert found == pytest.approx(max(row[1] for row in rows), abs=1e-6)
    reader = load("onnx_writer").Tokenizer.from_file(str(model.files.tokenizer))
    assert 60 < max(len(reader.encode(piece).ids) for piece in pieces) <= 64  # none was cut


def test_a_model_of_few_positions_that_says_nothing_is_refused_with_what_to_say(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigurationError, match=r"256 tokens .*max_position_embeddings"):
        ClassifierModel.find(written(tmp_path)).warm()


@pytest.mark.parametrize("how", ["config", "graph"])
def test_an_inference_model_of_few_positions_is_asked_of_each_sentence_that_it_holds(
    tmp_path: Path, how: str
) -> None:
    labels = ("contradiction", "entailment", "neutral")
    model = ClassifierModel.find(few(tmp_path, how, labels=labels))
    near = [f"The cat sat on the mat {'and on a mat ' * count}today." for count in (2, 6, 7)]
    answer = "The cat sat on a mat for tokens."
    check = Grounding(nli=model).check(near, answer, nobody(), threshold=0.5)
    found = asyncio.run(check)
    premises = [near[0] + " " + near[1], near[2]]
    assert len(premises[0]) + len(answer) <= model.characters < sum(map(len, near)) + len(answer)
    rows = model.classify([(premise, answer) for premise in premises])
    assert found.score == pytest.approx(max(row[1] for row in rows), abs=1e-6)
