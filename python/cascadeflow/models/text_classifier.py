"""Text-classification models in ONNX that a user brings: found by path, run beside the event loop.

A toxicity model, a model of natural-language inference: what their labels mean is for the room that
asks for one.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cascadeflow._native import TextClassifier, load_onnx_runtime
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.model_files import onnx_runtime_library

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ClassifierFiles", "ClassifierModel", "find_classifier_files"]

_MOST_THREADS = 2
"""Threads of a run by default, where there are as many cores."""

_GRAPHS = ("model.onnx", "onnx/model.onnx")
_HOW = (
    "A classifier's folder holds model.onnx (or onnx/model.onnx), tokenizer.json and config.json, "
    "as `optimum-cli export onnx --task text-classification` writes them"
)

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFiles:
    """The files of one classifier, as found, and what its configuration says.

    Attributes:
        graph: the `.onnx` file.
        tokenizer: its `tokenizer.json`.
        labels: the labels' names in the order of the model's outputs.
        activation: `softmax` when one label holds, `sigmoid` when any number may.
    """

    graph: Path
    tokenizer: Path
    labels: tuple[str, ...]
    activation: Activation


def find_classifier_files(path: str | os.PathLike[str]) -> ClassifierFiles:
    """Finds a classifier's files in a folder, or beside an `.onnx` file.

    The labels are `id2label` of its `config.json`; the activation is `sigmoid` where that says
    `"problem_type": "multi_label_classification"` or names but one label, else `softmax`.

    Raises:
        ConfigurationError: something is missing or cannot be read; it says what to do.
    """
    place = Path(path).expanduser().absolute()
    if place.is_file() and place.suffix == ".onnx":
        graph = place
    else:
        found = [place / name for name in _GRAPHS if (place / name).is_file()]
        if not found:
            what = "holds no model.onnx" if place.is_dir() else "does not exist"
            raise ConfigurationError(f"{place} {what}. {_HOW}")
        graph = found[0]
    folders = [graph.parent]
    if graph.parent.name == "onnx":
        folders.append(graph.parent.parent)
    tokenizer, config = (
        _beside(graph, folders, name) for name in ("tokenizer.json", "config.json")
    )
    labels, activation = _described(config)
    return ClassifierFiles(graph=graph, tokenizer=tokenizer, labels=labels, activation=activation)


def _beside(graph: Path, folders: list[Path], name: str) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(f"{graph} has no {name} beside it. {_HOW}")


def _described(config: Path) -> tuple[tuple[str, ...], Activation]:
    """The labels and the activation that a `config.json` tells."""
    try:
        told: Any = json.loads(config.read_bytes())
        names = {int(place): str(name) for place, name in told["id2label"].items()}
        kind = told.get("problem_type")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{config} cannot be read: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{config} names no labels: `id2label` must map each output's number to its name"
        ) from error
    if not names or sorted(names) != list(range(len(names))):
        raise ConfigurationError(f"{config}: `id2label` must number the labels from 0 on")
    several = kind == "multi_label_classification" or len(names) == 1
    return tuple(names[place] for place in range(len(names))), "sigmoid" if several else "softmax"


class ClassifierModel:
    """A text classifier that runs in this process, in ONNX Runtime.

    It is opened the first time it is needed, once a process: who asks `find` for the same files
    with the same options gets the same object. It may be used from many threads and event loops at
    once, and in forked processes, which open it anew.

    Attributes:
        files: where it lies, and what its labels are.
        max_tokens: the most tokens read of a text or pair; what comes after is not seen.
        threads: threads that a run computes with.
        sessions: how many runs there may be at once.
    """

    def __init__(
        self, files: ClassifierFiles, *, threads: int, sessions: int, max_tokens: int
    ) -> None:
        """Use `find`."""
        self.files = files
        self.threads = threads
        self.sessions = sessions
        self.max_tokens = max_tokens
        self._classifier: TextClassifier | None = None
        self._loading = threading.Lock()
        self._pooling = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def find(
        cls,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        sessions: int = 1,
        max_tokens: int = 256,
    ) -> ClassifierModel:
        """Finds a classifier by its folder or `.onnx` file; reads only its `config.json`.

        Args:
            path: a folder with `model.onnx` (or `onnx/model.onnx`), `tokenizer.json` and
                `config.json`, or the `.onnx` file, the others beside it.
            threads: threads of one run; by default two, or one where there is but one core.
            sessions: how many runs there may be at once; each holds the weights.
            max_tokens: the most tokens read of a text or pair.

        Raises:
            ConfigurationError: a file is missing, or there is no ONNX Runtime; it says what to do.
        """
        files = find_classifier_files(path)
        onnx_runtime_library()
        if threads is None:
            threads = min(_MOST_THREADS, os.cpu_count() or 1)
        for option, number in (("threads", threads), ("sessions", sessions)):
            if number < 1:
                raise ConfigurationError(f"{option} must be at least 1, not {number}")
        return _registry.model(files, threads, sessions, max_tokens)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names in the order of the probabilities."""
        return self.files.labels

    def label(self, *names: str) -> int:
        """Gives the place of the label that is called by one of these names, whatever their case.

        Raises:
            ConfigurationError: none or several are; it lists the labels there are.
        """
        wanted = {name.casefold() for name in names}
        found = [at for at, name in enumerate(self.labels) if name.casefold() in wanted]
        if len(found) != 1:
            many = "several labels are" if found else "no label is"
            raise ConfigurationError(
                f"{many} called {' or '.join(names)} in {self.files.graph.parent}: there are "
                f"{', '.join(self.labels)}; name one of them"
            )
        return found[0]

    def warm(self) -> None:
        """Opens the model now instead of at its first use.

        Raises:
            ConfigurationError: a file is not what it should be, or the runtime does not take it; it
                says what to do. Later uses try again.
        """
        self._opened()

    async def warm_up(self) -> None:
        """Does what `warm` does and raises what it raises, without blocking the event loop."""
        if self._classifier is None:
            await asyncio.wrap_future(self._threads().submit(self.warm))

    def classify(self, texts: Sequence[str | tuple[str, str]]) -> list[list[float]]:
        """Gives the probability of each label for each text or pair, blocking meanwhile.

        Raises:
            ConfigurationError: see `warm`.
            InvalidRequestError: a text that the model cannot read.
            CascadeFlowError: the model failed.
        """
        return self._opened().classify(texts)

    async def probabilities(self, texts: Sequence[str | tuple[str, str]]) -> list[list[float]]:
        """Gives what `classify` gives and raises what it raises, without blocking the event loop.

        Those who find all sessions busy wait in line; who is cancelled leaves it.
        """
        if not texts:
            return []
        return await asyncio.wrap_future(self._threads().submit(self.classify, list(texts)))

    def _opened(self) -> TextClassifier:
        if self._classifier is not None:
            return self._classifier
        with self._loading:
            if self._classifier is None:
                load_onnx_runtime(onnx_runtime_library())
                opened = TextClassifier(
                    self.files.graph,
                    self.files.tokenizer,
                    activation=self.files.activation,
                    max_tokens=self.max_tokens,
                    sessions=self.sessions,
                    threads=self.threads,
                    # A graph that is quantised dynamically gives numbers that move with what a
                    # text is batched with; a classifier's texts gain little by company.
                    max_batch_tokens=1,
                )
                if opened.labels != len(self.labels):
                    raise ConfigurationError(
                        f"{self.files.graph} gives {opened.labels} numbers a text, where its "
                        f"config.json names {len(self.labels)} labels: they belong to two models"
                    )
                self._classifier = opened
            return self._classifier

    def _threads(self) -> ThreadPoolExecutor:
        with self._pooling:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self.sessions, thread_name_prefix="cascadeflow-classify"
                )
            return self._pool

    def _after_fork(self) -> None:
        """Forgets what a parent process had under way: its threads are not here."""
        self._loading = threading.Lock()
        self._pooling = threading.Lock()
        self._pool = None

    def __repr__(self) -> str:
        return f"ClassifierModel({self.files.graph})"


class _Registry:
    """The classifiers of this process: one for each set of files and options."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[tuple[object, ...], ClassifierModel] = {}

    def model(
        self, files: ClassifierFiles, threads: int, sessions: int, max_tokens: int
    ) -> ClassifierModel:
        key = (files, threads, sessions, max_tokens)
        with self._lock:
            model = self._models.get(key)
            if model is None:
                model = self._models[key] = ClassifierModel(
                    files, threads=threads, sessions=sessions, max_tokens=max_tokens
                )
        return model

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        for model in self._models.values():
            model._after_fork()  # noqa: SLF001  # one room


_registry = _Registry()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.after_fork)
