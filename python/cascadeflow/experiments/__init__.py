"""A/B tests: sticky assignment, guard rails, and figures that may be looked at at any time.

This room knows nothing of models being asked: the pipeline asks it which variant a request is in
(`VariantSource.choose`) and tells it what came of it (`VariantSource.observe`).
"""

from __future__ import annotations

from cascadeflow.experiments.experiment import Experiment
from cascadeflow.experiments.records import (
    Assignment,
    Guardrail,
    Metric,
    Variant,
    VariantSource,
)
from cascadeflow.experiments.store import ExperimentStore, MemoryExperiments, open_experiments

__all__ = [
    "Assignment",
    "Experiment",
    "ExperimentStore",
    "Guardrail",
    "MemoryExperiments",
    "Metric",
    "Variant",
    "VariantSource",
    "open_experiments",
]
