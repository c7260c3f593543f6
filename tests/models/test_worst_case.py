"""No call costs more than its worst case, by any price that may hold for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.errors import InvalidRequestError, UnboundedCostError, UnknownPriceError
from cascadeflow.models.catalogue import rows_that_may_serve, table
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import RATES, Price, PriceTier, price_of, set_price
from cascadeflow.models.tokens import count_request
from cascadeflow.models.usage import Usage
from cascadeflow.models.worst_case import Counts, affordable_output, worst_case
from cascadeflow.types import (
    ChatRequest,
    DocumentPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
)

if TYPE_CHECKING:
    from cascadeflow.models._table import Row

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TIERS = (None, "auto", "default", "standard", "on_demand", "flex", "priority", "fast", "batch")
BUCKETS = {
    "input": ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens"),
    "only_when_asked": (
        "cache_write_1h_tokens",
        "input_audio_tokens",
        "cache_read_audio_tokens",
        "input_image_tokens",
        "cache_read_image_tokens",
        "input_video_tokens",
        "cache_read_video_tokens",
    ),
    "output": (
        *("output_tokens", "reasoning_tokens", "output_audio_tokens"),
        *("output_image_tokens", "output_video_tokens", "citation_tokens"),
    ),
}


def ask(text: str = "What is the capital of Norway?", **settings: Any) -> ChatRequest:
    return ChatRequest("m", (Message("user", text),), **settings)


def model(**settings: Any) -> ModelConfig:
    return ModelConfig("gpt-4o", "openai", **{"price": Price(input=2, output=8), **settings})


def priced_rows() -> list[Row]:
    """Every model that can answer and has a price."""
    rows = []
    for row in table().all_rows():
        price = price_of(ModelConfig(row.id, row.provider), at=NOW)
        if price is not None and price.input is not None and price.output is not None:
            rows.append(row)
    return rows


def moments_of(row: Row) -> list[datetime]:
    """Around every change of a row's prices, and now."""
    found = {NOW}
    constraints = [when for when, _ in row.data["prices"]]
    constraints += [when for _, when, _ in row.variants()]
    for when in constraints:
        if isinstance(when, str):
            change = datetime.fromisoformat(when).replace(tzinfo=UTC)
            found |= {change, change - timedelta(seconds=1)}
        elif when is not None:
            for text in when:
                clock = datetime.fromisoformat(f"2026-11-22T{text}").replace(tzinfo=UTC)
                found |= {clock, clock - timedelta(seconds=1)}
    return sorted(found)


def spread(total: int, names: tuple[str, ...], weights: list[int]) -> dict[str, int]:
    """Puts no more than so many tokens into buckets."""
    whole = max(1, sum(weights))
    return {
        name: total * weight // whole for name, weight in zip(names, weights, strict=False) if name
    }


# Against every price of the catalogue


def test_no_price_of_the_catalogue_exceeds_the_worst_case() -> None:
    """Every model, every tier, around every change of price: all the tokens in one bucket each."""
    plain = ask()
    cached = ask(extra={"cache_control": {"type": "ephemeral", "ttl": "1h"}, "speed": "fast"})
    compared = 0
    over = []
    for row in priced_rows():
        asked = ModelConfig(row.id, row.provider)
        for request, buckets in (
            (plain, BUCKETS["input"]),
            (cached, BUCKETS["input"] + BUCKETS["only_when_asked"]),
        ):
            for at in moments_of(row):
                try:
                    worst = worst_case(asked, request, output_tokens=500, at=at, extra=0)
                except UnknownPriceError:
                    continue  # its first price lay ahead
                for tier in TIERS if row.has_variants else TIERS[:1]:
                    if tier == "fast" and request is plain and row.provider == "anthropic":
                        continue  # served to nobody who has not asked for it
                    price = price_of(asked, at=at, service_tier=tier)
                    if price is None:
                        continue
                    for bucket in buckets:
                        for made in BUCKETS["output"]:
                            counts: Any = {bucket: worst.input_tokens, made: 500}
                            try:
                                cost = price.cost(Usage(**counts))
                            except UnknownPriceError:
                                continue
                            compared += 1
                            if cost > worst.nanodollars:
                                over.append((row.provider, row.id, at, tier, bucket, made))
    assert over == []
    assert compared > 20_000


