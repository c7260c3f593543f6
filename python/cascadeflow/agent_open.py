"""Reads one request of an agent's, plans it and opens its books."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal

from cascadeflow.agent_judging import asked_quality, models_at_hand
from cascadeflow.agent_setup import (
    domain_of,
    loop_of,
    schema_of,
    seconds,
    spender_of,
)
from cascadeflow.config import QualityConfig
from cascadeflow.domains.complexity import Assessor
from cascadeflow.money import from_usd
from cascadeflow.pipeline.request import normalise
from cascadeflow.pipeline.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cascadeflow.config import QualityMode
    from cascadeflow.domains.registry import RouteChoice
    from cascadeflow.money import Amount
    from cascadeflow.pipeline.engine import Engine
    from cascadeflow.pipeline.experiment import Trial
    from cascadeflow.pipeline.route import Level, Plan, Router
    from cascadeflow.tools import ToolExecutor
    from cascadeflow.types import JsonObject, Message, ResponseFormat, Tool

__all__ = ["open_run"]

_UNREAD: Final[Level] = "moderate"
"""What a request counts as until it was read; no decision is made by it."""


def open_run(
    engine: Engine,
    router: Router,
    query: str | None,
    messages: Iterable[Message | JsonObject] | None,
    *,
    streamed: bool,
    batch: bool = False,
    system_prompt: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: str | Sequence[str] | None = None,
    seed: int | None = None,
    tools: Sequence[Tool | JsonObject | Callable[..., Any]] | None = None,
    tool_choice: str | JsonObject | None = None,
    tool_executor: ToolExecutor | Literal[True] | None = None,
    max_steps: int | None = None,
    response_format: ResponseFormat | JsonObject | type[Any] | None = None,
    extra: JsonObject | None = None,
    model: str | None = None,
    force_direct: bool = False,
    complexity_hint: str | None = None,
    domain: str | None = None,
    quality_mode: QualityMode | None = None,
    quality_config: QualityConfig | None = None,
    user_id: str | None = None,
    user_tier: str | None = None,
    team: str | None = None,
    key_id: str | None = None,
    tags: Sequence[str] = (),
    max_extra_cost: Amount | None = None,
    use_cache: bool = True,
    timeout: float | None = None,
) -> Run:
    """Reads a request, plans it and opens its books."""
    started = engine.clock.monotonic()
    schema, response_format = schema_of(response_format)
    loop, tools = loop_of(tools, tool_executor, max_steps)
    request = normalise(
        query,
        messages=messages,
        system_prompt=system_prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=stop,
        seed=seed,
        tools=tools,
        tool_choice=tool_choice,
        response_format=response_format,
        extra=extra,
    )

    assessor = Assessor(request.messages)
    # Who can answer is said at once, and how hard a long request is once it was read elsewhere.
    late = assessor.is_long and complexity_hint is None

    def replan(domain: str | None, choice: RouteChoice | None, hint: str | None = None) -> Plan:
        return (router if trial is None else trial.router).plan(
            request,
            model=model,
            force_direct=force_direct,
            complexity_hint=hint if complexity_hint is None else complexity_hint,
            domain=domain,
            choice=choice,
            assessor=assessor,
        )

    async def read() -> Plan:
        await assessor.read()
        return replan(domain, None)

    domain = domain_of(domain, engine.tiers, engine.domains)
    quality = asked_quality(quality_config, quality_mode, engine.tiers)
    if isinstance(quality, QualityConfig):
        models_at_hand(engine.validator, quality)
    spender = spender_of(user_id, user_tier, team, key_id, tags)
    trial: Trial | None = None
    request_id: str | None = None
    if engine.trials is not None and model is None and not force_direct:
        request_id = os.urandom(16).hex()
        trial = engine.trials.draw(user_id, request_id, judged=quality is not None)
        if trial is not None and trial.arm.quality is not None:
            quality = trial.arm.quality
    plan = replan(domain, None, _UNREAD if late else None)
    return Run(
        engine,
        request,
        plan,
        started=started,
        timeout=seconds(timeout),
        spender=spender,
        pinned=model is not None,
        max_extra_cost=(
            None if max_extra_cost is None else from_usd(max_extra_cost, what="max_extra_cost")
        ),
        use_cache=use_cache,
        streamed=streamed,
        schema=schema,
        loop=loop,
        quality=quality,
        domain=domain,
        batch=batch,
        replan=replan,
        read=read if late else None,
        request_id=request_id,
        trial=trial,
    )
