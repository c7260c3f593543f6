"""`cascadeflow` and `python -m cascadeflow.cli` as a user's shell starts them."""

from __future__ import annotations

import os
import subprocess
import sys

from cascadeflow import __version__


def test_without_the_extra_the_command_says_how_to_install_it() -> None:
    for missing in ("typer", "rich"):
        code = (
            f"import sys; sys.modules[{missing!r}] = None\nfrom cascadeflow.cli import main; main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert 'pip install "cascadeflow[cli]"' in done.stderr
        assert missing in done.stderr
        assert "Traceback" not in done.stderr


def test_an_output_that_knows_ascii_only_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cascadeflow.cli", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert "openai:" in done.stdout


def test_the_version_is_printed_and_no_command_prints_the_help() -> None:
    command = [sys.executable, "-m", "cascadeflow.cli"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"cascadeflow {__version__}\n"
    helped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "replay" in helped.stdout + helped.stderr
