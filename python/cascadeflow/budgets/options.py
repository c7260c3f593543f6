"""Reads what a `CostTracker` is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from cascadeflow.budgets.accounts import GLOBAL, Budgets, parse_scope
from cascadeflow.budgets.records import Scope
from cascadeflow.config import BudgetConfig, EnforcementMode
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.money import from_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.budgets.stores.protocol import Store
    from cascadeflow.clock import Clock
    from cascadeflow.money import Amount

__all__ = ["check", "read_budgets", "read_store"]


def check(
    *,
    keep: int,
    mode: str | None,
    durability: str,
    stored: bool,
    default_max_output: int,
    min_output: int,
) -> None:
    """Checks what is no budget.

    Raises:
        ConfigurationError: it cannot be.
    """
    if keep < 0:
        raise ConfigurationError(f"keep must be at least 0, not {keep}")
    if mode is not None and mode not in get_args(EnforcementMode):
        raise ConfigurationError(
            f'enforcement_mode is "warn", "block" or "degrade", not {mode!r:.80}'
        )
    if durability not in {"default", "strict"}:
        raise ConfigurationError(f'durability is "default" or "strict", not {durability!r:.80}')
    if durability == "strict" and not stored:
        raise ConfigurationError('durability="strict" needs a store: store="sqlite:///path"')
    if not 1 <= min_output <= default_max_output:
        raise ConfigurationError(
            "1 <= min_output <= default_max_output must hold, in tokens, not "
            f"{min_output} and {default_max_output}"
        )


def read_budgets(
    *,
    budget_limit: Amount | None,
    warn_threshold: float,
    global_budget: Amount | BudgetConfig | None,
    user_budgets: Mapping[str, Amount | BudgetConfig] | None,
    default_user_budget: Amount | BudgetConfig | None,
    budgets: Mapping[str, Amount | BudgetConfig] | None,
) -> Budgets:
    """Reads every budget.

    Raises:
        ConfigurationError: an amount is negative, not a number, or out of range; two are given for
            the same scope.
    """
    if not 0 <= warn_threshold <= 1:
        raise ConfigurationError(f"warn_threshold must lie in 0..1, not {warn_threshold}")
    read = Budgets()
    if budget_limit is not None:
        if global_budget is not None:
            raise ConfigurationError(
                "budget_limit is v0.1's name of global_budget's total: give one of them"
            )
        try:
            from_usd(budget_limit, what="budget_limit")
        except InvalidRequestError as error:
            raise ConfigurationError(str(error)) from None
        total = BudgetConfig(
            total=budget_limit, warn_at=warn_threshold, degrade_at=max(0.9, warn_threshold)
        )
        read.configure(GLOBAL, total, "budget_limit")
    if global_budget is not None:
        read.configure(GLOBAL, global_budget, "global_budget")
    for user, budget in (user_budgets or {}).items():
        read.configure(Scope("user", user), budget, f"user_budgets[{user!r}]")
    if default_user_budget is not None:
        read.configure(Scope("user", "*"), default_user_budget, "default_user_budget")
    for text, budget in (budgets or {}).items():
        read.configure(parse_scope(text), budget, f"budgets[{text!r}]")
    return read


def read_store(store: str | Store | None, clock: Clock) -> Store | None:
    """Opens the store; `None` when budgets are kept in this process.

    Raises:
        ConfigurationError: no such kind of store.
        StoreError: it cannot be opened.
    """
    if store is None or store == "memory":
        return None
    if not isinstance(store, str):
        return store
    if store.startswith("sqlite:"):
        from cascadeflow.budgets.stores import open_store  # noqa: PLC0415 - only with one

        return open_store(store, clock=clock)
    # It may hold a password, so it is not shown.
    raise ConfigurationError('store is "memory", "sqlite:///path" or an object of your own')
