"""tiktoken as the oracle, on vocabulary files rebuilt from ours and held to its own hashes."""

from __future__ import annotations

import base64
import hashlib
import inspect
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiktoken
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from cascadeflow import _native

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NAMES = ("cl100k_base", "o200k_base")


@pytest.fixture(scope="session", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """A vocabulary's name."""
    return str(request.param)


def published(name: str) -> tuple[str, str]:
    """The address of a vocabulary and its SHA-256, as tiktoken's source states them."""
    source = inspect.getsource(getattr(openai_public, name))
    address = re.search(r'"(https://[^"]+)"', source)
    sha256 = re.search(r'expected_hash="([0-9a-f]{64})"', source)
    assert address is not None
    assert sha256 is not None
    return address[1], sha256[1]


@pytest.fixture(scope="session")
def published_sha256(name: str) -> str:
    """The hash of the published vocabulary file."""
    return published(name)[1]


@pytest.fixture(scope="session")
def rebuilt_file(name: str) -> bytes:
    """The published vocabulary file, written from the tokens that we have packed."""
    return b"".join(
        base64.b64encode(token) + b" %d\n" % rank
        for rank, token in enumerate(_native.Vocabulary(name).tokens())
    )


@pytest.fixture(scope="session")
def ours(name: str) -> _native.Vocabulary:
    """One of our vocabularies."""
    return _native.Vocabulary(name)


@pytest.fixture(scope="session")
def oracle(
    name: str,
    published_sha256: str,
    rebuilt_file: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> tiktoken.Encoding:
    """tiktoken's encoding of that name. It reads a file only if the hash in its source agrees."""
    # Were it another, tiktoken would fetch the file; no test may use the network.
    assert hashlib.sha256(rebuilt_file).hexdigest() == published_sha256
    folder = tmp_path_factory.mktemp(name)
    key = hashlib.sha1(published(name)[0].encode(), usedforsecurity=False).hexdigest()
    (folder / key).write_bytes(rebuilt_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        return tiktoken.get_encoding(name)


@pytest.fixture(scope="session")
def token_error(recordings: Path) -> Iterator[Any]:
    """The module that measures counts on the recordings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASCADEFLOW_RECORDINGS", str(recordings))
        patch.syspath_prepend(ROOT / "benches")
        spec = spec_from_file_location("token_error", ROOT / "benches" / "token_error.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        patch.setitem(sys.modules, "token_error", module)
        spec.loader.exec_module(module)
        yield module
