"""What a request's answer proves: grouped, flat and as JSON.

Every field is true on every path, or `None` where the path has nothing to say. A test holds each
against what a recording transport saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cascadeflow.money import to_usd
from cascadeflow.types import EMPTY, Message

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cascadeflow.budgets.records import AccountStanding, BudgetState
    from cascadeflow.models.completer import Attempt
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.usage import Usage
    from cascadeflow.quality.report import QualityReport
    from cascadeflow.tools import ToolOutcome
    from cascadeflow.types import FinishReason, ToolCall

__all__ = [
    "AccountReport",
    "BudgetAction",
    "BudgetReport",
    "CascadeResult",
    "CostReport",
    "ExperimentReport",
    "LimitReport",
    "RoutingReport",
    "StepReport",
    "TierReport",
    "TimingReport",
]


BudgetAction: TypeAlias = Literal[
    "none", "cheaper_plan", "smaller_max_tokens", "cache", "free_model", "fewer_steps"
]
"""How a budget changed what was done: all but `fewer_steps` are ways of mode `degrade`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What the request cost, in exact US dollars (`Decimal`, nine places).

    Attributes:
        total: everything that was billed; `None` when a price or a usage is unknown.
        draft: the drafter's part; `None` when none ran or its cost is unknown.
        verifier: the verifier's part, likewise; on the direct route, the one model's. What it
            answered as a cross-check, and is given as its answer, is part of `opinions`.
        classifier: the part of the model that said what the request is about, likewise.
        opinions: the part of the models that gave second opinions on the draft, likewise.
        other: what failed or replaced attempts are known to have cost.
        estimated_other: what those of them that may have been billed are reckoned to have cost, by
            counting what was sent and what came; not part of `total`.
        verifier_alone: what the verifier alone would have cost.
        saved: `verifier_alone - total`; negative when drafting lost money.
        saved_fraction: `saved / verifier_alone`, or `None` when that is zero or unknown.
        saved_basis: `measured` when the verifier ran and its usage is known, `estimated` when its
            cost was reckoned from the draft's usage, `None` when there is nothing to compare.
        currency: always `USD`.
        price_sources: for each model that answered, where its price came from
            (`catalogue`, `user`, `provider`, `local`; `None` when it is unknown).
        price_dates: for each model that answered, the date its price has been in force since or was
            compiled on, ISO 8601.
        confirmed: whether every part rests on the provider's own usage figures; `False` also when a
            failed try may have been billed without anybody saying so: `total` is then the least.
    """

    total: Decimal | None
    draft: Decimal | None = None
    verifier: Decimal | None = None
    classifier: Decimal | None = None
    opinions: Decimal | None = None
    other: Decimal | None = None
    estimated_other: Decimal | None = None
    verifier_alone: Decimal | None = None
    saved: Decimal | None = None
    saved_fraction: float | None = None
    saved_basis: Literal["measured", "estimated"] | None = None
    currency: Literal["USD"] = "USD"
    price_sources: Mapping[str, str | None] = field(default_factory=dict)
    price_dates: Mapping[str, str | None] = field(default_factory=dict)
    confirmed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingReport:
    """Where the request went and why.

    Attributes:
        route: `cascade` (draft first), `direct` (one model) or `cache` (asked before).
        reason: why this route, in words.
        complexity: `trivial`, `simple`, `moderate`, `hard` or `expert`.
        complexity_score: 0 to 1.
        draft_model: the model that was planned to draft; `None` on the direct route.
        verifier_model: the model that was planned to verify, or to answer directly.
        model_used: the model whose answer is the content.
        provider_used: its provider.
        answered_as: what it was asked as: `draft`, `verifier`, `direct` or `cross_check`; `None`
            where the cache answered.
        escalated: whether the draft was rejected and the verifier asked.
        fallbacks: models that failed and were passed over, in order.
        domain: what the request is about: what the caller said, or what was found; `None` where
            nobody said and nobody looked.
        domain_layer: who decided that: `caller`, `rules`, `semantic`, `zero_shot`, or `none` where
            no layer was sure; `None` where nobody looked.
        domain_confidence: the calibrated probability that it is right, 0 to 1, where there is one.
        domains: all that it is likely about, likeliest first, with their probabilities.
        domain_reason: what was seen, in words.
        acceptance: the estimated probability that a draft is accepted, where drafting was weighed.
        expected_cost: what the route taken was expected to cost, US dollars, if it was weighed.
        expected_direct_cost: what asking the verifier at once was expected to cost, likewise.
    """

    route: Literal["cascade", "direct", "cache"]
    reason: str
    complexity: str
    complexity_score: float
    draft_model: str | None
    verifier_model: str | None
    model_used: str
    provider_used: str
    escalated: bool
    answered_as: str | None = None
    fallbacks: tuple[str, ...] = ()
    domain: str | None = None
    domain_layer: str | None = None
    domain_confidence: float | None = None
    domains: tuple[tuple[str, float | None], ...] = ()
    domain_reason: str = ""
    acceptance: float | None = None
    expected_cost: Decimal | None = None
    expected_direct_cost: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReport:
    """How one rate limit stood when the request ended, this request included.

    Attributes:
        account: whose limit: `user:u1`, `tier:free` or `global`.
        limit: `per_second`, `per_minute`, `per_hour`, `per_day`, `tokens_per_minute` or
            `concurrent`.
        allowed: how many it allows.
        remaining: how many would pass now.
        resets_after: seconds until nothing of it is used, if nobody comes; `None` for `concurrent`.
    """

    account: str
    limit: str
    allowed: int
    remaining: int
    resets_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierReport:
    """Which tier the user is in, and what it let the request do.

    Attributes:
        name: the tier; `None` where the agent has no tiers.
        source: who says so: `call`, `profile`, `resolver`, or `default` where nobody did.
        reason: why, in words.
        max_tokens: the most output tokens that it lets a call ask for; `None` is no limit.
        waited_ms: how long the request waited for its turn.
        stopped_by: the rate limit that ended a tool loop early; `None` where none did.
        limits: how the rate limits stood that it passed.
        headers: the `X-RateLimit-*` values for a response.
    """

    name: str | None = None
    source: Literal["call", "profile", "resolver", "default"] | None = None
    reason: str = ""
    max_tokens: int | None = None
    waited_ms: float = 0.0
    stopped_by: str | None = None
    limits: tuple[LimitReport, ...] = ()
    headers: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReport:
    """Which experiment the request took part in.

    Attributes:
        name: the experiment; `None` where it took part in none.
        variant: the variant that was used.
    """

    name: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class AccountReport:
    """How one account stood when the request ended; amounts in exact US dollars.

    Attributes:
        standing: the same in nanodollars.
    """

    standing: AccountStanding

    @property
    def account(self) -> str:
        """Whose money and over which time, such as `user:u1 day`."""
        return f"{self.standing.scope} {self.standing.period}"

    @property
    def limit(self) -> Decimal | None:
        """The budget; `None` where spending is only counted."""
        return usd(self.standing.limit)

    @property
    def spent(self) -> Decimal:
        """What is settled in the current period, this request included."""
        return to_usd(self.standing.spent)

    @property
    def held(self) -> Decimal:
        """What requests under way may still cost."""
        return to_usd(self.standing.held)

    @property
    def remaining(self) -> Decimal | None:
        """What may still be held; `None` without a limit."""
        return usd(self.standing.remaining)

    @property
    def state(self) -> BudgetState | None:
        """`ok`, `warned`, `degraded` or `exhausted`; `None` without a limit."""
        return self.standing.state

    @property
    def resets_at(self) -> datetime | None:
        """When the period ends (UTC); `None` where it never does."""
        return self.standing.resets_at

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        plain: dict[str, Any] = _plain(self)
        return plain


_ACCOUNT = ("account", "limit", "spent", "held", "remaining", "state", "resets_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReport:
    """What the budgets had to say. Amounts are exact US dollars.

    `limit`, `spent`, `remaining` and `state` are those of the tightest of the accounts: the one
    with the least left. An answer from the cache was held for and counted on none: then `spent` is
    what was spent in all, and `limit`, `remaining` and `state` are `None`.

    Attributes:
        mode: `off` without a tracker, else its enforcement mode.
        limit: the tightest account's limit; `None` without one.
        spent: what is settled on it, this request included; without any limit, in all.
        remaining: what is left of it.
        state: `ok`, `warned`, `degraded`, `exhausted`, or `None` without a limit.
        held: what was held for this request, in all; `None` without a tracker.
        booked: what was booked for it: what its calls cost, and for those that nobody confirmed,
            what was held for them; `None` without a tracker.
        unconfirmed: how many of its calls are booked at what was held for them.
        overrun: by how much calls cost more than was held for them.
        over_limit: in mode `warn`: it ran although it did not fit.
        action: how the budget changed what was done: `none`, `cheaper_plan` (one cheap model),
            `smaller_max_tokens`, `cache` (an earlier answer), `free_model`, or `fewer_steps` (a
            tool loop was ended early: `steps` has what its last tools gave).
        accounts: every limited account that the request was counted on.
        max_tokens_sent: the `max_tokens` that each model was sent; `None` where none was sent.
    """

    mode: Literal["off", "warn", "block", "degrade"] = "off"
    limit: Decimal | None = None
    spent: Decimal | None = None
    remaining: Decimal | None = None
    state: BudgetState | None = None
    held: Decimal | None = None
    booked: Decimal | None = None
    unconfirmed: int = 0
    overrun: Decimal = Decimal(0)
    over_limit: bool = False
    action: BudgetAction = "none"
    accounts: tuple[AccountReport, ...] = ()
    max_tokens_sent: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingReport:
    """Where the time went, in milliseconds.

    Attributes:
        total_ms: from the call of `run` to its result.
        draft_ms: calls of drafting models, retries and failed ones included; `None` when none was
            made.
        validation_ms: judging the draft; `None` when none was judged.
        verifier_ms: calls of verifying (or directly answering) models, likewise.
        transport_ms: the part of all calls spent waiting for the network and the providers.
        tools_ms: running the tools of a loop, side by side; `None` when none was run.
        routing_ms: finding out what the request is about; `None` where nobody looked. Asking a
            model for it is part of it, and of `transport_ms`.
        overhead_ms: `total_ms - transport_ms - tools_ms - reader_ms`, less what `tier.waited_ms`
            says: what this package itself took.
        reader_ms: what the reader of a stream took between two events.
        first_token_ms: until the first piece of the answer that was kept, on a stream.
    """

    total_ms: float
    draft_ms: float | None = None
    validation_ms: float | None = None
    verifier_ms: float | None = None
    transport_ms: float = 0.0
    tools_ms: float | None = None
    routing_ms: float | None = None
    overhead_ms: float = 0.0
    reader_ms: float = 0.0
    first_token_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One turn of a tool loop: what a model asked for, and what it was given.

    Attributes:
        model: the model whose answer it was.
        text: what it said beside the calls.
        outcomes: each call, what came of it and how long it took.
    """

    model: str
    text: str
    outcomes: tuple[ToolOutcome, ...]


