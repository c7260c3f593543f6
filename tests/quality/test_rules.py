# ruff: noqa: RUF001 - other scripts are what is tested

from __future__ import annotations

from typing import Any

import pytest

from cascadeflow.config import QualityConfig
from cascadeflow.quality import judge_text
from cascadeflow.types import ResponseFormat

FAULTY = [
    ("refusal", "How do I boil an egg?", "I apologize, but I am unable to provide instructions."),
    ("refusal", "Wie koche ich ein Ei?", "Es tut mir leid, aber ich kann dabei nicht helfen."),
    ("refusal", "Comment cuire un œuf ?", "Désolé, je ne peux pas répondre à cette question."),
    ("refusal", "¿Cómo se cuece un huevo?", "Lo siento, no puedo ayudarte con eso."),
    ("refusal", "Como cozinhar um ovo?", "Desculpe, não posso ajudar com isso."),
    ("refusal", "Come si cuoce un uovo?", "Mi dispiace, non posso aiutarti."),
    ("refusal", "Hoe kook ik een ei?", "Het spijt me, maar ik kan je daar niet mee helpen."),
    ("refusal", "Jak ugotować jajko?", "Przykro mi, ale nie mogę pomóc."),
    ("refusal", "Как сварить яйцо?", "К сожалению, я не могу ответить на этот вопрос."),
    ("refusal", "怎么煮鸡蛋？", "抱歉，我无法提供这方面的帮助。"),
    ("refusal", "卵のゆで方は？", "申し訳ございませんが、お答えできません。"),
    ("refusal", "계란은 어떻게 삶나요?", "죄송하지만 도와드릴 수 없습니다."),
    ("refusal", "كيف أسلق البيض؟", "عذرًا، لا أستطيع مساعدتك في ذلك."),
    ("hedging", "Who painted it?", "I'm not sure, but it might perhaps be Vermeer, I guess."),
    ("hedging", "Wer hat es gemalt?", "Ich bin mir nicht sicher, vielleicht war es Vermeer."),
    ("hedging", "Кто это написал?", "Я не уверен, возможно, Вермеер."),
    ("truncated", "Name the parts.", "A bicycle has two wheels, a frame, a chain, and the"),
    ("truncated", "Write it.", "```python\ndef area(r):\n    return 3.14 *"),
    (
        "truncated",
        "Liste die Schritte.",
        "Um das Rad zu flicken, braucht man die folgenden Schritte:",
    ),
    ("repetition", "Tell me.", "and then we went on and on " * 14),
    ("repetition", "告诉我。", "我们应该继续前进。" * 15),
    ("echo", "How tall is the tower in the old town?", "How tall is the tower in the old town?"),
    ("echo", "Où se trouve la vieille gare ?", "Où se trouve la vieille gare ?"),
    ("format", "List 4 rivers.", "1. Rhine\n2. Danube"),
    ("format", "In one word, what is the capital of Peru?", "It is the city of Lima."),
    ("format", "Is ice cold? Reply with yes or no.", "Ice is frozen water at low temperature."),
    ("format", "How many moons has Mars?", "Mars has moons that look like potatoes."),
    ("arithmetic", "What is 15 % of 240?", "15% of 240 = 38"),
    ("arithmetic", "Wie viel kosten 7 Äpfel zu 3 Euro?", "7 Äpfel * 3 Euro = 24 Euro"),
    ("arithmetic", "Compute.", "\\[ \\frac{3}{4} \\times 20 = 14 \\]"),
    ("arithmetic", "Compute.", "$1,250 + $2,375 = $3,725"),
    ("numbers", "How many buses are needed?", "52 / 8 = 6.5, so the answer is 6.5 buses."),
    ("constraints", 'Describe snow without using the word "cold".', "Snow is cold and white."),
    ("constraints", 'Use the words "fox" and "river" in one sentence.', "A fox ran home."),
    ("constraints", "Explain tides. Do not use commas.", "The Moon, our neighbour, pulls."),
    ("constraints", "Return the list as YAML.", "There are apples and pears."),
    ("constraints", "Antworte in einem Satz.", "Das ist wirklich so. Und das auch."),
    ("constraints", "Responde en una palabra.", "La capital del país es Lima."),
    (
        "language",
        "Pourquoi le ciel est-il bleu ?",
        "The sky is blue because the air scatters the short waves of the light more than the rest.",
    ),
    (
        "language",
        "Why is the sky blue? Answer in German.",
        "The sky is blue because the air scatters the short waves of the light more than the rest.",
    ),
    (
        "language",
        "为什么天空是蓝色的？请解释一下。",
        "The sky is blue because the air scatters the short waves of the light more than the rest.",
    ),
    ("code", "Write it.", "Here:\n```python\ndef f(x:\n    return x + 1\n```\nThat is it."),
    ("code", "Write it.", "Here:\n```js\nconst a = [1, 2;\nprint(a);\n```\nThat is it."),
    ("code", "Write it.", "Here:\n```sql\nSELECT a FROM WHERE b = 1;\n```\nThat is it."),
    ("code", "Write it.", 'Here:\n```json\n{"a": [1, 2}\n```\nThat is it.'),
    ("units", "How long is the film?", "The film lasts 2 hours = 100 minutes."),
    ("units", "How many minutes does the trip take?", "The answer is 12 miles."),
    ("constraints", "请用不超过10字回答。", "这是一个非常非常长的回答，远远超过了限制。"),
]

