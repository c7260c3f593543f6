"""Reads OpenAI responses, whole, with nothing lost.

An answer is a list of output items: messages, reasoning, calls of functions and of server-side
tools. `Completion.extras["output"]` keeps the list as it came, which is also what the next request
must carry back; every other field stands in the extras under its own name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import (
    Completion,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
)
from cascadeflow.providers.error_mapping import (
    error_from_object,
    header_facts,
    malformed,
    request_id_of,
)
from cascadeflow.providers.openai_responses_usage import read_usage
from cascadeflow.providers.openai_usage import read_cost
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY, FinishReason, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cascadeflow.errors import ProviderError

__all__ = [
    "CALLS",
    "UNFINISHED",
    "Place",
    "Say",
    "arguments_of",
    "build_completion",
    "call_id_of",
    "failure_of",
    "read_response",
    "spoken",
    "spoken_part",
    "word",
]

Say = type[TextDelta] | type[ReasoningDelta] | type[RefusalDelta]
"""What a piece of text is: visible, reasoning, or a refusal."""

Place = tuple[str, int, str]
"""Where a text stands in its item: the list, the position in it, the field."""

CALLS: Final[Mapping[str, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
"""The items that ask for one of the caller's own tools, and where its arguments stand."""

UNFINISHED: Final = frozenset({"queued", "in_progress"})
"""The states of a response that has not ended: its tier is what was asked for, not what served."""

_TOP: Final = frozenset({"id", "model", "output", "service_tier", "status", "usage"})

_CUT: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


def word(raw: Mapping[str, Any], name: str) -> str:
    """Gives a field's text, empty when it has none."""
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def spoken(item: Mapping[str, Any]) -> Iterator[tuple[Place, str, Say]]:
    """Gives the texts of an output item, each with its place and what it is."""
    kind = item.get("type")
    for where in _LISTS.get(kind, ()) if isinstance(kind, str) else ():
        parts = item.get(where)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                yield from spoken_part(where, index, part)


def spoken_part(
    where: str, index: int, part: Mapping[str, Any]
) -> Iterator[tuple[Place, str, Say]]:
    """Gives the text of one part of an item, with its place and what it is."""
    voice = _VOICES.get(word(part, "type"))
    if voice is not None:
        name, say = voice
        text = part.get(name)
        if isinstance(text, str):
            yield (where, index, name), text, say


_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("content",),
    "reasoning": ("summary", "content"),
}

_VOICES: Final[Mapping[str, tuple[str, Say]]] = {
    "output_text": ("text", TextDelta),
    "refusal": ("refusal", RefusalDelta),
    "summary_text": ("text", ReasoningDelta),
    "reasoning_text": ("text", ReasoningDelta),
}


def call_id_of(item: Mapping[str, Any]) -> str:
    """Gives the id by which the result names a call; the item's own id is another."""
    return word(item, "call_id") or word(item, "id")


def arguments_of(item: Mapping[str, Any]) -> str:
    """Gives a call's arguments as the model wrote them."""
    name = CALLS.get(word(item, "type"))
    arguments = item.get(name) if name else None
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    try:
        return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return ""  # they stand in the extras


