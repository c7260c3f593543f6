"""The last station: the books of a run become its result, or the error that says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.pipeline.result import (
    BudgetReport,
    CascadeResult,
    RoutingReport,
    TimingReport,
    usd,
)
from cascadeflow.pipeline.settle import cost_report
from cascadeflow.quality.report import QualityReport

if TYPE_CHECKING:
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline.cascade import Ending
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.pipeline.settle import Call, Failure

__all__ = ["close"]

_NOT_JUDGED = QualityReport()


def close(run: Run, ending: Ending) -> CascadeResult:
    """Closes the books of a run whose course has ended.

    Raises:
        AllModelsFailedError: nobody in line answered, or in time.
    """
    answer = ending.answer
    calls, failures = run.calls, run.failures
    if answer is None:
        raise run.no_answer() from (failures[-1].error if failures else None)
    completion = answer.reply.completion
    usage_by_model, usage = _usage(calls)
    result = CascadeResult(
        content=completion.text,
        request_id=run.request_id,
        created=run.created,
        finish_reason=completion.finish_reason,
        tool_calls=completion.tool_calls,
        reasoning=completion.reasoning,
        refusal=completion.refusal,
        streamed=run.streamed,
        cost=cost_report(
            calls, failures, answer=answer, verifier=run.plan.verifiers[0], at=run.created
        ),
        quality=ending.quality or _NOT_JUDGED,
        routing=_routing(run.plan, failures, answer, escalated=ending.escalated),
        budget=_budget(run),
        usage=usage,
        usage_by_model=usage_by_model,
        attempts=tuple([attempt for tried in run.tried for attempt in tried.attempts]),
        response_ids={call.model.id: call.reply.completion.response_id for call in calls},
        timing=_timing(run),
    )
    run.succeed(result)
    return result


def _usage(calls: list[Call]) -> tuple[dict[str, Usage], Usage | None]:
    by_model = {
        call.model.id: call.reply.completion.usage
        for call in calls
        if call.reply.completion.usage is not None
    }
    total: Usage | None = None
    for usage in by_model.values():
        total = usage if total is None else total + usage
    return by_model, total


def _routing(
    plan: Plan, failures: list[Failure], answer: Call, *, escalated: bool
) -> RoutingReport:
    return RoutingReport(
        route=plan.route,
        reason=plan.reason,
        complexity=plan.complexity,
        complexity_score=plan.complexity_score,
        draft_model=plan.draft_model,
        verifier_model=plan.verifier_model,
        model_used=answer.model.id,
        provider_used=answer.model.provider,
        escalated=escalated,
        fallbacks=tuple([failure.model.id for failure in failures]),
    )


def _budget(run: Run) -> BudgetReport:
    standing = run.standing
    if standing is None:
        return BudgetReport(max_tokens_sent=run.max_tokens_sent)
    return BudgetReport(
        mode="warn",
        limit=usd(standing.limit),
        spent=usd(standing.spent),
        state=standing.state,
        max_tokens_sent=run.max_tokens_sent,
    )


def _timing(run: Run) -> TimingReport:
    draft_ms: float | None = None
    verifier_ms: float | None = None
    transport_ms = 0.0
    for tried in run.tried:
        transport_ms += tried.transport_ms
        if tried.role == "draft":
            draft_ms = (draft_ms or 0.0) + tried.duration_ms
        else:
            verifier_ms = (verifier_ms or 0.0) + tried.duration_ms
    total_ms = run.elapsed_ms()
    return TimingReport(
        total_ms=total_ms,
        draft_ms=draft_ms,
        validation_ms=run.validation_ms,
        verifier_ms=verifier_ms,
        transport_ms=transport_ms,
        overhead_ms=max(0.0, total_ms - transport_ms - run.reader_ms),
        reader_ms=run.reader_ms,
        first_token_ms=run.first_shown_ms,
    )
