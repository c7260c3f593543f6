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
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow._native import TextClassifier, load_onnx_runtime
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.model_files import onnx_runtime_library

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ClassifierFiles", "ClassifierModel", "find_classifier_files"]

_MOST_THREADS = 2
"""Threads of a run by default, where there are as many cores."""

MOST_TOKENS: Final = 256
"""Tokens that are read of a text or pair unless the caller says more: time grows with them."""

CHARACTERS: Final = 1_000
"""Characters that so many tokens stand for, as a rule, in languages of Latin letters."""

_SPECIAL: Final = 2
"""Tokens around a text that are none of it."""

_PLACES_AFTER_PADDING: Final = frozenset(
    {
        *("camembert", "data2vec-text", "flaubert", "ibert", "longformer", "mpnet", "roberta"),
        *("roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
"""Kinds of models that number the positions of tokens from behind their padding's id on, so that
512 tokens need 514 positions."""

_GRAPHS = ("model.onnx", "onnx/model.onnx")
_READER = "tokenizer_config.json"
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
        positions: the most tokens of a text that it can read, by what lies beside the graph; `None`
            where nothing says.
    """

    graph: Path
    tokenizer: Path
    labels: tuple[str, ...]
    activation: Activation
    positions: int | None = None


def find_classifier_files(path: str | os.PathLike[str]) -> ClassifierFiles:
    """Finds a classifier's files in a folder, or beside an `.onnx` file.

    The labels are `id2label` of its `config.json`; the activation is `sigmoid` where that says
    `"problem_type": "multi_label_classification"` or names but one label, else `softmax`. How much
    it reads at most is the least of `max_position_embeddings` there and of `model_max_length` in
    `tokenizer_config.json`, if that is there.

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
    told = _read(config)
    labels, activation = _described(config, told)
    limits = [_positions(told)]
    reader = next((each for each in folders if (each / _READER).is_file()), None)
    if reader is not None:
        limits.append(_whole(_read(reader / _READER).get("model_max_length")))
    return ClassifierFiles(
        graph=graph,
        tokenizer=tokenizer,
        labels=labels,
        activation=activation,
        positions=min((limit for limit in limits if limit is not None), default=None),
    )


def _beside(graph: Path, folders: list[Path], name: str) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(f"{graph} has no {name} beside it. {_HOW}")


def _read(path: Path) -> Mapping[str, Any]:
    """What a file of JSON tells."""
    try:
        told: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not isinstance(told, dict):
        raise ConfigurationError(f"{path} cannot be read: it is no JSON object")
    return told


def _positions(told: Mapping[str, Any]) -> int | None:
    """The tokens that a `config.json` has positions for; `None` where it does not say."""
    positions = _whole(told.get("max_position_embeddings"))
    if positions is None or told.get("model_type") not in _PLACES_AFTER_PADDING:
        return positions
    padding = told.get("pad_token_id")
    return _whole(positions - 1 - (padding if type(padding) is int else 1))


def _whole(number: Any) -> int | None:
    """A number that limits something: a tokenizer without a limit says 10 to the power of 30."""
    return number if type(number) is int and number > 0 else None


def _described(config: Path, told: Mapping[str, Any]) -> tuple[tuple[str, ...], Activation]:
    """The labels and the activation that a `config.json` tells."""
    try:
        names = {int(place): str(name) for place, name in told["id2label"].items()}
        kind = told.get("problem_type")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
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
        max_tokens: the most tokens read of a text or pair; what comes after is not seen. Fewer once
            it is open where the graph's own inputs are shorter.
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
        max_tokens: int | None = None,
    ) -> ClassifierModel:
        """Finds a classifier by its folder or `.onnx` file; reads only what describes it.

        Args:
            path: a folder with `model.onnx` (or `onnx/model.onnx`), `tokenizer.json` and
                `config.json`, or the `.onnx` file, the others beside it.
            threads: threads of one run; by default two, or one where there is but one core.
            sessions: how many runs there may be at once; each holds the weights.
            max_tokens: the most tokens read of a text or pair; by default 256, or as many as the
                model has positions for by its `config.json` and `tokenizer_config.json`.

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
        if max_tokens is None:
            max_tokens = min(MOST_TOKENS, files.positions or MOST_TOKENS)
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

    @property
    def characters(self) -> int:
        """Characters of a text of which it reads, as a rule, all: a thousand for 256 tokens.

        How many tokens they are depends on the language; of what is more, nothing is read.
        """
        tokens = min(self.max_tokens, MOST_TOKENS) - _SPECIAL
        return max(1, CHARACTERS * tokens // (MOST_TOKENS - _SPECIAL))

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
                self.max_tokens = opened.max_tokens  # the graph's own inputs may be shorter
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
