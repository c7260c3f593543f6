"""Reads an agent's options about domains, and makes what finds them out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cascadeflow.budgets.tracker import CostTracker
    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.registry import Domain
    from cascadeflow.domains.zero_shot import ZeroShot
    from cascadeflow.pipeline.decide import Drafting
    from cascadeflow.pipeline.domain import DomainRouting
    from cascadeflow.pipeline.route import Router

__all__ = ["domains_of", "drafting_of"]

_logger: Final = logging.getLogger(__name__)


def domains_of(
    domains: Iterable[Domain] | DomainDetector | None,
    zero_shot: bool | ZeroShot,  # noqa: FBT001 - the option's own form
    router: Router,
    *,
    enabled: bool,
) -> DomainRouting | None:
    """Gives what finds out what requests are about, `None` where nothing does.

    Raises:
        ConfigurationError: an option is of another type or would do nothing, or a domain names a
            model that the agent does not have.
    """
    given: Any = zero_shot
    if domains is None and not enabled:
        if given is not False:
            raise ConfigurationError(
                "zero_shot= is the last layer of domain routing: enable_domain_routing=True, or "
                "domains= with your own"
            )
        return None
    from cascadeflow.domains.detector import DomainDetector  # noqa: PLC0415 - off costs nothing
    from cascadeflow.domains.zero_shot import Verdicts, ZeroShot  # noqa: PLC0415
    from cascadeflow.pipeline.domain import DomainRouting  # noqa: PLC0415

    if not isinstance(given, (bool, ZeroShot)):
        raise ConfigurationError(f"zero_shot must be True, False or a ZeroShot, not {given!r:.80}")
    last = ZeroShot() if given is True else given or None
    if last is not None and last.model is not None:
        router.find(last.model)  # raises now rather than at the first request
    detector = domains if isinstance(domains, DomainDetector) else DomainDetector(domains or ())
    detector.registry.check(router.models)
    return DomainRouting(detector=detector, router=router, zero_shot=last, verdicts=Verdicts())


def drafting_of(
    drafting: Drafting | None,
    draft_up_to: str | None,
    order: str,
    tracker: CostTracker | None,
) -> Drafting | None:
    """Gives what knows whether drafts pay, `None` where the user says what is drafted.

    Who puts the models in an order of his own has his reasons to draft with the first.

    Raises:
        ConfigurationError: it is of another type, or both ways of saying it were used.
    """
    from cascadeflow.pipeline.decide import Drafting  # noqa: PLC0415

    if drafting is not None:
        if not isinstance(drafting, Drafting):
            raise ConfigurationError(f"drafting must be a Drafting, not {type(drafting).__name__}")
        if draft_up_to is not None:
            raise ConfigurationError("give draft_up_to= or drafting=, not both")
        return drafting
    if draft_up_to is not None or order == "given":
        return None
    try:
        return Drafting(notes=None if tracker is None else tracker.notes)
    except StoreError as error:  # what was learned is no reason to answer nobody
        _logger.warning("whether drafts pay is learned anew, and not kept: %s", error)
        return Drafting()
