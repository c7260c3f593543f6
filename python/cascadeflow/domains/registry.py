"""Domains as a user configures them: examples, models, threshold, quality, system prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from cascadeflow.config import QualityConfig  # noqa: TC001 - so that the field's type can be resolved
from cascadeflow.domains import reading
from cascadeflow.domains.records import GENERAL
from cascadeflow.domains.suggest import suggest
from cascadeflow.errors import ConfigurationError
from cascadeflow.types import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Unpack

    from cascadeflow.domains.reading import DomainFields
    from cascadeflow.domains.records import Detection
    from cascadeflow.models.config import ModelConfig

__all__ = ["FEWEST_EXAMPLES", "Domain", "DomainRegistry", "RouteChoice"]

FEWEST_EXAMPLES: Final = reading.FEWEST_EXAMPLES
"""Examples that a domain of one's own needs at least; 5 to 20 are better."""

_NOT_ROUTED: Final = frozenset({GENERAL})


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of one's own, known by its examples, or how a built-in one is routed.

    With examples under a new name it is a further domain. Under the name of a built-in one they
    extend that one: what is near them is about it too. Without examples the name must be a built-in
    one, which is then found as ever and routed as is said here.

    >>> Domain("billing", examples=["Why was I charged twice?", "Send me the invoice for May",
    ...     "Your price went up"], models=["gpt-5-mini", "gpt-5"]).models
    ('gpt-5-mini', 'gpt-5')

    Attributes:
        name: what it is called, such as `"billing"`.
        examples: requests that are about it, at least three and better 5 to 20, as people write
            them; what is written twice is kept once.
        models: which of the agent's models answer, by id or name: the first drafts, the last
            verifies, those between them stand by; the agent's `order` says whether that is the
            order here or that of their prices. One model alone answers directly. `None` leaves it
            to what the catalogue knows of the agent's models.
        draft_model: who drafts, instead of `models`; the other models stand by.
        verifier_model: who verifies, instead of `models`.
        threshold: the least probability that a draft is good enough, 0 to 1, at which it is
            accepted; holds over that of `quality`.
        quality: how drafts are judged, or the name of a mode; `None` is the agent's.
        system_prompt: put before a conversation that has no system message of its own.
        description: what it is about in a sentence, for a model that is asked to classify.

    Raises:
        ConfigurationError: a value cannot be right; the text names the domain, the field and what
            would be.
    """

    name: str
    _: KW_ONLY
    examples: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    draft_model: str | None = None
    verifier_model: str | None = None
    threshold: float | None = None
    quality: QualityConfig | None = None
    system_prompt: str | None = None
    description: str | None = None

    if TYPE_CHECKING:  # what may be given is wider than what is kept

        def __init__(self, name: str, **given: Unpack[DomainFields]) -> None: ...

    def __post_init__(self) -> None:
        reading.check_name(self.name)
        owner = f"domain {self.name!r}"
        for field, check in reading.CHECKS.items():
            object.__setattr__(self, field, check(f"{owner}: {field}", getattr(self, field)))
        if not self.examples and self.name not in DOMAINS:
            raise ConfigurationError(
                f"{owner} is not built in ({reading.near(self.name, DOMAINS)}): a domain of your "
                f"own needs examples, at least {FEWEST_EXAMPLES} and better 5 to 20"
            )
        pair = self.draft_model is not None or self.verifier_model is not None
        if pair and self.models is not None:
            raise ConfigurationError(
                f"{owner}: give models, or draft_model and verifier_model, not both"
            )
        if pair and self.draft_model == self.verifier_model:
            raise ConfigurationError(
                f"{owner}: draft_model and verifier_model are the same; one model alone answers "
                f"directly with models=[{self.draft_model!r}]"
            )

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, name: str | None = None) -> Self:
        """Reads a domain from plain values, as JSON and TOML have them; `quality` may be a table.

        >>> Domain.from_dict({"models": ["gpt-5-mini"], "threshold": 0.9}, name="math").threshold
        0.9

        Args:
            mapping: the domain's fields.
            name: the domain's name, where `mapping` does not say.

        Raises:
            ConfigurationError: a key is not known or a value cannot be right; the text says which.
        """
        return cls(**reading.domain_fields(mapping, name=name))

    @classmethod
    def from_toml(cls, path: str | Path) -> dict[str, Self]:
        """Reads the domains of a TOML file, a table `[domains.<name>]` each, as `from_dict` does.

        Raises:
            ConfigurationError: the file cannot be read or is no TOML, has no domains or something
                else than domains, or a domain cannot be right; the text says where.
        """
        return reading.read_domains(path, cls.from_dict)

    @property
    def custom(self) -> bool:
        """Whether it is none of the built-in ones."""
        return self.name not in DOMAINS

    @property
    def named_models(self) -> tuple[str, ...]:
        """Every model that it names."""
        if self.models is not None:
            return self.models
        return tuple([name for name in (self.draft_model, self.verifier_model) if name is not None])


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChoice:
    """How one request is to be routed, by what it is about.

    Attributes:
        domain: the domain that decided.
        source: `registered` by the user, `suggested` from what the catalogue knows, or `general`:
            nothing is changed.
        drafters: who may draft, and who is next when one fails.
        verifiers: who verifies or answers directly, and who is next when one fails. Empty: the
            general cascade is not changed. Not empty beside no drafters: no draft is made.
        threshold: the least probability at which a draft is accepted; `None` is that of `quality`.
        quality: how drafts are judged, `threshold` included; `None` is the agent's.
        system_prompt: for a conversation without one of its own; `None` adds nothing.
        reason: why, in words.
    """

    domain: str
    source: Literal["registered", "suggested", "general"]
    drafters: tuple[ModelConfig, ...] = ()
    verifiers: tuple[ModelConfig, ...] = ()
    threshold: float | None = None
    quality: QualityConfig | None = None
    system_prompt: str | None = None
    reason: str = ""


class DomainRegistry(Mapping[str, Domain]):
    """The domains that a user configured, by name. Immutable."""

    __slots__ = ("_by_name",)

    def __init__(self, domains: Iterable[Domain] | Mapping[str, Domain] = ()) -> None:
        """Takes the domains, each name once.

        Args:
            domains: the domains, or a mapping of them such as `Domain.from_toml` gives.

        Raises:
            ConfigurationError: something is no `Domain`, or two have one name.
        """
        if isinstance(domains, (str, Domain)):
            raise ConfigurationError(f"domains must be a list: [{domains!r:.60}]")
        given = domains.values() if isinstance(domains, Mapping) else domains
        by_name: dict[str, Domain] = {}
        for each in given:
            if not isinstance(each, Domain):
                raise ConfigurationError(
                    f"a domain must be a Domain, not {each!r:.60}; the built-in ones are there "
                    "without being named"
                )
            if each.name in by_name:
                raise ConfigurationError(f"the domain {each.name!r} is given twice: which one?")
            by_name[each.name] = each
        self._by_name = MappingProxyType(by_name)

    def __getitem__(self, name: str) -> Domain:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"DomainRegistry({', '.join(self._by_name) or 'empty'})"

    @property
    def names(self) -> frozenset[str]:
        """Every domain that there is: the built-in ones and the user's own."""
        return DOMAINS.union(self._by_name)

    @property
    def by_example(self) -> tuple[Domain, ...]:
        """The domains that have examples, in the order in which they were given."""
        return tuple([each for each in self._by_name.values() if each.examples])

    def description(self, name: str) -> str | None:
        """Gives what the user says that a domain is about, if anything."""
        found = self._by_name.get(name)
        return None if found is None else found.description

    def check(self, models: Sequence[ModelConfig]) -> None:
        """Sees to it that every model that a domain names is there, before the first request.

        Raises:
            ConfigurationError: a domain names a model that is not among these, or a name that
                several of them have, or one model in two ways.
        """
        for domain in self._by_name.values():
            found = []
            for name in domain.named_models:
                matching = _called(models, name)
                if len(matching) != 1:
                    kind = "several models" if matching else "no model"
                    raise ConfigurationError(
                        f"domain {domain.name!r}: this agent has {kind} called {name!r}; it has "
                        + ", ".join(model.id for model in models)
                    )
                found.append(matching[0].id)
            if len(set(found)) < len(found):
                names = ", ".join(domain.named_models)
                raise ConfigurationError(f"domain {domain.name!r} names one model twice: {names}")

    def choose(
        self,
        detection: Detection,
        models: Sequence[ModelConfig],
        *,
        order: Literal["price", "given"] = "price",
        input_tokens: int | None = None,
    ) -> RouteChoice:
        """Says how a request is to be routed, from what it is about.

        A request may be about several domains: the likeliest that is registered decides, alone.
        Where none is, the catalogue's facts about the models decide for the likeliest. Nobody was
        sure, or it is `general`: nothing changes, unless `general` itself is registered.

        Args:
            detection: what the request is about.
            models: those that may be asked, in the agent's order. A model that a domain names and
                that is not among them is left out, and the reason says so: a tier may forbid it.
            order: the agent's; `given` keeps the order of a domain's own list.
            input_tokens: how long the request is, where that is known; see `suggest`.
        """
        names = [detection.domain]
        if detection.layer != "none":
            names += [name for name, _ in detection.domains if name != detection.domain]
        domain = next((self._by_name[name] for name in names if name in self._by_name), None)
        if domain is not None:
            return _registered(domain, models, order, input_tokens)
        if detection.domain in _NOT_ROUTED or not models:
            reason = "nobody was sure" if detection.layer == "none" else "it is about nothing else"
            return RouteChoice(domain=detection.domain, source="general", reason=reason)
        return _suggested(detection.domain, models, input_tokens)


