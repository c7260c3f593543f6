"""Log-probabilities that a caller asks for reach the verdict on the draft, over HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow import CascadeAgent, ModelConfig, QualityConfig
from cascadeflow.pipeline.events import RequestCompleted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cascadeflow.pipeline.result import CascadeResult

QUESTION = "In which year was the bridge of Visegrad finished?"
WORDS = ("The", " bridge", " was", " finished", " in", " 1577", ".")
PROBABILITY = {"guesser": 0.2, "knower": 0.97, "verifier": 0.99}


class Provider(BaseHTTPRequestHandler):
    """OpenAI's protocol: log-probabilities come where they are asked for, and only there."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chance = math.log(PROBABILITY[asked["model"]])
        content = [{"token": word, "logprob": chance, "top_logprobs": []} for word in WORDS]
        given = {"content": content} if asked.get("logprobs") is True else None
        usage = {"prompt_tokens": 20, "completion_tokens": len(WORDS)}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "logprobs": given, "finish_reason": "stop"}
            body = {"model": asked["model"], "choices": [choice], "usage": usage}
            self._send("application/json", json.dumps(body))
            return
        chunks: list[dict[str, Any]] = [
            {
                "index": 0,
                "delta": {"content": each["token"]},
                "logprobs": given and {"content": [each]},
                "finish_reason": None,
            }
            for each in content
        ]
        chunks.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
        rows: list[dict[str, Any]] = [{"choices": [chunk]} for chunk in chunks]
        rows.append({"choices": [], "usage": usage})
        lines = [f"data: {json.dumps({'model': asked['model'], **row})}\n\n" for row in rows]
        self._send("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]))

    def _send(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def asked(
    url: str, drafter: str, *, stream: bool, settings: dict[str, Any] | None = None, **options: Any
) -> CascadeResult:
    models = [
        ModelConfig(drafter, "vllm", 0.001, base_url=url, **settings or {}),
        ModelConfig("verifier", "vllm", 0.01, base_url=url),
    ]

    async def main() -> CascadeResult:
        async with CascadeAgent(models, QualityConfig.fast(), draft_up_to="expert") as agent:
            if not stream:
                return await agent.run(QUESTION, **options)
            async for event in agent.stream(QUESTION, **options):
                if isinstance(event, RequestCompleted):
                    return event.result
            raise AssertionError("the stream had no last event")

    return asyncio.run(main())


def said(result: CascadeResult) -> tuple[str, float]:
    (found,) = (check for check in result.quality.checks if check.name == "confidence")
    return found.verdict, round(found.score, 6)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_guess_is_escalated_where_log_probabilities_were_asked_for(
    url: str, stream: bool
) -> None:
    guessed = asked(url, "guesser", stream=stream, extra={"logprobs": True})
    assert said(guessed) == ("failed", 0.2)
    assert guessed.model_used.endswith("verifier")
    assert "a probability of 0.20 on average" in guessed.quality.reason
    known = asked(url, "knower", stream=stream, extra={"logprobs": True})
    assert said(known) == ("passed", 0.97)
    assert known.model_used.endswith("knower")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_who_asks_for_none_is_judged_without(url: str, stream: bool) -> None:
    result = asked(url, "guesser", stream=stream)
    assert said(result) == ("not_applicable", 1.0)
    assert result.model_used.endswith("guesser")


def test_a_models_own_settings_may_ask_for_them_for_every_draft(url: str) -> None:
    result = asked(url, "guesser", stream=False, settings={"extra": {"logprobs": True}})
    assert said(result) == ("failed", 0.2)
    assert result.completion is not None
    assert result.completion.logprobs is None  # the verifier was not asked for any
