"""Whether log-probabilities tell right answers from wrong ones: a local model, asked and graded.

    nice -n 15 python benches/confidence.py
    nice -n 15 python benches/confidence.py --keep FILE      # asks only what FILE does not hold yet

Asks SmolLM2-135M-Instruct (`models.lock`), greedily and over llama.cpp's own server on loopback,
questions of `benches/quality_training` that have a short final answer: those up to 400 characters
that are no sums and no code, in three wordings, and the 40 easiest sums in one. An answer is right
if it comes to the same final answer as a right one of the set (`same_final_answer`); where it names
none, if a right one's words stand in it. Prints how well probabilities part right from wrong (AUC,
with 95 % intervals by 1,000 bootstraps over questions), the share that is right by what the check
`confidence` makes of them, and how long it takes. About six minutes of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import subprocess
import sys
import timeit
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cascadeflow._native import final_answer, same_final_answer
from cascadeflow.models.completion import Completion, TokenLogprob
from cascadeflow.models.config import ModelConfig
from cascadeflow.providers.client import HttpCompleter
from cascadeflow.providers.local import model_file
from cascadeflow.quality.confidence import judge_confidence, mean_probability
from cascadeflow.quality.evidence import probability
from cascadeflow.types import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
SUMS = 40
LONGEST = 400
"""Characters of a question: longer ones take long to read."""
MOST_TOKENS = 64
WORDINGS = ("{}\n\nEnd with “The answer is …”.", "{}\n\nAnswer in one short sentence.", "{}")
KINDS = ("fact", "reason", "context", "instruction")


@dataclass(frozen=True)
class Question:
    """A question, and its right answers as the set has them."""

    group: str
    kind: str
    text: str
    right: tuple[str, ...]
    easy: float


def questions() -> list[Question]:
    """Those that have a final answer, the easiest first."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in ("math", "other"):
        with (ROOT / f"benches/quality_training/{name}.jsonl").open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                rows[row["group"]].append(row)
    found = []
    for group, given in rows.items():
        first = given[0]
        right = tuple(row["a"] for row in given if row["right"])
        if any(map(final_answer, right)):
            found.append(Question(group, first["kind"], first["q"], right, first["p"]))
    return sorted(found, key=lambda each: (-each.easy, each.group))


def asked() -> list[tuple[Question, str]]:
    """What is asked, and in which wording."""
    all_of_them = questions()
    sums = [each for each in all_of_them if each.kind == "math"][:SUMS]
    others = [each for each in all_of_them if each.kind in KINDS and len(each.text) < LONGEST]
    first, second, plain = WORDINGS
    return [
        *((each, first) for each in others),
        *((each, second) for each in others),
        *((each, first) for each in sums),
        *((each, plain) for each in others),
    ]


async def ask(what: Iterable[tuple[Question, str]], url: str, into: Path) -> None:
    """Asks, two at a time, and writes each answer with its log-probabilities."""
    model = ModelConfig("smollm2", "llamacpp", base_url=f"{url}/v1")
    waiting = iter(what)
    completer = HttpCompleter()
    with into.open("a", encoding="utf-8") as file:

        async def work() -> None:
            for question, wording in waiting:
                request = ChatRequest(
                    "smollm2",
                    (Message("user", wording.format(question.text)),),
                    max_tokens=MOST_TOKENS,
                    temperature=0,
                    logprobs=0,
                )
                said = (await completer.complete(model, request)).completion
                row = {
                    "group": question.group,
                    "wording": WORDINGS.index(wording),
                    "text": said.text,
                    "logprobs": [[each.token, each.logprob] for each in said.logprobs or ()],
                }
                file.write(json.dumps(row) + "\n")
                file.flush()

        try:
            await asyncio.gather(work(), work())
        finally:
            await completer.aclose()


