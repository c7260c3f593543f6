"""The command line: `cascadeflow run`, `demo`, `replay`, `simulate`, and what helps with them."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """The entry point; says how to install the command line when its extra is missing."""
    try:
        import rich  # noqa: F401, PLC0415
        import typer  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"The cascadeflow command needs {error.name}, which is not installed. Install it:\n"
            '    pip install "cascadeflow[cli]"\n'
        )
        raise SystemExit(2) from None
    from cascadeflow.cli.app import app  # noqa: PLC0415

    # What a terminal cannot show, a model's answer among it, must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
