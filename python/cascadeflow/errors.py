"""Every error CascadeFlow raises, one tree, each saying what to do.

```
CascadeFlowError
├── ConfigurationError (ValueError)      what was set up cannot work: fix the code
│   ├── UnknownModelError                no such model in the catalogue or the agent
│   ├── UnknownPriceError                the price of a model is not known: state it
│   └── MissingKeyError                  no API key for a provider
├── InvalidRequestError (ValueError)     this request cannot be sent: fix its arguments
│   └── UnboundedCostError               nobody can say what it costs at most: state it
├── UnknownUsageError (ValueError)       what a call used is not known: its cost is not zero
├── MissingDependencyError (ImportError) an extra is not installed
├── BudgetExceededError                  the request does not fit a budget: not now, or never
├── RateLimitError                       the request does not fit a rate limit: not now, or never
├── TierForbiddenError                   the user's tier does not include what was asked for
├── ToolAbort                            a tool of yours ended the run: raise it to do so
├── RequestsForbiddenError               a real request was attempted while they are forbidden
├── StoreError                           a file or store could not be read or written
├── DownloadError                        a model's file did not come, or is not what it should be
├── AlertDeliveryError                   an alert channel did not take an alert
├── WebhookSignatureError (ValueError)   a webhook's body was not signed with your secret
├── ProviderError                        a provider's answer was not an answer
│   ├── AuthenticationError              401: the key is wrong
│   ├── PermissionDeniedError            403: the key may not do this
│   ├── ModelNotFoundError               404: the provider does not know the model
│   ├── BadRequestError                  400/422: the provider refused the request's form
│   │   ├── ContextTooLongError          more tokens than the model's window
│   │   └── ContentFilteredError         the provider's filter refused the content
│   ├── RateLimitedError                 429: too many requests
│   ├── OverloadedError                  5xx: the provider is failing, try again or elsewhere
│   │   └── CircuitOpenError             it failed too often lately: nothing was sent
│   ├── ProviderTimeoutError             a deadline passed
│   ├── ProviderConnectionError          no connection, or it broke
│   ├── OvertakenError                   another answer came first, and the call was cancelled
│   └── MalformedResponseError           the bytes are not what the protocol says
└── AllModelsFailedError                 every model in line failed; carries each attempt
```

`RateLimitError` is a limit of yours, `RateLimitedError` one of a provider's.
"Not now" (`RateLimitedError`, `OverloadedError`) and "never" (`BadRequestError`,
`AuthenticationError`) are different classes: `ProviderError.retryable` tells them apart.
No error's text or repr holds a key; messages quote at most the provider's own words, cut and
scrubbed.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from cascadeflow.types import Attempt

__all__ = [
    "AlertDeliveryError",
    "AllModelsFailedError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "CascadeFlowError",
    "CircuitOpenError",
    "ConfigurationError",
    "ContentFilteredError",
    "ContextTooLongError",
    "DownloadError",
    "InvalidRequestError",
    "MalformedResponseError",
    "MissingDependencyError",
    "MissingKeyError",
    "ModelNotFoundError",
    "OverloadedError",
    "OvertakenError",
    "PermissionDeniedError",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderTimeoutError",
    "RateLimitError",
    "RateLimitedError",
    "RequestsForbiddenError",
    "StoreError",
    "TierForbiddenError",
    "ToolAbort",
    "UnboundedCostError",
    "UnknownModelError",
    "UnknownPriceError",
    "UnknownUsageError",
    "WebhookSignatureError",
]


class CascadeFlowError(Exception):
    """The root: `except CascadeFlowError` catches everything this package raises on purpose.

    Copied or sent to another process, an error keeps its class, its text and its fields.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[CascadeFlowError], args: tuple[Any, ...], fields: Any) -> CascadeFlowError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigurationError(CascadeFlowError, ValueError):
    """What was set up cannot work, whatever the request."""


class UnknownModelError(ConfigurationError):
    """A model that neither the catalogue nor the agent's configuration knows."""


class UnknownPriceError(ConfigurationError):
    """A model's price is not known; an unknown price is never taken for zero."""


