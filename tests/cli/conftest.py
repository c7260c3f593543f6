"""What the command line's tests share: calling it, and keeping it off the user's own files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.budget_store import NOW, filled
from typer.testing import CliRunner

from cascadeflow.cli.app import app
from cascadeflow.errors import ConfigurationError
from cascadeflow.models import catalogue
from cascadeflow.models.embedding import SentenceModel
from cascadeflow.providers.registry import get_provider, provider_ids
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(autouse=True)
def a_machine_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees the user's keys, models and price tables, or writes among them."""
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "APPDATA", "HOME"):
        monkeypatch.setenv(variable, str(home))
    for variable in ("CASCADEFLOW_PRICES", "CASCADEFLOW_MODELS", "CASCADEFLOW_STORE"):
        monkeypatch.delenv(variable, raising=False)
    for provider in provider_ids():
        for variable in get_provider(provider).key_env:
            monkeypatch.delenv(variable, raising=False)
    catalogue.reload()
    yield
    catalogue.reload()


@pytest.fixture(scope="module")
def sentence_model() -> SentenceModel:
    """The sentence model, opened; without it on this machine a test is skipped, and in CI fails."""
    try:
        model = SentenceModel.find()
        model.warm()
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    return model


@pytest.fixture
def call() -> Callable[..., Result]:
    """Runs a command and holds it to its exit code."""

    def run(*arguments: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        if result.exit_code != exit_code and result.exception is not None:
            raise AssertionError(result.output) from result.exception
        assert result.exit_code == exit_code, result.output
        return result

    return run


@pytest.fixture
def answered(call: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """Runs a command with `--json`, holds it to its exit code and gives its object."""

    def run(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
        result = call(*arguments, "--json", exit_code=exit_code)
        lines = result.stdout.splitlines()
        assert len(lines) == 1, "with --json, standard output holds the object and nothing else"
        value = json.loads(lines[0])
        assert isinstance(value, dict)
        return value

    return run


@pytest.fixture
def budget_clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """What the commands on budgets take the time from; it stands at `NOW`."""
    clock = ManualClock(NOW)
    monkeypatch.setattr("cascadeflow.cli.stores.clock", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget_clock: ManualClock) -> str:
    """The URL of a store with a month of spending, which the commands find by themselves."""
    assert budget_clock.now() == NOW
    url = f"sqlite:///{tmp_path}/budgets.db"
    filled(url)
    monkeypatch.setenv("CASCADEFLOW_STORE", url)
    return url
