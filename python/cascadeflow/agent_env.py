"""The models that the environment has the keys for."""

from __future__ import annotations

import os
from typing import Final

from cascadeflow.errors import ConfigurationError
from cascadeflow.providers.registry import get_provider

__all__ = ["MODELS_VARIABLE", "USUAL_MODELS", "models_from_env"]

MODELS_VARIABLE: Final = "CASCADEFLOW_MODELS"

USUAL_MODELS: Final = {
    "openai": ("gpt-6-luna", "gpt-6.1-sol"),
    "anthropic": ("claude-haiku-5-5", "claude-opus-5-5"),
    "deepseek": ("deepseek-v4-flash", "deepseek-v4-pro"),
    "groq": ("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
    "mistral": ("mistral-small-latest", "mistral-large-4"),
    "xai": ("grok-4.3", "grok-4.7"),
}
"""For each provider, the cheap and the strong model that stand for it when nobody says which."""


def models_from_env() -> list[str]:
    """Gives the models the environment names, or those of the providers whose keys it has.

    Raises:
        ConfigurationError: neither.
    """
    named = os.environ.get(MODELS_VARIABLE, "")
    models = [model.strip() for model in named.split(",") if model.strip()]
    if models:
        return models
    for provider, names in USUAL_MODELS.items():
        if any(os.environ.get(variable) for variable in get_provider(provider).key_env):
            models.extend(f"{provider}:{name}" for name in names)
    if not models:
        variables = [get_provider(provider).key_env[0] for provider in USUAL_MODELS]
        raise ConfigurationError(
            f"no models: set {MODELS_VARIABLE}=provider:model,provider:model, or one of the keys "
            + ", ".join(variables)
        )
    return models
