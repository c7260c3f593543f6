"""The models that run on this machine: which there are, where they are, and whether they are whole.

`pull.py` brings them here. What is pulled lies in the folder `models` of the user's cache, each
model in a folder of its own, beside a note of what its files must be. A folder without that note
was not finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.models import embedding_files
from cascadeflow.models._download import hashed, write_whole
from cascadeflow.models.embedding import loaded_sentence_models
from cascadeflow.models.embedding_files import (
    FOLDER_INT8,
    MINILM,
    MINILM_INT8,
    WEIGHTS_NAME,
    find_sentence_files,
    models_folder,
)
from cascadeflow.models.hub import HubId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cascadeflow.models.embedding_files import SentenceFiles, Variant
    from cascadeflow.models.model_files import KnownFile

__all__ = [
    "LOCAL_MODELS",
    "FileReport",
    "LocalModel",
    "LocalStatus",
    "Purpose",
    "inventory",
    "local_model",
    "pulled_folder",
    "pulled_graph",
    "verify",
]

Purpose: TypeAlias = Literal["sentence vectors", "toxicity", "entailment", "text model"]
"""What a model is for; `text model` is said of those that this package does not know."""

NOTE: Final = ".cascadeflow.json"
"""The name of the note beside a model's files."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model that can be pulled.

    Attributes:
        name: what it is pulled by.
        hub_id: where the hub has it; what is made here has the id of what it is made of.
        purpose: what it is for.
        variant: how its numbers are kept; `None` where that is the graph's, which is chosen when
            it is pulled.
        megabytes: about what is downloaded; `None` where the hub has to be asked.
        licence: of its weights, by its card.
        about: what one should know.
        made_of: the model that it is made of, on this machine.
    """

    name: str
    hub_id: HubId
    purpose: Purpose = "text model"
    variant: Variant | None = None
    megabytes: int | None = None
    licence: str | None = None
    about: str = ""
    made_of: str | None = None

    @property
    def files(self) -> Mapping[str, KnownFile]:
        """The files that this package knows by their hash; none where it takes the hub's word."""
        if self.name != _MINILM_NAME:
            return MappingProxyType({})
        return MappingProxyType(
            {WEIGHTS_NAME: embedding_files.WEIGHTS, "tokenizer.json": embedding_files.TOKENIZER}
        )

    @property
    def folder(self) -> Path:
        """Where it is pulled to."""
        own = self.name in (_MINILM_NAME, FOLDER_INT8)
        return models_folder() / (self.name if own else self.hub_id.folder)


_MINILM_NAME: Final = "all-MiniLM-L6-v2"
_MINILM_HUB: Final = HubId("sentence-transformers/all-MiniLM-L6-v2")

LOCAL_MODELS: Final[Mapping[str, LocalModel]] = MappingProxyType(
    {
        model.name: model
        for model in (
            LocalModel(
                name=_MINILM_NAME,
                hub_id=_MINILM_HUB,
                purpose="sentence vectors",
                variant="fp32",
                megabytes=91,
                licence="Apache-2.0",
                about="domains, relevance and grounding read its vectors",
            ),
            LocalModel(
                name=FOLDER_INT8,
                hub_id=_MINILM_HUB,
                purpose="sentence vectors",
                variant="int8",
                megabytes=0,
                licence="Apache-2.0",
                about="made of the official weights on this machine; its vectors are others, so "
                "nothing that was fitted on fp32 takes them",
                made_of=_MINILM_NAME,
            ),
            LocalModel(
                name="toxic-bert",
                hub_id=HubId("Xenova/toxic-bert"),
                purpose="toxicity",
                megabytes=439,
                licence="Apache-2.0",
                about="six labels of the Jigsaw comments, each with a probability of its own",
            ),
            LocalModel(
                name="nli-deberta-v3-xsmall",
                hub_id=HubId("Xenova/nli-deberta-v3-xsmall"),
                purpose="entailment",
                megabytes=293,
                licence="Apache-2.0",
                about="contradiction, entailment, neutral, of a premise and a hypothesis",
            ),
        )
    }
)
"""The models that this package knows by name; any other is pulled by its id on the hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStatus:
    """A model, and what is here of it.

    Attributes:
        model: which.
        path: the folder of the files that would be used; `None` when there are none.
        place: `cache`, or `elsewhere`: an installed package, Hugging Face's cache, a path given.
        graph: the graph that was pulled, by its path in the folder.
        size: bytes on the disk.
        verified: whether its files were hashed when they were pulled and have not changed since, by
            size and time; `None` where nobody looked (`verify` does).
        loaded: how many sessions of this process hold it; `None` of classifiers, which nobody
            counts.
    """

    model: LocalModel
    path: Path | None
    place: Literal["cache", "elsewhere"] | None = None
    graph: str | None = None
    size: int | None = None
    verified: bool | None = None
    loaded: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What a file holds.

    Attributes:
        model: the model's name.
        path: the file.
        state: `right`; `damaged`: it holds something else; `missing`.
    """

    model: str
    path: Path
    state: Literal["right", "damaged", "missing"]


