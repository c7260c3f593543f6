"""Prints what an evaluation of the detector found: tables, confusion matrix, two plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.cli.bars import ascii_only, bar, shortened
from cascadeflow.cli.domains.score import quantile
from cascadeflow.cli.output import percent
from cascadeflow.cli.replay.plot import Line, Mark, Plot, terminal_plot
from cascadeflow.domains.evaluation import BINS, Count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from cascadeflow.cli.domains.score import Score
    from cascadeflow.domains.evaluation import Evaluation

__all__ = ["print_score", "values"]

_BAR: Final = 20
_NAME: Final = 24
_CONFUSIONS: Final = 8
_ABBREVIATED: Final = 3
_MOST_POINTS: Final = 200
_PLOT_HEIGHT: Final = 12
_MILLISECOND: Final = 1000.0


def values(score: Score) -> dict[str, Any]:
    """Gives the figures as plain JSON; `docs/cli.md` documents each key."""
    found = score.evaluation
    return {
        "n": found.rows.rows,
        "accuracy": found.accuracy,
        "macro_recall": found.macro_recall,
        "ece": found.ece,
        "by_label": {
            label: {
                "n": count.rows,
                "recall": count.share,
                "predicted": _of(found.precision, label).rows,
                "precision": _share(_of(found.precision, label)),
                "averaged": label not in found.listed_only,
            }
            for label, count in found.by_label.items()
        },
        "by_source": {
            source: {"n": count.rows, "accuracy": count.share}
            for source, count in found.by_source.items()
        },
        "layers": {
            name: {
                "share": layer.share,
                "precision": _share(layer.answered),
                "p50_us": quantile(layer.times_us, 0.5),
                "p99_us": quantile(layer.times_us, 0.99),
                "asked": layer.asked,
                "answered": layer.answered.rows,
            }
            for name, layer in score.layers.items()
        },
        "unsure": {
            "n": score.unsure.rows,
            "share": score.unsure.rows / found.rows.rows,
            "accuracy": _share(score.unsure),
        },
        "latency": {
            "p50_us": quantile(score.times_us, 0.5),
            "p99_us": quantile(score.times_us, 0.99),
        },
        "listed_only": list(found.listed_only),
        "confusion": _nested(found.confusion),
        "bins": [
            {
                "upper": each.upper,
                "n": each.rows,
                "confidence": each.confidence,
                "accuracy": each.accuracy,
            }
            for each in found.bins
        ],
        "coverage": [{"share": share, "accuracy": right} for share, right in _thin(score.coverage)],
    }


def print_score(score: Score, console: Console) -> None:
    """Prints the tables, the confusion matrix and the plots."""
    found = score.evaluation
    console.print(
        f"{found.rows.rows:,} rows: accuracy {percent(found.accuracy)}, "
        f"macro recall {percent(found.macro_recall)}, "
        f"ECE {'n/a' if found.ece is None else f'{found.ece:.3f}'}",
        style="bold",
    )
    _print_labels(found, console)
    _print_counts("source", "accuracy", found.by_source, console)
    _print_layers(score, console)
    _print_confusion(found, console)
    _print_plots(score, console)


def _print_labels(found: Evaluation, console: Console) -> None:
    _print(console, (f"\n{'label':<{_NAME}}  rows  recall  {'':<{_BAR}}  precision", "bold"))
    for label, count in found.by_label.items():
        averaged = label not in found.listed_only
        _print(
            console,
            (f"{shortened(label, _NAME):<{_NAME}}{count.rows:>6,} {percent(count.share):>8} ", ""),
            (bar(count.share, _BAR), "green" if averaged else "dim"),
            (f"  {percent(_share(_of(found.precision, label))):>8}", ""),
            ("" if averaged else " *", "dim"),
        )
    if found.listed_only:
        _print(
            console,
            (f"* listed only: fewer than {found.fewest} rows, not in the macro recall", "dim"),
        )


def _print_counts(what: str, figure: str, counts: Mapping[str, Count], console: Console) -> None:
    if set(counts) == {""}:  # the file does not say where its rows are from
        return
    _print(console, (f"\n{what:<{_NAME + 8}}  rows  {figure}", "bold"))
    for name, count in counts.items():
        _print(
            console,
            (f"{shortened(name or '(not said)', _NAME + 8):<{_NAME + 8}}{count.rows:>6,} ", ""),
            (f"{percent(count.share):>8} ", ""),
            (bar(count.share, _BAR), "green"),
        )


def _print_layers(score: Score, console: Console) -> None:
    _print(
        console,
        (f"\n{'layer':<12}{'asked':>7}{'answered':>10}{'share':>9}{'precision':>11}", "bold"),
        (f"{'p50':>12}{'p99':>12}", "bold"),
    )
    for name, layer in score.layers.items():
        _print(
            console,
            (f"{name:<12}{layer.asked:>7,}{layer.answered.rows:>10,}", ""),
            (f"{percent(layer.share):>9}{percent(_share(layer.answered)):>11}", ""),
            (f"{_time(quantile(layer.times_us, 0.5)):>12}", ""),
            (f"{_time(quantile(layer.times_us, 0.99)):>12}", ""),
        )
    total = score.evaluation.rows
    _print(
        console,
        (f"{'unsure':<12}{'':>7}{score.unsure.rows:>10,}", ""),
        (f"{percent(score.unsure.rows / total.rows):>9}{percent(_share(score.unsure)):>11}", ""),
        ("  counted as general", "dim"),
    )
    _print(
        console,
        (f"{'all':<12}{'':>7}{total.rows:>10,}{'':>9}{percent(total.share):>11}", ""),
        (f"{_time(quantile(score.times_us, 0.5)):>12}", ""),
        (f"{_time(quantile(score.times_us, 0.99)):>12}", ""),
    )


def _print_confusion(found: Evaluation, console: Console) -> None:
    names = sorted({name for pair in found.confusion for name in pair})
    short = _abbreviations(names)
    widest = max(len(each) for each in short.values())
    label = min(_NAME, max(len(name) for name in names))
    if label + len(names) * (widest + 1) <= console.width:
        _print(
            console,
            ("\nconfusion: of each label's rows (down), the per cent found as (across)", "bold"),
        )
        heading = " ".join(f"{short[name]:>{widest}}" for name in names)
        _print(console, (f"{'':<{label}} {heading}", "dim"))
        for name in names:
            rows = _of(found.by_label, name).rows
            if rows:
                cells = [
                    _cell(found.confusion.get((name, said), 0) / rows, name == said, widest)
                    for said in names
                ]
                _print(console, (f"{shortened(name, label):<{label}}", ""), *cells)
    wrong = sorted(
        [(count, pair) for pair, count in found.confusion.items() if pair[0] != pair[1]],
        key=lambda each: (-each[0], each[1]),
    )
    if wrong:
        _print(console, ("\nmost often confused", "bold"))
    for count, (name, said) in wrong[:_CONFUSIONS]:
        share = count / found.by_label[name].rows
        _print(
            console,
            (f"{count:>6,}  {shortened(name, _NAME)} found as {shortened(said, _NAME)}", ""),
            (f"  {percent(share)} of its rows", "dim"),
        )


def _cell(share: float, right: bool, width: int) -> tuple[str, str]:
    figure = "·" if share == 0 else f"{share * 100:.0f}"
    if right:
        return f" {figure:>{width}}", "bold green"
    if share >= 0.1:  # noqa: PLR2004 - what stands out
        return f" {figure:>{width}}", "red"
    return f" {figure:>{width}}", "dim"


def _print_plots(score: Score, console: Console) -> None:
    bins = score.evaluation.bins
    if bins:
        points = tuple([(each.confidence, each.accuracy) for each in bins])
        _print(console, ("\ncalibration: confidence across, accuracy upwards", "bold"))
        _plot(
            _Shares(
                title="calibration",
                lines=(
                    Line(name="perfect", points=((0.0, 0.0), (1.0, 1.0)), colour="bright_black"),
                    Line(name="measured", points=points, colour="cyan"),
                ),
                marks=tuple(
                    [Mark(name="bin", symbol="o", x=x, y=y, colour="cyan") for x, y in points]
                ),
            ),
            console,
        )
        sure = sum(each.rows for each in bins)
        says = f"o: an interval of 1/{BINS}; {sure:,} rows that a layer answered; "
        _print(console, (f"{says}straight: perfect", "dim"))
    if score.coverage:
        _print(console, ("\nthe surest rows: their share across, accuracy upwards", "bold"))
        line = Line(name="surest first", points=_thin(score.coverage), colour="magenta")
        _plot(_Shares(title="coverage", lines=(line,), marks=()), console)


class _Shares(Plot):
    """A plot whose axes are shares: both begin at 0 and end at 1."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        return 0.0, 1.0, 0.0, 1.0


