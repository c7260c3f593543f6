"""The Rust side of CascadeFlow. Checked against the built module by mypy's stubtest."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

from cascadeflow._native_embed import (
    ExampleIndex,
    SentenceEmbedder,
    TextClassifier,
    Vectors,
    load_onnx_runtime,
    onnx_runtime_version,
)
from cascadeflow._native_local import (
    GROUNDING_MEASURES,
    RELEVANCE_MEASURES,
    NgramModel,
    grounding_claims,
    ngram_features,
    relevance_measures,
)
from cascadeflow._native_quality import (
    JsonSchema,
    final_answer,
    judge_answer,
    quality_weights,
    same_final_answer,
)

__all__ = [
    "DEBUG_BUILD",
    "DOMAIN_RULES_HEAD",
    "DOMAIN_RULES_TAIL",
    "GROUNDING_MEASURES",
    "RELEVANCE_MEASURES",
    "ComplexityFeatures",
    "DomainRules",
    "ExampleIndex",
    "JsonSchema",
    "Ledger",
    "LimitPolicy",
    "LimitRefusal",
    "LimitStanding",
    "NgramModel",
    "Permit",
    "PriceSchedule",
    "RateCard",
    "RateLimiter",
    "Refusal",
    "SentenceEmbedder",
    "Settlement",
    "TextClassifier",
    "Tokenizer",
    "Vectors",
    "Vocabulary",
    "Window",
    "WindowStanding",
    "__version__",
    "complexity_inputs",
    "domain_features",
    "final_answer",
    "grounding_claims",
    "judge_answer",
    "load_onnx_runtime",
    "measure_code",
    "ngram_features",
    "onnx_runtime_version",
    "quality_weights",
    "relevance_measures",
    "same_final_answer",
]

__version__: str
DEBUG_BUILD: bool

# pricing

_Rates: TypeAlias = list[tuple[str, int | None, int]]
_Card: TypeAlias = tuple[_Rates, list[tuple[str, int]], int | None]
_When: TypeAlias = tuple[str, int] | tuple[str, int, int] | None

@final
class RateCard:
    """The rates that hold for one call, in attodollars (10⁻¹⁸ US dollars) per million units."""

    def __new__(
        cls, rates: _Rates, requests: list[tuple[str, int]], call: int | None
    ) -> RateCard: ...
    def cost(self, usage: object) -> int: ...
    def upper_bound(self, input_tokens: int, output_tokens: int, without: list[str]) -> int: ...
    def listing(self) -> _Card: ...

@final
class PriceSchedule:
    """A model's rates through time and by the context of a call."""

    def __new__(
        cls,
        periods: list[tuple[_When, _Card]],
        variants: list[tuple[list[tuple[str, str]], _When, _Card]],
    ) -> PriceSchedule: ...
    def resolve(self, unix_seconds: int, context: dict[str, str] | None) -> tuple[int, int]: ...
    def card(self, period: int, variants: int) -> RateCard: ...

# tokens

@final
class Vocabulary:
    """One of OpenAI's vocabularies, unpacked on the first use of its name."""

    def __new__(cls, name: str) -> Vocabulary: ...
    @property
    def name(self) -> str: ...
    def count(self, text: str) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def tokens(self) -> list[bytes]:
        """Every token's bytes, in the order of their ranks."""

@final
class Tokenizer:
    """A tokenizer from the bytes of a `tokenizer.json`."""

    def __new__(cls, json: bytes) -> Tokenizer: ...
    def count(self, text: str) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def names_a_special_token(self, text: str) -> bool: ...

# complexity

_Code: TypeAlias = tuple[str, list[str], list[int]]

@final
class ComplexityFeatures:
    """What was counted in a request's text, to be judged with any domain."""

    def __new__(cls, text: str) -> ComplexityFeatures: ...
    def judge(
        self, earlier_words: int, domain: str | None = None
    ) -> tuple[str, float, list[tuple[str, float]]]:
        """The level; the score in 0..1; each part of the sum behind it."""

    @property
    def code(self) -> _Code | None:
        """Its code: the language, the constructs, and the counts of blocks, lines, comment lines,
        functions, classes, branches, loops, McCabe's number, nesting, identifiers, joins, inner
        queries.
        """

