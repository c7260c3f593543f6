"""Whether an answer is one to the question that was asked; whether it is right is not looked at."""

from __future__ import annotations

import asyncio
import math
import re
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cascadeflow._native import RELEVANCE_MEASURES, relevance_measures
from cascadeflow.errors import ConfigurationError
from cascadeflow.quality.findings import Finding
from cascadeflow.quality.heads import LinearHead, Numbers, clipped, probability, read_head, whole
from cascadeflow.quality.languages import guessed_language

if TYPE_CHECKING:
    from cascadeflow.models.embedding import RequestVectors

__all__ = ["HEAD", "Relevance", "RelevanceHead", "read_relevance_head", "relevance_inputs"]

HEAD: Final = Path(__file__).with_name("data") / "relevance.bin"
"""The head that is shipped."""

FORMAT: Final = 2

_LONG: Final = 8_000
"""Characters from which counting takes over a millisecond, and is done on a thread."""

COSINES: Final = ("cosine, long answer", "cosine, short answer")
"""What is read beside `RELEVANCE_MEASURES`: a short answer's vector lies farther off."""

_WHOLE: Final = 1_000
"""Characters of a question that the sentence model reads as it is."""

IN_WORDS: Final = "answer is in words"
"""How far an answer says something in words, against a bare number or a line of code."""

INPUTS: Final = (*RELEVANCE_MEASURES, *COSINES, IN_WORDS)
"""All that a head may weigh by name; behind it come the vectors' products, number by number."""

_MANY_WORDS: Final = 8
_WORD: Final = re.compile(r"[^\W\d_]{3,}")

_LENGTH: Final = RELEVANCE_MEASURES.index("answer's length")


class RelevanceHead:
    """Weights for what an answer has of its question, and for how near their vectors lie.

    Attributes:
        model: the name of the sentence model whose vectors it reads, as `Embedder.name` gives it.
        weights: the weights, by what they weigh.
        products: the weight of each number of the two layered vectors' product.
    """

    __slots__ = ("model", "products", "weights")

    def __init__(self, header: dict[str, Any], numbers: Numbers) -> None:
        """Use `builtin` or `read_relevance_head`.

        Raises:
            ValueError: it weighs something that this version does not count.
        """
        self.model: Final[str] = header["model"]
        self.weights: Final = LinearHead(header["weights"], float(header["bias"]), of=INPUTS)
        self.products: Final = numbers.floats(int(header["products"]))
        if not all(map(math.isfinite, self.products)):
            raise ValueError("a weight is not finite")

    def logit(self, inputs: RelevanceInputs) -> float:
        """Gives the log-odds that the answer is one to the question.

        Raises:
            ConfigurationError: the vectors are of another dimension.
        """
        if len(self.products) != len(inputs.asked):
            raise ConfigurationError(
                f"relevance reads {len(self.products)} numbers a vector, and this embedder gives "
                f"{len(inputs.asked)}: it needs `layered`, as SentenceModel has it; or turn "
                "relevance off"
            )
        products = zip(self.products, inputs.asked, inputs.said, strict=True)
        return self.weights.logit(inputs.named) + sum([w * q * a for w, q, a in products])

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
    """Reads a head that `benches/fit_relevance.py` wrote: one line of JSON, then numbers.

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
        score = probability(self._head.logit(inputs))
        failed = score < threshold
        detail = dict(zip(INPUTS, inputs.named, strict=True))
        reason = ""
        if failed:
            likeness = sum(detail[name] for name in COSINES)
            reason = (
                f"the answer hardly has to do with the question: likeness {likeness:.2f}, "
                f"{inputs.named[0]:.0%} of its words come back"
            )
        return Finding(score=score, failed=failed, reason=reason, detail=detail)


class RelevanceInputs(NamedTuple):
    """What a head reads of a question and an answer.

    Attributes:
        named: the numbers in the order of `INPUTS`.
        asked: the question's layered vector.
        said: the answer's.
    """

    named: list[float]
    asked: list[float]
    said: list[float]


async def relevance_inputs(question: str, answer: str, vectors: RequestVectors) -> RelevanceInputs:
    """Gives what a head reads. It raises as `Relevance.check` does."""
    asked_of, said_of = _read(question), clipped(answer)
    asked, said, *layered = await asyncio.gather(
        vectors.vector_of(asked_of),
        vectors.vector_of(said_of),
        vectors.layered_of(asked_of),
        vectors.layered_of(said_of),
    )
    if len(question) + len(answer) > _LONG:
        measures = await asyncio.to_thread(relevance_measures, question, answer)
    else:
        measures = relevance_measures(question, answer)
    cosine, length = asked.cosines(said)[0][0], measures[_LENGTH]
    words = sum(1 for _ in islice(_WORD.finditer(answer), _MANY_WORDS)) / _MANY_WORDS
    return RelevanceInputs(
        [*measures, cosine * length, cosine * (1.0 - length), words],
        *[vector.tolist()[0] for vector in layered],
    )


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
