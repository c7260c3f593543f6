"""An experiment's intervals as an SVG picture: how they narrowed as users came."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cascadeflow.experiments.analysis import ExperimentSummary, VariantReport

__all__ = ["svg_picture"]

_COLOURS: Final = ("#1f6feb", "#d1442f", "#2e8b57", "#8a4fbf", "#b8860b")
_PANEL: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 48, 44


def svg_picture(report: ExperimentSummary, *, width: int = 720) -> str:
    """Draws a panel a variant: the difference to control and its interval, by number of users.

    Users are on a logarithmic scale. The line at zero is no difference.

    Args:
        report: how the experiment stands.
        width: pixels.
    """
    others = [variant for variant in report.variants if not variant.control]
    height = _TOP + len(others) * _PANEL + 8
    title = (
        f"{report.name}: {report.metric} beside {report.variants[0].name}, "
        f"{report.confidence:.0%} at all times"
    )
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="14">{escape(title)}</text>',
    ]
    for place, variant in enumerate(others):
        colour = _COLOURS[place % len(_COLOURS)]
        parts += _panel(variant, _TOP + place * _PANEL, width, colour)
    return "\n".join([*parts, "</svg>", ""])


def _panel(variant: VariantReport, top: int, width: int, colour: str) -> list[str]:
    left, right = _LEFT, width - _RIGHT
    upper, lower = top + 20, top + _PANEL - _BOTTOM
    name = variant.name + (", stopped" if variant.stopped else "")
    parts = [f'<text x="{left}" y="{top + 8}" fill="{colour}">{escape(name)}</text>']
    points = _points(variant)
    if not points:
        return [*parts, f'<text x="{left}" y="{upper + 20}">too few users yet</text>']
    begin, end = math.log(points[0][0]), math.log(points[-1][0])
    end = max(end, begin + 0.1)
    low = min(0.0, *[point[2] for point in points])
    high = max(0.0, *[point[3] for point in points])
    margin = (high - low) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def across(users: float) -> float:
        return left + (math.log(users) - begin) / (end - begin) * (right - left)

    def down(value: float) -> float:
        return upper + (high - value) / (high - low) * (lower - upper)

    def line(column: int) -> str:
        return "L".join(f"{across(point[0]):.1f} {down(point[column]):.1f}" for point in points)

    band = [f"{across(point[0]):.1f} {down(point[3]):.1f}" for point in points]
    band += [f"{across(point[0]):.1f} {down(point[2]):.1f}" for point in reversed(points)]
    for step in range(5):
        value = low + (high - low) * step / 4
        y = down(value)
        users = math.exp(begin + (end - begin) * step / 4)
        x = across(users)
        parts += [
            f'<path d="M{left} {y:.1f}H{right}" stroke="#ddd" fill="none"/>',
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:+.3g}</text>',
            f'<text x="{x:.1f}" y="{lower + 16}" text-anchor="middle">{users:,.0f}</text>',
        ]
    middle = (left + right) / 2
    return [
        *parts,
        f'<text x="{middle:.0f}" y="{lower + 32}" text-anchor="middle">users</text>',
        f'<path d="M{"L".join(band)}Z" fill="{colour}" fill-opacity="0.15"/>',
        f'<path d="M{line(1)}" stroke="{colour}" stroke-width="2" fill="none"/>',
        f'<path d="M{left} {down(0.0):.1f}H{right}" stroke="black" stroke-dasharray="4 3"/>',
        (
            f'<circle cx="{across(points[-1][0]):.1f}" cy="{down(points[-1][1]):.1f}" r="4" '
            f'fill="{colour}"/>'
        ),
    ]


def _points(variant: VariantReport) -> list[tuple[float, float, float, float]]:
    """Users, difference, its least and its most: as noted on the way, and as it stands now."""
    points = list(variant.history)
    now = variant.primary
    if now.low is not None and now.high is not None and now.difference is not None:
        points.append((float(now.compared), now.difference, now.low, now.high))
    return points
