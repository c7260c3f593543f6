"""Requests that are signed: anew for each try, within the deadline, and never with a key shown."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import RetryPolicy
from cascadeflow.errors import MissingKeyError, ProviderConnectionError, ProviderTimeoutError
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.registry import Provider, register_provider
from cascadeflow.testing.clock import ManualClock

if TYPE_CHECKING:
    from types import SimpleNamespace

    from cascadeflow.providers.protocols import HttpRequest

SECRET = "correct horse battery staple"


class Signer:
    """Signs by a running number; fails as its script says."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.signed: list[HttpRequest] = []
        self.waits = False

    async def sign(self, request: HttpRequest) -> HttpRequest:
        self.signed.append(request)
        if self.waits:
            await asyncio.Event().wait()
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        headers = {**request.headers, "authorization": f"{SECRET} {len(self.signed)}"}
        return replace(request, headers=headers)

    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a model that is signed for by a signer of the test's."""
    register_provider(Provider(id="signing-cloud", signer="aws-sigv4"), replace=True)

    def make(server: Any, signer: Signer) -> ModelConfig:
        monkeypatch.setattr("cascadeflow.providers.target.signer_for", lambda *_: signer)
        return ModelConfig("m", "signing-cloud", base_url=server.url)

    return make


def completer(**settings: Any) -> HttpCompleter:
    return HttpCompleter(
        clock=ManualClock(autojump=True),
        random=random.Random(1),
        **{"retry": RetryPolicy(attempts=3), **settings},
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_a_signer_is_asked_anew_for_each_try(
    http: SimpleNamespace, signed: Any, *, streamed: bool
) -> None:
    async def handler(exchange: Any) -> None:
        if exchange.number < 3:
            await exchange.respond(503, {"error": {"message": "no"}})
        else:
            await http.answer(exchange)

    async def main() -> None:
        signer, asked = Signer(), completer()
        async with http.serve(handler) as server:
            model = signed(server, signer)
            if streamed:
                async with aclosing(asked.stream(model, http.ask())) as events:
                    reply: Any = [event async for event in events][-1]
            else:
                reply = await asked.complete(model, http.ask())
            assert reply.completion.text == "Hello"
            sent = [exchange.headers["authorization"] for exchange in server.exchanges]
            assert sent == [f"{SECRET} 1", f"{SECRET} 2", f"{SECRET} 3"]
            # What it signs is the request as it stands, not what it has signed before.
            assert all("authorization" not in each.headers for each in signer.signed)
            assert signer.signed[0].body == server.exchanges[0].body
            await asked.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ConnectionError(f"no token for {SECRET}"), ProviderConnectionError),
        (TimeoutError(f"no token for {SECRET}"), ProviderTimeoutError),
        (OSError(f"no token for {SECRET}"), ProviderConnectionError),
    ],
)
def test_credentials_that_cannot_be_had_are_tried_for_again_and_nothing_was_billed(
    http: SimpleNamespace, signed: Any, failure: Exception, kind: type[Exception]
) -> None:
    async def main() -> None:
        signer, asked = Signer(failure, None), completer()
        async with http.serve(http.answer) as server:
            reply = await asked.complete(signed(server, signer), http.ask())
            assert [(each.outcome, each.billed) for each in reply.attempts] == [
                (kind.__name__, False),
                ("ok", True),
            ]
            assert len(server.exchanges) == 1
            await asked.aclose()

    asyncio.run(main())


def test_no_secret_of_a_signer_is_shown_by_an_error(http: SimpleNamespace, signed: Any) -> None:
    async def echo(exchange: Any) -> None:
        said = {"error": {"message": f"who is {exchange.headers['authorization']}?"}}
        await exchange.respond(500, said, {"x-request-id": SECRET})

    async def main() -> None:
        asked = completer(retry=RetryPolicy(attempts=1))
        async with http.serve(echo) as server:
            for signer in (Signer(ConnectionError(f"no token for {SECRET}")), Signer()):
                with pytest.raises(Exception, match="signing-cloud") as caught:
                    await asked.complete(signed(server, signer), http.ask())
                error = caught.value
                seen = f"{error}{error!r}{vars(error)}{error.__cause__}{error.__context__}"
                assert "battery" not in seen
            await asked.aclose()

    asyncio.run(main())


def test_a_signer_is_waited_for_no_longer_than_the_call_may_take(
    http: SimpleNamespace, signed: Any
) -> None:
    async def main() -> None:
        signer = Signer()
        signer.waits = True
        asked = HttpCompleter(retry=RetryPolicy(attempts=1))
        async with http.serve(http.answer) as server:
            with pytest.raises(ProviderTimeoutError) as caught:
                await asked.complete(signed(server, signer), http.ask(), timeout=0.03)
            assert caught.value.billed is False
            assert server.connections == 0

    asyncio.run(main())


def test_missing_credentials_are_said_and_not_tried_for_again(
    http: SimpleNamespace, signed: Any
) -> None:
    async def main() -> None:
        signer, asked = Signer(MissingKeyError("log in first")), completer()
        async with http.serve(http.answer) as server:
            with pytest.raises(MissingKeyError, match="log in first"):
                await asked.complete(signed(server, signer), http.ask())
            assert len(signer.signed) == 1
            assert server.connections == 0

    asyncio.run(main())


def test_a_header_of_the_user_s_own_stands_in_the_signature_s_place(
    http: SimpleNamespace, signed: Any
) -> None:
    async def main() -> None:
        signer, asked = Signer(), completer()
        async with http.serve(http.answer) as server:
            model = replace(signed(server, signer), headers={"Authorization": "Mine 1"})
            await asked.complete(model, http.ask())
            assert server.exchanges[0].headers["authorization"] == "Mine 1"
            assert signer.signed == []
            await asked.aclose()

    asyncio.run(main())
