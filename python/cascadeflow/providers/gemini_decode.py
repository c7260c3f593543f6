"""Reads Gemini's generateContent, whole and streamed, with nothing lost.

What this package has no field for is kept in `Completion.extras` under the provider's own names, at
the same paths; `usageMetadata` stands there whole. Where an answer holds more than plain text and
calls (thoughts, signatures, code that ran, images), its parts stand there too, as they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.models.completion import Completion, UsageUpdate
from cascadeflow.providers.error_mapping import (
    error_from_object,
    header_facts,
    malformed,
    request_id_of,
)
from cascadeflow.providers.gemini_parts import Candidate, merge
from cascadeflow.providers.gemini_usage import count_requests, read_tier, read_usage
from cascadeflow.providers.reading import SseReader
from cascadeflow.providers.shared import read_json
from cascadeflow.providers.sse import STRAY, SseParser
from cascadeflow.types import EMPTY, FinishReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.models.completion import StreamEvent
    from cascadeflow.models.usage import Usage

__all__ = ["GeminiStreamDecoder", "read_response"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "BLOCKLIST": "content_filter",
    "ESCALATION": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "LANGUAGE": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "RECITATION": "content_filter",
    "SAFETY": "content_filter",
    "SPII": "content_filter",
    "IMAGE_OTHER": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "MALFORMED_RESPONSE": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "NO_IMAGE": "error",
    "OTHER": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "UNEXPECTED_TOOL_CALL": "error",
}

_ENDS_WITH_CALLS: Final = frozenset({"STOP", "UNEXPECTED_TOOL_CALL"})
"""Reasons that stand beside calls. One to a function that was not declared can be answered too."""

_TOP: Final = frozenset({"candidates", "modelVersion", "responseId", "usageMetadata"})

_MOST_ERROR_LINES: Final = 200


class _Answer:
    """An answer, as far as it has been read."""

    __slots__ = (
        "_candidates",
        "_events",
        "_joined",
        "_model",
        "_raw_usage",
        "_response_id",
        "_rest",
        "_told",
        "_usage_is_final",
    )

    def __init__(self, events: list[StreamEvent] | None = None, *, joined: bool = False) -> None:
        self._events = events
        self._joined = joined
        self._candidates: dict[int, Candidate] = {0: Candidate(events, joined=joined)}
        self._model: str | None = None
        self._response_id: str | None = None
        self._raw_usage: dict[str, Any] | None = None
        self._told: Usage | None = None
        self._usage_is_final = False
        self._rest: dict[str, Any] = {}

    @property
    def first(self) -> Candidate:
        return self._candidates[0]

    @property
    def raw_finish(self) -> str | None:
        """The reason why it ended; for a prompt that was blocked, the reason why it was."""
        if self.first.finish is None:
            feedback = self._rest.get("promptFeedback")
            blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
            return blocked if isinstance(blocked, str) else None
        return self.first.finish

    def add(self, body: Mapping[str, Any]) -> None:
        """Takes a response, or the next piece of one."""
        response_id, model = body.get("responseId"), body.get("modelVersion")
        if isinstance(response_id, str):
            self._response_id = response_id
        elif response_id is not None:
            self._rest["responseId"] = response_id
        if isinstance(model, str):
            self._model = model
        elif model is not None:
            self._rest["modelVersion"] = model
        candidates = body.get("candidates")
        if candidates is not None:
            for position, raw in enumerate(
                candidates if isinstance(candidates, list) else [candidates]
            ):
                if isinstance(raw, dict):
                    self._add_candidate(raw, position)
                else:
                    merge(self._rest, "candidates", [raw])
        if not body.keys() <= _TOP:
            for name, value in body.items():
                if name not in _TOP and value is not None:
                    merge(self._rest, name, value)
        usage = body.get("usageMetadata")
        if isinstance(usage, dict) and usage:
            self._add_usage(usage)

    def _add_candidate(self, raw: Mapping[str, Any], position: int) -> None:
        index = raw.get("index")
        if self._joined and type(index) is int and 0 <= index < 1000:  # noqa: PLR2004
            position = index
        candidate = self._candidates.get(position)
        if candidate is None:
            candidate = self._candidates[position] = Candidate(joined=self._joined)
        candidate.add(raw, position, self._response_id)

    def _add_usage(self, raw: dict[str, Any]) -> None:
        """Each piece of a stream counts all that was used so far; Vertex's first ones say less."""
        old = self._raw_usage
        self._usage_is_final = self.raw_finish is not None
        if raw != old:
            self._raw_usage = raw if old is None or "totalTokenCount" in raw else {**old, **raw}
            usage = None if self._events is None else self.usage()
            if usage is not None and ("totalTokenCount" in raw or usage != self._told):
                self._tell(usage)

    def tell_last_usage(self) -> None:
        """Gives the usage once more where what it was read from has changed since."""
        usage = self.usage()
        if usage is not None and usage != self._told:
            self._tell(usage)

    def _tell(self, usage: Usage) -> None:
        self._told = usage
        if self._events is not None:
            self._events.append(UsageUpdate(usage))

    def usage(self) -> Usage | None:
        """What was used, searches included: they are found in the candidates."""
        raw = self._raw_usage
        if raw is None:
            return None
        billed = [
            {**candidate.rest, "content": {"parts": candidate.parts}}
            for candidate in self._candidates.values()
            if candidate.used_tools
        ]
        return read_usage(raw, count_requests(billed, self._model) if billed else EMPTY)

    def completion(self, headers: Mapping[str, str], *, whole: bool = True) -> Completion:
        """Makes the completion.

        Args:
            headers: the response's headers, names lower-cased.
            whole: whether nothing can be missing, as in an answer that was no stream.
        """
        first, raw_finish = self.first, self.raw_finish
        text, reasoning = first.texts()
        calls = first.tool_calls()
        finish: FinishReason = "unknown" if whole else "error"
        if first.finish is not None:
            finish = _FINISH.get(first.finish, "unknown")
            if calls and first.finish in _ENDS_WITH_CALLS:
                finish = "tool_calls"
        elif raw_finish is not None:
            finish = "content_filter"
        rest = dict(self._rest)
        kept = first.leftover()
        others: list[Any] = [{} for _ in range(max(self._candidates))]
        for position, candidate in self._candidates.items():
            if position:
                others[position - 1] = candidate.as_raw(position)
        others += rest.get("candidates", ())
        if kept or others:
            rest["candidates"] = [kept, *others]
        tier = None
        if self._raw_usage is not None:
            rest["usageMetadata"] = self._raw_usage
            tier = read_tier(self._raw_usage)
        return Completion(
            text=text,
            tool_calls=calls,
            finish_reason=finish,
            raw_finish_reason=raw_finish,
            usage=self.usage(),
            usage_complete=whole or (raw_finish is not None and self._usage_is_final),
            model=self._model,
            response_id=self._response_id,
            request_id=request_id_of(headers),
            reasoning=reasoning,
            logprobs=first.logprobs(),
            service_tier=tier,
            headers=header_facts(headers) or EMPTY,
            extras=rest or EMPTY,
        )


