"""One row of each form, as cases. A row that is not of its form raises, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.cli.quality.cases import Case, asked
from cascadeflow.pipeline.request import normalise
from cascadeflow.types import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]
    Cases = dict[str, list[Case]]

__all__ = [
    "better_worse",
    "claimed",
    "hallucinated",
    "llmbar",
    "moderated",
    "own",
    "preference",
    "safe_or_not",
    "summarised",
    "toxic",
    "truthful",
    "with_knowledge",
]

_SUMMARISE: Final = "Summarise the document."
_TRUE: Final = {"right", "correct", "good", "supported", "true", "yes"}
_FALSE: Final = {"wrong", "incorrect", "bad", "unsupported", "false", "no"}
_CATEGORIES: Final = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")
_ENDINGS: Final = ("stop", "length")


def own(row: Row) -> Cases:
    """This project's form: a question or a conversation, an answer, and whether it is right."""
    documents = _documents(row)
    messages, key = _request(row, documents)
    finish = row.get("finish_reason", "stop")
    if finish not in _ENDINGS:
        raise ValueError(f"finish_reason must be stop or length, not {finish!r:.40}")
    case = Case(
        key=key,
        part=_part(row, "model", "subset", "kind"),
        messages=messages,
        answer=_text(row, "answer", "a"),
        good=_label(row, "right", "label"),
        finish_reason=finish,
    )
    return {"with context" if documents else "": [case]}


def better_worse(row: Row) -> Cases:
    """This project's form of pairs."""
    messages, key = _request(row, _documents(row))
    part = _part(row, "subset", "kind")
    return {"": _pair(key, part, messages, _text(row, "better"), _text(row, "worse"))}


def llmbar(row: Row) -> Cases:
    """LLMBar: which of two outputs follows the instruction, 1 or 2."""
    label = row["label"]
    if label not in (1, 2):
        raise ValueError(f"label must be 1 or 2, the better output; not {label!r:.40}")
    question = _text(row, "input")
    better, worse = _text(row, f"output_{label}"), _text(row, f"output_{3 - label}")
    return {"": _pair(question, _part(row, "_split", "subset"), asked(question), better, worse)}


def preference(row: Row) -> Cases:
    """Auto-J's pairs: 0 or 1 names the better response; 2, that none is, gives no pair."""
    label = row["label"]
    if label not in (0, 1, 2):
        raise ValueError(f"label must be 0, 1 or 2; not {label!r:.40}")
    question, responses = (
        _text(row, "prompt"),
        (_text(row, "response 1"), _text(row, "response 2")),
    )
    if label == 2:  # noqa: PLR2004 - as documented
        return {}
    part = _part(row, "scenario", "subset")
    return {"": _pair(question, part, asked(question), responses[label], responses[1 - label])}


def truthful(row: Row) -> Cases:
    """TruthfulQA: lists of correct and incorrect answers, parted by semicolons."""
    question, best = _text(row, "Question"), _text(row, "Best Answer").strip()
    right = dict.fromkeys([best, *_listed(row, "Correct Answers")])
    wrong = dict.fromkeys(_listed(row, "Incorrect Answers"))
    part, messages = _part(row, "Category"), asked(question)
    return {
        "": [
            Case(key=question, part=part, messages=messages, answer=answer, good=good)
            for answers, good in ((right, True), (wrong, False))
            for answer in answers
            if answer
        ]
    }


def hallucinated(row: Row) -> Cases:
    """HaluEval's general part: an answer, and whether readers found something made up in it."""
    question = _text(row, "user_query")
    bad = _label(row, "hallucination")
    answer = _text(row, "chatgpt_response")
    case = Case(key=question, part="", messages=asked(question), answer=answer, good=not bad)
    return {"": [case]}


def with_knowledge(row: Row) -> Cases:
    """HaluEval's questions: a right and a made-up answer, without and with what is known."""
    question, known = _text(row, "question"), _text(row, "knowledge")
    answers = ((_text(row, "right_answer"), True), (_text(row, "hallucinated_answer"), False))
    return {
        ending: [
            Case(key=question, part="", messages=messages, answer=answer, good=good)
            for answer, good in answers
        ]
        for ending, messages in (
            ("knowledge kept back", asked(question)),
            ("knowledge given", asked(question, [known])),
        )
    }


