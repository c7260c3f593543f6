"""Signs requests with Google's credentials, by google-auth, for Vertex AI.

The credentials are found as every Google client finds them (Application Default Credentials): a
file that `GOOGLE_APPLICATION_CREDENTIALS` names, what `gcloud auth application-default login` left,
or the machine's own service account. A token holds for an hour; finding, signing and fetching it
never happen on the event loop. Needs the extra `vertex`.
"""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qsl

from cascadeflow.clock import SystemClock
from cascadeflow.errors import (
    AuthenticationError,
    CascadeFlowError,
    MissingDependencyError,
    MissingKeyError,
)
from cascadeflow.providers.error_mapping import scrub
from cascadeflow.providers.guard import check_request, host_of, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cascadeflow.clock import Clock
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.providers.protocols import HttpRequest

__all__ = ["GoogleSigner"]

_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_METADATA: Final = "computeMetadata/v1/instance/service-accounts/default/token"

_EARLY: Final = timedelta(minutes=4)
"""How long before a token ends a new one is fetched, while the old one goes on being used."""
_TOO_LATE: Final = timedelta(seconds=20)
"""A token that ends sooner may be refused on its way: the new one is waited for."""

_TIMEOUT: Final = 20.0
_METADATA_TIMEOUT: Final = 3.0

_SOURCES: Final = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
)
"""Variables whose change means other credentials, so that they can be rotated."""

_SHORTEST_SECRET: Final = 8

_NOT_UNDERSTOOD: Final = "the token server's answer is no token"

_Source: TypeAlias = "Callable[[], tuple[dict[str, str], datetime | None]]"
"""Fetches a token: the headers that carry it, and when it ends."""


@dataclass(frozen=True, slots=True)
class _Token:
    """The headers that carry a token, until when it holds, and where it came from."""

    headers: Mapping[str, str] = field(repr=False)
    expires: datetime | None
    environment: tuple[str | None, ...]


