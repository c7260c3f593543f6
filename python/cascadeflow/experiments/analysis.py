"""What an experiment's sums say: how its variants compare, and which of them broke a guard rail."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.experiments.book import Stop
from cascadeflow.experiments.inference import (
    Difference,
    Moments,
    breach_p,
    compared,
    mean_breach_p,
    sample_ratio_p,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cascadeflow.experiments.book import Book

__all__ = [
    "ExperimentSummary",
    "GuardReport",
    "MetricReport",
    "VariantReport",
    "report_of",
    "review",
]

SUSPICIOUS_RATIO: Final = 0.001
"""Below this p-value the numbers of users do not fit the weights, and nothing can be concluded."""

_GUARDS_TIGHTEST_AT: Final = 100.0
"""Guard rails are keenest early, for what they guard against does harm from the first request."""

_GRID: Final = 1.15
"""An interval is noted for the picture whenever there are this many times as many users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReport:
    """One metric of one variant, beside control.

    Attributes:
        metric: its name.
        better: whether `lower` or `higher` is better.
        users: how many users have a value.
        requests: how many values there are.
        mean: the mean over users of each one's mean.
        request_mean: the mean over requests, for comparison with other reports; busy users count
            for more in it, and nothing is concluded from it.
        difference: variant minus control; `None` for control and without values.
        low: the least that the difference may be; `None` while too few users have been seen.
        high: the most.
        relative: the difference as a share of control's mean.
        compared: how many users of both sides the difference rests on: those that came while both
            were drawn.
        p: the always-valid p-value.
        verdict: whether the interval leaves out 0, and on which side.
    """

    metric: str
    better: str
    users: int
    requests: int
    mean: float | None
    request_mean: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    relative: float | None = None
    compared: int = 0
    p: float | None = None
    verdict: Literal["better", "worse", "undecided"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReport:
    """How a variant stands to one guard rail.

    Attributes:
        guardrail: what it asks for, in words.
        value: the variant's mean (a share of requests under a quantile), or its difference to
            control.
        bound: what that is held to.
        p: the always-valid p-value of the bound being broken.
        alpha: at which it is taken to be.
        broken: whether it is.
    """

    guardrail: str
    value: float | None
    bound: float
    p: float
    alpha: float
    broken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantReport:
    """One variant.

    Attributes:
        name: what it is called.
        control: whether it is what the others are compared with.
        weight: its share of the users that take part, now; `None` when it is no longer drawn.
        users: how many users and single requests were drawn into it.
        stopped: why it was stopped; `None` while it runs.
        primary: the experiment's metric.
        others: the other metrics, their intervals not corrected for there being several.
        guardrails: how it stands to each.
        history: users of both sides, difference, its least and its most, on the way.
    """

    name: str
    control: bool
    weight: float | None
    users: int
    stopped: str | None
    primary: MetricReport
    others: tuple[MetricReport, ...]
    guardrails: tuple[GuardReport, ...]
    history: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSummary:
    """How an experiment stands.

    Attributes:
        name: what it is called.
        metric: what it compares.
        better: whether `lower` or `higher` is better.
        confidence: of all the intervals of its metric together, at all times, 0 to 1.
        share: the share of users that take part.
        state: `running` or `stopped`.
        stopped: why it was stopped.
        users: how many users and single requests take part.
        variants: control first.
        sample_ratio_p: the p-value of the numbers of users fitting the weights.
        sample_ratio_ok: whether they do.
        moved: values not counted, their user having moved to another variant.
        kept: the share of new users that are counted at all; less than 1 when there were too many.
    """

    name: str
    metric: str
    better: str
    confidence: float
    share: float
    state: Literal["running", "stopped"]
    stopped: str | None
    users: int
    variants: tuple[VariantReport, ...]
    sample_ratio_p: float
    sample_ratio_ok: bool
    moved: int
    kept: float

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def review(book: Book, *, at: str) -> None:
    """Stops the variants that broke a guard rail, and notes how the intervals stand.

    Args:
        book: whose sums have just changed.
        at: the time (UTC, ISO 8601).
    """
    for name in _others(book):
        if name in book.stopped:
            continue
        for guard in _guards(book, name):
            if guard.broken:
                reason = f"{guard.guardrail}: it is {guard.value:.4g} (p {guard.p:.2g})"
                book.stop(Stop(variant=name, reason=reason, at=at, by="guardrail"))
        _note(book, name)


def report_of(book: Book) -> ExperimentSummary:
    """Says how an experiment stands."""
    said = book.description
    control = said["control"]
    p, ok = _sample_ratio(book)
    latest = json.loads(book.epochs[-1])["weights"] if book.epochs else said["weights"]
    whole = sum(latest.values())
    variants = []
    for name in (control, *_others(book)):
        stop = book.stopped.get(name)
        metrics = _metrics(book)
        primary = _metric(book, name, said["metric"], alpha=_alpha(book))
        variants.append(
            VariantReport(
                name=name,
                control=name == control,
                weight=latest[name] / whole if name in latest else None,
                users=sum(n for (_, variant), n in book.arrivals.items() if variant == name),
                stopped=None if stop is None else f"{stop.reason} ({stop.at}, by {stop.by})",
                primary=primary,
                others=tuple(
                    _metric(book, name, metric, alpha=1 - said["confidence"])
                    for metric in metrics
                    if metric["name"] != said["metric"]["name"]
                ),
                guardrails=() if name == control else tuple(_guards(book, name)),
                history=tuple((n, d, lo, hi) for n, d, lo, hi in book.history.get(name, ())),
            )
        )
    ended = book.ended
    return ExperimentSummary(
        name=said["name"],
        metric=said["metric"]["name"],
        better=said["metric"]["better"],
        confidence=said["confidence"],
        share=said["share"],
        state="running" if ended is None else "stopped",
        stopped=None if ended is None else f"{ended.reason} ({ended.at}, by {ended.by})",
        users=sum(book.arrivals.values()),
        variants=tuple(variants),
        sample_ratio_p=p,
        sample_ratio_ok=ok,
        moved=book.moved,
        kept=2.0**-book.level,
    )


def _others(book: Book) -> list[str]:
    return [name for name in book.description["variants"] if name != book.description["control"]]


def _alpha(book: Book) -> float:
    """What each comparison may err by, that all of them together err no more (Bonferroni)."""
    return float(1 - book.description["confidence"]) / max(1, len(_others(book)))


def _metrics(book: Book) -> list[Mapping[str, Any]]:
    """The metrics that anything was seen of, the experiment's own first."""
    known = {metric["name"]: metric for metric in book.description["metrics"]}
    seen = {metric for _, _, metric in book.moments}
    return [metric for name, metric in known.items() if name in seen]


def _strata(book: Book, name: str, metric: str) -> Iterable[tuple[Moments, Moments]]:
    control = book.of_metric(book.description["control"], metric)
    return [
        (moments, control[epoch])
        for epoch, moments in book.of_metric(name, metric).items()
        if epoch in control
    ]


def _whole(book: Book, name: str, metric: str) -> Moments:
    whole = Moments()
    for moments in book.of_metric(name, metric).values():
        whole = whole.merged(moments)
    return whole


def _compared(book: Book, name: str, metric: Mapping[str, Any], *, alpha: float) -> Difference:
    return compared(
        _strata(book, name, metric["name"]),
        share=metric["kind"] == "share",
        alpha=alpha,
        # Of so many users, half on either side, each with one request.
        tightest_at=book.description["expected_users"] / 4,
    )


def _metric(book: Book, name: str, metric: Mapping[str, Any], *, alpha: float) -> MetricReport:
    whole = _whole(book, name, metric["name"])
    requests = whole.request_total / whole.requests if whole.requests else None
    found = MetricReport(
        metric=metric["name"],
        better=metric["better"],
        users=round(whole.units),
        requests=round(whole.requests),
        mean=whole.mean,
        request_mean=requests,
    )
    if name == book.description["control"]:
        return found
    seen = _compared(book, name, metric, alpha=alpha)
    if seen.estimate is None:
        return found
    verdict: Literal["better", "worse", "undecided"] = "undecided"
    if seen.high < 0:
        verdict = "better" if metric["better"] == "lower" else "worse"
    elif seen.low > 0:
        verdict = "worse" if metric["better"] == "lower" else "better"
    return MetricReport(
        metric=found.metric,
        better=found.better,
        users=found.users,
        requests=found.requests,
        mean=found.mean,
        request_mean=found.request_mean,
        difference=seen.estimate,
        low=seen.low if math.isfinite(seen.low) else None,
        high=seen.high if math.isfinite(seen.high) else None,
        relative=seen.estimate / abs(seen.beside) if seen.beside else None,
        compared=round(seen.units),
        p=seen.p,
        verdict=verdict,
    )


def _guards(book: Book, name: str) -> list[GuardReport]:
    guards = book.description["guardrails"]
    alpha = _alpha(book) / max(1, len(guards))
    found = []
    for guard in guards:
        metric, sign, bound = guard["metric"], guard["sign"], guard["bound"]
        share = metric["kind"] == "share"
        value: float | None
        if guard["relative"]:
            seen = _compared(book, name, metric, alpha=alpha)
            value, p = seen.estimate, 1.0
            if value is not None and seen.standard_error is not None:
                p = breach_p(
                    sign * value,
                    seen.standard_error**2,
                    seen.information,
                    bound=bound,
                    tightest_at=_GUARDS_TIGHTEST_AT,
                )
        else:
            whole = _whole(book, name, metric["name"])
            value = whole.mean
            p = mean_breach_p(
                whole, bound=bound, sign=sign, share=share, tightest_at=_GUARDS_TIGHTEST_AT
            )
        found.append(
            GuardReport(
                guardrail=guard["words"],
                value=value,
                bound=bound,
                p=p,
                alpha=alpha,
                broken=p <= alpha,
            )
        )
    return found


def _note(book: Book, name: str) -> None:
    """Notes an interval for the picture, at a bounded number of moments."""
    metric = book.description["metric"]
    noted = book.history.setdefault(name, [])
    seen = _compared(book, name, metric, alpha=_alpha(book))
    if seen.units < (noted[-1][0] * _GRID if noted else 0):
        return
    if seen.estimate is not None and math.isfinite(seen.low):
        noted.append([seen.units, seen.estimate, seen.low, seen.high])


def _sample_ratio(book: Book) -> tuple[float, bool]:
    strata = []
    for epoch, text in enumerate(book.epochs):
        weights = json.loads(text)["weights"]
        strata.append(
            (
                [book.arrivals.get((epoch, name), 0) for name in weights],
                list(weights.values()),
            )
        )
    p, _ = sample_ratio_p(strata)
    return p, p >= SUSPICIOUS_RATIO
