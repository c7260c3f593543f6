"""How hard a request is: what decides whether drafting is worth while.

The judging is Rust (`rust/core/src/complexity`): length, structure, demands, code, terms; no model,
no network, microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from cascadeflow._native import assess_complexity
from cascadeflow.types import Message, last_user_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Complexity", "ComplexityLevel", "assess"]

ComplexityLevel = Literal["trivial", "simple", "moderate", "hard", "expert"]

_CHARACTERS_PER_WORD: Final = 6
"""English with its spaces; only a rough size of the conversation is needed."""


@dataclass(frozen=True, slots=True)
class Complexity:
    """How hard a request is.

    Attributes:
        level: one of five.
        score: 0 (trivial) to 1 (expert); the levels begin at 0, 0.15, 0.35, 0.60 and 0.82.
        reasons: what made it so, the heaviest first.
    """

    level: ComplexityLevel
    score: float
    reasons: tuple[str, ...]


def assess(messages: Sequence[Message]) -> Complexity:
    """Judges the last user message, and how much conversation lies before it.

    >>> assess([Message("user", "What is the capital of Peru?")]).level
    'trivial'
    """
    text = last_user_text(messages)
    earlier = sum(len(message.text) for message in messages) - len(text)
    level, score, parts = assess_complexity(text, max(earlier, 0) // _CHARACTERS_PER_WORD)
    return Complexity(
        level=cast("ComplexityLevel", level),
        score=score,
        reasons=tuple(what for what, _ in parts),
    )
