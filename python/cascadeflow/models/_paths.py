"""Where the user's own files are, by each platform's custom. No directory is made by asking."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_dir", "config_dir"]


def config_dir() -> Path:
    """Gives the directory of the user's settings: `~/.config/cascadeflow` on Linux."""
    if sys.platform == "win32":
        return _base("APPDATA", "AppData", "Roaming") / "cascadeflow"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "cascadeflow"
    return _base("XDG_CONFIG_HOME", ".config") / "cascadeflow"


def cache_dir() -> Path:
    """Gives the directory of what can be made again: `~/.cache/cascadeflow` on Linux."""
    if sys.platform == "win32":
        return _base("LOCALAPPDATA", "AppData", "Local") / "cascadeflow" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cascadeflow"
    return _base("XDG_CACHE_HOME", ".cache") / "cascadeflow"


def _base(variable: str, *default: str) -> Path:
    set_to = os.environ.get(variable)
    return Path(set_to) if set_to else Path.home().joinpath(*default)
