"""A model's files come whole and right from the hub; or what came is kept, and it is said why."""

from __future__ import annotations

import logging
import os
import random
import resource
import subprocess
import sys
from socket import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.models.hub_server import COMMIT, TOKEN, FakeHub, Fault, git_hash, sha256

from cascadeflow.errors import (
    ConfigurationError,
    DownloadError,
    RequestsForbiddenError,
    StoreError,
)
from cascadeflow.guard import allow_real_requests
from cascadeflow.models._download import locked
from cascadeflow.models.hub import Hub, HubId, Progress, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGE = random.Random(7).randbytes(300_000)
SMALL = b'{"small": true}'
ID = HubId("org/model")
LARGE_FILE = RemoteFile(
    path="onnx/model.onnx", size=len(LARGE), digest=sha256(LARGE), algorithm="sha256"
)
SMALL_FILE = RemoteFile(
    path="config.json", size=len(SMALL), digest=git_hash(SMALL), algorithm="git"
)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub({LARGE_FILE.path: LARGE, SMALL_FILE.path: SMALL}) as server:
        yield server


def hub_of(server: FakeHub, **options: Any) -> Hub:
    return Hub(endpoint=server.endpoint, first_wait=0, **options)


def fetch(
    server: FakeHub, target: Path, file: RemoteFile = LARGE_FILE, **options: Any
) -> list[Progress]:
    seen: list[Progress] = []
    with hub_of(server, **options) as hub:
        hub.fetch(ID, file, target, progress=seen.append)
    return seen


def parts(folder: Path) -> list[int]:
    """The sizes of what is there of files that are not whole."""
    return [path.stat().st_size for path in folder.rglob(".*.partial")]