@given(st.data())
def test_no_usage_within_the_bounds_costs_more(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(_ROWS), label="model")
    asked = ModelConfig(row.id, row.provider)
    everything = data.draw(st.booleans())
    extra = {"cache_control": {"type": "ephemeral"}, "speed": "fast"} if everything else {}
    request = ask(data.draw(st.text(max_size=200)), extra=extra)
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(
        seconds=data.draw(st.integers(0, 60 * 86_400))
    )
    until = at + timedelta(seconds=data.draw(st.integers(0, 3 * 86_400)))
    limit = data.draw(st.integers(1, 200_000))
    worst = worst_case(asked, request, output_tokens=limit, at=at, until=until, extra=0)

    moment = at + timedelta(
        seconds=data.draw(st.integers(0, int((until - at).total_seconds())), label="served after")
    )
    served = data.draw(st.sampled_from(rows_that_may_serve(row.provider, row.id)[0]))
    tiers = [t for t in TIERS if everything or t != "fast" or row.provider != "anthropic"]
    price = price_of(
        asked,
        at=moment,
        service_tier=data.draw(st.sampled_from(tiers)),
        served_model=data.draw(st.sampled_from([None, served.id])),
        region=data.draw(st.sampled_from([None, "us", "global"])),
    )
    if price is None or price.input is None or price.output is None:
        return
    names = BUCKETS["input"] + (BUCKETS["only_when_asked"] if everything else ())
    most = len(BUCKETS["input"] + BUCKETS["only_when_asked"])
    weights = st.lists(st.integers(0, 100), min_size=most, max_size=most)
    usage = Usage(
        **{  # type: ignore[arg-type] # `requests` is none of them
            **spread(worst.input_tokens, names, data.draw(weights)[: len(names)]),
            **spread(limit, BUCKETS["output"], data.draw(weights)[: len(BUCKETS["output"])]),
        }
    )
    try:
        cost = price.cost(usage)
    except UnknownPriceError:
        return  # cached audio between two rates: nobody can say what it costs
    assert cost <= worst.nanodollars


_ROWS = priced_rows()


@given(
    rates=st.lists(st.integers(0, 1000), min_size=len(RATES), max_size=len(RATES)),
    tiers=st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.lists(st.integers(0, 2000), min_size=len(RATES), max_size=len(RATES)),
        ),
        max_size=3,
        unique_by=lambda tier: tier[0],
    ),
    call=st.integers(0, 50),
    length=st.integers(0, 2500),
    output=st.integers(0, 5000),
)
def test_a_stated_price_is_bounded_as_the_price_itself_says(
    rates: list[int], tiers: list[tuple[int, list[int]]], call: int, length: int, output: int
) -> None:
    price = Price(
        **dict(zip(RATES, rates, strict=True)),  # type: ignore[arg-type] # rates by their names
        call=call,
        tiers=[
            PriceTier(above=above, **dict(zip(RATES, each, strict=True))) for above, each in tiers
        ],
    )
    asked = model(price=price)
    request = ask("word " * length)
    worst = worst_case(asked, request, output_tokens=output, at=NOW)
    media = [name for name in RATES if name.endswith(("audio", "image", "video"))]
    unused = ["cache_write_1h", *(name for name in media if not name.startswith("output"))]
    expected = price.upper_bound(worst.input_tokens, output, without=unused)
    assert worst.nanodollars == expected
    marked = worst_case(
        asked, ask("word " * length, extra={"cache_control": {}}), output_tokens=output, at=NOW
    )
    assert marked.nanodollars == price.upper_bound(marked.input_tokens, output)


# How much output an amount pays for


