"""Reading recorded answers: this project's own form, ZeroEval's and RouteLLM's.

A file is JSON lines, gzipped when its name ends in `.gz`. `docs/replay.md` documents the form.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.errors import InvalidRequestError, StoreError, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "RecordedAnswer",
    "ReplayRow",
    "model_names",
    "parsed",
    "read_rows",
    "resolve_model",
    "usable_rows",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """What a model once answered.

    Attributes:
        output: its answer.
        correct: whether the answer is right, by whoever made the file; `None` where nobody has
            said so, as of a model that the drafts are only compared with.
        input_tokens: tokens of the prompt as that model was billed them.
        output_tokens: tokens of the answer, likewise.
        finish_reason: why the answer ended.
    """

    output: str
    correct: bool | None
    input_tokens: int
    output_tokens: int
    finish_reason: Literal["stop", "length"] = "stop"

    @property
    def right(self) -> bool:
        """The mark, of an answer that must have one.

        Raises:
            InvalidRequestError: it has none.
        """
        if self.correct is None:
            raise InvalidRequestError(f"an answer has no field 'correct'; {_UNMARKED}")
        return self.correct


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """One question and what each model answered.

    Attributes:
        id: the question's name in its file.
        question: what was asked.
        answers: by model name, as the file writes it.
    """

    id: str
    question: str
    answers: Mapping[str, RecordedAnswer]


_UNMARKED: Final = (
    "say there whether it is right, or let a model say it: cascadeflow judge LOG --model "
    "provider:model (docs/tuning.md)"
)


def read_rows(path: Path) -> tuple[ReplayRow, ...]:
    """Reads a file of recorded answers.

    Raises:
        StoreError: the file cannot be read.
        InvalidRequestError: a line is not of a known form; the message names it.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    # Only at line feeds: a JSON text may hold U+2028, at which splitlines() would cut it.
    lines = enumerate(text.split("\n"), 1)
    rows = tuple(_row(number, line, path) for number, line in lines if line.strip())
    if not rows:
        raise InvalidRequestError(f"{path} holds no rows")
    return rows


def parsed(line: str) -> Any:
    """Reads one line of a JSON lines file.

    Raises:
        ValueError: it is no JSON; the message says where, and whether the line is cut off.
    """
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        rest = line[error.pos :].strip()
        halved = any(word.startswith(rest) for word in ("true", "false", "null"))
        if halved or error.msg.startswith("Unterminated string"):
            raise ValueError("the line is cut off: its JSON has no end") from error
        raise ValueError(f"no JSON, at character {error.pos + 1}: {error.msg}") from error


def model_names(rows: Iterable[ReplayRow]) -> tuple[str, ...]:
    """Every model that answered at least one question, sorted."""
    return tuple(sorted({name for row in rows for name in row.answers}))


