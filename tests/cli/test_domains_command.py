"""`cascadeflow domains`: what it reads, what it counts, and what it says where it cannot."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cascadeflow.cli.app import app
from cascadeflow.cli.domains.report import print_score, values
from cascadeflow.cli.domains.score import quantile, score
from cascadeflow.domains.detector import DomainDetector
from cascadeflow.domains.evaluation import LabelledRow
from cascadeflow.domains.records import Detection, LayerReport
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from typer.testing import Result

    from cascadeflow.models.embedding import SentenceModel

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
ROWS = [
    {"text": "Who won the war?", "label": "factual", "source": "a", "split": "test"},
    {"text": "```python\nfor x in y: print(x)\n```", "label": "code", "source": "a"},
    {"text": "hm", "label": "general", "source": "b", "split": "dev"},
    {"text": "", "label": "general", "source": "b", "split": "test"},
]


def written(path: Path, rows: list[Any]) -> str:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(lines + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def labelled(tmp_path: Path) -> str:
    return written(tmp_path / "rows.jsonl", ROWS)


def test_each_row_counts_as_the_rules_answer_it(labelled: str, answered: Answered) -> None:
    found = answered("domains", "eval", labelled, "--layers", "rules")
    detector = DomainDetector(semantic=False)
    said = [detector.detect_by_rules(str(row["text"])) for row in ROWS]
    right = [row["label"] == each.domain for row, each in zip(ROWS, said, strict=True)]
    assert (found["n"], found["accuracy"]) == (4, sum(right) / 4)
    assert found["macro_recall"] is None, "no label has 50 rows"
    assert found["listed_only"] == ["code", "factual", "general"]
    assert found["by_source"]["b"] == {"n": 2, "accuracy": sum(right[2:]) / 2}
    assert found["by_label"]["code"]["recall"] == right[1]
    assert list(found["layers"]) == ["rules"]
    rules = found["layers"]["rules"]
    assert rules["asked"] == 4
    assert rules["share"] == sum(each.layer == "rules" for each in said) / 4
    assert 0 < rules["p50_us"] <= rules["p99_us"]
    assert found["unsure"]["n"] + rules["answered"] == 4
    assert sum(sum(row.values()) for row in found["confusion"].values()) == 4
    assert (found["layers_used"], found["note"]) == ("rules", None)


def test_a_gzipped_file_and_standard_input_are_read_alike(
    labelled: str, tmp_path: Path, answered: Answered
) -> None:
    data = (tmp_path / "rows.jsonl").read_bytes()
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(data))
    plain = answered("domains", "eval", labelled, "--layers", "rules")
    zipped = answered("domains", "eval", str(packed), "--layers", "rules")
    assert zipped["confusion"] == plain["confusion"]
    for given in (data, gzip.compress(data)):
        result = CliRunner().invoke(
            app, ["domains", "eval", "-", "--layers", "rules", "--json"], input=given
        )
        assert json.loads(result.stdout)["confusion"] == plain["confusion"]


def test_a_split_may_be_named_and_one_that_is_not_there_is_said(
    labelled: str, answered: Answered
) -> None:
    both = ("--split", "dev", "--split", "test")
    command = ("domains", "eval", labelled, "--layers", "rules")
    assert answered(*command, "--split", "test")["n"] == 2
    assert answered(*command, *both)["n"] == 3
    error = answered(*command, "--split", "train", exit_code=2)["error"]["message"]
    assert error.endswith("no rows of the split train; its splits are (none), dev, test")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: Expecting property name"),
        ("[1]", "line 2: not a JSON object"),
        ('{"text": "a"}', "line 2: no field 'label'"),
        ('{"label": "code"}', "line 2: no field 'text'"),
        ('{"text": 5, "label": "code"}', "line 2: text must be text, not 5"),
        ('{"text": "a", "label": ""}', "line 2: the label is empty"),
        ('{"text": "a", "label": "code", "source": 1}', "line 2: source must be text"),
        ('{"text": "a", "label": "maths"}', "'maths' (line 2); did you mean math?"),
    ],
)
def test_a_line_that_is_no_row_is_named(
    line: str, words: str, tmp_path: Path, answered: Answered
) -> None:
    path = written(tmp_path / "bad.jsonl", [ROWS[0], line])
    found = answered("domains", "eval", path, "--layers", "rules", exit_code=2)
    assert words in found["error"]["message"]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, answered: Answered) -> None:
    rules = ("--layers", "rules")
    missing = answered("domains", "eval", "/no/such.jsonl", *rules, exit_code=1)["error"]
    assert missing["type"] == "StoreError"
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(b"{}" * 99)[:-9])
    assert (
        "cannot be read"
        in answered("domains", "eval", str(torn), *rules, exit_code=1)["error"]["message"]
    )
    empty = written(tmp_path / "empty.jsonl", [])
    assert (
        "holds no rows"
        in answered("domains", "eval", empty, *rules, exit_code=2)["error"]["message"]
    )


def test_without_the_sentence_model_it_says_what_to_do(
    labelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: Answered, call: Call
) -> None:
    monkeypatch.setenv("CASCADEFLOW_SENTENCE_MODEL", str(tmp_path / "nowhere"))
    error = answered("domains", "eval", labelled, "--layers", "semantic", exit_code=2)["error"]
    assert "nowhere" in error["message"]
    assert error["message"].endswith("--layers rules works")
    found = answered("domains", "eval", labelled)
    assert found["layers_used"] == "rules"
    assert "nowhere" in found["note"]
    assert "rules alone: " in call("domains", "eval", labelled).stderr


def test_domains_of_ones_own_are_listed_with_their_models_and_need_the_sentence_model(
    labelled: str, tmp_path: Path, answered: Answered
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[domains.billing]\nexamples = ["Why was I charged?", "My bill", "A refund please"]\n'
        '[domains.math]\nmodels = ["openai:gpt-5"]\nthreshold = 0.9\n',
        encoding="utf-8",
    )
    listed = {
        each["domain"]: each
        for each in answered("domains", "list", "--domains", str(path))["domains"]
    }
    assert set(listed) == {*DOMAINS, "billing"}
    assert (listed["billing"]["built_in"], listed["billing"]["examples"]) == (False, 3)
    assert (listed["math"]["models"], listed["math"]["threshold"]) == (["openai:gpt-5"], 0.9)
    error = answered(
        "domains", "eval", labelled, "--layers", "rules", "--domains", str(path), exit_code=2
    )["error"]
    assert "'billing' is known by its examples" in error["message"]


def test_the_list_says_what_each_domain_is_about(call: Call) -> None:
    lines = call("domains", "list").stdout.splitlines()
    assert len(lines) == len(DOMAINS)
    assert any(line.startswith("legal") and "contracts" in line for line in lines)


def report(layer: Any, *, ms: float, answered: bool = True) -> LayerReport:
    return LayerReport(
        layer=layer, probabilities=(("math", 0.9),), answered=answered, threshold=0.5, ms=ms
    )


class Scripted(DomainDetector):
    """Answers by script: what is measured here is the counting."""

    def __init__(self, script: dict[str, Detection]) -> None:
        super().__init__(semantic=False)
        self._script = script

    async def detect(self, text: str, vectors: Any = None) -> Detection:
        assert vectors is None
        unsure = Detection(domain="general", confidence=None, layer="none")
        return self._script.get(text, unsure)


def test_layers_shares_precision_and_surest_rows_are_counted_as_defined() -> None:
    rules = report("rules", ms=0.001)
    passed = report("rules", ms=0.002, answered=False)
    script = {
        "a": Detection(domain="math", confidence=0.95, layer="rules", layers=(rules,)),
        "b": Detection(domain="math", confidence=0.60, layer="rules", layers=(rules,)),
        "c": Detection(
            domain="code",
            confidence=0.70,
            layer="semantic",
            layers=(passed, report("semantic", ms=5.0)),
        ),
        "d": Detection(domain="general", confidence=None, layer="none", layers=(passed,)),
    }
    labels = {"a": "math", "b": "code", "c": "code", "d": "general"}
    rows = [LabelledRow(text, label) for text, label in labels.items()]
    done: list[int] = []
    found = asyncio.run(score(rows, Scripted(script), on_progress=done.append))
    assert done == [1, 2, 3, 4]
    figures = values(found)
    assert figures["accuracy"] == 0.75
    assert figures["layers"]["rules"] | {"p50_us": 0, "p99_us": 0} == {
        "share": 0.5,
        "precision": 0.5,
        "p50_us": 0,
        "p99_us": 0,
        "asked": 4,
        "answered": 2,
    }
    assert (figures["layers"]["rules"]["p50_us"], figures["layers"]["rules"]["p99_us"]) == (1, 2)
    semantic = figures["layers"]["semantic"]
    assert (semantic["asked"], semantic["share"], semantic["precision"]) == (1, 0.25, 1.0)
    assert figures["unsure"] == {"n": 1, "share": 0.25, "accuracy": 1.0}
    assert [(each["share"], each["accuracy"]) for each in figures["coverage"]] == [
        (0.25, 1.0),
        (0.5, 1.0),
        (0.75, 2 / 3),
    ]
    # Confidences 0.95, 0.60 and 0.70; right, wrong, right.
    assert figures["ece"] == pytest.approx((0.05 + 0.60 + 0.30) / 3)


def test_the_tables_fit_eighty_columns_and_hold_no_colour_codes_in_a_pipe(
    labelled: str,
) -> None:
    result = CliRunner().invoke(
        app, ["domains", "eval", labelled, "--layers", "rules"], env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for words in ("confusion: ", "listed only", "accuracy", "rules", "unsure"):
        assert words in result.stdout


def test_the_matrix_names_every_label_shortly_and_differently() -> None:
    from rich.console import Console  # noqa: PLC0415

    script = {
        name: Detection(domain=name, confidence=0.9, layer="rules", layers=(report("rules", ms=1),))
        for name in sorted(DOMAINS)
    }
    rows = [LabelledRow(name, name) for name in script]
    found = asyncio.run(score(rows, Scripted(script)))
    console = Console(width=80, record=True, force_terminal=False)
    with console.capture() as drawn:
        print_score(found, console)
    heading = next(line for line in drawn.get().splitlines() if line.strip().startswith("cod "))
    assert len(set(heading.split())) == len(DOMAINS)
    assert "calibration" in drawn.get()
    assert "most often confused" not in drawn.get()


def test_every_key_is_on_the_page(labelled: str, answered: Answered) -> None:
    section = PAGE.split("\n## domains\n")[1].split("\n## ")[0]
    named = set(re.findall(r"[a-z_0-9]+", section))
    listed = answered("domains", "list")
    found = answered("domains", "eval", labelled, "--layers", "rules")
    by_name = [found["by_label"]["code"], found["by_source"]["a"], found["layers"]["rules"]]
    lists = [found["coverage"], found["bins"], listed["domains"]]
    parts = [found, listed, *by_name, found["unsure"], found["latency"]]
    parts += [each for values_ in lists for each in values_]
    assert set().union(*parts) - named == set()


def test_quantiles_are_by_nearest_rank() -> None:
    assert quantile(range(1, 101), 0.99) == 99
    assert quantile([7.0], 0.01) == 7.0


def test_both_layers_are_asked_in_turn(
    sentence_model: SentenceModel, tmp_path: Path, answered: Answered
) -> None:
    texts = {
        "What medicine should I take for a sore throat and fever?": "medical",
        "Write a poem about the autumn sea": "creative",
        "hm": "general",
    }
    path = written(
        tmp_path / "rows.jsonl", [{"text": text, "label": each} for text, each in texts.items()]
    )
    found = answered("domains", "eval", path, "--layers", "semantic")
    detector = DomainDetector(semantic=sentence_model)
    said = [asyncio.run(detector.detect(text)) for text in texts]
    hits = [each.domain == label for each, label in zip(said, texts.values(), strict=True)]
    assert found["layers_used"] == "semantic"
    assert found["accuracy"] == sum(hits) / 3
    assert list(found["layers"]) == ["rules", "semantic"]
    passed = sum(len(each.layers) > 1 for each in said)
    assert found["layers"]["semantic"]["asked"] == passed > 0
    assert 0 < found["layers"]["semantic"]["p50_us"] <= found["layers"]["semantic"]["p99_us"]
