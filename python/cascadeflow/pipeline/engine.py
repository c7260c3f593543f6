"""What every run of an agent shares, and what is known of one call under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cascadeflow.pipeline.late import LateJudging

if TYPE_CHECKING:
    from collections.abc import Callable

    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.clock import Clock
    from cascadeflow.config import QualityConfig
    from cascadeflow.models.completer import Completer, RetryPermit
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline import events
    from cascadeflow.pipeline.cascade import Ask
    from cascadeflow.pipeline.decide import Drafting
    from cascadeflow.pipeline.domain import DomainRouting
    from cascadeflow.pipeline.experiment import Trials
    from cascadeflow.pipeline.purse import Tab
    from cascadeflow.pipeline.recall import Recall
    from cascadeflow.pipeline.till import Till
    from cascadeflow.quality.validator import Validator
    from cascadeflow.tiers.gate import Tiers
    from cascadeflow.types import ChatRequest

__all__ = ["Asking", "Engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What every run of an agent shares.

    Attributes:
        completer: asks the models.
        validator: judges drafts.
        quality: how it judges them.
        clock: the time.
        tracker: holds and adds up money, or `None`.
        recall: keeps answers to exact repeats, or `None`.
        notify: is handed every event, or `None` when nobody listens.
        keep_rejected: whether a rejected draft is returned when every verifier fails.
        hedge_after: seconds after which a draft that has not come is asked for once more, elsewhere
            if there is another drafter; `None` waits.
        tiers: who may do what, and how often; `None` lets everybody do everything.
        till: who waits for money that others hold; `None` where nobody may.
        domains: finds out what requests are about, and routes them by it; `None` does not.
        drafting: whether drafts pay, and learns it; `None` drafts as the router plans.
        trials: the experiments that requests are drawn into; `None` where there are none.
        late: judges after the answer what `async_validation` leaves for then.
    """

    completer: Completer
    validator: Validator
    quality: QualityConfig
    clock: Clock
    tracker: CostTracker | None
    recall: Recall | None
    notify: Callable[[events.Event], None] | None
    keep_rejected: bool
    hedge_after: float | None = None
    tiers: Tiers | None = None
    till: Till | None = None
    domains: DomainRouting | None = None
    drafting: Drafting | None = None
    trials: Trials | None = None
    late: LateJudging = field(default_factory=LateJudging)


@dataclass(slots=True)
class Asking:
    """One call under way.

    Attributes:
        command: who is asked, and what for.
        chat: what it is sent.
        tab: its money; `None` without a budget.
        began: `clock.monotonic()` when it was asked.
        read_ms: how long the stream's reader had taken by then.
        usage: what the provider has said so far that it used, on a stream.
        estimate: nanodollars that it is reckoned to have cost, once it has broken off.
        ahead_ms: set when another call was under way too: how much earlier this one was asked.
        sent: whether its completer has been set to work.
        raised: what ended it, where that is no provider's error and another call was under way.
    """

    command: Ask
    chat: ChatRequest
    tab: Tab | None
    began: float
    read_ms: float
    usage: Usage | None = None
    estimate: int | None = None
    ahead_ms: float | None = None
    sent: bool = False
    raised: BaseException | None = None

    @property
    def may_retry(self) -> RetryPermit | None:
        """Who is asked before a try is repeated."""
        return None if self.tab is None else self.tab.may_retry
