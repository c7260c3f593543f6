"""The OpenAI responses protocol, server side: requests read, answers written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cascadeflow.testing.behaviour import Ask, AskedTool, UnreadableError, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cascadeflow.testing.behaviour import Reply

__all__ = ["body", "events", "read"]

_ROLES = ("system", "developer", "user", "assistant")


def read(content: Any) -> Ask:
    """Reads a request's JSON.

    Raises:
        UnreadableError: it is no request of this protocol.
    """
    if not isinstance(content, dict):
        raise UnreadableError("the body must be a JSON object")
    model, given = content.get("model"), content.get("input")
    if not isinstance(model, str) or not model:
        raise UnreadableError("missing required parameter: 'model'")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise UnreadableError("missing required parameter: 'input'")
    if content.get("previous_response_id") or content.get("background"):
        raise UnreadableError("the simulator keeps no responses: send the whole conversation")
    limit = content.get("max_output_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UnreadableError("max_output_tokens must be a whole number of at least 1")
    texts = [str(content["instructions"])] if content.get("instructions") else []
    messages, images, question = len(texts), 0, None
    for item in items:
        text, shown = _read_item(item)
        texts.append(text)
        images += shown
        messages += "role" in item
        if item.get("role") == "user":
            question = text
    last = texts[-1]
    tools = content.get("tools") or ()
    if tools:
        texts.append(json.dumps(tools))
    form = (content.get("text") or {}).get("format") or {}
    return Ask(
        protocol="openai-responses",
        model=model,
        question=last if question is None else question,
        texts=tuple(texts),
        messages=messages,
        images=images,
        max_tokens=limit,
        stream=bool(content.get("stream")),
        include_usage=True,
        temperature=content.get("temperature"),
        tools=tuple(
            AskedTool(str(tool["name"]), tool.get("parameters") or {})
            for tool in tools
            if isinstance(tool, dict) and tool.get("type") == "function" and tool.get("name")
        ),
        tool_choice=_choice_of(content.get("tool_choice")),
        after_tool_result=items[-1].get("type") == "function_call_output",
        wants_json=form.get("type") in {"json_object", "json_schema"},
        schema=form.get("schema") or {} if form.get("type") == "json_schema" else None,
    )


def _read_item(item: Any) -> tuple[str, int]:
    """The text of an item of the input, and how many images and files stand in it."""
    if not isinstance(item, dict):
        raise UnreadableError("each item of the input must be an object")
    if item.get("type", "message") == "message":
        if item.get("role") not in _ROLES:
            raise UnreadableError(f"each message needs a role out of {', '.join(_ROLES)}")
        return _text_of(item.get("content"))
    if item.get("type") == "function_call_output":
        return _text_of(item.get("output"))
    return json.dumps(item), 0


def body(ask: Ask, reply: Reply, *, answer_id: str, created: int) -> bytes:
    """Writes a whole answer."""
    return _response(
        ask, reply, answer_id, created, output=_item(ask, reply, answer_id, whole=True), ended=True
    ).encode()


def events(
    ask: Ask, reply: Reply, *, answer_id: str, created: int, tokens_per_chunk: int
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Writes a stream's events: what comes before the first piece, the pieces, what comes after."""
    number = _counter()

    def event(name: str, fields: str) -> bytes:
        content = f'{{"type":"{name}",{fields},"sequence_number":{number()}}}'
        return f"event: {name}\ndata: {content}\n\n".encode()

    def state(name: str, output: str, *, ended: bool = False) -> bytes:
        response = _response(ask, reply, answer_id, created, output=output, ended=ended)
        return event(f"response.{name}", f'"response":{response}')

    whole = _item(ask, reply, answer_id, whole=True)
    call, at = reply.call, '"output_index":0'
    before = [
        state("created", ""),
        state("in_progress", ""),
        event(
            "response.output_item.added",
            f'{at},"item":{_item(ask, reply, answer_id, whole=False)}',
        ),
    ]
    if call is not None:
        name, text = "function_call_arguments", call.arguments
        where = f'"item_id":"fc_{answer_id}",{at}'
        done = f'"arguments":{json.dumps(text)},"name":{json.dumps(call.name)}'
    else:
        refused = _refuses(ask, reply)
        name, text = "refusal" if refused else "output_text", reply.text
        where = f'"item_id":"msg_{answer_id}",{at},"content_index":0'
        done = f'"{"refusal" if refused else "text"}":{json.dumps(text)}'
        before.append(
            event("response.content_part.added", f'{where},"part":{_part(ask, reply, "")}')
        )
    more = "" if call is not None or name == "refusal" else ',"logprobs":[]'
    parts = [
        event(f"response.{name}.delta", f'{where},"delta":{json.dumps(piece)}{more}')
        for piece in pieces(text, tokens_per_chunk)
    ]
    after = [event(f"response.{name}.done", f"{where},{done}{more}")]
    if call is None:
        after.append(
            event("response.content_part.done", f'{where},"part":{_part(ask, reply, text)}')
        )
    after.append(event("response.output_item.done", f'{at},"item":{whole}'))
    after.append(
        state("incomplete" if reply.finish == "length" else "completed", whole, ended=True)
    )
    return before, parts, after


