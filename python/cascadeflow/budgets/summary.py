"""What a tracker shows of its sums, under the names that v0.1 gave them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cascadeflow.money import to_usd

if TYPE_CHECKING:
    from decimal import Decimal

    from cascadeflow.budgets.accounts import Limit
    from cascadeflow.budgets.history import CostEntry, History, Standing

__all__ = ["Summary"]


class Summary:
    """Reads sums; a `CostTracker` is one."""

    _history: History

    def _total_limit(self) -> Limit | None:
        raise NotImplementedError

    def _catch_up(self) -> None:
        """Books what was dropped."""
        raise NotImplementedError

    def standing(self) -> Standing:
        """How all spending stands to the global total budget."""
        self._catch_up()
        return self._history.standing(self._total_limit())

    @property
    def spent(self) -> Decimal:
        """US dollars spent in all, exactly, as far as costs are known."""
        self._catch_up()
        return to_usd(self._history.spent)

    @property
    def total_cost(self) -> float:
        """US dollars spent in all, for reading; the exact figure is `spent`."""
        return float(self.spent)

    @property
    def budget_limit(self) -> float | None:
        """The global total budget in US dollars, or `None`."""
        limit = self._total_limit()
        if limit is None or limit.nanodollars is None:
            return None
        return float(to_usd(limit.nanodollars))

    @property
    def budget_warned(self) -> bool:
        """Whether the warning threshold is reached."""
        return self.standing().state in {"warned", "exhausted"}

    @property
    def budget_exceeded(self) -> bool:
        """Whether the limit is reached."""
        return self.standing().state == "exhausted"

    @property
    def unknown_costs(self) -> int:
        """How many charges have no known cost: the sums are short by what these cost."""
        self._catch_up()
        return self._history.unknown

    @property
    def entries(self) -> list[CostEntry]:
        """The latest charges, oldest first, at most `keep` of them."""
        self._catch_up()
        return self._history.entries()

    @property
    def by_model(self) -> dict[str, float]:
        """US dollars by model name."""
        self._catch_up()
        return _dollars(self._history.sums().by_model)

    @property
    def by_provider(self) -> dict[str, float]:
        """US dollars by provider id."""
        self._catch_up()
        return _dollars(self._history.sums().by_provider)

    @property
    def by_user(self) -> dict[str, float]:
        """US dollars by user id, of the requests that named one."""
        self._catch_up()
        return _dollars(self._history.sums().by_user)

    def get_summary(self) -> dict[str, Any]:
        """Everything in one dict, US dollars as floats; the `budget_` keys only with a limit."""
        standing = self.standing()
        sums = self._history.sums()
        summary: dict[str, Any] = {
            "total_cost": float(to_usd(sums.spent)),
            "total_entries": sums.entries,
            "unknown_costs": sums.unknown,
            "by_model": _dollars(sums.by_model),
            "by_provider": _dollars(sums.by_provider),
            "by_user": _dollars(sums.by_user),
        }
        limit = standing.limit
        if limit is not None:
            summary["budget_limit"] = float(to_usd(limit))
            summary["budget_remaining"] = float(to_usd(max(0, limit - standing.spent)))
            summary["budget_used_pct"] = 100 * standing.spent / limit if limit else 100.0
            summary["budget_exceeded"] = standing.state == "exhausted"
            summary["budget_state"] = standing.state
        return summary

    def get_recent_entries(self, n: int = 10) -> list[CostEntry]:
        """The latest `n` entries, oldest first."""
        return self.entries[-n:] if n > 0 else []

    def get_entries_by_model(self, model: str) -> list[CostEntry]:
        """Those of the kept entries that name this model."""
        return [entry for entry in self.entries if entry.model == model]

    def get_entries_by_provider(self, provider: str) -> list[CostEntry]:
        """Those of the kept entries that name this provider."""
        return [entry for entry in self.entries if entry.provider == provider]

    def print_summary(self) -> None:
        """Writes the summary to standard output."""
        summary = self.get_summary()
        lines = [
            f"Total cost:       ${summary['total_cost']:.6f}",
            f"Entries:          {summary['total_entries']}",
        ]
        if summary["unknown_costs"]:
            lines.append(f"Of unknown cost:  {summary['unknown_costs']}")
        if "budget_limit" in summary:
            lines.append(f"Budget limit:     ${summary['budget_limit']:.2f}")
            lines.append(f"Budget remaining: ${summary['budget_remaining']:.6f}")
            lines.append(
                f"Budget used:      {summary['budget_used_pct']:.1f} % ({summary['budget_state']})"
            )
        for title, name in (("model", "by_model"), ("provider", "by_provider")):
            ranked = sorted(summary[name].items(), key=lambda item: item[1], reverse=True)
            lines.extend(f"By {title}: {key:<32} ${cost:.6f}" for key, cost in ranked)
        sys.stdout.write("\n".join(lines) + "\n")


def _dollars(amounts: dict[str, int]) -> dict[str, float]:
    return {key: float(to_usd(amount)) for key, amount in amounts.items()}
