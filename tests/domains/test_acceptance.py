"""How likely drafts are accepted: what is learned, how sure it is, and that it follows change."""

from __future__ import annotations

import math
import random
import threading
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.domains.acceptance import PRIORS, AcceptanceModel
from cascadeflow.domains.complexity import ComplexityLevel
from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

LEVELS = get_args(ComplexityLevel)
MODEL = "openai:gpt-5-mini"


def learn(model: AcceptanceModel, outcomes: Iterable[bool], *, domain: str = "code") -> None:
    for accepted in outcomes:
        model.observe(domain, "hard", MODEL, accepted=accepted)


def test_what_was_never_drafted_is_expected_to_be_as_its_level_is() -> None:
    model = AcceptanceModel()
    for level in LEVELS:
        estimate = model.estimate("code", level, MODEL)
        assert estimate.probability == pytest.approx(PRIORS[level])
        assert estimate.observations == 0
    assert sorted(PRIORS.values(), reverse=True) == [PRIORS[level] for level in LEVELS]


def test_a_domain_that_was_never_drafted_begins_where_the_model_stands_elsewhere() -> None:
    model = AcceptanceModel()
    learn(model, [True] * 60)
    elsewhere = model.estimate("law", "hard", MODEL)
    assert elsewhere.observations == 0
    assert 0.75 < elsewhere.probability < model.estimate("code", "hard", MODEL).probability
    # Another level, and another model, begin where their level does.
    assert model.estimate("code", "expert", MODEL).probability == pytest.approx(PRIORS["expert"])
    assert model.estimate("code", "hard", "x:y").probability == pytest.approx(PRIORS["hard"])


def test_each_domain_comes_to_its_own_whatever_the_others_do() -> None:
    model = AcceptanceModel()
    for number in range(400):
        learn(model, [True], domain="code")
        learn(model, [number % 10 == 0], domain="my own domain")
    assert model.estimate("code", "hard", MODEL).probability > 0.97
    assert model.estimate("my own domain", "hard", MODEL).probability == pytest.approx(
        0.1, abs=0.05
    )


@pytest.mark.parametrize("accepted", [True, False])
def test_what_holds_for_one_domain_only_moves_no_other(*, accepted: bool) -> None:
    model = AcceptanceModel()
    learn(model, [True, False] * 10, domain="math")
    before = [model.estimate(domain, "hard", MODEL) for domain in ("math", "law")]
    own = model.estimate("code", "hard", MODEL)
    for _ in range(60):
        model.observe("code", "hard", MODEL, accepted=accepted, elsewhere=False)
    assert [model.estimate(domain, "hard", MODEL) for domain in ("math", "law")] == before
    learned = model.estimate("code", "hard", MODEL)
    assert learned.observations > 30
    assert (learned.probability > own.probability) == accepted
    # And what is learned of all afterwards still moves it.
    learn(model, [True] * 60, domain="math")
    assert model.estimate("law", "hard", MODEL).probability > before[1].probability


def test_it_follows_a_model_that_changes() -> None:
    model = AcceptanceModel(half_life=50)
    learn(model, [True] * 1_000)
    assert model.estimate("code", "hard", MODEL).probability > 0.95
    learn(model, [False] * 50)
    assert model.estimate("code", "hard", MODEL).probability == pytest.approx(0.5, abs=0.06)
    learn(model, [False] * 150)
    assert model.estimate("code", "hard", MODEL).probability < 0.1


def test_a_longer_half_life_is_surer() -> None:
    def after(half_life: float) -> float:
        model = AcceptanceModel(half_life=half_life)
        learn(model, [True, False] * 500)
        estimate = model.estimate("code", "hard", MODEL)
        return estimate.high - estimate.low

    assert after(1_000) < after(100) < after(10)


outcomes = st.lists(st.booleans(), max_size=80)


@given(before=outcomes, level=st.sampled_from(LEVELS))
def test_an_accepted_draft_never_lowers_the_estimate_and_a_rejected_one_never_raises_it(
    before: list[bool], level: ComplexityLevel
) -> None:
    model = AcceptanceModel(half_life=20)
    for accepted in before:
        model.observe("code", level, MODEL, accepted=accepted)
    other = AcceptanceModel.from_dict(model.to_dict(), half_life=20)
    now = model.estimate("code", level, MODEL)
    assert 0 <= now.low <= now.probability <= now.high <= 1
    model.observe("code", level, MODEL, accepted=True)
    other.observe("code", level, MODEL, accepted=False)
    assert model.estimate("code", level, MODEL).probability >= now.probability - 1e-6
    assert other.estimate("code", level, MODEL).probability <= now.probability + 1e-6


