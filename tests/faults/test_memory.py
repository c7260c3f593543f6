"""Ten thousand calls that go wrong leave the memory as it was."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fault_scenario import ONCE, QUESTION, no_task_left, spent, tracked
from fault_voices import VOICES, Voice

from cascadeflow import AllModelsFailedError, CascadeAgent
from cascadeflow.providers import Providers

if TYPE_CHECKING:
    from fault_server import FaultServer, Link, Served

CALLS = 10_000
WARM_UP = 2_000
AT_ONCE = 8


async def misbehave(link: Link, voice: Voice, body: bytes) -> None:
    """Eight faults in turn: most keep the connection, for a new one costs a millisecond."""
    match link.number % 8:
        case 0:
            link.reset()
        case 1:
            await link.respond(b"<html>Log in</html>", kind="text/html")
        case 2:
            await link.respond(voice.error(), status=429)
        case 3:
            await link.respond(body[: len(body) // 2])
        case 4:
            await link.respond(b"")
        case 5:
            await link.respond(body, content_encoding="gzip")
        case 6:
            await link.respond(body.replace(b"Oslo", b"\xff\xfe"))
        case 7:
            await link.respond(voice.error(), status=500)


def resident() -> int:
    """Bytes of this process that are in memory, once what is free has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def call(agent: CascadeAgent, number: int) -> None:
    try:
        if number % 4:
            await agent.run(QUESTION, max_tokens=100)
        else:
            async for _ in agent.stream(QUESTION, max_tokens=100):
                pass
    except AllModelsFailedError:
        return
    pytest.fail("a faulty call gave an answer")


async def many(agent: CascadeAgent, count: int) -> None:
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await call(agent, number)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and trims the heap")
@pytest.mark.timeout(240)
def test_memory_is_flat_over_ten_thousand_faulty_calls(fault_loop: FaultServer) -> None:
    voice = VOICES[0]

    async def main(served: Served) -> tuple[int, int, Any]:
        tracker = tracked("100", keep=1000)
        # A circuit breaker would send next to none of them.
        asked = Providers(retry=ONCE, breaker=None)
        async with CascadeAgent(
            [voice.model(served.url)], cost_tracker=tracker, completer=asked
        ) as agent:
            await many(agent, WARM_UP)
            bytes_before, objects_before = resident(), len(gc.get_objects())
            await many(agent, CALLS - WARM_UP)
            bytes_after, objects_after = resident(), len(gc.get_objects())
        await no_task_left()
        await served.closed()
        assert spent(tracker) > 0
        return bytes_after - bytes_before, objects_after - objects_before, served.requests

    body = voice.whole()
    with fault_loop.serving(lambda link: misbehave(link, voice, body)) as served:
        more_bytes, more_objects, requests = asyncio.run(main(served))
    assert requests == CALLS
    # One object or one kilobyte a call would be 8,000 of each.
    assert more_objects < 1000
    assert more_bytes < 4_000_000
