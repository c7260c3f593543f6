"""Asking a model, however it is reached: the promise, and what comes back of it.

The pipeline hands a `Completer` to whichever room needs one (a judge, a zero-shot classifier), so
that no room imports `providers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cascadeflow.types import Attempt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completion import Completion, StreamEvent
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.types import ChatRequest

__all__ = ["Attempt", "Completer", "Reply", "RetryPermit"]

RetryPermit: TypeAlias = "Callable[[ProviderError], Awaitable[bool]]"
"""Asked before a failed try is repeated: under a budget, a try that may have been billed is only
repeated when money for one more was held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A completion and how it was come by.

    Attributes:
        completion: the answer.
        attempts: every try at this model, the last one being the one that answered.
        duration_ms: from handing the request in to the answer's last byte, waits included.
        transport_ms: the part of it spent waiting for the network and the provider.
        first_token_ms: until the first piece of the answer, on a stream.
    """

    completion: Completion
    attempts: tuple[Attempt, ...]
    duration_ms: float
    transport_ms: float
    first_token_ms: float | None = None


class Completer(Protocol):
    """Asks a model, however it is reached: over HTTP, or in this process."""

    async def complete(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> Reply:
        """Asks and waits for the whole answer.

        Args:
            model: which model, where it is and how to reach it.
            request: what to ask; `stream` is set by the method, not by the caller.
            timeout: seconds for everything, retries included; the shorter of it and the
                completer's own total deadline counts.
            may_retry: asked with the error before each further try; `False` ends the trying.

        Raises:
            ProviderError: every try failed; its `attempts` attribute holds them all.
        """

    def stream(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> AsyncIterator[StreamEvent | Reply]:
        """Asks and yields the events, then one `Reply`; closing the iterator closes the connection.

        Only what failed before the first event is tried again.
        """

    async def aclose(self) -> None:
        """Closes every connection; the completer may be used again afterwards."""
