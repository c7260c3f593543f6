"""The recorded exchanges as this package reads them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cascadeflow.errors import ProviderError
from cascadeflow.models.completion import Completed, Completion
from cascadeflow.models.token_families import family_for
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IN_THE_PATH = re.compile(
    r"/(?:models?|deployments)/(.+?)(?:/converse|/converse-stream|/chat/completions|:\w+Content)$"
)
STREAM_HEADERS = {"content-type": "application/vnd.amazon.eventstream"}


_MEDIA = ("output_audio_tokens", "output_image_tokens", "output_video_tokens")
_OF_THE_CALLER = {"function", "functionDeclarations", "function_declarations", "input_schema"}


@dataclass(frozen=True)
class Exchange:
    """A recorded exchange that was answered.

    Attributes:
        provider: its id.
        asked: the model that was asked, by the request.
        row: the recording.
        completion: the answer as the codec reads it.
    """

    provider: str
    asked: str
    row: dict[str, Any]
    completion: Completion

    @property
    def body(self) -> Any:
        """The answer's JSON; `None` of a stream."""
        return self.row.get("response")


def countable(exchange: Exchange) -> bool:
    """Whether an answer's billed output is what came of it, or hidden reasoning.

    Nobody can count images, sound, and what tools that ran at the provider wrote.
    """
    usage = exchange.completion.usage
    if usage is None or not usage.total_output_tokens or not exchange.completion.usage_complete:
        return False
    if usage.requests or any(getattr(usage, name) for name in _MEDIA):
        return False
    request = exchange.row["request"]
    tools: list[Any] = request.get("tools") or (request.get("toolConfig") or {}).get("tools") or []
    return all(
        not isinstance(tool, Mapping)
        or (_OF_THE_CALLER | {"toolSpec", "cachePoint"}) & {*tool, tool.get("type")}
        for tool in tools
    )


def kind_of(exchange: Exchange) -> tuple[str, str]:
    """The family of the model that was asked, and what its answer consists of."""
    completion, usage = exchange.completion, exchange.completion.usage
    family = family_for(exchange.provider, exchange.asked).name
    # OpenAI and Gemini show a summary of the reasoning, if anything.
    summarised = family in ("openai", "gemini")
    if usage and usage.reasoning_tokens and (summarised or not completion.reasoning):
        return family, "reasoning not shown"
    return family, "tool calls" if completion.tool_calls else "text"


def exchanges(folder: Path, provider: str = "*") -> Iterator[Exchange]:
    """Gives every exchange that was answered."""
    for file in sorted(folder.glob(f"{provider}.jsonl.gz")):
        name = file.name.removesuffix(".jsonl.gz")
        with gzip.open(file, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                if row["status"] >= 300:
                    continue
                try:
                    completion = answered(name, row)
                except ProviderError:
                    continue  # a stream that ended in an error
                yield Exchange(name, asked_model(row), row, completion)


def asked_model(row: dict[str, Any]) -> str:
    """The model that a request names, in its body or in its path."""
    named = row["request"].get("model")
    if named:
        return str(named)
    found = _IN_THE_PATH.search(row["path"].split("?")[0])
    assert found is not None, row["path"]
    return unquote(found[1])


def answered(provider: str, row: dict[str, Any]) -> Completion:
    """The answer of a row."""
    codec = get_codec(provider)
    if "response_base64" in row:
        return stream(codec, base64.b64decode(row["response_base64"]), STREAM_HEADERS)
    if "response" in row:
        return codec.decode(row["status"], {}, json.dumps(row["response"]).encode())
    text = row["response_text"].encode()
    if "event-stream" in (row.get("content_type") or ""):
        return stream(codec, text, {})
    return codec.decode(row["status"], {}, text)


def stream(codec: Any, content: bytes, headers: dict[str, str]) -> Completion:
    """A stream's whole answer."""
    decoder = codec.decoder(headers)
    events = [*decoder.feed(content), *decoder.finish()]
    last = events[-1]
    assert isinstance(last, Completed)
    return last.completion
