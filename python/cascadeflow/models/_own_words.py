"""What a request says in its provider's own words, and what that does to the bound on its cost.

A field that is not known here may do anything: it is taken to be unbounded, and the caller says
what it may cost. Fields that lift the limit on the output, or that send something else than what
was counted, are refused whatever the caller says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cascadeflow.models.config import ModelConfig
    from cascadeflow.types import ChatRequest

__all__ = ["PLAIN", "OwnWords", "read_own_words"]

_NEUTRAL: Final = frozenset(
    {
        # how tokens are drawn
        *("bad_words", "frequency_penalty", "ignore_eos", "length_penalty", "logit_bias"),
        *("logprobs", "min_p", "min_tokens", "mirostat", "mirostat_eta", "mirostat_tau"),
        *("presence_penalty", "random_seed", "repeat_penalty", "repetition_penalty", "seed"),
        *("skip_special_tokens", "stop", "stop_sequences", "stop_token_ids", "temperature"),
        *("tfs_z", "top_a", "top_k", "top_logprobs", "top_p", "typical_p", "use_beam_search"),
        # how hard it thinks and how much it says, within the limit on the output
        *("chat_template_kwargs", "clear_thinking", "effort", "enable_thinking"),
        *("include_reasoning", "reasoning", "reasoning_effort", "reasoning_format"),
        *("reasoning_split", "thinking_budget", "verbosity"),
        # how the answer is made and handed over; audio has rates that the bound reckons with
        *("audio", "include_stop_str_in_output", "modalities", "parallel_tool_calls"),
        *("prompt_truncate_len", "return_token_ids", "stream", "stream_options"),
        *("citation_options", "include", "strict_tools", "text", "tool_choice", "transforms"),
        *("truncation",),
        # caches, whose dearest rates the bound reckons with
        *("cache_control", "keep_alive", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention",),
        # who serves, and at what speed: every tier that has a price is reckoned with
        *("allow_fallbacks", "inference_geo", "priority", "provider", "service_tier", "speed"),
        # names, notes, safety
        *("labels", "metadata", "moderation", "request_id", "safe_prompt", "safety_identifier"),
        *("safety_mode", "safety_settings", "session_id", "store", "tags", "trace", "usage"),
        *("requestMetadata", "safetySettings", "user"),
        # the same in the words of Gemini, Bedrock and Cohere
        *(
            "frequencyPenalty",
            "k",
            "p",
            "presencePenalty",
            "responseJsonSchema",
            "responseLogprobs",
        ),
        *("responseMimeType", "responseModalities", "responseSchema", "speechConfig"),
        *("response_json_schema", "response_logprobs", "response_mime_type"),
        *("response_modalities", "response_schema", "speech_config", "stopSequences"),
        *("thinkingConfig", "thinking_config", "topK", "topP"),
    }
)
"""Fields that neither let the provider read more than was sent nor let it bill more for it."""

_LIMITS: Final = frozenset(
    {
        *("max_completion_tokens", "max_new_tokens", "max_output_tokens", "max_tokens"),
        *("max_tokens_to_sample", "maxOutputTokens", "maxTokens", "num_predict"),
    }
)
_COPIES: Final = frozenset(
    {"best_of", "candidateCount", "candidate_count", "n", "num_generations", "num_return_sequences"}
)
_READ_HERE: Final = frozenset({"output_config", "prediction", "thinking"})
_CONTAINERS: Final = frozenset({"generationConfig", "generation_config", "inferenceConfig"})
"""Where Gemini and Bedrock keep what others say beside the messages."""

_REPLACING: Final = frozenset(
    {
        "contents",
        "input",
        "instructions",
        "messages",
        "model",
        "system",
        "systemInstruction",
        "system_instruction",
    }
)
"""Fields that take the place of what was counted, or of the model whose price was looked up."""

_PARTS: Final = frozenset(
    {
        *("audio", "container_upload", "document", "document_url", "file", "image", "image_url"),
        *("input_audio", "input_file", "input_image", "video", "video_url"),
    }
)
_REFERENCES: Final = frozenset({*_PARTS, "file_data", "file_id", "file_uri", "fileData"})
"""Parts of a message that stand for more than their own text."""

_INPUT_MEDIA: Final = frozenset(
    {"input_audio", "cache_read_audio", "input_video", "cache_read_video"}
)
_INPUT_IMAGE: Final = frozenset({"input_image", "cache_read_image"})
_HOUR_CACHE: Final = frozenset({"cache_write_1h"})

_LARGEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWords:
    """What the fields of a request's and a model's `extra` do to the bound.

    Attributes:
        refused: why the request cannot be bounded whatever the caller states; usually empty.
        unbounded: what nobody can bound, in words; empty when there is nothing.
        completions: how many answers are billed.
        least_output: a limit on each answer that stands beside `max_tokens`; the larger counts.
        more_output: tokens that may be billed as output beyond the limit, for each answer.
        more_input: bytes of the model's own fields, which the token count of a request leaves out.
        tier: the service tier asked for.
        fast: whether the provider's fast mode is asked for.
        region: the region asked for.
        without: kinds of tokens that the call surely does not use.
    """

    refused: str = ""
    unbounded: str = ""
    completions: int = 1
    least_output: int = 0
    more_output: int = 0
    more_input: int = 0
    tier: str | None = None
    fast: bool = False
    region: str | None = None
    without: frozenset[str] = frozenset()

    def output(self, output_tokens: int) -> int:
        """All output that may be billed, when each answer is limited to so many tokens."""
        return (max(output_tokens, self.least_output) + self.more_output) * self.completions

    def limit(self, output: int) -> int | None:
        """The largest limit on each answer with which no more than so much output is billed."""
        each = output // self.completions - self.more_output
        return each if each >= max(1, self.least_output) else None


PLAIN: Final = OwnWords(without=_INPUT_MEDIA | _INPUT_IMAGE | _HOUR_CACHE)
"""A request of texts alone, without any field of the provider's own."""

