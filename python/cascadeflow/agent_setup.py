"""What `CascadeAgent` is given, read and checked."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, get_args

from cascadeflow.budgets.records import NOBODY, Spender
from cascadeflow.config import BreakerPolicy
from cascadeflow.errors import ConfigurationError, InvalidRequestError
from cascadeflow.models.config import ModelConfig
from cascadeflow.models.prices import require_price
from cascadeflow.providers.registry import get_provider
from cascadeflow.types import DOMAINS, ResponseFormat, Tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cascadeflow.agent_listeners import Listener
    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.cache.key import CacheScope
    from cascadeflow.cache.protocol import ResponseCache
    from cascadeflow.clock import Clock
    from cascadeflow.config import Deadlines, QualityConfig, QualityMode, RetryPolicy
    from cascadeflow.models.completer import Completer
    from cascadeflow.money import Amount
    from cascadeflow.pipeline.domain import DomainRouting
    from cascadeflow.pipeline.engine import Engine
    from cascadeflow.pipeline.events import Event
    from cascadeflow.pipeline.recall import Recall
    from cascadeflow.pipeline.steps import ToolLoop
    from cascadeflow.pipeline.till import Till
    from cascadeflow.providers.protocols import Transport
    from cascadeflow.structured import OutputSchema
    from cascadeflow.tiers.config import TierConfig, UserProfile
    from cascadeflow.tiers.directory import TierResolver
    from cascadeflow.tiers.gate import Tiers
    from cascadeflow.tools import ToolExecutor
    from cascadeflow.types import JsonObject

__all__ = [
    "DEFAULT_BREAKER",
    "CacheOption",
    "OnVerifierFailure",
    "RunOptions",
    "UnknownPrice",
    "check_models",
    "close_engine",
    "completer_of",
    "domain_of",
    "hedge_seconds",
    "loop_of",
    "must_have",
    "notifier_of",
    "one_of",
    "read_models",
    "recall_of",
    "schema_of",
    "seconds",
    "spender_of",
    "tiers_of",
    "till_of",
    "tracker_of",
    "warn_of_patterns",
]

_logger: Final = logging.getLogger(__name__)

CacheOption: TypeAlias = "str | bool | ResponseCache | None"
DEFAULT_BREAKER: Final = BreakerPolicy()
_STEPS: Final = 8
OnVerifierFailure = Literal["error", "draft"]
UnknownPrice = Literal["error", "allow"]


class RunOptions(TypedDict, total=False):
    """What a request may say besides its question: the options of `CascadeAgent.run`."""

    system_prompt: str | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: str | Sequence[str] | None
    seed: int | None
    tools: Sequence[Tool | JsonObject | Callable[..., Any]] | None
    tool_choice: str | JsonObject | None
    tool_executor: ToolExecutor | Literal[True] | None
    max_steps: int | None
    response_format: ResponseFormat | JsonObject | type[Any] | None
    extra: JsonObject | None
    model: str | None
    force_direct: bool
    complexity_hint: str | None
    domain: str | None
    quality_mode: QualityMode | None
    quality_config: QualityConfig | None
    user_id: str | None
    user_tier: str | None
    team: str | None
    key_id: str | None
    tags: Sequence[str]
    max_extra_cost: Amount | None
    use_cache: bool
    timeout: float | None


def one_of(name: str, value: object, allowed: Any) -> None:
    """Refuses what is none of a `Literal`'s texts.

    Raises:
        ConfigurationError: it names the option and its texts.
    """
    if value not in get_args(allowed):
        raise ConfigurationError(f"{name} must be one of {get_args(allowed)}, not {value!r}")


def seconds(timeout: Any) -> float | None:
    """Reads a call's time-out.

    Raises:
        InvalidRequestError: it is no time.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise InvalidRequestError(f"timeout must be a number of seconds, not {timeout!r}")
    if not 0 < timeout < math.inf:
        raise InvalidRequestError(f"timeout must be more than 0 seconds and finite, not {timeout}")
    return timeout


