"""What is known of how providers count tokens: vocabularies, the chat's overhead, estimates.

OpenAI's vocabularies are built in and its chat format is known, so that its plain chats are counted
exactly. For every other family a request is estimated as

    ratio * (tokens of its texts and calls in o200k_base)
    + base + per_message * messages + per_call * calls
    + tools_base + tools_ratio * (tokens of the tools as JSON)      where there are tools
    + schema_base + ratio * (tokens of the schema, if it is read)   where the answer has a schema

whose figures `python benches/token_error.py --fit` fits on recorded exchanges; `docs/tokens.md` has
the measured error. The bounds beside them are stated, not fitted: no recorded exchange exceeds
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

__all__ = ["ChatFormat", "Family", "chat_format_for", "family_for", "vocabulary_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """What OpenAI's chat format adds to the texts, in tokens.

    Attributes:
        priming: for the answer's beginning.
        tools_base: once, where there are tools.
        system_with_tools: added to that when the first message is a system message.
        per_call: for each tool call with its result.
        parallel: further, for each call of a message that makes several.
        exact: whether plain chats were counted exactly on every recorded exchange.
        image_bound: no image costs more, by OpenAI's documentation.
    """

    priming: int = 3
    tools_base: int = 8
    system_with_tools: int = -4
    per_call: int = 7
    parallel: int = 10
    exact: bool = True
    image_bound: int = 16_384


_CHAT: Final = ChatFormat()
_REASONING: Final = ChatFormat(
    priming=2, tools_base=90, system_with_tools=0, per_call=13, parallel=0
)

# The first pattern that a name begins with counts. Taken from tiktoken's own table
# (`tiktoken.model`), without what OpenAI no longer serves.
_VOCABULARIES: Final = (
    (re.compile(r"gpt-oss"), "o200k_base"),
    (re.compile(r"(gpt-4o|gpt-4\.[15]|gpt-5|chatgpt-4o|o[134])(?![0-9a-z])"), "o200k_base"),
    (re.compile(r"(gpt-4|gpt-3\.5|gpt-35)(?![0-9a-z])"), "cl100k_base"),
    (re.compile(r"text-embedding-(3|ada-002)(?![0-9a-z])"), "cl100k_base"),
)

# Where OpenAI's models answer over its own chat format, as recorded exchanges show.
_OPENAI_HOSTS: Final = frozenset({"azure", "openai", "openai-responses", "openrouter"})


def _bare(name: str) -> str:
    """A model's name without the vendor before it and the mark of a fine-tuned model."""
    return name.lower().rpartition("/")[2].removeprefix("openai.").removeprefix("ft:")


@lru_cache(maxsize=256)
def vocabulary_for(provider: str, name: str) -> str | None:
    """Gives the built-in vocabulary of a model, or `None` when its vocabulary is not built in.

    OpenAI's models are known by their names wherever they are served. A deployment whose name hides
    the model (Azure allows any) is not known: its tokens are estimated.

    >>> vocabulary_for("openai", "gpt-5-mini"), vocabulary_for("groq", "openai/gpt-oss-120b")
    ('o200k_base', 'o200k_base')
    >>> vocabulary_for("anthropic", "claude-opus-5") is None
    True
    """
    if provider == "anthropic":
        return None
    bare = _bare(name)
    return next((found for pattern, found in _VOCABULARIES if pattern.match(bare)), None)