@given(
    amount=st.integers(0, 10_000_000),
    copies=st.integers(1, 4),
    predicted=st.integers(0, 50),
    input_rate=st.integers(0, 20),
    output_rate=st.integers(1, 100),
)
def test_affordable_output_is_the_largest_that_fits(
    amount: int, copies: int, predicted: int, input_rate: int, output_rate: int
) -> None:
    asked = model(price=Price(input=input_rate, output=output_rate, call="0.01"))
    extra: dict[str, Any] = {"n": copies}
    if predicted:
        extra["prediction"] = {"type": "content", "content": "x" * predicted}
    request = ask(extra=extra)

    def cost(output: int) -> int:
        return worst_case(asked, request, output_tokens=output, at=NOW).nanodollars

    fits = affordable_output(asked, request, amount, at=NOW)
    if fits is None:
        assert cost(1) > amount
    else:
        assert cost(fits) <= amount < cost(fits + 1)


def test_affordable_output_heeds_the_limits_in_the_provider_s_own_words() -> None:
    request = ask(extra={"max_tokens": 1000})
    needed = worst_case(model(), request, output_tokens=1, at=NOW)
    assert needed.output_tokens == 1000
    assert affordable_output(model(), request, needed.nanodollars - 1, at=NOW) is None
    assert affordable_output(model(), request, needed.nanodollars, at=NOW) == 1000


def test_output_that_costs_nothing_is_limited_by_a_number_all_the_same() -> None:
    free = model(price=Price(input=0, output=0))
    assert affordable_output(free, ask(), 0, at=NOW) == 2**31 - 1


# What may hold for a call


def test_a_tier_that_nobody_asked_for_is_reckoned_with_unless_it_is_ruled_out() -> None:
    asked = ModelConfig("gpt-4.1", "openai")

    def cost(**extra: Any) -> int:
        return worst_case(asked, ask(extra=extra), output_tokens=1000, at=NOW).nanodollars

    usual = price_of(asked, at=NOW)
    priority = price_of(asked, at=NOW, service_tier="priority")
    assert usual is not None
    assert priority is not None
    input_tokens = count_request(ask(), asked).tokens
    assert cost() == priority.upper_bound(input_tokens, 1000)
    assert cost(service_tier="auto") == cost()
    assert cost(service_tier="flex") == cost(service_tier="default")
    assert cost(service_tier="default") == usual.upper_bound(input_tokens, 1000)


def test_a_tier_that_is_asked_for_and_has_no_known_price_cannot_be_bounded() -> None:
    asked = ModelConfig("gpt-5-mini", "openai")
    with pytest.raises(UnknownPriceError, match="at service tier 'scale'"):
        worst_case(asked, ask(extra={"service_tier": "scale"}), output_tokens=1, at=NOW)
    stated = model(price=Price(input=1, output=1))
    assert worst_case(stated, ask(extra={"service_tier": "scale"}), output_tokens=1, at=NOW)


def test_a_fast_mode_is_reckoned_with_when_it_is_asked_for() -> None:
    rows = [row for row in _ROWS if any("speed" in each for each, _, _ in row.variants())]
    assert rows
    for row in rows:
        asked = ModelConfig(row.id, row.provider)
        slow = worst_case(asked, ask(), output_tokens=1000, at=NOW)
        fast = worst_case(asked, ask(extra={"speed": "fast"}), output_tokens=1000, at=NOW)
        assert fast.nanodollars > slow.nanodollars


def test_inference_in_the_us_is_reckoned_with_unless_the_request_rules_it_out() -> None:
    """A workspace may keep inference there without a word in the request."""
    asked = ModelConfig("claude-opus-5", "anthropic")
    anywhere = worst_case(asked, ask(extra={"inference_geo": "global"}), output_tokens=9, at=NOW)
    for extra in ({}, {"inference_geo": "us"}):
        worst = worst_case(asked, ask(extra=extra), output_tokens=9, at=NOW)
        listed = price_of(asked, at=NOW, region="us")
        assert listed is not None
        bound = listed.upper_bound(worst.input_tokens, 9, without=["cache_write_1h"])
        assert worst.nanodollars == bound
    assert anywhere.nanodollars < worst.nanodollars
    older = ModelConfig("claude-opus-4-5", "anthropic")
    same = [
        worst_case(older, ask(extra=extra), output_tokens=9, at=NOW).nanodollars
        for extra in ({}, {"inference_geo": "global"})
    ]
    assert price_of(older, at=NOW, region="us") == price_of(older, at=NOW)
    assert same[0] <= same[1]  # the field itself is counted as text