def hedge_seconds(value: Any) -> float | None:
    """Reads after how many seconds a draft is hedged.

    Raises:
        ConfigurationError: it is no time.
    """
    try:
        return seconds(value)
    except InvalidRequestError as error:
        raise ConfigurationError(str(error).replace("timeout", "hedge_after", 1)) from None


def schema_of(form: Any) -> tuple[OutputSchema | None, ResponseFormat | JsonObject | None]:
    """Gives what an answer shall be read as, where `response_format=` is a type, and its form.

    Raises:
        ConfigurationError: no schema can be made of it.
    """
    if form is None or isinstance(form, (ResponseFormat, Mapping)):
        return None, form
    from cascadeflow.structured import OutputSchema  # noqa: PLC0415 - 100 ms of pydantic

    schema = OutputSchema.of(form)
    return schema, schema.format


def loop_of(
    tools: Any, executor: Any, max_steps: Any
) -> tuple[ToolLoop | None, Sequence[Tool | JsonObject] | None]:
    """Gives who runs the tools, if anybody here does, and the tools as records.

    Raises:
        ConfigurationError: no schema can be made of a function.
        InvalidRequestError: the options do not go together.
    """
    if executor is None:
        if max_steps is not None:
            raise InvalidRequestError(
                "max_steps= bounds what tool_executor= runs, and there is none"
            )
        if isinstance(tools, (list, tuple)) and any(map(_is_function, tools)):
            from cascadeflow.tools import Toolbox  # noqa: PLC0415 - 100 ms of pydantic

            tools = Toolbox.of(tools).tools
        return None, tools
    from cascadeflow.pipeline.steps import ToolLoop  # noqa: PLC0415 - off costs nothing
    from cascadeflow.tools import Toolbox  # noqa: PLC0415 - 100 ms of pydantic

    toolbox = Toolbox.of(tools or ())
    return ToolLoop(toolbox, executor, _STEPS if max_steps is None else max_steps), toolbox.tools


def _is_function(tool: object) -> bool:
    return not isinstance(tool, (Tool, Mapping)) and callable(tool)


def read_models(models: Any, option: str = "models") -> list[ModelConfig]:
    """Reads the models: texts, records or dicts.

    Raises:
        ConfigurationError: one of them is none.
    """
    if isinstance(models, (str, Mapping, ModelConfig)) or not isinstance(models, Iterable):
        raise ConfigurationError(
            f"{option} must be a list, such as ['openai:gpt-5-mini', 'anthropic:claude-opus-4-5']"
        )
    return [_read_model(model) for model in models]


def check_models(
    models: Sequence[ModelConfig],
    completer: Completer | None,
    *,
    at: datetime,
    unknown_price: UnknownPrice,
) -> None:
    """Sees to it that every model's provider and price are known.

    Raises:
        ConfigurationError: one is not; it says how to register or state it.
    """
    for model in models:
        if completer is None and model.provider != "local":
            get_provider(model.provider)
        if unknown_price == "error":
            require_price(model, at=at)


def _read_model(model: Any) -> ModelConfig:
    if isinstance(model, ModelConfig):
        return model
    if isinstance(model, str):
        return ModelConfig.parse(model)
    if isinstance(model, Mapping):
        try:
            return ModelConfig(**model)
        except TypeError as error:
            raise ConfigurationError(
                f"no ModelConfig can be made of {set(model)}: {error}"
            ) from None
    raise ConfigurationError(
        f"a model is text, a ModelConfig or a dict of its fields, not {type(model).__name__}"
    )


def domain_of(domain: Any, tiers: Tiers | None, routing: DomainRouting | None) -> str | None:
    """Reads what a request is said to be about; tiers may have domains of their own.

    Raises:
        InvalidRequestError: there is no such domain.
    """
    known = DOMAINS if routing is None else routing.detector.names
    if domain is None or (isinstance(domain, str) and (tiers is not None or domain in known)):
        return domain
    raise InvalidRequestError(
        f"domain must be one of {', '.join(sorted(known))}; not {domain!r:.80}"
    )


