"""Whether an answer is one to the question that was asked; whether it is right is not looked at."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import RELEVANCE_MEASURES, relevance_measures
from cascadeflow.errors import ConfigurationError
from cascadeflow.quality.findings import Finding
from cascadeflow.quality.heads import LinearHead, Numbers, clipped, probability, read_head, whole
from cascadeflow.quality.languages import guessed_language

if TYPE_CHECKING:
    from cascadeflow.models.embedding import RequestVectors

__all__ = ["HEAD", "Relevance", "RelevanceHead", "read_relevance_head", "relevance_inputs"]

HEAD: Final = Path(__file__).with_name("data") / "relevance.json"
"""The head that is shipped."""

FORMAT: Final = 1

_LONG: Final = 8_000
"""Characters from which counting takes over a millisecond, and is done on a thread."""

COSINES: Final = ("cosine, long answer", "cosine, short answer")
"""What is read beside `RELEVANCE_MEASURES`: a short answer's vector lies farther off."""

_WHOLE: Final = 1_000
"""Characters of a question that the sentence model reads as it is."""

INPUTS: Final = (*RELEVANCE_MEASURES, *COSINES)
"""All that a head may weigh."""

_LENGTH: Final = RELEVANCE_MEASURES.index("answer's length")


class RelevanceHead:
    """Weights for what an answer has of its question, and for how near their vectors lie.

    Attributes:
        model: the name of the sentence model whose vectors it reads, as `Embedder.name` gives it.
        weights: the weights, by what they weigh.
    """

    __slots__ = ("model", "weights")

    def __init__(self, header: dict[str, Any], _: Numbers) -> None:
        """Use `builtin` or `read_relevance_head`.

        Raises:
            ValueError: it weighs something that this version does not count.
        """
        self.model: Final[str] = header["model"]
        self.weights: Final = LinearHead(header["weights"], float(header["bias"]), of=INPUTS)

    @staticmethod
    def builtin() -> RelevanceHead:
        """Gives the shipped head, read once a process.

        Raises:
            ConfigurationError: its file is missing or damaged.
        """
        return _builtin()

    def __repr__(self) -> str:
        return f"RelevanceHead(over {self.model})"


def read_relevance_head(path: Path) -> RelevanceHead:
    """Reads a head that `benches/fit_relevance.py` wrote: one line of JSON.

    Raises:
        ConfigurationError: the file is missing, damaged or of another format.
    """
    return read_head(path, "relevance head", FORMAT, RelevanceHead)


@cache
def _builtin() -> RelevanceHead:
    return read_relevance_head(HEAD)


class Relevance:
    """Judges whether an answer is about what was asked and does what was asked for.

    It counts what words, numbers and names of the question come back, in Rust, and takes the
    cosines of the two texts' vectors. A wrong answer that is to the point passes.
    """

    __slots__ = ("_head",)

    def __init__(self, head: RelevanceHead | None = None) -> None:
        """Prepares the check; no model is opened.

        Args:
            head: a head of one's own in the place of the shipped one.

        Raises:
            ConfigurationError: the shipped head is damaged.
        """
        self._head: Final = head if head is not None else RelevanceHead.builtin()

    async def check(
        self, question: str, answer: str, vectors: RequestVectors, *, threshold: float
    ) -> Finding:
        """Finds whether an answer is one to the question.

        The score is the probability that it is. There is nothing to judge where one of the texts
        has no letters or digits, or the two are in different languages, as in a translation.

        Args:
            question: what was asked, the last user message.
            answer: the answer's visible text.
            vectors: the request's vectors.
            threshold: the least score that does not fail.

        Raises:
            ConfigurationError: the vectors are of another model than the head was fitted on, or
                there is no model here; it says what to do.
            CascadeFlowError: the model failed.
        """
        if vectors.name != self._head.model:
            raise ConfigurationError(
                f"relevance was fitted on the vectors of {self._head.model}, and these are of "
                f"{vectors.name}: use that sentence model, or turn relevance off"
            )
        question, answer = whole(question), whole(answer)
        if not _comparable(question, answer):
            return Finding(score=1.0, failed=False, applicable=False)
        inputs = await relevance_inputs(question, answer, vectors)
        score = probability(self._head.weights.logit(inputs))
        failed = score < threshold
        detail = dict(zip(INPUTS, inputs, strict=True))
        reason = ""
        if failed:
            likeness = inputs[-2] + inputs[-1]
            reason = (
                f"the answer hardly has to do with the question: likeness {likeness:.2f}, "
                f"{inputs[0]:.0%} of its words come back"
            )
        return Finding(score=score, failed=failed, reason=reason, detail=detail)


async def relevance_inputs(question: str, answer: str, vectors: RequestVectors) -> list[float]:
    """Gives what a head weighs, in the order of `INPUTS`. It raises as `Relevance.check` does."""
    asked, said = await asyncio.gather(
        vectors.vector_of(_read(question)), vectors.vector_of(clipped(answer))
    )
    if len(question) + len(answer) > _LONG:
        measures = await asyncio.to_thread(relevance_measures, question, answer)
    else:
        measures = relevance_measures(question, answer)
    cosine, length = asked.cosines(said)[0][0], measures[_LENGTH]
    return [*measures, cosine * length, cosine * (1.0 - length)]


def _read(question: str) -> str:
    """As much of a question as the sentence model is given: of a long one both ends."""
    if len(question) <= _WHOLE:
        return question
    # What is asked stands before a pasted text or behind it.
    return f"{question[: _WHOLE // 2]}\n{question[-_WHOLE // 2 :]}"


def _comparable(question: str, answer: str) -> bool:
    """Whether both say something, and not in two languages."""
    if not all(any(map(str.isalnum, text)) for text in (question, answer)):
        return False
    asked, said = guessed_language(question), guessed_language(answer)
    return asked is None or said is None or asked == said
