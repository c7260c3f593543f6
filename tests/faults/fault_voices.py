"""What each protocol's provider would say, as bytes, so that a fault can spoil it.

Every answer costs 100 tokens in and 50 out, whatever its text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.testing import (
    anthropic_form,
    bedrock_form,
    cohere_form,
    gemini_form,
    openai_form,
    responses_form,
)
from cascadeflow.testing.behaviour import Ask, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "sk-test-0123456789"
SERVED = 200_000
"""Nanodollars that a whole answer costs: 100 tokens in and 50 out, at 1 and 2 USD a million."""


@dataclass(frozen=True)
class Voice:
    """One protocol.

    Attributes:
        provider: the provider's id.
        form: the module of `cascadeflow.testing` that writes its answers.
        overloaded: the event with which a stream says that it fails.
        overloaded_class: the error that this event is.
        usage_key: the field that holds an answer's usage.
        stream_kind: a stream's content type.
        end_mark: what stands in the event that says nothing but that the stream has ended.
        padding: bytes of a stream that say nothing, as often as they come.
        unfinished: bytes of a stream that are no event as long as nothing follows.
    """

    provider: str
    form: Any
    overloaded: bytes
    usage_key: str = "usage"
    stream_kind: str = "text/event-stream"
    end_mark: bytes | None = None
    padding: bytes = b": nothing to say yet\n\n" * 1000
    unfinished: bytes = b"data: " + b"x" * 1_000_000

    def __str__(self) -> str:
        return self.provider

    def whole(self, text: str = "Oslo, of course.") -> bytes:
        """A whole answer's body."""
        body: bytes = self.form.body(self._ask(), _reply(text), answer_id="a1", created=1)
        return body

    def events(self, text: str = "Oslo, of course.", *, pieces: int = 4) -> list[bytes]:
        """A stream's events; its text comes in so many pieces, or a few more."""
        before, parts, after = self.form.events(
            self._ask(),
            _reply(text),
            answer_id="a1",
            created=1,
            tokens_per_chunk=max(1, len(text) // (4 * pieces)),
        )
        return [*before, *parts, *after]

    def begun(self) -> list[bytes]:
        """The events of a stream up to its last piece of text, without what says why it ends."""
        before, parts, _ = self.form.events(
            self._ask(), _reply("Oslo, of course."), answer_id="a1", created=1, tokens_per_chunk=1
        )
        return [*before, *parts]

    def usage_twice(self) -> list[bytes]:
        """A stream whose last word on usage comes twice."""
        events = self.events()
        at = max(i for i, event in enumerate(events) if _carries(event, self.usage_key))
        return [*events[: at + 1], *events[at:]]

    def without_end_mark(self) -> list[bytes]:
        """A stream without the event that only says that it has ended."""
        return [
            event for event in self.events() if self.end_mark is None or self.end_mark not in event
        ]

    def without_usage(self) -> tuple[bytes, list[bytes]]:
        """A whole answer and a stream that never say what was used."""
        whole = json.dumps(_without(json.loads(self.whole()), self.usage_key)).encode()
        events = self.events()
        if self.stream_kind == BINARY:
            return whole, [event for event in events if not _carries(event, self.usage_key)]
        return whole, [self._silenced(event) for event in events]

    def error(self, message: str = "come again later") -> bytes:
        """An error response's body."""
        return json.dumps({"error": {"type": "unknown", "message": message}}).encode()

    def model(self, url: str, **settings: Any) -> ModelConfig:
        """A model of this provider at the server."""
        return ModelConfig(
            "m",
            self.provider,
            price=Price(input=1, output=2),
            api_key=KEY,
            base_url=url if self.provider not in {"openai", "openai-responses"} else f"{url}/v1",
            **settings,
        )

    def _silenced(self, event: bytes) -> bytes:
        lines = event.split(b"\n")
        for at, line in enumerate(lines):
            if line.startswith(b"data: {"):
                content = _without(json.loads(line[6:]), self.usage_key)
                lines[at] = b"data: " + json.dumps(content).encode()
        return b"\n".join(lines)

    def _ask(self) -> Ask:
        return Ask(
            protocol=self.provider,  # type: ignore[arg-type]
            model="m",
            question="Where?",
            texts=("Where?",),
            messages=1,
            stream=True,
            include_usage=True,
        )


def _reply(text: str) -> Reply:
    return Reply(text=text, prompt_tokens=100, output_tokens=50)


def _carries(event: bytes, key: str) -> bool:
    return f'"{key}":{{'.encode() in event


def _without(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _without(each, key) for name, each in value.items() if name != key}
    if isinstance(value, list):
        return [_without(each, key) for each in value]
    return value


def event(data: Any, name: str | None = None) -> bytes:
    """A server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


BINARY = "application/vnd.amazon.eventstream"


def exception(name: str, message: str) -> bytes:
    """An exception in a stream of Amazon's."""
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return bedrock_form.frame(headers, json.dumps({"message": message}).encode())


VOICES: Sequence[Voice] = (
    Voice(
        "openai",
        openai_form,
        overloaded=event({"error": {"message": "overloaded", "type": "server_error"}}),
        end_mark=b"[DONE]",
    ),
    Voice(
        "anthropic",
        anthropic_form,
        overloaded=event(
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "error",
        ),
        end_mark=b"message_stop",
    ),
    Voice(
        "openai-responses",
        responses_form,
        overloaded=event(
            {"type": "error", "code": "server_error", "message": "overloaded", "param": None},
            "error",
        ),
    ),
    Voice(
        "gemini",
        gemini_form,
        overloaded=event({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}),
        usage_key="usageMetadata",
    ),
    Voice(
        "bedrock",
        bedrock_form,
        overloaded=exception("serviceUnavailableException", "busy"),
        stream_kind=BINARY,
        padding=bedrock_form.frame({":event-type": "messageStart"}, b'{"role":"assistant"}') * 300,
        # A whole prelude, and a part of the frame that it announces.
        unfinished=bedrock_form.frame({":event-type": "contentBlockDelta"}, b"x" * 2_000_000)[
            :1_000_000
        ],
    ),
    Voice(
        "cohere",
        cohere_form,
        overloaded=event(
            {
                "type": "message-end",
                "delta": {"finish_reason": "ERROR", "error": "internal server error"},
            },
            "message-end",
        ),
        end_mark=b"[DONE]",
    ),
)
