"""Whether the sentences of an answer are supported by the documents that it was given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import GROUNDING_MEASURES, grounding_claims
from cascadeflow.errors import ConfigurationError
from cascadeflow.quality.documents import documents_of
from cascadeflow.quality.findings import Finding
from cascadeflow.quality.heads import LinearHead, Numbers, probability, read_head, whole
from cascadeflow.quality.languages import guessed_language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.models.embedding import RequestVectors
    from cascadeflow.models.text_classifier import ClassifierModel

__all__ = ["HEAD", "Claim", "Grounding", "GroundingHead", "documents_of", "read_grounding_head"]

HEAD: Final = Path(__file__).with_name("data") / "grounding.json"
"""The head that is shipped."""

FORMAT: Final = 1

MOST_CHECKED: Final = 6
"""Sentences of an answer that models read: those that words support least. Each costs the sentence
model up to three short texts."""

_NEAREST: Final = 2
"""The documents' sentences that a sentence is compared with by meaning."""

_LONG: Final = 8_000
"""Characters from which counting takes over a millisecond, and is done on a thread."""

_QUOTED: Final = 2
_SHOWN: Final = 120

COSINES: Final = ("cosine", "inner cosine")
"""What is read beside `GROUNDING_MEASURES` where the sentence model was asked."""

INPUTS: Final = (*GROUNDING_MEASURES, *COSINES)
"""All that a head may weigh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of an answer that states something.

    Attributes:
        text: the sentence.
        measures: what was counted, as `GROUNDING_MEASURES` names it.
        nearest: the documents' sentences that share most with it, best first.
        missing: numbers and names of it that stand nowhere in the documents.
    """

    text: str
    measures: tuple[float, ...]
    nearest: tuple[str, ...]
    missing: tuple[str, ...]


class GroundingHead:
    """Weights for what documents have of a sentence: by counting alone, and with cosines.

    Attributes:
        model: the name of the sentence model whose vectors it reads, as `Embedder.name` gives it.
        counted: the weights where no model was asked.
        compared: the weights with `COSINES`.
    """

    __slots__ = ("compared", "counted", "model")

    def __init__(self, header: dict[str, Any], _: Numbers) -> None:
        """Use `builtin` or `read_grounding_head`.

        Raises:
            ValueError: it weighs something that this version does not count.
        """
        self.model: Final[str] = header["model"]
        self.counted: Final = LinearHead(**header["counted"], of=GROUNDING_MEASURES)
        self.compared: Final = LinearHead(**header["compared"], of=INPUTS)

    @staticmethod
    def builtin() -> GroundingHead:
        """Gives the shipped head, read once a process.

        Raises:
            ConfigurationError: its file is missing or damaged.
        """
        return _builtin()

    def __repr__(self) -> str:
        return f"GroundingHead(over {self.model})"


def read_grounding_head(path: Path) -> GroundingHead:
    """Reads a head that `benches/fit_relevance.py` wrote: one line of JSON.

    Raises:
        ConfigurationError: the file is missing, damaged or of another format.
    """
    return read_head(path, "grounding head", FORMAT, GroundingHead)


@cache
def _builtin() -> GroundingHead:
    return read_grounding_head(HEAD)


