"""What a call is likely to cost, before it is made: for deciding, never for holding money.

A budget holds a call's worst case (`models.worst_case`). Whether a draft pays is asked of averages:
the input as it is, measured in microseconds on a sample where it is long, and as many output tokens
as the model's answers to requests of that level had lately.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from cascadeflow.errors import InvalidRequestError, UnknownPriceError
from cascadeflow.models.prices import price_of
from cascadeflow.models.running_means import RunningMeans
from cascadeflow.models.token_families import family_for
from cascadeflow.models.tokens import load_vocabulary
from cascadeflow.models.usage import Usage
from cascadeflow.types import ImagePart, TextPart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.types import JsonObject, Message, ResponseFormat, Tool

__all__ = [
    "NOTE",
    "USUAL_OUTPUT",
    "Asked",
    "ExpectedCall",
    "InputSize",
    "OutputLengths",
    "expect_call",
    "input_size",
]

NOTE: Final = "learned.output_tokens"
"""The name of the note that learned lengths are stored as."""

USUAL_OUTPUT: Final[Mapping[str, int]] = MappingProxyType(
    {"trivial": 80, "simple": 160, "moderate": 250, "hard": 400, "expert": 600}
)
"""Output tokens that an answer is taken to have until something is known of a model, by level.

Stated, not fitted: recorded answers to short mathematics and code questions have 60 to 360 (`python
benches/acceptance_prior.py`), and they leave out everything that is answered at length.
"""

_REASONING: Final = re.compile(
    r"(?<![a-z\d])o[1-9](?![a-z\d])|gpt-5(?!.*chat)|gpt-oss|deepseek-r|reasoner|qwq|magistral"
    r"|gemini-(2\.5|[3-9])|grok-[4-9]|think"
)
_REASONING_OUTPUT: Final = 3
"""Models that reason unless they are told not to are taken to write so many times as much at first;
hidden reasoning is billed as output."""

_PRIOR_WEIGHT: Final = 4.0
"""So many answers weigh as much as what is taken to be usual."""

_MOST_OUTPUT: Final = 200_000.0
_COUNTED_WHOLE: Final = 3_000
"""Characters that are counted as they are; of longer requests as many are sampled."""
_WINDOWS: Final = 8
_IMAGE: Final = 800
"""Tokens of an image, as in `models.tokens`."""


class Asked(Protocol):
    """The parts of a request that its size depends on."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools that are offered."""

    @property
    def max_tokens(self) -> int | None:
        """The most output that is asked for."""

    @property
    def response_format(self) -> ResponseFormat | None:
        """The form of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSize:
    """A request's size, the same for every model; tokens are those of o200k_base.

    Attributes:
        texts: tokens of all texts, tool calls included; an estimate where the texts are long.
        tools: tokens of the tools' definitions.
        schema: tokens of the answer's schema.
        messages: how many.
        calls: how many tool calls.
        images: how many.
        files: whether there are files, whose tokens nobody knows beforehand.
    """

    texts: int
    tools: int
    schema: int
    messages: int
    calls: int
    images: int
    files: bool

    def tokens(self, model: ModelConfig) -> int:
        """About how many input tokens a model is billed, by what is known of its family.

        >>> from cascadeflow.models.config import ModelConfig
        >>> size = InputSize(
        ...     texts=100, tools=0, schema=0, messages=1, calls=0, images=0, files=False
        ... )
        >>> size.tokens(ModelConfig.parse("openai:gpt-5-mini"))
        107
        """
        family = family_for(model.provider, model.name)
        read = self.texts + (self.schema if family.reads_schema else 0)
        if model.system_prompt:
            read += _text_tokens(model.system_prompt)
        tokens = family.ratio * read + family.base + family.per_message * self.messages
        tokens += family.per_call * self.calls + _IMAGE * self.images
        if self.tools:
            tokens += family.tools_base + family.tools_ratio * self.tools
        if self.schema:
            tokens += family.schema_base
        return round(tokens)


def input_size(request: Asked) -> InputSize:
    """Measures a request, in microseconds however long it is (20 a tool where there are tools).

    Args:
        request: a `pipeline.Request` or a `ChatRequest`.
    """
    texts: list[str] = []
    calls = images = 0
    files = False
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            texts.append(content)
        else:
            for part in content:
                if isinstance(part, TextPart):
                    texts.append(part.text)
                elif isinstance(part, ImagePart):
                    images += 1
                else:
                    files = True
        for call in message.tool_calls:
            calls += 1
            texts += (call.name, call.arguments)
    tools = [(tool.name, tool.description, tool.parameters) for tool in request.tools]
    form = request.response_format
    return InputSize(
        texts=_count(texts),
        tools=_count([_json(tools)]) if tools else 0,
        schema=_count([_json(form.schema)]) if form is not None and form.schema else 0,
        messages=len(request.messages),
        calls=calls,
        images=images,
        files=files,
    )


def _count(texts: Sequence[str]) -> int:
    """Tokens of texts: all of them, or as many as windows spread evenly over them promise."""
    total = sum(map(len, texts))
    if not total:
        return 0
    count = load_vocabulary("o200k_base").count
    if total <= _COUNTED_WHOLE:
        return sum(map(count, texts))
    width = _COUNTED_WHOLE // _WINDOWS
    tokens = taken = start = window = 0
    for text in texts:
        end = start + len(text)
        while window < _WINDOWS:
            middle = (2 * window + 1) * total // (2 * _WINDOWS)
            if middle >= end:
                break
            begin = max(0, min(middle - start - width // 2, len(text) - width))
            piece = text[begin : begin + width]
            tokens += count(piece)
            taken += len(piece)
            window += 1
        start = end
    return -(-tokens * total // taken)


@lru_cache(maxsize=64)
def _text_tokens(text: str) -> int:
    return _count([text])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


class OutputLengths:
    """Learns how much models write, by level and model. Any thread may use it; nothing waits.

    >>> from cascadeflow.models.config import ModelConfig
    >>> lengths, model = OutputLengths(), ModelConfig.parse("mistral:mistral-large-latest")
    >>> round(lengths.expect("simple", model))
    160
    >>> for _ in range(100):
    ...     lengths.observe("simple", model.id, 1_000)
    >>> 950 < lengths.expect("simple", model) < 1_000
    True
    """

    def __init__(self, *, half_life: float = 200.0, max_cells: int = 1_024) -> None:
        """Starts with what is usual.

        Args:
            half_life: after so many answers of a model to requests of a level, those before count
                half.
            max_cells: the most pairs of level and model kept; the one not used for longest makes
                room.

        Raises:
            ConfigurationError: a value that cannot be.
        """
        self.learned: Final = RunningMeans(
            NOTE, parts=2, largest=_MOST_OUTPUT, half_life=half_life, max_keys=max_cells
        )

    def observe(self, level: str, model: str, tokens: int) -> None:
        """Learns from one answer.

        Args:
            level: how hard the request was judged to be.
            model: the id of the model that answered, `provider:name`.
            tokens: all output tokens, reasoning included (`Usage.total_output_tokens`).

        Raises:
            InvalidRequestError: there is no such level, or a count is negative.
        """
        if level not in USUAL_OUTPUT:
            raise _no_level(level)
        self.learned.observe(float(tokens), (level, model))

    def expect(self, level: str, model: ModelConfig) -> float:
        """Gives how many output tokens an answer of a model has on average.

        Raises:
            InvalidRequestError: there is no such level.
        """
        usual = USUAL_OUTPUT.get(level)
        if usual is None:
            raise _no_level(level)
        model_id = model.id
        ((weight, total),) = self.learned.read((level, model_id))
        prior = usual * _first_guess(model_id)
        return (_PRIOR_WEIGHT * prior + total) / (_PRIOR_WEIGHT + weight)

    def reset(self, *, model: str | None = None) -> None:
        """Forgets what was learned, of one model or of all; with the next save in the store too."""
        self.learned.forget((None, model))

    def to_dict(self) -> dict[str, Any]:
        """Gives what was learned as JSON, for `from_dict`."""
        return self.learned.to_dict()

    @classmethod
    def from_dict(cls, document: JsonObject, **options: Any) -> Self:
        """Makes one of what another one learned; `options` are the constructor's.

        Raises:
            StoreError: the document is none, or of a newer version.
            ConfigurationError: an option that cannot be.
        """
        lengths = cls(**options)
        lengths.learned.restore(document)
        return lengths


@lru_cache(maxsize=256)
def _first_guess(model_id: str) -> int:
    return _REASONING_OUTPUT if _REASONING.search(model_id.lower()) else 1


def _no_level(level: object) -> InvalidRequestError:
    return InvalidRequestError(f"a level is one of {', '.join(USUAL_OUTPUT)}; not {level!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """What one call of a model is expected to use.

    Attributes:
        model: the model's id.
        input_tokens: `None` where nobody can say.
        output_tokens: on average, reasoning included.
        nanodollars: the cost; `None` when it is not known, which is not zero.
        problem: why it is not known, in words; empty when it is.
    """

    model: str
    input_tokens: int | None
    output_tokens: int
    nanodollars: int | None
    problem: str = ""


def expect_call(
    request: Asked,
    model: ModelConfig,
    *,
    level: str,
    size: InputSize,
    lengths: OutputLengths,
    at: datetime,
    most_output: int | None = None,
) -> ExpectedCall:
    """Says what a call is expected to use and cost, at the price in force.

    The whole input is charged at the price of fresh input: what a provider's cache saves cannot be
    known beforehand. The usual service tier is priced.

    Args:
        request: what is asked; its `max_tokens`, and the model's, bound the output.
        model: of whom.
        level: how hard it was judged to be.
        size: `input_size(request)`, which is the same for every model.
        lengths: how much models write.
        at: the moment, with a time zone.
        most_output: the output is reckoned with no more tokens than these.

    Raises:
        InvalidRequestError: there is no such level, or `at` has no time zone.
    """
    output = lengths.expect(level, model)
    for limit in (request.max_tokens, model.max_tokens, most_output):
        if limit is not None:
            output = min(output, limit)
    output_tokens = round(output)
    if size.files:
        return _unknown(
            model,
            None,
            output_tokens,
            "the request has files, whose tokens nobody knows beforehand",
        )
    input_tokens = size.tokens(model)
    price = price_of(model, at=at)
    if price is None:
        problem = f"the price of {model.id} is not known"
        return _unknown(model, input_tokens, output_tokens, problem)
    try:
        cost = price.cost(Usage(input_tokens=input_tokens, output_tokens=output_tokens))
    except UnknownPriceError as error:
        return _unknown(model, input_tokens, output_tokens, f"{model.id}: {error}")
    return ExpectedCall(
        model=model.id,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        nanodollars=cost,
    )


def _unknown(
    model: ModelConfig, input_tokens: int | None, output_tokens: int, problem: str
) -> ExpectedCall:
    return ExpectedCall(
        model=model.id,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        nanodollars=None,
        problem=problem,
    )
