"""Reading labelled answers. A file's form is told by the fields of its first row.

`docs/quality.md` lists the forms. No form is told by a file's name or by what its rows say.
"""

from __future__ import annotations

import gzip
import random
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from cascadeflow.cli.quality import rows as read
from cascadeflow.cli.quality.cases import Case, CaseSet, asked
from cascadeflow.cli.quality.planting import planted
from cascadeflow.cli.replay.formats import parsed, read_rows
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cascadeflow.cli.quality.cases import Kind
    from cascadeflow.cli.replay.formats import ReplayRow

__all__ = ["read_sets"]

_Row = TypeVar("_Row")

_GZIP: Final = b"\x1f\x8b"
_SEE: Final = "docs/quality.md#measuring-it-yourself shows the forms"


class _Form(NamedTuple):
    """A form of rows.

    Attributes:
        fields: what a row must have; any of several where they are parted by a bar.
        read: gives a row's cases, by the name that the set's name ends in.
        kinds: the kind of each of these sets.
        faults: whether faults are planted in the right answers.
    """

    fields: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], dict[str, list[Case]]]
    kinds: Mapping[str, Kind]
    faults: bool = False

    def fits(self, entry: Mapping[str, Any]) -> bool:
        return all(any(each in entry for each in name.split("|")) for name in self.fields)


_FORMS: Final[tuple[_Form, ...]] = (
    _Form(("question|messages|q", "better", "worse"), read.better_worse, {"": "pairs"}),
    _Form(
        ("question|messages|q", "answer|a", "label|right"),
        read.own,
        {"": "answers", "with context": "grounding"},
        faults=True,
    ),
    _Form(("input", "output_1", "output_2", "label"), read.llmbar, {"": "pairs"}),
    _Form(("prompt", "response 1", "response 2", "label"), read.preference, {"": "pairs"}),
    _Form(
        ("Question", "Best Answer", "Correct Answers", "Incorrect Answers"),
        read.truthful,
        {"": "answers"},
    ),
    _Form(("user_query", "chatgpt_response", "hallucination"), read.hallucinated, {"": "answers"}),
    _Form(
        ("knowledge", "question", "right_answer", "hallucinated_answer"),
        read.with_knowledge,
        {"knowledge kept back": "answers", "knowledge given": "grounding"},
    ),
    _Form(
        ("article", "summary_sentences"),
        read.summarised,
        {"sentences": "grounding", "summaries": "grounding"},
    ),
    _Form(("document", "claim|summary", "label"), read.claimed, {"": "grounding"}),
    _Form(("text", "toxic"), read.toxic, {"": "toxicity"}),
    _Form(("text", "class"), read.classed, {"": "toxicity"}),
    _Form(("prompt", "S|H|V|HR|SH|S3|H2|V2"), read.moderated, {"": "toxicity"}),
    _Form(("prompt", "label", "type"), read.safe_or_not, {"": "toxicity"}),
)


def read_sets(path: Path, *, limit: int | None = None, seed: int = 0) -> list[CaseSet]:
    """Reads a file of labelled rows: JSON lines, gzipped or not.

    Args:
        path: the file.
        limit: how many rows are drawn, at most; all of them without.
        seed: decides which are drawn, and what faults are planted.

    Raises:
        StoreError: the file cannot be read.
        InvalidRequestError: its form is not known, or a line is not of the first one's form; it
            names the line and says what is wrong with it.
    """
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    lines = _lines(path)
    number, first = lines[0]
    entry = _object(path, number, first)
    if "models" in entry or "cheap_correct" in entry:
        recorded = _drawn(read_rows(path), limit, seed)
        cases = [case for row in recorded for case in _recorded(row)]
        if not cases:
            raise InvalidRequestError(
                f"{path}: no answer has the field 'correct'; mark them first: cascadeflow judge LOG"
            )
        whole = CaseSet(name=name, kind="answers", cases=tuple(cases), models=True)
        return [whole, *planted(name, cases, seed=seed)]
    form = next((each for each in _FORMS if each.fits(entry)), None)
    if form is None:
        raise InvalidRequestError(
            f"{path}, line {number}: rows with the fields {', '.join(map(repr, entry))} are of no "
            f"known form; {_SEE}. Rows of your own have `question`, `answer` and `label`"
        )
    held: dict[str, list[Case]] = {each: [] for each in form.kinds}
    for at, line in _drawn(lines, limit, seed):
        for ending, cases in _cases(path, at, line, form).items():
            held[ending] += cases
    sets = [
        CaseSet(
            name=f"{name}, {ending}" if ending else name,
            kind=form.kinds[ending],
            cases=tuple(cases),
        )
        for ending, cases in held.items()
        if cases
    ]
    if not sets:
        raise InvalidRequestError(f"{path}: no row has a label that says which is better")
    if form.faults:
        cases = [case for each in sets if each.kind == "answers" for case in each.cases]
        sets += planted(name, cases, seed=seed)
    return sets


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    # Only at line feeds: a JSON text may hold U+2028, at which splitlines() would cut it.
    lines = [(at, line) for at, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise InvalidRequestError(f"{path} holds no rows")
    return lines


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        entry = parsed(line)
    except ValueError as error:
        raise InvalidRequestError(
            f"{path}, line {number}: {error}; each line must be one JSON object"
        ) from error
    if not isinstance(entry, dict):
        raise InvalidRequestError(f"{path}, line {number}: not a JSON object; {_SEE}")
    return entry


def _cases(path: Path, number: int, line: str, form: _Form) -> dict[str, list[Case]]:
    entry = _object(path, number, line)
    if not form.fits(entry):
        missing = [
            " or ".join(each.split("|"))
            for each in form.fields
            if not any(name in entry for name in each.split("|"))
        ]
        raise InvalidRequestError(
            f"{path}, line {number}: no field {', '.join(missing)}; a file's rows are all of the "
            f"form of its first. {_SEE}"
        )
    try:
        return form.read(entry)
    except (TypeError, ValueError, InvalidRequestError) as error:
        raise InvalidRequestError(f"{path}, line {number}: {error}; {_SEE}") from error


def _recorded(row: ReplayRow) -> list[Case]:
    return [
        Case(
            key=row.question,
            part=model,
            messages=asked(row.question),
            answer=given.output,
            good=given.right,
            finish_reason=given.finish_reason,
        )
        for model, given in row.answers.items()
        if given.correct is not None
    ]


def _drawn(rows: Sequence[_Row], limit: int | None, seed: int) -> Sequence[_Row]:
    """So many of the rows, in their order."""
    if limit is None or limit >= len(rows):
        return rows
    return [rows[at] for at in sorted(random.Random(seed).sample(range(len(rows)), limit))]
