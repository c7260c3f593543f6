"""Does a tuned threshold keep its promise? Tunes on one half of a log, judges on the other.

    python benches/coverage.py                  # 200 resplits of each pair, a minute or two
    python benches/coverage.py --resplits 50

For each pair and target, over the resplits:

* *held*: the share of resplits in which the other half keeps at least the target.
* *tuned*: of them, in which a threshold was promised; where none was, nothing is accepted.
* *kept*, *saved*: what the other half keeps and saves, in the mean, promised or not.
* *random, tuned*: random escalation, its share chosen on the first half by the same promise.
* *random, equal*: random escalation that keeps, on the other half, as much quality as the tuned
  cascade kept there, chosen in hindsight; or the most random can keep of what is more.
* *won*: the share of promised resplits in which the cascade saves more than that.

Reads `cascade/zeroeval_gsm8k`, `zeroeval_crux` and `routellm_gsm8k` under `CASCADEFLOW_DATA`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import repeat
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from cascadeflow.cli.replay.formats import model_names, read_rows, resolve_model
from cascadeflow.cli.replay.pricing import priced_model
from cascadeflow.cli.replay.statistics import (
    always_draft,
    always_verifier,
    random_to_quality,
    saved_fraction,
)
from cascadeflow.cli.tune.logged import logged_drafts
from cascadeflow.cli.tune.tuning import Scored, choose, decided, weigh
from cascadeflow.quality.fitting import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.cli.replay.statistics import Outcome
    from cascadeflow.cli.tune.tuning import LoggedDraft

ROOT = Path(__file__).parents[1]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Pair:
    """A log, its models, and the targets to promise."""

    file: str
    draft: str
    verifier: str
    cross_check: str | None
    targets: tuple[float, ...]


MINI = ("gpt-4o-mini", "gpt-4o-2024-05-13")
HAIKU = ("claude-3-haiku", "claude-3-5-sonnet")
THIRD = "gemini-1.5-flash"
PAIRS = (
    Pair("zeroeval_gsm8k", *MINI, THIRD, (0.95, 0.96, 0.97)),
    Pair("zeroeval_gsm8k", *HAIKU, THIRD, (0.90, 0.93, 0.95, 0.97)),
    Pair("zeroeval_crux", *MINI, THIRD, (0.85, 0.90, 0.95)),
    Pair("routellm_gsm8k", "mixtral", "gpt-4-1106", None, (0.80, 0.85, 0.90, 0.95)),
)
"""Those with a third model are tuned in both modes, the other in `fast` alone."""


@cache
def drafts_of(pair: Pair) -> list[LoggedDraft]:
    """Reads a pair's log and takes the measures of each draft once."""
    folder = Path(os.environ.get("CASCADEFLOW_DATA", ROOT.parent / "shared" / "data")) / "cascade"
    rows = read_rows(folder / f"{pair.file}.jsonl.gz")
    names = model_names(rows)
    # RouteLLM's authors reckoned with what Groq takes for Mixtral.
    prices = {"mixtral": "groq:mixtral-8x7b-32768"}
    now = datetime.now(UTC)
    wanted = [pair.draft, pair.verifier, *([pair.cross_check] if pair.cross_check else [])]
    models = [priced_model(resolve_model(name, names), prices.get(name), at=now) for name in wanted]
    usable = [row for row in rows if all(model.name in row.answers for model in models)]
    return logged_drafts(usable, models[0], models[1], models[2] if pair.cross_check else None)


@dataclass(frozen=True, slots=True)
class Split:
    """What one resplit gave, on the half that was not tuned on."""

    kept: float
    saved: float
    promised: bool
    random_tuned: float
    random_equal: float


def by_lot(drafts: Sequence[LoggedDraft], lot: random.Random) -> list[Scored]:
    """Scores drafts at random: to escalate by a threshold of it is random escalation."""
    width = len(drafts[0].judged.features)
    weights = Weights(intercept=0.0, text=1.0, features=(0.0,) * width)
    return [
        Scored(
            replace(
                draft,
                rejected=False,
                judged=replace(draft.judged, log_odds=lot.uniform(-4.4, 8.0)),
            ),
            weights,
            strict=False,
        )
        for draft in drafts
    ]


