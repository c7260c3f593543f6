"""Finding what a model needs on this machine: its files by what they hold, and its runtime.

Nothing is fetched and nothing is imported: a package that carries a file is looked up, not loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KnownFile", "digest", "files_below", "onnx_runtime_library", "package_folder"]

_LIBRARIES: Final = ("libonnxruntime.so.*", "libonnxruntime.*.dylib", "onnxruntime.dll")

_digests: dict[tuple[Path, int, int], str] = {}
"""What was read once, by path, size and time of change."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that is known by what it holds, wherever it lies.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        size: bytes.
    """

    sha256: str
    size: int

    def may_be(self, path: Path) -> bool:
        """Whether a file of the right size is there; reads nothing of it."""
        try:
            return path.is_file() and path.stat().st_size == self.size
        except OSError:  # a folder that may not be entered
            return False

    def is_at(self, path: Path) -> bool:
        """Whether it is the file: reads it whole, once a process.

        Raises:
            ConfigurationError: it cannot be read.
        """
        return self.may_be(path) and digest(path) == self.sha256


def digest(path: Path) -> str:
    """Gives a file's SHA-256, reading it again only when its size or time of change is another.

    90 MB take 0.1 s where the processor computes SHA-256 itself, 0.4 s elsewhere.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        state = path.stat()
        key = (path, state.st_size, state.st_mtime_ns)
        known = _digests.get(key)
        if known is None:
            with path.open("rb") as file:
                known = _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    return known


def files_below(folder: Path, pattern: str, *, depth: int) -> Iterator[Path]:
    """Gives the files of a pattern in a folder and so many levels below it, the nearest first."""
    for level in range(depth + 1):
        yield from sorted(folder.glob("*/" * level + pattern))


def package_folder(name: str) -> Path | None:
    """Gives the folder of an installed top-level package without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def onnx_runtime_library() -> Path:
    """Finds the shared library inside the onnxruntime package.

    Raises:
        ConfigurationError: the package is not installed, or has no library of its own.
    """
    folder = package_folder("onnxruntime")
    if folder is None:
        raise ConfigurationError(
            'a sentence model needs ONNX Runtime: pip install "cascadeflow[semantic]"'
        )
    for pattern in _LIBRARIES:
        for library in sorted((folder / "capi").glob(pattern)):
            return library.resolve()
    raise ConfigurationError(
        f"the onnxruntime package in {folder} has no shared library of its own, as PyPI's wheels "
        'have: pip install --force-reinstall "onnxruntime>=1.23"'
    )
