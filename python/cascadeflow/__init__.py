"""Answers every LLM request with the cheapest model that is good enough, and never overspends.

Every public name is imported from here. Each is loaded when it is first used, so that importing the
package costs next to nothing.
"""

from __future__ import annotations

from cascadeflow._native import DEBUG_BUILD, __version__

TYPE_CHECKING = False  # what `typing` says too; its import would be most of this module's cost
if TYPE_CHECKING:
    from cascadeflow.agent import CascadeAgent, RunOptions
    from cascadeflow.agent_batch import BatchProgress, BatchResult
    from cascadeflow.agent_v01 import StreamEvent, StreamEventType
    from cascadeflow.budgets.alert_channels import AlertChannel, LogAlert
    from cascadeflow.budgets.alert_http import SlackAlert, WebhookAlert, verify_webhook
    from cascadeflow.budgets.alerts import Alert
    from cascadeflow.budgets.records import AccountStanding, Charge, Scope, Spender, UsageEvent
    from cascadeflow.budgets.reservation import Reservation
    from cascadeflow.budgets.tracker import CostEntry, CostTracker
    from cascadeflow.cache import MemoryCache, ResponseCache, SqliteCache
    from cascadeflow.clock import Clock, SystemClock
    from cascadeflow.config import (
        BreakerPolicy,
        BudgetConfig,
        Deadlines,
        QualityConfig,
        RetryPolicy,
    )
    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.records import Detection, LayerReport
    from cascadeflow.domains.registry import Domain
    from cascadeflow.domains.zero_shot import ZeroShot
    from cascadeflow.errors import (
        AllModelsFailedError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        CascadeFlowError,
        CircuitOpenError,
        ConfigurationError,
        ContentFilteredError,
        ContextTooLongError,
        InvalidRequestError,
        MalformedResponseError,
        MissingDependencyError,
        MissingKeyError,
        ModelNotFoundError,
        OverloadedError,
        OvertakenError,
        PermissionDeniedError,
        ProviderConnectionError,
        ProviderError,
        ProviderTimeoutError,
        RateLimitedError,
        RateLimitError,
        RequestsForbiddenError,
        StoreError,
        TierForbiddenError,
        ToolAbort,
        UnboundedCostError,
        UnknownModelError,
        UnknownPriceError,
        UnknownUsageError,
    )
    from cascadeflow.experiments.experiment import Experiment
    from cascadeflow.experiments.records import Guardrail, Metric, Variant
    from cascadeflow.models.completer import Attempt, Completer, Reply
    from cascadeflow.models.completion import Completion
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.prices import Price
    from cascadeflow.models.usage import Usage
    from cascadeflow.pipeline.decide import Drafting
    from cascadeflow.pipeline.events import (
        AnswerReplaced,
        BudgetWarned,
        CallFailed,
        CallFinished,
        CallStarted,
        DraftJudged,
        Event,
        RequestCompleted,
        RequestFailed,
        RequestQueued,
        RequestStarted,
        Routed,
        StepStarted,
        TextChunk,
        ToolCallChunk,
        ToolFinished,
        ToolStarted,
        UsageReported,
    )
    from cascadeflow.pipeline.result import (
        AccountReport,
        BudgetReport,
        CascadeResult,
        CostReport,
        ExperimentReport,
        LimitReport,
        RoutingReport,
        StepReport,
        TierReport,
        TimingReport,
    )
    from cascadeflow.quality.report import CheckReport, QualityReport
    from cascadeflow.quality.validator import RuleValidator, Validator
    from cascadeflow.tiers.config import RateLimits, TierConfig, UserProfile
    from cascadeflow.tiers.gate import Tiers
    from cascadeflow.tools import FunctionTool, ToolContext, ToolOutcome, tool
    from cascadeflow.types import (
        ChatRequest,
        DocumentPart,
        ImagePart,
        Message,
        ResponseFormat,
        TextPart,
        Tool,
        ToolCall,
    )

__all__ = [
    "AccountReport",
    "AccountStanding",
    "Alert",
    "AlertChannel",
    "AllModelsFailedError",
    "AnswerReplaced",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "BatchProgress",
    "BatchResult",
    "BreakerPolicy",
    "BudgetConfig",
    "BudgetExceededError",
    "BudgetReport",
    "BudgetWarned",
    "CallFailed",
    "CallFinished",
    "CallStarted",
    "CascadeAgent",
    "CascadeFlowError",
    "CascadeResult",
    "Charge",
    "ChatRequest",
    "CheckReport",
    "CircuitOpenError",
    "Clock",
    "Completer",
    "Completion",
    "ConfigurationError",
    "ContentFilteredError",
    "ContextTooLongError",
    "CostEntry",
    "CostReport",
    "CostTracker",
    "Deadlines",
    "Detection",
    "DocumentPart",
    "Domain",
    "DomainDetector",
    "DraftJudged",
    "Drafting",
    "Event",
    "Experiment",
    "ExperimentReport",
    "FunctionTool",
    "Guardrail",
    "ImagePart",
    "InvalidRequestError",
    "LayerReport",
    "LimitReport",
    "LogAlert",
    "MalformedResponseError",
    "MemoryCache",
    "Message",
    "Metric",
    "MissingDependencyError",
    "MissingKeyError",
    "ModelConfig",
    "ModelNotFoundError",
    "OverloadedError",
    "OvertakenError",
    "PermissionDeniedError",
    "Price",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderTimeoutError",
    "QualityConfig",
    "QualityReport",
    "RateLimitError",
    "RateLimitedError",
    "RateLimits",
    "Reply",
    "RequestCompleted",
    "RequestFailed",
    "RequestQueued",
    "RequestStarted",
    "RequestsForbiddenError",
    "Reservation",
    "ResponseCache",
    "ResponseFormat",
    "RetryPolicy",
    "Routed",
    "RoutingReport",
    "RuleValidator",
    "RunOptions",
    "Scope",
    "SlackAlert",
    "Spender",
    "SqliteCache",
    "StepReport",
    "StepStarted",
    "StoreError",
    "StreamEvent",
    "StreamEventType",
    "SystemClock",
    "TextChunk",
    "TextPart",
    "TierConfig",
    "TierForbiddenError",
    "TierReport",
    "Tiers",
    "TimingReport",
    "Tool",
    "ToolAbort",
    "ToolCall",
    "ToolCallChunk",
    "ToolContext",
    "ToolFinished",
    "ToolOutcome",
    "ToolStarted",
    "UnboundedCostError",
    "UnknownModelError",
    "UnknownPriceError",
    "UnknownUsageError",
    "Usage",
    "UsageEvent",
    "UsageReported",
    "UserProfile",
    "Validator",
    "Variant",
    "WebhookAlert",
    "ZeroShot",
    "__version__",
    "tool",
    "verify_webhook",
]