def build_completion(
    response: Mapping[str, Any],
    items: Sequence[Any],
    headers: Mapping[str, str],
    *,
    complete: bool = True,
    broken: bool = False,
    events: Sequence[Any] = (),
) -> Completion:
    """Makes a completion of a response object and its output items.

    Args:
        response: the response object.
        items: its output.
        headers: the response's headers, names lower-cased.
        complete: whether the usage is the provider's last word.
        broken: whether the answer ends in the middle.
        events: a stream's events that no field holds.
    """
    said: dict[Say, list[str]] = {TextDelta: [], ReasoningDelta: [], RefusalDelta: []}
    calls: list[ToolCall] = []
    for item in items:
        if not isinstance(item, dict):
            continue
        for _, text, say in spoken(item):
            said[say].append(text)
        if word(item, "type") in CALLS:
            calls.append(ToolCall(call_id_of(item), word(item, "name"), arguments_of(item)))
    rest: dict[str, Any] = {
        name: value for name, value in response.items() if name not in _TOP and value is not None
    }
    if items:
        rest["output"] = list(items)
    if events:
        rest["events"] = list(events)
    status = word(response, "status")
    unfinished = status in UNFINISHED
    texts = {"id": "", "model": "", "service_tier": ""}
    for name in texts:
        value = response.get(name)
        if isinstance(value, str) and not (unfinished and name == "service_tier"):
            texts[name] = value
        elif value is not None:
            rest[name] = value
    raw_usage = response.get("usage")
    if raw_usage is not None:
        rest["usage"] = raw_usage
    raw_finish = None if unfinished else _raw_finish(response)
    if response.get("status") not in (None, raw_finish):
        rest["status"] = response["status"]
    refusal = "".join(said[RefusalDelta])
    finish = _finish(status, raw_finish, calls=bool(calls), refused=bool(refusal))
    return Completion(
        text="".join(said[TextDelta]),
        tool_calls=tuple(calls),
        finish_reason="error" if broken else finish,
        raw_finish_reason=raw_finish,
        usage=read_usage(response, items),
        usage_complete=complete and not unfinished,
        model=texts["model"] or None,
        response_id=texts["id"] or None,
        request_id=request_id_of(headers),
        refusal=refusal or None,
        reasoning="".join(said[ReasoningDelta]),
        logprobs=_logprobs(items),
        service_tier=texts["service_tier"] or None,
        reported_cost=read_cost(raw_usage) if isinstance(raw_usage, dict) else None,
        headers=header_facts(headers) or EMPTY,
        extras=rest or EMPTY,
    )


def _raw_finish(response: Mapping[str, Any]) -> str | None:
    """Why a response ended: the reason it is incomplete, where it says one, or its status."""
    status = word(response, "status")
    details = response.get("incomplete_details")
    if status == "incomplete" and isinstance(details, dict):
        return word(details, "reason") or status
    return status or None


def _finish(status: str, raw: str | None, *, calls: bool, refused: bool) -> FinishReason:
    if status in ("completed", "complete"):
        if calls:
            return "tool_calls"
        return "refusal" if refused else "stop"
    if status == "incomplete":
        return _CUT.get(raw or "", "unknown")
    return "error" if status in ("failed", "cancelled") else "unknown"


def _logprobs(items: Sequence[Any]) -> tuple[TokenLogprob, ...] | None:
    """Gives the tokens of all visible text, `None` when none were asked for."""
    entries: list[TokenLogprob] = []
    for item in items:
        if not isinstance(item, dict) or item.get("type") != "message":
            continue
        parts = item.get("content")
        for part in parts if isinstance(parts, list) else ():
            tokens = part.get("logprobs") if isinstance(part, dict) else None
            for token in tokens if isinstance(tokens, list) else ():
                entry = _logprob(token)
                if entry is not None:
                    tops = token.get("top_logprobs")
                    top = map(_logprob, tops if isinstance(tops, list) else ())
                    entries.append(TokenLogprob(*entry, tuple(each for each in top if each)))
    return tuple(entries) or None


def _logprob(raw: Any) -> tuple[str, float] | None:
    if not isinstance(raw, dict):
        return None
    value = raw.get("logprob")
    if type(value) is int and abs(value) < _MOST:  # a bool is no number
        value = float(value)
    return (word(raw, "token"), value) if isinstance(value, float) else None


_MOST: Final = 2**53


def read_response(provider: str, headers: Mapping[str, str], body: bytes) -> Completion:
    """Reads a whole response whose HTTP status says that it is an answer.

    Raises:
        ProviderError: it is an error all the same, or no answer at all.
    """
    try:
        parsed = read_json(body)
    except ValueError:
        raise malformed(provider, "it is not JSON", body=body) from None
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise malformed(provider, "it is not a JSON object")
    output = parsed.get("output")
    items: Sequence[Any] = output if isinstance(output, list) else ()
    if parsed.get("status") == "failed" or (parsed.get("error") and not items):
        raise failure_of(provider, parsed, items, headers)
    if not isinstance(output, list):
        raise malformed(provider, "it has no output")
    return build_completion(parsed, items, headers)


def failure_of(
    provider: str, response: Mapping[str, Any], items: Sequence[Any], headers: Mapping[str, str]
) -> ProviderError:
    """Makes the error of a response that failed. It began to answer, and may bill what it did."""
    said = response.get("error")
    if not said:
        said = {"message": "the response's status is failed, and it does not say why"}
    try:
        failure = error_from_object(provider, {"error": said}, headers=headers, billed=None)
    except RecursionError:
        failure = malformed(provider, "it is nested too deeply")
    failure.partial = build_completion(response, items, headers, broken=True)
    return failure
