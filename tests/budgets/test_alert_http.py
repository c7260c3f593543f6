"""Webhooks and Slack, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import LONG, START, Asleep, Waits, make_alert

from cascadeflow.budgets.alerts import (
    Alert,
    AlertDispatcher,
    SlackAlert,
    WebhookAlert,
    verify_webhook,
)
from cascadeflow.errors import (
    AlertDeliveryError,
    ConfigurationError,
    RequestsForbiddenError,
    WebhookSignatureError,
)
from cascadeflow.testing import ManualClock, forbid_real_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Lowest(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        assert b > a
        return a


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoint:
    """A real server; each answer is a status, headers and a body, then 200 for ever."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    hold: threading.Event | None = None
    arrived: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.received.append(Received(self.path, headers, body))
            made.arrived.set()
            if made.hold is not None:
                made.hold.wait(LONG)
            status, extra, answer = made.answers.pop(0) if made.answers else (200, {}, b"ok")
            self.send_response(status)
            for name, value in {**extra, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True  # the client gave up, which some tests want

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}/hooks/very-secret?key=very-secret"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    if made.hold is not None:
        made.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens, kept from others."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def deliver(channel: WebhookAlert | SlackAlert, one: Alert | None = None) -> None:
    asyncio.run(channel.deliver(one or make_alert()))


# The webhook's form


def test_a_webhook_posts_the_alert_as_json_with_its_headers(endpoint: Endpoint) -> None:
    one = make_alert()
    deliver(WebhookAlert(endpoint.url, headers={"X-Team": "payments"}), one)
    (got,) = endpoint.received
    assert got.path == "/hooks/very-secret?key=very-secret"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-team"] == "payments"
    assert got.headers["user-agent"].startswith("cascadeflow/")
    assert got.headers["webhook-id"] == one.id
    assert "webhook-signature" not in got.headers
    assert json.loads(got.body) == {
        "type": "budget.warned",
        "timestamp": START.isoformat(),
        "data": one.to_dict(),
    }


def test_the_signature_is_that_of_the_specification(endpoint: Endpoint) -> None:
    one = make_alert()
    deliver(WebhookAlert(endpoint.url, secret=SECRET, clock=ManualClock(START)), one)
    (got,) = endpoint.received
    stamp = str(int(START.timestamp()))
    content = f"{one.id}.{stamp}.".encode() + got.body
    mac = hmac.new(bytes(range(32)), content, hashlib.sha256).digest()
    assert got.headers["webhook-timestamp"] == stamp
    assert got.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()


def test_the_specification_s_own_example_is_believed() -> None:
    # From the tests of the Standard Webhooks reference libraries.
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    clock = ManualClock(datetime.fromtimestamp(1614265330, UTC))
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert verify_webhook('{"test": 2432232314}', headers, secret, clock=clock) == {
        "test": 2432232314
    }


@pytest.mark.parametrize("secret", [SECRET, "any words", b"\x00any bytes"])
def test_a_receiver_believes_what_was_signed_with_its_secret(
    endpoint: Endpoint, secret: str | bytes
) -> None:
    one = make_alert("ünïcode")
    deliver(WebhookAlert(endpoint.url, secret=secret), one)
    (got,) = endpoint.received
    shouted = {name.upper(): value for name, value in got.headers.items()}
    assert verify_webhook(got.body, shouted, secret)["data"] == one.to_dict()
    assert verify_webhook(got.body.decode(), shouted, secret)["data"]["name"] == "ünïcode"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body": b'{"type": "budget.ok"}'}, "does not fit"),
        ({"webhook-id": "alert_other"}, "does not fit"),
        ({"webhook-timestamp": "1772366401"}, "does not fit"),
        ({"webhook-timestamp": "now"}, "does not fit"),
        ({"webhook-signature": "v1,"}, "does not fit"),
        ({"webhook-signature": "v1,ünïcode"}, "does not fit"),
        ({"webhook-signature": ""}, "does not fit"),
        ({"v1": "v2"}, "does not fit"),
        ({"secret": "another"}, "does not fit"),
        ({"webhook-signature": None}, "not signed"),
        ({"webhook-id": None}, "not signed"),
        ({"late": 301.0}, "300 seconds"),
        ({"late": -301.0}, "300 seconds"),
    ],
)
def test_a_receiver_believes_nothing_else(
    endpoint: Endpoint, change: dict[str, Any], words: str
) -> None:
    deliver(WebhookAlert(endpoint.url, secret=SECRET, clock=ManualClock(START)))
    (got,) = endpoint.received
    headers: dict[str, Any] = {**got.headers, **change}
    if "v1" in change:
        headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v2,")
    with pytest.raises(WebhookSignatureError, match=words) as caught:
        verify_webhook(
            change.get("body", got.body),
            {name: value for name, value in headers.items() if isinstance(value, str)},
            change.get("secret", SECRET),
            clock=ManualClock(START + timedelta(seconds=change.get("late", 0.0))),
        )
    assert SECRET not in str(caught.value)