@dataclass(frozen=True, slots=True)
class Noted:
    """What the note says of a file."""

    sha256: str
    size: int
    changed_ns: int


def local_model(name: str) -> LocalModel:
    """Gives a model by its name, or by its id on the hub.

    >>> local_model("all-minilm-l6-v2").megabytes, local_model("org/model").folder.name
    (91, 'org--model')

    Raises:
        ConfigurationError: it is neither.
    """
    for model in LOCAL_MODELS.values():
        if name.lower() == model.name.lower():
            return model
    if "/" not in name:
        raise ConfigurationError(
            f"no local model is called {name!r}: there are {', '.join(LOCAL_MODELS)}, and any of "
            "the hub by org/name"
        )
    hub_id = HubId.parse(name)
    for model in LOCAL_MODELS.values():
        if model.hub_id == hub_id:
            return model
    return LocalModel(name=str(hub_id), hub_id=hub_id)


def pulled_folder(name: str) -> Path:
    """Gives the folder of a model that was pulled, by its name or its id on the hub.

    Its graph lies in it or in its folder `onnx`, its `tokenizer.json` and `config.json` lie in it.

    Raises:
        ConfigurationError: it was not pulled; it says how to.
    """
    folder = local_model(name).folder
    if read_note(folder) is None:
        raise ConfigurationError(
            f"{name} is not on this machine: cascadeflow models pull {name}, or give the path of "
            "its folder"
        )
    return folder


def pulled_graph(name: str) -> Path:
    """Gives the `.onnx` file of a model that was pulled, by its name or its id on the hub.

    Its `tokenizer.json` and `config.json` lie beside it, or beside its folder `onnx`.

    Raises:
        ConfigurationError: it was not pulled, or its graph is this package's own.
    """
    folder = pulled_folder(name)
    note = read_note(folder)
    graph = None if note is None else graph_of(note)
    if graph is None:
        raise ConfigurationError(f"{folder} holds no .onnx file: SentenceModel.find() opens it")
    return folder / graph


def inventory() -> tuple[LocalStatus, ...]:
    """Says of each known and each pulled model what is here; reads no file that is large."""
    models = {model.folder: model for model in LOCAL_MODELS.values()}
    for folder in sorted(models_folder().glob(f"*/{NOTE}")):
        note = read_note(folder.parent)
        if note is not None and folder.parent not in models:
            models[folder.parent] = local_model(note["name"])
    return tuple(_status(model) for model in models.values())


def verify(name: str | None = None) -> tuple[FileReport, ...]:
    """Reads a model's files again, wherever they are found, and compares what they hold.

    Args:
        name: the model; by default all that are here.

    Raises:
        ConfigurationError: there is no such model, or it is not here.
        StoreError: a file cannot be read.
    """
    if name is not None:
        reports = tuple(_verified(local_model(name)))
    else:
        reports = tuple(report for each in inventory() for report in _verified(each.model))
    if not reports:
        missing = "no local model is" if name is None else f"{name} is not"
        raise ConfigurationError(
            f"{missing} on this machine: cascadeflow models pull {name or _MINILM_NAME}"
        )
    return reports


def write_note(model: LocalModel, *, commit: str | None, source: str, paths: list[str]) -> None:
    """Notes what a model's files are, once all of them are there.

    Raises:
        StoreError: a file cannot be read, or the note not be written.
    """
    files = {}
    for path in paths:
        file = model.folder / path
        state = file.stat()
        files[path] = {
            "sha256": hashed(file, "sha256"),
            "size": state.st_size,
            "changed_ns": state.st_mtime_ns,
        }
    note = {
        "format": _FORMAT,
        "name": model.name,
        "repo": model.hub_id.repo,
        "revision": model.hub_id.revision,
        "commit": commit,
        "source": source,
        "files": files,
    }
    write_whole(model.folder / NOTE, json.dumps(note, indent=1).encode() + b"\n")


