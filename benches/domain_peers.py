"""How well and how fast requests' domains are found, beside PyPI's cascadeflow 1.2.0.

    python benches/domain_peers.py [--sample N] [--vectors CACHE.npz]

Rows: `test` and `unseen_source` of `domain/domain` under `CASCADEFLOW_DATA`, apart; `--sample`
takes so many of each, evenly. cascadeflow 1.2.0 is installed into an environment of its own, which
is removed afterwards (`--python` takes one that has it, with numpy). It is asked by its rules,
which is what it does as it comes, and by rules and sentence vectors mixed, for which it is given
vectors of the same all-MiniLM-L6-v2 as ours, in the place of a model that it would fetch.

Its seventeen domains are not our fourteen, and it has none for science, reasoning and support. So
whatever could be meant counts as right (`ALSO_RIGHT`): for these three `general` and more. Beside
that stands the accuracy on rows of labels that both have.

Times: each query once, waiting for the one before; and texts of exactly 1 KB, the least of several
times each (a shared machine has bad moments), the median of these.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from domain_rows import Row, evaluation_rows, vectors
from peer_environment import install

from cascadeflow.domains.detector import DomainDetector
from cascadeflow.domains.evaluation import LabelledRow, Prediction, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VERSION = "1.2.0"
SPLITS = ("test", "unseen_source")
KILOBYTE = 1_024
TIMED = 40
"""Texts of 1 KB."""

PASSES = 25
"""Times that each of them is judged, in turn."""

ALSO_RIGHT: Mapping[str, frozenset[str]] = {
    "code": frozenset({"code", "tool"}),
    "data": frozenset({"data", "structured"}),
    "math": frozenset({"math"}),
    "reasoning": frozenset({"general", "math", "comparison", "conversation"}),
    "science": frozenset({"general", "factual", "math"}),
    "medical": frozenset({"medical"}),
    "legal": frozenset({"legal"}),
    "finance": frozenset({"financial"}),
    "support": frozenset({"general", "conversation", "tool", "financial"}),
    "creative": frozenset({"creative"}),
    "translation": frozenset({"translation"}),
    "summarization": frozenset({"summary"}),
    "factual": frozenset({"factual", "rag", "comparison", "general"}),
    "general": frozenset({"general", "conversation", "tool"}),
}
"""By our label, each of its domains that counts as right."""

OURS_ALONE = frozenset({"reasoning", "science", "support"})
"""Labels that it has no domain for."""


@dataclass(frozen=True, slots=True)
class Way:
    """What one way of asking said.

    Attributes:
        name: how it is printed.
        said: its answer to each row, in our labels.
        seconds: how long each took; empty where that was not measured.
        sure: whether it was sure, of each; empty where it does not say so.
    """

    name: str
    said: list[str]
    seconds: list[float]
    sure: tuple[bool, ...] = ()


def sampled(rows: list[Row], count: int | None) -> list[Row]:
    """So many rows, evenly over the whole."""
    if count is None or count >= len(rows):
        return rows
    return [rows[at * len(rows) // count] for at in range(count)]


def kilobytes(rows: Sequence[Row]) -> list[str]:
    """Texts of 1 KB, of requests one after another."""
    joined = "\n".join(row.text for row in rows).encode("ascii", "ignore").decode()
    texts = [joined[at : at + KILOBYTE] for at in range(0, len(joined) - KILOBYTE, KILOBYTE)]
    return texts[:: max(1, len(texts) // TIMED)][:TIMED]


def theirs(rows: Sequence[Row], timed: list[str], python: str | Path, cache: Path | None) -> Any:
    """What cascadeflow 1.2.0 says, in its own process; and its version."""
    script = str(Path(__file__).with_name("cascadeflow_peer_domains.py"))
    # -I: the script's folder is not looked at, which is beside this package.
    done = subprocess.run(
        [python, "-I", script, "exemplars"], check=True, capture_output=True, text=True
    )
    texts = list(dict.fromkeys([*json.loads(done.stdout), *(row.text for row in rows)]))
    with tempfile.TemporaryDirectory() as folder:
        given, kept, found = (Path(folder) / name for name in ("r.json", "v.npz", "a.json"))
        given.write_text(json.dumps({"texts": [row.text for row in rows], "timed": timed}))
        np.savez(kept, texts=np.array(texts), vectors=vectors(texts, cache))
        command: list[str | Path] = [python, "-I", script, "answer", given, kept, found]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)  # it logs at every start
        return json.loads(found.read_text(encoding="utf-8"))


def read(rows: Sequence[Row], said: Iterable[str]) -> list[str]:
    """Its words in ours: the row's own label where its answer could mean that."""
    return [
        row.label if word in ALSO_RIGHT[row.label] else f"its {word}"
        for row, word in zip(rows, said, strict=True)
    ]


