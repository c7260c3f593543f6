"""The benchmark beside other validators: what it reads of the data, and the tables it makes."""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.cli.quality.cases import Case, CaseSet, Kind, asked
from cascadeflow.cli.quality.figures import Figures, Pairs, Scored

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHES = Path(__file__).parents[2] / "benches"


@pytest.fixture(scope="module")
def benches() -> Iterator[None]:
    """The scripts' folder is looked at as when one of them is run."""
    sys.path.insert(0, str(BENCHES))
    yield
    sys.path.remove(str(BENCHES))


@pytest.fixture(scope="module")
def tables(benches: None) -> Any:  # noqa: ARG001 - it must come first
    return importlib.import_module("quality_peer_tables")


@pytest.fixture(scope="module")
def script(benches: None) -> Any:  # noqa: ARG001 - it must come first
    return importlib.import_module("quality_peers")


def a_set(kind: Kind, *texts: tuple[str, bool, str], models: bool = False) -> CaseSet:
    """A set of answers, each with whether it is good and its part."""
    cases = [
        Case(key=f"q{at}", part=part, messages=asked("Why?"), answer=answer, good=good)
        for at, (answer, good, part) in enumerate(texts)
    ]
    return CaseSet(name="a set", kind=kind, cases=tuple(cases), models=models)


def scored(cases: CaseSet, *scores: float, limit: float = 0.5) -> list[Scored]:
    return [
        Scored(case.key, case.part, case.good, score, score >= limit)
        for case, score in zip(cases.cases, scores, strict=True)
    ]


def test_every_judge_stands_in_the_row_of_its_set_and_a_dash_where_it_was_not_asked(
    tables: Any,
) -> None:
    one = a_set("answers", ("a", True, ""), ("b", True, ""), ("c", False, ""), ("d", False, ""))
    two = replace(one, name="another")
    results = [
        tables.reckoned(one, {"ours": scored(one, 0.9, 0.8, 0.2, 0.1), "peer": []}),
        tables.reckoned(two, {"peer": scored(two, 0.1, 0.9, 0.5, 0.5)}),
    ]
    told = tables.tables(results).splitlines()
    assert told[2] == "| set | n | faulty | ours | peer |"
    assert told[4].startswith("| a set | 4 | 50% | 1.000 (1.00")
    assert told[4].endswith(f"| {tables.DASH} |")
    assert told[5].startswith(f"| another | 4 | 50% | {tables.DASH} | 0.500 (")


def test_recorded_models_are_told_apart_before_their_answers_are(tables: Any) -> None:
    # Over both models at once the scores would be right in three of four pairs.
    models = a_set(
        "answers",
        *[("a", True, "strong"), ("b", False, "strong"), ("c", True, "weak"), ("d", False, "weak")],
        models=True,
    )
    found = tables.reckoned(models, {"ours": scored(models, 0.8, 0.9, 0.1, 0.2)}).found["ours"]
    assert isinstance(found, Figures)
    assert found.auc == 0.0
    assert found.auc_pooled == 0.25


def test_pairs_are_shown_by_subset_and_the_subsets_count_alike(tables: Any) -> None:
    pairs = a_set(
        "pairs",
        *[("better", True, "hard"), ("worse", False, "hard")],
        *[("better", True, "easy"), ("worse", False, "easy")] * 3,
    )
    result = tables.reckoned(pairs, {"ours": scored(pairs, *[0.1, 0.9], *[0.9, 0.1] * 3)})
    assert isinstance(result.found["ours"], Pairs)
    assert result.n == 4
    told = tables.tables([result]).splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in told[4:]}
    assert rows["easy"][0].strip() == "3"
    assert rows["easy"][1].startswith(" 1.000")
    assert rows["hard"][1].startswith(" 0.000")
    assert rows["all"][1].startswith(" 0.750")
    assert rows["mean of subsets"][1] == " 0.500 "


def test_a_function_of_one_label_is_shown_by_what_was_judged_rightly(tables: Any) -> None:
    texts = a_set(
        "toxicity",
        *[("slur", False, "slur_h"), ("again", False, "slur_h")],
        *[("quoted", True, "quote_nh"), ("fine", True, "quote_nh")],
    )
    result = tables.reckoned(texts, {"ours": scored(texts, 0.2, 0.6, 0.9, 0.4)})
    assert result.right == {"slur_h": {"n": 2, "ours": 0.5}, "quote_nh": {"n": 2, "ours": 0.5}}
    assert "quote_nh" not in tables.tables([result])
    told = tables.tables([result], by_part=["a set"])
    assert "| a set | 4 | 50% | 0.750 (" in told
    assert " / 0.833 / 0.500 / 50.0% |" in told  # one of two slurs stopped, and one of two others
    assert "| quote_nh | 2 | 50.0% |" in told
    assert "| slur_h | 2 | 50.0% |" in told


