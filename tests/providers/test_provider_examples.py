"""The examples run, each against a server on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from types import SimpleNamespace

EXAMPLES = Path(__file__).parents[2] / "examples"

NOT_SET = ("OPENAI_API_VERSION", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


async def run_example(
    name: str, *arguments: str, **environment: str
) -> tuple[int | None, str, str]:
    """How an example ends, what it prints and what it complains of."""
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
    return process.returncode, said.decode(), complained.decode()


async def example(name: str, *arguments: str, **environment: str) -> str:
    """What an example prints."""
    code, said, complained = await run_example(name, *arguments, **environment)
    assert code == 0, complained
    return said


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


@pytest.mark.parametrize(
    ("name", "environment", "models"),
    [
        (
            "gemini.py",
            {"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": "key-0123456789"},
            ("gemini-3.5-flash-lite", "gemini-3.1-pro-preview"),
        ),
        (
            "vertex.py",
            {
                "GOOGLE_VERTEX_BASE_URL": "{url}",
                "GOOGLE_CLOUD_PROJECT": "p",
                "VERTEX_ACCESS_TOKEN": "token-0123456789",
            },
            ("gemini-3.5-flash-lite", "gemini-3.5-flash"),
        ),
        (
            "bedrock.py",
            {
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "{url}",
                "AWS_BEARER_TOKEN_BEDROCK": "key-0123456789",
            },
            ("us.amazon.nova-micro-v1:0", "us.anthropic.claude-sonnet-4-6"),
        ),
    ],
)
def test_an_example_asks_the_simulated_provider_where_its_variable_names_it(
    name: str, environment: dict[str, str], models: tuple[str, str]
) -> None:
    async def run() -> tuple[str, str | None]:
        question = "What is the capital of Norway?"
        answers = {question: "Oslo.", "How many r are there in 'strawberry'? One word.": "Three."}
        served = [SimulatedModel(model, answers=answers) for model in models]
        async with SimulatedProvider(served) as server:
            told = {key: value.format(url=server.url) for key, value in environment.items()}
            printed = await example(name, **told)
            (asked, *_) = server.requests
            return printed, asked.model

    printed, asked = asyncio.run(run())
    assert printed.startswith(("Oslo.\n", "Three.\n"))
    assert "answered by" in printed
    assert asked == models[0]


@pytest.mark.parametrize("name", ["azure.py", "openai_compatible.py"])
def test_an_example_that_lacks_its_arguments_says_what_it_needs(name: str) -> None:
    code, said, complained = asyncio.run(run_example(name))
    assert (code, said) == (1, "")
    assert f"Run: python examples/{name} " in complained
    assert "Traceback" not in complained
