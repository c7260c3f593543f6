"""A client that sends exactly the bytes it is told to, and requests in both forms."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str | None, str]]:
        """Server-sent events: name and data."""
        events = []
        for block in self.body.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            events.append((fields.get("event"), fields["data"]))
        return events


class RawClient:
    """One connection, written and read by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:-2])
        return int(head[0].split(" ")[1]), headers

    async def read_response(self) -> RawResponse:
        status, headers = await self.read_head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return RawResponse(status, headers, body)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


class Wire:
    """Builds requests in both forms and sends them, byte by byte as they are built."""

    async def connect(self, port: int) -> RawClient:
        return RawClient(*await asyncio.open_connection("127.0.0.1", port))

    def request(
        self, path: str, content: Any, *, method: str = "POST", headers: Sequence[str] = ()
    ) -> bytes:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        if method == "GET":
            body = b""
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, *headers, "", ""]).encode() + body

    def openai(self, model: str, question: str, **more: Any) -> bytes:
        messages = [{"role": "user", "content": question}]
        content = {"model": model, "messages": messages, **more}
        return self.request("/v1/chat/completions", content)

    def anthropic(self, model: str, question: str, **more: Any) -> bytes:
        messages = [{"role": "user", "content": question}]
        content = {"model": model, "messages": messages, "max_tokens": 1000, **more}
        return self.request("/v1/messages", content, headers=["anthropic-version: 2023-06-01"])

    async def ask(self, port: int, *requests: bytes) -> list[RawResponse]:
        """Sends requests one after the other over one connection."""
        responses = []
        async with await self.connect(port) as client:
            for request in requests:
                await client.send(request)
                responses.append(await client.read_response())
        return responses


@pytest.fixture(scope="session")
def wire() -> Wire:
    return Wire()