def read_response(provider: str, headers: Mapping[str, str], body: bytes) -> Completion:
    """Reads a whole response whose status says that it is an answer.

    A stream that was not asked for as events comes as a JSON list of its pieces, and is read too.

    Raises:
        ProviderError: the body is an error all the same, or no answer at all.
    """
    try:
        parsed = read_json(body)
        pieces = parsed if isinstance(parsed, list) else [parsed]
        if not pieces or not all(isinstance(piece, dict) for piece in pieces):
            raise malformed(provider, "it is not a JSON object")
        answer = _Answer(joined=isinstance(parsed, list))
        failed = next((piece for piece in pieces if piece.get("error")), None)
        for piece in pieces:
            if piece is failed:
                break
            answer.add(piece)
        if failed is None:
            if not any(map(_is_answer, pieces)):
                raise malformed(provider, "it has no candidates")
            return answer.completion(headers)
        # It began to answer, and may bill what it did.
        error = error_from_object(provider, failed, headers=headers, billed=None)
        if any(map(_is_answer, pieces)):
            error.partial = answer.completion(headers, whole=False)
    except ValueError:
        raise malformed(provider, "it is not JSON", body=body) from None
    except RecursionError:
        raise malformed(provider, "it is nested too deeply") from None
    raise error


def _is_answer(piece: Mapping[str, Any]) -> bool:
    """Whether a piece says anything of an answer: a blocked prompt has no candidates."""
    return (
        isinstance(piece.get("candidates"), list)
        or isinstance(piece.get("promptFeedback"), dict)
        or isinstance(piece.get("usageMetadata"), dict)
    )


class GeminiStreamDecoder(SseReader):
    """Reads one stream of generateContent's pieces."""

    __slots__ = ("_answer", "_known", "_stray")

    def __init__(self, provider: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(provider, headers, SseParser(stray=True))
        self._stray: list[bytes] = []
        self._answer = _Answer(self._events, joined=True)
        self._known = False

    def _end(self) -> None:
        super()._end()
        if self._stray:
            self._piece(b"\n".join(self._stray), at_end=True)
            self._raise_failure()
        self._answer.first.close()
        self._answer.tell_last_usage()

    def partial(self) -> Completion | None:
        """Gives the answer as far as it has been read, `None` when nothing of it is known."""
        return self._completion() if self._known else None

    def _completion(self) -> Completion:
        return self._answer.completion(self._headers, whole=False)

    def _read(self, name: str, data: bytes, *, at_end: bool = False) -> None:
        if name != STRAY:
            if data != b"[DONE]":  # gateways end their streams with it; Google does not
                self._piece(data, at_end=at_end)
            return
        # Google writes an error in the middle of a stream as bare JSON, over several lines.
        self._stray.append(data)
        ends = data[:1] not in b" \t" and data.rstrip()[-1:] == b"}"
        if (
            ends
            and self._stray[0][:1] == b"{"
            and len(self._stray) <= _MOST_ERROR_LINES
            and self._piece(b"\n".join(self._stray), at_end=True)
        ):
            self._stray.clear()

    def _piece(self, data: bytes, *, at_end: bool) -> bool:
        """Reads a piece; what is cut off at the end is none. Says whether it was one."""
        try:
            parsed = read_json(data)
            for piece in parsed if isinstance(parsed, list) else [parsed]:
                self._add(piece)
                if self.failure is not None:
                    break
        except (ValueError, RecursionError):
            if not at_end and data.strip():  # what is blank is a sign of life
                self._fail(malformed(self._provider, "a stream's event is not JSON", body=data))
            return False
        return True

    def _add(self, piece: Any) -> None:
        if not isinstance(piece, dict):
            self._fail(malformed(self._provider, "a stream's event is not a JSON object"))
        elif piece.get("error"):
            self._fail(error_from_object(self._provider, piece, headers=self._headers, billed=None))
        else:
            self._known = self._known or bool(piece)
            self._answer.add(piece)
