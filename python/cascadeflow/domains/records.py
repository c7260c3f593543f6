"""What a request is about, and who says so: the records that the detector's layers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cascadeflow.types import GENERAL

__all__ = ["GENERAL", "Detection", "Evidence", "Layer", "LayerReport"]

Layer = Literal["caller", "rules", "semantic", "zero_shot", "none"]
"""Who decided: the caller by `domain=`, one of the three layers, or nobody, which is `general`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for or against a domain.

    Attributes:
        what: a rule's name, or the text of a near example.
        domain: for which domain.
        weight: a rule's part in the sum (log-odds, negative against), or an example's cosine.
    """

    what: str
    domain: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """What one layer made of a request.

    Attributes:
        layer: which.
        probabilities: each domain it knows and its calibrated probability, likeliest first; they
            add up to at most 1, the rest being "none of these".
        answered: whether it was sure enough to answer; else the next layer was asked.
        threshold: the least probability at which it answers.
        evidence: what it saw, the heaviest first.
        ms: how long it took, waits included.
        error: why it could not run, when it could not.
    """

    layer: Layer
    probabilities: tuple[tuple[str, float], ...]
    answered: bool
    threshold: float
    evidence: tuple[Evidence, ...] = ()
    ms: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What a request is about.

    Attributes:
        domain: the one that it is routed by; `general` where nobody was sure.
        confidence: the calibrated probability that this is right, 0 to 1; `None` for the caller's
            word, and where no layer could run.
        layer: who decided.
        domains: all that it is likely about, likeliest first, with their probabilities, `None`
            where a model named them; `domain` is the first where a layer answered.
        layers: what each layer that ran made of it, in their order.
    """

    domain: str
    confidence: float | None
    layer: Layer
    domains: tuple[tuple[str, float | None], ...] = ()
    layers: tuple[LayerReport, ...] = ()
