"""What a check by a local model found."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check by a local model found.

    Attributes:
        score: 0 (surely bad) to 1 (surely good).
        failed: whether the score is below the threshold that was asked for.
        reason: why, in words; empty when nothing is wrong.
        quoted: what of the texts is wrong. It is no part of `reason`, and stands in no log.
        applicable: whether there was anything to judge; if not, the score is 1.
        detail: the numbers behind the score, by name.
    """

    score: float
    failed: bool
    reason: str = ""
    quoted: str = ""
    applicable: bool = True
    detail: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
