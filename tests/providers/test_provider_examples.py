"""The examples run, each against a server on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import SimpleNamespace

EXAMPLES = Path(__file__).parents[2] / "examples"

NOT_SET = ("OPENAI_API_VERSION", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


async def example(name: str, *arguments: str, **environment: str) -> str:
    """What an example prints."""
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_SET}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        *arguments,
        env={**inherited, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode()


def test_cohere_s_example_prints_answer_citations_and_what_is_billed(http: SimpleNamespace) -> None:
    seen: list[Any] = []

    async def answer(exchange: Any) -> None:
        seen.append((exchange.path, exchange.headers["authorization"], exchange.json))
        cited = {"text": "at noon", "sources": [{"document": {"title": "opening hours"}}]}
        usage = {
            "billed_units": {"input_tokens": 30, "output_tokens": 2},
            "tokens": {"input_tokens": 700, "output_tokens": 4},
        }
        await exchange.start_stream()
        for event in (
            {"type": "message-start", "id": "r1", "delta": {"message": {"role": "assistant"}}},
            {
                "type": "content-delta",
                "index": 0,
                "delta": {"message": {"content": {"text": "At noon."}}},
            },
            {"type": "citation-start", "delta": {"message": {"citations": cited}}},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
        ):
            await exchange.event(event)
        await exchange.end_stream()

    async def run() -> str:
        async with http.serve(answer) as server:
            url = server.url.removesuffix("/v1")
            return await example("cohere.py", CO_API_URL=url, COHERE_API_KEY="key-0123456789")

    printed = asyncio.run(run())
    assert printed.startswith(
        "At noon.\n  'at noon' rests on ['opening hours']\nbilled: 30 in, 2 out"
    )
    ((path, authorization, body),) = seen
    assert (path, authorization) == ("/v2/chat", "Bearer key-0123456789")
    assert [each["data"]["title"] for each in body["documents"]] == ["opening hours", "lending"]


def test_azure_s_example_asks_the_deployments(http: SimpleNamespace) -> None:
    async def run() -> tuple[str, Any]:
        async with http.serve(http.answer) as server:
            printed = await example(
                "azure.py",
                *("gpt-4o-mini", "gpt-4o"),
                AZURE_OPENAI_ENDPOINT=server.url.removesuffix("/v1"),
                AZURE_OPENAI_API_KEY="key-0123456789",
                OPENAI_API_VERSION="2024-10-21",
            )
            return printed, server.exchanges

    printed, exchanges = asyncio.run(run())
    assert printed.startswith("Hello\nanswered by")
    first = exchanges[0]
    assert first.path == "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
    assert first.headers["api-key"] == "key-0123456789"


def test_a_server_of_one_s_own_drafts(http: SimpleNamespace) -> None:
    async def run() -> tuple[str, Any]:
        async with http.serve(http.answer) as server:
            printed = await example(
                "openai_compatible.py",
                *(server.url, "my-model"),
                OPENAI_BASE_URL=server.url,
                OPENAI_API_KEY="key-0123456789",
                MY_LLM_KEY="mine-0123456789",
            )
            return printed, server.exchanges

    printed, exchanges = asyncio.run(run())
    assert "answered by" in printed
    first = exchanges[0]
    assert json.loads(first.body)["model"] == "my-model"
    assert first.headers["authorization"] == "Bearer mine-0123456789"
