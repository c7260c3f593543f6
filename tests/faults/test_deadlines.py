"""What only a deadline ends: all of a protocol's at once, so that they wait together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fault_scenario import hold, no_task_left, suffer
from fault_table import HANGING
from fault_voices import VOICES, Voice

from cascadeflow import Deadlines

if TYPE_CHECKING:
    from fault_server import FaultServer

DEADLINES = Deadlines(first_byte=0.6, between_chunks=0.6, total=1.5)


@pytest.mark.parametrize("voice", VOICES, ids=str)
def test_what_never_comes_ends_at_its_deadline(fault_loop: FaultServer, voice: Voice) -> None:
    holds = {streamed: hold(voice, streamed, fault_loop) for streamed in (False, True)}

    async def main() -> None:
        failed = await asyncio.gather(
            *(
                suffer(
                    fault_loop,
                    voice,
                    fault,
                    streamed=streamed,
                    one_hold=holds[streamed],
                    deadlines=DEADLINES,
                )
                for fault in HANGING
                for streamed, expected in ((False, fault.whole), (True, fault.streamed))
                if expected is not None
            ),
            return_exceptions=True,
        )
        errors = [error for error in failed if error is not None]
        if errors:
            raise BaseExceptionGroup("faults that were not taken as they are", errors)
        await no_task_left()

    asyncio.run(main())
