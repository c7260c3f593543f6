"""The frozen configuration records that several rooms share.

They stand on the ground floor so that rooms above need not import each other for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from cascadeflow.errors import ConfigurationError

__all__ = ["Deadlines", "QualityConfig", "QualityMode", "RetryPolicy"]

QualityMode = Literal["fast", "balanced", "strict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed call is tried again at the same model: full jitter, exponential, capped.

    Attributes:
        attempts: tries in all, the first included; 1 never retries.
        base_delay: seconds; try n waits a random time up to `base_delay * 2**(n-1)`.
        max_delay: seconds; no wait is longer, and a `Retry-After` that is longer ends the retrying.
    """

    attempts: int = 3
    base_delay: float = 0.5
    max_delay: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(
                f"RetryPolicy.attempts must be at least 1, not {self.attempts}"
            )
        if not (0 <= self.base_delay <= self.max_delay):
            raise ConfigurationError("RetryPolicy needs 0 <= base_delay <= max_delay, in seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each part of a call may take, in seconds; `None` waits for ever.

    Attributes:
        connect: until the connection stands, TLS included.
        first_byte: from the request being sent to the response's first byte.
        between_chunks: between two pieces of a stream.
        total: the whole call, retries included.
    """

    connect: float | None = 10.0
    first_byte: float | None = 120.0
    between_chunks: float | None = 60.0
    total: float | None = 300.0

    def __post_init__(self) -> None:
        for name in ("connect", "first_byte", "between_chunks", "total"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigurationError(
                    f"Deadlines.{name} must be more than 0 seconds or None, not {value}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityConfig:
    """How a draft is judged, and how sure the judgement must be.

    Attributes:
        mode: which checks run; `fast` is the text rules.
        threshold: the least probability that the draft is good enough, 0 to 1, at which it is
            accepted; its default is fitted, `docs/quality.md` says on what.
    """

    mode: QualityMode = "fast"
    threshold: float = 0.80

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigurationError(
                f"QualityConfig.threshold must lie in 0..1, not {self.threshold}"
            )
        if self.mode != "fast":
            raise ConfigurationError(
                f"quality mode {self.mode!r} is not part of this version: use QualityConfig.fast()"
            )

    @classmethod
    def fast(cls, **overrides: Any) -> Self:
        """Text rules only, in well under a millisecond.

        >>> QualityConfig.fast(threshold=0.6).threshold
        0.6
        """
        return replace(cls(mode="fast"), **overrides)
