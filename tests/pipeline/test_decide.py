"""Whether drafting pays: never the dearer way by the figures, and learned from what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascadeflow.budgets.stores.memory import MemoryStore
from cascadeflow.domains.acceptance import PRIORS, AcceptanceModel, Estimate
from cascadeflow.domains.complexity import ComplexityLevel
from cascadeflow.errors import ConfigurationError, InvalidRequestError, StoreError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.models.usage import Usage
from cascadeflow.pipeline.decide import Decision, Drafting, decide
from cascadeflow.pipeline.request import Request, normalise
from cascadeflow.testing.clock import ManualClock

AT = datetime(2026, 11, 22, tzinfo=UTC)
LEVELS: tuple[ComplexityLevel, ...] = get_args(ComplexityLevel)
CHEAP = ModelConfig("small", "nobody", price=Price(input=1, output=4))
DEAR = ModelConfig("large", "nobody", price=Price(input=2, output=8))
ASKED = normalise("Prove that there are infinitely many primes.")

costs = st.integers(0, 10**12)
shares = st.floats(0, 1)
levels = st.sampled_from(LEVELS)


def accepted_with(probability: float) -> Estimate:
    return Estimate(probability=probability, observations=0.0, behind=8.0)


def chosen(
    p: float,
    draft: int | None,
    verifier: int | None,
    *,
    level: ComplexityLevel = "hard",
    **rest: Any,
) -> Decision:
    return decide(
        level=level,
        acceptance=accepted_with(p),
        draft_cost=draft,
        verifier_cost=verifier,
        **rest,
    )


@given(p=shares, draft=costs, validation=costs, verifier=costs, level=levels)
def test_the_dearer_way_is_never_chosen(
    p: float, draft: int, validation: int, verifier: int, level: ComplexityLevel
) -> None:
    assume(draft or validation or verifier)
    decision = chosen(p, draft, verifier, level=level, validation_cost=validation)
    cascade = draft + validation + (1 - Fraction(p)) * verifier
    billionth = Fraction(verifier, 10**9)  # probabilities are compared in billionths
    if decision.route == "cascade":
        assert cascade < verifier
    else:
        assert cascade + billionth >= verifier
    assert decision.basis == "cost"
    assert decision.expected_direct == verifier
    assert decision.expected_cascade is not None
    assert -billionth <= decision.expected_cascade - cascade < 1 + billionth
    assert (decision.draft_cost, decision.validation_cost) == (draft, validation)
    assert decision.acceptance.probability == p


@given(
    p=shares, likelier=shares, draft=costs, validation=costs, verifier=costs, more=costs,
    margin=shares, what=st.sampled_from(["p", "draft", "validation", "verifier", "margin"]),
)  # fmt: skip
def test_whatever_speaks_for_a_draft_never_turns_it_down(
    *,
    p: float,
    likelier: float,
    draft: int,
    validation: int,
    verifier: int,
    more: int,
    margin: float,
    what: str,
) -> None:
    assume(draft and verifier)
    worse: dict[str, Any] = {"p": min(p, likelier), "draft": draft + more, "verifier": verifier}
    worse |= {"validation_cost": validation, "margin": margin}
    better = dict(worse)
    match what:
        case "p":
            better["p"] = max(p, likelier)
        case "draft":
            better["draft"] = draft
        case "validation":
            worse["validation_cost"] += more
        case "verifier":
            better["verifier"] += more
        case "margin":
            better["margin"] = margin * likelier
    if chosen(**worse).route == "cascade":
        assert chosen(**better).route == "cascade"


@given(p=shares, draft=costs, verifier=costs, margin=shares)
def test_a_margin_asks_for_so_much_less(p: float, draft: int, verifier: int, margin: float) -> None:
    assume(draft and verifier)
    if chosen(p, draft, verifier, margin=margin).route == "cascade":
        assert draft + (1 - Fraction(p)) * verifier < verifier * (1 - Fraction(margin)) + Fraction(
            verifier, 10**9
        )


def test_a_draft_pays_just_above_its_break_even() -> None:
    decision = chosen(0.25, 250, 1_000)
    assert (decision.route, decision.break_even) == ("direct", 0.25)
    assert chosen(0.251, 250, 1_000).route == "cascade"
    assert chosen(0.251, 250, 1_000, margin=0.1).route == "direct"
    assert chosen(0.251, 250, 1_000, validation_cost=100).route == "direct"


def test_the_reason_says_what_decided() -> None:
    assert (
        chosen(0.9, 100, 1_000).reason == "a draft pays: accepted with 90%, 80% cheaper on average"
    )
    assert chosen(0.2, 400, 1_000).reason == "a draft does not pay: accepted with 20%, it needs 40%"
    assert chosen(1.0, 5, 5).reason == "a draft costs no less than the verifier's answer"
    assert chosen(1.0, 5, 0).route == "direct"


def test_an_opinion_that_costs_more_than_it_saves_is_what_the_reason_names() -> None:
    said = "a draft and {} cost no less than the verifier's answer: 10% and 95% of it"
    assert chosen(1.0, 100, 1_000, validation_cost=950).reason == said.format("judging it")
    named = chosen(1.0, 100, 1_000, validation_cost=950, opinion_of="p:dear")
    assert named.reason == said.format("p:dear's opinion on it")
    alone = chosen(1.0, 1_000, 1_000, validation_cost=950)
    assert alone.reason == "a draft costs no less than the verifier's answer"
    assert chosen(1.0, 0, 0, validation_cost=5).route == "direct"


@given(p=shares, level=levels, up_to=levels, known=costs, which=st.integers(0, 2))
def test_where_a_cost_is_not_known_the_level_decides_and_it_says_so(
    p: float, level: ComplexityLevel, up_to: ComplexityLevel, known: int, which: int
) -> None:
    draft, verifier = [(None, None), (known, None), (None, known)][which]
    decision = chosen(
        p, draft, verifier, level=level, draft_up_to=up_to, problem="no price for x:y"
    )
    drafted = LEVELS.index(level) <= LEVELS.index(up_to)
    assert decision.route == ("cascade" if drafted else "direct")
    assert decision.basis == "level"
    assert decision.expected_cascade is None
    assert decision.break_even is None
    assert decision.reason.endswith("what would pay is not known: no price for x:y")
    assert decision.reason.startswith(f"{level} requests are {'' if drafted else 'not '}drafted")


@pytest.mark.parametrize("level", LEVELS)
def test_among_models_that_cost_nothing_the_level_decides(level: ComplexityLevel) -> None:
    decision = chosen(0.01, 0, 0, level=level)
    assert decision.route == ("direct" if level == "expert" else "cascade")
    assert decision.basis == "level"
    assert "neither model costs anything" in decision.reason


@pytest.mark.parametrize(
    "wrong", [{"draft": -1}, {"verifier": -1}, {"validation_cost": -1}, {"margin": 1.1}]
)
def test_figures_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        chosen(**{"p": 0.5, "draft": 1, "verifier": 1, **wrong})


# What an agent knows


def decided(drafting: Drafting, *, domain: str = "math", **settings: Any) -> Decision:
    given = {"level": "hard", "drafter": CHEAP, "verifier": DEAR, "at": AT, **settings}
    request: Request = given.pop("request", ASKED)
    return drafting.decide(request, domain=domain, **given)


def teach(drafting: Drafting, times: int, *, accepted: bool, domain: str = "math") -> None:
    for _ in range(times):
        drafting.judged(domain=domain, level="hard", model=CHEAP.id, accepted=accepted)


def test_it_drafts_where_drafts_were_accepted_and_not_where_they_were_not() -> None:
    drafting = Drafting()
    decision = decided(drafting)
    assert decision.acceptance.probability == pytest.approx(PRIORS["hard"])
    assert decision.route == "direct"
    assert decision.break_even == pytest.approx(0.5, abs=0.02)
    teach(drafting, 30, accepted=True)
    teach(drafting, 30, accepted=False, domain="law")
    assert decided(drafting).route == "cascade"
    assert decided(drafting, domain="law").route == "direct"


def test_longer_drafts_are_dearer_and_stop_paying() -> None:
    drafting = Drafting()
    teach(drafting, 100, accepted=True)
    assert decided(drafting).route == "cascade"
    for _ in range(100):
        usage = Usage(input_tokens=10, output_tokens=400, reasoning_tokens=3_000)
        drafting.answered(level="hard", model=CHEAP.id, usage=usage)
    decision = decided(drafting)
    assert decision.route == "direct"
    assert decision.reason == "a draft costs no less than the verifier's answer"
    # Unless it may not be long.
    short = normalise("Prove it.", max_tokens=50)
    assert decided(drafting, request=short).route == "cascade"


def test_what_nobody_said_of_usage_teaches_nothing() -> None:
    drafting = Drafting()
    for usage in (None, Usage(), Usage(input_tokens=5)):
        drafting.answered(level="hard", model=CHEAP.id, usage=usage)
    assert len(drafting.lengths.learned) == 0


def test_of_what_is_not_drafted_a_share_is_drafted_to_learn_and_so_it_comes_back() -> None:
    drafting = Drafting(acceptance=AcceptanceModel(explore_every=10, half_life=20))
    teach(drafting, 100, accepted=False)
    # From now on drafts are good.
    asked, explored = 0, 0
    while decided(drafting, explore=False).route == "direct":
        decision = decided(drafting)
        asked += 1
        if decision.explored:
            explored += 1
            assert decision.route == "cascade"
            assert decision.reason.startswith("drafted to learn: a draft does not pay")
            assert decision.expected_cascade is not None
            assert decision.expected_direct is not None
            assert decision.expected_cascade >= decision.expected_direct
            teach(drafting, 1, accepted=True)
    assert explored == asked // 10
    assert 10 <= explored <= 60


def test_explaining_a_decision_counts_for_nothing() -> None:
    drafting = Drafting(acceptance=AcceptanceModel(explore_every=2))
    for _ in range(10):
        assert not decided(drafting, explore=False).explored
    assert [decided(drafting).explored for _ in range(4)] == [False, True, False, True]


@pytest.mark.parametrize("options", [{"margin": 0.9}, {"draft_up_to": "simple"}])
def test_nothing_is_explored_where_no_draft_could_pay_or_the_cost_is_not_known(
    options: dict[str, Any],
) -> None:
    drafting = Drafting(acceptance=AcceptanceModel(explore_every=1), **options)
    unpriced = ModelConfig("unpriced", "nobody")
    verifier = DEAR if "margin" in options else unpriced
    assert not decided(drafting, verifier=verifier).explored
    assert not decided(drafting, drafter=DEAR, verifier=CHEAP).explored


def test_a_draft_whose_guessed_length_alone_makes_it_dear_is_tried_and_then_known_better() -> None:
    drafting = Drafting(acceptance=AcceptanceModel(explore_every=1))
    teach(drafting, 100, accepted=True)
    for _ in range(100):  # the verifier is terse, and nobody knows how long a draft is
        drafting.answered(level="hard", model=DEAR.id, usage=Usage(output_tokens=100))
    guessed = decided(drafting, explore=False)
    assert guessed.reason == "a draft costs no less than the verifier's answer"
    assert guessed.break_even is not None
    assert guessed.break_even > 1
    assert decided(drafting).explored
    for _ in range(100):
        drafting.answered(level="hard", model=CHEAP.id, usage=Usage(output_tokens=100))
    assert (decided(drafting).route, decided(drafting).explored) == ("cascade", False)
    # A draft that costs too much even where it is as short as the verifier's answer is not tried.
    strict = Drafting(
        acceptance=drafting.acceptance, lengths=drafting.lengths, margin=0.6, draft_up_to="expert"
    )
    assert not decided(strict).explored


def test_a_verdict_by_a_standard_of_its_own_says_nothing_of_other_domains() -> None:
    drafting = Drafting()
    before = decided(drafting, domain="law").acceptance
    for _ in range(50):
        drafting.judged(
            domain="math", level="hard", model=CHEAP.id, accepted=False, elsewhere=False
        )
    assert decided(drafting).acceptance.probability < 0.1
    assert decided(drafting, domain="law").acceptance == before
    teach(drafting, 50, accepted=False)
    assert decided(drafting, domain="law").acceptance.probability < before.probability


def test_an_unknown_price_is_named_in_the_reason() -> None:
    decision = decided(Drafting(), verifier=ModelConfig("unpriced", "nobody"))
    assert (decision.route, decision.basis) == ("cascade", "level")
    assert "the price of nobody:unpriced is not known" in decision.reason
    assert decision.draft_cost is not None


def test_what_judging_costs_counts() -> None:
    drafting = Drafting()
    teach(drafting, 100, accepted=True)
    cheap = decided(drafting)
    assert cheap.expected_cascade is not None
    dear = decided(drafting, validation_cost=10**9)
    assert dear.route == "direct"
    assert dear.expected_cascade == cheap.expected_cascade + 10**9


def test_what_was_learned_outlives_the_agent_and_is_forgotten_everywhere() -> None:
    store = MemoryStore(clock=ManualClock(AT))
    drafting = Drafting(notes=store)
    teach(drafting, 50, accepted=True)
    drafting.answered(level="hard", model=CHEAP.id, usage=Usage(output_tokens=100))
    drafting.close()
    drafting.close()
    again = Drafting(notes=store)
    assert decided(again).route == "cascade"
    assert len(again.lengths.learned) == 1
    again.reset(domain="math")
    assert len(again.lengths.learned) == 1
    again.reset()
    assert decided(again).acceptance.probability == pytest.approx(PRIORS["hard"])
    assert decided(Drafting(notes=store)).acceptance.probability == pytest.approx(PRIORS["hard"])
    assert len(Drafting(notes=store).lengths.learned) == 0
    again.close()


def test_without_a_store_there_is_nothing_to_save() -> None:
    drafting = Drafting()
    teach(drafting, 1, accepted=True)
    assert drafting.save() is False
    drafting.close()
    assert decided(drafting).acceptance.observations == 1


def test_a_store_of_ones_own_that_keeps_no_notes_is_warned_of_and_done_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    drafting = Drafting(notes=object())  # type: ignore[arg-type]
    assert "get_note and change_note" in caplog.text
    teach(drafting, 1, accepted=True)
    assert drafting.save() is False
    drafting.close()


def test_what_is_stored_and_cannot_be_read_is_refused_at_the_start() -> None:
    store = MemoryStore(clock=ManualClock(AT))
    store.put_note("learned.acceptance", {"what": "learned.acceptance", "version": 7})
    with pytest.raises(StoreError, match="upgrade"):
        Drafting(notes=store)


@pytest.mark.parametrize("wrong", [{"margin": -0.1}, {"margin": 2.0}, {"draft_up_to": "easy"}])
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Drafting(**wrong)
