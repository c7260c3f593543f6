"""`cascadeflow` and `python -m cascadeflow.cli` as a user's shell starts them."""

from __future__ import annotations

import subprocess
import sys


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