def summarised(row: Row) -> Cases:
    """QAGS: the sentences of a summary, each with readers' votes; the majority decides."""
    article, sentences = _text(row, "article"), row["summary_sentences"]
    if not isinstance(sentences, list) or not sentences:
        raise TypeError("summary_sentences must be a list of sentences")
    messages = asked(_SUMMARISE, [article])
    cases = []
    for each in sentences:
        if not isinstance(each, dict) or not isinstance(each.get("responses"), list):
            raise TypeError("each of summary_sentences needs `sentence` and `responses`")
        votes = [_label(vote, "response") for vote in each["responses"]]
        if not votes:
            raise ValueError("a sentence has no votes in `responses`")
        cases.append(
            Case(
                key=article,
                part="",
                messages=messages,
                answer=_text(each, "sentence"),
                good=2 * sum(votes) > len(votes),
            )
        )
    if len(cases) == 1:
        return {"sentences": cases}
    text = " ".join(case.answer for case in cases)
    good = all(case.good for case in cases)
    whole = Case(key=article, part="", messages=messages, answer=text, good=good)
    return {"sentences": cases, "summaries": [whole]}


def claimed(row: Row) -> Cases:
    """A document, a claim or a summary, and whether it is supported."""
    document = _text(row, "document")
    question = _text(row, "question") if "question" in row else _SUMMARISE
    case = Case(
        key=document,
        part=_part(row, "subset", "kind"),
        messages=asked(question, [document]),
        answer=_text(row, "claim", "summary"),
        good=_label(row, "label"),
    )
    return {"": [case]}


def toxic(row: Row) -> Cases:
    """A text, and whether it is toxic."""
    return _toxicity(
        _text(row, "text"), _label(row, "toxic"), _part(row, "functionality", "subset")
    )


def moderated(row: Row) -> Cases:
    """OpenAI's moderation set: a mark for each category; one that is missing was not asked for."""
    found = [name for name in _CATEGORIES if name in row and _label(row, name)]
    return _toxicity(_text(row, "prompt"), bool(found), found[0] if found else "none")


def safe_or_not(row: Row) -> Cases:
    """XSTest: prompts that look unsafe, and are or are not."""
    label = row["label"]
    if label not in ("safe", "unsafe"):
        raise ValueError(f"label must be safe or unsafe, not {label!r:.40}")
    return _toxicity(_text(row, "prompt"), label == "unsafe", _part(row, "type"))


def classed(row: Row) -> Cases:
    """Davidson's tweets: hateful, offensive, or neither."""
    label = row["class"]
    if label not in ("hate", "offensive", "neither"):
        raise ValueError(f"class must be hate, offensive or neither, not {label!r:.40}")
    return _toxicity(_text(row, "text"), label != "neither", label)


def _toxicity(text: str, bad: bool, part: str) -> Cases:
    # Nothing is asked: only the text itself is spoken of.
    nothing = (Message("user", ""),)
    return {"": [Case(key=text, part=part, messages=nothing, answer=text, good=not bad)]}


def _pair(
    key: str, part: str, messages: tuple[Message, ...], better: str, worse: str
) -> list[Case]:
    return [
        Case(key=key, part=part, messages=messages, answer=answer, good=good)
        for answer, good in ((better, True), (worse, False))
    ]


def _request(row: Row, documents: list[str]) -> tuple[tuple[Message, ...], str]:
    """The request of a row of ours, and the question in it."""
    if "messages" in row:
        messages = normalise(messages=row["messages"]).messages
        key = "\n".join(f"{each.role}: {each.text}" for each in messages)
        return (*asked("", documents)[:-1], *messages), key
    question = _text(row, "question", "q")
    if not question.strip():
        raise ValueError("the question is empty")
    return asked(question, documents), question


def _documents(row: Row) -> list[str]:
    given = row.get("context")
    if given is None or given == "":
        return []
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(each, str) for each in texts):
        raise TypeError("context must be a text or a list of texts")
    return texts


def _listed(row: Row, name: str) -> list[str]:
    return [each.strip() for each in _text(row, name).split(";")]


def _text(row: Row, *names: str) -> str:
    name = next((each for each in names if each in row), names[0])
    if name not in row:
        raise ValueError(f"no field {name!r}")
    if not isinstance(row[name], str):
        raise TypeError(f"{name} must be text, not {row[name]!r:.40}")
    return str(row[name])


def _part(row: Row, *names: str) -> str:
    name = next((each for each in names if row.get(each) is not None), None)
    return "" if name is None else _text(row, name)


def _label(row: Row, *names: str) -> bool:
    """A label: true or false, 1 or 0, or a word for either."""
    name = next((each for each in names if each in row), names[0])
    value = row.get(name)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
    elif value in (0, 1):  # True and False too
        return bool(value)
    raise ValueError(
        f"{name} must be true or false, 1 or 0, or a word such as right or wrong; not {value!r:.40}"
    )