class MissingKeyError(ConfigurationError):
    """No API key was given for a provider, nor found in its environment variable."""


class InvalidRequestError(CascadeFlowError, ValueError):
    """A request's arguments cannot be sent as they are."""


class UnboundedCostError(InvalidRequestError):
    """Nothing bounds what the request may cost, and a budget only lets through what is bounded.

    `max_extra_cost=` states what may be billed beyond the tokens that can be counted.
    """


class UnknownUsageError(CascadeFlowError, ValueError):
    """The provider did not say what a call used: its cost cannot be known, and is not zero."""


class MissingDependencyError(CascadeFlowError, ImportError):
    """A feature needs a package that is not installed; the message names the extra."""


class BudgetExceededError(CascadeFlowError):
    """A request's worst case does not fit a budget; nothing was sent and nothing was spent.

    Amounts are US dollars.

    Attributes:
        account: which budget: scope, name and period, such as `"user:u1 day"`.
        scope: `global`, `tier`, `user`, `team`, `key`, `tag` or `model`.
        name: which user, team …; empty for `global`.
        period: `day`, `week`, `month`, `rolling` or `total`.
        limit: the budget.
        spent: what is settled in the period.
        held: what requests under way may still cost.
        requested: what this request may cost at worst.
        resets_at: when the period ends (UTC), or `None` where it never does.
        permanent: `True` when the request is larger than the whole limit: waiting does not help, a
            smaller `max_tokens`, a cheaper model or a larger budget does.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: str,
        name: str,
        period: str,
        limit: Decimal,
        spent: Decimal,
        held: Decimal,
        requested: Decimal,
        resets_at: datetime | None,
        permanent: bool,
    ) -> None:
        super().__init__(message)
        self.scope = scope
        self.name = name
        self.period = period
        self.limit = limit
        self.spent = spent
        self.held = held
        self.requested = requested
        self.resets_at = resets_at
        self.permanent = permanent

    @property
    def account(self) -> str:
        """Which budget: scope, name and period."""
        return (
            f"{self.scope}:{self.name} {self.period}"
            if self.name
            else f"{self.scope} {self.period}"
        )


class RateLimitError(CascadeFlowError):
    """A request does not fit a rate limit of its user, tier or agent; nothing was sent.

    Answer HTTP 429 and send `headers`. (A provider's own 429 is a `RateLimitedError`.)

    Attributes:
        account: whose limit: `"user:u1"`, `"tier:free"` or `"global"`.
        limit: which: `per_second`, `per_minute`, `per_hour`, `per_day`, `tokens_per_minute`,
            `concurrent`, or `queue` where there was no place left to wait.
        allowed: how many the limit allows.
        requested: how many this request is: 1, or its tokens.
        retry_after: seconds after which it would pass, if nobody else came meanwhile: exact for
            requests, an upper bound for tokens; `None` where another request must end first.
        permanent: `True` when the request is larger than the whole limit: waiting does not help.
        tier: the user's tier.
        waited_ms: how long it had waited for its turn.
        headers: `Retry-After` and the `X-RateLimit-*` values, for the response.
    """

    def __init__(
        self,
        message: str,
        *,
        account: str,
        limit: str,
        allowed: int,
        requested: int = 1,
        retry_after: float | None = None,
        permanent: bool = False,
        tier: str | None = None,
        waited_ms: float = 0.0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.account = account
        self.limit = limit
        self.allowed = allowed
        self.requested = requested
        self.retry_after = retry_after
        self.permanent = permanent
        self.tier = tier
        self.waited_ms = waited_ms
        self.headers = dict(headers)


class TierForbiddenError(CascadeFlowError):
    """A user's tier does not include what a request asks for; nothing was sent. HTTP 403.

    Attributes:
        tier: the tier.
        what: what it does not include: `model`, `feature`, `domain` or `max_tokens`.
        value: which one was asked for.
    """

    def __init__(self, message: str, *, tier: str, what: str, value: str) -> None:
        super().__init__(message)
        self.tier = tier
        self.what = what
        self.value = value


class ToolAbort(CascadeFlowError):  # noqa: N818 - a wish, as `asyncio.CancelledError` is
    """Raised by a tool to end the whole run; any other error is told to the model instead."""


class RequestsForbiddenError(CascadeFlowError):
    """A real request was attempted while `cascadeflow.testing` forbids them."""


class StoreError(CascadeFlowError):
    """A file or store could not be read or written; nothing acknowledged was lost."""


class DownloadError(CascadeFlowError):
    """A model's file did not come whole, or is not what it should be; what came well is kept."""


class AlertDeliveryError(CascadeFlowError):
    """An alert channel did not take an alert; a channel of your own may raise it too.

    Attributes:
        retryable: whether the same alert may be taken later.
        retry_after: seconds the other side asks to wait, or `None`.
    """

    def __init__(
        self, message: str, *, retryable: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after


class WebhookSignatureError(CascadeFlowError, ValueError):
    """A webhook was not signed with your secret, or too long ago: do not believe its body."""


class ProviderError(CascadeFlowError):
    """A provider's answer was an error, or no answer.

    Attributes:
        provider: the provider's id, such as `"openai"`.
        model: the model as it was named on the wire.
        status: the HTTP status, or `None` when there was no response.
        request_id: the provider's id of the request, when it gave one.
        code: the provider's own error code or type, when it gave one.
        retry_after: seconds the provider asks to wait, or `None`.
        billed: `False` when the provider surely charged nothing, `None` when that cannot be known
            (a deadline that passed after the request was sent).
        retryable: whether the same request to the same model may succeed later.
        attempts: every try that was made, an `Attempt` each, the last one being the
            one whose error this is.
        details: the provider's error object in its own words, keys blanked; no part of the message.
        partial: the `Completion` so far, when a stream failed half-way, its usage if known.
    """

    retryable: bool = False
    attempts: tuple[Attempt, ...] = ()
    details: Mapping[str, Any] = MappingProxyType({})
    partial: Any = None

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str,
        status: int | None = None,
        request_id: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        billed: bool | None = False,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status = status
        self.request_id = request_id
        self.code = code
        self.retry_after = retry_after
        self.billed = billed
        if retryable is not None:
            self.retryable = retryable


class AuthenticationError(ProviderError):
    """The key is missing, wrong or revoked (401)."""


class PermissionDeniedError(ProviderError):
    """The key is right but may not use this model or region, or the account is out of credit."""


class ModelNotFoundError(ProviderError):
    """The provider does not know the model (404)."""


class BadRequestError(ProviderError):
    """The provider refused the form of the request (400, 413, 422)."""


class ContextTooLongError(BadRequestError):
    """The messages hold more tokens than the model's context window."""


class ContentFilteredError(BadRequestError):
    """The provider's content filter refused the request."""


class RateLimitedError(ProviderError):
    """Too many requests or tokens (429); `retry_after` says when to come again, if known."""

    retryable = True


class OverloadedError(ProviderError):
    """The provider is failing (5xx, 529)."""

    retryable = True


class CircuitOpenError(OverloadedError):
    """A model failed too often lately, so nothing was sent to it: ask another one, or wait.

    `retry_after` says when it is asked again, `None` while somebody else's request tries it out.
    """

    retryable = False


class ProviderTimeoutError(ProviderError):
    """A deadline passed: connecting, waiting for the first byte, between chunks, or in total."""

    retryable = True


class ProviderConnectionError(ProviderError):
    """The connection could not be made, or broke."""

    retryable = True


class OvertakenError(ProviderError):
    """Another answer came first, and the call was cancelled: one of two hedged drafts."""


class MalformedResponseError(ProviderError):
    """A response that the protocol does not allow."""


class AllModelsFailedError(CascadeFlowError):
    """Every model in line failed.

    Attributes:
        errors: the provider errors, in the order the models were tried.
    """

    def __init__(self, message: str, errors: Sequence[ProviderError]) -> None:
        super().__init__(message)
        self.errors = tuple(errors)
