"""The checks by models on this machine: relevance, grounding, toxicity, side by side.

Each gives a probability, and what it says is weighed against how often drafts have its fault at
all. A draft is good enough if its text is, *and* it is an answer to the question, *and* its
documents support it: the three probabilities are multiplied.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from cascadeflow.errors import CascadeFlowError, ConfigurationError
from cascadeflow.models.embedding import RequestVectors, SentenceModel
from cascadeflow.models.local_models import pulled_graph
from cascadeflow.models.text_classifier import ClassifierModel
from cascadeflow.quality.documents import asked_beside, documents_of
from cascadeflow.quality.grounding import Grounding
from cascadeflow.quality.relevance import Relevance
from cascadeflow.quality.report import CheckReport
from cascadeflow.quality.toxicity import Toxicity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from cascadeflow.config import QualityConfig
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.embedding import Embedder
    from cascadeflow.quality.findings import Finding
    from cascadeflow.types import ChatRequest

__all__ = ["LackingError", "LocalChecks", "LocalFindings", "holds"]

_Check: TypeAlias = "Callable[[RequestVectors], Awaitable[Finding]]"

OFF_QUESTION: Final = 0.05
"""The share of drafts that answer another question, set by hand: small models seldom do."""

UNSUPPORTED: Final = 0.10
"""The share of drafts with a sentence that their documents do not support, set by hand."""

SILENT_FROM: Final = 0.25
"""From this score on a check has nothing against a draft, and does not count."""

BETWEEN_EQUALS: Final = 0.01
"""By how much an answer that its documents do not support at all lies behind one that they do: of
drafts that are equal otherwise, that the better supported one comes first. Relevance has none: it
likes long answers better than bare ones."""


def holds(score: float, share: float) -> float:
    """The probability that a draft is free of a fault, by a check and by how common the fault is.

    Args:
        score: the check's probability that it is, where the fault is as likely as not.
        share: the share of drafts that have the fault.

    >>> holds(0.9, 0.05), round(holds(0.05, 0.05), 2)
    (1.0, 0.58)
    """

    def free(score: float) -> float:
        found, faulty = score * (1 - share), (1 - score) * share
        return found / (found + faulty) if found > 0 else 0.0

    # What is as it should be is no sign of being right: it does not part good drafts from others.
    return min(1.0, free(score) / free(SILENT_FROM))


@dataclass(frozen=True, slots=True)
class LocalFindings:
    """What the checks came to.

    Attributes:
        checks: a report of each of the three, whether it ran or not.
        share: by what the probability that the draft is good enough is multiplied.
        failed: whether one of them rejects the draft: whatever the threshold.
        missing: whether one that was to run could not: what is not known is not accepted.
        doubts: what makes the share less than 1, in words.
    """

    checks: tuple[CheckReport, ...]
    share: float
    failed: bool
    missing: bool
    doubts: tuple[str, ...] = ()


class LackingError(ConfigurationError):
    """A model that checks need is not on this machine, or is not what it should be.

    Attributes:
        checks: the checks that need it.
    """

    def __init__(self, message: str, checks: tuple[str, ...]) -> None:
        super().__init__(message)
        self.checks = checks


@contextmanager
def _needed_by(*checks: str) -> Generator[None]:
    """Says which checks a model that cannot be had is for."""
    try:
        yield
    except ConfigurationError as error:
        raise LackingError(str(error), checks) from error


class LocalChecks:
    """The models that one configuration needs; they are opened when they are first used."""

    __slots__ = ("_embedder", "_grounding", "_relevance", "_toxicity", "_warmed")

    def __init__(self, config: QualityConfig, embedder: Embedder | None = None) -> None:
        """Finds the models.

        Args:
            config: which checks are to run, and the models of the user's own.
            embedder: makes the vectors; by default all-MiniLM-L6-v2 as it is found here.

        Raises:
            LackingError: a model is not there, or is not what it should be; it says what to do.
        """
        wanted = config.local_checks
        own_toxicity = nli = None
        if "toxicity" in wanted:
            own_toxicity = _classifier(config.toxicity_model, "toxicity")
        if "grounding" in wanted:
            nli = _classifier(config.grounding_model, "grounding")
        self._relevance: Final = Relevance() if "relevance" in wanted else None
        own = {"toxicity": own_toxicity, "grounding": nli}
        with _needed_by("grounding"):  # one of another kind is found out where the check takes it
            self._grounding: Final = Grounding(nli=nli) if "grounding" in wanted else None
        with _needed_by("toxicity"):
            self._toxicity: Final = (
                Toxicity(classifier=own_toxicity) if "toxicity" in wanted else None
            )
        by_vectors = tuple(name for name in wanted if own.get(name) is None)
        needed = bool(by_vectors)
        if embedder is None and needed:
            with _needed_by(*by_vectors):
                embedder = SentenceModel.find()
        self._embedder: Final = embedder
        opened = (embedder if needed else None, nli, own_toxicity)
        self._warmed: Final = [each for each in opened if each is not None]

    async def warm_up(self) -> None:
        """Opens the models now instead of at the first draft, without blocking the event loop.

        Raises:
            ConfigurationError: a file is not what it should be; it says what to do.
        """
        for model in self._warmed:
            if isinstance(model, (SentenceModel, ClassifierModel)):
                await model.warm_up()
            else:
                await model.vectors(["warm"])  # of no text, few that are not ours have vectors

    async def run(
        self,
        request: ChatRequest,
        completion: Completion,
        *,
        config: QualityConfig,
        vectors: RequestVectors | None = None,
    ) -> LocalFindings:
        """Runs the checks that are on, side by side. One that fails to run is reported as `error`.

        Args:
            request: what the drafting model was asked.
            completion: what it answered.
            config: their thresholds, and how long one may take.
            vectors: the request's, where others make them too; of another model than these checks
                were given, they are passed over.
        """
        mine = self._embedder
        if mine is not None and (vectors is None or vectors.name != mine.name):
            vectors = RequestVectors(mine)
        answer = completion.text
        documents = documents_of(request.messages)
        relevance, grounding, toxicity = self._relevance, self._grounding, self._toxicity

        def report(name: str, run: _Check | None) -> Coroutine[Any, Any, CheckReport]:
            return _reported(name, run, vectors, config.check_timeout)

        def to_the_point(question: str) -> Coroutine[Any, Any, CheckReport]:
            # What is said beside a tool call is no answer yet.
            return report(
                "relevance",
                None
                if relevance is None or completion.tool_calls
                else lambda vectors: relevance.check(
                    question, answer, vectors, threshold=config.relevance_threshold
                ),
            )

        async def to_the_point_if_not(supported: Awaitable[CheckReport]) -> CheckReport:
            if (await supported).verdict != "not_applicable":
                return await report("relevance", None)
            return await to_the_point(asked_beside(request.last_user_text, documents))

        supported = asyncio.ensure_future(
            report(
                "grounding",
                None
                if grounding is None or completion.tool_calls
                else lambda vectors: grounding.check(
                    documents, answer, vectors, threshold=config.grounding_threshold
                ),
            )
        )
        # An answer taken from documents has their words, and not those of “summarise this”: whether
        # they support it is the question. That there is nothing to compare shows before any model
        # is asked.
        relevant = (
            to_the_point_if_not(supported)
            if documents and grounding is not None
            else to_the_point(request.last_user_text)
        )
        clean = report(
            "toxicity",
            None
            if toxicity is None
            else lambda vectors: toxicity.check(
                answer, vectors, threshold=config.toxicity_threshold
            ),
        )
        found = tuple(await asyncio.gather(relevant, supported, clean))
        share, doubts = 1.0, []
        supported_by = found[1]
        if supported_by.verdict == "passed":
            share -= BETWEEN_EQUALS * (1 - supported_by.score)
        for check, common in zip(found, (OFF_QUESTION, UNSUPPORTED), strict=False):
            if check.verdict in ("passed", "failed") and check.score < SILENT_FROM:
                share *= holds(check.score, common)
                doubts.append(f"{check.name} is only {check.score:.2f}")
        return LocalFindings(
            checks=found,
            share=share,
            failed=any(check.verdict == "failed" for check in found),
            missing=any(check.verdict == "error" for check in found),
            doubts=tuple(doubts),
        )


async def _reported(
    name: str,
    run: _Check | None,
    vectors: RequestVectors | None,
    seconds: float,
) -> CheckReport:
    """One check's report, whatever it does."""
    if run is None:
        return CheckReport(name=name, verdict="not_applicable", score=1.0)
    began = perf_counter()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            found = await run(cast("RequestVectors", vectors))  # there where they are needed
    except CascadeFlowError as error:
        return _failed_to_run(name, str(error)[:200], began)
    except (Exception, asyncio.CancelledError) as error:  # whatever a model of the user's own does
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # it is the request that is cancelled, and not what a model does for it
        if limit.expired():
            return _failed_to_run(name, f"it took longer than {seconds:g} s", began)
        # Its class alone: the message may quote the text.
        return _failed_to_run(name, f"it raised {type(error).__name__}", began)
    verdict: Literal["passed", "failed", "not_applicable"] = "failed" if found.failed else "passed"
    return CheckReport(
        name=name,
        verdict=verdict if found.applicable else "not_applicable",
        score=found.score,
        reason=found.reason,
        quoted=found.quoted,
        ms=_since(began),
    )


def _failed_to_run(name: str, why: str, began: float) -> CheckReport:
    return CheckReport(
        name=name, verdict="error", score=0.0, reason=f"it could not run: {why}", ms=_since(began)
    )


def _since(began: float) -> float:
    return (perf_counter() - began) * 1000


def _classifier(named: str | None, check: str) -> ClassifierModel | None:
    """A model of the user's own: by its path where there is such a file, else as it was pulled."""
    if named is None:
        return None
    place = Path(named).expanduser()
    if not place.exists() and _is_path(named):
        raise LackingError(f"there is no such file or folder: {place}", (check,))
    with _needed_by(check):
        return ClassifierModel.find(place if place.exists() else pulled_graph(named))


def _is_path(named: str) -> bool:
    """Whether a text is written as no model of the hub, `org/name@revision`, is."""
    repository = named.partition("@")[0]
    return (
        named.startswith((".", "~", "/"))
        or Path(named).is_absolute()
        or "\\" in named
        or repository.count("/") > 1
        or named.endswith((".onnx", "/"))
    )