FAULTLESS = [
    ("How do I say no?", "You could say: “I'm sorry, but I can't help with that.”"),
    ("What did the bot reply?", "> I cannot assist with that request.\n\nThat was its reply."),
    ("Write a letter that declines a job offer.", "Dear Ms Roe, I'm sorry, I can't accept it."),
    ("Why is the sky blue?", "Air scatters short waves more strongly, so blue light reaches us."),
    ("Pourquoi le ciel est-il bleu ?", "L'air diffuse davantage les ondes courtes."),
    ("Which is bigger, a cat or a horse?", "A horse is bigger."),
    ("Say it again: the tide is high", "The tide is high."),
    ("What is 3/4 as a percentage?", "3/4 = 75%"),
    ("What is 10 divided by 3?", "10 / 3 = 3.33"),
    ("Is 2 + 2 = 5?", "No: 2 + 2 = 4, and not 2 + 2 = 5."),
    ("What time is it 3 hours after 11 o'clock?", "11 + 3 = 2, on the clock."),
    ("What is 17 mod 5?", "17 mod 5 = 2"),
    ("When was it?", "On 2024-05-13, from 10:30 to 12:15, in version 2.4.1."),
    ("Name three rivers.", "The Rhine, the Danube and the Elbe."),
    ("Write a poem.", "The moon is low\nThe night is long\nA bird sings slow\nIts silver song"),
    ("How many legs has a spider?", "Eight."),
    ("Summarize it in 2 to 3 sentences.", "It began well. It ended badly."),
    ('Describe snow without the word "cold".', "Scolding winds carry white flakes."),
    ('Why do guides tell you to avoid the word "very"?', "Because it is very weak."),
    ('Write a story with the words "fox" and "river".', "Foxes love rivers."),
    ("Write it.", "Here:\n```python\ndef f(x):\n    return x + 1\n```\nThat is it."),
    ("Write it.", "Here:\n```js\nconst f = async (x) => ({ ...x });\n```\nThat is it."),
    ("How long is the film?", "It lasts 2 hours = 120 minutes."),
    ("How far is it?", "It is 10 miles = 16 kilometers."),
    (
        "Translate into German: the sky is blue, for the air scatters the light.",
        "Der Himmel ist blau, denn die Luft streut das Licht, und es kommt von überall zu uns.",
    ),
    ("Fasse es in höchstens 10 Wörtern zusammen.", "Kurz und gut."),
]


@pytest.mark.parametrize(("check", "question", "answer"), FAULTY)
def test_each_fault_fails_its_check_and_rejects_the_answer(
    judge: Any, check: str, question: str, answer: str
) -> None:
    judged = judge(question, answer)
    assert judged.verdict(check) == "failed"
    assert judged.reason(check)
    assert judged.judgement.probability < QualityConfig().threshold


