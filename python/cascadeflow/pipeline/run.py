"""One request under way: the books that are kept, and who is told.

`Run` holds what is true so far and does no I/O. Its drivers, `pipeline.drive`, ask the models.
"""

from __future__ import annotations

import os
from asyncio import CancelledError, timeout
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from cascadeflow.errors import (
    AllModelsFailedError,
    ConfigurationError,
    InvalidRequestError,
    RequestsForbiddenError,
    UnknownPriceError,
)
from cascadeflow.models.completion import Completion
from cascadeflow.pipeline import events
from cascadeflow.pipeline.cascade import BESIDE, course
from cascadeflow.pipeline.engine import Asking
from cascadeflow.pipeline.judge import asks_models, learns
from cascadeflow.pipeline.limits import capped_extra, output_limit, stated_limit, thinking_tokens
from cascadeflow.pipeline.partial import settle_partial
from cascadeflow.pipeline.route import weigh
from cascadeflow.pipeline.settle import Call, Failure, settle
from cascadeflow.types import EMPTY, GENERAL

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Generator
    from concurrent import futures

    from cascadeflow.budgets.records import Spender
    from cascadeflow.budgets.reservation import Outcome as Settled
    from cascadeflow.cache.answer import CachedAnswer
    from cascadeflow.config import CacheScope, QualityConfig
    from cascadeflow.domains.records import Detection
    from cascadeflow.errors import ProviderError
    from cascadeflow.models.completer import Reply
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.embedding import RequestVectors
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline.cascade import Ask, Command, Ending, Outcome
    from cascadeflow.pipeline.domain import Replan
    from cascadeflow.pipeline.engine import Engine
    from cascadeflow.pipeline.experiment import Trial
    from cascadeflow.pipeline.purse import Purse, Tab
    from cascadeflow.pipeline.request import Request
    from cascadeflow.pipeline.reserve import Reckoner
    from cascadeflow.pipeline.result import BudgetAction, CascadeResult, StepReport
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.steps import Finished, ToolLoop
    from cascadeflow.quality.report import QualityReport
    from cascadeflow.structured import OutputSchema
    from cascadeflow.tiers.directory import Membership
    from cascadeflow.tiers.gate import Entry
    from cascadeflow.types import ChatRequest

__all__ = ["Run"]

T = TypeVar("T")


