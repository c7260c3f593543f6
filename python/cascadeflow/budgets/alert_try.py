"""One try of one channel: it runs where it can block or hang nobody else."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import AlertDeliveryError, CascadeFlowError

if TYPE_CHECKING:
    from cascadeflow.budgets.alert_channels import AlertChannel
    from cascadeflow.budgets.alerts import Alert

__all__ = ["daemon_threads", "may_be_repeated", "try_once", "why"]

DELIVERY_LIMIT: Final = 60.0
"""Seconds that one try of an `async` channel may take before it is cancelled."""


async def try_once(channel: AlertChannel, alert: Alert) -> BaseException | None:
    """Delivers once; gives what went wrong, whatever it was: the thread must outlive it."""
    import asyncio  # noqa: PLC0415
    import inspect  # noqa: PLC0415

    deliver: Any = channel.deliver
    try:
        if inspect.iscoroutinefunction(deliver) or inspect.iscoroutinefunction(
            getattr(deliver, "__call__", None)  # noqa: B004 - an object with an async __call__
        ):
            outcome = deliver(alert)
        else:
            outcome, error = await asyncio.get_running_loop().run_in_executor(
                None, _call, deliver, alert
            )
            if error is not None:
                return error
        if inspect.isawaitable(outcome):
            async with asyncio.timeout(DELIVERY_LIMIT):
                await outcome
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # `close` has given up
        return error
    except BaseException as error:  # noqa: BLE001 - SystemExit too would end every channel
        return error
    return None


def _call(deliver: Any, alert: Alert) -> tuple[Any, BaseException | None]:
    """Calls a plain function; its error is a result, for a future cannot carry every kind."""
    try:
        return deliver(alert), None
    except BaseException as error:  # noqa: BLE001 - handed on, not hidden
        return None, error


def daemon_threads() -> Any:
    """An executor with a daemon thread for each call: one that hangs never keeps a process alive.

    The usual one joins its threads when the interpreter ends, however long that takes; the loop
    also looks up host names in it.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415

    def run(future: Future[Any], function: Any, arguments: tuple[Any, ...]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - the future carries it
            future.set_exception(error)
        else:
            future.set_result(result)

    class DaemonThreads(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            call = partial(fn, **kwargs) if kwargs else fn
            threading.Thread(
                target=run, args=(future, call, args), name="cascadeflow-alert", daemon=True
            ).start()
            return future

        def shutdown(
            self,
            wait: bool = True,  # noqa: FBT001, FBT002 - the base class's
            *,
            cancel_futures: bool = False,
        ) -> None:
            """Nothing is waited for."""

    return DaemonThreads()


def may_be_repeated(error: BaseException) -> bool:
    """Whether a second try may end otherwise."""
    if isinstance(error, AlertDeliveryError):
        return error.retryable
    return isinstance(error, Exception) and not isinstance(error, CascadeFlowError)


def why(error: BaseException) -> str:
    """What went wrong, without the text of a foreign error, which may hold a secret address."""
    if isinstance(error, CascadeFlowError):
        return str(error)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__}{place}"