def _suggested(name: str, models: Sequence[ModelConfig], input_tokens: int | None) -> RouteChoice:
    found = suggest(name, models, input_tokens=input_tokens)
    if not found.reasons:
        return RouteChoice(
            domain=name, source="general", reason=f"nothing speaks for other models for {name}"
        )
    return RouteChoice(
        domain=name,
        source="suggested",
        drafters=found.drafters,
        verifiers=found.verifiers,
        reason=f"{name}: {'; '.join(found.reasons)}",
    )


def _registered(
    domain: Domain,
    models: Sequence[ModelConfig],
    order: Literal["price", "given"],
    input_tokens: int | None,
) -> RouteChoice:
    drafters: tuple[ModelConfig, ...] = ()
    verifiers: tuple[ModelConfig, ...] = ()
    present: list[ModelConfig] = []
    absent: list[str] = []
    for name in domain.named_models:
        matching = _called(models, name)
        if matching:
            present.append(matching[0])
        else:
            absent.append(name)
    if present and domain.models is not None:
        line = present if order == "given" else [each for each in models if each in present]
        drafters, verifiers = tuple(line[:-1]), tuple(reversed(line))
        says = f"its models are {', '.join(model.id for model in line)}"
    elif present:
        drafters, verifiers, says = _pair(domain, models)
    elif domain.name not in _NOT_ROUTED and models:
        found = suggest(domain.name, models, input_tokens=input_tokens)
        if found.reasons:
            drafters, verifiers = found.drafters, found.verifiers
        says = "; ".join(found.reasons) or "it names no models"
    else:
        says = "it names no models"
    if absent:
        says += f"; not among those that may be asked: {', '.join(absent)}"
    quality = domain.quality
    if quality is not None and domain.threshold is not None:
        quality = replace(quality, threshold=domain.threshold)
    return RouteChoice(
        domain=domain.name,
        source="registered",
        drafters=drafters,
        verifiers=verifiers,
        threshold=domain.threshold,
        quality=quality,
        system_prompt=domain.system_prompt,
        reason=f"{domain.name} is registered: {says}",
    )


