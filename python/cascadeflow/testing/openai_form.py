"""The OpenAI chat-completions protocol, server side: requests read, answers written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cascadeflow.testing.behaviour import Ask, AskedTool, UnreadableError, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cascadeflow.testing.behaviour import Failure, Reply

__all__ = ["body", "error_body", "events", "read"]

_ERROR_TYPES = {
    403: "invalid_request_error",
    429: "requests",
}


def read(content: Any, *, usage_unasked: bool = False) -> Ask:
    """Reads a request's JSON.

    Args:
        content: it.
        usage_unasked: whether streams end with their usage though nobody asks for it.

    Raises:
        UnreadableError: it is no request of this protocol.
    """
    if not isinstance(content, dict):
        raise UnreadableError("the body must be a JSON object")
    model, messages = content.get("model"), content.get("messages")
    if not isinstance(model, str) or not model:
        raise UnreadableError("you must provide a model parameter")
    if not isinstance(messages, list) or not messages:
        raise UnreadableError("'messages' must hold at least one message")
    if content.get("n", 1) not in (1, None):
        raise UnreadableError("the simulator gives one choice: 'n' must be 1")
    texts: list[str] = []
    images = 0
    question = None
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise UnreadableError(f"each message needs a role out of {', '.join(_ROLES)}")
        text, shown = _text_of(message.get("content"))
        texts.append(text)
        images += shown
        if message["role"] == "user":
            question = text
    last = texts[-1]
    texts += [json.dumps(call) for message in messages for call in message.get("tool_calls") or ()]
    tools = content.get("tools") or ()
    if tools:
        texts.append(json.dumps(tools))
    stop = content.get("stop") or ()
    wants_json, schema = _format_of(content.get("response_format"))
    return Ask(
        protocol="openai",
        model=model,
        question=last if question is None else question,
        texts=tuple(texts),
        messages=len(messages),
        images=images,
        max_tokens=_limit_of(content),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        stream=bool(content.get("stream")),
        include_usage=usage_unasked
        or bool((content.get("stream_options") or {}).get("include_usage")),
        temperature=content.get("temperature"),
        sampling_seed=content.get("seed"),
        tools=_tools_of(tools),
        tool_choice=_choice_of(content.get("tool_choice")),
        after_tool_result=messages[-1]["role"] == "tool",
        wants_json=wants_json,
        schema=schema,
    )


def body(ask: Ask, reply: Reply, *, answer_id: str, created: int) -> bytes:
    """Writes a whole answer."""
    call = reply.call
    content, refusal = "null", "null"
    if call is None and reply.finish == "refusal" and ask.schema is not None:
        refusal = json.dumps(reply.text)
    elif call is None:
        content = json.dumps(reply.text)
    calls = "" if call is None else f',"tool_calls":[{_call(call.id, call.name, call.arguments)}]'
    return (
        f'{{"id":"chatcmpl-{answer_id}","object":"chat.completion","created":{created},'
        f'"model":{json.dumps(ask.model)},"choices":[{{"index":0,"message":{{"role":"assistant",'
        f'"content":{content}{calls},"refusal":{refusal},"annotations":[]}},"logprobs":null,'
        f'"finish_reason":"{_finish(reply)}"}}],"usage":{_usage(reply)},'
        '"service_tier":"default","system_fingerprint":"fp_simulated"}'
    ).encode()


def events(
    ask: Ask, reply: Reply, *, answer_id: str, created: int, tokens_per_chunk: int
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Writes a stream's events: what comes before the first piece, the pieces, what comes after."""
    usage = ',"usage":null' if ask.include_usage else ""
    start = (
        f'data: {{"id":"chatcmpl-{answer_id}","object":"chat.completion.chunk","created":{created},'
        f'"model":{json.dumps(ask.model)},"service_tier":"default",'
        '"system_fingerprint":"fp_simulated","choices":['
    )

    def chunk(delta: str, finish: str = "null") -> bytes:
        return (
            f'{start}{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]'
            f"{usage}}}\n\n"
        ).encode()

    call = reply.call
    if call is not None:
        opening = '{"role":"assistant","content":null,"tool_calls":[' + (
            _call(call.id, call.name, "", index=0) + '],"refusal":null}'
        )
        parts = (
            f'{{"tool_calls":[{{"index":0,"function":{{"arguments":{json.dumps(piece)}}}}}]}}'
            for piece in pieces(call.arguments, tokens_per_chunk)
        )
    else:
        refused = reply.finish == "refusal" and ask.schema is not None
        opening = '{"role":"assistant","content":"","refusal":null}'
        where = "refusal" if refused else "content"
        parts = (
            f'{{"{where}":{json.dumps(piece)}}}' for piece in pieces(reply.text, tokens_per_chunk)
        )
    after = [chunk("{}", f'"{_finish(reply)}"')]
    if ask.include_usage:
        after.append(f'{start}],"usage":{_usage(reply)}}}\n\n'.encode())
    after.append(b"data: [DONE]\n\n")
    return [chunk(opening)], [chunk(part) for part in parts], after


