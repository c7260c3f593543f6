"""A rate limiter said as plainly as it can be: it remembers every request, and counts."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND


@dataclass(frozen=True)
class Limits:
    per_second: tuple[int, int] | None = None
    per_minute: tuple[int, int] | None = None
    per_hour: int | None = None
    per_day: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


@dataclass
class Account:
    clock: int = 0
    # When the next request is due.
    second: Fraction = Fraction(0)
    minute: Fraction = Fraction(0)
    # When each request counts as admitted.
    hour: list[int] = field(default_factory=list)
    day: list[int] = field(default_factory=list)
    # Tokens by the end of the second that they were reserved in.
    tokens: Counter[int] = field(default_factory=Counter)
    leases: int = 0
    permits: int = 0

    def token_sum(self, now: int) -> int:
        return sum(tokens for end, tokens in self.tokens.items() if end + MINUTE > now)

    def refuses(self, limits: Limits, tokens: int, now: int) -> bool:
        now = max(now, self.clock)
        return (
            early(self.second, limits.per_second, SECOND, now)
            or early(self.minute, limits.per_minute, MINUTE, now)
            or full(self.hour, limits.per_hour, HOUR, now)
            or full(self.day, limits.per_day, DAY, now)
            or self.lacks_tokens(limits, tokens, now)
            or (limits.concurrent is not None and self.leases >= limits.concurrent)
        )

    def lacks_tokens(self, limits: Limits, tokens: int, now: int) -> bool:
        limit = limits.tokens_per_minute
        now = max(now, self.clock)
        return limit is not None and (limit == 0 or self.token_sum(now) + tokens > limit)

    def is_idle(self, now: int) -> bool:
        now = max(now, self.clock)
        return not (
            self.permits
            or self.leases
            or self.second > now
            or self.minute > now
            or any(at + HOUR > now for at in self.hour)
            or any(at + DAY > now for at in self.day)
            or self.token_sum(now)
        )


def early(due: Fraction, rate: tuple[int, int] | None, span: int, now: int) -> bool:
    if rate is None:
        return False
    limit, burst = rate
    return limit == 0 or due > now + Fraction(burst * span, limit)


def due_next(due: Fraction, limit: int, span: int, now: int) -> Fraction:
    # What another limit left is rounded up to a part of a nanosecond of which this one's make one.
    start = Fraction(math.ceil(max(due, Fraction(now)) * limit), limit)
    return start + Fraction(span, limit)


def full(admitted: list[int], limit: int | None, span: int, now: int) -> bool:
    return limit is not None and sum(at + span > now for at in admitted) >= limit


def rounded(limit: int, span: int, now: int) -> int:
    """Up to 120 requests have their own instants, more share slots, each counted until its end."""
    slot = 1 if limit <= 120 else span // 120
    return -(-now // slot) * slot


@dataclass
class Permit:
    accounts: list[tuple[str, Limits, int]]
    # How many tokens each reservation has, and which second it is in, by account.
    reserved: list[int]
    seconds: list[dict[str, int]]
    is_leased: bool = True
    is_cancelled: bool = False


@dataclass
class Limiter:
    accounts: dict[str, Account] = field(default_factory=dict)
    forgotten: int = 0

    def blocked(self, asked: list[tuple[str, Limits]], tokens: int, now: int) -> list[str]:
        new = Account(clock=self.forgotten)
        return [
            name
            for name, limits in asked
            if self.accounts.get(name, new).refuses(limits, tokens, now)
        ]

    def acquire(self, asked: list[tuple[str, Limits]], tokens: int, given: int) -> Permit | None:
        if self.blocked(asked, tokens, given):
            return None
        permit = Permit([], [tokens], [{}])
        for name, limits in asked:
            account = self.accounts.setdefault(name, Account(clock=self.forgotten))
            account.clock = now = max(given, account.clock)
            account.permits += 1
            if limits.per_second:
                account.second = due_next(account.second, limits.per_second[0], SECOND, now)
            if limits.per_minute:
                account.minute = due_next(account.minute, limits.per_minute[0], MINUTE, now)
            if limits.per_hour is not None:
                account.hour.append(rounded(limits.per_hour, HOUR, now))
            if limits.per_day is not None:
                account.day.append(rounded(limits.per_day, DAY, now))
            if limits.tokens_per_minute is not None:
                end = permit.seconds[0][name] = -(-now // SECOND) * SECOND
                account.tokens[end] += tokens
            if limits.concurrent is not None:
                account.leases += 1
            permit.accounts.append((name, limits, now))
        return permit

    def extend(self, permit: Permit, tokens: int, given: int) -> bool:
        counting = [
            name for name, limits, _ in permit.accounts if limits.tokens_per_minute is not None
        ]
        if any(
            self.accounts[name].lacks_tokens(limits, tokens, given)
            for name, limits, _ in permit.accounts
        ):
            return False
        seconds = {}
        for name in counting:
            account = self.accounts[name]
            account.clock = max(given, account.clock)
            end = seconds[name] = -(-account.clock // SECOND) * SECOND
            account.tokens[end] += tokens
        permit.reserved.append(tokens)
        permit.seconds.append(seconds)
        return True

    def correct(self, permit: Permit, total: int, given: int) -> None:
        """The last reservation takes all that is more, and gives what is less first."""
        before = permit.reserved
        after = list(before)
        over = sum(before) - total
        for place in reversed(range(len(after))):
            taken = min(after[place], max(over, 0))
            after[place] -= taken
            over -= taken
        after[-1] += max(-over, 0)
        for seconds, was, will in zip(permit.seconds, before, after, strict=True):
            for name, end in seconds.items():
                if was != will:
                    account = self.accounts[name]
                    account.clock = max(given, account.clock)
                    account.tokens[end] += will - was
        permit.reserved = after

    def cancel(self, permit: Permit, given: int) -> None:
        if not permit.is_cancelled:
            permit.is_cancelled = True
            self.correct(permit, 0, given)
            for name, limits, at in permit.accounts:
                account = self.accounts[name]
                if limits.per_hour is not None:
                    account.hour.remove(rounded(limits.per_hour, HOUR, at))
                    account.clock = max(given, account.clock)
                if limits.per_day is not None:
                    account.day.remove(rounded(limits.per_day, DAY, at))
                    account.clock = max(given, account.clock)
        self.release(permit)

    def release(self, permit: Permit) -> None:
        if permit.is_leased:
            permit.is_leased = False
            for name, limits, _ in permit.accounts:
                self.accounts[name].leases -= limits.concurrent is not None

    def drop(self, permit: Permit) -> None:
        self.release(permit)
        for name, _, _ in permit.accounts:
            self.accounts[name].permits -= 1

    def evict(self, now: int) -> int:
        self.forgotten = max(now, self.forgotten)
        idle = [name for name, account in self.accounts.items() if account.is_idle(now)]
        for name in idle:
            del self.accounts[name]
        return len(idle)
