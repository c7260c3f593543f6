"""Prints what an evaluation found: tables, and the plot in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cascadeflow.cli.bars import ascii_only, shortened
from cascadeflow.cli.domains.score import quantile
from cascadeflow.cli.output import percent
from cascadeflow.cli.quality.figures import Figures, Pairs
from cascadeflow.cli.replay.plot import terminal_plot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from cascadeflow.cli.quality.report import SetReport
    from cascadeflow.cli.replay.plot import Plot

__all__ = ["print_plot", "print_sets"]

_NAME: Final = 48
_MOST_PARTS: Final = 40
_NARROW: Final = 110
"""Columns below which an interval stands under its figure."""


def print_sets(sets: Sequence[SetReport], console: Console) -> None:
    """Prints a table of all sets, one of the pairs, and one of each set's parts."""
    _print_figures(sets, console)
    _print_pairs(sets, console)
    for each in sets:
        _print_parts(each, console)
    for each in sets:
        _print_gaps(each, console)


def print_plot(plot: Plot, console: Console) -> None:
    """Draws the plot in the terminal."""
    from rich.text import Text  # noqa: PLC0415

    plain = console.options.ascii_only
    _print(console, f"\n{plot.title}: {plot.across} across, {plot.upwards} upwards")
    for cells in terminal_plot(plot, width=max(20, min(72, console.width - 12)), height=14):
        told = [(ascii_only(words) if plain else words, style) for words, style in cells]
        console.print(Text.assemble(*told), no_wrap=True, overflow="crop")
    symbols = {mark.colour: mark.symbol for mark in plot.marks}
    for line in plot.lines:
        # A symbol stands where the judge does; without one it accepts nothing.
        console.print(Text.assemble((f" {symbols.get(line.colour, '-')} ", line.colour), line.name))


def _print_figures(sets: Sequence[SetReport], console: Console) -> None:
    rows = [
        (each, name, measure.found)
        for each in sets
        for name, measure in each.measures.items()
        if isinstance(measure.found, Figures)
    ]
    if not rows:
        return
    told = _table(
        "Good from faulty",
        ("set", "by", "n", "good", "AUC (95 %)", "AUPRC", "F1", "ECE"),
        console,
    )
    done = _table(
        "As it is judged",
        (
            "set",
            "by",
            "accepted",
            "good if so / if not",
            "stopped of good / faulty",
            "ms p50 / p99",
        ),
        console,
    )
    for each, name, found in rows:
        _add(
            told,
            each.name,
            name,
            f"{found.n:,}",
            percent(found.good),
            _interval(found.auc, found.interval, console),
            _figure(found.auprc),
            _figure(found.f1),
            _figure(found.ece),
        )
        _add(
            done,
            each.name,
            name,
            percent(found.passed),
            f"{percent(found.good_passed)} / {percent(found.good_failed)}",
            f"{percent(found.false_alarms)} / {percent(found.caught)}",
            f"{_ms(each, 0.5)} / {_ms(each, 0.99)}",
        )
    console.print(told)
    console.print(done)


def _print_pairs(sets: Sequence[SetReport], console: Console) -> None:
    found = [
        (each, name, measure)
        for each in sets
        for name, measure in each.measures.items()
        if isinstance(measure.found, Pairs)
    ]
    if not found:
        return
    table = _table(
        "Pairs in order", ("set", "by", "pairs", "better one higher (95 %)", "ties"), console
    )
    for each, name, measure in found:
        rows = [(each.name, measure.found)]
        rows += [(f"- {part or '(none)'}", pairs) for part, pairs in measure.parts.items()]
        for title, pairs in rows[: _MOST_PARTS + 1]:
            if isinstance(pairs, Pairs):
                share = _interval(pairs.share, pairs.interval, console)
                _add(table, title, name, f"{pairs.n:,}", share, percent(pairs.ties))
        if measure.mean_of_parts is not None:
            _add(table, "- mean of the subsets", name, "", _figure(measure.mean_of_parts), "")
    console.print(table)
    for each, _, measure in found:
        _print_more(each, len(measure.parts), console)


def _print_parts(each: SetReport, console: Console) -> None:
    main = each.main
    if main is None or not main[1].parts or each.kind == "pairs":
        return
    name, measure = main
    headings = ("part", "n", "good", "AUC", "ECE", "accepted", "stopped of good / faulty")
    table = _table(f"{each.name}, by {name}", headings, console)
    for part, found in list(measure.parts.items())[:_MOST_PARTS]:
        if isinstance(found, Figures):
            _add(
                table,
                part or "(none)",
                f"{found.n:,}",
                percent(found.good),
                _figure(found.auc),
                _figure(found.ece),
                percent(found.passed),
                f"{percent(found.false_alarms)} / {percent(found.caught)}",
            )
    console.print(table)
    _print_more(each, len(measure.parts), console)


def _print_more(each: SetReport, parts: int, console: Console) -> None:
    if parts > _MOST_PARTS:
        _print(console, f"{each.name}: {parts - _MOST_PARTS} more parts are in --json and --out")


def _print_gaps(each: SetReport, console: Console) -> None:
    """Says what could not be scored, for it is in no figure."""
    if not each.measures:
        _print(
            console,
            f"{each.name}: this mode has no check that its labels of {each.kind} speak of; "
            "--mode balanced has",
        )
    for name, measure in each.measures.items():
        taken = measure.taken
        if taken.errors:
            _print(console, f"{each.name}: {name} could not be run on {taken.errors:,} texts")
        if taken.not_run:
            _print(
                console,
                f"{each.name}: {name} was not asked about {taken.not_run:,} texts, which were "
                "rejected before",
            )
        if taken.not_applicable:
            _print(
                console,
                f"{each.name}: {name} has nothing to judge in {taken.not_applicable:,} texts; they "
                "count as passed",
            )


def _table(title: str, headings: Sequence[str], console: Console) -> Table:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    style = box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD
    table = Table(title=Text(title), box=style, title_justify="left", padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        left = place == 0 or heading == "by"
        # What is short is kept whole; names give way.
        table.add_column(
            heading,
            justify="left" if left else "right",
            overflow="fold",
            min_width=None if place == 0 else min(len(heading), 8),
            no_wrap=False,
        )
    return table


def _add(table: Table, name: str, *cells: str) -> None:
    from rich.text import Text  # noqa: PLC0415

    table.add_row(Text(shortened(name, _NAME)), *cells)  # a name may hold brackets


def _print(console: Console, words: str) -> None:
    console.print(words, markup=False)


def _ms(each: SetReport, share: float) -> str:
    found = quantile(each.times, share)
    return "n/a" if found is None else f"{found:.3g}"


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _interval(value: float | None, interval: tuple[float, float] | None, console: Console) -> str:
    if value is None or interval is None:
        return _figure(value)
    apart = "\n" if console.width < _NARROW else " "
    return f"{value:.3f}{apart}({interval[0]:.3f}-{interval[1]:.3f})"
