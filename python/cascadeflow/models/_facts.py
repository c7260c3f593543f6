"""Output limits and abilities, taken from LiteLLM's model list when the table is compiled."""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import StoreError
from cascadeflow.models._table import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["ABILITIES", "facts_of", "read_litellm"]

ABILITIES: Final = {
    "tools": "supports_function_calling",
    "parallel_tools": "supports_parallel_function_calling",
    "structured_output": "supports_response_schema",
    "vision": "supports_vision",
    "documents": "supports_pdf_input",
    "audio_input": "supports_audio_input",
    "audio_output": "supports_audio_output",
    "video_input": "supports_video_input",
    "reasoning": "supports_reasoning",
    "prompt_caching": "supports_prompt_caching",
    "web_search": "supports_web_search",
    "computer_use": "supports_computer_use",
    "sampling": "supports_sampling_params",
}
"""Our names of abilities, and LiteLLM's. `sampling`: takes `temperature` and the like."""

_PROVIDERS: Final[Mapping[str, frozenset[str]]] = {
    "anthropic": frozenset({"anthropic"}),
    "aws": frozenset({"bedrock", "bedrock_converse"}),
    "azure": frozenset({"azure", "azure_ai"}),
    "baseten": frozenset({"baseten"}),
    "cerebras": frozenset({"cerebras"}),
    "cloudflare": frozenset({"cloudflare"}),
    "cohere": frozenset({"cohere", "cohere_chat"}),
    "databricks": frozenset({"databricks"}),
    "deepseek": frozenset({"deepseek"}),
    "fireworks": frozenset({"fireworks_ai"}),
    "github-copilot": frozenset({"github_copilot"}),
    "google": frozenset(
        {"gemini", "vertex_ai", "vertex_ai-language-models", "vertex_ai-anthropic_models"}
    ),
    "groq": frozenset({"groq"}),
    "meta": frozenset({"meta", "meta_llama"}),
    "minimax": frozenset({"minimax"}),
    "mistral": frozenset({"mistral", "codestral"}),
    "moonshotai": frozenset({"moonshot"}),
    "novita": frozenset({"novita"}),
    "openai": frozenset({"openai"}),
    "openrouter": frozenset({"openrouter"}),
    "ovhcloud": frozenset({"ovhcloud"}),
    "perplexity": frozenset({"perplexity"}),
    "together": frozenset({"together_ai"}),
    "x-ai": frozenset({"xai"}),
    "zai": frozenset({"zai"}),
}
"""genai-prices' provider ids, and LiteLLM's."""

_MODES: Final = frozenset({"chat", "completion", "responses"})
_LIST: Final = "litellm/model_prices_and_context_window_backup.json"


def read_litellm(path: Path) -> tuple[dict[str, Any], str]:
    """Reads LiteLLM's model list out of its wheel, or as the JSON file it is.

    Returns:
        The list, and the version it is of.

    Raises:
        StoreError: the file is neither.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                models = json.loads(wheel.read(_LIST))
            version = path.name.split("-")[1]
        else:
            models, version = json.loads(path.read_bytes()), f"file {path.name}"
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise StoreError(f"{path} holds no model list of LiteLLM: {error}") from error
    return models, version


def facts_of(
    provider: str, rows: Iterable[Mapping[str, Any]], models: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Gives the facts of a provider's models by their id.

    An entry belongs to the first row that its name matches. Where an entry bears a row's own id, it
    alone counts; else a fact counts when no entry of the row contradicts it.
    """
    known = _PROVIDERS.get(provider, frozenset())
    matched: dict[str, dict[str, Mapping[str, Any]]] = {}
    in_order = [Row(provider, row, "") for row in rows]
    for key, entry in models.items():
        if entry.get("litellm_provider") not in known or entry.get("mode") not in _MODES:
            continue
        name = _name(key)
        row = next((row for row in in_order if row.matches(name)), None)
        if row is not None:
            matched.setdefault(row.id, {})[name] = entry
    facts = {}
    for row_id, entries in matched.items():
        own = entries.get(row_id.lower())
        found = _agreed([own] if own is not None else list(entries.values()))
        if found:
            facts[row_id] = found
    return facts


def _name(key: str) -> str:
    """Takes LiteLLM's own prefix off: `groq/llama-…`, `azure/eu/gpt-…`."""
    prefixes = "|".join(sorted({each for known in _PROVIDERS.values() for each in known}))
    return re.sub(rf"^(?:{prefixes})/(?:(?:eu|us|global|global-standard)/)?", "", key.lower())


def _agreed(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, key in (("max_input", "max_input_tokens"), ("max_output", "max_output_tokens")):
        value = _one(entry.get(key) for entry in entries)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            facts[name] = value
    flags = {name: _one(entry.get(key) for entry in entries) for name, key in ABILITIES.items()}
    can = [name for name, flag in flags.items() if flag is True]
    cannot = [name for name, flag in flags.items() if flag is False]
    if can:
        facts["can"] = can
    if cannot:
        facts["cannot"] = cannot
    retires = _one(entry.get("deprecation_date") for entry in entries)
    if isinstance(retires, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", retires):
        facts["retires"] = retires
    return facts


def _one(values: Iterable[Any]) -> Any:
    """The one value that is given; `None` when there is none, or more than one."""
    given = [value for value in values if value is not None]
    return given[0] if given and all(value == given[0] for value in given) else None
