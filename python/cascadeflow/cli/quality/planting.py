"""Faults that are planted in right answers: what the answer should then be rejected for."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cascadeflow.cli.quality.cases import CaseSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.cli.quality.cases import Case

__all__ = ["altered", "planted"]

_NUMBER: Final = r"(\d(?:[\d,]*\d)?(?:\.\d+)?)"
_FINAL: Final = (
    re.compile(rf'("answer":\s*"?[^0-9"\n]*|#### [^0-9\n]*){_NUMBER}'),
    re.compile(rf"(\\boxed\{{[^0-9\n{{}}]*|\banswer(?: is|:)[^0-9\n]*){_NUMBER}", re.IGNORECASE),
)
"""Where answers name their final number; the second way only where there is none of the first."""

_STEPS: Final = (1, 2, 3, 5, 10, -1, -2, -3, -5)


def altered(answer: str, chance: random.Random, *, equation: bool) -> str | None:
    """Gives an answer with another final number; `None` where no final number is found.

    Args:
        answer: the text.
        chance: draws the number, near the one that stands there.
        equation: whether the last equation before it, which must have the same result, is changed
            to agree. `None` is given where there is none.
    """
    found = next((each for way in _FINAL if (each := list(way.finditer(answer)))), None)
    if found is None:
        return None
    start, old = found[-1].start(2), found[-1].group(2)
    new = _other_number(old, chance)
    out = answer[:start] + new + answer[start + len(old) :]
    if not equation:
        return out
    pattern = rf"=\s*\$?(?:<<[^>]*>>)?\$?{re.escape(old)}(?!\d|\.\d)"
    results = list(re.finditer(pattern, answer[:start]))
    if not results:
        return None
    at = results[-1].end() - len(old)
    return out[:at] + new + out[at + len(old) :]


def planted(name: str, cases: Sequence[Case], *, seed: int) -> list[CaseSet]:
    """Plants faults in right answers, one of each question, and sets each beside what it was.

    Args:
        name: the set's name; the fault's is put behind it.
        cases: answers; the wrong ones are passed over.
        seed: decides which answer of a question is taken, and what is planted.
    """
    chance = random.Random(seed)
    by_question: dict[str, list[Case]] = {}
    for case in cases:
        if case.good:
            by_question.setdefault(case.key, []).append(case)
    right = [chance.choice(each) for each in by_question.values()]
    made = []
    for fault in ("another final number", "the last equation agreeing", "another's answer"):
        pairs: list[Case] = []
        for case in right:
            match fault:
                case "another's answer":
                    changed = _other_answer(case, right, chance)
                case _:
                    equation = fault == "the last equation agreeing"
                    changed = altered(case.answer, chance, equation=equation)
            if changed is not None:
                pairs += (
                    replace(case, answer=changed, good=False),
                    case,
                )
        if pairs:
            made.append(
                CaseSet(name=f"{name}, {fault}", kind="answers", cases=tuple(pairs), planted=True)
            )
    return made


def _other_number(text: str, chance: random.Random) -> str:
    """A number near the one given, and not it."""
    value = float(text.replace(",", ""))
    if value != int(value):
        return f"{value + chance.choice([0.5, 1, 2]):.2f}"
    step = chance.choice(_STEPS) * max(1, int(abs(value) * 0.02))
    return str(int(value) + step if value + step > 0 else int(value) + 7)


def _other_answer(case: Case, right: Sequence[Case], chance: random.Random) -> str | None:
    """Another question's answer that reads otherwise; `None` where a few draws find none."""
    for _ in range(8):
        other = chance.choice(right)
        if other.key != case.key and other.answer.casefold() != case.answer.casefold():
            return other.answer
    return None