def complexity_inputs(text: str) -> list[tuple[str, float]]:
    """The names and values of what the score is a weighted sum of, before domain and context."""

def measure_code(source: str, language: str | None = None) -> _Code:
    """Measures a piece of code as a whole, in the language that is named or guessed.

    Raises:
        ValueError: no such language.
    """

# domains

_RuleRecord: TypeAlias = tuple[
    str,
    list[tuple[str, float]],
    list[str],
    tuple[int | None, int | None, bool],
    int,
    tuple[str, float, float] | None,
    list[str],
    list[str],
    bool,
]

DOMAIN_RULES_HEAD: int
DOMAIN_RULES_TAIL: int

@final
class DomainRules:
    """Weighted rules, ready to judge requests; see `cascadeflow.domains.rules`."""

    def __new__(
        cls,
        domains: Sequence[str],
        rules: Sequence[_RuleRecord],
        *,
        intercepts: Sequence[float],
        temperature: float = 1.0,
        evidence_domains: int | None = None,
    ) -> DomainRules: ...
    def judge(self, text: str, /) -> tuple[list[float], list[tuple[str, str, float]]]:
        """Each domain's probability, and what rules added to domains, the heaviest first."""

    def evidence(self, text: str, /) -> list[float]:
        """The structural features, then the rules' log-odds by domain."""

    def evidence_names(self) -> list[str]: ...
    def fired(self, text: str, /) -> list[tuple[int, float]]:
        """What the rules found, as (index, value)."""

def domain_features() -> list[str]: ...

# ledger

@final
class Window:
    """Over which time a scope's money is counted. Calendar windows follow an IANA time zone."""

    @staticmethod
    def day(zone: str) -> Window: ...
    @staticmethod
    def week(zone: str) -> Window:
        """ISO weeks: from Monday to Sunday."""

    @staticmethod
    def month(zone: str) -> Window: ...
    @staticmethod
    def total() -> Window: ...
    @staticmethod
    def rolling(seconds: int, buckets: int) -> Window:
        """The last `seconds`, in so many buckets, each counted until it lies wholly outside."""

    @property
    def kind(self) -> Literal["day", "week", "month", "total", "rolling"]: ...
    def period(self, now_ms: int) -> tuple[int | None, int | None]:
        """The instance that holds at an instant: its start and its end, Unix milliseconds."""

