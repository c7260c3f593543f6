"""An experiment's book: sums by variant and by user, bounded, the same in memory and in a file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, astuple, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError, StoreError
from cascadeflow.experiments.inference import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from cascadeflow.types import JsonObject

__all__ = ["Book", "Pending", "Stop", "UnitSums"]

_FORM: Final = 1
_EXACT_SUMS: Final = 2**53
"""Beyond so many values a sum of ones no longer counts."""


@dataclass(slots=True)
class Pending:
    """What one process has seen of one unit since it last wrote.

    Attributes:
        variant: the variant that it was in.
        weights: the weights under which it was drawn, as `Book.weights_text` writes them.
        anonymous: whether it is a single request, which never comes again.
        exposed: whether a request of it was answered, and not only something reported of it.
        values: by metric: how many values, their sum, and the sum of their squares.
    """

    variant: str
    weights: str
    anonymous: bool
    exposed: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)

    def note(self, metric: str, value: float) -> None:
        """Adds a value."""
        sums = self.values.get(metric)
        if sums is None:
            self.values[metric] = [1.0, value, value * value]
            return
        sums[0] += 1.0
        sums[1] += value
        sums[2] += value * value

    def merge(self, later: Pending) -> None:
        """Adds what came later of the same unit, if it is still in the same variant."""
        if later.variant != self.variant:
            return
        self.exposed = self.exposed or later.exposed
        for metric, (count, total, squares) in later.values.items():
            sums = self.values.setdefault(metric, [0.0, 0.0, 0.0])
            sums[0] += count
            sums[1] += total
            sums[2] += squares


@dataclass(slots=True)
class UnitSums:
    """What is kept of one user.

    Attributes:
        variant: the variant that it was first seen in: what it did in another is not counted.
        epoch: the number of the weights it came under.
        values: by metric: how many values, and their sum.
    """

    variant: str
    epoch: int
    values: dict[str, tuple[float, float]] = field(default_factory=dict)

    def to_text(self) -> str:
        """Writes it as JSON."""
        return json.dumps([self.variant, self.epoch, self.values], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> UnitSums:
        """Reads what `to_text` wrote.

        Raises:
            ValueError: it is something else.
        """
        variant, epoch, values = json.loads(text)
        return cls(
            str(variant), int(epoch), {str(k): (float(n), float(s)) for k, (n, s) in values.items()}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """That a variant, or the whole experiment, was stopped.

    Attributes:
        variant: the variant; `None` for the whole experiment.
        reason: why, in words.
        at: when (UTC, ISO 8601).
        by: `guardrail` or `hand`.
    """

    variant: str | None
    reason: str
    at: str
    by: str


@dataclass(slots=True)
class Book:
    """Everything about one experiment but the sums of single users.

    Attributes:
        description: what it is, as `Experiment` describes itself.
        epochs: each set of weights that was ever in use, as `weights_text` writes it.
        arrivals: how many units came, by epoch and variant.
        moments: the sums, by epoch, variant and metric.
        stops: what was stopped.
        level: only units whose name begins with so many zero bits are still taken on.
        moved: how many values were not counted because their user had moved to another variant.
        history: by variant: users, difference, its least and its most, as they were on the way.
    """

    description: dict[str, Any]
    epochs: list[str] = field(default_factory=list)
    arrivals: dict[tuple[int, str], int] = field(default_factory=dict)
    moments: dict[tuple[int, str, str], Moments] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)
    level: int = 0
    moved: int = 0
    history: dict[str, list[list[float]]] = field(default_factory=dict)

    @staticmethod
    def weights_text(weights: Mapping[str, float], share: float) -> str:
        """Writes weights so that the same ones have the same text; only their ratios count."""
        whole = sum(weights.values())
        parts = {name: float(f"{weight / whole:.9g}") for name, weight in sorted(weights.items())}
        return json.dumps({"share": share, "weights": parts}, separators=(",", ":"))

    @property
    def ended(self) -> Stop | None:
        """That the whole experiment was stopped; `None` while it runs."""
        return next((stop for stop in self.stops if stop.variant is None), None)

    @property
    def stopped(self) -> dict[str, Stop]:
        """The variants that were stopped, and why."""
        return {stop.variant: stop for stop in self.stops if stop.variant is not None}

    def stop(self, stop: Stop) -> bool:
        """Notes a stop; says whether it is news."""
        if self.ended is not None or stop.variant in self.stopped:
            return False
        self.stops.append(stop)
        return True

    def describe(self, description: JsonObject, *, where: str) -> None:
        """Takes what the experiment is now; its variants must be what they were.

        Raises:
            ConfigurationError: a variant of the same name was something else, or control was
                another one: old figures would be counted with new ones.
        """
        name, before = description["name"], self.description
        changed = [
            variant
            for variant, config in description["variants"].items()
            if before["variants"].get(variant, config) != config
        ]
        if before["control"] != description["control"]:
            changed.append("control")
        if changed:
            raise ConfigurationError(
                f"experiment {name!r} in {where} was begun with something else for "
                f"{', '.join(changed)}: give the changed experiment a new name, so that its "
                "figures begin anew"
            )
        if before["metric"] != description["metric"]:
            self.history = {}
        merged = {**before["variants"], **description["variants"]}
        self.description = {**description, "variants": merged}

    def absorb(
        self,
        pending: Mapping[bytes, Pending],
        units: MutableMapping[bytes, UnitSums],
    ) -> None:
        """Takes what processes have seen.

        Args:
            pending: by unit.
            units: what is kept of those units that are known; the others are added.
        """
        stopped = self.stopped
        drawn: dict[str, int] = {}
        for name, seen in pending.items():
            if self.ended is not None or seen.variant in stopped:
                continue
            known = None if seen.anonymous else units.get(name)
            if known is None:
                if self.is_left_out(name):
                    continue
                if seen.weights not in drawn:
                    drawn[seen.weights] = self.epoch_of(seen.weights)
                known = UnitSums(seen.variant, drawn[seen.weights])
                if not seen.anonymous:
                    units[name] = known
                if seen.exposed or not seen.anonymous:
                    key = (known.epoch, known.variant)
                    self.arrivals[key] = self.arrivals.get(key, 0) + 1
            elif known.variant != seen.variant:
                self.moved += int(max((sums[0] for sums in seen.values.values()), default=0))
                continue
            for metric, (count, total, squares) in seen.values.items():
                sums = self.moments.setdefault((known.epoch, known.variant, metric), Moments())
                before = known.values.get(metric, (0.0, 0.0))
                known.values[metric] = sums.add(before, count, total, squares)

    def epoch_of(self, weights: str) -> int:
        """Gives the number of a set of weights.

        A process that has not yet heard of a stop still draws the stopped variant's users, and they
        are not counted: the others came under the weights without it.
        """
        said = json.loads(weights)
        left = {name: part for name, part in said["weights"].items() if name not in self.stopped}
        weights = self.weights_text(left, said["share"])
        if weights not in self.epochs:
            self.epochs.append(weights)
        return self.epochs.index(weights)

    def is_left_out(self, unit: bytes) -> bool:
        """Whether a new unit is not taken on, there being too many already.

        That is decided by its name, which says nothing of what it does: those who are taken on
        are a fair sample of all. What those did who were forgotten since stays in the sums.
        """
        return self.level > 0 and int.from_bytes(unit[:8], "big") >> (64 - self.level) != 0

    @property
    def first_left_out(self) -> bytes:
        """The first name, in order, that is left out."""
        return (1 << (64 - self.level)).to_bytes(8, "big") if self.level else b"\xff" * 17

    def of_metric(self, variant: str, metric: str) -> dict[int, Moments]:
        """Gives a variant's sums of a metric, by epoch."""
        return {
            epoch: moments
            for (epoch, name, what), moments in self.moments.items()
            if name == variant and what == metric
        }

    def to_text(self) -> str:
        """Writes it as JSON."""
        return json.dumps(
            {
                "form": _FORM,
                "description": self.description,
                "epochs": self.epochs,
                "arrivals": [[*key, count] for key, count in self.arrivals.items()],
                "moments": [[*key, *astuple(sums)] for key, sums in self.moments.items()],
                "stops": [asdict(stop) for stop in self.stops],
                "level": self.level,
                "moved": self.moved,
                "history": self.history,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str, *, where: str) -> Book:
        """Reads what `to_text` wrote.

        Raises:
            StoreError: it is something else.
        """
        try:
            found = json.loads(text)
            if found["form"] != _FORM:
                raise StoreError(
                    f"{where} holds an experiment in form {found['form']!r}, and this version of "
                    f"the package reads form {_FORM}: use the version that wrote it"
                )
            book = cls(
                description=dict(found["description"]),
                epochs=[str(each) for each in found["epochs"]],
                arrivals={(int(e), str(v)): int(n) for e, v, n in found["arrivals"]},
                moments={
                    (int(e), str(v), str(m)): Moments(*[float(each) for each in sums])
                    for e, v, m, *sums in found["moments"]
                },
                stops=[Stop(**stop) for stop in found["stops"]],
                level=int(found["level"]),
                moved=int(found["moved"]),
                history={
                    str(v): [list(map(float, p)) for p in h] for v, h in found["history"].items()
                },
            )
            book.check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(
                f"{where} is damaged: an experiment in it cannot be read "
                f"({type(error).__name__}). Restore a backup, or name another file: assignment "
                "does not depend on it, only the figures begin anew"
            ) from None
        return book

    def check(self) -> None:
        """Sees to it that the sums can be sums.

        Raises:
            ValueError: they cannot.
        """
        for key in ("name", "variants", "control", "metric", "guardrails", "confidence"):
            if key not in self.description:
                raise ValueError(key)
        for (epoch, _, _), sums in self.moments.items():
            numbers = astuple(sums)
            if not (
                all(map(math.isfinite, numbers))
                and 0 <= epoch < len(self.epochs)
                and 0 <= sums.units <= sums.requests < _EXACT_SUMS
            ):
                raise ValueError("sums")
