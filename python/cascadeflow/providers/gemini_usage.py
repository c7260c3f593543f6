"""What Gemini counts: `usageMetadata` as disjoint buckets, and searches that are billed apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.usage import Usage
from cascadeflow.types import EMPTY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["count_requests", "read_tier", "read_usage"]

_MOST_TOKENS: Final = 2**53

_KINDS: Final[Mapping[str, str]] = {"AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}
"""The modalities that a bucket of their own counts; text and documents are plain."""

_TIERS: Final[Mapping[str, str | None]] = {
    "TRAFFIC_TYPE_UNSPECIFIED": None,
    "ON_DEMAND": "on_demand",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
}
"""Vertex's words for what other providers call a service tier; any other is taken as it is."""

_BY_PROMPT: Final = ("gemini-1", "gemini-2", "models/gemini-1", "models/gemini-2")
"""Models whose searches are billed once for a prompt, however many were made."""


def read_usage(raw: Mapping[str, Any], requests: Mapping[str, int] = EMPTY) -> Usage | None:
    """Reads a `usageMetadata` object.

    `promptTokenCount` holds what was read from a cache, `candidatesTokenCount` does not hold the
    thinking, and what server-side tools gave the model to read (`toolUsePromptTokenCount`) is
    counted beside the prompt: `totalTokenCount` is the sum of those four. The JSON leaves out a
    count of zero: where nothing is said of the output, the total says how much it was.

    Args:
        raw: the object.
        requests: billed uses of server-side tools, which stand elsewhere in an answer.

    Returns:
        The usage, or `None` when nothing was counted.
    """
    prompt = _count(raw, "promptTokenCount")
    cached = _count(raw, "cachedContentTokenCount")
    used = _count(raw, "toolUsePromptTokenCount")
    made = _count(raw, "candidatesTokenCount")
    thought = _count(raw, "thoughtsTokenCount")
    total = _count(raw, "totalTokenCount")
    if made is None and thought is None and total is not None and prompt is not None:
        rest = total - prompt - (used or 0)
        made = rest if rest >= 0 else None

    into = _by_kind(raw, "promptTokensDetails")
    again = _by_kind(raw, "cacheTokensDetails")
    tools = _by_kind(raw, "toolUsePromptTokensDetails")
    out = _by_kind(raw, "candidatesTokensDetails")
    counts: dict[str, int | None] = {"reasoning_tokens": thought}

    read = None if cached is None else min(cached, prompt) if prompt is not None else cached
    fresh = None if prompt is None else prompt - (read or 0)
    from_cache: dict[str, int] = {}
    for kind in again:
        from_cache[kind], read = _take(again[kind], read)
        counts[f"cache_read_{kind}_tokens"] = from_cache[kind]
    counts["cache_read_tokens"] = read
    for kind in into:
        taken, fresh = _take(into[kind] - from_cache.get(kind, 0), fresh)
        counts[f"input_{kind}_tokens"] = taken
    for kind in tools:
        taken, used = _take(tools[kind], used)
        counts[f"input_{kind}_tokens"] = (counts.get(f"input_{kind}_tokens") or 0) + taken
    counts["input_tokens"] = None if fresh is None and used is None else (fresh or 0) + (used or 0)
    for kind in out:
        counts[f"output_{kind}_tokens"], made = _take(out[kind], made)
    counts["output_tokens"] = made

    if not requests and all(count is None for count in counts.values()):
        return None
    return Usage(**counts, requests=requests)


def read_tier(raw: Mapping[str, Any]) -> str | None:
    """Reads which tier served: AI Studio's `serviceTier`, or Vertex's `trafficType`."""
    tier = raw.get("serviceTier")
    if isinstance(tier, str) and tier:
        return None if tier == "unspecified" else tier
    traffic = raw.get("trafficType")
    if isinstance(traffic, str) and traffic:
        return _TIERS.get(traffic, traffic.lower())
    return None


def count_requests(candidates: Iterable[Mapping[str, Any]], model: str | None) -> dict[str, int]:
    """Counts what is billed beside tokens, as https://ai.google.dev/gemini-api/docs/pricing says.

    A search costs by the query: each different one counts, empty ones do not. Up to Gemini 2.5 it
    costs by the prompt, however many queries it took. Google Maps and Vertex AI Search cost by the
    prompt that they grounded. File search, URL context and code execution cost tokens alone.

    Args:
        candidates: an answer's candidates as the provider wrote them, with their parts.
        model: the model that served.
    """
    queries: set[str] = set()
    found: set[str] = set()
    for candidate in candidates:
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict):
            for name in ("webSearchQueries", "imageSearchQueries"):
                queries.update(_texts(grounding.get(name)))
            # Pages that were read by their address are named there too, and cost no search.
            by_url = "urlContextMetadata" in candidate
            found.update(_sources(grounding.get("groundingChunks"), by_url=by_url))
        content = candidate.get("content")
        for part in _objects(content.get("parts") if isinstance(content, dict) else None):
            call = part.get("toolCall")
            if isinstance(call, dict) and str(call.get("toolType")).startswith("GOOGLE_SEARCH"):
                args = call.get("args")
                queries.update(_texts(args.get("queries") if isinstance(args, dict) else None))
    requests = {}
    if queries or "web" in found:
        by_prompt = model is not None and model.startswith(_BY_PROMPT)
        requests["web_search"] = 1 if by_prompt else max(1, len(queries))
    for kind in ("google_maps", "vertex_ai_search"):
        if kind in found:
            requests[kind] = 1
    return requests


def _sources(chunks: Any, *, by_url: bool) -> Iterable[str]:
    for chunk in _objects(chunks):
        if "web" in chunk or "image" in chunk:
            if not by_url:
                yield "web"
        elif "maps" in chunk:
            yield "google_maps"
        else:
            context = chunk.get("retrievedContext")
            if isinstance(context, dict) and not context.keys() & {"fileSearchStore", "ragChunk"}:
                yield "vertex_ai_search"


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _texts(value: Any) -> Iterable[str]:
    if not isinstance(value, list):
        return ()
    return (each for each in value if isinstance(each, str) and each.strip())


def _by_kind(raw: Mapping[str, Any], name: str) -> dict[str, int]:
    """Reads a breakdown by modality, of those that a bucket of their own counts."""
    counts: dict[str, int] = {}
    for entry in _objects(raw.get(name)):
        modality = entry.get("modality")
        kind = _KINDS.get(modality) if isinstance(modality, str) else None
        count = _count(entry, "tokenCount")
        if kind is not None and count is not None:
            counts[kind] = counts.get(kind, 0) + count
    return counts


def _take(part: int, whole: int | None) -> tuple[int, int | None]:
    """Takes a part out of what is left of the whole, and no more than there is.

    Without a whole the part stands for itself.
    """
    if whole is None:
        return max(part, 0), None
    taken = min(max(part, 0), whole)
    return taken, whole - taken


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:  # a bool is no count
        return None
    return value if 0 <= value <= _MOST_TOKENS else None