def test_a_receiver_may_be_given_several_signatures_and_a_little_time(endpoint: Endpoint) -> None:
    deliver(WebhookAlert(endpoint.url, secret=SECRET, clock=ManualClock(START)))
    (got,) = endpoint.received
    headers = {**got.headers, "webhook-signature": f"v1,x v1a,y {got.headers['webhook-signature']}"}
    for late in (-300, 300):
        clock = ManualClock(START + timedelta(seconds=late))
        assert verify_webhook(got.body, headers, SECRET, clock=clock)["type"] == "budget.warned"
    week = ManualClock(START + timedelta(days=7))
    assert verify_webhook(got.body, headers, SECRET, 8 * 86_400, clock=week)


def test_an_empty_secret_is_no_secret(endpoint: Endpoint) -> None:
    deliver(WebhookAlert(endpoint.url, secret=SECRET))
    (got,) = endpoint.received
    with pytest.raises(ConfigurationError):
        verify_webhook(got.body, got.headers, "")


# Slack


def test_slack_gets_a_text_and_blocks(endpoint: Endpoint) -> None:
    one = make_alert()
    deliver(SlackAlert(endpoint.url), one)
    (got,) = endpoint.received
    message = json.loads(got.body)
    assert message["text"] == one.text
    section, context = message["blocks"]
    assert section == {"type": "section", "text": {"type": "mrkdwn", "text": one.text}}
    assert "warned · mode block · 2026-03-01 12:00:00 UTC" in context["elements"][0]["text"]


def test_a_user_s_name_cannot_call_the_whole_channel(endpoint: Endpoint) -> None:
    deliver(SlackAlert(endpoint.url), make_alert("<!channel> <https://evil.example|bill> &amp;"))
    text = json.dumps(json.loads(endpoint.received[0].body))
    assert "<" not in text
    assert "&lt;!channel&gt;" in text
    assert "&amp;amp;" in text


def test_slack_s_own_word_for_what_is_wrong_is_shown(endpoint: Endpoint) -> None:
    endpoint.answers = [(404, {}, b"no_service")]
    with pytest.raises(AlertDeliveryError, match=r"answered 404 \(no_service\)"):
        deliver(SlackAlert(endpoint.url))


