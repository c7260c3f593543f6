"""Checks that are off need nothing, and models of the user's own take the place of the shipped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.models.test_text_classifier import load
from tests.quality.local_judging import (
    CAPITAL,
    DOCUMENT,
    FERRY,
    SUPPORTED,
    balanced,
    by_name,
    judged,
    run,
    verdicts,
)
from tests.quality.local_models import Broken, Stranger

from cascadeflow.config import LOCAL_CHECKS, TEXT_CHECKS, TOKEN_CHECKS, QualityConfig
from cascadeflow.errors import ConfigurationError
from cascadeflow.models._paths import cache_dir
from cascadeflow.models.completion import Completion
from cascadeflow.models.embedding_files import PATH_VARIABLE
from cascadeflow.models.local_models import local_model, write_note
from cascadeflow.models.text_classifier import ClassifierModel
from cascadeflow.quality import judge_text
from cascadeflow.quality.validator import CascadeValidator, takes_a_while
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cascadeflow.quality.report import CheckReport, QualityReport


# What is off


def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the sentence model."""
    monkeypatch.setenv(PATH_VARIABLE, "/nowhere/at-all")


def test_the_names_that_may_be_off_are_those_of_the_checks_in_their_order() -> None:
    judgement = judge_text(CAPITAL, "Paris.")
    assert tuple(check.name for check in judgement.checks) == ("empty", *TEXT_CHECKS)
    report = judged(CAPITAL, "Paris.", Stranger())
    named = tuple(check.name for check in report.checks)
    assert named == ("empty", *TEXT_CHECKS, *TOKEN_CHECKS, "tool_calls", *LOCAL_CHECKS)
    assert QualityConfig.fast(without=(*TEXT_CHECKS, *LOCAL_CHECKS)).local_checks == ()


FAULTY = {
    "truncated": ("Tell me of Paris.", "Paris is the capital of"),
    "refusal": ("Tell me of Paris.", "I'm sorry, but I can't help with that."),
    "echo": ("What is the capital of France?", "What is the capital of France?"),
    "arithmetic": ("What is 12 * 12?", "12 * 12 = 154"),
}


@pytest.mark.parametrize("name", TEXT_CHECKS)
def test_a_text_check_that_is_off_is_reported_as_not_applicable(name: str) -> None:
    question, answer = FAULTY.get(name, (CAPITAL, "Paris."))

    def by(**off: Any) -> CheckReport:
        report = asyncio.run(
            CascadeValidator().judge(
                ChatRequest("m", (Message("user", question),)),
                Completion(text=answer, finish_reason="length" if name == "truncated" else "stop"),
                config=QualityConfig.fast(**off),
            )
        )
        return next(check for check in report.checks if check.name == name)

    if name in FAULTY:
        assert by().verdict == "failed"
    off = by(without=(name,))
    assert (off.verdict, off.score, off.reason) == ("not_applicable", 1.0, "")


def test_that_there_is_a_text_cannot_be_off() -> None:
    assert judged(CAPITAL, "", Stranger(), without=TEXT_CHECKS, threshold=0.0).score == 0.01
    with pytest.raises(ConfigurationError, match="there is no check empty that can be off"):
        balanced(without=("empty",))


@pytest.mark.parametrize("name", LOCAL_CHECKS)
def test_a_local_check_that_is_off_touches_no_model(name: str) -> None:
    embedder = Stranger()
    alone = tuple(each for each in LOCAL_CHECKS if each != name)
    question, answer = (CAPITAL, "Paris.") if name != "grounding" else (FERRY, SUPPORTED)
    all_pass = {
        "relevance_threshold": 0.0,
        "grounding_threshold": 0.0,
        "toxicity_threshold": 1.0,
    }
    with_it = verdicts(judged(question, answer, embedder, without=alone, **all_pass))
    assert with_it == dict.fromkeys(alone, "not_applicable") | {name: "passed"}
    assert embedder.asked
    without = judged(question, answer, Broken(), without=LOCAL_CHECKS, **all_pass)
    assert without.accepted is True
    assert verdicts(judged(question, answer, embedder, without=(name,)))[name] == "not_applicable"