def test_texts_that_a_judge_could_not_judge_are_counted_and_said(tables: Any) -> None:
    texts = a_set("grounding", ("a", True, ""), ("b", False, ""), ("c", False, ""))
    result = tables.reckoned(texts, {"ours": scored(texts, 0.9, 0.2, 0.1)[:2]})
    assert result.unjudged == {"ours": 1}
    assert "a set: ours could not judge 1 texts" in tables.tables([result])


def test_the_tables_of_a_page_are_put_in_the_place_of_the_old_ones(tables: Any) -> None:
    page = f"# Page\n{tables.BEGIN}\nold\n{tables.END}\nrest\n"
    new = tables.put(page, "new")
    assert new == f"# Page\n{tables.BEGIN}\n\nnew\n\n{tables.END}\nrest\n"
    assert tables.put(new, "new") == new
    for other in ("# Page\n", f"{tables.BEGIN}\n", f"{tables.END}\n{tables.BEGIN}\n"):
        with pytest.raises(ValueError, match="to write between"):
            tables.put(other, "new")


def test_the_page_has_the_lines_that_the_tables_stand_between(tables: Any) -> None:
    page = (BENCHES.parent / "docs" / "quality.md").read_text(encoding="utf-8")
    assert page.count(tables.BEGIN) == page.count(tables.END) == 1
    assert tables.put(page, "new") != page


def test_the_figures_are_plain_json(tables: Any) -> None:
    texts = a_set("grounding", ("a", True, "x"), ("b", False, "y"))
    result = tables.reckoned(texts, {"ours": scored(texts, 0.9, 0.2)})
    assert json.loads(json.dumps(result.to_dict()))["found"]["ours"]["auc"] == 1.0


def test_what_a_peer_says_of_a_text_stands_in_every_set_that_has_it(script: Any) -> None:
    whole = a_set("answers", ("right", True, "m"), ("wrong", False, "m"))
    part = replace(whole, cases=whole.cases[1:])
    said = {
        whole.cases[0]: {"peer": (0.75, True)},
        whole.cases[1]: {"peer": (0.25, False)},
    }
    assert script.unique([whole, part], toxic=False) == list(whole.cases)
    assert [row.score for row in script.scored(whole, said)["peer"]] == [0.75, 0.25]
    assert script.scored(part, said) == {"peer": [Scored("q1", "m", False, 0.25, False)]}


def test_a_peer_that_takes_no_documents_reads_them_before_the_question(script: Any) -> None:
    case = Case(
        key="k", part="", messages=asked("When?", ["At nine."]), answer="At nine.", good=True
    )
    assert script.asked_text(case) == "At nine.\n\nWhen?"


def test_recorded_answers_of_several_files_are_one_set_with_faults_planted_once(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "DATA", tmp_path)
    for name, model in (("one", "small"), ("two", "large")):
        rows = [
            {
                "question": f"What is {at} + {at}?",
                "models": {
                    model: {"output": f"The sum.\n#### {2 * at}", "correct": True, "out_tok": 9}
                },
                "prompt_tok": 9,
            }
            for at in range(1, 6)
        ]
        text = "\n".join(map(json.dumps, rows))
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    source = script.Source("Sums", ("one", "two"), 4)
    (recorded,) = script.read_source(source, None, 0)
    assert (recorded.name, recorded.models, len(recorded.cases)) == ("Sums", True, 8)
    assert {case.part for case in recorded.cases} == {"small", "large"}
    assert len(script.read_source(source, 0, 0)[0].cases) == 10
    assert len(script.read_source(source, 3, 0)[0].cases) == 6
    sets = script.read_source(replace(source, faults=True), None, 0)
    assert [(each.name, len(each.cases)) for each in sets] == [
        ("Sums, another final number", 8),
        ("Sums, another's answer", 8),
    ]


def test_every_set_that_is_shown_can_be_read(script: Any, shared_data: Path) -> None:
    assert script.DATA.resolve() == shared_data.resolve()
    kinds = [each.kind for source in script.SETS for each in script.read_source(source, 2, 0)]
    assert {"answers", "pairs", "grounding", "toxicity"} == set(kinds)
