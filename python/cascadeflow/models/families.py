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
    "llama": ("llama", "hermes", "tulu", "nemotron"),
    "mistral": (
        *("codestral", "devstral", "magistral", "ministral", "mistral", "mixtral", "pixtral"),
        *("voxtral", "zephyr"),
    ),
    "nova": ("nova", "titan"),
    "phi": ("phi",),
    "qwen": ("qwen", "qwq"),
    "smollm": ("smollm",),
}
"""By family, the words by which its models are called."""

_BY_WORD: Final = {word: family for family, words in _FAMILIES.items() for word in words}
_WORD: Final = re.compile(r"[a-z]+")
_REASONERS: Final = re.compile(r"\bo[134](?![a-z0-9])")
"""OpenAI's models that are called by a letter and a number."""


def family_of(model: ModelConfig) -> str:
    """Gives a model's family by its name; an unknown one is a family of its own.

    A distilled model bears two names, and counts to the one that stands first.

    >>> from cascadeflow.models.config import ModelConfig
    >>> family_of(ModelConfig("meta-llama/Llama-3.1-8B-Instruct", "together"))
    'llama'
    >>> family_of(ModelConfig("o3-mini", "openai"))
    'gpt'
    >>> family_of(ModelConfig("my-own", "ollama"))
    'ollama:my-own'
    """
    name = model.name.lower()
    if _REASONERS.search(name):
        return "gpt"
    for word in _WORD.findall(name):
        if word in _BY_WORD:
            return _BY_WORD[word]
    return model.id
