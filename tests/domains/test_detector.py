"""Layer after layer: who is asked, who answers, and what is said of a layer that could not run."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING

import pytest

from cascadeflow import ConfigurationError, Domain, DomainDetector
from cascadeflow._native import Vectors
from cascadeflow.domains.rules import RuleLayer
from cascadeflow.domains.semantic import SemanticHead
from cascadeflow.errors import CascadeFlowError, InvalidRequestError
from cascadeflow.models.embedding import RequestVectors
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cascadeflow.domains.records import Detection

RULES = {
    "domain": "legal",
    "rule": [{"name": "a clause that decides", "weight": 40.0, "any": "zebraclause"}],
}
LEGAL = "Does the zebraclause bind my landlord?"
VAGUE = "and the other one?"
BEES = Domain("bees", examples=["bbb", "bb b", "bbbb b"])
VARIABLE = "CASCADEFLOW_SENTENCE_MODEL"


class Letters:
    """An embedder whose vectors can be foreseen: how often a, b, c and others occur.

    Attributes:
        texts: what it was given.
        error: what it raises instead, while it is set.
        only: of which text alone.
    """

    def __init__(self, name: str = "letters/1", dimension: int = 4) -> None:
        self.name = name
        self.dimension = dimension
        self.texts: list[str] = []
        self.error: BaseException | None = None
        self.only: str | None = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        if self.error is not None and (self.only is None or self.only in texts):
            raise self.error
        rows = []
        for text in texts:
            counts = [float(text.count(letter)) for letter in "abc"]
            row = [*counts, 0.0 if any(counts) else 1.0]
            rows.append((row + [0.0] * self.dimension)[: self.dimension])
        return Vectors(rows).normalised()

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        await asyncio.sleep(0)
        return self.embed(texts)


@functools.cache
def rules() -> RuleLayer:
    return RuleLayer(extra=[RULES])


def detect(detector: DomainDetector, text: str) -> Detection:
    return asyncio.run(detector.detect(text))


class Known(Letters):
    """An embedder whose vectors the built-in head takes for its own model's."""

    async def layered(self, texts: Sequence[str]) -> Vectors:
        return Vectors([[*row, *row] for row in (await self.vectors(texts)).tolist()])


def known() -> Letters:
    return Known(SemanticHead.builtin().model, 384)


# The layers in their order


def test_rules_that_are_sure_answer_alone() -> None:
    embedder = Letters()
    found = detect(DomainDetector(rules=rules(), semantic=embedder), LEGAL)
    assert (found.domain, found.layer) == ("legal", "rules")
    assert [layer.layer for layer in found.layers] == ["rules"]
    assert embedder.texts == []


def test_where_rules_are_not_sure_the_vector_and_their_evidence_are_read() -> None:
    embedder = known()
    found = detect(DomainDetector(rules=rules(), semantic=embedder), VAGUE)
    assert [layer.layer for layer in found.layers] == ["rules", "semantic"]
    assert embedder.texts == [VAGUE]
    semantic = found.layers[1]
    assert semantic.error is None
    assert {name for name, _ in semantic.probabilities} == set(SemanticHead.builtin().domains)
    assert sum(share for _, share in semantic.probabilities) == pytest.approx(1)
    assert found.layer == ("semantic" if semantic.answered else "none")
    assert found.domain == (semantic.probabilities[0][0] if semantic.answered else "general")


def test_the_heads_evidence_is_picked_by_name() -> None:
    ours, theirs = DomainDetector(semantic=known()), DomainDetector(rules=rules(), semantic=known())
    assert detect(ours, VAGUE).layers[1].probabilities == (
        detect(theirs, VAGUE).layers[1].probabilities
    )


def test_domains_of_ones_own_are_looked_for_even_where_rules_are_sure() -> None:
    embedder = Letters()
    detector = DomainDetector([BEES], rules=rules(), semantic=embedder)
    found = detect(detector, LEGAL)
    assert (found.domain, found.layer) == ("legal", "rules")
    assert [layer.layer for layer in found.layers] == ["rules", "semantic"]
    assert embedder.texts.count(LEGAL) == 1
    found = detect(detector, "zebraclause bbbbb bb bbbbbb bbbbbbbbbbbbb bbbbbbbbbbb")
    assert (found.domain, found.layer) == ("bees", "semantic")


def test_examples_are_embedded_once() -> None:
    embedder = Letters()
    detector = DomainDetector([BEES], rules=rules(), semantic=embedder)
    for _ in range(3):
        detect(detector, "bbb bb")
    assert embedder.texts.count("bbbb b") == 1


def test_the_heads_word_counts_where_no_domain_of_ones_own_fits() -> None:
    embedder = known()
    found = detect(DomainDetector([BEES], rules=rules(), semantic=embedder), "cccc cc")
    assert [layer.layer for layer in found.layers] == ["rules", "semantic", "semantic"]
    assert {name for name, _ in found.layers[1].probabilities} == {"bees"}
    assert {name for name, _ in found.layers[2].probabilities} == DOMAINS


def test_another_sentence_model_than_the_heads_serves_own_domains_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    detector = DomainDetector([BEES], rules=rules(), semantic=Letters())
    assert detect(detector, "bbb b").domain == "bees"
    found = detect(detector, "aaa")
    assert (found.domain, found.layer) == ("general", "none")
    assert "not of letters/1" in str(found.layers[-1].error)
    said = [each for each in caplog.records if each.name == "cascadeflow.domains.detector"]
    assert [record.levelno for record in said] == [logging.WARNING]  # once


