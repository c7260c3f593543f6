"""Several logs of the same questions, read as one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.cli.replay.formats import RecordedAnswer, ReplayRow, model_names
from cascadeflow.cli.replay.joining import join_rows, read_joined

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    from typer.testing import Result

    Call: TypeAlias = Callable[..., Result]
    Answered: TypeAlias = Callable[..., dict[str, Any]]

DRAFT, VERIFIER, THIRD = "mixtral-8x7b", "gpt-4-1106-preview", "gemini-1.5-flash"
PAIR = ("--draft", DRAFT, "--draft-price", "1,2", "--verifier", VERIFIER)
STRICT = (*PAIR, "--mode", "strict", "--cross-check", THIRD)


def answer(text: str) -> RecordedAnswer:
    return RecordedAnswer(output=text, correct=True, input_tokens=1, output_tokens=1)


def row(question: str, **answers: str) -> ReplayRow:
    made = {model: answer(text) for model, text in answers.items()}
    return ReplayRow(id=question, question=question, answers=made)


def said(rows: tuple[ReplayRow, ...]) -> list[dict[str, str]]:
    return [{model: each.output for model, each in one.answers.items()} for one in rows]


def routellm(number: int, question: str, draft: str, verified: str) -> dict[str, Any]:
    """RouteLLM's form: 50 tokens in, 10 out for the draft and 20 for the verifier."""
    return {
        "id": number,
        "prompt": question,
        "cheap_model": DRAFT,
        "exp_model": VERIFIER,
        "cheap_response": draft,
        "exp_response": verified,
        "cheap_correct": draft == verified,
        "exp_correct": True,
        "prompt_tok": 50,
        "cheap_out_tok": 10,
        "exp_out_tok": 20,
    }


def zeroeval(question: str, **answers: str) -> dict[str, Any]:
    """ZeroEval's form: its own prompt is longer, 100 tokens in and 30 out."""
    return {
        "id": f"other#{question}",
        "question": question,
        "prompt_tok": 100,
        "models": {
            model: {"output": text, "correct": True, "out_tok": 30}
            for model, text in answers.items()
        },
    }


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.fixture
def logs(tmp_path: Path) -> tuple[str, str]:
    """Three questions in RouteLLM's form; two of them, in another order, in ZeroEval's."""
    first = write(
        tmp_path / "first.jsonl",
        routellm(0, "What is 2 + 2?", "The answer is 4.", "The answer is 4."),
        routellm(1, "What is 3 + 4?", "The answer is 8.", "The answer is 7."),
        routellm(2, "What is 9 - 1?", "The answer is 8.", "The answer is 8."),
    )
    other = write(
        tmp_path / "other.jsonl",
        zeroeval("What is 5 + 5?", **{THIRD: '{"answer": "10"}'}),
        zeroeval(" What is 3 +\n4? ", **{THIRD: '{"answer": "7"}', VERIFIER: "It is 7."}),
        zeroeval("What is 2 + 2?", **{THIRD: '{"answer": "4"}'}),
    )
    return str(first), str(other)


def test_a_third_model_of_another_log_judges_the_drafts_of_the_first(
    logs: tuple[str, str], answered: Answered
) -> None:
    first, other = logs
    found = answered("replay", first, "--also", other, *STRICT)
    assert (found["n"], found["skipped"]) == (2, 1)
    # It agrees with the right draft and not with the wrong one.
    assert found["accuracy"] == 1.0
    assert found["escalated"] == 0.5
    assert found["also"] == [
        {"file": other, "rows": 3, "joined": 2, "lent": {THIRD: 2}, "kept": {VERIFIER: 1}}
    ]
    assert found["cross_check"] == THIRD
    assert "google:gemini-1.5-flash" in found["cross_check_price"]


def test_each_answer_is_charged_by_the_tokens_of_its_own_log(
    logs: tuple[str, str], answered: Answered
) -> None:
    first, other = logs
    found = answered(
        *("replay", first, "--also", other, *STRICT),
        *("--verifier-price", "10,30", "--cross-check-price", "1,10"),
    )
    assert found["cost_draft_only"] == pytest.approx(2 * (50 * 1 + 10 * 2) / 1e6)
    # The first log's verifier stands, at the first log's tokens.
    assert found["cost_verifier_only"] == pytest.approx(2 * (50 * 10 + 20 * 30) / 1e6)
    assert found["cost_opinions"] == pytest.approx(2 * (100 * 1 + 30 * 10) / 1e6)
    spent = found["cost_draft_only"] + found["cost_opinions"] + found["cost_verifier_only"] / 2
    assert found["cost"] == pytest.approx(spent)
    alone = found["baselines"]["always_cross_check"]
    saved = 1 - found["cost_opinions"] / found["cost_verifier_only"]
    assert alone == pytest.approx({"accuracy": 1.0, "saved": saved})


