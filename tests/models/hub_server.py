"""A server that speaks the hub's protocol on the loopback interface, and fails on demand.

Large files are redirected to a second server, as the hub does to its content network; small ones
come from the first. What goes wrong is queued by the test, one fault a request.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1000
"""Bytes from which a file is kept as the hub keeps large ones: by its SHA-256, elsewhere."""

TOKEN = "hf_secret-of-the-test"


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with one request for a file's bytes.

    Attributes:
        status: answered instead of the file.
        retry_after: the header of that name.
        cut: bytes after which the connection is closed.
        stall: bytes after which nothing more comes until the client has gone.
        content: sent instead of what the file holds.
        ignore_range: the whole file is sent, whatever part was asked for.
    """

    status: int | None = None
    retry_after: str | None = None
    cut: int | None = None
    stall: int | None = None
    content: bytes | None = None
    ignore_range: bool = False


@dataclass(slots=True)
class Asked:
    """A request as it came: on which server, for what, with which headers."""

    host: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeHub:
    """Repositories on a loopback server. Use it as a context manager.

    Attributes:
        files: of `org/model`, by their path; any revision that is in `revisions` has them.
        faults: what goes wrong, by the file's path, one a request.
        api_faults: the same for questions about a repository.
        private: whether only who has the token may read.
        tell: what is said of a repository instead of the truth.
        tag: the hash that is said of large files instead of their own.
        asked: the requests that came.
    """

    files: dict[str, bytes]
    repo: str = "org/model"
    revisions: tuple[str, ...] = ("main", COMMIT, "v1")
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    api_faults: deque[Fault] = field(default_factory=deque)
    private: bool = False
    tell: Any = None
    tag: str | None = None
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> FakeHub:
        self.leave = threading.Event()
        """Set when those who stall may go on."""
        self.stalled = threading.Event()
        """Set when somebody stalls."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._servers = [_Server(("127.0.0.1", 0), handler) for _ in range(2)]
        self._threads = [
            threading.Thread(target=each.serve_forever, args=(0.01,)) for each in self._servers
        ]
        for thread in self._threads:
            thread.start()
        self.endpoint, self.content_network = (
            f"http://127.0.0.1:{server.server_port}" for server in self._servers
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave.set()
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()
        for server in self._servers:
            server.server_close()

    def fail(self, path: str, *faults: Fault) -> None:
        """Lets the next requests for a file's bytes go wrong."""
        self.faults.setdefault(path, deque()).extend(faults)

    def requests(self, path: str) -> list[Asked]:
        """The requests for a file, as the hub itself saw them."""
        return [asked for asked in self.asked if asked.path.endswith(f"/{path}")]

    def downloads(self) -> list[Asked]:
        """Every request that was answered with bytes of a file, or could have been."""
        return [asked for asked in self.asked if "/api/" not in asked.path]


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that hang up: that is what they do here."""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        # A proxy is asked for a whole URL.
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.asked.append(Asked(self.headers.get("Host", ""), self.path, headers))
        if path.startswith("/bytes/"):
            self._file(path.removeprefix("/bytes/"), ok_to_redirect=False)
        elif self.hub.private and headers.get("authorization") != f"Bearer {TOKEN}":
            self._error(401, "RepoNotFound")
        elif path.startswith("/api/models/"):
            self._model(path.removeprefix("/api/models/"))
        else:
            repo, _, rest = path.lstrip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            if repo != self.hub.repo:
                self._error(401, "RepoNotFound")
            elif revision not in self.hub.revisions:
                self._error(404, "RevisionNotFound")
            else:
                self._file(name, ok_to_redirect=True)

    def _model(self, path: str) -> None:
        if self.hub.api_faults and (fault := self.hub.api_faults.popleft()).status:
            self._error(fault.status, "", fault.retry_after)
            return
        repo, _, revision = path.partition("/revision/")
        if repo != self.hub.repo:
            self._error(401, "RepoNotFound")
        elif revision not in self.hub.revisions:
            self._error(404, "RevisionNotFound")
        else:
            told = self.hub.tell if self.hub.tell is not None else _told(self.hub)
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self._send(200, {"Content-Type": "application/json"}, body)

    def _file(self, name: str, *, ok_to_redirect: bool) -> None:
        content = self.hub.files.get(name)
        if content is None:
            self._error(404, "EntryNotFound")
            return
        if len(content) >= LARGE and ok_to_redirect:
            where = {
                "Location": f"{self.hub.content_network}/bytes/{name}?signature=of-the-network",
                "X-Repo-Commit": COMMIT,
                "X-Linked-Etag": f'"{self.hub.tag or sha256(content)}"',
                "X-Linked-Size": str(len(content)),
            }
            self._send(302, where, b"")
            return
        queue = self.hub.faults.get(name)
        fault = queue.popleft() if queue else Fault()
        if fault.status is not None:
            self._error(fault.status, "", fault.retry_after)
            return
        self._bytes(content if fault.content is None else fault.content, fault)

    def _bytes(self, content: bytes, fault: Fault) -> None:
        start = 0
        asked = self.headers.get("Range")
        if asked is not None and not fault.ignore_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(len(content) - start)}
        if len(content) < LARGE:
            headers["ETag"] = f'"{git_hash(content)}"'
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if start else 200)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        until = fault.cut if fault.cut is not None else fault.stall
        self.wfile.write(content[start:] if until is None else content[start : start + until])
        if fault.stall is not None:
            self.wfile.flush()
            self.hub.stalled.set()
            self.hub.leave.wait()
        if until is not None:
            self.close_connection = True

    def _error(self, status: int, code: str, retry_after: str | None = None) -> None:
        headers = {"X-Error-Code": code} if code else {}
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        self._send(status, headers, b"an error of the server's own words")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _told(hub: FakeHub) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for path, content in hub.files.items():
        entry: dict[str, Any] = {"rfilename": path, "size": len(content)}
        if len(content) >= LARGE:
            entry["blobId"] = git_hash(b"a pointer")
            entry["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
        else:
            entry["blobId"] = git_hash(content)
        siblings.append(entry)
    return {"id": hub.repo, "sha": COMMIT, "siblings": siblings}
