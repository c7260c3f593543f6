"""Requests in ten languages, written for this test: labelled by what is asked for, not by words."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cascadeflow import ConfigurationError, DomainDetector
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from cascadeflow.domains.records import Detection

Row = dict[str, str]


@cache
def rows() -> list[Row]:
    file = Path(__file__).with_name("queries_in_ten_languages.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@cache
def found() -> list[Detection]:
    """What the rules and the sentence model make of each; skips where there is no such model."""
    try:
        detector = DomainDetector(semantic=True)
    except ConfigurationError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))

    async def main() -> list[Detection]:
        return await asyncio.gather(*[detector.detect(row["text"]) for row in rows()])

    return asyncio.run(main())


def accuracy(by: str) -> dict[str, float]:
    """The part of each label's, or each language's, requests whose domain is found."""
    right: dict[str, list[bool]] = defaultdict(list)
    for row, detection in zip(rows(), found(), strict=True):
        right[row[by]].append(detection.domain == row["label"])
    return {name: sum(each) / len(each) for name, each in right.items()}


def test_every_label_is_asked_for_in_every_language() -> None:
    texts = {row["text"] for row in rows()}
    pairs = {(row["label"], row["lang"]) for row in rows()}
    assert len(texts) == len(rows()) == 150
    assert {label for label, _ in pairs} == DOMAINS
    assert len({lang for _, lang in pairs}) == 10
    assert len(pairs) == 140


def test_most_are_found_whatever_the_domain() -> None:
    by_label = accuracy("label")
    # Measured 0.83; this guards against losing it and says nothing of how good the detector is.
    assert sum(by_label.values()) / len(by_label) >= 0.75, by_label


def test_no_language_is_lost() -> None:
    by_language = accuracy("lang")
    # Measured 0.67 (Arabic) to 1 (English), of 14 to 17 requests each.
    assert min(by_language.values()) >= 0.5, by_language


def test_rules_alone_read_every_language_and_are_seldom_wrong_where_they_answer() -> None:
    detector = DomainDetector(semantic=False)
    answered = 0
    wrong = []
    for row in rows():
        detection = detector.detect_by_rules(row["text"])
        assert detection.domain in DOMAINS
        if detection.layer == "rules":
            answered += 1
            if detection.domain != row["label"]:
                wrong.append((row["label"], detection.domain, row["text"]))
    # Measured: 49 answered, none of them wrong.
    assert answered >= 30
    assert len(wrong) <= answered * 0.08, wrong
