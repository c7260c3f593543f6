"""How many tokens a text or a request is, and how many it can be at most.

Exact where the vocabulary is known: OpenAI's are built in, any other comes as a Hugging Face
`tokenizer.json`. Everything else is estimated, and says so. `upper_bound` is what a budget holds:
it is never less than what is billed, or `None` where nothing can be promised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.token_families import chat_format_for, family_for, vocabulary_for
from cascadeflow.models.tool_rendering import render_tools
from cascadeflow.types import DocumentPart, ImagePart, TextPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

    from cascadeflow import _native
    from cascadeflow.models.token_families import ChatFormat, Family
    from cascadeflow.types import ChatRequest, Message, Tool

__all__ = [
    "TokenCount",
    "TokenCounter",
    "count_request",
    "count_text",
    "countable_bound",
    "load_tokenizer",
    "load_vocabulary",
    "reads_what_was_not_sent",
    "uses_own_tools",
    "vocabulary_for",
]

_VOCABULARIES: Final = ("cl100k_base", "o200k_base")

_IMAGE_GUESS: Final = 800
"""Tokens of an image whose size is not known, between a small one's and a large one's."""

# Stated bounds of what a provider writes around a message, a tool call and a tool's definition.
_PER_MESSAGE_BOUND: Final = 8
_PER_CALL_BOUND: Final = 32
_PER_TOOL_BOUND: Final = 32

# What a request may say in its provider's words that lets the provider read more than was sent, or
# ask another model than was named.
_UNBOUNDED: Final = frozenset(
    {
        *("cachedContent", "cached_content", "container", "conversation", "data_sources"),
        *("enable_search", "mcp_servers", "models", "plugins", "preset", "previous_response_id"),
        *("prompt", "search_parameters", "search_settings", "tools", "web_search_options"),
    }
)
_UNBOUNDED_MODELS: Final = ("compound", "deep-research", "search-preview")

# Parts of a raw message that are not shown to the model as text.
_UNREAD: Final = frozenset({"cache_control", "data", "id", "signature", "type"})


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens, and what it is worth.

    Attributes:
        tokens: the number, or the likeliest one.
        upper_bound: no more than these are billed; `None` where nothing can be promised, as with
            files, or tools that run at the provider.
        exact: whether `tokens` is what the provider counts.
        method: how it was counted: a vocabulary's name, `tokenizer.json`, or `estimate:` and the
            family of models.
    """

    tokens: int
    upper_bound: int | None
    exact: bool
    method: str


class TokenCounter(Protocol):
    """Counts the tokens of a text: a built-in vocabulary, or a `tokenizer.json`."""

    def count(self, text: str) -> int:
        """The number of tokens."""

    def encode(self, text: str) -> list[int]:
        """The tokens."""


@cache
def load_vocabulary(name: str) -> _native.Vocabulary:
    """Gives one of OpenAI's vocabularies, unpacked on first use (some milliseconds).

    Its tokens are those of tiktoken's `encode_ordinary`: the name of a special token is text.

    >>> load_vocabulary("o200k_base").encode("Hello, world!")
    [13225, 11, 2375, 0]

    Raises:
        ConfigurationError: there is no such vocabulary.
    """
    from cascadeflow import _native  # noqa: PLC0415 - not at import

    if name not in _VOCABULARIES:
        raise ConfigurationError(
            f"no vocabulary is called {name!r}: there are {' and '.join(_VOCABULARIES)}; "
            "others come as a tokenizer.json (ModelConfig.tokenizer)"
        )
    return _native.Vocabulary(name)