@contextmanager
def llama() -> Iterator[str]:
    """llama.cpp's server with the local model; gives its address."""
    script = str(ROOT / "tests/servers/llama_server.py")
    server = subprocess.Popen(
        [sys.executable, script, str(model_file("smollm2"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.stdin.close()  # it ends when its standard input does


def collect(into: Path) -> list[dict[str, Any]]:
    """The answers: those that a file holds, and those that are asked for now."""
    known = set()
    if into.exists():
        rows = map(json.loads, into.read_text(encoding="utf-8").splitlines())
        known = {(row["group"], row["wording"]) for row in rows}
    left = [each for each in asked() if (each[0].group, WORDINGS.index(each[1])) not in known]
    if left:
        with llama() as url:
            asyncio.run(ask(left, url, into))
    return [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Graded:
    """An answer: whether it is right, and how likely its model thought its words.

    Attributes:
        everything: the mean over all tokens, as the check takes it.
        final: over those of the final answer; as `everything` where none is named.
        least: the least likely token.
    """

    group: str
    kind: str
    right: bool
    everything: float
    final: float
    least: float
    verdict: str


def is_right(question: Question, text: str) -> bool:
    """Grades an answer."""
    said = [same_final_answer(text, right) for right in question.right]
    if any(each is not None for each in said):
        return True in said
    wanted = [found[0].strip(" .") for found in map(final_answer, question.right) if found]
    return any(
        re.search(rf"(?<!\w){re.escape(each)}(?!\w)", text, re.IGNORECASE) for each in wanted
    )


def graded(question: Question, row: dict[str, Any]) -> Graded:
    """Reads an answer as it was kept."""
    tokens = tuple(TokenLogprob(token, value) for token, value in row["logprobs"])
    everything = mean_probability(tokens)
    assert everything is not None
    final = final_tokens(row["text"], tokens)
    completion = Completion(text=row["text"], logprobs=tokens)
    return Graded(
        group=question.group,
        kind=question.kind,
        right=is_right(question, row["text"]),
        everything=everything,
        final=mean_probability(final) or everything,
        least=math.exp(min(each.logprob for each in tokens)),
        verdict=judge_confidence(completion).check.verdict,
    )


def final_tokens(text: str, tokens: Sequence[TokenLogprob]) -> list[TokenLogprob]:
    """The tokens of the final answer, where it stands first: later it is only repeated."""
    found = final_answer(text)
    start = "".join(each.token for each in tokens).find(found[0]) if found else -1
    if found is None or start < 0:
        return []
    here, chosen = 0, []
    for each in tokens:
        if here < start + len(found[0]) and here + len(each.token) > start:
            chosen.append(each)
        here += len(each.token)
    return chosen


def auc(rows: Sequence[Graded], measure: Callable[[Graded], float]) -> float:
    """How often a right answer comes before a wrong one; equal ones count one half."""
    right = [measure(row) for row in rows if row.right]
    wrong = [measure(row) for row in rows if not row.right]
    above = sum((one > other) + 0.5 * (one == other) for one in right for other in wrong)
    return above / (len(right) * len(wrong)) if right and wrong else math.nan


def slope(rows: Sequence[Graded]) -> float:
    """What the log-odds of being right gain with the logarithm of the mean: fitted by Newton.

    A ridge of 0.01 keeps it finite where a bootstrap's answers are parted without a mistake.
    """
    points = [(math.log(row.everything), row.right) for row in rows]
    level = steep = 0.0
    for _ in range(8):
        first = second = 0.0
        curves = [0.01, 0.0, 0.01]
        for x, good in points:
            sure = probability(level + steep * x)
            first, second = first + good - sure, second + (good - sure) * x
            weight = sure * (1 - sure)
            for at, each in enumerate((weight, weight * x, weight * x * x)):
                curves[at] += each
        first, second = first - 0.01 * level, second - 0.01 * steep
        whole = curves[0] * curves[2] - curves[1] ** 2
        level += (curves[2] * first - curves[1] * second) / whole
        steep += (curves[0] * second - curves[1] * first) / whole
    return steep


def used_slope() -> float:
    """The same, as the check has it between what it calls a guess and what it calls sure."""
    low, high = 0.4, 0.5
    one, other = (
        judge_confidence(Completion(logprobs=(TokenLogprob("a", math.log(mean)),))).ratio
        for mean in (low, high)
    )
    return math.log(other / one) / math.log(high / low)


def interval(rows: Sequence[Graded], figure: Callable[[Sequence[Graded]], float]) -> str:
    """A figure with its 95 % interval, over questions."""
    by_group: dict[str, list[Graded]] = defaultdict(list)
    for row in rows:
        by_group[row.group].append(row)
    groups, draw = list(by_group.values()), random.Random(7)
    drawn = [
        figure([row for group in draw.choices(groups, k=len(groups)) for row in group])
        for _ in range(1000)
    ]
    found = sorted(each for each in drawn if not math.isnan(each))
    low, high = found[int(0.025 * len(found))], found[int(0.975 * len(found))]
    return f"{figure(rows):.3f} ({low:.3f}-{high:.3f})"


def report(rows: Sequence[Graded]) -> None:
    """Prints what the answers come to."""
    kinds = Counter(row.kind for row in rows)
    for kind, number in kinds.most_common():
        print(f"{kind:12} {number:4} answers, right {sum(r.right for r in rows if r.kind == kind)}")
    parts = {
        "all": rows,
        "but for sums": [row for row in rows if row.kind != "math"],
        "facts": [row for row in rows if row.kind == "fact"],
        "neither": [row for row in rows if row.kind not in ("math", "fact")],
    }
    measures: dict[str, Callable[[Graded], float]] = {
        "mean of all tokens": lambda row: row.everything,
        "of the final answer's": lambda row: row.final,
        "least likely token": lambda row: row.least,
    }
    for name, part in parts.items():
        print(f"\nAUC, {name}: {len(part)} answers, {sum(row.right for row in part)} right")
        for what, measure in measures.items():
            print(f"  {what:22} {interval(part, partial(auc, measure=measure))}")
    print("\nright, by the mean probability")
    edges = (0.0, 0.35, 0.45, 0.6, 0.75, 1.01)
    for low, high in pairwise(edges):
        band = [row.right for row in rows if low <= row.everything < high]
        share = f"{sum(band) / len(band):.1%}" if band else "-"
        print(f"  {low:.2f} to {min(high, 1):.2f}: {sum(band)} of {len(band)}, {share}")
    print(f"\nlog-odds of being right, by the logarithm of the mean: used {used_slope():.2f}")
    for name, part in parts.items():
        print(f"  {name:12} {interval(part, slope)}")
    failed = [row.right for row in rows if row.verdict == "failed"]
    print(f"the check fails {len(failed)} answers, of which {sum(failed)} are right")


def duration() -> float:
    """Microseconds that the check takes of 500 tokens, the least of 500 rounds."""
    tokens = tuple(TokenLogprob("word", -0.01 * (at % 90)) for at in range(500))
    completion = Completion(text="word" * 500, logprobs=tokens)
    return min(timeit.repeat(lambda: judge_confidence(completion), number=10, repeat=500)) * 1e5


def main() -> None:
    """Asks what is to be asked, grades, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="keeps the answers in this file")
    wanted = {(each.group, WORDINGS.index(wording)): each for each, wording in asked()}
    with TemporaryDirectory() as folder:
        kept = parser.parse_args().keep or Path(folder) / "answers.jsonl"
        rows = [
            graded(wanted[key], row)
            for row in collect(kept)
            if (key := (row["group"], row["wording"])) in wanted
        ]
    report(rows)
    print(f"\nthe check, 500 tokens: {duration():.0f} µs")


if __name__ == "__main__":
    main()
