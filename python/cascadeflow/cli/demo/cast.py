"""Who answers in the demo: a real small model and a simulated verifier, or real models."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeflow.errors import CascadeFlowError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from cascadeflow.cli.demo.questions import Question
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.testing.model import SimulatedModel

__all__ = ["DRAFT_SKILL", "ERROR_RATE", "Cast", "Role", "live_cast", "simulated_cast"]

ERROR_RATE = 0.05
"""How often the simulated verifier errs; the seed decides on which questions."""

DRAFT_SKILL = 0.5
"""How often a simulated draft is right, where it must stand in for the local model."""

_VERIFIER_PRICE = "anthropic:claude-opus-5-5"
_DRAFT_PRICE = "anthropic:claude-haiku-5-5"

_INSTRUCTION = "Answer in one short sentence."

_LOCAL_MODEL = "local:smollm2"
_LOCAL_TOKENS = 24
"""Most tokens of a local draft, enough for a short sentence: it writes 12 to 20 a second."""

_THREADS_VARIABLE = "RAYON_NUM_THREADS"
_PROBE_SECONDS = 0.4

_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One model of the demo.

    Attributes:
        model: how the agent reaches it.
        shown: what it is called in the table.
        words: what it is and what it costs, for people.
        simulated: whether its answers are made up.
        priced_as: whose price a simulated model is charged at; `None` for a real one.
        error_rate: how often it errs by design; `None` for a real one.
    """

    model: ModelConfig
    shown: str
    words: str
    simulated: bool = False
    priced_as: str | None = None
    error_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who answers; `note` is what people must know before they read on."""

    draft: Role
    verifier: Role
    note: str = ""


@asynccontextmanager
async def simulated_cast(
    questions: Sequence[Question], *, local: bool = True
) -> AsyncGenerator[Cast]:
    """Gives the demo's usual cast; its simulated provider runs on loopback until the end.

    Args:
        questions: what the simulated models have an answer sheet for.
        local: whether the local model drafts, if it can be loaded; else a simulated one does.
    """
    from cascadeflow.testing.provider import SimulatedProvider  # noqa: PLC0415

    simulated = (
        _simulated("simulated-draft", DRAFT_SKILL, _DRAFT_PRICE, questions),
        _simulated("simulated-verifier", 1 - ERROR_RATE, _VERIFIER_PRICE, questions),
    )
    async with SimulatedProvider(simulated, seed=_SEED) as provider:
        draft_model, verifier_model = (
            replace(model, system_prompt=_INSTRUCTION) for model in provider.models_for("anthropic")
        )
        verifier = Role(
            model=verifier_model,
            shown="simulated verifier",
            words=_simulated_words(ERROR_RATE, _VERIFIER_PRICE),
            simulated=True,
            priced_as=_VERIFIER_PRICE,
            error_rate=ERROR_RATE,
        )
        problem = await _local_problem() if local else "--simulated was asked for"
        if problem is None:
            draft = Role(
                model=_local_model(),
                shown="SmolLM2-135M, local",
                words="SmolLM2-135M-Instruct, real, in this process, and so free",
            )
            yield Cast(draft=draft, verifier=verifier)
            return
        draft = Role(
            model=draft_model,
            shown="simulated draft",
            words=_simulated_words(1 - DRAFT_SKILL, _DRAFT_PRICE),
            simulated=True,
            priced_as=_DRAFT_PRICE,
            error_rate=1 - DRAFT_SKILL,
        )
        note = f"No local model drafts, but a simulated one: {problem}"
        yield Cast(draft=draft, verifier=verifier, note=note)


def live_cast() -> Cast:
    """Gives real models: those the environment names or has keys for, else Ollama's.

    Raises:
        ConfigurationError: there are no two models to be had.
    """
    from cascadeflow.agent_env import models_from_env  # noqa: PLC0415
    from cascadeflow.cli.local_models import OLLAMA_URL, ollama_models  # noqa: PLC0415
    from cascadeflow.models.catalogue import cheapest_first  # noqa: PLC0415

    try:
        models = cheapest_first(
            [_real_model(name) for name in models_from_env()], at=datetime.now(UTC)
        )
    except ConfigurationError as error:
        models = [_real_model(f"ollama:{found.name}") for found in ollama_models() or ()]
        if not models:
            raise ConfigurationError(
                f"--live needs real models: {error}; or an Ollama server at {OLLAMA_URL}"
            ) from error
    if len(models) == 1:
        raise ConfigurationError(
            f"--live needs two models to make a cascade, and there is only {models[0].id}"
        )
    draft, verifier = models[0], models[-1]
    return Cast(
        draft=Role(model=draft, shown=draft.id, words="real"),
        verifier=Role(model=verifier, shown=verifier.id, words="real"),
        note="Real models are asked: each question in the cascade, and once more for comparison.",
    )


def _real_model(name: str) -> ModelConfig:
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415

    return ModelConfig.parse(name, system_prompt=_INSTRUCTION)


def _local_model() -> ModelConfig:
    return replace(_real_model(_LOCAL_MODEL), max_tokens=_LOCAL_TOKENS, temperature=0.0)


async def _local_problem() -> str | None:
    """Loads the local model and says why it cannot be used, or `None` when it answers."""
    from cascadeflow.agent import CascadeAgent  # noqa: PLC0415

    threads = threads_beside_other_work()
    if threads is not None:
        os.environ.setdefault(_THREADS_VARIABLE, str(threads))
    try:
        async with CascadeAgent([_local_model()]) as agent:
            await agent.run("Hello", max_tokens=1)
    except CascadeFlowError as error:
        return str(error)
    return None


def threads_beside_other_work() -> int | None:
    """How many threads the local model shall have; `None`: as many as it likes.

    Its threads wait for each other at every step, so that two on a core and a half take ten times
    as long as two on two, and longer than one by itself. The cores that are idle now are counted
    on Linux; elsewhere nobody knows.
    """
    before = _idle_seconds()
    time.sleep(_PROBE_SECONDS)
    after = _idle_seconds()
    if before is None or after is None:
        return None
    idle = round((after - before) / _PROBE_SECONDS)
    return None if idle >= len(os.sched_getaffinity(0)) else max(1, idle)


def _idle_seconds() -> float | None:
    """Seconds that all cores together have been idle; `None` where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _simulated(
    name: str, skill: float, priced_as: str, questions: Sequence[Question]
) -> SimulatedModel:
    from cascadeflow.models.prices import require_price  # noqa: PLC0415
    from cascadeflow.testing.model import SimulatedModel  # noqa: PLC0415

    return SimulatedModel(
        name,
        skill=skill,
        answers={question.prompt: question.right for question in questions},
        wrong_answers={question.prompt: question.wrong for question in questions},
        price=require_price(_real_model(priced_as), at=datetime.now(UTC)),
    )


def _simulated_words(error_rate: float, priced_as: str) -> str:
    return (
        f"SIMULATED: it answers from a sheet over loopback HTTP, errs at {error_rate:.0%} and is "
        f"charged at the price of {priced_as}"
    )
