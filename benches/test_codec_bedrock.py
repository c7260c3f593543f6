"""What it takes to write a request to Bedrock, to read an answer, and to read and sign its own way.

The reference of JSON is what the standard library's `json` takes for the same bytes; that of the
binary stream is botocore's own reader, up to the JSON of each event and no further.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import TYPE_CHECKING, Any
from zlib import crc32

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer

from cascadeflow.models.config import ModelConfig
from cascadeflow.providers import get_codec
from cascadeflow.providers.aws import AwsSigner
from cascadeflow.providers.protocols import HttpRequest
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    import pytest

WRITE = "encode a request, 300 characters (bedrock)"
WHOLE = "decode a whole answer, 300 characters (bedrock)"
STREAM = "decode a stream of 50 pieces (bedrock)"
SIGN = "sign a request to Bedrock, 1 KB"

REQUEST = ChatRequest(
    model="amazon.nova-micro-v1:0",
    messages=(
        Message("system", "You are helpful."),
        Message("user", "What is the capital of Norway? " * 9),
    ),
    max_tokens=100,
    temperature=0.0,
)
USAGE = {
    "inputTokens": 70,
    "outputTokens": 50,
    "totalTokens": 120,
    "cacheReadInputTokens": 0,
    "cacheWriteInputTokens": 0,
}
ANSWER = {
    "metrics": {"latencyMs": 400},
    "output": {"message": {"role": "assistant", "content": [{"text": "Oslo. " * 50}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
}
URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-micro-v1%3A0/converse"
KEY, SECRET = "AKIDEXAMPLE", "example-secret"


def frame(kind: str, body: dict[str, Any]) -> bytes:
    headers = b""
    types = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    for name, value in types.items():
        headers += bytes([len(name)]) + name.encode() + b"\x07"
        headers += struct.pack("!H", len(value)) + value.encode()
    payload = json.dumps(
        {**body, "p": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"}
    ).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    checked = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return checked + struct.pack("!I", crc32(checked))


FRAMES = [
    frame("messageStart", {"role": "assistant"}),
    *[frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Oslo. "}})] * 50,
    frame("contentBlockStop", {"contentBlockIndex": 0}),
    frame("messageStop", {"stopReason": "end_turn"}),
    frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 400}}),
]


def note(benchmark: Any, figure: str, reference: str | None = None) -> None:
    if reference is None:
        benchmark.extra_info |= {"figure": figure, "role": "figure", "gate_s": None}
    else:
        role = {"role": "reference", "reference": reference}
        benchmark.extra_info |= {"figure": figure, **role}


def test_encode(benchmark: Any) -> None:
    note(benchmark, WRITE)
    assert benchmark(get_codec("bedrock").encode, REQUEST).body


def test_encode_reference(benchmark: Any) -> None:
    note(benchmark, WRITE, "json.dumps")
    body = json.loads(get_codec("bedrock").encode(REQUEST).body)
    assert benchmark(lambda: json.dumps(body).encode())


def test_decode(benchmark: Any) -> None:
    note(benchmark, WHOLE)
    body = json.dumps(ANSWER).encode()
    assert benchmark(get_codec("bedrock").decode, 200, {}, body).text.startswith("Oslo")


def test_decode_reference(benchmark: Any) -> None:
    note(benchmark, WHOLE, "json.loads")
    assert benchmark(json.loads, json.dumps(ANSWER).encode())


def test_decode_stream(benchmark: Any) -> None:
    note(benchmark, STREAM)
    codec = get_codec("bedrock")
    events = benchmark(lambda: list(codec.decode_stream(FRAMES)))
    assert events[-1].completion.text == "Oslo. " * 50


def test_decode_stream_reference(benchmark: Any) -> None:
    note(benchmark, STREAM, "botocore's EventStreamBuffer and json.loads")

    def read() -> list[Any]:
        buffer = EventStreamBuffer()
        found = []
        for data in FRAMES:
            buffer.add_data(data)
            found += [json.loads(message.payload) for message in buffer]
        return found

    assert len(benchmark(read)) == len(FRAMES)


def asked() -> HttpRequest:
    headers = {"content-type": "application/json", "user-agent": "x"}
    return HttpRequest(method="POST", url=URL, headers=headers, body=b"x" * 1024)


def test_sign(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    note(benchmark, SIGN)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    signer, request = AwsSigner(ModelConfig("m", "bedrock")), asked()
    with asyncio.Runner() as runner:
        runner.run(signer.sign(request))  # finds the credentials

        def sign() -> HttpRequest:
            # What is not waited for ends at the first step, as on a loop.
            step = signer.sign(request)
            try:
                step.send(None)
            except StopIteration as end:
                signed: HttpRequest = end.value
                return signed
            raise AssertionError("it waited for something")

        assert "Signature=" in benchmark(sign).headers["authorization"]


def test_sign_reference(benchmark: Any) -> None:
    note(benchmark, SIGN, "botocore's SigV4Auth")
    auth = SigV4Auth(Credentials(KEY, SECRET), "bedrock", "us-east-1")
    request = asked()

    def sign() -> Any:
        headers = {"content-type": "application/json"}
        signed = AWSRequest(method="POST", url=URL, data=request.body, headers=headers)
        auth.add_auth(signed)
        return signed

    assert "Signature=" in benchmark(sign).headers["Authorization"]
