"""Measures how far token counts are from what providers billed, on recorded exchanges.

    python benches/token_error.py           the error table of docs/tokens.md
    python benches/token_error.py --fit     and the families' figures, fitted anew
    python benches/token_error.py --rows    and every row that is off by more than a quarter

Reads ../shared/recordings, or the folder that CASCADEFLOW_RECORDINGS names. An error is
|counted - billed| / billed; `all together` is the error of the sum. `left out`: the family's
figures are fitted without the recording that the row is part of, so that it is judged by figures
that never saw it.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recorded_requests import Recorded, read_recordings

from cascadeflow.models.token_families import Family, chat_format_for, family_for
from cascadeflow.models.tokens import (
    RequestParts,
    TokenCount,
    count_request,
    family_tokens,
    measure,
    ruler_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("CASCADEFLOW_RECORDINGS", ROOT.parent / "shared" / "recordings"))

# What a family's figures are drawn to where its rows say little, and how far they may stray.
FIELDS = ("ratio", "base", "per_message", "per_call", "tools_base", "tools_ratio", "schema_base")
PRIOR = (1.1, 4.0, 3.0, 10.0, 100.0, 1.0, 10.0)
SCALE = (0.1, 20.0, 2.0, 10.0, 200.0, 0.5, 50.0)
ROUNDS = 30
FEWEST = 4  # with fewer rows that show a figure at work, it stays where it is drawn to

# Cohere bills the request's own words and nothing that stands around them.
STATED = {"cohere": dict.fromkeys(range(1, 7), 0.0) | {5: 1.0}}


@dataclass(frozen=True)
class Row:
    recorded: Recorded
    parts: RequestParts
    family: Family
    known_vocabulary: bool
    count: TokenCount

    @property
    def billed(self) -> int:
        return self.recorded.input_tokens

    @property
    def countable(self) -> bool:
        """Whether all that was billed stands in the request as text."""
        raw = any(message.extras for message in self.recorded.request.messages)
        return not (raw or self.parts.images or self.count.upper_bound is None)

    @property
    def is_cut(self) -> bool:
        """Whether the recording lacks a part of what was sent."""
        return "...scrubbed" in repr(self.recorded.request)

    @property
    def is_openai_chat(self) -> bool:
        model = self.recorded.model
        return chat_format_for(model.provider, model.name) is not None


def read_rows() -> list[Row]:
    rows = []
    for recorded in read_recordings(FOLDER):
        model, request = recorded.model, recorded.request
        ruler = ruler_for(model)
        rows.append(
            Row(
                recorded,
                measure(request, ruler),
                family_for(model.provider, model.name),
                ruler.exact,
                count_request(request, model),
            )
        )
    return rows


def features(row: Row) -> list[float]:
    parts = row.parts
    return [
        parts.texts + parts.calls + (parts.schema if row.family.reads_schema else 0),
        1,
        parts.messages,
        parts.call_count,
        1 if parts.tools else 0,
        parts.tools,
        1 if parts.schema else 0,
    ]


def fit(family: Family, rows: Sequence[Row]) -> Family:
    """Least relative deviations by reweighted least squares, drawn to the prior; none negative."""
    fixed: dict[int, float] = dict(STATED.get(family.name, {}))
    if any(row.known_vocabulary for row in rows):
        fixed[0] = 1.0
    xs, ys = [features(row) for row in rows], [row.billed for row in rows]
    for index, drawn_to in enumerate(PRIOR):
        if sum(x[index] > 0 for x in xs) < FEWEST:
            fixed.setdefault(index, drawn_to)
    while True:
        values = list(PRIOR)
        for index, value in fixed.items():
            values[index] = value
        free = [index for index in range(len(PRIOR)) if index not in fixed]
        for _ in range(ROUNDS):
            left = [[1 / SCALE[i] ** 2 if i == j else 0.0 for j in free] for i in free]
            right = [PRIOR[i] / SCALE[i] ** 2 for i in free]
            for x, y in zip(xs, ys, strict=True):
                guess = sum(a * b for a, b in zip(x, values, strict=True))
                rest = y - sum(x[i] * value for i, value in fixed.items())
                # Relative to the greater one: a server that drops texts must not count for many.
                size = max(y, guess, 10)
                weight = 10 / (size * max(abs(y - guess), 0.02 * size, 1.0))
                for a, i in enumerate(free):
                    right[a] += weight * x[i] * rest
                    for b, j in enumerate(free):
                        left[a][b] += weight * x[i] * x[j]
            for index, value in zip(free, solve(left, right), strict=True):
                values[index] = value
        lowest = min(free, key=lambda index: values[index] / SCALE[index])
        if values[lowest] >= 0:
            break
        fixed[lowest] = 0.0
    digits = [2 if name.endswith("ratio") else 0 for name in FIELDS]
    rounded = {name: round(v, d) for name, v, d in zip(FIELDS, values, digits, strict=True)}
    return replace(family, **rounded)


def solve(left: list[list[float]], right: list[float]) -> list[float]:
    """Gauss's elimination; the prior keeps the matrix regular."""
    size = len(right)
    table = [[*left[i], right[i]] for i in range(size)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda row: abs(table[row][i]))
        table[i], table[pivot] = table[pivot], table[i]
        for row in range(size):
            if row != i:
                factor = table[row][i] / table[i][i]
                table[row] = [a - factor * b for a, b in zip(table[row], table[i], strict=True)]
    return [table[i][size] / table[i][i] for i in range(size)]


