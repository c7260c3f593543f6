"""The Anthropic messages protocol, server side: requests read, answers written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cascadeflow.testing.behaviour import Ask, AskedTool, UnreadableError, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow.testing.behaviour import Failure, Reply

__all__ = ["body", "error_body", "events", "read"]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "stop_sequence": "stop_sequence",
}


def read(content: Any) -> Ask:
    """Reads a request's JSON.

    Raises:
        UnreadableError: it is no request of this protocol.
    """
    if not isinstance(content, dict):
        raise UnreadableError("the body must be a JSON object")
    model, messages = content.get("model"), content.get("messages")
    if not isinstance(model, str) or not model:
        raise UnreadableError("model: Field required")
    max_tokens = content.get("max_tokens")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise UnreadableError("max_tokens: Field required, a whole number of at least 1")
    if not isinstance(messages, list) or not messages:
        raise UnreadableError("messages: at least one message is required")
    texts = [_text_of(content.get("system"))[0]]
    images = 0
    question = None
    after_tool_result = False
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant"}:
            raise UnreadableError(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        text, shown, more = _text_of(message.get("content"))
        texts += [text, *more]
        images += shown
        if message["role"] == "user":
            after_tool_result = _holds_tool_result(message.get("content"))
            if text or not after_tool_result:
                question = text
    tools = content.get("tools") or ()
    if tools:
        texts.append(json.dumps(tools))
    choice = content.get("tool_choice") or {}
    schema = _schema_of(content)
    return Ask(
        protocol="anthropic",
        model=model,
        question=question or "",
        texts=tuple(texts),
        messages=len(messages) + bool(content.get("system")),
        images=images,
        max_tokens=max_tokens,
        stop=tuple(content.get("stop_sequences") or ()),
        stream=bool(content.get("stream")),
        include_usage=True,
        temperature=content.get("temperature"),
        tools=tuple(
            AskedTool(str(tool["name"]), tool.get("input_schema") or {})
            for tool in tools
            if isinstance(tool, dict) and tool.get("name")
        ),
        tool_choice={"any": "required", "tool": str(choice.get("name"))}.get(
            choice.get("type", "auto"), choice.get("type", "auto")
        ),
        after_tool_result=after_tool_result,
        wants_json=schema is not None,
        schema=schema,
    )


def body(ask: Ask, reply: Reply, *, answer_id: str, created: int) -> bytes:  # noqa: ARG001 - as OpenAI's
    """Writes a whole answer."""
    call = reply.call
    if call is not None:
        given = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name}
        content = json.dumps([{**given, "input": _whole(call.arguments)}], separators=(",", ":"))
    else:
        content = f'[{{"type":"text","text":{json.dumps(reply.text)}}}]' if reply.text else "[]"
    return (
        f'{{"model":{json.dumps(ask.model)},"id":"msg_{answer_id}","type":"message",'
        f'"role":"assistant","content":{content},"stop_reason":"{_STOP_REASONS[reply.finish]}",'
        f'"stop_sequence":{json.dumps(reply.stop_sequence)},'
        f'"usage":{_usage(reply, reply.output_tokens)}}}'
    ).encode()


def events(
    ask: Ask,
    reply: Reply,
    *,
    answer_id: str,
    created: int,  # noqa: ARG001 - one form for both protocols
    tokens_per_chunk: int,
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Writes a stream's events: what comes before the first piece, the pieces, what comes after."""
    call = reply.call
    before = [
        _event(
            "message_start",
            f'"message":{{"model":{json.dumps(ask.model)},"id":"msg_{answer_id}","type":"message",'
            '"role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,'
            f'"usage":{_usage(reply, min(1, reply.output_tokens))}}}',
        )
    ]
    parts: list[bytes] = []
    after: list[bytes] = []
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    if call is not None or reply.text:
        if call is None:
            block, delta, whole = '{"type":"text","text":""}', '"text_delta","text"', reply.text
        else:
            block = (
                f'{{"type":"tool_use","id":"toolu_{call.id}","name":{json.dumps(call.name)},'
                '"input":{}}'
            )
            delta, whole = '"input_json_delta","partial_json"', call.arguments
        before += [_event("content_block_start", f'"index":0,"content_block":{block}'), ping]
        parts = [
            _event(
                "content_block_delta", f'"index":0,"delta":{{"type":{delta}:{json.dumps(piece)}}}'
            )
            for piece in pieces(whole, tokens_per_chunk)
        ]
        after = [_event("content_block_stop", '"index":0')]
    else:
        before.append(ping)
    reason, sequence = _STOP_REASONS[reply.finish], json.dumps(reply.stop_sequence)
    after += [
        _event(
            "message_delta",
            f'"delta":{{"stop_reason":"{reason}","stop_sequence":{sequence}}},'
            f'"usage":{_counts(reply, reply.output_tokens)}',
        ),
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ]
    return before, parts, after


def error_body(failure: Failure, *, request_id: str) -> bytes:
    """Writes an error."""
    default = "invalid_request_error" if failure.status < 500 else "api_error"  # noqa: PLR2004
    error = {"type": _ERROR_TYPES.get(failure.status, default), "message": failure.message}
    content = {"type": "error", "error": error, "request_id": request_id}
    return json.dumps(content, separators=(",", ":")).encode()


def models_body(names: Iterable[str], *, created: int) -> bytes:
    """Writes the list of models."""
    data = [_model(name, created) for name in names]
    content = {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
    return json.dumps(content, separators=(",", ":")).encode()


def model_body(name: str, *, created: int) -> bytes:
    """Writes one model."""
    return json.dumps(_model(name, created), separators=(",", ":")).encode()


def _model(name: str, created: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": at}


def _text_of(content: Any) -> tuple[str, int, list[str]]:
    """The text of a content, how many images and documents stand in it, and what else counts."""
    if isinstance(content, str):
        return content, 0, []
    texts: list[str] = []
    more: list[str] = []
    images = 0
    for block in content if isinstance(content, list) else ():
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            texts.append(str(block.get("text", "")))
        elif kind in {"image", "document"}:
            images += 1
        elif kind == "tool_use":
            more.append(json.dumps(block.get("input")))
        elif kind == "tool_result":
            inner, shown, _ = _text_of(block.get("content"))
            more.append(inner)
            images += shown
    return "\n".join(texts), images, more


def _holds_tool_result(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


def _schema_of(content: dict[str, Any]) -> dict[str, Any] | None:
    wanted = (content.get("output_config") or {}).get("format") or content.get("output_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return wanted.get("schema") or {}
    return None


def _whole(arguments: str) -> Any:
    """The arguments as JSON; `{}` when the token limit cut them, as the real API gives."""
    try:
        return json.loads(arguments)
    except ValueError:
        return {}


def _event(name: str, fields: str) -> bytes:
    return f'event: {name}\ndata: {{"type":"{name}",{fields}}}\n\n'.encode()


def _counts(reply: Reply, output_tokens: int) -> str:
    return (
        f'{{"input_tokens":{reply.prompt_tokens - reply.cached_tokens},'
        '"cache_creation_input_tokens":0,'
        f'"cache_read_input_tokens":{reply.cached_tokens},"output_tokens":{output_tokens}}}'
    )


def _usage(reply: Reply, output_tokens: int) -> str:
    return (
        _counts(reply, output_tokens)[:-1]
        + ',"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},'
        '"service_tier":"standard"}'
    )
