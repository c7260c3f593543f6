"""Runs every benchmark and prints one table: figure, gate, goal, reference, ratio.

    python benches/report.py            all figures; writes benches/report.json
    python benches/report.py --check    and fails on a missed gate or a ratio gone bad
    python benches/report.py --accept   and commits this run's ratios to benches/baseline.json

A benchmark says what it measures in `benchmark.extra_info`:

    figure      the figure's name; a figure and its references share it
    role        "figure" or "reference"
    reference   on a reference: what it is, such as "tiktoken"; the first one gives the ratio
    gate_s      seconds that must not be exceeded, or None
    goal_s      seconds that we are after, or None
    value_s     what was measured, when it is not the benchmark's own median
    p99_s       seconds that 99 of 100 rounds stay under, where that was looked at
    also        further seconds, by what they are: printed, held against nothing
    value_mb    megabytes (10⁶ bytes), where memory and not time was measured

Figures that are not times (sizes) are measured here. What is printed and held against a gate is the
median: what a user meets. A ratio is figure / reference, both taken in this run, so that a slow
machine moves both, and of each the fastest round: on a shared machine the median of one may fall
into a slow moment that the other was spared, which moved ratios threefold. It fails when it is
1.5 times the committed one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sizes

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
REPORT = HERE / "report.json"
BASELINE = HERE / "baseline.json"
WORSE = 1.5
UNHELD = (
    *("test_codec_*.py", "test_sse.py", "test_limits.py", "test_queue.py"),
    *("test_tiers_crowd.py", "test_complexity_score.py"),
)
"""What has no committed ratio, and no gate that another file's figure does not have too: `--check`
does not wait for it."""

UNHELD_TESTS = (
    "not (test_semantic and (eight_bits or at_once or test_open))"
    " and not (test_quality_modes and (one_thread or grounding or balanced or strict or memory"
    " or vectors_alone))"
)
"""Likewise single benchmarks of the sentence model, which take long."""


def run_benchmarks(
    selection: str | None, files: Iterable[str] = (str(HERE),), *, most_s: float = 1
) -> list[dict[str, Any]]:
    """Runs pytest-benchmark over these files, so many seconds each, and gives its records."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "benchmarks.json"
        command = [
            *(sys.executable, "-m", "pytest", *files, "-o", "addopts=", "--quiet"),
            *("--import-mode=importlib", "-p", "no:cacheprovider", "--timeout=600"),
            *("--benchmark-disable-gc", "--benchmark-warmup=on", f"--benchmark-max-time={most_s}"),
            *("--benchmark-columns=median,min,rounds", f"--benchmark-json={output}"),
        ]
        if selection:
            command += ["-k", selection]
        finished = subprocess.run(command, check=False, cwd=HERE.parent)
        if finished.returncode:
            sys.exit("a benchmark failed: see above")
        records: list[dict[str, Any]] = json.loads(output.read_text())["benchmarks"]
        return records


def unheld() -> set[Path]:
    """The files that are measured by `make bench` alone."""
    return {file for pattern in UNHELD for file in HERE.glob(pattern)}


def measured(record: dict[str, Any]) -> float:
    """What a benchmark measured, in seconds or megabytes."""
    info = record["extra_info"]
    return float(info.get("value_mb", info.get("value_s", record["stats"]["median"])))


def fastest(record: dict[str, Any]) -> float:
    """A benchmark's best round, which other load on the machine moves least."""
    info = record["extra_info"]
    return float(info.get("value_mb", info.get("value_s", record["stats"]["min"])))


