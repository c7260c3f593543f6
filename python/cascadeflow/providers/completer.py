"""The default `Completer`: over HTTP, or in this process for `local:`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.config import BreakerPolicy
from cascadeflow.providers.client import HttpCompleter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from random import Random

    from cascadeflow.clock import Clock
    from cascadeflow.config import Deadlines, RetryPolicy
    from cascadeflow.models.completer import Reply, RetryPermit
    from cascadeflow.models.completion import StreamEvent
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.providers.breaker import BreakerState
    from cascadeflow.providers.local import LocalCompleter
    from cascadeflow.types import ChatRequest

__all__ = ["Providers"]

_BREAKER: Final = BreakerPolicy()


class Providers:
    """Asks any model of any registered provider.

    Args:
        transport: how HTTP requests are sent: `None` for the default; a client with httpx's API
            (`httpx2.AsyncClient`, `httpx.AsyncClient`); or an object with one `send` method.
        retry: when a failed call is tried again.
        deadlines: how long each part of a call may take.
        breaker: when a model that keeps failing is left alone for a while; `None` never does that.
            Models in this process have none.
        clock: what is asked for the time.
        random: what the waits between tries are drawn from.
    """

    def __init__(
        self,
        *,
        transport: Any = None,
        retry: RetryPolicy | None = None,
        deadlines: Deadlines | None = None,
        breaker: BreakerPolicy | None = _BREAKER,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self._http = HttpCompleter(
            transport=transport,
            retry=retry,
            deadlines=deadlines,
            breaker=breaker,
            clock=clock,
            random=random,
        )
        self._deadlines = deadlines
        self._clock = clock
        self._local: LocalCompleter | None = None

    async def complete(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> Reply:
        """Asks and waits for the whole answer; see `HttpCompleter.complete`."""
        return await self._completer(model).complete(
            model, request, timeout=timeout, may_retry=may_retry
        )

    def stream(
        self,
        model: ModelConfig,
        request: ChatRequest,
        *,
        timeout: float | None = None,
        may_retry: RetryPermit | None = None,
    ) -> AsyncGenerator[StreamEvent | Reply, None]:
        """Asks and yields the events, then one `Reply`; see `HttpCompleter.stream`."""
        return self._completer(model).stream(model, request, timeout=timeout, may_retry=may_retry)

    def breakers(self) -> Mapping[str, BreakerState]:
        """Gives the state of each model's circuit breaker; see `HttpCompleter.breakers`."""
        return self._http.breakers()

    async def aclose(self) -> None:
        """Closes the connections of the running loop; the completer may be used again."""
        await self._http.aclose()

    def _completer(self, model: ModelConfig) -> HttpCompleter | LocalCompleter:
        if model.provider != "local":
            return self._http
        if self._local is None:
            from cascadeflow.providers.local import LocalCompleter  # noqa: PLC0415 - seldom used

            self._local = LocalCompleter(deadlines=self._deadlines, clock=self._clock)
        return self._local
