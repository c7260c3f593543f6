"""The README and the page on the command line say what there is, and what they show runs."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import typer
from typer.main import get_command

from cascadeflow import errors
from cascadeflow.cli.app import app
from cascadeflow.cli.output import opened
from cascadeflow.config import QualityMode
from cascadeflow.providers.registry import get_provider, register_provider
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
REPLAY = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that can be called, by its words."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        yield " ".join(words), command
        return
    for name, child in command.commands.items():
        yield from commands(child, (*words, name))


def test_the_pages_name_every_command_and_every_option() -> None:
    text = PAGE + REPLAY
    for words, command in commands():
        assert words.split()[0] in text
        missing = [
            option
            for parameter in command.params
            for option in parameter.opts
            if option.startswith("--") and option not in text
        ]
        assert missing == [], words


def test_the_page_says_with_which_code_each_error_ends() -> None:
    said = dict(re.findall(r"^- ([12]): (.*?)(?=^- |^$)", PAGE, re.MULTILINE | re.DOTALL))
    named = {code: re.findall(r"`([A-Z]\w+Error)`", text) for code, text in said.items()}
    assert len(named["1"]) >= 7
    assert len(named["2"]) >= 6
    for code, names in named.items():
        for name in names:
            error = getattr(errors, name)
            with pytest.raises(typer.Exit) as ended, opened(as_json=False, verbose=False):
                raise error.__new__(error)
            assert ended.value.exit_code == int(code), name


def test_the_page_says_what_run_takes_for_a_mode() -> None:
    (row,) = re.findall(r"^\| `--mode`, `--threshold` \|(.*)$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(get_args(QualityMode))


def test_every_command_takes_json_and_verbose() -> None:
    for words, command in commands():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--verbose"} <= options, words


@pytest.mark.parametrize("text", [README, PAGE, REPLAY], ids=["README", "cli", "replay"])
def test_every_command_that_is_shown_exists_with_its_options(text: str) -> None:
    known = dict(commands())
    shown = re.findall(r"(?:^|`)cascadeflow ([a-z][^`\n]*)", text, re.MULTILINE)
    assert shown
    for line in shown:
        words = line.split("#")[0].replace("\\", "")
        name = next(each for each in known if words.startswith(each))
        options = {option for parameter in known[name].params for option in parameter.opts}
        used = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", words))
        assert used <= options, line


def test_the_readmes_example_runs_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, *_ = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    named = re.findall(r'"(openai|anthropic):([^"]+)"', source)
    path = tmp_path / "example.py"
    path.write_text(source, encoding="utf-8")
    before = [get_provider(provider) for provider, _ in named]
    models = [SimulatedModel(name, output_tokens=12) for _, name in named]
    with SimulatedProvider(models).start_in_thread() as server:
        for provider in before:
            monkeypatch.setenv(provider.key_env[0], "simulated")
            url = server.url if provider.protocol == "anthropic" else server.base_url
            register_provider(replace(provider, base_url=url), replace=True)
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            for provider in before:
                register_provider(provider, replace=True)
    assert "cost 0." in capsys.readouterr().out


def test_the_readmes_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
