"""What it takes to check a tool call, and to run one.

A call is checked on the way of every draft that makes one, so it stands beside what the standard
library and the `jsonschema` package take to read and check the same arguments, the schema being
read beforehand by both.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from cascadeflow.quality import judge_tool_calls
from cascadeflow.structured import OutputSchema
from cascadeflow.tools import Toolbox, tool
from cascadeflow.types import Tool, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK = "check a draft's tool call, {} of arguments"
FUNCTION = "read a function's arguments, 300 bytes"
RUN = "run an async tool"
PARSE = "read a structured answer, 300 bytes"

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "days": {"type": "integer", "minimum": 1, "maximum": 16},
        "units": {"type": "string", "enum": ["metric", "imperial"]},
        "places": {"type": "array", "items": {"$ref": "#/$defs/place"}},
    },
    "required": ["city", "places"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "lat": {"type": "number", "minimum": -90, "maximum": 90},
                "lon": {"type": "number"},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["name", "lat", "lon"],
            "additionalProperties": False,
        }
    },
}


class Place(TypedDict):
    name: str
    lat: float
    lon: float
    note: str | None


class Asked(TypedDict):
    city: str
    days: int
    units: str
    places: list[Place]


def arguments(size: int) -> str:
    place = {"name": "Plaza de Armas", "lat": -12.0459, "lon": -77.0305, "note": None}
    places = [place] * max(1, size // len(json.dumps(place)))
    return json.dumps({"city": "Lima", "days": 3, "units": "metric", "places": places})


def named(size: int) -> str:
    return CHECK.format(f"{size} bytes" if size < 1024 else f"{size // 1024} KB")


# 300 times the text may take 300 times as long.
SIZES = [(300, 1e-3, 2e-5), (102_400, 0.3, 6e-3)]


@pytest.mark.parametrize(("size", "gate", "goal"), SIZES)
def test_check(benchmark: Any, size: int, gate: float, goal: float) -> None:
    benchmark.extra_info |= {
        "figure": named(size), "role": "figure", "gate_s": gate, "goal_s": goal,
    }  # fmt: skip
    tools, calls = (
        (Tool("weather", parameters=SCHEMA),),
        (ToolCall("1", "weather", arguments(size)),),
    )
    assert benchmark(judge_tool_calls, calls, tools).verdict == "passed"


@pytest.mark.parametrize("size", [size for size, _, _ in SIZES])
def test_check_reference(benchmark: Any, size: int) -> None:
    benchmark.extra_info |= {
        "figure": named(size), "role": "reference", "reference": "json and jsonschema",
    }  # fmt: skip
    validator, text = Draft202012Validator(SCHEMA), arguments(size)
    assert benchmark(lambda: validator.is_valid(json.loads(text)))


def forecast(city: str, places: list[Place], days: int = 1, units: str = "metric") -> str:
    return f"{city} {places} {days} {units}"


def test_function(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": FUNCTION, "role": "figure", "gate_s": 1e-3, "goal_s": 4e-5,
    }  # fmt: skip
    box, call = Toolbox.of([tool(forecast)]), ToolCall("1", "forecast", arguments(300))
    assert benchmark(box.check, call) is None


def test_function_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": FUNCTION, "role": "reference", "reference": "pydantic, the same types",
    }  # fmt: skip
    adapter, text = TypeAdapter(Asked), arguments(300)
    assert benchmark(adapter.validate_json, text)["days"] == 3


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


async def nothing(x: int) -> str:
    return str(x)


def test_run(benchmark: Any, loop: asyncio.AbstractEventLoop) -> None:
    benchmark.extra_info |= {"figure": RUN, "role": "figure", "gate_s": 5e-3, "goal_s": 1.5e-4}
    box, call = Toolbox.of([tool(nothing)]), ToolCall("1", "nothing", '{"x": 7}')
    outcome = benchmark(lambda: loop.run_until_complete(box.execute(call, timeout=60)))
    assert outcome.content == "7"


def test_run_reference(benchmark: Any, loop: asyncio.AbstractEventLoop) -> None:
    benchmark.extra_info |= {
        "figure": RUN, "role": "reference", "reference": "asyncio, the function alone",
    }  # fmt: skip
    assert benchmark(lambda: loop.run_until_complete(nothing(7))) == "7"


def test_parse(benchmark: Any) -> None:
    benchmark.extra_info |= {"figure": PARSE, "role": "figure", "gate_s": 1e-3, "goal_s": 2e-5}
    schema, text = OutputSchema.of(Asked), arguments(300)
    assert benchmark(schema.parse, text).value["days"] == 3


def test_parse_reference(benchmark: Any) -> None:
    benchmark.extra_info |= {
        "figure": PARSE, "role": "reference", "reference": "pydantic, the same types",
    }  # fmt: skip
    adapter, text = TypeAdapter(Asked), arguments(300)
    assert benchmark(adapter.validate_json, text)["days"] == 3
