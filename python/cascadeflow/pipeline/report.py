"""The last station: the books of a run become its result, or the error that says why not."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cascadeflow.errors import OvertakenError
from cascadeflow.money import to_usd
from cascadeflow.pipeline.cascade import BESIDE
from cascadeflow.pipeline.result import (
    NO_EXPERIMENT,
    NO_TIER,
    AccountReport,
    BudgetReport,
    CascadeResult,
    ExperimentReport,
    LimitReport,
    RoutingReport,
    StepReport,
    TierReport,
    TimingReport,
    usd,
)
from cascadeflow.pipeline.settle import Turn, cost_report
from cascadeflow.pipeline.turns import read_answer
from cascadeflow.quality.report import QualityReport

if TYPE_CHECKING:
    from cascadeflow.budgets.records import AccountStanding
    from cascadeflow.budgets.reservation import Outcome
    from cascadeflow.domains.records import Detection
    from cascadeflow.models.completer import Attempt
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline.cascade import Ending
    from cascadeflow.pipeline.purse import Purse
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call, Failure
    from cascadeflow.types import Message

__all__ = [
    "about",
    "attempts_of",
    "budget_report",
    "close",
    "experiment_report",
    "finish",
    "spoken",
    "tier_report",
    "timing_report",
    "used_by",
]

_NOT_JUDGED = QualityReport()


def close(run: Run, ending: Ending) -> CascadeResult:
    """Closes the books of a run whose course has ended; nobody is told yet.

    Raises:
        AllModelsFailedError: nobody in line answered, or in time.
    """
    answer = ending.answer
    outcome = run.settle()
    calls, failures = run.calls, run.failures
    if answer is None:
        raise run.no_answer() from (failures[-1].error if failures else None)
    completion = answer.reply.completion
    parsed = None
    if run.schema is not None:
        parsed = read_answer(run.schema, completion.text, completion.tool_calls)
    turns, quality, escalated = _turns(run, ending, answer)
    usage_by_model, usage = used_by(calls)
    return CascadeResult(
        content=completion.text,
        request_id=run.request_id,
        created=run.created,
        finish_reason=completion.finish_reason,
        tool_calls=completion.tool_calls if run.unanswered is None else (),
        parsed=None if parsed is None else parsed.value,
        parse_problem=None if parsed is None else parsed.problem,
        steps=_steps(run),
        reasoning=completion.reasoning,
        refusal=completion.refusal,
        streamed=run.streamed,
        cost=cost_report(turns, verifier=run.baseline, at=run.created),
        quality=quality or _NOT_JUDGED,
        routing=_routing(run, failures, answer, escalated=escalated),
        budget=budget_report(run, outcome),
        tier=tier_report(run),
        experiment=experiment_report(run),
        usage=usage,
        usage_by_model=usage_by_model,
        attempts=attempts_of(run),
        response_ids=_response_ids(calls, answer),
        timing=timing_report(run),
        completion=completion,
        conversation=spoken(run),
        late_quality=run.late if quality is not None and quality.accepted is True else None,
    )


def _response_ids(calls: list[Call], answer: Call) -> dict[str, str | None]:
    """The id of each model's last answer, or of what else it was asked where it gave none."""
    beside_first = sorted(calls, key=lambda call: call.role not in BESIDE or call is answer)
    return {call.model.id: call.reply.completion.response_id for call in beside_first}


def _steps(run: Run) -> tuple[StepReport, ...]:
    last = () if run.unanswered is None else (run.unanswered,)
    return (*[step.report for step in run.finished], *last)


def _turns(run: Run, ending: Ending, answer: Call) -> tuple[list[Turn], QualityReport | None, bool]:
    """Gives the turns of a run, how its last draft was judged, and whether any was rejected."""
    turns: list[Turn] = []
    quality, escalated = ending.quality, ending.escalated
    begin = 0
    for step in run.finished:
        turns.append(Turn(step.answer, run.tried[begin : step.end]))
        begin = step.end
        escalated = escalated or step.escalated
        # A draft that was accepted before is not this answer; a rejected one is why it was asked.
        if ending.quality is None and step.quality is not None and not step.quality.accepted:
            quality = step.quality
    turns.append(Turn(answer, run.tried[begin:]))
    return turns, quality, escalated


