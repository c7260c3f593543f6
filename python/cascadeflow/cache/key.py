"""Which requests are the same, and whose answers they may be given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.config import CacheScope
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.types import DocumentPart, ImagePart

if TYPE_CHECKING:
    from cascadeflow.types import ChatRequest, ContentPart, Message

__all__ = ["CacheKey", "CacheScope", "cache_key", "fingerprint", "scope_of"]

_VERSION: Final = "cascadeflow answer 1"
"""Part of every key: a key that is made another way finds nothing that was kept before."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Where an answer is kept: 32 bytes that stand for the request, and whose it is.

    Attributes:
        digest: SHA-256 of everything that changes the answer, the scope included.
        scope: as `scope_of` gave it, so that one user's answers can be forgotten.
    """

    digest: bytes
    scope: str


def scope_of(
    scope: CacheScope = "user", *, user_id: str | None = None, team: str | None = None
) -> str:
    """Gives whose answers a request may be given, as a hash that names nobody.

    A user is one of a team: the same id in two teams is two users. Requests without a user id share
    answers among themselves (within a team), and never with a user. `tenant` without a team is the
    same as `user`.

    >>> scope_of(user_id="ann") == scope_of(user_id="bob")
    False
    >>> scope_of("tenant", user_id="ann", team="x") == scope_of("tenant", user_id="bob", team="x")
    True

    Args:
        scope: who shares.
        user_id: who asks.
        team: which tenant they belong to.

    Raises:
        ConfigurationError: there is no such scope.
    """
    parts: list[str | None]
    if scope == "global":
        parts = ["global"]
    elif scope == "tenant" and team is not None:
        parts = ["tenant", team]
    elif scope in {"user", "tenant"}:
        parts = ["user", team, user_id]
    else:
        raise ConfigurationError(f"a cache's scope is user, tenant or global, not {scope!r:.40}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fingerprint(configuration: Any) -> str:
    """Gives a short text that stands for a configuration: which models, how they are chosen.

    >>> fingerprint({"models": ["a"], "threshold": 0.8}) == fingerprint(
    ...     {"threshold": 0.8, "models": ["a"]}
    ... )
    True

    Args:
        configuration: anything of mappings, sequences, text, numbers, booleans and `None`.

    Raises:
        InvalidRequestError: something else is in it.
    """
    return hashlib.sha256(_json(configuration)).hexdigest()


def cache_key(request: ChatRequest, *, configuration: str, scope: str) -> CacheKey:
    """Gives the key of a request.

    Every field of the request counts but `stream` and `user`, which do not change what is answered.
    The order of an object's fields does not count.

    >>> from cascadeflow.types import ChatRequest, Message
    >>> ask = ChatRequest("m", (Message("user", "Hi"),))
    >>> key = cache_key(ask, configuration=fingerprint(["m"]), scope=scope_of(user_id="ann"))
    >>> len(key.digest)
    32

    Args:
        request: what is asked.
        configuration: as `fingerprint` gave it: whatever else decides who answers, and how.
        scope: as `scope_of` gave it.

    Raises:
        InvalidRequestError: something in the request is no JSON.
    """
    form = request.response_format
    content: list[Any] = [
        *(_VERSION, scope, configuration, request.model),
        [_message(message) for message in request.messages],
        request.max_tokens,
        _number(request.temperature),
        _number(request.top_p),
        request.stop,
        request.seed,
        [[tool.name, tool.description, tool.parameters, tool.strict] for tool in request.tools],
        request.tool_choice,
        None if form is None else [form.kind, form.schema, form.name, form.strict],
        request.logprobs,
        request.extra or None,  # an empty one is none; the encoder is slow at our own mappings
    ]
    return CacheKey(hashlib.sha256(_json(content)).digest(), scope)


def _message(message: Message) -> list[Any]:
    content: Any = message.content
    if not isinstance(content, str):
        content = [_part(part) for part in content]
    if not (message.tool_calls or message.extras) and message.tool_call_id is message.name is None:
        return [message.role, content]  # by far the most, and no other list is as short
    return [
        *(message.role, content),
        [[call.id, call.name, call.arguments] for call in message.tool_calls],
        *(message.tool_call_id, message.name, message.extras or None),
    ]


def _part(part: ContentPart) -> list[Any]:
    if isinstance(part, ImagePart):
        return ["image", part.url, part.data, part.media_type, part.detail]
    if isinstance(part, DocumentPart):
        return ["document", part.url, part.file_id, part.data, part.media_type, part.name]
    return ["text", part.text]


def _number(value: float | None) -> float | None:
    """0, 0.0 and -0.0 are one temperature."""
    return None if value is None else float(value) + 0.0


def _json(value: Any) -> bytes:
    """One text for one value: keys in order; half characters are kept apart from whole ones."""
    try:
        return _encode(value).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"a request with something that is no JSON cannot be cached: {error}"
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=_plain
).encode
