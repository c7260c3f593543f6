from __future__ import annotations

import asyncio
import gzip
import json
import logging
import math
import os
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import ExampleIndex, Vectors
from cascadeflow.domains.examples import ExampleRoutes, ExampleWeights
from cascadeflow.domains.registry import Domain
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.embedding import SentenceModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.domains.records import LayerReport

SIZE = 48
WEIGHTS = replace(ExampleWeights.builtin(), model="chance", variance=0.004)
DATA = Path(os.environ.get("CASCADEFLOW_DATA", Path(__file__).parents[3] / "shared" / "data"))


class ByChance:
    """An embedder: a text's first word gives the direction, the rest some scatter about it."""

    name = "chance"
    dimension = SIZE

    def embed(self, texts: Sequence[str]) -> Vectors:
        return Vectors([self._row(text) for text in texts]).normalised()

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        return self.embed(texts)

    def _row(self, text: str) -> list[float]:
        topic, detail = random.Random(text.split(maxsplit=1)[0]), random.Random(text)
        return [topic.gauss() + 0.6 * detail.gauss() for _ in range(SIZE)]


EMBEDDER = ByChance()


def domain(name: str, examples: int = 8) -> Domain:
    return Domain(name, examples=[f"{name} {number}" for number in range(examples)])


def routes(*names: str) -> ExampleRoutes:
    return ExampleRoutes([domain(name) for name in names], EMBEDDER, weights=WEIGHTS)


def ask(found: ExampleRoutes, text: str) -> LayerReport:
    return found.report(EMBEDDER.embed([text]))


@pytest.mark.parametrize("count", [1, 2, 5, 150])
def test_a_request_like_the_examples_is_about_their_domain(count: int) -> None:
    names = [f"topic{number}" for number in range(count)]
    found = routes(*names)
    for name in names[:20]:
        report = ask(found, f"{name} asked")
        assert report.probabilities[0][0] == name
        assert report.answered


@pytest.mark.parametrize("count", [1, 2, 5, 150])
def test_a_request_unlike_all_examples_is_about_none_of_them(count: int) -> None:
    found = routes(*[f"topic{number}" for number in range(count)])
    for number in range(20):
        report = ask(found, f"stranger{number} asked")
        assert not report.answered
        assert sum(share for _, share in report.probabilities) < found.threshold


def test_the_nearest_examples_are_named_with_their_cosines() -> None:
    found = routes("red", "blue")
    report = found.report(EMBEDDER.embed(["red 3"]), ms=2.5)
    first = report.evidence[0]
    assert (first.what, first.domain) == ("red 3", "red")
    assert first.weight == pytest.approx(1.0, abs=1e-6)
    assert len(report.evidence) == 3
    assert (report.layer, report.ms, report.threshold) == ("semantic", 2.5, found.threshold)


def test_two_domains_that_are_alike_do_not_make_none_of_a_request() -> None:
    twins = [
        Domain("one", examples=[f"same {number}" for number in range(8)]),
        Domain("two", examples=[f"same {number}" for number in range(8, 16)]),
    ]
    report = ask(ExampleRoutes(twins, EMBEDDER, weights=WEIGHTS), "same again")
    assert report.probabilities[0][1] < 0.9
    assert report.answered


def test_the_threshold_is_on_the_probability_that_it_is_any_domain() -> None:
    lenient = replace(WEIGHTS, threshold=0.0)
    strict = replace(WEIGHTS, threshold=1.0 + 1e-9)
    domains = [domain("red"), domain("blue")]
    stranger = EMBEDDER.embed(["stranger asked"])
    assert ExampleRoutes(domains, EMBEDDER, weights=lenient).report(stranger).answered
    red = EMBEDDER.embed(["red asked"])
    assert not ExampleRoutes(domains, EMBEDDER, weights=strict).report(red).answered


def test_the_same_routes_are_made_without_blocking() -> None:
    domains = [domain("red"), domain("blue")]
    made = asyncio.run(ExampleRoutes.make(domains, EMBEDDER, weights=WEIGHTS))
    assert ask(made, "red asked") == ask(routes("red", "blue"), "red asked")
    assert made.names == ("red", "blue")
    assert len(made) == 2


def test_another_model_than_the_weights_are_fitted_to_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        ExampleRoutes([domain("red")], EMBEDDER)
    assert "not to chance; its probabilities may be off" in caplog.text
    caplog.clear()
    routes("red")
    assert caplog.text == ""