_HOMES = {
    "agent": (
        "CascadeAgent",
        "RunOptions",
    ),
    "agent_batch": (
        "BatchProgress",
        "BatchResult",
    ),
    "agent_v01": (
        "StreamEvent",
        "StreamEventType",
    ),
    "budgets.alert_channels": (
        "AlertChannel",
        "LogAlert",
    ),
    "budgets.alert_http": (
        "SlackAlert",
        "WebhookAlert",
        "verify_webhook",
    ),
    "budgets.alerts": ("Alert",),
    "budgets.records": (
        "AccountStanding",
        "Charge",
        "Scope",
        "Spender",
        "UsageEvent",
    ),
    "budgets.reservation": ("Reservation",),
    "budgets.tracker": (
        "CostEntry",
        "CostTracker",
    ),
    "cache": (
        "MemoryCache",
        "ResponseCache",
        "SqliteCache",
    ),
    "clock": (
        "Clock",
        "SystemClock",
    ),
    "config": (
        "BreakerPolicy",
        "BudgetConfig",
        "Deadlines",
        "QualityConfig",
        "RetryPolicy",
    ),
    "domains.detector": ("DomainDetector",),
    "domains.records": (
        "Detection",
        "LayerReport",
    ),
    "domains.registry": ("Domain",),
    "domains.zero_shot": ("ZeroShot",),
    "errors": (
        "AllModelsFailedError",
        "AuthenticationError",
        "BadRequestError",
        "BudgetExceededError",
        "CascadeFlowError",
        "CircuitOpenError",
        "ConfigurationError",
        "ContentFilteredError",
        "ContextTooLongError",
        "InvalidRequestError",
        "MalformedResponseError",
        "MissingDependencyError",
        "MissingKeyError",
        "ModelNotFoundError",
        "OverloadedError",
        "OvertakenError",
        "PermissionDeniedError",
        "ProviderConnectionError",
        "ProviderError",
        "ProviderTimeoutError",
        "RateLimitedError",
        "RateLimitError",
        "RequestsForbiddenError",
        "StoreError",
        "TierForbiddenError",
        "ToolAbort",
        "UnboundedCostError",
        "UnknownModelError",
        "UnknownPriceError",
        "UnknownUsageError",
    ),
    "experiments.experiment": ("Experiment",),
    "experiments.records": (
        "Guardrail",
        "Metric",
        "Variant",
    ),
    "models.completer": (
        "Attempt",
        "Completer",
        "Reply",
    ),
    "models.completion": ("Completion",),
    "models.config": ("ModelConfig",),
    "models.prices": ("Price",),
    "models.usage": ("Usage",),
    "pipeline.decide": ("Drafting",),
    "pipeline.events": (
        "AnswerReplaced",
        "BudgetWarned",
        "CallFailed",
        "CallFinished",
        "CallStarted",
        "DraftJudged",
        "Event",
        "RequestCompleted",
        "RequestFailed",
        "RequestQueued",
        "RequestStarted",
        "Routed",
        "StepStarted",
        "TextChunk",
        "ToolCallChunk",
        "ToolFinished",
        "ToolStarted",
        "UsageReported",
    ),
    "pipeline.result": (
        "AccountReport",
        "BudgetReport",
        "CascadeResult",
        "CostReport",
        "ExperimentReport",
        "LimitReport",
        "RoutingReport",
        "StepReport",
        "TierReport",
        "TimingReport",
    ),
    "quality.report": (
        "CheckReport",
        "QualityReport",
    ),
    "quality.validator": (
        "RuleValidator",
        "Validator",
    ),
    "tiers.config": (
        "RateLimits",
        "TierConfig",
        "UserProfile",
    ),
    "tiers.gate": ("Tiers",),
    "tools": (
        "FunctionTool",
        "ToolContext",
        "ToolOutcome",
        "tool",
    ),
    "types": (
        "ChatRequest",
        "DocumentPart",
        "ImagePart",
        "Message",
        "ResponseFormat",
        "TextPart",
        "Tool",
        "ToolCall",
    ),
}
"""Which module a name comes from."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if DEBUG_BUILD:
    import warnings

    warnings.warn(
        "cascadeflow._native is a debug build, so every figure is slow: build with --release",
        RuntimeWarning,
        stacklevel=2,
    )


if not TYPE_CHECKING:  # a type checker shall miss a name that is not listed above

    def __getattr__(name: str) -> object:
        """Loads a public name when it is first used (PEP 562)."""
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'cascadeflow' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - only when a name is first used

        value: object = getattr(import_module(f"cascadeflow.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """What `dir(cascadeflow)` shows: the public names."""
    return __all__
