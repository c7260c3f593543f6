"""The simulated provider in a process of its own, so that a load test has a core for itself."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cascadeflow.errors import StoreError
from cascadeflow.testing.journal import SimulatedStats
from cascadeflow.testing.provider import STATS_PATH, model_configs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.testing.model import SimulatedModel

__all__ = ["SimulatorProcess", "start_in_process"]

_SECONDS_TO_STOP = 10
_SECONDS_TO_ANSWER = 30


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A simulated provider that runs in another process.

    Attributes:
        url: its address without a path.
        pid: the process.
    """

    url: str
    pid: int
    _models: Mapping[str, SimulatedModel] = field(repr=False)
    _api_key: str | None = field(repr=False)

    @property
    def base_url(self) -> str:
        """Its address with `/v1`: the OpenAI SDK's base."""
        return f"{self.url}/v1"

    def models_for(self, provider: str, *names: str) -> tuple[ModelConfig, ...]:
        """As `SimulatedProvider.models_for`."""
        return model_configs(self._models, provider, names, url=self.url, api_key=self._api_key)

    def stats(self) -> SimulatedStats:
        """Asks for its counts.

        Raises:
            StoreError: it does not answer.
        """
        from http.client import HTTPConnection  # noqa: PLC0415 - only where it is asked

        address = self.url.removeprefix("http://")
        try:
            with closing(HTTPConnection(address, timeout=_SECONDS_TO_ANSWER)) as connection:
                connection.request("GET", STATS_PATH)
                counts: dict[str, Any] = json.load(connection.getresponse())
        except OSError as error:
            raise StoreError(f"the simulator at {self.url} does not answer: {error}") from error
        counts["by_status"] = {int(status): n for status, n in counts["by_status"].items()}
        return SimulatedStats(**counts)


@contextmanager
def start_in_process(
    models: Sequence[SimulatedModel], *, seed: int = 0, api_key: str | None = None, port: int = 0
) -> Iterator[SimulatorProcess]:
    """Runs `python -m cascadeflow.testing.simulator` until the block ends.

    The process also ends when this one does, however that happens.

    Args:
        models: what it serves; they must not hold functions.
        seed: decides everything that is drawn.
        api_key: the only key it takes; `None` takes any, and none.
        port: the port it listens on; 0 takes any free one.

    Raises:
        ConfigurationError: a model holds a function.
        StoreError: the process does not start.
    """
    config = {"seed": seed, "api_key": api_key, "models": [each.to_config() for each in models]}
    command = [sys.executable, "-m", "cascadeflow.testing.simulator"]
    process = subprocess.Popen(  # noqa: S603 - our own module, and nothing of a user's in it
        [*command, "--config", "-", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(config).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise StoreError(
                    f"the simulator ended with status {process.wait(_SECONDS_TO_STOP)} before it"
                    " listened: its words are on standard error"
                )
            started = json.loads(line)
            by_name = {model.name: model for model in models}
            yield SimulatorProcess(started["url"], started["pid"], by_name, api_key)
        finally:
            process.stdin.close()  # it ends when its standard input does
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
