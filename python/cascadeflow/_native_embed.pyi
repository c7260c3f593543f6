"""The Rust side's sentence and text models: part of `cascadeflow._native`, apart for its length."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Literal, Self, final

def load_onnx_runtime(path: str | PathLike[str], /) -> str:
    """Load the ONNX Runtime library at an absolute path, once a process.

    The library is the file `onnxruntime/capi/libonnxruntime.so.<version>` inside the onnxruntime
    package (`.dylib`, `onnxruntime.dll` elsewhere). Loading the same file again does nothing.

    Official builds since 1.29 send telemetry to their maker unless `ORT_DISABLE_TELEMETRY=1` is in
    the environment when the library initialises: it is put there, unless the variable is set.

    Returns:
        The version that the library states.

    Raises:
        ConfigurationError: the path is relative, missing, no library or no ONNX Runtime; the
            runtime is older than 1.23; or another one is loaded.
    """

def onnx_runtime_version() -> str | None:
    """The version of the ONNX Runtime that is loaded, `None` when none is."""

@final
class Vectors:
    """Rows of 32-bit floating-point numbers, all of one dimension, all finite.

    `len()` counts the rows; `[i]` and iteration give one, as `Vectors` too. `numpy` reads them by
    `numpy.frombuffer(vectors.tobytes(), "<f4").reshape(len(vectors), -1)`, the standard library by
    `memoryview(vectors.tobytes()).cast("f", (len(vectors), vectors.dimension))`.

    Raises:
        InvalidRequestError: rows of several lengths or of none, or a NaN or an infinity among them.
    """

    def __new__(cls, rows: Sequence[Sequence[float]], /) -> Self: ...
    @staticmethod
    def from_bytes(data: bytes, dimension: int) -> Vectors:
        """Rows of `dimension` little-endian 32-bit numbers, one after another."""

    @property
    def dimension(self) -> int:
        """Numbers in a row."""

    def columns(self, start: int, end: int, /) -> Vectors:
        """The same numbers of every row: those from `start` on, up to `end`.

        Raises:
            InvalidRequestError: a row has no such numbers, or there are none between.
        """

    def tolist(self) -> list[list[float]]:
        """The rows as lists."""

    def tobytes(self) -> bytes:
        """The rows one after another as little-endian 32-bit numbers."""

    def normalised(self) -> Vectors:
        """The rows scaled to length one; `InvalidRequestError` names a row of zeros."""

    def dots(self, other: Vectors) -> list[list[float]]:
        """The dot product of each row with each of `other`'s; between unit vectors, the cosine."""

    def cosines(self, other: Vectors) -> list[list[float]]:
        """The cosine of each row with each of `other`'s; `InvalidRequestError` for zeros."""

    def top_k(self, query: Vectors, k: int) -> list[tuple[int, float]]:
        """The `k` rows nearest to the one vector of `query` by dot product, with the product.

        Largest first, the earlier row first among equals; all rows when there are fewer than `k`.
        """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Vectors: ...
    def __iter__(self) -> Iterator[Vectors]: ...

@final
class ExampleIndex:
    """Routes known by examples: how near a vector lies to each.

    Cosines are taken where the examples of one route scatter alike in every direction; their
    covariance is estimated from the examples and shrunk. `len()` counts the routes. Of 384 numbers,
    it takes some 10 ms to make, and 0.2 s for 1,500 examples, without the interpreter's lock.

    Args:
        examples: the examples of all routes.
        routes: each example's route: 0, 1, 2 …; at least two examples a route.
        variance: how much the examples of a route usually scatter in each direction, at length one.
        strength: how many examples that is worth beside those that are here.

    Raises:
        InvalidRequestError: the numbers do not fit each other, or an example is zero.
    """

    def __new__(
        cls, examples: Vectors, routes: Sequence[int], *, variance: float, strength: float
    ) -> Self: ...
    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def cohesion(self) -> list[float]:
        """By route, the root of the mean cosine of its examples with each other, 0.1 at least."""

    @property
    def nearness(self) -> tuple[float, float, float | None, float | None]:
        """How near an example lies to the others, in the mean over them (512 at most).

        Its cosine with the mean of its own route, itself left out, and with the nearest other
        example of it; the largest with the mean, and with an example, of another route, `None`
        where there is but one route.
        """

    def score(
        self, query: Vectors, *, nearest: int
    ) -> tuple[list[float], list[float], list[tuple[int, float]]]:
        """By route the cosine with its mean, and with its nearest example; the nearest of all.

        These are `nearest` examples by their place, nearest first, with the cosine before
        whitening.
        """

    def __len__(self) -> int: ...

