"""What a log says of each draft: its measures, whether it was right, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.cli.tune.tuning import LoggedDraft
from cascadeflow.models.usage import Usage
from cascadeflow.quality.evidence import logit
from cascadeflow.quality.fitting import JudgedDraft
from cascadeflow.quality.opinions import same_final_answer
from cascadeflow.quality.rules import judge_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow
    from cascadeflow.cli.replay.pricing import PricedModel

__all__ = ["logged_drafts"]


def logged_drafts(
    rows: Sequence[ReplayRow],
    draft: PricedModel,
    verifier: PricedModel,
    cross_check: PricedModel | None,
) -> list[LoggedDraft]:
    """Judges each draft of a log as the validator would.

    Args:
        rows: questions that all of the models answered.
        draft: whose answers are judged.
        verifier: who answers where a draft is rejected.
        cross_check: whose answers the drafts are compared with; `None` for nobody.

    Raises:
        UnknownPriceError: a model's price has no such rate.
    """
    return [_logged(row, draft, verifier, cross_check) for row in rows]


def _logged(
    row: ReplayRow, draft: PricedModel, verifier: PricedModel, cross_check: PricedModel | None
) -> LoggedDraft:
    answer, verified = row.answers[draft.name], row.answers[verifier.name]
    text = judge_text(row.question, answer.output, finish_reason=answer.finish_reason)
    agrees, opinion_cost = None, 0
    if cross_check is not None:
        other = row.answers[cross_check.name]
        opinion_cost = _cost(other, cross_check)
        # Who declined, or was cut off, does not disagree: as in `second_opinions`.
        if not judge_text(row.question, other.output, finish_reason=other.finish_reason).rejected:
            agrees = same_final_answer(answer.output, other.output)
    return LoggedDraft(
        judged=JudgedDraft(
            group=row.question,
            log_odds=logit(text.probability),
            features=text.features,
            agrees=agrees,
            good=answer.correct,
        ),
        rejected=text.rejected,
        verifier_right=verified.correct,
        draft_cost=_cost(answer, draft),
        verifier_cost=_cost(verified, verifier),
        opinion_cost=opinion_cost,
    )


def _cost(answer: RecordedAnswer, model: PricedModel) -> int:
    used = Usage(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
    return model.price.cost(used)
