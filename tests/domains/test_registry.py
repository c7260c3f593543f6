from __future__ import annotations

import copy
import pickle
import typing
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.config import QualityConfig
from cascadeflow.domains.reading import CHECKS, DomainFields
from cascadeflow.domains.records import Detection
from cascadeflow.domains.registry import Domain, DomainRegistry, RouteChoice
from cascadeflow.errors import ConfigurationError
from cascadeflow.models.config import ModelConfig
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ("Why was I charged twice?", "Send me May's invoice", "Your price went up")
A, B, C = (ModelConfig.parse(f"local:{name}") for name in "abc")
MODELS = (A, B, C)


def billing(**fields: Any) -> Domain:
    return Domain("billing", examples=EXAMPLES, **fields)


def about(*names: str, layer: Any = "semantic") -> Detection:
    domains = tuple((name, 0.9 / at) for at, name in enumerate(names, 1))
    return Detection(domain=names[0], confidence=0.9, layer=layer, domains=domains)


UNSURE = Detection(
    domain="general", confidence=None, layer="none", domains=(("billing", 0.3), ("code", 0.2))
)


# A domain


def test_examples_are_kept_once_and_in_their_order() -> None:
    given = [*EXAMPLES, EXAMPLES[0]]
    assert Domain("billing", examples=iter(given)).examples == EXAMPLES


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ""}, "a text of one line"),
        ({"name": " billing"}, "a text of one line"),
        ({"name": "bill\ning"}, "a text of one line"),
        ({"name": 7}, "a text of one line"),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"examples": ()}, "needs examples, at least 3"),
        ({"examples": EXAMPLES[:2]}, "2 of them say too little"),
        ({"examples": [EXAMPLES[0]] * 9}, "1 of them say too little"),
        ({"examples": "Why?"}, r"a list of texts: \['Why\?'\]"),
        ({"examples": [*EXAMPLES, " "]}, "not empty, not ' '"),
        ({"examples": [*EXAMPLES, None]}, "not empty"),
        ({"examples": {"a": 1}}, "a list of texts"),
        ({"models": []}, "nobody could be asked"),
        ({"models": "a"}, "a list of texts"),
        ({"models": ["a"], "verifier_model": "b"}, "not both"),
        ({"draft_model": "a", "verifier_model": "a"}, r"models=\['a'\]"),
        ({"draft_model": ""}, "draft_model must be a text"),
        ({"threshold": 1.1}, "threshold must be a number from 0 to 1, not 1.1"),
        ({"threshold": float("nan")}, "from 0 to 1"),
        ({"threshold": True}, "from 0 to 1"),
        ({"quality": "best"}, "quality: quality mode 'best'"),
        ({"quality": 0.8}, "a QualityConfig or a mode"),
        ({"system_prompt": " "}, "system_prompt must be a text"),
        ({"description": 3}, "description must be a text"),
    ],
)
def test_what_cannot_be_right_is_refused_with_what_would_be(
    fields: dict[str, Any], says: str
) -> None:
    given: dict[str, Any] = {"name": "billing", "examples": EXAMPLES} | fields
    with pytest.raises(ConfigurationError, match=says):
        Domain(given.pop("name"), **given)


def test_a_misspelt_built_in_domain_is_told_from_one_without_examples() -> None:
    with pytest.raises(ConfigurationError, match="did you mean math"):
        Domain("maths", models=["a"])


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_a_built_in_domain_needs_no_examples_and_may_be_extended_by_some(name: str) -> None:
    assert not Domain(name, models=["a"]).custom
    assert Domain(name, examples=EXAMPLES).examples == EXAMPLES
    assert billing().custom


def test_a_mode_stands_for_its_quality() -> None:
    assert Domain("math", quality="fast").quality == QualityConfig.fast()


def test_a_domain_is_frozen_and_can_be_copied_compared_and_sent() -> None:
    domain = billing(models=["a", "b"], quality="fast", threshold=0.9)
    sent = pickle.loads(pickle.dumps(domain))  # noqa: S301 - made here
    for other in (copy.deepcopy(domain), sent, replace(domain)):
        assert other == domain
        assert hash(other) == hash(domain)
    with pytest.raises(FrozenInstanceError):
        domain.name = "x"  # type: ignore[misc]


def test_every_field_is_typed_checked_and_readable() -> None:
    fields = set(typing.get_type_hints(Domain)) - {"_", "name"}
    assert fields == set(CHECKS) == set(DomainFields.__annotations__)


# Read from plain values


