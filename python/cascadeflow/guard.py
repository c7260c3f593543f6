"""A switch that forbids real requests: in tests, nothing is sent by mistake and nothing is billed.

`CASCADEFLOW_FORBID_REQUESTS=1` throws it for a process; `forbid_real_requests()` throws it in code,
and `allow_real_requests()` takes it back, also against the environment. This machine's own
addresses are always allowed, so that servers under test can be reached. It is one switch for the
whole process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import RequestsForbiddenError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["allow_real_requests", "check_request", "forbid_real_requests"]

ENVIRONMENT_VARIABLE: Final = "CASCADEFLOW_FORBID_REQUESTS"


class _Switch:
    forbidden: bool | None = None
    """`None` leaves the word to the environment."""


class Restore:
    """Gives the switch its former position back when a `with` block ends.

    Without one, it stays where it was thrown.
    """

    __slots__ = ("_before",)

    def __init__(self, before: bool | None) -> None:  # noqa: FBT001 - made only below
        self._before = before

    def __enter__(self) -> None:
        """The switch was thrown by the call itself."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Puts the switch back."""
        _Switch.forbidden = self._before


def forbid_real_requests() -> Restore:
    """Forbids requests to anything but this machine, from now on or for a `with` block.

    >>> with forbid_real_requests():
    ...     check_request("http://127.0.0.1:8000/v1/chat/completions")
    """
    before, _Switch.forbidden = _Switch.forbidden, True
    return Restore(before)


def allow_real_requests() -> Restore:
    """Allows real requests again, from now on or for a `with` block."""
    before, _Switch.forbidden = _Switch.forbidden, False
    return Restore(before)


def check_request(url: str) -> None:
    """Checks that a request may be sent. A transport calls it before it opens a socket.

    Raises:
        RequestsForbiddenError: real requests are forbidden and the host is not this machine.
    """
    forbidden = _Switch.forbidden
    if forbidden is None:
        forbidden = os.environ.get(ENVIRONMENT_VARIABLE, "") not in ("", "0")
    if forbidden and not is_loopback(host := host_of(url)):
        raise RequestsForbiddenError(
            f"a request to {host} was about to be sent while real requests are forbidden "
            f"({ENVIRONMENT_VARIABLE}, or cascadeflow.testing.forbid_real_requests()): "
            "use a local server, or allow_real_requests()"
        )


def host_of(url: str) -> str:
    """Gives the host of a URL, without port and brackets."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - not on the way of every request

    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself.

    >>> [is_loopback(host) for host in ("localhost", "127.8.0.1", "::1", "example.org")]
    [True, True, True, False]
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    from ipaddress import ip_address  # noqa: PLC0415 - not on the way of every request

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
