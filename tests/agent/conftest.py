"""Providers that follow a script, behind a transport that records what was really sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.agent import CascadeAgent
from cascadeflow.config import QualityConfig, RetryPolicy
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.quality.report import QualityReport
from cascadeflow.testing import CannedResponse, RecordingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascadeflow.models.completion import Completion
    from cascadeflow.providers.protocols import HttpRequest
    from cascadeflow.types import ChatRequest

PRICES = {"small": (1, 2), "middle": (4, 8), "big": (10, 30)}
"""US dollars per million tokens: input, output."""


@dataclass(frozen=True)
class Say:
    """An answer. A text that starts with BAD is a draft the validator rejects."""

    text: str
    input_tokens: int = 100
    output_tokens: int = 50
    cached_tokens: int = 0
    finish: str = "stop"
    calls: tuple[tuple[str, str, str], ...] = ()
    usage: bool = True
    charged: float | None = None
    breaks_after: int | None = None
    """On a stream: break off after so many pieces."""


Behaviour = str | dict[str, Any] | int | Exception
"""A text to answer with, the fields of a `Say`, an HTTP status to fail with, or how to break."""


class Validator:
    """Rejects what starts with BAD; raises on what starts with CRASH."""

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        assert request.messages
        if completion.text.startswith("CRASH"):
            raise RuntimeError("the validator broke")
        good = not completion.text.startswith("BAD")
        return QualityReport(
            mode=config.mode,
            score=0.9 if good else 0.1,
            threshold=config.threshold,
            accepted=good,
            reason="good" if good else "it starts with BAD",
        )


class World:
    """What every model will do, in turn; its last behaviour repeats.

    `World(small=["BAD draft"], big=[500, {"text": "right", "usage": False}])`
    """

    def __init__(self, **scripts: list[Behaviour]) -> None:
        self.scripts: dict[str, Iterator[Behaviour]] = {}
        for model, script in scripts.items():
            self.scripts[model] = self._repeat_last(script)
        self.transport = RecordingTransport(respond=self._respond)
        self.events: list[Any] = []

    def agent(self, *names: str, **options: Any) -> CascadeAgent:
        """An agent over these models, small, middle and big unless told."""
        options = {
            "transport": self.transport,
            "validator": Validator(),
            "retry": RetryPolicy(attempts=1),
            "on_event": self.events.append,
            **options,
        }
        models = [
            ModelConfig(
                name,
                "openai",
                price=Price(input=PRICES[name][0], output=PRICES[name][1]),
                api_key="sk-test",
                base_url="http://127.0.0.1:9/v1",
            )
            for name in names or self.scripts
        ]
        return CascadeAgent(models, **options)

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

    @staticmethod
    def _repeat_last(script: list[Behaviour]) -> Iterator[Behaviour]:
        yield from script
        while True:
            yield script[-1]

    def _respond(self, request: HttpRequest) -> CannedResponse | Exception:
        body = json.loads(request.body)
        behaviour = next(self.scripts[body["model"]])
        if isinstance(behaviour, Exception):
            return behaviour
        if isinstance(behaviour, int):
            error = {"message": "no", "type": "t", "code": None}
            return CannedResponse.json({"error": error}, status=behaviour)
        say = Say(behaviour) if isinstance(behaviour, str) else Say(**behaviour)
        if body.get("stream"):
            return _streamed(body["model"], say)
        return CannedResponse.json(_answer(body["model"], say))


def _usage(say: Say) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": say.input_tokens,
        "completion_tokens": say.output_tokens,
        "total_tokens": say.input_tokens + say.output_tokens,
        "prompt_tokens_details": {"cached_tokens": say.cached_tokens},
    }
    if say.charged is not None:
        usage["cost"] = say.charged
    return usage


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


def _answer(model: str, say: Say) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": say.text, "refusal": None}
    if say.calls:
        message["tool_calls"] = _calls(say)
    answer: dict[str, Any] = {
        "id": f"chatcmpl-{model}",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": say.finish}],
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

    words = [word + " " for word in say.text.split(" ")] if say.text else []
    if words:
        words[-1] = words[-1][:-1]
    events: list[Any] = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": word}) for word in words]
    events += [chunk({"tool_calls": [call]}) for call in _calls(say)]
    if say.breaks_after is not None:
        return CannedResponse.events(
            events[: say.breaks_after + 1], breaks_with=ConnectionError("reset")
        )
    events.append(chunk({}, say.finish))
    if say.usage:
        events.append({**chunk({}), "choices": [], "usage": _usage(say)})
    return CannedResponse.events([*events, "[DONE]"])


def billed(model: str, input_tokens: int, output_tokens: int) -> int:
    """What a provider bills, in nanodollars, rounded up: an independent reckoning."""
    per_input, per_output = PRICES[model]
    exact = Fraction(input_tokens * per_input + output_tokens * per_output, 1_000_000)
    return -(-(exact * 10**9).numerator // (exact * 10**9).denominator)


@pytest.fixture
def world() -> Callable[..., World]:
    """Makes a world: `world(small=["hi"], big=[500])`."""
    return World


@pytest.fixture
def bill() -> Callable[[str, int, int], int]:
    """What a provider bills."""
    return billed
