"""The first station: who asks, which tier that is, and what it lets them do.

Nothing has been held and nobody asked before a request has passed here: its tier's features and
domains, its models, its largest `max_tokens`, and its rate limits. What the tier changes is changed
in the run itself, so that every later station, the cache's key included, sees only what is allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.tokens import count_request, countable_bound
from cascadeflow.pipeline import events
from cascadeflow.pipeline.allowance import (
    allowed_plan,
    cap_output,
    check_domain,
    check_features,
    quality_of_run,
)
from cascadeflow.pipeline.limits import stated_limit
from cascadeflow.pipeline.settle import Call

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Failure
    from cascadeflow.tiers.config import TierConfig
    from cascadeflow.tiers.directory import Membership
    from cascadeflow.tiers.gate import Entry, Tiers

__all__ = ["admit", "extend", "leave"]

_ASSUMED_OUTPUT: Final = 1024
"""Tokens that a call without any limit is reckoned to answer with, until it is known."""


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
    if run.trial is not None:
        from cascadeflow.pipeline.experiment import reconsider  # noqa: PLC0415 - off costs nothing

        reconsider(run, run.trial, tier)
    check_features(run, tier)
    # Who is refused at the gate must not have made the agent pay for a model, nor spend its time
    # where that can wait: a tier that answers every domain refuses none.
    domains = run.engine.domains
    late = domains is not None and tier.domains is None
    if domains is not None and not late:
        await domains.detect(run)
        late = domains.asks(run)
    if not late or run.detection is None:  # what the caller says is looked at at once
        check_domain(run, tier, tiers)
    _confine(run, tier)
    run.cache_scope = tier.cache_scope
    run.use_cache = run.use_cache and "cache" in tier.features
    _choose_budget(run, tier, tiers, any_model=late)
    tokens = _expected_tokens(run, run.plan) if tiers.counts_tokens(member) else 0
    run.entry = tiers.try_enter(member, tokens)
    if run.entry is None:
        run.entry = await tiers.wait(member, tokens, on_wait=lambda why: _tell(run, member, why))
    if domains is not None and late:
        if run.detection is None:
            await domains.detect(run)
        if domains.asks(run):
            await domains.ask(run)
        check_domain(run, tier, tiers)
        _confine(run, tier)


def _confine(run: Run, tier: TierConfig) -> None:
    """Changes what a tier changes: the models, the largest answer, how a draft is judged."""
    run.plan = run.planned = allowed_plan(run, tier)
    run.baseline = run.plan.verifiers[0]
    cap_output(run, tier)
    run.quality = quality_of_run(run, tier)


def _choose_budget(run: Run, tier: TierConfig, tiers: Tiers, *, any_model: bool) -> None:
    """Says which budget holds for the user; who has none is counted, and held to nothing.

    Args:
        run: whose.
        tier: the user's.
        tiers: all of them.
        any_model: whether its plan may still change to any of the agent's models.
    """
    tracker = run.tracker
    if tracker is None:
        return
    budget = tier.user_budget
    if budget is not None:
        tracker.needs_mode()  # a profile may have been given it since the agent was made
        tracker.assign(run.spender.user_id, budget)
        return
    models = [model.id for model in (*run.plan.verifiers, *run.plan.fallbacks)]
    if any_model and run.engine.domains is not None:
        router = run.engine.domains.router
        models += [model.id for model in (*router.models, *router.fallbacks)]
    # Made for the tiers' budgets. Where there is none nobody reads it, and nothing is noted there:
    # where nothing is ever held nothing is ever tidied.
    unread = tracker is tiers.own_tracker and not tiers.has_budgets
    if unread and tracker.unlimited(run.spender, models):
        run.tracker, run.enforces = None, False
        return
    tracker.assign(run.spender.user_id, None)
    if tracker.unlimited(run.spender, models):
        run.enforces = False


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
    if run.cached is None and not under_way and not any(map(_was_asked, run.tried)):
        entry.cancel()  # nobody was asked: its place in hours and days is free again
        return
    try:
        if entry.counts_tokens and not under_way:
            entry.correct(_used(run))
    finally:
        entry.leave()


def _was_asked(tried: Call | Failure) -> bool:
    """Whether anything was sent: to a model that is left alone for a while nothing is."""
    if isinstance(tried, Call):
        return True
    return bool(tried.attempts) or tried.error.billed is not False


def extend(run: Run, entry: Entry, plan: Plan) -> str | None:
    """Reserves the tokens of a tool loop's next step, beside those that it has used so far.

    Returns:
        The limit that has not so many left; `None` where all have.
    """
    entry.correct(_used(run))
    return entry.extend(_expected_tokens(run, plan))


def _expected_tokens(run: Run, plan: Plan) -> int:
    """The tokens that a plan's first calls are reckoned to use, in and out."""
    tracker = run.tracker
    default = tracker.default_max_output if tracker is not None and run.enforces else None
    return sum(_expected(run, model, default) for model in (*plan.drafters[:1], plan.verifiers[0]))


def _expected(run: Run, model: ModelConfig, default: int | None) -> int:
    chat = run.request.for_model(model, max_tokens=None)
    try:
        count = count_request(chat, model).tokens
    except (ConfigurationError, InvalidRequestError):
        count = countable_bound(chat, model)
    limit = run.output_limit(model, default, run.output_cap)
    if limit is None:
        limit = stated_limit(run.request, model)
    return count + (_ASSUMED_OUTPUT if limit is None else limit)


def _used(run: Run) -> int:
    """The tokens that its calls used: as their providers say, else as they are reckoned."""
    total = 0
    for tried in run.tried:
        lost = sum(each.outcome != "ok" and each.billed is not False for each in tried.attempts)
        if isinstance(tried, Call):
            usage = tried.reply.completion.usage
            lost += usage is None
        else:
            usage = getattr(getattr(tried.error, "partial", None), "usage", None)
            if not tried.attempts and tried.error.billed is not False:
                lost += 1
            if usage is not None:
                lost = max(0, lost - 1)  # of the last try it is known
        total += 0 if usage is None else usage.total_tokens
        total += lost and lost * _expected(run, tried.model, run.output_default)
    return total
