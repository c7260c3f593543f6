"""The money held for one request: what may still be spent of it, and what each call is booked at.

A purse is filled once, before anything is sent, with the worst case of the plan: the first draft
and the first verifier. Whoever is asked in the place of one that failed is paid from what is left,
and asks the ledger for what is missing. What a call was held at is booked when nobody confirms what
it used; everything that was not spent goes back when the request ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.budgets.records import Charge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cascadeflow.budgets.reservation import Outcome, Reservation
    from cascadeflow.errors import ProviderError
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.prices import CostOf
    from cascadeflow.models.usage import Usage

__all__ = ["Purse"]


class Purse:
    """One request's money. All amounts are nanodollars."""

    __slots__ = (
        "_amount",
        "_booked",
        "_budgeted",
        "_enforced",
        "_held",
        "_model",
        "_promised",
        "_reservation",
        "_role",
        "_worst",
        "charges",
        "outcome",
    )

    def __init__(
        self,
        reservation: Reservation,
        *,
        worst: Callable[[ModelConfig], int],
        planned: Mapping[str, int],
        budgeted_models: frozenset[str],
        enforced: bool,
    ) -> None:
        """Takes over a reservation.

        Args:
            reservation: the money, as it was held.
            worst: what one call of a model can cost at most; raises when nobody can say.
            planned: the calls that were held for, and at how much.
            budgeted_models: the models that have a budget of their own.
            enforced: whether what cannot be held may not be spent.
        """
        self._reservation = reservation
        self._worst = worst
        self._promised = dict(planned)
        self._held = sum(planned.values())
        self._booked = 0
        self._budgeted = budgeted_models
        self._enforced = enforced
        self._model: ModelConfig | None = None
        self._role = ""
        self._amount = 0
        self.charges: list[Charge] = []
        self.outcome: Outcome | None = None

    @property
    def held(self) -> int:
        """What was held in all, for every call that was covered."""
        return self._held

    @property
    def over_limit(self) -> bool:
        """Whether the budget only warns, and what was held did not fit it."""
        return self._reservation.over_limit

    async def cover(self, model: ModelConfig, role: str) -> bool:
        """Sees to it that one call of a model is paid for; `False` when it cannot be.

        Args:
            model: who is to be asked next.
            role: what for.

        Raises:
            CascadeFlowError: nobody can say what the call costs at most.
        """
        amount = self._promised.pop(model.id, None)
        if amount is None:
            amount = self._worst(model)
            if not await self._hold(model.id, amount):
                return False
        self._model, self._role, self._amount = model, role, amount
        return True

    async def may_retry(self, error: ProviderError) -> bool:
        """Sees to it that one more try of the call under way is paid for.

        A try that surely was not billed costs nothing more. One that may have been is booked at
        what was held for it, and the next one needs as much again.
        """
        if error.billed is False:
            return True
        model, amount = self._model, self._amount
        assert model is not None  # noqa: S101 - for mypy: a try is repeated only while it is made
        # The failed try keeps its money whatever comes of this.
        self._book(self._unconfirmed(None))
        if not await self._hold(model.id, amount):
            self._amount = 0  # the failure that follows is booked already
            return False
        self._amount = amount
        return True

    async def _hold(self, model: str, amount: int) -> bool:
        free = self._held - self._booked - sum(self._promised.values())
        # What is left over was held on the accounts of other models, if this one has its own.
        need = amount if model in self._budgeted else max(0, amount - max(0, free))
        if need == 0:
            return True
        held = await self._reservation.extend([(model, need)], force=not self._enforced)
        if held:
            self._held += need
        return held

    def answered(self, cost: CostOf, usage: Usage | None, response_id: str | None) -> None:
        """Books the call under way at what it cost, or at what was held where that is unknown."""
        if cost.nanodollars is None or not cost.confirmed:
            charge = self._unconfirmed(cost.nanodollars, usage, response_id, cost)
        else:
            charge = self._charge(cost.nanodollars, usage, response_id, cost, confirmed=True)
        self._book(charge)

    def failed(self, *, billed: bool | None, known: int | None, usage: Usage | None = None) -> None:
        """Ends the call under way without an answer.

        Args:
            billed: `False` when the provider surely charged nothing.
            known: what it is known to have cost at least.
            usage: what it is known to have used at least.
        """
        if self._model is None:
            return
        if billed is False and known is None:
            self._model = None
            return
        if self._amount or known:
            self._book(self._unconfirmed(known, usage))
        self._model = None

    def _unconfirmed(
        self,
        known: int | None,
        usage: Usage | None = None,
        response_id: str | None = None,
        cost: CostOf | None = None,
    ) -> Charge:
        amount = max(self._amount, known or 0)
        return self._charge(
            amount if amount or known is not None else None,
            usage,
            response_id,
            cost,
            confirmed=False,
            estimate=known,
        )

    def _charge(
        self,
        nanodollars: int | None,
        usage: Usage | None,
        response_id: str | None,
        cost: CostOf | None,
        *,
        confirmed: bool,
        estimate: int | None = None,
    ) -> Charge:
        assert self._model is not None  # noqa: S101 - for mypy: only a covered call is booked
        return Charge(
            model=self._model.id,
            nanodollars=nanodollars,
            confirmed=confirmed,
            # A mode that only warns may not have known what to hold: then nothing overran.
            held=self._amount if self._amount or self._enforced else nanodollars or 0,
            estimate=estimate,
            role=self._role,
            input_tokens=None if usage is None else usage.total_input_tokens,
            output_tokens=None if usage is None else usage.total_output_tokens,
            price_source=None if cost is None else cost.source,
            price_date=None if cost is None else cost.date,
            response_id=response_id,
        )

    def _book(self, charge: Charge) -> None:
        self.charges.append(charge)
        self._booked += charge.nanodollars or 0

    def close(self) -> Outcome:
        """Settles: books every charge, gives the rest back. Doing it twice changes nothing."""
        if self.outcome is None:
            self.outcome = self._reservation.settle(self.charges)
        return self.outcome
