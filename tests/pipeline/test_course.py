"""The cascade's decisions, walked through any weather without a network."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.models.completer import Reply
from cascadeflow.models.completion import Completion
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import CostOf
from cascadeflow.pipeline.cascade import Ask, Ending, Judge, course
from cascadeflow.pipeline.request import normalise
from cascadeflow.pipeline.route import Router
from cascadeflow.pipeline.settle import Call
from cascadeflow.quality.report import QualityReport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cascadeflow.pipeline.cascade import Command, Outcome
    from cascadeflow.pipeline.route import Plan

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def plan(count: int, *, force_direct: bool = False) -> Plan:
    models = [ModelConfig(f"m{index}", "openai", cost=float(index + 1)) for index in range(count)]
    return Router(models, at=NOW).plan(
        normalise("What is 2 + 2?"), force_direct=force_direct, complexity_hint="simple"
    )


def walk(
    plan: Plan,
    *,
    answers: Iterator[bool],
    accepts: Iterator[bool],
    late_after: int | None = None,
    keep_rejected: bool = False,
) -> tuple[list[Command], Ending]:
    """Does what the course says, as scripted; gives what it said and how it ended."""
    said: list[Command] = []
    walked = course(
        plan,
        out_of_time=lambda: late_after is not None and len(said) >= late_after,
        keep_rejected=keep_rejected,
    )
    outcome: Outcome = None
    while True:
        try:
            command = walked.send(outcome)
        except StopIteration as stop:
            return said, stop.value
        said.append(command)
        if isinstance(command, Judge):
            outcome = QualityReport(accepted=next(accepts))
        elif next(answers):
            request = normalise("Hi").for_model(command.model, max_tokens=None)
            reply = Reply(
                completion=Completion(text=command.model.name),
                attempts=(),
                duration_ms=0,
                transport_ms=0,
            )
            outcome = Call(command.model, command.role, request, reply, CostOf(nanodollars=0))
        else:
            outcome = None


def forever(*flags: bool) -> Iterator[bool]:
    return chain(flags, repeat(flags[-1]))


def names(said: list[Command]) -> list[str]:
    return [
        f"{command.role} {command.model.name}" if isinstance(command, Ask) else "judge"
        for command in said
    ]


def test_the_cheapest_drafts_and_the_dearest_verifies() -> None:
    said, ending = walk(plan(3), answers=forever(True), accepts=forever(False))
    assert names(said) == ["draft m0", "judge", "verifier m2"]
    assert ending.answer is not None
    assert ending.answer.model.name == "m2"
    assert ending.escalated


def test_drafters_fail_upwards_and_verifiers_downwards() -> None:
    said, _ = walk(
        plan(5), answers=forever(False, True, False, False, True), accepts=forever(False)
    )
    assert names(said) == [
        *("draft m0", "draft m1", "judge"),
        *("verifier m4", "verifier m3", "verifier m2"),
    ]


@given(
    count=st.integers(1, 6),
    answers=st.lists(st.booleans(), min_size=6, max_size=6),
    accepted=st.booleans(),
    late_after=st.none() | st.integers(0, 8),
    keep_rejected=st.booleans(),
    force_direct=st.booleans(),
)
def test_in_any_weather_the_course_keeps_its_promises(
    *,
    count: int,
    answers: list[bool],
    accepted: bool,
    late_after: int | None,
    keep_rejected: bool,
    force_direct: bool,
) -> None:
    the_plan = plan(count, force_direct=force_direct)
    said, ending = walk(
        the_plan,
        answers=forever(*answers, False),
        accepts=forever(accepted),
        late_after=late_after,
        keep_rejected=keep_rejected,
    )
    asks = [command for command in said if isinstance(command, Ask)]
    judgements = [command for command in said if isinstance(command, Judge)]
    answered = [ask for ask, answer in zip(asks, answers, strict=False) if answer]
    # Nobody is asked twice; nobody who is not in the plan; nobody after an answer that stands.
    assert len({ask.model.id for ask in asks}) == len(asks)
    assert {ask.model.id for ask in asks} <= {
        model.id for model in (*the_plan.drafters, *the_plan.verifiers)
    }
    assert len(judgements) <= 1
    assert len(answered) <= 2
    # Every draft that was answered was judged, before anything else was done.
    for place, command in enumerate(said):
        if isinstance(command, Ask) and command.role == "draft" and command in answered:
            following = said[place + 1]
            assert isinstance(following, Judge)
            assert following.draft.model is command.model
    if the_plan.route == "direct":
        assert {ask.role for ask in asks} <= {"direct"}
        assert not judgements
    # How it ended is what was done.
    final = next((ask for ask in answered if ask.role != "draft"), None)
    draft = next((ask for ask in answered if ask.role == "draft"), None)
    expected: Any = None
    if draft is not None and accepted:
        expected = draft.model
        assert final is None
    elif final is not None:
        expected = final.model
    elif draft is not None and keep_rejected:
        expected = draft.model
    assert (ending.answer.model if ending.answer else None) is expected
    assert (ending.quality is not None) == bool(judgements)
    assert ending.escalated == (draft is not None and any(ask.role == "verifier" for ask in asks))
    # Without an answer and with time left, everybody was asked.
    if ending.answer is None and late_after is None:
        assert len(asks) == count
