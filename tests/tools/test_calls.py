"""Checking and running calls: whatever a tool does, the model is told or the run ends cleanly."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import enum
import functools
import json
import threading
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from cascadeflow.errors import CascadeFlowError, ConfigurationError, InvalidRequestError, ToolAbort
from cascadeflow.tools import (
    Toolbox,
    ToolContext,
    ToolExecutor,
    ToolOutcome,
    run_executor,
    tool,
)
from cascadeflow.types import Message, Tool, ToolCall

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


class Place(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def known(cls, name: str) -> str:
        if name == "nowhere":
            raise ValueError("there is no such place")
        return name


def weather(city: str, days: int = 1) -> dict[str, Any]:
    return {"city": city, "days": days}


def call(name: str, arguments: Any = "{}", id_: str = "call_1") -> ToolCall:
    return ToolCall(id_, name, arguments if isinstance(arguments, str) else json.dumps(arguments))


def run(function: Any, arguments: Any = "{}", **options: Any) -> ToolOutcome:
    box = Toolbox.of([tool(function, name="it")])
    return asyncio.run(box.execute(call("it", arguments), **options))


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("weather", '{"city": "Lima"}', None, ""),
        ("weather", '{"city": "Lima", "days": 2.0}', None, ""),
        ("wether", "{}", "unknown_tool", "There is no tool called 'wether'; the tools are 'weat"),
        ("weather", '{"city": "Lima"', "broken_json", "are not JSON: an object is not closed"),
        ("weather", '{"city": "Lima"} {}', "broken_json", "are not JSON: text after the value"),
        ("weather", '["Lima"]', "not_an_object", "must be one JSON object"),
        ("weather", "null", "not_an_object", "must be one JSON object"),
        ("weather", "", "invalid_arguments", "do not fit: $ lacks the member “city”."),
        ("weather", '{"city": 3}', "invalid_arguments", "$.city is of type number, not string."),
        (
            "weather",
            '{"city": "Lima", "day": 2}',
            "invalid_arguments",
            "$.day is not allowed; the members are city, days.",
        ),
    ],
)
def test_a_function_and_a_raw_schema_give_the_same_verdict(
    name: str, arguments: str, kind: str | None, message: str
) -> None:
    declared = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    boxes = [Toolbox.of([weather]), Toolbox.of([declared]), Toolbox.of([declared["function"]])]
    problems = [box.check(call(name, arguments)) for box in boxes]
    assert problems[0] == problems[1] == problems[2]
    if problems[0] is None:
        assert kind is None
    else:
        assert problems[0].kind == kind
        assert message in problems[0].message


def test_what_only_python_knows_is_checked_too() -> None:
    def go(place: Place) -> str:
        return place.name

    problem = Toolbox.of([go]).check(call("go", {"place": {"name": "nowhere"}}))
    assert problem is not None
    assert problem.message == (
        "The arguments of 'go' do not fit: $.place.name: Value error, there is no such place."
    )
    assert Toolbox.of([go]).check(call("go", {"place": {"name": "Lima"}})) is None


def test_a_call_that_does_not_fit_is_not_run_and_the_model_is_told() -> None:
    ran: list[str] = []

    def note(city: str) -> None:
        ran.append(city)

    outcome = run(note, {"city": 1})
    assert (
        outcome.error == "The arguments of 'it' do not fit: $.city is of type number, not string."
    )
    assert outcome.content == outcome.error
    assert ran == []
    unknown = asyncio.run(Toolbox.of([note]).execute(call("other")))
    assert unknown.error == "There is no tool called 'other'; the tools are 'note'."


class Mood(enum.StrEnum):
    GOOD = "good"


class Old(str, enum.Enum):  # noqa: UP042 - what code before 3.11 has
    GOOD = "good"


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("Sunny, 21 °C", "Sunny, 21 °C"),
        ("", ""),
        (Mood.GOOD, "good"),
        (Old.GOOD, "good"),
        (None, "null"),
        (3, "3"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        (Place(name="Lima"), '{"name":"Lima"}'),
        ([Point(1)], '[{"x":1}]'),
        (Decimal("1.50"), '"1.50"'),
        (float("nan"), '"NaN"'),
        (b"bytes", '"bytes"'),
        ("half \ud800", "half ?"),
    ],
)
def test_a_result_is_text_or_json(value: Any, content: str) -> None:
    def give() -> Any:
        return value

    async def give_later() -> Any:
        return value

    for function in (give, give_later):
        outcome = run(function)
        assert (outcome.content, outcome.error) == (content, None)
        assert outcome.duration_ms > 0
        assert outcome.message == Message("tool", content, tool_call_id="call_1")


def test_a_result_that_is_no_json_is_an_error_for_the_model() -> None:
    for value in (object(), b"\xff", lambda: 1):

        def give(value: Any = value) -> Any:
            return value

        error = run(functools.partial(give, value=value)).error
        assert error is not None
        assert error.startswith("TypeError: the result cannot be written as JSON")


class BadTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ValueError("no such city"), "ValueError: no such city"),
        (KeyError("city"), "KeyError: 'city'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (TimeoutError("the database"), "TimeoutError: the database"),
        (InvalidRequestError("ours"), "InvalidRequestError: ours"),
        (BadTextError(), "BadTextError"),
        (StopAsyncIteration("x"), None),
        (StopIteration("x"), None),
        (ExceptionGroup("two", [ValueError("a")]), "ExceptionGroup: two (1 sub-exception)"),
        (ValueError("x" * 10_000), "ValueError: " + "x" * 1988 + "…"),
        (ValueError("half \ud800"), "ValueError: half ?"),
    ],
)
def test_a_tool_that_raises_tells_the_model(raised: Exception, error: str | None) -> None:
    def fail() -> None:
        raise raised

    async def fail_later() -> None:
        raise raised

    for function in (fail, fail_later):
        outcome = run(function)
        # Python itself turns what would end an iteration into a RuntimeError.
        assert outcome.error == error if error else "Stop" in str(outcome.error)
        assert outcome.content == outcome.error


def test_a_tool_may_end_the_whole_run() -> None:
    def stop() -> None:
        raise ToolAbort("the user went away")

    async def stop_later() -> None:
        raise ToolAbort("the user went away")

    for function in (stop, stop_later):
        with pytest.raises(ToolAbort, match="the user went away") as raised:
            run(function)
        assert isinstance(raised.value, CascadeFlowError)


def test_a_cancelled_call_cancels_its_tool() -> None:
    seen: list[str] = []
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        box = Toolbox.of([hang])
        task = asyncio.ensure_future(box.execute(call("hang")))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_a_tool_that_cancels_itself_is_not_an_error_for_the_model() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(gives_up)


def test_an_async_tool_that_hangs_is_ended_when_its_time_is_up() -> None:
    ended: list[bool] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    assert run(hang, timeout=0.01).error == "TimeoutError: it took longer than 0.01 s"
    assert run(hang, timeout=0).error == "TimeoutError: it took longer than 0 s"
    assert ended


def test_a_thread_that_hangs_is_left_when_its_time_is_up() -> None:
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait()
        done.set()

    async def main() -> ToolOutcome:
        outcome = await Toolbox.of([hang]).execute(call("hang"), timeout=0.01)
        assert begun.is_set()
        assert not done.is_set()
        release.set()
        return outcome

    assert asyncio.run(main()).error == "TimeoutError: it took longer than 0.01 s"
    assert done.wait()


def test_without_a_timeout_a_tool_may_take_its_time() -> None:
    async def patient() -> str:
        for _ in range(100):
            await asyncio.sleep(0)
        return "done"

    assert run(patient).content == "done"


def test_a_function_runs_in_a_thread_with_the_contexts_variables_and_a_coroutine_does_not() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    def in_thread() -> list[Any]:
        return [variable.get(), threading.current_thread() is threading.main_thread()]

    async def in_loop() -> list[Any]:
        return in_thread()

    def returns_a_coroutine() -> Any:
        return in_loop()

    async def main() -> list[str]:
        variable.set("set")
        box = Toolbox.of([in_thread, in_loop, returns_a_coroutine])
        names = ("in_thread", "in_loop", "returns_a_coroutine")
        return [(await box.execute(call(name))).content for name in names]

    assert asyncio.run(main()) == ['["set",false]', '["set",true]', '["set",true]']


def test_the_context_is_handed_in_and_cannot_be_forged() -> None:
    def who(x: int, context: ToolContext, maybe: ToolContext | None = None) -> list[Any]:
        return [x, context.user_id, context.step, context.call_id, maybe is context]

    box = Toolbox.of([who])
    context = ToolContext(call_id="another", user_id="ann", request_id="r", step=2)
    outcome = asyncio.run(box.execute(call("who", {"x": 1}, "c7"), context=context))
    assert outcome.content == '[1,"ann",2,"c7",true]'
    assert asyncio.run(box.execute(call("who", {"x": 1}))).content == '[1,null,1,"call_1",true]'
    problem = box.check(call("who", {"x": 1, "context": {"user_id": "root"}}))
    assert problem is not None
    assert "$.context is not allowed" in problem.message


def test_arguments_reach_every_kind_of_parameter() -> None:
    def mixed(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> list[int]:
        return [a, b, c, d]

    assert run(mixed, {"a": 1}).content == "[1,2,3,4]"
    assert run(mixed, {"a": 1, "d": 9, "c": 8}).content == "[1,2,8,9]"
    assert run(functools.partial(mixed, 5, d=6), {"b": 7}).content == "[5,7,3,6]"


def test_null_stands_for_a_default_under_strict_mode() -> None:
    def f(x: int = 3, y: int | None = 4, z: str | None = None) -> list[Any]:
        return [x, y, z]

    box = Toolbox.of([tool(f, strict=True)])
    asked = call("f", {"x": None, "y": None, "z": None})
    assert asyncio.run(box.execute(asked)).content == "[3,null,null]"
    assert box.check(call("f", {"x": 1})) is not None


def test_a_default_of_field_is_given_when_the_argument_is_left_out() -> None:
    empty: Any = Field(default_factory=lambda: [1])

    def f(x: list[int] = empty, y: int = Field(2)) -> list[Any]:
        return [x, y]

    assert run(f).content == "[[1],2]"


def test_hostile_texts_arrive_as_they_are() -> None:
    def echo(text: str) -> str:
        return text

    for text in (
        "'; DROP TABLE users; --",
        '"}]} ignore the schema {"text": "x',
        "\x00\x1b[31m\u202e ${jndi:ldap://x} {{7*7}} %s",
        "é" * 500_000,
    ):
        assert run(echo, {"text": text}).content == text


def test_a_megabyte_and_deep_nesting_are_read_or_refused_and_never_crash() -> None:
    def total(numbers: list[int]) -> int:
        return len(numbers)

    def anything(x: Any) -> str:
        return type(x).__name__

    assert run(total, '{"numbers": [' + "1," * 400_000 + "1]}").content == "400001"
    assert run(anything, '{"x": ' + "[" * 100 + "]" * 100 + "}").content == "list"
    deep = run(anything, '{"x": ' + "[" * 200_000 + "]" * 200_000 + "}")
    assert "nested too deep" in str(deep.error)


def test_a_tool_that_is_only_described_cannot_be_run_here() -> None:
    box = Toolbox.of([weather, Tool("raw")])
    assert box.names == {"weather"}
    assert not box.runnable
    assert Toolbox.of([weather]).runnable
    with pytest.raises(ConfigurationError, match="'raw' is only described"):
        asyncio.run(box.execute(call("raw")))


def test_an_executor_of_ones_own_follows_the_same_rules() -> None:
    def sync(asked: ToolCall) -> Any:
        return {"name": asked.name, "given": json.loads(asked.arguments)}

    async def later(asked: ToolCall) -> Any:
        return sync(asked)

    class Runner:
        async def __call__(self, asked: ToolCall) -> Any:
            return sync(asked)

    def fails(asked: ToolCall) -> Any:
        raise ValueError(asked.name)

    async def hangs(asked: ToolCall) -> Any:  # noqa: ARG001
        await asyncio.Event().wait()

    def aborts(asked: ToolCall) -> Any:
        raise ToolAbort(asked.name)

    def outcome(executor: ToolExecutor, timeout: float | None = None) -> ToolOutcome:
        return asyncio.run(run_executor(executor, call("raw", {"a": 1}), timeout=timeout))

    for executor in (sync, later, Runner()):
        assert outcome(executor).content == '{"name":"raw","given":{"a":1}}'
    assert outcome(fails).error == "ValueError: raw"
    assert outcome(hangs, 0.01).error == "TimeoutError: it took longer than 0.01 s"
    with pytest.raises(ToolAbort):
        outcome(aborts)


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([3], r"tools\[0\] must be a function, a Tool or a dict in the OpenAI form, not int"),
        ([{"type": "web_search"}], r"tools\[0\] is not a function: 'web_search'"),
        ([{"name": "x", "colour": 1}], r"tools\[0\] has fields no tool has: colour"),
        ([{"description": "x"}], r"tools\[0\] needs a name"),
        ([{"name": "x", "parameters": []}, {"name": "y", "parameters": [1]}], r"tools\[1\].param"),
        ([{"name": "x", "strict": 1}], r"tools\[0\].strict must be"),
        ([{"name": "x", "description": 1}], r"tools\[0\].description must be text"),
        ({"name": "x"}, "tools must be a list of tools"),
        ("weather", "tools must be a list of tools"),
        (None, "tools must be a list of tools"),
    ],
)
def test_what_is_no_tool_is_refused(tools: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        Toolbox.of(tools)


def test_many_tools_and_a_long_name_make_no_long_message() -> None:
    box = Toolbox.of([Tool(f"t{index}") for index in range(500)])
    problem = box.check(call("x" * 10_000))
    assert problem is not None
    assert len(problem.message) < 400
    nothing = Toolbox.of([]).check(call("x"))
    assert nothing is not None
    assert nothing.message == "There is no tool called 'x'; there are no tools."


def test_many_calls_at_once_do_not_mix() -> None:
    async def echo(x: int, context: ToolContext) -> list[Any]:
        await asyncio.sleep(0)
        return [x, context.call_id]

    def echo_in_thread(x: int, context: ToolContext) -> list[Any]:
        return [x, context.call_id]

    async def main() -> None:
        box = Toolbox.of([echo, echo_in_thread])
        calls = [
            call(name, {"x": index}, f"{name}{index}")
            for index in range(50)
            for name in ("echo", "echo_in_thread")
        ]
        outcomes = await asyncio.gather(*[box.execute(one) for one in calls])
        for asked, outcome in zip(calls, outcomes, strict=True):
            assert outcome.call is asked
            given = json.loads(asked.arguments)["x"]
            assert json.loads(outcome.content) == [given, asked.id]

    asyncio.run(main())
