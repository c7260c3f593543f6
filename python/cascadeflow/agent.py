"""`CascadeAgent`: answers each request with the cheapest of its models that is good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from cascadeflow.agent_domains import domains_of, drafting_of
from cascadeflow.agent_experiments import trials_of
from cascadeflow.agent_judging import quality_of, ready, warm
from cascadeflow.agent_open import open_run
from cascadeflow.agent_setup import (
    DEFAULT_BREAKER,
    OnVerifierFailure,
    RunOptions,
    UnknownPrice,
    check_models,
    close_engine,
    completer_of,
    hedge_seconds,
    must_have,
    notifier_of,
    one_of,
    read_models,
    recall_of,
    tiers_of,
    till_of,
    tracker_of,
    warn_of_patterns,
)
from cascadeflow.clock import SystemClock
from cascadeflow.errors import InvalidRequestError
from cascadeflow.pipeline.drive import complete, stream
from cascadeflow.pipeline.engine import Engine
from cascadeflow.pipeline.route import Router
from cascadeflow.quality.validator import CascadeValidator

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Callable,
        Iterable,
        Mapping,
        Sequence,
    )

    from cascadeflow.agent_batch import BatchProgress, BatchResult, Question
    from cascadeflow.agent_listeners import Listener
    from cascadeflow.agent_setup import CacheOption
    from cascadeflow.agent_v01 import StreamEvent
    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.cache.key import CacheScope
    from cascadeflow.clock import Clock
    from cascadeflow.config import (
        BreakerPolicy,
        Deadlines,
        QualityConfig,
        QualityMode,
        RetryPolicy,
    )
    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.registry import Domain
    from cascadeflow.domains.zero_shot import ZeroShot
    from cascadeflow.experiments.experiment import Experiment
    from cascadeflow.models.completer import Completer
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.money import Amount
    from cascadeflow.pipeline.decide import Drafting
    from cascadeflow.pipeline.events import Event
    from cascadeflow.pipeline.result import CascadeResult
    from cascadeflow.pipeline.route import Level, Order
    from cascadeflow.providers.protocols import Transport
    from cascadeflow.quality.validator import Validator
    from cascadeflow.tiers.config import TierConfig, UserProfile
    from cascadeflow.tiers.directory import TierResolver
    from cascadeflow.tiers.gate import Tiers
    from cascadeflow.tools import ToolExecutor
    from cascadeflow.types import JsonObject, Message, ResponseFormat, Tool

__all__ = ["CascadeAgent", "RunOptions"]


class CascadeAgent:
    """Asks a cheap model for a draft, judges it, and asks an expensive one only when it must.

    One agent serves a whole process: any number of requests at once, from several event loops and
    threads. It keeps its connections, so make one and keep it; close it with `aclose()` or
    `async with`, or with `close()` or `with` where `run_sync` is used.

    >>> agent = CascadeAgent(["openai:gpt-5-mini", "anthropic:claude-opus-4-5"])
    >>> [model.id for model in agent.models]
    ['openai:gpt-5-mini', 'anthropic:claude-opus-4-5']
    """

    def __init__(
        self,
        models: Iterable[str | ModelConfig | Mapping[str, Any]],
        quality_config: QualityConfig | None = None,
        enable_cascade: bool = True,  # noqa: FBT001, FBT002 - v0.1's position
        verbose: bool = False,  # noqa: FBT001, FBT002 - v0.1's position
        *,
        quality_mode: QualityMode | None = None,
        order: Order = "price",
        draft_up_to: Level | None = None,
        on_verifier_failure: OnVerifierFailure = "error",
        fallbacks: Iterable[str | ModelConfig | Mapping[str, Any]] = (),
        hedge_after: float | None = None,
        unknown_price: UnknownPrice = "error",
        cost_tracker: CostTracker | None = None,
        enable_user_tiers: bool = False,
        tier_config: Mapping[str, TierConfig] | Tiers | None = None,
        default_tier: str | None = None,
        tier_resolver: TierResolver | None = None,
        user_profiles: Mapping[str, UserProfile | str] | None = None,
        cache: CacheOption = None,
        cache_scope: CacheScope = "user",
        validator: Validator | None = None,
        on_event: Listener | Sequence[Listener] | None = None,
        transport: Transport | None = None,
        retry: RetryPolicy | None = None,
        deadlines: Deadlines | None = None,
        breaker: BreakerPolicy | None = DEFAULT_BREAKER,
        completer: Completer | None = None,
        clock: Clock | None = None,
        enable_domain_routing: bool = False,
        domains: Iterable[Domain] | DomainDetector | None = None,
        zero_shot: bool | ZeroShot = False,
        drafting: Drafting | None = None,
        experiments: Sequence[Experiment] = (),
    ) -> None:
        """Sets the agent up. No key is needed yet, and nothing is sent.

        Args:
            models: `"provider:model"`, `ModelConfig`, or a dict of its fields; each once.
            quality_config: how drafts are judged; or `quality_mode`, which takes a preset.
            enable_cascade: `False` makes no drafts: the dearest model answers.
            verbose: write a line per step to standard error; never prompts or answers.
            quality_mode: `fast`: text rules; `balanced`: local models too; `strict`: others' too.
            order: `price` drafts with the cheapest model and verifies with the dearest; `given`
                drafts with the first and verifies with the last.
            draft_up_to: the hardest level of request that is drafted; harder ones go to the
                verifier at once. Without it, what drafting is expected to cost decides.
            on_verifier_failure: what a rejected draft is when nobody else answers: `error` raises
                `AllModelsFailedError`; `draft` returns it, its `quality.accepted` being `False`.
            fallbacks: models that are asked only when all others in line have failed, in this
                order: the same model at another provider, or one in your own house.
            hedge_after: seconds after which a draft that has not come is asked for once more, of
                the next drafter or anew; whichever comes first counts, and the other is cancelled,
                though it may be billed. Not for drafts shown as they come.
            unknown_price: `error` refuses a model whose price is not known; `allow` takes it, and
                its costs are `None`.
            cost_tracker: the budgets: holds money before it is spent, and adds up what was.
            enable_user_tiers: enforce the tiers free, pro and enterprise, as `TierConfig` has them;
                a request's is `user_tier=`, free where it says none.
            tier_config: tiers of your own, by name; or `Tiers`, which has further options.
            default_tier: the tier of whoever is in none, or in one that does not exist: `"free"`
                where there is one, else the only one.
            tier_resolver: says which tier a user is in: a function of the user id, async or not.
            user_profiles: single users' tiers and exceptions: `{"u1": UserProfile("pro", …)}`.
            cache: answers exact repeats without asking a model: `"memory"`, `"sqlite:///…"` or a
                cache of `cascadeflow.cache`. Without it nothing is kept, except in memory under a
                tracker in mode `degrade`, which answers from it when the budget has run out;
                `False` keeps nothing even then.
            cache_scope: who shares answers: nobody (`user`), a team (`tenant`), or all (`global`).
            validator: judges drafts in the place of the built-in checks.
            on_event: called with every event, on the request's way; one that raises is logged.
            transport: sends the HTTP requests; anything with its one method.
            retry: when a failed call is tried again at the same model.
            deadlines: how long the parts of a call may take.
            breaker: when a model that keeps failing is left alone for a while; `None`: never.
            completer: asks the models; `transport`, `retry`, `deadlines`, `breaker` are its affair.
            clock: the time.
            enable_domain_routing: find out what each request is about, and choose its models by it.
            domains: domains of your own, by examples, and how the built-in ones are routed; or a
                `DomainDetector`, which has further options. Turns the routing on.
            zero_shot: ask a model where the other layers are not sure: the cheapest that the
                request may use, or as `ZeroShot` says; it is paid for by the request.
            drafting: what is known of whether drafts pay; made, and kept in the tracker's store.
            experiments: A/B tests; a request is in one at most, the first that takes its user.

        Raises:
            ConfigurationError: what is set up cannot work; among them `UnknownPriceError`, which
                says how to state a price.
        """
        one_of("on_verifier_failure", on_verifier_failure, OnVerifierFailure)
        one_of("unknown_price", unknown_price, UnknownPrice)
        self._clock = clock or SystemClock()
        must_have("clock", self._clock, "a Clock", "now", "monotonic", "sleep")
        now = self._clock.now()
        configs = read_models(models)
        spare = read_models(fallbacks, "fallbacks")
        check_models((*configs, *spare), completer, at=now, unknown_price=unknown_price)
        self._router = Router(
            configs,
            at=now,
            order=order,
            enable_cascade=enable_cascade,
            draft_up_to=draft_up_to,
            fallbacks=spare,
        )
        trials = trials_of(experiments, self._router, completer, now, unknown_price)
        self._known = (*configs, *spare, *(() if trials is None else trials.models))
        tiers = tiers_of(
            tier_config,
            enabled=enable_user_tiers,
            default=default_tier,
            resolver=tier_resolver,
            profiles=user_profiles,
            clock=self._clock,
        )
        warn_of_patterns(tiers, self._known)
        tracker = tracker_of(cost_tracker, tiers, clock=self._clock)
        judge = validator or CascadeValidator()
        self._completer = completer_of(
            completer,
            transport=transport,
            retry=retry,
            deadlines=deadlines,
            breaker=breaker,
            clock=self._clock,
        )
        engine = Engine(
            completer=self._completer,
            validator=judge,
            quality=quality_of(quality_config, quality_mode),
            clock=self._clock,
            tracker=tracker,
            tiers=tiers,
            till=till_of(tracker, tiers),
            recall=recall_of(
                cache,
                cache_scope,
                tracker,
                models=(*self._router.models, *self._router.fallbacks),
                validator=judge,
            ),
            notify=notifier_of(on_event, verbose=verbose),
            keep_rejected=on_verifier_failure == "draft",
            domains=domains_of(domains, zero_shot, self._router, enabled=enable_domain_routing),
            drafting=drafting_of(drafting, draft_up_to, order, tracker),
            hedge_after=hedge_seconds(hedge_after),
            trials=trials,
        )
        self._engine = ready(engine, self._known, self._router)

    @classmethod
    def from_env(
        cls,
        quality_config: QualityConfig | None = None,
        enable_cascade: bool = True,  # noqa: FBT001, FBT002 - v0.1's position
        verbose: bool = False,  # noqa: FBT001, FBT002 - v0.1's position
        **options: Any,
    ) -> Self:
        """Makes an agent of what the environment has.

        `CASCADEFLOW_MODELS` names the models, separated by commas. Without it, each provider whose
        key is set gives its usual cheap and strong model; `docs/agent.md` lists them.

        Args:
            quality_config: as in `CascadeAgent`.
            enable_cascade: likewise.
            verbose: likewise.
            options: its others.

        Raises:
            ConfigurationError: no models are named and no key is set.
        """
        from cascadeflow.agent_env import models_from_env  # noqa: PLC0415 - seldom needed

        return cls(models_from_env(), quality_config, enable_cascade, verbose, **options)

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The models, the one that drafts first, the one that verifies last."""
        return self._router.models

    @property
    def fallbacks(self) -> tuple[ModelConfig, ...]:
        """The models that are asked only when all others have failed."""
        return self._router.fallbacks

    @property
    def tiers(self) -> Tiers | None:
        """The tiers, and who is in which; `None` where there are none."""
        return self._engine.tiers

    @property
    def cost_tracker(self) -> CostTracker | None:
        """Who counts the money: as it was given, or made for the budgets of the tiers."""
        return self._engine.tracker

    @property
    def drafting(self) -> Drafting | None:
        """What was learned of whether drafts pay; `None` where `draft_up_to` decides."""
        return self._engine.drafting

    async def run(
        self,
        query: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        *,
        messages: Iterable[Message | JsonObject] | None = None,
        system_prompt: str | None = None,
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
    ) -> CascadeResult:
        """Answers one request.

        What is `None` is not sent: the provider's own defaults hold.

        Args:
            query: the question; or `messages`.
            max_tokens: the largest number of output tokens of each call, reasoning included.
            temperature: sampling temperature, 0 to 2.
            messages: a conversation: `Message` records or dicts in the OpenAI form.
            system_prompt: a system message put before the conversation.
            top_p: nucleus sampling, 0 to 1.
            stop: a sequence, or several, that ends the answer.
            seed: the sampling seed, where the provider has one.
            tools: what the model may call: Python functions, whose schema comes from their type
                hints, `Tool` records or dicts in the OpenAI form.
            tool_choice: `auto`, `none`, `required`, or the name of the one tool to call.
            tool_executor: runs the calls and asks the models again, until they ask for none:
                `True` runs the functions in `tools`; a function of yours takes each `ToolCall`.
                Without it, the calls are returned.
            max_steps: how often the models may answer under `tool_executor`, 8 times where it is
                not said; the calls of the last answer are then returned.
            response_format: the form asked of the answer: a pydantic model or another type, which
                `result.parsed` is then an instance of, or `{"type": "json_object"}` and the like.
            extra: further fields of each request's body, in the provider's own words.
            model: ask this one of the agent's models, and no other.
            force_direct: make no draft.
            complexity_hint: how hard the request is (`trivial`, `simple`, `moderate`, `hard`,
                `expert`), when the caller knows better than the rules.
            domain: what it is about (`code`, `legal` … or one of your own), which is then not
                found out; for routing, and for tiers that answer some only.
            quality_mode: how its draft is judged, in the place of the tier's and the agent's.
            quality_config: the same in full; one of both.
            user_id: whose request it is. This and the next four say whose budgets pay for it; they
                come from the server's own knowledge, never from the client, and are not sent.
            user_tier: the user's tier; not where a `tier_resolver` says it.
            team: the user's team, customer or tenant.
            key_id: a name for the API key that the request came with; never the key itself.
            tags: what else the cost shall be found under.
            max_extra_cost: US dollars that each call may cost beyond what its tokens do: what
                server-side tools such as web search take. An enforced budget refuses such a request
                without it.
            use_cache: whether the agent's cache may answer and remember this request.
            timeout: seconds for the whole request, fallbacks included. When they have passed,
                the call under way ends and nobody else is asked.

        Raises:
            InvalidRequestError: the arguments cannot be sent as they are.
            UnknownModelError: the agent has no model called `model`.
            TierForbiddenError: the user's tier does not include what is asked for.
            RateLimitError: the request comes too soon.
            BudgetExceededError: it does not fit a budget.
            AllModelsFailedError: every model in line failed, or the time was up.
            MissingKeyError: a model's key is neither given nor in the environment.
            ToolAbort: a tool raised it.
        """
        run = open_run(
            self._engine,
            self._router,
            query,
            messages,
            streamed=False,
            system_prompt=system_prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            seed=seed,
            tools=tools,
            tool_choice=tool_choice,
            tool_executor=tool_executor,
            max_steps=max_steps,
            response_format=response_format,
            extra=extra,
            model=model,
            force_direct=force_direct,
            complexity_hint=complexity_hint,
            domain=domain,
            quality_mode=quality_mode,
            quality_config=quality_config,
            user_id=user_id,
            user_tier=user_tier,
            team=team,
            key_id=key_id,
            tags=tags,
            max_extra_cost=max_extra_cost,
            use_cache=use_cache,
            timeout=timeout,
        )
        return await complete(run)

    def stream(
        self,
        query: str | None = None,
        *,
        messages: Iterable[Message | JsonObject] | None = None,
        show_draft: bool = False,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[Event]:
        """Answers one request in pieces: an iterator of events, the last with the whole result.

        The text of the `TextChunk` events is the answer, unless an `AnswerReplaced` says that what
        came before it is void, or a `StepStarted` that the models are asked anew. Held back until
        accepted, a draft is never replaced; a model that breaks off half-way still can be. Leaving
        the loop early closes the connection.

        Args:
            query: the question; or `messages`.
            messages: a conversation.
            show_draft: pass a draft on as it comes, before it is judged.
            options: the other options of `run`.

        Raises:
            InvalidRequestError: at once, before anything is sent.
            AllModelsFailedError: while iterating; likewise what else `run` raises.
        """
        run = open_run(self._engine, self._router, query, messages, streamed=True, **options)
        return stream(run, show_draft=show_draft)

    def run_sync(
        self,
        query: str | None = None,
        *,
        messages: Iterable[Message | JsonObject] | None = None,
        **options: Unpack[RunOptions],
    ) -> CascadeResult:
        """Answers one request and blocks until it is answered; for code that is not async.

        The work is done on an event loop in a background thread, one for the whole process, which
        keeps connections between calls. It works inside a running event loop too, which it then
        blocks: there, `await run(...)` is better.

        Args:
            query: the question; or `messages`.
            messages: a conversation.
            options: the other options of `run`.

        Raises:
            CascadeFlowError: what `run` raises.
        """
        from cascadeflow.agent_sync import run_in_background  # noqa: PLC0415 - seldom needed

        return run_in_background(self.run(query, messages=messages, **options))

    async def run_batch(
        self,
        queries: Iterable[Question] | AsyncIterable[Question],
        *,
        concurrency: int = 8,
        on_progress: Callable[[BatchProgress], None] | None = None,
        stop_on_error: bool = False,
        **options: Unpack[RunOptions],
    ) -> BatchResult:
        """Answers many requests, so many at a time, results in the order of the queries.

        Args:
            queries: texts or conversations, from any iterable, async ones too; they are taken one
                by one.
            concurrency: how many are under way at once; at most as many as the tier lets.
            on_progress: called after each with how far the batch has come.
            stop_on_error: raise the first failure and cancel the rest; otherwise a failed request
                has `None` among the results and its error among the errors.
            options: the other options of `run`, for every request.

        Raises:
            InvalidRequestError: the arguments cannot work for any request.
        """
        from cascadeflow.agent_batch import places, run_batch  # noqa: PLC0415 - seldom needed

        unknown = sorted(set(options) - set(RunOptions.__annotations__))
        if unknown:
            raise InvalidRequestError(f"run knows no option called {', '.join(unknown)}")

        async def ask(question: Question) -> CascadeResult:
            query, messages = (question, None) if isinstance(question, str) else (None, question)
            run = open_run(
                self._engine, self._router, query, messages, streamed=False, batch=True, **options
            )
            return await complete(run)

        return await run_batch(
            ask,
            queries,
            concurrency=await places(concurrency, self._engine.tiers, options),
            on_progress=on_progress,
            stop_on_error=stop_on_error,
            monotonic=self._clock.monotonic,
        )

    async def run_streaming(
        self,
        query: str | None = None,
        *,
        messages: Iterable[Message | JsonObject] | None = None,
        enable_visual: bool = True,
        **options: Unpack[RunOptions],
    ) -> CascadeResult:
        """Answers one request, writing the answer to standard output as it comes; from v0.1.

        Args:
            query: the question; or `messages`.
            messages: a conversation.
            enable_visual: `False` writes nothing.
            options: the other options of `run`.

        Raises:
            CascadeFlowError: what `run` raises.
        """
        from cascadeflow.agent_v01 import written  # noqa: PLC0415 - seldom needed

        return await written(self.stream(query, messages=messages, **options), shown=enable_visual)

    def stream_events(
        self,
        query: str | None = None,
        *,
        messages: Iterable[Message | JsonObject] | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[StreamEvent]:
        """Answers one request in v0.1's events; new code reads `stream`.

        As in v0.1 a draft is shown as it comes, a `SWITCH` says that it was replaced, and an error
        is an event.

        Args:
            query: the question; or `messages`.
            messages: a conversation.
            options: the other options of `run`.

        Raises:
            InvalidRequestError: at once, before anything is sent.
        """
        from cascadeflow.agent_v01 import v01_events  # noqa: PLC0415 - seldom needed

        return v01_events(
            self.stream(query, messages=messages, show_draft=True, **options),
            model_names={model.id: model.name for model in self._known},
        )

    async def warm_up(self) -> None:
        """Opens the models on this machine that requests will need, instead of at the first one.

        Raises:
            ConfigurationError: a file is not what it should be; it says what to do.
        """
        await warm(self._engine)

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; the agent may be used again.

        A cache that was named in words is closed too; trackers and experiments are their owner's.
        """
        await close_engine(self._engine)

    def close(self) -> None:
        """Closes the connections that `run_sync` made; the agent may be used again."""
        from cascadeflow.agent_sync import close_in_background  # noqa: PLC0415 - seldom needed

        close_in_background(self.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
