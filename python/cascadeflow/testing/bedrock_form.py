"""The protocol of Amazon Bedrock's converse, server side: requests read, answers written.

The model stands in the path, and a stream is Amazon's binary event stream
(https://smithy.io/2.0/aws/amazon-eventstream.html). Signatures are not checked.
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from zlib import crc32

from cascadeflow.testing.behaviour import Ask, AskedTool, UnreadableError, pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.testing.behaviour import Failure, Reply

__all__ = ["body", "error_body", "error_headers", "events", "frame", "read"]

_TARGET = re.compile(r"/model/([^/?]+)/(converse|converse-stream)(?:\?.*)?$")

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "end_turn",
    "stop_sequence": "stop_sequence",
}

_EXCEPTIONS = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}

_FILES = frozenset({"image", "document", "video"})


def read(content: Any, target: str) -> Ask:
    """Reads a request's path and JSON.

    Raises:
        UnreadableError: it is no request of this protocol.
    """
    found = _TARGET.search(target)
    if found is None:
        raise UnreadableError("the path must end with /model/MODEL/converse")
    if not isinstance(content, dict):
        raise UnreadableError("the body must be a JSON object")
    messages = content.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UnreadableError("a conversation must start with a user message")
    texts, _, _ = _texts_of(content.get("system"))
    count, images, question, answered = int(bool(texts)) + len(messages), 0, None, False
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant"}:
            raise UnreadableError("each message needs a role: user or assistant")
        said, more, shown = _texts_of(message.get("content"))
        texts += [*said, *more]
        images += shown
        if message["role"] == "user":
            answered = _holds_result(message.get("content"))
            if said or not answered:
                question = "\n".join(said)
    config = content.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    if specs:
        texts.append(json.dumps(specs))
    inference = content.get("inferenceConfig") or {}
    limit = inference.get("maxTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UnreadableError("maxTokens must be a whole number of at least 1")
    schema = _schema_of(content)
    return Ask(
        protocol="bedrock",
        model=unquote(found[1]),
        question=question or "",
        texts=tuple(texts),
        messages=count,
        images=images,
        max_tokens=limit,
        stop=tuple(inference.get("stopSequences") or ()),
        stream=found[2] == "converse-stream",
        include_usage=True,
        temperature=inference.get("temperature"),
        tools=tuple(
            AskedTool(str(spec["name"]), (spec.get("inputSchema") or {}).get("json") or {})
            for spec in specs
            if spec.get("name")
        ),
        tool_choice=_choice_of(config.get("toolChoice")),
        after_tool_result=answered,
        wants_json=schema is not None,
        schema=schema,
    )


def body(ask: Ask, reply: Reply, *, answer_id: str, created: int) -> bytes:  # noqa: ARG001 - as OpenAI's
    """Writes a whole answer."""
    call = reply.call
    blocks: list[Any] = [{"text": reply.text}] if reply.text and call is None else []
    if call is not None:
        use = {
            "toolUseId": f"tooluse_{call.id}",
            "name": call.name,
            "input": _whole(call.arguments),
        }
        blocks.append({"toolUse": use})
    content = {
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": _STOP_REASONS[reply.finish],
        "usage": _usage(reply),
        "metrics": {"latencyMs": 0},
    }
    return json.dumps(content, separators=(",", ":")).encode()


def events(
    ask: Ask,  # noqa: ARG001 - one form for all protocols
    reply: Reply,
    *,
    answer_id: str,  # noqa: ARG001
    created: int,  # noqa: ARG001
    tokens_per_chunk: int,
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Writes a stream's events: what comes before the first piece, the pieces, what comes after."""
    call = reply.call
    before = [_event("messageStart", {"role": "assistant"})]
    if call is not None:
        use = {"toolUseId": f"tooluse_{call.id}", "name": call.name}
        before.append(
            _event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": use}})
        )
    text = reply.text if call is None else call.arguments
    parts = [
        _event(
            "contentBlockDelta",
            {
                "contentBlockIndex": 0,
                "delta": {"text": piece} if call is None else {"toolUse": {"input": piece}},
            },
        )
        for piece in pieces(text, tokens_per_chunk)
    ]
    after = [_event("contentBlockStop", {"contentBlockIndex": 0})] if text or call else []
    after += [
        _event("messageStop", {"stopReason": _STOP_REASONS[reply.finish]}),
        _event("metadata", {"usage": _usage(reply), "metrics": {"latencyMs": 0}}),
    ]
    return before, parts, after


def error_body(failure: Failure, *, request_id: str) -> bytes:  # noqa: ARG001 - as Anthropic's
    """Writes an error; what it is stands in its headers."""
    return json.dumps({"message": failure.message}).encode()


def error_headers(failure: Failure) -> tuple[tuple[str, str], ...]:
    """Gives the header that names an error."""
    default = "ValidationException" if failure.status < 500 else "InternalServerException"  # noqa: PLR2004
    return (("x-amzn-errortype", _EXCEPTIONS.get(failure.status, default)),)


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Writes one frame of an event stream; its headers are texts (type 7)."""
    head = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", 7, len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack("!I", crc32(prelude))
    content = prelude + head + payload
    return content + struct.pack("!I", crc32(content))


def _event(name: str, content: dict[str, Any]) -> bytes:
    headers = {
        ":event-type": name,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return frame(headers, json.dumps(content, separators=(",", ":")).encode())


def _usage(reply: Reply) -> dict[str, int]:
    return {
        "inputTokens": reply.prompt_tokens - reply.cached_tokens,
        "outputTokens": reply.output_tokens,
        "totalTokens": reply.prompt_tokens + reply.output_tokens,
        "cacheReadInputTokens": reply.cached_tokens,
        "cacheWriteInputTokens": 0,
    }


def _texts_of(blocks: Any) -> tuple[list[str], list[str], int]:
    """The texts of a content, what else counts as text, and how many images and files it has."""
    texts, more, files = [], [], 0
    for block in blocks if isinstance(blocks, list) else ():
        if not isinstance(block, dict):
            continue
        if "text" in block:
            texts.append(str(block["text"]))
        elif "toolResult" in block:
            said, rest, shown = _texts_of(block["toolResult"].get("content"))
            more += [*said, *rest]
            files += shown
        elif _FILES & block.keys():
            files += 1
        else:
            more.append(json.dumps(block))
    return texts, more, files


def _holds_result(blocks: Any) -> bool:
    return isinstance(blocks, list) and any(
        isinstance(block, dict) and "toolResult" in block for block in blocks
    )


def _choice_of(choice: Any) -> str:
    if not isinstance(choice, dict):
        return "auto"
    if "tool" in choice:
        return str(choice["tool"].get("name"))
    return "required" if "any" in choice else "auto"


def _schema_of(content: dict[str, Any]) -> Any:
    """The schema of the answer, which the protocol takes as JSON in a text."""
    form = (content.get("outputConfig") or {}).get("textFormat") or {}
    schema = ((form.get("structure") or {}).get("jsonSchema") or {}).get("schema")
    return json.loads(schema) if isinstance(schema, str) else None


def _whole(arguments: str) -> Any:
    """The arguments as JSON; `{}` when the token limit cut them."""
    try:
        return json.loads(arguments)
    except ValueError:
        return {}
