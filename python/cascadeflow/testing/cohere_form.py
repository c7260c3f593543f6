"""The protocol of Cohere's v2 chat, server side: requests read, answers written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cascadeflow.testing.behaviour import Ask, AskedTool, UnreadableError, pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.testing.behaviour import Failure, Reply

__all__ = ["body", "error_body", "events", "read"]

_ROLES = ("system", "developer", "user", "assistant", "tool")

_FINISH = {
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "stop_sequence": "STOP_SEQUENCE",
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
        raise UnreadableError("invalid request: model is required")
    if not isinstance(messages, list) or not messages:
        raise UnreadableError("invalid request: messages must hold at least one message")
    limit = content.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UnreadableError("max_tokens must be a whole number of at least 1")
    texts: list[str] = []
    images, question = 0, None
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise UnreadableError(f"each message needs a role out of {', '.join(_ROLES)}")
        text, shown = _text_of(message.get("content"))
        texts.append(text)
        texts += [json.dumps(call) for call in message.get("tool_calls") or ()]
        images += shown
        if message["role"] == "user":
            question = text
    texts += [json.dumps(document) for document in content.get("documents") or ()]
    tools = content.get("tools") or ()
    if tools:
        texts.append(json.dumps(tools))
    functions = [tool.get("function") or {} for tool in tools if isinstance(tool, dict)]
    form = content.get("response_format") or {}
    wants_json = form.get("type") == "json_object"
    return Ask(
        protocol="cohere",
        model=model,
        question=texts[-1] if question is None else question,
        texts=tuple(texts),
        messages=len(messages),
        images=images,
        max_tokens=limit,
        stop=tuple(content.get("stop_sequences") or ()),
        stream=bool(content.get("stream")),
        include_usage=True,
        temperature=content.get("temperature"),
        sampling_seed=content.get("seed"),
        tools=tuple(
            AskedTool(str(function["name"]), function.get("parameters") or {})
            for function in functions
            if function.get("name")
        ),
        tool_choice=str(content.get("tool_choice") or "auto").lower(),
        after_tool_result=messages[-1]["role"] == "tool",
        wants_json=wants_json,
        schema=form.get("json_schema") or form.get("schema") if wants_json else None,
    )


def body(ask: Ask, reply: Reply, *, answer_id: str, created: int) -> bytes:  # noqa: ARG001 - as OpenAI's
    """Writes a whole answer."""
    call = reply.call
    message: dict[str, Any] = {"role": "assistant"}
    if call is None:
        message["content"] = [{"type": "text", "text": reply.text}] if reply.text else []
    else:
        message["tool_plan"] = _plan(call.name)
        message["tool_calls"] = [_call(call.id, call.name, call.arguments)]
    content = {
        "id": answer_id,
        "finish_reason": _finish(reply),
        "message": message,
        "usage": _usage(reply),
    }
    return json.dumps(content, separators=(",", ":")).encode()


def events(
    ask: Ask,  # noqa: ARG001 - one form for all protocols
    reply: Reply,
    *,
    answer_id: str,
    created: int,  # noqa: ARG001
    tokens_per_chunk: int,
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Writes a stream's events: what comes before the first piece, the pieces, what comes after."""
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    before = [_event("message-start", id=answer_id, delta={"message": empty})]
    call = reply.call
    after: list[bytes] = []
    if call is not None:
        planned = {"message": {"tool_plan": _plan(call.name)}}
        started = {"message": {"tool_calls": _call(call.id, call.name, "")}}
        before += [
            _event("tool-plan-delta", delta=planned),
            _event("tool-call-start", index=0, delta=started),
        ]
        parts = [
            _event(
                "tool-call-delta",
                index=0,
                delta={"message": {"tool_calls": {"function": {"arguments": piece}}}},
            )
            for piece in pieces(call.arguments, tokens_per_chunk)
        ]
        after = [_event("tool-call-end", index=0)]
    else:
        started = {"message": {"content": {"type": "text", "text": ""}}}
        before.append(_event("content-start", index=0, delta=started))
        parts = [
            _event("content-delta", index=0, delta={"message": {"content": {"text": piece}}})
            for piece in pieces(reply.text, tokens_per_chunk)
        ]
        after = [_event("content-end", index=0)]
    ended = {"finish_reason": _finish(reply), "usage": _usage(reply)}
    after += [_event("message-end", id=answer_id, delta=ended), b"data: [DONE]\n\n"]
    return before, parts, after


def error_body(failure: Failure, *, request_id: str) -> bytes:
    """Writes an error."""
    return json.dumps({"id": request_id, "message": failure.message}).encode()


def _event(name: str, **fields: Any) -> bytes:
    content = json.dumps({"type": name, **fields}, separators=(",", ":"))
    return f"event: {name}\ndata: {content}\n\n".encode()


def _plan(name: str) -> str:
    return f"I will use the {name} tool."


def _call(identifier: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"{name}_{identifier}", "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    return _FINISH.get(reply.finish, "COMPLETE")


def _usage(reply: Reply) -> dict[str, Any]:
    """Both of Cohere's counts: what is billed, and what the model read and wrote."""
    counts = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.output_tokens}
    return {"billed_units": counts, "tokens": counts, "cached_tokens": reply.cached_tokens}


def _text_of(content: Any) -> tuple[str, int]:
    """The text of a message's content, and how many images stand in it."""
    if isinstance(content, str):
        return content, 0
    texts, images = [], 0
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url":
            images += 1
        else:
            texts.append(json.dumps(part))
    return "\n".join(texts), images
