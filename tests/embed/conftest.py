"""Fixtures of the embed tests: the runtime, written models, and an oracle for them."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import load_onnx_runtime

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).parent

# The oracle imports onnxruntime, which would send telemetry home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def missing(what: str) -> None:
    """Skips, but fails where everything must run."""
    message = f"{what} is not installed: pip install onnxruntime onnx tokenizers"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def find_library() -> Path:
    """The library inside the onnxruntime package, found without importing it."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        missing("onnxruntime")
        raise AssertionError
    capi = Path(spec.origin).parent / "capi"
    names = ("libonnxruntime.so.*", "libonnxruntime.*.dylib", "onnxruntime.dll")
    return next(file.resolve() for name in names for file in sorted(capi.glob(name)))


def sibling(name: str) -> ModuleType:
    """A module of this folder."""
    for package in ("numpy", "onnx", "onnxruntime", "tokenizers"):
        if importlib.util.find_spec(package) is None:
            missing(package)
    full = f"embed_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def library() -> Path:
    """The ONNX Runtime library."""
    return find_library()


@pytest.fixture(scope="session")
def runtime(library: Path) -> str:
    """The version of the runtime, which is loaded."""
    return load_onnx_runtime(library)


@pytest.fixture(scope="session")
def writer() -> Any:
    """Writes models: `onnx_writer.py`."""
    return sibling("onnx_writer")


@pytest.fixture(scope="session")
def oracle() -> Any:
    """Computes the same by other means: `oracle.py`."""
    return sibling("oracle")


@pytest.fixture
def tokenizer(writer: Any, tmp_path: Path) -> Path:
    """A BERT's tokenizer."""
    path: Path = writer.write_tokenizer(tmp_path / "tokenizer.json")
    return path
