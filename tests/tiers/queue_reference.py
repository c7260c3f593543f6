"""The order of a fair queue, said as plainly as it can be: everybody is looked at, every time."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from cascadeflow._native import LimitRefusal, RateLimiter

if TYPE_CHECKING:
    from cascadeflow._native import LimitPolicy, Permit


@dataclass(eq=False)
class Waiting:
    number: int
    accounts: tuple[tuple[str, LimitPolicy], ...]
    tokens: int
    tier: str
    weight: int
    deadline_ns: int | None
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [name for name, _ in self.accounts]

    @property
    def own(self) -> str | None:
        return self.names[0] if self.names[0].startswith("user:") else None

    @property
    def shared(self) -> list[str]:
        return [name for name in self.names if name != self.own]

    @property
    def flow(self) -> tuple[str, str | None]:
        return self.tier, self.own


class PlainQueue:
    """Has a limiter of its own, which it asks the same questions."""

    def __init__(self, size: int) -> None:
        self.limiter = RateLimiter()
        self.size = size
        self.line: list[Waiting] = []  # in the order in which they came
        self.turns: dict[tuple[str, str | None], int] = {}
        self.count = 0
        self.tags: dict[str, Fraction] = {}
        self.times: dict[str, Fraction] = {}
        self.closed: dict[str, Waiting] = {}
        self.parked: dict[str, tuple[Waiting, int | None]] = {}  # users' own, and until when
        self.permits: dict[int, Permit] = {}

    def blocked(self, names: list[str]) -> bool:
        return any(name in self.closed or name in self.parked for name in names)

    def ask(self, waiting: Waiting, now_ns: int) -> Permit | LimitRefusal:
        return self.limiter.acquire(waiting.accounts, waiting.tokens, now_ns)

    def too_large(self, waiting: Waiting, now_ns: int) -> bool:
        """A limiter on which nothing was used yet would refuse it too."""
        return isinstance(
            RateLimiter().acquire(waiting.accounts, waiting.tokens, now_ns), LimitRefusal
        )

    def try_now(self, waiting: Waiting, now_ns: int) -> str:
        if self.line and self.blocked(waiting.names):
            return "never" if self.too_large(waiting, now_ns) else "behind"
        answer = self.ask(waiting, now_ns)
        if isinstance(answer, LimitRefusal):
            return "refused" if not answer.permanent else "never"
        self.permits[waiting.number] = answer
        return "passed"

    def arrive(self, waiting: Waiting, now_ns: int) -> list[tuple[int, str]]:
        if self.too_large(waiting, now_ns):
            return [(waiting.number, "never")]
        if len(self.line) >= self.size:
            if self.line and self.blocked(waiting.names):
                return [(waiting.number, "full")]
            answer = self.ask(waiting, now_ns)
            if isinstance(answer, LimitRefusal):
                return [(waiting.number, "full")]
            self.permits[waiting.number] = answer
            return [(waiting.number, "passed")]
        if waiting.flow not in {other.flow for other in self.line}:
            self.turns[waiting.flow] = self.tick()
        self.line.append(waiting)
        return self.look(now_ns)

    def leave(self, number: int, now_ns: int) -> list[tuple[int, str]]:
        for waiting in self.line:
            if waiting.number == number:
                self.remove(waiting)
                return self.look(now_ns)
        return []

    def returned(self, names: list[str], now_ns: int) -> list[tuple[int, str]]:
        for name in names:
            self.parked.pop(name, None)
        return self.look(now_ns)

    def tick(self) -> int:
        self.count += 1
        return self.count

    def remove(self, waiting: Waiting) -> None:
        self.line.remove(waiting)
        for own in [own for own, (by, _) in self.parked.items() if by is waiting]:
            del self.parked[own]

    def look(self, now_ns: int) -> list[tuple[int, str]]:
        done: list[tuple[int, str]] = []
        self.expire(now_ns - 1, done)
        while True:
            self.serve(now_ns, done)
            if not self.expire(now_ns, done):
                break
        if not self.line:
            self.tags, self.times, self.closed, self.parked = {}, {}, {}, {}
        return done

    def expire(self, now_ns: int, done: list[tuple[int, str]]) -> bool:
        late = [
            waiting
            for waiting in self.line
            if waiting.deadline_ns is not None and waiting.deadline_ns <= now_ns
        ]
        for waiting in late:
            self.remove(waiting)
            done.append((waiting.number, "late"))
        return bool(late)

    def serve(self, now_ns: int, done: list[tuple[int, str]]) -> None:
        self.closed = {}
        for own, (_, due_ns) in list(self.parked.items()):
            if due_ns is not None and due_ns <= now_ns:
                del self.parked[own]
        while True:
            heads: dict[tuple[str, str | None], Waiting] = {}
            for waiting in self.line:
                heads.setdefault(waiting.flow, waiting)
            able = [head for head in heads.values() if not self.blocked(head.names)]
            if not able:
                return
            head = min(able, key=lambda one: (self.tags.get(one.tier, 0), self.turns[one.flow]))
            answer = self.ask(head, now_ns)
            if isinstance(answer, LimitRefusal):
                if answer.account == head.own:
                    due_ns = None if answer.retry_ns is None else now_ns + answer.retry_ns
                    self.parked[answer.account] = (head, due_ns)
                else:
                    self.closed[answer.account] = head
                continue
            self.line.remove(head)
            self.turns[head.flow] = self.tick()
            self.permits[head.number] = answer
            done.append((head.number, "passed"))
            start = max(
                [
                    self.tags.get(head.tier, Fraction(0)),
                    *(self.times.get(name, Fraction(0)) for name in head.shared),
                ]
            )
            self.times.update(dict.fromkeys(head.shared, start))
            self.tags[head.tier] = start + Fraction(1, head.weight)
