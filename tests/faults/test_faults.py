"""However a server misbehaves: the right error, the money settled, the connection closed."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from fault_scenario import hold, no_task_left, suffer
from fault_table import FAULTS, Fault
from fault_voices import VOICES, Voice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_server import FaultServer


@pytest.fixture(scope="module", autouse=True)
def _nothing_open() -> Iterator[None]:
    yield
    gc.collect()  # what was not closed says so now


def cases() -> list[Any]:
    return [
        pytest.param(
            voice,
            fault,
            streamed,
            id=f"{voice}-{fault}-{'streamed' if streamed else 'whole'}",
            marks=pytest.mark.xfail(reason=fault.known, strict=True) if fault.known else (),
        )
        for voice in VOICES
        for fault in FAULTS
        for streamed, expected in ((False, fault.whole), (True, fault.streamed))
        if expected is not None
    ]


@pytest.mark.parametrize(("voice", "fault", "streamed"), cases())
def test_a_fault_is_what_it_is_and_costs_what_it_may(
    fault_loop: FaultServer, voice: Voice, fault: Fault, streamed: bool
) -> None:
    one_hold = hold(voice, streamed, fault_loop)

    async def main() -> None:
        await suffer(fault_loop, voice, fault, streamed=streamed, one_hold=one_hold)
        await no_task_left()

    asyncio.run(main())
