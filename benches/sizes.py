"""Sizes: the wheel, and the base installation with its dependencies."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEGABYTE = 1e6


def measure() -> list[dict[str, Any]]:
    """Builds the wheel, installs it into an empty folder, weighs both in megabytes (10⁶ bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        wheels, base = Path(folder) / "wheels", Path(folder) / "base"
        _run("maturin", "build", "--release", "--locked", "--quiet", "--out", str(wheels))
        (wheel,) = wheels.glob("*.whl")
        _run(
            *("uv", "pip", "install", "--quiet", "--target", str(base), "--python", sys.executable),
            *("--constraints", str(ROOT / "requirements.lock"), str(wheel)),
        )
        installed = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
        return [
            _row("wheel", wheel.stat().st_size, gate=25, goal=12),
            _row("installed base with dependencies", installed, gate=40, goal=25),
        ]


def _run(tool: str, *arguments: str) -> None:
    subprocess.run([str(Path(sys.executable).parent / tool), *arguments], check=True, cwd=ROOT)


def _row(name: str, size: int, *, gate: float, goal: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": size / MEGABYTE,
        "unit": "MB",
        "gate": gate,
        "goal": goal,
        "reference": None,
        "ratio": None,
        "references": {},
        "ratios": {},
        "file": None,
    }
