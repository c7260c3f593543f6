"""What a tier lets a request do: features, domains, models, quality, the largest `max_tokens`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cascadeflow.config import QualityConfig
from cascadeflow.errors import InvalidRequestError, TierForbiddenError
from cascadeflow.tiers.config import FEATURES
from cascadeflow.types import DocumentPart, ImagePart

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.pipeline.request import Request
    from cascadeflow.pipeline.route import Plan
    from cascadeflow.pipeline.run import Run
    from cascadeflow.tiers.config import Feature, TierConfig
    from cascadeflow.tiers.gate import Tiers
    from cascadeflow.types import Message

__all__ = ["allowed_plan", "cap_output", "check_domain", "check_features", "quality_of_run"]

_SAMPLING: Final = frozenset(
    {
        *("cache_control", "frequency_penalty", "frequencyPenalty", "logit_bias", "logprobs"),
        *("metadata", "min_p", "parallel_tool_calls", "presence_penalty", "presencePenalty"),
        *("prompt_cache_key", "reasoning_effort", "repetition_penalty", "responseMimeType"),
        *("responseSchema", "response_format", "safety_identifier", "safetySettings", "seed"),
        *("safety_settings", "service_tier", "stop", "stopSequences", "stop_sequences", "store"),
        *("temperature", "thinking", "thinkingConfig", "top_a", "top_k", "topK", "top_logprobs"),
        *("top_p", "topP", "truncation", "user", "verbosity"),
    }
)
"""Fields of `extra` that name no model and no tool and ask for no more answers, at any provider we
know. Some take lists of models, plugins or presets in fields of their own, and fields come up that
nobody knows yet: a tier that may not use every model, has no tools or a largest `max_tokens` is let
through with these alone."""

_SETTINGS: Final = frozenset(
    {"generationConfig", "generation_config", "inferenceConfig", "reasoning", "text"}
)
"""Fields that hold such fields."""

_INNER: Final = _SAMPLING | {"effort", "enabled", "exclude", "format", "summary"}

_LIMITS: Final = frozenset(
    {
        *("maxOutputTokens", "maxTokens", "max_completion_tokens", "max_output_tokens"),
        "max_tokens",
    }
)
"""Fields that limit an answer: harmless up to the tier's own limit."""

_ANSWERS: Final = frozenset({"candidateCount", "candidate_count", "n"})
"""Fields that say how many answers there are: harmless where nothing is limited, or for one."""

_IMAGES: Final = frozenset(
    {"fileData", "file_data", "image", "image_url", "inlineData", "inline_data", "input_image"}
)


def check_features(run: Run, tier: TierConfig) -> None:
    """Refuses what the tier does not include.

    Raises:
        TierForbiddenError: it names the feature.
    """
    features, request = tier.features, run.request
    asked = run.asked_quality
    if asked is not None and (asked == "strict" or asked.mode == "strict"):
        _need("strict", features, tier, "quality mode strict")
    if len(features) == len(FEATURES):
        return
    if run.streamed:
        _need("streaming", features, tier, "streaming")
    if run.batch:
        _need("batch", features, tier, "run_batch")
    if request.tools:
        _need("tools", features, tier, "tools=")
    if request.extra:
        _need("extra", features, tier, "extra=")
    if "images" not in features and (
        any(map(_shows_image, request.messages)) or _holds_image(request.extra)
    ):
        _need("images", features, tier, "a message with an image")


def _shows_image(message: Message) -> bool:
    """Whether a message holds an image, under whatever name."""
    if not isinstance(message.content, str):
        for part in message.content:
            if isinstance(part, ImagePart) or (isinstance(part, DocumentPart) and _is_image(part)):
                return True
    return bool(message.extras) and _holds_image(message.extras)


def _is_image(part: DocumentPart) -> bool:
    """Whether a file is an image, or nobody can say that it is none."""
    if part.media_type:
        return part.media_type.lower().startswith("image/")
    where = part.url or part.file_id or ""
    if where.startswith("data:"):
        return where[5:].lower().startswith("image/")
    for name in (part.name, urlsplit(where).path):
        kind, _ = guess_type(name or "")
        if kind is not None:
            return kind.startswith("image/")
    return True


