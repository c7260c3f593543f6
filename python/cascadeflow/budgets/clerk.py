"""Reservations as callers ask for them: waiting, where a store must be asked, and trying again."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from cascadeflow.budgets.books import Opening
from cascadeflow.budgets.desk import Desk
from cascadeflow.budgets.reservation import Reservation
from cascadeflow.errors import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from datetime import datetime

    from cascadeflow.budgets.records import Spender
    from cascadeflow.budgets.reservation import Hold

__all__ = ["Clerk"]


class Clerk(Desk):
    """A desk that waits for what must be waited for; without a store it never does."""

    async def reserve(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        request_id: str,
        at: datetime,
        *,
        force: bool,
        tentative: bool,
    ) -> Reservation:
        """See `CostTracker.reserve`."""
        while True:
            made = self.attempt(spender, calls, request_id, at, force=force, tentative=tentative)
            if type(made) is not Reservation:
                await self._wait(made, must=self._enforces and not force)  # type: ignore[arg-type]
                continue
            if self._writer is not None and self._writer.strict:
                hold = made._hold  # noqa: SLF001 - made here
                hold.strict = True
                try:
                    written = self._writer.hold(hold, hold.calls)
                    await self._wait(written, must=self._enforces and not force)
                except BaseException:
                    made.release()
                    raise
            return made

    def reserve_sync(
        self,
        spender: Spender,
        calls: Sequence[tuple[str, int]],
        request_id: str,
        at: datetime,
        *,
        force: bool,
    ) -> Reservation:
        """See `CostTracker.reserve_sync`."""
        while True:
            made = self.attempt(spender, calls, request_id, at, force=force)
            if type(made) is not Reservation:
                self._wait_sync(made, must=self._enforces and not force)  # type: ignore[arg-type]
                continue
            if self._writer is not None and self._writer.strict:
                hold = made._hold  # noqa: SLF001 - made here
                hold.strict = True
                try:
                    written = self._writer.hold(hold, hold.calls)
                    self._wait_sync(written, must=self._enforces and not force)
                except BaseException:
                    made.release()
                    raise
            return made

    async def extend(self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool) -> bool:
        """See `Reservation.extend`."""
        must = self._enforces and not force
        while True:
            made = self.attempt_extend(hold, calls, force=force)
            if isinstance(made, Future):
                await self._wait(made, must=must)
                continue
            if made and hold.strict and self._writer is not None:
                await self._wait(self._writer.hold(hold, calls), must=must)
            return made

    def extend_sync(self, hold: Hold, calls: Sequence[tuple[str, int]], *, force: bool) -> bool:
        """See `Reservation.extend_sync`."""
        must = self._enforces and not force
        while True:
            made = self.attempt_extend(hold, calls, force=force)
            if isinstance(made, Future):
                self._wait_sync(made, must=must)
                continue
            if made and hold.strict and self._writer is not None:
                self._wait_sync(self._writer.hold(hold, calls), must=must)
            return made

    async def prepare(self, spender: Spender, models: tuple[str, ...], now_ms: int) -> None:
        """Opens the accounts that a request touches."""
        while True:
            if self._writer is not None:
                wait = self._writer.admit(must=self._enforces)
                if wait is not None:
                    await self._wait(wait, must=self._enforces)
                    continue
            found = self._books.route(spender, models, now_ms)
            if self._writer is None or self._writer.failing:
                return
            if isinstance(found, Opening):
                await self._wait(self._writer.load(found.scopes, 0), must=self._enforces)
                continue
            if found.unread():
                late = self._writer.read_late(found.accounts)
                await self._wait(late, must=self._enforces)
            return

    @staticmethod
    async def _wait(future: Future[None], *, must: bool) -> None:
        try:
            await settled(future)
        except StoreError:
            if must:
                raise

    @staticmethod
    def _wait_sync(future: Future[None], *, must: bool) -> None:
        try:
            future.result()
        except StoreError:
            if must:
                raise


async def settled(future: Future[None]) -> None:
    """Waits for what a thread does; a cancelled waiter leaves it to the others who wait for it."""
    import asyncio  # noqa: PLC0415 - whoever waits has it

    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: Future[None]) -> None:
        try:
            loop.call_soon_threadsafe(_resolve, waiter)
        except RuntimeError:
            return  # the loop has ended, and with it whoever waited

    future.add_done_callback(wake)
    await waiter
    future.result()


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
