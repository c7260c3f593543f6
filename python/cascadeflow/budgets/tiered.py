"""What the budgets of tiers are to a tracker: who is in which tier changes while money is spent.

The account is the user's, not the tier's: it counts in the windows of every budget that may come to
hold for the user, so that a change of tier neither gives money nor takes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.budgets.accounts import ANONYMOUS, UNASSIGNED, scopes_of
from cascadeflow.budgets.books import Route
from cascadeflow.budgets.readings import Readings
from cascadeflow.budgets.records import Scope
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cascadeflow.budgets.books import Account
    from cascadeflow.budgets.clerk import Clerk
    from cascadeflow.budgets.records import AccountStanding, Spender
    from cascadeflow.clock import Clock
    from cascadeflow.config import BudgetConfig

__all__ = ["TierBudgets"]


class TierBudgets(Readings):
    """Takes budgets from tiers; a `CostTracker` is one."""

    _assigned: dict[str, BudgetConfig | None]
    _clock: Clock
    _desk: Clerk
    mode_stated: bool

    def assign(self, user_id: str | None, config: BudgetConfig | None) -> None:
        """Says which budget holds for a user from now on: that of the tier the user is in.

        To be called before each request of a user who is in a tier; the same budget again costs
        one look-up. What is set by hand for the user, and what `user_budgets` names, hold over it;
        it holds over `default_user_budget`.

        The account stays the same: what was spent and is held counts on the new limits. A period
        that the tiers before did not have was counted all the same if its budget was declared
        (`declare_tiers`); else it starts with what the store knows of it, and without one with what
        was spent since the account was opened, or what the log in memory has.

        It is forgotten when the account is dropped, which is when nothing that it counts is left
        and nobody used it for a quarter of an hour; so `remaining` then shows what would hold for a
        user whom nobody assigned anything.

        Args:
            user_id: whose; `None` is the anonymous user.
            config: the budget; `None`: the tier has none, so `default_user_budget` holds, and
                without one the user is counted without a limit, and not refused for want of one.

        Raises:
            ConfigurationError: this user would be counted in more than 64 different periods and
                time zones.
        """
        if self._assigned.get(user_id or ANONYMOUS, UNASSIGNED) is config:
            return
        account = self._books.assign(user_id or ANONYMOUS, config, self._moment_ms)
        if account is not None:
            self._books.crossings([account], self._now_ms())
            self._tell_of_return()

    def declare_tiers(self, user_budgets: Iterable[BudgetConfig]) -> None:
        """Says which budgets users may be assigned, so that each is counted before it holds.

        Every user's account counts in all their periods and time zones from now on, without a limit
        where the user's own budget has none.

        Args:
            user_budgets: the budgets; more may be declared later.

        Raises:
            ConfigurationError: all that were declared, and `default_user_budget`, have more than 12
                different time zones and `rolling_hours` together.
        """
        with self._lock:
            if self._budgets.declare(user_budgets):
                self._books.set_limits(self._moment_ms())

    def declare_tier_budget(self, name: str, config: BudgetConfig) -> None:
        """Says what all users of a tier may spend together: the account `"tier:<name>"`.

        The same again changes nothing. What is set by hand for the tier holds over it.

        Args:
            name: the tier.
            config: its budget.

        Raises:
            ConfigurationError: the tier has another budget already, or no name.
        """
        if not name or name == "*":
            raise ConfigurationError(f"a tier's budget needs the tier's name, not {name!r}")
        with self._lock:
            if self._budgets.add(Scope("tier", name), config):
                now_ms = self._moment_ms()
                self._books.crossings(self._books.set_limits(now_ms), now_ms)

    def needs_mode(self) -> None:
        """To be called where a tier has a budget: it must not be warned of by mere default.

        Raises:
            ConfigurationError: it only warns, and nobody told it to.
        """
        if not (self.enforces or self.mode_stated):
            raise ConfigurationError(
                "the tiers have budgets, and this CostTracker only warns of them, for nobody told "
                'it what to do: give it enforcement_mode="block" (or "degrade"; "warn" if that is '
                "meant)"
            )

    def unlimited(self, spender: Spender, models: Iterable[str] = ()) -> bool:
        """Whether no budget limits what this spender's calls of these models may cost.

        Args:
            spender: for whom.
            models: ids of the models that may be called.
        """
        return not any(
            limit.nanodollars is not None
            for scope in scopes_of(spender, models)
            for limit in self._budgets.limits(scope)
        )

    def standings(self, spender: Spender, models: Iterable[str] = ()) -> Sequence[AccountStanding]:
        """How the accounts that a request touches stand now, as far as they are open; never waits.

        Args:
            spender: for whom.
            models: ids of the models that may be called.
        """
        now_ms = self._now_ms()
        route = self._books.route(spender, tuple(models), now_ms, partial=True)
        assert type(route) is Route  # noqa: S101 - for mypy: a partial one never waits
        return self._books.standings(route.accounts, now_ms)

    def on_return(self, call: Callable[[Sequence[Account] | None], None]) -> None:
        """Has somebody told whenever there may be more money than before; one may be.

        Args:
            call: is given the accounts that money came back to, or `None` where it may be any. It
                must not wait, and not call the tracker: it is called wherever a hold ends, from
                finalisers too.
        """
        self._desk.on_return = call

    def _moment_ms(self) -> int:
        return self._desk.moment(self._clock.now())[1]