def test_a_price_that_rises_while_the_call_waits_is_reckoned_with() -> None:
    asked = ModelConfig("deepseek-v4-flash", "deepseek")
    night = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    soon = worst_case(asked, ask(), output_tokens=100, at=night, until=night)
    until = night + timedelta(hours=2, seconds=1)
    later = worst_case(asked, ask(), output_tokens=100, at=night, until=until)
    assert later.nanodollars > soon.nanodollars
    by_default = worst_case(asked, ask(), output_tokens=100, at=night + timedelta(minutes=90))
    assert by_default.nanodollars == later.nanodollars


def test_a_dated_snapshot_that_costs_more_than_its_name_is_reckoned_with() -> None:
    found = 0
    for row in _ROWS:
        rows, own = rows_that_may_serve(row.provider, row.id)
        asked = ModelConfig(row.id, row.provider)
        worst = worst_case(
            asked, ask(extra={"cache_control": {}}), output_tokens=1000, at=NOW, extra=0
        )
        for other in rows[1:] if own else ():
            price = price_of(asked, at=NOW, served_model=other.id)
            if price is None or price.input is None or price.output is None:
                continue
            found += 1
            assert price.upper_bound(worst.input_tokens, 1000) <= worst.nanodollars
    assert found > 50


def test_a_price_that_the_user_states_holds_whatever_serves() -> None:
    asked = ModelConfig("gpt-5-mini", "openai")
    set_price("openai:gpt-5-mini", Price(input=1, output=10))
    try:
        worst = worst_case(asked, ask(), output_tokens=1000, at=NOW)
    finally:
        set_price("openai:gpt-5-mini", None)
    assert worst.source == "user"
    assert worst.nanodollars == worst.input_tokens * 1_000 + 1000 * 10_000
    flat = ModelConfig("gpt-5-mini", "openai", cost=0.001)
    worst = worst_case(flat, ask(), output_tokens=1000, at=NOW)
    assert worst.nanodollars == (worst.input_tokens + 1000) * 1_000


def test_an_unknown_price_is_an_error() -> None:
    with pytest.raises(UnknownPriceError, match="acme-1"):
        worst_case(ModelConfig("acme-1", "acme"), ask(), output_tokens=1, at=NOW)
    embedding = model(price=Price(input=1, output=None))
    with pytest.raises(UnknownPriceError):
        worst_case(embedding, ask(), output_tokens=1, at=NOW)


def test_what_runs_on_ones_own_machines_costs_nothing_whatever_is_asked() -> None:
    asked = ModelConfig("qwen3", "ollama")
    request = ChatRequest(
        "qwen3",
        (Message("user", (TextPart("Read this"), DocumentPart(url="https://x/y.pdf"))),),
        extra={"num_predict": -1, "unknown": 1},
    )
    worst = worst_case(asked, request, output_tokens=1000, at=NOW, extra=5)
    assert worst.nanodollars == 0
    assert worst.source == "local"
    paid = ModelConfig("qwen3", "ollama", price=Price(input=1, output=1))
    with pytest.raises(InvalidRequestError):
        worst_case(paid, request, output_tokens=1000, at=NOW, extra=5)


# The provider's own words


@pytest.mark.parametrize("where", ["request", "model"])
@pytest.mark.parametrize(
    ("extra", "output"),
    [
        ({"top_k": 5, "reasoning_effort": "high"}, 100),
        ({"n": 3}, 300),
        ({"n": 2, "best_of": 4}, 400),
        ({"n": None}, 100),
        ({"max_completion_tokens": 50}, 100),
        ({"max_completion_tokens": 5000}, 5000),
        ({"max_tokens": 200, "max_output_tokens": 300}, 300),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, 4096),
        ({"reasoning": {"max_tokens": 2000}}, 2000),
        ({"n": 2, "max_tokens": 300}, 600),
    ],
)
def test_fields_that_ask_for_more_output_are_reckoned_with(
    where: str, extra: dict[str, Any], output: int
) -> None:
    asked = model(extra=extra) if where == "model" else model()
    request = ask(extra=extra) if where == "request" else ask()
    assert worst_case(asked, request, output_tokens=100, at=NOW).output_tokens == output


