"""What the faults' tests share: the modules in this folder can be imported by their names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)

from fault_server import FaultServer  # noqa: E402 - found in the folder added above

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def fault_loop() -> Iterator[FaultServer]:
    """The thread in which every misbehaving server of the session runs."""
    with FaultServer() as server:
        yield server
