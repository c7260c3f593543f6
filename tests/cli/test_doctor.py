"""`cascadeflow doctor`: what it says, and what it never says."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cascadeflow import __version__
from cascadeflow.cli.app import app
from cascadeflow.cli.local_models import ollama_models

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
