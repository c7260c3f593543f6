"""Where an alert can go: what a channel is, a log, and any function of the user's."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Protocol

from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cascadeflow.budgets.alerts import Alert

__all__ = ["AlertChannel", "CallableAlert", "LogAlert", "coerce_channels"]


class AlertChannel(Protocol):
    """Takes alerts somewhere.

    `deliver` may be a plain method, which runs in a thread of its own, or an `async` one, which
    runs on the event loop of the delivery thread (not on the application's) and must not block it.
    An alert counts as delivered when it returns, and as failed when it raises.

    A channel that has an `attempts` attribute above 1 is tried again so often, unless it raises an
    `AlertDeliveryError` that says not to.
    """

    @property
    def name(self) -> str:
        """What logs and counters call it; holds no secret."""

    def deliver(self, alert: Alert) -> Awaitable[None] | None:
        """Delivers one alert."""


class LogAlert:
    """Writes alerts into a log, one line each.

    Args:
        logger: where to; without one, the logger `cascadeflow.alerts`.
        level: how loudly, a level of `logging`.
    """

    __slots__ = ("_level", "_logger")

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.WARNING) -> None:
        self._logger = logging.getLogger("cascadeflow.alerts") if logger is None else logger
        self._level = level

    @property
    def name(self) -> str:
        """What logs and counters call it."""
        return "log"

    def deliver(self, alert: Alert) -> None:
        """Writes the alert's sentence; the alert itself is the record's `alert` attribute."""
        self._logger.log(self._level, "%s", alert.text, extra={"alert": alert})


class CallableAlert:
    """A channel made of a function that takes the alert, plain or `async`."""

    __slots__ = ("_function", "_name", "deliver")

    def __init__(self, function: Callable[[Alert], Any], *, name: str | None = None) -> None:
        self._function = function
        self._name = name or getattr(function, "__name__", None) or type(function).__name__
        self.deliver = function

    @property
    def name(self) -> str:
        """What logs and counters call it: the function's name."""
        return self._name

    def __repr__(self) -> str:
        return f"CallableAlert({self._name})"


def coerce_channels(channels: Iterable[Any]) -> tuple[AlertChannel, ...]:
    """Gives channels as they are, and functions as channels.

    Args:
        channels: channels, or functions that take an `Alert`, plain or `async`.

    Raises:
        ConfigurationError: something is neither.

    >>> [channel.name for channel in coerce_channels([LogAlert(), print])]
    ['log', 'print']
    """
    if isinstance(channels, (str, bytes)) or not hasattr(channels, "__iter__"):
        raise ConfigurationError(
            "alert_channels is a list: [WebhookAlert(url), SlackAlert(url), LogAlert(), a function]"
        )
    return tuple(_coerce(channel) for channel in channels)


def _coerce(channel: Any) -> AlertChannel:
    if isinstance(channel, (str, bytes)):
        # It may be a secret address, so it is not shown.
        raise ConfigurationError(
            "an alert channel is not text: write WebhookAlert(url) or SlackAlert(url)"
        )
    if isinstance(channel, type):
        raise ConfigurationError(
            f"an alert channel is an object, not the class: write {channel.__name__}(…)"
        )
    if hasattr(channel, "deliver"):
        if not callable(channel.deliver) or not isinstance(getattr(channel, "name", None), str):
            raise ConfigurationError(
                f"the alert channel {type(channel).__name__} needs a `name` and a method `deliver`"
            )
        made: AlertChannel = channel
        return made
    if not callable(channel):
        raise ConfigurationError(
            "an alert channel is a WebhookAlert, SlackAlert, LogAlert, an object with `name` and "
            f"`deliver`, or a function that takes an alert, not {type(channel).__name__}"
        )
    try:
        inspect.signature(channel).bind(None)
    except TypeError:
        raise ConfigurationError(
            f"the alert function {getattr(channel, '__name__', type(channel).__name__)} must take "
            "one argument, the alert"
        ) from None
    except ValueError:
        pass  # a function of C that does not say what it takes
    return CallableAlert(channel)
