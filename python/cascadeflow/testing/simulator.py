"""`python -m cascadeflow.testing.simulator`: the simulated provider as a process.

It prints one JSON line once it listens, `{"port": …, "url": …, "base_url": …, "pid": …}`, and runs
until it is interrupted or terminated; with `--config -`, also until its standard input ends.

The configuration is a JSON object: `{"seed": 7, "api_key": null, "models": [{"name": "small",
"skill": 0.7, "latency": {"median": 0.4, "sigma": 0.6}, "tokens_per_second": 80}]}`; a model is set
up by the fields of `SimulatedModel`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from cascadeflow.errors import CascadeFlowError, ConfigurationError, StoreError
from cascadeflow.testing.model import SimulatedModel
from cascadeflow.testing.provider import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "provider_from_config"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the simulator; gives the process's exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cascadeflow.testing.simulator",
        description="A simulated LLM provider on this machine, in the forms of real ones.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0: any free one")
    parser.add_argument(
        "--config",
        required=True,
        help="a JSON file, a JSON object, or - for one line of standard input",
    )
    options = parser.parse_args(arguments)
    try:
        config = _read_config(options.config)
        provider = provider_from_config(config, host=options.host, port=options.port)
        asyncio.run(_serve(provider, until_stdin_ends=options.config == "-"))
    except CascadeFlowError as error:
        print(f"simulator: {error}", file=sys.stderr)  # noqa: T201 - a program's own output
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def provider_from_config(
    config: dict[str, Any], *, host: str = "127.0.0.1", port: int = 0
) -> SimulatedProvider:
    """Makes the provider that a configuration describes.

    Raises:
        ConfigurationError: a field that does not exist, or a value it cannot have.
    """
    unknown = config.keys() - {"seed", "api_key", "models"}
    if unknown or not isinstance(config.get("models"), list):
        raise ConfigurationError(
            "a simulator's configuration holds models (a list), and may hold seed and api_key;"
            f" not {', '.join(sorted(unknown)) or 'no models'}"
        )
    if not isinstance(config.get("seed", 0), int):
        raise ConfigurationError(f"seed must be a whole number, not {config['seed']!r}")
    return SimulatedProvider(
        [SimulatedModel.from_config(settings) for settings in config["models"]],
        seed=config.get("seed", 0),
        api_key=config.get("api_key"),
        host=host,
        port=port,
        keep_requests=0,
    )


def _read_config(source: str) -> dict[str, Any]:
    try:
        if source == "-":
            text = sys.stdin.readline()
        elif source.lstrip().startswith("{"):
            text = source
        else:
            text = Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot read the configuration {source}: {error}") from error
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"the configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError("the configuration must be a JSON object")
    return config


async def _serve(provider: SimulatedProvider, *, until_stdin_ends: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    if sys.platform != "win32":  # there, an interrupt ends asyncio.run by itself
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    async with provider:
        address = {
            "port": provider.port,
            "url": provider.url,
            "base_url": provider.base_url,
            "pid": os.getpid(),
        }
        print(json.dumps(address), flush=True)  # noqa: T201 - a program's own output
        if until_stdin_ends:
            Thread(target=_wait_for_stdin, args=(loop, stop), daemon=True).start()
        # What stands now stands until the end: the collector need not look at it with each pass.
        gc.freeze()
        await stop.wait()


def _wait_for_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while sys.stdin.buffer.readline():
        pass
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(main())
