"""Structured output: an answer in the form of a Python type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cascadeflow.types import ResponseFormat

__all__ = ["OutputSchema", "ParsedOutput"]


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """What an answer's text was read as.

    Attributes:
        value: the value, `None` where there is a problem.
        problem: where and why the text does not fit; `None` when it does.
    """

    value: Any
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A type that answers are asked to have.

    Attributes:
        format: what is asked of the provider.
    """

    format: ResponseFormat

    @classmethod
    def of(cls, model: Any) -> OutputSchema:
        """Makes the schema of a type: a pydantic model, a dataclass, or what pydantic takes."""
        raise NotImplementedError

    def parse(self, text: str) -> ParsedOutput:
        """Reads an answer's text; never raises."""
        raise NotImplementedError
