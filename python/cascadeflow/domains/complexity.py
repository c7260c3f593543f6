"""How hard a request is: what decides whether drafting is worth while.

The judging is Rust (`rust/core/src/complexity`): length, structure, demands, code, words, domain;
no model, no network, microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from cascadeflow._native import ComplexityFeatures
from cascadeflow._native import measure_code as _measure_code
from cascadeflow.domains.aside import Aside
from cascadeflow.types import Message, last_user_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Assessor", "CodeMetrics", "Complexity", "ComplexityLevel", "assess", "measure_code"]

ComplexityLevel = Literal["trivial", "simple", "moderate", "hard", "expert"]

_CHARACTERS_PER_WORD: Final = 6
"""English with its spaces; only a rough size of the conversation is needed."""

_LONG: Final = 64 * 1024
"""Characters from which on reading a request takes milliseconds, in which Rust lets others run."""

_readers: Final = Aside(2, "cascadeflow-complexity")

_BASE: Final = "a request"
"""What every request adds, which is no reason."""


@dataclass(frozen=True, slots=True)
class CodeMetrics:
    """What is known of the code in a request, counted by a lexer that survives broken code.

    Attributes:
        language: of most of its lines: `python`, `javascript`, `typescript`, `java`, `c`, `c++`,
            `c#`, `go`, `rust`, `php`, `ruby`, `kotlin`, `swift`, `sql`, `shell`, `html`, `css`,
            `json`, `yaml`, or `other`.
        constructs: what makes it harder to follow than its size says: `async`, `concurrency`,
            `recursion`, `regular expressions`, `error handling`, `closures`, `generators`,
            `generics`, `metaprogramming`, `memory`, `joins`, `subqueries`, `window functions`,
            `aggregation`, `comprehensions`.
        blocks: pieces of code.
        lines: lines with code on them.
        comment_lines: lines with nothing but a remark; Python's docstrings are remarks.
        functions: functions and methods that it defines.
        classes: classes, structures, interfaces, tables.
        branches: places that choose: `if`, each case, each handler of an error, `and`, `or`.
        loops: loops, those of comprehensions among them.
        cyclomatic: branches, loops and one: McCabe's number of the code taken as one unit.
        nesting: how deep its deepest block lies.
        identifiers: different names; of several pieces, their sum.
        joins: joins of tables.
        subqueries: queries within queries.
    """

    language: str
    constructs: tuple[str, ...]
    blocks: int
    lines: int
    comment_lines: int
    functions: int
    classes: int
    branches: int
    loops: int
    cyclomatic: int
    nesting: int
    identifiers: int
    joins: int
    subqueries: int

    @property
    def comment_share(self) -> float:
        """The share of lines that are remarks, 0 to 1."""
        return self.comment_lines / max(self.lines + self.comment_lines, 1)


@dataclass(frozen=True, slots=True)
class Complexity:
    """How hard a request is.

    Attributes:
        level: one of five.
        score: 0 (trivial) to 1 (expert); the levels begin at 0, 0.15, 0.35, 0.60 and 0.82.
        reasons: what made it so, the heaviest first.
        code: the code in it; `None` without any.
        parts: what each reason adds to the sum behind the score, `1 - exp(-sum)`; below 0 it makes
            the request easier.
    """

    level: ComplexityLevel
    score: float
    reasons: tuple[str, ...]
    code: CodeMetrics | None = None
    parts: tuple[tuple[str, float], ...] = ()


def assess(messages: Sequence[Message], domain: str | None = None) -> Complexity:
    """Judges the last user message, and how much conversation lies before it.

    Args:
        messages: the conversation.
        domain: what the request is about, where that is known: legal questions are harder than
            their words say, a customer's complaint is easier. A domain that is not built in counts
            as none.

    >>> assess([Message("user", "What is the capital of Peru?")]).level
    'trivial'
    """
    return Assessor(messages).assess(domain)


class Assessor:
    """Judges one request for any domain, and reads its text once. It belongs to that request."""

    __slots__ = ("_earlier", "_features", "_text")

    def __init__(self, messages: Sequence[Message]) -> None:
        """Takes the request; nothing is read yet.

        Args:
            messages: the conversation.
        """
        self._text = last_user_text(messages)
        earlier = sum(len(message.text) for message in messages) - len(self._text)
        self._earlier = max(earlier, 0) // _CHARACTERS_PER_WORD
        self._features: ComplexityFeatures | None = None

    @property
    def is_long(self) -> bool:
        """Whether reading it takes so long that an event loop should not wait for it."""
        return len(self._text) >= _LONG

    async def read(self) -> None:
        """Reads it in another thread, so that `assess` need not."""
        if self._features is None:
            self._features = await _readers.run(lambda: ComplexityFeatures(self._text))

    def assess(self, domain: str | None = None) -> Complexity:
        """Judges it: microseconds once it was read, before that some 40 ms for each megabyte.

        Args:
            domain: what it is about, as for `assess`.
        """
        if self._features is None:
            self._features = ComplexityFeatures(self._text)
        level, score, parts = self._features.judge(self._earlier, domain)
        code = self._features.code
        return Complexity(
            level=cast("ComplexityLevel", level),
            score=score,
            reasons=tuple(what for what, _ in parts if what != _BASE),
            code=None if code is None else _metrics(code),
            parts=tuple(parts),
        )


def measure_code(source: str, *, language: str | None = None) -> CodeMetrics:
    r"""Measures a piece of code as a whole.

    Args:
        source: the code, whatever is broken about it.
        language: its language, by any name that people give a Markdown fence; guessed without.

    Raises:
        ValueError: no such language.

    >>> measure_code("def f(x):\n    return x or 1", language="python").cyclomatic
    2
    """
    return _metrics(_measure_code(source, language))


def _metrics(code: tuple[str, list[str], list[int]]) -> CodeMetrics:
    language, constructs, counts = code
    return CodeMetrics(language, tuple(constructs), *counts)
