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
        verdict: `passed`, `failed`, `not_applicable`, or `error`: it could not be run, which never
            counts as passed.
        score: 0 (surely bad) to 1 (nothing found).
        reason: why, in words; empty when it passed.
        ms: how long it took, waits included; `None` where that was not taken by itself.
        quoted: a judge's own words for the fault. They may quote the request, so they are no part
            of any `reason`, and stand in no log.
    """

    name: str
    verdict: Literal["passed", "failed", "not_applicable", "error"]
    score: float
    reason: str = ""
    ms: float | None = None
    quoted: str = ""


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
