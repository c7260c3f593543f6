"""What a call is likely to cost: near what is counted and billed, and learned where it is not."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.expected_cost import (
    USUAL_OUTPUT,
    OutputLengths,
    expect_call,
    input_size,
)
from cascadeflow.models.prices import Price
from cascadeflow.models.tokens import count_request
from cascadeflow.types import (
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
)

AT = datetime(2026, 11, 22, tzinfo=UTC)
PRICE = Price(input=1, output=10)
MODEL = ModelConfig("a-model", "openai", price=PRICE)
TRAINING_SET = Path(__file__).parents[2] / "benches" / "domain_training"
MODELS = [
    ModelConfig.parse(each)
    for each in ("openai:gpt-5-mini", "openai:gpt-4o", "anthropic:claude-opus-5", "groq:llama-4")
]


def asked(*texts: str, **settings: Any) -> ChatRequest:
    return ChatRequest("m", tuple(Message("user", text) for text in texts), **settings)


def training_texts() -> list[str]:
    rows = [
        json.loads(line)["text"]
        for file in sorted(TRAINING_SET.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return random.Random(5).sample(rows, 400)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_short_requests_are_measured_nearly_as_they_are_counted(model: ModelConfig) -> None:
    for text in training_texts():
        request = asked(text)
        assert input_size(request).tokens(model) == pytest.approx(
            count_request(request, model).tokens, rel=0.15
        )


@pytest.mark.parametrize("messages", ["one", "many"])
def test_long_requests_of_unlike_texts_are_measured_to_20_percent(messages: str) -> None:
    texts, chance = training_texts(), random.Random(3)
    for count in (20, 60, 200):
        for _ in range(5):
            chosen = chance.sample(texts, count)
            request = asked(*chosen) if messages == "many" else asked("\n".join(chosen))
            assert input_size(request).tokens(MODELS[0]) == pytest.approx(
                count_request(request, MODELS[0]).tokens, rel=0.2
            )


@pytest.mark.parametrize(
    "text",
    ["", "?", "word " * 50_000, "def f(x):\n    return x + 1\n" * 9_000, "汉字和标点。" * 30_000,
     "🙂" * 40_000, "a" * 100_000, "0123456789" * 20_000, "\n" * 30_000],
    ids=["empty", "mark", "prose", "code", "Chinese", "emoji", "letters", "digits", "lines"],
)  # fmt: skip
def test_texts_of_any_kind_and_length_are_measured(text: str) -> None:
    request = asked(text)
    assert input_size(request).tokens(MODELS[0]) == pytest.approx(
        count_request(request, MODELS[0]).tokens, rel=0.2, abs=2
    )


@given(texts=st.lists(st.text(max_size=3_000), max_size=12))
def test_whatever_the_texts_the_size_is_a_number_of_tokens_that_could_be(texts: list[str]) -> None:
    size = input_size(asked(*texts))
    most = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert 0 <= size.texts <= 1.2 * most + 1
    assert (size.texts == 0) == (not any(texts))
    assert size.messages == len(texts)


def test_everything_that_is_read_counts() -> None:
    plain = asked("What is this?")
    part: Any = ({"type": "object", "properties": {"city": {"type": "string"}}},)
    tool = Tool("weather", "Says how the weather is in a city.", part[0])
    richer = [
        asked("What is this?", "And that?"),
        asked("What is this?", tools=(tool,)),
        asked("What is this?", response_format=ResponseFormat("json_schema", part[0])),
        ChatRequest("m", (Message("user", (TextPart("What is this?"), ImagePart(url="x:y"))),)),
        ChatRequest(
            "m", (Message("user", "What is this?", tool_calls=(ToolCall("1", "f", '{"a": 1}'),)),)
        ),
    ]
    for model in (MODELS[0], MODELS[2]):
        base = input_size(plain).tokens(model)
        for request in richer:
            assert input_size(request).tokens(model) > base
    with_prompt = ModelConfig("gpt-5-mini", "openai", system_prompt="Answer like a pirate would.")
    assert input_size(plain).tokens(with_prompt) > input_size(plain).tokens(MODELS[0])


def test_many_tools_are_measured_to_30_percent() -> None:
    tools = tuple(
        Tool(
            f"tool_{n}",
            "Looks something up in the catalogue of parts and gives what it found.",
            {
                "type": "object",
                "properties": {"part": {"type": "string"}, "n": {"type": "integer"}},
            },
        )
        for n in range(40)
    )
    request = asked("Find it.", tools=tools)
    for model in MODELS:
        assert input_size(request).tokens(model) == pytest.approx(
            count_request(request, model).tokens, rel=0.3
        )


# How much models write


def test_until_something_is_known_an_answer_is_as_long_as_usual() -> None:
    lengths = OutputLengths()
    for level, tokens in USUAL_OUTPUT.items():
        assert lengths.expect(level, MODEL) == tokens


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("openai:gpt-5-mini", True),
        ("openai:o3", True),
        ("openai:gpt-5-chat-latest", False),
        ("openai:gpt-4o", False),
        ("deepseek:deepseek-reasoner", True),
        ("deepseek:deepseek-chat", False),
        ("gemini:gemini-2.5-flash", True),
        ("gemini:gemini-2.0-flash", False),
        ("anthropic:claude-opus-5", False),
        ("mistral:mistral-large-latest", False),
    ],
)
def test_models_that_reason_unasked_are_taken_to_write_more_at_first(
    model: str, reasons: bool
) -> None:
    expected = OutputLengths().expect("hard", ModelConfig.parse(model))
    assert (expected > USUAL_OUTPUT["hard"]) == reasons


def test_what_a_model_writes_is_learned_by_level_and_followed() -> None:
    lengths = OutputLengths(half_life=20)
    for _ in range(200):
        lengths.observe("hard", MODEL.id, 2_000)
    assert lengths.expect("hard", MODEL) == pytest.approx(2_000, rel=0.15)
    assert lengths.expect("simple", MODEL) == USUAL_OUTPUT["simple"]
    assert lengths.expect("hard", MODELS[1]) == USUAL_OUTPUT["hard"]
    for _ in range(200):
        lengths.observe("hard", MODEL.id, 100)
    assert lengths.expect("hard", MODEL) == pytest.approx(100, rel=0.6)


def test_lengths_are_stored_restored_and_forgotten() -> None:
    lengths = OutputLengths()
    for _ in range(50):
        lengths.observe("hard", MODEL.id, 1_000)
        lengths.observe("hard", MODELS[1].id, 1_000)
    document = json.loads(json.dumps(lengths.to_dict()))
    again = OutputLengths.from_dict(document, half_life=100)
    assert again.expect("hard", MODEL) == pytest.approx(lengths.expect("hard", MODEL))
    again.reset(model=MODEL.id)
    assert again.expect("hard", MODEL) == USUAL_OUTPUT["hard"]
    assert again.expect("hard", MODELS[1]) > 900
    again.reset()
    assert again.expect("hard", MODELS[1]) == USUAL_OUTPUT["hard"]
    with pytest.raises(StoreError, match=r"delete the note 'learned\.output_tokens'"):
        OutputLengths.from_dict({**document, "what": "learned.acceptance"})


def test_the_longest_answer_there_is_can_be_stored() -> None:
    lengths = OutputLengths()
    for _ in range(30):
        lengths.observe("hard", MODEL.id, 10**9)
    again = OutputLengths.from_dict(json.loads(json.dumps(lengths.to_dict())))
    assert again.expect("hard", MODEL) == pytest.approx(lengths.expect("hard", MODEL))


def test_what_cannot_be_is_refused() -> None:
    lengths = OutputLengths()
    for call in (
        lambda: lengths.observe("impossible", MODEL.id, 1),
        lambda: lengths.expect("impossible", MODEL),
        lambda: lengths.observe("hard", MODEL.id, -1),
    ):
        with pytest.raises(InvalidRequestError):
            call()
    with pytest.raises(ConfigurationError):
        OutputLengths(max_cells=0)


# What it costs


def expected(request: ChatRequest, model: ModelConfig, lengths: OutputLengths | None = None) -> Any:
    return expect_call(
        request,
        model,
        level="simple",
        size=input_size(request),
        lengths=lengths or OutputLengths(),
        at=AT,
    )


def test_the_cost_is_that_of_the_tokens_at_the_price_in_force() -> None:
    call = expected(asked("What is the capital of Peru?"), MODEL)
    assert call.output_tokens == USUAL_OUTPUT["simple"]
    assert call.nanodollars == call.input_tokens * 1_000 + call.output_tokens * 10_000
    assert call.problem == ""


@pytest.mark.parametrize("where", ["request", "model", "both"])
def test_max_tokens_bounds_what_is_expected(where: str) -> None:
    limit = 20 if where != "model" else None
    cap = {"request": None, "model": 20, "both": 90}[where]
    model = ModelConfig("a-model", "openai", price=PRICE, max_tokens=cap)
    assert expected(asked("Why?", max_tokens=limit), model).output_tokens == 20
    assert expected(asked("Why?", max_tokens=9_999), MODEL).output_tokens == USUAL_OUTPUT["simple"]


def test_what_nobody_can_know_is_none_and_said() -> None:
    unknown = expected(asked("Why?"), ModelConfig("no-such-model", "nobody"))
    assert unknown.nanodollars is None
    assert "price of nobody:no-such-model is not known" in unknown.problem
    no_output = ModelConfig("half", "nobody", price=Price(input=1, output=None))
    assert expected(asked("Why?"), no_output).nanodollars is None
    assert expected(asked("Why?"), no_output).problem.startswith("nobody:half: ")
    file = ChatRequest("m", (Message("user", (DocumentPart(file_id="f"),)),))
    call = expected(file, MODEL)
    assert (call.nanodollars, call.input_tokens) == (None, None)
    assert "files" in call.problem


def test_a_local_model_costs_nothing() -> None:
    assert expected(asked("Why?"), ModelConfig("llama3", "ollama")).nanodollars == 0


@given(
    shorter=st.integers(0, 5_000), more=st.integers(0, 5_000), rate=st.integers(0, 100),
    dearer=st.integers(0, 100),
)  # fmt: skip
def test_more_words_and_dearer_ones_never_cost_less(
    shorter: int, more: int, rate: int, dearer: int
) -> None:
    lengths, longer = OutputLengths(), OutputLengths()
    lengths.observe("simple", MODEL.id, shorter)
    longer.observe("simple", MODEL.id, shorter + more)
    cheap = ModelConfig("a-model", "openai", price=Price(input=rate, output=rate))
    dear = ModelConfig("a-model", "openai", price=Price(input=rate + dearer, output=rate + dearer))
    request = asked("Why is the sky blue?")
    base = expected(request, cheap, lengths).nanodollars
    assert base <= expected(request, cheap, longer).nanodollars
    assert base <= expected(request, dear, lengths).nanodollars
