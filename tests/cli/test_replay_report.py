"""The replay's report: its keys, its files and its pictures."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from cascadeflow.cli.replay.plot import Line, Mark, Plot, svg_plot, terminal_plot
from cascadeflow.cli.replay.report import ReplayReport
from cascadeflow.cli.replay.statistics import Outcome
from cascadeflow.errors import InvalidRequestError, StoreError

if TYPE_CHECKING:
    from pathlib import Path


def report(*, verifier_cost: int = 10) -> ReplayReport:
    rows = [(True, True, True, 0.9), (False, True, False, 0.2), (False, True, True, 0.6)]
    return ReplayReport(
        outcomes=[
            Outcome(
                draft_correct=draft,
                verifier_correct=verifier,
                draft_cost=1,
                verifier_cost=verifier_cost,
                accepted=accepted,
                score=score,
                cost=1 if accepted else 1 + verifier_cost,
            )
            for draft, verifier, accepted, score in rows
        ],
        draft="small",
        verifier="large",
        cross_checks=(),
        always_cross_check=None,
        prices={"small": "$1 in, $1 out", "large": "$10 in, $10 out"},
        mode="fast",
        threshold=0.5,
        rows=5,
        skipped=2,
    )


def printed(width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    report().print_table(console)
    report().print_plot(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_checks_that_could_not_be_run_are_counted_and_said() -> None:
    whole = report()
    first, *others = whole.outcomes
    some = replace(whole, outcomes=[replace(first, not_run=True), *others])
    assert (whole.to_dict()["not_run"], some.to_dict()["not_run"]) == (0, 1)
    console = Console(file=io.StringIO(), width=200)
    some.print_table(console)
    assert isinstance(console.file, io.StringIO)
    assert "of 1 drafts a check could not be run" in console.file.getvalue()
    assert "could not be run" not in printed()


def test_the_json_object_holds_the_stable_keys_and_the_figures_worked_out_by_hand() -> None:
    figures = json.loads(json.dumps(report().to_dict()))
    stable = ["n", "saved", "quality_kept", "accuracy", "escalated", "auc", "baselines"]
    assert list(figures)[: len(stable)] == stable
    assert list(figures["baselines"]) == ["always_draft", "always_verifier", "random", "perfect"]
    assert all(set(b) == {"accuracy", "saved"} for b in figures["baselines"].values())
    assert figures["n"] == 3
    assert figures["saved"] == pytest.approx(1 - 13 / 30)
    assert figures["accuracy"] == figures["quality_kept"] == pytest.approx(2 / 3)
    assert figures["escalated"] == pytest.approx(1 / 3)
    assert figures["auc"] == 1.0
    assert figures["baselines"]["perfect"] == pytest.approx({"accuracy": 1.0, "saved": 1 - 23 / 30})
    # At 95 % of the verifier's quality all three must be right: only the best draft is accepted.
    assert figures["at_95_quality"]["validator_threshold"] == 0.9
    assert figures["at_95_quality"]["validator_saved"] == pytest.approx(1 - 23 / 30)
    assert figures["skipped"] == 2


def test_the_table_names_every_policy_the_prices_and_what_was_left_out() -> None:
    text = printed()
    for words in ("always draft", "always verifier", "random, at equal cost", "perfect validator"):
        assert words in text
    assert "CascadeFlow, fast" in text
    assert "$10 in, $10 out" in text
    assert "2 rows lack an answer" in text


def test_the_terminal_plot_never_runs_over_a_narrow_terminal() -> None:
    assert max(map(len, printed(width=60).splitlines())) <= 60


def test_the_curve_is_written_as_a_picture_and_as_figures(tmp_path: Path) -> None:
    report().write_plot(tmp_path / "curve.json")
    report().write_plot(tmp_path / "curve.csv")
    report().write_plot(tmp_path / "curve.svg")
    points = json.loads((tmp_path / "curve.json").read_text())
    assert [point["threshold"] for point in points] == [0.2, 0.6, 0.9, None]
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [row["threshold"] for row in rows] == ["0.2", "0.6", "0.9", ""]
    assert float(rows[0]["saved"]) == pytest.approx(points[0]["saved"])
    root = ET.fromstring((tmp_path / "curve.svg").read_text())  # noqa: S314 - our own file
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "small → large" in texts
    assert "perfect validator" in texts


def test_a_plot_of_another_kind_or_to_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"\.svg, \.csv, \.json"):
        report().write_plot(tmp_path / "curve.png")
    with pytest.raises(StoreError, match="cannot be written"):
        report().write_plot(tmp_path / "absent" / "curve.csv")


def test_with_a_free_verifier_there_is_nothing_to_save_and_nothing_to_plot(tmp_path: Path) -> None:
    free = report(verifier_cost=0)
    assert free.to_dict()["saved"] is None
    assert free.to_dict()["interval_95"]["saved"] is None
    with pytest.raises(InvalidRequestError, match="costs nothing"):
        free.write_plot(tmp_path / "curve.svg")


def test_the_terminal_plot_puts_marks_and_lines_where_their_figures_are() -> None:
    plot = Plot(
        title="t",
        lines=(Line(name="l", points=((0.0, 0.0), (1.0, 1.0)), colour="#111111"),),
        marks=(Mark(name="m", symbol="M", x=0.0, y=1.0, colour="#222222"),),
    )
    rows = ["".join(text for text, _ in row) for row in terminal_plot(plot, width=20, height=10)]
    assert rows[0].index("M") < 12
    drawn = [row[9:].strip() for row in rows[:10]]
    assert drawn[0] != "M"
    # The rising line: its lowest dots are on the left, its highest on the right.
    columns = [len(row[9:]) - len(row[9:].lstrip("M ")) for row in rows[:10] if row[9:].strip("M ")]
    assert columns == sorted(columns, reverse=True)


def test_text_in_the_picture_is_escaped() -> None:
    plot = Plot(
        title="<a & b>", lines=(), marks=(Mark(name="m", symbol="m", x=0, y=0, colour="#0"),)
    )
    assert "&lt;a &amp; b&gt;" in svg_plot(plot)