def test_a_larger_limit_in_the_request_itself_counts() -> None:
    worst = worst_case(model(), ask(max_tokens=700), output_tokens=100, at=NOW)
    assert worst.output_tokens == 700


def test_a_wrong_prediction_may_be_billed_as_output() -> None:
    request = ask(extra={"prediction": {"type": "content", "content": "é" * 500}})
    worst = worst_case(model(), request, output_tokens=100, at=NOW)
    assert worst.output_tokens >= 100 + 1000


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens": None},
        {"max_completion_tokens": -1},
        {"max_tokens": 1e9},
        {"n": "3"},
        {"n": True},
        {"thinking": {"budget_tokens": "many"}},
        {"model": "gpt-4"},
        {"messages": []},
        {"system": "Say more"},
    ],
)
def test_a_field_that_unsettles_the_bound_is_refused_whatever_is_stated(
    extra: dict[str, Any],
) -> None:
    for amount in (None, 10**9):
        with pytest.raises(InvalidRequestError) as caught:
            worst_case(model(), ask(extra=extra), output_tokens=100, at=NOW, extra=amount)
        assert not isinstance(caught.value, UnboundedCostError)


IMAGE = ImagePart(url="https://x/y.png")
UNBOUNDED: list[tuple[str, ModelConfig, ChatRequest]] = [
    ("file", model(), ask()),
    ("tools", model(), ask(extra={"tools": [{"type": "web_search"}]})),
    ("web_search_options", model(), ask(extra={"web_search_options": {}})),
    ("plugins", model(extra={"plugins": [{"id": "web"}]}), ask()),
    ("a_field_of_tomorrow", model(), ask(extra={"a_field_of_tomorrow": 1})),
    ("searches", ModelConfig("openai/gpt-4o:online", "openrouter", cost=1), ask()),
    ("by itself", ModelConfig("gpt-4o-search-preview", "openai"), ask()),
    ("image", ModelConfig("m", "deepseek", cost=1), ask()),
    ("extras", model(), ask()),
    ("response_format", model(), ask(extra={"output_config": {"format": {}}})),
]


@pytest.mark.parametrize(
    ("named", "asked", "request_"), UNBOUNDED, ids=[each[0] for each in UNBOUNDED]
)
def test_what_cannot_be_counted_needs_a_stated_amount(
    named: str, asked: ModelConfig, request_: ChatRequest
) -> None:
    parts: dict[str, Any] = {
        "file": Message("user", (TextPart("Read"), DocumentPart(file_id="f"))),
        "image": Message("user", (TextPart("Look"), IMAGE)),
        "extras": Message("assistant", "", extras={"audio": {"id": "audio_1"}}),
    }
    if named in parts:
        request_ = ChatRequest("m", (*request_.messages, parts[named]))
    with pytest.raises(UnboundedCostError, match=named) as caught:
        worst_case(asked, request_, output_tokens=100, at=NOW)
    assert "max_extra_cost" in str(caught.value)
    with pytest.raises(UnboundedCostError):
        affordable_output(asked, request_, 10**9, at=NOW)
    nothing = worst_case(asked, request_, output_tokens=100, at=NOW, extra=0)
    more = worst_case(asked, request_, output_tokens=100, at=NOW, extra=12_345)
    assert more.nanodollars == nothing.nanodollars + 12_345 > 12_345
    assert nothing.input_tokens >= count_request(ask(), asked).tokens


def test_an_amount_that_is_stated_is_not_added_where_everything_can_be_counted() -> None:
    bare = worst_case(model(), ask(), output_tokens=100, at=NOW)
    assert worst_case(model(), ask(), output_tokens=100, at=NOW, extra=10**9) == bare