def _plot(plot: Plot, console: Console) -> None:
    width = max(20, min(64, console.width - 12))
    for cells in terminal_plot(plot, width=width, height=_PLOT_HEIGHT):
        _print(console, *cells)


def _print(console: Console, *cells: tuple[str, str]) -> None:
    from rich.text import Text  # noqa: PLC0415

    if console.options.ascii_only:
        cells = tuple([(ascii_only(words), style) for words, style in cells])
    text = Text.assemble(*cells)
    text.rstrip()
    console.print(text, no_wrap=True, overflow="crop")


def _of(counts: Mapping[str, Count], name: str) -> Count:
    return counts.get(name, Count(0, 0))


def _share(count: Count) -> float | None:
    """A share of no rows is not known."""
    return count.share if count.rows else None


def _nested(confusion: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (label, said), count in confusion.items():
        nested.setdefault(label, {})[said] = count
    return nested


def _thin(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """At most so many points as a picture shows, the last one among them."""
    step = -(-len(points) // _MOST_POINTS)
    return points[:: -step or -1][::-1] if points else ()


def _abbreviations(names: list[str]) -> dict[str, str]:
    """Gives each name a short one that no other has: its beginning, or a number."""
    short: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        begin = name[:_ABBREVIATED]
        short[name] = f"#{number}" if begin in short.values() else begin
    return short


def _time(microseconds: float | None) -> str:
    if microseconds is None:
        return "n/a"
    if microseconds < _MILLISECOND:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.1f} ms"
