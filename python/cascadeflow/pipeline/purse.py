"""The money held for one request: what may still be spent of it, and what each call is booked at.

A purse is filled once, before anything is sent, with the worst case of the plan: the first draft
and the first verifier. Whoever is asked in the place of one that failed is paid from what is left,
and asks the ledger for what is missing. What a call was held at is booked when nobody confirms what
it used; everything that was not spent goes back when the request ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascadeflow.budgets.records import Charge
from cascadeflow.errors import InvalidRequestError
from cascadeflow.money import MAX_NANODOLLARS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

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
        "_ended",
        "_enforced",
        "_held",
        "_model",
        "_permitted",
        "_promised",
        "_reservation",
        "_role",
        "_unknown",
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
        unknown: Collection[str],
        enforced: bool,
    ) -> None:
        """Takes over a reservation.

        Args:
            reservation: the money, as it was held.
            worst: what one call of a model can cost at most; raises when nobody can say.
            planned: the calls that were held for, and at how much.
            budgeted_models: the models that have a budget of their own.
            unknown: the models of which `worst` could not say anything, and gave 0.
            enforced: whether what cannot be held may not be spent.
        """
        self._reservation = reservation
        self._worst = worst
        self._promised = dict(planned)
        self._held = sum(planned.values())
        self._booked = 0
        self._budgeted = budgeted_models
        self._unknown = unknown
        self._enforced = enforced
        self._model: ModelConfig | None = None  # of the call under way
        self._ended = True  # whether its last try is booked, or there is none
        self._permitted: ProviderError | None = None  # after which one more try was paid for
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
        promised = self._promised.pop(model.id, None)
        amount = self._worst(model) if promised is None else promised
        anew = promised is None and model.id in self._budgeted
        if not await self._hold(model.id, amount, anew=anew):
            return False
        self._model, self._role, self._amount = model, role, amount
        self._ended, self._permitted = False, None
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
        # The failed try keeps its money whatever comes of this, a cancelled wait included.
        if not self._ended:
            self._book(self._unconfirmed(None))
        if not await self._hold(model.id, amount, anew=model.id in self._budgeted):
            return False
        self._ended, self._permitted = False, error
        return True

    async def _hold(self, model: str, amount: int, *, anew: bool) -> bool:
        """Holds what is missing for a call.

        Args:
            model: whose call.
            amount: what it may cost.
            anew: all of it: what is left over was held on the accounts of other models.
        """
        free = self._held - self._booked - sum(self._promised.values())
        need = amount if anew else max(0, amount - max(0, free))
        if need == 0:
            return True
        try:
            held = await self._reservation.extend([(model, need)], force=not self._enforced)
        except InvalidRequestError:  # more than can be counted
            if self._enforced:
                raise
            held = False
        if held:
            self._held += need
        # What only warns stops nothing, not even where nothing can be held any more.
        return held or not self._enforced

    def answered(self, cost: CostOf, usage: Usage | None, response_id: str | None) -> None:
        """Books the call under way at what it cost, or at what was held where that is unknown."""
        if cost.nanodollars is None or not cost.confirmed:
            charge = self._unconfirmed(cost.nanodollars, usage, response_id, cost)
        else:
            charge = self._charge(cost.nanodollars, usage, response_id, cost, confirmed=True)
        self._book(charge)

    def failed(
        self,
        error: BaseException,
        *,
        billed: bool | None,
        known: int | None,
        usage: Usage | None = None,
    ) -> None:
        """Ends the call under way without an answer.

        Args:
            error: how it ended.
            billed: `False` when the provider surely charged nothing.
            known: what it is known to have cost at least.
            usage: what it is known to have used at least.
        """
        model = self._model
        if model is None or self._ended:
            return
        # A try that was paid for but not made (its time was up) ends with the error before it.
        made = error is not self._permitted
        charged = billed is not False or known is not None
        if made and charged and (self._amount or known or model.id in self._unknown):
            self._book(self._unconfirmed(known, usage))
        self._ended = True

    def _unconfirmed(
        self,
        known: int | None,
        usage: Usage | None = None,
        response_id: str | None = None,
        cost: CostOf | None = None,
    ) -> Charge:
        assert self._model is not None  # noqa: S101 - for mypy: only a covered call is booked
        lost = not self._amount and known is None and self._model.id in self._unknown
        return self._charge(
            None if lost else max(self._amount, known or 0),
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
        if nanodollars is not None:  # no ledger counts further than this
            nanodollars = min(nanodollars, MAX_NANODOLLARS - self._booked)
        return Charge(
            model=self._model.id,
            nanodollars=nanodollars,
            confirmed=confirmed,
            # Where nobody knew what to hold, nothing overran.
            held=nanodollars or 0 if self._model.id in self._unknown else self._amount,
            estimate=estimate,
            role=self._role,
            input_tokens=None if usage is None else usage.total_input_tokens,
            output_tokens=None if usage is None else usage.total_output_tokens,
            price_source=None if cost is None else cost.source,
            price_date=None if cost is None else cost.date,
            response_id=response_id,
        )

    def _book(self, charge: Charge) -> None:
        """Books the call under way, or its last try: that ends it."""
        self.charges.append(charge)
        self._booked += charge.nanodollars or 0
        self._ended = True

    def close(self) -> Outcome:
        """Settles: books every charge, gives the rest back. Doing it twice changes nothing."""
        if self.outcome is None:
            self.outcome = self._reservation.settle(self.charges)
        return self.outcome
