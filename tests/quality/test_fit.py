"""The committed weights are those that the committed script fits."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow._native import quality_weights

if TYPE_CHECKING:
    from pathlib import Path

ROOT_FOLDERS_UP = 2


@pytest.fixture(scope="module")
def script(request: pytest.FixtureRequest) -> Any:
    path = request.path.parents[ROOT_FOLDERS_UP] / "benches" / "fit_quality.py"
    spec = importlib.util.spec_from_file_location("fit_quality", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_quality"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recorded(script: Any, shared_data: Path, monkeypatch_module: pytest.MonkeyPatch) -> Any:
    monkeypatch_module.setenv("CASCADEFLOW_DATA", str(shared_data))
    return script.read_recorded()


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_the_committed_weights_are_the_fitted_ones(script: Any) -> None:
    names, intercept, weights = quality_weights()
    rows = script.read_own()
    losses = {
        ridge: script.log_loss(script.held_out(names, rows, ridge), rows) for ridge in script.RIDGES
    }
    fit = script.Fit(names, rows, min(losses, key=lambda ridge: losses[ridge]))
    assert intercept == script.FAULTLESS
    assert weights == pytest.approx(fit.weights, abs=0.002)
    assert max(weights) <= 0.0, "nothing speaks for an answer"


def test_right_answers_score_higher_than_wrong_ones_within_each_model(
    script: Any, recorded: Any
) -> None:
    names, _, weights = quality_weights()
    for task in ("gsm8k", "crux"):
        figures = []
        for model in {row.model for row in recorded if row.task == task}:
            mine = [row for row in recorded if (row.task, row.model) == (task, model)]
            scores = [
                sum(w * x for w, x in zip(weights, row.features, strict=True)) for row in mine
            ]
            figures.append(script.auc(scores, [row.right for row in mine]))
        assert sum(figures) / len(figures) > 0.64, f"{task}, {len(names)} measures"


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(script: Any) -> None:
    scores, right = [0.1, 0.4, 0.4, 0.8, 0.9], [False, True, False, False, True]
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, good in zip(scores, right, strict=True)
        if good
        for b, bad in zip(scores, right, strict=True)
        if not bad
    ]
    assert script.auc(scores, right) == pytest.approx(sum(pairs) / len(pairs))


def test_calibration_error_is_none_when_the_shares_fit(script: Any) -> None:
    assert script.calibration_error([0.5] * 10, [True, False] * 5, bins=1) == pytest.approx(0)
    assert script.calibration_error([0.9] * 10, [False] * 10) == pytest.approx(0.9)
