"""`cascadeflow doctor`: what it says, and what it never says."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cascadeflow import __version__
from cascadeflow.cli.app import app
from cascadeflow.cli.local_models import ollama_models
from cascadeflow.providers.registry import get_provider, provider_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sk-very-secret-value"


def test_doctor_names_the_keys_it_sees_and_shows_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    shown = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    result = CliRunner().invoke(app, ["doctor", "--json"], env={"COLUMNS": "200"})
    for each in (shown, result):
        assert each.exit_code == 0
        assert "OPENAI_API_KEY" in each.output
        assert SECRET not in each.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["version"] == __version__
    assert found["build"] == "release"
    assert "OPENAI_API_KEY" in found["keys_seen"]
    assert "ANTHROPIC_API_KEY" not in found["keys_seen"]
    features = {feature["name"]: feature for feature in found["features"]}
    assert features["openai:…"]["usable"] is True
    assert features["anthropic:…"]["usable"] is False
    assert features["extra cli"]["usable"] is True
    assert {"typer", "rich"} <= set(found["extras"]["cli"])


def features(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, dict[str, object]]:
    """What doctor says of each feature where only these variables are set."""
    for provider in map(get_provider, provider_ids()):
        for name in (*provider.key_env, *re.findall(r"[A-Z0-9_]{4,}", provider.base_url)):
            monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.stdout.splitlines()[-1])
    return {feature["name"]: feature for feature in found["features"]}


def test_a_provider_whose_address_is_not_known_is_not_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    azure = features(monkeypatch, AZURE_OPENAI_API_KEY="k")["azure:…"]
    assert azure["usable"] is False
    assert azure["needs"] == "AZURE_OPENAI_API_KEY; AZURE_OPENAI_ENDPOINT"
    endpoint = "https://acme.openai.azure.com"
    known = features(monkeypatch, AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_ENDPOINT=endpoint)
    assert known["azure:…"]["usable"] is True


def test_credentials_that_may_do_in_place_of_a_key_are_said_and_not_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bedrock = features(monkeypatch, AWS_REGION="eu-north-1")["bedrock:…"]
    assert bedrock["usable"] is None
    assert "AWS credentials and the extra bedrock; AWS_REGION or AWS_DEFAULT_REGION" in str(
        bedrock["needs"]
    )
    assert features(monkeypatch)["bedrock:…"]["usable"] is False
    key = {"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "eu-north-1"}
    assert features(monkeypatch, **key)["bedrock:…"]["usable"] is True


def test_an_extra_of_an_extra_is_looked_up_by_its_packages() -> None:
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout.splitlines()[-1])
    assert {"httpx2", "h2"} <= set(found["extras"]["http2"])
    assert {"h2", "botocore", "google-auth", "typer"} <= set(found["extras"]["all"])
    assert "cascadeflow" not in found["extras"]["all"]


def test_without_the_network_option_no_server_is_asked() -> None:
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout.splitlines()[-1])
    assert found["ollama"] == {"checked": False, "reachable": None, "models": []}
    features = {feature["name"]: feature for feature in found["features"]}
    assert features["ollama:…"]["usable"] is None


@pytest.fixture
def ollama() -> Iterator[str]:
    body = json.dumps(
        {
            "models": [
                {"name": "large:70b", "size": 9},
                {"name": "small:1b", "size": 1},
                {"name": "nomic-embed-text", "size": 0},
            ]
        }
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/tags"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(body if known else b"not found")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_ollamas_models_come_smallest_first_and_embedders_do_not_count(ollama: str) -> None:
    found = ollama_models(ollama)
    assert found is not None
    assert [model.name for model in found] == ["small:1b", "large:70b"]


def test_what_is_not_ollama_or_nothing_at_all_is_no_ollama(ollama: str) -> None:
    assert ollama_models(f"{ollama}/elsewhere") is None
    assert ollama_models("http://127.0.0.1:9") is None
