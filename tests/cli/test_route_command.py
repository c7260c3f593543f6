"""`cascadeflow route`: what it explains is what an agent does, and nobody is asked."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from cascadeflow.agent import CascadeAgent
from cascadeflow.cli.app import app
from cascadeflow.cli.bars import bar, needle, shortened, span
from cascadeflow.cli.route.command import EXAMPLE_MODELS
from cascadeflow.cli.route.explain import explain
from cascadeflow.domains.acceptance import PRIORS
from cascadeflow.domains.detector import DomainDetector
from cascadeflow.domains.registry import Domain
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import Price
from cascadeflow.pipeline.decide import Drafting
from cascadeflow.pipeline.request import normalise
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from typer.testing import Result

    from cascadeflow.models.embedding import SentenceModel

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SQL = "SELECT name FROM users WHERE id = 3 -- why is this slow?"
RULES = ("--layers", "rules")
STATIONS = ["request", "rules", "semantic", "zero-shot"]
STATIONS += ["domain", "complexity", "models", "expected"]
REQUESTS = [
    SQL,
    "What is the capital of Peru?",
    "Prove that there are infinitely many primes, then compare three proofs of it in a table.",
    "hm",
]


def test_without_models_and_keys_two_models_are_an_example(answered: Answered, call: Call) -> None:
    found = answered("route", SQL, *RULES)
    assert found["models_from"] == "example"
    assert {each["model"] for each in found["models"]} == set(EXAMPLE_MODELS)
    assert "an example" in call("route", SQL, *RULES).stdout


def test_models_come_from_the_option_then_the_environment(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADEFLOW_MODELS", "openai:gpt-5-mini,openai:gpt-5")
    found = answered("route", SQL, *RULES)
    assert found["models_from"] == "environment"
    assert {each["model"] for each in found["models"]} == {"openai:gpt-5-mini", "openai:gpt-5"}
    one = answered(
        "route", SQL, *RULES, "-m", "openai:gpt-5-nano, openai:gpt-5", "-m", "xai:grok-4.3"
    )
    assert one["models_from"] == "option"
    assert len(one["models"]) == 3


def test_the_layers_say_what_the_detector_says(answered: Answered) -> None:
    for text in REQUESTS:
        holds_what_the_detector_says(text, answered)


def holds_what_the_detector_says(text: str, answered: Answered) -> None:
    found = answered("route", text, *RULES)
    said = DomainDetector(semantic=False).detect_by_rules(text)
    rules, semantic, zero_shot = found["layers"]
    report = said.layers[0]
    assert (found["domain"], found["decided_by"]) == (said.domain, said.layer)
    assert found["confidence"] == said.confidence
    assert [rules["layer"], rules["answered"]] == ["rules", report.answered]
    assert rules["threshold"] == report.threshold
    assert rules["probabilities"] == [
        {"domain": name, "probability": probability} for name, probability in report.probabilities
    ]
    weights = [abs(each["weight"]) for each in rules["evidence"]]
    assert weights == sorted(weights, reverse=True), "the heaviest first"
    assert (semantic["asked"], zero_shot["asked"]) == (False, False)
    assert semantic["why"] == (
        "the layer rules was sure" if report.answered else "it is switched off"
    )


def test_the_expected_cost_is_the_one_that_decides(answered: Answered) -> None:
    for text in REQUESTS:
        holds_the_cost_that_decides(text, answered)


def holds_the_cost_that_decides(text: str, answered: Answered) -> None:
    models = ("openai:gpt-5-mini", "openai:gpt-5")
    found = answered("route", text, *RULES, "--models", ",".join(models))
    small, large = map(ModelConfig.parse, models)
    request = normalise(text)
    decision = Drafting().decide(
        request,
        domain=found["domain"],
        level=found["complexity"]["level"],
        drafter=small,
        verifier=large,
        at=datetime.now(UTC),
        explore=False,
    )
    weights = [each["weight"] for each in found["complexity"]["parts"]]
    assert found["complexity"]["score"] == pytest.approx(max(0.0, 1 - math.exp(-sum(weights))))
    assert (found["route"], found["decision"]["reason"]) == (decision.route, decision.reason)
    assert found["decision"]["break_even"] == decision.break_even
    assert found["decision"]["acceptance"]["probability"] == decision.acceptance.probability
    for name in ("draft_cost", "verifier_cost", "expected_cascade", "expected_direct"):
        assert found["decision"][name] == getattr(decision, name) / 1e9


def test_an_agent_does_what_was_explained() -> None:
    asyncio.run(_an_agent_does_what_was_explained())


async def _an_agent_does_what_was_explained() -> None:
    domains = [
        Domain("math", models=["large"], system_prompt="Count twice."),
        Domain("code", draft_model="middle", threshold=0.3),
    ]
    names = ("small", "middle", "large")
    async with SimulatedProvider([SimulatedModel(name) for name in names]) as server:
        models = [
            ModelConfig(
                name,
                "openai",
                base_url=server.base_url,
                api_key="simulated",
                price=Price(input=10**place, output=10**place),
            )
            for place, name in enumerate(names)
        ]
        detector = DomainDetector(domains, semantic=False)
        async with CascadeAgent(models, domains=detector) as agent:
            for domain in ("math", "code", "legal", None):
                for text in REQUESTS:
                    found = await explain(text, models, detector, domain=domain)
                    before = len(server.requests)
                    result = await agent.run(text, domain=domain)
                    assert len(server.requests) > before
                    routing = result.routing
                    assert routing.domain == found.detection.domain
                    assert routing.complexity == found.complexity.level
                    assert routing.complexity_score == found.complexity.score
                    assert routing.draft_model == found.plan.draft_model
                    assert routing.verifier_model == found.plan.verifier_model
                    assert routing.reason == found.plan.reason
                    assert agent.drafting is not None
                    agent.drafting.reset()  # what it learned of this request is not known there
            asked = len(server.requests)
            await explain(SQL, models, detector)
            assert len(server.requests) == asked, "explaining asks nobody"


def test_who_cannot_hold_the_request_is_neither_explained_nor_asked() -> None:
    asyncio.run(_who_cannot_hold_the_request_is_neither_explained_nor_asked())


async def _who_cannot_hold_the_request_is_neither_explained_nor_asked() -> None:
    sizes = {"narrow": 200, "middle": 10_000, "large": 20_000}
    # It is no part of the request, whose own length decides.
    domain = Domain("summarization", system_prompt="Be brief. " * 150)
    async with SimulatedProvider([SimulatedModel(name) for name in sizes]) as server:
        models = [
            ModelConfig(
                name,
                "openai",
                base_url=server.base_url,
                api_key="simulated",
                price=Price(input=10**place, output=10**place),
                context_window=window,
            )
            for place, (name, window) in enumerate(sizes.items())
        ]
        detector = DomainDetector([domain], semantic=False)
        for text, drafter in (("Sum it up.", "narrow"), ("Sum it up: " + "so " * 300, "middle")):
            found = await explain(text, models, detector, domain="summarization")
            assert found.considered.drafters[0].name == drafter
            for plan in (found.plan, found.considered):
                assert plan.complexity == found.complexity.level
                assert plan.complexity_score == found.complexity.score
            priced = {each.model for each in found.expected}
            assert ("openai:narrow" in priced) == (drafter == "narrow")
            async with CascadeAgent(models, domains=detector) as agent:
                routing = (await agent.run(text, domain="summarization")).routing
            assert routing.draft_model == found.plan.draft_model == f"openai:{drafter}"
            assert routing.reason == found.plan.reason
            assert routing.complexity_score == found.plan.complexity_score


def test_the_code_in_a_request_is_measured(answered: Answered, call: Call) -> None:
    text = "Fix this:\n```python\nfor x in y:\n    if x:\n        print(x)\n```"
    code = answered("route", text, *RULES)["complexity"]["code"]
    assert (code["language"], code["lines"], code["nesting"]) == ("python", 3, 2)
    assert "code: python, 3 lines, nesting 2" in call("route", text, *RULES).stdout
    assert answered("route", "hm", *RULES)["complexity"]["code"] is None


def test_a_domain_of_the_callers_own_chooses_models_and_prompt(
    tmp_path: Path, answered: Answered
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[domains.math]\nmodels = ["openai:gpt-5"]\nthreshold = 0.95\n'
        'system_prompt = "Be exact."\n',
        encoding="utf-8",
    )
    found = answered(
        "route",
        "What is 7 * 8?",
        *RULES,
        "--models=openai:gpt-5-mini,openai:gpt-5",
        "--domains",
        str(path),
        "--domain",
        "math",
    )
    assert (found["domain"], found["decided_by"]) == ("math", "caller")
    assert [each["asked"] for each in found["layers"]] == [False, False, False]
    assert (found["route"], found["verifier_model"]) == ("direct", "openai:gpt-5")
    assert (found["draft_model"], found["decision"]) == (None, None)
    assert found["choice"]["source"] == "registered"
    assert (found["choice"]["threshold"], found["choice"]["system_prompt"]) == (0.95, "Be exact.")


def test_what_was_learned_is_read_from_a_store_and_not_changed(
    tmp_path: Path, answered: Answered
) -> None:
    from cascadeflow.budgets.stores import open_store  # noqa: PLC0415

    url = f"sqlite:///{tmp_path}/learned.db"
    model = "openai:gpt-5-mini"
    with open_store(url) as store:
        drafting = Drafting(notes=store)
        for _ in range(200):
            drafting.judged(domain="legal", level="trivial", model=model, accepted=False)
        drafting.close()
    before = (tmp_path / "learned.db").read_bytes()
    arguments = ("route", "hm", *RULES, f"--models={model},openai:gpt-5", "--domain", "legal")
    fresh = answered(*arguments)["decision"]["acceptance"]
    found = answered(*arguments, "--store", url)
    assert (fresh["probability"], fresh["observations"]) == (PRIORS["trivial"], 0)
    assert found["learned"] is True
    assert found["decision"]["acceptance"]["probability"] < 0.1
    assert found["decision"]["acceptance"]["observations"] > 100
    assert found["route"] == "direct"
    assert (tmp_path / "learned.db").read_bytes() == before


def test_a_price_that_is_not_known_is_said_and_not_taken_for_nothing(
    answered: Answered, call: Call
) -> None:
    arguments = ("route", "hm", *RULES, "--models", "openai:gpt-5,openai:no-such-model")
    found = answered(*arguments)
    costs = {each["model"]: each["cost"] for each in found["models"]}
    assert costs["openai:no-such-model"] is None
    assert costs["openai:gpt-5"] > 0
    assert found["decision"]["basis"] == "level"
    assert "unknown" in call(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("",), "query is empty"),
        (("a", "--domain", "maths"), "domain must be one of"),
        (("a", "--models", ","), "--models names none"),
        (("a", "--models", "gpt-5"), "gpt-5"),
        (("a", "--models", "acme:gpt-5"), "acme"),
        (("a", "--models", "openai:gpt-5,openai:gpt-5"), "named twice"),
        (("a", "--domains", "/no/such.toml"), "/no/such.toml"),
    ],
)
def test_what_cannot_be_explained_is_said(
    arguments: tuple[str, ...], words: str, answered: Answered
) -> None:
    assert words in answered("route", *arguments, exit_code=2)["error"]["message"]


def test_a_domain_that_names_a_model_nobody_has_is_said(tmp_path: Path, answered: Answered) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[domains.math]\nmodels = ["openai:other"]\n', encoding="utf-8")
    found = answered("route", "a", *RULES, "--domains", str(path), exit_code=2)
    assert "no model called 'openai:other'" in found["error"]["message"]


def test_the_request_may_come_from_standard_input_and_be_long() -> None:
    text = f"{SQL}\n" * 5_000
    result = CliRunner().invoke(app, ["route", "-", *RULES, "--json"], input=text)
    assert json.loads(result.stdout)["characters"] == len(text)


def test_without_the_sentence_model_the_layer_says_why_it_did_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: Answered, call: Call
) -> None:
    monkeypatch.setenv("CASCADEFLOW_SENTENCE_MODEL", str(tmp_path / "nowhere"))
    found = answered("route", "hm")["layers"][1]
    assert (found["asked"], found["answered"]) == (True, False)
    assert "nowhere" in found["why"]
    assert "semantic  could not run" in call("route", "hm").stdout
    error = answered("route", "hm", "--layers", "semantic", exit_code=2)["error"]
    assert "nowhere" in error["message"]


def test_the_picture_fits_and_holds_no_control_codes() -> None:
    for text in (*REQUESTS, "\x1b[31mred\x07 [bold]x[/bold] \u65e5\u672c\u8a9e " * 30):
        for width in (80, 200):
            result = CliRunner().invoke(app, ["route", text, *RULES], env={"COLUMNS": str(width)})
            assert result.exit_code == 0
            lines = result.stdout.splitlines()
            assert max(map(cell_len, lines)) <= min(width, 100)
            assert all(line.isprintable() for line in lines)
            stations = [
                match[1] for line in lines if (match := re.match(r"[┌├└]─ ([a-z-]+)", line))
            ]
            assert stations == STATIONS


def test_an_output_that_knows_ascii_only_gets_a_picture_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cascadeflow.cli", "route", SQL, *RULES],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    drawn = done.stdout.decode("ascii")
    assert "|- rules" in drawn
    assert "#" in drawn
    assert "?" not in drawn.replace(SQL, "")


def test_every_key_is_on_the_page(answered: Answered) -> None:
    section = PAGE.split("\n## route\n")[1].split("\n## ")[0]
    named = set(re.findall(r"[a-z_]+", section))
    assert keys(answered("route", "hm", *RULES)) - named == set()


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_bars_show_shares_to_an_eighth_and_stay_in_their_width() -> None:
    assert bar(1 / 16, 2) == "▏ "
    assert (bar(-1, 3), bar(7, 3)) == ("   ", "███")
    assert bar(1.0, 3, mark=1.0) == "██│"
    assert (needle(0, 4), needle(1, 4)) == ("●───", "───●")
    assert len(span(0.0, 0.5, 1.0, 30, mark=4.0)) == 30
    assert "│" not in span(0.0, 0.5, 1.0, 30, mark=4.0)
    assert shortened("a\n\tb\x00c", 10) == "a b c"


def test_the_sentence_model_is_asked_where_rules_are_not_sure(
    sentence_model: SentenceModel, answered: Answered, call: Call
) -> None:
    text = "Which of the two would you rather have, and what speaks for the other one?"
    found = answered("route", text, "--layers", "semantic")
    said = asyncio.run(DomainDetector(semantic=sentence_model).detect(text))
    rules, semantic, _ = found["layers"]
    assert (rules["answered"], semantic["asked"]) == (False, True)
    assert (found["domain"], found["decided_by"]) == (said.domain, said.layer)
    report = replace(said.layers[1], ms=0.0)
    assert [each["what"] for each in semantic["evidence"]] == [
        each.what for each in report.evidence
    ]
    cosines = [each["weight"] for each in semantic["evidence"]]
    assert cosines == sorted(cosines, reverse=True)
    assert sum(each["probability"] for each in semantic["probabilities"]) == pytest.approx(1.0)
    assert "nearest examples, cosine" in call("route", text, "--layers", "semantic").stdout


def test_a_domain_by_examples_is_found_and_routed(
    sentence_model: SentenceModel, tmp_path: Path, answered: Answered
) -> None:
    assert sentence_model.dimension
    path = tmp_path / "own.toml"
    path.write_text(
        "[domains.beekeeping]\nexamples = [\n"
        '"When do I harvest honey from my hive?", "How do I keep bees through the winter?",\n'
        '"My bees are about to swarm, what now?", "Which frames suit a new bee colony?",\n'
        '"How do I find the queen in a hive?"]\nmodels = ["openai:gpt-5-mini"]\n',
        encoding="utf-8",
    )
    found = answered(
        "route",
        "How do I keep my bees alive in winter?",
        "--models=openai:gpt-5-mini,openai:gpt-5",
        "--domains",
        str(path),
    )
    assert (found["domain"], found["decided_by"]) == ("beekeeping", "semantic")
    assert (found["route"], found["verifier_model"]) == ("direct", "openai:gpt-5-mini")
    assert found["choice"]["source"] == "registered"