_WITH_IMAGES: Final = OwnWords(without=_INPUT_MEDIA | _HOUR_CACHE)


def read_own_words(request: ChatRequest, model: ModelConfig) -> OwnWords:
    """Reads what a request and its model say in the provider's own words."""
    images = extras = False
    for message in request.messages:
        images = images or not isinstance(message.content, str)
        extras = extras or bool(message.extras)
    if not (request.extra or model.extra or extras):
        return _WITH_IMAGES if images else PLAIN
    fields = _flat({**model.extra, **request.extra})
    unbounded = [f"extra[{name!r}]" for name in fields if _may_do_anything(name, fields[name])]
    config = fields.get("output_config")
    if isinstance(config, Mapping) and "format" in config:
        unbounded.append("extra['output_config']['format'] (give response_format instead)")
    if extras and any(_refers(message.extras) for message in request.messages if message.extras):
        unbounded.append("a message's extras, which refer to a file, an image or a sound")
    limits, copies, refused = _limits(fields)
    prediction = fields.get("prediction")
    tier, region = fields.get("service_tier"), fields.get("inference_geo")
    every_kind = extras or unbounded or "cache_control" in fields
    return OwnWords(
        refused=refused,
        unbounded=", ".join(unbounded),
        completions=copies,
        least_output=limits,
        # What is predicted wrongly is billed as output.
        more_output=0 if prediction is None else _bytes(prediction),
        more_input=_bytes(model.extra) if model.extra else 0,
        tier=tier if isinstance(tier, str) else None,
        fast=fields.get("speed") is not None,
        region=region if isinstance(region, str) else None,
        without=frozenset() if every_kind else (_WITH_IMAGES if images else PLAIN).without,
    )


def _flat(extra: dict[str, Any]) -> dict[str, Any]:
    """Takes fields out of the objects in which some protocols put them."""
    for name in _CONTAINERS & extra.keys():
        inner = extra[name]
        if isinstance(inner, Mapping):
            del extra[name]
            extra = {**extra, **inner}
    return extra


def _may_do_anything(name: str, value: Any) -> bool:
    known = name in _NEUTRAL or name in _READ_HERE or name in _LIMITS or name in _COPIES
    return not known and name not in _REPLACING and value is not None


def _limits(fields: Mapping[str, Any]) -> tuple[int, int, str]:
    """The largest limit on an answer, the number of answers, and why they cannot be said."""
    limits = [value for name, value in fields.items() if name in _LIMITS]
    for name, part in (("thinking", "budget_tokens"), ("reasoning", "max_tokens")):
        settings = fields.get(name)
        if isinstance(settings, Mapping) and settings.get(part) is not None:
            limits.append(settings[part])
    copies = [fields[name] for name in fields if name in _COPIES and fields[name] is not None]
    refused = ""
    for name in fields:
        if name in _REPLACING:
            refused = (
                f"extra[{name!r}] would send something else than what a budget reckons with: "
                f"give {name} as an argument instead"
            )
    for value in (*limits, *copies):
        if type(value) is not int or not 0 < value <= _LARGEST:
            refused = (
                f"extra says {value!r:.40} for the length or the number of answers, with which "
                f"nobody can say what they may cost: give 1 to {_LARGEST}, or leave it out"
            )
    if refused:
        return 0, 1, refused
    return max(limits, default=0), max(copies, default=1), ""


def _refers(raw: Any, depth: int = 0) -> bool:
    if depth > 64:  # noqa: PLR2004 - deeper than any message; what is hidden there is not known
        return True
    if isinstance(raw, Mapping):
        kind = raw.get("type")
        if isinstance(kind, str) and kind in _PARTS:
            return True
        return any(
            (name in _REFERENCES and value is not None) or _refers(value, depth + 1)
            for name, value in raw.items()
        )
    if isinstance(raw, Sequence) and not isinstance(raw, (str, bytes)):
        return any(_refers(each, depth + 1) for each in raw)
    return False


def _bytes(value: Any) -> int:
    return len(
        json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass")
    )


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
