"""Bedrock's protocol beside software that we did not write: moto's server, and Amazon's client.

moto checks signatures and rights as AWS does once its authentication is switched on, but of Bedrock
it knows `InvokeModel` alone. Its `Converse` is added here: what it answers is ours, while what lets
a request through to it, and what writes a whole answer, is moto's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import pytest
from botocore.config import Config
from botocore.session import Session
from recorded_rows import rows_of

from cascadeflow.config import RetryPolicy
from cascadeflow.errors import PermissionDeniedError, RateLimitedError
from cascadeflow.models.completion import Completed, TextDelta
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.aws import AwsSigner
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f"
MODELS = ["amazon.nova-micro-v1:0", ARN]
HI = (Message("user", "Hi"),)

MOTO = """
import base64, logging, sys
from moto.core.responses import ActionResult
from moto.bedrockruntime.responses import BedrockRuntimeResponse
from moto.server import ThreadedMotoServer

def converse(self):
    return ActionResult({
        "output": {"message": {"role": "assistant", "content": [
            {"text": "Hello from " + self._get_param("modelId")}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4},
        "metrics": {"latencyMs": 1},
    })

def converse_stream(self):
    data = base64.b64decode(sys.argv[1])
    return 200, {"Content-Type": "application/vnd.amazon.eventstream"}, data

BedrockRuntimeResponse.converse = converse
BedrockRuntimeResponse.converse_stream = converse_stream
logging.disable()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


class Moto(NamedTuple):
    url: str
    key: str
    secret: str
    token: str | None = None


def post(url: str, data: bytes) -> None:
    plain = {"content-type": "text/plain"}
    asked = urllib.request.Request(url, data, plain, method="POST")  # noqa: S310 - loopback
    with urllib.request.urlopen(asked) as response:  # noqa: S310
        response.read()


def client(service: str, url: str, key: str, secret: str) -> Any:
    return Session().create_client(
        service,
        "us-east-1",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


RIGHT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*"}]}
RIGHT["Statement"][0]["Resource"] = "*"  # type: ignore[index]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


@pytest.fixture(scope="module")
def stream_of(recordings: Path) -> bytes:
    rows = rows_of(recordings, "bedrock")
    streams = [row["response_base64"] for row in rows if "response_base64" in row]
    return base64.b64decode(min(streams, key=len))


@pytest.fixture(scope="module")
def moto(stream_of: bytes) -> Iterator[tuple[Moto, Moto]]:
    """moto with its authentication on: a user with a key, and a role that was assumed."""
    data = base64.b64encode(stream_of).decode()
    with subprocess.Popen(
        [sys.executable, "-c", MOTO, data],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = (line.strip() for line in process.stdout)
        port = next(line for line in lines if line.isdecimal())
        url = f"http://127.0.0.1:{port}"
        iam = client("iam", url, "any", "any")
        iam.create_user(UserName="u")
        made = iam.create_access_key(UserName="u")["AccessKey"]
        policy = json.dumps(RIGHT)
        iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=policy)
        role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
        iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=policy)
        sts = client("sts", url, "any", "any")
        assumed = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
        iam.close()
        sts.close()
        post(f"{url}/moto-api/reset-auth", b"0")
        user = Moto(url, made["AccessKeyId"], made["SecretAccessKey"])
        yield (
            user,
            Moto(url, assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"]),
        )
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def use(monkeypatch: pytest.MonkeyPatch, who: Moto) -> None:
    for name in ("AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", who.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", who.secret)
    if who.token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", who.token)


def ask(url: str, model: str, *, stream: bool = False) -> Any:
    """The whole answer, or every event of a stream."""

    async def main() -> Any:
        completer = HttpCompleter()
        config = ModelConfig(model, "bedrock", base_url=url)
        asked = ChatRequest(model, HI)
        try:
            if not stream:
                return (await completer.complete(config, asked)).completion
            return [event async for event in completer.stream(config, asked)]
        finally:
            await completer.aclose()

    return asyncio.run(main())


def status_of(url: str, path: str, body: bytes) -> tuple[int, bytes]:
    """What comes of a signed request, without this package's reading of it."""
    signer = AwsSigner(ModelConfig("m", "bedrock"))
    headers = {"content-type": "application/json"}
    asked = HttpRequest(method="POST", url=url + path, headers=headers, body=body)
    signed = asyncio.run(signer.sign(asked))
    sent = urllib.request.Request(signed.url, signed.body, dict(signed.headers))  # noqa: S310
    try:
        with urllib.request.urlopen(sent) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("who", [0, 1])
def test_moto_takes_our_signature_for_the_operation_that_it_knows_itself(
    monkeypatch: pytest.MonkeyPatch, moto: tuple[Moto, Moto], who: int
) -> None:
    use(monkeypatch, moto[who])
    path = "/model/amazon.nova-micro-v1%3A0/invoke"
    assert status_of(moto[who].url, path, b"{}") == (200, b"{}")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("who", [0, 1])
def test_moto_lets_our_requests_through(
    monkeypatch: pytest.MonkeyPatch, moto: tuple[Moto, Moto], model: str, who: int
) -> None:
    use(monkeypatch, moto[who])
    answer = ask(moto[who].url, model)
    assert answer.text == f"Hello from {model}"
    assert answer.usage.total_tokens == 4
    assert answer.request_id


@pytest.mark.parametrize("model", MODELS)
def test_moto_lets_our_streams_through(
    monkeypatch: pytest.MonkeyPatch, moto: tuple[Moto, Moto], stream_of: bytes, model: str
) -> None:
    use(monkeypatch, moto[0])
    *events, reply = ask(moto[0].url, model, stream=True)
    expected = list(get_codec("bedrock").decode_stream([stream_of]))
    assert isinstance(expected[-1], Completed)
    told = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert told == reply.completion.text == expected[-1].completion.text
    assert reply.completion.usage == expected[-1].completion.usage


def test_moto_refuses_a_signature_by_a_wrong_secret(
    monkeypatch: pytest.MonkeyPatch, moto: tuple[Moto, Moto]
) -> None:
    for who in moto:
        use(monkeypatch, replace_secret(who))
        for path in ("/model/m/invoke", "/model/amazon.nova-micro-v1%3A0/converse"):
            status, said = status_of(who.url, path, b"{}")
            assert status == 403
            assert b"SignatureDoesNotMatch" in said
        with pytest.raises(PermissionDeniedError) as caught:
            ask(who.url, MODELS[0])
        assert caught.value.status == 403


def replace_secret(who: Moto) -> Moto:
    return who._replace(secret=who.secret[::-1])


def test_moto_refuses_a_session_s_key_without_its_token(
    monkeypatch: pytest.MonkeyPatch, moto: tuple[Moto, Moto]
) -> None:
    use(monkeypatch, moto[1]._replace(token=None))
    assert status_of(moto[1].url, "/model/m/invoke", b"{}")[0] == 403


# A stream that fails half-way


def exception(kind: str) -> bytes:
    names = {":message-type": "exception", ":exception-type": kind}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(text)) + text.encode()
        for name, text in names.items()
    )
    payload = b'{"message":"slow down"}'
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    checked = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return checked + struct.pack("!I", crc32(checked))


@pytest.mark.parametrize("begun", [False, True])
def test_an_exception_is_tried_again_only_before_the_answer_has_begun(
    monkeypatch: pytest.MonkeyPatch, http: Any, stream_of: bytes, *, begun: bool
) -> None:
    use(monkeypatch, Moto("", "any-key", "any-secret"))

    async def main() -> None:
        async def handler(exchange: Any) -> None:
            await exchange.start_stream({"content-type": "application/vnd.amazon.eventstream"})
            if exchange.number == 1:
                ahead = stream_of[: len(stream_of) // 2] if begun else b""
                whole = ahead[: _whole_frames(ahead)]
                await exchange.send(whole + exception("throttlingException"))
            else:
                await exchange.send(stream_of)
            await exchange.end_stream()

        async with http.serve(handler) as server:
            quick = RetryPolicy(attempts=2, base_delay=0.0)
            completer = HttpCompleter(retry=quick)
            model = ModelConfig("m", "bedrock", base_url=server.url.removesuffix("/v1"))
            stream = completer.stream(model, ChatRequest("m", HI))
            if begun:
                with pytest.raises(RateLimitedError) as caught:
                    _ = [event async for event in stream]
                assert caught.value.partial.text or caught.value.partial.reasoning
                assert caught.value.billed is None
            else:
                events = [event async for event in stream]
                assert [each.outcome for each in events[-1].attempts] == ["RateLimitedError", "ok"]
            await completer.aclose()
            assert len(server.exchanges) == (1 if begun else 2)

    asyncio.run(main())


def _whole_frames(data: bytes) -> int:
    """How many bytes the frames take that are whole."""
    end = 0
    while end + 4 <= len(data):
        length = struct.unpack_from("!I", data, end)[0]
        if end + length > len(data):
            break
        end += length
    return end


# Amazon's own client


class Replayer(BaseHTTPRequestHandler):
    """Gives the recorded answer that the model's name asks for: its row's number."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        row = self.server.rows[int(self.path.split("/")[2])]  # type: ignore[attr-defined]
        if "response_base64" in row:
            data = base64.b64decode(row["response_base64"])
        else:
            data = (row.get("response_text") or json.dumps(row["response"])).encode()
        self.send_response(row["status"])
        self.send_header("content-type", row["content_type"])
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def their_text(blocks: list[Any]) -> str:
    return "".join(block.get("text", "") for block in blocks)


def test_amazon_s_own_client_reads_the_same_answers(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Moto("", "any", "any"))
    rows = rows_of(recordings, "bedrock")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replayer)
    server.rows = rows  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    theirs = client("bedrock-runtime", url, "any", "any")
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    compared = 0
    try:
        for number, row in enumerate(rows):
            if row["status"] >= 400:
                continue
            asked = {"modelId": str(number), "messages": messages}
            if "response_base64" in row:
                *events, reply = ask(url, str(number), stream=True)
                ours = reply.completion
                said = [*theirs.converse_stream(**asked)["stream"]]
                deltas = [
                    each["contentBlockDelta"]["delta"]
                    for each in said
                    if "contentBlockDelta" in each
                ]
                pieces = [event.text for event in events if isinstance(event, TextDelta)]
                assert pieces == [each["text"] for each in deltas if each.get("text")]
                text = their_text(deltas)
                stop = next(each["messageStop"] for each in said if "messageStop" in each)
                usage = next(each["metadata"]["usage"] for each in said if "metadata" in each)
                reason = stop["stopReason"]
            else:
                ours = ask(url, str(number))
                whole = theirs.converse(**asked)
                blocks = whole["output"]["message"]["content"]
                text, reason, usage = their_text(blocks), whole["stopReason"], whole["usage"]
                calls = [block["toolUse"] for block in blocks if "toolUse" in block]
                served = [each for each in calls if each.get("type") == "server_tool_use"]
                assert [(each.id, each.name) for each in ours.tool_calls] == [
                    (each["toolUseId"], each["name"]) for each in calls if each not in served
                ]
            assert ours.text == text
            assert ours.raw_finish_reason == reason
            assert ours.usage.input_tokens == usage["inputTokens"]
            assert ours.usage.cache_read_tokens == usage.get("cacheReadInputTokens")
            assert ours.usage.output_tokens == usage["outputTokens"]
            compared += 1
    finally:
        theirs.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert compared > 0
