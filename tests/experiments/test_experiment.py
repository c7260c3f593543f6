"""An experiment: what it refuses, what it counts, when it stops a variant."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.experiments import Experiment, Guardrail, MemoryExperiments, Metric, Variant
from cascadeflow.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow.experiments import Assignment

PAIR = [Variant(name="a"), Variant(name="b")]
THUMB = Metric(name="thumb", better="higher", kind="share")


def made(**options: Any) -> Experiment:
    return Experiment(options.pop("name", "x"), options.pop("variants", PAIR), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "an experiment's name must be printable text"),
        ({"name": "a\nb"}, "printable"),
        ({"variants": []}, "at least two variants"),
        ({"variants": PAIR[:1]}, "at least two variants; the agent as it is"),
        ({"variants": [PAIR[0], PAIR[0]]}, "named twice: a"),
        ({"variants": PAIR[0]}, "must be a list of Variant"),
        ({"variants": ["a", "b"]}, r"must be Variant\(name=…\), not str"),
        ({"metric": "costs"}, "a metric is one of cost, latency_ms.*or your own, such as"),
        ({"metric": Metric(name="cost", better="lower", kind="share")}, "another name"),
        ({"control": "c"}, "control of 'x' must be one of a, b; not 'c'"),
        ({"guardrails": ["error"]}, "guardrails must be a list of Guardrail"),
        ({"guardrails": Guardrail(metric="error", at_most=0.1)}, None),
        ({"also": THUMB}, "also must be a list of Metric"),
        (
            {"metric": THUMB, "also": [Metric(name="thumb", better="lower")]},
            "'thumb' is given twice",
        ),
        ({"share": 0}, "share must be a number above 0"),
        ({"share": 1.5}, "share must be"),
        ({"confidence": 1}, "confidence must be a number above 0.5"),
        ({"expected_users": 0}, "expected_users must be a number from 1"),
        ({"every": "often"}, "every must be a number from 1"),
        ({"store": 5}, "store must be"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(
    options: dict[str, Any], message: str | None
) -> None:
    if message is None:
        assert len(made(**options).guardrails) == 1
        return
    with pytest.raises(ConfigurationError, match=message):
        made(**options)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Variant(name=""), "a variant's name"),
        (lambda: Variant(name="v", weight=0), "more than 0, not 0.0: take the variant out"),
        (lambda: Variant(name="v", weight=float("nan")), "must be a finite number"),
        (lambda: Variant(name="v", quality="fast"), r"QualityConfig.fast\(threshold=0.9\)"),  # type: ignore[arg-type]
        (lambda: Variant(name="v", models="openai:x"), "must be a list, such as"),
        (lambda: Variant(name="v", models=[]), "is empty: name a model"),
        (lambda: Variant(name="v", models=[3]), "a model is text"),  # type: ignore[list-item]
        (lambda: Variant(name="v", models=[{"name": "x"}]), "no ModelConfig can be made"),
        (
            lambda: Variant(name="v", models=["openai:x"], verifiers=["openai:y"]),
            "give models=, or draft_models= and verifiers=, not both",
        ),
        (lambda: Variant(name="v", drafting="often"), "drafting of variant 'v' must be one of"),  # type: ignore[arg-type]
        (lambda: Guardrail(metric="error"), "needs one of at_most=, at_least= and"),
        (lambda: Guardrail(metric="error", at_most=0.1, worse_by=0.1), "at_most and worse_by"),
        (lambda: Guardrail(metric="error", at_most=2), "must lie in 0..1, not 2.0"),
        (lambda: Guardrail(metric="cost", worse_by=-1), "must be at least 0"),
        (lambda: Guardrail(metric="cost", at_most=1, quantile=1), "between 0 and 1"),
        (lambda: Guardrail(metric="cost", worse_by=1, quantile=0.9), "stand beside at_most="),
        (lambda: Guardrail(metric="speed", at_most=1), "a metric is one of"),
        (lambda: Metric(name="m", better="more"), "better must be 'lower' or 'higher'"),  # type: ignore[arg-type]
        (lambda: Metric(name="m", better="lower", kind="x"), "kind must be"),  # type: ignore[arg-type]
    ],
)
def test_a_part_that_cannot_be_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build()


def test_a_variant_says_what_it_changes_and_no_key_is_in_its_description() -> None:
    variant = Variant(
        name="v",
        quality=QualityConfig.fast(threshold=0.9),
        draft_models=[{"name": "m", "provider": "openai", "api_key": "sk-secret"}],
        drafting="always",
    )
    assert variant.description["quality"] == {"mode": "fast", "threshold": 0.9}
    assert variant.changes == ("quality", "draft_models", "drafting")
    assert "secret" not in repr(variant.description)
    other = Variant(name="v", draft_models=[{"name": "m", "provider": "openai", "temperature": 1}])
    assert other.description["draft_models"] == variant.description["draft_models"]
    assert other.description["draft_models_digest"] != variant.description["draft_models_digest"]


def assigned(trial: Experiment, user: str) -> Assignment:
    assignment = trial.choose(user, "")
    assert assignment is not None
    return assignment


def run(
    trial: Experiment, outcome: Callable[[str, random.Random], dict[str, float]], users: int
) -> None:
    draw = random.Random(7)
    for number in range(users):
        assignment = assigned(trial, f"u{number}")
        trial.observe(assignment, outcome(assignment.variant, draw))


def test_a_difference_is_found_and_on_the_right_side() -> None:
    for metric, better in (("cost", "better"), (Metric(name="cost", better="higher"), "worse")):
        trial = made(metric=metric)
        run(trial, lambda name, draw: {"cost": draw.gauss(1.0 - 0.3 * (name == "b"), 0.3)}, 1000)
        control, variant = trial.report().variants
        assert control.control
        assert control.primary.verdict is None
        primary = variant.primary
        assert primary.verdict == better
        assert primary.low is not None
        assert primary.high is not None
        assert primary.difference is not None
        assert primary.p is not None
        assert primary.low < -0.3 < primary.high < 0
        assert primary.relative == pytest.approx(-0.3, abs=0.05)
        assert primary.p < 0.001


def test_a_higher_confidence_and_more_variants_make_wider_intervals() -> None:
    def width(confidence: float, names: str) -> float:
        trial = made(variants=[Variant(name=n) for n in names], confidence=confidence)
        run(trial, lambda _, draw: {"cost": draw.gauss(1.0, 0.3)}, 1000)
        primary = trial.report().variants[1].primary
        assert primary.high is not None
        assert primary.low is not None
        return primary.high - primary.low

    assert width(0.9, "ab") < width(0.95, "ab") < width(0.99, "ab")
    assert width(0.95, "ab") < width(0.95, "abc")


def test_intervals_are_tightest_at_the_number_of_users_that_was_expected() -> None:
    def width(expected_users: int, users: int) -> float:
        trial = made(expected_users=expected_users)
        run(trial, lambda _, draw: {"cost": draw.gauss(0.0, 1.0)}, users)
        primary = trial.report().variants[1].primary
        assert primary.high is not None
        assert primary.low is not None
        return primary.high - primary.low

    for users in (200, 2000):
        widths = {expected: width(expected, users) for expected in (20, 200, 2000, 20_000)}
        assert min(widths, key=widths.__getitem__) == users


def test_a_guard_rail_stops_a_variant_and_its_users_are_given_control(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryExperiments()
    rails = [Guardrail(metric="error", at_most=0.05)]
    trial = made(store=store, guardrails=rails)
    user = next(f"u{n}" for n in range(99) if assigned(trial, f"u{n}").variant == "b")
    run(trial, lambda name, _: {"error": float(name == "b")}, 60)
    trial.flush()
    assert trial.stopped == {"b"}
    assert "variant b was stopped" in caplog.text
    again = assigned(trial, user)
    assert (again.variant, again.config.name, again.counted) == ("a", "a", False)
    before = trial.report().variants[0].users
    trial.observe(again, {"error": 0.0})
    report = trial.report()
    assert report.variants[0].users == before  # it was not drawn into control
    assert report.variants[1].guardrails[0].broken
    assert "error at most 0.05" in (report.variants[1].stopped or "")
    assert made(store=store).stopped == {"b"}  # for the next process too


@pytest.mark.parametrize(
    ("rail", "outcome"),
    [
        (
            Guardrail(metric="latency_ms", at_most=2000, quantile=0.95),
            lambda name, draw: {"latency_ms": 3000.0 if name == "b" and draw.random() < 0.5 else 9},
        ),
        (
            Guardrail(metric="quality", at_least=0.8),
            lambda name, draw: {"quality": 0.9 if name == "a" else draw.uniform(0.1, 0.5)},
        ),
        (
            Guardrail(metric="quality", at_least=0.8, quantile=0.1),
            lambda name, draw: {"quality": 0.9 if name == "a" or draw.random() < 0.5 else 0.2},
        ),
        (
            Guardrail(metric="cost", worse_by=0.1),
            lambda name, draw: {"cost": draw.gauss(1.0 + (name == "b"), 0.3)},
        ),
        (
            Guardrail(metric="accepted", worse_by=0.1),
            lambda name, draw: {"accepted": float(name == "a" or draw.random() < 0.2)},
        ),
    ],
)
def test_each_kind_of_guard_rail_stops_who_breaks_it_and_nobody_else(
    rail: Guardrail, outcome: Callable[[str, random.Random], dict[str, float]]
) -> None:
    trial = made(guardrails=[rail])
    run(trial, outcome, 400)
    trial.flush()
    assert trial.stopped == {"b"}
    kept = made(guardrails=[rail])
    run(kept, lambda _, draw: outcome("a", draw), 400)
    kept.flush()
    assert kept.stopped == set()


def test_control_is_never_stopped_by_a_guard_rail() -> None:
    trial = made(guardrails=[Guardrail(metric="error", at_most=0.05)])
    run(trial, lambda name, _: {"error": float(name == "a")}, 200)
    trial.flush()
    assert trial.stopped == set()


def test_what_is_stopped_by_hand_stays_stopped() -> None:
    store = MemoryExperiments()
    trial = made(store=store)
    with pytest.raises(ConfigurationError, match="'a' is control"):
        trial.stop("a", reason="no")
    with pytest.raises(ConfigurationError, match="has no variant 'c'"):
        trial.stop("c", reason="no")
    with pytest.raises(ConfigurationError, match="needs a reason"):
        trial.stop("b", reason=" ")
    trial.stop("b", reason="too slow")
    assert {assigned(trial, f"u{n}").variant for n in range(50)} == {"a"}
    trial.stop(reason="decided")
    assert not trial.running
    assert trial.choose("ada", "") is None
    other = made(store=store)
    assert other.choose("ada", "") is None
    report = other.report()
    assert report.state == "stopped"
    assert "decided" in (report.stopped or "")


def test_another_process_hears_of_a_stop_when_it_next_writes() -> None:
    store = MemoryExperiments()
    one, other = made(store=store), made(store=store)
    one.stop("b", reason="too slow")
    assert other.stopped == set()
    run(other, lambda _, __: {"cost": 1.0}, 40)
    other.flush()
    assert other.stopped == {"b"}
    run(other, lambda _, __: {"cost": 1.0}, 200)
    report = other.report()
    assert report.variants[1].users == 0  # drawn after it was stopped
    assert report.sample_ratio_ok


def test_your_own_metric_is_counted_by_user() -> None:
    trial = made(metric=THUMB, also=[Metric(name="stars", better="higher")])
    for number in range(100):
        user = f"u{number}"
        assert trial.record("thumb", float(assigned(trial, user).variant == "b"), user_id=user)
        assert trial.record("stars", 4, user_id=user)
    control, variant = trial.report().variants
    assert (control.primary.mean, variant.primary.mean) == (0.0, 1.0)
    assert variant.primary.verdict == "better"
    assert variant.others[0].metric == "stars"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "likes", "value": 1, "user_id": "u"}, "takes these metrics of yours: thumb"),
        ({"metric": "cost", "value": 1, "user_id": "u"}, "it measures that one itself"),
        ({"metric": "thumb", "value": 2, "user_id": "u"}, "a number from 0 to 1, not 2"),
        ({"metric": "thumb", "value": float("nan"), "user_id": "u"}, "a number from 0 to 1"),
        ({"metric": "thumb", "value": True, "user_id": "u"}, "a number from 0 to 1"),
        ({"metric": "thumb", "value": 1}, "user_id=, or request_id="),
        ({"metric": "thumb", "value": 1, "user_id": "u", "request_id": "r"}, "user_id=, or"),
    ],
)
def test_a_report_that_cannot_be_counted_is_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        made(metric=THUMB).record(**arguments)


def test_who_takes_no_part_is_not_counted() -> None:
    trial = made(metric=THUMB, share=0.5)
    counted = [trial.record("thumb", 1, user_id=f"u{number}") for number in range(200)]
    assert 60 < sum(counted) < 140
    assert trial.report().users == sum(counted)


def test_what_was_seen_is_written_behind_the_requests_back() -> None:
    written = threading.Event()

    class Store(MemoryExperiments):
        def add(self, *arguments: Any) -> Any:
            assert threading.current_thread().name == "cascadeflow-experiment"
            try:
                return super().add(*arguments)
            finally:
                written.set()

    clock = ManualClock()
    trial = made(store=Store(), every=10, clock=clock)
    run(trial, lambda _, __: {"cost": 1.0}, 9)
    assert not written.is_set()
    run(trial, lambda _, __: {"cost": 1.0}, 1)
    assert written.wait(20)
    written.clear()
    patient = made(store=Store(), every=1000, clock=clock)
    run(patient, lambda _, __: {"cost": 1.0}, 5)
    assert not written.is_set()
    clock.advance(2)
    run(patient, lambda _, __: {"cost": 1.0}, 1)
    assert written.wait(20)


def test_a_store_that_fails_is_told_once_and_requests_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = threading.Semaphore(0)

    class Store(MemoryExperiments):
        def add(self, *_: Any) -> Any:
            tried.release()
            raise OSError("the disk is gone")

    trial = made(store=Store(), every=5)
    run(trial, lambda _, __: {"cost": 1.0}, 5)
    assert tried.acquire(timeout=20)
    with pytest.raises(OSError, match="gone"):
        trial.flush()
    deadline = threading.Event()
    while trial._thread is not None:
        deadline.wait(0.001)
    assert caplog.text.count("cannot be written, and is kept in memory") == 1


def test_the_way_of_the_interval_is_noted_at_a_bounded_number_of_moments() -> None:
    trial = made(every=10**6)
    draw = random.Random(1)
    for number in range(3000):
        trial.observe(assigned(trial, f"u{number}"), {"cost": draw.gauss(1, 1)})
        if number % 10 == 0:
            trial.flush()
    history = trial.report().variants[1].history
    assert 20 < len(history) < 32
    users = [point[0] for point in history]
    assert users == sorted(users)
    assert all(low < estimate < high for _, estimate, low, high in history)
