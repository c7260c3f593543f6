"""What `quality_peers.py` prints: figures of several judges on the same texts, as tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow.cli.quality.figures import Figures, Pairs, figures, pairs, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cascadeflow.cli.quality.cases import CaseSet, Kind
    from cascadeflow.cli.quality.figures import Scored

    Cell = Callable[[Figures | Pairs | None], str]

TITLES: Mapping[Kind, str] = {
    "answers": "Right from wrong, AUC (95 %)",
    "pairs": "Pairs in order, the better one scores higher (95 %)",
    "grounding": "Supported or not, AUC (95 %) / AUPRC / F1 / good ones stopped",
    "toxicity": "Toxic or not, AUC (95 %) / AUPRC / F1 / good ones stopped",
}

DASH = "\N{EN DASH}"
BEGIN, END = "<!-- quality_peers.py: begin -->", "<!-- quality_peers.py: end -->"
"""The lines of a page that the tables stand between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What several judges said of one set.

    Attributes:
        name: the set's name.
        kind: what its labels speak of.
        n: texts; of pairs, pairs.
        faulty: the share of the texts that is wrong, unsupported or toxic, 0 to 1.
        found: the figures of each judge.
        parts: of each part (a model, a subset) the same, without intervals but of pairs; for parts
            of texts of one label (a function of HateCheck), see `right`.
        right: of each such part, by judge, the share of its texts that were passed or stopped
            rightly; and `n` of it.
        unjudged: by judge, texts that it could not judge, where there are any.
    """

    name: str
    kind: Kind
    n: int
    faulty: float
    found: Mapping[str, Figures | Pairs]
    parts: Mapping[str, Mapping[str, Figures | Pairs]]
    right: Mapping[str, Mapping[str, float]]
    unjudged: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Gives the figures as plain JSON."""
        return asdict(self)


def reckoned(cases: CaseSet, said: Mapping[str, Sequence[Scored]], *, seed: int = 0) -> Result:
    """Reckons the figures of every judge that was asked.

    Args:
        cases: the set.
        said: by judge, its scored texts in the set's order; of pairs the better one and behind it
            the worse one.
        seed: of the intervals.
    """
    found: dict[str, Figures | Pairs] = {}
    parts: dict[str, dict[str, Figures | Pairs]] = {}
    right: dict[str, dict[str, float]] = {}
    for judge, rows in said.items():
        if not rows:
            continue
        if cases.kind == "pairs":
            found[judge] = pairs(rows, seed=seed)
        else:
            found[judge] = figures(rows, by_part=cases.models, seed=seed)
        by_part = parts_of(rows)
        if len(by_part) == 1 or cases.planted:
            continue
        for part, some in by_part.items():
            if cases.kind == "pairs":
                parts.setdefault(part, {})[judge] = pairs(some, seed=seed)
            else:
                parts.setdefault(part, {})[judge] = figures(some, seed=None)
                if len({row.good for row in some}) == 1:
                    held = right.setdefault(part, {"n": len(some)})
                    held[judge] = sum(row.good == row.passed for row in some) / len(some)
    texts = len(cases.cases)
    return Result(
        name=cases.name,
        kind=cases.kind,
        n=texts // 2 if cases.kind == "pairs" else texts,
        faulty=sum(not case.good for case in cases.cases) / texts,
        found=found,
        parts=parts,
        right=right,
        unjudged={
            judge: texts - len(rows) for judge, rows in said.items() if 0 < len(rows) < texts
        },
    )


def tables(results: Sequence[Result], *, by_part: Collection[str] = ("HateCheck",)) -> str:
    """Gives all of it as Markdown.

    Args:
        results: the sets.
        by_part: names of the sets of toxic texts of which each part is shown too.
    """
    lines: list[str] = []
    for kind in TITLES:
        of_kind = [each for each in results if each.kind == kind]
        if not of_kind:
            continue
        if kind == "pairs":
            for each in of_kind:
                lines += _pairs_table(each)
        else:
            lines += _sets_table(TITLES[kind], of_kind, _auc if kind == "answers" else _found)
    for each in results:
        if each.right and each.name in by_part:
            lines += _right_table(each)
        lines += [
            f"\n{each.name}: {judge} could not judge {count} texts, which are in no figure of it"
            for judge, count in each.unjudged.items()
        ]
    return "\n".join(lines).strip()


def put(page: str, told: str) -> str:
    """Gives a page with this between its two lines, in the place of what stood there.

    Raises:
        ValueError: it has no such lines.
    """
    before, begin, rest = page.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no lines {BEGIN} and {END}, to write between")
    return f"{before}{begin}\n{told}\n\n{end}{after}"


def _sets_table(title: str, results: Sequence[Result], cell: Cell) -> list[str]:
    judges = list(dict.fromkeys(judge for each in results for judge in each.found))
    lines = _head(title, ("set", "n", "faulty", *judges))
    for each in results:
        cells = [cell(each.found.get(judge)) for judge in judges]
        lines.append(_row(each.name, f"{each.n:,}", f"{each.faulty:.0%}", *cells))
    return lines


def _pairs_table(result: Result) -> list[str]:
    judges = list(result.found)
    lines = _head(TITLES["pairs"], (result.name, "pairs", *judges))
    whole = {"all": result.found} if result.parts else {result.name: result.found}
    for part, found in {**result.parts, **whole}.items():
        cells = [_share(found.get(judge)) for judge in judges]
        lines.append(_row(part, str(max(_n(each) for each in found.values())), *cells))
    if result.parts:
        cells = []
        for judge in judges:
            shares = [
                of.share for each in result.parts.values() if isinstance(of := each[judge], Pairs)
            ]
            cells.append(f"{sum(shares) / len(shares):.3f}")
        lines.append(_row("mean of subsets", "", *cells))
    return lines


def _right_table(result: Result) -> list[str]:
    judges = list(result.found)
    lines = _head(f"{result.name}, judged rightly", ("part", "n", *judges))
    for part, held in result.right.items():
        lines.append(
            _row(part or "(none)", f"{held['n']:.0f}", *[_percent(held.get(one)) for one in judges])
        )
    return lines


def _head(title: str, names: Sequence[str]) -> list[str]:
    return ["", f"**{title}**", "", _row(*names), "|---" * len(names) + "|"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _n(found: Figures | Pairs) -> int:
    return found.n


def _auc(found: Figures | Pairs | None) -> str:
    if not isinstance(found, Figures) or found.auc is None:
        return DASH
    return _with_interval(found.auc, found.interval)


def _found(found: Figures | Pairs | None) -> str:
    if not isinstance(found, Figures):
        return DASH
    rest = (_figure(found.auprc), _figure(found.f1), _percent(found.false_alarms))
    return " / ".join((_auc(found), *rest))


def _share(found: Figures | Pairs | None) -> str:
    return _with_interval(found.share, found.interval) if isinstance(found, Pairs) else DASH


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval[0]:.2f}{DASH}{interval[1]:.2f})"


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1%}"
