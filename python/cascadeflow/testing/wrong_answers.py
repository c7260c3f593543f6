"""Answers that are surely wrong and look as if they might be right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["perturbed"]

_LETTER = re.compile(r"(\(?)([A-E])(\)?\.?)")
_NUMBER = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?")
_OPPOSITES: Final = {
    "yes": "no", "no": "yes", "true": "false", "false": "true",
    "correct": "incorrect", "incorrect": "correct",
}  # fmt: skip
_OPPOSITE = re.compile(rf"\b({'|'.join(_OPPOSITES)})\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_STEPS: Final = (1, -1, 2, -2, 10, -10, 5, -5)


def perturbed(right: str, choice: int, others: Sequence[str] = ()) -> str:
    """Gives a wrong answer made from the right one.

    In this order: another letter for a multiple choice, a nearby number for the last number, the
    opposite of a yes or no, another question's answer, the longest word misspelt.

    >>> perturbed("The answer is 1,000.", 0)
    'The answer is 1,001.'
    >>> perturbed("(B)", 0), perturbed("Yes, it is.", 0), perturbed("Paris", 0)
    ('(C)', 'No, it is.', 'aPris')

    Args:
        right: the right answer.
        choice: which of the possible wrong answers, at least 0.
        others: right answers of other questions.

    Returns:
        A text other than `right`, spaces and case aside.
    """
    if letter := _LETTER.fullmatch(right.strip()):
        wrong = chr((ord(letter[2]) - ord("A") + 1 + choice % 3) % 4 + ord("A"))
        return f"{letter[1]}{wrong}{letter[3]}"
    numbers = list(_NUMBER.finditer(right))
    if numbers:
        last = numbers[-1]
        return right[: last.start()] + _other_number(last[0], choice) + right[last.end() :]
    if opposite := _OPPOSITE.search(right):
        word = opposite[0]
        other = _OPPOSITES[word.lower()]
        other = other.capitalize() if word[0].isupper() else other
        return right[: opposite.start()] + other + right[opposite.end() :]
    for offset in range(len(others)):
        other = others[(choice + offset) % len(others)]
        if _plain(other) != _plain(right):
            return other
    return _misspelt(right, choice)


def _other_number(number: str, choice: int) -> str:
    whole, point, decimals = number.replace(",", "").partition(".")
    value = int(whole + decimals)
    step = _STEPS[choice % len(_STEPS)]
    digits = str(value + step if value + step >= 0 else value - step)
    digits = digits.zfill(len(whole) + len(decimals))
    if decimals:
        digits, decimals = digits[: -len(decimals)], digits[-len(decimals) :]
    if "," in number:
        digits = f"{int(digits):,}"
    return digits + point + decimals


def _misspelt(text: str, choice: int) -> str:
    words = sorted(_WORD.finditer(text), key=lambda word: -len(word[0]))
    if not words:
        return "unknown"
    word = words[0][0]
    swaps = [i for i in range(len(word) - 1) if word[i].lower() != word[i + 1].lower()]
    if swaps:
        at = swaps[choice % len(swaps)]
        other = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    else:
        other = word + word[-1]
    return text[: words[0].start()] + other + text[words[0].end() :]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
