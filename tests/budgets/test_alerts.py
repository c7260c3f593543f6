"""What an alert says, where it can go, and what is refused as a channel."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from alert_samples import make_alert
from hypothesis import given
from hypothesis import strategies as st

from cascadeflow.budgets.alerts import (
    Alert,
    AlertDispatcher,
    LogAlert,
    SlackAlert,
    WebhookAlert,
    coerce_channels,
)
from cascadeflow.budgets.records import Scope
from cascadeflow.errors import ConfigurationError

# The record


def test_the_sentence_says_whose_budget_it_is_and_how_much_of_it_is_used() -> None:
    assert make_alert().text == "The daily budget of user:u1 is 81 % used ($0.812346 of $1.00)."


def test_the_global_budget_needs_no_name() -> None:
    assert make_alert(scope=Scope("global")).text.startswith("The global daily budget is 81 % used")


def test_money_that_is_held_is_named() -> None:
    assert (
        "$0.90 of $1.00, $0.10 of it held" in make_alert(spent=800_000_000, held=100_000_000).text
    )


@pytest.mark.parametrize(
    ("state", "mode", "words"),
    [
        ("degraded", "degrade", "answers are made more cheaply until 2026-03-02 00:00 UTC."),
        ("degraded", "block", "is 81 % used ($0.812346 of $1.00)."),
        ("exhausted", "warn", "requests still run."),
        ("exhausted", "block", "further requests are refused until 2026-03-02 00:00 UTC."),
        ("exhausted", "degrade", "only what costs nothing is answered until"),
        ("refused", "block", "A request was refused by the daily budget of user:u1"),
        ("over_limit", "warn", "ran all the same."),
        ("ok", "block", "is under its thresholds again"),
    ],
)
def test_each_state_says_what_it_means_in_its_mode(state: Any, mode: Any, words: str) -> None:
    assert words in make_alert(state=state, mode=mode).text


def test_a_share_is_never_shown_higher_than_it_is() -> None:
    assert "79 % used" in make_alert(spent=799_999_999).text


def test_a_limit_of_zero_is_used_up() -> None:
    assert "$0.00 of $0.00" in make_alert(limit=0, spent=0, state="exhausted").text
    assert "100 % used" in make_alert(limit=0, spent=0, state="warned").text


def test_the_dictionary_holds_exact_money_as_text_and_iso_times() -> None:
    made = make_alert(held=1)
    parts = json.loads(json.dumps(made.to_dict()))
    assert parts == made.to_dict()
    assert (parts["spent"], parts["held"]) == ("0.812345678", "0.000000001")
    assert Decimal(parts["limit"]) - Decimal(parts["spent"]) - Decimal(parts["held"]) == Decimal(
        parts["remaining"]
    )
    assert datetime.fromisoformat(parts["at"]) == made.at
    assert datetime.fromisoformat(parts["resets_at"]) == made.standing.resets_at
    assert (parts["scope"], parts["name"], parts["period"]) == ("user", "u1", "day")
    assert (parts["id"], parts["text"]) == (made.id, made.text)


def test_without_a_limit_there_is_nothing_left_to_name() -> None:
    parts = make_alert(limit=None).to_dict()
    assert (parts["limit"], parts["remaining"]) == (None, None)


def test_every_alert_has_an_id_of_its_own() -> None:
    assert make_alert().id != make_alert().id


@given(st.text(max_size=200), st.sampled_from(["warned", "exhausted", "refused", "over_limit"]))
def test_no_name_breaks_the_line_or_makes_it_endless(name: str, state: Any) -> None:
    made = make_alert(scope=Scope("user", name), state=state)
    for text in (made.text, made.account):
        assert len(text.splitlines()) == 1
        assert text.isprintable()
        assert len(text) < 1200


# Channels


def test_channels_stay_and_functions_become_channels() -> None:
    async def page_someone(alert: Alert) -> None: ...

    log = LogAlert()
    made = coerce_channels([log, page_someone, lambda _: None, partial(print, "budget:")])
    assert made[0] is log
    assert [channel.name for channel in made] == ["log", "page_someone", "<lambda>", "partial"]


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ("https://hooks.slack.com/services/T/B/very-secret", "is a list"),
        (LogAlert(), "is a list"),
        (["https://hooks.slack.com/services/T/B/very-secret"], "not text"),
        ([LogAlert], r"write LogAlert\(…\)"),
        ([42], "not int"),
        ([lambda: None], "one argument"),
        ([type("Nameless", (), {"deliver": print})()], "`name`"),
    ],
)
def test_what_is_no_channel_is_refused_without_showing_a_secret(channels: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        coerce_channels(channels)
    assert "very-secret" not in str(caught.value)


def test_a_log_gets_the_sentence_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    made = make_alert()
    with caplog.at_level(logging.INFO):
        LogAlert().deliver(made)
        LogAlert(logging.getLogger("mine"), logging.INFO).deliver(made)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("cascadeflow.alerts", "WARNING", made.text),
        ("mine", "INFO", made.text),
    ]
    assert vars(caplog.records[0])["alert"] is made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WebhookAlert("hooks/very-secret"), "https://"),
        (lambda: WebhookAlert("ftp://very-secret/"), "https://"),
        (lambda: WebhookAlert("https://"), "a host"),
        (lambda: WebhookAlert("https://[very-secret/"), "a host"),
        (lambda: WebhookAlert("https://a:very-secret/"), "a host"),
        (lambda: WebhookAlert("https://a/very-secret\nx"), "a host"),
        (lambda: SlackAlert(None), "https://"),  # type: ignore[arg-type]
        (lambda: WebhookAlert("https://a", timeout=0), "timeout"),
        (lambda: WebhookAlert("https://a", timeout=float("nan")), "timeout"),
        (lambda: SlackAlert("https://a", attempts=0), "attempts"),
        (lambda: WebhookAlert("https://a", secret=""), "empty"),
        (lambda: WebhookAlert("https://a", secret="whsec_very-secret"), "base64"),
        (lambda: WebhookAlert("https://a", headers={"Webhook-Id": "very-secret"}), "itself"),
        (lambda: WebhookAlert("https://a", headers={"x": "very-secret\n"}), "no header"),
        (lambda: AlertDispatcher([], capacity=0), "capacity"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_set_up(make: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        make()
    assert "very-secret" not in str(caught.value)


def test_a_representation_holds_no_secret() -> None:
    channels = [
        SlackAlert("https://hooks.slack.com/services/T/B/very-secret"),
        WebhookAlert(
            "https://very-secret.example/very-secret",
            secret="very-secret",
            headers={"authorization": "very-secret"},
        ),
    ]
    dispatcher = AlertDispatcher(channels)
    assert "very-secret" not in f"{channels} {channels!s} {dispatcher!r} {vars(dispatcher)}"


def test_importing_alerts_loads_neither_http_nor_an_event_loop() -> None:
    code = (
        "import cascadeflow.clock, sys; before = set(sys.modules);"
        "import cascadeflow.budgets.alerts;"
        "print(sorted({'asyncio', 'httpx2', 'ssl', 'ctypes'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
