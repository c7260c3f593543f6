"""Signatures that AWS accepts, with credentials from wherever AWS tools find them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from botocore.config import Config
from botocore.session import Session

from cascadeflow.config import RetryPolicy
from cascadeflow.errors import (
    AuthenticationError,
    ConfigurationError,
    MissingDependencyError,
    MissingKeyError,
    ProviderConnectionError,
)
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.aws import AwsSigner
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.providers.target import Target
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, SECRET, TOKEN = "AKIDEXAMPLE0123456789", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE", "session-tok"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f"
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    "metrics": {"latencyMs": 1},
}


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Takes away every credential that this machine may have."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")


def bedrock(name: str = "amazon.nova-micro-v1:0", **settings: Any) -> ModelConfig:
    return ModelConfig(name, "bedrock", **settings)


def request(url: str = "", body: bytes = b"{}", **headers: str) -> HttpRequest:
    url = url or "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse"
    sent = {"content-type": "application/json", "user-agent": "x", **headers}
    return HttpRequest(method="POST", url=url, headers=sent, body=body)


def sign(signed: HttpRequest | None = None, signer: AwsSigner | None = None) -> HttpRequest:
    return asyncio.run((signer or AwsSigner(bedrock())).sign(signed or request()))


def verified(
    path: str, headers: dict[str, str], body: bytes, secret: str, region: str = "us-east-1"
) -> bool:
    """Checks a request as AWS does: Signature Version 4, written down from its documents.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    scheme, _, fields = headers["authorization"].partition(" ")
    parts = dict(field.strip().split("=", 1) for field in fields.split(","))
    names = parts["SignedHeaders"].split(";")
    where, _, query = path.partition("?")
    canonical = "\n".join(
        [
            "POST",
            quote(where, safe="/-_.~"),  # once more than it was sent with
            query,
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/bedrock/aws4_request"
    text = "\n".join(
        [scheme, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    ).encode()
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    assert parts["Credential"].partition("/")[2] == scope
    assert {"host", "x-amz-date"} <= set(names)
    return parts["Signature"] == hmac.digest(key, text, "sha256").hex()


class Recorder(BaseHTTPRequestHandler):
    """Notes what comes in and answers nothing of use."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers, body))  # type: ignore[attr-defined]
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[Any]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", server.seen  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def amazon_s_client(url: str, token: str | None = None) -> Any:
    config = Config(retries={"total_max_attempts": 1}, region_name="us-east-1")
    return Session().create_client(
        "bedrock-runtime",
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token=token,
        config=config,
    )


# The signature


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("model", ["m", "us.amazon.nova-micro-v1:0", ARN, "a b~(c)/ü"])
@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("action", ["converse", "converse_stream"])
def test_it_is_what_amazon_s_own_client_sends_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
    recorder: tuple[str, list[Any]],
    model: str,
    token: str | None,
    action: str,
) -> None:
    url, seen = recorder
    moment = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    client = amazon_s_client(url, token)
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    with pytest.raises(client.exceptions.ClientError):
        getattr(client, action)(modelId=model, messages=messages)
    client.close()
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)

    target = Target(bedrock(model, base_url=url))
    asked = ChatRequest(model, (Message("user", "Hi"),), stream=action != "converse")
    encoded = target.codec.encode(asked)
    # Their JSON has spaces in it; the signature is compared over the same bytes.
    same = HttpRequest(
        method="POST",
        url=target.url(encoded.path),
        headers=target.headers(encoded, target.key()),
        body=seen[0][2],
    )
    assert isinstance(target.signer, AwsSigner)
    signed = sign(same, target.signer)
    assert signed.url == url + seen[0][0]
    for name in ("authorization", "x-amz-date", "x-amz-security-token", "content-type"):
        assert signed.headers.get(name) == seen[0][1].get(name), name
    assert verified(*seen[0], SECRET)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("model", ["amazon.nova-micro-v1:0", ARN])
@pytest.mark.parametrize("prefix", ["", "/gateway/v2"])
def test_what_arrives_bears_a_signature_that_holds(http: Any, model: str, prefix: str) -> None:
    async def main() -> None:
        async def handler(exchange: Any) -> None:
            await exchange.respond(200, ANSWER, {"x-amzn-requestid": "r-1"})

        async with http.serve(handler) as server:
            completer = HttpCompleter()
            base = server.url.removesuffix("/v1") + prefix
            settings = {"base_url": base, "headers": {"X-Team": "a"}}
            asked = ChatRequest(model, (Message("user", "Grüße"),))
            reply = await completer.complete(bedrock(model, **settings), asked)
            await completer.aclose()
            came = server.exchanges[0]
        assert reply.completion.text == "Hello"
        assert reply.completion.request_id == "r-1"
        assert came.path == f"{prefix}/model/{quote(model, safe='')}/converse"
        assert verified(came.path, came.headers, came.body, SECRET)
        assert not verified(came.path, came.headers, came.body, "another")
        assert not verified(came.path, came.headers, came.body + b" ", SECRET)
        assert not verified(came.path.replace("%3A", ":"), came.headers, came.body, SECRET)

    asyncio.run(main())


@pytest.mark.usefixtures("keys")
def test_a_base_address_with_a_query_is_signed_too() -> None:
    signed = sign(request("https://x.example/model/m/converse?b=2&a=1"))
    headers = {**signed.headers, "host": "x.example"}
    # The names of a query are signed in order.
    assert verified("/model/m/converse?a=1&b=2", headers, b"{}", SECRET)


@pytest.mark.usefixtures("keys")
def test_the_request_keeps_its_own_headers_and_is_not_changed() -> None:
    before = request(accept="x")
    after = sign(before)
    assert "authorization" not in before.headers
    assert {**after.headers, **before.headers} == dict(after.headers)
    assert (after.url, after.body, after.method) == (before.url, before.body, before.method)
    assert SECRET not in repr(after)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.eu-west-3.amazonaws.com", "eu-west-3"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("vpce-0a1-b2.bedrock-runtime.us-west-2.vpce.amazonaws.com", "us-west-2"),
        ("bedrock-runtime.ap-south-1.api.aws", "ap-south-1"),
        ("llm.internal.example", "us-east-1"),
    ],
)
def test_the_region_is_the_address_s_and_else_the_environment_s(host: str, region: str) -> None:
    signed = sign(request(f"https://{host}/model/m/converse"))
    headers = {**signed.headers, "host": host}
    assert verified("/model/m/converse", headers, b"{}", SECRET, region)


def test_the_region_may_be_the_profile_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = eu-central-1\n")
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    signed = sign(request("http://127.0.0.1:9/model/m/converse"))
    headers = {**signed.headers, "host": "127.0.0.1:9"}
    assert verified("/model/m/converse", headers, b"{}", SECRET, "eu-central-1")


@pytest.mark.usefixtures("keys")
def test_without_any_region_there_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        sign(request("http://127.0.0.1:9/model/m/converse"))


# Credentials


@pytest.mark.usefixtures("keys")
def test_keys_that_were_changed_in_the_environment_are_used_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signer = AwsSigner(bedrock())
    assert signer.secrets() == ()
    assert KEY in sign(signer=signer).headers["authorization"]
    assert set(signer.secrets()) == {KEY, SECRET}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    signed = sign(signer=signer)
    assert "AKIDOTHER" in signed.headers["authorization"]
    assert signed.headers["x-amz-security-token"] == TOKEN
    assert set(signer.secrets()) == {"AKIDOTHER", SECRET, TOKEN}


def role(number: int, life: timedelta) -> dict[str, str]:
    return {
        "AccessKeyId": f"ASIA{number}",
        "SecretAccessKey": SECRET,
        "Token": TOKEN,
        "Expiration": (datetime.now(UTC) + life).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@pytest.mark.parametrize(("minutes", "fetches"), [(60, 1), (5, 3)])
def test_a_role_s_credentials_are_fetched_off_the_loop_and_renewed_before_they_expire(
    monkeypatch: pytest.MonkeyPatch, http: Any, minutes: int, fetches: int
) -> None:
    """The server that gives them runs on the very loop that signs: a blocked loop would hang."""

    async def main() -> None:
        async def handler(exchange: Any) -> None:
            await exchange.respond(200, role(exchange.number, timedelta(minutes=minutes)))

        async with http.serve(handler) as server:
            address = server.url.removesuffix("/v1") + "/role"
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
            signer = AwsSigner(bedrock())
            used = []
            for _ in range(2):
                signed = await signer.sign(request())
                used.append(signed.headers["authorization"].split("/")[0][-5:])
            assert used == (["ASIA1", "ASIA1"] if fetches == 1 else used)
            assert len(server.exchanges) == fetches
            assert signed.headers["x-amz-security-token"] == TOKEN
            assert used[-1] == f"ASIA{fetches}"

    asyncio.run(main())


def test_many_calls_at_once_fetch_credentials_once(
    monkeypatch: pytest.MonkeyPatch, http: Any
) -> None:
    async def main() -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def handler(exchange: Any) -> None:
            asked.set()
            await may_answer.wait()
            await exchange.respond(200, role(1, timedelta(hours=6)))

        async with http.serve(handler) as server:
            address = server.url.removesuffix("/v1") + "/role"
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", address)
            signer = AwsSigner(bedrock())
            calls = [asyncio.create_task(signer.sign(request())) for _ in range(200)]
            threads = [
                asyncio.create_task(asyncio.to_thread(sign, request(), signer)) for _ in range(3)
            ]
            await asked.wait()
            calls[0].cancel()  # which must not take the others' credentials with it
            may_answer.set()
            done = await asyncio.gather(*calls[1:], *threads)
            assert {each.headers["x-amz-security-token"] for each in done} == {TOKEN}
            with pytest.raises(asyncio.CancelledError):
                await calls[0]
            assert len(server.exchanges) == 1

    asyncio.run(main())


def test_no_credentials_is_an_error_that_tells_what_to_do() -> None:
    with pytest.raises(MissingKeyError, match="AWS_PROFILE") as caught:
        sign()
    assert "bedrock:amazon.nova-micro-v1:0" in str(caught.value)
    assert "AWS_BEARER_TOKEN_BEDROCK" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_ACCESS_KEY_ID", KEY, "AWS_SECRET_ACCESS_KEY"),
        ("AWS_PROFILE", "nobody", "nobody"),
    ],
)
def test_half_a_key_and_an_unknown_profile_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(MissingKeyError, match=told):
        sign()


def test_a_source_that_fails_is_a_connection_that_failed_and_nothing_was_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} -c 'exit(3)'\n"
    )
    with pytest.raises(ConnectionError, match="could not be fetched"):
        sign()
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    async def ask() -> None:
        completer = HttpCompleter(retry=RetryPolicy(attempts=1))
        try:
            await completer.complete(bedrock(), ChatRequest("m", (Message("user", "Hi"),)))
        finally:
            await completer.aclose()

    with pytest.raises(ProviderConnectionError, match="no credentials") as caught:
        asyncio.run(ask())
    assert caught.value.billed is False
    assert caught.value.retryable


def test_a_program_may_give_credentials(tmp_path: Path) -> None:
    program = tmp_path / "give.py"
    given = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET}
    program.write_text(f"import json; print(json.dumps({given!r}))")
    (tmp_path / "config").write_text(
        f"[default]\ncredential_process = {sys.executable} {program}\n"
    )
    assert KEY in sign().headers["authorization"]


@pytest.mark.usefixtures("keys")
def test_what_a_server_echoes_of_the_credentials_is_blanked(
    monkeypatch: pytest.MonkeyPatch, http: Any
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)

    async def main() -> None:
        async def handler(exchange: Any) -> None:
            said = {"message": f"{KEY} {SECRET} {TOKEN}", "deep": [SECRET]}
            kind = {"x-amzn-errortype": "UnrecognizedClientException"}
            await exchange.respond(403, said, kind)

        async with http.serve(handler) as server:
            completer = HttpCompleter()
            model = bedrock(base_url=server.url.removesuffix("/v1"))
            with pytest.raises(AuthenticationError) as caught:
                await completer.complete(model, ChatRequest("m", (Message("user", "Hi"),)))
            await completer.aclose()
        shown = str(caught.value) + repr(caught.value) + repr(vars(caught.value))
        for secret in (KEY, SECRET, TOKEN):
            assert secret not in shown

    asyncio.run(main())


@pytest.mark.usefixtures("keys")
def test_with_a_bedrock_key_nothing_is_signed(monkeypatch: pytest.MonkeyPatch, http: Any) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-0123")

    async def main() -> None:
        async def handler(exchange: Any) -> None:
            await exchange.respond(200, ANSWER)

        async with http.serve(handler) as server:
            completer = HttpCompleter()
            model = bedrock(base_url=server.url.removesuffix("/v1"))
            await completer.complete(model, ChatRequest("m", (Message("user", "Hi"),)))
            await completer.aclose()
            came = server.exchanges[0].headers
        assert came["authorization"] == "Bearer bedrock-api-key-0123"
        assert "x-amz-date" not in came

    asyncio.run(main())


def test_without_botocore_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(MissingDependencyError, match=r"cascadeflow\[bedrock\]"):
        AwsSigner(bedrock())


def test_the_codec_and_the_signer_s_module_do_without_botocore() -> None:
    code = (
        "import sys, cascadeflow.providers.aws\n"
        "from cascadeflow.providers import get_codec\n"
        "list(get_codec('bedrock').decode_stream([b'']))\n"
        "assert not [name for name in sys.modules if name.startswith('boto')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
