"""Fits the weights of the domain rules, and says what they are worth.

    python benches/fit_domain_rules.py [--no-write] [--words] [--propose N]

The rules (`python/cascadeflow/domains/rules/*.toml`) are run over the project's own training set
and the public rows that may be fitted on; multinomial logistic regression gives each rule its
weights, drawn to those that its file states. Temperature and thresholds are fitted on rows held out
by whole sources and whole forms (`domain_rule_fit.folds`): the rules answer alone where, of what
they answer, 95 % is right. The evaluation rows are only reported. Writes `rules/weights.json`.

`--words` writes `rules/words.toml` anew: the single words that tell labels apart in the project's
own rows. `--propose N` prints words and pairs that the lists lack, for a person to judge.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from domain_head import probabilities, temperature_for
from domain_rows import LABELS, Floats, Row, evaluation_rows, own_rows, permitted_rows
from domain_rule_fit import Flags, Integers, Weights, fit, folds, labels_of, shares_of
from domain_rule_words import propose, write_words

from cascadeflow._native import DomainRules
from cascadeflow.domains.rules import builtin_rules

if TYPE_CHECKING:
    from cascadeflow.domains.rule_files import Rule

FOLDER = Path(__file__).parents[1] / "python/cascadeflow/domains/rules"

PENALTY = 3.0
WORD_PENALTY = 2.0
"""How strongly a rule's weights are drawn to the stated ones, and a single word's to nothing."""

LEAST = 0.03
"""Weights nearer to zero are left out."""

PRECISION = 0.955  # a little more than promised: new sources are harder than those held out
SUPPORT = 20
"""A threshold stands on so many rows that are answered above it."""


def stated(rules: list[Rule]) -> Floats:
    """The weights that the files state; words state only where they are listed."""
    weights = np.zeros((len(rules), len(LABELS)), np.float32)
    for at, rule in enumerate(rules):
        if not rule.diluted:
            for label, weight in rule.weights.items():
                weights[at, LABELS.index(label)] = weight
    return weights


def values_of(rules: list[Rule], texts: list[str]) -> Floats:
    """What each rule finds in each text."""
    records = [rule.record() for rule in rules]
    native = DomainRules(list(LABELS), records, intercepts=[0.0] * len(LABELS))
    values = np.zeros((len(texts), len(rules)), np.float32)
    for row, text in zip(values, texts, strict=True):
        for at, value in native.fired(text):
            row[at] = value
    return values


def sharp(sums: Floats, temperature: float, rows: list[Row]) -> tuple[Floats, Integers, Flags]:
    """The likeliest label's probability, which it is, and whether it is right."""
    shares = probabilities(sums, temperature)
    best = shares.argmax(1)
    return shares.max(1), best, best == labels_of(rows)


def thresholds_for(
    best: Floats, named: Integers, right: Flags, shares: Floats, kinds: list[Flags]
) -> Floats:
    """For each label the probability from which it is answered.

    Together they answer as many rows as may be with `PRECISION` right of each kind (the project's
    own, the public ones, each fold), so that none pays for another: each answers as long as the
    next rows are right more often than a common `least`, which is searched for.
    """

    def at_least(least: float) -> Floats:
        found = np.ones(len(LABELS), np.float32)
        for label in range(len(LABELS)):
            places = np.flatnonzero(named == label)
            places = places[np.argsort(-best[places])]
            gains = np.cumsum(shares[places] * (right[places] - least))
            if len(places) > SUPPORT and (top := SUPPORT + int(gains[SUPPORT:].argmax())):
                found[label] = best[places[top]] if gains[top] > 0 else 1.0
        return found

    low, high = 0.0, PRECISION
    for _ in range(30):
        middle = (low + high) / 2
        chosen = best >= at_least(middle)[named]
        fair = all(
            right[chosen & kind].sum() >= PRECISION * (chosen & kind).sum() for kind in kinds
        )
        low, high = (low, middle) if fair else (middle, high)
    return at_least(high)


def ece(best: Floats, right: Flags, bins: int = 15) -> float:
    """The expected calibration error of the likeliest label, in bins of equal width."""
    places = np.minimum((best * bins).astype(int), bins - 1)
    gaps = [abs((best - right)[places == at].sum()) for at in range(bins)]
    return float(sum(gaps) / len(best))


