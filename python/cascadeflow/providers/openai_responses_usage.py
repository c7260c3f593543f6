"""What an OpenAI response consumed: tokens in disjoint buckets, and server-side tools."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["read_usage"]

_MOST: Final = 2**53
"""A larger count is no count: it could not be told from noise, nor be priced."""


def read_usage(response: Mapping[str, Any], items: Sequence[Any]) -> Usage | None:
    """Reads what a response consumed.

    The protocol counts `input_tokens` and `output_tokens` whole and then says of what they consist.
    Each part that has a bucket is taken out of the whole, so that nothing is counted twice and the
    buckets add up to what the provider counted; parts that are larger than what is left of the
    whole are cut to it.

    Server-side tools are no tokens, and the `usage` object does not count them: `tool_usage` does,
    where the provider sends it, and otherwise the output items that cost something each.

    Args:
        response: the response object.
        items: its output items.

    Returns:
        The usage, or `None` when the provider has not said what tokens were used.
    """
    raw = _mapping(response, "usage")
    into = _Whole(_count(raw, "input_tokens"))
    details = _mapping(raw, "input_tokens_details")
    of_cache = _mapping(details, "cached_tokens_details")
    cached_audio, cached_image = _count(of_cache, "audio_tokens"), _count(of_cache, "image_tokens")
    cached = into.part(_count(details, "cached_tokens"))
    written = into.part(_count(details, "cache_write_tokens"))
    # What was read from the cache is counted among its kind as well.
    audio = into.part(_less(_count(details, "audio_tokens"), cached_audio))
    image = into.part(_less(_count(details, "image_tokens"), cached_image))
    if cached is not None:
        hits = _Whole(cached)
        cached_audio, cached_image = hits.part(cached_audio), hits.part(cached_image)
        cached = hits.rest

    made = _mapping(raw, "output_tokens_details")
    out = _Whole(_count(raw, "output_tokens"))
    reasoning = out.part(_count(made, "reasoning_tokens"))
    spoken = out.part(_count(made, "audio_tokens"))
    drawn = out.part(_count(made, "image_tokens"))

    usage = Usage(
        input_tokens=into.rest,
        cache_read_tokens=cached,
        cache_write_5m_tokens=written,
        input_audio_tokens=audio,
        cache_read_audio_tokens=cached_audio,
        input_image_tokens=image,
        cache_read_image_tokens=cached_image,
        output_tokens=out.rest,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
        output_image_tokens=drawn,
    )
    if usage == _UNSAID:
        return None
    used = _tools_used(response, items)
    return replace(usage, requests=used) if used else usage


_UNSAID: Final = Usage()


class _Whole:
    """What is left of a count while its parts are taken out."""

    __slots__ = ("rest",)

    def __init__(self, whole: int | None) -> None:
        self.rest = whole

    def part(self, part: int | None) -> int | None:
        """Takes a part out, and no more than there is."""
        if part is None or self.rest is None:
            return part
        taken = min(part, self.rest)
        self.rest -= taken
        return taken


def _less(count: int | None, part: int | None) -> int | None:
    return count if count is None or part is None else max(0, count - part)


def _tools_used(response: Mapping[str, Any], items: Sequence[Any]) -> dict[str, int]:
    """Counts what is billed beside the tokens; what OpenAI does not bill (MCP) is not in it.

    A web search is one call whose action is a search: opening a page and looking through one are
    calls too, but not billed. A code interpreter is billed by container, however often it runs.
    """
    used: dict[str, int] = {}
    containers: set[str] = set()
    for item in items:
        if not isinstance(item, dict):
            continue
        kind = _text(item, "type")
        if kind == "code_interpreter_call":
            containers.add(_text(item, "container_id"))
        elif kind == "shell_call":
            environment = _mapping(item, "environment")
            if environment.get("type") == "container_reference":
                containers.add(_text(environment, "container_id"))
        elif kind in _BILLED and not (kind == "web_search_call" and _only_reads(item)):
            name = _BILLED[kind]
            used[name] = used.get(name, 0) + 1
    if containers:
        used["code_interpreter"] = len(containers)
    told = _mapping(response, "tool_usage")
    for name in told:
        count = _count(_mapping(told, name), "num_requests")
        if count is not None:
            used[name] = count
    return {name: count for name, count in used.items() if count}


_BILLED: Final[Mapping[str, str]] = {
    "file_search_call": "file_search",
    "image_generation_call": "image_generation",  # tokens of another model, at its prices
    "web_search_call": "web_search",
}


def _only_reads(search: Mapping[str, Any]) -> bool:
    """Whether a web search call opened a page or looked through one; without a word, it did not."""
    return _text(_mapping(search, "action"), "type") in ("open_page", "find_in_page", "find")


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _count(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:  # a bool is no count
        return None
    return value if 0 <= value <= _MOST else None


_NOTHING: Final[Mapping[str, Any]] = {}


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else _NOTHING
