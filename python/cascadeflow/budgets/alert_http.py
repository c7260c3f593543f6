"""Takes alerts to a webhook, signed, or to Slack.

The signature follows the Standard Webhooks specification 1.0
(https://github.com/standard-webhooks/standard-webhooks): HMAC-SHA256 over `id.timestamp.body`, in
base64, in the header `webhook-signature` as `v1,…`. A receiver checks it with `verify_webhook`, or
with that project's library for its own language.
"""

from __future__ import annotations

import json
import math
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.clock import SystemClock
from cascadeflow.errors import AlertDeliveryError, ConfigurationError, WebhookSignatureError
from cascadeflow.guard import check_request, host_of, is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from datetime import datetime

    from cascadeflow.budgets.alerts import Alert
    from cascadeflow.clock import Clock

__all__ = ["SlackAlert", "WebhookAlert", "verify_webhook"]

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the specification's mark of a secret

_OWN_HEADERS: Final = frozenset({"content-type", "content-length", "host", "transfer-encoding"})

_WORTH_REPEATING: Final = frozenset({408, 425, 429})

_LONGEST_ANSWER: Final = 200
"""Bytes of a response that are read: its status says nearly all."""


class WebhookAlert:
    """Posts alerts as JSON: `{"type": "budget.warned", "timestamp": …, "data": alert.to_dict()}`.

    Args:
        url: where to; `https://`, or `http://` inside your own network. It is taken for a secret.
        secret: what the body is signed with: `whsec_` and base64 as in Standard Webhooks, or any
            other text or bytes, used as they are; without one, it is not signed.
        headers: further headers, such as `{"authorization": "Bearer …"}`; taken for secrets.
        timeout: seconds for one try, from looking the host up to its answer.
        attempts: tries in all, the first included.
        name: what logs and counters call it.
        clock: what is asked for the time of the signature.

    Raises:
        ConfigurationError: an argument cannot work.

    >>> WebhookAlert("https://example.org/hooks/very-secret", secret="also secret")
    WebhookAlert('webhook', signed=True)
    """

    __slots__ = ("_attempts", "_clock", "_headers", "_key", "_name", "_timeout", "_url")

    def __init__(
        self,
        url: str,
        *,
        secret: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        attempts: int = 5,
        name: str = "webhook",
        clock: Clock | None = None,
    ) -> None:
        _check(url, timeout, attempts, what="WebhookAlert")
        self._url = url
        self._key = None if secret is None else _key_of(secret)
        self._headers = dict(headers or {})
        for header, value in self._headers.items():
            if header.lower() in _OWN_HEADERS or header.lower().startswith("webhook-"):
                raise ConfigurationError(f"WebhookAlert sets the header {header!r} itself")
            if not (_sendable(header) and _sendable(value)):
                raise ConfigurationError(
                    "WebhookAlert.headers has a name or a value that no header can carry"
                )
        self._timeout = timeout
        self._attempts = attempts
        self._name = name
        self._clock: Clock = clock or SystemClock()

    @property
    def name(self) -> str:
        """What logs and counters call it."""
        return self._name

    @property
    def attempts(self) -> int:
        """Tries in all, the first included."""
        return self._attempts

    async def deliver(self, alert: Alert) -> None:
        """Posts the alert once.

        Raises:
            AlertDeliveryError: it was not taken.
            RequestsForbiddenError: real requests are forbidden, and this is not to this machine.
        """
        body = json.dumps(
            {
                "type": f"budget.{alert.state}",
                "timestamp": alert.at.isoformat(),
                "data": alert.to_dict(),
            }
        ).encode()
        now = self._clock.now()
        stamp = str(int(now.timestamp()))
        headers = {
            **self._headers,
            "webhook-id": alert.id,
            "webhook-timestamp": stamp,
        }
        if self._key is not None:
            headers["webhook-signature"] = f"v1,{_signature(self._key, alert.id, stamp, body)}"
        await _post(self._url, body, headers, timeout=self._timeout, now=now)

    def __repr__(self) -> str:
        return f"WebhookAlert({self._name!r}, signed={self._key is not None})"