def test_an_image_counts_where_its_provider_says_how_much_it_can_be() -> None:
    with_image = ChatRequest("m", (Message("user", (TextPart("Look"), IMAGE)),))
    worst = worst_case(model(), with_image, output_tokens=100, at=NOW)
    assert worst.input_tokens >= 16_384


def test_tools_and_schemas_count() -> None:
    tool = Tool("weather", "The weather.", {"type": "object", "properties": {}})
    form = ResponseFormat("json_schema", {"type": "object"})
    bare = worst_case(model(), ask(), output_tokens=100, at=NOW)
    for request in (ask(tools=(tool,)), ask(response_format=form)):
        more = worst_case(model(), request, output_tokens=100, at=NOW)
        assert more.nanodollars > bare.nanodollars
        assert not more.input_exact


def test_a_fee_for_each_call_counts_and_search_within_it_does() -> None:
    sonar = ModelConfig("sonar-pro", "perplexity")
    worst = worst_case(sonar, ask(), output_tokens=100, at=NOW)
    assert worst.nanodollars > 14_000_000  # 14 US dollars per thousand calls
    with pytest.raises(UnboundedCostError, match="searches"):
        worst_case(ModelConfig("perplexity/sonar", "perplexity"), ask(), output_tokens=1, at=NOW)


# Arguments


def test_moments_need_a_time_zone_and_an_order() -> None:
    for at, until in (
        (datetime(2026, 11, 22), None),  # noqa: DTZ001 - that is what is refused
        (NOW, datetime(2026, 11, 23)),  # noqa: DTZ001
        (NOW, NOW - timedelta(seconds=1)),
    ):
        with pytest.raises(InvalidRequestError, match="time zone"):
            worst_case(model(), ask(), output_tokens=1, at=at, until=until)


@pytest.mark.parametrize("wrong", [-1, 1.5, True, None])
def test_counts_and_amounts_are_whole_numbers(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="output_tokens"):
        worst_case(model(), ask(), output_tokens=wrong, at=NOW)
    if wrong is not None:
        with pytest.raises(InvalidRequestError, match="extra"):
            worst_case(model(), ask(), output_tokens=1, at=NOW, extra=wrong)


def test_more_than_can_be_accounted_for_is_refused() -> None:
    dear = model(price=Price(input=1, output=1_000_000))
    with pytest.raises(InvalidRequestError, match="max_tokens"):
        worst_case(dear, ask(), output_tokens=2**62, at=NOW)


# Shared counts


def test_models_that_count_alike_share_one_count() -> None:
    counts: Counts = {}
    request = ask("word " * 300)
    for name in ("gpt-5-mini", "gpt-5", "gpt-5-nano", "gpt-4.1", "gpt-4o"):
        asked = ModelConfig(name, "openai")
        shared = worst_case(asked, request, output_tokens=100, at=NOW, counts=counts)
        assert shared == worst_case(asked, request, output_tokens=100, at=NOW)
    assert len(counts) == 2  # reasoning models, and the others


@given(
    names=st.lists(
        st.sampled_from(
            [
                *("openai:gpt-4o", "openai:gpt-4", "openai:gpt-5", "groq:openai/gpt-oss-20b"),
                *("anthropic:claude-opus-4-5", "openai:gpt-4o-search-preview", "deepseek:m"),
            ]
        ),
        min_size=1,
        max_size=6,
    ),
    texts=st.lists(st.text(max_size=40), min_size=1, max_size=3),
    marked=st.booleans(),
)
def test_a_shared_count_is_never_another_request_s_or_another_family_s(
    names: list[str], texts: list[str], marked: bool
) -> None:
    counts: Counts = {}
    for text in texts:
        for name in names:
            asked = ModelConfig.parse(
                name, cost=0.001, extra={"tools": [{"type": "x"}]} if marked else {}
            )
            for request in (ask(text), ask(text, tools=(Tool("now"),))):
                shared = worst_case(
                    asked, request, output_tokens=10, at=NOW, extra=1, counts=counts
                )
                assert shared == worst_case(asked, request, output_tokens=10, at=NOW, extra=1)
