"""The money held for one request: what may still be spent of it, and what each call is booked at.

A purse is filled once, before anything is sent, with the worst case of the plan: the first draft
and the first verifier. Whoever is asked in the place of one that failed is paid from what is left,
and asks the ledger for what is missing. What a call was held at is booked when nobody confirms what
it used; everything that was not spent goes back when the request ends.
"""

from __future__ import annotations

from dataclasses import replace
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

__all__ = ["Purse", "Tab"]


class Purse:
    """One request's money. All amounts are nanodollars."""

    __slots__ = (
        "_booked",
        "_budgeted",
        "_claimed",
        "_enforced",
        "_held",
        "_open",
        "_promised",
        "_reservation",
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
        self._open = 0  # of what is held, what calls under way may take
        self._claimed = 0  # of what is left over, what waits for the ledger to add the rest
        self._budgeted = budgeted_models
        self._unknown = unknown
        self._enforced = enforced
        self.charges: list[Charge] = []
        self.outcome: Outcome | None = None

    @property
    def held(self) -> int:
        """What was held, extensions included."""
        return self._held

    @property
    def over_limit(self) -> bool:
        """Whether the budget only warns, and what was held did not fit it."""
        return self._reservation.over_limit

    async def cover(self, model: ModelConfig, role: str) -> Tab | None:
        """Sees to it that one call of a model is paid for; `None` when it cannot be.

        Args:
            model: who is to be asked next.
            role: what for.

        Raises:
            CascadeFlowError: nobody can say what the call costs at most.
        """
        promised = self._promised.pop(model.id, None)
        amount = self._worst(model) if promised is None else promised
        anew = promised is None and model.id in self._budgeted
        if not await self.hold({model.id: amount}, anew=anew):
            return None
        self._open += amount
        return Tab(self, model, role, amount, counted=model.id not in self._unknown)

    async def cover_beside(self, model: ModelConfig, role: str, amount: int) -> Tab | None:
        """Sees to it that one call beside the answer is paid for; `None` when it cannot be.

        What was promised to the calls of the plan stays theirs.

        Args:
            model: who is to be asked.
            role: what for.
            amount: what the call can cost at most.
        """
        if not await self.hold({model.id: amount}, anew=True):
            return None
        self._open += amount
        return Tab(self, model, role, amount, counted=model.id not in self._unknown)

    async def promise(self, planned: Mapping[str, int]) -> bool:
        """Holds what the next step of a request can cost; whatever was promised before is void.

        Args:
            planned: its calls, and what each can cost at most.
        """
        self._promised.clear()
        if not await self.hold(planned, anew=True):
            return False
        self._promised.update(planned)
        return True

    async def hold(self, calls: Mapping[str, int], *, anew: bool) -> bool:
        """Holds what is missing for calls, all or nothing.

        Args:
            calls: model ids, and what each call may cost.
            anew: for a model with a budget of its own, all of it: what is left over was held on the
                accounts of other models.
        """
        free = self._held - self._booked - self._open - sum(self._promised.values())
        free = max(0, free - self._claimed)
        claimed = 0
        missing: list[tuple[str, int]] = []
        for model, amount in calls.items():
            own = anew and model in self._budgeted
            taken = 0 if own else min(amount, free)
            free -= taken
            claimed += taken
            if amount > taken:
                missing.append((model, amount - taken))
        if not missing:
            return True
        self._claimed += claimed  # a hedged call asks at the same time
        try:
            held = await self._reservation.extend(missing, force=not self._enforced)
        except InvalidRequestError:  # more than can be counted
            if self._enforced:
                raise
            held = False
        finally:
            self._claimed -= claimed
        if held:
            self._held += sum(amount for _, amount in missing)
        # What only warns stops nothing, not even where nothing can be held any more.
        return held or not self._enforced

    def take(self, amount: int) -> None:
        """Counts what is held for a call that is under way again."""
        self._open += amount

    def give(self, amount: int) -> None:
        """Gives back what a call under way did not take."""
        self._open -= amount

    def book(self, charge: Charge, held: int) -> None:
        """Books a call, or one of its tries.

        Args:
            charge: what it is booked at.
            held: what was held for it.
        """
        if charge.nanodollars is not None:  # no ledger counts further than this
            most = MAX_NANODOLLARS - self._booked
            if charge.nanodollars > most:
                charge = replace(charge, nanodollars=most)
        self._open -= held
        self._booked += charge.nanodollars or 0
        self.charges.append(charge)

    def close(self) -> Outcome:
        """Settles: books every charge, gives the rest back. Doing it twice changes nothing."""
        if self.outcome is None:
            self.outcome = self._reservation.settle(self.charges)
        return self.outcome


class Tab:
    """The money of one call under way, its tries included."""

    __slots__ = ("_amount", "_counted", "_ended", "_model", "_permitted", "_purse", "_role")

    def __init__(
        self, purse: Purse, model: ModelConfig, role: str, amount: int, *, counted: bool
    ) -> None:
        """Opens a tab; `counted` says whether anybody could reckon what the call costs at most."""
        self._purse = purse
        self._model = model
        self._role = role
        self._amount = amount
        self._counted = counted
        self._ended = False  # whether its last try is booked, or cost nothing
        self._permitted: ProviderError | None = None  # after which one more try was paid for

    async def may_retry(self, error: ProviderError) -> bool:
        """Sees to it that one more try is paid for.

        A try that surely was not billed costs nothing more. One that may have been is booked at
        what was held for it, and the next one needs as much again.
        """
        if error.billed is False:
            return True
        # The failed try keeps its money whatever comes of this, a cancelled wait included.
        if not self._ended:
            self._book(self._unconfirmed(None))
        if not await self._purse.hold({self._model.id: self._amount}, anew=True):
            return False
        self._purse.take(self._amount)
        self._ended, self._permitted = False, error
        return True

    def answered(self, cost: CostOf, usage: Usage | None, response_id: str | None) -> None:
        """Books the call at what it cost, or at what was held where that is unknown."""
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
        estimate: int | None = None,
    ) -> None:
        """Ends the call without an answer.

        Args:
            error: how it ended.
            billed: `False` when the provider surely charged nothing.
            known: what it is known to have cost at least.
            usage: what it is known to have used at least.
            estimate: what it is reckoned to have cost, where nobody said.
        """
        if self._ended:
            return
        # A try that was paid for but not made (its time was up) ends with the error before it.
        made = error is not self._permitted
        charged = billed is not False or known is not None
        if made and charged and (self._amount or known or not self._counted):
            self._book(self._unconfirmed(known, usage, estimate=estimate))
        else:
            self._purse.give(self._amount)
            self._ended = True

    def _unconfirmed(
        self,
        known: int | None,
        usage: Usage | None = None,
        response_id: str | None = None,
        cost: CostOf | None = None,
        estimate: int | None = None,
    ) -> Charge:
        lost = not self._amount and known is None and not self._counted
        return self._charge(
            None if lost else max(self._amount, known or 0),
            usage,
            response_id,
            cost,
            confirmed=False,
            estimate=known if estimate is None else max(estimate, known or 0),
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
        return Charge(
            model=self._model.id,
            nanodollars=nanodollars,
            confirmed=confirmed,
            # Where nobody knew what to hold, nothing overran.
            held=self._amount if self._counted else nanodollars or 0,
            estimate=estimate,
            role=self._role,
            input_tokens=None if usage is None else usage.total_input_tokens,
            output_tokens=None if usage is None else usage.total_output_tokens,
            price_source=None if cost is None else cost.source,
            price_date=None if cost is None else cost.date,
            response_id=response_id,
        )

    def _book(self, charge: Charge) -> None:
        """Books the call, or its last try: that ends it."""
        self._purse.book(charge, self._amount)
        self._ended = True