def error_body(failure: Failure, *, request_id: str) -> bytes:  # noqa: ARG001 - as Anthropic's
    """Writes an error."""
    kind = _ERROR_TYPES.get(
        failure.status,
        "invalid_request_error" if failure.status < 500 else "server_error",  # noqa: PLR2004
    )
    error = {"message": failure.message, "type": kind, "param": None, "code": failure.code}
    return json.dumps({"error": error}, separators=(",", ":")).encode()


def models_body(names: Iterable[str], *, created: int) -> bytes:
    """Writes the list of models."""
    data = [_model(name, created) for name in names]
    return json.dumps({"object": "list", "data": data}, separators=(",", ":")).encode()


def model_body(name: str, *, created: int) -> bytes:
    """Writes one model."""
    return json.dumps(_model(name, created), separators=(",", ":")).encode()


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "cascadeflow"}


_ROLES = ("system", "developer", "user", "assistant", "tool")


def _limit_of(content: dict[str, Any]) -> int | None:
    limit = content.get("max_completion_tokens")
    if limit is None:
        limit = content.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UnreadableError("max_tokens must be a whole number of at least 1")
    return limit


def _text_of(content: Any) -> tuple[str, int]:
    """The text of a message's content, and how many images and files stand in it."""
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        return "", 0
    parts = [part for part in content if isinstance(part, dict)]
    texts = [str(part["text"]) for part in parts if "text" in part]
    return "\n".join(texts), len(parts) - len(texts)


def _tools_of(tools: Iterable[Any]) -> tuple[AskedTool, ...]:
    functions = (tool.get("function", {}) for tool in tools if isinstance(tool, dict))
    return tuple(
        AskedTool(str(function["name"]), function.get("parameters") or {})
        for function in functions
        if function.get("name")
    )


def _choice_of(choice: Any) -> str:
    if isinstance(choice, dict):
        return str(choice.get("function", {}).get("name", "auto"))
    return choice if isinstance(choice, str) else "auto"


def _format_of(response_format: Any) -> tuple[bool, dict[str, Any] | None]:
    if not isinstance(response_format, dict):
        return False, None
    if response_format.get("type") == "json_schema":
        return True, response_format.get("json_schema", {}).get("schema") or {}
    return response_format.get("type") == "json_object", None


def _finish(reply: Reply) -> str:
    return reply.finish if reply.finish in {"length", "tool_calls"} else "stop"


def _call(identifier: str, name: str, arguments: str, index: int | None = None) -> str:
    position = "" if index is None else f'"index":{index},'
    return (
        f'{{{position}"id":"call_{identifier}","type":"function","function":{{'
        f'"name":{json.dumps(name)},"arguments":{json.dumps(arguments)}}}}}'
    )


def _usage(reply: Reply) -> str:
    return (
        f'{{"prompt_tokens":{reply.prompt_tokens},"completion_tokens":{reply.output_tokens},'
        f'"total_tokens":{reply.prompt_tokens + reply.output_tokens},'
        f'"prompt_tokens_details":{{"cached_tokens":{reply.cached_tokens},"audio_tokens":0}},'
        f'"completion_tokens_details":{{"reasoning_tokens":{reply.reasoning_tokens},'
        '"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    )