def figures(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Brings each figure together with its references."""
    unnamed = [record["fullname"] for record in records if "figure" not in record["extra_info"]]
    if unnamed:
        sys.exit(f"benchmarks that do not say what they measure: {', '.join(unnamed)}")
    rows = []
    for record in records:
        info = record["extra_info"]
        if info["role"] != "figure":
            continue
        value = measured(record)
        others = {
            other["extra_info"].get("reference", other["name"]): other
            for other in records
            if other["extra_info"]["figure"] == info["figure"]
            and other["extra_info"]["role"] == "reference"
        }
        best = fastest(record)
        ratios = {name: best / fastest(other) for name, other in others.items()}
        first = next(iter(others), None)
        rows.append(
            {
                "name": info["figure"],
                "file": record["fullname"].partition("::")[0],
                "value": value,
                "unit": "MB" if "value_mb" in info else "s",
                "p99": info.get("p99_s"),
                "also": info.get("also", {}),
                "gate": info.get("gate_s"),
                "goal": info.get("goal_s"),
                "reference": first,
                "ratio": ratios[first] if first else None,
                "references": {name: measured(other) for name, other in others.items()},
                "ratios": ratios,
            }
        )
    return rows


def show(value: float | None, unit: str) -> str:
    """Writes a value for people."""
    if value is None:
        return "-"
    if unit == "MB":
        return f"{value:.1f} MB"
    for scale, name in ((1, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")):
        if value * scale >= 1:
            return f"{value * scale:.3g} {name}"
    return f"{value:.3g} s"


def print_table(rows: list[dict[str, Any]], baseline: dict[str, float]) -> None:
    """Prints one line a figure, each further reference on a line of its own."""
    head = ("figure", "measured", "p99", "gate", "goal", "reference", "ratio", "committed")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        unit = row["unit"]
        names = list(row["references"]) or [None]
        for at, name in enumerate(names):
            reference = row["references"][name] if name else None
            ratio = row["ratios"][name] if name else None
            committed = baseline.get(row["name"]) if at == 0 else None
            lines.append(
                (
                    row["name"] if at == 0 else "",
                    show(row["value"], unit) if at == 0 else "",
                    show(row.get("p99"), unit) if at == 0 else "",
                    show(row["gate"], unit) if at == 0 else "",
                    show(row["goal"], unit) if at == 0 else "",
                    f"{name} {show(reference, unit)}" if name else "-",
                    "-" if ratio is None else f"{ratio:.2f}",
                    "-" if committed is None else f"{committed:.2f}",
                )
            )
        for what, value in row.get("also", {}).items():
            lines.append((f"    {what}", show(value, "s"), *[""] * (len(head) - 2)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def failures(rows: list[dict[str, Any]], baseline: dict[str, float]) -> list[str]:
    """Says what is worse than promised."""
    found = []
    for row in rows:
        name, value, gate, ratio = row["name"], row["value"], row["gate"], row["ratio"]
        if gate is not None and value > gate:
            found.append(
                f"{name}: {show(value, row['unit'])} misses its gate {show(gate, row['unit'])}"
            )
        if ratio is not None and name in baseline and ratio > WORSE * baseline[name]:
            found.append(
                f"{name}: {ratio:.2f}x {row['reference']}, more than {WORSE} times the committed "
                f"{baseline[name]:.2f}x"
            )
    missing = sorted(set(baseline) - {row["name"] for row in rows})
    found += [f"{name}: in baseline.json, but nothing measures it" for name in missing]
    return found


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail on a missed gate or a bad ratio")
    parser.add_argument(
        "--accept", action="store_true", help="write this run's ratios as the baseline"
    )
    parser.add_argument("-k", dest="selection", help="only benchmarks that match, as pytest's -k")
    arguments = parser.parse_args()

    files = [HERE] if not arguments.check else sorted(set(HERE.glob("test_*.py")) - unheld())
    # What fails is measured again, and longer.
    most_s = 0.5 if arguments.check else 1
    selection = arguments.selection or (UNHELD_TESTS if arguments.check else None)
    rows = figures(run_benchmarks(selection, map(str, files), most_s=most_s))
    if not arguments.selection:
        rows += sizes.measure()
    baseline: dict[str, float] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    REPORT.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    print()
    print_table(rows, baseline)

    if arguments.accept:
        baseline |= {
            row["name"]: round(row["ratio"], 4) for row in rows if row["ratio"] is not None
        }
        BASELINE.write_text(
            json.dumps(baseline, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        )
    if arguments.check:
        relevant = baseline
        if arguments.selection:
            relevant = {
                name: baseline[name] for name in baseline if name in {r["name"] for r in rows}
            }
        bad = failures(rows, relevant)
        # A shared machine has bad moments: what failed is measured once more before it stands.
        if bad:
            print("\nmeasuring once more, because:", *bad, sep="\n  ")
            names = {
                row["name"] for row in rows if any(line.startswith(row["name"]) for line in bad)
            }
            files = sorted({row["file"] for row in rows if row["name"] in names and row["file"]})
            if files:
                again = {row["name"]: row for row in figures(run_benchmarks(UNHELD_TESTS, files))}
                rows = [again.get(row["name"], row) for row in rows]
                print_table(rows, baseline)
                bad = failures(rows, relevant)
        if bad:
            sys.exit("\n".join(["", "gates missed:", *(f"  {line}" for line in bad)]))
        print(f"\nall gates met: {len(rows)} figures")


if __name__ == "__main__":
    main()
