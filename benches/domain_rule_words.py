"""The single words that tell labels apart in the project's own rows, and those that lists lack."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from domain_rows import LABELS, Floats, Row
from domain_rule_fit import own_forms

if TYPE_CHECKING:
    from pathlib import Path

MOST = 2_400
ROWS = 8
"""A word stands in so many rows at least …"""
FORMS = 6
"""… of so many different forms."""

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

Counts = dict[str, Counter[str]]


def words(text: str) -> list[str]:
    """A text's words, about as the rules fold them."""
    plain = unicodedata.normalize("NFKD", text.replace("\u2019", "'").lower())
    return WORD.findall("".join(each for each in plain if not unicodedata.combining(each)))


def counted(rows: list[Row], *, pairs: bool = False) -> Counts:
    """Of each word (or pair) that enough rows and forms have, in how many rows of each label."""
    forms = own_forms()
    by_label: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_form: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        found = words(row.text)
        terms = set(found) | ({" ".join(pair) for pair in pairwise(found)} if pairs else set())
        for term in terms:
            by_label[term][row.label] += 1
            if len(by_form[term]) < FORMS:
                by_form[term].add(forms[row.text])
    return {
        term: counts
        for term, counts in by_label.items()
        if counts.total() >= ROWS and len(by_form[term]) >= FORMS and len(term) > 1
    }


def telling(counts: Counts, rows: list[Row]) -> dict[str, tuple[float, str]]:
    """How much a word tells (its chi-square), and of which label it is the sign."""
    of_label = Counter(row.label for row in rows)
    expected = np.array([of_label[label] for label in LABELS], np.float64)
    expected /= expected.sum()
    found = {}
    for term, by_label in counts.items():
        seen = np.array([by_label[label] for label in LABELS], np.float64)
        due = expected * seen.sum()
        found[term] = (float(((seen - due) ** 2 / due).sum()), LABELS[int((seen / due).argmax())])
    return found


def write_words(path: Path, rows: list[Row]) -> None:
    """Writes the words that tell most, each under the label that it is the sign of."""
    told = telling(counted(rows), rows)
    chosen = sorted(told, key=lambda word: -told[word][0])[:MOST]
    lines = [
        "# Single words, each a rule of its own: those of the project's own training set that",
        "# tell the domains apart best, chosen by benches/fit_domain_rules.py --words. They stand",
        "# under the domain that they are the clearest sign of; weights.json has their weights.",
    ]
    for label in LABELS:
        own = sorted(word for word in chosen if told[word][1] == label)
        lines += ["", "[[rule]]", 'name = "word"', f"weights = {{ {label} = 0.5 }}"]
        lines += ["diluted = true", "each = '''", *wrapped(own), "'''"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def wrapped(terms: list[str]) -> list[str]:
    """Lines of at most a hundred characters."""
    lines = [""]
    for term in terms:
        longer = f"{lines[-1]}, {term}" if lines[-1] else term
        if len(longer) <= 100:
            lines[-1] = longer
        else:
            lines.append(term)
    return lines


def propose(most: int, rows: list[Row], shares: Floats, known: set[str]) -> None:
    """Prints, for each label, the words and pairs that would help most.

    Args:
        most: so many a label.
        rows: the project's own rows.
        shares: what the rules gave each row's labels, held out.
        known: the rules' names; words that are rules are not proposed.
    """
    missing: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(len(LABELS), np.float32))
    for row, given in zip(rows, shares, strict=True):
        found = words(row.text)
        short = -given
        short[LABELS.index(row.label)] += 1
        for term in {*found, *(" ".join(pair) for pair in pairwise(found))}:
            missing[term] += short
    enough = counted(rows, pairs=True)
    terms = [term for term in enough if f"word: {term}" not in known]
    # The gain of a first step: the slope squared by how often the word is there.
    gains = np.stack([missing[term] / np.sqrt(enough[term].total()) for term in terms])
    for at, label in enumerate(LABELS):
        order = np.argsort(-gains[:, at])[:most]
        print(f"{label}: {', '.join(terms[place] for place in order)}")
