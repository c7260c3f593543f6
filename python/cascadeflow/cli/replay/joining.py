"""Reading several logs of the same questions as one: answers that one lacks come from the others.

What counts as the same question is strict on purpose: an answer lent to another question is charged
and compared like any other, and nothing in the figures would show it. The text must be the same,
letter by letter; white space may differ where it tells no two questions of either log apart (in a
question about code it can).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cascadeflow.cli.replay.formats import read_rows
from cascadeflow.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow

__all__ = ["JoinedLog", "join_rows", "read_joined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedLog:
    """What another log gave.

    Attributes:
        file: the other log, as the user named it.
        rows: how many rows it holds.
        joined: rows of the first log whose question it holds.
        lent: answers that it lent, by model.
        kept: answers of the first log, or of one named before, that stood instead of its own, by
            model.
    """

    file: str
    rows: int
    joined: int
    lent: Mapping[str, int]
    kept: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Gives what `--json` says of it; `docs/replay.md` documents each key."""
        return {
            "file": self.file,
            "rows": self.rows,
            "joined": self.joined,
            "lent": dict(self.lent),
            "kept": dict(self.kept),
        }

    def words(self, total: int) -> str:
        """Says it for people; `total` is how many rows the first log holds."""
        lent = ", ".join(_counted(self.lent, self.joined)) or "nothing"
        said = f"{self.file}: {self.joined:,} of {total:,} rows joined; it lends {lent}"
        if self.kept:
            kept = ", ".join(_counted(self.kept, self.joined))
            said += f"; of {kept} there are answers already, which stand"
        return said


def read_joined(
    path: Path, also: Sequence[Path]
) -> tuple[tuple[ReplayRow, ...], tuple[JoinedLog, ...]]:
    """Reads a log, and lets others lend it answers, in the order in which they are named.

    Returns:
        The first log's rows, in its order, and what each of the others gave.

    Raises:
        StoreError: a file cannot be read.
        InvalidRequestError: a line is of no known form, a file is named twice, or none of a log's
            questions stands in the first.
    """
    named = {path.resolve()}
    for other in also:
        if other.resolve() in named:
            raise InvalidRequestError(f"--also {other}: this log is named already; leave it out")
        named.add(other.resolve())
    rows = read_rows(path)
    logs = []
    for other in also:
        rows, log = join_rows(rows, read_rows(other), file=str(other))
        if not log.joined:
            raise InvalidRequestError(
                f"--also {other}: none of its {log.rows} questions is one of the {len(rows)} in "
                f"{path}. The texts must be the same, letter by letter but for white space: "
                "record both logs with the bare question, or write it there (`question`; "
                "RouteLLM's `prompt`)"
            )
        logs.append(log)
    return rows, tuple(logs)


def join_rows(
    rows: Sequence[ReplayRow], others: Sequence[ReplayRow], *, file: str
) -> tuple[tuple[ReplayRow, ...], JoinedLog]:
    """Lends to each row what other rows with the same question hold of models that it lacks.

    A question that comes several times is taken in turn: the n-th row gets the n-th answer of each
    model, and where these run out they are gone through again.

    Args:
        rows: the first log's.
        others: the other's, in any order.
        file: the other log's name.
    """
    shelf: defaultdict[str, defaultdict[str, list[RecordedAnswer]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for other in others:
        for model, answer in other.answers.items():
            shelf[other.question][model].append(answer)
    here, there = _spellings(rows), _spellings(others)
    turns: Counter[str] = Counter()
    lent: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    joined = 0
    made = []
    for row in rows:
        question, key = row.question, _collapsed(row.question)
        if question not in shelf and len(here[key]) == len(there.get(key, ())) == 1:
            (question,) = there[key]
        offered: Mapping[str, list[RecordedAnswer]] = shelf.get(question, {})
        turn = turns[question]
        turns[question] += 1
        joined += bool(offered)
        new = {
            model: answers[turn % len(answers)]
            for model, answers in offered.items()
            if model not in row.answers
        }
        lent.update(new.keys())
        kept.update(offered.keys() & row.answers.keys())
        made.append(replace(row, answers={**row.answers, **new}))
    log = JoinedLog(
        file=file, rows=len(others), joined=joined, lent=_by_name(lent), kept=_by_name(kept)
    )
    return tuple(made), log


def _spellings(rows: Iterable[ReplayRow]) -> dict[str, set[str]]:
    """The texts of the questions, by the text that is left when white space does not count."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[_collapsed(row.question)].add(row.question)
    return dict(found)


def _collapsed(question: str) -> str:
    """Without white space at its ends, and with one space for each run of it."""
    return " ".join(question.split())


def _by_name(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _counted(models: Mapping[str, int], joined: int) -> list[str]:
    """Names with how many answers, where it is not one for each row joined."""
    return [name if count == joined else f"{name} ({count:,})" for name, count in models.items()]
