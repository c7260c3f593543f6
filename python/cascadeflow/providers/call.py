"""One call: its tries, its deadline, where its time went, and its word to the circuit breaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.errors import CircuitOpenError
from cascadeflow.providers.deadline import Deadline

if TYPE_CHECKING:
    from cascadeflow.providers.breaker import CircuitBreaker, Outcome
    from cascadeflow.providers.target import Target
    from cascadeflow.types import Attempt

__all__ = ["Call"]


class Call:
    """One call.

    Attributes:
        start: when it began, in seconds of the completer's clock.
        deadline: when it must be over, or `None`.
        limiter: the timer for all its deadlines.
        attempts: its tries so far.
        tried_at: when the last try began.
        waited: seconds spent waiting for the network, the provider, and between tries.
        overdue: whether its own deadline ended the last try: that says nothing of the provider.
    """

    __slots__ = (
        "_breaker", "_ticket", "attempts", "deadline", "limiter", "overdue", "start", "tried_at",
        "waited",
    )  # fmt: skip

    def __init__(self, now: float, total: float | None, breaker: CircuitBreaker | None) -> None:
        self.start = now
        self.deadline = None if total is None else now + total
        self.limiter = Deadline()
        self.attempts: list[Attempt] = []
        self.tried_at = now
        self.waited = 0.0
        self.overdue = False
        self._breaker = breaker
        self._ticket: int | None = None
        """The breaker's, while what comes of a try is not known."""

    def admit(self, target: Target) -> None:
        """Asks the breaker to let the first try through.

        Raises:
            CircuitOpenError: it does not.
        """
        if self._breaker is None or self.admitted():
            return
        state = self._breaker.state()
        when = f"for another {state.retry_after:.1f} s" if state.retry_after else "just now"
        raise CircuitOpenError(
            f"{target.model.id} failed too often lately and is not asked {when}: ask another "
            "model, or wait; `breaker=` sets when this happens",
            provider=target.provider.id,
            model=target.model.name,
            retry_after=state.retry_after,
        )

    def admitted(self) -> bool:
        """Asks the breaker whether the next try may be made."""
        if self._breaker is None:
            return True
        self._ticket = self._breaker.admit()
        return self._ticket is not None

    def shut_out(self, wait: float) -> bool:
        """Whether the breaker will let no try through after so many seconds."""
        return self._breaker is not None and self._breaker.refuses_for() > wait

    def answering(self) -> None:
        """Notes the first piece of an answer."""
        if self._breaker is not None and self._ticket is not None:
            self._ticket = self._breaker.answering(self._ticket)

    def tell(self, outcome: Outcome, retry_after: float | None = None) -> None:
        """Tells the breaker what came of a try."""
        if self._breaker is not None and self._ticket is not None:
            self._breaker.record(
                self._ticket, outcome, began=self.tried_at, retry_after=retry_after
            )
            self._ticket = None

    def close(self) -> None:
        """Ends the call, however it ended: whoever was let through gives its place back."""
        self.limiter.close()
        self.tell("unknown")