def resolve_model(wanted: str, names: Sequence[str]) -> str:
    """Finds the file's name of a model that the user wrote more loosely.

    Upper and lower case and punctuation do not count; a provider before a colon is dropped; a date
    at the end, or all but a part of the name, may be left out when only one model is meant.

    >>> resolve_model("openai:gpt-4o-mini", ["gpt-4o-2024-05-13", "gpt-4o-mini-2024-07-18"])
    'gpt-4o-mini-2024-07-18'

    Raises:
        UnknownModelError: no model is meant, or several are; the message lists what there is.
    """
    bare = _key(wanted.rpartition(":")[2])
    rules = (
        lambda name: name == wanted,
        lambda name: _key(name) == bare,
        lambda name: _key(_undated(name)) == bare,
        lambda name: bare in _key(name),
    )
    for rule in rules:
        found = [name for name in names if bare and rule(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownModelError(
                f"{wanted!r} could be any of {', '.join(found)}: write more of the name"
            )
    raise UnknownModelError(
        f"the file holds no model {wanted!r}; it holds {', '.join(names) or 'no answers'}"
    )


def usable_rows(
    rows: Sequence[ReplayRow], judged: tuple[str, str], others: Sequence[str] = ()
) -> list[ReplayRow]:
    """The rows that hold an answer of each model, and a mark on those that are judged by it.

    Args:
        rows: all of the log's.
        judged: the drafting and the verifying model.
        others: the models that the drafts are compared with; their answers need no mark.

    Raises:
        InvalidRequestError: there is none; the message says what is missing.
    """
    whole = [row for row in rows if all(name in row.answers for name in (*judged, *others))]
    if not whole:
        raise InvalidRequestError(f"no row holds answers of all of {', '.join((*judged, *others))}")
    usable = [row for row in whole if all(row.answers[name].correct is not None for name in judged)]
    if not usable:
        bare = [name for name in judged if all(row.answers[name].correct is None for row in whole)]
        raise InvalidRequestError(
            f"no answer of {' or '.join(bare or judged)} has the field 'correct'; {_UNMARKED}"
        )
    return usable


_DATE = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")


def _undated(name: str) -> str:
    return _DATE.sub("", name)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _row(number: int, line: str, path: Path) -> ReplayRow:
    try:
        entry = _object(line)
        if "cheap_correct" in entry:
            return _routellm(number, entry)
        return _own(number, entry)
    except KeyError as error:
        raise InvalidRequestError(
            f"{path}, line {number}: no field {error}; docs/replay.md shows the form"
        ) from error
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"{path}, line {number}: {error}; docs/replay.md shows the form"
        ) from error


def _object(line: str) -> Mapping[str, Any]:
    entry = parsed(line)
    if not isinstance(entry, dict):
        raise TypeError("not a JSON object")
    return entry


def _own(number: int, entry: Mapping[str, Any]) -> ReplayRow:
    """This project's form; ZeroEval's differs only in the token fields' names."""
    shared_input = entry.get("prompt_tok")
    answers = {
        name: _answer(
            output=answer["output"],
            correct=_mark(answer),
            input_tokens=answer.get("input_tokens", shared_input),
            output_tokens=answer.get("output_tokens", answer.get("out_tok")),
            finish_reason=answer.get("finish_reason", "stop"),
        )
        for name, answer in entry["models"].items()
    }
    # What a judge could not judge was set aside: the row is kept, and may have no other answers.
    empty = bool(entry.get("unjudged"))
    return _checked(number, entry.get("id"), entry["question"], answers, may_be_empty=empty)


def _mark(answer: Mapping[str, Any]) -> bool | None:
    if "correct" not in answer:
        return None
    return _boolean(answer["correct"])


def _boolean(correct: Any) -> bool:
    if not isinstance(correct, bool):
        raise TypeError("correct must be true or false")
    return correct


def _routellm(number: int, entry: Mapping[str, Any]) -> ReplayRow:
    if "cheap_response" not in entry:
        raise ValueError(
            "the row holds only whether the answers were right, not the answers: "
            "a validator has nothing to judge"
        )
    answers = {
        entry[f"{side}_model"]: _answer(
            output=entry[f"{side}_response"],
            correct=_boolean(entry[f"{side}_correct"]),
            input_tokens=entry["prompt_tok"],
            output_tokens=entry[f"{side}_out_tok"],
            finish_reason="stop",
        )
        for side in ("cheap", "exp")
    }
    return _checked(number, entry.get("id"), entry["prompt"], answers)


def _answer(
    *, output: Any, correct: bool | None, input_tokens: Any, output_tokens: Any, finish_reason: Any
) -> RecordedAnswer:
    if not isinstance(output, str):
        raise TypeError("output must be text")
    for what, count in (("input_tokens", input_tokens), ("output_tokens", output_tokens)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise TypeError(f"{what} must be a whole number of at least 0, not {count!r}")
    if finish_reason not in ("stop", "length"):
        raise ValueError(f"finish_reason must be stop or length, not {finish_reason!r}")
    return RecordedAnswer(
        output=output,
        correct=correct,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        finish_reason=finish_reason,
    )


def _checked(
    number: int,
    row_id: Any,
    question: Any,
    answers: Mapping[str, RecordedAnswer],
    *,
    may_be_empty: bool = False,
) -> ReplayRow:
    if not isinstance(question, str) or not question:
        raise TypeError("the question must be text")
    if not answers and not may_be_empty:
        raise ValueError("no model answered")
    return ReplayRow(
        id=f"line {number}" if row_id is None else str(row_id), question=question, answers=answers
    )
