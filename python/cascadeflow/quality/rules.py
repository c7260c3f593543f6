"""Judging an answer by its text: what the Rust rules find, as records.

Each rule looks for one fault (`rust/core/src/quality`); one calibrated probability says how likely
the answer is good enough. `docs/quality.md` says what each rule does and how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from cascadeflow._native import judge_answer, quality_weights
from cascadeflow.quality.report import CheckReport
from cascadeflow.quality.schema import compiled

if TYPE_CHECKING:
    from cascadeflow.types import FinishReason, ResponseFormat

__all__ = ["TextJudgement", "judge_text"]

REJECTED: Final = 0.01
"""No probability is higher than this once a check rejects the answer outright."""

_NOTABLE: Final = -0.2
"""What lowers the logit by less than this is not worth a word."""

_IN_WORDS: Final = {
    "not_last_result": "the final number is not the last result",
    "unused_results": "results that nothing uses",
    "unused_givens": "numbers of the question are left out",
    "unclear_final": "the final answer is no single number",
    "final_length": "a long final answer",
    "effort": "a long solution",
    "loose_numbers": "numbers outside any calculation",
    "decimals": "many decimals",
    "magnitude": "large numbers",
    "question_load": "a long question",
    "unverified": "steps that cannot be recomputed",
    "caution": "cautious words",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJudgement:
    """What the rules say of an answer.

    Attributes:
        probability: that it is good enough, 0 to 1; at most 0.01 when it is rejected outright.
        rejected: whether a check rejects it whatever the others say.
        checks: each check, always the same ones in the same order.
        features: the measures behind the probability, in the order of `quality_weights`.
    """

    probability: float
    rejected: bool
    checks: tuple[CheckReport, ...]
    features: tuple[float, ...]

    def doubts(self, most: int = 3) -> tuple[str, ...]:
        """What lowers the probability, beside failed checks, the heaviest first, in words.

        >>> judge_text("What is 2 + 2?", "4").doubts()
        ()
        """
        names, weights = _weights()
        parts = zip(names, weights, self.features, strict=True)
        lowering = ((w * x, _IN_WORDS[n]) for n, w, x in parts if n in _IN_WORDS)
        heavy = sorted(part for part in lowering if part[0] < _NOTABLE)
        return tuple(words for _, words in heavy[:most])


@cache
def _weights() -> tuple[tuple[str, ...], tuple[float, ...]]:
    names, _, weights = quality_weights()
    return tuple(names), tuple(weights)


@cache
def _silent(name: str, verdict: Literal["passed", "failed", "not_applicable"]) -> CheckReport:
    """A check that found nothing; always the same record."""
    return CheckReport(name=name, verdict=verdict, score=1.0)


def judge_text(
    question: str,
    answer: str,
    *,
    instructions: str = "",
    finish_reason: FinishReason = "unknown",
    refusal: str | None = None,
    response_format: ResponseFormat | None = None,
    calls_tools: bool = False,
    has_reasoning: bool = False,
    without: tuple[str, ...] = (),
) -> TextJudgement:
    """Judges an answer by its text, in time linear in the texts.

    Args:
        question: what was asked, the last user message.
        answer: the answer's visible text.
        instructions: the system prompt.
        finish_reason: why the model stopped.
        refusal: the model's words of refusal, where the protocol carries them apart.
        response_format: the form that the protocol was asked for.
        calls_tools: whether the answer calls tools; it then needs no text.
        has_reasoning: whether reasoning was shown apart from the text.
        without: the names of checks whose findings are not to count.

    >>> judge_text("What is 12 * 12?", "12 * 12 = 154").checks[9].reason
    '“12 * 12 = 154” is wrong: it is 144'
    """
    form = None if response_format is None else response_format.kind
    schema = None
    if response_format is not None and response_format.kind == "json_schema":
        schema = compiled(response_format.schema)

    def run(question: str, answer: str, instructions: str, refusal: str | None) -> TextJudgement:
        probability, rejected, checks, features = judge_answer(
            question,
            answer,
            instructions=instructions,
            finish_reason=finish_reason,
            refusal=refusal,
            response_format=form,
            schema=schema,
            calls_tools=calls_tools,
            has_reasoning=has_reasoning,
            without=without,
        )
        return TextJudgement(
            probability=probability,
            rejected=rejected,
            checks=tuple(
                CheckReport(name=name, verdict=verdict, score=score, reason=reason)
                if reason
                else _silent(name, verdict)
                for name, verdict, score, reason in checks
            ),
            features=tuple(features),
        )

    try:
        return run(question, answer, instructions, refusal)
    except UnicodeEncodeError:
        # Half a surrogate pair, as JSON may carry it, is no text in UTF-8.
        refusal = None if refusal is None else _whole(refusal)
        return run(_whole(question), _whole(answer), _whole(instructions), refusal)


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