class GoogleSigner:
    """Signs the requests to one model on Vertex AI; for any number of tasks, loops and threads.

    Args:
        model: the model; only its names are used, in errors.
        clock: what is asked whether a token still holds.

    Raises:
        MissingDependencyError: google-auth is not installed.
    """

    __slots__ = ("_clock", "_fetching", "_former", "_lock", "_model", "_pid", "_source", "_token")

    def __init__(self, model: ModelConfig, *, clock: Clock | None = None) -> None:
        if not _is_installed():
            raise MissingDependencyError(
                f"{model.id} is reached with Google credentials, which needs google-auth: "
                "pip install 'cascadeflow[vertex]' (or set VERTEX_ACCESS_TOKEN)"
            )
        self._model = model
        self._clock: Clock = clock or SystemClock()
        self._lock = Lock()
        self._pid = os.getpid()
        self._fetching: Future[_Token] | None = None
        self._source: tuple[tuple[str | None, ...], _Source] | None = None
        self._token: _Token | None = None
        self._former: _Token | None = None

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Gives the request with a token that holds for at least some seconds.

        Raises:
            MissingKeyError: there are no credentials.
            AuthenticationError: Google refused them.
            ConnectionError: no token could be fetched; nothing was sent to Vertex.
            TimeoutError: likewise.
        """
        token = self._token
        if token is None or token.environment != _environment():
            token = await self._fetched(token)
        elif token.expires is not None:
            left = token.expires - self._clock.now()
            if left < _TOO_LATE:
                token = await self._fetched(token)
            elif left < _EARLY:
                self._fetch_once(token)
        return replace(request, headers={**request.headers, **token.headers})

    def secrets(self) -> tuple[str, ...]:
        """The token, and the one before it, which calls under way may still use."""
        return tuple(
            token.headers["authorization"].removeprefix("Bearer ")
            for token in (self._token, self._former)
            if token is not None
        )

    async def _fetched(self, old: _Token | None) -> _Token:
        """Waits for another token; however many ask for it, it is fetched once."""
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not there.done():
                there.set_result(None)

        def fetched(_: Future[_Token]) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(tell)

        fetching = self._fetch_once(old)
        fetching.add_done_callback(fetched)
        await there
        error = fetching.exception()
        if error is not None:
            # Each who waited gets an error of their own: errors are written on, on their way.
            raise self._error(error) from None
        return fetching.result()

    def _fetch_once(self, old: _Token | None) -> Future[_Token]:
        """Starts to fetch a token, unless somebody does, or has since `old` was looked at."""
        if self._pid != os.getpid():
            # In a forked child the thread that fetches is not there.
            self._lock, self._fetching, self._pid = Lock(), None, os.getpid()
        with self._lock:
            fetching = self._fetching
            if fetching is None and self._token is not None and self._token is not old:
                fetching = Future()
                fetching.set_result(self._token)
            elif fetching is None:
                fetching = self._fetching = Future()
                # A thread of its own: one that hangs holds up neither the loop's own threads nor
                # the end of the process.
                Thread(target=self._fetch, args=(fetching,), daemon=True).start()
        return fetching

    def _fetch(self, fetching: Future[_Token]) -> None:
        try:
            environment = _environment()
            if self._source is None or self._source[0] != environment:
                self._source = environment, _find_source(self._clock)
            headers, expires = self._source[1]()
            token = _Token(headers, expires, environment)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            with self._lock:
                self._fetching = None
            fetching.set_exception(error)
        else:
            with self._lock:
                self._former, self._token = self._token, token
                self._fetching = None
            fetching.set_result(token)

    def _error(self, error: BaseException) -> BaseException:
        """Makes an error of ours of what google-auth, or the fetching itself, raised."""
        failures = import_module("google.auth.exceptions")
        words = str(error.args[0] if error.args else error)[:300] or type(error).__name__
        if isinstance(error, failures.DefaultCredentialsError):
            return MissingKeyError(
                f"{self._model.id} needs Google credentials ({words}): run `gcloud auth "
                "application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key's "
                "file, or VERTEX_ACCESS_TOKEN to a token"
            )
        if isinstance(error, failures.TransportError):
            cls = TimeoutError if isinstance(error.__cause__, TimeoutError) else ConnectionError
            return cls(words)
        if isinstance(error, failures.GoogleAuthError) and not error.retryable:
            return AuthenticationError(
                f"{self._model.id}: Google refused the credentials: {words} (run `gcloud auth "
                "application-default login` again, or check the key's file)",
                provider=self._model.provider,
                model=self._model.name,
                billed=False,
            )
        if isinstance(error, CascadeFlowError):
            return type(error)(*error.args)
        if isinstance(error, Exception):
            return ConnectionError(f"no token could be fetched: {words}")
        return error


def _is_installed() -> bool:
    try:
        return find_spec("google.auth") is not None
    except ModuleNotFoundError:  # there is no package `google` at all
        return False


def _environment() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, _SOURCES))


def _find_source(clock: Clock) -> _Source:
    """Finds the credentials, and gives the function that fetches a token by them."""
    google_auth = import_module("google.auth")
    failures = import_module("google.auth.exceptions")
    http = _Http()
    try:
        credentials, _ = google_auth.default(scopes=[_SCOPE], request=http)
    except failures.DefaultCredentialsError:
        # google-auth asks the machine's metadata server only where `requests` is installed.
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or find_spec("requests") is not None:
            raise
        if not _has_metadata(http):
            raise
        return lambda: _metadata_token(http, clock)

    def fetch() -> tuple[dict[str, str], datetime | None]:
        http.forget()
        headers: dict[str, str] = {}
        try:
            credentials.refresh(http)
            credentials.apply(headers)
        except failures.DefaultCredentialsError:
            raise ValueError(_NOT_UNDERSTOOD) from None  # so it calls an answer that it cannot read
        except failures.GoogleAuthError as error:
            error.args = tuple(
                scrub(arg, http.sent) if isinstance(arg, str) else None for arg in error.args
            )
            raise
        expires = credentials.expiry
        return _sendable(headers), expires and expires.replace(tzinfo=UTC)

    return fetch


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    token = headers.get("authorization", "")
    if not token.isascii() or not token.isprintable():
        raise ValueError(_NOT_UNDERSTOOD)
    return {name.lower(): value for name, value in headers.items()}


# The machine's own service account: https://cloud.google.com/compute/docs/metadata


def _metadata_url(path: str) -> str:
    return f"http://{os.environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}/{path}"


_METADATA_HEADERS: Final = {"metadata-flavor": "Google"}


def _has_metadata(http: _Http) -> bool:
    failures = import_module("google.auth.exceptions")
    try:
        answer = http(_metadata_url(""), headers=_METADATA_HEADERS, timeout=_METADATA_TIMEOUT)
    except failures.TransportError:
        return False  # not a machine of Google's: the credentials are missing, and that is said
    return answer.headers.get("metadata-flavor") == "Google"


def _metadata_token(http: _Http, clock: Clock) -> tuple[dict[str, str], datetime | None]:
    failures = import_module("google.auth.exceptions")
    asked = clock.now()
    answer = http(_metadata_url(f"{_METADATA}?scopes={_SCOPE}"), headers=_METADATA_HEADERS)
    if answer.status != 200:  # noqa: PLR2004
        raise failures.RefreshError(
            f"the machine's metadata server answered {answer.status}: has it a service account?",
            retryable=answer.status >= 500,  # noqa: PLR2004
        )
    body = json.loads(answer.data)
    headers = _sendable({"authorization": f"Bearer {body['access_token']}"})
    return headers, asked + timedelta(seconds=float(body["expires_in"]))


# How google-auth is let speak HTTP: by httpx2, which is there anyhow


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)


class _Http:
    """The function by which google-auth sends requests, so that it needs no library of its own."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent: tuple[str, ...] = ()
        """What the last request carried that no error's text may hold."""

    def forget(self) -> None:
        self.sent = ()

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **others: Any,
    ) -> _Answer:
        """Sends a request.

        Raises:
            google.auth.exceptions.TransportError: it got no answer.
            RequestsForbiddenError: real requests are forbidden.
        """
        failures = import_module("google.auth.exceptions")
        if any(value is not None for value in others.values()):
            raise failures.TransportError(
                f"credentials that need {', '.join(others)} for their requests are not supported: "
                "set VERTEX_ACCESS_TOKEN"
            )
        check_request(url)
        self.sent = _secrets_in(body, headers or {})
        import httpx2  # noqa: PLC0415 - 35 ms, in the thread that fetches

        plain = url.startswith("http:")
        try:
            # Plain HTTP is the machine's own metadata server, which no proxy can reach.
            with httpx2.Client(
                verify=not plain,
                trust_env=not plain and not is_loopback(host_of(url)),
                timeout=timeout or _TIMEOUT,
            ) as client:
                answer = client.request(method, url, content=body, headers=dict(headers or {}))
        except httpx2.TimeoutException as error:
            raise failures.TransportError(f"no answer from {host_of(url)} in time") from (
                TimeoutError(str(error))
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            why = scrub(str(error) or type(error).__name__, self.sent)
            raise failures.TransportError(f"no answer from {host_of(url)} ({why})") from None
        return _Answer(answer.status_code, dict(answer.headers), answer.content)


def _secrets_in(body: bytes | str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    values = [value for _, value in parse_qsl(text)] + [
        value.partition(" ")[2]
        for name, value in headers.items()
        if name.lower() == "authorization"
    ]
    return tuple(value for value in values if len(value) >= _SHORTEST_SECRET)
