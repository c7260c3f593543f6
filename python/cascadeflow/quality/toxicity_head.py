"""The shipped head "basic toxicity": a sentence's vector and its n-grams to a probability.

`benches/fit_toxicity.py` fits it and writes `data/toxicity.bin`; `data/TOXICITY.md` says from what,
how well it does, and where it fails.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import NgramModel
from cascadeflow.quality.heads import Network, Numbers, probability, read_head

if TYPE_CHECKING:
    from cascadeflow._native import Vectors

__all__ = ["HEAD", "ToxicityHead", "read_toxicity_head"]

HEAD: Final = Path(__file__).with_name("data") / "toxicity.bin"
"""The head that is shipped."""

FORMAT: Final = 1


class ToxicityHead:
    """A small network over one sentence model's layered vectors, and weights of hashed n-grams.

    Attributes:
        model: the name of the sentence model whose vectors it reads, as `Embedder.name` gives it.
        ngrams: the n-grams' weights.
    """

    __slots__ = ("_bias", "_network", "_network_weight", "_ngram_weight", "model", "ngrams")

    def __init__(self, header: dict[str, Any], numbers: Numbers) -> None:
        """Use `builtin` or `read_toxicity_head`."""
        self.model: Final[str] = header["model"]
        self._network_weight: Final[float] = float(header["network_weight"])
        self._ngram_weight: Final[float] = float(header["ngram_weight"])
        self._bias: Final[float] = float(header["bias"])
        self._network = Network(numbers, dimension=header["dimension"], hidden=header["hidden"])
        self.ngrams: Final = NgramModel(
            numbers.take(header["buckets"]),
            scale=header["ngram_scale"],
            bias=header["ngram_bias"],
        )

    @staticmethod
    def builtin() -> ToxicityHead:
        """Gives the shipped head, read once a process: some milliseconds.

        Raises:
            ConfigurationError: its file is missing or damaged.
        """
        return _builtin()

    def probability(self, vector: Vectors, ngram_logit: float) -> float:
        """Gives the probability that a text is toxic.

        Args:
            vector: the text's layered vector, of the model that `model` names.
            ngram_logit: what `ngrams` gives for the text.

        Raises:
            InvalidRequestError: the vector is of another dimension.
        """
        return probability(
            self._network_weight * self._network.logit(vector)
            + self._ngram_weight * ngram_logit
            + self._bias
        )

    def __repr__(self) -> str:
        return f"ToxicityHead(over {self.model})"


def read_toxicity_head(path: Path) -> ToxicityHead:
    """Reads a head that `benches/fit_toxicity.py` wrote.

    The file is one line of JSON, then the network as little-endian 16-bit floats, then a signed
    byte for each bucket of n-grams.

    Raises:
        ConfigurationError: the file is missing, damaged or of another format.
    """
    return read_head(path, "toxicity head", FORMAT, ToxicityHead)


@cache
def _builtin() -> ToxicityHead:
    return read_toxicity_head(HEAD)
