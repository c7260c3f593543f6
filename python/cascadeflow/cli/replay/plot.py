"""The cost-quality plane: in the terminal with braille dots, or as an SVG file.

Both are written by hand: plotting libraries weigh more (plotext 6: half a second of import) than
the one picture that is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Line", "Mark", "Plot", "svg_plot", "terminal_plot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points joined in order; x and y are shares."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A single policy's point, drawn as its one-character symbol."""

    name: str
    symbol: str
    x: float
    y: float
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is drawn: lines below, marks on top; `across` and `upwards` say what x and y are."""

    title: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    across: str = "cost saved"
    upwards: str = "accuracy"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The least and greatest x and y, widened by a little so that no point sits on the edge."""
        points = [point for line in self.lines for point in line.points]
        points += [(mark.x, mark.y) for mark in self.marks]
        left, right = _widened([x for x, _ in points])
        bottom, top = _widened([y for _, y in points])
        return left, right, bottom, top


def terminal_plot(plot: Plot, *, width: int = 72, height: int = 18) -> list[list[tuple[str, str]]]:
    """Draws rows of (text, colour) cells; the colour is a rich style, empty for none.

    Args:
        plot: what to draw.
        width: characters across the drawing area, axis labels not counted.
        height: rows of the drawing area.
    """
    left, right, bottom, top = plot.bounds
    dots = [[0] * width for _ in range(height)]
    colours = [[""] * width for _ in range(height)]

    def column(x: float) -> int:
        return round((x - left) / (right - left) * (width * 2 - 1))

    def row(y: float) -> int:
        return round((top - y) / (top - bottom) * (height * 4 - 1))

    for line in plot.lines:
        places = [(column(x), row(y)) for x, y in line.points]
        for start, end in zip(places, places[1:] or places, strict=False):
            for across, down in _segment(start, end):
                dots[down // 4][across // 2] |= _DOTS[down % 4][across % 2]
                colours[down // 4][across // 2] = line.colour
    cells = [
        [(chr(0x2800 + bits) if bits else " ", colour) for bits, colour in zip(*pair, strict=True)]
        for pair in zip(dots, colours, strict=True)
    ]
    for mark in plot.marks:
        cells[row(mark.y) // 4][column(mark.x) // 2] = (mark.symbol, f"bold {mark.colour}")

    labels = {
        0: f"{top:6.1%}",
        height // 2: f"{top - (top - bottom) * (height // 2) / (height - 1):6.1%}",
        height - 1: f"{bottom:6.1%}",
    }
    drawn = [
        [(f"{labels.get(index, ''):>7} │", ""), *line_cells]
        for index, line_cells in enumerate(cells)
    ]
    drawn.append([(" " * 8 + "└" + "─" * width, "")])
    middle = f"{(left + right) / 2:.1%}"
    ends = (f"{left:.1%}", f"{right:.1%}")
    gap = width - len(ends[0]) - len(middle) - len(ends[1])
    spaces = (" " * (gap // 2), " " * (gap - gap // 2))
    drawn.append([(" " * 9 + ends[0] + spaces[0] + middle + spaces[1] + ends[1], "")])
    return drawn


def svg_plot(plot: Plot, *, width: int = 720, height: int = 440) -> str:
    """Draws the plot as an SVG document of its own; sizes are in pixels."""
    left, right, bottom, top = plot.bounds
    inner_left, inner_top, inner_right, inner_bottom = 64, 40, width - 200, height - 48

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            inner_left + (x - left) / (right - left) * (inner_right - inner_left),
            inner_top + (top - y) / (top - bottom) * (inner_bottom - inner_top),
        )

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{inner_left}" y="24" font-size="14">{escape(plot.title)}</text>',
        (
            f'<text x="{(inner_left + inner_right) / 2:.0f}" y="{height - 10}" '
            f'text-anchor="middle">{escape(plot.across)}</text>'
        ),
        (
            f'<text transform="translate(14 {(inner_top + inner_bottom) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(plot.upwards)}</text>'
        ),
    ]
    for step in range(5):
        x, y = left + (right - left) * step / 4, bottom + (top - bottom) * step / 4
        across, down = place(x, y)
        parts += [
            (
                f'<path d="M{across:.1f} {inner_top}V{inner_bottom}M{inner_left} {down:.1f}'
                f'H{inner_right}" stroke="#ddd" fill="none"/>'
            ),
            f'<text x="{across:.1f}" y="{inner_bottom + 16}" text-anchor="middle">{x:.1%}</text>',
            f'<text x="{inner_left - 6}" y="{down + 4:.1f}" text-anchor="end">{y:.1%}</text>',
        ]
    legend = inner_top + 8
    for line in plot.lines:
        path = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in line.points)
        parts += [
            f'<path d="M{path}" stroke="{line.colour}" stroke-width="2" fill="none"/>',
            (
                f'<path d="M{inner_right + 16} {legend - 4}h16" stroke="{line.colour}" '
                'stroke-width="2"/>'
            ),
            f'<text x="{inner_right + 38}" y="{legend}">{escape(line.name)}</text>',
        ]
        legend += 20
    for mark in plot.marks:
        across, down = place(mark.x, mark.y)
        for x, y in ((across, down), (inner_right + 24, legend - 4)):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{mark.colour}"/>')
        parts.append(f'<text x="{inner_right + 38}" y="{legend}">{escape(mark.name)}</text>')
        legend += 20
    return "\n".join([*parts, "</svg>", ""])


# The bits of the eight dots of a braille character, by row and column (Unicode block U+2800).
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def _widened(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or 0.01
    return low - margin, high + margin


def _segment(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
        for step in range(steps + 1)
    ]