def _holds_image(value: Any) -> bool:
    """Whether fields that a provider is sent unread may hold an image."""
    if isinstance(value, Mapping):
        kind = value.get("type")  # a list, perhaps: then it is a schema's
        if not _IMAGES.isdisjoint(value) or (isinstance(kind, str) and kind in _IMAGES):
            return True
        return any(map(_holds_image, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return any(map(_holds_image, value))
    return False


def _need(feature: Feature, features: frozenset[Feature], tier: TierConfig, what: str) -> None:
    if feature not in features:
        raise TierForbiddenError(
            f"the tier {tier.name} does not include {what}: leave it out, or give the tier the "
            f"feature {feature!r}",
            tier=tier.name,
            what="feature",
            value=feature,
        )


def quality_of_run(run: Run, tier: TierConfig) -> QualityConfig:
    """How the draft is judged: as the call says, else as the tier does, else as the agent does."""
    asked = run.asked_quality
    if asked is None:
        return tier.quality or run.quality
    return QualityConfig(mode="strict") if asked == "strict" else asked


def check_domain(run: Run, tier: TierConfig, tiers: Tiers) -> None:
    """Refuses what a request is said, or else taken, to be about, where the tier has not that.

    Raises:
        InvalidRequestError: there is no such domain.
        TierForbiddenError: the tier does not answer requests about it.
    """
    domain, routing = run.domain, run.engine.domains
    known = tiers.domains if routing is None else tiers.domains | routing.detector.names
    if domain is not None and domain not in known and domain not in (tier.domains or ()):
        raise InvalidRequestError(
            f"domain must be one of {', '.join(sorted(known))}; not {domain!r:.80}"
        )
    said = domain is not None and (run.detection is None or run.detection.layer == "caller")
    if not tier.allows_domain(domain):
        raise TierForbiddenError(
            f"the tier {tier.name} answers requests about {', '.join(tier.domains or ())}, and "
            f"this one is {'said' if said else 'taken'} to be about {domain or 'general'}",
            tier=tier.name,
            what="domain",
            value=domain or "general",
        )


def allowed_plan(run: Run, tier: TierConfig) -> Plan:
    """Leaves the models out of a plan that the tier may not use.

    Raises:
        TierForbiddenError: it may use none of them, or `extra` might name others.
    """
    plan = run.plan
    if tier.models is None and not tier.blocked_models:
        _check_extra(run.request, tier)
        return plan
    verifiers = tuple([model for model in plan.verifiers if _may(tier, model)])
    if not verifiers:
        if run.pinned:
            model = plan.verifiers[0]
            raise TierForbiddenError(
                f"the tier {tier.name} may not use {model.id}",
                tier=tier.name,
                what="model",
                value=model.id,
            )
        raise TierForbiddenError(
            f"the tier {tier.name} may use none of the models that could answer this: "
            + ", ".join(model.id for model in plan.verifiers),
            tier=tier.name,
            what="model",
            value=plan.verifiers[0].id,
        )
    _check_extra(run.request, tier)
    fallbacks = tuple([model for model in plan.fallbacks if _may(tier, model)])
    if len(verifiers) == len(plan.verifiers) and len(fallbacks) == len(plan.fallbacks):
        return plan
    drafters = tuple([model for model in plan.drafters if _may(tier, model)])
    drafters = tuple([model for model in drafters if model is not verifiers[0]])
    if plan.drafters and not drafters:
        return replace(
            plan,
            route="direct",
            reason=f"the tier {tier.name} may use one model",
            drafters=(),
            verifiers=verifiers,
            fallbacks=fallbacks,
        )
    return replace(plan, drafters=drafters, verifiers=verifiers, fallbacks=fallbacks)


def _may(tier: TierConfig, model: ModelConfig) -> bool:
    return tier.allows_model(model.id, model.name)


def _check_extra(request: Request, tier: TierConfig) -> None:
    """No field that goes out unread may ask for what the tier has not."""
    if not request.extra:
        return
    restricted = tier.models is not None or tier.blocked_models or "tools" not in tier.features
    if not restricted and tier.max_tokens is None:
        return
    unknown = []
    for name, value in request.extra.items():
        fields: Mapping[str, Any] = {name: value}
        within = name in _SETTINGS and isinstance(value, Mapping)
        for field, setting in value.items() if within else fields.items():
            if not _harmless(field, setting, tier.max_tokens, inner=within):
                unknown.append((f"{name}.{field}" if within else field, field, setting))
    if unknown:
        more = [setting for _, field, setting in unknown if field in _LIMITS | _ANSWERS]
        raise TierForbiddenError(
            f"the tier {tier.name} lets extra= say nothing about "
            f"{', '.join(name for name, _, _ in unknown)}, which might ask the provider for more "
            "than the tier has: "
            + ("say max_tokens= instead, which is lowered" if more else "leave it out"),
            tier=tier.name,
            what="max_tokens" if more else "feature",
            value=str(more[0])[:80] if more else "extra",
        )


def _harmless(field: str, value: Any, most: int | None, *, inner: bool) -> bool:
    if field in _LIMITS:
        return most is None or (type(value) is int and 0 < value <= most)
    if field in _ANSWERS:
        return most is None or value == 1
    return field in (_INNER if inner else _SAMPLING)


def cap_output(run: Run, tier: TierConfig) -> None:
    """Lowers what a request asks each model for to what its tier lets it."""
    most = tier.max_tokens
    if most is None:
        return
    run.most_tokens = most
    request = run.request
    if request.max_tokens is None or request.max_tokens > most:
        run.request = replace(request, max_tokens=most)
