"""What a call that broke off is reckoned to have used."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import InvalidRequestError
from cascadeflow.models.completion import Completion
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.estimate import estimate_cost, estimate_usage
from cascadeflow.models.prices import Price
from cascadeflow.models.tokens import count_request, count_text
from cascadeflow.models.usage import Usage
from cascadeflow.types import ChatRequest, DocumentPart, ImagePart, Message, TextPart, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GPT = ModelConfig("gpt-4o", "openai")
CLAUDE = ModelConfig("claude-sonnet-4-5", "anthropic")
HELLO = ChatRequest("m", (Message("user", "What is the capital of Norway?"),))


def broken(**said: Any) -> Completion:
    return Completion(usage_complete=False, **said)


def test_the_input_is_counted_and_so_is_what_came_of_the_answer() -> None:
    usage = estimate_usage(GPT, HELLO, broken(text="The capital is"))
    assert usage == Usage(input_tokens=count_request(HELLO, GPT).tokens, output_tokens=3)


def test_of_a_call_from_which_nothing_came_only_the_input_is_counted() -> None:
    expected = Usage(input_tokens=count_request(HELLO, GPT).tokens, output_tokens=0)
    assert estimate_usage(GPT, HELLO, None) == estimate_usage(GPT, HELLO, broken()) == expected


def test_the_provider_s_final_word_stands_as_it_is() -> None:
    said = Usage(input_tokens=3, output_tokens=1)
    assert estimate_usage(GPT, HELLO, Completion(text="word " * 99, usage=said)) is said


def test_input_that_the_provider_said_at_the_beginning_stands() -> None:
    """Anthropic's `message_start` says the input, and one or two tokens of output."""
    said = Usage(input_tokens=412, cache_read_tokens=9_000, output_tokens=2)
    text = "Oslo is the capital of Norway, and " * 20
    usage = estimate_usage(CLAUDE, HELLO, broken(text=text, usage=said))
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read_tokens) == (412, 9_000)
    assert usage.output_tokens == count_text(text, model=CLAUDE).tokens + 3


def test_cached_input_alone_is_a_word_on_the_input_too() -> None:
    said = Usage(cache_read_image_tokens=7, output_tokens=1)
    assert estimate_usage(GPT, HELLO, broken(text="a", usage=said)) == said


def test_output_that_the_provider_counted_as_it_went_stands_where_it_is_more() -> None:
    """It knows of reasoning that is not shown."""
    for said in (
        Usage(input_tokens=5, output_tokens=900),
        Usage(input_tokens=5, output_tokens=3, reasoning_tokens=900),
    ):
        assert estimate_usage(GPT, HELLO, broken(text="Oslo", usage=said)) == said


def test_reasoning_that_was_stated_but_not_shown_stands_beside_the_counted_text() -> None:
    said = Usage(input_tokens=5, output_tokens=1, reasoning_tokens=64)
    usage = estimate_usage(GPT, HELLO, broken(text="one two three four", usage=said))
    assert usage == Usage(input_tokens=5, output_tokens=4, reasoning_tokens=64)


def test_shown_reasoning_refusals_and_tool_calls_are_counted() -> None:
    usage = estimate_usage(
        GPT,
        HELLO,
        broken(
            reasoning="one two three",
            refusal="I will not",
            tool_calls=(ToolCall("c1", "search", '{"q": 1}'),),
        ),
    )
    assert usage is not None
    assert usage.reasoning_tokens == 3
    call = count_text("search", model=GPT).tokens + count_text('{"q": 1}', model=GPT).tokens
    assert usage.output_tokens == 3 + call + 7  # OpenAI's format writes seven tokens around a call


def test_reasoning_models_of_openai_write_more_around_an_answer() -> None:
    for name, provider in (("gpt-5-mini", "openai"), ("openai/gpt-oss-120b", "groq")):
        usage = estimate_usage(ModelConfig(name, provider), HELLO, broken(text="Oslo"))
        assert usage is not None
        assert usage.output_tokens == 12


def test_input_that_nobody_can_count_has_no_estimate_unless_the_provider_said_it() -> None:
    document = TextPart("Read"), DocumentPart(url="https://x/y.pdf")
    for request in (
        ChatRequest("m", (Message("user", document),)),
        ChatRequest("m", HELLO.messages, extra={"tools": [{"type": "web_search"}]}),
        ChatRequest("m", HELLO.messages, extra={"previous_response_id": "r1"}),
    ):
        assert estimate_usage(GPT, request, broken(text="Oslo")) is None
        said = Usage(input_tokens=1_000)
        usage = estimate_usage(GPT, request, broken(text="Oslo", usage=said))
        assert usage == Usage(input_tokens=1_000, output_tokens=2)
    seen = ChatRequest("m", (Message("user", (TextPart("Look"), ImagePart(url="https://x/y"))),))
    assert estimate_usage(ModelConfig("m", "acme"), seen, None) is not None


def test_a_tokenizer_that_is_not_there_gives_no_estimate_and_hides_no_error(
    tmp_path: Path,
) -> None:
    model = ModelConfig("m", "vllm", tokenizer=str(tmp_path / "missing.json"))
    assert estimate_usage(model, HELLO, broken(text="Oslo")) is None


COUNT = st.none() | st.integers(0, 50)
SAID = st.builds(Usage, **{each.name: COUNT for each in fields(Usage) if each.name != "requests"})


@given(
    st.none() | SAID,
    st.text(max_size=40),
    st.text(max_size=40),
    st.sampled_from([GPT, CLAUDE, ModelConfig("gpt-5", "openai"), ModelConfig("m", "acme")]),
)
def test_nothing_that_was_said_is_lost_and_both_sides_are_known(
    said: Usage | None, text: str, reasoning: str, model: ModelConfig
) -> None:
    usage = estimate_usage(model, HELLO, broken(text=text, reasoning=reasoning, usage=said))
    assert usage is not None
    assert usage.output_tokens is not None
    dear = ModelConfig("m", "acme", price=Price(input=1, output=2))
    cost = estimate_cost(dear, usage, at=NOW)
    assert cost == 1_000 * usage.total_input_tokens + 2_000 * usage.total_output_tokens
    if said is None:
        return
    assert usage.total_output_tokens >= said.total_output_tokens
    if said.total_input_tokens:
        assert usage.total_input_tokens == said.total_input_tokens


@given(st.text(max_size=60), st.integers(0, 60))
def test_more_of_an_answer_is_never_reckoned_at_fewer_words(text: str, cut: int) -> None:
    """A beginning may have a few tokens more: those of the word that the cut went through."""
    part = estimate_usage(GPT, HELLO, broken(text=text[:cut]))
    whole = estimate_usage(GPT, HELLO, broken(text=text))
    assert part is not None
    assert whole is not None
    assert part.total_output_tokens <= whole.total_output_tokens + 8


def test_an_estimate_has_a_cost_where_the_price_is_known() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=500)
    stated = ModelConfig("m", "acme", price=Price(input=0.25, output=2))
    assert estimate_cost(stated, usage, at=NOW) == 1_250_000
    assert estimate_cost(ModelConfig("m", "acme"), usage, at=NOW) is None
    with pytest.raises(InvalidRequestError, match="time zone"):
        estimate_cost(GPT, usage, at=datetime(2026, 11, 22))  # noqa: DTZ001 - what is refused
