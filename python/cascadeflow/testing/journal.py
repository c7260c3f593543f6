"""What a simulated provider was asked and how it answered, written down as it happens."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from cascadeflow.testing.scrub import scrub_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.testing.behaviour import Ask, Protocol, Reply
    from cascadeflow.testing.http1 import ParsedRequest
    from cascadeflow.testing.server import Outcome

__all__ = ["Entry", "Journal", "SimulatedRequest", "SimulatedStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRequest:
    """One request that the simulated provider answered, and how. Credentials are scrubbed.

    Attributes:
        index: from 0, in the order of arrival.
        protocol: `openai`, `anthropic`, `openai-responses`, `gemini` (Vertex too), `bedrock` or
            `cohere`; `None` on a path of none of them.
        method: the HTTP method.
        path: the path and query.
        headers: names lower-cased.
        body: as it came.
        status: of the response; `None` when the connection ended without one.
        outcome: `complete`; `cancelled`: the client went away first; `broken`: the stream was cut
            off on purpose; `disconnected`: cut off on purpose before any response.
        request_id: as the response's headers name it.
        repeat: how often the same request had come before.
        model: as the request named it; `None` when it was not understood.
        question: the text of the last user message.
        stream: whether a stream was asked for.
        text: the answer's visible text, all of it, also when the client did not get it all.
        finish: why the answer ended, in the simulator's words: `stop`, `length`, `tool_calls`,
            `refusal` or `stop_sequence`; `None` for an error.
        right: whether it is the answer sheet's answer; `None` when that cannot be said.
        prompt_tokens: all input, cached or not.
        cached_tokens: the part of it read from a cache.
        output_tokens: all output, reasoning included.
        reasoning_tokens: the part of it that is hidden.
    """

    index: int
    protocol: Protocol | None
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int | None
    outcome: Outcome
    request_id: str
    repeat: int = 0
    model: str | None = None
    question: str | None = None
    stream: bool = False
    text: str | None = None
    finish: str | None = None
    right: bool | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStats:
    """Counts since the start.

    Attributes:
        requests: requests that came.
        in_progress: those whose response has not ended.
        by_status: ended responses by HTTP status.
        by_outcome: ended responses by `SimulatedRequest.outcome`.
        by_model: ended answers by model, errors left out.
        right: ended answers that are the sheet's.
        wrong: ended answers to questions of the sheet that are not.
        prompt_tokens: of all ended answers.
        output_tokens: of all ended answers, cut-off ones counted whole.
        connections: connections that were accepted.
        open_connections: connections that stand.
        faults: connections ended because their bytes were no request.
    """

    requests: int
    in_progress: int
    by_status: Mapping[int, int]
    by_outcome: Mapping[str, int]
    by_model: Mapping[str, int]
    right: int
    wrong: int
    prompt_tokens: int
    output_tokens: int
    connections: int
    open_connections: int
    faults: int


class Entry:
    """One request in progress; `end` closes it."""

    __slots__ = (
        "_journal",
        "ask",
        "index",
        "outcome",
        "protocol",
        "repeat",
        "reply",
        "request",
        "request_id",
        "status",
    )

    def __init__(self, journal: Journal, request: ParsedRequest, index: int) -> None:
        self._journal = journal
        self.request = request
        self.index = index
        self.protocol: Protocol | None = None
        self.ask: Ask | None = None
        self.reply: Reply | None = None
        self.status: int | None = None
        self.request_id = ""
        self.repeat = 0
        self.outcome: Outcome = "complete"

    def end(self, outcome: Outcome, answered: bool) -> None:  # noqa: FBT001 - a callback
        """Writes down how it ended, and whether any of the response was sent."""
        self.outcome = outcome
        if not answered:
            self.status = None
        self._journal.add(self)


class Journal:
    """The newest requests whole, and counts of all; may be read from another thread."""

    def __init__(self, *, keep: int | None) -> None:
        """Starts empty.

        Args:
            keep: how many requests are kept whole, the newest; `None` keeps all.
        """
        self._lock = Lock()
        self._kept: deque[Entry] = deque(maxlen=keep)
        self._begun = 0
        self._by_status: Counter[int] = Counter()
        self._by_outcome: Counter[str] = Counter()
        self._by_model: Counter[str] = Counter()
        self._right = self._wrong = 0
        self._prompt_tokens = self._output_tokens = 0
        self.faults = 0

    def begin(self, request: ParsedRequest) -> Entry:
        """Takes note of a request that has come; called by the server's thread alone."""
        entry = Entry(self, request, self._begun)
        self._begun += 1
        return entry

    def add(self, entry: Entry) -> None:
        """Writes down a request that has ended."""
        with self._lock:
            self._kept.append(entry)
            self._by_outcome[entry.outcome] += 1
            if entry.status is not None:
                self._by_status[entry.status] += 1
            reply = entry.reply
            if reply is None or entry.ask is None:
                return
            self._by_model[entry.ask.model] += 1
            self._prompt_tokens += reply.prompt_tokens
            self._output_tokens += reply.output_tokens
            if reply.right is not None:
                self._right += reply.right
                self._wrong += not reply.right

    def requests(self) -> tuple[SimulatedRequest, ...]:
        """The kept requests that have ended, in the order of arrival."""
        with self._lock:
            entries = list(self._kept)
        return tuple(map(_request, sorted(entries, key=lambda entry: entry.index)))

    def stats(self, *, connections: int, open_connections: int) -> SimulatedStats:
        """The counts."""
        with self._lock:
            return SimulatedStats(
                requests=self._begun,
                in_progress=self._begun - self._by_outcome.total(),
                by_status=dict(self._by_status),
                by_outcome=dict(self._by_outcome),
                by_model=dict(self._by_model),
                right=self._right,
                wrong=self._wrong,
                prompt_tokens=self._prompt_tokens,
                output_tokens=self._output_tokens,
                connections=connections,
                open_connections=open_connections,
                faults=self.faults,
            )


def _request(entry: Entry) -> SimulatedRequest:
    more: dict[str, Any] = {}
    if (ask := entry.ask) is not None:
        more.update(model=ask.model, question=ask.question, stream=ask.stream)
    if (reply := entry.reply) is not None:
        more.update(
            text=reply.text,
            finish=reply.finish,
            right=reply.right,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens=reply.output_tokens,
            reasoning_tokens=reply.reasoning_tokens,
        )
    request = entry.request
    return SimulatedRequest(
        index=entry.index,
        protocol=entry.protocol,
        method=request.method,
        path=request.target,
        headers=scrub_headers(request.headers),
        body=request.body,
        status=entry.status,
        outcome=entry.outcome,
        request_id=entry.request_id,
        repeat=entry.repeat,
        **more,
    )
