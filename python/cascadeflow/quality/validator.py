"""Who judges a draft: the promise, and the built-in judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cascadeflow.errors import ConfigurationError
from cascadeflow.quality.calibration import settled
from cascadeflow.quality.confidence import Confidence, judge_confidence
from cascadeflow.quality.opinions import Opinions, second_opinions
from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.rules import REJECTED, TextJudgement, judge_text
from cascadeflow.quality.tool_calls import judge_tool_calls

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cascadeflow.config import QualityConfig, QualityMode
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.embedding import Embedder, RequestVectors
    from cascadeflow.quality.calibration import Calibration
    from cascadeflow.quality.local import LocalChecks, LocalFindings
    from cascadeflow.quality.opinions import Adviser
    from cascadeflow.types import ChatRequest

__all__ = ["CascadeValidator", "RuleValidator", "Validator", "takes_a_while"]

_LONG: Final = 30_000
_LONG_WITH_CODE: Final = 1_000
"""Characters of a text from which reading it may take milliseconds: plain, and with code in it."""


class Validator(Protocol):
    """Judges drafts; pass one of your own as `CascadeAgent(validator=…)`.

    A validator that raises accepts nothing: the pipeline reports the failure as a failed check
    named `validator`, and the verifier is asked. It never counts as a pass.
    """

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport | Awaitable[QualityReport]:
        """Judges whether a completion is good enough for the request, at once or as a coroutine.

        Args:
            request: what the drafting model was asked.
            completion: what it answered.
            config: the mode, and the threshold that `score` must reach to be accepted.

        Returns:
            The report; its `accepted` decides.
        """


class RuleValidator:
    """Judges by text rules alone, in microseconds, whatever the mode; holds no state.

    >>> import asyncio
    >>> from cascadeflow.config import QualityConfig
    >>> from cascadeflow.models.completion import Completion
    >>> from cascadeflow.types import ChatRequest, Message
    >>> request = ChatRequest("a-model", (Message("user", "What is the capital of France?"),))
    >>> draft = Completion(text="I'm sorry, but I can't help with that.", finish_reason="stop")
    >>> asyncio.run(RuleValidator().judge(request, draft, config=QualityConfig())).accepted
    False
    """

    __slots__ = ()

    async def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Judges by the rules of `cascadeflow.quality.rules`, and checks tool calls.

        Calls that cannot be made and JSON that does not fit what was asked for are rejected
        whatever the threshold.
        """
        config, calibration = settled(config) if config.mode == "fast" else (config, None)
        text = _read(request, completion, without=config.without)
        return _report(text, config, calibration, mode="fast")


