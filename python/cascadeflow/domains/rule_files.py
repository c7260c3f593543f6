"""Reading rule files: TOML, or a mapping of the same form, into records for the Rust side.

```toml
domain = "billing"               # what the file's rules speak for, unless a rule says otherwise

[[rule]]
name = "an invoice is named"     # one name, one rule; a later one of the same name overrides it
weight = 12.0                    # what it adds to the domain's log-odds, negative against
any = '''
invoice, invoice number, credit note, dunning
de: Rechnung, Mahnung            # a line may begin with its language; that is for the reader
'''
first = 20                       # only when it begins within the first 20 words
```

A rule looks for `any` of its phrases (text with commas or lines between them, or a list), or for a
structural `feature` that lies between `from` and `to`, or only for other rules:

* `any`: whole words in any case, accents and widths aside; `*` at the end stands for any ending.
* `each`, in place of `any`: every phrase is a rule of its own, named `the rule's name: the phrase`.
* `first`, `last`: a phrase must begin within so many words of the start or the end.
* `line`: it must begin a line.
* `least`: so many different phrases at least. The first found counts 1, each further one half as
  much as the one before it; a phrase found again counts nothing.
* `feature`, `from`, `to`: the value rises from 0 to 1 between the two (`from` may be the greater).
* `diluted`: from the twelfth such rule that finds something in a text, each counts less.
* `requires`, `unless`: names of rules that must all have found something, or none of which may.
* `weights = {legal = 1.5, finance = -1}` in place of `weight` speaks for several domains.

Where a built-in domain is meant, its log-odds come to 3 to 15. A domain of one's own begins at -4:
a rule that is to settle the matter weighs 12 and more, one that only hints 4.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from cascadeflow.errors import ConfigurationError

__all__ = ["Rule", "RuleSource", "read_rules"]

RuleSource: TypeAlias = "str | Path | Mapping[str, Any]"
"""A rule file's path, or its content."""

_KEYS: Final = frozenset(
    {
        *("name", "weight", "weights", "any", "each", "first", "last", "line", "least"),
        *("feature", "from", "to", "requires", "unless"),
        "diluted",
    }
)
_HEAVIEST: Final = 50.0
"""Log-odds of 50 are certainty; more is a slip."""

_MOST: Final = 1_000_000
"""More words or phrases than a text that is looked at can hold."""

