"""Whether a draft is good enough."""

from __future__ import annotations

from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.rules import TextJudgement, judge_text
from cascadeflow.quality.tool_calls import judge_tool_calls
from cascadeflow.quality.validator import RuleValidator, Validator

__all__ = [
    "CheckReport",
    "QualityReport",
    "RuleValidator",
    "TextJudgement",
    "Validator",
    "judge_text",
    "judge_tool_calls",
]
