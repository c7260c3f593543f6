"""`Experiment`: who gets which variant, and what came of it."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.clock import SystemClock
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.experiments.analysis import report_of, review
from cascadeflow.experiments.assignment import Draw
from cascadeflow.experiments.book import Book, Pending, Stop
from cascadeflow.experiments.records import (
    METRICS,
    Assignment,
    Guardrail,
    Metric,
    Variant,
    check_name,
)
from cascadeflow.experiments.store import open_experiments

if TYPE_CHECKING:
    from cascadeflow.clock import Clock
    from cascadeflow.experiments.analysis import ExperimentSummary
    from cascadeflow.experiments.store import ExperimentStore
    from cascadeflow.types import JsonObject

__all__ = ["Experiment"]

_logger: Final = logging.getLogger(__name__)

_LARGEST_BACKLOG: Final = 10_000
"""Users of whom anything waits to be written; when the store fails for long, more are not kept."""

_SECONDS: Final = 1.0
"""What was seen waits no longer than this to be written, while requests come."""


class Experiment:
    """An A/B test: variants of a configuration, drawn by user, compared by one metric.

    >>> experiment = Experiment(
    ...     "threshold",
    ...     [Variant(name="as it is"), Variant(name="keener", weight=0.5)],
    ...     metric="cost",
    ... )
    >>> experiment.choose("ada", "").variant == experiment.choose("ada", "").variant
    True

    It is made once in a process and given to agents: `CascadeAgent(…, experiments=[experiment])`.
    Several processes with one store add up; each has the same variant for the same user.
    """

    _pending: dict[bytes, Pending]

    def __init__(
        self,
        name: str,
        variants: Iterable[Variant],
        metric: Metric | str = "cost",
        *,
        control: str | None = None,
        guardrails: Iterable[Guardrail] = (),
        also: Iterable[Metric] = (),
        share: float = 1.0,
        confidence: float = 0.95,
        expected_users: int = 2_000,
        store: str | ExperimentStore = "memory",
        every: int = 100,
        clock: Clock | None = None,
    ) -> None:
        """Sets it up, and reads what its store knows of it.

        Args:
            name: what it is called; another name draws anew.
            variants: at least two, each with a name of its own.
            metric: what is compared: a built-in metric's name, or your own.
            control: the variant that the others are compared with, and that a stopped variant's
                users are given: the first one, where it is not said.
            guardrails: what a variant may not break.
            also: further metrics of your own that `record` takes, for the report alone.
            share: the share of all users that take part, more than 0 to 1.
            confidence: of the intervals, all of them together and at all times, 0.5 to less than 1;
                and of the guard rails together.
            expected_users: the number of users at which intervals shall be tightest; they are valid
                at any.
            store: where its figures are kept: `"memory"`, `"sqlite:///experiments.db"`, or a store
                that is open, which is its owner's to close.
            every: after how many observations they are written, in a thread of their own; and at
                the latest a second after the last time, while requests come.
            clock: the time.

        Raises:
            ConfigurationError: something of this cannot be, or the store has an experiment of this
                name that was another one.
            StoreError: the store cannot be opened.
        """
        self.name = check_name("an experiment's name", name)
        self.variants = _checked(self.name, variants)
        self._by_name = {variant.name: variant for variant in self.variants}
        self.metric = Metric.of(metric)
        found = self._by_name.get(self.variants[0].name if control is None else control)
        if found is None:
            raise ConfigurationError(
                f"control of {name!r} must be one of {', '.join(self._by_name)}; not {control!r}"
            )
        self.control = found
        self.guardrails = _rails(guardrails)
        self._own = _own_metrics(self.metric, self.guardrails, also)
        self.share = _within("share", share, low=0.0, high=1.0)
        self.confidence = _within("confidence", confidence, low=0.5, high=1 - 1e-9)
        for option, count in (("expected_users", expected_users), ("every", every)):
            if type(count) is not int or count < 1:
                raise ConfigurationError(f"{option} must be a number from 1, not {count!r}")
        self._expected = expected_users
        self._every = every
        self._clock = clock or SystemClock()
        self._weights = {variant.name: float(variant.weight) for variant in self.variants}
        self._draw = Draw(name, list(self._weights.items()), share=self.share)
        # Under a quantile, what is averaged is made of each value as it comes.
        self._passed = [
            (rail.measured.name, rail.watched.name, rail)
            for rail in self.guardrails
            if rail.quantile is not None
        ]
        self._owned = isinstance(store, str)
        self._store = open_experiments(store)
        self._reset()
        self._take(self._store.begin(self._description()))

    @property
    def changes(self) -> frozenset[str]:
        """Which parts of the agent's configuration any of its variants changes."""
        return frozenset(change for variant in self.variants for change in variant.changes)

    @property
    def running(self) -> bool:
        """Whether anybody is drawn."""
        return not self._ended

    @property
    def stopped(self) -> frozenset[str]:
        """The variants that were stopped, as far as this process knows."""
        return self._stopped

    def choose(self, user_id: str | None, request_id: str) -> Assignment | None:
        """Says which variant a request is in; `None` where its user takes no part.

        It computes only, in a few microseconds. A request without a user is drawn by its own id.

        Args:
            user_id: the user, as the server knows them.
            request_id: the request's id.
        """
        if self._ended:
            return None
        drawn = self._draw.of(user_id, request_id)
        if drawn is None:
            return None
        unit, name = drawn
        counted = name not in self._stopped
        config = self._by_name[name] if counted else self.control
        return Assignment(self.name, config.name, config, unit, user_id is None, counted)

    def observe(
        self, assignment: Assignment, outcome: Mapping[str, float], *, later: bool = False
    ) -> None:
        """Takes what came of a request: values by metric. What is not known is left out.

        Args:
            assignment: its part in the experiment, as `choose` gave it.
            outcome: the values; of each metric one a request.
            later: whether the request was told of before, and these became known since.
        """
        if assignment.counted:
            self._note(assignment, outcome, exposed=not later)

    def record(
        self,
        metric: str,
        value: float,
        *,
        user_id: str | None = None,
        request_id: str | None = None,
    ) -> bool:
        """Reports a metric of your own, such as a thumb, whenever it is known.

        Args:
            metric: its name, as `metric`, `also` or a guard rail has it.
            value: the value; a share lies in 0..1.
            user_id: whose it is, as it was given to `run`.
            request_id: for a request that had no user: its `result.request_id`, once each.

        Returns:
            Whether it is counted: not where the user takes no part, or its variant was stopped.

        Raises:
            InvalidRequestError: there is no such metric, or the value is none.
        """
        known = self._own.get(metric)
        if known is None:
            what = ", ".join(self._own) or "none"
            measured = "; it measures that one itself" if metric in METRICS else ""
            raise InvalidRequestError(
                f"experiment {self.name!r} takes these metrics of yours: {what}; not "
                f"{metric!r:.80}{measured}. Name it as metric=, in also= or in a guard rail"
            )
        given: Any = value
        if (
            isinstance(given, bool)
            or not isinstance(given, (int, float))
            or not math.isfinite(given)
            or (known.kind == "share" and not 0 <= given <= 1)
        ):
            what = "a number from 0 to 1" if known.kind == "share" else "a finite number"
            raise InvalidRequestError(f"{metric!r} must be {what}, not {given!r:.80}")
        if (user_id is None) == (request_id is None):
            raise InvalidRequestError(
                "record needs user_id=, or request_id= where the request had no user"
            )
        assignment = self.choose(user_id, request_id or "")
        if assignment is None or not assignment.counted:
            return False
        self._note(assignment, {metric: float(value)}, exposed=False)
        return True

    def stop(self, variant: str | None = None, *, reason: str) -> None:
        """Stops a variant, whose users are then given control; or all, for everybody.

        Other processes hear of it when they next write.

        Args:
            variant: its name; `None` ends the whole experiment.
            reason: why, for the report.

        Raises:
            ConfigurationError: there is no such variant, or it is control.
            StoreError: the store cannot be written.
        """
        stop = stop_of(self._description(), variant, reason, at=self._now())
        self.flush()
        with self._writing:
            self._take(self._store.stop(self.name, stop))

    def report(self) -> ExperimentSummary:
        """Says how it stands, what this process has just seen included.

        Raises:
            StoreError: the store cannot be read or written.
        """
        self.flush()
        return report_of(self._store.read(self.name))

    def flush(self) -> None:
        """Writes what was seen and waits for it.

        Raises:
            StoreError: the store cannot be written; what was seen is kept and tried again.
        """
        self._leave_parent()
        with self._writing:
            with self._lock:
                pending, self._count = self._pending, 0
                self._pending = {}
                self._written = self._clock.monotonic()
            if not pending:
                return
            at = self._now()
            try:
                book = self._store.add(self.name, pending, lambda book: review(book, at=at))
            except BaseException:
                self._give_back(pending)
                raise
            self._take(book)

    def close(self) -> None:
        """Writes what was seen, and closes the store if it was named in words.

        Raises:
            StoreError: the store cannot be written.
        """
        try:
            self.flush()
        finally:
            if self._owned:
                self._store.close()

    # Inside

    def _description(self) -> JsonObject:
        metrics = {**METRICS, self.metric.name: self.metric, **self._own}
        metrics |= {rail.watched.name: rail.watched for rail in self.guardrails}
        return {
            "name": self.name,
            "variants": {variant.name: variant.description for variant in self.variants},
            "weights": self._weights,
            "control": self.control.name,
            "metric": asdict(self.metric),
            "metrics": [asdict(metric) for metric in metrics.values()],
            "guardrails": [
                {
                    "words": rail.words,
                    "metric": asdict(rail.watched),
                    "bound": rail.bound[0],
                    "sign": rail.bound[1],
                    "relative": rail.worse_by is not None,
                }
                for rail in self.guardrails
            ],
            "share": self.share,
            "confidence": self.confidence,
            "expected_users": self._expected,
        }

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pid = os.getpid()
        self._pending = {}
        self._count = 0
        self._lost = 0
        self._failing = False
        self._thread: threading.Thread | None = None
        self._written = self._clock.monotonic()
        self._stopped: frozenset[str] = frozenset()
        self._ended = False
        self._weights_text = ""

    def _leave_parent(self) -> None:
        """A forked child writes nothing of its parent's, and takes none of its locks."""
        if self._pid != os.getpid():
            stopped, ended, weights = self._stopped, self._ended, self._weights_text
            self._reset()
            self._stopped, self._ended, self._weights_text = stopped, ended, weights

    def _take(self, book: Book) -> None:
        """Takes up what was stopped, here or by another process."""
        stopped = frozenset(name for name in book.stopped if name in self._by_name)
        left = {name: part for name, part in self._weights.items() if name not in stopped}
        for name in stopped - self._stopped:
            _logger.warning(
                "experiment %s: variant %s was stopped, and its users are given control: %s",
                *(self.name, name, book.stopped[name].reason),
            )
        self._weights_text = Book.weights_text(left, self.share)
        self._stopped = stopped
        self._ended = book.ended is not None

    def _note(self, assignment: Assignment, outcome: Mapping[str, float], *, exposed: bool) -> None:
        self._leave_parent()
        now = self._clock.monotonic()
        with self._lock:
            seen = self._pending.get(assignment.unit)
            if seen is None:
                if len(self._pending) >= _LARGEST_BACKLOG:
                    self._lost += 1
                    return
                seen = self._pending[assignment.unit] = Pending(
                    assignment.variant, self._weights_text, assignment.anonymous
                )
            elif seen.variant != assignment.variant:
                return
            seen.exposed = seen.exposed or exposed
            for metric, value in outcome.items():
                seen.note(metric, value)
            for metric, watched, rail in self._passed:
                if metric in outcome:
                    seen.note(watched, rail.passed(outcome[metric]))
            self._count += 1
            due = self._count >= self._every or now - self._written >= _SECONDS
            if due and self._thread is None:
                self._written = now  # whether it succeeds or not: it is not tried at every request
                self._count = 0
                self._thread = threading.Thread(
                    target=self._write, name="cascadeflow-experiment", daemon=True
                )
                self._thread.start()

    def _write(self) -> None:
        """Writes behind the requests' back; what a store refuses is kept, and tried again."""
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - whatever a store raises: requests go on
            if not self._failing:
                _logger.warning(
                    "what experiment %s has seen cannot be written, and is kept in memory "
                    "meanwhile: %s",
                    *(self.name, error),
                )
            self._failing = True
        else:
            if self._failing:
                _logger.warning(
                    "what experiment %s sees can be written again; %d observations were lost",
                    *(self.name, self._lost),
                )
                self._failing = False
                self._lost = 0
        finally:
            with self._lock:
                self._thread = None

    def _give_back(self, pending: dict[bytes, Pending]) -> None:
        with self._lock:
            for unit, later in self._pending.items():
                known = pending.get(unit)
                if known is None:
                    pending[unit] = later
                else:
                    known.merge(later)
            self._pending = pending