# Failures


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (301, 400, 401, 404, 410)),
        *((status, True) for status in (408, 425, 429, 500, 502, 503)),
    ],
)
def test_a_status_says_whether_to_come_again(
    endpoint: Endpoint, status: int, retryable: bool
) -> None:
    endpoint.answers = [(status, {"location": endpoint.url}, b"very-secret")]
    with pytest.raises(AlertDeliveryError, match=f"answered {status}$") as caught:
        deliver(WebhookAlert(endpoint.url, secret=SECRET))
    assert caught.value.retryable is retryable
    assert len(endpoint.received) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("-3", 0.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(
    endpoint: Endpoint, value: str, seconds: float | None
) -> None:
    endpoint.answers = [(429, {"retry-after": value}, b"")]
    with pytest.raises(AlertDeliveryError) as caught:
        deliver(WebhookAlert(endpoint.url, clock=ManualClock(START)))
    assert caught.value.retry_after == seconds


def test_a_server_that_never_answers_is_left(endpoint: Endpoint) -> None:
    endpoint.hold = threading.Event()
    with pytest.raises(AlertDeliveryError, match=r"no answer within 0\.05 s") as caught:
        deliver(WebhookAlert(endpoint.url, timeout=0.05))
    assert caught.value.retryable


def test_no_server_is_an_error_that_may_be_repeated(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}/very-secret"
    with pytest.raises(AlertDeliveryError, match="no connection") as caught:
        deliver(SlackAlert(url))
    assert caught.value.retryable
    assert "very-secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_is_no_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"\x16\x03\x01 very-secret\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(AlertDeliveryError, match="no connection, or it broke") as caught:
            deliver(WebhookAlert(f"http://127.0.0.1:{server.getsockname()[1]}"))
        thread.join()
    assert "very-secret" not in str(caught.value)


def test_an_endless_answer_is_not_read_to_its_end(endpoint: Endpoint) -> None:
    endpoint.answers = [(500, {}, b"a" * 5_000_000)]
    with pytest.raises(AlertDeliveryError, match=r"answered 500$"):
        deliver(WebhookAlert(endpoint.url))


@pytest.mark.parametrize("make", [WebhookAlert, SlackAlert])
def test_a_forbidden_request_opens_no_socket(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: opened.append(address))
    channel = make("https://hooks.slack.com/services/very-secret")
    with forbid_real_requests():
        with pytest.raises(RequestsForbiddenError):
            deliver(channel)
        dispatcher = AlertDispatcher([channel])
        dispatcher.send(make_alert())
        assert dispatcher.close(LONG)
    assert list(dispatcher.failed.values()) == [1]
    assert opened == []
    assert "in 1 try" in caplog.text
    assert "very-secret" not in caplog.text


# Through the dispatcher


def test_a_webhook_is_repeated_with_one_id_and_fresh_signatures(endpoint: Endpoint) -> None:
    endpoint.answers = [(500, {}, b""), (429, {"retry-after": "30"}, b""), (503, {}, b"")]
    clock = Waits()
    dispatcher = AlertDispatcher(
        [WebhookAlert(endpoint.url, secret=SECRET, clock=clock)], clock=clock, random=Lowest()
    )
    one = make_alert()
    dispatcher.send(one)
    assert dispatcher.flush(LONG)
    assert dispatcher.close(LONG)
    assert dispatcher.delivered == {"webhook": 1}
    assert clock.asked == [0, 30, 0]
    assert [got.headers["webhook-id"] for got in endpoint.received] == [one.id] * 4
    assert len({got.body for got in endpoint.received}) == 1
    stamps = [
        int(got.headers["webhook-timestamp"]) - int(START.timestamp()) for got in endpoint.received
    ]
    assert stamps == [0, 0, 30, 30]
    for got in endpoint.received:
        verify_webhook(got.body, got.headers, SECRET, clock=clock)


def test_five_tries_are_all_that_a_failing_server_gets(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.answers = [(500, {}, b"very-secret")] * 10
    dispatcher = AlertDispatcher([WebhookAlert(endpoint.url, secret="very-secret")], clock=Waits())
    with caplog.at_level(logging.DEBUG, logger="cascadeflow"):
        dispatcher.send(make_alert())
        assert dispatcher.flush(LONG)
    dispatcher.close()
    assert len(endpoint.received) == 5
    assert dispatcher.failed == {"webhook": 1}
    assert "in 5 tries: answered 500" in caplog.text
    assert "very-secret" not in caplog.text


def test_a_refused_alert_is_not_repeated(endpoint: Endpoint) -> None:
    endpoint.answers = [(410, {}, b"")]
    dispatcher = AlertDispatcher([WebhookAlert(endpoint.url)], clock=Waits())
    dispatcher.send(make_alert())
    dispatcher.send(make_alert())
    assert dispatcher.close(LONG)
    assert len(endpoint.received) == 2
    assert (dispatcher.failed, dispatcher.delivered) == ({"webhook": 1}, {"webhook": 1})


def test_a_slow_server_delays_no_other_channel(endpoint: Endpoint) -> None:
    endpoint.hold = threading.Event()
    arrived = threading.Event()
    taken: list[Alert] = []

    def take(one: Alert) -> None:
        taken.append(one)
        if len(taken) == 10:
            arrived.set()

    dispatcher = AlertDispatcher([SlackAlert(endpoint.url, timeout=LONG), take])
    for _ in range(10):
        dispatcher.send(make_alert())
    assert endpoint.arrived.wait(LONG)
    assert arrived.wait(LONG)
    assert dispatcher.delivered["slack"] == 0
    endpoint.hold.set()
    assert dispatcher.close(LONG)
    assert dispatcher.delivered == {"slack": 10, "take": 10}


def test_ten_thousand_alerts_at_a_dead_endpoint_stay_bounded(closed_port: int) -> None:
    clock = Asleep()

    channel = WebhookAlert(f"http://127.0.0.1:{closed_port}/")
    dispatcher = AlertDispatcher([channel], clock=clock, capacity=100)
    dispatcher.send(make_alert())
    assert clock.reached.wait(LONG)
    for _ in range(10_000):
        dispatcher.send(make_alert())
    assert dispatcher.dropped == {"webhook": 9_900}
    assert len(dispatcher._delivery.lanes[0].queue) == 100
    dispatcher.close(0.0)
