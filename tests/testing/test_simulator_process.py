"""The simulated provider in a process of its own: starts, answers, counts, ends with its parent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.testing import (
    LogNormalLatency,
    SimulatedModel,
    SimulatedProvider,
    start_in_process,
)
from cascadeflow.testing.simulator import main

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Wire

MODELS = [
    SimulatedModel("small", skill=0.5, answers={f"{n} + 1?": str(n + 1) for n in range(50)}),
    SimulatedModel("slow", latency=LogNormalLatency(0.001, 0.1), tokens_per_second=1e5),
]
CONFIG = {"seed": 7, "models": [{"name": "small", "skill": 0.5}]}
COMMAND = [sys.executable, "-m", "cascadeflow.testing.simulator"]


def test_it_answers_as_the_same_provider_in_this_process_does(wire: Wire) -> None:
    questions = [f"{n} + 1?" for n in range(50)]
    requests = [wire.openai("small", question) for question in questions]
    requests += [wire.anthropic("slow", "Hi", stream=True)]

    async def here() -> list[Any]:
        async with SimulatedProvider(MODELS, seed=7) as server:
            return [response.body for response in await wire.ask(server.port, *requests[:-1])]

    with start_in_process(MODELS, seed=7) as simulator:
        port = int(simulator.url.rsplit(":", 1)[1])
        there = asyncio.run(wire.ask(port, *requests))
        stats = simulator.stats()
        (small,) = simulator.models_for("openai", "small")
        assert small.base_url == simulator.base_url == f"{simulator.url}/v1"
        assert simulator.pid != os.getpid()
    texts = [response.json["choices"][0]["message"] for response in there[:-1]]
    assert texts == [json.loads(body)["choices"][0]["message"] for body in asyncio.run(here())]
    assert stats.requests == 51
    assert stats.by_status == {200: 51}
    assert stats.right + stats.wrong == 50
    assert stats.by_model == {"small": 50, "slow": 1}
    with pytest.raises(StoreError, match="does not answer"):
        simulator.stats()


def test_a_key_is_passed_on_and_not_shown(wire: Wire) -> None:
    with start_in_process([SimulatedModel("small")], api_key="the-right-key") as simulator:
        port = int(simulator.url.rsplit(":", 1)[1])
        (response,) = asyncio.run(wire.ask(port, wire.openai("small", "Hi")))
        assert response.status == 401
        assert simulator.models_for("openai")[0].api_key == "the-right-key"
        assert "the-right-key" not in repr(simulator)


def test_a_model_with_a_function_cannot_go_to_another_process() -> None:
    models = [SimulatedModel("small", answers=str.upper)]
    with pytest.raises(ConfigurationError, match="is a function"), start_in_process(models):
        pass


def test_a_process_that_does_not_start_is_a_store_error(
    wire: Wire, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with SimulatedProvider([SimulatedModel("small")]) as server:
            await wire.ask(server.port, wire.openai("small", "Hi"))
            start = start_in_process([SimulatedModel("small")], port=server.port)
            with pytest.raises(StoreError, match="ended with status 2"), start:
                pass

    asyncio.run(scenario())
    assert "cannot listen" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", ["file", "object"])
def test_the_command_prints_where_it_listens_and_ends_when_it_is_told_to(
    wire: Wire, tmp_path: Path, number: signal.Signals, how: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    config = str(path) if how == "file" else json.dumps(CONFIG)
    with subprocess.Popen([*COMMAND, "--config", config], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert started["pid"] == process.pid
        assert started["url"] == f"http://127.0.0.1:{started['port']}"
        assert started["base_url"] == f"{started['url']}/v1"
        (response,) = asyncio.run(wire.ask(started["port"], wire.openai("small", "Hi")))
        assert response.status == 200
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stdout.read() == b""


def test_it_ends_when_its_standard_input_does() -> None:
    with subprocess.Popen(
        [*COMMAND, "--config", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(CONFIG).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["pid"] == process.pid
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not JSON"),
        ("no-such-file.json", "cannot read"),
        ('{"seed": 1}', "no models"),
        ('{"models": [], "colour": 1}', "colour"),
        ('{"models": [{"skill": 1}]}', "by name"),
        ('{"models": [{"name": "a", "skill": 7}]}', "SimulatedModel.skill"),
        ('{"models": [1]}', "must be an object"),
        ('{"models": [], "seed": -1}', "seed"),
        ('{"models": [], "seed": "one"}', "seed"),
    ],
)
def test_a_configuration_that_cannot_be_is_explained(
    config: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", config]) == 2
    assert words in capsys.readouterr().err


def test_the_address_is_the_one_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--host", "no such host", "--port", "8123", "--config", json.dumps(CONFIG)]
    assert main(arguments) == 2
    assert "cannot listen on no such host:8123" in capsys.readouterr().err