def test_a_vector_that_the_request_has_already_is_not_made_again() -> None:
    embedder = known()
    detector = DomainDetector(rules=rules(), semantic=embedder)

    async def main() -> None:
        vectors = detector.vectors()
        assert isinstance(vectors, RequestVectors)
        await vectors.vector_of(VAGUE)
        await detector.detect(VAGUE, vectors)

    asyncio.run(main())
    assert embedder.texts == [VAGUE]


def test_nobody_sure_is_general_with_what_is_likely_beside_it() -> None:
    found = DomainDetector(semantic=False).detect_by_rules(VAGUE)
    assert (found.domain, found.layer, found.confidence) == ("general", "none", None)
    assert len(found.domains) == 3
    assert found.domains == found.layers[0].probabilities[:3]


def test_every_name_it_may_give_is_said() -> None:
    more = {"domain": "ducks", "rule": [{"name": "ducks", "weight": 9.0, "any": "quack"}]}
    detector = DomainDetector([BEES], rules=RuleLayer(extra=[more]), semantic=Letters())
    assert detector.names == DOMAINS | {"bees", "ducks"}


# No sentence model


def test_auto_does_without_the_model_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    detector = DomainDetector(rules=rules())
    found = detect(detector, VAGUE)
    assert (found.domain, found.layer) == ("general", "none")
    assert [layer.layer for layer in found.layers] == ["rules", "semantic"]
    assert "nowhere" in str(found.layers[1].error)
    assert not found.layers[1].answered
    assert detector.vectors() is None
    assert detect(detector, LEGAL).domain == "legal"


def test_who_needs_the_model_is_told_at_once_that_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        DomainDetector(semantic=True)
    with pytest.raises(ConfigurationError, match="nowhere"):
        DomainDetector([BEES])
    with pytest.raises(ConfigurationError, match="'bees' is known by its examples"):
        DomainDetector([BEES], semantic=False)


def test_switched_off_nothing_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    detector = DomainDetector(rules=rules(), semantic=False)
    assert [layer.layer for layer in detect(detector, VAGUE).layers] == ["rules"]
    assert detector.vectors() is None


def test_a_model_that_cannot_be_opened_is_tried_once_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    embedder = Letters()
    embedder.error = ConfigurationError("the file is damaged")
    detector = DomainDetector(rules=rules(), semantic=embedder)
    for _ in range(3):
        found = detect(detector, VAGUE)
        assert (found.layer, found.layers[-1].error) == ("none", "the file is damaged")
    assert len(embedder.texts) == 1
    assert [record.message for record in caplog.records] == [
        "domains are detected by rules alone from now on: the file is damaged"
    ]


def test_own_domains_without_their_model_are_an_error() -> None:
    embedder = Letters()
    embedder.error = ConfigurationError("the file is damaged")
    detector = DomainDetector([BEES], rules=rules(), semantic=embedder)
    with pytest.raises(ConfigurationError, match="damaged"):
        detect(detector, VAGUE)


# A model that fails


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidRequestError("no tokens in it"), "InvalidRequestError: no tokens in it"),
        (CascadeFlowError("out of memory"), "CascadeFlowError: out of memory"),
        (RuntimeError(f"cannot read {VAGUE}"), "RuntimeError"),
    ],
)
@pytest.mark.parametrize("own", [(), (BEES,)])
def test_a_failure_at_one_request_leaves_it_to_the_rules(
    own: tuple[Domain, ...], error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = known()
    embedder.error, embedder.only = error, VAGUE
    detector = DomainDetector(own, rules=rules(), semantic=embedder)
    found = detect(detector, VAGUE)
    assert (found.domain, found.layer) == ("general", "none")
    assert found.layers[-1].error == said
    assert found.domains == found.layers[0].probabilities[:3]
    assert VAGUE not in caplog.text
    assert detect(detector, "something else").layers[-1].error is None  # the next one is tried


def test_where_it_fails_rules_that_are_sure_have_the_word() -> None:
    embedder = Letters()
    embedder.error, embedder.only = CascadeFlowError("out of memory"), LEGAL
    found = detect(DomainDetector([BEES], rules=rules(), semantic=embedder), LEGAL)
    assert (found.domain, found.layer) == ("legal", "rules")
    assert "out of memory" in str(found.layers[1].error)


def test_an_example_that_cannot_be_read_is_told_to_who_wrote_it() -> None:
    embedder = Letters()
    embedder.error, embedder.only = InvalidRequestError("no tokens in it"), "bbb"
    detector = DomainDetector([BEES], rules=rules(), semantic=embedder)
    with pytest.raises(ConfigurationError, match="an example of the domains bees: no tokens"):
        detect(detector, "b")


def test_a_failure_while_the_examples_are_read_is_tried_again() -> None:
    embedder = Letters()
    embedder.error, embedder.only = CascadeFlowError("out of memory"), "bbb"
    detector = DomainDetector([BEES], rules=rules(), semantic=embedder)
    assert detect(detector, "b bb").layers[-1].error == "CascadeFlowError: out of memory"
    embedder.error = None
    assert detect(detector, "b bb").domain == "bees"


def test_a_vector_of_another_length_than_the_examples_is_reported() -> None:
    embedder = Letters()
    detector = DomainDetector([BEES], rules=rules(), semantic=embedder)
    assert detect(detector, "b bb").domain == "bees"
    embedder.dimension = 7
    found = detect(detector, "b bb")
    assert (found.domain, found.layer) == ("general", "none")
    assert str(found.layers[-1].error).startswith("InvalidRequestError")


def test_a_cancelled_request_is_cancelled() -> None:
    embedder = Letters()
    embedder.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        detect(DomainDetector(rules=rules(), semantic=embedder), VAGUE)