_LANGUAGE: Final = re.compile(r"^\s*[a-z]{2}:\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, read and checked.

    Attributes:
        name: its name.
        weights: what it adds to each domain's log-odds.
        patterns: the phrases it looks for.
        first: within how many words of the start; `None` for anywhere.
        last: within how many words of the end; `None` for anywhere.
        line: whether only at the start of a line.
        least: how many different phrases at least.
        feature: a structural feature and where its value is 0 and 1.
        requires: rules that must all have found something.
        unless: rules none of which may have found anything.
        diluted: whether it counts less, the more diluted rules find something.
    """

    name: str
    weights: Mapping[str, float]
    patterns: tuple[str, ...] = ()
    first: int | None = None
    last: int | None = None
    line: bool = False
    least: int = 1
    feature: tuple[str, float, float] | None = None
    requires: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    diluted: bool = False

    @property
    def looks_for_something(self) -> bool:
        """Whether it says when it holds; one that only weighs needs a rule that it overrides."""
        return bool(self.patterns or self.feature or self.requires)

    def over(self, other: Rule) -> Rule:
        """Gives this rule in the place of another one of its name.

        One that only weighs anew keeps what the other looked for.
        """
        return self if self.looks_for_something else replace(other, weights=self.weights)

    def record(self) -> tuple[Any, ...]:
        """Gives the form in which the Rust side takes it."""
        return (
            self.name,
            sorted(self.weights.items()),
            list(self.patterns),
            (self.first, self.last, self.line),
            self.least,
            self.feature,
            list(self.requires),
            list(self.unless),
            self.diluted,
        )


def read_rules(source: RuleSource, features: Sequence[str]) -> list[Rule]:
    """Reads a rule file.

    Args:
        source: its path, or its content as a mapping.
        features: the names of the structural features that exist.

    Raises:
        ConfigurationError: it cannot be read, or a rule in it is not one; says which, and what
            would be right.
    """
    if isinstance(source, Mapping):
        return _Reader("the rules given", features).read(source)
    path = Path(source)
    import tomllib  # noqa: PLC0415 - imported when rules are read, not before

    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"the rule file {path} cannot be read: {error.strerror or error}; give the path of a "
            "TOML file"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"the rule file {path} is not TOML: {error}") from error
    return _Reader(str(path), features).read(content)


class _Reader:
    """Reads one file; remembers where it is, for the errors."""

    def __init__(self, where: str, features: Sequence[str]) -> None:
        self.where = where
        self.features = features
        self.rule = ""

    def wrong(self, what: str) -> ConfigurationError:
        rule = f", rule {self.rule!r}" if self.rule else ""
        return ConfigurationError(f"{self.where}{rule}: {what}")

    def read(self, content: Mapping[str, Any]) -> list[Rule]:
        domain = content.get("domain")
        if domain is not None and not (isinstance(domain, str) and domain.strip()):
            raise self.wrong(f"domain is {domain!r}: write a domain's name in quotes")
        self.known(content, {"domain", "rule"}, "the file")
        rules = content.get("rule")
        if not isinstance(rules, Sequence) or isinstance(rules, str) or not rules:
            raise self.wrong("it has no rules: write [[rule]] above each one")
        return [
            one for number, rule in enumerate(rules, 1) for one in self.rules(number, rule, domain)
        ]

    def rules(self, number: int, given: Any, domain: str | None) -> list[Rule]:
        """Gives the rule of a table, or those that its `each` makes."""
        rule = self.one(number, given, domain)
        if "each" not in given:
            return [rule]
        if "any" in given:
            raise self.wrong("it has any and each: keep one of them")
        phrases = dict.fromkeys(self.patterns(given["each"], "each"))
        if not phrases:
            raise self.wrong("each is empty: write phrases with commas between them")
        return [
            replace(rule, name=f"{rule.name}: {phrase}", patterns=(phrase,)) for phrase in phrases
        ]

    def one(self, number: int, rule: Any, domain: str | None) -> Rule:
        self.rule = f"number {number}"
        if not isinstance(rule, Mapping):
            raise self.wrong("it is no table: write [[rule]] above its lines")
        name = rule.get("name")
        if not isinstance(name, str) or not name.strip():
            raise self.wrong('it has no name: write name = "…"')
        self.rule = name
        self.known(rule, _KEYS, "a rule")
        return Rule(
            name=name,
            weights=self.weights(rule, domain),
            patterns=self.patterns(rule.get("any", ()), "any"),
            first=self.count(rule, "first"),
            last=self.count(rule, "last"),
            line=self.flag(rule, "line"),
            least=self.count(rule, "least") or 1,
            feature=self.feature(rule),
            requires=self.names(rule, "requires"),
            unless=self.names(rule, "unless"),
            diluted=self.flag(rule, "diluted"),
        )

    def known(self, given: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
        for key in given:
            if key not in keys:
                near = difflib.get_close_matches(str(key), sorted(keys), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(keys))}"
                raise self.wrong(f"{what} has no {key!r}: {hint}")

    def number(self, value: Any, what: str) -> float:
        try:
            if not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        except (TypeError, OverflowError):
            pass  # no number, or one that no float holds: said below
        raise self.wrong(f"{what} is {value!r:.40}: write a finite number")

    def weight(self, value: Any, what: str) -> float:
        weight = self.number(value, what)
        if abs(weight) > _HEAVIEST:
            raise self.wrong(f"{what} is {weight:g}: log-odds lie between -50 and 50; 3 is a lot")
        return weight

    def weights(self, rule: Mapping[str, Any], domain: str | None) -> dict[str, float]:
        if "weights" in rule:
            weights = rule["weights"]
            if "weight" in rule:
                raise self.wrong("it has weight and weights: keep one of them")
            if not isinstance(weights, Mapping) or not weights:
                raise self.wrong("weights is no table: write weights = {legal = 1.5}")
            return {str(d): self.weight(w, f"the weight for {d}") for d, w in weights.items()}
        if "weight" not in rule:
            raise self.wrong("it has no weight: write weight = 2.0, the log-odds that it adds")
        if domain is None:
            raise self.wrong(
                "it does not say for which domain: write weights = {legal = 2.0}, or "
                'domain = "…" at the top of the file'
            )
        return {domain: self.weight(rule["weight"], "weight")}

    def patterns(self, given: Any, key: str) -> tuple[str, ...]:
        if isinstance(given, str):
            lines = (_LANGUAGE.sub("", line) for line in given.splitlines())
            given = [phrase for line in lines for phrase in line.split(",")]
            return tuple(phrase.strip() for phrase in given if phrase.strip())
        if isinstance(given, Sequence) and all(isinstance(phrase, str) for phrase in given):
            return tuple(given)
        raise self.wrong(f"{key} is {given!r}: write phrases with commas between them, or a list")

    def count(self, rule: Mapping[str, Any], key: str) -> int | None:
        value = rule.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
            raise self.wrong(f"{key} is {value!r}: write a whole number from 1 to {_MOST:,}")
        return value

    def flag(self, rule: Mapping[str, Any], key: str) -> bool:
        value = rule.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(f"{key} is {value!r}: write true or false")
        return value

    def feature(self, rule: Mapping[str, Any]) -> tuple[str, float, float] | None:
        name = rule.get("feature")
        if name is None:
            for key in ("from", "to"):
                if key in rule:
                    raise self.wrong(f'{key} belongs to a feature: write feature = "…" too')
            return None
        if name not in self.features:
            near = difflib.get_close_matches(str(name), self.features, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.features)}"
            raise self.wrong(f"there is no feature {name!r}: {hint}")
        return (
            name,
            self.number(rule.get("from", 0.0), "from"),
            self.number(rule.get("to", 1.0), "to"),
        )

    def names(self, rule: Mapping[str, Any], key: str) -> tuple[str, ...]:
        given = rule.get(key, ())
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise self.wrong(f"{key} is {given!r}: write a list of rules' names")
        return tuple(str(name) for name in given)
