"""Rules of one's own: they add, override, make domains; errors name the file and the rule."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import domain_features
from cascadeflow.domains.rule_files import read_rules
from cascadeflow.domains.rules import RuleLayer, builtin_rules
from cascadeflow.errors import ConfigurationError
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from pathlib import Path

BUILT_IN = RuleLayer.builtin()


def rule(**fields: Any) -> dict[str, Any]:
    return {"rule": [{"name": "own", "weights": {"code": 1.0}, "any": "zyxxa"} | fields]}


def weights(layer: RuleLayer, text: str, name: str) -> dict[str, float]:
    return {e.domain: e.weight for e in layer.report(text).evidence if e.what == name}


def test_a_rule_of_ones_own_is_added_to_the_sum() -> None:
    layer = RuleLayer(extra=[rule(weights={"legal": 20.0})])
    assert layer.report("zyxxa").probabilities[0][0] == "legal"
    assert weights(layer, "zyxxa", "own") == {"legal": 20.0}
    assert layer.report("hello there").probabilities == BUILT_IN.report("hello there").probabilities


def test_each_builtin_rule_can_be_overridden_by_its_name() -> None:
    text = "write a python function that sorts a list"
    report = BUILT_IN.report(text)
    strongest = next(e for e in report.evidence if e.domain == "code" and e.weight > 0)
    silenced = {"rule": [{"name": strongest.what, "weights": {"code": 0.0}}]}
    layer = RuleLayer(extra=[silenced])
    assert not weights(layer, text, strongest.what)
    before, after = dict(report.probabilities), dict(layer.report(text).probabilities)
    assert after["code"] < before["code"]


def test_an_override_may_look_for_something_else() -> None:
    name = next(rule.name for rule in builtin_rules() if rule.patterns and not rule.requires)
    layer = RuleLayer(extra=[rule(name=name, any="zyxxb", weights={"math": 7.0})])
    assert weights(layer, "zyxxb", name) == {"math": 7.0}


def test_of_two_files_the_later_one_counts() -> None:
    first, second = rule(weights={"legal": 3.0}), rule(weights={"legal": 5.0})
    assert weights(RuleLayer(extra=[first, second]), "zyxxa", "own") == {"legal": 5.0}
    assert weights(RuleLayer(extra=[second, first]), "zyxxa", "own") == {"legal": 3.0}


def test_a_domain_of_ones_own_is_found_by_its_rules_alone(tmp_path: Path) -> None:
    path = tmp_path / "billing.toml"
    path.write_text(
        'domain = "billing"\n[[rule]]\nname = "an invoice is named"\nweight = 14.0\n'
        "any = '''\ninvoice, credit note\nde: Rechnung\n'''\n",
        encoding="utf-8",
    )
    layer = RuleLayer(extra=[path])
    assert layer.domains == (*sorted(DOMAINS), "billing")
    assert layer.report("where is my INVOICE and the Rechnung?").probabilities[0][0] == "billing"
    assert dict(layer.report("what is the capital of Peru?").probabilities)["billing"] < 0.01
    assert layer.threshold_of("billing") == max(map(layer.threshold_of, DOMAINS))
    assert layer.evidence_names == BUILT_IN.evidence_names
    assert layer.evidence("my invoice") == pytest.approx(BUILT_IN.evidence("my invoice"))
    with pytest.raises(KeyError):
        BUILT_IN.threshold_of("billing")


def test_each_makes_a_rule_of_every_phrase() -> None:
    word = {"name": "word", "weights": {"x": 1}, "each": "alpha, be ta\nde: gamma, alpha"}
    given = {"rule": [word]}
    rules = read_rules(given, ())
    assert [rule.name for rule in rules] == ["word: alpha", "word: be ta", "word: gamma"]
    assert [rule.patterns for rule in rules] == [("alpha",), ("be ta",), ("gamma",)]


def test_conditions_places_and_counts_do_what_they_say() -> None:
    def found(text: str, *rules: dict[str, Any]) -> set[str]:
        given = {"rule": [{"weights": {"x": 1.0}} | each for each in rules]}
        return {e.what for e in RuleLayer(extra=[given]).report(text).evidence if e.domain == "x"}

    start = {"name": "start", "any": "zyxxa", "first": 2}
    end = {"name": "end", "any": "zyxxa", "last": 1}
    line = {"name": "line", "any": "zyxxa", "line": True}
    both = {"name": "both", "any": ["zyxxa", "zyxxb"], "least": 2}
    needs = {"name": "needs", "requires": ["start"], "unless": ["both"]}
    rules = (start, end, line, both, needs)
    assert found("the zyxxa of it all", *rules) == {"start", "needs"}
    assert found("it is all in the\nzyxxa zyxxb", *rules) == {"line", "both"}
    assert found("zyxxb is all about zyxxa", *rules) == {"end", "both"}
    assert found("zyxxa zyxxb", *rules) == {"start", "line", "both"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "it has no rules"),
        ({"rule": []}, "it has no rules"),
        ({"rule": "x"}, "it has no rules"),
        ({"rule": ["x"]}, "number 1': it is no table"),
        ({"rule": [{"weight": 1}]}, "it has no name"),
        ({"rules": [], "rule": [{}]}, "did you mean 'rule'"),
        ({"domain": 3, "rule": [{}]}, "domain is 3"),
        (rule(patern="x"), "a rule has no 'patern'"),
        (rule(wieght=1), "did you mean 'weight'"),
        (rule(weight=1), "weight and weights"),
        (rule(weights={}), "weights is no table"),
        (rule(weights={"code": "much"}), "the weight for code is 'much'"),
        (rule(weights={"code": True}), "the weight for code is True"),
        (rule(weights={"code": 10**400}), "write a finite number"),
        (rule(weights={"code": float("nan")}), "write a finite number"),
        (rule(weights={"code": 51}), "between -50 and 50"),
        (rule(any=3), "any is 3"),
        (rule(any=[3]), "any is [3]"),
        (rule(any=""), "looks for nothing"),
        (rule(any="\u200b"), "is empty once case and accents are folded"),
        (rule(any="x" * 300), "a pattern of 300 bytes is no phrase"),
        (rule(each="x"), "any and each"),
        (rule(first=0), "first is 0"),
        (rule(last=True), "last is True"),
        (rule(line="yes"), "line is 'yes'"),
        (rule(diluted=1), "diluted is 1"),
        (rule(least=10**9), "least is 1000000000"),
        (rule(feature="latx"), "did you mean 'latex'"),
        (rule(feature="latex"), "patterns and a feature"),
        (rule(to=1), "to belongs to a feature"),
        (rule(requires="x"), "requires is 'x'"),
        (rule(requires=["nobody"]), 'names the rule "nobody", which does not exist'),
        ({"rule": [{"name": "own", "weight": 1, "any": "x"}]}, "it does not say for which domain"),
        ({"rule": [{"name": "own", "any": "x"}]}, "it has no weight"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_would_be_right(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RuleLayer(extra=[given])
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken, latin, huge = (tmp_path / f"{name}.toml" for name in ("broken", "latin", "huge"))
    broken.write_text("[[rule", encoding="utf-8")
    latin.write_bytes(b'domain = "caf\xe9"')
    huge.write_text(f"[[rule]]\nname = 'x'\nweight = {'9' * 5000}\n", encoding="utf-8")
    for path in (broken, latin, huge, tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigurationError) as caught:
            RuleLayer(extra=[path])
        assert os.fspath(path) in str(caught.value)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[[rule]]\nname = 'mine'\nweight = 'x'\nany = 'y'\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        RuleLayer(extra=[wrong])
    assert os.fspath(wrong) in str(caught.value)
    assert "'mine'" in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-60, 60) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    [
        "name",
        "weight",
        "weights",
        "any",
        "each",
        "first",
        "last",
        "line",
        "least",
        "feature",
        "from",
        "to",
        "requires",
        "unless",
        "diluted",
    ]
)


@given(
    st.fixed_dictionaries(
        {"rule": st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=2)},
        optional={"domain": VALUES},
    )
)
@settings(max_examples=150, deadline=None)
def test_any_mapping_is_read_or_refused(content: dict[str, Any]) -> None:
    try:
        rules = read_rules(content, domain_features())
    except ConfigurationError as error:
        said = str(error)
    else:
        said = "the rules given"
        assert rules
        assert all(rule.name for rule in rules)
    assert "the rules given" in said


def test_builtin_rules_have_names_of_their_own_and_known_domains() -> None:
    rules = builtin_rules()
    assert len({rule.name for rule in rules}) == len(rules)
    assert {domain for rule in rules for domain in rule.weights} == set(DOMAINS)


def test_threads_that_judge_at_once_come_to_the_same() -> None:
    texts = [
        f"translate item {n} and explain the {n}th law of motion " * (1 + n) for n in range(40)
    ]
    alone = [BUILT_IN.report(text).probabilities for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert [r.probabilities for r in pool.map(BUILT_IN.report, texts)] == alone
