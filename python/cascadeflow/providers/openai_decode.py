"""Reads OpenAI chat completions, whole and streamed, with nothing lost.

What this package has no field for is kept in `Completion.extras` under the provider's own names, at
the same paths; the `usage` object stands there whole, as evidence for the buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    Completion,
    UsageUpdate,
)
from cascadeflow.providers.error_mapping import (
    error_from_object,
    header_facts,
    malformed,
    request_id_of,
)
from cascadeflow.providers.openai_choice import Choice, keep, read_logprobs
from cascadeflow.providers.openai_usage import read_cost, read_usage
from cascadeflow.providers.reading import SseReader
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY, FinishReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completion import StreamEvent
    from cascadeflow.models.usage import Usage

__all__ = ["OpenAIStreamDecoder", "read_response"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # Z.ai
    "error": "error",
    "abort": "error",  # vLLM
    "network_error": "error",  # Z.ai
    "insufficient_system_resource": "error",  # DeepSeek
}

_TOP: Final = frozenset({"choices", "id", "model", "obfuscation", "service_tier", "usage"})
"""Read into fields. `obfuscation` is random padding against eavesdroppers who measure lengths."""


class _Answer:
    """An answer, as far as it has been read."""

    __slots__ = (
        "choices",
        "cost",
        "events",
        "id",
        "model",
        "provider",
        "raw_usage",
        "rest",
        "tier",
        "usage",
    )

    def __init__(self, provider: str, events: list[StreamEvent] | None = None) -> None:
        self.provider = provider
        self.events = events
        self.choices: dict[int, Choice] = {}
        self.id: str | None = None
        self.model: str | None = None
        self.tier: str | None = None
        self.usage: Usage | None = None
        self.raw_usage: Mapping[str, Any] | None = None
        self.cost: int | None = None
        self.rest: dict[str, Any] = {}

    def add(self, body: Mapping[str, Any]) -> None:
        """Takes a whole body, or one chunk."""
        if body.get("id") != self.id:
            self.id = self._text(body, "id") or self.id
        if body.get("model") != self.model:
            self.model = self._text(body, "model") or self.model
        if body.get("service_tier") != self.tier:
            self.tier = self._text(body, "service_tier") or self.tier
        choices = body.get("choices")
        if isinstance(choices, list):
            for position, raw in enumerate(choices):
                if isinstance(raw, dict):
                    self._choice(raw, position).add(raw)
                    if "usage" in raw and isinstance(raw["usage"], dict):
                        self._add_usage(raw["usage"])  # Moonshot's streams say it there
        usage = body.get("usage")
        if usage is None and isinstance(body.get("x_groq"), dict):
            usage = body["x_groq"].get("usage")
        if isinstance(usage, dict) and usage:
            self._add_usage(usage)
        rest = self.rest
        for name, value in body.items():
            if name not in _TOP and value is not None and rest.get(name) != value:
                keep(rest, name, value)

    def _text(self, body: Mapping[str, Any], name: str) -> str | None:
        value = body.get(name)
        if value is None or isinstance(value, str):
            return value
        self.rest[name] = value
        return None

    def _choice(self, raw: Mapping[str, Any], position: int) -> Choice:
        index = raw.get("index")
        if not isinstance(index, int):
            index = position
        choice = self.choices.get(index)
        if choice is None:
            # Only the first choice is the answer, so only its pieces are events.
            choice = Choice(index, None if self.choices else self.events)
            self.choices[index] = choice
        return choice

    def _add_usage(self, raw: Mapping[str, Any]) -> None:
        usage = read_usage(raw)
        self.raw_usage = raw
        self.cost = read_cost(raw)
        if usage is not None:
            self.usage = usage
            if self.events is not None:
                self.events.append(UsageUpdate(usage))

    @property
    def finish(self) -> str | None:
        """The provider's own finish reason, once it has come."""
        for choice in self.choices.values():
            return choice.finish
        return None

    def completion(
        self, headers: Mapping[str, str], *, complete: bool = True, broken: bool = False
    ) -> Completion:
        choices = list(self.choices.values())
        answer = choices[0] if choices else Choice(0)
        extras = dict(self.rest)
        if self.raw_usage is not None:
            extras["usage"] = self.raw_usage
        others = [choice.as_raw() for choice in choices[1:]]
        leftover = answer.leftover()
        if leftover or others:
            extras["choices"] = [leftover, *others]
        refusal = "".join(answer.refusal)
        finish: FinishReason = "error" if broken else "unknown"
        if answer.finish is not None:
            finish = _FINISH.get(answer.finish, "unknown")
            if finish == "stop" and refusal:
                finish = "refusal"
        return Completion(
            text="".join(answer.text),
            tool_calls=answer.tool_calls(),
            finish_reason=finish,
            raw_finish_reason=answer.finish,
            usage=self.usage,
            usage_complete=complete,
            model=self.model,
            response_id=self.id,
            request_id=request_id_of(headers),
            refusal=refusal or None,
            reasoning="".join(answer.reasoning),
            logprobs=read_logprobs(answer.logprobs),
            service_tier=self.tier,
            reported_cost=self.cost,
            headers=header_facts(headers) or EMPTY,
            extras=extras or EMPTY,
        )