@final
class SentenceEmbedder:
    """A sentence-embedding model in ONNX: texts to vectors of length one.

    The graph takes `input_ids`, and `attention_mask` and `token_type_ids` if it has them. Its
    `sentence_embedding` is taken as it is; else its `last_hidden_state` or `token_embeddings` (or
    its only output of that shape) is averaged over the text's tokens. It is safe to use from many
    threads, and works without the interpreter's lock. A forked process opens its own sessions at
    the first use, from the same files.

    Args:
        model: the `.onnx` file.
        tokenizer: its Hugging Face `tokenizer.json`; truncation and padding in it are set aside.
        external_data: files of weights by the name that the graph calls them by, when they lie
            elsewhere than beside the graph. In one folder under those very names they are mapped
            into memory, else read into it, which takes as much memory again.
        max_tokens: the most tokens read of a text, special tokens included; as many as the graph's
            inputs hold, where these are of a fixed length that is less.
        sessions: how many batches may run at once; each session holds the weights. Further callers
            wait in the order in which they came.
        threads: threads a session computes with, the caller's included.
        max_batch_tokens: the most tokens in one run, padding included, but at least one text. A
            model that was quantised dynamically gives a text numbers that move with its
            neighbours; 1 runs every text by itself.
        output: the graph's output to read, when its name and shape do not tell.
        parts: of how many layers the output holds the states beside each other; each part of a
            vector then has length one.

    Raises:
        ConfigurationError: no runtime is loaded, a file is missing or is not what it should be, the
            model does not run on `max_tokens` tokens, or its vectors have no such equal parts.
    """

    def __new__(
        cls,
        model: str | PathLike[str],
        tokenizer: str | PathLike[str],
        *,
        external_data: Mapping[str, str | PathLike[str]] | None = None,
        max_tokens: int = 256,
        sessions: int = 1,
        threads: int = 1,
        max_batch_tokens: int = 2048,
        output: str | None = None,
        parts: int = 1,
    ) -> Self: ...
    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def max_tokens(self) -> int:
        """The most tokens read of a text."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector of length one for each text, in their order, whatever they are batched with.

        Raises:
            InvalidRequestError: a text without tokens.
            CascadeFlowError: the model failed.
        """

@final
class TextClassifier:
    """A text-classification model in ONNX: texts, or pairs of texts, to probabilities of labels.

    It reads the graph's `logits`, or its only output with a row a text. Pairs that are too long
    lose tokens of the longer text first. All else is as said of `SentenceEmbedder`.

    Args:
        activation: `"softmax"` when one label holds, `"sigmoid"` when any number may.
    """

    def __new__(
        cls,
        model: str | PathLike[str],
        tokenizer: str | PathLike[str],
        *,
        activation: Literal["softmax", "sigmoid"],
        external_data: Mapping[str, str | PathLike[str]] | None = None,
        max_tokens: int = 256,
        sessions: int = 1,
        threads: int = 1,
        max_batch_tokens: int = 2048,
        output: str | None = None,
    ) -> Self: ...
    @property
    def labels(self) -> int:
        """The number of labels."""

    @property
    def max_tokens(self) -> int:
        """The most tokens read of a text or pair."""

    def classify(self, texts: Sequence[str | tuple[str, str]]) -> list[list[float]]:
        """The probability of each label in the model's order, for each text or pair in order."""
