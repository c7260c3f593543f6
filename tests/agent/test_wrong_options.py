"""Options of another type are refused when they are given, not when a request comes upon them."""

from __future__ import annotations

from typing import Any

import pytest

from cascadeflow.agent import CascadeAgent
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import Deadlines, QualityConfig, RetryPolicy
from cascadeflow.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, "retry must be a RetryPolicy, not int"),
        ({"deadlines": 30}, "deadlines must be a Deadlines, not int"),
        ({"breaker": True}, "breaker must be a BreakerPolicy, not bool"),
        ({"cost_tracker": 5}, "cost_tracker must be a CostTracker, not int"),
        ({"cost_tracker": CostTracker}, r"make one: CostTracker\("),
        ({"validator": "strict"}, "validator must be an object with `judge"),
        ({"clock": 5}, "clock must be a Clock, not int"),
        ({"completer": "openai"}, "completer must be a Completer, not str"),
    ],
)
def test_an_option_of_another_type_is_refused_when_the_agent_is_made(
    options: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CascadeAgent(["openai:gpt-5-nano"], **options)


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        (RetryPolicy, {"attempts": "3"}),
        (RetryPolicy, {"attempts": 1.5}),
        (RetryPolicy, {"attempts": 0}),
        (RetryPolicy, {"base_delay": "1"}),
        (RetryPolicy, {"max_delay": None}),
        (Deadlines, {"total": "30"}),
        (Deadlines, {"connect": True}),
        (Deadlines, {"first_byte": 0}),
        (QualityConfig, {"threshold": "0.9"}),
        (QualityConfig, {"threshold": 1.1}),
    ],
)
def test_a_policy_with_a_number_that_is_none_is_refused(policy: Any, settings: Any) -> None:
    (name,) = settings
    with pytest.raises(ConfigurationError, match=policy.__name__):
        policy(**settings)
    assert policy() == policy(**{name: getattr(policy(), name)})
