"""What each rule finds in recorded answers, and how surely it finds errors that are planted.

    python benches/quality_checks.py

Reads the same recorded answers as `fit_quality.py` (`CASCADEFLOW_DATA`) and, to see false alarms
in general chat, `hallucination/halueval_general` (MIT; its labels speak of facts, not of these
faults). Plants three errors in right GSM8K answers: another final number, another final number
with the last equation changed to agree, and the answer to another question.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeflow.quality import judge_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
FINAL = re.compile(r'("answer":\s*"?[^0-9"\n]*|#### [^0-9\n]*)(\d[\d,]*(?:\.\d+)?)')


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a file of the shared data."""
    folder = Path(os.environ.get("CASCADEFLOW_DATA", ROOT.parent / "shared" / "data"))
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as file:
        yield from map(json.loads, file)


def answers(task: str) -> Iterator[tuple[str, str, str, bool]]:
    """Model, question, answer, and whether it is right."""
    for row in lines(f"cascade/zeroeval_{task}"):
        for model, given in row["models"].items():
            yield model, row["question"], given["output"], given["correct"]
    if task == "gsm8k":
        for row in lines("cascade/routellm_gsm8k"):
            for kind in ("cheap", "exp"):
                model, text = row[f"{kind}_model"], row[f"{kind}_response"]
                yield model, row["prompt"], text, row[f"{kind}_correct"]


def shares(title: str, rows: Sequence[tuple[str, str, bool | None]]) -> None:
    """Prints how often each check fails, apart for right and wrong answers."""
    failed: Counter[tuple[str, bool | None]] = Counter()
    names: dict[str, None] = {}
    for question, answer, right in rows:
        for check in judge_text(question, answer, finish_reason="stop").checks:
            names[check.name] = None
            failed[check.name, right] += check.verdict == "failed"
    sizes = Counter(right for *_, right in rows)
    print(f"\n{title}: {dict(sizes)}")
    for name in names:
        each = ", ".join(
            f"{key}: {failed[name, key]} ({failed[name, key] / sizes[key]:.2%})" for key in sizes
        )
        print(f"  {name:16} fails in {each}")


def other_number(text: str, chance: random.Random) -> str:
    """A number near the one given, and not it."""
    value = float(text.replace(",", ""))
    if value != int(value):
        return f"{value + chance.choice([0.5, 1, 2]):.2f}"
    step = chance.choice([1, 2, 3, 5, 10, -1, -2, -3, -5]) * max(1, int(abs(value) * 0.02))
    return str(int(value) + step if value + step > 0 else int(value) + 7)


def alter(answer: str, chance: random.Random, *, equation: bool) -> str | None:
    """The answer with another final number, and if asked for the last equation to agree."""
    found = list(FINAL.finditer(answer))
    if not found:
        return None
    start, old = found[-1].start(2), found[-1].group(2)
    new = other_number(old, chance)
    out = answer[:start] + new + answer[start + len(old) :]
    if not equation:
        return out
    pattern = rf"=\s*\$?(?:<<[^>]*>>)?\$?{re.escape(old)}(?![\d.])"
    results = list(re.finditer(pattern, answer[:start]))
    if not results:
        return None
    at = results[-1].end() - len(old)
    return out[:at] + new + out[at + len(old) :]


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """The chance that a good one scores higher than a bad one; ties count one half."""
    order = sorted([(score, 1) for score in good] + [(score, 0) for score in bad])
    total, at = 0.0, 0
    while at < len(order):
        end = at
        while end < len(order) and order[end][0] == order[at][0]:
            end += 1
        total += (at + end + 1) / 2 * sum(is_good for _, is_good in order[at:end])
        at = end
    return (total - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad))


def planted(
    title: str, rows: Sequence[tuple[str, str]], plant: Callable[[str, str], str | None]
) -> None:
    """Prints how surely right answers score above the same answers with a planted error."""
    good, bad = [], []
    for question, answer in rows:
        changed = plant(question, answer)
        if changed is not None:
            good.append(judge_text(question, answer).probability)
            bad.append(judge_text(question, changed).probability)
    print(f"{title:48} AUC {auc(good, bad):.3f}  ({len(good)} answers)")


def main() -> None:
    """Reads, judges, prints."""
    for task in ("gsm8k", "crux"):
        shares(task, [(question, answer, right) for _, question, answer, right in answers(task)])
    chat = lines("hallucination/halueval_general")
    shares("general chat", [(row["user_query"], row["chatgpt_response"], None) for row in chat])
    right = [(question, answer) for _, question, answer, good in answers("gsm8k") if good][::5]
    chance = random.Random(0)
    print("\nplanted errors, GSM8K, right answers of twelve models")
    planted("another final number", right, lambda _, a: alter(a, chance, equation=False))
    planted("the same, last equation changed to agree", right,
            lambda _, a: alter(a, chance, equation=True))  # fmt: skip
    others = dict(right)

    def swap(question: str, _: str) -> str | None:
        other = chance.choice(list(others))
        return None if other == question else others[other]

    planted("the answer to another question", right, swap)


if __name__ == "__main__":
    main()