def _pair(
    domain: Domain, models: Sequence[ModelConfig]
) -> tuple[tuple[ModelConfig, ...], tuple[ModelConfig, ...], str]:
    """Puts the drafter or the verifier that a domain names first; the others stand by."""
    named = {
        role: next(iter(_called(models, name)), None)
        for role, name in (("drafts", domain.draft_model), ("verifies", domain.verifier_model))
        if name is not None
    }
    drafter, verifier = named.get("drafts"), named.get("verifies")
    if verifier is None:
        verifier = next((model for model in reversed(models) if model is not drafter), None)
    if drafter is None:
        drafter = next((model for model in models if model is not verifier), None)
    drafters = tuple([each for each in (drafter,) if each is not None])
    drafters += tuple([each for each in models if each not in (drafter, verifier)])
    verifiers = tuple([each for each in (verifier,) if each is not None])
    verifiers += tuple([each for each in reversed(models) if each is not verifier])
    if verifier is None:  # the one model there is
        drafters = ()
    says = " and ".join(f"{model.id} {role}" for role, model in named.items() if model is not None)
    return drafters, verifiers, says


def _called(models: Sequence[ModelConfig], name: str) -> list[ModelConfig]:
    """Gives the models with this id (`provider:name`) or this name."""
    return [model for model in models if name in {model.id, model.name}]
