"""The Gemini generateContent protocol, server side: requests read, answers written.

AI Studio and Vertex speak it alike here; the model, and whether a stream is wanted, stand in the
path.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from cascadeflow.testing.behaviour import Ask, AskedTool, UnreadableError, pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.testing.behaviour import Failure, Reply

__all__ = ["body", "error_body", "events", "read"]

_TARGET = re.compile(r"/models/([^/?]+):(generateContent|streamGenerateContent)(?:\?(.*))?$")

_SNAKE = re.compile(r"_([a-z])")

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_MODES = {"ANY": "required", "NONE": "none"}


def read(content: Any, target: str) -> Ask:
    """Reads a request's path and JSON.

    Raises:
        UnreadableError: it is no request of this protocol.
    """
    found = _TARGET.search(target)
    if found is None:
        raise UnreadableError("the path must end with models/MODEL:generateContent")
    stream = found[2] == "streamGenerateContent"
    if stream and parse_qs(found[3] or "").get("alt") != ["sse"]:
        raise UnreadableError("the simulator streams server-sent events only: add alt=sse")
    if not isinstance(content, dict):
        raise UnreadableError("the body must be a JSON object")
    content = _spelt(content)
    contents = content.get("contents")
    if not isinstance(contents, list) or not contents:
        raise UnreadableError("contents is not specified")
    texts, _, _ = _texts_of((content.get("systemInstruction") or {}).get("parts"))
    messages, images, question, answered = int(bool(texts)), 0, None, False
    for each in contents:
        if not isinstance(each, dict) or each.get("role", "user") not in {"user", "model"}:
            raise UnreadableError("please use a valid role: user, model")
        said, more, shown = _texts_of(each.get("parts"))
        messages += 1
        images += shown
        texts += [*said, *more]
        if each.get("role", "user") == "user":
            answered = _holds_result(each.get("parts"))
            if said or not answered:
                question = "\n".join(said)
    declared = [
        _spelt(tool)
        for group in content.get("tools") or ()
        for tool in _spelt(group).get("functionDeclarations") or ()
        if isinstance(tool, dict) and tool.get("name")
    ]
    if declared:
        texts.append(json.dumps(declared))
    config = _spelt(content.get("generationConfig") or {})
    limit = config.get("maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UnreadableError("maxOutputTokens must be a whole number of at least 1")
    calling = _spelt(_spelt(content.get("toolConfig") or {}).get("functionCallingConfig") or {})
    allowed = calling.get("allowedFunctionNames") or ()
    wants_json = config.get("responseMimeType") == "application/json"
    return Ask(
        protocol="gemini",
        model=unquote(found[1]),
        question=question or "",
        texts=tuple(texts),
        messages=messages,
        images=images,
        max_tokens=limit,
        stop=tuple(config.get("stopSequences") or ()),
        stream=stream,
        include_usage=True,
        temperature=config.get("temperature"),
        sampling_seed=config.get("seed"),
        tools=tuple(
            AskedTool(
                str(tool["name"]),
                tool.get("parametersJsonSchema") or _plain_schema(tool.get("parameters")) or {},
            )
            for tool in declared
            if not allowed or tool["name"] in allowed
        ),
        tool_choice=_MODES.get(str(calling.get("mode", "AUTO")).upper(), "auto"),
        after_tool_result=answered,
        wants_json=wants_json,
        schema=(
            config.get("responseJsonSchema") or _plain_schema(config.get("responseSchema"))
            if wants_json
            else None
        ),
    )


def body(ask: Ask, reply: Reply, *, answer_id: str, created: int) -> bytes:  # noqa: ARG001 - as OpenAI's
    """Writes a whole answer."""
    return _chunk(ask, reply, answer_id, _parts(reply), ended=True).encode()


def events(
    ask: Ask,
    reply: Reply,
    *,
    answer_id: str,
    created: int,  # noqa: ARG001 - one form for all protocols
    tokens_per_chunk: int,
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Writes a stream's events: what comes before the first piece, the pieces, what comes after."""

    def event(parts: str, *, ended: bool = False) -> bytes:
        return f"data: {_chunk(ask, reply, answer_id, parts, ended=ended)}\r\n\r\n".encode()

    if reply.call is not None:  # a call comes in one piece
        return [], [event(_parts(reply))], [event('{"text":""}', ended=True)]
    parts = [
        event(f'{{"text":{json.dumps(piece)}}}') for piece in pieces(reply.text, tokens_per_chunk)
    ]
    return [], parts, [event('{"text":""}', ended=True)]


def error_body(failure: Failure, *, request_id: str) -> bytes:  # noqa: ARG001 - as Anthropic's
    """Writes an error."""
    default = "INVALID_ARGUMENT" if failure.status < 500 else "INTERNAL"  # noqa: PLR2004
    error: dict[str, Any] = {
        "code": failure.status,
        "message": failure.message,
        "status": _STATUSES.get(failure.status, default),
    }
    if failure.retry_after is not None:
        error["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{failure.retry_after:.3f}s",
            }
        ]
    return json.dumps({"error": error}, separators=(",", ":")).encode()


def _parts(reply: Reply) -> str:
    call = reply.call
    if call is None:
        return f'{{"text":{json.dumps(reply.text)}}}' if reply.text else ""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        return ""  # the limit cut it: the real API gives no call then
    return json.dumps({"functionCall": {"name": call.name, "args": arguments}})


def _chunk(ask: Ask, reply: Reply, answer_id: str, parts: str, *, ended: bool) -> str:
    finish = ""
    if ended:
        finish = f'"finishReason":"{"MAX_TOKENS" if reply.finish == "length" else "STOP"}",'
    return (
        f'{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}},{finish}"index":0}}],'
        f'"usageMetadata":{_usage(reply, ended=ended)},"modelVersion":{json.dumps(ask.model)},'
        f'"responseId":"{answer_id}"}}'
    )


def _usage(reply: Reply, *, ended: bool) -> str:
    """A count of zero is left out, and what has been written is said at the end."""
    counts = {
        "promptTokenCount": reply.prompt_tokens,
        "cachedContentTokenCount": reply.cached_tokens,
        "candidatesTokenCount": reply.output_tokens - reply.reasoning_tokens if ended else 0,
        "thoughtsTokenCount": reply.reasoning_tokens if ended else 0,
        "totalTokenCount": reply.prompt_tokens + (reply.output_tokens if ended else 0),
    }
    return json.dumps({name: count for name, count in counts.items() if count})


def _texts_of(parts: Any) -> tuple[list[str], list[str], int]:
    """The texts of a content, what else counts as text, and how many images and files it has."""
    texts, more, images = [], [], 0
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        if "text" in part:
            texts.append(str(part["text"]))
        elif {"inlineData", "fileData"} & _spelt(part).keys():
            images += 1
        else:
            more.append(json.dumps(part))
    return texts, more, images


def _holds_result(parts: Any) -> bool:
    return isinstance(parts, list) and any(
        isinstance(part, dict) and "functionResponse" in _spelt(part) for part in parts
    )


def _spelt(fields: dict[str, Any]) -> dict[str, Any]:
    """The API takes each name as camelCase and as snake_case."""
    return {_SNAKE.sub(lambda at: at[1].upper(), name): each for name, each in fields.items()}


def _plain_schema(schema: Any) -> Any:
    """Google's own schema as a JSON schema: its types are written in capitals."""
    if isinstance(schema, dict):
        return {
            name: value.lower()
            if name == "type" and isinstance(value, str)
            else _plain_schema(value)
            for name, value in schema.items()
        }
    return [_plain_schema(each) for each in schema] if isinstance(schema, list) else schema
