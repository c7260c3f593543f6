"""Which of a user's models draft and verify best for a domain, from what the catalogue knows.

Nothing here is a matter of taste: a model is moved or left out only where the catalogue, or its own
configuration, says something that the domain or the request depends on. Two things are looked at.

* Questions that take several steps of thought (`STEPWISE`) are verified by a model that is listed
  as able to reason, where one of the models is. Which models draft stays as it was, for a draft by
  a model that does not reason is often right, and is judged before it is used.
* A model that cannot hold the request is asked nothing: a context window that is smaller than the
  input and, for translations, which are as long as what is translated, a smaller greatest output.

Models of which nothing is known are left where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cascadeflow.models.catalogue import lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cascadeflow.models.config import ModelConfig

__all__ = ["STEPWISE", "Suggestion", "suggest"]

STEPWISE: Final = frozenset({"code", "data", "math", "reasoning", "science"})
"""Domains whose answers take several steps, each of which can go wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Who drafts and who verifies, and why that differs from the usual order.

    Attributes:
        domain: for which domain.
        drafters: who drafts, and who is next when one fails; empty where nobody should.
        verifiers: who verifies or answers directly, and who is next when one fails; never empty.
        reasons: what was changed and on what ground, in words; empty where nothing was.
    """

    domain: str
    drafters: tuple[ModelConfig, ...]
    verifiers: tuple[ModelConfig, ...]
    reasons: tuple[str, ...] = ()


def suggest(
    domain: str, models: Sequence[ModelConfig], *, input_tokens: int | None = None
) -> Suggestion:
    """Suggests which of these models draft and which verify.

    >>> from cascadeflow.models.config import ModelConfig
    >>> models = [ModelConfig.parse(f"openai:{name}") for name in ("gpt-5-mini", "gpt-4o")]
    >>> found = suggest("math", models)
    >>> [model.name for model in found.verifiers], [model.name for model in found.drafters]
    (['gpt-5-mini', 'gpt-4o'], [])
    >>> found.reasons
    ('openai:gpt-5-mini verifies: it is listed as able to reason, openai:gpt-4o is not',)

    Args:
        domain: what the request is about; a domain of the user's own has no needs that are known.
        models: the models that may be asked, at least one, in the order in which they draft: the
            first drafts, the last verifies.
        input_tokens: how long the request is, where that is known; without it, no model is left
            out for its size.
    """
    able, reasons = _that_fit(domain, tuple(models), input_tokens)
    last = len(able) - 1
    at = _reasoner(able) if domain in STEPWISE else last
    if at < last:
        reasons.append(
            f"{able[at].id} verifies: it is listed as able to reason, "
            f"{_joined(able[at + 1 :])} {'is' if at + 1 == last else 'are'} not"
        )
    # Those after the verifier would cost more than it does: none of them drafts, all stand in.
    stand_in = [model for model in reversed(able) if model is not able[at]]
    return Suggestion(
        domain=domain,
        drafters=able[:at],
        verifiers=(able[at], *stand_in),
        reasons=tuple(reasons),
    )


def _reasoner(models: tuple[ModelConfig, ...]) -> int:
    """Gives the place of the model that should verify what takes several steps.

    The last one keeps its place unless it is known not to be listed as able to reason while another
    one is: then the last of those.
    """
    last = len(models) - 1
    known = [lookup(model.provider, model.name) for model in models]
    highest = known[last]
    if highest is None or not (highest.abilities or highest.inabilities):
        return last  # nothing is known of it: it may be able
    able = [at for at, facts in enumerate(known) if facts is not None and facts.can("reasoning")]
    return able[-1] if able else last


def _that_fit(
    domain: str, models: tuple[ModelConfig, ...], tokens: int | None
) -> tuple[tuple[ModelConfig, ...], list[str]]:
    """Leaves out models that are known to be too small for a request; all are, then nobody is."""
    if tokens is None:
        return models, []
    reasons = []
    fit = []
    for model in models:
        why = _too_small(domain, model, tokens)
        if why is None:
            fit.append(model)
        else:
            reasons.append(f"{model.id} is left out: {why}")
    if not fit:
        return models, ["no model is known to hold a request of this length: all are kept"]
    return tuple(fit), reasons


def _too_small(domain: str, model: ModelConfig, tokens: int) -> str | None:
    facts = lookup(model.provider, model.name)
    window = model.context_window
    if window is None and facts is not None:
        sizes = (facts.context_window, facts.max_input_tokens)
        window = min((size for size in sizes if size is not None), default=None)
    if window is not None and window <= tokens:
        return f"it takes {window:,} tokens, the request has {tokens:,}"
    if domain == "translation":
        limits = (model.max_tokens, None if facts is None else facts.max_output_tokens)
        output = min((limit for limit in limits if limit is not None), default=None)
        if output is not None and output < tokens:
            return (
                f"it gives at most {output:,} tokens, and a translation is about as long as the "
                f"{tokens:,} that are translated"
            )
    return None


def _joined(models: Sequence[ModelConfig]) -> str:
    return " and ".join(model.id for model in models)
