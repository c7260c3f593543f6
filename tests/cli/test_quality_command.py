"""`cascadeflow quality eval`: what it judges, what it counts, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from cascadeflow.cli.quality.cases import Case, CaseSet, asked
from cascadeflow.cli.quality.report import accepting, picture, reported
from cascadeflow.cli.quality.scoring import judge_all, measured
from cascadeflow.cli.quality.tables import print_plot, print_sets
from cascadeflow.config import QualityConfig
from cascadeflow.quality.report import CheckReport, QualityReport
from cascadeflow.quality.rules import judge_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from typer.testing import Result

    from cascadeflow.models.completion import Completion
    from cascadeflow.types import ChatRequest

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

ROOT = Path(__file__).parents[2]
DOCUMENT = "The museum in Bremen opens at nine in the morning. On Sundays it opens at ten."
ROWS: list[dict[str, Any]] = [
    {"question": "What is 6 * 7?", "answer": "6 * 7 = 42", "label": True, "model": "small"},
    {"question": "What is 6 * 7?", "answer": "6 * 7 = 48", "label": False, "model": "small"},
    {"question": "What is 9 * 9?", "answer": "9 * 9 = 81", "label": 1, "model": "large"},
    {"question": "What is 9 * 9?", "answer": "I cannot help with that.", "label": 0,
     "model": "large"},
]  # fmt: skip


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    return written(tmp_path / "rows.jsonl", ROWS)


def test_each_answer_counts_as_the_judge_decides_it(labelled: str, answered: Answered) -> None:
    found = answered("quality", "eval", labelled)
    (whole, swapped) = found["sets"]
    decision = whole["measures"]["decision"]
    said = [judge_text(row["question"], row["answer"], finish_reason="stop") for row in ROWS]
    scores = [each.probability for each in said]
    accepted = [score >= found["threshold"] for score in scores]
    assert accepted == [True, False, True, False]
    assert (whole["name"], whole["kind"], whole["texts"]) == ("rows", "answers", 4)
    assert (decision["auc"], decision["f1"], decision["passed"]) == (1.0, 1.0, 0.5)
    assert (decision["good_passed"], decision["good_failed"]) == (1.0, 0.0)
    assert (decision["caught"], decision["false_alarms"]) == (1.0, 0.0)
    assert list(decision["by_part"]) == ["large", "small"]
    assert 0 < whole["p50_ms"] <= whole["p99_ms"]
    assert (swapped["name"], swapped["planted"]) == ("rows, another's answer", True)


def test_the_threshold_decides_what_is_accepted(labelled: str, answered: Answered) -> None:
    none = answered("quality", "eval", labelled, "--threshold", "1")["sets"][0]["measures"]
    assert none["decision"]["passed"] == 0.0
    assert none["decision"]["good_passed"] is None
    all_of_them = answered("quality", "eval", labelled, "--threshold", "0")["sets"][0]["measures"]
    assert all_of_them["decision"]["passed"] == 1.0


def test_the_report_and_the_plot_are_written(
    labelled: str, tmp_path: Path, answered: Answered
) -> None:
    out, svg = tmp_path / "report.json", tmp_path / "plot.svg"
    found = answered("quality", "eval", labelled, "--out", str(out), "--svg", str(svg))
    assert json.loads(out.read_text(encoding="utf-8")) == found
    drawn = svg.read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    assert ">share accepted<" in drawn
    assert ">good among the accepted<" in drawn
    assert ">rows<" in drawn
    assert "another&#x27;s answer" not in drawn
    away = str(tmp_path / "none" / "x.json")
    error = answered("quality", "eval", labelled, "--out", away, exit_code=1)["error"]
    assert "cannot be written" in error["message"]


@pytest.mark.parametrize(("option", "wanted"), [("--svg", ".svg"), ("--out", ".json")])
def test_a_file_of_a_kind_that_is_not_written_is_refused(
    labelled: str, tmp_path: Path, option: str, wanted: str, answered: Answered
) -> None:
    other = tmp_path / "x.png"
    error = answered("quality", "eval", labelled, option, str(other), exit_code=2)["error"]
    assert f"{option} cannot write 'x.png': name a file ending in {wanted}" in error["message"]
    assert not other.exists()


def test_several_files_and_several_at_once_give_the_same_figures(
    labelled: str, tmp_path: Path, answered: Answered
) -> None:
    pairs = written(
        tmp_path / "pairs.jsonl",
        [{"question": "What is 3 * 3?", "better": "3 * 3 = 9", "worse": "3 * 3 = 8"}] * 2,
    )
    one = answered("quality", "eval", labelled, pairs)
    many = answered("quality", "eval", labelled, pairs, "--jobs", "3")
    for each in one["sets"] + many["sets"]:
        del each["p50_ms"], each["p99_ms"]
    assert one["sets"] == many["sets"]
    ordered = one["sets"][-1]["measures"]["decision"]
    assert (ordered["n"], ordered["share"], ordered["ties"]) == (2, 1.0, 0.0)


def test_labels_that_the_mode_has_no_check_for_are_said_and_not_scored(
    tmp_path: Path, answered: Answered, call: Call
) -> None:
    path = written(tmp_path / "texts.jsonl", [{"text": "You idiot", "toxic": 1}])
    (only,) = answered("quality", "eval", path)["sets"]
    assert (only["texts"], only["measures"], only["p50_ms"]) == (1, {}, None)
    assert "texts: this mode has no check" in call("quality", "eval", path).output
    error = answered("quality", "eval", path, "--svg", str(tmp_path / "x.svg"), exit_code=2)
    assert "nothing to plot" in error["error"]["message"]


def test_a_bad_row_ends_it_with_its_line(tmp_path: Path, answered: Answered) -> None:
    path = written(tmp_path / "rows.jsonl", [ROWS[0], {"question": "Why?"}])
    error = answered("quality", "eval", path, exit_code=2)["error"]
    assert error["type"] == "InvalidRequestError"
    assert "rows.jsonl, line 2: no field answer or a, label or right" in error["message"]
    assert "docs/quality.md" in error["message"]


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(keys(each) for each in value.values()))
    return set().union(*(keys(each) for each in value)) if isinstance(value, list) else set()


def test_every_key_is_on_the_page(labelled: str, tmp_path: Path, answered: Answered) -> None:
    pairs = written(
        tmp_path / "pairs.jsonl",
        [{"question": "?", "better": "3", "worse": "4", "subset": each} for each in "ab"],
    )
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.split("\n## quality\n")[1].split("\n## ")[0]
    named = set(re.findall(r"[a-z_0-9]+", section))
    assert keys(answered("quality", "eval", labelled, pairs)) - named == {
        "small", "large", "a", "b",
    } - named  # fmt: skip


class Scripted:
    """A judge that reads what it is to say from the answer: `score check verdict`."""

    def judge(
        self, request: ChatRequest, completion: Completion, *, config: QualityConfig
    ) -> QualityReport:
        assert request.messages
        words = completion.text.split()
        checks: tuple[CheckReport, ...] = ()
        if len(words) == 3 and words[1] == "relevance":
            score = float(words[0])
            checks = (CheckReport(name="relevance", verdict=words[2], score=score),)  # type: ignore[arg-type]
        score = 0.5 if checks or not words[0][0].isdigit() else float(words[0])
        return QualityReport(score=score, accepted=score >= config.threshold, checks=checks)


def case(answer: str, *, good: bool, key: str = "", part: str = "") -> Case:
    return Case(key=key, part=part, messages=asked("?"), answer=answer, good=good)


def judged(cases: CaseSet) -> Any:
    return asyncio.run(judge_all([cases], Scripted(), QualityConfig()))


def test_what_a_check_failed_on_or_was_not_asked_about_is_counted_apart() -> None:
    cases = CaseSet(
        name="set",
        kind="answers",
        cases=(
            case("0.9 relevance passed", good=True),
            case("0.2 relevance failed", good=False),
            case("1.0 relevance not_applicable", good=True),
            case("0.0 relevance error", good=True),
            case("0.7", good=True),
        ),
    )
    found = measured(cases, judged(cases))
    taken = found["relevance"]
    assert [row.score for row in taken.rows] == [0.9, 0.2, 1.0]
    assert [row.passed for row in taken.rows] == [True, False, True]
    assert (taken.errors, taken.not_run, taken.not_applicable) == (1, 1, 1)
    assert len(found["decision"].rows) == 5


def test_a_pair_counts_only_where_both_could_be_scored() -> None:
    texts = [
        ("0.9 relevance passed", "0.1 relevance failed"),
        ("0.0 relevance error", "0.4 relevance passed"),
    ]
    cases = CaseSet(
        name="set",
        kind="pairs",
        cases=tuple(
            case(text, good=good)
            for pair in texts
            for good, text in zip((True, False), pair, strict=True)
        ),
    )
    report = reported("file", cases, judged(cases), seed=0).to_dict()["measures"]
    assert (report["relevance"]["n"], report["relevance"]["share"]) == (1, 1.0)
    assert report["relevance"]["errors"] == 1
    assert (report["decision"]["n"], report["decision"]["ties"]) == (2, 1.0)


def test_accepting_ever_more_ends_at_all_and_takes_equal_scores_together() -> None:
    cases = CaseSet(
        name="set",
        kind="answers",
        cases=tuple(case(f"{at // 10 / 10}", good=at >= 50, key=str(at)) for at in range(100)),
    )
    points = accepting(measured(cases, judged(cases))["decision"].rows)
    assert points == tuple([((at + 1) / 10, min(1.0, 5 / (at + 1))) for at in range(1, 10)])


def test_names_are_printed_as_they_are_and_in_ascii_where_nothing_else_is_known() -> None:
    cases = CaseSet(
        name="[bold]set",
        kind="answers",
        cases=tuple(
            case(f"{at / 60}", good=at % 3 > 0, key=str(at), part="[red]m" if at % 2 else "n")
            for at in range(60)
        ),
        models=True,
    )
    report = reported("file", cases, judged(cases), seed=0)
    plot = picture([report])
    assert plot is not None
    for encoding in ("utf-8", "ascii"):
        console = Console(width=80, record=True, file=open(os.devnull, "w", encoding=encoding))  # noqa: PTH123, SIM115
        print_sets([report], console)
        print_plot(plot, console)
        console.file.close()
        text = console.export_text()
        assert "[bold]set" in text
        assert "[red]m" in text
        assert text.isascii() == (encoding == "ascii")


@pytest.mark.usefixtures("sentence_model")
def test_balanced_scores_each_kind_of_label_by_its_own_check(
    tmp_path: Path, answered: Answered
) -> None:
    swapped = [
        {"question": "Why is the sky blue?", "answer": "Air scatters blue light most.", "label": 1},
        {"question": "Why is the sky blue?", "answer": "Boil pasta for ten minutes.", "label": 0},
    ]
    grounded = [
        {"document": DOCUMENT, "claim": "The museum opens at nine.", "label": 1},
        {"document": DOCUMENT, "claim": "The theatre in Hamburg closed in 1994.", "label": 0},
    ]
    texts = [
        {"text": "You are a stupid worthless idiot, shut up!", "toxic": 1},
        {"text": "Thank you, the soup was lovely.", "toxic": 0},
    ]
    found = answered(
        "quality",
        "eval",
        written(tmp_path / "swapped.jsonl", swapped),
        written(tmp_path / "grounded.jsonl", grounded),
        written(tmp_path / "texts.jsonl", texts),
        "--mode",
        "balanced",
    )
    sets = {each["name"]: each["measures"] for each in found["sets"]}
    assert list(sets["swapped"]) == ["decision", "relevance"]
    assert list(sets["grounded"]) == ["decision", "grounding"]
    assert list(sets["texts"]) == ["toxicity"]
    for name, measure in (
        ("swapped", "relevance"),
        ("grounded", "grounding"),
        ("texts", "toxicity"),
    ):
        taken = sets[name][measure]
        assert (taken["n"], taken["auc"]) == (2, 1.0), name
        assert (taken["errors"], taken["not_run"], taken["not_applicable"]) == (0, 0, 0), name
