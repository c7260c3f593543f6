"""What a simulated model does with a request: decided by the seed and the request, nothing else."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from cascadeflow.testing.json_answers import json_answer
from cascadeflow.testing.model import CHARACTERS_PER_TOKEN, LogNormalLatency, rough_tokens
from cascadeflow.testing.wrong_answers import perturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cascadeflow.testing.model import AnswerSheet, SimulatedModel

__all__ = [
    "Ask",
    "AskedTool",
    "Behaviour",
    "Draws",
    "Failure",
    "Protocol",
    "Reply",
    "SimulatedCall",
    "UnreadableError",
    "pieces",
]

Protocol = Literal["openai", "anthropic", "openai-responses", "gemini", "bedrock", "cohere"]
Finish = Literal["stop", "length", "tool_calls", "refusal", "stop_sequence"]

REFUSAL: Final = "I'm sorry, but I can't help with that."
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_REQUEST = 3
_TOKENS_PER_IMAGE = 85


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool that a request offers."""

    name: str
    parameters: Mapping[str, Any]


class Ask(NamedTuple):
    """A request, free of its protocol. A tuple, for one is made with each request.

    Attributes:
        protocol: the one it came in.
        model: as the request names it.
        question: the text of the last user message.
        texts: everything that counts as text input, tools' definitions included.
        messages: how many messages.
        images: how many images and documents.
        max_tokens: the largest output, or `None`.
        stop: sequences that end the answer.
        stream: whether the answer shall come in pieces.
        include_usage: whether a stream shall end with its usage.
        temperature: as the request states it.
        sampling_seed: likewise.
        tools: what may be called.
        tool_choice: `auto`, `none`, `required`, or the tool's name.
        after_tool_result: whether the last message is a tool's result.
        wants_json: whether the answer shall be a JSON object.
        schema: the schema it shall fit.
    """

    protocol: Protocol
    model: str
    question: str
    texts: tuple[str, ...]
    messages: int
    images: int = 0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    temperature: float | None = None
    sampling_seed: int | None = None
    tools: tuple[AskedTool, ...] = ()
    tool_choice: str = "auto"
    after_tool_result: bool = False
    wants_json: bool = False
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """A tool call in an answer; `arguments` is JSON, cut when the token limit cut it."""

    id: str
    name: str
    arguments: str


class Reply(NamedTuple):
    """An answer, free of its protocol. A tuple, for one is made with each request.

    Attributes:
        text: the visible text.
        call: the tool call, in place of a text.
        finish: why it ended.
        stop_sequence: which stop sequence ended it.
        prompt_tokens: all input.
        cached_tokens: the part of it read from a cache.
        output_tokens: all output, reasoning included.
        reasoning_tokens: the part of it that is hidden.
        right: whether the answer is the sheet's; `None` when the question is on no sheet, or was
            refused or answered by a tool call.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    call: SimulatedCall | None = None
    finish: Finish = "stop"
    stop_sequence: str | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    right: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error response, free of its protocol.

    Attributes:
        status: the HTTP status.
        message: for a human.
        code: OpenAI's `code`, such as `model_not_found`.
        retry_after: seconds, when the client shall wait.
    """

    status: int
    message: str
    code: str | None = None
    retry_after: float | None = None


class UnreadableError(ValueError):
    """A body that is no request of its protocol; the message says why, for the client."""


class Draws:
    """Random numbers that a seed and a text decide, whatever was drawn before.

    >>> Draws(7, "openai", b"{}").share(0) == Draws(7, "openai", b"{}").share(0)
    True
    """

    __slots__ = ("_digest",)

    def __init__(self, seed: int, kind: str, content: bytes, *, repeat: int = 0) -> None:
        self._digest = sha256(b"%d %b %d " % (seed, kind.encode(), repeat) + content).digest()

    def number(self, index: int) -> int:
        """The draw at `index` 0 to 3, at least 0 and under 2⁶⁴."""
        return int.from_bytes(self._digest[index * 8 : index * 8 + 8], "big")

    def share(self, index: int) -> float:
        """The draw at `index` 0 to 3, at least 0 and under 1."""
        # 53 bits are what a float holds exactly: rounding can never make it 1.
        return (self.number(index) >> 11) / 9007199254740992.0

    def identifier(self, index: int) -> str:
        """One of two identifiers, 24 hexadecimal digits."""
        return self._digest[index * 16 : index * 16 + 12].hex()