def tiers_of(
    tier_config: Mapping[str, TierConfig] | Tiers | None,
    *,
    enabled: bool,
    default: str | None,
    resolver: TierResolver | None,
    profiles: Mapping[str, UserProfile | str] | None,
    clock: Clock,
) -> Tiers | None:
    """Gives the agent's tiers, `None` where it has none.

    Raises:
        ConfigurationError: a tier cannot be, or an option is given that nothing would heed.
    """
    options = {
        "default_tier": default,
        "tier_resolver": resolver,
        "user_profiles": profiles,
    }
    given = [name for name, value in options.items() if value is not None]
    if tier_config is None and not enabled:
        if given:
            raise ConfigurationError(
                f"{given[0]}= needs tiers: enable_user_tiers=True for free, pro and enterprise, or "
                "tier_config= for your own"
            )
        return None
    from cascadeflow.tiers.gate import Tiers  # noqa: PLC0415 - off costs nothing

    if isinstance(tier_config, Tiers):
        if given:
            raise ConfigurationError(
                f"{given[0]}= was given beside a Tiers object: say it where that is made"
            )
        return tier_config
    return Tiers(tier_config, default=default, resolver=resolver, profiles=profiles, clock=clock)


def warn_of_patterns(tiers: Tiers | None, models: Sequence[ModelConfig]) -> None:
    """Logs patterns of the tiers that match none of the models: a slip there blocks nothing."""
    if tiers is None:
        return
    from cascadeflow.tiers.checks import matches  # noqa: PLC0415 - it is loaded already

    for tier in tiers.tiers.values():
        for field, patterns in (("models", tier.models), ("blocked_models", tier.blocked_models)):
            for pattern in patterns or ():
                if not any(matches((pattern,), model.id, model.name) for model in models):
                    _logger.warning(
                        "tier %s: %r in %s matches none of the agent's models",
                        *(tier.name, pattern, field),
                    )


def tracker_of(
    tracker: CostTracker | None, tiers: Tiers | None, *, clock: Clock
) -> CostTracker | None:
    """Gives who counts the money; where there are tiers and there is none, one that refuses.

    Raises:
        ConfigurationError: it is no tracker, it warns of the tiers' budgets without having been
            told so, or two budgets are given to one tier.
    """
    if tracker is not None:
        must_have("cost_tracker", tracker, "a CostTracker", "reserve", "mode")
    if tiers is None:
        return tracker
    if tracker is None:
        from cascadeflow.budgets.tracker import CostTracker  # noqa: PLC0415 - off costs nothing

        # Shared by the agents that share the tiers. Nobody who has no budget is held to it.
        tracker = tiers.own_tracker
        if tracker is None:
            tracker = tiers.own_tracker = CostTracker(enforcement_mode="block", clock=clock)
    if tiers.has_budgets:
        tracker.needs_mode()
    tracker.declare_tiers(tiers.user_budgets)
    for tier in tiers.tiers.values():
        if tier.whole_budget is not None:
            tracker.declare_tier_budget(tier.name, tier.whole_budget)
    return tracker


def till_of(tracker: CostTracker | None, tiers: Tiers | None) -> Till | None:
    """Gives where requests wait for money that others hold; whether they do is their tier's."""
    if tracker is None or tiers is None or not tracker.enforces:
        return None
    from cascadeflow.pipeline import till  # noqa: PLC0415 - off costs nothing

    return till.till_of(tracker)


def spender_of(
    user_id: str | None,
    user_tier: str | None,
    team: str | None,
    key_id: str | None,
    tags: Sequence[str],
) -> Spender:
    """Reads for whom a request is made.

    Raises:
        InvalidRequestError: a name is no text, or empty.
    """
    if user_id is None and user_tier is None and team is None and key_id is None and not tags:
        return NOBODY
    given: Any = tags  # whatever the annotation says
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidRequestError(f"tags must be a list of texts, not {tags!r}")
    names: dict[str, Any] = {
        "user_id": user_id,
        "user_tier": user_tier,
        "team": team,
        "key_id": key_id,
    }
    for what, name in [*names.items(), *(("a tag", tag) for tag in tags)]:
        if (name is not None or what == "a tag") and (not isinstance(name, str) or not name):
            raise InvalidRequestError(f"{what} must be text that is not empty, not {name!r}")
        if name is not None and not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InvalidRequestError(
                    f"{what} must be text that UTF-8 can write, not {name!r:.80}"
                ) from None
    return Spender(
        user_id=user_id, tier=user_tier, team=team, key=key_id, tags=tuple(dict.fromkeys(tags))
    )


