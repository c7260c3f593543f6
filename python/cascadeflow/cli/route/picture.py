"""Draws an explained decision in the terminal, from the request down to the expected cost."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.cli.bars import ascii_only, bar, needle, shortened, span
from cascadeflow.cli.output import usd
from cascadeflow.cli.route.explain import LAYERS

if TYPE_CHECKING:
    from rich.console import Console

    from cascadeflow.cli.route.explain import Explanation
    from cascadeflow.domains.records import LayerReport
    from cascadeflow.pipeline.decide import Decision

__all__ = ["draw", "values"]

_NANODOLLARS: Final = 10**9
_NARROWEST: Final = 60
_WIDEST: Final = 100
_BAR: Final = 24
_LIKELIEST: Final = 4
_LEAST: Final = 0.005
"""A domain with less is not drawn: it would be 0.00."""
_HEAVIEST: Final = 6
_LEVELS: Final = (
    ("trivial", 0.0),
    ("simple", 0.15),
    ("moderate", 0.35),
    ("hard", 0.60),
    ("expert", 0.82),
)
_LEARNED: Final = 0.5


def values(found: Explanation) -> dict[str, Any]:
    """Gives the explanation as plain JSON; `docs/cli.md` documents each key."""
    detection, plan, decision = found.detection, found.plan, found.plan.decision
    reports = {report.layer: report for report in detection.layers}
    return {
        "characters": len(found.text),
        "domain": detection.domain,
        "confidence": detection.confidence,
        "decided_by": detection.layer,
        "domains": [_probability(*each) for each in detection.domains],
        "layers": [_layer(name, reports.get(name), found.skipped.get(name)) for name in LAYERS],
        "complexity": {
            "level": found.complexity.level,
            "score": found.complexity.score,
            "reasons": list(found.complexity.reasons),
            "parts": [{"what": what, "weight": weight} for what, weight in found.complexity.parts],
            "code": None if found.complexity.code is None else asdict(found.complexity.code),
        },
        "choice": {
            "source": found.choice.source,
            "domain": found.choice.domain,
            "reason": found.choice.reason,
            "quality": found.quality.mode,
            "threshold": found.quality.threshold,
            "system_prompt": found.choice.system_prompt,
        },
        "route": plan.route,
        "reason": plan.reason,
        "draft_model": plan.draft_model,
        "verifier_model": plan.verifier_model,
        "drafters": [model.id for model in plan.drafters],
        "verifiers": [model.id for model in plan.verifiers],
        "models": [
            {
                "model": call.model,
                "input_tokens": call.input_tokens,
                "output_tokens": call.output_tokens,
                "cost": _dollars(call.nanodollars),
                "problem": call.problem or None,
            }
            for call in found.expected
        ],
        "decision": None if decision is None else _decision(decision),
    }


def draw(found: Explanation, console: Console) -> None:
    """Prints the picture: colours where the console has them, at most 100 columns wide."""
    width = max(_NARROWEST, min(_WIDEST, console.width))
    picture = _Picture(console, width)
    picture.head("request", f"{len(found.text):,} characters", last=False, first=True)
    picture.line((shortened(found.text, width - 5), "italic"))
    _draw_layers(found, picture)
    _draw_domain(found, picture)
    _draw_complexity(found, picture)
    _draw_models(found, picture)
    _draw_cost(found, picture)


class _Picture:
    """A tree that is printed a line at a time."""

    def __init__(self, console: Console, width: int) -> None:
        self.width = width
        self._console = console
        self._rail = "│"

    def head(self, name: str, says: str, *, last: bool = False, first: bool = False) -> None:
        """Begins a station."""
        if not first:
            self._print(("│", "dim"))
        branch = "┌─" if first else ("└─" if last else "├─")
        self._rail = " " if last else "│"
        hanging = len(name) + 5
        lines = textwrap.wrap(says, max(20, self.width - hanging)) or [""]
        self._print((branch, "dim"), (f" {name}", "bold"), (f"  {lines[0]}", ""))
        for each in lines[1:]:
            self._print((self._rail, "dim"), (" " * (hanging - 1) + each, ""))

    def line(self, *cells: tuple[str, str]) -> None:
        """Prints a line below the station; what is too long is cut off."""
        self._print((f"{self._rail}    ", "dim"), *cells)

    def words(self, label: str, says: str, style: str = "") -> None:
        """Prints a sentence below the station, in as many lines as it takes."""
        hanging = len(label) + 1 if label else 0
        for number, each in enumerate(textwrap.wrap(says, self.width - 5 - hanging)):
            head = f"{label} " if label and not number else " " * hanging
            self.line((head, "dim"), (each, style))

    def _print(self, *cells: tuple[str, str]) -> None:
        from rich.text import Text  # noqa: PLC0415

        if self._console.options.ascii_only:
            cells = tuple([(ascii_only(words), style) for words, style in cells])
        text = Text.assemble(*cells)
        text.truncate(self.width)
        text.rstrip()
        self._console.print(text, no_wrap=True)


def _draw_layers(found: Explanation, picture: _Picture) -> None:
    reports = {report.layer: report for report in found.detection.layers}
    for name in LAYERS:
        report = reports.get(name)
        title = name.replace("_", "-")
        if report is None:
            picture.head(title, f"not asked: {found.skipped[name]}")
        elif report.error is not None:
            picture.head(title, f"could not run: {report.error}")
        else:
            _draw_layer(title, report, picture)


def _draw_layer(title: str, report: LayerReport, picture: _Picture) -> None:
    verdict = "answered" if report.answered else "not sure, passed on"
    picture.head(title, f"{verdict}; it answers from {report.threshold:.2f} on; {report.ms:.2f} ms")
    named = max((len(name) for name, _ in report.probabilities[:_LIKELIEST]), default=0)
    for place, (name, probability) in enumerate(report.probabilities[:_LIKELIEST]):
        if place and probability < _LEAST:
            break
        style = ("green" if report.answered else "yellow") if not place else "dim"
        picture.line(
            (f"{shortened(name, 24):<{min(named, 24)}} ", "" if place else "bold"),
            (bar(probability, _BAR, mark=report.threshold), style),
            (f" {probability:.2f}", ""),
        )
    rules = report.layer == "rules"
    seen = report.evidence[:_HEAVIEST]
    if not seen:
        picture.line(("no rule fired" if rules else "no example is near", "dim"))
        return
    picture.line(("rules that fired, log-odds:" if rules else "nearest examples, cosine:", "dim"))
    for each in seen:
        figure = f"{each.weight:+.2f}" if rules else f"{each.weight:.2f}"
        picture.line(
            (f"{figure:>7}", "red" if each.weight < 0 else "cyan"),
            (f" {shortened(each.domain, 24):<14} ", ""),
            (shortened(each.what, max(10, picture.width - 30)), ""),
        )
    if len(report.evidence) > len(seen):
        picture.line((f"and {len(report.evidence) - len(seen)} more", "dim"))


def _draw_domain(found: Explanation, picture: _Picture) -> None:
    detection = found.detection
    if detection.layer == "caller":
        how = "the caller says so"
    elif detection.layer == "none":
        how = "no layer was sure"
    elif detection.confidence is None:
        how = f"{detection.layer} says so"
    else:
        how = f"{detection.confidence:.2f} by the layer {detection.layer}"
    picture.head("domain", f"{detection.domain}: {how}")
    further = [each for each in detection.domains if each[0] != detection.domain]
    if further:
        label = "likeliest:" if detection.layer == "none" else "also:"
        picture.words(
            label,
            ", ".join(
                name if probability is None else f"{name} {probability:.2f}"
                for name, probability in further
            ),
        )


def _draw_complexity(found: Explanation, picture: _Picture) -> None:
    complexity = found.complexity
    picture.head("complexity", f"{complexity.level}, {complexity.score:.3f} of 1")
    width = picture.width - 10
    picture.line((needle(complexity.score, width), "magenta"))
    scale = ""
    for name, begins in _LEVELS:
        scale = f"{scale.ljust(round(begins * (width - 1)))}{name} "
    picture.line((scale, "dim"))
    if complexity.parts:
        reasons = [f"{what} {weight:+.2f}" for what, weight in complexity.parts]
        picture.words("because:", ", ".join(reasons))
    code = complexity.code
    if code is not None:
        says = [
            code.language,
            f"{code.lines:,} lines",
            f"nesting {code.nesting}",
            f"cyclomatic {code.cyclomatic}",
            *code.constructs,
        ]
        picture.words("code:", ", ".join(says))


def _draw_models(found: Explanation, picture: _Picture) -> None:
    plan, considered = found.plan, found.considered
    direct = plan.route == "direct"
    picture.head("models", "one is asked directly" if direct else "a draft is made first")
    roles = {model.id: "stands by" for model in (*considered.drafters, *considered.verifiers)}
    roles[plan.verifiers[0].id] = "answers" if direct else "verifies"
    if considered.drafters:
        roles[considered.drafters[0].id] = "would draft" if direct else "drafts"
    named = max(len(call.model) for call in found.expected)
    ordered = sorted(found.expected, key=lambda call: _ROLES.index(roles[call.model]))
    for call in ordered:
        tokens = "?" if call.input_tokens is None else f"{call.input_tokens:,}"
        picture.line(
            (f"{roles[call.model]:<12}", "bold"),
            (f"{call.model:<{min(named, 34)}}  ", ""),
            (f"{tokens} in, about {call.output_tokens:,} out  ", "dim"),
            (usd(_dollars(call.nanodollars)), ""),
        )
    for call in ordered:
        if call.problem:
            picture.words("not known:", f"{call.model}: {call.problem}", "yellow")
    picture.words("why these:", f"{found.choice.source}: {found.choice.reason}")
    if not direct:
        quality = found.quality
        picture.words("the draft is judged:", f"{quality.mode}, from {quality.threshold:g} on")
    if found.choice.system_prompt is not None:
        picture.words("system prompt:", shortened(found.choice.system_prompt, 200))


_ROLES: Final = ("drafts", "would draft", "verifies", "answers", "stands by")


def _draw_cost(found: Explanation, picture: _Picture) -> None:
    decision = found.plan.decision
    picture.head("expected cost", f"{found.plan.route}: {found.plan.reason}", last=True)
    if decision is None:
        return
    bars = picture.width - 5 - 15 - 12
    dearest = max(decision.expected_cascade or 0, decision.expected_direct or 0)
    for name, cost, chosen in (
        ("draft first", decision.expected_cascade, decision.route == "cascade"),
        ("direct", decision.expected_direct, decision.route == "direct"),
    ):
        share = 0.0 if not dearest or cost is None else cost / dearest
        picture.line(
            (f"{name:<14} ", "bold" if chosen else ""),
            (bar(share, bars), "green" if chosen else "dim"),
            (f" {usd(_dollars(cost))}", ""),
        )
    estimate, needed = decision.acceptance, decision.break_even
    picture.line(
        (f"{'acceptance':<14} ", ""),
        (span(estimate.low, estimate.probability, estimate.high, bars, mark=needed), "cyan"),
        (f" {estimate.probability:.2f}", ""),
    )
    learned = (
        f"learned from {estimate.observations:,.0f} drafts"
        if estimate.observations >= _LEARNED
        else "nothing learned of it yet, so what is expected of the level"
    )
    picture.words(
        "",
        f"of drafts {estimate.probability:.0%} are accepted (90 % interval {estimate.low:.0%} to "
        f"{estimate.high:.0%}; {learned})"
        + ("" if needed is None else f"; a draft pays from {needed:.1%} on, the line"),
        "dim",
    )


def _probability(name: str, probability: float | None) -> dict[str, Any]:
    return {"domain": name, "probability": probability}


def _layer(name: str, report: LayerReport | None, skipped: str | None) -> dict[str, Any]:
    if report is None:
        return {"layer": name, "asked": False, "answered": False, "why": skipped}
    return {
        "layer": name,
        "asked": True,
        "answered": report.answered,
        "why": report.error,
        "threshold": report.threshold,
        "ms": report.ms,
        "probabilities": [_probability(*each) for each in report.probabilities],
        "evidence": [
            {"what": each.what, "domain": each.domain, "weight": each.weight}
            for each in report.evidence
        ],
    }


def _decision(decision: Decision) -> dict[str, Any]:
    estimate = decision.acceptance
    return {
        "route": decision.route,
        "reason": decision.reason,
        "basis": decision.basis,
        "acceptance": {
            "probability": estimate.probability,
            "low": estimate.low,
            "high": estimate.high,
            "observations": estimate.observations,
        },
        "break_even": decision.break_even,
        "draft_cost": _dollars(decision.draft_cost),
        "validation_cost": _dollars(decision.validation_cost),
        "verifier_cost": _dollars(decision.verifier_cost),
        "expected_cascade": _dollars(decision.expected_cascade),
        "expected_direct": _dollars(decision.expected_direct),
    }


def _dollars(nanodollars: int | None) -> float | None:
    return None if nanodollars is None else nanodollars / _NANODOLLARS