NO_TIER: Final = TierReport()
NO_EXPERIMENT: Final = ExperimentReport()


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeResult:
    """An answer, and the proof of how it was come by.

    Attributes:
        content: the answer's text.
        request_id: this package's id of the request, unique.
        created: when the request began, or, if its tier made it wait, was let in (UTC): its periods
            and prices are those of that moment.
        finish_reason: why the answer ended.
        tool_calls: what the model asks to call, and nobody has called yet.
        parsed: the answer as `response_format=` asked for it, when that was a type; else `None`.
        parse_problem: why it could not be read as that.
        steps: the turns of a tool loop whose tools were run, in order.
        reasoning: the reasoning that was shown.
        refusal: the model's words of refusal, where the protocol carries them apart.
        streamed: whether the answer was streamed.
        cost: what it cost.
        quality: how the draft was judged.
        routing: where it went and why.
        budget: what a budget had to say.
        tier: which tier its user is in, and how its rate limits stand.
        experiment: which experiment it took part in, and in which variant.
        timing: where the time went.
        usage: tokens of all calls together; `None` when no provider said.
        usage_by_model: tokens by model id.
        attempts: every try of every model, in order.
        response_ids: the provider's ids of the answers, by model id.
        completion: the answer with all that its provider sent: log-probabilities, citations and
            other `extras`, rate-limit headers; `None` from the cache. Not in `to_dict()`.
        conversation: the messages that led to the answer, tools' results among them. Not in
            `to_dict()`.
        late_quality: with `async_validation`, the verdict that is still to come, for any thread to
            wait for; see `validated`. Not in `to_dict()`.
    """

    content: str
    request_id: str
    created: datetime
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = None
    parse_problem: str | None = None
    steps: tuple[StepReport, ...] = ()
    reasoning: str = ""
    refusal: str | None = None
    streamed: bool = False
    cost: CostReport
    quality: QualityReport
    routing: RoutingReport
    budget: BudgetReport
    tier: TierReport = NO_TIER
    experiment: ExperimentReport = NO_EXPERIMENT
    timing: TimingReport
    usage: Usage | None
    usage_by_model: Mapping[str, Usage] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    response_ids: Mapping[str, str | None] = field(default_factory=dict)
    completion: Completion | None = field(default=None, repr=False, compare=False)
    conversation: tuple[Message, ...] = field(default=(), repr=False, compare=False)
    late_quality: Future[QualityReport] | None = field(default=None, repr=False, compare=False)

    async def validated(self) -> QualityReport:
        """Gives how the draft was judged in full; with `async_validation`, once that is known."""
        if self.late_quality is None:
            return self.quality
        return await asyncio.shield(asyncio.wrap_future(self.late_quality))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation with the answer, to go on with: `agent.run(messages=[*…, …])`."""
        from cascadeflow.pipeline.turns import assistant_message  # noqa: PLC0415 - seldom asked

        if self.completion is None:
            answer = Message("assistant", self.content, tool_calls=self.tool_calls)
        else:
            answer = assistant_message(self.routing.provider_used, self.completion)
        given: list[Message] = []
        if self.steps and self.finish_reason == "tool_calls" and not self.tool_calls:
            # The tools it asked for were run, and nobody was asked what they mean.
            given = [outcome.message for outcome in self.steps[-1].outcomes]
        return (*self.conversation, answer, *given)

    # v0.1's flat names. Money here is float, for reading only.

    @property
    def model_used(self) -> str:
        """The name of the model whose answer this is, as its provider names it."""
        return self.routing.model_used.partition(":")[2]

    @property
    def total_cost(self) -> float | None:
        """US dollars; the exact figure is `cost.total`."""
        return None if self.cost.total is None else float(self.cost.total)

    @property
    def cost_saved(self) -> float | None:
        """US dollars; the exact figure is `cost.saved`."""
        return None if self.cost.saved is None else float(self.cost.saved)

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the call to its result."""
        return self.timing.total_ms

    @property
    def complexity(self) -> str:
        """How hard the request was judged to be."""
        return self.routing.complexity

    @property
    def cascaded(self) -> bool:
        """Whether the plan was to draft first."""
        return self.routing.route == "cascade"

    @property
    def draft_accepted(self) -> bool:
        """Whether the answer is an accepted draft."""
        return self.quality.accepted is True

    @property
    def routing_strategy(self) -> str:
        """The route: `cascade`, `direct` or `cache`."""
        return self.routing.route

    @property
    def reason(self) -> str:
        """Why this route."""
        return self.routing.reason

    @property
    def draft_model(self) -> str | None:
        """The model planned to draft, as its provider names it; `None` on the direct route."""
        draft = self.routing.draft_model
        return None if draft is None else draft.partition(":")[2]

    @property
    def verifier_model(self) -> str | None:
        """The model planned to verify or to answer directly, as its provider names it."""
        verifier = self.routing.verifier_model
        return None if verifier is None else verifier.partition(":")[2]

    @property
    def draft_cost(self) -> float | None:
        """US dollars; the exact figure is `cost.draft`."""
        return None if self.cost.draft is None else float(self.cost.draft)

    @property
    def verifier_cost(self) -> float | None:
        """US dollars; the exact figure is `cost.verifier`."""
        return None if self.cost.verifier is None else float(self.cost.verifier)

    @property
    def draft_latency_ms(self) -> float | None:
        """Milliseconds the drafting took."""
        return self.timing.draft_ms

    @property
    def verifier_latency_ms(self) -> float | None:
        """Milliseconds the verifying, or the direct answer, took."""
        return self.timing.verifier_ms

    @property
    def quality_score(self) -> float | None:
        """The probability that the draft is good enough."""
        return self.quality.score

    @property
    def quality_threshold(self) -> float | None:
        """The least probability at which it is accepted."""
        return self.quality.threshold

    @property
    def quality_check_passed(self) -> bool | None:
        """Whether the draft was accepted; `None` when there was none to judge."""
        return self.quality.accepted

    @property
    def rejection_reason(self) -> str | None:
        """Why the draft was rejected; `None` when it was not."""
        return self.quality.reason if self.quality.accepted is False else None

    @property
    def has_tool_calls(self) -> bool:
        """Whether the model asks to call a tool."""
        return bool(self.tool_calls)

    @property
    def metadata(self) -> dict[str, Any]:
        """Every field, flat: `cost_total`, `routing_complexity`, …; plain values only."""
        flat: dict[str, Any] = {}
        for name, value in self.to_dict().items():
            if name in _GROUPS:
                flat.update({f"{name}_{key}": item for key, item in value.items()})
            elif name != "content":
                flat[name] = value
        return flat

    def to_dict(self) -> dict[str, Any]:
        """The whole result as plain JSON values; money is exact text, times are ISO 8601."""
        plain = {
            f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in _WITHHELD
        }
        plain["parsed"] = _plain_parsed(self.parsed)
        return plain


_WITHHELD = frozenset({"completion", "conversation", "late_quality", "parsed"})
"""What the caller sent and what the provider said in its own words are more than a proof needs;
`parsed` is written by itself."""

_GROUPS = frozenset({"budget", "cost", "experiment", "quality", "routing", "tier", "timing"})


def usd(nanodollars: int | None) -> Decimal | None:
    """Gives nanodollars as dollars, unknown as unknown."""
    return None if nanodollars is None else to_usd(nanodollars)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a case a line
    if is_dataclass(value) and not isinstance(value, type):
        names = (
            _ACCOUNT
            if isinstance(value, AccountReport)
            else [field.name for field in fields(value)]
        )
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _plain_parsed(value: Any) -> Any:
    """What the caller asked for may be of any type: it is written as pydantic writes it."""
    if value is None:
        return None
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - it has read the value

    # What nobody can write as JSON stands there as its text.
    return _plain(to_jsonable_python(value, fallback=str))