def must_have(option: str, given: object, kind: str, *names: str) -> None:
    """Refuses what lacks what will be asked of it.

    Raises:
        ConfigurationError: it says what the option takes.
    """
    if isinstance(given, type) or not all(hasattr(given, name) for name in names):
        what = given.__name__ if isinstance(given, type) else type(given).__name__
        hint = f"; make one: {what}(…)" if isinstance(given, type) else ""
        raise ConfigurationError(f"{option} must be {kind}, not {what}{hint}")


def recall_of(
    cache: CacheOption,
    scope: CacheScope,
    tracker: CostTracker | None,
    *,
    models: Sequence[ModelConfig],
    validator: object,
) -> Recall | None:
    """Gives what keeps answers: what was asked for, or memory where a budget may need it.

    Raises:
        ConfigurationError: there is no such cache or scope, or it is no validator.
        StoreError: the cache's file cannot be opened.
    """
    one_of("cache_scope", scope, Literal["user", "tenant", "global"])
    must_have(
        "validator", validator, "an object with `judge(request, completion, *, config)`", "judge"
    )
    degrades = tracker is not None and tracker.mode == "degrade"
    if cache is None and not degrades:
        return None
    from cascadeflow.cache import open_cache  # noqa: PLC0415 - off costs nothing
    from cascadeflow.pipeline.recall import Recall  # noqa: PLC0415 - off costs nothing

    opened = open_cache("memory" if cache is None else cache)
    if opened is None:  # `False`: not even for a budget
        return None
    return Recall(
        opened,
        always=cache is not None,
        owned=opened is not cache,
        scope=scope,
        models=models,
        validator=validator,
        default_output=(
            tracker.default_max_output if tracker is not None and tracker.enforces else None
        ),
    )


def completer_of(
    completer: Completer | None,
    *,
    transport: Transport | None,
    retry: RetryPolicy | None,
    deadlines: Deadlines | None,
    breaker: BreakerPolicy | None,
    clock: Clock,
) -> Completer:
    """Gives who asks the models.

    Raises:
        ConfigurationError: a completer was given, and options that are its own affair; or an option
            is of another type.
    """
    if completer is not None:
        own = (transport, retry, deadlines)
        if any(option is not None for option in own) or breaker is not DEFAULT_BREAKER:
            raise ConfigurationError(
                "completer= asks the models itself: leave transport=, retry=, deadlines= and "
                "breaker= to it"
            )
        must_have("completer", completer, "a Completer", "complete")
        return completer
    from cascadeflow.providers.completer import Providers  # noqa: PLC0415

    return Providers(
        transport=transport, retry=retry, deadlines=deadlines, breaker=breaker, clock=clock
    )


async def close_engine(engine: Engine) -> None:
    """Closes connections, and writes down what was learned and seen."""
    await engine.late.aclose()
    await engine.completer.aclose()
    if engine.drafting is not None:
        await asyncio.to_thread(engine.drafting.save)
    if engine.trials is not None:
        await asyncio.to_thread(engine.trials.flush)
    if engine.recall is not None:
        await engine.recall.aclose()


def notifier_of(
    on_event: Listener | Sequence[Listener] | None, *, verbose: bool
) -> Callable[[Event], None] | None:
    """Gives what hands events to the listeners, `None` when nobody listens.

    Raises:
        ConfigurationError: a listener cannot be one.
    """
    if on_event is None and not verbose:
        return None
    from cascadeflow.agent_listeners import notifier  # noqa: PLC0415 - off costs nothing

    return notifier(on_event, verbose=verbose)
