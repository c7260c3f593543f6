"""Which price a recorded model is charged at, and under which provider it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cascadeflow.errors import ConfigurationError, UnknownPriceError

if TYPE_CHECKING:
    from datetime import datetime

    from cascadeflow.models.config import ModelConfig
    from cascadeflow.models.prices import Price

__all__ = ["PricedModel", "priced_model"]

_NEUTRAL = "recorded"
"""The provider under which a model is asked whose own provider's protocol is not spoken here."""

_MAKERS = (
    (("gpt-", "chatgpt-", "o1", "o3", "o4"), "openai"),
    (("claude-",), "anthropic"),
    (("gemini-",), "google"),
    (("mistral-", "ministral-", "codestral-", "magistral-"), "mistral"),
    (("deepseek-",), "deepseek"),
    (("grok-",), "xai"),
    (("command-",), "cohere"),
)
"""Models that one provider makes and sells itself, by how their names begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedModel:
    """A recorded model, ready to be asked.

    Attributes:
        name: as the file names it.
        provider: the provider's id under which it is asked; it decides the wire protocol.
        price: what it is charged at.
        words: the price for people, and where it comes from.
    """

    name: str
    provider: str
    price: Price
    words: str

    def config(self, url: str) -> ModelConfig:
        """Gives the model as an agent takes it, reached at a loopback address."""
        from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
        from cascadeflow.providers.registry import get_provider  # noqa: PLC0415

        anthropic = get_provider(self.provider).protocol == "anthropic"
        return ModelConfig(
            self.name,
            self.provider,
            price=self.price,
            api_key="recorded-answers",
            base_url=url if anthropic else f"{url}/v1",
        )


def priced_model(name: str, wanted: str | None, *, at: datetime) -> PricedModel:
    """Finds a recorded model's price.

    A name that begins as one maker's models do (`gpt-`, `claude-`, `gemini-` …) has that maker's
    price; `provider:model` has that provider's; any other has the price of the first provider in
    the catalogue that lists it by this very name.

    Args:
        name: the model as the file names it.
        wanted: what the user says of its price: `IN,OUT` in US dollars per million tokens, or
            `provider:model`, whose catalogue price counts.
        at: the moment whose price counts.

    Raises:
        UnknownPriceError: the catalogue has no price by this name; the text says how to state one.
        ConfigurationError: what the user says of the price cannot be read.
    """
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415
    from cascadeflow.models.prices import Price, price_of, require_price  # noqa: PLC0415

    if wanted is not None and "," in wanted:
        given, _, taken = wanted.partition(",")
        if not given.strip() or not taken.strip():
            raise ConfigurationError(
                "a price is IN,OUT in US dollars per million tokens, such as 0.15,0.6; "
                f"not {wanted!r}"
            )
        price = Price(input=given.strip(), output=taken.strip())
        return _priced(name, price, "as stated")
    if wanted is not None:
        try:
            like = ModelConfig.parse(wanted)
        except ConfigurationError as error:
            raise ConfigurationError(
                "a price is IN,OUT in US dollars per million tokens, such as 0.15,0.6, or "
                f"provider:model, whose price counts; not {wanted!r}"
            ) from error
        return _priced(name, require_price(like, at=at), f"that of {like.id}")
    for model in _sellers(name):
        found = price_of(model, at=at)
        if found is not None:
            return _priced(name, found, f"{model.id}, {found.source}")
    raise UnknownPriceError(
        f"the catalogue has no price for {name!r}: state it with --draft-price, --verifier-price "
        "or --cross-check-price, as IN,OUT in US dollars per million tokens or as provider:model"
    )


def _priced(name: str, price: Price, source: str) -> PricedModel:
    from cascadeflow.providers.registry import Provider, provider_ids, register_provider  # noqa: PLC0415

    provider = _maker(name)
    if provider not in provider_ids():
        register_provider(Provider(id=_NEUTRAL, base_url="http://127.0.0.1"))
        provider = _NEUTRAL
    rates = f"${price.input} in, ${price.output} out per million tokens"
    return PricedModel(name=name, provider=provider, price=price, words=f"{rates} ({source})")


def _sellers(name: str) -> list[ModelConfig]:
    from cascadeflow.models.catalogue import table  # noqa: PLC0415
    from cascadeflow.models.config import ModelConfig  # noqa: PLC0415

    maker = _maker(name)
    if maker is not None:
        return [ModelConfig(name.rpartition(":")[2], maker)]
    provider, colon, bare = name.partition(":")
    if colon and provider and bare:
        return [ModelConfig(bare, provider)]
    lowered = name.lower()
    return [
        ModelConfig(row.id, row.provider)
        for row in table().all_rows()
        if row.priced and lowered in {row.id.lower(), row.id.lower().rpartition("/")[2]}
    ]


def _maker(name: str) -> str | None:
    """The provider that makes and sells a model itself; `None` for the models of many hosts."""
    lowered = name.lower()
    for prefixes, maker in _MAKERS:
        if lowered.startswith(prefixes):
            return maker
    return None
