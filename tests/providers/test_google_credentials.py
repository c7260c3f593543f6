"""Google's credentials, with real token servers on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.oauth2 import credentials

from cascadeflow.errors import (
    AuthenticationError,
    MissingDependencyError,
    MissingKeyError,
    ProviderConnectionError,
    RequestsForbiddenError,
)
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.google import GoogleSigner
from cascadeflow.providers.guard import forbid_real_requests
from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.testing import ManualClock
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import SimpleNamespace

REQUEST = HttpRequest(method="POST", url="https://x.test/", headers={"a": "b"}, body=b"")
REFRESH_TOKEN, CLIENT_SECRET = "1//refresh-token-0123456789", "client-secret-0123456789"
ANSWER = {
    "candidates": [{"content": {"parts": [{"text": "Oslo"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Takes away every credential that this machine may have."""
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GCE_", "CLOUDSDK_", "GCLOUD_", "VERTEX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")


def store(path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(json.dumps(content))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


@pytest.fixture
def service_account(
    key: rsa.RSAPrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Sets the environment up with a service account whose tokens come from a server."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

    def use(url: str) -> None:
        info = {
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "k1",
            "private_key": pem.decode(),
            "client_email": "robot@acme.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{url}/token",
        }
        store(tmp_path / "service.json", info, monkeypatch)

    return use


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the environment up with what `gcloud auth application-default login` leaves.

    Its file names no server: the library's own address is turned to this machine.
    """

    def use(url: str) -> None:
        monkeypatch.setattr(credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{url}/token")
        info = {
            "type": "authorized_user",
            "client_id": "client-id",
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN,
            "quota_project_id": "acme-billing",
        }
        store(tmp_path / "user.json", info, monkeypatch)

    return use


def vertex(url: str = "https://aiplatform.test") -> ModelConfig:
    return ModelConfig("gemini-3-flash", "vertex", base_url=url)


async def give_token(exchange: Any) -> None:
    """Gives a token that lasts an hour; each one is another."""
    token = {"access_token": f"ya29.token-number-{exchange.number}", "token_type": "Bearer"}
    await exchange.respond(200, {**token, "expires_in": 3600})


def bearer(request: HttpRequest) -> str:
    return request.headers["authorization"].removeprefix("Bearer ")


def test_a_service_account_signs_a_grant_and_is_given_a_token(
    http: SimpleNamespace, service_account: Callable[[str], None], key: rsa.RSAPrivateKey
) -> None:
    async def go() -> None:
        async with http.serve(give_token) as server:
            service_account(server.url)
            signer = GoogleSigner(vertex())
            signed = await signer.sign(REQUEST)
        assert signed.headers == {"a": "b", "authorization": "Bearer ya29.token-number-1"}
        assert signer.secrets() == ("ya29.token-number-1",)
        assert "ya29" not in repr(signer) + repr(signed)
        [exchange] = server.exchanges
        form = parse_qs(exchange.body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        claims = jwt.decode(form["assertion"][0], certs=public)
        assert claims["iss"] == "robot@acme.iam.gserviceaccount.com"
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"

    asyncio.run(go())


def test_a_user_s_login_is_refreshed_and_names_who_pays(
    http: SimpleNamespace, user: Callable[[str], None]
) -> None:
    async def go() -> None:
        async with http.serve(give_token) as server:
            user(server.url)
            signed = await GoogleSigner(vertex()).sign(REQUEST)
        assert bearer(signed) == "ya29.token-number-1"
        assert signed.headers["x-goog-user-project"] == "acme-billing"
        form = parse_qs(server.exchanges[0].body.decode())
        assert form["refresh_token"] == [REFRESH_TOKEN]
        assert form["grant_type"] == ["refresh_token"]

    asyncio.run(go())


def test_many_calls_on_many_loops_wait_for_one_token(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        asked, all_wait = asyncio.Event(), asyncio.Event()

        async def answer(exchange: Any) -> None:
            asked.set()
            await all_wait.wait()
            await give_token(exchange)

        async with http.serve(answer) as server:
            service_account(server.url)
            signer = GoogleSigner(vertex())

            async def several() -> list[str]:
                return [
                    bearer(each)
                    for each in await asyncio.gather(*(signer.sign(REQUEST) for _ in range(50)))
                ]

            here = asyncio.create_task(several())
            elsewhere = [
                asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(several())))
                for _ in range(3)
            ]
            await asyncio.wait_for(asked.wait(), 30)
            all_wait.set()
            tokens = await asyncio.gather(here, *elsewhere)
            assert {token for each in tokens for token in each} == {"ya29.token-number-1"}
            assert len(server.exchanges) == 1

    asyncio.run(go())


def test_a_call_that_looked_before_the_token_came_fetches_no_other(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        async with http.serve(give_token) as server:
            service_account(server.url)
            signer = GoogleSigner(vertex())
            await signer.sign(REQUEST)
            late = await signer._fetched(None)
            assert late.headers["authorization"] == "Bearer ya29.token-number-1"
            assert len(server.exchanges) == 1

    asyncio.run(go())


def test_a_call_that_is_cancelled_while_it_waits_takes_the_token_from_nobody(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        asked, first_gone = asyncio.Event(), asyncio.Event()

        async def answer(exchange: Any) -> None:
            asked.set()
            await first_gone.wait()
            await give_token(exchange)

        async with http.serve(answer) as server:
            service_account(server.url)
            signer = GoogleSigner(vertex())
            first = asyncio.create_task(signer.sign(REQUEST))
            second = asyncio.create_task(signer.sign(REQUEST))
            await asyncio.wait_for(asked.wait(), 30)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            first_gone.set()
            assert bearer(await second) == "ya29.token-number-1"

    asyncio.run(go())


def test_a_token_is_kept_until_shortly_before_its_end_and_renewed_while_calls_go_on(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        asked, renewed = asyncio.Event(), asyncio.Event()

        async def answer(exchange: Any) -> None:
            if exchange.number == 2:
                asked.set()
                await renewed.wait()
            await give_token(exchange)

        async with http.serve(answer) as server:
            service_account(server.url)
            clock = ManualClock(datetime.now(UTC))
            signer = GoogleSigner(vertex(), clock=clock)
            assert bearer(await signer.sign(REQUEST)) == "ya29.token-number-1"
            clock.advance(55 * 60)
            assert bearer(await signer.sign(REQUEST)) == "ya29.token-number-1"
            assert len(server.exchanges) == 1
            clock.advance(3 * 60)  # two minutes are left: the new one is fetched, not waited for
            for _ in range(3):
                assert bearer(await signer.sign(REQUEST)) == "ya29.token-number-1"
            clock.advance(115)  # five seconds are left: it might end on its way
            waiting = [asyncio.create_task(signer.sign(REQUEST)) for _ in range(3)]
            await asyncio.wait_for(asked.wait(), 30)
            assert not any(task.done() for task in waiting)
            renewed.set()
            tokens = {bearer(each) for each in await asyncio.gather(*waiting)}
            assert tokens == {"ya29.token-number-2"}
            assert signer.secrets() == ("ya29.token-number-2", "ya29.token-number-1")
            assert len(server.exchanges) == 2

    asyncio.run(go())


def test_other_credentials_in_the_environment_are_taken_up(
    http: SimpleNamespace, user: Callable[[str], None], service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        async with http.serve(give_token) as server:
            user(server.url)
            signer = GoogleSigner(vertex())
            await signer.sign(REQUEST)
            service_account(server.url)
            signed = await signer.sign(REQUEST)
        assert bearer(signed) == "ya29.token-number-2"
        assert b"assertion=" in server.exchanges[1].body

    asyncio.run(go())


def test_refused_credentials_are_an_authentication_error_without_any_secret(
    http: SimpleNamespace, user: Callable[[str], None]
) -> None:
    async def refuse(exchange: Any) -> None:
        words = f"Token has been revoked: {exchange.body.decode()} {REFRESH_TOKEN} {CLIENT_SECRET}"
        await exchange.respond(400, {"error": "invalid_grant", "error_description": words})

    async def go() -> None:
        async with http.serve(refuse) as server:
            user(server.url)
            signer = GoogleSigner(vertex())
            with pytest.raises(AuthenticationError) as caught:
                await signer.sign(REQUEST)
        error = caught.value
        assert (error.provider, error.billed, error.retryable) == ("vertex", False, False)
        assert "invalid_grant: Token has been revoked" in str(error)
        shown = str(error) + repr(error)
        assert REFRESH_TOKEN not in shown
        assert CLIENT_SECRET not in shown

    asyncio.run(go())


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"access_token":5,"expires_in":3600}',
        b'{"access_token":"a","expires_in":"soon"}',
        b'{"access_token":"a\\nb","expires_in":3600}',
        b'{"access_token":"\xc3\xa9","expires_in":3600}',
        b"\xff\xfe",
    ],
)
def test_a_token_server_s_nonsense_is_an_error_of_ours(
    http: SimpleNamespace, service_account: Callable[[str], None], answer: bytes
) -> None:
    async def go() -> None:
        async with http.serve(lambda exchange: exchange.respond(200, answer)) as server:
            service_account(server.url)
            with pytest.raises((AuthenticationError, ConnectionError)):
                await GoogleSigner(vertex()).sign(REQUEST)

    asyncio.run(go())


def test_a_token_server_that_is_not_there_is_asked_again_with_the_next_call(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        async with http.serve(give_token) as server:
            service_account(server.url)
            gone = server.url
        signer = GoogleSigner(vertex())
        failed = await asyncio.gather(
            *(signer.sign(REQUEST) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(each, ConnectionError) for each in failed)
        assert len({id(each) for each in failed}) == 3
        assert gone.split("/")[2].split(":")[0] in str(failed[0])
        async with http.serve(give_token) as server:
            service_account(server.url)
            again = GoogleSigner(vertex())  # the file was read once, and its name is the same
            assert bearer(await again.sign(REQUEST)) == "ya29.token-number-1"

    asyncio.run(go())


def test_a_token_server_on_the_internet_is_not_asked_while_requests_are_forbidden(
    service_account: Callable[[str], None],
) -> None:
    service_account("https://oauth2.example.test")
    with forbid_real_requests(), pytest.raises(RequestsForbiddenError):
        asyncio.run(GoogleSigner(vertex()).sign(REQUEST))


def test_without_credentials_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(MissingKeyError, match="gcloud auth application-default login"):
        asyncio.run(GoogleSigner(vertex()).sign(REQUEST))


def test_a_file_that_is_no_key_is_named_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"type": "service_account", "private_key": "secret-material"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(MissingKeyError, match=r"broken\.json") as caught:
        asyncio.run(GoogleSigner(vertex()).sign(REQUEST))
    assert "secret-material" not in str(caught.value)


def test_without_google_auth_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "google"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cascadeflow\[vertex\]'"):
        GoogleSigner(vertex())


SCRIPT = """
import asyncio, sys
sys.modules["requests"] = None  # as where it is not installed
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.google import GoogleSigner
from cascadeflow.providers.protocols import HttpRequest
model = ModelConfig("gemini-3-flash", "vertex", base_url="https://x.test")
request = HttpRequest(method="POST", url="https://x.test/", headers={}, body=b"")
signer = GoogleSigner(model)
for _ in range(2):
    print(asyncio.run(signer.sign(request)).headers["authorization"])
"""


async def run_script(environment: dict[str, str]) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return out.decode(), err.decode()


def test_a_machine_of_google_s_gives_its_token_though_requests_is_not_installed(
    http: SimpleNamespace,
) -> None:
    async def metadata(exchange: Any) -> None:
        assert exchange.headers["metadata-flavor"] == "Google"
        flavor = {"metadata-flavor": "Google"}
        if "/token" in exchange.path:
            token = {"access_token": "ya29.of-the-machine", "expires_in": 3000}
            await exchange.respond(200, {**token, "token_type": "Bearer"}, flavor)
        else:
            await exchange.respond(200, b"computeMetadata/", flavor)

    async def go() -> None:
        async with http.serve(metadata) as server:
            host = f"127.0.0.1:{server.port}"
            out, err = await run_script({"GCE_METADATA_HOST": host})
            assert out.split() == ["Bearer", "ya29.of-the-machine"] * 2, err
            asked = [each.path for each in server.exchanges if "/token" in each.path]
            assert len(asked) == 1
            assert asked[0].startswith(
                "/computeMetadata/v1/instance/service-accounts/default/token"
            )

    asyncio.run(go())


def test_a_machine_that_is_not_google_s_has_no_credentials(http: SimpleNamespace) -> None:
    async def go() -> None:
        async with http.serve(lambda exchange: exchange.respond(200, b"hello")) as server:
            out, err = await run_script({"GCE_METADATA_HOST": f"127.0.0.1:{server.port}"})
        assert not out
        assert "MissingKeyError" in err
        assert "gcloud auth application-default login" in err

    asyncio.run(go())


# Through the client


def ask(model: ModelConfig) -> Awaitable[Any]:
    request = ChatRequest(model.name, (Message("user", "Capital of Norway?"),))
    return HttpCompleter().complete(model, request)


def test_a_call_without_a_key_is_signed(
    http: SimpleNamespace, service_account: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(exchange: Any) -> None:
        if exchange.path == "/v1/token":
            await give_token(exchange)
        else:
            await exchange.respond(200, ANSWER)

    async def go() -> None:
        async with http.serve(answer) as server:
            service_account(server.url)
            model = vertex(f"{server.url}/projects/acme/locations/global")
            reply = await ask(model)
            assert reply.completion.text == "Oslo"
            call = server.exchanges[-1]
            where = "/v1/projects/acme/locations/global/publishers/google/models"
            assert call.path == f"{where}/gemini-3-flash:generateContent"
            assert call.headers["authorization"] == "Bearer ya29.token-number-1"
            monkeypatch.setenv("VERTEX_ACCESS_TOKEN", "ya29.of-the-environment")
            await ask(model)
            assert server.exchanges[-1].headers["authorization"] == "Bearer ya29.of-the-environment"
            assert sum(each.path == "/v1/token" for each in server.exchanges) == 1

    asyncio.run(go())


def test_a_server_that_repeats_the_token_gets_it_into_no_error(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def answer(exchange: Any) -> None:
        if exchange.path == "/v1/token":
            await exchange.respond(200, {"access_token": "opaque/token+1", "expires_in": 3600})
            return
        words = f"bad token {exchange.headers['authorization']}"
        error = {"code": 401, "message": words, "status": "UNAUTHENTICATED"}
        await exchange.respond(401, {"error": error})

    async def go() -> None:
        async with http.serve(answer) as server:
            service_account(server.url)
            with pytest.raises(AuthenticationError) as caught:
                await ask(vertex(server.url))
        assert caught.value.code == "UNAUTHENTICATED"
        assert "opaque/token+1" not in str(caught.value) + repr(caught.value.details)

    asyncio.run(go())


def test_a_token_that_cannot_be_fetched_is_a_connection_error_and_nothing_was_billed(
    http: SimpleNamespace, service_account: Callable[[str], None]
) -> None:
    async def go() -> None:
        async with http.serve(give_token) as server:
            service_account(server.url)
        with pytest.raises(ProviderConnectionError) as caught:
            await ask(vertex())
        assert caught.value.billed is False

    asyncio.run(go())
