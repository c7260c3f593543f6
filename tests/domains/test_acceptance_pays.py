"""Learning when to draft costs less than every fixed rule, over the stream of the benchmark."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "benches" / "acceptance.py"


@pytest.fixture(scope="module")
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("acceptance_bench", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["acceptance_bench"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def short(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "REQUESTS", 12_000)


@pytest.mark.parametrize(("share", "most"), [(0.2, 1.01), (0.4, 0.99), (0.6, 0.99)])
def test_learning_costs_less_than_fixed_rules_and_little_more_than_an_oracle(
    bench: Any, share: float, most: float
) -> None:
    """Where drafts are cheap, always drafting is nearly right, and there is little to learn."""
    arrivals = list(bench.stream(seed=4, share=share))
    least = bench.play(arrivals, bench.oracle)
    learned = bench.play(arrivals, bench.learner())
    fixed = min(bench.play(arrivals, bench.WAYS[name]()) for name in bench.FIXED)
    assert learned < most * fixed
    assert least <= learned < 1.06 * least


def test_without_exploring_what_changed_for_the_better_is_never_found_out(bench: Any) -> None:
    arrivals = list(bench.stream(seed=4, share=0.4))
    exploring = bench.play(arrivals, bench.learner())
    assert exploring < bench.play(arrivals, bench.learner(explore_every=0))
