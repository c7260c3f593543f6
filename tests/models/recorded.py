"""The recorded exchanges as this package reads them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cascadeflow.errors import ProviderError
from cascadeflow.models.completion import Completed, Completion
from cascadeflow.providers.codecs import get_codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IN_THE_PATH = re.compile(
    r"/(?:models?|deployments)/(.+?)(?:/converse|/converse-stream|/chat/completions|:\w+Content)$"
)
_EVENTS = {"content-type": "application/vnd.amazon.eventstream"}


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
        return stream(codec, base64.b64decode(row["response_base64"]), _EVENTS)
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