def mass(start: float, end: float, a: float, b: float) -> float:
    """What of a beta distribution lies there: by the midpoint rule, as slow as it is obvious."""
    steps = 4_000
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    width = (end - start) / steps
    points = (start + width * (n + 0.5) for n in range(steps))
    return width * sum(
        math.exp((a - 1) * math.log(t) + (b - 1) * math.log1p(-t) - log_beta) for t in points
    )


@pytest.mark.parametrize("accepted", [0, 1, 3, 20, 37, 40])
def test_the_interval_leaves_out_5_percent_on_each_side(accepted: int) -> None:
    model = AcceptanceModel(half_life=1_000_000)
    order = [True] * accepted + [False] * (40 - accepted)
    random.Random(1).shuffle(order)
    learn(model, order)
    estimate = model.estimate("code", "hard", MODEL)
    behind = 8 + estimate.observations  # what is known of the level and elsewhere weighs 8
    a, b = estimate.probability * behind, (1 - estimate.probability) * behind
    # Where there is hardly anything on one side, it leaves out less on the other.
    if b < 1:
        assert estimate.high == 1
        assert 0.001 < mass(0, estimate.low, a, b) < 0.05
        return
    above = mass(estimate.high, 1, a, b)
    if a < 1:
        assert estimate.low == 0
        assert 0.001 < above < 0.05
    else:
        below = mass(0, estimate.low, a, b)
        assert below == pytest.approx(0.05, abs=0.01 if b > 1.5 else 0.04)
        assert above == pytest.approx(0.05, abs=0.012)


def test_the_truth_lies_in_the_interval_as_often_as_it_says() -> None:
    chance = random.Random(7)
    inside = 0
    for _ in range(300):
        truth = chance.random()
        model = AcceptanceModel()
        learn(model, (chance.random() < truth for _ in range(100)))
        estimate = model.estimate("code", "hard", MODEL)
        inside += estimate.low <= truth <= estimate.high
    assert inside / 300 > 0.85


def test_there_is_no_other_level_and_no_domain_without_a_name() -> None:
    model, wrong = AcceptanceModel(), "impossible"
    with pytest.raises(InvalidRequestError, match="trivial, simple"):
        model.observe("code", wrong, MODEL, accepted=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="trivial, simple"):
        model.estimate("code", wrong, MODEL)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="empty"):
        model.observe("", "hard", MODEL, accepted=True)


