"""Writes the tables of docs/providers.md from the registry and the codecs.

    python docs/generate_providers.py            # writes the page
    python docs/generate_providers.py --check    # says whether it is up to date, by the exit status

What stands between a pair of markers is generated; everything else on the page is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeflow.errors import InvalidRequestError
from cascadeflow.providers.codecs import codec_for
from cascadeflow.providers.dialects import BUILT_IN
from cascadeflow.providers.registry import Quirks
from cascadeflow.types import (
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cascadeflow.providers.registry import Provider

PAGE = Path(__file__).with_name("providers.md")

SIGNERS = {
    "aws-sigv4": "AWS credentials, extra `bedrock`",
    "google-oauth": "Google's, extra `vertex`",
}

PROTOCOLS = {
    "openai": "openai",
    "openai-responses": "openai-responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "vertex": "vertex",
    "bedrock": "bedrock",
    "cohere": "cohere",
}
"""For each protocol, the provider whose requests the table of fields shows."""


# The providers


def providers_table() -> str:
    """Gives one row for each provider that is built in."""
    rows = [
        "| id | protocol | address | key | where it departs |",
        "|---|---|---|---|---|",
    ]
    for provider in sorted(BUILT_IN, key=lambda each: each.id):
        cells = (
            f"`{provider.id}`",
            provider.protocol,
            _address(provider),
            _key(provider),
            "; ".join(quirks_in_words(provider)),
        )
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


def _address(provider: Provider) -> str:
    usual = f"`{provider.base_url}`"
    return ", or ".join([usual, *(f"`{url}`" for url in provider.env_urls)])


def _key(provider: Provider) -> str:
    ways = [f"`{name}`" for name in provider.key_env]
    said = ", ".join(ways)
    if provider.auth != "bearer":
        said += f" (as `{provider.auth}`)"
    if provider.signer is not None:
        said += f"; else {SIGNERS[provider.signer]}"
    if provider.local:
        said = f"none needed ({said})" if said else "none needed"
    return said


def quirks_in_words(provider: Provider) -> Iterator[str]:
    """Says in words what a provider's quirks say; those of the usual form say nothing."""
    usual, quirks = Quirks(), provider.quirks
    for each in fields(Quirks):
        value = getattr(quirks, each.name)
        if value != getattr(usual, each.name):
            yield WORDS[each.name](value)


WORDS: dict[str, Callable[[Any], str]] = {
    "max_tokens_field": lambda value: f"the limit is `{value}`",
    "developer_role": lambda _: "knows the role `developer`",
    "names_tools": lambda _: "a named tool is demanded by declaring only it",
    "required_choice": lambda value: f"`required` is `{value}`",
    "seed_field": lambda value: f"the seed is `{value}`",
    "logprobs_as_count": lambda _: "`logprobs` is a number",
    "documents": lambda value: {
        "inline_or_url": "takes documents by URL",
        "document_url": "has a part of its own for documents, by URL too",
    }[value],
    "refuses": lambda value: "is not sent " + ", ".join(f"`{name}`" for name in sorted(value)),
    "reasoning_back": lambda value: f"gets reasoning back as `{value}`",
    "call_id_length": lambda value: f"ids of tool calls have {value} letters and digits",
    "default_max_tokens": lambda value: f"is sent `max_tokens={value}` where no limit is asked",
}
"""What each quirk means, in words."""


# The fields

HI = (Message("user", "Hi"),)
TOOL = Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
CALLED = (
    Message("user", "Hi"),
    Message("assistant", tool_calls=(ToolCall("abcdefghi", "look", '{"at":"x"}'),)),
    Message("tool", "seen", tool_call_id="abcdefghi"),
)