def by_rules(rows: Sequence[Row]) -> Way:
    """Our rules alone."""
    detector = DomainDetector(semantic=False)
    detector.detect_by_rules("a first request")
    said, seconds, sure = [], [], []
    for row in rows:
        began = time.perf_counter()
        found = detector.detect_by_rules(row.text)
        seconds.append(time.perf_counter() - began)
        said.append(found.domain)
        sure.append(found.layer == "rules")
    return Way("ours, rules", said, seconds, tuple(sure))


async def by_both(rows: Sequence[Row]) -> Way:
    """Our rules and, where these are not sure, the sentence model."""
    detector = DomainDetector(semantic=True)
    await detector.detect("and the other one, the first of them all?")
    said, seconds = [], []
    for row in rows:
        began = time.perf_counter()
        found = await detector.detect(row.text)
        seconds.append(time.perf_counter() - began)
        said.append(found.domain)
    return Way("ours, rules + semantic", said, seconds)


def timed_seconds(texts: Sequence[str]) -> list[float]:
    """The least time of each text by our rules, in seconds."""
    ask = DomainDetector(semantic=False).detect_by_rules
    found = [float("inf")] * len(texts)
    for _ in range(PASSES):
        for at, text in enumerate(texts):
            began = time.perf_counter()
            ask(text)
            found[at] = min(found[at], time.perf_counter() - began)
    return found


def show(split: str, rows: Sequence[Row], ways: Sequence[tuple[Way, slice]]) -> None:
    """Prints a table of one split."""
    labelled = [LabelledRow(row.text, row.label, row.source) for row in rows]
    both = [at for at, row in enumerate(rows) if row.label not in OURS_ALONE]
    print(f"\n{split}: {len(rows)} rows, {len(both)} of labels that both have\n")
    print("| | accuracy | macro recall | accuracy, common labels | ms a query, mean | median |")
    print("|---|---|---|---|---|---|")
    for way, part in ways:
        said = [Prediction(word) for word in way.said[part]]
        result = evaluate(labelled, said)
        common = evaluate([labelled[at] for at in both], [said[at] for at in both])
        macro = "-" if result.macro_recall is None else f"{result.macro_recall:.1%}"
        times = [1e3 * each for each in way.seconds[part]]
        took = (
            f"{statistics.fmean(times):.3f} | {statistics.median(times):.3f}" if times else "- | -"
        )
        print(f"| {way.name} | {result.accuracy:.1%} | {macro} | {common.accuracy:.1%} | {took} |")
    for way, part in ways:
        if way.sure:
            pairs = zip(rows, way.said[part], way.sure[part], strict=True)
            right = [row.label == word for row, word, sure in pairs if sure]
            print(
                f"\n{way.name}: answer {len(right) / len(rows):.1%} of the queries, "
                f"{sum(right) / max(len(right), 1):.1%} of these rightly; "
                "the others count as general"
            )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sample", type=int, help="so many rows of each split")
    options.add_argument("--vectors", type=Path, help="keep the vectors in this .npz file")
    options.add_argument("--python", type=Path, help=f"a Python with cascadeflow=={VERSION}")
    given = options.parse_args()
    judged = evaluation_rows()
    splits = {
        split: sampled([row for row in judged if row.split == split], given.sample)
        for split in SPLITS
    }
    rows = list(chain.from_iterable(splits.values()))
    timed = kilobytes(judged)
    with tempfile.TemporaryDirectory() as folder:
        python = given.python or install(Path(folder), f"cascadeflow=={VERSION}", "numpy")
        told = theirs(rows, timed, python, given.vectors)
    name = f"cascadeflow {told['version']}"
    ways = [
        Way(f"{name}, rules", read(rows, told["rules"]), told["rules_s"]),
        Way(f"{name}, rules and vectors mixed", read(rows, told["mixed"]), []),
        by_rules(rows),
        asyncio.run(by_both(rows)),
    ]
    start = 0
    for split, part in splits.items():
        show(split, part, [(way, slice(start, start + len(part))) for way in ways])
        start += len(part)
    ours_s = statistics.median(timed_seconds(timed))
    theirs_s = statistics.median(told["timed_s"])
    print(
        f"\n1 KB by rules, median of {len(timed)} texts: ours {ours_s * 1e6:.0f} µs, "
        f"{name} {theirs_s * 1e3:.2f} ms: {theirs_s / ours_s:.0f} times faster"
    )


if __name__ == "__main__":
    main()
