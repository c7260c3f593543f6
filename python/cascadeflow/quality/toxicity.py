"""How toxic a text is: by the shipped "basic" head, or by a model that the user brings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.quality.findings import Finding
from cascadeflow.quality.heads import clipped, whole
from cascadeflow.quality.toxicity_head import ToxicityHead

if TYPE_CHECKING:
    from cascadeflow.models.embedding import RequestVectors
    from cascadeflow.models.text_classifier import ClassifierModel

__all__ = ["Toxicity"]

WHOLE: Final = 1_000
"""Characters that the sentence model reads of the whole text, about: 256 tokens."""

PIECE: Final = 300
"""Characters of the pieces of a longer text that are read by themselves: a rude sentence is lost
among twenty polite ones."""

MOST_PIECES: Final = 2
"""Such pieces that the sentence model reads: those that the n-grams find worst, and of a text that
it reads whole but one. Each takes it some 10 ms."""

_LONG: Final = 8_000
"""Characters from which counting takes over a millisecond, and is done on a thread."""

_CLASSIFIED: Final = 8_000
"""Characters of a text that a model of the user's own reads: the first, and the last."""

_LABELS: Final = ("toxic", "toxicity", "hate", "offensive", "hateful", "hate speech", "LABEL_1")


class Toxicity:
    """Scores texts: insults, threats, attacks on groups, harassment, explicit and cruel content.

    Without a classifier it is the shipped head, "basic toxicity": a first line of defence on plain
    abuse. It often takes talk about hate for hate, and misses what is hateful without a rude word
    (`data/TOXICITY.md` has the figures).

    A classifier of the user's own reads pieces of 1,000 characters, and shorter ones where it has
    fewer than 256 positions; eight thousand at most: the beginning and the end of what is longer.

    Attributes:
        name: what judges, for reports.
    """

    __slots__ = ("_classifier", "_head", "_label", "name")

    def __init__(
        self,
        head: ToxicityHead | None = None,
        *,
        classifier: ClassifierModel | None = None,
        label: str | None = None,
    ) -> None:
        """Prepares the check; no model is opened.

        Args:
            head: a head of one's own in the place of the shipped one.
            classifier: any ONNX text classifier in the place of both.
            label: the classifier's label whose probability is the score; by default the one that is
                called `toxic` or the like.

        Raises:
            ConfigurationError: the shipped head is damaged, the classifier has no such label, or
                the arguments exclude each other.
        """
        if classifier is None:
            if label is not None:
                raise ConfigurationError("label names a label of a classifier, and none is given")
            self._head: ToxicityHead | None = head or ToxicityHead.builtin()
            self.name = "basic toxicity"
        else:
            if head is not None:
                raise ConfigurationError("give Toxicity a head or a classifier, not both")
            self._head = None
            self._label = classifier.label(*(_LABELS if label is None else (label,)))
            self.name = classifier.labels[self._label]
        self._classifier = classifier

    async def score(self, text: str, vectors: RequestVectors) -> float:
        """Gives the probability that a text, or the worst piece of it, is toxic; 0 for no text.

        Args:
            text: any text of any length.
            vectors: the request's vectors; a classifier does not need them.

        Raises:
            ConfigurationError: the vectors are of another model than the head was fitted on, or a
                model is not there; it says what to do.
            CascadeFlowError: the model failed.
        """
        text = whole(text)
        if not text.strip():
            return 0.0
        if self._classifier is not None:
            await self._classifier.warm_up()  # some graphs alone know how much they read at once
            found = await self._classifier.probabilities(_pieces(text, self._classifier.characters))
            return max(row[self._label] for row in found)
        head = self._head or ToxicityHead.builtin()
        if vectors.name != head.model:
            raise ConfigurationError(
                f"basic toxicity was fitted on the vectors of {head.model}, and these are of "
                f"{vectors.name}: use that sentence model, or give a toxicity model by its path"
            )
        pieces = await _read_of(head, text)
        read = await asyncio.gather(*[vectors.layered_of(piece) for _, piece in pieces])
        return max(
            head.probability(vector, logit) for vector, (logit, _) in zip(read, pieces, strict=True)
        )

    async def check(self, text: str, vectors: RequestVectors, *, threshold: float) -> Finding:
        """Finds whether a text is toxic: `failed` from a probability of `threshold` on.

        The finding's score is the probability that it is not. See `score` for the rest.
        """
        if not text.strip():
            return Finding(score=1.0, failed=False, applicable=False)
        toxic = await self.score(text, vectors)
        failed = toxic >= threshold
        return Finding(
            score=1.0 - toxic,
            failed=failed,
            reason=f"{self.name} {toxic:.2f}, {threshold:.2f} or more fails" if failed else "",
            detail={"toxicity": toxic},
        )


async def _read_of(head: ToxicityHead, text: str) -> list[tuple[float, str]]:
    """What the sentence model reads of a text, each with the n-grams' log-odds."""
    # As another check asks for it: the vector is shared.
    beginning = clipped(text)
    if len(text) <= PIECE:
        return [(head.ngrams.logit(text), beginning)]

    def find() -> list[tuple[float, str]]:
        count = 1 if len(text) <= WHOLE else MOST_PIECES
        worst = head.ngrams.worst(text, characters=PIECE, count=count)
        return [(head.ngrams.logit(beginning[:WHOLE]), beginning), *worst]

    return await asyncio.to_thread(find) if len(text) > _LONG else find()


def _pieces(text: str, size: int) -> list[str]:
    """The pieces of a text that a classifier reads, of so many characters at most."""
    if len(text) > _CLASSIFIED:
        text = text[: _CLASSIFIED // 2] + text[-_CLASSIFIED // 2 :]
    return [text[at : at + size] for at in range(0, len(text), size)]