def left_out(rows: Sequence[Row]) -> list[float]:
    """Errors of rows under figures that were fitted without their recordings."""
    errors = []
    for cassette in sorted({row.recorded.cassette for row in rows}):
        others = [row for row in rows if row.recorded.cassette != cassette]
        family = fit(rows[0].family, others)
        for row in rows:
            if row.recorded.cassette == cassette:
                ratio = 1.0 if row.known_vocabulary else family.ratio
                errors.append(error(round(family_tokens(row.parts, family, ratio)), row.billed))
    return errors


def error(counted: int, billed: int) -> float:
    return abs(counted - billed) / billed


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def line(name: str, rows: Sequence[Row], left: Sequence[float] | None) -> str:
    total = sum(row.count.tokens for row in rows) / sum(row.billed for row in rows) - 1
    cells = [name, str(len(rows)), f"{total:+.1%}"]
    for values in ([error(row.count.tokens, row.billed) for row in rows], left):
        if values is None:
            cells += ["-", "-"]
        else:
            cells += [f"{statistics.median(values):.1%}", f"{percentile(values, 0.95):.1%}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="fit the families' figures anew")
    parser.add_argument("--rows", action="store_true", help="show rows that are far off")
    arguments = parser.parse_args()
    rows = read_rows()
    countable = [row for row in rows if row.countable]

    print("| requests | n | all together | median | p95 | median, left out | p95, left out |")
    print("|---|---|---|---|---|---|---|")
    openai = [row for row in countable if row.is_openai_chat]
    print(line("openai, plain chat", [row for row in openai if row.count.exact], None))
    print(line("openai, other", [row for row in openai if not row.count.exact], None))
    families: dict[str, list[Row]] = defaultdict(list)
    for row in countable:
        if not row.is_openai_chat:
            families[row.family.name].append(row)
    all_left: list[float] = []
    for name in sorted(families):
        left = left_out(families[name])
        all_left += left
        print(line(name, families[name], left))
    print(line("all but openai", [row for group in families.values() for row in group], all_left))

    bounded = [row for row in rows if row.count.upper_bound is not None and not row.is_cut]
    over = [row for row in bounded if row.billed > (row.count.upper_bound or 0)]
    slack = [(row.count.upper_bound or 0) / row.billed for row in bounded if not row.count.exact]
    print(
        f"\n{len(rows)} requests, {len(countable)} of them all text. Bounds: {len(bounded)} "
        f"stated, {len(over)} exceeded; where the count is no exact one, the median bound is "
        f"{statistics.median(slack):.1f} times what was billed."
    )
    for row in over:
        print(f"EXCEEDED {row.recorded.model.id} {row.billed} > {row.count} {row.recorded.source}")
    if arguments.fit:
        print()
        for name in sorted(families):
            found = fit(families[name][0].family, families[name])
            print(name, {field: getattr(found, field) for field in FIELDS})
    if arguments.rows:
        for row in countable:
            if error(row.count.tokens, row.billed) > 0.25:
                print(row.billed, row.count.tokens, row.recorded.model.id, row.recorded.source)


if __name__ == "__main__":
    main()
