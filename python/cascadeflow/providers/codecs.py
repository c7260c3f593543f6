"""Which codec reads and writes a provider's bytes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from cascadeflow.providers.registry import Provider, get_provider

if TYPE_CHECKING:
    from cascadeflow.providers.protocols import Codec

__all__ = ["codec_for", "get_codec"]

_MODULES: Final = {
    "anthropic": ("anthropic_messages", "AnthropicMessagesCodec"),
    "bedrock": ("bedrock", "BedrockConverseCodec"),
    "cohere": ("cohere", "CohereChatCodec"),
    "gemini": ("gemini", "GeminiCodec"),
    "openai": ("openai_chat", "OpenAIChatCodec"),
    "openai-responses": ("openai_responses", "OpenAIResponsesCodec"),
    "vertex": ("gemini", "GeminiCodec"),
}
"""Each protocol's module and class; a codec takes the provider's record."""

_made: dict[Provider, Codec] = {}


def get_codec(provider_id: str) -> Codec:
    """Gives the codec of a provider, which does no I/O.

    >>> codec = get_codec("openai")
    >>> answer = codec.decode(200, {}, b'{"choices":[{"message":{"content":"Hello"}}]}')
    >>> answer.text
    'Hello'

    Raises:
        ConfigurationError: no provider has this id.
    """
    return codec_for(get_provider(provider_id))


def codec_for(provider: Provider) -> Codec:
    """Gives the codec of a provider's record; the same record always gives the same codec."""
    codec = _made.get(provider)
    if codec is None:
        codec = _made[provider] = _make(provider)
    return codec


def _make(provider: Provider) -> Codec:
    # A protocol's module is loaded with the first provider that speaks it.
    module, cls = _MODULES[provider.protocol]
    codec: Codec = getattr(import_module(f"cascadeflow.providers.{module}"), cls)(provider)
    return codec
