"""The protocols that a simulated provider speaks, and on which paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from cascadeflow.testing import (
    anthropic_form,
    bedrock_form,
    cohere_form,
    gemini_form,
    openai_form,
    responses_form,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cascadeflow.testing.behaviour import Ask, Failure, Protocol

__all__ = ["FORMS", "UNASKED", "Form", "form_at"]

UNASKED: Final = "/usage-unasked"
"""Behind this prefix streams in OpenAI's form end with their usage, as those of the dialects do
that refuse to be asked for it."""

_Events: TypeAlias = "tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes]]"


class Form(NamedTuple):
    """One protocol, server side.

    Attributes:
        protocol: its name.
        read: makes an `Ask` of a request's JSON and its path with the query.
        body: writes a whole answer.
        events: writes a stream: what comes before the first piece, the pieces, what comes after.
        error_body: writes an error.
        error_headers: what an error says in headers.
        id_header: the header with the request's id; `None` where it has none.
        stream_type: a stream's content type.
        in_path: whether the path says which model is asked, and how.
    """

    protocol: Protocol
    read: Callable[[Any, str], Ask]
    body: Callable[..., bytes]
    events: Callable[..., _Events]
    error_body: Callable[..., bytes]
    error_headers: Callable[[Failure], tuple[tuple[str, str], ...]] | None = None
    id_header: str | None = None
    stream_type: str = "text/event-stream; charset=utf-8"
    in_path: bool = False


FORMS: Final[Mapping[Protocol, Form]] = {
    "openai": Form(
        "openai",
        lambda content, _: openai_form.read(content),
        openai_form.body,
        openai_form.events,
        openai_form.error_body,
        id_header="x-request-id",
    ),
    "anthropic": Form(
        "anthropic",
        lambda content, _: anthropic_form.read(content),
        anthropic_form.body,
        anthropic_form.events,
        anthropic_form.error_body,
        id_header="request-id",
    ),
    "openai-responses": Form(
        "openai-responses",
        lambda content, _: responses_form.read(content),
        responses_form.body,
        responses_form.events,
        openai_form.error_body,
        id_header="x-request-id",
    ),
    "gemini": Form(
        "gemini",
        gemini_form.read,
        gemini_form.body,
        gemini_form.events,
        gemini_form.error_body,
        stream_type="text/event-stream",
        in_path=True,
    ),
    "bedrock": Form(
        "bedrock",
        bedrock_form.read,
        bedrock_form.body,
        bedrock_form.events,
        bedrock_form.error_body,
        bedrock_form.error_headers,
        id_header="x-amzn-requestid",
        stream_type="application/vnd.amazon.eventstream",
        in_path=True,
    ),
    "cohere": Form(
        "cohere",
        lambda content, _: cohere_form.read(content),
        cohere_form.body,
        cohere_form.events,
        cohere_form.error_body,
        id_header="x-debug-trace-id",
        stream_type="text/event-stream",
    ),
}

_OPENAI_UNASKED: Final = FORMS["openai"]._replace(
    read=lambda content, _: openai_form.read(content, usage_unasked=True)
)

_ENDS: Final[tuple[tuple[str, Protocol], ...]] = (
    ("/chat/completions", "openai"),
    ("/messages", "anthropic"),
    ("/responses", "openai-responses"),
    (":generateContent", "gemini"),
    (":streamGenerateContent", "gemini"),
    ("/converse", "bedrock"),
    ("/converse-stream", "bedrock"),
    ("/v2/chat", "cohere"),
)


def form_at(path: str) -> Form | None:
    """Gives the form of a path, which may stand behind any prefix.

    >>> form = form_at("/v1beta/models/small:generateContent")
    >>> form.protocol if form else None
    'gemini'
    """
    for end, protocol in _ENDS:
        if path.endswith(end):
            if protocol == "openai" and path.startswith(UNASKED):
                return _OPENAI_UNASKED
            return FORMS[protocol]
    return None
