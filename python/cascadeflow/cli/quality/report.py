"""What an evaluation found: the figures of each set, their JSON, the tables and the plot."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.cli.domains.score import quantile
from cascadeflow.cli.quality.figures import Figures, Pairs, figures, pairs, parts_of
from cascadeflow.cli.quality.scoring import measured
from cascadeflow.cli.replay.plot import Line, Mark, Plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cascadeflow.cli.quality.cases import Case, CaseSet, Kind
    from cascadeflow.cli.quality.figures import Scored
    from cascadeflow.cli.quality.scoring import Judged, Measured

__all__ = ["Measure", "SetReport", "accepting", "picture", "reported"]

_COLOURS: Final = ("#0077bb", "#cc6677", "#117733", "#aa4499", "#b8860b", "#44aadd")
"""So many sets are drawn."""

_FEWEST: Final = 20
"""Texts of which the share of good ones is drawn; of fewer it is noise."""

_POINTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A set by one measure.

    Attributes:
        taken: the scored texts, and how many could not be scored.
        found: the figures; `None` where no text could be scored.
        parts: the same of each part, where there are several.
    """

    taken: Measured
    found: Figures | Pairs | None
    parts: Mapping[str, Figures | Pairs]

    @property
    def mean_of_parts(self) -> float | None:
        """The mean of the parts' shares of pairs in order; `None` for what is no pairs."""
        shares = [each.share for each in self.parts.values() if isinstance(each, Pairs)]
        return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReport:
    """What was found of one set.

    Attributes:
        file: the file it is of.
        name: its name.
        kind: what its labels speak of.
        planted: whether its faulty texts were made of the good ones.
        texts: how many it has.
        measures: by name; empty where the mode has nothing that such labels can be held to.
        times: milliseconds of each text's judgement, sorted; none where the mode judges no such
            labels.
    """

    file: str
    name: str
    kind: Kind
    planted: bool
    texts: int
    measures: Mapping[str, Measure]
    times: tuple[float, ...]

    @property
    def main(self) -> tuple[str, Measure] | None:
        """The measure that the labels speak of most closely: the last one, save for answers."""
        if not self.measures:
            return None
        wanted = 0 if self.kind == "answers" else -1
        return list(self.measures.items())[wanted]

    def to_dict(self) -> dict[str, Any]:
        """Gives the figures as plain JSON; `docs/cli.md` documents each key."""
        return {
            "file": self.file,
            "name": self.name,
            "kind": self.kind,
            "planted": self.planted,
            "texts": self.texts,
            "measures": {
                name: {
                    **({} if each.found is None else _values(each.found)),
                    "mean_of_parts": each.mean_of_parts,
                    "errors": each.taken.errors,
                    "not_run": each.taken.not_run,
                    "not_applicable": each.taken.not_applicable,
                    "by_part": {part: _values(found) for part, found in each.parts.items()},
                }
                for name, each in self.measures.items()
            },
            "p50_ms": quantile(self.times, 0.5),
            "p99_ms": quantile(self.times, 0.99),
        }


class _Shares(Plot):
    """A plot whose axes are shares: they end at 1, and the one across begins at 0."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        least = min(y for line in self.lines for _, y in line.points)
        return 0.0, 1.0, min(0.9, math.floor(least * 20) / 20), 1.0


def reported(file: str, cases: CaseSet, judged: Mapping[Case, Judged], *, seed: int) -> SetReport:
    """Reckons a set's figures.

    Args:
        file: the file it is of.
        cases: the set.
        judged: what was said of each of its cases.
        seed: of the intervals.
    """
    found = {}
    for name, taken in measured(cases, judged).items():
        parts = parts_of(taken.rows)
        found[name] = Measure(
            taken=taken,
            found=_found(cases, taken.rows, seed) if taken.rows else None,
            parts={part: _found(cases, rows, None) for part, rows in parts.items()}
            if len(parts) > 1 and not cases.planted
            else {},
        )
    return SetReport(
        file=file,
        name=cases.name,
        kind=cases.kind,
        planted=cases.planted,
        texts=len(cases.cases),
        measures=found,
        times=tuple(sorted(judged[case].ms for case in cases.cases if case in judged)),
    )


def picture(sets: Sequence[SetReport]) -> Plot | None:
    """Draws what accepting ever more costs: their share across, the good among them upwards.

    The first sets are drawn, pairs and planted faults left out, each with the point where the judge
    stands; `None` where none is there to be drawn.
    """
    lines: list[Line] = []
    marks: list[Mark] = []
    for each in sets:
        main = each.main
        if each.planted or main is None or not isinstance(main[1].found, Figures):
            continue
        if len(lines) == len(_COLOURS):
            break
        colour, (name, measure), stands = _COLOURS[len(lines)], main, main[1].found
        title = each.name if name == "decision" else f"{each.name}: {name}"
        lines.append(Line(name=title, points=accepting(measure.taken.rows), colour=colour))
        if stands.good_passed is not None:
            marks.append(
                Mark(
                    name=f"{len(lines)}: as it is judged",
                    symbol=str(len(lines)),
                    x=stands.passed,
                    y=stands.good_passed,
                    colour=colour,
                )
            )
    if not lines:
        return None
    return _Shares(
        title="accepting ever more",
        lines=tuple(lines),
        marks=tuple(marks),
        across="share accepted",
        upwards="good among the accepted",
    )


def accepting(rows: Sequence[Scored]) -> tuple[tuple[float, float], ...]:
    """The share accepted and the share of good ones among them, at every threshold.

    Equal scores are accepted together; thresholds that fewer than 20 texts reach are left out,
    unless all are fewer. At most so many points are given as a picture shows.
    """
    ordered = sorted(rows, key=lambda row: -row.score)
    points, good = [], 0
    for count, row in enumerate(ordered, 1):
        good += row.good
        last = count == len(ordered)
        if last or (count >= _FEWEST and ordered[count].score != row.score):
            points.append((count / len(ordered), good / count))
    step = -(-len(points) // _POINTS)
    return tuple(points[::-step][::-1])


def _found(cases: CaseSet, rows: Sequence[Scored], seed: int | None) -> Figures | Pairs:
    if cases.kind == "pairs":
        return pairs(rows, seed=seed)
    whole = seed is not None
    return figures(rows, by_part=cases.models and whole, seed=seed)


def _values(found: Figures | Pairs) -> dict[str, Any]:
    values = asdict(found)
    low, high = values.pop("interval") or (None, None)
    return {**values, "low": low, "high": high}
