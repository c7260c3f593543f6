"""What a call that broke off is reckoned to have used: counted, where the provider did not say.

Nobody can say what such a call is billed, so a budget books what was held for it. This is the
likeliest amount, which stands beside that: the input as `count_request` counts it, and the answer
as far as it came. `docs/tokens.md` has the measured error.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.completion import Completion
from cascadeflow.models.prices import cost_of
from cascadeflow.models.token_families import chat_format_for, family_for
from cascadeflow.models.tokens import count_request, reads_what_was_not_sent, ruler_for
from cascadeflow.models.usage import Usage

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.tokens import Ruler
    from cascadeflow.types import ChatRequest

__all__ = ["estimate_cost", "estimate_usage"]

_AROUND_AN_ANSWER: Final = (
    (re.compile(r"gpt-oss|gpt-5(?![.\d])|(?<![a-z\d])o[1-9](?![a-z\d])"), 10),
    (re.compile(r"gpt-[5-9]"), 4),
    (re.compile(r"claude"), 3),
)
"""Tokens that are billed around an answer, read off recorded ones. OpenAI's models that always
reason end their analysis and name the answer's channel; those that need not only name it."""


def estimate_usage(
    model: ModelConfig, request: ChatRequest, partial: Completion | None
) -> Usage | None:
    """Gives what a call that broke off is reckoned to have used.

    What the provider said stands, as Anthropic says the input at a stream's beginning. Where it
    did not, the input is counted, and so is what came of the answer: its text, the reasoning that
    was shown, and the tool calls. If the provider said some output, the greater of the two numbers
    counts: streams that begin with a count begin with a token or two. Reasoning that was not shown,
    and what the model wrote after the connection broke, cannot be counted and is left out.

    >>> from cascadeflow.models.config import ModelConfig
    >>> from cascadeflow.types import ChatRequest, Message
    >>> hello = ChatRequest("gpt-4o", (Message("user", "hello"),))
    >>> usage = estimate_usage(ModelConfig("gpt-4o", "openai"), hello, Completion(text="Hello, wo"))
    >>> usage.input_tokens, usage.output_tokens
    (8, 3)

    Args:
        model: the model that was asked.
        request: what it was asked.
        partial: the answer as far as it came; `None` when nothing came.

    Returns:
        The usage, or `None` when the input was not said and nobody can count it (files, tools that
        run at the provider, conversations that are kept there), or when the model's `tokenizer`
        file cannot count.
    """
    said = None if partial is None else partial.usage
    if partial is not None and said is not None and partial.usage_complete:
        return said
    said = said or Usage()
    try:
        visible, reasoning = (0, 0) if partial is None else _counted_output(model, partial)
        estimate = _with_output(said, visible, reasoning)
        if _says_input(said):
            return estimate
        if reads_what_was_not_sent(request, model):
            return None
        return replace(estimate, input_tokens=count_request(request, model).tokens)
    except (ConfigurationError, InvalidRequestError):
        return None  # what the call broke off by is to be heard, and not that nobody can count it


def estimate_cost(model: ModelConfig, usage: Usage, *, at: datetime) -> int | None:
    """Gives what a usage would cost, in nanodollars; `None` when the price is not known.

    Args:
        model: the model that was asked.
        usage: as `estimate_usage` gave it.
        at: the moment the request was sent, with a time zone.

    Raises:
        InvalidRequestError: `at` has no time zone, or a count is negative.
    """
    return cost_of(Completion(usage=usage), model, at=at).nanodollars


def _says_input(usage: Usage) -> bool:
    return any(
        count is not None
        for count in (
            usage.input_tokens,
            usage.cache_read_tokens,
            usage.cache_write_5m_tokens,
            usage.cache_write_1h_tokens,
            usage.input_audio_tokens,
            usage.cache_read_audio_tokens,
            usage.input_image_tokens,
            usage.cache_read_image_tokens,
            usage.input_video_tokens,
            usage.cache_read_video_tokens,
        )
    )


def _with_output(said: Usage, visible: int, reasoning: int) -> Usage:
    """Takes the provider's count of text and reasoning, or ours where that is more."""
    if said.reasoning_tokens is not None:
        return replace(
            said,
            output_tokens=max(said.output_tokens or 0, visible),
            reasoning_tokens=max(said.reasoning_tokens, reasoning),
        )
    if said.output_tokens is not None and said.output_tokens >= visible + reasoning:
        return said  # the reasoning is in it
    return replace(said, output_tokens=visible, reasoning_tokens=reasoning or None)


def _counted_output(model: ModelConfig, partial: Completion) -> tuple[int, int]:
    """Tokens of what is visible of an answer, and of its reasoning."""
    ruler = ruler_for(model)
    visible = _tokens(ruler, partial.text) + _tokens(ruler, partial.refusal or "")
    if visible:
        visible += _around_an_answer(model.name)
    calls = partial.tool_calls
    for call in calls:
        visible += _tokens(ruler, call.name) + _tokens(ruler, call.arguments)
    visible += len(calls) * _around_a_call(model, several=len(calls) > 1)
    return round(visible), round(_tokens(ruler, partial.reasoning))


def _tokens(ruler: Ruler, text: str) -> float:
    return ruler.ratio * ruler.count(text) if text else 0.0


@lru_cache(maxsize=256)
def _around_an_answer(name: str) -> int:
    lowered = name.lower()
    return next((tokens for known, tokens in _AROUND_AN_ANSWER if known.search(lowered)), 0)


def _around_a_call(model: ModelConfig, *, several: bool) -> float:
    """What a model writes around a call: the same as is read when the call is sent back to it."""
    provider = "openai" if model.provider == "openai-responses" else model.provider
    chat = chat_format_for(provider, model.name)
    if chat is None:
        return family_for(model.provider, model.name).per_call
    return chat.per_call + (chat.parallel if several else 0)