def described(
    name: str, sums: Floats, temperature: float, thresholds: Floats, rows: list[Row]
) -> str:
    best, named, right = sharp(sums, temperature, rows)
    labels = labels_of(rows)
    counted = [at for at in range(len(LABELS)) if (labels == at).sum() >= 50]
    recall = np.mean([right[labels == at].mean() for at in counted])
    answered = best >= thresholds[named]
    wrong = Counter(
        f"{LABELS[labels[at]]}->{LABELS[named[at]]}" for at in np.flatnonzero(answered & ~right)
    )
    return (
        f"{name:14} {len(rows):6,} rows: accuracy {right.mean():.3f}, macro recall {recall:.3f}, "
        f"ECE {ece(best, right):.3f}; alone on {answered.mean():.1%}, "
        f"right {right[answered].mean():.1%}"
        f"\n    wrong alone: {dict(wrong.most_common(6))}"
    )


def write(path: Path, rules: list[Rule], found: Weights, temperature: float, to: Floats) -> None:
    """Writes weights, a rule a line, in the order of `domains`."""

    def line(numbers: Floats, digits: int = 3) -> str:
        kept = [round(float(n), digits) if abs(n) >= LEAST else 0 for n in numbers]
        return json.dumps([int(n) if n == int(n) else n for n in kept], separators=(",", ":"))

    weights = {
        rule.name: line(row, 2 if rule.diluted else 3)
        for rule, row in zip(rules, found.rules, strict=True)
    }
    lines = [
        f"  {json.dumps(name, ensure_ascii=False)}: {weights[name]}" for name in sorted(weights)
    ]
    path.write_text(
        "{\n"
        f' "domains": {json.dumps(LABELS)},\n'
        f' "intercepts": {line(found.intercepts)},\n'
        f' "temperature": {temperature:.3f},\n'
        f' "thresholds": {line(to)},\n'
        ' "weights": {\n' + ",\n".join(lines) + "\n }\n}\n",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--no-write", action="store_true", help="fit and report only")
    parser.add_argument("--words", action="store_true", help="choose the single words anew")
    parser.add_argument("--propose", type=int, default=0, metavar="N", help="print N words a label")
    options = parser.parse_args()

    if options.words:
        write_words(FOLDER / "words.toml", own_rows())
    rows, judged = own_rows() + permitted_rows(), evaluation_rows()
    rules = list(builtin_rules())
    values = values_of(rules, [row.text for row in rows + judged])
    ours, theirs = values[: len(rows)], values[len(rows) :]
    labels, shares, start = labels_of(rows), shares_of(rows), stated(rules)
    penalty = np.array([WORD_PENALTY if rule.diluted else PENALTY for rule in rules], np.float32)

    held = np.zeros((len(rows), len(LABELS)), np.float32)
    which = folds(rows)
    for fold in np.unique(which):
        kept = which != fold
        one = fit(ours[kept], labels[kept], shares[kept], stated=start, penalty=penalty)
        held[~kept] = one.sums(ours[~kept])
    temperature = temperature_for(held, rows)
    best, named, right = sharp(held, temperature, rows)
    own = shares == 1
    kinds = [own, ~own, *(which == fold for fold in np.unique(which))]
    thresholds = thresholds_for(best, named, right, shares, kinds)
    found = fit(ours, labels, shares, stated=start, penalty=penalty)

    print(f"{len(rules):,} rules, temperature {temperature:.3f}")
    print({label: round(float(at), 2) for label, at in zip(LABELS, thresholds, strict=True)})
    parts = [("held out: own", own), ("held out: public", ~own)]
    for name, part in parts:
        some = [row for row, taken in zip(rows, part, strict=True) if taken]
        print(described(name, held[part], temperature, thresholds, some))
    for split in ("test", "unseen_source"):
        places = [at for at, row in enumerate(judged) if row.split == split]
        some = [judged[at] for at in places]
        print(described(split, found.sums(theirs[places]), temperature, thresholds, some))
    if options.propose:
        wrong = probabilities(held, temperature)
        propose(options.propose, own_rows(), wrong[own], {r.name for r in rules})
    if not options.no_write:
        write(FOLDER / "weights.json", rules, found, temperature, thresholds)
        print(f"{(FOLDER / 'weights.json').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
