"""The first station: who asks, which tier that is, and what it lets them do.

Nothing has been held and nobody asked before a request has passed here: its tier's features and
domains, its models, its largest `max_tokens`, and its rate limits. What the tier changes is changed
in the run itself, so that every later station, the cache's key included, sees only what is allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError, InvalidRequestError, TierForbiddenError
from cascadeflow.models.tokens import count_request, countable_bound
from cascadeflow.pipeline import events
from cascadeflow.pipeline.limits import stated_limit
from cascadeflow.tiers.config import FEATURES

if TYPE_CHECKING:
    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.request import Request
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.tiers.config import Feature, TierConfig
    from cascadeflow.tiers.directory import Membership
    from cascadeflow.tiers.gate import Entry, Tiers

__all__ = ["admit", "extend", "leave"]

_ASSUMED_OUTPUT: Final = 1024
"""Tokens that a call without any limit is reckoned to answer with, until it is known."""

_HARMLESS: Final = frozenset(
    {
        *("cache_control", "candidateCount", "frequency_penalty", "generationConfig"),
        *("inferenceConfig", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens"),
        *("max_output_tokens", "metadata", "min_p", "n", "parallel_tool_calls", "presence_penalty"),
        *("prompt_cache_key", "reasoning", "reasoning_effort", "repetition_penalty"),
        *("response_format", "safety_identifier", "safety_settings", "safetySettings", "seed"),
        *("service_tier", "stop", "stop_sequences", "store", "temperature", "text", "thinking"),
        *("top_a", "top_k", "top_logprobs", "top_p", "truncation", "user", "verbosity"),
    }
)
"""Fields of `extra` that name no model and no tool, at any provider we know. Some providers take
lists of models, plugins or presets in fields of their own: a tier that may not use every model, or
no tools, is let through with none but these."""


async def admit(run: Run, tiers: Tiers) -> None:
    """Lets a request in as far as its tier goes; waits for its turn where the tier says so.

    Raises:
        TierForbiddenError: the tier does not include what it asks for.
        RateLimitError: it comes too soon.
    """
    spender = run.spender
    member = tiers.known(spender.user_id, spender.tier)
    if member is None:
        member = await tiers.find(spender.user_id, spender.tier)
    tier = member.tier
    run.spender = replace(spender, tier=tier.name)
    run.member = member
    _check_features(run, tier)
    _check_domain(run, tier)
    run.plan = run.planned = _allowed(run, tier)
    run.baseline = run.plan.verifiers[0]
    _cap_output(run, tier)
    run.quality = _quality(run, tier)
    run.cache_scope = tier.cache_scope
    run.use_cache = run.use_cache and "cache" in tier.features
    tracker = run.engine.tracker
    if tracker is not None:
        tracker.assign(spender.user_id, tier.user_budget)
    tokens = _expected_tokens(run, run.plan, tracker) if tiers.counts_tokens(member) else 0
    run.entry = tiers.try_enter(member, tokens)
    if run.entry is None:
        run.entry = await tiers.wait(member, tokens, on_wait=lambda why: _tell(run, member, why))


def _tell(run: Run, member: Membership, limit: str) -> None:
    if run.heard:
        run.tell(
            events.RequestQueued(request_id=run.request_id, tier=member.tier.name, limit=limit)
        )


def leave(run: Run, entry: Entry, *, under_way: bool) -> None:
    """Gives back what a request took at the gate: its place, and the tokens that it did not use.

    Args:
        run: whose.
        entry: its place.
        under_way: whether calls were broken off: what was reserved for them stays reserved.
    """
    if not run.tried and not under_way and run.cached is None:
        entry.cancel()  # nobody was asked: its place in hours and days is free again
        return
    if entry.counts_tokens and not under_way:
        entry.correct(_used(run))
    entry.leave()


def extend(run: Run, entry: Entry, plan: Plan) -> str | None:
    """Reserves the tokens of a tool loop's next step; gives the limit that has not so many left."""
    return entry.extend(_expected_tokens(run, plan, run.engine.tracker))


def _check_features(run: Run, tier: TierConfig) -> None:
    features, request = tier.features, run.request
    asked = run.asked_quality
    if asked is not None and (asked == "strict" or asked.mode == "strict"):
        _need("strict", features, tier, "quality mode strict")
    if len(features) == len(FEATURES):
        return
    if run.streamed:
        _need("streaming", features, tier, "streaming")
    if run.batch:
        _need("batch", features, tier, "run_batch")
    if request.tools:
        _need("tools", features, tier, "tools=")
    if request.extra:
        _need("extra", features, tier, "extra=")
    if "images" not in features and request.has_images:
        _need("images", features, tier, "a message with an image")


def _need(feature: Feature, features: frozenset[Feature], tier: TierConfig, what: str) -> None:
    if feature not in features:
        raise TierForbiddenError(
            f"the tier {tier.name} does not include {what}: leave it out, or give the tier the "
            f"feature {feature!r}",
            tier=tier.name,
            what="feature",
            value=feature,
        )


