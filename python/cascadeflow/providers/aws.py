"""Signs requests with AWS credentials: Signature Version 4, by botocore, for Amazon Bedrock.

The credentials are found as every AWS tool finds them: the environment, the shared files and their
profile, single sign-on, a container's or a machine's role. Finding and renewing them may read files
and ask servers, so it never happens on the event loop. Needs the extra `bedrock`.
"""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cascadeflow.errors import ConfigurationError, MissingDependencyError, MissingKeyError
from cascadeflow.providers.error_mapping import scrub

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.providers.protocols import HttpRequest

__all__ = ["AwsSigner"]

_SERVICE: Final = "bedrock"
_REGION_IN_HOST: Final = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SOURCES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
)
"""Variables whose change means other credentials, so that they can be rotated."""

_SIGNING: Final = ("botocore.auth", "botocore.awsrequest")
_FAULTS: Final = (OSError, KeyError, ValueError)
"""What botocore lets through of a file or a program's answer that it cannot make sense of."""

_SERVER_FAILED: Final = 500
_SIGNED: Final = ("content-type", "host")
"""Signed beside `x-amz-…`; what stands in between may change others."""


@dataclass(frozen=True, slots=True)
class _Held:
    """Credentials, and what the environment said when they were found."""

    credentials: Any = field(repr=False)
    frozen: Any = field(repr=False)
    region: str | None
    environment: tuple[str | None, ...] = field(repr=False)

    def is_stale(self) -> bool:
        """Whether they are to be renewed, or were found in another environment."""
        # Only credentials that expire know the question.
        expires = getattr(self.credentials, "refresh_needed", None)
        return self.environment != _environment() or (expires is not None and bool(expires()))


class AwsSigner:
    """Signs the requests to one model on Amazon Bedrock; for any number of tasks and threads.

    Args:
        model: the model; only its id is used, in errors.

    Raises:
        MissingDependencyError: botocore is not installed.
    """

    __slots__ = ("_fetching", "_held", "_lock", "_model_id")

    def __init__(self, model: ModelConfig) -> None:
        if find_spec("botocore") is None:
            raise MissingDependencyError(
                f"{model.id} is reached with AWS credentials, which needs botocore: "
                "pip install 'cascadeflow[bedrock]' (or set AWS_BEARER_TOKEN_BEDROCK)"
            )
        self._model_id = model.id
        self._lock = Lock()
        self._fetching: Future[_Held] | None = None
        self._held: _Held | None = None

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Gives the request with its signature, as it holds for the next minutes.

        Raises:
            MissingKeyError: there are no credentials.
            ConfigurationError: no region is known.
            ConnectionError: the credentials could not be fetched; nothing was sent to Bedrock.
        """
        held = self._held
        if held is None or held.is_stale():
            held = await self._renewed()
        return self._signed(request, held)

    def secrets(self) -> tuple[str, ...]:
        """The secret key, the session token and the access key's id, as they were used last."""
        if self._held is None:
            return ()
        frozen = self._held.frozen
        return tuple(part for part in (frozen.secret_key, frozen.token, frozen.access_key) if part)

    async def _renewed(self) -> _Held:
        """Waits for credentials; however many ask for them, they are fetched once."""
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not there.done():
                there.set_result(None)

        def fetched(_: Future[_Held]) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(tell)

        with self._lock:
            held = self._held
            if held is not None and not held.is_stale():
                return held  # they came since the caller looked
            fetching = self._fetching
            if fetching is None:
                fetching = self._fetching = Future()
                # A thread of its own: one that hangs holds up neither the loop's own threads nor
                # the end of the process.
                Thread(target=self._fetch, args=(fetching,), daemon=True).start()
        fetching.add_done_callback(fetched)
        await there
        return fetching.result()

    def _fetch(self, fetching: Future[_Held]) -> None:
        try:
            held = self._find()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            self._fetching = None
            fetching.set_exception(error)
        else:
            self._held = held
            self._fetching = None
            fetching.set_result(held)

    def _find(self) -> _Held:
        """Finds the credentials, or renews those that were found."""
        failures = import_module("botocore.exceptions")
        session_type = import_module("botocore.session").Session
        for name in _SIGNING:  # loaded here too: it takes a while, and no event loop waits for it
            import_module(name)
        held, environment = self._held, _environment()
        try:
            if held is not None and held.environment == environment:
                credentials, region = held.credentials, held.region
            else:
                session = session_type()
                credentials = session.get_credentials()
                region = session.get_config_variable("region")
            frozen = None if credentials is None else credentials.get_frozen_credentials()
        except (failures.BotoCoreError, failures.ClientError, *_FAULTS) as error:
            why = scrub(f"{type(error).__name__}: {error}")
            if _may_pass(error):
                raise ConnectionError(f"AWS credentials could not be fetched: {why}") from None
            raise self._missing(why) from None
        if frozen is None:
            raise self._missing("none were found")
        return _Held(credentials, frozen, region, environment)

    def _missing(self, why: str) -> MissingKeyError:
        return MissingKeyError(
            f"{self._model_id} needs AWS credentials ({why}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role; or set "
            "AWS_BEARER_TOKEN_BEDROCK or ModelConfig.api_key to a Bedrock API key"
        )

    def _signed(self, request: HttpRequest, held: _Held) -> HttpRequest:
        auth, awsrequest = map(import_module, _SIGNING)
        # The path is signed as it is sent, escaped once more: what AWS makes of it on its side.
        signed = awsrequest.AWSRequest(
            method=request.method,
            url=request.url,
            data=request.body,
            headers={
                name: value
                for name, value in request.headers.items()
                if name in _SIGNED or name.startswith("x-amz-")
            },
        )
        region = self._region(request.url, held)
        auth.SigV4Auth(held.frozen, _SERVICE, region).add_auth(signed)
        added = {name.lower(): value for name, value in signed.headers.items()}
        return replace(request, headers={**request.headers, **added})

    def _region(self, url: str, held: _Held) -> str:
        """The region that the address names, or else the environment's or the profile's."""
        named = _REGION_IN_HOST.search(urlsplit(url).hostname or "")
        if named is not None:
            return named[1]
        for variable in _REGION_VARIABLES:
            if region := os.environ.get(variable, "").strip():
                return region
        if held.region:
            return held.region
        raise ConfigurationError(
            f"{self._model_id}: a signature is for one AWS region, and none is known: set "
            "AWS_REGION, or a region in the profile"
        )


def _environment() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, _SOURCES))


def _may_pass(error: Exception) -> bool:
    """Whether it is the way to the credentials that failed, and not the credentials."""
    failures = import_module("botocore.exceptions")
    if isinstance(error, failures.ClientError):
        answered = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(answered >= _SERVER_FAILED or answered == 429)  # noqa: PLR2004
    return isinstance(
        error,
        (
            failures.ConnectionError,
            failures.CredentialRetrievalError,
            failures.HTTPClientError,
            failures.MetadataRetrievalError,
            OSError,
        ),
    )