class SlackAlert:
    """Posts alerts as messages through a Slack incoming webhook.

    Args:
        url: the webhook's address, as Slack gave it; it is a secret.
        timeout: seconds for one try.
        attempts: tries in all, the first included.
        name: what logs and counters call it.
        clock: what is asked for the time.

    Raises:
        ConfigurationError: an argument cannot work.

    >>> SlackAlert("https://hooks.slack.com/services/T0/B0/secret")
    SlackAlert('slack')
    """

    __slots__ = ("_attempts", "_clock", "_name", "_timeout", "_url")

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        attempts: int = 5,
        name: str = "slack",
        clock: Clock | None = None,
    ) -> None:
        _check(url, timeout, attempts, what="SlackAlert")
        self._url = url
        self._timeout = timeout
        self._attempts = attempts
        self._name = name
        self._clock: Clock = clock or SystemClock()

    @property
    def name(self) -> str:
        """What logs and counters call it."""
        return self._name

    @property
    def attempts(self) -> int:
        """Tries in all, the first included."""
        return self._attempts

    async def deliver(self, alert: Alert) -> None:
        """Posts the message once.

        Raises:
            AlertDeliveryError: it was not taken.
            RequestsForbiddenError: real requests are forbidden, and this is not to this machine.
        """
        await _post(
            self._url,
            json.dumps(_slack_message(alert)).encode(),
            {},
            timeout=self._timeout,
            now=self._clock.now(),
        )

    def __repr__(self) -> str:
        return f"SlackAlert({self._name!r})"


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secret: str | bytes,
    tolerance: float = 300.0,
    *,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Checks that a webhook comes from someone who knows the secret, and gives what it says.

    The same alert may come more than once: drop one whose header `webhook-id` you have seen.

    Args:
        body: exactly as it was received.
        headers: the request's; their names in any case.
        secret: the one that was given to `WebhookAlert`.
        tolerance: seconds by which its timestamp may differ from now, so that an old one cannot be
            sent again.
        clock: what is asked for the time.

    Raises:
        WebhookSignatureError: a header is missing, the signature is wrong, or the timestamp is off.
    """
    import hmac  # noqa: PLC0415 - a receiver's, or a delivery thread's

    given = {name.lower(): value for name, value in headers.items()}
    try:
        identity, stamp = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split()
    except KeyError as missing:
        raise WebhookSignatureError(
            f"the webhook has no header {missing}: it is not signed"
        ) from None
    data = body.encode() if isinstance(body, str) else body
    expected = _signature(_key_of(secret), identity, stamp, data).encode()
    if not any(
        version == "v1" and hmac.compare_digest(signature.encode(), expected)
        for version, _, signature in (part.partition(",") for part in signatures)
    ):
        raise WebhookSignatureError(
            "the webhook's signature does not fit its body: it was changed, or signed with another "
            "secret"
        )
    # Only what is signed is read on.
    now = (clock or SystemClock()).now().timestamp()
    if not stamp.isascii() or not stamp.isdigit() or abs(now - int(stamp)) > tolerance:
        raise WebhookSignatureError(
            f"the webhook was signed more than {tolerance:g} seconds from now"
        )
    content: dict[str, Any] = json.loads(data)
    return content


def _key_of(secret: str | bytes) -> bytes:
    if isinstance(secret, str):
        if secret.startswith(_SECRET_PREFIX):
            import base64  # noqa: PLC0415 - with the first signed webhook
            import binascii  # noqa: PLC0415

            try:
                secret = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
            except (binascii.Error, ValueError):
                raise ConfigurationError(
                    f"a webhook secret that begins with {_SECRET_PREFIX} goes on in base64"
                ) from None
        else:
            secret = secret.encode()
    if not secret:
        raise ConfigurationError("a webhook secret cannot be empty")
    return secret


def _signature(key: bytes, identity: str, stamp: str, body: bytes) -> str:
    import base64  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    signed = b".".join((identity.encode(), stamp.encode(), body))
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")


def _slack_message(alert: Alert) -> dict[str, Any]:
    """A message with a text for notifications and blocks for the channel.

    A name must not be able to call the whole channel (`<!channel>`) or to show a link.
    """
    text = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    small = f"{alert.state} · mode {alert.mode} · {alert.at.strftime('%Y-%m-%d %H:%M:%S')} UTC"
    return {
        "text": text,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}},
            {"type": "context", "elements": [{"type": "plain_text", "text": small}]},
        ],
    }


async def _post(
    url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, now: datetime
) -> None:
    """Posts once. A client of its own for each: alerts are rare, loops and forks may come and go.

    No error's text holds the address, and none carries another that might.
    """
    import asyncio  # noqa: PLC0415 - only on the delivery thread

    import httpx2  # noqa: PLC0415 - 35 ms, with the first alert

    check_request(url)
    try:
        async with (
            asyncio.timeout(timeout),
            httpx2.AsyncClient(
                verify=_ssl_context() if url.startswith("https:") else False,
                timeout=None,
                trust_env=not is_loopback(host_of(url)),
                follow_redirects=False,
            ) as client,
            client.stream(
                "POST",
                url,
                content=body,
                headers={
                    "user-agent": f"cascadeflow/{sys.modules['cascadeflow'].__version__}",
                    **headers,
                    "content-type": "application/json",
                },
            ) as response,
        ):
            status = response.status_code
            if response.is_success:
                return
            words = await _short_words(response)
            asked = _retry_after(response.headers.get("retry-after"), now)
    except TimeoutError:
        raise AlertDeliveryError(f"no answer within {timeout:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
        raise AlertDeliveryError(f"no connection, or it broke ({type(error).__name__})") from None
    raise AlertDeliveryError(
        f"answered {status}{words}",
        retryable=status in _WORTH_REPEATING or status >= 500,  # noqa: PLR2004 - HTTP's own
        retry_after=asked,
    )


@cache
def _ssl_context() -> ssl.SSLContext:
    """The usual certificates, read once: that takes some 40 ms and holds up every thread."""
    import httpx2  # noqa: PLC0415

    return httpx2.create_ssl_context(trust_env=True)


async def _short_words(response: Any) -> str:
    """What a server says in one word, as Slack does (`no_service`); more is not shown."""
    read = b""
    async for piece in response.aiter_raw():
        read += piece
        if len(read) > _LONGEST_ANSWER:
            return ""
    word = read.decode("ascii", "replace")
    return f" ({word})" if word.replace("_", "").isalpha() and word.islower() else ""


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from now, by `Retry-After` in either of its forms (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - the rare date form

        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):
            return None  # of neither form: as if it were not there
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _check(url: str, timeout: float, attempts: int, *, what: str) -> None:
    """Checks what every channel over HTTP is given; the address is not shown."""
    if not _is_address(str(url)):
        raise ConfigurationError(
            f"{what} needs an address that begins with https:// or http:// and a host"
        )
    if not 0 < timeout < float("inf"):
        raise ConfigurationError(f"{what}.timeout must be more than 0 seconds, not {timeout}")
    if attempts < 1:
        raise ConfigurationError(f"{what}.attempts must be at least 1, not {attempts}")


def _is_address(url: str) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 - with the first channel over HTTP

    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        return False
    return bool(host) and url.startswith(("https://", "http://")) and _sendable(url)


def _sendable(text: str) -> bool:
    """Whether a header can carry it."""
    return bool(text) and text.isascii() and text.isprintable()
