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

_NOTHING: Final = (None, None, None, None)

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
    if made is None and thought is None and prompt is not None:
        total = _count(raw, "totalTokenCount")
        if total is not None and total >= prompt + (used or 0):
            made = total - prompt - (used or 0)

    counts: dict[str, int | None] = {}
    if cached is not None and prompt is not None:
        cached = min(cached, prompt)
        prompt -= cached
    for kind, count in _by_kind(raw, "cacheTokensDetails").items():
        counts[f"cache_read_{kind}_tokens"], cached = _take(count, cached)
    for kind, count in _by_kind(raw, "promptTokensDetails").items():
        fresh = count - (counts.get(f"cache_read_{kind}_tokens") or 0)
        counts[f"input_{kind}_tokens"], prompt = _take(fresh, prompt)
    for kind, count in _by_kind(raw, "toolUsePromptTokensDetails").items():
        taken, used = _take(count, used)
        counts[f"input_{kind}_tokens"] = (counts.get(f"input_{kind}_tokens") or 0) + taken
    for kind, count in _by_kind(raw, "candidatesTokensDetails").items():
        counts[f"output_{kind}_tokens"], made = _take(count, made)
    if used is not None:
        prompt = (prompt or 0) + used

    plain = (prompt, cached, made, thought)
    if not counts and not requests and plain == _NOTHING:
        return None
    return Usage(
        input_tokens=prompt,
        cache_read_tokens=cached,
        output_tokens=made,
        reasoning_tokens=thought,
        requests=requests,
        **counts,
    )


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


def _by_kind(raw: Mapping[str, Any], name: str) -> Mapping[str, int]:
    """Reads a breakdown by modality, of those that a bucket of their own counts."""
    entries = raw.get(name)
    if not isinstance(entries, list):
        return EMPTY
    counts: dict[str, int] = {}
    for entry in entries:
        modality = entry.get("modality") if isinstance(entry, dict) else None
        kind = _KINDS.get(modality) if isinstance(modality, str) else None
        count = None if kind is None else _count(entry, "tokenCount")
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
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:  # a bool is no count
        return None
    return value if 0 <= value <= _MOST_TOKENS else None
