"""What a replay found: the figures, their JSON, the table and the plot."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cascadeflow.cli.output import percent, usd
from cascadeflow.cli.replay.plot import Line, Mark, Plot, svg_plot, terminal_plot
from cascadeflow.cli.replay.statistics import (
    Baseline,
    CurvePoint,
    Outcome,
    always_draft,
    always_verifier,
    auc,
    bootstrap,
    curve,
    expected_random,
    perfect_validator,
    quality_kept,
    random_at_cost,
    random_to_quality,
    saved_fraction,
    wilson,
)
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from cascadeflow.cli.replay.joining import JoinedLog
    from cascadeflow.cli.replay.target import TargetQuality

__all__ = ["PLOT_SUFFIXES", "ReplayReport"]

PLOT_SUFFIXES = (".svg", ".csv", ".json")
"""The files `--plot` writes: the picture, or the curve's figures."""

_NANODOLLARS = 10**9

_QUALITY_TARGET = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """The figures of one replay.

    Attributes:
        outcomes: what became of each question.
        draft: the drafting model, as the file names it.
        verifier: the verifying model, likewise.
        cross_checks: the models whose answers the drafts were compared with, in their order.
        always_cross_check: what the first of them scores where it answers everything alone.
        prices: by model, its price in words, with where it came from.
        mode: which checks judged the drafts.
        threshold: the least score at which a draft was accepted.
        rows: how many rows the log holds.
        skipped: of these, those that lacked an answer of one of the models.
        logs: what other logs lent.
        target: the quality that the threshold was chosen for; `None` where it was not.
    """

    outcomes: Sequence[Outcome]
    draft: str
    verifier: str
    cross_checks: tuple[str, ...]
    always_cross_check: Baseline | None
    prices: Mapping[str, str]
    mode: str
    threshold: float
    rows: int
    skipped: int
    logs: tuple[JoinedLog, ...] = ()
    target: TargetQuality | None = None
    points: tuple[CurvePoint, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", curve(self.outcomes))

    @property
    def served(self) -> Baseline:
        """What the cascade scored."""
        return _served(self.outcomes)

    @property
    def escalated(self) -> float:
        """The share of drafts that were rejected."""
        return sum(not outcome.accepted for outcome in self.outcomes) / len(self.outcomes)

    @property
    def not_run(self) -> int:
        """Drafts of which a check could not be run, or an opinion not be heard."""
        return sum(outcome.not_run for outcome in self.outcomes)

    @property
    def baselines(self) -> dict[str, Baseline]:
        """What the cascade is measured against, by name."""
        found = {
            "always_draft": always_draft(self.outcomes),
            "always_verifier": always_verifier(self.outcomes),
            "random": random_at_cost(self.outcomes),
            "perfect": perfect_validator(self.outcomes),
        }
        if self.always_cross_check is not None:
            found["always_cross_check"] = self.always_cross_check
        return found

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON object; `docs/replay.md` documents each key."""
        total = len(self.outcomes)
        served, alone = self.served, always_verifier(self.outcomes)
        scored = [outcome for outcome in self.outcomes if outcome.score is not None]
        return {
            "n": total,
            "saved": served.saved,
            "quality_kept": quality_kept(served.accuracy, alone.accuracy),
            "accuracy": served.accuracy,
            "escalated": self.escalated,
            "auc": auc(
                [outcome.score or 0.0 for outcome in scored],
                [outcome.draft_correct for outcome in scored],
            ),
            "baselines": {name: asdict(baseline) for name, baseline in self.baselines.items()},
            "draft": self.draft,
            "verifier": self.verifier,
            "cross_check": self.cross_checks[0] if self.cross_checks else None,
            "cross_checks": list(self.cross_checks),
            "draft_price": self.prices[self.draft],
            "verifier_price": self.prices[self.verifier],
            "cross_check_price": self.prices[self.cross_checks[0]] if self.cross_checks else None,
            "cross_check_prices": [self.prices[each] for each in self.cross_checks],
            "mode": self.mode,
            "threshold": self.threshold,
            "target_quality": None if self.target is None else self.target.to_dict(),
            "skipped": self.skipped,
            "not_run": self.not_run,
            "also": [log.to_dict() for log in self.logs],
            "cost": sum(outcome.cost for outcome in self.outcomes) / _NANODOLLARS,
            "cost_verifier_only": sum(o.verifier_cost for o in self.outcomes) / _NANODOLLARS,
            "cost_draft_only": sum(o.draft_cost for o in self.outcomes) / _NANODOLLARS,
            "cost_opinions": sum(o.opinions_cost for o in self.outcomes) / _NANODOLLARS,
            "interval_95": self._intervals(),
            "at_95_quality": self._at_quality(),
            "curve": [asdict(point) for point in self.points],
        }

    def write_plot(self, path: Path) -> None:
        """Writes the cost-quality curve: `.svg` draws it, `.csv` and `.json` hold its figures.

        Raises:
            InvalidRequestError: the path ends otherwise.
            StoreError: the file cannot be written.
        """
        match path.suffix:
            case ".svg":
                text = svg_plot(self._plot())
            case ".json":
                text = json.dumps([asdict(point) for point in self.points], indent=1) + "\n"
            case ".csv":
                held = io.StringIO()
                writer = csv.DictWriter(
                    held, ["threshold", "escalated", "accuracy", "saved"], lineterminator="\n"
                )
                writer.writeheader()
                writer.writerows(asdict(point) for point in self.points)
                text = held.getvalue()
            case _:
                raise plot_refused(path)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error}") from error

    def print_table(self, console: Console) -> None:
        """Prints the figures beside the baselines."""
        from rich.table import Table  # noqa: PLC0415

        figures = self.to_dict()
        alone = always_verifier(self.outcomes).accuracy
        table = Table(title=f"{self.draft} → {self.verifier}, {len(self.outcomes):,} questions")
        table.add_column("policy")
        for heading in ("accuracy", "quality kept", "saved"):
            table.add_column(heading, justify="right")
        baselines = self.baselines
        third = self.always_cross_check
        rows = (
            ("always draft", baselines["always_draft"], None),
            *(() if third is None else (("always cross-check", third, None),)),
            ("always verifier", baselines["always_verifier"], None),
            ("random, at equal cost", baselines["random"], None),
            (f"CascadeFlow, {self.mode}", self.served, "bold"),
            ("perfect validator", baselines["perfect"], None),
        )
        for name, baseline, style in rows:
            table.add_row(
                name,
                percent(baseline.accuracy),
                percent(quality_kept(baseline.accuracy, alone)),
                percent(baseline.saved),
                style=style,
            )
        console.print(table)
        intervals = figures["interval_95"]
        area = "n/a" if figures["auc"] is None else f"{figures['auc']:.3f}"
        console.print(
            f"escalated {percent(self.escalated)}; AUC of the score {area}; threshold "
            f"{self.threshold:g}; cost {usd(figures['cost'], places=4)} instead of "
            f"{usd(figures['cost_verifier_only'], places=4)}{self._parts(figures)}"
        )
        console.print(
            f"95 % intervals: accuracy {_span(intervals['accuracy'])}, "
            f"saved {_span(intervals['saved'])}, quality kept {_span(intervals['quality_kept'])}"
        )
        at_quality = figures["at_95_quality"]
        console.print(
            "most that is saved at 95 % of the verifier's quality: by the score "
            f"{percent(at_quality['validator_saved'])} (threshold chosen in hindsight), at random "
            f"{percent(at_quality['random_saved'])}"
        )
        if self.target is not None:
            console.print(
                f"threshold chosen on these questions to keep {percent(self.target.target)}; "
                "chosen on four fifths for each other fifth: quality kept "
                f"{percent(self.target.quality_kept)}, saved {percent(self.target.saved)}"
            )
        prices = "; ".join(f"{name} {words}" for name, words in self.prices.items())
        console.print(f"prices: {prices}", style="dim")
        for log in self.logs:
            console.print(log.words(self.rows), style="dim", markup=False)
        if self.skipped:
            console.print(
                f"{self.skipped} rows lack an answer of one of the models, or a mark on it, "
                "and were left out",
                style="dim",
            )

        if self.not_run:
            console.print(
                f"of {self.not_run} drafts a check could not be run, or an opinion not be heard "
                "(an error, or no time was left): the figures are those without it",
                style="yellow",
            )

    def _parts(self, figures: Mapping[str, Any]) -> str:
        """Which part of the cost went to the cheap models; what is left went to the verifier."""
        said = f": {usd(figures['cost_draft_only'], places=4)} for drafts"
        if self.cross_checks:
            what = "cross-check" if len(self.cross_checks) == 1 else "cross-checks"
            said += f", {usd(figures['cost_opinions'], places=4)} for the {what}"
        return said

    def print_plot(self, console: Console) -> None:
        """Draws the cost-quality plane in the terminal."""
        from rich.text import Text  # noqa: PLC0415

        plot = self._plot()
        width = max(20, min(72, console.width - 12))
        console.print(f"{plot.title}: cost saved across, accuracy upwards")
        for cells in terminal_plot(plot, width=width):
            console.print(Text.assemble(*cells), no_wrap=True, overflow="crop")
        legend = Text()
        for mark in plot.marks:
            legend.append(f" {mark.symbol} ", style=f"bold {mark.colour}").append(f"{mark.name}  ")
        for line in plot.lines:
            legend.append(" ── ", style=line.colour).append(f"{line.name}  ")
        console.print(legend)

    def _plot(self) -> Plot:
        named = {
            ("always draft", "D", "#cc6677"): self.baselines["always_draft"],
            ("always verifier", "V", "#aa4499"): self.baselines["always_verifier"],
            ("perfect validator", "P", "#117733"): self.baselines["perfect"],
            (f"CascadeFlow, {self.mode}", "C", "#0077bb"): self.served,
        }
        if self.always_cross_check is not None:
            named["always cross-check", "X", "#997700"] = self.always_cross_check
        marks = [
            Mark(name=name, symbol=symbol, colour=colour, x=at.saved, y=at.accuracy)
            for (name, symbol, colour), at in named.items()
            if at.saved is not None
        ]
        if not marks:
            raise InvalidRequestError(
                "nothing to plot: the verifier costs nothing, so nothing can be saved"
            )
        swept = tuple(
            (point.saved, point.accuracy) for point in self.points if point.saved is not None
        )
        random = tuple(
            (at.saved, at.accuracy)
            for share in (0.0, 1.0)
            if (at := expected_random(self.outcomes, share)).saved is not None
        )
        return Plot(
            title=f"{self.draft} → {self.verifier}",
            lines=(
                Line(name="random escalation", points=random, colour="#888888"),
                Line(name="the validator's thresholds", points=swept, colour="#44aadd"),
            ),
            marks=tuple(marks),
        )

    def _intervals(self) -> dict[str, tuple[float, float] | None]:
        right = sum(outcome.correct for outcome in self.outcomes)
        return {
            "accuracy": wilson(right, len(self.outcomes)),
            "saved": bootstrap(self.outcomes, lambda some: _served(some).saved),
            "quality_kept": bootstrap(self.outcomes, _kept),
        }

    def _at_quality(self) -> dict[str, float | None]:
        wanted = _QUALITY_TARGET * always_verifier(self.outcomes).accuracy
        reaching = [point for point in self.points if point.accuracy >= wanted]
        best = max(reaching, key=lambda point: point.saved or 0.0, default=None)
        random = random_to_quality(self.outcomes, _QUALITY_TARGET)
        return {
            "validator_saved": None if best is None else best.saved,
            "validator_threshold": None if best is None else best.threshold,
            "random_saved": None if random is None else random.saved,
        }


def plot_refused(path: Path) -> InvalidRequestError:
    """The error for a plot file of a kind that is not written."""
    return InvalidRequestError(
        f"--plot cannot write {path.name!r}: name a file ending in {', '.join(PLOT_SUFFIXES)}, "
        "or say terminal"
    )


def _served(outcomes: Sequence[Outcome]) -> Baseline:
    billed = sum(outcome.cost for outcome in outcomes)
    return Baseline(
        accuracy=sum(outcome.correct for outcome in outcomes) / len(outcomes),
        saved=saved_fraction(billed, sum(outcome.verifier_cost for outcome in outcomes)),
    )


def _kept(outcomes: Sequence[Outcome]) -> float | None:
    return quality_kept(_served(outcomes).accuracy, always_verifier(outcomes).accuracy)


def _span(interval: tuple[float, float] | None) -> str:
    return "n/a" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"