def _quality(run: Run, tier: TierConfig) -> QualityConfig:
    """How the draft is judged: as the call says, else as the tier does, else as the agent does."""
    asked = run.asked_quality
    if asked is None:
        return tier.quality or run.quality
    return QualityConfig(mode="strict") if asked == "strict" else asked


def _check_domain(run: Run, tier: TierConfig) -> None:
    domain = run.domain
    if tier.domains is not None and (domain or "general") not in tier.domains:
        raise TierForbiddenError(
            f"the tier {tier.name} answers requests about {', '.join(tier.domains)}, and this one "
            f"is {'said' if domain else 'taken'} to be about {domain or 'general'}",
            tier=tier.name,
            what="domain",
            value=domain or "general",
        )


def _allowed(run: Run, tier: TierConfig) -> Plan:
    """Leaves the models out of a plan that the tier may not use."""
    plan = run.plan
    if tier.models is None and not tier.blocked_models:
        _check_extra(run.request, tier)
        return plan
    verifiers = tuple([model for model in plan.verifiers if _may(tier, model)])
    if not verifiers:
        if run.pinned:
            model = plan.verifiers[0]
            raise TierForbiddenError(
                f"the tier {tier.name} may not use {model.id}",
                tier=tier.name,
                what="model",
                value=model.id,
            )
        raise TierForbiddenError(
            f"the tier {tier.name} may use none of the models that could answer this: "
            + ", ".join(model.id for model in plan.verifiers),
            tier=tier.name,
            what="model",
            value=plan.verifiers[0].id,
        )
    _check_extra(run.request, tier)
    fallbacks = tuple([model for model in plan.fallbacks if _may(tier, model)])
    if len(verifiers) == len(plan.verifiers) and len(fallbacks) == len(plan.fallbacks):
        return plan
    drafters = tuple([model for model in plan.drafters if _may(tier, model)])
    drafters = tuple([model for model in drafters if model is not verifiers[0]])
    if plan.drafters and not drafters:
        return replace(
            plan,
            route="direct",
            reason=f"the tier {tier.name} may use one model",
            drafters=(),
            verifiers=verifiers,
            fallbacks=fallbacks,
        )
    return replace(plan, drafters=drafters, verifiers=verifiers, fallbacks=fallbacks)


def _may(tier: TierConfig, model: ModelConfig) -> bool:
    return tier.allows_model(model.id, model.name)


def _check_extra(request: Request, tier: TierConfig) -> None:
    """No field that goes out unread may ask for what the tier has not."""
    if not request.extra:
        return
    limited = tier.models is not None or tier.blocked_models or "tools" not in tier.features
    unknown = sorted(set(request.extra) - _HARMLESS) if limited else []
    if unknown:
        raise TierForbiddenError(
            f"the tier {tier.name} may not use every model or no tools, and extra's "
            f"{', '.join(unknown)} might ask the provider for some: leave it out",
            tier=tier.name,
            what="feature",
            value="extra",
        )


def _cap_output(run: Run, tier: TierConfig) -> None:
    most = tier.max_tokens
    if most is None:
        return
    request = run.request
    for model in (*run.plan.verifiers, *run.plan.fallbacks):
        stated = stated_limit(request, model)
        if stated is not None and stated > most:
            raise TierForbiddenError(
                f"the tier {tier.name} may ask for {most} output tokens, and extra= asks "
                f"{model.id} for {stated}: say max_tokens= instead, which is lowered",
                tier=tier.name,
                what="max_tokens",
                value=str(stated),
            )
    if request.max_tokens is None or request.max_tokens > most:
        run.request = replace(request, max_tokens=most)


def _expected_tokens(run: Run, plan: Plan, tracker: CostTracker | None) -> int:
    """The tokens that a plan's first calls are reckoned to use, in and out."""
    default = tracker.default_max_output if tracker is not None and tracker.enforces else None
    return sum(_expected(run, model, default) for model in (*plan.drafters[:1], plan.verifiers[0]))


def _expected(run: Run, model: ModelConfig, default: int | None) -> int:
    chat = run.request.for_model(model, max_tokens=None)
    try:
        count = count_request(chat, model).tokens
    except (ConfigurationError, InvalidRequestError):
        count = countable_bound(chat, model)
    limit = run.output_limit(model, default, None)
    if limit is None:
        limit = stated_limit(run.request, model)
    return count + (_ASSUMED_OUTPUT if limit is None else limit)


def _used(run: Run) -> int:
    """The tokens that its calls used: as their providers say, else as they are reckoned."""
    total = 0
    for call in run.calls:
        usage = call.reply.completion.usage
        total += _expected(run, call.model, None) if usage is None else usage.total_tokens
    for failure in run.failures:
        partial = getattr(failure.error, "partial", None)
        usage = getattr(partial, "usage", None)
        if usage is not None:
            total += usage.total_tokens
        elif failure.error.billed is not False:
            total += _expected(run, failure.model, None)
    return total
