"""The providers: what each speaks, where each is, and how it is reached.

`get_codec` gives a provider's pure codec, `register_provider` makes one of your own known, and
`Providers` asks any of them over HTTP, or runs `local:` models in this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascadeflow.providers.codecs import get_codec
from cascadeflow.providers.guard import allow_real_requests, forbid_real_requests
from cascadeflow.providers.registry import (
    Provider,
    Quirks,
    get_provider,
    provider_ids,
    register_provider,
)

if TYPE_CHECKING:
    from cascadeflow.providers.completer import Providers
    from cascadeflow.providers.transport import HttpTransport

__all__ = [
    "HttpTransport",
    "Provider",
    "Providers",
    "Quirks",
    "allow_real_requests",
    "forbid_real_requests",
    "get_codec",
    "get_provider",
    "provider_ids",
    "register_provider",
]


def __getattr__(name: str) -> Any:
    # What sends is loaded when it is used: who only decodes does not pay for it.
    if name == "Providers":
        from cascadeflow.providers.completer import Providers  # noqa: PLC0415

        return Providers
    if name == "HttpTransport":
        from cascadeflow.providers.transport import HttpTransport  # noqa: PLC0415

        return HttpTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
