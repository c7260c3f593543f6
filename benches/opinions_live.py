"""Samples and a judge asked live, through the agent: what they know of drafts' rightness.

    nice -n 15 python benches/opinions_live.py               # simulated and local: minutes
    nice -n 15 python benches/opinions_live.py --simulated   # seconds, without the local model

Questions are those of `benches/quality_training` that have a short final answer. **Local**:
SmolLM2-135M-Instruct (`models.lock`) over llama.cpp's server drafts, and is sampled three times at
its temperature; it also tries to grade, and a simulated judge does. **Simulated**: the draft is
right with 70 %, so is each sample, independently; the judge's grade is 5 or 1, and the wrong one
with 10 %. Opinions are asked about every draft, however clear it is, and every draft that they
speak of is served (threshold 0), so that it can be graded; what would be accepted is reckoned from
the score at the usual threshold. Printed are the right among accepted and rejected, the AUC of the
check and of the whole probability (95 % intervals by 1,000 bootstraps), and what opinions cost
beside the drafts, by the agent's own books.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confidence import KINDS, LONGEST, MOST_TOKENS, Question, is_right, llama, questions

from cascadeflow import CascadeAgent, ModelConfig, QualityConfig
from cascadeflow._native import final_answer
from cascadeflow.config import LOCAL_CHECKS
from cascadeflow.models.prices import Price
from cascadeflow.testing import SimulatedModel, SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cascadeflow.testing.model import AnswerSheet

ALL = 240
LOCAL, BY_ITSELF = 100, 30
SAMPLES = 3
WORDING = "{}\n\nEnd with “The answer is …”."
SKILL, JUDGES_RIGHTLY = 0.7, 0.9
RESAMPLES = 1000


@dataclass(frozen=True)
class Told:
    """A draft: whether it is right, and what was said of it."""

    right: bool
    accepted: bool
    score: float
    check: float | None


def short_answers(most: int) -> list[Question]:
    """Questions with a short final answer, in an order that has nothing to do with them."""
    found = [each for each in questions() if each.kind in ("math", *KINDS)]
    found = [each for each in found if len(each.text) < LONGEST]
    return sorted(found, key=lambda each: hashlib.sha256(each.group.encode()).digest())[:most]


def easy_ones(most: int) -> list[Question]:
    """The easiest that are no sums, for a model that can hardly do any other."""
    return [each for each in questions() if each.kind in KINDS and len(each.text) < LONGEST][:most]


def sheet(asked: Sequence[Question]) -> dict[str, str]:
    """The right answers, by what is asked."""
    rights = {}
    for each in asked:
        final = next(found[0] for right in each.right if (found := final_answer(right)))
        rights[WORDING.format(each.text)] = f"The answer is {final.strip(' .')}."
    return rights


def judge(asked: Sequence[Question]) -> AnswerSheet:
    """Grades by the right answers, and errs where a hash of what it is shown says so."""
    by_text = {WORDING.format(each.text): each for each in asked}
    rights = sheet(asked)

    def said(prompt: str) -> str | None:
        found = re.search(
            r"<request>\n(.*)\n</request>\n\n<answer>\n(.*)\n</answer>", prompt, re.DOTALL
        )
        if found is None:
            return rights.get(prompt)
        good = is_right(by_text[found[1]], found[2])
        drawn = hashlib.sha256(prompt.encode()).digest()[0] / 256
        good = good if drawn < JUDGES_RIGHTLY else not good
        return json.dumps({"fault": "" if good else "it is wrong", "grade": 5 if good else 1})

    return said


async def tried(
    asked: Sequence[Question], models: Sequence[ModelConfig], name: str, **opinions: Any
) -> None:
    """Asks every question under one kind of opinion, and prints what it was worth."""
    config = QualityConfig.strict(
        threshold=0.0,
        clear_above=1.0,
        clear_below=0.0,
        cross_check=False,
        without=LOCAL_CHECKS,
        **{"judge": False, **opinions},
    )
    check = "self_consistency" if config.samples else "judge"
    told, drafts, spent, silent = [], 0.0, 0.0, 0
    async with CascadeAgent(models, config, order="given", draft_up_to="expert") as agent:
        results = await agent.run_batch(
            [WORDING.format(each.text) for each in asked], concurrency=2, max_tokens=MOST_TOKENS
        )
        for question, result in zip(asked, results, strict=True):
            if result is None or not result.quality.accepted:
                silent += 1  # its text was rejected, or nobody was heard: the verifier answered
                continue
            found = next((each for each in result.quality.checks if each.name == check), None)
            heard = found is not None and found.verdict in ("passed", "failed")
            told.append(
                Told(
                    right=is_right(question, result.content),
                    accepted=(result.quality.score or 0.0) >= QualityConfig().threshold,
                    score=result.quality.score or 0.0,
                    check=found.score if found is not None and heard else None,
                )
            )
            drafts += float(result.cost.draft or 0)
            spent += float(result.cost.opinions or 0)
    report(name, told, silent)
    cost = f"{spent / drafts:.1f} times the drafts'" if drafts else "nothing"
    print(f"  opinions cost {cost}")


def report(name: str, told: Sequence[Told], silent: int) -> None:
    """Prints one kind of opinion."""
    accepted = [each for each in told if each.accepted]
    rejected = [each for each in told if not each.accepted]
    heard = [each for each in told if each.check is not None]
    print(f"\n{name}: {len(told)} drafts, {share(told)} right; {silent} more were not judged by it")
    print(f"  accepted {len(accepted)}, right {share(accepted)}; rejected, right {share(rejected)}")
    print(f"  AUC of the check, where it spoke ({len(heard)}) {interval(heard, by_check)}")
    print(f"  AUC of the whole probability {interval(told, lambda each: each.score)}")


def by_check(each: Told) -> float:
    return each.check or 0.0


def share(told: Sequence[Told]) -> str:
    return f"{sum(each.right for each in told) / len(told):.1%}" if told else "-"


def auc(told: Sequence[Told], measure: Callable[[Told], float]) -> float | None:
    """How often a right draft comes before a wrong one; equal ones count one half."""
    right = [measure(each) for each in told if each.right]
    wrong = [measure(each) for each in told if not each.right]
    if not right or not wrong:
        return None
    above = sum((one > other) + 0.5 * (one == other) for one in right for other in wrong)
    return above / (len(right) * len(wrong))


def interval(told: Sequence[Told], measure: Callable[[Told], float]) -> str:
    """The AUC with its 95 % interval."""
    found, draw = auc(told, measure), random.Random(5)
    if found is None:
        return "- (all right, or all wrong)"
    drawn = [auc(draw.choices(told, k=len(told)), measure) for _ in range(RESAMPLES)]
    ordered = sorted(each for each in drawn if each is not None)
    low, high = ordered[int(0.025 * len(ordered))], ordered[int(0.975 * len(ordered))]
    return f"{found:.3f} ({low:.3f}-{high:.3f})"


def simulated(asked: Sequence[Question]) -> SimulatedProvider:
    return SimulatedProvider(
        [
            SimulatedModel("gpt-4o-mini", skill=SKILL, answers=sheet(asked)),
            SimulatedModel("gpt-4o", answers=judge(asked)),
        ],
        seed=11,
        keep_requests=0,
    )


async def main(*, local: bool) -> None:
    """Asks the simulated models, and the local one."""
    asked, some = short_answers(ALL), easy_ones(LOCAL)
    async with simulated([*asked, *some]) as server:
        models = server.models_for("openai")
        await tried(asked, models, f"simulated, {SAMPLES} samples", samples=SAMPLES)
        await tried(asked, models, "simulated, judge", judge=True)
        await tried(
            asked, models, f"simulated, {SAMPLES} samples and judge", samples=SAMPLES, judge=True
        )
        if not local:
            return
        with llama() as url:
            small = ModelConfig(
                "smollm2", "llamacpp", base_url=f"{url}/v1", price=Price(input=0.01, output=0.02)
            )
            with_local = [small, models[1]]
            await tried(some, with_local, f"local, {SAMPLES} samples", samples=SAMPLES)
            await tried(some[:BY_ITSELF], with_local, "local, graded by itself", judge="smollm2")
            await tried(some, with_local, "local, graded by the simulated judge", judge=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulated", action="store_true", help="without the local model")
    asyncio.run(main(local=not parser.parse_args().simulated))
