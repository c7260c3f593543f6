"""Installs from PyPI what a benchmark stands beside, into an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def install(folder: Path, *packages: str) -> Path:
    """Makes an environment of this Python with the packages, and gives its interpreter.

    Ends the script in words where that fails.
    """
    uv = shutil.which("uv")
    python = folder / "bin" / "python"
    if uv is not None:
        made = [uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)]
        command = [uv, "pip", "install", "-q", "--python", str(python), *packages]
    else:
        made = [sys.executable, "-m", "venv", str(folder)]
        command = [str(python), "-m", "pip", "install", "-q", *packages]
    try:
        subprocess.run(made, check=True)
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"{' and '.join(packages)} could not be installed ({error}): a package index must be "
            "in reach. Or name an interpreter that has them with --python"
        )
    return python
