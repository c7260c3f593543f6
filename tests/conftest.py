"""What every test may use: the shared data, and a guard against real requests."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

# Before anything of ours is used: no test may reach a real provider.
os.environ["CASCADEFLOW_FORBID_REQUESTS"] = "1"


# How long a busy machine takes is no property of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """Leaves what is there before the first test out of every later search for garbage.

    Some 400,000 objects of the tests themselves make each full search take a fifth of a second.
    """
    gc.collect()
    gc.freeze()


def shared_folder(variable: str, name: str) -> Path:
    """A folder of shared material; missing means skip, and failure where everything must run."""
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / name))
    if not folder.is_dir():
        message = f"{folder} is missing: set {variable} to where the shared {name} lie"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The labelled public data."""
    return shared_folder("CASCADEFLOW_DATA", "data")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The recorded provider exchanges."""
    return shared_folder("CASCADEFLOW_RECORDINGS", "recordings")


@pytest.fixture(autouse=True, scope="module")
def _the_registry_as_it_was() -> Iterator[None]:
    """Whoever registers a provider, a docstring's example included, takes it back."""
    from cascadeflow.providers import registry  # noqa: PLC0415 - after the guard above

    before = dict(registry._registered)
    yield
    if registry._registered != before:
        registry._registered.clear()
        registry._registered.update(before)