class Grounding:
    """Judges whether documents support an answer, sentence by sentence.

    Words, word pairs, numbers, names, denials and opposites are compared in Rust; the sentences
    that words support least are compared by meaning too, with the shipped head or with a model of
    natural-language inference that the user brings. A statement that says something else in the
    documents' own words may pass without one.
    """

    __slots__ = ("_entailment", "_head", "_nli")

    def __init__(
        self,
        head: GroundingHead | None = None,
        *,
        nli: ClassifierModel | None = None,
        entailment: str = "entailment",
    ) -> None:
        """Prepares the check; no model is opened.

        Args:
            head: a head of one's own in the place of the shipped one.
            nli: an ONNX classifier of pairs (premise, hypothesis), asked about the sentences that
                words support least; its probability of entailment is then their score. The nearest
                sentences of the documents are one premise, or several where the model cannot read
                so much at once; then the best of them counts.
            entailment: its label for a hypothesis that follows from the premise.

        Raises:
            ConfigurationError: the shipped head is damaged, or `nli` has no such label.
        """
        self._head: Final = head if head is not None else GroundingHead.builtin()
        self._nli: Final = nli
        self._entailment: Final = -1 if nli is None else nli.label(entailment)

    async def check(
        self, documents: Sequence[str], answer: str, vectors: RequestVectors, *, threshold: float
    ) -> Finding:
        """Finds whether the documents support an answer.

        The score is that of the sentence that is supported least. There is nothing to judge without
        documents, or where the answer is in another language than they are: its words cannot be
        compared.

        Args:
            documents: the texts that the answer should rest on, as `documents_of` finds them.
            answer: the answer's visible text.
            vectors: the request's vectors.
            threshold: the least score that does not fail.

        Raises:
            ConfigurationError: the vectors are of another model than the head was fitted on, or a
                model is not there; it says what to do.
            CascadeFlowError: a model failed.
        """
        if self._nli is None and vectors.name != self._head.model:
            raise ConfigurationError(
                f"grounding was fitted on the vectors of {self._head.model}, and these are of "
                f"{vectors.name}: use that sentence model, or turn grounding off"
            )
        documents, answer = [whole(each) for each in documents], whole(answer)
        nothing = Finding(score=1.0, failed=False, applicable=False)
        if not documents or _in_other_language(documents, answer):
            return nothing
        claims = await claims_of(documents, answer)
        if not claims:
            return nothing
        scores = [probability(self._head.counted.logit(claim.measures)) for claim in claims]
        worst = sorted(range(len(claims)), key=scores.__getitem__)[:MOST_CHECKED]
        found = await self._read([claims[place] for place in worst], vectors)
        for place, score in zip(worst, found, strict=True):
            scores[place] = score
        score = min(scores)
        unsupported = [place for place in worst if scores[place] < threshold]
        unsupported.sort(key=scores.__getitem__)
        return Finding(
            score=score,
            failed=score < threshold,
            reason=(
                f"{len(unsupported)} of {len(claims)} sentences are not supported by the documents"
                if unsupported
                else ""
            ),
            quoted=_in_words([claims[place] for place in unsupported]),
            detail={
                "sentences": float(len(claims)),
                "unsupported": float(sum(each < threshold for each in scores)),
                "mean": sum(scores) / len(scores),
            },
        )

    async def _read(self, claims: list[Claim], vectors: RequestVectors) -> list[float]:
        """The scores that models give to sentences."""
        if self._nli is not None:
            await self._nli.warm_up()  # some graphs alone know how much they read at once
            size = self._nli.characters
            premises = [_premises(claim, size - len(claim.text)) for claim in claims]
            pairs = [
                (premise, claim.text)
                for claim, each in zip(claims, premises, strict=True)
                for premise in each
            ]
            follows = iter([row[self._entailment] for row in await self._nli.probabilities(pairs)])
            return [max(next(follows) for _ in each) for each in premises]
        inputs = await asyncio.gather(*[grounding_inputs(claim, vectors) for claim in claims])
        return [probability(self._head.compared.logit(each)) for each in inputs]


def _premises(claim: Claim, size: int) -> list[str]:
    """The sentences nearest to a claim, best first, joined up to so many characters."""
    premises: list[str] = []
    for sentence in claim.nearest:
        if premises and len(premises[-1]) + 1 + len(sentence) <= size:
            premises[-1] += f" {sentence}"
        else:
            premises.append(sentence)
    return premises or [""]


async def claims_of(documents: Sequence[str], answer: str) -> list[Claim]:
    """Gives the sentences of an answer that state something, compared with the documents."""
    if sum(map(len, documents)) + len(answer) > _LONG:
        found = await asyncio.to_thread(grounding_claims, documents, answer)
    else:
        found = grounding_claims(documents, answer)
    return [
        Claim(text=text, measures=tuple(measures), nearest=tuple(nearest), missing=tuple(missing))
        for text, measures, nearest, missing in found
    ]


async def grounding_inputs(claim: Claim, vectors: RequestVectors) -> list[float]:
    """Gives what a head weighs, in the order of `INPUTS`. It raises as `Grounding.check` does."""
    if not claim.nearest:
        return [*claim.measures, 0.0, 0.0]
    said, *held = await asyncio.gather(
        *[vectors.layered_of(text) for text in (claim.text, *claim.nearest[:_NEAREST])]
    )
    size = said.dimension // 2
    last, inner = said.columns(0, size), said.columns(size, 2 * size)
    return [
        *claim.measures,
        max(last.cosines(each.columns(0, size))[0][0] for each in held),
        max(inner.cosines(each.columns(size, 2 * size))[0][0] for each in held),
    ]


def _in_other_language(documents: Sequence[str], answer: str) -> bool:
    said = guessed_language(answer)
    if said is None:
        return False
    held = {guessed_language(document) for document in documents}
    return None not in held and said not in held


def _in_words(unsupported: list[Claim]) -> str:
    """The sentences that are not supported, quoted, with what stands nowhere in the documents."""
    told = []
    for claim in unsupported[:_QUOTED]:
        text = " ".join(claim.text.split())
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        missing = f" ({', '.join(claim.missing)} not there)" if claim.missing else ""
        told.append(f"“{shown}”{missing}")
    more = len(unsupported) - len(told)
    return ", ".join(told) + (f", {more} more" if more else "")