class Behaviour:
    """One simulated model's decisions."""

    __slots__ = ("_asks_a_function", "_others", "_seed", "_sheet", "_wrong", "model")

    def __init__(self, model: SimulatedModel, *, seed: int) -> None:
        self.model = model
        self._seed = seed
        self._asks_a_function = callable(model.answers) or callable(model.wrong_answers)
        self._sheet = _lookup(model.answers)
        self._wrong = _lookup(model.wrong_answers)
        sheet = model.answers
        self._others = () if sheet is None or callable(sheet) else tuple(sheet.values())

    def fails(self, draws: Draws) -> bool:
        """Whether this request fails with the model's error status."""
        rate = self.model.error_rate
        return rate > 0 and draws.share(0) < rate

    def breaks(self, draws: Draws) -> bool:
        """Whether this request's stream is cut off half-way."""
        rate = self.model.break_stream_rate
        return rate > 0 and draws.share(1) < rate

    def seconds_to_first_token(self, draws: Draws) -> float:
        """How long this request's first token takes."""
        latency = self.model.latency
        if isinstance(latency, LogNormalLatency):
            return latency.at(min(max(draws.share(2), 1e-12), 1 - 1e-12))
        return latency

    def always_answers_alike(self, ask: Ask) -> bool:
        """Whether `reply` gives the same whenever it is asked this.

        Not where a sampling temperature makes repeats differ, nor where a user's own function is
        asked: what that gives, and that it is asked each time, is the user's affair.
        """
        return not ask.temperature and not self._asks_a_function

    def reply(self, ask: Ask, *, repeat: int) -> Reply | Failure:
        """Answers a request.

        Args:
            ask: the request.
            repeat: how often the same request came before; it only matters when the request states
                a temperature above 0 and no seed of its own.
        """
        prompt_tokens = self.prompt_tokens(ask)
        window = self.model.context_window
        if window is not None and prompt_tokens > window:
            return Failure(
                status=400,
                message=f"prompt is too long: {prompt_tokens} tokens > {window} maximum",
                code="context_length_exceeded",
            )
        sample = ""
        if ask.temperature:
            sample = f"#{repeat}" if ask.sampling_seed is None else f"={ask.sampling_seed}"
        content = f"{self.model.name}\0{sample}\0{ask.question}"
        draws = Draws(self._seed, "answer", content.encode("utf-8", "replace"))
        if ask.tools and (tool := self._tool_to_call(ask)) is not None:
            return self._call(ask, tool, draws, prompt_tokens)
        text, right, refused = self._text(ask, draws)
        return self._cut(ask, text, prompt_tokens, right=right, refused=refused)

    def prompt_tokens(self, ask: Ask) -> int:
        """Counts a request's input: its texts, 4 a message, 3 a request, 85 an image."""
        count = self.model.count_tokens or rough_tokens
        return (
            sum(map(count, ask.texts))
            + _TOKENS_PER_MESSAGE * ask.messages
            + _TOKENS_PER_REQUEST
            + _TOKENS_PER_IMAGE * ask.images
        )

    def _text(self, ask: Ask, draws: Draws) -> tuple[str, bool | None, bool]:
        model = self.model
        if model.refusal_rate and draws.share(0) < model.refusal_rate:
            return REFUSAL, None, True
        text = self._sheet(ask.question)
        right: bool | None = None
        if text is None:
            text = _filler(model.output_tokens, draws.number(3))
        else:
            right = model.skill >= 1 or draws.share(1) < model.skill
            if not right:
                text = self._wrong(ask.question) or perturbed(text, draws.number(2), self._others)
        if ask.wants_json:
            text = json_answer(text, ask.schema)
        return text, right, False

    def _tool_to_call(self, ask: Ask) -> AskedTool | None:
        if ask.tool_choice == "none":
            return None
        if ask.tool_choice in {"auto", "required"}:
            if ask.tool_choice == "auto" and (ask.after_tool_result or not self.model.calls_tools):
                return None
            asked = _words_of(ask.question)
            return max(ask.tools, key=lambda tool: len(asked & _words_of(tool.name)))
        return next((tool for tool in ask.tools if tool.name == ask.tool_choice), ask.tools[0])

    def _call(self, ask: Ask, tool: AskedTool, draws: Draws, prompt_tokens: int) -> Reply:
        answer = self._sheet(ask.question) or ask.question
        arguments = json_answer(answer, tool.parameters) if tool.parameters else "{}"
        cut = self._cut(ask, arguments, prompt_tokens, right=None, refused=False)
        return cut._replace(
            text="",
            call=SimulatedCall(draws.identifier(0), tool.name, cut.text),
            finish="length" if cut.finish == "length" else "tool_calls",
            stop_sequence=None,
        )

    def _cut(
        self, ask: Ask, text: str, prompt_tokens: int, *, right: bool | None, refused: bool
    ) -> Reply:
        """Ends an answer at a stop sequence or at the request's limit, and counts it."""
        model = self.model
        finish: Finish = "refusal" if refused else "stop"
        stop_sequence = None
        if ask.stop and (
            found := [(at, stop) for stop in ask.stop if stop and (at := text.find(stop)) >= 0]
        ):
            at, stop_sequence = min(found)
            text, finish, right = text[:at], "stop_sequence", right and False
        count = model.count_tokens or rough_tokens
        tokens, reasoning = count(text), model.reasoning_tokens
        limit = ask.max_tokens
        if limit is not None and reasoning + tokens > limit:
            reasoning = min(reasoning, limit)
            text = _prefix(text, limit - reasoning, model.count_tokens)
            tokens, finish, stop_sequence, right = count(text), "length", None, right and False
        return Reply(
            text=text,
            finish=finish,
            stop_sequence=stop_sequence,
            prompt_tokens=prompt_tokens,
            cached_tokens=int(prompt_tokens * model.cached_share),
            output_tokens=reasoning + tokens,
            reasoning_tokens=reasoning,
            right=right,
        )