def test_the_curve_charges_the_opinions_and_runs_through_the_cascades_own_point(
    logs: tuple[str, str], answered: Answered
) -> None:
    first, other = logs
    found = answered("replay", first, "--also", other, *STRICT)
    points = [each for each in found["curve"] if each["threshold"] is not None]
    served = next(each for each in points if each["threshold"] >= found["threshold"])
    assert served["escalated"] == found["escalated"]
    assert served["accuracy"] == found["accuracy"]
    assert served["saved"] == pytest.approx(found["saved"])


def test_what_was_joined_is_said(logs: tuple[str, str], call: Call) -> None:
    first, other = logs
    text = " ".join(call("replay", first, "--also", other, *STRICT).stdout.split())
    assert f"{other}: 2 of 3 rows joined; it lends {THIRD}" in text.replace("/ ", "/")
    assert f"of {VERIFIER} (1) there are answers already, which stand" in text
    assert "always cross-check" in text
    assert "for the cross-check" in text


def test_tuning_takes_a_third_model_of_another_log_too(
    tmp_path: Path, logs: tuple[str, str], answered: Answered, call: Call
) -> None:
    first, other = logs
    questions = [f"What is {number} + {number}?" for number in range(12)]
    pair = write(
        tmp_path / "pair.jsonl",
        *(routellm(at, each, f"It is {2 * at}.", f"{2 * at}") for at, each in enumerate(questions)),
    )
    third = write(
        tmp_path / "third.jsonl",
        *(zeroeval(each, **{THIRD: "It is 7."}) for each in reversed(questions)),
    )
    options = ("tune", str(pair), "--also", str(third), *STRICT)
    found = answered(*options)
    assert (found["n"], found["cross_check"]) == (12, THIRD)
    assert found["also"][0]["joined"] == 12
    assert "12 of 12 rows joined" in " ".join(call(*options).stdout.split())
    assert answered("tune", first, "--also", other, *PAIR)["also"][0]["kept"] == {VERIFIER: 1}


def test_without_another_log_nothing_is_lent(logs: tuple[str, str], answered: Answered) -> None:
    found = answered("replay", logs[0], *PAIR)
    assert (found["also"], found["cross_check"], found["cross_check_price"]) == ([], None, None)
    assert "always_cross_check" not in found["baselines"]
    assert found["cost_opinions"] == 0


def test_logs_that_share_no_question_are_refused_with_what_to_do(
    tmp_path: Path, logs: tuple[str, str], answered: Answered
) -> None:
    framed = write(tmp_path / "framed.jsonl", zeroeval("Question: What is 2 + 2?", m="4"))
    error = answered("replay", logs[0], "--also", str(framed), *PAIR, exit_code=2)["error"]
    assert "none of its 1 questions is one of the 3" in error["message"]
    assert "letter by letter" in error["message"]
    assert "What is 2 + 2" not in error["message"], "a request's words do not go into an error"


@pytest.mark.parametrize("again", [0, 1])
def test_a_log_that_is_named_twice_is_refused(
    again: int, logs: tuple[str, str], answered: Answered
) -> None:
    also = ("--also", logs[1], "--also", logs[again])
    error = answered("replay", logs[0], *also, *PAIR, exit_code=2)["error"]
    assert "named already" in error["message"]


def test_a_third_model_of_no_price_says_which_option_states_it(
    tmp_path: Path, logs: tuple[str, str], answered: Answered
) -> None:
    other = write(tmp_path / "own.jsonl", zeroeval("What is 2 + 2?", homegrown="4"))
    strict = (*PAIR, "--mode", "strict", "--cross-check", "homegrown")
    error = answered("replay", logs[0], "--also", str(other), *strict, exit_code=2)["error"]
    assert "--cross-check-price" in error["message"]


def test_order_and_missing_rows_do_not_matter() -> None:
    rows, log = join_rows(
        [row("a", small="1"), row("b", small="2"), row("c", small="3")],
        [row("c", third="z"), row("x", third="?"), row("a", third="y")],
        file="other",
    )
    assert said(rows) == [
        {"small": "1", "third": "y"},
        {"small": "2"},
        {"small": "3", "third": "z"},
    ]
    assert (log.rows, log.joined, log.lent, log.kept) == (3, 2, {"third": 2}, {})


