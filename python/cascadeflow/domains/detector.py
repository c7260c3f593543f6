"""The detector: layer after layer, until one is sure what a request is about.

Rules first, for they take microseconds; then the sentence model, with the rules' evidence beside
its vector; then, where it was switched on, a model is asked, which is the pipeline's to do. A layer
that is not sure passes on. Domains that a user made by examples are known to the sentence model
only, so with any of these it is asked each time.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from cascadeflow.domains.aside import Aside
from cascadeflow.domains.records import GENERAL, Detection, LayerReport
from cascadeflow.domains.registry import DomainRegistry
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.errors import CascadeFlowError, ConfigurationError, InvalidRequestError
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cascadeflow._native import Vectors
    from cascadeflow.domains.examples import ExampleRoutes
    from cascadeflow.domains.registry import Domain
    from cascadeflow.domains.semantic import SemanticHead
    from cascadeflow.models.embedding import Embedder, RequestVectors

__all__ = ["DomainDetector", "SemanticOption"]

SemanticOption: TypeAlias = "bool | Literal['auto'] | Embedder"
"""Whether the sentence model is used: `auto` where it is installed, or one of yours."""

_logger: Final = logging.getLogger(__name__)

_ALSO: Final = 0.25
"""The least probability at which a further domain is named beside the likeliest."""

_READ: Final = 64 * 1024
"""Characters of a request that are read, half of them from each end: what it asks stands there, and
the sentence model reads 256 tokens anyway."""


class _Readers(NamedTuple):
    """What reads a request's vector.

    Attributes:
        head: tells the built-in domains apart; `None` where it does not know the sentence model.
        picks: which numbers of the rules' evidence it reads.
        why_not: why there is none.
        routes: knows the user's own domains; `None` where there are none.
    """

    head: SemanticHead | None
    picks: tuple[int, ...]
    why_not: str
    routes: ExampleRoutes | None


class DomainDetector:
    """Says what requests are about. Safe to use from many threads and event loops.

    >>> DomainDetector(semantic=False).detect_by_rules("Translate into German: It rains.").layer
    'rules'
    """

    def __init__(
        self,
        domains: Iterable[Domain] | DomainRegistry = (),
        *,
        rules: RuleLayer | None = None,
        semantic: SemanticOption = "auto",
    ) -> None:
        """Sets the layers up; nothing is loaded that is not needed at once.

        Args:
            domains: domains of your own, and how built-in ones are routed.
            rules: the first layer, where it has rules of your own.
            semantic: `True` needs the sentence model, and says so here where it is missing;
                `"auto"` does without; `False` never uses it; an `Embedder` is used in its place.

        Raises:
            ConfigurationError: the sentence model is needed and cannot be had.
        """
        self.registry = domains if isinstance(domains, DomainRegistry) else DomainRegistry(domains)
        self.rules = RuleLayer.builtin() if rules is None else rules
        self._semantic = semantic
        self._by_example = self.registry.by_example
        if self._by_example and semantic is False:
            raise ConfigurationError(
                f"the domain {self._by_example[0].name!r} is known by its examples, which takes "
                "the sentence model: leave semantic=False out"
            )
        self._lock = threading.Lock()
        _detectors.add(self)
        self._embedder: Embedder | None = None
        self._looked = False
        self._missing: str | None = None  # why the sentence model cannot be had
        self._readers: _Readers | None = None
        self._aside = Aside(1, "cascadeflow-domains")
        if semantic is True or self._by_example:
            self.embedder()  # raises now rather than at the first request

    @property
    def names(self) -> frozenset[str]:
        """Every domain that a request can be found, or said, to be about."""
        return DOMAINS.union(self.registry, self.rules.domains)

    def embedder(self) -> Embedder | None:
        """Gives the sentence model; `None` where the detector does without.

        Raises:
            ConfigurationError: it is needed and cannot be had.
        """
        if self._semantic is False:
            return None
        if not self._looked:
            with self._lock:
                if not self._looked:
                    self._find()
                    self._looked = True
        return self._embedder

    def _find(self) -> None:
        if not isinstance(self._semantic, (bool, str)):
            self._embedder = self._semantic
            return
        from cascadeflow.models.embedding import SentenceModel  # noqa: PLC0415 - off costs nothing

        try:
            self._embedder = SentenceModel.find()
        except ConfigurationError as error:
            if self._semantic is True or self._by_example:
                raise
            self._missing = str(error)
            _logger.info("domains are detected by rules alone: %s", error)

    def vectors(self) -> RequestVectors | None:
        """Gives what makes one request's vectors, each text's once; `None` without the model."""
        embedder = self.embedder()
        if embedder is None:
            return None
        from cascadeflow.models.embedding import RequestVectors  # noqa: PLC0415 - off costs nothing

        return RequestVectors(embedder)

    async def detect(self, text: str, vectors: RequestVectors | None = None) -> Detection:
        """Says what a request is about, by the layers that cost no money.

        Args:
            text: the request. Half of a surrogate pair is read as a question mark.
            vectors: the request's vectors, where others use them too; made here otherwise.

        Returns:
            What it is about. Where the sentence model fails at this one text, or for once, the
            rules decide, and the layer's report says why.

        Raises:
            ConfigurationError: the sentence model is needed and cannot be loaded, or the examples
                of a domain cannot be read by it.
        """
        text = _read(text)
        rules = self._by_rules(text)
        if (rules.answered and not self._by_example) or not text.strip():
            return _answer((rules,))
        embedder = self.embedder()
        if embedder is None:
            return _answer((rules,) if self._missing is None else (rules, _failed(self._missing)))
        began = perf_counter()
        if vectors is None:
            from cascadeflow.models.embedding import RequestVectors  # noqa: PLC0415 - off costs nothing

            vectors = RequestVectors(embedder)
        try:
            layered = await vectors.layered_of(text)
            vector = await vectors.vector_of(text)
            await self._read_heads_aside(embedder)
        except ConfigurationError as error:
            if self._semantic is True or self._by_example:
                raise
            self._missing, self._embedder = str(error), None
            _logger.warning("domains are detected by rules alone from now on: %s", error)
            return _answer((rules, _failed(self._missing)))
        except Exception as error:  # noqa: BLE001 - whatever an embedder of the user's own raises
            return _answer((rules, _failed(_told(error), ms=_since(began))))
        readers = self._readers
        assert readers is not None  # noqa: S101 - for mypy: that set them
        ms = _since(began)
        try:
            return self._by_vector(text, rules, readers, vector=vector, layered=layered, ms=ms)
        except Exception as error:  # noqa: BLE001 - it is no vector, or has another dimension
            return _answer((rules, _failed(_told(error), ms=ms)))

    def _by_vector(
        self,
        text: str,
        rules: LayerReport,
        readers: _Readers,
        *,
        vector: Vectors,
        layered: Vectors,
        ms: float,
    ) -> Detection:
        """Says what a request is about by its vector, and by what the rules make of it."""
        layers = [rules]
        if readers.routes is not None:
            layers.append(readers.routes.report(vector, ms=ms))
            if layers[-1].answered or rules.answered:
                return _answer(tuple(layers), by=layers[-1] if layers[-1].answered else rules)
        if readers.head is None:
            return _answer((*layers, _failed(readers.why_not)))
        evidence = self.rules.evidence(text)
        layers.append(readers.head.report(layered, [evidence[at] for at in readers.picks], ms=ms))
        return _answer(tuple(layers), also=readers.head.also)

    async def warm_up(self) -> None:
        """Opens the sentence model and what reads its vectors, instead of at the first request.

        Raises:
            ConfigurationError: it is needed and cannot be loaded.
        """
        embedder = self.embedder()
        if embedder is None:
            return
        await embedder.vectors(["warm"])
        await self._read_heads_aside(embedder)

    async def _read_heads_aside(self, embedder: Embedder) -> None:
        if self._readers is None:  # some milliseconds, and some for each example
            try:
                await self._aside.run(lambda: self._read_heads(embedder))
            finally:
                self._aside.rest()

    def detect_by_rules(self, text: str) -> Detection:
        """Says what a request is about by the first layer alone; waits for nothing."""
        return _answer((self._by_rules(_read(text)),))

    def _by_rules(self, text: str) -> LayerReport:
        return self.rules.report(text)

    def _read_heads(self, embedder: Embedder) -> None:
        """Loads what reads vectors, once."""
        with self._lock:
            if self._readers is not None:
                return
            from cascadeflow.domains.examples import ExampleRoutes  # noqa: PLC0415 - off costs nothing
            from cascadeflow.domains.semantic import SemanticHead  # noqa: PLC0415

            head: SemanticHead | None = SemanticHead.builtin()
            picks: tuple[int, ...] = ()
            why_not = ""
            if head is not None and head.model != embedder.name:
                why_not = (
                    f"the built-in domains are read off vectors of {head.model}, not of "
                    f"{embedder.name}: rules decide, and your own domains by their examples"
                )
                _logger.warning("%s", why_not)
                head = None
            if head is not None:
                places = {name: at for at, name in enumerate(self.rules.evidence_names)}
                picks = tuple([places[name] for name in head.evidence_names])
            try:
                routes = ExampleRoutes(self._by_example, embedder) if self._by_example else None
            except InvalidRequestError as error:
                names = ", ".join(domain.name for domain in self._by_example)
                raise ConfigurationError(
                    f"{embedder.name} cannot read an example of the domains {names}: {error}"
                ) from error
            self._readers = _Readers(head, picks, why_not, routes)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # a thread that is not here may have held it


_detectors: Final[weakref.WeakSet[DomainDetector]] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_detectors):
        each._after_fork()  # noqa: SLF001 - its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _read(text: str) -> str:
    """Gives what is read of a text."""
    if len(text) > _READ:
        text = f"{text[: _READ // 2]}\n{text[-_READ // 2 :]}"
    # What is no character has no UTF-8, which is what the layers read.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _told(error: Exception) -> str:
    """Says why the sentence model failed at a request, here and in the log."""
    kind = type(error).__name__
    _logger.warning("the sentence model failed at a request, and rules decide: %s", kind)
    # Words that are not ours may quote the request, which must not get into a result's reasons.
    return f"{kind}: {error}" if isinstance(error, CascadeFlowError) else kind


def _since(began: float) -> float:
    return (perf_counter() - began) * 1000


def _failed(why: str, *, ms: float = 0.0) -> LayerReport:
    return LayerReport(
        layer="semantic", probabilities=(), answered=False, threshold=1.0, ms=ms, error=why
    )


def _answer(
    layers: tuple[LayerReport, ...], *, by: LayerReport | None = None, also: float = _ALSO
) -> Detection:
    """Takes the word of the last layer that answered; nobody's word is `general`."""
    if by is None:
        by = next((each for each in reversed(layers) if each.answered), None)
    if by is None:
        last = next((each for each in reversed(layers) if each.probabilities), None)
        likely = () if last is None else last.probabilities[:3]
        return Detection(
            domain=GENERAL, confidence=None, layer="none", domains=likely, layers=layers
        )
    first, confidence = by.probabilities[0]
    others = tuple([each for each in by.probabilities[1:] if each[1] >= also])
    return Detection(
        domain=first,
        confidence=confidence,
        layer=by.layer,
        domains=((first, confidence), *others),
        layers=layers,
    )
