"""The runtime is loaded once, from a path that says which file it is, and never by surprise.

Each case has a process of its own: in one process only one runtime is ever loaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import onnx_runtime_version

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import sys
from cascadeflow._native import SentenceEmbedder, load_onnx_runtime, onnx_runtime_version
from cascadeflow.errors import ConfigurationError

def refusal(call, *arguments):
    try:
        call(*arguments)
    except ConfigurationError as error:
        return str(error)
    raise SystemExit("not refused")
"""


# What keeps the runtime from sending telemetry; the first is how, the others how it spots a test.
QUIET = {"ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}
AUTOMATED = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "CIRCLECI", "GITLAB_CI", "JENKINS_URL", "TRAVIS"}


def python(code: str, *arguments: object, **variables: str) -> str:
    """What a new interpreter prints, in an environment that has decided nothing."""
    undecided = {
        key: value
        for key, value in os.environ.items()
        if key not in QUIET | AUTOMATED | {"ORT_DYLIB_PATH"}
    }
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**undecided, **variables},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_a_model_without_a_runtime_says_to_load_one(tmp_path: Path, writer: Any) -> None:
    model = writer.Graph().hidden_as().save(tmp_path / "model.onnx")
    tokenizer = writer.write_tokenizer(tmp_path / "tokenizer.json")
    code = """
print(onnx_runtime_version())
print(refusal(SentenceEmbedder, sys.argv[1], sys.argv[2]))
"""
    printed = python(code, model, tokenizer)
    assert printed.startswith("None\nno ONNX Runtime is loaded")


def test_loading_twice_is_loading_once(library: Path) -> None:
    code = """
assert load_onnx_runtime(sys.argv[1]) == load_onnx_runtime(sys.argv[1]) == onnx_runtime_version()
print(onnx_runtime_version())
"""
    assert python(code, library).strip() == version("onnxruntime")


def test_the_same_file_by_another_name_is_the_same_runtime(library: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.so"
    link.symlink_to(library)
    code = "assert load_onnx_runtime(sys.argv[1]) == load_onnx_runtime(sys.argv[2])"
    assert not python(code, library, link)


def test_a_second_runtime_is_refused_and_the_first_goes_on(library: Path, tmp_path: Path) -> None:
    other = tmp_path / library.name
    shutil.copy(library, other)
    code = """
version = load_onnx_runtime(sys.argv[1])
print(refusal(load_onnx_runtime, sys.argv[2]))
assert onnx_runtime_version() == load_onnx_runtime(sys.argv[1]) == version
"""
    printed = python(code, library, other)
    assert f"already loaded from {library}" in printed
    assert str(other) in printed


def test_what_is_no_runtime_is_refused_and_the_right_one_loads_afterwards(
    library: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.so"
    text.write_text("not a library")
    code = """
library, text, missing, other = sys.argv[1:]
print(refusal(load_onnx_runtime, "libonnxruntime.so"))
print(refusal(load_onnx_runtime, missing))
print(refusal(load_onnx_runtime, text))
print(refusal(load_onnx_runtime, other))
assert onnx_runtime_version() is None
load_onnx_runtime(library)
"""
    # A shared library that is there and is something else: our own.
    from cascadeflow import _native  # noqa: PLC0415

    printed = python(code, library, text, tmp_path / "missing.so", _native.__file__).splitlines()
    assert "absolute" in printed[0]
    assert "does not exist" in printed[1]
    assert "cannot be opened" in printed[2]
    assert "it is not ONNX Runtime" in printed[3]


def test_threads_that_load_at_once_all_get_the_one_runtime(library: Path) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    versions = set(pool.map(load_onnx_runtime, [sys.argv[1]] * 64))
assert versions == {onnx_runtime_version()}
"""
    assert not python(code, library)


def test_no_telemetry_is_collected(library: Path, tmp_path: Path, writer: Any) -> None:
    model = writer.Graph().hidden_as().save(tmp_path / "model.onnx")
    tokenizer = writer.write_tokenizer(tmp_path / "tokenizer.json")
    home = tmp_path / "home"
    home.mkdir()
    code = """
import os
library, model, tokenizer = sys.argv[1:]
load_onnx_runtime(library)
SentenceEmbedder(model, tokenizer, max_tokens=16).embed(["the cat"])
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    keeps = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "LOCALAPPDATA": str(home)}
    assert python(code, library, model, tokenizer, **keeps) == "1\n"
    # The device id and the database that an uploading runtime makes.
    assert list(home.iterdir()) == []


def test_telemetry_that_was_asked_for_is_left_on(library: Path, tmp_path: Path) -> None:
    code = """
import os
load_onnx_runtime(sys.argv[1])
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    keeps = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    assert python(code, library, ORT_DISABLE_TELEMETRY="0", **keeps) == "0\n"


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_it_lives_beside_an_imported_onnxruntime(
    library: Path, writer: Any, tmp_path: Path, first: str
) -> None:
    model = writer.Graph().hidden_as().save(tmp_path / "model.onnx")
    tokenizer = writer.write_tokenizer(tmp_path / "tokenizer.json")
    steps = ["load_onnx_runtime(library)", "import onnxruntime"]
    quiet = {"ORT_DISABLE_TELEMETRY": "1"}
    if first == "theirs":
        steps.reverse()
    code = "\n".join(
        [
            "library, model, tokenizer = sys.argv[1:]",
            *steps,
            "embedder = SentenceEmbedder(model, tokenizer, max_tokens=16)",
            "session = onnxruntime.InferenceSession(model)",
            "print(len(embedder.embed(['the cat'])), session.get_outputs()[0].name)",
        ]
    )
    assert python(code, library, model, tokenizer, **quiet) == "1 last_hidden_state\n"


@pytest.mark.usefixtures("runtime")
def test_the_version_is_the_one_that_the_package_states() -> None:
    assert onnx_runtime_version() == version("onnxruntime")