@lru_cache(maxsize=256)
def chat_format_for(provider: str, name: str) -> ChatFormat | None:
    """Gives what OpenAI's chat format adds, for its models at hosts that are known to use it."""
    bare = _bare(name)
    if provider not in _OPENAI_HOSTS or bare.startswith("gpt-oss"):
        return None
    if vocabulary_for(provider, name) is None:
        return None
    format_ = _REASONING if re.match(r"o[134]|gpt-5", bare) else _CHAT
    if "search" in bare or bare.startswith("o1"):
        return replace(format_, exact=False)
    if bare.startswith("gpt-4o-mini"):
        return replace(format_, image_bound=48_169)
    return format_


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the tokens of a family of models are estimated and bounded; the module says how.

    Attributes:
        reads_schema: whether the model is shown the schema, or only held to it.
        base_bound: no request without tools costs more than its bytes and this.
        tools_bound: further, where there are tools.
        schema_bound: further, where the answer's form is a schema.
        image_bound: no image costs more, by the provider's documentation; `None`: not stated.
    """

    name: str
    pattern: str
    ratio: float = 1.0
    base: float = 0.0
    per_message: float = 0.0
    per_call: float = 0.0
    tools_base: float = 0.0
    tools_ratio: float = 1.0
    schema_base: float = 0.0
    reads_schema: bool = False
    base_bound: int = 256
    tools_bound: int = 1_536
    schema_bound: int = 1_024
    image_bound: int | None = None


_FAMILIES: Final = (
    Family(
        name="gpt-oss",
        pattern=r"gpt-oss",
        base=66,
        per_message=4,
        per_call=10,
        tools_ratio=1.16,
        schema_base=10,
        reads_schema=True,
    ),
    Family(
        name="anthropic",
        pattern=r"claude",
        ratio=1.15,
        base=3,
        per_message=4,
        per_call=37,
        tools_base=512,
        tools_ratio=1.19,
        schema_base=134,
        reads_schema=True,
        image_bound=8_192,
    ),
    Family(name="gemini", pattern=r"gemini|gemma", ratio=1.01, tools_ratio=0.95),
    Family(
        name="llama",
        pattern=r"llama",
        ratio=0.95,
        base=32,
        per_message=3,
        per_call=10,
        tools_base=627,
        tools_ratio=1.21,
        schema_base=10,
    ),
    Family(
        name="mistral",
        pattern=r"(mis|minis|magis|devs|codes)tral|mixtral|pixtral",
        ratio=1.03,
        per_message=2,
        per_call=10,
        tools_base=13,
        tools_ratio=1.35,
        schema_base=10,
    ),
    Family(
        name="nova",
        pattern=r"nova",
        ratio=0.98,
        per_call=10,
        tools_base=862,
        tools_ratio=0.3,
        schema_base=10,
    ),
    Family(
        name="deepseek",
        pattern=r"deepseek",
        ratio=1.05,
        per_message=3,
        per_call=10,
        tools_base=100,
        schema_base=10,
    ),
    Family(
        name="qwen",
        pattern=r"qwen|qwq",
        ratio=1.1,
        base=5,
        per_message=3,
        per_call=10,
        tools_base=100,
        schema_base=10,
    ),
    Family(
        name="glm",
        pattern=r"glm",
        base=2,
        per_message=3,
        per_call=10,
        tools_base=100,
        schema_base=10,
    ),
    # Cohere bills the request's own words; the tokens that it reports beside are many more.
    Family(
        name="cohere",
        pattern=r"command|cohere",
        ratio=1.01,
        base_bound=1_024,
        tools_bound=2_048,
    ),
    Family(
        name="openai",
        pattern=r"gpt|codex|o\d",
        base=3,
        per_message=4,
        reads_schema=True,
        base_bound=64,
        tools_bound=256,
        schema_bound=128,
    ),
)

_OTHER: Final = Family(
    name="other",
    pattern="",
    ratio=1.07,
    per_call=10,
    tools_base=100,
    schema_base=10,
    base_bound=1_024,
)

_BY_PROVIDER: Final = {
    "anthropic": "anthropic",
    "azure": "openai",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gemini": "gemini",
    "mistral": "mistral",
    "openai": "openai",
    "vertex": "gemini",
    "zai": "glm",
}


@lru_cache(maxsize=256)
def family_for(provider: str, name: str) -> Family:
    """Gives the family of a model: by its name, else by its provider, else that of all others."""
    bare = _bare(name)
    for family in _FAMILIES:
        if re.search(rf"(?<![a-z])({family.pattern})", bare):
            return family
    wanted = _BY_PROVIDER.get(provider)
    return next((family for family in _FAMILIES if family.name == wanted), _OTHER)
