"""What a tuning found: the figures, their JSON, the words and the plot."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.cli.output import percent
from cascadeflow.cli.replay.plot import Line, Mark, Plot, svg_plot, terminal_plot
from cascadeflow.cli.replay.report import plot_refused
from cascadeflow.cli.replay.statistics import (
    Baseline,
    always_draft,
    always_verifier,
    auc,
    bootstrap,
    expected_random,
    perfect_validator,
    quality_kept,
    random_at_cost,
    saved_fraction,
)
from cascadeflow.errors import InvalidRequestError, StoreError
from cascadeflow.quality.calibration import Expected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from cascadeflow.cli.replay.statistics import Outcome
    from cascadeflow.cli.tune.tuning import Tuned
    from cascadeflow.quality.calibration import Calibration

__all__ = ["TuneReport", "expected"]

_DRAWS: Final = 2_000_000
"""Questions that are drawn for an interval, over all its resamples, at most."""


def expected(outcomes: Sequence[Outcome]) -> tuple[Expected, Expected]:
    """The quality kept and the share saved at a threshold, each with its 95 % interval.

    Where the verifier is never right, or costs nothing, there is no such share: it is 0.
    """
    resamples = max(200, min(1000, _DRAWS // len(outcomes)))

    def figure(share: Callable[[Sequence[Outcome]], float | None]) -> Expected:
        low, high = bootstrap(outcomes, share, resamples=resamples) or (0.0, 0.0)
        return Expected(estimate=share(outcomes) or 0.0, low=low, high=high)

    return figure(_kept), figure(_saved)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """The figures of one tuning.

    Attributes:
        tuned: what was chosen, and between what.
        calibration: what is written.
        prices: each model's price in words, with where it came from.
        skipped: rows that lacked an answer of one of the models.
        not_run: drafts that a local check could not be run on: they count as rejected.
        out: the file that was written; `None` for none.
    """

    tuned: Tuned
    calibration: Calibration
    prices: dict[str, str]
    skipped: int
    not_run: int
    out: str | None

    @property
    def accepted(self) -> float:
        """The share of drafts that are accepted."""
        outcomes = self.tuned.outcomes
        return sum(outcome.accepted for outcome in outcomes) / len(outcomes)

    @property
    def baselines(self) -> dict[str, Baseline]:
        """What the cascade is measured against, by name."""
        outcomes = self.tuned.outcomes
        return {
            "always_draft": always_draft(outcomes),
            "always_verifier": always_verifier(outcomes),
            "random": random_at_cost(outcomes),
            "perfect": perfect_validator(outcomes),
        }

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON object; `docs/tuning.md` documents each key."""
        made, outcomes = self.calibration, self.tuned.outcomes
        alone = always_verifier(outcomes).accuracy
        return {
            "n": len(outcomes),
            "promised": made.promised,
            "target": made.target,
            "confidence": made.confidence,
            "threshold": made.threshold,
            "questions_needed": self.tuned.needed,
            "accepted": self.accepted,
            "quality_kept": asdict(made.quality_kept),
            "saved": asdict(made.saved),
            "auc": auc(
                [outcome.score or 0.0 for outcome in outcomes],
                [outcome.draft_correct for outcome in outcomes],
            ),
            "baselines": {
                name: {**asdict(each), "quality_kept": quality_kept(each.accuracy, alone)}
                for name, each in self.baselines.items()
            },
            "mode": made.mode,
            "without": made.without,
            "draft": made.draft,
            "verifier": made.verifier,
            "cross_check": made.cross_check,
            "prices": self.prices,
            "skipped": self.skipped,
            "not_run": self.not_run,
            "weights": {
                "intercept": made.intercept,
                "text": made.text,
                **made.weights,
                **(
                    {"agrees": made.agrees, "disagrees": made.disagrees} if made.cross_check else {}
                ),
            },
            "out": self.out,
            "curve": [asdict(each) for each in self.tuned.candidates],
        }

    def print(self, console: Console) -> None:
        """Says what was promised, and what to expect beside what needs no judgement at all."""
        from rich.table import Table  # noqa: PLC0415

        made, outcomes = self.calibration, self.tuned.outcomes
        alone = always_verifier(outcomes).accuracy
        table = Table(title=f"{made.draft} → {made.verifier}, {len(outcomes)} questions")
        for name in ("", "quality kept", "saved"):
            table.add_column(name, justify="left" if not name else "right")

        def row(name: str, at: Baseline) -> None:
            table.add_row(name, percent(quality_kept(at.accuracy, alone)), percent(at.saved))

        names = {
            "always_draft": "always draft",
            "always_verifier": "always verifier",
            "random": "random, at equal cost",
            "perfect": "perfect validator",
        }
        for name, at in self.baselines.items():
            row(names[name], at)
        table.add_row(
            f"tuned, {made.mode}",
            _span(made.quality_kept),
            _span(made.saved),
            style="bold",
        )
        console.print(table)
        console.print(self._verdict(), markup=False)
        for name, words in self.prices.items():
            console.print(f"price: {name} {words}", style="dim", markup=False)
        if self.skipped:
            console.print(
                f"{self.skipped} rows lack an answer of one of the models, or a mark on it, "
                "and were left out",
                style="dim",
            )
        if self.not_run:
            console.print(
                f"{self.not_run} drafts that a local check could not be run on count as rejected",
                style="dim",
            )
        if self.out is not None:
            promise = (
                "" if made.promised else "; it promises nothing, and with it no draft is accepted"
            )
            console.print(
                f"written: {self.out}{promise}; use it with {self._configured(self.out)}",
                markup=False,
            )

    def _configured(self, path: str) -> str:
        """The configuration that the promise is about, as Python."""
        made = self.calibration
        said = [f"calibration={json.dumps(path, ensure_ascii=False)}"]
        if made.cross_check is not None:
            # Left to themselves they are on, and other opinions than were tuned for.
            said += [f"cross_check={json.dumps(made.cross_check)}", "judge=False"]
        if made.without:
            said.append(f"without={made.without!r}")
        return f"QualityConfig.{made.mode}({', '.join(said)})"

    def _verdict(self) -> str:
        made, total = self.calibration, len(self.tuned.outcomes)
        goal = f"{percent(made.target)} of {made.verifier}'s right answers"
        sure = f"with a confidence of {percent(made.confidence)}"
        if made.promised:
            said = (
                f"Promised: at threshold {made.threshold:g} it accepts {percent(self.accepted)} of "
                f"the drafts, and keeps {goal} {sure} on as many questions of the same kind."
            )
            if made.saved.estimate <= 0:
                said += " It saves nothing: ask the verifier alone."
            return said
        if total < self.tuned.needed:
            return (
                f"The log is too small to promise that {goal} are kept {sure}: it has {total} "
                f"questions, and that takes {self.tuned.needed} at least, even if nothing is lost. "
                "Nothing is accepted."
            )
        return (
            f"By these {total} questions no threshold can be promised to keep {goal} {sure}: log "
            "more of them, ask for a lower --target, or judge with --mode strict. Nothing is "
            "accepted."
        )

    def print_plot(self, console: Console) -> None:
        """Draws the cost-quality plane in the terminal."""
        from rich.text import Text  # noqa: PLC0415

        plot = self._plot()
        console.print(f"{plot.title}: cost saved across, accuracy upwards", markup=False)
        for cells in terminal_plot(plot, width=max(20, min(72, console.width - 12))):
            console.print(Text.assemble(*cells), no_wrap=True, overflow="crop")
        legend = Text()
        for mark in plot.marks:
            legend.append(f" {mark.symbol} ", style=f"bold {mark.colour}").append(f"{mark.name}  ")
        for line in plot.lines:
            legend.append(" ── ", style=line.colour).append(f"{line.name}  ")
        console.print(legend)

    def write_plot(self, path: Path) -> None:
        """Writes the thresholds' curve: `.svg` draws it, `.csv` and `.json` hold its figures.

        Raises:
            InvalidRequestError: the path ends otherwise, or there is nothing to draw.
            StoreError: the file cannot be written.
        """
        rows = [asdict(each) for each in self.tuned.candidates]
        match path.suffix:
            case ".svg":
                text = svg_plot(self._plot())
            case ".json":
                text = json.dumps(rows, indent=1) + "\n"
            case ".csv":
                held = io.StringIO()
                writer = csv.DictWriter(held, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                text = held.getvalue()
            case _:
                raise plot_refused(path)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error}") from error

    def _plot(self) -> Plot:
        outcomes = self.tuned.outcomes
        alone = always_verifier(outcomes)
        if alone.saved is None:
            raise InvalidRequestError(
                "nothing to plot: the verifier costs nothing, so nothing can be saved"
            )
        curve, kept = (
            tuple(
                (each.saved, each.accuracy)
                for each in self.tuned.candidates
                if each.saved is not None and (each.promised or not kept_only)
            )
            for kept_only in (False, True)
        )
        lines = [
            Line(
                name="random escalation",
                points=tuple(
                    (at.saved or 0.0, at.accuracy)
                    for at in (expected_random(outcomes, share) for share in (0.0, 1.0))
                ),
                colour="#888888",
            ),
            Line(name="thresholds", points=curve, colour="#44aadd"),
        ]
        if kept:
            lines.append(Line(name="promised", points=kept, colour="#117733"))
        symbols = {
            "always_draft": ("always draft", "D", "#cc6677"),
            "always_verifier": ("always verifier", "V", "#aa4499"),
            "perfect": ("perfect validator", "P", "#117733"),
        }
        marks = [
            Mark(name=name, symbol=symbol, colour=colour, x=at.saved or 0.0, y=at.accuracy)
            for key, (name, symbol, colour) in symbols.items()
            for at in [self.baselines[key]]
        ]
        right = sum(outcome.correct for outcome in outcomes) / len(outcomes)
        marks.append(
            Mark(
                name=f"tuned, {self.calibration.mode}",
                symbol="C",
                colour="#0077bb",
                x=_saved(outcomes) or 0.0,
                y=right,
            )
        )
        return Plot(
            title=f"{self.calibration.draft} → {self.calibration.verifier}",
            lines=tuple(lines),
            marks=tuple(marks),
        )


def _kept(outcomes: Sequence[Outcome]) -> float | None:
    right = sum(outcome.verifier_correct for outcome in outcomes)
    return quality_kept(sum(outcome.correct for outcome in outcomes), right)


def _saved(outcomes: Sequence[Outcome]) -> float | None:
    return saved_fraction(
        sum(outcome.cost for outcome in outcomes),
        sum(outcome.verifier_cost for outcome in outcomes),
    )


def _span(figure: Expected) -> str:
    return f"{percent(figure.estimate)} ({percent(figure.low)} to {percent(figure.high)})"