def kept_saved(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """The share of the verifier's right answers, and of its cost that is saved."""
    kept = sum(each.correct for each in outcomes) / sum(o.verifier_correct for o in outcomes)
    billed = sum(each.cost for each in outcomes)
    return kept, saved_fraction(billed, sum(each.verifier_cost for each in outcomes)) or 0.0


def resplit(pair: Pair, seed: int) -> dict[str, list[Split]]:
    """Tunes on one half for each mode and target, and judges on the other."""
    drafts = drafts_of(pair)
    lot = random.Random(seed)
    order = lot.sample(drafts, len(drafts))
    mine, rest = order[: len(order) // 2], order[len(order) // 2 :]
    weights, held = weigh(mine)
    drawn, drawn_rest = by_lot(mine, lot), by_lot(rest, lot)
    splits: dict[str, list[Split]] = {}
    for mode in ("fast", "strict") if pair.cross_check else ("fast",):
        strict = mode == "strict"
        scored = [Scored(d, w, strict=strict) for d, w in zip(mine, held, strict=True)]
        others = [Scored(draft, weights, strict=strict) for draft in rest]
        splits[mode] = []
        for target in pair.targets:
            tuned = choose(scored, target=target, confidence=CONFIDENCE)
            outcomes = decided(others, tuned.threshold)
            kept, saved = kept_saved(outcomes)
            chance = choose(drawn, target=target, confidence=CONFIDENCE)
            equal = random_to_quality(outcomes, kept)
            best = max(
                (always_draft(outcomes), always_verifier(outcomes)),
                key=lambda each: each.accuracy,
            )
            splits[mode].append(
                Split(
                    kept=kept,
                    saved=saved,
                    promised=tuned.promised,
                    random_tuned=kept_saved(decided(drawn_rest, chance.threshold))[1],
                    random_equal=(equal or best).saved or 0.0,
                )
            )
    return splits


def report(
    pair: Pair, mode: str, drafts: Sequence[LoggedDraft], runs: Sequence[Sequence[Split]]
) -> bool:
    """Prints a pair's rows in a mode; says whether every promise was kept often enough."""
    good = sum(draft.judged.good for draft in drafts) / len(drafts)
    right = sum(draft.verifier_right for draft in drafts) / len(drafts)
    name = f"{pair.file.partition('_')[2]} {pair.draft} → {pair.verifier}, {mode}"
    print(f"\n{name}: n {len(drafts)}, right {good:.1%} / {right:.1%}, unjudged {good / right:.1%}")
    print("target    held   tuned    kept   saved   random, tuned   random, equal     won")
    every = True
    for at, target in enumerate(pair.targets):
        splits = [run[at] for run in runs]
        held = fmean(each.kept >= target - 1e-12 for each in splits)
        every = every and held >= CONFIDENCE
        made = [each for each in splits if each.promised]
        won = f"{fmean(e.saved > e.random_equal for e in made):7.1%}" if made else "      -"
        print(
            f"{target:6.1%} {held:7.1%} {len(made) / len(splits):7.1%} "
            f"{fmean(e.kept for e in splits):7.1%} {fmean(e.saved for e in splits):7.1%} "
            f"{fmean(e.random_tuned for e in splits):15.1%} "
            f"{fmean(e.random_equal for e in splits):15.1%} {won}"
        )
    return every


def main() -> None:
    """Resplits every pair; ends with 1 where a promise was not held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resplits", type=int, default=200)
    options = parser.parse_args()
    held = []
    with ProcessPoolExecutor() as processes:
        for pair in PAIRS:
            seeds = range(options.resplits)
            runs = list(processes.map(resplit, repeat(pair), seeds, chunksize=10))
            drafts = drafts_of(pair)
            held += [report(pair, mode, drafts, [run[mode] for run in runs]) for mode in runs[0]]
    if not all(held):
        sys.exit("a promise was kept in fewer than 95 % of the resplits")


if __name__ == "__main__":
    main()
