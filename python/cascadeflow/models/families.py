"""Which models are of one family: trained by the same maker on much the same, they err alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig

__all__ = ["family_of"]

_FAMILIES: Final = {
    "claude": ("claude",),
    "cohere": ("command", "aya"),
    "deepseek": ("deepseek",),
    "gemini": ("gemini", "gemma", "palm"),
    "glm": ("glm", "chatglm"),
    "gpt": ("gpt", "chatgpt", "codex", "davinci"),
    "granite": ("granite",),
    "grok": ("grok",),
    "jamba": ("jamba",),
    "kimi": ("kimi", "moonshot"),
    "llama": ("llama", "alpaca", "hermes", "nemotron", "tulu", "vicuna"),
    "mistral": (
        *("codestral", "devstral", "magistral", "ministral", "mistral", "mathstral", "mixtral"),
        *("pixtral", "voxtral", "zephyr"),
    ),
    "nova": ("nova", "titan"),
    "phi": ("phi",),
    "qwen": ("qwen", "qvq", "qwq"),
    "smollm": ("smollm",),
}
"""By family, the words by which its models are called."""

_BY_WORD: Final = {word: family for family, words in _FAMILIES.items() for word in words}
_WORD: Final = re.compile(r"[a-z]+")
_REASONERS: Final = re.compile(r"o[1-9](?![a-z0-9])")
"""OpenAI's models that are called by a letter and a number."""

_COMPOUNDS: Final = frozenset({"gemma", "hermes", "llama", "mistral", "mixtral", "qwen"})
"""Words that others are made of, such as `codellama` and `openhermes`."""


def family_of(model: ModelConfig) -> str:
    """Gives a model's family by its name, wherever it runs.

    Unknown ones that begin with the same word are one family: rather too few are asked than two
    that err alike. A distilled model bears two names, and counts to the one that stands first.

    >>> from cascadeflow.models.config import ModelConfig
    >>> family_of(ModelConfig("meta-llama/Llama-3.1-8B-Instruct", "together"))
    'llama'
    >>> family_of(ModelConfig("o3-mini", "openai"))
    'gpt'
    >>> family_of(ModelConfig("perplexity/sonar-pro", "openrouter"))
    'sonar'
    """
    name = model.name.lower()
    last = name.rpartition("/")[2]
    if _REASONERS.match(last):
        return "gpt"
    for word in _WORD.findall(name):
        if word in _BY_WORD:
            return _BY_WORD[word]
        for part in _COMPOUNDS:
            if word.endswith(part):
                return _BY_WORD[part]
    first = _WORD.search(last)
    return name if first is None else first[0]