def test_all_three_off_need_no_model_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere(monkeypatch)
    report = judged(CAPITAL, "Paris.", without=LOCAL_CHECKS)
    assert (report.mode, report.accepted) == ("balanced", True)
    assert report.score == judge_text(CAPITAL, "Paris.", finish_reason="stop").probability


# Models of one's own


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has pulled nothing yet."""
    for variable in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert tmp_path in (cache_dir(), *cache_dir().parents)
    return tmp_path


def test_a_toxicity_model_of_ones_own_is_taken_by_its_path(classifier: Callable[..., Path]) -> None:
    own = classifier("fine", "toxic")
    for place in (own, own / "model.onnx"):
        embedder = Stranger()
        checked = judged(
            CAPITAL, "Paris.", embedder, toxicity_model=str(place), toxicity_threshold=0.0
        )
        assert checked.accepted is False
        assert by_name(checked)["toxicity"].reason.startswith("toxic ")
        want = ClassifierModel.find(own).classify(["Paris."])[0][1]
        assert by_name(checked)["toxicity"].score == pytest.approx(1.0 - want, abs=1e-6)


def test_a_grounding_model_of_ones_own_is_taken_by_its_path(
    classifier: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = classifier("contradiction", "entailment", "neutral")
    nowhere(monkeypatch)  # and then that one model is enough
    without = ("relevance", "toxicity")

    def at(threshold: float) -> CheckReport:
        report = judged(
            FERRY,
            SUPPORTED,
            without=without,
            grounding_model=str(own),
            grounding_threshold=threshold,
        )
        return by_name(report)["grounding"]

    assert at(0.0).verdict == "passed"
    assert at(1.0).verdict == "failed"
    sentences = SUPPORTED.split(". ")
    pairs = [(DOCUMENT, sentence) for sentence in sentences]
    most = max(row[1] for row in ClassifierModel.find(own).classify(pairs))
    assert 0.0 < at(0.0).score <= most + 0.2


def test_a_model_that_was_pulled_is_taken_by_its_name(
    empty_home: Path, classifier: Callable[..., Path]
) -> None:
    model = local_model("toxic-bert")
    assert empty_home in model.folder.parents
    classifier("fine", "toxic", folder=model.folder)
    write_note(
        model, commit=None, source="here", paths=["model.onnx", "tokenizer.json", "config.json"]
    )
    for name in ("toxic-bert", "Xenova/toxic-bert"):
        report = judged(CAPITAL, "Paris.", Stranger(), toxicity_model=name, toxicity_threshold=0.0)
        assert by_name(report)["toxicity"].reason.startswith("toxic ")


def test_only_the_checks_that_are_on_need_their_model(
    classifier: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere(monkeypatch)
    own = str(classifier("fine", "toxic"))
    report = judged(
        CAPITAL,
        "Paris.",
        without=("relevance", "grounding"),
        toxicity_model=own,
        toxicity_threshold=1.0,
    )
    assert verdicts(report)["toxicity"] == "passed"
    with pytest.raises(ConfigurationError, match="relevance"):
        judged(CAPITAL, "Paris.", without=("grounding",), toxicity_model=own)


def test_the_advice_turns_off_what_needs_the_model_beside_what_is_off_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere(monkeypatch)
    with pytest.raises(ConfigurationError) as caught:
        judged(CAPITAL, "Paris.", None, without=("topic", "toxicity"))
    advice = "checks relevance, grounding by models on this machine"
    assert advice in str(caught.value)
    assert "without=('topic', 'toxicity', 'relevance', 'grounding'))" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "/nowhere/at-all"),
        ({"toxicity_model": "toxic-bert"}, "cascadeflow models pull toxic-bert"),
        ({"grounding_model": "org/nli"}, "cascadeflow models pull org/nli"),
        ({"toxicity_model": "unheard-of"}, "no local model is called 'unheard-of'"),
        ({"toxicity_model": "/nope"}, "there is no such file or folder: /nope"),
        ({"grounding_model": "./nli"}, "there is no such file or folder: nli"),
        ({"grounding_model": "my/own/nli"}, "there is no such file or folder: my/own/nli"),
        ({"toxicity_model": "own.onnx"}, "there is no such file or folder: own.onnx"),
    ],
)
def test_a_missing_model_says_how_to_get_it_and_how_to_do_without(
    config: dict[str, Any], says: str, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(empty_home.iterdir())
    nowhere(monkeypatch)
    with pytest.raises(ConfigurationError) as caught:
        judged(CAPITAL, "Paris.", None if not config else Stranger(), **config)
    assert says in str(caught.value)
    wanted = {"without": ("toxicity",) if "toxicity_model" in config else ("grounding",)}
    off = wanted["without"] if config else LOCAL_CHECKS  # what needs it, and nothing else
    assert f"QualityConfig.balanced(without={off!r})" in str(caught.value)
    if config:  # off, the model that is not there is not looked for
        assert judged(CAPITAL, "Paris.", Stranger(), **config, **wanted).mode == "balanced"


def test_a_model_of_another_kind_is_refused_before_anything_is_judged(
    classifier: Callable[..., Path],
) -> None:
    own = str(classifier("cat", "dog"))
    for option in ("toxicity_model", "grounding_model"):
        with pytest.raises(ConfigurationError, match="cat, dog"):
            CascadeValidator(Stranger()).local_checks(balanced(**{option: own}))


def test_a_model_that_gives_no_number_passes_nothing(classifier: Callable[..., Path]) -> None:
    own = classifier("entailment", "toxic")
    writer = load("onnx_writer")
    graph = writer.Graph().hidden_as()
    graph.constant("head", np.full((writer.WIDTH, 2), np.nan, dtype=np.float32))
    graph.node("MatMul", ["first", "head"], "logits")
    graph.output("logits", ["b", 2]).save(own / "model.onnx")
    for option, name in (("toxicity_model", "toxicity"), ("grounding_model", "grounding")):
        report = judged(FERRY, SUPPORTED, Stranger(), threshold=0.0, **{option: str(own)})
        assert report.accepted is False
        assert by_name(report)[name].verdict == "error"
        assert "it gave NaN for text 0" in by_name(report)[name].reason


def test_a_model_is_looked_for_once_per_configuration() -> None:
    validator = CascadeValidator(Stranger())
    checks = validator.local_checks(balanced())
    assert validator.local_checks(balanced(toxicity_threshold=0.5, threshold=0.1)) is checks
    assert validator.local_checks(balanced(without=("relevance",))) is not checks
    assert validator.local_checks(QualityConfig.fast()) is None


def test_warming_up_opens_what_is_needed_and_says_what_is_damaged(
    classifier: Callable[..., Path],
) -> None:
    own = classifier("fine", "toxic")
    config = balanced(toxicity_model=str(own), without=("relevance", "grounding"))
    checks = CascadeValidator().local_checks(config)
    assert checks is not None
    asyncio.run(checks.warm_up())
    (own / "model.onnx").unlink()  # it is in memory
    chat = ChatRequest("m", (Message("user", CAPITAL),))
    found = run(checks, chat, Completion(text="Paris."), toxicity_threshold=1.0)
    assert found["toxicity"] == "passed"
    damaged = own.parent / "damaged"
    classifier("fine", "toxic", folder=damaged)
    (damaged / "model.onnx").write_bytes(b"no graph")
    broken = CascadeValidator().local_checks(
        balanced(toxicity_model=str(damaged), without=("relevance", "grounding"))
    )
    assert broken is not None
    with pytest.raises(ConfigurationError, match=r"model\.onnx"):
        asyncio.run(broken.warm_up())


def test_a_text_that_takes_a_while_is_judged_alike_and_leaves_the_loop_free() -> None:
    code = "Here:\n```javascript\n" + ("/[" * 199 + "\n") * 10 + "```\n" + "And so on. " * 40
    draft = Completion(text=code, finish_reason="stop")
    request = ChatRequest("m", (Message("user", "Write a pattern in JavaScript."),))
    config = QualityConfig.fast()
    assert takes_a_while(request, draft)
    assert not takes_a_while(request, Completion(text="Short.", finish_reason="stop"))

    async def beside() -> tuple[QualityReport, int]:
        judging = asyncio.create_task(
            CascadeValidator().judge_text_aside(request, draft, config=config)
        )
        turns = 0
        while not judging.done():
            turns += 1
            await asyncio.sleep(0)
        return await judging, turns

    report, turns = asyncio.run(beside())
    assert report == CascadeValidator().judge_text(request, draft, config=config)
    assert turns > 1
