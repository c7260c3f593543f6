"""Judging drafts: text rules, validators, what they report."""

from __future__ import annotations

from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.validator import RuleValidator, Validator

__all__ = ["CheckReport", "QualityReport", "RuleValidator", "Validator"]