def pieces(text: str, tokens: int) -> list[str]:
    """Cuts a text into pieces of so many of the simulator's own tokens.

    >>> pieces("Paris, of course", 2)
    ['Paris, o', 'f course']
    """
    size = tokens * CHARACTERS_PER_TOKEN
    return [text[start : start + size] for start in range(0, len(text), size)]


def _lookup(sheet: AnswerSheet | None) -> Callable[[str], str | None]:
    if sheet is None:
        return _knows_nothing
    if callable(sheet):
        return sheet
    exact = dict(sheet)
    loose = {_plain(question): answer for question, answer in exact.items()}

    def look_up(question: str) -> str | None:
        answer = exact.get(question)
        return loose.get(_plain(question)) if answer is None else answer

    return look_up


def _knows_nothing(_question: str) -> str | None:
    return None


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _words_of(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).casefold()))


def _prefix(text: str, tokens: int, count: Callable[[str], int] | None) -> str:
    if count is None:
        return text[: tokens * CHARACTERS_PER_TOKEN]
    return text[: bisect_right(range(len(text) + 1), tokens, key=lambda n: count(text[:n])) - 1]


def _filler(tokens: int, choice: int) -> str:
    """Prose of exactly so many tokens by the simulator's own rule, ending with a full stop."""
    prose, starts = _prose()
    length = tokens * CHARACTERS_PER_TOKEN - 1
    start = starts[choice % len(starts)]
    text = prose[start : start + length]
    while len(text) < length:
        text += prose[: length - len(text)]
    return (text[:-1] + "s" if text[-1] in " ." else text) + "."


@lru_cache(maxsize=1)
def _prose() -> tuple[str, tuple[int, ...]]:
    """A few thousand made-up sentences, and where each starts."""
    choose = Random(20260101)
    starts, sentences, at = [], [], 0
    for _ in range(2000):
        words = choose.choices(_WORDS, k=choose.randint(6, 12))
        sentence = " ".join(words).capitalize() + ". "
        starts.append(at)
        sentences.append(sentence)
        at += len(sentence)
    return "".join(sentences), tuple(starts)


_WORDS: Final = (
    "the", "a", "every", "some", "river", "mountain", "garden", "window", "letter", "engine",
    "harbour", "bridge", "market", "number", "teacher", "sailor", "painter", "engineer",
    "doctor", "farmer", "child", "crowd", "council", "committee", "carries", "opens", "follows",
    "measures", "paints", "repairs", "crosses", "answers", "describes", "counts", "builds",
    "finds", "keeps", "moves", "quiet", "heavy", "narrow", "bright", "early", "distant",
    "careful", "simple", "ordinary", "remarkable", "often", "slowly", "nearly", "always",
    "seldom", "under", "across", "beyond", "before", "after", "near", "behind", "with",
    "without", "for", "because", "while", "until", "and", "but", "then", "seven", "twelve",
    "evening", "morning", "winter", "summer", "light", "water", "stone",
)  # fmt: skip