def _user(*parts: Any) -> dict[str, Any]:
    return {"messages": (Message("user", (TextPart("Hi"), *parts)),)}


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "`max_tokens`": ({"max_tokens": 9}, {}),
    "`temperature`": ({"temperature": 0.5}, {}),
    "`top_p`": ({"top_p": 0.5}, {}),
    "`stop`": ({"stop": ("x",)}, {}),
    "`seed`": ({"seed": 7}, {}),
    "`logprobs`": ({"logprobs": 2}, {}),
    "`tools`": ({"tools": (TOOL,)}, {}),
    "`Tool.strict`": (
        {"tools": (Tool("look", "Looks.", TOOL.parameters, strict=True),)},
        {"tools": (TOOL,)},
    ),
    '`tool_choice="required"`': (
        {"tools": (TOOL,), "tool_choice": "required"},
        {"tools": (TOOL,)},
    ),
    '`tool_choice="none"`': ({"tools": (TOOL,), "tool_choice": "none"}, {"tools": (TOOL,)}),
    "`tool_choice=NAME`": ({"tools": (TOOL,), "tool_choice": "look"}, {"tools": (TOOL,)}),
    "tool calls and results": ({"messages": CALLED, "tools": (TOOL,)}, {"tools": (TOOL,)}),
    "`response_format`: any JSON": ({"response_format": ResponseFormat("json_object")}, {}),
    "`response_format`: a schema": (
        {"response_format": ResponseFormat("json_schema", {"type": "object"})},
        {},
    ),
    "`user`": ({"user": "u1"}, {}),
    "`Message.name`": ({"messages": (Message("user", "Hi", name="ann"),)}, {}),
    "image, inline": (_user(ImagePart(data="QUJD", media_type="image/png")), _user()),
    "image by URL": (_user(ImagePart(url="https://x.example/i.png")), _user()),
    "PDF, inline": (_user(DocumentPart(data="QUJD", media_type="application/pdf")), _user()),
    "text document, inline": (_user(DocumentPart(data="QUJD", media_type="text/plain")), _user()),
    "document by URL": (
        _user(DocumentPart(url="https://x.example/a.pdf", media_type="application/pdf")),
        _user(),
    ),
    "document by the provider's id": (_user(DocumentPart(file_id="file-1")), _user()),
}
"""What a request may say: with it, and without it."""

BODY = ("contents", "input", "instructions", "messages", "system", "systemInstruction")
"""Where a request's words stand: what is written there needs no name of its own."""


def fields_table() -> str:
    """Gives, for each field of a request, under which name each protocol is sent it."""
    rows = [
        f"| | {' | '.join(PROTOCOLS)} |",
        "|---|" + "---|" * len(PROTOCOLS),
    ]
    for field, (said, unsaid) in FIELDS.items():
        cells = [_sent(provider, said, unsaid) for provider in PROTOCOLS.values()]
        rows.append(f"| {field} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _sent(provider_id: str, said: dict[str, Any], unsaid: dict[str, Any]) -> str:
    """Asks the codec: the name of what is new in a request's body, and what it is refused with."""
    provider = next(each for each in BUILT_IN if each.id == provider_id)
    try:
        there = _body(provider, {"messages": HI, **said})
    except InvalidRequestError:
        return "error"
    without = _body(provider, {"messages": HI, **unsaid})
    if there == without:
        return "not sent"
    old = dict(_leaves(without))
    new = [name for name, value in _leaves(there) if name not in old or old[name] != value]
    named = [name for name in new if name.partition(".")[0] not in BODY]
    if not named:
        return "in words" if "response_format" in said or "tool_choice" in said else "yes"
    top = named[0].partition(".")[0]
    inside = {name for name in named if name.partition(".")[0] == top}
    return f"`{inside.pop()}`" if len(inside) == 1 else f"`{top}`"


def _body(provider: Provider, said: dict[str, Any]) -> Any:
    return json.loads(codec_for(provider).encode(ChatRequest(model="m", **said)).body)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a body, by its path; what a list holds has the list's path."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value


# The page

TABLES: dict[str, Callable[[], str]] = {"providers": providers_table, "fields": fields_table}


def render(page: str) -> str:
    """Gives the page with its tables made anew.

    Raises:
        ValueError: a pair of markers is missing.
    """
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: by docs/generate_providers.py -->", f"<!-- /{name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed or begin in after:
            raise ValueError(f"the page needs {begin} and {end}, once each")
        page = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    return page


def main() -> int:
    """Runs the command, and gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    asked = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    made = render(page)
    if made == page:
        return 0
    if asked.check:
        sys.stderr.write(f"{PAGE.name} is out of date: run python docs/generate_providers.py\n")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
