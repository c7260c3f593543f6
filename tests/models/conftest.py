"""The models' tests never see the files of the user who runs them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cascadeflow.models import catalogue, overrides
from cascadeflow.models._paths import cache_dir, config_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")  # other folders' tests keep their home
def _no_files_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        _empty_home(patch, tmp_path_factory.mktemp("home"))
        catalogue.reload()
        overrides.use_prices_file(None)
        yield
    catalogue.reload()
    overrides.use_prices_file(None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home whose configuration and cache a test may fill."""
    _empty_home(monkeypatch, tmp_path)
    config_dir().mkdir(parents=True, exist_ok=True)
    cache_dir().mkdir(parents=True, exist_ok=True)
    catalogue.reload()
    overrides.use_prices_file(None)
    yield tmp_path
    monkeypatch.undo()
    catalogue.reload()
    overrides.use_prices_file(None)


def _empty_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    patch.delenv("CASCADEFLOW_PRICES", raising=False)
    patch.setenv("HOME", str(home))
    patch.setenv("USERPROFILE", str(home))
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "APPDATA", "LOCALAPPDATA"):
        patch.setenv(variable, str(home / variable.lower()))


@pytest.fixture
def now() -> datetime:
    """The moment that the tests take for now."""
    return NOW