def _counter() -> Callable[[], int]:
    numbers = iter(range(1_000_000_000))
    return lambda: next(numbers)


def _refuses(ask: Ask, reply: Reply) -> bool:
    return reply.finish == "refusal" and ask.schema is not None


def _part(ask: Ask, reply: Reply, text: str) -> str:
    if _refuses(ask, reply):
        return f'{{"type":"refusal","refusal":{json.dumps(text)}}}'
    return f'{{"type":"output_text","annotations":[],"logprobs":[],"text":{json.dumps(text)}}}'


def _item(ask: Ask, reply: Reply, answer_id: str, *, whole: bool) -> str:
    """The one item of the output, at its end or at its beginning."""
    status = "in_progress"
    if whole:
        status = "incomplete" if reply.finish == "length" else "completed"
    call = reply.call
    if call is not None:
        return (
            f'{{"id":"fc_{answer_id}","type":"function_call","status":"{status}",'
            f'"arguments":{json.dumps(call.arguments if whole else "")},'
            f'"call_id":"call_{call.id}","name":{json.dumps(call.name)}}}'
        )
    content = _part(ask, reply, reply.text) if whole else ""
    return (
        f'{{"id":"msg_{answer_id}","type":"message","status":"{status}",'
        f'"content":[{content}],"role":"assistant"}}'
    )


def _response(
    ask: Ask, reply: Reply, answer_id: str, created: int, *, output: str, ended: bool
) -> str:
    status, why = "in_progress", "null"
    if ended:
        status = "completed"
        if reply.finish == "length":
            status, why = "incomplete", '{"reason":"max_output_tokens"}'
    form: dict[str, Any] = (
        {"type": "text"} if ask.schema is None else {"type": "json_schema", "name": "answer"}
    )
    if ask.schema is not None:
        form["schema"] = ask.schema
    return (
        f'{{"id":"resp_{answer_id}","object":"response","created_at":{created},'
        f'"status":"{status}","background":false,"error":null,"incomplete_details":{why},'
        f'"instructions":null,"max_output_tokens":{json.dumps(ask.max_tokens)},'
        f'"model":{json.dumps(ask.model)},"output":[{output}],"parallel_tool_calls":true,'
        '"previous_response_id":null,"reasoning":{"effort":null,"summary":null},'
        f'"service_tier":"{"default" if ended else "auto"}","store":false,'
        f'"temperature":{json.dumps(ask.temperature)},"text":{{"format":{json.dumps(form)}}},'
        '"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled",'
        f'"usage":{_usage(reply) if ended else "null"},"user":null,"metadata":{{}}}}'
    )


def _usage(reply: Reply) -> str:
    return (
        f'{{"input_tokens":{reply.prompt_tokens},'
        f'"input_tokens_details":{{"cached_tokens":{reply.cached_tokens}}},'
        f'"output_tokens":{reply.output_tokens},'
        f'"output_tokens_details":{{"reasoning_tokens":{reply.reasoning_tokens}}},'
        f'"total_tokens":{reply.prompt_tokens + reply.output_tokens}}}'
    )


def _text_of(content: Any) -> tuple[str, int]:
    """The text of a message's content, and how many images and files stand in it."""
    if isinstance(content, str):
        return content, 0
    parts = [part for part in content if isinstance(part, dict)] if content else []
    texts = [str(part["text"]) for part in parts if "text" in part]
    return "\n".join(texts), len(parts) - len(texts)


def _choice_of(choice: Any) -> str:
    if isinstance(choice, dict):
        return str(choice.get("name", "auto"))
    return choice if isinstance(choice, str) else "auto"
