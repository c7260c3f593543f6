"""The baselines' definitions are those of the yardstick: they reproduce its published figures.

The shared files hold half of each set's rows and the published figures are of all, so they agree
within the halves' sampling error; another definition would miss them by far.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cascadeflow.cli.replay.formats import model_names, read_rows, resolve_model
from cascadeflow.cli.replay.pricing import priced_model
from cascadeflow.cli.replay.statistics import (
    Outcome,
    always_draft,
    always_verifier,
    perfect_validator,
    random_to_quality,
)
from cascadeflow.models.usage import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from cascadeflow.cli.replay.formats import RecordedAnswer
    from cascadeflow.models.prices import Price

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def cost(answer: RecordedAnswer, price: Price) -> int:
    usage = Usage(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
    return price.cost(usage)


def drafted(path: Path, draft: str, verifier: str, draft_price: str | None) -> list[Outcome]:
    """Every draft accepted: what the baselines need, without asking anybody."""
    rows = read_rows(path)
    names = model_names(rows)
    small = priced_model(resolve_model(draft, names), draft_price, at=NOW)
    large = priced_model(resolve_model(verifier, names), None, at=NOW)
    return [
        Outcome(
            draft_correct=row.answers[small.name].right,
            verifier_correct=row.answers[large.name].right,
            draft_cost=cost(row.answers[small.name], small.price),
            verifier_cost=cost(row.answers[large.name], large.price),
            accepted=True,
            score=None,
            cost=cost(row.answers[small.name], small.price),
        )
        for row in rows
    ]


# Of the shared data's README: accuracy of the cheap and the expensive model, cost ratio, what a
# perfect validator saves, what random escalation to 95 % of the quality saves.
PAIRS = [
    ("zeroeval_gsm8k", "gpt-4o-mini", "gpt-4o-2024-05-13", None, (94.2, 95.4, 3.9, 89.9, 96.1)),
    (
        *("zeroeval_gsm8k", "claude-3-haiku", "claude-3-5-sonnet-20241022", None),
        (88.8, 96.7, 11.5, 75.7, 49.8),
    ),
    (
        *("routellm_gsm8k", "mixtral", "gpt-4-1106", "groq:mixtral-8x7b-32768"),
        (63.8, 85.7, 0.9, 56.9, 18.7),
    ),
    ("zeroeval_crux", "gpt-4o-mini", "gpt-4o-2024-05-13", None, (75.9, 86.1, 4.9, 64.5, 37.1)),
]


@pytest.mark.parametrize(("name", "draft", "verifier", "price", "published"), PAIRS)
def test_the_baselines_reproduce_the_yardsticks_table(
    *,
    shared_data: Path,
    name: str,
    draft: str,
    verifier: str,
    price: str | None,
    published: tuple[float, ...],
) -> None:
    outcomes = drafted(shared_data / "cascade" / f"{name}.jsonl.gz", draft, verifier, price)
    cheap, dear, ratio, perfect, at_random = (figure / 100 for figure in published)
    assert always_draft(outcomes).accuracy == pytest.approx(cheap, abs=0.025)
    assert always_verifier(outcomes).accuracy == pytest.approx(dear, abs=0.025)
    saved = always_draft(outcomes).saved
    assert saved is not None
    assert 1 - saved == pytest.approx(ratio, abs=0.003)
    assert perfect_validator(outcomes).saved == pytest.approx(perfect, abs=0.035)
    random = random_to_quality(outcomes, 0.95)
    assert random is not None
    # Over so flat a slope the share of a half's rows is far less certain than its accuracies.
    assert random.saved == pytest.approx(at_random, abs=0.15)