@final
class WindowStanding:
    """How one window of a scope stands. Nanodollars; Unix milliseconds."""

    @property
    def window(self) -> Window: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def spent(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def starts_ms(self) -> int | None: ...
    @property
    def resets_ms(self) -> int | None: ...

@final
class Refusal:
    """Why a reservation was not made; nothing was held."""

    @property
    def kind(self) -> Literal["limit", "grant", "stale"]:
        """`limit`: a window is full. `grant`: the scope's grant is; ask the store for more and try
        again. `stale`: the scope's handle was evicted; open it again."""

    @property
    def scope(self) -> int: ...
    @property
    def requested(self) -> int: ...
    @property
    def grant_needed(self) -> int | None:
        """With `grant`: what the scope must be granted in all for this request to fit."""

    @property
    def standing(self) -> WindowStanding | None:
        """With `limit`: the window that is full, the one that resets last if there are several."""

@final
class Settlement:
    """What became of a settlement."""

    @property
    def outcome(self) -> Literal["settled", "released", "corrected", "already"]:
        """`corrected`: the hold had expired, and what it was booked at is now this. `already`: it
        was settled or released before; nothing changed."""

    @property
    def booked(self) -> int | None:
        """The largest part's nanodollars that are booked for the hold now; `None` with `already`,
        since a hold that was settled or released is not kept."""

    @property
    def overrun(self) -> int:
        """By how much a part exceeds what was held for it, at most."""

@final
class Ledger:
    """Scopes, their windows, and holds on them. All-or-nothing, lock-free, never over.

    A scope is whose money (`"user"`, `"u1"`), an account is a scope in one window's current period.
    A handle names an open scope until it is evicted. Amounts are nanodollars, one for every scope
    of the call or a sequence of one each. `now_ms` may go back: periods never do.
    """

    def __new__(cls, *, late_seconds: int = 86_400) -> Ledger:
        """`late_seconds`: how long an expired hold may still be corrected, and ids are known."""

    def open_scope(
        self,
        kind: str,
        name: str,
        limits: Sequence[tuple[Window, int | None]],
        now_ms: int,
        *,
        spent: Sequence[int] = (),
        spent_total: int = 0,
        grant: int | None = None,
    ) -> int:
        """Opens a scope, or gives the handle of the open one unchanged.

        `spent` is what each window has spent in its current period already, `spent_total` what the
        scope has in its life; `grant` is what it may have in its life, `None` without a store.
        """

    def find_scope(self, kind: str, name: str) -> int | None: ...
    def scope_name(self, scope: int) -> tuple[str, str]: ...
    def set_limits(
        self, scope: int, limits: Sequence[tuple[Window, int | None]], now_ms: int
    ) -> None:
        """Changes limits while in use. A new window counts from now; one left out is counted
        no more; one that stays keeps what it has."""

    def count_since(self, scope: int, began: Sequence[int | None], now_ms: int) -> None:
        """Lets windows count in their current periods what the scope has used since its life
        (settled and held) came to so much, in the order of its limits; `None` leaves a window as
        it is. A window counts more by it, never less; an amount may be negative."""

    def set_grant(self, scope: int, grant: int | None) -> None: ...
    def reserve(
        self,
        scopes: Sequence[int],
        amount: int | Sequence[int],
        now_ms: int,
        deadline_ms: int,
        *,
        key: bytes | None = None,
        force: bool = False,
    ) -> int | Refusal:
        """Holds the amounts on all scopes or on none, and gives the hold's id.

        The same `key` (up to 16 bytes, shorter ones filled up with zeros) gives the hold that it
        gave before. `force` holds even over the limits.
        """

    def extend(
        self, hold: int, amount: int | Sequence[int], now_ms: int, *, force: bool = False
    ) -> Refusal | None:
        """Holds so much more under the same hold, on all its scopes or on none."""

    def renew(self, hold: int, deadline_ms: int) -> bool:
        """Puts a deadline off; `False` when the hold is open no more."""

    def settle(self, hold: int, actual: int | Sequence[int], now_ms: int) -> Settlement: ...
    def release(self, hold: int, now_ms: int) -> Settlement: ...
    def expire(self, now_ms: int) -> list[int]:
        """Settles at the hold what is past its deadline; gives the ids."""

    def adjust(self, scope: int, amount: int, now_ms: int) -> int:
        """Books an amount by hand, in all windows, negative too; gives what was booked (no window's
        spending falls below zero)."""

    def standing(self, scope: int, now_ms: int) -> list[WindowStanding]: ...
    def total(self, scope: int) -> tuple[int, int]:
        """Settled and held over the scope's life."""

    def held_amounts(self, hold: int) -> list[tuple[int, int]]:
        """Each scope of a hold and what is held, or was booked, on it."""

    def scopes(self) -> list[int]: ...
    def open_holds(self) -> int: ...
    def evict(self, now_ms: int, idle_ms: int) -> list[tuple[str, str, int]]:
        """Drops scopes that were not used for so long, have no open hold, and whose periods have
        ended (or whose store knows them: `grant` is set); gives kind, name and life's total."""

# limits

_LimitName: TypeAlias = Literal[
    "per_second", "per_minute", "per_hour", "per_day", "tokens_per_minute", "concurrent"
]

@final
class LimitPolicy:
    """How often one account may ask. 0 is a limit of none at all, `None` is no limit.

    `per_second` and `per_minute` are a limit and its burst: GCRA, so that never more than limit +
    burst pass in any second (minute). `per_hour` and `per_day` hold in any 3,600 (86,400) seconds;
    above 120 a window has 120 slots, each counted until it lies wholly outside: 30 (720) seconds
    late at most, never over. Limits and bursts are at most 10⁹, tokens 10¹⁵, and a minute's burst
    50,000,000 times its limit. What is none of this raises `ConfigurationError`.
    """

    def __new__(
        cls,
        *,
        per_second: tuple[int, int] | None = None,
        per_minute: tuple[int, int] | None = None,
        per_hour: int | None = None,
        per_day: int | None = None,
        tokens_per_minute: int | None = None,
        concurrent: int | None = None,
    ) -> LimitPolicy: ...

@final
class LimitStanding:
    """How one limit of one account stands."""

    @property
    def account(self) -> str: ...
    @property
    def limit(self) -> _LimitName: ...
    @property
    def allowed(self) -> int: ...
    @property
    def remaining(self) -> int:
        """How many would pass now; a GCRA limit's burst included."""

    @property
    def reset_ns(self) -> int | None:
        """In how many nanoseconds nothing of it is used any more, if nobody comes; `None` for
        `concurrent`."""

@final
class LimitRefusal:
    """Why a request did not pass; nothing was counted."""

    @property
    def account(self) -> str:
        """Whose limit: of those that refused, the one that takes longest."""

    @property
    def limit(self) -> _LimitName: ...
    @property
    def allowed(self) -> int: ...
    @property
    def requested(self) -> int: ...
    @property
    def retry_ns(self) -> int | None:
        """In how many nanoseconds it would pass if nobody else came, over all limits of all
        accounts; exact for requests, an upper bound for tokens; `None` when a lease must end, or
        when it never would."""

    @property
    def permanent(self) -> bool:
        """Whether it is larger than a whole limit."""

    @property
    def blocked(self) -> tuple[str, ...]:
        """Every account of which some limit refused."""

@final
class Permit:
    """A request that passed: what it was counted, and its leases. Dropped, its leases end."""

    def extend(self, tokens: int, now_ns: int) -> LimitRefusal | None:
        """Reserves more tokens on every account that counts them, or on none."""

    def correct(self, tokens: int, now_ns: int) -> None:
        """Says how many tokens it used in all, in the place of what was reserved; the last word
        counts. More than was reserved is counted all the same."""

    def cancel(self, now_ns: int) -> None:
        """Nothing was sent: takes back its tokens and its place in hours and days, ends its leases.
        Seconds and minutes keep it."""

    def release(self) -> None:
        """Ends its leases. Ending them twice is ending them once."""

    def standings(self, now_ns: int) -> list[LimitStanding]: ...

@final
class RateLimiter:
    """Counts requests, tokens and leases by account. All or nothing, lock-free, never over.

    `now_ns` is a monotonic clock's; one that goes back counts as standing still. A policy that
    changes holds from the next request on, and what was used counts. A request is counted towards
    the limits that its own policy has: one that is added later counts from then on. At most 8
    accounts, each named once, and whole numbers: what is not raises `InvalidRequestError`.
    """

    def __new__(cls) -> RateLimiter: ...
    def acquire(
        self, accounts: Sequence[tuple[str, LimitPolicy]], tokens: int, now_ns: int
    ) -> Permit | LimitRefusal:
        """Lets one request pass on every account, or on none."""

    def standings(
        self, accounts: Sequence[tuple[str, LimitPolicy]], now_ns: int
    ) -> list[LimitStanding]: ...
    def evict(self, now_ns: int) -> int:
        """Forgets accounts of which nothing is used any more; gives how many."""

    def __len__(self) -> int:
        """How many accounts are remembered."""
