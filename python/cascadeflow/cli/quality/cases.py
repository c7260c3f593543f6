"""What is judged: texts of which it is known whether they are good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cascadeflow.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Case", "CaseSet", "Kind", "asked"]

Kind = Literal["answers", "pairs", "grounding", "toxicity"]
"""What a label speaks of: whether an answer is right, which of two is better, whether documents
support it, or whether a text is toxic."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One answer to a request; it is told from others by identity, and judged once.

    Attributes:
        key: the question; what shares it is drawn together where an interval is reckoned.
        part: what figures are also given apart for: a model, a subset, a category; `""` for none.
        messages: what was asked.
        answer: what is judged.
        good: whether it is right, better, supported or harmless, by whoever made the file.
        finish_reason: why the answer ended.
    """

    key: str
    part: str
    messages: tuple[Message, ...]
    answer: str
    good: bool
    finish_reason: Literal["stop", "length"] = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSet:
    """Cases that figures are given for.

    Attributes:
        name: what it is called in the report, such as `answers.jsonl, another final number`.
        kind: what its labels speak of.
        cases: at least one; of pairs the better one and behind it the worse one, in turn.
        models: whether the parts are models. The AUC is then the mean of theirs: over all at once
            it would also reward telling the models apart.
        planted: whether the faulty ones were made of the good ones.
    """

    name: str
    kind: Kind
    cases: tuple[Case, ...]
    models: bool = False
    planted: bool = False


def asked(question: str, documents: Sequence[str] = ()) -> tuple[Message, ...]:
    """Gives the request that asks a question, of documents if there are any.

    They come as the results of a tool: what they say is then no part of what is asked or demanded.
    """
    return (
        *[
            Message("tool", each, tool_call_id=f"document-{at}")
            for at, each in enumerate(documents)
        ],
        Message("user", question),
    )
