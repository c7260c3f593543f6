"""What is expected of a model that was never asked: recorded drafts, by level.

    python benches/acceptance_prior.py [FOLDER]     the project's recorded rows when left out

Reads `cascade/*.jsonl.gz` (Apache-2.0 and MIT rows; only the averages printed here are used) and
prints, for drafts of six small models: the share that the fast rules accept, the share that they
accept and that is right, and the mean output. A level's figure is the plain mean over the three
sources of answers; that of a level with no recorded answer is the one below, lessened by the small
model's share of right answers on the labelled questions of both. A `-` is a figure nobody has.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from cascadeflow.config import QualityConfig
from cascadeflow.domains.acceptance import PRIORS
from cascadeflow.domains.complexity import ComplexityLevel, assess
from cascadeflow.models.completion import Completion
from cascadeflow.models.expected_cost import USUAL_OUTPUT
from cascadeflow.quality.validator import RuleValidator
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS: Final[tuple[ComplexityLevel, ...]] = get_args(ComplexityLevel)
SMALL: Final = {
    *("mixtral-8x7b-instruct-v0.1", "gpt-4o-mini-2024-07-18", "claude-3-haiku-20240307"),
    *("gemini-1.5-flash", "Meta-Llama-3.1-8B-Instruct", "claude-3-5-haiku-20241022"),
}
DATA: Final = Path(
    os.environ.get("CASCADEFLOW_DATA", Path(__file__).parents[1].parent / "shared" / "data")
)
STEP: Final = 0.05


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def drafts(folder: Path) -> Iterator[tuple[str, str, str, bool, int]]:
    """Source, question, answer, whether it is right, and its output tokens."""
    for source in ("zeroeval_gsm8k", "zeroeval_crux"):
        for row in rows(folder, source):
            for model, answer in row["models"].items():
                if model in SMALL and answer.get("output"):
                    right = bool(answer["correct"])
                    yield source, row["question"], answer["output"], right, answer["out_tok"]
    for row in rows(folder, "routellm_gsm8k"):
        right = bool(row["cheap_correct"])
        yield "routellm_gsm8k", row["prompt"], row["cheap_response"], right, row["cheap_out_tok"]


def level_of(question: str) -> ComplexityLevel:
    return assess((Message("user", question),)).level


async def measure(folder: Path) -> dict[tuple[str, str], list[tuple[bool, bool, int]]]:
    validator, config = RuleValidator(), QualityConfig.fast()
    found: dict[tuple[str, str], list[tuple[bool, bool, int]]] = defaultdict(list)
    for source, question, answer, right, tokens in drafts(folder):
        request = ChatRequest("a-model", (Message("user", question),))
        draft = Completion(text=answer, finish_reason="stop")
        report = await validator.judge(request, draft, config=config)
        accepted = report.accepted is True
        found[level_of(question), source].append((accepted, accepted and right, tokens))
    return found


def main() -> None:
    folder = (Path(sys.argv[1]) if len(sys.argv) > 1 else DATA) / "cascade"
    if not folder.is_dir():
        sys.exit(
            f"{folder} is not there: name the folder of the recorded rows, or CASCADEFLOW_DATA"
        )
    found = asyncio.run(measure(folder))
    right_by_level: dict[str, list[bool]] = defaultdict(list)
    for row in rows(folder, "routellm_mmlu_labels"):
        right_by_level[level_of(row["prompt"])].append(bool(row["cheap_correct"]))
    print("level       drafts  sources  accepted  and right  rounded  prior   output  usual")
    below: float | None = None
    before: ComplexityLevel | None = None
    for level in LEVELS:
        sources = [answers for (at, _), answers in found.items() if at == level]
        accepted = output = both = None
        if sources:
            accepted, both, output = (
                sum(sum(answer[part] for answer in each) / len(each) for each in sources)
                / len(sources)
                for part in range(3)
            )
        elif before is not None and below is not None:
            labelled, easier = right_by_level[level], right_by_level[before]
            if labelled and easier:
                both = below * _share(labelled) / _share(easier)
        rounded = None if both is None else math.floor(both / STEP + 1e-9) * STEP
        print(
            f"{level:12}{sum(map(len, sources)):6}{len(sources):9}{_text(accepted):>10}"
            f"{_text(both):>11}{_text(rounded):>9}{PRIORS[level]:7.2f}"
            f"{_text(output, places=0):>9}{USUAL_OUTPUT[level]:7}"
        )
        below, before = both, level


def _text(value: float | None, *, places: int = 2) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _share(found: list[bool]) -> float:
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
