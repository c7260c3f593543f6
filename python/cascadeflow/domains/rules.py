"""The first layer: rules over the words and the form of a request, in microseconds.

The rules stand in `rules/*.toml`, to be read and, with files of your own, added to or overridden
(`cascadeflow.domains.rule_files` says how). Their weights are fitted (`rules/weights.json`,
written by `benches/fit_domain_rules.py`); a rule of yours states its own log-odds, which are added.
The matching is Rust (`rust/core/src/domains`): one pass, linear in the text. Of a text of more than
16 KB the first 12 KB and the last 4 KB are read: what is asked stands there.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from cascadeflow._native import DomainRules, domain_features
from cascadeflow.domains.records import Evidence, LayerReport
from cascadeflow.domains.rule_files import read_rules
from cascadeflow.errors import ConfigurationError
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cascadeflow.domains.rule_files import Rule, RuleSource

__all__ = ["RuleLayer"]

_FOLDER: Final = Path(__file__).parent / "rules"

_BUILT_IN: Final = tuple(sorted(DOMAINS))

_START: Final = -4.0
"""A domain of one's own begins at so many log-odds beside the average built-in one: nothing speaks
for it until a rule does."""


class RuleLayer:
    """Judges requests by rules. Immutable, and safe to use from many threads.

    >>> layer = RuleLayer.builtin()
    >>> report = layer.report("SELECT name FROM users WHERE age > 30 -- why is this slow?")
    >>> report.probabilities[0][0]
    'data'
    """

    __slots__ = ("_evidence", "_judge", "_native", "_thresholds", "domains", "evidence_names")

    def __init__(self, *, extra: Iterable[RuleSource] = ()) -> None:
        """Reads the built-in rules, and more.

        Args:
            extra: rule files, or mappings of their form, in order: a rule whose name is taken
                overrides the one before it, with its own weights; one that looks for nothing and
                only weighs keeps what the other looked for. A domain that is not built in is new.

        Raises:
            ConfigurationError: a file cannot be read, or a rule in it is not one.
        """
        features = domain_features()
        fitted = _fitted()
        rules = {rule.name: rule for rule in builtin_rules()}
        fitted_domains: list[str] = fitted["domains"]
        weights = {
            name: [pair for pair in zip(fitted_domains, row, strict=True) if pair[1]]
            for name, row in fitted["weights"].items()
        }
        records = {name: _weighed(rule, weights) for name, rule in rules.items()}
        names = list(_BUILT_IN)
        for source in extra:
            for given in read_rules(source, features):
                rule = given
                if rule.name in rules:
                    rule = rule.over(rules[rule.name])
                elif not rule.looks_for_something:
                    raise ConfigurationError(
                        f"rule {rule.name!r} looks for nothing, and overrides no rule of that "
                        "name: give it phrases (any), a feature, or rules that it requires"
                    )
                rules[rule.name] = rule
                records[rule.name] = rule.record()
                names += sorted(domain for domain in rule.weights if domain not in names)
        intercepts = dict(zip(fitted_domains, fitted["intercepts"], strict=True))
        start = sum(intercepts.values()) / len(intercepts) + _START
        try:
            self._native = DomainRules(
                names,
                list(records.values()),
                intercepts=[intercepts.get(name, start) for name in names],
                temperature=fitted["temperature"],
                evidence_domains=len(_BUILT_IN),
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        self._judge = self._native.judge
        self._evidence = self._native.evidence
        thresholds = dict(zip(fitted_domains, fitted["thresholds"], strict=True))
        highest = max(thresholds.values())
        self._thresholds: tuple[float, ...] = tuple(thresholds.get(name, highest) for name in names)
        self.domains: tuple[str, ...] = tuple(names)
        """The domains it knows, the built-in ones in order, then those of your own."""
        self.evidence_names: tuple[str, ...] = tuple(self._native.evidence_names())
        """What each number of `evidence` is."""

    @staticmethod
    @functools.cache
    def builtin() -> RuleLayer:
        """Gives the layer of the built-in rules alone, made once."""
        return RuleLayer()

    @property
    def threshold(self) -> float:
        """The least probability at which it answers for any domain; see `threshold_of`."""
        return min(self._thresholds)

    def threshold_of(self, domain: str) -> float:
        """Gives the least probability at which it answers that a request is about a domain.

        Raises:
            KeyError: it does not know the domain.
        """
        try:
            return self._thresholds[self.domains.index(domain)]
        except ValueError:
            raise KeyError(domain) from None

    def report(self, text: str) -> LayerReport:
        """Judges a request.

        Its `threshold` is the likeliest domain's; its evidence, what rules added to domains'
        log-odds.
        """
        began = perf_counter()
        probabilities, parts = self._judge(text)
        best = max(probabilities)
        threshold = self._thresholds[probabilities.index(best)]
        ordered = sorted(zip(probabilities, self.domains, strict=True), key=_negated)
        evidence = tuple([Evidence(rule, domain, weight) for rule, domain, weight in parts])
        return LayerReport(
            layer="rules",
            probabilities=tuple([(domain, probability) for probability, domain in ordered]),
            answered=best >= threshold,
            threshold=threshold,
            evidence=evidence,
            ms=(perf_counter() - began) * 1e3,
        )

    def evidence(self, text: str) -> list[float]:
        """Gives what a further layer may build on: the numbers that `evidence_names` names.

        First the structural features, each 0 to 1; then, for each built-in domain in alphabetical
        order, the log-odds that the rules add up to (not calibrated, about -8 to 12).
        """
        return self._evidence(text)


def _negated(pair: tuple[float, str]) -> float:
    return -pair[0]


def _weighed(rule: Rule, weights: dict[str, list[tuple[str, float]]]) -> tuple[Any, ...]:
    """A built-in rule's record with its fitted weights; one that is not fitted yet has its own."""
    record = rule.record()
    fitted = weights.get(rule.name)
    return record if fitted is None else (record[0], fitted, *record[2:])


@functools.cache
def builtin_rules() -> tuple[Rule, ...]:
    """Gives the built-in rules, read once, with the weights that their files state."""
    features = domain_features()
    paths = sorted(_FOLDER.glob("*.toml"))
    return tuple([rule for path in paths for rule in read_rules(path, features)])


@functools.cache
def _fitted() -> dict[str, Any]:
    """Gives what the fit wrote, read once; nobody changes it."""
    content: dict[str, Any] = json.loads((_FOLDER / "weights.json").read_text(encoding="utf-8"))
    return content
