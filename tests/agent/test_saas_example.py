"""`examples/saas_tiers.py` as its users meet it: a process of its own, over HTTP."""

from __future__ import annotations

import hmac
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "saas_tiers.py"
SECRET = "shared by all workers"
QUESTION = {"question": "What is the capital of Norway?"}
CHEAP, DEAR, UNUSED = "gpt-6-luna", "claude-opus-5-5", "gpt-6-sol"


def token_for(user: str, secret: str = SECRET) -> str:
    """What a user gets when signing in: any service with the secret says the same."""
    return f"{user}.{hmac.new(secret.encode(), user.encode(), 'sha256').hexdigest()}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    json: Any


@dataclass(frozen=True)
class Service:
    """The service under way, and the provider that it asks."""

    port: int
    provider: SimulatedProvider

    def ask(self, token: str | None, body: Any = QUESTION) -> Answer:
        """Asks once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            connection.request("POST", "/ask", content, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names, json.loads(text) if is_json else text)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    models = [SimulatedModel(name, context_window=200) for name in (CHEAP, DEAR, UNUSED)]
    with SimulatedProvider(models).start_in_thread() as provider:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": provider.base_url,
            "ANTHROPIC_BASE_URL": provider.url,
            "OPENAI_API_KEY": "simulated",
            "ANTHROPIC_API_KEY": "simulated",
            "APP_SECRET": SECRET,
            "PORT": "0",
        }
        with subprocess.Popen(
            [sys.executable, str(EXAMPLE)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Service(_port(process), provider)
            finally:
                process.send_signal(signal.SIGINT)
                said, log = process.communicate()
        assert "Traceback" not in log, log
        assert "Application shutdown complete" in log, log
        assert f"ann, free: Authorization: Bearer {token_for('ann')}" in said
        assert f"bob, pro: Authorization: Bearer {token_for('bob')}" in said


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError("".join(log))


def test_who_is_not_signed_in_is_refused_and_nobody_is_asked(service: Service) -> None:
    before = service.provider.stats.requests
    ann = token_for("ann")
    forged = "bob." + ann.partition(".")[2]
    others = (
        token_for("bob", "another secret"),
        token_for("bob", ""),
        "Bearer " + ann,
        "\xe9.\xe9",
    )
    for token in (None, "", "ann", "ann.", ".", ann[:-1], ann + "0", forged, *others):
        answer = service.ask(token)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), token
    assert service.provider.stats.requests == before


def test_a_free_user_s_eleventh_question_is_refused_and_told_when_to_come_again(
    service: Service,
) -> None:
    for asked in range(1, 11):
        answer = service.ask(token_for("ann"))
        assert (answer.status, answer.json["tier"]) == (200, "free")
        assert answer.json["answer"]
        assert answer.headers["x-ratelimit-limit"] == "10"
        assert answer.headers["x-ratelimit-remaining"] == str(10 - asked)
        assert 0 < int(answer.headers["x-ratelimit-reset"]) <= 3600
    before = service.provider.stats.requests
    refused = service.ask(token_for("ann"))
    assert (refused.status, refused.json) == (429, {"error": "Too Many Requests"})
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert service.provider.stats.requests == before


def test_a_pro_user_gets_more_while_a_free_one_has_nothing_left(service: Service) -> None:
    statuses = [service.ask(token_for("carl")).status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    answers = [service.ask(token_for("bob")) for _ in range(12)]
    assert {(answer.status, answer.json["tier"]) for answer in answers} == {(200, "pro")}


def test_what_else_a_free_user_writes_in_the_body_gets_nothing(service: Service) -> None:
    wishes: list[dict[str, Any]] = [
        {"user_tier": "enterprise"},
        {"tier": "pro", "user_tier": "pro", "user_id": "bob", "user": "bob"},
        {"model": f"openai:{UNUSED}", "force_direct": True},
        {"max_tokens": 100_000, "extra": {"model": UNUSED, "max_tokens": 100_000}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"quality_mode": "strict", "domain": "legal", "use_cache": False, "max_extra_cost": 9},
    ]
    for asked, wish in enumerate(wishes, start=1):
        answer = service.ask(token_for("dora"), {**QUESTION, **wish})
        assert (answer.status, answer.json["tier"]) == (200, "free")
        assert answer.headers["x-ratelimit-remaining"] == str(10 - asked)
    assert set(service.provider.stats.by_model) <= {CHEAP, DEAR}


def test_a_body_that_is_no_question_is_refused_and_counts_on_nothing(service: Service) -> None:
    for body in (b"", b"\xff", b"{", [], {}, {"question": 7}, {"question": ""}, {"question": None}):
        answer = service.ask(token_for("emil"), body)
        assert (answer.status, answer.json) == (400, {"error": "Bad Request"}), body
    assert service.ask(token_for("emil")).headers["x-ratelimit-remaining"] == "9"


def test_a_question_dearer_than_the_day_s_budget_is_a_402_and_takes_no_place(
    service: Service,
) -> None:
    before = service.provider.stats.requests
    for question in ("\N{SQUID}" * 20_000, "\N{OCTOPUS}" * 19_999):
        answer = service.ask(token_for("fay"), {"question": question})
        assert (answer.status, answer.json) == (402, {"error": "Payment Required"})
    assert service.provider.stats.requests == before
    assert service.ask(token_for("fay")).headers["x-ratelimit-remaining"] == "9"


def test_where_no_model_answers_that_is_a_502(service: Service) -> None:
    answer = service.ask(token_for("gus"), {"question": "one two three " * 100})
    assert (answer.status, answer.json) == (502, {"error": "Bad Gateway"})
