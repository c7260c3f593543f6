"""Every option of the agent does what it says: without it, the test fails."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cascadeflow.agent import CascadeAgent, RunOptions
from cascadeflow.agent_env import MODELS_VARIABLE, USUAL_MODELS
from cascadeflow.budgets.tracker import CostTracker
from cascadeflow.config import Deadlines, QualityConfig, RetryPolicy
from cascadeflow.errors import (
    AllModelsFailedError,
    ConfigurationError,
    InvalidRequestError,
    MissingKeyError,
    ProviderTimeoutError,
    UnknownModelError,
    UnknownPriceError,
)
from cascadeflow.models.catalogue import catalogue_date, lookup
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.pipeline import events
from cascadeflow.providers.registry import get_provider
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import CannedResponse, ManualClock, RecordingTransport


def answer(agent: CascadeAgent, *arguments: Any, **options: Any) -> Any:
    async def main() -> Any:
        async with agent:
            return await agent.run(*(arguments or ("Where is Oslo?",)), **options)

    return asyncio.run(main())


# Models


def test_models_are_texts_records_or_dicts() -> None:
    agent = CascadeAgent(
        [
            "openai:gpt-5-nano",
            ModelConfig("gpt-5", "openai"),
            {"name": "gpt-5-mini", "provider": "openai"},
        ]
    )
    assert [model.id for model in agent.models] == [
        "openai:gpt-5-nano",
        "openai:gpt-5-mini",
        "openai:gpt-5",
    ]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("openai:gpt-5", "models must be a list"),
        (ModelConfig("gpt-5", "openai"), "models must be a list"),
        (3, "models must be a list"),
        ([3], "a model is text"),
        ([{"name": "gpt-5"}], "no ModelConfig can be made"),
        (["gpt-5"], "names no provider"),
        ([], "at least one model"),
        (["nobody:gpt-5"], "no provider is called 'nobody'"),
    ],
)
def test_models_that_are_none_are_refused(models: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CascadeAgent(models)


def test_an_unknown_price_is_refused_unless_it_is_allowed(world: Any) -> None:
    with pytest.raises(UnknownPriceError, match="State it"):
        CascadeAgent(["openai:gpt-99-imaginary"])
    transport = world(**{"gpt-99-imaginary": ["Oslo"]}).transport
    agent = CascadeAgent(
        [ModelConfig("gpt-99-imaginary", "openai", api_key="k", base_url="http://127.0.0.1:9/v1")],
        unknown_price="allow",
        transport=transport,
    )
    result = answer(agent)
    assert result.content == "Oslo"
    assert result.cost.total is None
    assert result.cost.price_sources == {"openai:gpt-99-imaginary": None}
    with pytest.raises(ConfigurationError, match="unknown_price"):
        CascadeAgent(["openai:gpt-5"], unknown_price="zero")  # type: ignore[arg-type]


def test_a_missing_key_is_told_at_the_call_and_nothing_is_sent(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    w = world(small=["Oslo"])
    agent = CascadeAgent(["openai:gpt-5"], transport=w.transport, on_event=w.events.append)
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        answer(agent)
    assert w.transport.exchanges == ()
    assert isinstance(w.events[-1], events.RequestFailed)


# How it decides


def test_enable_cascade_false_drafts_nothing(world: Any) -> None:
    w = world(small=["a"], big=["b"])
    result = answer(w.agent(enable_cascade=False))
    assert w.asked == ["big"]
    assert result.routing.reason == "enable_cascade=False"


def test_order_given_drafts_with_the_first(world: Any) -> None:
    w = world(small=["a"], big=["b"])
    answer(w.agent("big", "small", order="given"))
    assert w.asked == ["big"]


def test_draft_up_to_sends_harder_requests_straight_to_the_verifier(world: Any) -> None:
    w = world(small=["a"], big=["b"])
    answer(w.agent(draft_up_to="moderate"), complexity_hint="moderate")
    answer(w.agent(draft_up_to="moderate"), complexity_hint="hard")
    assert w.asked == ["small", "big"]


def test_on_verifier_failure_must_be_one_of_two(world: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_verifier_failure"):
        world(small=["a"]).agent(on_verifier_failure="hope")


def test_the_quality_threshold_reaches_the_validator(world: Any) -> None:
    w = world(small=["a"], big=["b"])
    result = answer(w.agent(quality_config=QualityConfig.fast(threshold=0.75)))
    assert result.quality.threshold == 0.75
    assert answer(w.agent(quality_mode="fast")).quality.mode == "fast"
    with pytest.raises(ConfigurationError, match="not both"):
        w.agent(quality_config=QualityConfig.fast(), quality_mode="fast")
    assert answer(w.agent(quality_mode="balanced")).quality.mode == "balanced"
    with pytest.raises(ConfigurationError, match="fast, balanced or strict"):
        w.agent(quality_mode="careful")
    with pytest.raises(ConfigurationError, match="must be a QualityConfig"):
        w.agent(quality_config="fast")


def test_without_a_validator_the_built_in_rules_judge(world: Any) -> None:
    w = world(small=[{"text": "", "output_tokens": 0}], big=["Oslo is in Norway."])
    result = answer(w.agent(validator=None))
    assert result.content == "Oslo is in Norway."
    assert result.quality.accepted is False
    assert result.quality.checks
    assert result.quality.reason
    w = world(small=["Oslo is in Norway."], big=["x"])
    assert answer(w.agent(validator=None)).draft_accepted


# What it is made of


def test_retry_says_how_often_a_failed_call_is_tried(world: Any) -> None:
    for attempts in (1, 3):
        w = world(small=[500], big=["b"])
        answer(w.agent(retry=RetryPolicy(attempts=attempts, base_delay=0)))
        assert w.asked == ["small"] * attempts + ["big"]


def test_deadlines_bound_a_call() -> None:
    async def never(_: Any) -> CannedResponse:
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    agent = CascadeAgent(
        [ModelConfig("gpt-5", "openai", api_key="k")],
        transport=RecordingTransport(respond=never),
        deadlines=Deadlines(total=0.01),
        retry=RetryPolicy(attempts=1),
    )
    with pytest.raises(AllModelsFailedError) as caught:
        answer(agent)
    assert isinstance(caught.value.errors[0], ProviderTimeoutError)


def test_a_completer_of_ones_own_takes_the_providers_place(world: Any) -> None:
    w = world(small=["Oslo"])
    inner = w.agent()._completer

    class Loud:
        asked: list[str] = []  # noqa: RUF012 - one test's

        async def complete(self, model: ModelConfig, request: Any, **options: Any) -> Any:
            self.asked.append(model.id)
            return await inner.complete(model, request, **options)

        async def aclose(self) -> None:
            self.asked.append("closed")

    loud: Any = Loud()
    agent = CascadeAgent(
        [
            ModelConfig(
                "small",
                "openai",
                cost=0.001,
                api_key="k",
                base_url="http://127.0.0.1:9/v1",
            )
        ],
        completer=loud,
    )
    assert answer(agent).content == "Oslo"
    assert loud.asked == ["openai:small", "closed"]
    for option in (
        {"transport": w.transport},
        {"retry": RetryPolicy()},
        {"deadlines": Deadlines()},
    ):
        with pytest.raises(ConfigurationError, match="completer="):
            CascadeAgent(["openai:gpt-5"], completer=loud, **option)


def test_the_clock_dates_the_request_and_its_prices(world: Any) -> None:
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    w = world(small=["Oslo"])
    result = answer(w.agent(clock=clock))
    assert result.created == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert result.timing.total_ms == 0


# Who listens


def test_one_listener_or_several_hear_every_event(world: Any) -> None:
    first: list[Any] = []
    second: list[Any] = []
    answer(world(small=["a"]).agent(on_event=[first.append, second.append]))
    assert [type(event) for event in first] == [
        events.RequestStarted,
        events.Routed,
        events.CallStarted,
        events.CallFinished,
        events.RequestCompleted,
    ]
    assert first == second


def test_a_listener_that_raises_is_logged_and_breaks_nothing(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def explode(_: Any) -> None:
        raise RuntimeError("no")

    result = answer(world(small=["a"]).agent(on_event=[explode, heard.append]))
    assert result.content == "a"
    assert len(heard) == 5
    assert "listener raised on RequestStarted" in caplog.text


def test_listeners_that_cannot_work_are_refused(world: Any) -> None:
    async def waiting(_: Any) -> None:
        pass

    with pytest.raises(ConfigurationError, match="plain functions"):
        world(small=["a"]).agent(on_event=waiting)
    with pytest.raises(ConfigurationError, match="callable"):
        world(small=["a"]).agent(on_event=[3])


def test_verbose_writes_what_happens_and_never_a_prompt(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    question, reply = "a secret question", "BAD and secret answer"
    answer(world(small=[reply], big=["secret too"]).agent(verbose=True), question)
    lines = capsys.readouterr().err
    assert "cascade" in lines
    assert "draft rejected: it starts with BAD" in lines
    assert "answered by openai:big" in lines
    assert "secret" not in lines
    with pytest.raises(AllModelsFailedError):
        answer(world(small=[404]).agent(verbose=True))
    lines = capsys.readouterr().err
    assert "direct openai:small failed" in lines
    assert "request failed" in lines
    answer(world(small=["a"]).agent())
    assert capsys.readouterr().err == ""


# What it costs


def test_the_tracker_adds_up_every_call_and_reports_its_state(world: Any) -> None:
    tracker = CostTracker(budget_limit="0.003")
    w = world(small=["BAD"], big=["b"])
    agent = w.agent(cost_tracker=tracker)
    first = answer(agent, user_id="ann")
    # The draft costs 0.0002 and the verifier 0.0025 US dollars.
    assert tracker.spent == Decimal("0.0027") == first.cost.total
    assert first.budget.mode == "warn"
    assert first.budget.limit == Decimal("0.003")
    assert first.budget.spent == Decimal("0.0027")
    assert first.budget.state == "degraded"  # 90 %
    assert tracker.by_user == {"ann": 0.0027}
    assert tracker.by_model == {"small": 0.0002, "big": 0.0025}
    assert {entry.query_id for entry in tracker.entries} == {first.request_id}
    second = answer(agent, user_id="ben")
    assert second.budget.state == "exhausted"  # it tracks, it stops nothing
    warned = [event for event in w.events if isinstance(event, events.BudgetWarned)]
    assert [event.state for event in warned] == ["warned", "degraded", "exhausted"]
    assert answer(world(small=["a"]).agent()).budget.mode == "off"


def test_a_failed_request_is_tracked_too(world: Any) -> None:
    tracker = CostTracker()
    with pytest.raises(AllModelsFailedError):
        answer(world(small=["BAD"], big=[500]).agent(cost_tracker=tracker))
    assert tracker.spent == Decimal("0.0002")


# One request


def test_every_option_of_run_is_known_to_the_other_ways_of_asking() -> None:
    of_run = set(inspect.signature(CascadeAgent.run).parameters) - {"self", "query", "messages"}
    assert of_run == set(RunOptions.__annotations__)


@pytest.mark.parametrize(
    ("option", "sent"),
    [
        ({"max_tokens": 9}, {"max_completion_tokens": 9}),
        ({"temperature": 0.25}, {"temperature": 0.25}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"seed": 11}, {"seed": 11}),
        ({"extra": {"service_tier": "flex"}}, {"service_tier": "flex"}),
        (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_object"}},
        ),
    ],
)
def test_what_is_said_is_sent_and_what_is_not_said_is_not(
    world: Any, option: dict[str, Any], sent: dict[str, Any]
) -> None:
    w = world(small=["a"])
    answer(w.agent(), **option)
    answer(w.agent())
    with_it, without = w.bodies
    for name, value in sent.items():
        assert with_it[name] == value
        assert name not in without
    assert set(with_it) - set(without) == set(sent)


def test_the_system_prompt_is_sent(world: Any) -> None:
    w = world(small=["a"])
    answer(w.agent(), system_prompt="Be brief.")
    system, user = w.bodies[0]["messages"]
    assert system["content"] == "Be brief."
    assert user == {"role": "user", "content": "Where is Oslo?"}


def test_tools_and_tool_choice_are_sent(world: Any) -> None:
    w = world(small=["a"])
    answer(w.agent(), tools=[{"name": "now"}], tool_choice="required")
    assert w.bodies[0]["tools"][0]["function"]["name"] == "now"
    assert w.bodies[0]["tool_choice"] == "required"


def test_the_user_id_is_told_to_listeners_and_not_to_providers(world: Any) -> None:
    w = world(small=["a"])
    answer(w.agent(), user_id="ann@example.org")
    assert w.events[0].user_id == "ann@example.org"
    exchange = w.transport.exchanges[0]
    assert b"ann@" not in exchange.body
    assert "ann@" not in str(exchange.headers)
    with pytest.raises(InvalidRequestError, match="user_id"):
        answer(w.agent(), user_id=7)


def test_model_asks_that_one_and_no_other(world: Any) -> None:
    w = world(small=["a"], big=[500])
    with pytest.raises(AllModelsFailedError):
        answer(w.agent(), model="big")
    assert w.asked == ["big"]
    with pytest.raises(UnknownModelError):
        answer(w.agent(), model="huge")


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_timeout_that_is_none_is_refused(world: Any, timeout: Any) -> None:
    with pytest.raises(InvalidRequestError, match="timeout"):
        answer(world(small=["a"]).agent(), timeout=timeout)


def test_a_timeout_bounds_the_whole_request(world: Any) -> None:
    seen: list[float | None] = []
    clock = ManualClock()
    w = world(small=["BAD"], big=["b"])
    inner = w.agent()._completer

    class Watching:
        async def complete(
            self, model: Any, request: Any, *, timeout: float | None, may_retry: Any = None
        ) -> Any:
            seen.append(timeout)
            clock.advance(2)
            return await inner.complete(model, request, timeout=timeout, may_retry=may_retry)

        async def aclose(self) -> None:
            pass

    agent = w.agent(completer=Watching(), transport=None, retry=None, clock=clock)
    answer(agent, timeout=5)
    answer(agent)
    assert seen == [5.0, 3.0, None, None]


# Output limits


def test_the_smaller_of_the_calls_and_the_models_limit_is_sent(world: Any) -> None:
    w = world(small=["a"])
    (model,) = w.agent().models
    capped = ModelConfig(
        "small",
        "openai",
        price=Price(input=1, output=2),
        api_key="k",
        base_url=model.base_url,
        max_tokens=50,
    )
    agent = CascadeAgent([capped], transport=w.transport)
    for asked, sent in ((None, 50), (20, 20), (80, 50)):
        result = answer(agent, max_tokens=asked)
        assert result.budget.max_tokens_sent == {"openai:small": sent}
        assert w.bodies[-1]["max_completion_tokens"] == sent


def test_a_protocol_that_demands_a_limit_is_given_the_models_largest() -> None:
    reply = CannedResponse.json(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [{"type": "text", "text": "Oslo"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 2},
        }
    )
    transport = RecordingTransport(respond=lambda _: reply)
    facts = lookup("anthropic", "claude-haiku-4-5")
    assert facts is not None
    known = ModelConfig("claude-haiku-4-5", "anthropic", api_key="k")
    unknown = ModelConfig("claude-unheard-of", "anthropic", api_key="k", cost=0.001)
    for model, expected in (
        (known, facts.max_output_tokens),
        (unknown, get_provider("anthropic").quirks.default_max_tokens),
    ):
        result = answer(CascadeAgent([model], transport=transport))
        assert result.budget.max_tokens_sent == {model.id: expected}
        assert transport.exchanges[-1].request_json["max_tokens"] == expected
    assert facts.max_output_tokens != get_provider("anthropic").quirks.default_max_tokens


# The environment


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    for provider in USUAL_MODELS:
        for variable in get_provider(provider).key_env:
            monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_the_environment_may_name_the_models(no_keys: pytest.MonkeyPatch) -> None:
    no_keys.setenv(MODELS_VARIABLE, "openai:gpt-5-mini, anthropic:claude-opus-4-5,")
    agent = CascadeAgent.from_env(order="given")
    assert [model.id for model in agent.models] == [
        "openai:gpt-5-mini",
        "anthropic:claude-opus-4-5",
    ]


def test_keys_in_the_environment_bring_their_providers_models(
    no_keys: pytest.MonkeyPatch,
) -> None:
    no_keys.setenv("ANTHROPIC_API_KEY", "k")
    agent = CascadeAgent.from_env()
    assert {model.provider for model in agent.models} == {"anthropic"}
    assert len(agent.models) == 2


@pytest.mark.usefixtures("no_keys")
def test_an_environment_without_anything_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match=r"CASCADEFLOW_MODELS.*OPENAI_API_KEY"):
        CascadeAgent.from_env()


def test_the_usual_models_are_known_priced_and_not_about_to_end() -> None:
    for provider, names in USUAL_MODELS.items():
        for name in names:
            facts = lookup(provider, name)
            assert facts is not None, name
            assert facts.priced, name
            assert not facts.deprecated, name
            assert facts.retires is None or facts.retires > catalogue_date(), name


# Validators that wait


def test_a_validator_may_be_a_coroutine(world: Any) -> None:
    class Waiting:
        async def judge(self, *_: Any, **__: Any) -> QualityReport:
            await asyncio.sleep(0)
            return QualityReport(mode="fast", accepted=False, reason="on second thoughts")

    w = world(small=["a"], big=["b"])
    result = answer(w.agent(validator=Waiting()))
    assert result.content == "b"
    assert result.quality.reason == "on second thoughts"


def test_a_validator_that_waits_too_long_accepts_nothing(world: Any) -> None:
    class Stuck:
        async def judge(self, *_: Any, **__: Any) -> QualityReport:
            await asyncio.Event().wait()
            raise AssertionError("it waits for ever")

    w = world(small=["a"], big=["b"])
    agent = w.agent(validator=Stuck(), on_verifier_failure="draft")
    result = answer(agent, timeout=0.05)
    assert result.quality.accepted is False
    assert "TimeoutError" in result.quality.reason


def test_a_validator_that_gives_no_report_accepts_nothing(world: Any) -> None:
    class Yes:
        def judge(self, *_: Any, **__: Any) -> bool:
            return True

    w = world(small=["a"], big=["b"])
    result = answer(w.agent(validator=Yes()))
    assert result.content == "b"
    assert "judge gave a bool" in result.quality.reason
