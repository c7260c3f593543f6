"""What judging a draft found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CheckReport", "QualityReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """One check of a draft.

    Attributes:
        name: the check's name, such as `refusal`.
        verdict: `passed`, `failed`, or `not_applicable`.
        score: 0 (surely bad) to 1 (nothing found).
        reason: why, in words; empty when it passed.
    """

    name: str
    verdict: Literal["passed", "failed", "not_applicable"]
    score: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """How the draft was judged.

    Attributes:
        mode: which checks ran; `None` when nothing was judged (direct route).
        score: the probability that the draft is good enough.
        threshold: the least probability at which it is accepted.
        accepted: whether the draft was accepted; `None` when there was no draft to judge.
        reason: the decision in words.
        checks: each check.
    """

    mode: str | None = None
    score: float | None = None
    threshold: float | None = None
    accepted: bool | None = None
    reason: str = ""
    checks: tuple[CheckReport, ...] = ()
