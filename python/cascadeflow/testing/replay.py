"""Recorded exchanges as a file, and a transport that answers from them.

A row is a JSON object: `method, url` (or `host` and `path`), `request_headers, request, status,
content_type, headers, response`. A body that is JSON in its compact form stands as JSON under
`request` or `response`; other text under `request_text` or `response_text`; the rest under
`request_base64` or `response_base64`: what is read back is, byte for byte, what was written.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.testing.recording import CannedReply, CannedResponse, Exchange
from cascadeflow.testing.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from os import PathLike
    from typing import Self

    from cascadeflow.providers.protocols import HttpRequest, HttpResponse

__all__ = ["ReplayTransport", "load_exchanges", "save_exchanges"]

_Key: TypeAlias = tuple[str, str, bytes]


class ReplayTransport:
    """A `Transport` that answers each request with what was recorded for it, and sends nothing.

    A request is known by its method, its URL and its body; two JSON bodies are the same when they
    say the same, whatever the order of their keys. Credentials play no part. The same request sent
    several times gets the recorded answers one after the other.
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange],
        *,
        repeat: bool = False,
        secret_names: Collection[str] = (),
    ) -> None:
        """Takes the recorded exchanges.

        Args:
            exchanges: as `RecordingTransport.exchanges` gives them.
            repeat: once a request's recorded answers are used up, give the last one again; without
                it, one request too many is an error.
            secret_names: the further headers and URL parameters that hold credentials, as they were
                told to the `RecordingTransport`.
        """
        self._repeat = repeat
        self._secret_names = frozenset(secret_names)
        self._recorded: defaultdict[_Key, list[Exchange]] = defaultdict(list)
        self._used: defaultdict[_Key, int] = defaultdict(int)
        for exchange in exchanges:
            self._recorded[_key(exchange.method, exchange.url, exchange.body)].append(exchange)

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, repeat: bool = False, secret_names: Collection[str] = ()
    ) -> Self:
        """Reads what `RecordingTransport.save` wrote.

        Raises:
            StoreError: the file cannot be read, or a row of it is not a recorded exchange.
        """
        return cls(load_exchanges(path), repeat=repeat, secret_names=secret_names)

    @property
    def unused(self) -> int:
        """How many recorded exchanges no request has asked for yet."""
        return sum(
            max(0, len(answers) - self._used[key]) for key, answers in self._recorded.items()
        )

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Gives the recorded response.

        Raises:
            ConfigurationError: nothing is recorded for this request, or no more of it.
            TimeoutError: that is what was recorded.
            ConnectionError: likewise, and for any other failure.
        """
        scrubber = Scrubber(request.headers, request.url, more_names=self._secret_names)
        url = scrubber.url(request.url)
        key = _key(request.method, url, scrubber.data(request.body))
        answers = self._recorded.get(key, [])
        used = self._used[key]
        if used >= len(answers) and not (answers and self._repeat):
            how_many = f"only {len(answers)} recorded" if answers else "nothing recorded"
            raise ConfigurationError(
                f"{how_many} for {request.method} {url} with this body: record it again,"
                " or send what was recorded"
            )
        self._used[key] = used + 1
        return _replayed(answers[min(used, len(answers) - 1)])


def save_exchanges(exchanges: Iterable[Exchange], path: str | PathLike[str]) -> None:
    """Writes exchanges as JSON lines, gzipped when the name ends in `.gz`.

    Raises:
        StoreError: the file cannot be written.
    """
    lines = "".join(
        json.dumps(_row(exchange), ensure_ascii=False, separators=(",", ":")) + "\n"
        for exchange in exchanges
    ).encode()
    target = Path(path)
    try:
        target.write_bytes(gzip.compress(lines, mtime=0) if target.suffix == ".gz" else lines)
    except OSError as error:
        raise StoreError(f"cannot write the recording {target}: {error}") from error


def load_exchanges(path: str | PathLike[str]) -> tuple[Exchange, ...]:
    """Reads exchanges from JSON lines.

    Raises:
        StoreError: the file cannot be read, or a row of it is not a recorded exchange.
    """
    source = Path(path)
    try:
        data = source.read_bytes()
        if source.suffix == ".gz":
            data = gzip.decompress(data)
        lines = data.decode().split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"cannot read the recording {source}: {error}") from error
    exchanges: list[Exchange] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            exchanges.append(_exchange(json.loads(line), index=len(exchanges)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"line {number} of {source} is not a recorded exchange: {error!r}"
            ) from error
    return tuple(exchanges)


def _row(exchange: Exchange) -> dict[str, Any]:
    parts = urlsplit(exchange.url)
    return {
        "id": str(exchange.index),
        "host": parts.netloc,
        "path": parts.path,
        "method": exchange.method,
        "url": exchange.url,
        "status": exchange.status,
        "content_type": exchange.response_headers.get("content-type", ""),
        "headers": dict(exchange.response_headers),
        "request_headers": dict(exchange.headers),
        **_written("request", exchange.body),
        **_written("response", exchange.response_body),
        "chunk_sizes": [len(chunk) for chunk in exchange.chunks],
        "outcome": exchange.outcome,
        "error": exchange.error,
        "times": [exchange.started, exchange.responded, exchange.ended],
    }


def _exchange(row: dict[str, Any], *, index: int) -> Exchange:
    headers = {name.lower(): str(value) for name, value in row["headers"].items()}
    if row.get("content_type"):
        headers.setdefault("content-type", row["content_type"])
    body = _read("response", row)
    error = row.get("error")
    started, responded, ended = row.get("times", (0.0, None, 0.0))
    return Exchange(
        index=index,
        method=row.get("method", "POST"),
        url=row.get("url") or f"https://{row['host']}{row['path']}",
        headers=row.get("request_headers", {}),
        body=_read("request", row),
        status=row["status"],
        response_headers=headers,
        chunks=_cut(body, row.get("chunk_sizes", [len(body)] if body else [])),
        outcome=row.get("outcome", "complete"),
        error=None if error is None else (str(error[0]), str(error[1])),
        started=started,
        responded=responded,
        ended=ended,
    )


def _written(name: str, body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(body).decode()}
    with suppress(ValueError, RecursionError):  # not JSON: then it is text
        content = json.loads(text)
        if _compact(content) == body:
            return {name: content}
    return {f"{name}_text": text}


def _read(name: str, row: dict[str, Any]) -> bytes:
    if name in row:
        return _compact(row[name])
    if f"{name}_text" in row:
        return str(row[f"{name}_text"]).encode()
    return base64.b64decode(row[f"{name}_base64"])


def _compact(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _cut(body: bytes, sizes: Sequence[int]) -> tuple[bytes, ...]:
    if sum(sizes) != len(body):
        message = f"chunk_sizes add up to {sum(sizes)}, the body has {len(body)} bytes"
        raise ValueError(message)
    chunks, start = [], 0
    for size in sizes:
        chunks.append(body[start : start + size])
        start += size
    return tuple(chunks)


def _key(method: str, url: str, body: bytes) -> _Key:
    with suppress(ValueError, RecursionError):  # not JSON: the bytes themselves count
        body = json.dumps(json.loads(body), sort_keys=True).encode()
    return method.upper(), url, body


def _replayed(exchange: Exchange) -> HttpResponse:
    breaks_with: Exception | None = None
    if exchange.error is not None:
        name, words = exchange.error
        breaks_with = (
            TimeoutError(words) if name.endswith("TimeoutError") else ConnectionError(words)
        )
    elif exchange.outcome == "closed_early":
        breaks_with = ConfigurationError(
            f"the recording of {exchange.method} {exchange.url} ends here, because its reader"
            " closed the response: record it again, and read it to its end"
        )
    if exchange.status is None:
        raise breaks_with or ConnectionError("no response was recorded")
    return CannedReply(
        CannedResponse(
            status=exchange.status,
            headers=exchange.response_headers,
            chunks=exchange.chunks,
            breaks_with=breaks_with,
        )
    )
