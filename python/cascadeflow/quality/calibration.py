"""A calibration: weights and a threshold fitted to one's own drafts, in one small file.

`cascadeflow tune` writes it, `QualityConfig(calibration=…)` takes it. `docs/tuning.md` says how it
is fitted, and what its threshold promises.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from cascadeflow._native import quality_weights
from cascadeflow.config import LOCAL_CHECKS, TEXT_CHECKS, TOKEN_CHECKS, QualityMode
from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.quality.evidence import logit, probability
from cascadeflow.quality.rules import REJECTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.config import QualityConfig
    from cascadeflow.quality.fitting import Weights
    from cascadeflow.quality.local import LocalFindings
    from cascadeflow.quality.rules import TextJudgement

__all__ = [
    "Calibration",
    "Expected",
    "calibration_of",
    "checks_off",
    "local_doubts",
    "settled",
]

_FORMAT: Final = 2
_READ: Final = (1, _FORMAT)
"""Format 1 knew modes `fast` and `strict`, and nothing of the checks by local models."""

_KIND: Final = "quality calibration"
_AGAIN: Final = "write it again with `cascadeflow tune LOG --draft … --verifier … --out FILE`"
_SUREST: Final = 1 - 1e-9
"""No draft is surer by its text: a threshold of 1 accepts nothing."""

_LARGEST: Final = 1_000_000
"""Bytes; a calibration has two thousand."""

_SURE: Final = 0.99
"""From this score of a local check on there is no doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What to expect of one figure on questions like those it was tuned on.

    Attributes:
        estimate: on the rows of the log, by weights that saw none of the same question.
        low: the lower end of its 95 % interval (bootstrap over questions).
        high: the upper end.
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How the probability that a draft is good enough comes about, and which one is enough.

    Attributes:
        mode: the mode it was tuned for; it holds for no other.
        without: the checks that were off; it holds where the same ones are. `None` in a file of
            format 1, which was tuned with all text rules and without any local model.
        draft: the drafting model.
        verifier: the verifying one.
        cross_check: mode `strict`: who was asked for a second opinion.
        questions: of so many it was tuned on.
        date: when, ISO 8601.
        target: the share of the verifier's right answers that is to be kept.
        confidence: with which it is, on as many new questions of the same kind.
        promised: whether the log was large enough for the promise; if not, nothing is accepted.
        threshold: the least probability at which a draft is accepted.
        intercept: what every draft has, in log-odds.
        text: the weight of the shipped judgement's log-odds: the rules', and with local checks
            those of the product that `balanced` makes.
        weights: what each measure adds to them: of the text by its name in `quality_weights()`, of
            a local check's doubt (`local_doubts`) by the check's; those that are not named add
            nothing.
        agrees: what a second opinion that agrees adds.
        disagrees: what one that does not adds.
        quality_kept: the expected share of the verifier's right answers that is kept; it can
            exceed 1.
        saved: the expected share of the cost of asking the verifier alone that is saved.
    """

    mode: QualityMode
    without: tuple[str, ...] | None = ()
    draft: str
    verifier: str
    cross_check: str | None = None
    questions: int
    date: str
    target: float
    confidence: float
    promised: bool
    threshold: float
    intercept: float
    text: float
    weights: Mapping[str, float]
    agrees: float
    disagrees: float
    quality_kept: Expected
    saved: Expected

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))

    @classmethod
    def of_weights(cls, weights: Weights, **fields: Any) -> Self:
        """Makes one of fitted weights; the other fields are as above.

        Args:
            weights: of the text's measures alone, or with those of the local checks' doubts behind.
            **fields: the others.
        """
        # Without local checks the last ones are not there.
        own = zip(_measures(), weights.features, strict=False)
        return cls(
            intercept=round(weights.intercept, 4),
            text=round(weights.text, 4),
            weights={name: round(weight, 4) for name, weight in own if round(weight, 4)},
            agrees=round(weights.agrees, 4),
            disagrees=round(weights.disagrees, 4),
            **fields,
        )

    def probability_of(self, text: TextJudgement, local: LocalFindings | None = None) -> float:
        """The calibrated probability that a draft is good enough, but for second opinions.

        Args:
            text: what the shipped rules say of it.
            local: what the checks by local models say; `None` where they did not run: nothing then
                speaks against the draft.
        """
        shipped, share = text.probability, 1.0 if local is None else local.share
        if self.without is not None:  # tuned on the product
            shipped, share = shipped * share, 1.0
        found = dict(zip(_names(), text.features, strict=True))
        found.update(zip(LOCAL_CHECKS, local_doubts(local), strict=True))
        log_odds = self.intercept + self.text * logit(shipped)
        log_odds += math.fsum([weight * found[name] for name, weight in self.weights.items()])
        sure = probability(log_odds) * share
        return min(sure, REJECTED if text.rejected else _SUREST)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a file.

        Raises:
            ConfigurationError: it is missing, damaged, none of these, or of another version.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST + 1)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"the calibration {path} cannot be read: {why}; name the file that `cascadeflow "
                "tune --out` wrote, or leave calibration= out"
            ) from error
        try:
            values = json.loads(text) if len(text) <= _LARGEST else None
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"the calibration {path} is damaged, it is no JSON: {_AGAIN}"
            ) from error
        if not isinstance(values, dict) or values.get("cascadeflow") != _KIND:
            raise ConfigurationError(f"{path} is no calibration of cascadeflow: {_AGAIN}")
        if values.get("format") not in _READ:
            raise ConfigurationError(
                f"the calibration {path} is of format {values.get('format')!r:.20}, and this "
                f"version reads {_FORMAT} and those before: {_AGAIN}"
            )
        try:
            return cls._made(values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise ConfigurationError(
                f"the calibration {path} is damaged ({what:.200}): {_AGAIN}"
            ) from error

    def write(self, path: str | Path) -> None:
        """Writes a file, whole or not at all.

        Raises:
            StoreError: it cannot be written.
        """
        path = Path(path)
        values: dict[str, Any] = {
            "cascadeflow": _KIND,
            "format": 1 if self.without is None else _FORMAT,
            "mode": self.mode,
            "draft": self.draft,
            "verifier": self.verifier,
            "cross_check": self.cross_check,
            "questions": self.questions,
            "date": self.date,
            "target": self.target,
            "confidence": self.confidence,
            "promised": self.promised,
            "expected": {
                name: {"estimate": each.estimate, "low": each.low, "high": each.high}
                for name, each in (("quality_kept", self.quality_kept), ("saved", self.saved))
            },
            "threshold": self.threshold,
            "intercept": self.intercept,
            "text": self.text,
            "weights": dict(self.weights),
            "agrees": self.agrees,
            "disagrees": self.disagrees,
        }
        if self.without is not None:
            values["without"] = list(self.without)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            why = error.strerror or type(error).__name__
            raise StoreError(f"{path} cannot be written: {why}") from error

    @classmethod
    def _made(cls, values: dict[str, Any]) -> Self:
        mode: Any = values["mode"]
        first = values["format"] == 1
        if mode not in (("fast", "strict") if first else get_args(QualityMode)):
            raise ValueError(f"mode {mode!r:.20}")
        without = None if first else tuple(map(_text, values["without"]))
        unknown = sorted(set(without or ()) - {*TEXT_CHECKS, *LOCAL_CHECKS})
        if unknown:
            raise ValueError(f"this version has no check {', '.join(unknown)}")
        weights = {_text(name): _number(weight) for name, weight in values["weights"].items()}
        local = mode != "fast" and not first
        unknown = sorted(set(weights) - set(_measures() if local else _names()))
        if unknown:
            raise ValueError(f"this version has no measure {', '.join(unknown)}")
        crossed = values["cross_check"]
        if (mode == "strict") is (crossed is None):
            raise ValueError("mode strict has a cross_check, and no other has one")
        made = cls(
            mode=mode,
            without=without,
            draft=_text(values["draft"]),
            verifier=_text(values["verifier"]),
            cross_check=None if crossed is None else _text(crossed),
            questions=int(_number(values["questions"], least=1)),
            date=_text(values["date"]),
            target=_number(values["target"], least=0, most=1),
            confidence=_number(values["confidence"], least=0, most=1),
            promised=_flag(values["promised"]),
            threshold=_number(values["threshold"], least=0, most=1),
            intercept=_number(values["intercept"]),
            text=_number(values["text"], least=0),
            weights=weights,
            agrees=_number(values["agrees"], least=0),
            disagrees=_number(values["disagrees"], most=0),
            quality_kept=_expected(values["expected"]["quality_kept"]),
            saved=_expected(values["expected"]["saved"]),
        )
        if not made.promised and made.threshold < 1:
            raise ValueError("nothing is promised, and yet something would be accepted")
        return made


def calibration_of(config: QualityConfig) -> Calibration | None:
    """Gives a configuration's calibration; a file is read once, and again when it has changed.

    Raises:
        ConfigurationError: the file cannot be used; or it was tuned for another mode, or with other
            checks.
    """
    if config.calibration is None:
        return None
    try:
        changed = os.stat(config.calibration).st_mtime_ns  # noqa: PTH116 - on the way of requests
    except OSError:
        changed = -1  # reading says what is wrong
    found = _read(config.calibration, changed)
    if found.mode != config.mode:
        raise ConfigurationError(
            f"the calibration {config.calibration} was tuned for mode {found.mode}, not "
            f"{config.mode}: use QualityConfig.{found.mode}(calibration=…), or tune it again with "
            f"`--mode {config.mode}`"
        )
    mine = checks_off(config)
    if found.without is not None and set(found.without) != set(mine):
        again = "".join(f" --without {name}" for name in mine) or " with all checks"
        raise ConfigurationError(
            f"the calibration {config.calibration} was tuned with {_in_words(found.without)}, and "
            f"this configuration has {_in_words(mine)}: say without={found.without!r}, or tune it "
            f"again{again}"
        )
    return found


def checks_off(config: QualityConfig) -> tuple[str, ...]:
    """The checks that a configuration turns off, of those that its mode has and calibrations know.

    >>> from cascadeflow.config import QualityConfig
    >>> checks_off(QualityConfig.fast(without=("topic", "toxicity")))
    ('topic',)
    """
    unknown = (*TOKEN_CHECKS, *(LOCAL_CHECKS if config.mode == "fast" else ()))
    return tuple(name for name in config.without if name not in unknown)


def local_doubts(local: LocalFindings | None) -> tuple[float, ...]:
    """How doubtful the local checks leave a draft, in the order of `LOCAL_CHECKS`.

    Each is the log-odds against the draft by the check's score, so scaled that 0 stands for a score
    of 0.99 or more, 1 for 0.5 and 2, the most, for 0.01 or less. What did not run, or has nothing
    to say, leaves no doubt.
    """
    if local is None:
        return (0.0,) * len(LOCAL_CHECKS)
    least = logit(_SURE)
    scores = {
        check.name: check.score for check in local.checks if check.verdict in ("passed", "failed")
    }
    return tuple(
        min(2.0, max(0.0, 1.0 - logit(scores.get(name, 1.0)) / least)) for name in LOCAL_CHECKS
    )


def settled(config: QualityConfig) -> tuple[QualityConfig, Calibration | None]:
    """Gives a configuration with the threshold that counts, and its calibration.

    A threshold that is stated counts; else the calibration's.

    Raises:
        ConfigurationError: as `calibration_of`.
    """
    found = calibration_of(config)
    if found is None or config.threshold_stated:
        return config, found
    return _with_threshold(config, found.threshold), found


@lru_cache(maxsize=64)
def _with_threshold(config: QualityConfig, threshold: float) -> QualityConfig:
    return replace(config, threshold=threshold)


@lru_cache(maxsize=64)
def _read(path: str, changed: int) -> Calibration:  # noqa: ARG001 - `changed` parts the versions
    return Calibration.read(path)


@cache
def _names() -> tuple[str, ...]:
    names, _, _ = quality_weights()
    return tuple(names)


def _measures() -> tuple[str, ...]:
    return (*_names(), *LOCAL_CHECKS)


def _in_words(names: tuple[str, ...]) -> str:
    return f"{', '.join(names)} off" if names else "no check off"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is neither true nor false")
    return value


def _number(value: Any, *, least: float = -math.inf, most: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r:.40} is no number")
    if not least <= value <= most:
        raise ValueError(f"{value} does not lie in {least:g}..{most:g}")
    return value


def _expected(value: Any) -> Expected:
    return Expected(**{name: _number(value[name]) for name in ("estimate", "low", "high")})
