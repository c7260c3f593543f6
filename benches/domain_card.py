"""The card of the semantic layer's head, from what `fit_domains.py` counted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from domain_rows import RULES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from cascadeflow.domains.evaluation import Evaluation

LICENCES = {
    "own": "Apache-2.0",
    "clinc150": "CC-BY-3.0",
    "clinc_small_talk": "CC-BY-3.0",
    "banking77": "CC-BY-4.0",
    "mbpp": "CC-BY-4.0",
    "truthfulqa": "Apache-2.0",
    "crux": "Apache-2.0",
}
"""By source; every other one is MIT."""

_HEAD = """# The head of the semantic layer

`semantic.bin` turns a sentence vector of all-MiniLM-L6-v2 (384 numbers, fp32 weights) and the
rules' evidence ({structural} structural features, and what the rules' weights add up to for each
domain) into the probability of each of 14 domains: a network of one hidden layer, calibrated by one
temperature ({temperature:.3f}). Below a probability of {threshold:.2f} it does not answer. It also
holds a few hundred requests of the project's own training set, which explain an answer and take no
part in it. Apache-2.0, as the project.

Made by `python benches/fit_domains.py`, which writes this file too. Temperature and threshold come
from sources held out in turn; nothing is fitted on or chosen by the rows of the figures below.
"""

_WEIGHED = """
A public source weighs no more than 150 rows a label. Of halueval and llmbar the users' queries are
used; their labels were given by reading them.
"""

_LIMITS = """
## Limits

English first: the sentence model was trained on English; other languages reach it by shared words
and by the rules' features. It reads 256 tokens. Labels are by what is asked for, as the training
set's README defines them; other definitions of the same names will disagree with it.
"""


def card(
    *,
    trained: Counter[tuple[str, str]],
    names: tuple[str, ...],
    temperature: float,
    threshold: float,
    held_out: Evaluation,
    splits: Mapping[str, tuple[Evaluation, Evaluation]],
) -> str:
    """Writes the card."""
    sources: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (source, label), rows in sorted(trained.items()):
        sources[source][label] = rows
    total = sum(trained.values())
    structural = sum(not name.startswith(RULES) for name in names)
    lines = [
        _HEAD.format(structural=structural, temperature=temperature, threshold=threshold),
        f"## Training data: {total:,} requests",
        "",
        "| source | licence | rows |",
        "|---|---|---|",
    ]
    for source, labels in sources.items():
        name = "`benches/domain_training`" if source == "own" else source
        told = ", ".join(f"{label} {rows}" for label, rows in labels.items())
        lines.append(f"| {name} | {LICENCES.get(source, 'MIT')} | {told} |")
    lines += [
        _WEIGHED,
        "## Figures",
        "",
        "| rows | n | accuracy | macro recall | ECE | accuracy, unsure as `general` |",
        "|---|---|---|---|---|---|",
        _row("public training sources, held out", held_out, None),
    ]
    lines += [_row(f"`{name}`", first, second) for name, (first, second) in splits.items()]
    for name, (first, _) in splits.items():
        lines += [
            "",
            f"### `{name}`",
            "",
            "| label | source | rows | recall |",
            "|---|---|---|---|",
        ]
        for label, count in first.by_label.items():
            few = " (listed only)" if label in first.listed_only else ""
            lines.append(f"| **{label}**{few} | all | {count.rows} | {count.share:.1%} |")
            lines += [
                f"| | {source} | {part.rows} | {part.share:.1%} |"
                for (which, source), part in first.by_label_and_source.items()
                if which == label
            ]
        worst = sorted(
            ((times, *pair) for pair, times in first.confusion.items() if pair[0] != pair[1]),
            reverse=True,
        )[:8]
        told = ", ".join(f"{label} taken for {said} {times}" for times, label, said in worst)
        lines += ["", f"Most frequent mistakes: {told}."]
    lines.append(_LIMITS)
    return "\n".join(lines)


def _row(name: str, plain: Evaluation, unsure: Evaluation | None) -> str:
    cells = (
        name,
        f"{plain.rows.rows:,}",
        f"{plain.accuracy:.1%}",
        "-" if plain.macro_recall is None else f"{plain.macro_recall:.1%}",
        "-" if plain.ece is None else f"{plain.ece:.3f}",
        "-" if unsure is None else f"{unsure.accuracy:.1%}",
    )
    return f"| {' | '.join(cells)} |"
