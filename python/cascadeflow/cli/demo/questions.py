"""The demo's questions and how their answers are checked."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, assert_never

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Check", "Question", "load_questions"]

CheckKind = Literal["number", "words", "pattern", "json", "list"]

_KINDS: Mapping[str, CheckKind] = {
    "number": "number",
    "words": "words",
    "pattern": "pattern",
    "json": "json",
    "list": "list",
}

_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")

_FENCE = re.compile(r"```[a-zA-Z]*\n?(.*?)```", re.DOTALL)

_BULLET = re.compile(r"^(?:[-*•]|\d+[.)])\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How an answer is checked; `demo_questions.toml` says what each kind does.

    Attributes:
        kind: which rule.
        value: what a `number` or `json` answer must equal.
        one_of: the `words` of which one must stand in the answer.
        never: the `words` of which none may.
        case: whether upper and lower case count in `words`.
        pattern: the regular expression of `pattern`.
        sets: the admissible answers of `list`.
    """

    kind: CheckKind
    value: Any = None
    one_of: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    case: bool = False
    pattern: str = ""
    sets: tuple[frozenset[str], ...] = ()

    def holds(self, answer: str) -> bool:
        """Whether the answer is right.

        >>> Check(kind="number", value=12).holds("7 + 5 = 12")
        True
        """
        match self.kind:
            case "number":
                return _last_number(answer) == float(self.value)
            case "words":
                flags = 0 if self.case else re.IGNORECASE
                return any(_stands(word, answer, flags) for word in self.one_of) and not any(
                    _stands(word, answer, flags) for word in self.never
                )
            case "pattern":
                return re.search(self.pattern, answer) is not None
            case "json":
                return _same_json(_unfenced(answer), self.value)
            case "list":
                items = _items(answer)
                return len(items) == len(set(items)) and frozenset(items) in self.sets
            case _:
                assert_never(self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of the demo.

    Attributes:
        id: its name, such as `arithmetic-1`.
        domain: what it is about.
        prompt: what the models are asked.
        check: how an answer is checked.
        right: what the simulated verifier answers when it is right.
        wrong: what it answers when it errs.
    """

    id: str
    domain: str
    prompt: str
    check: Check
    right: str
    wrong: str


def load_questions(text: str | None = None) -> tuple[Question, ...]:
    """Reads the package's question file, or the text of another of the same form.

    Raises:
        ConfigurationError: the file's form is wrong, or a question's own answer sheet contradicts
            its check.
    """
    if text is None:
        text = (resources.files("cascadeflow.cli") / "demo_questions.toml").read_text("utf-8")
    try:
        questions = tuple(_question(entry) for entry in tomllib.loads(text)["question"])
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the question file cannot be read: {error}") from error
    for question in questions:
        if not question.check.holds(question.right) or question.check.holds(question.wrong):
            raise ConfigurationError(
                f"question {question.id}: its answer sheet contradicts its check"
            )
    return questions


def _question(entry: Mapping[str, Any]) -> Question:
    check = entry["check"]
    kind = _KINDS[check["kind"]]
    return Question(
        id=entry["id"],
        domain=entry["domain"],
        prompt=entry["prompt"],
        check=Check(
            kind=kind,
            value=check.get("value"),
            one_of=tuple(check.get("any", ())),
            never=tuple(check.get("never", ())),
            case=check.get("case", False),
            pattern=check.get("pattern", ""),
            sets=tuple(frozenset(items) for items in check.get("sets", ())),
        ),
        right=entry["right"],
        wrong=entry["wrong"],
    )


def _last_number(answer: str) -> float | None:
    """The last number on the first line that holds one: small models go on to explain."""
    for line in answer.splitlines():
        found = _NUMBER.findall(line)
        if found:
            return float(found[-1].replace(",", ""))
    return None


def _stands(word: str, answer: str, flags: int) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, flags) is not None


def _unfenced(answer: str) -> str:
    fenced = _FENCE.search(answer)
    return (fenced.group(1) if fenced else answer).strip()


def _same_json(text: str, value: Any) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    # 1 == True in Python; as JSON they differ.
    return json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)


def _items(answer: str) -> list[str]:
    pieces = re.split(r"[,\n]", answer.strip().rstrip("."))
    items = [_BULLET.sub("", piece.strip()) for piece in pieces]
    items = [
        re.sub(r"^and\s+", "", item, flags=re.IGNORECASE).strip(" .").lower() for item in items
    ]
    return [item for item in items if item]