def test_domains_without_examples_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one Domain"):
        ExampleRoutes([], EMBEDDER)
    with pytest.raises(ConfigurationError, match="'math' has no examples"):
        ExampleRoutes([domain("red"), Domain("math")], EMBEDDER)


def test_vectors_that_do_not_fit_are_refused() -> None:
    vectors = EMBEDDER.embed(["red 0"])
    with pytest.raises(InvalidRequestError, match="need a route each"):
        ExampleRoutes.of_vectors([domain("red")], vectors, "chance", WEIGHTS)
    for query in (Vectors([[1.0, 0.0]]), EMBEDDER.embed(["red a", "red b"])):
        with pytest.raises(InvalidRequestError):
            routes("red").report(query)


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(3, 6), min_size=1, max_size=5),
    query=st.text("abc ", min_size=1).filter(str.strip),
)
def test_probabilities_are_in_order_and_add_up_to_at_most_one(
    counts: list[int], query: str
) -> None:
    domains = [domain(f"topic{at}", count) for at, count in enumerate(counts)]
    report = ask(ExampleRoutes(domains, EMBEDDER, weights=WEIGHTS), query)
    shares = [share for _, share in report.probabilities]
    assert sorted(shares, reverse=True) == shares
    assert 0 <= math.fsum(shares) <= 1 + 1e-12
    assert {name for name, _ in report.probabilities} == {each.name for each in domains}


# What comes with the package


def test_the_card_says_what_the_weights_were_fitted_on() -> None:
    file = Path(__file__).parents[2] / "python/cascadeflow/domains/data/examples.json"
    shipped = json.loads(file.read_text("utf-8"))
    assert ExampleWeights(**shipped["weights"]) == ExampleWeights.builtin()
    assert "CC-BY" in " ".join(shipped["card"]["fitted_on"])
    assert shipped["card"].keys() == {
        "what", "made_by", "fitted_on", "not_fitted_on", "holds_for"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["mean", "nearest", "cohesion", "own", "other", "log_examples"])
def test_every_weight_counts(name: str) -> None:
    changed = replace(WEIGHTS, **{name: getattr(WEIGHTS, name) + 1.0})
    domains = [domain("red"), domain("blue")]
    query = EMBEDDER.embed(["red asked"])
    usual = ExampleRoutes(domains, EMBEDDER, weights=WEIGHTS).report(query)
    other = ExampleRoutes(domains, EMBEDDER, weights=changed).report(query)
    assert usual.probabilities != other.probabilities


def test_a_domain_alone_is_weighed_as_one() -> None:
    index = ExampleIndex(EMBEDDER.embed(domain("red").examples), [0] * 8, variance=1, strength=1)
    assert index.nearness[2:] == (None, None)
    more = replace(WEIGHTS, single=WEIGHTS.single + 1)
    assert more.none_score(index, 8) == pytest.approx(WEIGHTS.none_score(index, 8) + 1)
    assert replace(WEIGHTS, other=9.0).none_score(index, 8) == WEIGHTS.none_score(index, 8)


@pytest.fixture(scope="module")
def model() -> SentenceModel:
    try:
        return SentenceModel.find()
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def clinc() -> dict[str, list[str]]:
    file = DATA / "routes" / "clinc150_train.jsonl.gz"
    if not file.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{file} is missing: set CASCADEFLOW_DATA")
        pytest.skip(f"{file} is missing")
    rows: dict[str, list[str]] = defaultdict(list)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows[row["label"]].append(row["text"])
    return rows


def test_ten_examples_find_an_intent_and_leave_alone_what_is_none(
    model: SentenceModel, clinc: dict[str, list[str]]
) -> None:
    chance = random.Random(20)
    outside = chance.sample(clinc["oos"], 60)
    intents = chance.sample(sorted(clinc.keys() - {"oos"}), 12)
    rows = {intent: chance.sample(clinc[intent], 15) for intent in intents}
    found = ExampleRoutes([Domain(intent, examples=rows[intent][:10]) for intent in intents], model)
    right = refused = 0
    for intent in intents:
        for vector in model.embed(rows[intent][10:]):
            report = found.report(vector)
            right += report.answered and report.probabilities[0][0] == intent
    for vector in model.embed(outside):
        refused += not found.report(vector).answered
    assert right / 60 >= 0.85
    assert refused / 60 >= 0.90
