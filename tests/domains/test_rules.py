"""What requests are about, by the rules' word: whatever the text is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascadeflow._native import DOMAIN_RULES_HEAD, DOMAIN_RULES_TAIL, DomainRules
from cascadeflow.domains.rule_files import read_rules
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.types import DOMAINS

LAYER = RuleLayer.builtin()


def likeliest(text: str) -> str:
    return LAYER.report(text).probabilities[0][0]


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("code", "def area(r):\n    return 3.14 * r ** 2\n\nwrite unit tests for this function"),
        ("data", "write a SQL query that counts the orders of each customer by month"),
        ("math", "Solve for x: 3x^2 - 12x + 9 = 0, and show that both roots are positive."),
        ("medical", "I have had a rash and a fever since I took amoxicillin, is it serious?"),
        ("legal", "Can my landlord terminate the lease without notice under the agreement?"),
        ("finance", "should i put my pension into index funds or bonds before i retire"),
        ("creative", "Write a short poem about a lighthouse keeper who is afraid of the sea."),
        ("translation", "Translate into Portuguese: the train leaves at nine."),
        ("summarization", "Summarize the following article in three bullet points:\n\nThe town …"),
        ("support", "my parcel never arrived and i want a refund for order 4471"),
        ("science", "Why does the boiling point of water fall with the air pressure?"),
        ("factual", "who was the first woman to win a nobel prize"),
    ],
)
def test_a_plain_request_is_told_by_its_words(domain: str, text: str) -> None:
    assert likeliest(text) == domain


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("translation", "Übersetze bitte ins Englische: Der Zug fährt um neun Uhr ab."),
        ("translation", "Переведи на английский: поезд отправляется в девять."),
        ("code", "Pourquoi ma fonction Python renvoie-t-elle None au lieu d'une liste ?"),
        ("summarization", "Resume el siguiente texto en tres frases: El ayuntamiento aprobó ayer…"),
        ("creative", "Scrivi una poesia breve sul mare d'inverno."),
        ("medical", "Ich habe seit drei Tagen Fieber und Halsschmerzen, welches Medikament hilft?"),
        ("translation", "把下面这句话翻译成英语:火车九点出发。"),
        ("code", "यह Python function मुझे TypeError क्यों देता है? def f(x): return x + '1'"),
    ],
)
def test_other_languages_and_mixed_ones_are_told_too(domain: str, text: str) -> None:
    assert likeliest(text) == domain


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_each_domain_once_and_probabilities_that_add_up_to_one(text: str) -> None:
    report = LAYER.report(text)
    assert sorted(domain for domain, _ in report.probabilities) == sorted(DOMAINS)
    shares = [share for _, share in report.probabilities]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    assert report.threshold == LAYER.threshold_of(report.probabilities[0][0])
    assert report.answered == (shares[0] >= report.threshold)


@given(st.text(alphabet="aàbcçdeéËfgiİ\u0131ßoøœuüü 東京か\u3099'\u2019“\n", max_size=60))
@settings(max_examples=100, deadline=None)
def test_spelling_out_accents_and_case_change_no_words(text: str) -> None:
    words = {"name": "word", "weights": {"x": 1}, "each": "a, e, i, oe, ss, de, 東京, が, c'e, ü*"}
    records = [rule.record() for rule in read_rules({"rule": [words]}, ())]
    native = DomainRules(["x"], records, intercepts=[0.0])
    spelled = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC")]
    found = [native.fired(each) for each in (*spelled, text.upper().lower())]
    assert found == [native.fired(text)] * 4


@pytest.mark.parametrize("text", ["", " \n\t ", "\u200b\ufeff", "🙂", "🙂🙃" * 50, "?", "\x00"])
def test_what_says_nothing_is_not_answered(text: str) -> None:
    report = LAYER.report(text)
    assert not report.answered
    assert report.layer == "rules"


@pytest.mark.parametrize(
    "repeated", ["a", "the ", "((((", "```\n", "\u0301", "東", "select ", "\n", "1,", "\"'", "a*"]
)
def test_a_megabyte_of_anything_is_judged_by_its_two_ends(repeated: str) -> None:
    filling = repeated * (1_000_000 // len(repeated.encode()))
    marks = {"name": "marks", "weights": {"marked": 9}, "any": "zyxxa, zyxxb, zyxxc"}
    layer = RuleLayer(extra=[{"rule": [marks]}])

    def weight(text: str) -> float:
        return sum(e.weight for e in layer.report(text).evidence if e.what == "marks")

    assert weight(f"zyxxa {filling} zyxxb") == pytest.approx(13.5)
    assert weight(f"{filling} zyxxc {filling}") == 0


def test_the_ends_are_as_long_as_is_said() -> None:
    assert (DOMAIN_RULES_HEAD, DOMAIN_RULES_TAIL) == (12 * 1024, 4 * 1024)


def test_evidence_is_named_and_always_as_long() -> None:
    assert len(LAYER.evidence("")) == len(LAYER.evidence("x " * 9000)) == len(LAYER.evidence_names)
    sums = [f"rules: {domain}" for domain in sorted(DOMAINS)]
    assert list(LAYER.evidence_names[-len(sums) :]) == sums
    told = dict(
        zip(
            LAYER.evidence_names,
            LAYER.evidence("Fix this:\n```python\ndef f(x):\n    return x[\n```"),
            strict=True,
        )
    )
    assert told["code_fences"] > 0
    assert told["rules: code"] == max(told[name] for name in sums)