def finish(run: Run, result: CascadeResult) -> CascadeResult:
    """Tells that a run has its result."""
    run.succeed(result)
    return result


def used_by(calls: list[Call]) -> tuple[dict[str, Usage], Usage | None]:
    """Gives what calls used, by model and in all."""
    by_model: dict[str, Usage] = {}
    for call in calls:
        used = call.reply.completion.usage
        if used is not None:
            before = by_model.get(call.model.id)
            by_model[call.model.id] = used if before is None else before + used
    total: Usage | None = None
    for usage in by_model.values():
        total = usage if total is None else total + usage
    return by_model, total


def _routing(run: Run, failures: list[Failure], answer: Call, *, escalated: bool) -> RoutingReport:
    plan = run.plan
    return RoutingReport(
        route=plan.route,
        reason=plan.reason,
        complexity=plan.complexity,
        complexity_score=plan.complexity_score,
        draft_model=plan.draft_model,
        verifier_model=plan.verifier_model,
        model_used=answer.model.id,
        provider_used=answer.model.provider,
        answered_as=answer.role,
        escalated=escalated,
        fallbacks=tuple([f.model.id for f in failures if _passed_over(f)]),
        **about(run),
    )


def about(run: Run) -> dict[str, Any]:
    """What the request is about, who says so, and what was expected of drafting."""
    found = run.detection
    weighed = run.plan.decision if run.cached is None else None
    said: dict[str, Any] = {"domain": run.domain}
    if found is not None:
        said |= {
            "domain_layer": found.layer,
            "domain_confidence": found.confidence,
            "domains": found.domains,
            "domain_reason": _seen(found),
        }
    if weighed is not None:
        direct = run.plan.route == "direct"
        said |= {
            "acceptance": weighed.acceptance.probability,
            "expected_cost": usd(weighed.expected_direct if direct else weighed.expected_cascade),
            "expected_direct_cost": usd(weighed.expected_direct),
        }
    return said


def _seen(found: Detection) -> str:
    """The two heaviest things that spoke for the domain, and what could not be looked at."""
    parts = []
    for layer in found.layers:
        if layer.error is not None:
            parts.append(f"{layer.layer}: {layer.error}")
        seen = [each for each in layer.evidence if each.domain == found.domain and each.weight > 0]
        if seen:
            # Examples are requests that somebody wrote: their text is nobody else's to see.
            what = [
                f"like an example, {each.weight:.2f}" if layer.layer == "semantic" else each.what
                for each in seen[:2]
            ]
            parts.append(f"{layer.layer}: {', '.join(what)}"[:200])
    return "; ".join(parts)


def _passed_over(failure: Failure) -> bool:
    return failure.role not in BESIDE and not isinstance(failure.error, OvertakenError)


def spoken(run: Run) -> tuple[Message, ...]:
    """The conversation as the caller knows it: without the system prompt of its domain."""
    messages = run.request.messages
    return messages if messages[0] is run.asked.messages[0] else messages[1:]


def attempts_of(run: Run) -> tuple[Attempt, ...]:
    """Every try of every model, in order."""
    return tuple([attempt for tried in run.tried for attempt in tried.attempts])


