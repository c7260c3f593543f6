"""The Rust side's counting for the checks by local models: part of `cascadeflow._native`."""

from collections.abc import Sequence
from typing import final

RELEVANCE_MEASURES: tuple[str, ...]
"""The names of what `relevance_measures` gives."""

GROUNDING_MEASURES: tuple[str, ...]
"""The names of what `grounding_claims` counts of a sentence."""

@final
class NgramModel:
    """A linear model over hashed character and word n-grams.

    The log-odds of a text are `bias` plus `scale` times the sum of its distinct n-grams' weights,
    over the root of their number.

    Args:
        weights: a signed byte a bucket; as many as a power of two.

    Raises:
        ValueError: there are other than a power of two.
    """

    def __new__(cls, weights: bytes, *, scale: float, bias: float) -> NgramModel: ...
    def logit(self, text: str, /) -> float:
        """The log-odds of a text; 0.1 ms a kilobyte."""

    def worst(self, text: str, /, *, characters: int, count: int) -> list[tuple[float, str]]:
        """The `count` pieces of a text with the highest log-odds, highest first, with these.

        The text is cut at the ends of sentences into pieces of at most `characters`.
        """

def ngram_features(text: str, /) -> list[int]:
    """The 64-bit hashes of a text's distinct n-grams, sorted; the low bits tell the bucket."""

def relevance_measures(question: str, answer: str, /) -> list[float]:
    """What an answer has of its question, as `RELEVANCE_MEASURES` names it; each 0 to 1."""

def grounding_claims(
    documents: Sequence[str], answer: str, /
) -> list[tuple[str, list[float], list[str], list[str]]]:
    """The sentences of an answer that state something, and what the documents have of them.

    Each with its measures as `GROUNDING_MEASURES` names them, 0 to 1; the sentences of the
    documents that share most with it, three at most, best first; and some numbers and names of it
    that stand nowhere in them. Of a sentence 2,000 characters are given; 400 are looked at.
    """
