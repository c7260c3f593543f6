"""What the circuit breaker does to calls over real HTTP."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import BreakerPolicy, Deadlines, RetryPolicy
from cascadeflow.errors import (
    CircuitOpenError,
    OverloadedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.breaker import BreakerState
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.completer import Providers
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from types import SimpleNamespace

ONCE = RetryPolicy(attempts=1)


def completer(clock: ManualClock, **settings: Any) -> HttpCompleter:
    policy = {"failures": 3, "window": 3, "cooldown": 10.0, **settings.pop("policy", {})}
    return HttpCompleter(
        clock=clock,
        random=random.Random(1),
        **{"breaker": BreakerPolicy(**policy), "retry": ONCE, **settings},
    )


def failing(http: SimpleNamespace, *statuses: int) -> Any:
    """Answers by the next status; the last one repeats; 200 is an answer, 0 a reset."""

    async def handler(exchange: Any) -> None:
        status = statuses[min(exchange.number, len(statuses)) - 1]
        if status == 200:
            await http.answer(exchange)
        elif status == 0:
            exchange.drop()
        else:
            await exchange.respond(status, {"error": {"message": "no"}})

    return handler


async def ask(asked: HttpCompleter | Providers, model: Any, request: Any, *, streamed: bool) -> Any:
    if not streamed:
        return await asked.complete(model, request)
    async with aclosing(asked.stream(model, request)) as events:
        return [event async for event in events][-1]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", [503, 0])
def test_a_model_that_keeps_failing_is_not_asked_until_its_cooldown_is_over(
    http: SimpleNamespace, status: int, *, streamed: bool
) -> None:
    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with http.serve(failing(http, status, status, status, 200)) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises((OverloadedError, ProviderConnectionError)):
                    await ask(asked, model, http.ask(), streamed=streamed)
            with pytest.raises(CircuitOpenError, match="another model") as caught:
                await ask(asked, model, http.ask(), streamed=streamed)
            error = caught.value
            assert isinstance(error, OverloadedError)
            assert error.billed is False
            assert error.retryable is False
            assert error.attempts == ()
            assert (error.provider, error.model) == ("openai", "m")
            assert error.retry_after == asked.breakers()["openai:m"].retry_after
            assert len(server.exchanges) == 3
            assert asked.breakers()["openai:m"].state == "open"
            clock.advance(10.0)
            reply = await ask(asked, model, http.ask(), streamed=streamed)
            assert reply.completion.text == "Hello"
            assert asked.breakers()["openai:m"] == BreakerState(
                state="closed", failures=0, opened=0, retry_after=0.0
            )
            await asked.aclose()

    asyncio.run(main())


def test_retrying_ends_with_the_last_error_when_the_circuit_opens(http: SimpleNamespace) -> None:
    async def main() -> None:
        clock = ManualClock(autojump=True)
        asked = completer(clock, retry=RetryPolicy(attempts=9, base_delay=0.1))
        async with http.serve(failing(http, 503)) as server:
            with pytest.raises(OverloadedError) as caught:
                await asked.complete(http.model(server), http.ask())
            assert not isinstance(caught.value, CircuitOpenError)
            assert len(caught.value.attempts) == 3
            assert len(server.exchanges) == 3
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_a_refusal_does_not_open_the_circuit(http: SimpleNamespace, status: int) -> None:
    async def main() -> None:
        asked = completer(ManualClock(autojump=True))
        async with http.serve(failing(http, status)) as server:
            for _ in range(6):
                with pytest.raises(ProviderError):
                    await asked.complete(http.model(server), http.ask())
            assert len(server.exchanges) == 6
            assert asked.breakers()["openai:m"].failures == 0
            await asked.aclose()

    asyncio.run(main())


def test_a_missed_deadline_counts_and_a_call_s_own_time_out_does_not(http: SimpleNamespace) -> None:
    async def never(exchange: Any) -> None:
        await exchange.until_closed()

    async def main() -> None:
        asked = HttpCompleter(
            retry=ONCE,
            deadlines=Deadlines(first_byte=0.03),
            breaker=BreakerPolicy(failures=2, window=2),
        )
        async with http.serve(never) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(ProviderTimeoutError, match="call's deadline"):
                    await asked.complete(model, http.ask(), timeout=0.01)
            assert asked.breakers()["openai:m"].failures == 0
            for _ in range(2):
                with pytest.raises(ProviderTimeoutError, match="first byte"):
                    await asked.complete(model, http.ask())
            with pytest.raises(CircuitOpenError):
                await asked.complete(model, http.ask())
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_probe_gives_its_place_back(http: SimpleNamespace, *, streamed: bool) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number <= 3:
            await exchange.respond(503, {"error": {"message": "no"}})
        elif exchange.number == 4:
            await exchange.until_closed()
        else:
            await http.answer(exchange)

    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with http.serve(handler) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(OverloadedError):
                    await asked.complete(model, http.ask())
            clock.advance(10.0)
            probe = asyncio.create_task(ask(asked, model, http.ask(), streamed=streamed))
            while len(server.exchanges) < 4:  # noqa: ASYNC110 - until it has arrived
                await asyncio.sleep(0)
            with pytest.raises(CircuitOpenError, match="just now") as caught:
                await asked.complete(model, http.ask())
            assert caught.value.retry_after is None
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            assert (await asked.complete(model, http.ask())).completion.text == "Hello"
            await asked.aclose()

    asyncio.run(main())


def test_the_first_piece_of_a_stream_closes_the_circuit_and_its_breaking_off_counts(
    http: SimpleNamespace,
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number <= 3:
            await exchange.respond(503, {"error": {"message": "no"}})
            return
        await exchange.start_stream()
        await exchange.event(http.stream_chunks()[0])
        await going.wait()
        exchange.drop()

    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with http.serve(handler) as server:
            model = http.model(server)
            for _ in range(3):
                with pytest.raises(OverloadedError):
                    await asked.complete(model, http.ask())
            clock.advance(10.0)
            stream = asked.stream(model, http.ask())
            await anext(stream)
            assert asked.breakers()["openai:m"].state == "closed"
            going.set()
            with pytest.raises(ProviderConnectionError):
                await anext(stream)
            assert asked.breakers()["openai:m"].failures == 1
            await asked.aclose()

    going = asyncio.Event()
    asyncio.run(main())


def test_each_model_at_each_address_has_its_own(http: SimpleNamespace) -> None:
    async def main() -> None:
        clock = ManualClock()
        asked = completer(clock)
        async with (
            http.serve(failing(http, 503)) as broken,
            http.serve(failing(http, 200)) as well,
        ):
            ill = http.model(broken)
            for _ in range(3):
                # Made anew each time, as a model is that is named by a string.
                with pytest.raises(OverloadedError):
                    await asked.complete(http.model(broken), http.ask())
            with pytest.raises(CircuitOpenError):
                await asked.complete(ill, http.ask())
            other = ModelConfig("n", "openai", api_key="k" * 9, base_url=broken.url)
            with pytest.raises(OverloadedError) as caught:
                await asked.complete(other, http.ask())
            assert not isinstance(caught.value, CircuitOpenError)
            await asked.complete(http.model(well), http.ask())
            await asked.aclose()
            assert {name: each.state for name, each in asked.breakers().items()} == {
                f"openai:m at {broken.url}": "open",
                f"openai:m at {well.url}": "closed",
                "openai:n": "closed",
            }

    asyncio.run(main())


def test_no_more_breakers_are_kept_than_memory_shall_hold(
    http: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.providers.breaker._MOST_BREAKERS", 4)

    async def main() -> None:
        asked = completer(ManualClock())
        async with http.serve(failing(http, 503, 503, 503, 200)) as server:
            ill = http.model(server)
            for _ in range(3):
                with pytest.raises(OverloadedError):
                    await asked.complete(ill, http.ask())
            for number in range(20):
                model = ModelConfig(f"n{number}", "openai", api_key="k" * 9, base_url=server.url)
                await asked.complete(model, http.ask())
            assert len(asked.breakers()) <= 4
            with pytest.raises(CircuitOpenError):  # what is open is kept longest
                await asked.complete(ill, http.ask())
            await asked.aclose()

    asyncio.run(main())


def test_it_can_be_left_out_and_is_there_by_default(http: SimpleNamespace) -> None:
    async def main() -> None:
        async with http.serve(failing(http, 503)) as server:
            model = http.model(server)
            for settings in ({"breaker": None}, {}):
                asked = Providers(clock=ManualClock(), retry=ONCE, **settings)
                errors: list[ProviderError] = []
                for _ in range(20):
                    with pytest.raises(OverloadedError) as caught:
                        await asked.complete(model, http.ask())
                    errors.append(caught.value)
                opened = [isinstance(error, CircuitOpenError) for error in errors]
                assert opened == [False] * 20 if settings else [False] * 10 + [True] * 10
                assert bool(asked.breakers()) is not bool(settings)
                await asked.aclose()

    asyncio.run(main())