def budget_report(run: Run, outcome: Outcome | None) -> BudgetReport:
    """Says what the budgets had to say; `outcome` is how its money was settled, if any was held."""
    tracker, purse, aside = run.tracker, run.purse, run.aside
    if tracker is None:
        return BudgetReport(max_tokens_sent=run.max_tokens_sent)
    if purse is None or outcome is None:
        return BudgetReport(
            mode=tracker.mode,
            spent=tracker.spent,
            held=Decimal(0) if aside is None else to_usd(aside.held),
            booked=_booked(aside),
            unconfirmed=0 if aside is None else sum(not each.confirmed for each in aside.charges),
            overrun=to_usd(0 if aside is None else sum([each.overrun for each in aside.charges])),
            over_limit=aside is not None and aside.over_limit,
            action=run.budget_action,
        )
    charges = purse.charges if aside is None else [*aside.charges, *purse.charges]
    accounts = []
    tightest: AccountStanding | None = None
    least = 0
    for standing in outcome.standings:
        if standing.limit is not None:
            accounts.append(AccountReport(standing))
            left = standing.limit - standing.spent - standing.held
            if tightest is None or left < least:
                tightest, least = standing, left
    return BudgetReport(
        mode=tracker.mode,
        limit=None if tightest is None else usd(tightest.limit),
        spent=tracker.spent if tightest is None else to_usd(tightest.spent),
        remaining=None if tightest is None else usd(tightest.remaining),
        state=None if tightest is None else tightest.state,
        held=to_usd(purse.held + (0 if aside is None else aside.held)),
        booked=to_usd(outcome.booked) + _booked(aside),
        unconfirmed=sum(not charge.confirmed for charge in charges),
        overrun=to_usd(sum([charge.overrun for charge in charges])),
        over_limit=purse.over_limit or (aside is not None and aside.over_limit),
        action=run.budget_action,
        accounts=tuple(accounts),
        max_tokens_sent=run.max_tokens_sent,
    )


def _booked(aside: Purse | None) -> Decimal:
    """What finding out what the request is about was booked at."""
    outcome = None if aside is None else aside.close()
    return Decimal(0) if outcome is None else to_usd(outcome.booked)


def tier_report(run: Run) -> TierReport:
    """Says which tier the user is in, and how its limits stand now that the request is over."""
    member, entry = run.member, run.entry
    if member is None or entry is None:
        return NO_TIER
    run.leave()
    standings = entry.standings()
    return TierReport(
        name=member.tier.name,
        source=member.source,
        reason=member.reason,
        max_tokens=member.tier.max_tokens,
        waited_ms=entry.waited_ms,
        stopped_by=run.stopped_by,
        limits=tuple(
            [
                LimitReport(
                    account=each.account,
                    limit=each.limit,
                    allowed=each.allowed,
                    remaining=each.remaining,
                    resets_after=None if each.reset_ns is None else each.reset_ns / 1e9,
                )
                for each in standings
            ]
        ),
        headers=entry.headers(standings),
    )


def experiment_report(run: Run) -> ExperimentReport:
    """Says which experiment the request took part in, and in which variant."""
    if run.trial is None:
        return NO_EXPERIMENT
    assignment = run.trial.assignment
    return ExperimentReport(name=assignment.experiment, variant=assignment.variant)


def timing_report(run: Run) -> TimingReport:
    """Says where the time went."""
    draft_ms: float | None = None
    verifier_ms: float | None = None
    transport_ms = 0.0
    for tried in run.tried:
        transport_ms += tried.transport_ms
        if tried.role == "draft":
            draft_ms = (draft_ms or 0.0) + tried.duration_ms
        elif tried.role not in BESIDE:
            verifier_ms = (verifier_ms or 0.0) + tried.duration_ms
    total_ms = run.elapsed_ms()
    waited_ms = transport_ms + run.reader_ms + (run.tools_ms or 0.0)
    if run.entry is not None:
        waited_ms += run.entry.waited_ms
    return TimingReport(
        total_ms=total_ms,
        draft_ms=draft_ms,
        validation_ms=run.validation_ms,
        verifier_ms=verifier_ms,
        transport_ms=transport_ms,
        overhead_ms=max(0.0, total_ms - waited_ms),
        tools_ms=run.tools_ms,
        routing_ms=run.routing_ms,
        reader_ms=run.reader_ms,
        first_token_ms=run.first_shown_ms,
    )