def test_a_question_that_comes_several_times_gets_the_others_answers_in_turn() -> None:
    rows, log = join_rows(
        [row("a", small="1"), row("a", small="2"), row("a", small="3")],
        [row("a", third="x"), row("a", third="y", fourth="w")],
        file="other",
    )
    assert [each["third"] for each in said(rows)] == ["x", "y", "x"]
    # A log may hold a row for each model: what counts is each model's own n-th answer.
    assert [each["fourth"] for each in said(rows)] == ["w", "w", "w"]
    assert (log.joined, log.lent) == (3, {"fourth": 3, "third": 3})


def test_of_several_logs_the_one_that_is_named_first_stands(tmp_path: Path) -> None:
    def own(name: str, **answers: str) -> Path:
        return write(tmp_path / name, zeroeval("What is 2 + 2?", **answers))

    rows, logs = read_joined(
        own("a.jsonl", small="1"),
        [own("b.jsonl", small="no", third="2"), own("c.jsonl", third="no", fourth="3")],
    )
    assert said(rows) == [{"small": "1", "third": "2", "fourth": "3"}]
    assert [log.kept for log in logs] == [{"small": 1}, {"third": 1}]
    assert [log.lent for log in logs] == [{"third": 1}, {"fourth": 1}]


def test_white_space_may_differ_where_it_tells_no_questions_apart() -> None:
    rows, log = join_rows(
        [row("What is\n  this?", small="1"), row("f('a  b')", small="2"), row("Why?", small="3")],
        [
            row(" What is this? ", third="x"),
            row("f('a b')", third="another question"),
            row("f('a  b')", third="y"),
            row("why?", third="another question too"),
        ],
        file="other",
    )
    assert said(rows) == [
        {"small": "1", "third": "x"},
        {"small": "2", "third": "y"},
        {"small": "3"},
    ]
    assert log.joined == 2


@pytest.mark.parametrize("spaced", ["f('a  b')", "f('a\tb')"])
def test_a_question_that_only_white_space_tells_from_its_neighbour_takes_no_others_answer(
    spaced: str,
) -> None:
    rows, log = join_rows(
        [row("f('a b')", small="1"), row(spaced, small="2")],
        [row("f('a b')", third="x")],
        file="other",
    )
    assert said(rows) == [{"small": "1", "third": "x"}, {"small": "2"}]
    assert log.joined == 1


QUESTIONS = st.sampled_from(["a b", "a  b", " a b", "ab", "A b", "c", "c\n"])
ROWS = st.lists(
    st.builds(
        lambda question, models: row(question, **{name: f"{question}|{name}" for name in models}),
        QUESTIONS,
        st.sets(st.sampled_from(["one", "two", "three"]), min_size=1),
    ),
    min_size=1,
    max_size=8,
)


@given(ROWS, ROWS)
def test_joining_keeps_what_is_there_and_lends_only_of_the_same_question(
    first: list[ReplayRow], other: list[ReplayRow]
) -> None:
    rows, log = join_rows(first, other, file="other")
    assert [each.question for each in rows] == [each.question for each in first]
    lent = 0
    for before, after in zip(first, rows, strict=True):
        assert before.answers.items() <= after.answers.items()
        new = after.answers.keys() - before.answers.keys()
        sources = {after.answers[name].output.rpartition("|")[0] for name in new}
        assert all(source.split() == before.question.split() for source in sources)
        exact = [each for each in other if each.question == before.question]
        if exact:
            assert sources <= {before.question}
            assert after.answers.keys() == before.answers.keys() | set(model_names(exact))
        lent += len(new)
    assert sum(log.lent.values()) == lent
    assert log.joined <= len(first)


def test_two_public_logs_of_gsm8k_hold_the_same_questions(shared_data: Path) -> None:
    folder = shared_data / "cascade"
    rows, (log,) = read_joined(
        folder / "routellm_gsm8k.jsonl.gz", [folder / "zeroeval_gsm8k.jsonl.gz"]
    )
    assert log.joined == log.rows == len(rows)
    assert log.kept == {}
    assert set(log.lent.values()) == {len(rows)}
    assert THIRD in log.lent


def test_nothing_is_joined_by_a_question_that_is_only_alike() -> None:
    _, log = join_rows([row("What is 2+2?", small="4")], [row("What is 2 + 2?", m="4")], file="o")
    assert (log.joined, log.lent) == (0, {})
