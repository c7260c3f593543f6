"""Measures how far the counted estimate of an answer is from what its provider billed.

    python -m benches.estimate_error          the table of docs/tokens.md
    python -m benches.estimate_error --rows   and every answer that is off by more than a half

Every recorded answer is reckoned as if its stream had broken off before the last word: by its text,
its shown reasoning and its tool calls. Reads ../shared/recordings, or the folder that
CASCADEFLOW_RECORDINGS names. An error is |estimate - billed| / billed; `all together` is the error
of the sum. Left out are answers that nobody can count: images and sound, and tools that ran at the
provider.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.models.recorded import countable, exchanges, kind_of

from cascadeflow.models.config import ModelConfig
from cascadeflow.models.estimate import estimate_usage
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.models.recorded import Exchange

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("CASCADEFLOW_RECORDINGS", ROOT.parent / "shared" / "recordings"))

HIDDEN = "reasoning not shown"
ASKED = ChatRequest("m", (Message("user", "Hello"),))


@dataclass(frozen=True)
class Reckoned:
    """An answer, how much it was reckoned at, and how much was billed."""

    exchange: Exchange
    estimate: int
    billed: int

    @property
    def error(self) -> float:
        """Relative to what was billed."""
        return abs(self.estimate - self.billed) / self.billed


def reckon(folder: Path) -> Iterator[Reckoned]:
    """Gives every recorded answer whose output can be counted."""
    for exchange in exchanges(folder):
        usage = exchange.completion.usage
        if usage is None or not countable(exchange):
            continue
        model = ModelConfig(exchange.asked, exchange.provider)
        estimate = estimate_usage(model, ASKED, replace(exchange.completion, usage=None))
        if estimate is not None:
            yield Reckoned(exchange, estimate.total_output_tokens, usage.total_output_tokens)


def line(name: str, kind: str, answers: Sequence[Reckoned]) -> str:
    """Gives a line of the table."""
    total = sum(each.estimate for each in answers) / sum(each.billed for each in answers) - 1
    errors = sorted(each.error for each in answers)
    worst = errors[min(len(errors) - 1, int(0.95 * len(errors)))]
    cells = [name, kind, str(len(answers)), f"{total:+.1%}"]
    return f"| {' | '.join([*cells, f'{statistics.median(errors):.1%}', f'{worst:.1%}'])} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", action="store_true", help="show answers that are far off")
    arguments = parser.parse_args()
    groups: dict[tuple[str, str], list[Reckoned]] = defaultdict(list)
    for each in reckon(FOLDER):
        groups[kind_of(each.exchange)].append(each)
    print("| family | answer | n | all together | median | p95 |")
    print("|---|---|---|---|---|---|")
    for (family, kind), answers in sorted(groups.items()):
        print(line(family, kind, answers))
    everything = [each for group in groups.values() for each in group]
    shown = [each for each in everything if kind_of(each.exchange)[1] != HIDDEN]
    print(line("all", "shown whole", shown))
    if arguments.rows:
        for each in shown:
            if each.error > 0.5:
                exchange = each.exchange
                print(
                    each.estimate,
                    each.billed,
                    exchange.provider,
                    exchange.asked,
                    exchange.row["source"],
                )


if __name__ == "__main__":
    main()
