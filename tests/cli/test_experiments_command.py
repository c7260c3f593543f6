"""`cascadeflow experiments`: what it says of a file, and that a stop reaches who runs."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cascadeflow.cli.app import app
from cascadeflow.experiments import Experiment, Guardrail, Metric, Variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Answered: TypeAlias = Callable[..., dict[str, Any]]

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def begun(path: Path, name: str = "threshold", **options: Any) -> Experiment:
    return Experiment(
        name,
        [Variant(name="as it is"), Variant(name="<keen>", weight=2)],
        store=f"sqlite:///{path}",
        **options,
    )


def seen(trial: Experiment, users: int, *, saved: float = 0.3, errors: float = 0.0) -> None:
    draw = random.Random(4)
    for number in range(users):
        found = trial.choose(f"u{number}", "")
        assert found is not None
        other = found.variant == "<keen>"
        cost = draw.gauss(1 - saved * other, 0.2)
        trial.observe(found, {"cost": cost, "error": float(other and draw.random() < errors)})
        if number % 100 == 0:
            trial.flush()
    trial.close()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "ab.db"
    seen(begun(path, guardrails=[Guardrail(metric="error", at_most=0.05)]), 800)
    return str(path)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["experiments", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_report_is_what_the_experiment_itself_says(file: str, answered: Answered) -> None:
    found = answered("experiments", "report", file)
    rails = [Guardrail(metric="error", at_most=0.05)]
    assert found == begun(Path(file), guardrails=rails).report().to_dict()
    control, variant = found["variants"]
    assert (control["control"], variant["name"]) == (True, "<keen>")
    primary = variant["primary"]
    assert primary["verdict"] == "better"
    assert primary["low"] < -0.3 < primary["high"] < 0
    assert primary["relative"] == pytest.approx(-0.3, abs=0.03)
    assert primary["compared"] == found["users"] == 800
    assert found["sample_ratio_ok"]


def test_the_file_may_be_named_as_the_experiment_was_given_it(
    file: str, answered: Answered
) -> None:
    url = f"sqlite:///{file}"
    assert answered("experiments", "report", url) == answered("experiments", "report", file)
    assert answered("experiments", "list", url) == answered("experiments", "list", file)
    error = answered("experiments", "report", "sqlite:ab.db", exit_code=2)["error"]
    assert "sqlite:///relative/experiments.db" in error["message"]


def test_people_read_intervals_bars_and_guard_rails(file: str) -> None:
    text = said("report", file)
    assert "threshold: running, 800 users; cost, lower is better" in text
    assert re.search(r"<keen> +\d+ users, weight 67%", text)
    assert re.search(r"difference -0\.\d+ \(-\d+\.\d%\), -0\.\d+ to -0\.\d+, p [\d.e-]+", text)
    assert re.search(r"├─*●─*┤·+│.*95% at any time: better", text)
    assert "guard rail error at most 0.05: kept" in text


def test_too_few_users_are_said_to_be_too_few(tmp_path: Path) -> None:
    seen(begun(tmp_path / "ab.db"), 12)
    text = said("report", str(tmp_path / "ab.db"), "--plot", str(tmp_path / "ab.svg"))
    assert "too few users to say how sure that is" in text
    assert "too few users yet" in (tmp_path / "ab.svg").read_text(encoding="utf-8")


def test_lost_users_are_told_before_any_figure(tmp_path: Path) -> None:
    trial = begun(tmp_path / "ab.db")
    for number in range(600):
        found = trial.choose(f"u{number}", "")
        assert found is not None
        if found.variant == "as it is" or number % 3 == 0:
            trial.observe(found, {"cost": 1.0})
    trial.close()
    text = said("report", str(tmp_path / "ab.db"))
    assert text.index("do not fit the weights") < text.index("mean 1")


def test_the_picture_is_an_svg_with_a_narrowing_band(file: str, tmp_path: Path) -> None:
    picture = tmp_path / "out.svg"
    assert f"written: {picture}" in said("report", file, "--plot", str(picture)).replace("\n", "")
    root = ET.fromstring(picture.read_text(encoding="utf-8"))  # noqa: S314 - our own
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert "<keen>" in texts
    paths = [element.get("d", "") for element in root.iter() if element.tag.endswith("path")]
    band = next(path for path in paths if path.endswith("Z"))
    points = [tuple(map(float, each.split())) for each in band[1:-1].split("L")]
    half = len(points) // 2
    widths = [
        below[1] - above[1]
        for above, below in zip(points[:half], reversed(points[half:]), strict=True)
    ]
    assert widths[-1] < widths[0] / 2
    result = CliRunner().invoke(app, ["experiments", "report", file, "--plot", "x.png"])
    assert result.exit_code == 2
    assert ".svg" in result.output


def test_a_broken_guard_rail_stands_in_the_report_and_the_list(
    tmp_path: Path, answered: Answered
) -> None:
    path = tmp_path / "ab.db"
    seen(begun(path, guardrails=[Guardrail(metric="error", at_most=0.05)]), 400, errors=0.5)
    text = said("report", str(path))
    assert "error at most 0.05: BROKEN" in text
    assert "no longer drawn" in text
    (listed,) = answered("experiments", "list", str(path))["experiments"]
    assert "error at most 0.05" in listed["variants"]["<keen>"]["stopped"]
    assert "<keen>" in said("list", str(path))


def test_a_stop_reaches_a_running_process_and_is_for_good(file: str, answered: Answered) -> None:
    running = begun(Path(file))
    found = answered(
        *("experiments", "stop", file, "--variant", "<keen>", "--reason", "it is dearer")
    )
    assert (found["news"], found["state"]) == (True, "running")
    assert found["stopped"] == {"<keen>": "it is dearer"}
    seen(running, 20)
    assert running.stopped == {"<keen>"}
    assert not answered(*("experiments", "stop", file, "--variant", "<keen>", "--reason", "again"))[
        "news"
    ]
    ended = answered("experiments", "stop", file, "--reason", "decided")
    assert ended["state"] == "stopped"
    assert begun(Path(file)).choose("ada", "") is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["stop", "FILE", "--reason", "x", "--variant", "as it is"], 2, "'as it is' is control"),
        (["stop", "FILE", "--reason", "x", "--variant", "no"], 2, "has no variant 'no'"),
        (["stop", "FILE", "--reason", " "], 2, "needs a reason"),
        (["report", "FILE", "--name", "other"], 2, "no experiment called 'other'"),
        (["report", "nowhere.db"], 1, "cannot be opened"),
        (["list", "nowhere.db"], 1, "cannot be opened"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    file: str, arguments: list[str], code: int, message: str
) -> None:
    words = [file if each == "FILE" else each for each in arguments]
    result = CliRunner().invoke(app, ["experiments", *words])
    assert result.exit_code == code
    assert message in result.output.replace("\n", " ")
    assert not Path("nowhere.db").exists()


def test_which_of_several_is_asked_for(file: str, answered: Answered) -> None:
    begun(Path(file), "another", metric=Metric(name="thumb", better="higher")).close()
    result = CliRunner().invoke(app, ["experiments", "report", file])
    assert result.exit_code == 2
    assert "another, threshold" in result.output
    assert answered("experiments", "report", file, "--name", "another")["metric"] == "thumb"
    names = [each["name"] for each in answered("experiments", "list", file)["experiments"]]
    assert names == ["another", "threshold"]


def test_every_key_is_on_the_page(file: str, answered: Answered) -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            inner = set().union(*(keys(each) for each in value.values()))
            return {key for key in value if " " not in key and "<" not in key} | inner
        return set().union(*(keys(each) for each in value)) if isinstance(value, list) else set()

    (section,) = [part for part in PAGE.split("\n## ") if part.startswith("experiments\n")]
    named = set(re.findall(r"[a-z_]+", section))
    for words in (("list", file), ("report", file), ("stop", file, "--reason", "x")):
        assert keys(answered("experiments", *words)) - named == set()
