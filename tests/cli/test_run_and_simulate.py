"""`cascadeflow simulate` and `cascadeflow run` as two processes that talk over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("simulator") / "config.json"
    right = {QUESTION: "The capital of France is Paris."}
    models = [{"name": name, "answers": right} for name in ("gpt-5-mini", "gpt-5", "unlisted")]
    # Answers nothing at all: a draft of it cannot be accepted.
    models.append({"name": "gpt-5-nano", "answers": {QUESTION: ""}})
    config.write_text(json.dumps({"models": models}), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "cascadeflow.cli",
        "simulate",
        "--config",
        str(config),
        "--json",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        assert address["models"] == ["gpt-5-mini", "gpt-5", "unlisted", "gpt-5-nano"]
        yield address["base_url"]
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate()
        assert process.returncode == 0
        assert "requests on" in messages


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")


@pytest.mark.usefixtures("key")
def test_run_answers_on_standard_output_and_tells_the_cost_on_standard_error(
    simulator: str, call: Call
) -> None:
    models = ("-m", "openai:gpt-5", "-m", "openai:gpt-5-mini")
    result = call("run", QUESTION, *models, "--base-url", simulator)
    assert result.stdout == "The capital of France is Paris.\n"
    assert "openai:gpt-5-mini | draft accepted" in result.stderr
    assert "saved $" in result.stderr
    assert "sk-not-to-be-shown" not in result.output


@pytest.mark.usefixtures("key")
def test_run_with_json_gives_the_whole_result(simulator: str, answered: Answered) -> None:
    models = ("-m", "openai:gpt-5-nano", "-m", "openai:gpt-5")
    found = answered("run", QUESTION, *models, "--base-url", simulator)
    assert found["content"] == "The capital of France is Paris."
    assert found["routing"]["model_used"] == "openai:gpt-5"
    assert found["quality"]["accepted"] is False
    direct = answered("run", QUESTION, *models, "--base-url", simulator, "--direct")
    assert direct["routing"]["route"] == "direct"
    assert direct["quality"]["accepted"] is None


@pytest.mark.usefixtures("key")
def test_the_options_of_run_reach_the_request(simulator: str, answered: Answered) -> None:
    models = ("-m", "openai:gpt-5-mini", "-m", "openai:gpt-5", "--base-url", simulator)
    found = answered("run", QUESTION, *models, "--max-tokens", "2", "--direct")
    assert found["budget"]["max_tokens_sent"] == {"openai:gpt-5": 2}
    assert found["finish_reason"] == "length"
    strict = answered("run", QUESTION, *models, "--threshold", "1")
    assert strict["quality"]["threshold"] == 1.0
    longer = answered("run", QUESTION, *models, "--system", "word " * 400, "--direct")
    short = answered("run", QUESTION, *models, "--direct")
    assert longer["usage"]["input_tokens"] > short["usage"]["input_tokens"] + 300


@pytest.mark.usefixtures("key")
def test_the_models_come_from_the_environment_when_none_are_named(
    simulator: str, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADEFLOW_MODELS", "openai:gpt-5-mini, openai:gpt-5")
    found = answered("run", QUESTION, "--base-url", simulator)
    assert found["routing"]["draft_model"] == "openai:gpt-5-mini"


@pytest.mark.usefixtures("key")
def test_a_model_of_unknown_price_runs_only_when_that_is_allowed(
    simulator: str, answered: Answered
) -> None:
    arguments = ("run", QUESTION, "-m", "openai:unlisted", "--base-url", simulator)
    error = answered(*arguments, exit_code=2)["error"]
    assert error["type"] == "UnknownPriceError"
    assert answered(*arguments, "--allow-unknown-price")["cost"]["total"] is None


def test_run_reads_the_question_from_standard_input(simulator: str) -> None:
    command = [sys.executable, "-m", "cascadeflow.cli", "run", "-", "-m", "openai:gpt-5"]
    done = subprocess.run(
        [*command, "--base-url", simulator, "--json"],
        input=QUESTION,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENAI_API_KEY": "any"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content"] == "The capital of France is Paris."


def test_a_simulators_first_lines_come_while_it_runs_to_a_pipe_too() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cascadeflow.cli", "simulate"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "listens at http://127.0.0.1:" in process.stdout.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        lines, _ = process.communicate()
        assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:" in lines
        assert "0 requests on 0 connections" in lines
        assert process.returncode == 0


def test_run_without_models_or_keys_says_what_to_set(answered: Answered) -> None:
    error = answered("run", "Hello", exit_code=2)["error"]
    assert "CASCADEFLOW_MODELS" in error["message"]
    error = answered("run", "Hello", "-m", "openai:gpt-5", exit_code=2)["error"]
    assert "OPENAI_API_KEY" in error["message"]


@pytest.mark.usefixtures("key")
def test_a_server_that_is_not_there_is_one_clear_line(call: Call) -> None:
    # Nothing listens on port 9 (discard) of this machine.
    arguments = ("run", "Hello", "-m", "openai:gpt-5", "--base-url", "http://127.0.0.1:9/v1")
    result = call(*arguments, "--timeout", "5", exit_code=1)
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output


def test_a_simulators_configuration_that_is_wrong_is_refused(
    tmp_path: Path, answered: Answered
) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"models": [{"name": "m", "speed": 3}]}', encoding="utf-8")
    error = answered("simulate", "--config", str(path), exit_code=2)["error"]
    assert "speed" in error["message"]
    path.write_text("nonsense", encoding="utf-8")
    error = answered("simulate", "--config", str(path), exit_code=2)["error"]
    assert "not JSON" in error["message"]
    error = answered("simulate", "--config", str(tmp_path / "absent"), exit_code=1)["error"]
    assert "cannot be read" in error["message"]
    error = answered("simulate", "--error-rate", "2", exit_code=2)["error"]
    assert "error_rate" in error["message"]
