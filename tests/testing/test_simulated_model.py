"""A simulated model's settings: checked, readable as JSON, and fitted to measured latencies."""

from __future__ import annotations

import json
from statistics import quantiles
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import ConfigurationError
from cascadeflow.testing import LogNormalLatency, SimulatedModel
from cascadeflow.testing.behaviour import Behaviour, Draws
from cascadeflow.testing.model import rough_tokens


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("skill", 1.1), ("skill", -0.1), ("skill", float("nan")), ("cached_share", 2),
        ("error_rate", 1.5), ("break_stream_rate", -1), ("refusal_rate", 7), ("output_tokens", 0),
        ("tokens_per_chunk", 0), ("reasoning_tokens", -1), ("rate_limit", 0),
        ("context_window", 0), ("latency", -0.1), ("latency", float("inf")),
        ("tokens_per_second", 0), ("error_status", 200), ("error_status", 600),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"SimulatedModel\.{field}"):
        SimulatedModel("small", **{field: value})


def test_a_model_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="name"):
        SimulatedModel("")


MODELS = st.builds(
    SimulatedModel,
    st.text(min_size=1, max_size=5),
    skill=st.floats(0, 1),
    answers=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    latency=st.floats(0, 10) | st.builds(LogNormalLatency, st.floats(0.01, 9), st.floats(0, 2)),
    tokens_per_second=st.none() | st.floats(1, 500),
    error_status=st.integers(400, 599) | st.just("disconnect"),
    rate_limit=st.none() | st.integers(1, 10_000),
    calls_tools=st.booleans(),
)


@given(MODELS)
def test_settings_survive_a_way_through_json(model: SimulatedModel) -> None:
    assert SimulatedModel.from_config(json.loads(json.dumps(model.to_config()))) == model


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "not by nothing"),
        ({"name": "a", "skil": 1}, "not by skil"),
        ({"name": "a", "count_tokens": 1}, "not by count_tokens"),
        ({"name": "a", "skill": "high"}, "wrong type"),
        ({"name": "a", "latency": {"mean": 1}}, "wrong type"),
        ({"name": "a", "error_status": "500"}, "wrong type"),
    ],
)
def test_json_that_describes_no_model_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        SimulatedModel.from_config(settings)


@pytest.mark.parametrize("field", ["answers", "wrong_answers", "count_tokens"])
def test_a_function_cannot_be_written_as_json(field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{field} .* is a function"):
        SimulatedModel("small", **{field: len}).to_config()  # type: ignore[arg-type]


@given(st.text())
def test_four_characters_are_a_token(text: str) -> None:
    tokens = rough_tokens(text)
    assert 4 * (tokens - 1) < len(text) <= 4 * tokens or tokens == len(text) == 0


def test_drawn_latencies_have_the_percentiles_they_were_fitted_to() -> None:
    model = SimulatedModel("small", latency=LogNormalLatency.from_percentiles(0.4, 1.2))
    behaviour = Behaviour(model, seed=1)
    drawn = [
        behaviour.seconds_to_first_token(Draws(1, "openai", str(n).encode())) for n in range(20_000)
    ]
    hundredths = quantiles(drawn, n=100)
    assert hundredths[49] == pytest.approx(0.4, rel=0.02)
    assert hundredths[94] == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize(("median", "sigma"), [(0, 1), (-1, 1), (1, -1), (float("inf"), 1)])
def test_a_latency_that_cannot_be_is_refused(median: float, sigma: float) -> None:
    with pytest.raises(ConfigurationError, match="LogNormalLatency"):
        LogNormalLatency(median, sigma)


def test_percentiles_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="p50 <= p95"):
        LogNormalLatency.from_percentiles(2, 1)


@given(st.integers(0, 2**70), st.binary(max_size=50), st.integers(0, 3))
def test_draws_are_decided_by_seed_kind_content_and_repeat(
    seed: int, content: bytes, index: int
) -> None:
    draws = Draws(seed, "openai", content)
    assert draws.number(index) == Draws(seed, "openai", content).number(index)
    assert 0 <= draws.share(index) < 1
    others = [
        Draws(seed + 1, "openai", content),
        Draws(seed, "anthropic", content),
        Draws(seed, "openai", content + b" "),
        Draws(seed, "openai", content, repeat=1),
    ]
    assert draws.number(index) not in {other.number(index) for other in others}
