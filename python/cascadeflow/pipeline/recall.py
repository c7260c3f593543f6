"""Answers to exact repeats: what is kept, under which key, and the result that they make again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cascadeflow.cache.answer import CachedAnswer
from cascadeflow.cache.key import cache_key, fingerprint, scope_of
from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError
from cascadeflow.money import from_usd
from cascadeflow.pipeline.report import (
    about,
    attempts_of,
    budget_report,
    experiment_report,
    spoken,
    tier_report,
    timing_report,
    used_by,
)
from cascadeflow.pipeline.result import CascadeResult, RoutingReport
from cascadeflow.pipeline.settle import price_alone, recalled_cost
from cascadeflow.pipeline.turns import read_answer
from cascadeflow.quality.calibration import settled
from cascadeflow.quality.report import QualityReport
from cascadeflow.types import ChatRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.cache.key import CacheKey, CacheScope
    from cascadeflow.cache.protocol import ResponseCache
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call

__all__ = ["Recall", "recalled"]

_logger: Final = logging.getLogger(__name__)


class Recall:
    """An agent's cache, and what it needs to use it.

    A cache that cannot be read or written costs money, but never an answer: it is logged, and the
    request goes its way.
    """

    __slots__ = ("_cache", "_configuration", "_default_output", "_owned", "_scope", "always")

    def __init__(
        self,
        cache: ResponseCache,
        *,
        always: bool,
        owned: bool,
        scope: CacheScope,
        models: Sequence[ModelConfig],
        validator: object,
        default_output: int | None,
    ) -> None:
        """Notes what decides, besides the request and its plan, what an answer is.

        Args:
            cache: where answers are kept.
            always: whether it answers whenever it can, or only when a budget has run out.
            owned: whether it was opened for this agent, which then closes it.
            scope: who shares answers.
            models: the agent's.
            validator: who judges drafts.
            default_output: the `max_tokens` that a budget sends where nobody else says anything.
        """
        self.always = always
        self._owned = owned
        self._cache = cache
        self._scope = scope
        self._default_output = default_output
        self._configuration = fingerprint(
            {
                "models": [
                    [
                        model.id,
                        model.base_url,
                        model.headers,  # a gateway is told by them whom to ask
                        model.system_prompt,
                        model.temperature,
                        model.max_tokens,
                        model.extra,
                    ]
                    for model in models
                ],
                "validator": f"{type(validator).__module__}.{type(validator).__qualname__}",
            }
        )

    def _key(self, run: Run) -> CacheKey | None:
        request, plan, spender = run.request, run.planned, run.spender
        chat = ChatRequest(
            model="",
            messages=request.messages,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            stop=request.stop,
            seed=request.seed,
            tools=request.tools,
            tool_choice=request.tool_choice,
            response_format=request.response_format,
            extra=request.extra,
        )
        lines = (plan.drafters, plan.verifiers, plan.fallbacks)
        line = [[model.id for model in line] for line in lines]
        quality: list[str | float] = [run.quality.mode, run.quality.threshold]
        if run.quality.calibration is not None:
            try:
                quality = [str(each) for each in settled(run.quality)]  # what its file says now
            except ConfigurationError:
                return None  # judging a draft will say what is wrong
        elif run.quality.mode != "fast" or run.quality.without:  # where nothing else matters
            quality = [str(run.quality)]
        default = self._default_output if run.enforces else None
        arm = "" if run.trial is None else run.trial.arm.key
        try:
            return cache_key(
                chat,
                configuration=f"{self._configuration} {plan.route} {line} {quality} {default}{arm}",
                scope=scope_of(
                    run.cache_scope or self._scope, user_id=spender.user_id, team=spender.team
                ),
            )
        except InvalidRequestError:
            return None  # something in it is no JSON: it is never the same as another one

    async def look_up(self, run: Run) -> CachedAnswer | None:
        """Gives the answer that the same request was given before, if it is known."""
        # What tools do is not done again by an answer that was given before.
        key = self._key(run) if run.use_cache and run.loop is None else None
        if key is None:
            return None
        try:
            return _readable(run, await self._cache.get(key, now=run.created))
        except StoreError as error:
            _logger.warning("the cache cannot be read, and the request goes on: %s", error)
        except Exception as error:  # noqa: BLE001 - whatever a user's own cache raises
            # The class only: the message may quote what is cached, which must not reach a log.
            _logger.warning("the cache raised %s, and the request goes on", type(error).__name__)
        return None

    async def remember(self, run: Run, answer: Call, result: CascadeResult) -> None:
        """Keeps an answer, unless a budget made it a lesser one, or it is not what was asked."""
        rejected = answer.role == "draft" and result.quality.accepted is not True
        # Whether it is good enough is not known yet, and nobody comes back to it.
        rejected = rejected or result.late_quality is not None
        rejected = rejected or result.parse_problem is not None
        if run.budget_action != "none" or rejected or not run.use_cache or run.loop is not None:
            return
        kept = CachedAnswer.of(
            answer.reply.completion,
            model=answer.model.id,
            created=run.created,
            usage=answer.reply.completion.usage,  # by it the verifier's price is reckoned later
            nanodollars=None if result.cost.total is None else from_usd(result.cost.total),
        )
        key = None if kept is None else self._key(run)
        if kept is None or key is None:
            return
        try:
            await self._cache.put(key, kept, now=run.created)
        except StoreError as error:
            _logger.warning("an answer could not be cached: %s", error)
        except Exception as error:  # noqa: BLE001 - the answer is there and paid for
            _logger.warning("an answer could not be cached: %s", type(error).__name__)

    async def aclose(self) -> None:
        """Lets go of the cache's files and threads, unless it is its owner's to close."""
        if self._owned:
            await self._cache.aclose()


def recalled(run: Run, answer: CachedAnswer) -> CascadeResult:
    """Makes the result of an answer that was given before, at no cost. Nobody is told yet."""
    alone = price_alone(run.baseline, answer.usage, run.created)
    model = answer.model
    plan = run.planned
    parsed = None
    if run.schema is not None:
        parsed = read_answer(run.schema, answer.text, answer.tool_calls)
    by_model, usage = used_by(run.calls)  # what finding out what it is about used, if it did
    return CascadeResult(
        content=answer.text,
        request_id=run.request_id,
        created=run.created,
        finish_reason=answer.finish_reason,
        tool_calls=answer.tool_calls,
        parsed=None if parsed is None else parsed.value,
        reasoning=answer.reasoning,
        streamed=run.streamed,
        cost=recalled_cost(run.tried, alone=alone),
        quality=QualityReport(),
        routing=RoutingReport(
            route="cache",
            reason=f"asked before: answered at {answer.created.isoformat()}",
            complexity=plan.complexity,
            complexity_score=plan.complexity_score,
            draft_model=plan.draft_model,
            verifier_model=plan.verifier_model,
            model_used=model,
            provider_used=model.partition(":")[0],
            escalated=False,
            **about(run),
        ),
        budget=budget_report(run, None),
        tier=tier_report(run),
        experiment=experiment_report(run),
        timing=timing_report(run),
        usage=usage,
        usage_by_model=by_model,
        attempts=attempts_of(run),
        response_ids={model: answer.response_id},
        conversation=spoken(run),
    )


def _readable(run: Run, answer: CachedAnswer | None) -> CachedAnswer | None:
    """Passes over what is not what was asked: types with one schema may have other validators."""
    if answer is None or run.schema is None:
        return answer
    read = read_answer(run.schema, answer.text, answer.tool_calls)
    return answer if read.problem is None else None
