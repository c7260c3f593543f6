"""What opening a local model takes: time and memory, each measured in a process of its own.

    python -m cascadeflow.models.measure NAME [SESSIONS [THREADS]]

prints it as one JSON object; `measure` runs that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cascadeflow.errors import CascadeFlowError, ConfigurationError
from cascadeflow.models.local_models import local_model, pulled_folder, pulled_graph

__all__ = ["Measured", "measure"]

_TEXT: Final = "What is the capital of France, and how many people live there?"
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What opening a model took, in a new process.

    Attributes:
        model: its name.
        sessions: runs that there may be at once.
        threads: threads of a run.
        load_ms: milliseconds until it could be used: finding its files, reading and hashing them,
            opening ONNX Runtime.
        first_ms: milliseconds of its first run, on a short text.
        before: resident memory before, in bytes: the interpreter and this package; `None` where the
            system does not say.
        after: resident memory after the first run, in bytes. Pages of a file that are mapped count,
            though processes share them.
        private: of these, what this process alone has.
    """

    model: str
    sessions: int
    threads: int
    load_ms: float
    first_ms: float
    before: int | None
    after: int | None
    private: int | None

    @property
    def added(self) -> int | None:
        """Bytes that the model and the runtime added."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


def measure(name: str, *, sessions: int = 1, threads: int = 2) -> Measured:
    """Opens a model in a new process and says what it took.

    Args:
        name: a model that is here, as `local_model` takes it.
        sessions: how many runs there may be at once.
        threads: threads of a run.

    Raises:
        ConfigurationError: it is not here, or cannot be opened.
    """
    local_model(name)
    done = subprocess.run(  # noqa: S603 - this very module
        [sys.executable, "-m", __spec__.name, name, str(sessions), str(threads)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise ConfigurationError(f"{name} cannot be opened: {reason}")
    return Measured(**json.loads(lines[-1]))


def _here(name: str, sessions: int, threads: int) -> Measured:
    from cascadeflow.models.embedding import SentenceModel  # noqa: PLC0415 - is part of `before`

    model = local_model(name)
    before = _memory("VmRSS")
    begun = time.perf_counter()
    if model.purpose == "sentence vectors":
        sentences = SentenceModel.find(
            variant=model.variant or "fp32", sessions=sessions, threads=threads
        )
        sentences.warm()
        run = sentences.embed
    else:
        run = _classifier(name, sessions, threads).classify
    opened = time.perf_counter()
    run([_TEXT])
    ended = time.perf_counter()
    return Measured(
        model=model.name,
        sessions=sessions,
        threads=threads,
        load_ms=(opened - begun) * 1e3,
        first_ms=(ended - opened) * 1e3,
        before=before,
        after=_memory("VmRSS"),
        private=_memory("RssAnon"),
    )


def _classifier(name: str, sessions: int, threads: int) -> Any:
    from cascadeflow._native import TextClassifier, load_onnx_runtime  # noqa: PLC0415
    from cascadeflow.models.model_files import onnx_runtime_library  # noqa: PLC0415

    graph = pulled_graph(name)
    load_onnx_runtime(onnx_runtime_library())
    return TextClassifier(
        graph,
        pulled_folder(name) / "tokenizer.json",
        activation="sigmoid",
        sessions=sessions,
        threads=threads,
    )


def _memory(field: str) -> int | None:
    """A line of Linux's account of this process, in bytes."""
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _main() -> None:
    name, sessions, threads = (*sys.argv[1:], *("", "1", "2")[len(sys.argv) - 1 :])
    try:
        measured = _here(name, int(sessions), int(threads))
    except CascadeFlowError as error:
        sys.exit(str(error).replace("\n", " "))
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")


if __name__ == "__main__":
    _main()