def test_a_domain_is_read_from_a_table() -> None:
    table = {"models": ["a", "b"], "quality": {"mode": "fast", "threshold": 0.7}}
    domain = Domain.from_dict(table, name="code")
    assert domain == Domain("code", models=["a", "b"], quality=QualityConfig(threshold=0.7))


@pytest.mark.parametrize(
    ("table", "name", "says"),
    [
        ({"model": ["a"]}, "code", "model is not known: did you mean models"),
        ({"quality": {"level": 1}}, "code", "quality.level is not known"),
        ({"quality": {"threshold": 3}}, "code", "'code': quality: .*0..1"),
        ({"name": "math"}, "code", "is named 'math' within"),
        ({}, None, "needs a name"),
        (["a"], "code", "must be a table"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(table: Any, name: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Domain.from_dict(table, name=name)


def test_a_file_has_a_table_for_each_domain(tmp_path: Path) -> None:
    file = tmp_path / "domains.toml"
    file.write_text(
        '[domains.math]\nverifier_model = "b"\nthreshold = 0.9\n'
        '[domains."card lost"]\nexamples = ["a", "b", "c"]\n'
    )
    assert Domain.from_toml(file) == {
        "math": Domain("math", verifier_model="b", threshold=0.9),
        "card lost": Domain("card lost", examples=["a", "b", "c"]),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no domains"),
        ("[tiers.free]", "tiers is not known"),
        ("[domains.math]\nmodels = []", "domain 'math': models is empty"),
        ("[domains", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_right_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "domains.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=says) as refused:
        Domain.from_toml(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml cannot be read"):
        Domain.from_toml(tmp_path / "nowhere.toml")


# The registry


def test_a_registry_is_a_mapping_of_its_domains_by_name() -> None:
    math = Domain("math", models=["a"], description="sums")
    registry = DomainRegistry([billing(), math])
    assert dict(registry) == {"billing": billing(), "math": math}
    assert registry.names == DOMAINS | {"billing"}
    assert registry.by_example == (billing(),)
    assert registry.description("math") == "sums"
    assert registry.description("code") is None
    assert DomainRegistry(dict(registry)) == registry


@pytest.mark.parametrize(
    ("domains", "says"),
    [
        ([billing(), billing()], "'billing' is given twice"),
        (["code"], "must be a Domain, not 'code'"),
        (billing(), "must be a list"),
        ("code", "must be a list"),
    ],
)
def test_a_registry_refuses_what_is_no_list_of_different_domains(domains: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        DomainRegistry(domains)


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        (
            billing(models=["a", "z"]),
            "'billing': this agent has no model called 'z'; it has local:a",
        ),
        (billing(verifier_model="z"), "no model called 'z'"),
        (billing(models=["a", "local:a"]), "names one model twice"),
        (billing(draft_model="local:b", verifier_model="b"), "names one model twice"),
    ],
)
def test_a_model_that_the_agent_does_not_have_is_found_at_once(domain: Domain, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        DomainRegistry([Domain("math"), domain]).check(MODELS)


def test_a_name_that_two_models_have_needs_their_provider() -> None:
    models = (A, ModelConfig.parse("vllm:a"))
    with pytest.raises(ConfigurationError, match="several models called 'a'"):
        DomainRegistry([billing(models=["a"])]).check(models)
    DomainRegistry([billing(models=["vllm:a"])]).check(models)


# How a request is routed


def test_a_domains_models_come_in_the_agents_order_unless_that_is_the_given_one() -> None:
    registry = DomainRegistry([billing(models=["c", "local:a"])])
    choice = registry.choose(about("billing"), MODELS)
    assert (choice.drafters, choice.verifiers) == ((A,), (C, A))
    choice = registry.choose(about("billing"), MODELS, order="given")
    assert (choice.drafters, choice.verifiers) == ((C,), (A, C))
    assert choice.source == "registered"


def test_one_model_alone_answers_directly() -> None:
    choice = DomainRegistry([billing(models=["b"])]).choose(about("billing"), MODELS)
    assert (choice.drafters, choice.verifiers) == ((), (B,))


@pytest.mark.parametrize(
    ("fields", "drafters", "verifiers"),
    [
        ({"draft_model": "b"}, (B, A), (C, B, A)),
        ({"verifier_model": "b"}, (A, C), (B, C, A)),
        ({"draft_model": "c"}, (C, A), (B, C, A)),
        ({"verifier_model": "a"}, (B, C), (A, C, B)),
        ({"draft_model": "c", "verifier_model": "a"}, (C, B), (A, C, B)),
    ],
)
def test_the_named_model_comes_first_and_the_others_stand_by(
    fields: dict[str, Any], drafters: tuple[ModelConfig, ...], verifiers: tuple[ModelConfig, ...]
) -> None:
    choice = DomainRegistry([billing(**fields)]).choose(about("billing"), MODELS)
    assert choice.verifiers == verifiers
    assert choice.drafters == drafters


def test_a_model_that_may_not_be_asked_is_left_out_and_named() -> None:
    registry = DomainRegistry([billing(models=["a", "c"])])
    choice = registry.choose(about("billing"), (A, B))
    assert (choice.drafters, choice.verifiers) == ((), (A,))
    assert "not among those that may be asked: c" in choice.reason
    choice = registry.choose(about("billing"), (B,))
    assert choice.verifiers == ()


def test_what_a_domain_says_of_quality_and_prompt_is_handed_on() -> None:
    domain = billing(quality=QualityConfig(threshold=0.5), threshold=0.9, system_prompt="Be kind.")
    choice = DomainRegistry([domain]).choose(about("billing"), MODELS)
    assert choice == RouteChoice(
        domain="billing",
        source="registered",
        threshold=0.9,
        quality=QualityConfig(threshold=0.9),
        system_prompt="Be kind.",
        reason="billing is registered: it names no models",
    )


def test_of_several_domains_the_likeliest_registered_one_decides() -> None:
    registry = DomainRegistry([Domain("legal", models=["c"]), billing(models=["b"])])
    assert registry.choose(about("finance", "billing", "legal"), MODELS).domain == "billing"
    assert registry.choose(about("legal", "billing"), MODELS).domain == "legal"


def test_the_callers_word_needs_no_probabilities() -> None:
    registry = DomainRegistry([billing(models=["b"])])
    said = Detection(domain="billing", confidence=None, layer="caller")
    assert registry.choose(said, MODELS).verifiers == (B,)


def test_where_nobody_is_sure_nothing_changes_but_by_what_general_says() -> None:
    unchanged = DomainRegistry([billing(models=["b"])]).choose(UNSURE, MODELS)
    assert (unchanged.source, unchanged.verifiers) == ("general", ())
    registry = DomainRegistry([billing(models=["b"]), Domain("general", models=["a"])])
    assert registry.choose(UNSURE, MODELS).verifiers == (A,)
    assert registry.choose(about("general"), MODELS).verifiers == (A,)


def test_a_domain_that_nobody_registered_is_routed_by_what_is_known_of_the_models() -> None:
    models = [ModelConfig.parse(f"openai:{name}") for name in ("gpt-5-mini", "gpt-4o")]
    choice = DomainRegistry().choose(about("math"), models)
    assert choice.source == "suggested"
    assert choice.verifiers[0].name == "gpt-5-mini"
    assert "listed as able to reason" in choice.reason
    assert DomainRegistry().choose(about("creative"), models).source == "general"


def test_a_registered_domain_without_models_has_the_suggested_ones() -> None:
    models = [ModelConfig.parse(f"openai:{name}") for name in ("gpt-5-mini", "gpt-4o")]
    registry = DomainRegistry([Domain("math", threshold=0.9), Domain("general", threshold=0.7)])
    choice = registry.choose(about("math"), models)
    assert (choice.source, choice.verifiers[0].name) == ("registered", "gpt-5-mini")
    assert registry.choose(UNSURE, models).verifiers == ()


@given(
    named=st.lists(st.sampled_from("abcd"), max_size=4, unique=True),
    present=st.lists(st.sampled_from([*MODELS, ModelConfig.parse("local:d")]), unique=True),
    order=st.sampled_from(["price", "given"]),
    pair=st.booleans(),
)
def test_no_model_is_chosen_that_may_not_be_asked(
    named: list[str], present: list[ModelConfig], order: Any, pair: bool
) -> None:
    fields: dict[str, Any] = {"models": named or None}
    if pair and len(named) > 1:
        fields = {"draft_model": named[0], "verifier_model": named[1]}
    choice = DomainRegistry([billing(**fields)]).choose(about("billing"), present, order=order)
    assert set(choice.drafters) | set(choice.verifiers) <= set(present)
    assert len(set(choice.verifiers)) == len(choice.verifiers)
    assert not choice.verifiers or choice.verifiers[0] not in choice.drafters
    assert not choice.drafters or choice.verifiers
