"""The quality room of the Rust side; `cascadeflow._native` has these names."""

from collections.abc import Sequence
from typing import Literal, Self, TypeAlias, final

_Verdict: TypeAlias = Literal["passed", "failed", "not_applicable"]

def judge_answer(
    question: str,
    answer: str,
    *,
    instructions: str = "",
    finish_reason: str = "unknown",
    refusal: str | None = None,
    response_format: Literal["json_object", "json_schema"] | None = None,
    schema: JsonSchema | None = None,
    calls_tools: bool = False,
    has_reasoning: bool = False,
    without: Sequence[str] = (),
) -> tuple[float, bool, list[tuple[str, _Verdict, float, str]], list[float]]:
    """Judges an answer by its text.

    Returns:
        The probability that it is good enough; whether a check rejects it outright; each check's
        name, verdict, score and reason; the features behind the probability, in the order of
        `quality_weights`.

    Raises:
        ValueError: no such finish reason, or `json_schema` without a schema.
    """

@final
class JsonSchema:
    """A JSON schema, read once, to hold texts to.

    Raises:
        ValueError: the schema is not JSON, or is nested deeper than 128 levels.
    """

    def __new__(cls, schema: str, /) -> Self: ...
    def check(self, text: str, /) -> tuple[Literal["fits", "fails", "unknown", "broken"], str]:
        """What a text is to the schema, and where and why; empty when it fits.

        `broken`: it is not JSON. `unknown`: nothing speaks against it, and something in the schema
        could not be checked.
        """

def final_answer(text: str, /) -> tuple[str, str] | None:
    """What an answer finally says, and a form to group it by; `None` when it says nothing clearly.

    A number, a letter of a multiple choice, yes or no, a time, a literal of code, a formula or a
    few words: from a JSON wrapping, a box, `####`, “the answer is”, the answer's head, or the last
    sentence of a calculation. Equal forms are the same answer; `same_final_answer` knows more:
    `5 hours` are `300 minutes`, `50%` is `0.5`.
    """

def same_final_answer(one: str, other: str, /) -> bool | None:
    """Whether two answers finally say the same.

    `None` when one of them says nothing clearly, or both may be meant alike.
    """

def quality_weights() -> tuple[list[str], float, list[float]]:
    """The features' names, and the intercept and weights that make them a probability."""
