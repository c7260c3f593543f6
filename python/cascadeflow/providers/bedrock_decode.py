"""Reads answers of Amazon Bedrock's converse, whole and streamed, with nothing lost.

An answer is a list of content blocks, each an object with one member that names its kind. Where it
holds more than plain text and tool calls (signed reasoning, citations, what a server's own tool
did), `Completion.extras["output"]` keeps the list as it came, at the provider's own path.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import Completion
from cascadeflow.models.usage import Usage
from cascadeflow.providers.bedrock_errors import error_in_stream
from cascadeflow.providers.error_mapping import header_facts, malformed, request_id_of
from cascadeflow.providers.shared import read_json
from cascadeflow.types import EMPTY, FinishReason, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["build_completion", "is_plain", "read_response", "read_usage"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "refusal",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}

_CALL: Final = frozenset({"toolUseId", "name", "input"})

_MOST_TOKENS: Final = 2**53


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Reads a `usage` object as disjoint buckets.

    `inputTokens` leaves out what was read from and written to the cache: in recorded answers the
    three and `outputTokens` add up to `totalTokens`. Reasoning is not counted apart from output.

    Returns:
        The usage, or `None` when the object counts nothing.
    """
    written = _count(raw, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    five = hour = None
    details = raw.get("cacheDetails")
    for each in details if isinstance(details, list) else ():
        count = _count(each, "inputTokens") if isinstance(each, dict) else None
        if count is not None and each.get("ttl") == "1h":
            hour = (hour or 0) + count
        elif count is not None:
            five = (five or 0) + count
    if written is None:
        written = five
    elif hour is not None:
        hour = min(hour, written)
        written -= hour
    requests: dict[str, int] = {}
    tools = raw.get("serverToolUsage")
    if isinstance(tools, dict):
        for name in tools:
            if count := _count(tools, name):
                requests[_snake(name)] = count
    usage = Usage(
        input_tokens=_count(raw, "inputTokens"),
        cache_read_tokens=_count(raw, "cacheReadInputTokens", "cacheReadInputTokenCount"),
        cache_write_5m_tokens=written,
        cache_write_1h_tokens=hour,
        output_tokens=_count(raw, "outputTokens"),
        requests=requests or EMPTY,
    )
    return None if usage == Usage() else usage


def _count(raw: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = raw.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return value
    return None


def _snake(name: str) -> str:
    """`webSearchRequests` is `web_search` in every provider's usage."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().removesuffix("_requests")


def is_plain(block: Any) -> bool:
    """Whether text and a tool call say all that a block says."""
    if not isinstance(block, dict) or len(block) != 1:
        return False
    if "text" in block:
        return isinstance(block["text"], str)
    call = block.get("toolUse")
    return isinstance(call, dict) and call.keys() == _CALL and _is_named(call)


def _is_named(call: Mapping[str, Any]) -> bool:
    return isinstance(call["toolUseId"], str) and isinstance(call["name"], str)


def build_completion(
    body: Mapping[str, Any],
    output: Mapping[str, Any],
    blocks: Sequence[Any],
    headers: Mapping[str, str],
    *,
    complete: bool = True,
    broken: bool = False,
    extras: Mapping[str, Any] = EMPTY,
    written: Sequence[str | None] = (),
) -> Completion:
    """Makes a completion of a response's members and its content blocks.

    Args:
        body: the response without its `output`.
        output: its `output`.
        blocks: the content of the output's message.
        headers: the response's headers, names lower-cased.
        complete: whether the usage is the provider's last word.
        broken: whether the answer ends in the middle.
        extras: further extras.
        written: for each block, a tool call's arguments as the model wrote them, where known.
    """
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    plain = True
    for position, block in enumerate(blocks):
        plain = plain and is_plain(block)
        if not isinstance(block, dict):
            continue
        if isinstance(block.get("text"), str):
            text.append(block["text"])
        call = block.get("toolUse")
        # What the server's own tools were asked is nothing that the caller could answer.
        if isinstance(call, dict) and call.get("type") != "server_tool_use":
            calls.append(_tool_call(call, written[position] if written else None))
        text.extend(_texts(block.get("citationsContent"), "content"))
        thought = block.get("reasoningContent")
        shown = thought.get("reasoningText") if isinstance(thought, dict) else None
        if isinstance(shown, dict) and isinstance(shown.get("text"), str):
            reasoning.append(shown["text"])
    finish: FinishReason = "error" if broken else "unknown"
    raw_finish = body.get("stopReason")
    if isinstance(raw_finish, str):
        finish = _FINISH.get(raw_finish, "unknown")
    rest = {
        name: value
        for name, value in body.items()
        if value is not None and not (name == "stopReason" and isinstance(value, str))
    }
    rest.update(extras)
    kept = {name: value for name, value in output.items() if name != "message"}
    message = {
        name: value
        for name, value in output.get("message", EMPTY).items()
        if name != "content" and value is not None and (name, value) != ("role", "assistant")
    }
    if not plain:
        message["content"] = list(blocks)
    if message:
        kept["message"] = message
    if kept:
        rest["output"] = kept
    raw_usage = body.get("usage")
    return Completion(
        text="".join(text),
        tool_calls=tuple(calls),
        finish_reason=finish,
        raw_finish_reason=raw_finish if isinstance(raw_finish, str) else None,
        usage=read_usage(raw_usage) if isinstance(raw_usage, dict) else None,
        usage_complete=complete,
        model=_routed_to(body),
        request_id=request_id_of(headers),
        reasoning="".join(reasoning),
        service_tier=_tier(body),
        headers=header_facts(headers) or EMPTY,
        extras=rest or EMPTY,
    )


def _texts(value: Any, name: str) -> list[str]:
    parts = value.get(name) if isinstance(value, dict) else None
    return [
        part["text"]
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


def _tool_call(call: Mapping[str, Any], arguments: str | None) -> ToolCall:
    if arguments is None:
        arguments = json.dumps(call.get("input", {}), ensure_ascii=False, separators=(",", ":"))
    return ToolCall(str(call.get("toolUseId") or ""), str(call.get("name") or ""), arguments)


def _dig(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _tier(body: Mapping[str, Any]) -> str | None:
    """The tier that served; answers optimised for latency have a price of their own, too."""
    tier = _dig(body, "serviceTier", "type")
    if _dig(body, "performanceConfig", "latency") == "optimized" and tier in (None, "default"):
        return "optimized"
    return tier if isinstance(tier, str) else None


def _routed_to(body: Mapping[str, Any]) -> str | None:
    """The model that a prompt router chose; otherwise an answer does not name its model."""
    chosen = _dig(body, "trace", "promptRouter", "invokedModelId")
    return chosen.rpartition("/")[2] if isinstance(chosen, str) and chosen else None


def read_response(provider: str, headers: Mapping[str, str], body: bytes) -> Completion:
    """Reads a whole response whose status says that it is an answer.

    Raises:
        ProviderError: the body is an error all the same, or no answer at all.
    """
    try:
        parsed = read_json(body)
        if not isinstance(parsed, dict):
            raise malformed(provider, "it is not a JSON object")
        output = parsed.pop("output", None)
        message = output.get("message") if isinstance(output, dict) else None
        blocks = message.get("content") if isinstance(message, dict) else None
        if isinstance(blocks, list):
            return build_completion(parsed, output, blocks, headers)
    except ValueError:
        raise malformed(provider, "it is not JSON", body=body) from None
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    if parsed.get("message") or parsed.get("__type"):
        # It began to answer, and may bill what it did.
        raise error_in_stream(provider, parsed.get("__type"), parsed, headers)
    raise malformed(provider, "it has no content")