class CascadeValidator:
    """The built-in judge: text rules; models on this machine; second opinions by other models.

    Mode `fast` takes the first, `balanced` the first two, `strict` all three. What one of them
    condemns is not shown to the next.
    """

    __slots__ = ("_embedder", "_local")

    def __init__(self, embedder: Embedder | None = None) -> None:
        """Prepares the judge; no model is opened.

        Args:
            embedder: makes the vectors for the checks by local models; by default
                all-MiniLM-L6-v2 as it is found on this machine. The shipped heads read no others.
        """
        self._embedder = embedder
        self._local: dict[tuple[object, ...], LocalChecks] = {}

    def local_checks(self, config: QualityConfig) -> LocalChecks | None:
        """Finds the models that a configuration needs; `None` where it needs none.

        Raises:
            ConfigurationError: one is not there; it says what to do.
        """
        wanted = config.local_checks
        if config.mode == "fast":
            return None
        key = (wanted, config.toxicity_model, config.grounding_model)
        found = self._local.get(key)
        if found is None:
            from cascadeflow.quality.local import (  # noqa: PLC0415 - off costs nothing
                LackingError,
                LocalChecks,
            )

            try:
                found = self._local[key] = LocalChecks(config, self._embedder)
            except LackingError as error:
                lacking, off = ", ".join(error.checks), (*config.without, *error.checks)
                raise ConfigurationError(
                    f"quality mode {config.mode} checks {lacking} by models on this machine: "
                    f"{error}. Or turn off what needs it: QualityConfig.{config.mode}("
                    f"without={off!r})"
                ) from error
        return found

    def judge_text(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Judges by the text alone, at once, whatever the mode."""
        config, calibration = settled(config)
        text = _read(request, completion, without=config.without)
        return _report(text, config, calibration, mode="fast")

    async def judge_text_aside(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Does what `judge_text` does; a text that takes a while is read on a thread."""
        if not takes_a_while(request, completion):
            return self.judge_text(request, completion, config=config)
        return await asyncio.to_thread(self.judge_text, request, completion, config=config)

    async def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        """Judges without asking other models; mode `strict` then accepts nothing."""
        return await self.judge_with(request, completion, config=config, adviser=None)

    async def judge_with(
        self,
        request: ChatRequest,
        completion: Completion,
        *,
        config: QualityConfig,
        adviser: Adviser | None,
        vectors: RequestVectors | None = None,
    ) -> QualityReport:
        """Judges whether a completion is good enough for the request.

        Args:
            request: what the drafting model was asked.
            completion: what it answered.
            config: the mode, and the threshold.
            adviser: asks models for second opinions; `None` where nobody can be asked.
            vectors: the request's vectors, where others make them too.

        Raises:
            ConfigurationError: a model that the mode needs is not on this machine.
        """
        config, calibration = settled(config)
        if takes_a_while(request, completion):
            text = await asyncio.to_thread(_read, request, completion, without=config.without)
        else:
            text = _read(request, completion, without=config.without)
        if text.unfit or text.judgement.rejected:
            return _report(text, config, calibration, mode=config.mode)
        local = None
        checks = self.local_checks(config)
        if checks is not None:
            local = await checks.run(request, completion, config=config, vectors=vectors)
        # Two models that call a tool differently may both be right; the call itself is checked.
        condemned = local is not None and (local.failed or local.missing)
        if config.mode != "strict" or condemned or completion.tool_calls:
            return _report(text, config, calibration, mode=config.mode, local=local)
        if adviser is None:
            missing = CheckReport(
                name="opinions", verdict="error", score=0.0, reason="nobody can be asked here"
            )
            opinions = Opinions(0.0, (missing,), heard=False)
        else:
            opinions = await second_opinions(
                _probability(text, local, calibration),
                request,
                completion,
                config=config,
                adviser=adviser,
                calibration=calibration,
            )
        return _report(text, config, calibration, mode=config.mode, local=local, opinions=opinions)


def takes_a_while(request: ChatRequest, completion: Completion) -> bool:
    """Whether reading the texts may take milliseconds, in which an event loop would stand still.

    A megabyte takes a tenth of a second, and so may code that was written to be hard to parse.
    """
    length = len(completion.text)
    return (
        length > _LONG
        or (length > _LONG_WITH_CODE and "```" in completion.text)
        or len(request.last_user_text) > _LONG
    )


class _Read(NamedTuple):
    """What the text says.

    Attributes:
        judgement: what the rules make of it.
        confidence: how sure the model was of its words.
        checks: of both, and of the tool calls.
        unfit: whether a program that reads the answer could not.
    """

    judgement: TextJudgement
    confidence: Confidence
    checks: tuple[CheckReport, ...]
    unfit: bool


def _read(
    request: ChatRequest,
    completion: Completion,
    *,
    without: tuple[str, ...],
) -> _Read:
    text = judge_text(
        request.last_user_text,
        completion.text,
        instructions="\n".join(
            message.text for message in request.messages if message.role in ("system", "developer")
        ),
        finish_reason=completion.finish_reason,
        refusal=completion.refusal,
        response_format=request.response_format,
        calls_tools=bool(completion.tool_calls),
        has_reasoning=bool(completion.reasoning),
        without=without,
    )
    tool_calls = judge_tool_calls(
        completion.tool_calls, request.tools, required=request.tool_choice
    )
    # What a program is to read must be readable: no threshold makes up for that.
    unfit = tool_calls.verdict == "failed" or (
        request.response_format is not None
        and any(check.name == "format" and check.verdict == "failed" for check in text.checks)
    )
    confidence = judge_confidence(completion, without=without)
    return _Read(text, confidence, (*text.checks, confidence.check, tool_calls), unfit)


def _probability(
    text: _Read, local: LocalFindings | None, calibration: Calibration | None
) -> float:
    """The probability that a draft is good enough, but for second opinions."""
    if calibration is not None:  # was fitted to a log that says nothing of how sure a model was
        return calibration.probability_of(text.judgement, local)
    share = 1.0 if local is None else local.share
    return text.confidence.weighed(text.judgement.probability * share)


def _report(
    text: _Read,
    config: QualityConfig,
    calibration: Calibration | None,
    *,
    mode: QualityMode,
    local: LocalFindings | None = None,
    opinions: Opinions | None = None,
) -> QualityReport:
    score, checks = _probability(text, local, calibration), text.checks
    stopped = ""  # why no threshold counts
    if local is not None:
        checks = (*checks, *local.checks)
        if local.failed or local.missing:
            stopped = "no threshold makes up for that"
    if opinions is not None:
        score, checks = opinions.probability, (*checks, *opinions.checks)
        if not opinions.heard:
            stopped = "no second opinion could be had"
    if text.unfit:
        score, stopped = min(score, REJECTED), "no threshold makes up for that"
    reaches = score >= config.threshold
    accepted = reaches and not stopped
    # A second opinion that could not be had matters only where there was no other.
    told = ("failed", "error", "not_applicable") if stopped else ("failed",)
    why = [
        f"{check.name}: {check.reason}"
        for check in checks
        if check.verdict in told and (check.reason or check.verdict == "failed")
    ]
    if not why and not accepted:
        why = [*text.judgement.doubts(), *(() if local is None else local.doubts)]
        why += text.confidence.doubts() if calibration is None else ()
    sides = f"{score:.2f} {'reaches' if reaches else 'is below'} {config.threshold:.2f}"
    if reaches and stopped:
        sides = stopped
    return QualityReport(
        mode=mode,
        score=score,
        threshold=config.threshold,
        accepted=accepted,
        reason=f"{'; '.join(why) or 'no check failed'}; {sides}",
        checks=checks,
    )