def load_tokenizer(path: str | PathLike[str]) -> _native.Tokenizer:
    """Reads a Hugging Face `tokenizer.json`; a file that has not changed is read once.

    Tokens are those of the `tokenizers` package, without those that the file's template puts around
    a text; truncation and padding that it asks for are left out.

    Raises:
        ConfigurationError: the file cannot be read, or is no `tokenizer.json`.
    """
    try:
        stat = Path(path).stat()
        return _read_tokenizer(str(path), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise ConfigurationError(
            f"the tokenizer file {str(path)!r} cannot be read: {error.strerror or error}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{str(path)!r}: {error}") from error


@lru_cache(maxsize=8)
def _read_tokenizer(path: str, _modified: int, _size: int) -> _native.Tokenizer:
    from cascadeflow import _native  # noqa: PLC0415 - not at import

    return _native.Tokenizer(Path(path).read_bytes())


def count_text(text: str, *, model: ModelConfig | str) -> TokenCount:
    """Counts a text alone, without a chat around it.

    Args:
        text: the text.
        model: a model, as `ModelConfig` or `"provider:model"`, or a vocabulary's name.

    Raises:
        ConfigurationError: the model's `tokenizer` file cannot be read.
        InvalidRequestError: the rules of that file fail on this text.

    >>> count_text("Hello, world!", model="openai:gpt-5-mini")
    TokenCount(tokens=4, upper_bound=4, exact=True, method='o200k_base')
    """
    if isinstance(model, str):
        if ":" not in model:
            tokens = load_vocabulary(model).count(text)
            return TokenCount(tokens, tokens, exact=True, method=model)
        model = ModelConfig.parse(model)
    ruler = ruler_for(model)
    counted, bound = ruler.measure(text)
    tokens = min(bound, round(ruler.ratio * counted))
    return TokenCount(tokens, bound, exact=ruler.exact, method=ruler.method)


def count_request(request: ChatRequest, model: ModelConfig) -> TokenCount:
    """Counts the input tokens of a request, what the provider puts around it included.

    A plain chat with one of OpenAI's models is counted exactly. Tools, images, other families and
    other hosts are estimated; `docs/tokens.md` has the measured error. The bound of an estimate is
    the request's bytes and what its provider may put around them.

    Raises:
        ConfigurationError: the model's `tokenizer` file cannot be read.
        InvalidRequestError: the rules of that file fail on a text of the request.

    >>> from cascadeflow.types import ChatRequest, Message
    >>> hello = ChatRequest("gpt-4o", (Message("user", "hello"),))
    >>> count_request(hello, ModelConfig("gpt-4o", "openai"))
    TokenCount(tokens=8, upper_bound=8, exact=True, method='o200k_base')
    """
    ruler = ruler_for(model)
    parts = measure(request, ruler)
    family = family_for(model.provider, model.name)
    image_bound = family.image_bound
    unbounded = parts.files or _asks_for_more(request, model)
    chat = chat_format_for(model.provider, model.name) if model.tokenizer is None else None
    if chat is None:
        estimate = family_tokens(parts, family, ruler.ratio)
    else:
        image_bound = chat.image_bound
        estimate = _openai_tokens(request, parts, chat, ruler)
        if chat.exact and parts.plain and not unbounded:
            return TokenCount(estimate, estimate, exact=True, method=ruler.method)
    tokens = round(estimate) + _IMAGE_GUESS * parts.images
    bound: int | None = None
    if not unbounded and not (parts.images and image_bound is None):
        bound = _most(request, parts, family, image_bound)
        tokens = min(tokens, bound)
    return TokenCount(tokens, bound, exact=False, method=ruler.method)


def countable_bound(request: ChatRequest, model: ModelConfig) -> int:
    """The most input tokens that what can be counted may be, where `upper_bound` is `None`.

    Texts, tools, schemas, and images where their provider states a bound; what else there is
    (files, tools that run at the provider) is left out.

    Raises:
        ConfigurationError: the model's `tokenizer` file cannot be read.
        InvalidRequestError: the rules of that file fail on a text of the request.
    """
    family = family_for(model.provider, model.name)
    chat = chat_format_for(model.provider, model.name) if model.tokenizer is None else None
    image_bound = family.image_bound if chat is None else chat.image_bound
    return _most(request, measure(request, ruler_for(model)), family, image_bound)


def _most(
    request: ChatRequest, parts: RequestParts, family: Family, image_bound: int | None
) -> int:
    return (
        parts.bound
        + _PER_MESSAGE_BOUND * parts.messages
        + family.base_bound
        + (family.tools_bound if request.tools else 0)
        + (family.schema_bound if parts.schema else 0)
        + parts.images * (image_bound or 0)
    )


@dataclass(frozen=True, slots=True)
class Ruler:
    """What texts are measured with.

    Attributes:
        counter: counts a text.
        ratio: tokens of the model for each of the counter's.
        exact: whether the counter's tokens are the model's.
        method: as in `TokenCount`.
        names_special: whether a text holds the name of a special token that the counter would take
            for that token; `None` where it takes none.
    """

    counter: TokenCounter
    ratio: float
    exact: bool
    method: str
    names_special: Callable[[str], bool] | None = None

    def count(self, text: str) -> int:
        """The counter's tokens."""
        try:
            return self.counter.count(text)
        except ValueError as error:  # of a tokenizer.json only
            raise InvalidRequestError(
                f"a text of the request cannot be counted: {error}"
            ) from error

    def measure(self, text: str) -> tuple[int, int]:
        """The counter's tokens, and how many the model's are at most: as many, or the bytes.

        What names a special token may be read as that token or as text, so its bytes count.
        """
        tokens = self.count(text)
        if self.exact and not (self.names_special and self.names_special(text)):
            return tokens, tokens
        return tokens, _bytes(text)


def ruler_for(model: ModelConfig) -> Ruler:
    """Chooses what a model's texts are measured with: its file, its vocabulary, or an estimate."""
    if model.tokenizer is not None:
        tokenizer = load_tokenizer(model.tokenizer)
        return Ruler(
            tokenizer,
            1.0,
            exact=True,
            method="tokenizer.json",
            names_special=tokenizer.names_a_special_token,
        )
    return _built_in_ruler(model.provider, model.name)


@lru_cache(maxsize=256)
def _built_in_ruler(provider: str, name: str) -> Ruler:
    vocabulary = vocabulary_for(provider, name)
    if vocabulary is not None:
        return Ruler(load_vocabulary(vocabulary), 1.0, exact=True, method=vocabulary)
    family = family_for(provider, name)
    method = f"estimate:{family.name}"
    return Ruler(load_vocabulary("o200k_base"), family.ratio, exact=False, method=method)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParts:
    """A request taken apart: its texts in a ruler's tokens, and how many there are of the rest.

    Attributes:
        texts: tokens of the messages' texts, and of raw parts.
        calls: tokens of the names and arguments of tool calls.
        tools: tokens of the tools' definitions as JSON.
        schema: tokens of the answer's schema as JSON.
        messages: how many.
        call_count: how many tool calls.
        images: how many.
        files: whether there are documents, whose tokens nobody knows beforehand.
        plain: whether there are only texts.
        bound: no vocabulary has more tokens for all texts, calls, tools and the schema.
    """

    texts: int
    calls: int
    tools: int
    schema: int
    messages: int
    call_count: int
    images: int
    files: bool
    plain: bool
    bound: int


def measure(request: ChatRequest, ruler: Ruler) -> RequestParts:
    """Takes a request apart."""
    texts = calls = call_count = images = bound = 0
    files = False
    plain = not (request.tools or request.response_format)
    for message in request.messages:
        plain = plain and not (message.tool_calls or message.extras or message.role == "tool")
        for part in _parts(message):
            if isinstance(part, str):
                tokens, most = ruler.measure(part)
                texts += tokens
                bound += most
            else:
                images += isinstance(part, ImagePart)
                files = files or not isinstance(part, ImagePart)
        for call in message.tool_calls:
            call_count += 1
            calls += ruler.count(call.name) + ruler.count(call.arguments)
            bound += _bytes(call.name + call.arguments + call.id) + _PER_CALL_BOUND
        if message.name:
            bound += _bytes(message.name)
        if message.extras:
            texts += sum(map(ruler.count, _read(message.extras)))
            bound += _bytes(_json(message.extras))
    tools = [_tool_json(tool) for tool in request.tools]
    form = request.response_format
    schema = _json(form.schema) if form is not None and form.schema else ""
    bound += sum(map(_bytes, (*tools, schema))) + _PER_TOOL_BOUND * len(tools)
    if request.extra:
        bound += _bytes(_json(request.extra))
    return RequestParts(
        texts=texts,
        calls=calls,
        tools=sum(map(ruler.count, tools)),
        schema=ruler.count(schema),
        messages=len(request.messages),
        call_count=call_count,
        images=images,
        files=files,
        plain=plain and not (images or files),
        bound=bound,
    )


def family_tokens(parts: RequestParts, family: Family, ratio: float) -> float:
    """A family's estimate, without images; `ratio` is 1 where the vocabulary is known."""
    read = parts.texts + parts.calls + (parts.schema if family.reads_schema else 0)
    estimate = ratio * read + family.base + family.per_message * parts.messages
    estimate += family.per_call * parts.call_count
    if parts.tools:
        estimate += family.tools_base + family.tools_ratio * parts.tools
    if parts.schema:
        estimate += family.schema_base
    return estimate


def _openai_tokens(
    request: ChatRequest, parts: RequestParts, chat: ChatFormat, ruler: Ruler
) -> int:
    """OpenAI's published formula, with tools and schemas as its open format writes them."""
    tokens = chat.priming + parts.texts + parts.calls
    for message in request.messages:
        tokens += 3 + 1  # the role, whichever, is one token
        if message.name:
            tokens += 1 + ruler.count(message.name)
        calls = len(message.tool_calls)
        tokens += calls * (chat.per_call + (chat.parallel if calls > 1 else 0))
    if request.tools:
        tokens += chat.tools_base + ruler.count(render_tools(request.tools))
        if request.messages and request.messages[0].role in ("system", "developer"):
            tokens += chat.system_with_tools
    form = request.response_format
    if form is not None and form.schema:
        heading = f"# Response Formats\n\n## {form.name}\n\n"
        tokens += ruler.count(heading + _json(form.schema))
    return tokens


def reads_what_was_not_sent(request: ChatRequest, model: ModelConfig) -> bool:
    """Whether the provider may bill input that does not stand in the request as text or image.

    That is files, tools that run at the provider, and conversations or prompts that it keeps.
    """
    return _asks_for_more(request, model) or any(
        isinstance(part, DocumentPart)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def _asks_for_more(request: ChatRequest, model: ModelConfig) -> bool:
    own_words = {*request.extra, *model.extra}
    return bool(own_words & _UNBOUNDED) or uses_own_tools(model.name)


def uses_own_tools(name: str) -> bool:
    """Whether a model's name says that it uses its provider's tools unasked."""
    return any(each in name for each in _UNBOUNDED_MODELS)


def _parts(message: Message) -> Iterator[str | ImagePart | DocumentPart]:
    """A message's texts, as texts, and its other parts."""
    if isinstance(message.content, str):
        yield message.content
    else:
        for part in message.content:
            yield part.text if isinstance(part, TextPart) else part


def _read(raw: Any) -> Iterator[str]:
    """The strings of a raw part that the model is shown."""
    match raw:
        case str():
            yield raw
        case {**fields}:
            for name, value in fields.items():
                if name not in _UNREAD:
                    yield from _read(value)
        case [*values]:
            for value in values:
                yield from _read(value)


def _tool_json(tool: Tool) -> str:
    return _json(
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