def read_note(folder: Path) -> dict[str, Any] | None:
    """Gives the note of a folder; `None` when there is none: nothing was pulled, or not to its end.

    Raises:
        StoreError: it cannot be read, or is of another version.
    """
    path = folder / NOTE
    try:
        note = json.loads(path.read_bytes())
        if note["format"] == _FORMAT:
            note["files"] = {
                str(name): Noted(str(entry["sha256"]), int(entry["size"]), int(entry["changed_ns"]))
                for name, entry in note["files"].items()
            }
            return {**note, "name": str(note["name"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} cannot be read ({error!r}): remove it and pull again") from error
    raise StoreError(f"{path} is of another version of cascadeflow: remove it and pull again")


def graph_of(note: dict[str, Any]) -> str | None:
    """Gives the graph among a note's files; sentence models have theirs in this package."""
    return next((path for path in note["files"] if path.endswith(".onnx")), None)


def is_whole(folder: Path, note: dict[str, Any]) -> bool:
    """Whether a folder's files hold what was noted: reads them.

    Raises:
        StoreError: a file cannot be read.
    """
    return all(
        (folder / path).is_file() and hashed(folder / path, "sha256") == noted.sha256
        for path, noted in note["files"].items()
    )


def is_unchanged(folder: Path, note: dict[str, Any]) -> bool:
    """Whether a folder's files are there with the size and time that were noted."""
    for path, noted in note["files"].items():
        try:
            state = (folder / path).stat()
        except OSError:
            return False
        if (state.st_size, state.st_mtime_ns) != (noted.size, noted.changed_ns):
            return False
    return True


def _status(model: LocalModel) -> LocalStatus:
    loaded = None
    if model.purpose == "sentence vectors":
        label = MINILM if model.variant == "fp32" else MINILM_INT8
        found = _sentence_files(model)
        if not found:
            return LocalStatus(model=model, path=None)
        files = found[0]
        folder = files.tokenizer.parent
        paths = [files.tokenizer, *files.external_data.values()]
        loaded = sum(each.sessions for each in loaded_sentence_models() if each.name == label)
    else:
        folder = model.folder
        note = read_note(folder)
        if note is None:
            return LocalStatus(model=model, path=None)
        paths = [folder / path for path in note["files"]]
    in_cache = folder == model.folder
    note = read_note(folder) if in_cache else None
    return LocalStatus(
        model=model,
        path=folder,
        place="cache" if in_cache else "elsewhere",
        graph=None if note is None else graph_of(note),
        size=sum(path.stat().st_size for path in paths if path.is_file()),
        verified=None if note is None else is_unchanged(folder, note) or None,
        loaded=loaded,
    )


def _sentence_files(model: LocalModel) -> list[SentenceFiles]:
    """Where all-MiniLM-L6-v2 lies in this variant, the first being the one that is used."""
    label = MINILM if model.variant == "fp32" else MINILM_INT8
    try:
        found = find_sentence_files(variant=model.variant or "fp32")
    except ConfigurationError:  # nowhere, which is an answer here
        return []
    return [files for files in found if files.label == label and files.made_of is None]


def _verified(model: LocalModel) -> Iterator[FileReport]:
    seen = set()
    if model.purpose == "sentence vectors":
        for files in _sentence_files(model):
            for path, known in files.known.items():
                seen.add(path)
                yield _report(model, path, known.sha256)
    # What was pulled and is now of another size, or gone, is no longer found as the model.
    note = read_note(model.folder)
    for name, noted in ({} if note is None else note["files"]).items():
        if model.folder / name not in seen:
            yield _report(model, model.folder / name, noted.sha256)


def _report(model: LocalModel, path: Path, sha256: str) -> FileReport:
    if not path.is_file():
        return FileReport(model=model.name, path=path, state="missing")
    # Not `digest`: it trusts the time of change, which a failing disk does not touch.
    right = hashed(path, "sha256") == sha256
    return FileReport(model=model.name, path=path, state="right" if right else "damaged")