def stop_of(description: JsonObject, variant: str | None, reason: str, *, at: str) -> Stop:
    """Makes the note of a stop by hand.

    Raises:
        ConfigurationError: there is no such variant, it is control, or no reason is given.
    """
    others = [name for name in description["variants"] if name != description["control"]]
    if variant == description["control"]:
        raise ConfigurationError(
            f"{variant!r} is control, which stopped variants' users are given: stop the whole "
            f"experiment, or one of {', '.join(others)}"
        )
    if variant is not None and variant not in others:
        raise ConfigurationError(
            f"experiment {description['name']!r} has no variant {variant!r:.120}: it has "
            f"{', '.join(others)} beside control"
        )
    if not reason.strip():
        raise ConfigurationError("a stop needs a reason, for whoever reads the report")
    return Stop(variant=variant, reason=reason, at=at, by="hand")


def _checked(name: str, variants: Any) -> tuple[Variant, ...]:
    if isinstance(variants, (str, Mapping, Variant)) or not isinstance(variants, Iterable):
        raise ConfigurationError(f"variants of {name!r} must be a list of Variant")
    found = tuple(variants)
    for variant in found:
        if not isinstance(variant, Variant):
            raise ConfigurationError(
                f"variants of {name!r} must be Variant(name=…), not {type(variant).__name__}"
            )
    names = [variant.name for variant in found]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise ConfigurationError(f"experiment {name!r}: variants named twice: {', '.join(twice)}")
    if len(found) < 2:  # noqa: PLR2004 - one has nothing beside it
        raise ConfigurationError(
            f"experiment {name!r} needs at least two variants; the agent as it is, is "
            "Variant(name='control')"
        )
    return found


def _rails(guardrails: Any) -> tuple[Guardrail, ...]:
    given = tuple(guardrails) if isinstance(guardrails, Iterable) else (guardrails,)
    for rail in given:
        if not isinstance(rail, Guardrail):
            raise ConfigurationError(
                "guardrails must be a list of Guardrail(metric=…, at_most=…), not of "
                f"{type(rail).__name__}"
            )
    return given


def _own_metrics(metric: Metric, guardrails: tuple[Guardrail, ...], also: Any) -> dict[str, Metric]:
    if isinstance(also, (str, Metric)) or not isinstance(also, Iterable):
        raise ConfigurationError("also must be a list of Metric(name=…, better=…)")
    own: dict[str, Metric] = {}
    for each in (metric, *[rail.measured for rail in guardrails], *map(Metric.of, also)):
        if each.name in METRICS:
            continue
        if own.setdefault(each.name, each) != each:
            raise ConfigurationError(f"the metric {each.name!r} is given twice, and differs")
    return own


def _within(option: str, value: Any, *, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value <= high:
        raise ConfigurationError(
            f"{option} must be a number above {low:g} and at most {high:g}, not {value!r:.80}"
        )
    return float(value)
