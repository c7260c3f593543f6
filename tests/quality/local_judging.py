"""What the tests of mode `balanced` share: questions, documents, and a judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cascadeflow.config import LOCAL_CHECKS, QualityConfig
from cascadeflow.models.completion import Completion
from cascadeflow.quality.validator import CascadeValidator
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from cascadeflow.quality.local import LocalChecks
    from cascadeflow.quality.report import CheckReport, QualityReport

balanced = QualityConfig.balanced

CAPITAL = "What is the capital of France?"
DOCUMENT = (
    "The ferry to the island leaves the harbour at nine in the morning. It takes two hours, and a "
    "ticket costs twelve euros for adults."
)
FERRY = f"<document>{DOCUMENT}</document>\nWhen does the ferry leave, and what does it cost?"
SUPPORTED = "The ferry leaves the harbour at nine in the morning. A ticket costs twelve euros."


def judged(
    question: str,
    answer: str | Completion,
    embedder: Any = None,
    *,
    vectors: Any = None,
    **config: Any,
) -> QualityReport:
    if isinstance(answer, str):
        answer = Completion(text=answer, finish_reason="stop")
    chat = ChatRequest("m", (Message("user", question),))
    return asyncio.run(
        CascadeValidator(embedder).judge_with(
            chat, answer, config=balanced(**config), adviser=None, vectors=vectors
        )
    )


def by_name(report: QualityReport) -> dict[str, CheckReport]:
    return {check.name: check for check in report.checks if check.name in LOCAL_CHECKS}


def verdicts(report: QualityReport) -> dict[str, str]:
    return {name: check.verdict for name, check in by_name(report).items()}


def run(
    checks: LocalChecks, chat: ChatRequest, completion: Completion, **config: Any
) -> dict[str, str]:
    found = asyncio.run(checks.run(chat, completion, config=balanced(**config)))
    assert [check.name for check in found.checks] == list(LOCAL_CHECKS)
    assert (found.failed, found.missing) == (False, False)
    return {check.name: check.verdict for check in found.checks}