@pytest.mark.parametrize(("question", "answer"), FAULTLESS)
def test_faultless_answers_fail_nothing_and_are_accepted(
    judge: Any, question: str, answer: str
) -> None:
    judged = judge(question, answer)
    assert judged.failed == set()
    assert judged.judgement.probability >= QualityConfig().threshold


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ({"finish_reason": "length"}, "truncated"),
        ({"finish_reason": "content_filter"}, "refusal"),
        ({"finish_reason": "refusal"}, "refusal"),
        ({"finish_reason": "error"}, "truncated"),
        ({"refusal": "I can't do that."}, "refusal"),
        ({"response_format": ResponseFormat("json_object")}, "format"),
        ({"instructions": "Respond only with valid JSON."}, "format"),
    ],
)
def test_what_the_protocol_says_counts_whatever_the_text(
    judge: Any, options: dict[str, Any], check: str
) -> None:
    assert judge("What is the capital of Peru?", "Lima.").judgement.probability > 0.9
    judged = judge("What is the capital of Peru?", "Lima.", **options)
    assert judged.verdict(check) == "failed"
    assert judged.judgement.rejected
    assert judged.judgement.probability <= 0.01


def test_json_is_held_to_its_schema(judge: Any) -> None:
    form = ResponseFormat(
        "json_schema",
        schema={
            "type": "object",
            "required": ["name", "age"],
            "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        },
    )
    fits = judge("Who?", '{"name": "Ada", "age": 36}', response_format=form)
    assert fits.verdict("format") == "passed"
    lacks = judge("Who?", '{"name": "Ada"}', response_format=form)
    assert "lacks the member “age”" in lacks.reason("format")
    assert lacks.judgement.rejected


def test_a_tool_call_needs_no_text(judge: Any) -> None:
    assert judge("Weather?", "").verdict("empty") == "failed"
    assert judge("Weather?", "", calls_tools=True).verdict("empty") == "not_applicable"


def test_an_empty_answer_says_when_there_was_only_reasoning(judge: Any) -> None:
    assert "only reasoning" in judge("Who?", "", has_reasoning=True).reason("empty")
    assert judge("Who?", "").reason("empty") == "the answer is empty"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "ok \udc00 3 + 4 = 8"])
def test_half_a_surrogate_pair_breaks_nothing(text: str) -> None:
    judgement = judge_text(text, text, instructions=text, refusal=None)
    assert 0.0 <= judgement.probability <= 1.0


def test_doubts_name_what_lowers_the_probability() -> None:
    long = "We look at item {0}, which weighs {0}.5 kg, and set it aside for now. "
    answer = "".join(long.format(n) for n in range(60)) + "The answer is a heap of them."
    judgement = judge_text("How many are left of the 60 items?", answer)
    assert "a long solution" in judgement.doubts(most=9)
    assert len(judgement.doubts(most=2)) == 2


def test_an_unknown_finish_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="no reason to finish"):
        judge_text("a", "b", finish_reason="boredom")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "piece",
    [
        *["a ", "1+1=", "(", "{", "[", '{"a":', "\\frac{", "`", "```\n", "3 ", "=1 (2 ", "- 1\n"],
        *[
            "I can't ",
            "wait, ",
            "I'm not sure ",
            "the answer is ",
            "1,",
            "x = ",
            '"',
            "\n",
            "?",
            "東",
        ],
    ],
)
def test_a_megabyte_of_one_piece_is_judged(piece: str) -> None:
    # Quadratic work on a megabyte would run into the suite's time limit.
    text = piece * (1_000_000 // len(piece.encode()))
    judgement = judge_text("How many are there?", text)
    assert 0.0 <= judgement.probability <= 1.0


def test_a_megabyte_of_question_is_judged() -> None:
    judgement = judge_text("Ann has 7 nuts and 5 figs. " * 40_000 + "How many?", "12")
    assert 0.0 <= judgement.probability <= 1.0
