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


def test_toxicity_takes_the_named_labels_probability_of_the_worst_piece(tmp_path: Path) -> None:
    model = ClassifierModel.find(written(tmp_path), max_tokens=32)
    long = "the cat sat " * 200 + "who pays for tokens? " * 100
    pieces = [long[at : at + 1_000] for at in range(0, len(long), 1_000)]
    want = max(row[1] for row in model.classify(pieces))
    check = Toxicity(classifier=model)
    assert check.name == "toxic"
    assert asyncio.run(check.score(long, nobody())) == pytest.approx(want, abs=1e-6)
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