class Run:
    """One request's books. A driver calls its methods in the order of the course."""

    def __init__(  # noqa: PLR0915 - what is true so far has many parts
        self,
        engine: Engine,
        request: Request,
        plan: Plan,
        *,
        started: float,
        timeout: float | None,
        spender: Spender,
        pinned: bool = False,
        max_extra_cost: int | None = None,
        use_cache: bool = True,
        streamed: bool = False,
        schema: OutputSchema | None = None,
        loop: ToolLoop | None = None,
        quality: QualityConfig | Literal["strict"] | None = None,
        domain: str | None = None,
        batch: bool = False,
        replan: Replan | None = None,
        read: Callable[[], Awaitable[Plan]] | None = None,
        request_id: str | None = None,
        trial: Trial | None = None,
    ) -> None:
        """Opens the books.

        Args:
            engine: what every run shares.
            request: what is asked.
            plan: what will be done.
            started: `engine.clock.monotonic()` when the caller called.
            timeout: seconds for everything, from `started`.
            spender: for whom.
            pinned: whether the caller named the model.
            max_extra_cost: nanodollars that each call may cost beyond what its tokens do.
            use_cache: whether this request reads and feeds the cache, if there is one.
            streamed: whether the answer comes in pieces.
            schema: what the answer shall be read as.
            loop: runs the tools that the models ask for; `None` leaves that to the caller.
            quality: how its draft is judged, where the caller says so; `strict` once its tier has
                allowed it.
            domain: what it is about, where the caller says so.
            batch: whether it is one of many.
            replan: plans it anew once it is known what it is about, where that is found out.
            read: reads a long request before all else and plans it, where `plan` was made unread.
            request_id: its id, where one was needed before.
            trial: its part in an experiment, as `plan` and `quality` have it already.
        """
        self.engine = engine
        self.request = self.asked = request
        self.plan = plan
        self.schema = schema
        self.loop = loop
        self.finished: list[Finished] = []  # the steps of a tool loop that came before this one
        self.unanswered: StepReport | None = None  # what tools gave that no model was asked about
        self.reckoner: Reckoner | None = None  # says what calls cost at most, under a budget
        self.planned = plan  # before it was weighed, and before a budget changed it
        self.baseline = plan.verifiers[0]  # what savings are counted against
        self.spender = spender
        self.pinned = pinned
        self.max_extra_cost = max_extra_cost
        self.use_cache = use_cache
        self.cache_scope: CacheScope | None = None  # who shares its answer, where the tier says so
        self.streamed = streamed
        self.batch = batch
        self.domain = domain
        self.replan = replan
        self._read = read
        self.detection: Detection | None = None  # what it was found to be about
        self.late: futures.Future[QualityReport] | None = None  # the verdict after the answer
        self.vectors: RequestVectors | None = None  # of its texts, made once for all who need them
        self.aside: Purse | None = None  # the money held for finding that out
        self.routing_ms: float | None = None  # time that took
        self.asked_quality = quality
        self.quality = engine.quality if quality is None or quality == "strict" else quality
        self.most_tokens: int | None = None  # what its tier lets a call answer with
        self.tracker = engine.tracker
        self.enforces = engine.tracker is not None and engine.tracker.enforces
        self.member: Membership | None = None  # whose request it is, where there are tiers
        self.entry: Entry | None = None  # its place at the gate, once it was let in
        self.stopped_by: str | None = None  # the limit that ended a tool loop early
        self.request_id = request_id or os.urandom(16).hex()
        self.trial = trial  # its part in an experiment
        self.created = engine.clock.now()
        self.started = started
        self.tried: list[Call | Failure] = []
        self.max_tokens_sent: dict[str, int | None] = {}
        self.validation_ms: float | None = None
        self.purse: Purse | None = None  # the money held, once it is
        self.output_default: int | None = None  # sent under a budget where nobody says anything
        self.output_cap: int | None = None  # what the budget can pay for
        self.budget_action: BudgetAction = "none"
        self.cached: CachedAnswer | None = None  # the answer, when nobody need be asked
        self.uncovered: list[str] = []  # models that were not asked for want of money
        self.outbox: list[events.Event] = []  # told, but not yet read by a stream's reader
        self.news: Future[None] | None = None  # whoever waits for the outbox to have something
        self.tools_ms: float | None = None  # time the tools of a loop took, the reader's apart
        self.reader_ms = 0.0  # time a stream's reader took between events
        self.first_shown_ms: float | None = None
        self.open: list[Asking] = []  # the calls under way
        self.hedged: set[str] = set()  # who was asked for a draft beside another one
        self._clock = engine.clock.monotonic
        self._deadline = None if timeout is None else started + timeout
        self._timeout = timeout
        self._opened_at = self._clock()
        # Without a listener no event is made at all.
        self.heard = streamed or engine.notify is not None
        self.course: Generator[Command, Outcome, Ending]  # from `open` on

    @property
    def calls(self) -> list[Call]:
        """Every call that was answered, in order."""
        return [tried for tried in self.tried if isinstance(tried, Call)]

    @property
    def failures(self) -> list[Failure]:
        """Every call that was not, in order."""
        return [tried for tried in self.tried if isinstance(tried, Failure)]

    @property
    def hedges(self) -> bool:
        """Whether a draft that is slow is asked for twice."""
        return self.engine.hedge_after is not None

    def elapsed_ms(self) -> float:
        """Milliseconds since the caller called."""
        return (self._clock() - self.started) * 1000

    def left(self) -> float | None:
        """Seconds left of the request's time-out; `None` without one."""
        # Never 0: that a moment is left was checked, and 0 is no time-out anybody may set.
        return None if self._deadline is None else max(1e-3, self._deadline - self._clock())

    def out_of_time(self) -> bool:
        """Whether the request's time-out has passed."""
        return self._deadline is not None and self._clock() >= self._deadline

    def tell(self, event: events.Event) -> None:
        """Hands an event to the listeners, and to a stream's reader."""
        if self.engine.notify is not None:
            self.engine.notify(event)
        if self.streamed:
            self.outbox.append(event)
            if self.news is not None and not self.news.done():
                self.news.set_result(None)

    def take_up(self) -> None:
        """Begins a stream whose reader came late: what it took until then is the reader's time."""
        self.created = self.engine.clock.now()
        waited = self._clock() - self._opened_at
        self.reader_ms += waited * 1000
        if self._deadline is not None:
            self._deadline += waited

    async def admit(self) -> None:
        """Takes the request on: its user's tier, an answer that was given before, its money.

        Raises:
            TierForbiddenError: its tier does not include what it asks for.
            RateLimitError: it comes too soon.
            BudgetExceededError: its worst case does not fit a budget.
            CascadeFlowError: what else `pipeline.reserve` raises.
        """
        if self.heard:
            self.tell(
                events.RequestStarted(request_id=self.request_id, user_id=self.spender.user_id)
            )
        engine = self.engine
        rooms = (engine.tiers, engine.domains, engine.recall, engine.tracker)
        if self._read is not None or any(room is not None for room in rooms):
            if self._deadline is None:
                await self._prepare()
            else:
                await self.in_time(self._prepare())
        else:
            self._weigh()
        self.follow(self.plan)
        if self.heard:
            self.tell(
                events.Routed(
                    request_id=self.request_id,
                    route=self.plan.route if self.cached is None else "cache",
                    reason=self.plan.reason if self.cached is None else "asked before",
                    complexity=self.plan.complexity,
                    domain=self.domain,
                    draft_model=self.plan.draft_model,
                    verifier_model=self.plan.verifier_model,
                    headers=EMPTY if self.entry is None else self.entry.headers(),
                )
            )

    def follow(self, plan: Plan) -> None:
        """Begins to walk through a plan."""
        self.hedged.clear()
        self.course = course(
            plan, out_of_time=self.out_of_time, keep_rejected=self.engine.keep_rejected
        )

    async def _prepare(self) -> None:
        engine = self.engine
        if self._read is not None:
            self.plan = self.planned = await self._read()
            self.baseline = self.plan.verifiers[0]
            self._read = None
        if engine.tiers is not None:
            from cascadeflow.pipeline.admit import admit  # noqa: PLC0415 - off costs nothing

            await admit(self, engine.tiers)
        elif engine.domains is not None:
            await engine.domains.detect(self)
            if engine.domains.asks(self):
                await engine.domains.ask(self)
        if engine.recall is not None and engine.recall.always:
            self.cached = await engine.recall.look_up(self)
        if self.cached is None:
            self._weigh()
        if self.tracker is not None and self.cached is None:
            if self.member is not None:
                # Said at the gate already; but while it waited, another request of the same user's
                # may have come in another tier.
                self.tracker.assign(self.spender.user_id, self.member.tier.user_budget)
            if engine.till is not None:
                from cascadeflow.pipeline.till import reserve_in_turn  # noqa: PLC0415 - likewise

                await reserve_in_turn(self, self.tracker, engine.till)
                return
            from cascadeflow.pipeline.reserve import reserve  # noqa: PLC0415 - off costs nothing

            await reserve(self, self.tracker)

    def _weigh(self) -> None:
        """Leaves out a draft that does not pay, now that it is known who may be asked."""
        told = self.trial is not None and not self.trial.arm.weighed
        if self.engine.drafting is not None and not told:
            self.plan = weigh(  # not `planned`: what was learned meanwhile is no other question
                self.plan,
                self.request,
                self.engine.drafting,
                domain=self.domain or GENERAL,
                at=self.created,
                quality=self.quality if asks_models(self) else None,
                explore=learns(self),
            )

    async def in_time(self, work: Awaitable[T]) -> T:
        """Waits for what a store or a queue may delay, at most until the request's time-out.

        Raises:
            AllModelsFailedError: that has passed.
        """
        try:
            async with timeout(self.left()):
                return await work
        except TimeoutError:
            raise AllModelsFailedError(
                f"the request's timeout of {self._timeout} s passed while it waited for "
                f"{self._waits_for()}: no further model was asked",
                [failure.error for failure in self.failures],
            ) from None

    def _waits_for(self) -> str:
        if self._read is not None:
            return "a thread that reads it, for it is long"
        if self.engine.tiers is not None and self.entry is None:
            return "its user's tier" if self.member is None else "its turn under the rate limits"
        if self.engine.domains is not None and (self.detection is None or self.open):
            return "what it is about to be found out"
        return "the money of its budget"

    def leave(self, *, under_way: bool = False) -> None:
        """Gives back what it took at the gate; only the first time counts.

        Args:
            under_way: whether calls were broken off of which nobody can say what they used.
        """
        if self.entry is not None and not self.entry.left:
            from cascadeflow.pipeline.admit import leave  # noqa: PLC0415 - it is loaded already

            leave(self, self.entry, under_way=under_way)

    def recalled(self, answer: CachedAnswer) -> CascadeResult:
        """Makes the result of an answer that was given before."""
        from cascadeflow.pipeline.recall import recalled  # noqa: PLC0415 - off costs nothing

        return recalled(self, answer)

    async def begin(self, command: Ask) -> Asking | None:
        """Begins to ask a model; `None` when it was asked before, or is not paid for."""
        if command.model.id in self.hedged:
            return None
        tab: Tab | None = None
        if self.purse is not None:
            cover = self.purse.cover(command.model, command.role)
            try:
                tab = await (cover if self._deadline is None else self.in_time(cover))
            except (InvalidRequestError, UnknownPriceError):
                tab = None  # what it costs at most cannot be said: it cannot stand in for another
            if tab is None:
                self.uncovered.append(command.model.id)
                return None
        return self.ask(command, tab)

    def output_limit(self, model: ModelConfig, default: int | None, cap: int | None) -> int | None:
        """Gives the `max_tokens` to send; `None` sends none.

        Args:
            model: to whom.
            default: what the budget asks to be sent where nobody else says anything.
            cap: what the budget can pay for.
        """
        limit = output_limit(self.request, model, default=default)
        if cap is None:
            return limit
        cap = max(cap, thinking_tokens(self.request, model) + 1)
        return cap if limit is None else min(limit, cap)

    def ask(self, command: Ask, tab: Tab | None, chat: ChatRequest | None = None) -> Asking:
        """Notes that a model is asked, and writes what: the request, where `chat` says no other."""
        chat = chat or self.chat_for(command.model)
        if self.heard:
            self.tell(
                events.CallStarted(
                    request_id=self.request_id, model=command.model.id, role=command.role
                )
            )
        asking = Asking(command, chat, tab, self._clock(), self.reader_ms)
        self.open.append(asking)
        return asking

    def chat_for(self, model: ModelConfig) -> ChatRequest:
        """Writes what a model is asked."""
        limit = self.output_limit(model, self.output_default, self.output_cap)
        chat = self.request.for_model(model, max_tokens=limit)
        # What `extra` says wins over ours in the body.
        stated = stated_limit(self.request, model)
        most = self.most_tokens
        if most is not None and stated is not None and stated > most:
            chat, stated = replace(chat, extra=capped_extra(chat.extra, model, most)), most
        self.max_tokens_sent[model.id] = limit if stated is None else stated
        return chat

    def answered(self, asking: Asking, reply: Reply) -> Call:
        """Settles an answer."""
        command, completion = asking.command, reply.completion
        model = command.model
        cost = settle(model, completion, at=self.created)
        call = Call(model, command.role, asking.chat, reply, cost, asking.ahead_ms)
        self.tried.append(call)
        # Booked before anybody is told: who listens may end the program.
        if asking.tab is not None:
            asking.tab.answered(cost, completion.usage, completion.response_id)
        self.open.remove(asking)
        # What a limit cut says how long the limit was.
        whole = completion.finish_reason != "length"
        if self.engine.drafting is not None and command.role not in BESIDE and whole:
            self.engine.drafting.answered(
                level=self.plan.complexity, model=model.id, usage=completion.usage
            )
        if self.heard:
            self.tell(
                events.CallFinished(
                    request_id=self.request_id,
                    model=model.id,
                    role=command.role,
                    completion=completion,
                    attempts=reply.attempts,
                    duration_ms=reply.duration_ms,
                    cost=cost.nanodollars,
                )
            )
        return call

    def used(self, asking: Asking, usage: Usage) -> None:
        """Notes what the provider says a call has used so far, on a stream."""
        asking.usage = usage
        if self.heard:
            self.tell(
                events.UsageReported(
                    request_id=self.request_id, model=asking.command.model.id, usage=usage
                )
            )

    def failed(self, asking: Asking, error: ProviderError) -> None:
        """Notes that a model did not answer; what it is known to have used is settled."""
        command, partial = asking.command, error.partial
        cost = settle_partial(
            self,
            asking,
            partial if isinstance(partial, Completion) else None,
            error=error,
            billed=error.billed,
        )
        # The time its reader took between two pieces is not the model's.
        read_ms = self.reader_ms - asking.read_ms
        duration_ms = (self._clock() - asking.began) * 1000 - read_ms
        self.tried.append(
            Failure(
                command.model,
                command.role,
                error,
                cost,
                duration_ms,
                estimate=asking.estimate,
                ahead_ms=asking.ahead_ms,
            )
        )
        self.open.remove(asking)
        if self.heard:
            self.tell(
                events.CallFailed(
                    request_id=self.request_id,
                    model=command.model.id,
                    role=command.role,
                    error=error,
                    attempts=error.attempts,
                )
            )

    def settle(self) -> Settled | None:
        """Books what the run cost and gives the rest of its money back; `None` without a budget."""
        if self.aside is not None:
            self._close(self.aside)
        return None if self.purse is None else self._close(self.purse)

    def _close(self, purse: Purse) -> Settled:
        again = purse.outcome is not None
        outcome = purse.close()
        if self.heard and not again:
            for standing, state in outcome.crossed:
                self.tell(
                    events.BudgetWarned(
                        request_id=self.request_id,
                        account=f"{standing.scope} {standing.period}",
                        state=state,
                        spent=standing.spent,
                        limit=standing.limit or 0,
                    )
                )
        return outcome

    def drain(self) -> list[events.Event]:
        """Gives what was told since the last time, in order."""
        told, self.outbox = self.outbox, []
        return told

    def succeed(self, result: CascadeResult) -> None:
        """Says that the request is answered."""
        self.leave()
        if self.trial is not None:
            from cascadeflow.pipeline.experiment import observe_result  # noqa: PLC0415 - likewise

            observe_result(self.trial, result)
        if self.heard:
            self.tell(events.RequestCompleted(request_id=self.request_id, result=result))

    def no_answer(self) -> AllModelsFailedError:
        """Says that nobody in line answered, and why."""
        errors = [failure.error for failure in self.failures]
        why = "; ".join(f"{f.model.id}: {f.error}" for f in self.failures)
        if self.out_of_time():
            why = f"the request's timeout of {self._timeout} s passed" + (
                f" ({why})" if why else ""
            )
        if self.uncovered:
            short = f"the budget did not cover asking {', '.join(self.uncovered)}"
            why = f"{why}; {short}" if why else short
        rejected = any(call.role == "draft" for call in self.calls)
        return AllModelsFailedError(
            ("the draft was rejected and " if rejected else "") + f"no model answered: {why}",
            errors,
        )

    def abandon(self, error: BaseException) -> None:
        """Closes the books of a run that has no answer."""
        broken: list[int | None] = []
        under_way = False
        # A key that is missing, words that a protocol has not: nothing was sent.
        unsent = isinstance(
            error, (ConfigurationError, InvalidRequestError, RequestsForbiddenError)
        )
        # Of two that were under way, by the one that raised it.
        by = [asking for asking in self.open if asking.raised is error] or self.open
        for asking in self.open:
            billed = False if not asking.sent or (unsent and asking in by) else None
            under_way = under_way or billed is None
            broken.append(settle_partial(self, asking, None, error=error, billed=billed))
        self.open.clear()
        self.settle()
        self.leave(under_way=under_way)
        if self.trial is not None:
            from cascadeflow.pipeline.experiment import observe_failure  # noqa: PLC0415 - likewise

            observe_failure(self, self.trial, error, broken)
        if not self.heard:
            return
        costs = [call.cost.nanodollars for call in self.calls] + [f.cost for f in self.failures]
        self.tell(
            events.RequestFailed(
                request_id=self.request_id,
                error=error,
                cancelled=isinstance(error, (CancelledError, GeneratorExit)),
                cost=sum(cost for cost in (*costs, *broken) if cost is not None),
            )
        )