@pytest.mark.parametrize(
    "options",
    [
        {"half_life": 0},
        {"explore_every": -1},
        {"explore_every": 2.0},
        {"max_cells": 1},
        {"priors": {"trivial": 0.5}},
        {"priors": {**PRIORS, "hard": 1.1}},
        {"priors": {**PRIORS, "hard": float("nan")}},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        AcceptanceModel(**options)


def test_priors_of_ones_own_are_where_it_begins() -> None:
    model = AcceptanceModel(priors={**PRIORS, "hard": 0.6})
    assert model.estimate("code", "hard", MODEL).probability == pytest.approx(0.6)


# Bounded, shared, forgotten


def test_however_many_domains_come_the_table_is_bounded_and_the_used_ones_stay() -> None:
    model = AcceptanceModel(max_cells=20)
    for number in range(500):
        model.observe(f"domain-{number}", "hard", MODEL, accepted=True)
        model.explore(f"domain-{number}", "hard", MODEL)
        model.estimate("domain-0", "hard", MODEL)
    assert len(model.learned) == 20
    assert len(model._skipped) == 20
    assert model.estimate("domain-0", "hard", MODEL).observations == 1
    assert model.estimate("domain-1", "hard", MODEL).observations == 0
    assert model.estimate("domain-1", "hard", MODEL).probability > 0.9  # as elsewhere


def test_threads_lose_no_observation() -> None:
    model = AcceptanceModel(half_life=1_000_000)

    def work(accepted: bool) -> None:
        for _ in range(2_000):
            model.observe("code", "hard", MODEL, accepted=accepted)
            model.estimate("code", "hard", MODEL)

    threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    estimate = model.estimate("code", "hard", MODEL)
    assert estimate.observations == pytest.approx(8_000, rel=0.01)
    assert estimate.probability == pytest.approx(0.5, abs=0.01)


def test_what_is_forgotten_is_what_was_asked_for() -> None:
    def taught() -> AcceptanceModel:
        model = AcceptanceModel()
        for domain in ("code", "law"):
            for name in ("a:a", "b:b"):
                for _ in range(20):
                    model.observe(domain, "hard", name, accepted=True)
        return model

    def known(model: AcceptanceModel) -> set[str]:
        return {
            f"{domain} {name[0]}"
            for domain in ("code", "law")
            for name in ("a:a", "b:b")
            if model.estimate(domain, "hard", name).observations
        }

    model = taught()
    model.reset(domain="code")
    assert known(model) == {"law a", "law b"}
    # What code taught of the model elsewhere is kept: it begins there anew.
    assert model.estimate("code", "hard", "a:a").probability > 0.8
    model = taught()
    model.reset(model="a:a")
    assert known(model) == {"code b", "law b"}
    assert model.estimate("code", "hard", "a:a").probability == pytest.approx(PRIORS["hard"])
    model = taught()
    model.reset(domain="code", model="a:a")
    assert known(model) == {"code b", "law a", "law b"}
    model.reset()
    assert known(model) == set()
    assert len(model.learned) == 0


# Exploring


def test_of_every_so_many_exactly_one_is_drafted_to_learn() -> None:
    model = AcceptanceModel(explore_every=5)
    drafted = [model.explore("code", "hard", MODEL) for _ in range(20)]
    assert drafted == ([False] * 4 + [True]) * 4


def test_each_domain_level_and_model_is_counted_by_itself() -> None:
    model = AcceptanceModel(explore_every=3)
    cells: list[tuple[str, ComplexityLevel, str]] = [
        ("code", "hard", "a:a"),
        ("law", "hard", "a:a"),
        ("code", "expert", "a:a"),
        ("code", "hard", "b:b"),
    ]
    drafted = {cell: [model.explore(*cell) for _ in range(6)] for cell in cells}
    assert set(map(tuple, drafted.values())) == {(False, False, True) * 2}


def test_every_request_may_be_explored_and_none() -> None:
    every, none = AcceptanceModel(explore_every=1), AcceptanceModel(explore_every=0)
    assert all(every.explore("code", "hard", MODEL) for _ in range(5))
    assert not any(none.explore("code", "hard", MODEL) for _ in range(500))


def test_threads_share_one_count() -> None:
    model = AcceptanceModel(explore_every=10)
    drafted: list[bool] = []

    def work() -> None:
        drafted.extend([model.explore("code", "hard", MODEL) for _ in range(1_000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(drafted) == 400


def test_forgetting_begins_to_count_anew() -> None:
    model = AcceptanceModel(explore_every=3)
    for domain in ("code", "law"):
        assert not model.explore(domain, "hard", MODEL)
        assert not model.explore(domain, "hard", MODEL)
    model.reset(domain="code")
    assert not model.explore("code", "hard", MODEL)
    assert model.explore("law", "hard", MODEL)


# Stored


@given(outcomes=outcomes)
def test_what_was_learned_comes_back_with_the_options_of_the_one_who_asks(
    outcomes: list[bool],
) -> None:
    model = AcceptanceModel()
    learn(model, outcomes)
    again = AcceptanceModel.from_dict(model.to_dict(), explore_every=2)
    assert again.estimate("code", "hard", MODEL).probability == pytest.approx(
        model.estimate("code", "hard", MODEL).probability, abs=1e-5
    )
    assert [again.explore("code", "hard", MODEL) for _ in range(2)] == [False, True]


def test_a_document_of_something_else_is_refused_with_what_to_do() -> None:
    with pytest.raises(StoreError, match=r"delete the note 'learned\.acceptance'"):
        AcceptanceModel.from_dict({"version": 1})
    with pytest.raises(StoreError, match="upgrade"):
        AcceptanceModel.from_dict({"what": "learned.acceptance", "version": 2})
