from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.domains.suggest import STEPWISE, suggest
from cascadeflow.models.catalogue import lookup
from cascadeflow.models.config import ModelConfig
from cascadeflow.types import DOMAINS


def model(name: str, **settings: object) -> ModelConfig:
    return ModelConfig.parse(name if ":" in name else f"openai:{name}", **settings)


MINI, FOUR, FIVE = model("gpt-4o-mini"), model("gpt-4o"), model("gpt-5-mini")
OWN = model("vllm:our-own")


def test_the_catalogue_says_what_these_tests_stand_on() -> None:
    abilities = {each.name: lookup(each.provider, each.name) for each in (MINI, FOUR, FIVE)}
    assert [facts is not None and facts.can("reasoning") for facts in abilities.values()] == [
        None,
        None,
        True,
    ]
    assert lookup(OWN.provider, OWN.name) is None


@pytest.mark.parametrize("domain", sorted(STEPWISE))
def test_what_takes_steps_is_verified_by_a_model_that_can_reason(domain: str) -> None:
    found = suggest(domain, [MINI, FIVE, FOUR])
    assert found.verifiers == (FIVE, FOUR, MINI)
    assert found.drafters == (MINI,)
    assert found.reasons == (
        "openai:gpt-5-mini verifies: it is listed as able to reason, openai:gpt-4o is not",
    )


@pytest.mark.parametrize("domain", [*sorted(DOMAINS - STEPWISE), "billing"])
def test_other_domains_keep_the_usual_order(domain: str) -> None:
    found = suggest(domain, [MINI, FIVE, FOUR])
    assert (found.drafters, found.verifiers) == ((MINI, FIVE), (FOUR, FIVE, MINI))
    assert found.reasons == ()


@pytest.mark.parametrize(
    "models",
    [
        [MINI, FOUR, FIVE],  # the last can
        [MINI, FOUR],  # nobody can
        [FIVE, OWN],  # of the last nothing is known: it may be able
        [FIVE],
    ],
)
def test_without_a_ground_nothing_is_moved(models: list[ModelConfig]) -> None:
    found = suggest("math", models)
    assert (found.drafters, found.verifiers) == (tuple(models[:-1]), tuple(models[::-1]))
    assert found.reasons == ()


def test_a_drafter_that_costs_more_than_the_verifier_does_not_draft() -> None:
    found = suggest("math", [FIVE, MINI, FOUR])
    assert found.drafters == ()
    assert found.verifiers == (FIVE, FOUR, MINI)
    assert "openai:gpt-4o-mini and openai:gpt-4o are not" in found.reasons[0]


def test_a_model_that_cannot_hold_the_request_is_left_out() -> None:
    found = suggest("summarization", [MINI, FIVE], input_tokens=200_000)
    assert (found.drafters, found.verifiers) == ((), (FIVE,))
    assert found.reasons == (
        "openai:gpt-4o-mini is left out: it takes 128,000 tokens, the request has 200,000",
    )
    assert suggest("summarization", [MINI, FIVE], input_tokens=100_000).reasons == ()


def test_the_users_own_word_on_the_window_holds_over_the_catalogues() -> None:
    wide, narrow = model("gpt-4o-mini", context_window=300_000), model("vllm:x", context_window=100)
    found = suggest("code", [narrow, wide], input_tokens=200_000)
    assert found.verifiers == (wide,)


def test_a_translation_needs_as_much_output_as_input() -> None:
    found = suggest("translation", [MINI, FIVE], input_tokens=20_000)
    assert found.verifiers == (FIVE,)
    assert "gives at most 16,384 tokens" in found.reasons[0]
    assert suggest("summarization", [MINI, FIVE], input_tokens=20_000).reasons == ()
    held = model("gpt-5-mini", max_tokens=1_000)
    assert suggest("translation", [held, FIVE], input_tokens=20_000).verifiers == (FIVE,)


def test_where_no_model_holds_the_request_all_are_kept_and_that_is_said() -> None:
    found = suggest("legal", [MINI, FOUR], input_tokens=10_000_000)
    assert found.verifiers == (FOUR, MINI)
    assert found.reasons == ("no model is known to hold a request of this length: all are kept",)


@given(
    domain=st.sampled_from([*sorted(DOMAINS), "billing"]),
    models=st.lists(st.sampled_from([MINI, FOUR, FIVE, OWN]), min_size=1, unique=True),
    tokens=st.none() | st.integers(0, 500_000),
)
def test_only_models_that_the_user_has_are_suggested_and_somebody_always_answers(
    domain: str, models: list[ModelConfig], tokens: int | None
) -> None:
    found = suggest(domain, models, input_tokens=tokens)
    assert found.verifiers
    assert set(found.verifiers) <= set(models)
    assert found.verifiers[0] not in found.drafters
    assert set(found.drafters) <= set(found.verifiers)
    if not found.reasons:
        assert found.verifiers == tuple(reversed(models))
        assert found.drafters == tuple(models[:-1])
