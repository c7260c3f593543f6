"""Models that follow a script behind a recording transport, and agents with tiers over them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow import CascadeAgent, ModelConfig, RateLimitError, RetryPolicy
from cascadeflow.models.prices import Price
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import CannedResponse, ManualClock, RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import HttpRequest
    from cascadeflow.types import ChatRequest

PRICES = {"small": (1, 2), "middle": (4, 8), "big": (10, 30), "spare": (5, 9)}
"""US dollars per million tokens: input, output."""

QUESTION = "Where is Oslo?"


@dataclass(frozen=True)
class Say:
    """An answer. A text that starts with BAD is a draft that the validator rejects."""

    text: str = "Oslo is in Norway"
    input_tokens: int = 100
    output_tokens: int = 50
    calls: tuple[tuple[str, str, str], ...] = ()
    usage: bool = True
    breaks: bool = False
    """On a stream: break off before its end."""


Behaviour = str | dict[str, Any] | int | Exception
"""A text to answer with, the fields of a `Say`, an HTTP status to fail with, or how to break."""


class Validator:
    """Rejects what starts with BAD, and what is not sure enough: all it accepts scores 0.9."""

    def judge(self, request: ChatRequest, completion: Completion, *, config: Any) -> QualityReport:
        assert request.messages
        score = 0.1 if completion.text.startswith("BAD") else 0.9
        return QualityReport(
            mode=config.mode,
            score=score,
            threshold=config.threshold,
            accepted=score >= config.threshold,
            reason="so it scores",
        )


class World:
    """What every model will do, in turn; its last behaviour repeats.

    `World(small=["BAD draft"], big=[500, {"text": "right", "usage": False}])`

    Attributes:
        clock: turned by hand; the agent's and its tiers'.
        transport: what was really sent.
        events: what the agents told.
        started: who was asked, answered or not yet.
        meanwhile: awaited before each answer, so that a call takes as long as a test wants.
        most_at_once: the most calls that were under way at one time.
    """

    def __init__(self, **scripts: list[Behaviour]) -> None:
        self._scripts: dict[str, Iterator[Behaviour]] = {
            model: _repeat_last(script) for model, script in scripts.items()
        }
        self.clock = ManualClock()
        self.transport = RecordingTransport(respond=self._respond)
        self.events: list[Any] = []
        self.names = tuple(scripts)
        self.started: list[str] = []
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None
        self.most_at_once = 0

    def model(
        self, name: str, provider: str = "openai", *, like: str | None = None, **more: Any
    ) -> ModelConfig:
        """One of the models, or another one at the price of one of them."""
        more = {"api_key": "sk-test", "base_url": "http://127.0.0.1:9/v1", **more}
        price = Price(input=PRICES[like or name][0], output=PRICES[like or name][1])
        return ModelConfig(name, provider, price=price, **more)

    def agent(self, *names: str, **options: Any) -> CascadeAgent:
        """An agent over these models, or all but `spare`, which is a fallback where it is there."""
        if "models" not in options:
            names = names or tuple(name for name in self._scripts if name != "spare")
            options["models"] = [self.model(name) for name in names]
        options = {
            "transport": self.transport,
            "validator": Validator(),
            "retry": RetryPolicy(attempts=1),
            "breaker": None,
            "on_event": self.events.append,
            "clock": self.clock,
            "fallbacks": [self.model("spare")] if "spare" in self._scripts else [],
            **options,
        }
        return CascadeAgent(options.pop("models"), **options)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was sent, in order."""
        return [exchange.request_json for exchange in self.transport.exchanges]

    @property
    def asked(self) -> list[str]:
        """Who was asked, in order."""
        return [body["model"] for body in self.bodies]

    def kinds(self) -> list[str]:
        """What was told, in order."""
        return [type(event).__name__ for event in self.events]

    async def _respond(self, request: HttpRequest) -> CannedResponse | Exception:
        self.most_at_once = max(self.most_at_once, self.transport.open_exchanges)
        body = json.loads(request.body)
        self.started.append(body["model"])
        behaviour = next(self._scripts[body["model"]])
        if self.meanwhile is not None:
            await self.meanwhile()
        if isinstance(behaviour, Exception):
            return behaviour
        if isinstance(behaviour, int):
            error = {"message": "no", "type": "t", "code": None}
            return CannedResponse.json({"error": error}, status=behaviour)
        say = Say(behaviour) if isinstance(behaviour, str) else Say(**behaviour)
        if body.get("stream"):
            return _streamed(body["model"], say)
        return CannedResponse.json(_answer(body["model"], say))


def _repeat_last(script: list[Behaviour]) -> Iterator[Behaviour]:
    yield from script
    while True:
        yield script[-1]


def _usage(say: Say) -> dict[str, Any]:
    return {
        "prompt_tokens": say.input_tokens,
        "completion_tokens": say.output_tokens,
        "total_tokens": say.input_tokens + say.output_tokens,
    }


def _calls(say: Say) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for index, (call_id, name, arguments) in enumerate(say.calls)
    ]


def _finish(say: Say) -> str:
    return "tool_calls" if say.calls else "stop"


def _answer(model: str, say: Say) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": say.text, "refusal": None}
    if say.calls:
        message["tool_calls"] = _calls(say)
    answer: dict[str, Any] = {
        "id": f"chatcmpl-{model}",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(say)}],
    }
    if say.usage:
        answer["usage"] = _usage(say)
    return answer


def _streamed(model: str, say: Say) -> CannedResponse:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{model}",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    events: list[Any] = [chunk({"role": "assistant", "content": ""})]
    words = [f"{word} " for word in say.text.split(" ")]
    events += [chunk({"content": word}) for word in (*words[:-1], words[-1][:-1])]
    events += [chunk({"tool_calls": [call]}) for call in _calls(say)]
    if say.breaks:
        return CannedResponse.events(events[:2], breaks_with=ConnectionError("reset"))
    events.append(chunk({}, _finish(say)))
    if say.usage:
        events.append({**chunk({}), "choices": [], "usage": _usage(say)})
    return CannedResponse.events([*events, "[DONE]"])


def ask(agent: CascadeAgent, **options: Any) -> Any:
    """Asks once, from outside of any event loop; the agent's connections are closed."""

    async def main() -> Any:
        async with agent:
            return await agent.run(**{"query": QUESTION, **options})

    return asyncio.run(main())


async def read(stream: Any) -> Any:
    """Reads a stream to its end; gives the result."""
    last = None
    async for event in stream:
        last = event
    assert last is not None
    return last.result


async def outcomes(*requests: Awaitable[Any]) -> tuple[list[Any], list[RateLimitError]]:
    """Waits for requests under way at once; gives results and refusals. Anything else raises."""
    passed, refused = [], []
    for outcome in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(outcome, RateLimitError):
            refused.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            passed.append(outcome)
    return passed, refused


async def until(condition: Callable[[], bool]) -> None:
    """Lets others run until something is true."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")