def read_response(provider: str, headers: Mapping[str, str], body: bytes) -> Completion:
    """Reads a whole response whose status says that it is an answer.

    Raises:
        ProviderError: the body is an error all the same, or no answer at all.
    """
    try:
        parsed = read_json(body)
    except ValueError:
        raise malformed(provider, "it is not JSON", body=body) from None
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise malformed(provider, "it is not a JSON object")
    choices = parsed.get("choices")
    if not isinstance(choices, list) or not any(isinstance(choice, dict) for choice in choices):
        if parsed.get("error"):
            # It began to answer, and may bill what it did.
            raise error_from_object(provider, parsed, headers=headers, billed=None)
        raise malformed(provider, "it has no choices")
    answer = _Answer(provider)
    try:
        answer.add(parsed)
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    return answer.completion(headers)


class OpenAIStreamDecoder(SseReader):
    """Reads one stream of chat completion chunks."""

    __slots__ = ("_answer", "_done")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(provider, headers)
        self._answer = _Answer(provider, self._events)
        self._done = False

    def _completion(self) -> Completion:
        whole = self._done or (self._answer.finish is not None and self._answer.usage is not None)
        broken = not self._done and self._answer.finish is None
        return self._answer.completion(self._headers, complete=whole, broken=broken)

    def _read(self, name: str, data: bytes, *, at_end: bool = False) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        try:
            chunk = read_json(data)
        except (ValueError, RecursionError):
            if at_end:  # what is cut off in the middle is no event
                return
            bare = data.strip()
            self._done = self._done or bare == b"[DONE]"
            if bare not in (b"", b"[DONE]"):  # a sign of life, or the end with white space around
                self._fail(malformed(self._provider, "a stream's event is not JSON", body=data))
            return
        if not isinstance(chunk, dict):
            self._fail(malformed(self._provider, "a stream's event is not a JSON object"))
            return
        said = _error_in(name, chunk)
        failed = said is not None and self._answer.finish is None
        # An error behind the finish reason takes nothing back (OpenRouter reports a reached limit
        # so): the answer is whole, and the error is kept among the extras. Beside an error may
        # stand the last of the text, and what was used.
        try:
            self._answer.add({n: chunk[n] for n in chunk if n in _TOP} if failed else chunk)
        except RecursionError:
            self.failure = malformed(self._provider, "a stream's event is nested too deeply")
            return
        if failed:
            self._fail(error_from_object(self._provider, said, headers=self._headers, billed=None))


def _error_in(name: str, chunk: Mapping[str, Any]) -> Any:
    """Gives the error that a stream's event carries, or `None`."""
    if name == "error" or chunk.get("error"):
        return chunk
    groq = chunk.get("x_groq")  # Groq tells so why it stopped a stream early
    said = groq.get("error") if isinstance(groq, dict) else None
    return {"error": said} if said else None