def test_a_large_file_is_fetched_from_where_the_hub_sends_to(
    server: FakeHub, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "folder" / "model.onnx"
    seen = fetch(server, target)
    assert target.read_bytes() == LARGE
    assert parts(tmp_path) == []
    assert [f"http://{asked.host}" for asked in server.asked] == [
        server.endpoint,
        server.content_network,
    ]
    assert (seen[0].done, seen[-1].done, seen[-1].size) == (0, len(LARGE), len(LARGE))
    done = [each.done for each in seen]
    assert done == sorted(done)


def test_a_small_file_is_held_to_the_hash_that_git_knows_it_by(
    server: FakeHub, tmp_path: Path
) -> None:
    fetch(server, tmp_path / "config.json", SMALL_FILE)
    assert (tmp_path / "config.json").read_bytes() == SMALL
    server.fail("config.json", *[Fault(content=SMALL[::-1])] * 9)
    with pytest.raises(DownloadError, match=r"another config\.json of org/model"):
        fetch(server, tmp_path / "other.json", SMALL_FILE)
    assert not (tmp_path / "other.json").exists()


def test_an_empty_file_needs_no_bytes(server: FakeHub, tmp_path: Path) -> None:
    server.files["empty"] = b""
    empty = RemoteFile(path="empty", size=0, digest=git_hash(b""), algorithm="git")
    fetch(server, tmp_path / "empty", empty)
    assert (tmp_path / "empty").read_bytes() == b""


def test_what_breaks_off_goes_on_from_where_it_broke(server: FakeHub, tmp_path: Path) -> None:
    server.fail(LARGE_FILE.path, Fault(cut=100_000), Fault(cut=1), Fault(cut=50_000))
    fetch(server, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == LARGE
    ranges = [
        asked.headers.get("range") for asked in server.asked if asked.path.startswith("/bytes/")
    ]
    assert ranges == [None, "bytes=100000-", "bytes=100001-", "bytes=150001-"]


def test_a_server_that_falls_silent_is_left_and_asked_again(
    server: FakeHub, tmp_path: Path
) -> None:
    server.fail(LARGE_FILE.path, Fault(stall=1000))
    fetch(server, tmp_path / "model.onnx", patience=0.2)
    assert (tmp_path / "model.onnx").read_bytes() == LARGE


def test_a_download_that_fails_for_good_is_gone_on_with_the_next_time(
    server: FakeHub, tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    server.fail(LARGE_FILE.path, Fault(cut=120_000), *[Fault(status=503)] * 2)
    with pytest.raises(DownloadError, match=r"120,000 of 300,000 bytes.*503.*What came is kept"):
        fetch(server, target, attempts=2)
    assert not target.exists()
    assert parts(tmp_path) == [120_000]
    server.asked.clear()
    seen = fetch(server, target)
    assert seen[0].done == 120_000
    assert target.read_bytes() == LARGE
    assert [asked.headers["range"] for asked in server.requests(LARGE_FILE.path)] == [
        "bytes=120000-"
    ] * len(server.requests(LARGE_FILE.path))


@pytest.mark.parametrize("ending", [KeyboardInterrupt, RuntimeError])
def test_whoever_cancels_keeps_what_came(
    server: FakeHub, tmp_path: Path, ending: type[BaseException]
) -> None:
    def cancel(progress: Progress) -> None:
        if progress.done:
            raise ending

    with hub_of(server) as hub:
        with pytest.raises(ending):
            hub.fetch(ID, LARGE_FILE, tmp_path / "model.onnx", progress=cancel)
        (kept,) = parts(tmp_path)
        assert 0 < kept <= len(LARGE)
        hub.fetch(ID, LARGE_FILE, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == LARGE


def test_a_part_that_went_bad_is_thrown_away_and_fetched_anew(
    server: FakeHub, tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    server.fail(LARGE_FILE.path, Fault(cut=100_000), Fault(status=503))
    with pytest.raises(DownloadError):
        fetch(server, target, attempts=1)
    (part,) = tmp_path.glob(".*.partial")
    part.write_bytes(b"x" * 100_000)
    fetch(server, target)
    assert target.read_bytes() == LARGE


def test_a_part_of_another_file_is_not_gone_on_with(server: FakeHub, tmp_path: Path) -> None:
    server.fail(LARGE_FILE.path, Fault(cut=100_000), Fault(status=503))
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "model.onnx", attempts=1)
    server.files[LARGE_FILE.path] = other = LARGE[::-1]
    renewed = RemoteFile(
        path=LARGE_FILE.path, size=len(other), digest=sha256(other), algorithm="sha256"
    )
    server.asked.clear()
    fetch(server, tmp_path / "model.onnx", renewed)
    assert (tmp_path / "model.onnx").read_bytes() == other
    assert all("range" not in asked.headers for asked in server.asked)


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(
    server: FakeHub, tmp_path: Path
) -> None:
    server.fail(LARGE_FILE.path, Fault(cut=100_000), Fault(ignore_range=True))
    fetch(server, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == LARGE


def test_what_is_not_the_file_never_gets_its_name(server: FakeHub, tmp_path: Path) -> None:
    wrong = LARGE[:-1] + b"!" if LARGE[-1:] != b"!" else LARGE[:-1] + b"?"
    server.fail(LARGE_FILE.path, Fault(content=wrong))
    with pytest.raises(DownloadError, match=r"is not the file that the hub announced.*--from"):
        fetch(server, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    assert sum(parts(tmp_path)) == 0


def test_a_file_of_another_hash_or_length_is_refused_before_it_is_fetched(
    server: FakeHub, tmp_path: Path
) -> None:
    server.tag = "f" * 64
    with pytest.raises(DownloadError, match=r"another onnx/model\.onnx of org/model"):
        fetch(server, tmp_path / "model.onnx")
    server.tag = None
    server.fail(LARGE_FILE.path, Fault(content=b"<html>log in to the network first</html>"))
    with pytest.raises(DownloadError, match=r"40 bytes where the file has 300,000"):
        fetch(server, tmp_path / "model.onnx")
    assert sum(parts(tmp_path)) == 0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_hub_is_asked_again(server: FakeHub, tmp_path: Path, status: int) -> None:
    server.fail(LARGE_FILE.path, Fault(status=status, retry_after="0"), Fault(status=status))
    server.api_faults.append(Fault(status=status))
    with hub_of(server) as hub:
        assert hub.repository(ID).commit == COMMIT
        hub.fetch(ID, LARGE_FILE, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == LARGE


def test_a_hub_that_wants_to_be_left_alone_for_long_is_not_waited_for(
    server: FakeHub, tmp_path: Path
) -> None:
    server.fail(LARGE_FILE.path, Fault(status=429, retry_after="3600"))
    with pytest.raises(DownloadError, match=r"status 429.*3,600 seconds"):
        fetch(server, tmp_path / "model.onnx")


def test_where_nothing_came_that_is_said_and_what_to_do(server: FakeHub, tmp_path: Path) -> None:
    with socket() as nobody:  # bound, so that nobody else is there; it does not listen
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with Hub(endpoint=endpoint, attempts=2, first_wait=0) as hub:
            for ask in (
                lambda: hub.fetch(ID, LARGE_FILE, tmp_path / "model.onnx"),
                lambda: hub.repository(ID),
            ):
                with pytest.raises(DownloadError, match=f"{endpoint} cannot be reached") as caught:
                    ask()
                said = str(caught.value)
                assert "HF_ENDPOINT" in said
                assert "--from" in said
                assert "kept" not in said
    server.fail(LARGE_FILE.path, *[Fault(status=503)] * 2)
    with pytest.raises(DownloadError, match=r"gives nothing of it .*503"):
        fetch(server, tmp_path / "model.onnx", attempts=2)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_stays_busy_is_given_up(server: FakeHub, tmp_path: Path) -> None:
    server.fail(LARGE_FILE.path, *[Fault(status=503)] * 9)
    with pytest.raises(DownloadError, match="503"):
        fetch(server, tmp_path / "model.onnx", attempts=3)
    assert len(server.requests(LARGE_FILE.path)) == 3
    server.api_faults.extend([Fault(status=503)] * 9)
    with hub_of(server, attempts=3) as hub, pytest.raises(DownloadError, match="503"):
        hub.repository(ID)


@pytest.mark.parametrize(
    ("hub_id", "path", "words"),
    [
        ("org/none", "config.json", "for everybody"),
        ("org/model@v9", "config.json", "no such revision"),
        ("org/model", "none.json", "no such file"),
    ],
)
def test_what_the_hub_does_not_have_is_said_at_once(
    server: FakeHub, tmp_path: Path, hub_id: str, path: str, words: str
) -> None:
    file = RemoteFile(path=path, size=15, digest=git_hash(SMALL), algorithm="git")
    with hub_of(server) as hub, pytest.raises(ConfigurationError, match=words):
        hub.fetch(HubId.parse(hub_id), file, tmp_path / "file")
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "words"), [(403, "accept its terms"), (410, "status 410")])
def test_what_may_not_be_read_is_said_at_once(
    server: FakeHub, tmp_path: Path, status: int, words: str
) -> None:
    server.fail("config.json", Fault(status=status))
    with pytest.raises((ConfigurationError, DownloadError), match=words):
        fetch(server, tmp_path / "config.json", SMALL_FILE)
    assert len(server.asked) == 1


def test_the_token_goes_to_the_hub_alone_and_is_never_seen(
    server: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.private = True
    with pytest.raises(ConfigurationError, match="HF_TOKEN if it is private"):
        fetch(server, tmp_path / "model.onnx")
    monkeypatch.setenv("HF_TOKEN", "hf_another-secret")
    with pytest.raises(ConfigurationError, match="does not take the token") as refused:
        fetch(server, tmp_path / "model.onnx")
    monkeypatch.setenv("HF_TOKEN", f" {TOKEN}\n")
    fetch(server, tmp_path / "model.onnx")
    hub = hub_of(server)
    sent = [asked for asked in server.asked if "authorization" in asked.headers]
    assert {asked.host for asked in sent} == {server.endpoint.removeprefix("http://")}
    assert any(asked.path.startswith("/bytes/") for asked in server.asked)
    for text in (caplog.text, repr(hub), str(hub), str(refused.value)):
        assert TOKEN not in text
        assert "hf_another-secret" not in text
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in written


def test_a_token_is_never_sent_without_encryption_to_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ConfigurationError, match="without encryption") as refused:
        Hub(endpoint="http://hub.example")
    assert TOKEN not in str(refused.value)
    Hub(endpoint="https://hub.example")
    monkeypatch.setenv("HF_TOKEN", "hf_of two\r\nlines: x")
    with pytest.raises(ConfigurationError, match="holds what no token has") as refused:
        Hub()
    assert "two" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint", ["hub.example", "ftp://hub.example", "http://", "http://a:b@c"]
)
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="HF_ENDPOINT"):
        Hub(endpoint=endpoint)


def test_the_endpoint_of_the_environment_is_asked(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{server.endpoint}/")
    with Hub(first_wait=0) as hub:
        files = {file.path: file for file in hub.repository(ID).files}
    assert files == {LARGE_FILE.path: LARGE_FILE, SMALL_FILE.path: SMALL_FILE}


def test_the_proxy_of_the_environment_is_asked(
    server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.endpoint)
    with allow_real_requests(), Hub(endpoint="http://hub.invalid", first_wait=0) as hub:
        assert hub.repository(ID).commit == COMMIT
    assert server.asked[0].path.startswith("http://hub.invalid/api/models/org/model")


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_offline_nothing_is_asked(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with hub_of(server) as hub:
        with pytest.raises(ConfigurationError, match="HF_HUB_OFFLINE"):
            hub.fetch(ID, LARGE_FILE, tmp_path / "model.onnx")
        with pytest.raises(ConfigurationError, match="downloads are off"):
            hub.repository(ID)
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []
    fetch(server, tmp_path / "model.onnx", offline=False)


def test_a_test_that_forbids_requests_forbids_downloads(tmp_path: Path) -> None:
    with Hub(endpoint="https://hub.example") as hub, pytest.raises(RequestsForbiddenError):
        hub.fetch(ID, LARGE_FILE, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "told",
    [
        b"<html>",
        [],
        {"sha": COMMIT},
        {"sha": "main", "siblings": []},
        *(
            {"sha": COMMIT, "siblings": [{"blobId": "0" * 40, "size": 1, "rfilename": path}]}
            for path in ("../x", "/etc/x", "a/../../x", "C:x", "a\\b", "a\0b", "")
        ),
        {"sha": COMMIT, "siblings": [{"rfilename": "a"}]},
        {"sha": COMMIT, "siblings": [{"rfilename": "a", "size": -1, "blobId": "0" * 40}]},
        {"sha": COMMIT, "siblings": [{"rfilename": "a", "size": 1, "blobId": "../0"}]},
    ],
)
def test_a_hub_that_says_nonsense_is_not_believed(server: FakeHub, told: Any) -> None:
    server.tell = told
    with hub_of(server) as hub, pytest.raises(DownloadError, match="org/model"):
        hub.repository(ID)


@pytest.mark.parametrize(
    "name", ["", "model", "a/b/c", "../b", "a/..", "a/b@", "a/b@../c", "a b/c", "a/b@x y", "/a/b"]
)
def test_what_names_no_model_of_the_hub_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="org/name"):
        HubId.parse(name)


def test_a_model_of_the_hub_keeps_its_name_and_revision() -> None:
    for name in ("org/model", "org/model@v1.2", "org/model@refs/pr/3"):
        assert str(HubId.parse(name)) == name
    assert HubId.parse("org/model@refs/pr/3").folder == "org--model@refs--pr--3"


def test_a_file_larger_than_the_disk_is_not_begun(server: FakeHub, tmp_path: Path) -> None:
    huge = RemoteFile(path="huge", size=10**18, digest="0" * 64, algorithm="sha256")
    with pytest.raises(StoreError, match=r"no room for .*huge.*are free"):
        fetch(server, tmp_path / "huge", huge)
    assert server.asked == []


FULL = """
import resource, sys
from pathlib import Path
from cascadeflow.models.hub import Hub, HubId, RemoteFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
endpoint, target, size, digest = sys.argv[1:]
file = RemoteFile(path="onnx/model.onnx", size=int(size), digest=digest, algorithm="sha256")
with Hub(endpoint=endpoint) as hub:
    hub.fetch(HubId("org/model"), file, Path(target))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on a file's size here")
def test_a_disk_that_fills_up_leaves_what_came_and_says_so(server: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    done = subprocess.run(
        [sys.executable, "-c", FULL, server.endpoint, target, str(len(LARGE)), sha256(LARGE)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CASCADEFLOW_FORBID_REQUESTS": "1"},
    )
    assert done.returncode == 1
    assert "StoreError: no room for" in done.stderr
    assert "100,000 bytes that came are kept" in done.stderr
    assert parts(tmp_path) == [100_000]
    assert fetch(server, target)[0].done == 100_000
    assert target.read_bytes() == LARGE


def test_a_folder_that_may_not_be_written_is_said(server: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"):
        fetch(server, tmp_path / "file" / "model.onnx")
    with pytest.raises(StoreError, match="cannot be written"), locked(tmp_path / "file" / "folder"):
        pass


def test_importing_the_module_opens_no_http_client() -> None:
    code = "import sys, cascadeflow.models.hub; sys.exit('httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
